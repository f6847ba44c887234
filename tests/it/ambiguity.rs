//! Writes whose answers are lost, or say what is not so: what became of them is looked up, and never guessed.

use std::sync::Arc;

use s3flow::testing::{Fault, Operation, S3Server};
use s3flow::{Encryption, Error, ErrorKind, KmsKey, PutOutcome, PutReceipt, PutValue, Result, S3GetObject};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::cases::uploads::{LARGE, patterned, pieces};
use crate::support::{Fixture, count};

/// The user metadata of conditional and of multipart writes.
const WRITE_ID: &str = "x-amz-meta-s3flow-write";

/// A server that is known to keep conditions, and a client that tries a request so often.
async fn with_retries(retries: u32) -> Fixture {
    let server = S3Server::start().await.unwrap();
    let client = server.client_builder().retries(retries).build().unwrap();
    let fixture = Fixture::with_client(server, client);
    for (key, value) in sizes() {
        fixture.s3.put(key, value).overwrite(false).await.unwrap();
        let etag = fixture.s3.info(key).await.unwrap().etag().unwrap().to_owned();
        fixture.s3.put(key, "x").if_match(etag).await.unwrap();
        fixture.s3.delete(key).await.unwrap();
    }
    let large = fixture.s3.put("large", patterned(LARGE)).await.unwrap();
    let replaced = fixture.s3.put("large", patterned(LARGE)).if_match(large.etag().unwrap()).await;
    assert_eq!(replaced.unwrap().outcome(), PutOutcome::Replaced);
    fixture.s3.delete("large").await.unwrap();
    fixture.server.clear_log();
    fixture
}

/// A value in one request and one in parts, under their keys.
fn sizes() -> [(&'static str, Vec<u8>); 2] {
    [("small", patterned(1000)), ("large", patterned(LARGE))]
}

/// The request that stores the object at one of the keys of [`sizes`].
fn storing(key: &str) -> Operation {
    if key == "small" { Operation::PutObject } else { Operation::CompleteMultipartUpload }
}

fn lost(key: &str) -> Fault {
    Fault::lose_answer().operation(storing(key)).key(key)
}

fn failing(key: &str, status: u16, code: &str) -> Fault {
    Fault::status(status, code).operation(storing(key)).key(key)
}

fn no_look(status: u16) -> Fault {
    Fault::status(status, "").operation(Operation::HeadObject).times(usize::MAX)
}

fn assert_stored(fixture: &Fixture, key: &str, value: &[u8], receipt: &PutReceipt) {
    let stored = fixture.server.stored_object("bucket", key).unwrap();
    assert!(stored.bytes() == value, "{key} has other bytes");
    assert_eq!(receipt.etag(), Some(stored.etag()), "{key}");
    assert_no_uploads(fixture);
}

fn assert_no_uploads(fixture: &Fixture) {
    assert_eq!(fixture.server.multipart_uploads("bucket"), Vec::<String>::new());
}

fn assert_unknown(error: &Error, unknown: bool, what: &str) {
    assert_eq!(error.is_outcome_unknown(), unknown, "{what}: {error}");
    assert_eq!(error.to_string().contains("may have been carried out"), unknown, "{what}: {error}");
}

#[tokio::test]
async fn a_put_that_meets_its_own_success_has_created_the_object() {
    let fixture = with_retries(7).await;
    for (key, value) in sizes() {
        fixture.server.inject(lost(key));
        let receipt = fixture.s3.put(key, value.clone()).overwrite(false).await.unwrap();
        assert_eq!((receipt.outcome(), receipt.uploaded()), (PutOutcome::Created, true), "{key}");
        assert_stored(&fixture, key, &value, &receipt);
        // Also when the server was busy in between.
        fixture.s3.delete(key).await.unwrap();
        fixture.server.inject(lost(key));
        fixture.server.inject(failing(key, 503, "SlowDown").on_call(2));
        let receipt = fixture.s3.put_many([(key, value.clone())]).overwrite(false).await.unwrap().remove(0);
        assert_eq!(receipt.outcome(), PutOutcome::Created, "{key}");
        assert_stored(&fixture, key, &value, &receipt);
    }
}

#[tokio::test]
async fn a_replacement_that_meets_its_own_success_has_replaced_the_object() {
    let fixture = with_retries(7).await;
    for (key, value) in sizes() {
        fixture.server.put_object("bucket", key, "before");
        let etag = fixture.server.stored_object("bucket", key).unwrap().etag().to_owned();
        fixture.server.inject(lost(key));
        let receipt = fixture.s3.put(key, value.clone()).if_match(etag).await.unwrap();
        assert_eq!(receipt.outcome(), PutOutcome::Replaced, "{key}");
        assert_stored(&fixture, key, &value, &receipt);
    }
}

#[tokio::test]
async fn what_another_writer_stored_is_not_ours_however_the_attempts_ended() {
    let fixture = with_retries(7).await;
    for (key, value) in sizes() {
        for doubtful in [false, true] {
            fixture.server.put_object("bucket", key, "another");
            let fail = || {
                if doubtful {
                    fixture.server.inject(failing(key, 500, "InternalError"));
                }
            };
            // Which a long value is not even sent for.
            let unseen = Fault::status(403, "").operation(Operation::HeadObject).key(key);
            fail();
            if key == "large" {
                fixture.server.inject(unseen);
            }
            let receipt = fixture.s3.put(key, value.clone()).overwrite(false).await.unwrap();
            assert_eq!((receipt.outcome(), receipt.etag()), (PutOutcome::AlreadyExists, None), "{key} {doubtful}");
            assert!(!receipt.uploaded());
            fail();
            let error = fixture.s3.put(key, value.clone()).if_match("\"e\"").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Changed, "{key}: {error}");
            // The one that is there may have been made out of ours.
            assert_unknown(&error, doubtful, key);
            assert_eq!(fixture.server.object("bucket", key).unwrap(), "another");
            assert_no_uploads(&fixture);
        }
    }
}

#[tokio::test]
async fn the_servers_word_counts_where_it_may_not_be_checked() {
    let fixture = with_retries(7).await;
    for (key, value) in sizes() {
        fixture.server.put_object("bucket", key, "another");
        fixture.server.inject(no_look(403));
        let receipt = fixture.s3.put(key, value.clone()).overwrite(false).await.unwrap();
        assert_eq!(receipt.outcome(), PutOutcome::AlreadyExists, "{key}");
        let error = fixture.s3.put(key, value.clone()).if_match("\"e\"").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Changed, "{error}");
        assert_unknown(&error, false, key);
        fixture.server.clear_faults();
    }
}

#[tokio::test]
async fn what_may_not_be_looked_up_is_not_known() {
    let fixture = with_retries(7).await;
    for (key, value) in sizes() {
        fixture.server.inject(no_look(403));
        fixture.server.inject(lost(key));
        let error = fixture.s3.put(key, value.clone()).overwrite(false).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Other, "{error}");
        assert_unknown(&error, true, key);

        let etag = fixture.server.stored_object("bucket", key).unwrap().etag().to_owned();
        fixture.server.inject(lost(key));
        let error = fixture.s3.put(key, "other").if_match(etag).await;
        if key == "small" {
            let error = error.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Changed, "{error}");
            assert_unknown(&error, true, key);
        }
        fixture.server.clear_faults();
        assert_no_uploads(&fixture);
    }
}

#[tokio::test]
async fn a_write_that_took_place_is_no_error_when_the_attempts_are_used_up_or_forbidden() {
    let fixture = with_retries(1).await;
    for (key, value) in sizes() {
        for condition in [false, true] {
            let expected = if condition { PutOutcome::Created } else { PutOutcome::Stored };
            let put = || fixture.s3.put(key, value.clone()).overwrite(!condition).into_future();
            // Every answer is lost.
            fixture.server.inject(lost(key).times(2));
            let receipt = put().await.unwrap();
            assert_eq!(receipt.outcome(), expected, "{key}");
            assert_stored(&fixture, key, &value, &receipt);
            // Of the second attempt comes an error.
            for (status, code) in [(403, "AccessDenied"), (500, "InternalError")] {
                fixture.s3.delete(key).await.unwrap();
                fixture.server.inject(lost(key));
                fixture.server.inject(failing(key, status, code).on_call(2));
                let receipt = put().await.unwrap();
                assert_eq!(receipt.outcome(), expected, "{key} {code}");
                assert_stored(&fixture, key, &value, &receipt);
            }
            fixture.s3.delete(key).await.unwrap();
            fixture.server.clear_faults();
        }
    }
}

#[tokio::test]
async fn a_write_that_did_not_take_place_is_told_from_one_that_may_have() {
    let fixture = with_retries(1).await;
    for (key, value) in sizes() {
        for condition in [false, true] {
            let put = || fixture.s3.put(key, value.clone()).overwrite(!condition).into_future();
            // An error of the server's own, and the object is not there.
            fixture.server.inject(failing(key, 500, "InternalError").times(2));
            let error = put().await.unwrap_err();
            assert_eq!((error.code(), error.attempts()), (Some("InternalError"), 2), "{error}");
            assert_unknown(&error, false, key);
            // The answer did not come: the server may still be at it.
            fixture.server.inject(Fault::close_before_answer().operation(storing(key)).key(key).times(2));
            let error = put().await.unwrap_err();
            assert_eq!((error.kind(), error.attempts()), (ErrorKind::Network, 2), "{error}");
            assert_unknown(&error, true, key);
            // Nor is it known when nobody may look.
            fixture.server.inject(failing(key, 500, "InternalError").times(2));
            fixture.server.inject(no_look(403));
            let error = put().await.unwrap_err();
            assert_eq!(error.code(), Some("InternalError"), "{error}");
            assert_unknown(&error, true, key);
            fixture.server.clear_faults();
            // A refusal says that nothing was done; that costs no look.
            fixture.server.clear_log();
            fixture.server.inject(failing(key, 403, "AccessDenied"));
            let error = put().await.unwrap_err();
            assert_unknown(&error, false, key);
            let looks = usize::from(condition && key == "large");
            assert_eq!(count(&fixture.server.log(), Operation::HeadObject), looks, "{key}");
            assert_eq!(fixture.server.object("bucket", key), None);
            assert_no_uploads(&fixture);
        }
    }
}

#[tokio::test]
async fn a_completion_is_known_by_its_id_whatever_the_etags_are() {
    let fixture = with_retries(7).await;
    fixture.server.inject(lost("large"));
    let put = fixture.s3.put("large", patterned(LARGE)).encryption(Encryption::AwsKms(KmsKey::new("alias/k")));
    let receipt = put.await.unwrap();
    assert_eq!(receipt.outcome(), PutOutcome::Stored);
    assert_stored(&fixture, "large", &patterned(LARGE), &receipt);
    // Metadata that leaves no room for the id: by the digests of the parts.
    let long = [("n", "x".repeat(2010))];
    fixture.server.inject(lost("large"));
    let receipt = fixture.s3.put("large", patterned(LARGE)).metadata(long.clone()).await.unwrap();
    assert_stored(&fixture, "large", &patterned(LARGE), &receipt);
    assert_eq!(fixture.server.stored_object("bucket", "large").unwrap().header(WRITE_ID), None);
    // Who won cannot be told by what is stored.
    fixture.server.inject(lost("small"));
    let error = fixture.s3.put("small", "x").overwrite(false).metadata(long).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Other);
    assert_unknown(&error, true, "without an id");
}

#[tokio::test]
async fn the_id_of_a_write_is_where_it_is_needed_and_no_metadata_of_the_user() {
    let fixture = with_retries(7).await;
    let id = |key: &str| fixture.server.stored_object("bucket", key).unwrap().header(WRITE_ID).map(str::to_owned);
    fixture.s3.put("plain", "x").await.unwrap();
    assert_eq!(id("plain"), None);
    let mut ids = Vec::new();
    for (key, value) in sizes() {
        fixture.s3.put(key, value).overwrite(false).metadata([("owner", "me")]).await.unwrap();
        ids.extend(id(key));
        let info = fixture.s3.info(key).await.unwrap();
        assert_eq!(serde_json::to_string(&info.metadata()).unwrap(), r#"{"owner":"me"}"#);
    }
    fixture.s3.put("unconditional", patterned(LARGE)).await.unwrap();
    ids.extend(id("unconditional"));
    assert!(ids.len() == 3 && ids.iter().all(|id| id.len() == 32), "{ids:?}");
    assert!(ids[0] != ids[1] && ids[1] != ids[2]);
}

/// A proxy that gives every request to the server twice, and the second answer to the client, as some do that think that the
/// first connection broke.
async fn sending_twice(server: &S3Server) -> String {
    async fn exchange(server: &str, request: &[u8]) -> std::io::Result<Vec<u8>> {
        let mut connection = TcpStream::connect(server).await?;
        connection.write_all(request).await?;
        let mut answer = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let read = connection.read(&mut buffer).await?;
            answer.extend_from_slice(&buffer[..read]);
            let head = answer.windows(4).position(|window| window == b"\r\n\r\n");
            let Some(head) = head else { continue };
            let is_head = request.starts_with(b"HEAD");
            if read == 0 || is_head || answer.len() >= head + 4 + content_length(&answer[..head]) {
                return Ok(answer);
            }
        }
    }
    fn content_length(head: &[u8]) -> usize {
        let head = String::from_utf8_lossy(head).to_ascii_lowercase();
        head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0)
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = format!("http://{}", listener.local_addr().unwrap());
    let server = server.endpoint().trim_start_matches("http://").to_owned();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let server = server.clone();
            tokio::spawn(async move {
                let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
                while let Ok(read @ 1..) = client.read(&mut buffer).await {
                    request.extend_from_slice(&buffer[..read]);
                    let Some(head) = request.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
                    if request.len() < head + 4 + content_length(&request[..head]) {
                        continue;
                    }
                    exchange(&server, &request).await?;
                    client.write_all(&exchange(&server, &request).await?).await?;
                    request.clear();
                }
                std::io::Result::Ok(())
            });
        }
    });
    place
}

#[tokio::test]
async fn a_condition_that_fails_because_something_in_between_sent_the_put_twice_is_no_other_writer() {
    let fixture = Fixture::new().await;
    let client = fixture.server.client_builder().endpoint(sending_twice(&fixture.server).await).build().unwrap();
    let s3 = client.s3().s3root("s3://bucket").build().unwrap();
    // The probe is sent twice as well, and finds out that conditions are kept nevertheless.
    let receipt = s3.put("k", "ours").overwrite(false).await.unwrap();
    assert_eq!(receipt.outcome(), PutOutcome::Created);
    let receipt = s3.put("k", "ours again").if_match(receipt.etag().unwrap()).await.unwrap();
    assert_eq!(receipt.outcome(), PutOutcome::Replaced);
    assert_eq!(s3.put("k", "another").overwrite(false).await.unwrap().outcome(), PutOutcome::AlreadyExists);
    assert_eq!(fixture.server.object("bucket", "k").unwrap(), "ours again");
    let refused = fixture.server.log().iter().filter(|request| request.status() == Some(412)).count();
    assert!(refused >= 4, "{refused}");
}

#[tokio::test]
async fn of_20_that_race_while_answers_are_lost_exactly_one_has_created_the_object() {
    let fixture = Arc::new(with_retries(7).await);
    for seed in 0..6 {
        let (key, mut chance) = (format!("race-{seed}"), fastrand::Rng::with_seed(seed));
        let in_parts = seed % 3 == 2;
        for operation in [Operation::PutObject, Operation::CompleteMultipartUpload, Operation::UploadPart] {
            for call in 1..=60 {
                let fault = match chance.u32(..5) {
                    0 | 1 => Fault::lose_answer(),
                    2 => Fault::status(409, "ConditionalRequestConflict"),
                    3 => Fault::status(500, "InternalError"),
                    _ => continue,
                };
                // A conflict is no answer to a part.
                if operation == Operation::UploadPart && chance.u32(..4) != 0 {
                    continue;
                }
                fixture.server.inject(fault.operation(operation).key(&key).on_call(call));
            }
        }
        let value = |writer: usize| vec![writer as u8; if in_parts { (5 << 20) + writer } else { 100 + writer }];
        let writers: Vec<_> = (0..20)
            .map(|writer| {
                let (fixture, key, value) = (Arc::clone(&fixture), key.clone(), value(writer));
                tokio::spawn(async move {
                    let value = if in_parts { pieces(&value, 1 << 20) } else { PutValue::from(value) };
                    let put = fixture.s3.put(key, value).overwrite(false).part_size(5 << 20);
                    put.await.map(|receipt| receipt.outcome())
                })
            })
            .collect();
        let mut outcomes: Vec<Result<PutOutcome>> = Vec::new();
        for writer in writers {
            outcomes.push(writer.await.unwrap());
        }
        fixture.server.clear_faults();
        let created: Vec<usize> =
            (0..20).filter(|writer| matches!(outcomes[*writer], Ok(PutOutcome::Created))).collect();
        assert_eq!(created.len(), 1, "seed {seed}: {outcomes:?}");
        assert!(fixture.server.object("bucket", &key).unwrap() == value(created[0]), "seed {seed}");
        for outcome in &outcomes {
            match outcome {
                Ok(outcome) => assert!(matches!(outcome, PutOutcome::Created | PutOutcome::AlreadyExists)),
                // A stream that met a conflict before anything was stored cannot be read again.
                Err(error) => {
                    assert!(in_parts && error.code() == Some("ConditionalRequestConflict"), "seed {seed}: {error}");
                    assert_unknown(error, false, "a conflict");
                }
            }
        }
        assert_no_uploads(&fixture);
    }
}

#[tokio::test]
async fn a_copy_whose_answer_was_lost_is_looked_up() {
    let fixture = with_retries(1).await;
    let source = fixture.s3.put("source", "text").metadata([("owner", "me")]).await.unwrap();
    let lost = || Fault::lose_answer().operation(Operation::CopyObject);
    let failing = |status, code: &str| Fault::status(status, code).operation(Operation::CopyObject).on_call(2);
    let pinned = || S3GetObject::new("source").if_match(source.etag().unwrap());
    for (what, faults) in [
        ("sent again", vec![lost()]),
        ("attempts used up", vec![lost().times(2)]),
        ("then refused", vec![lost(), failing(403, "AccessDenied")]),
        ("then changed", vec![lost(), failing(412, "PreconditionFailed")]),
        ("then deleted", vec![lost(), failing(404, "NoSuchKey")]),
        ("failed late", vec![Fault::error_in_200("InternalError").operation(Operation::CopyObject)]),
    ] {
        for source in [S3GetObject::new("source"), pinned()] {
            for fault in &faults {
                fixture.server.inject(fault.clone());
            }
            let receipt = fixture.s3.copy(source, "copy").await.unwrap();
            assert_eq!(receipt.outcome(), PutOutcome::Stored, "{what}");
            assert_eq!(fixture.server.object("bucket", "copy").unwrap(), "text", "{what}");
            fixture.s3.delete("copy").await.unwrap();
            fixture.server.clear_faults();
        }
    }
    // What was not made is not there.
    let failed = |fault: Fault| fault.operation(Operation::CopyObject).times(2);
    fixture.server.inject(failed(Fault::status(500, "InternalError")));
    assert_unknown(&fixture.s3.copy("source", "copy").await.unwrap_err(), false, "not there");
    fixture.server.inject(failed(Fault::close_before_answer()));
    let error = fixture.s3.copy_many([("source", "copy")]).await.unwrap_err();
    assert_unknown(&error, true, "perhaps under way");
    fixture.server.inject(failed(Fault::status(412, "PreconditionFailed")));
    let error = fixture.s3.copy(pinned(), "copy").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Changed, "{error}");
    assert_unknown(&error, false, "refused at once");
    fixture.server.clear_faults();
    // The ETag of what was uploaded in parts is not that of its copy.
    fixture.s3.put("large", patterned(LARGE)).await.unwrap();
    fixture.server.inject(lost().times(2));
    let error = fixture.s3.copy("large", "copy").await.unwrap_err();
    assert_unknown(&error, true, "of parts");
}

#[tokio::test]
async fn a_copy_by_parts_is_known_by_its_id_and_never_of_two_versions() {
    let server = S3Server::builder().bucket("bucket").max_copy_size(64 << 20).start().await.unwrap();
    let fixture = Fixture::of(server);
    let value = patterned((64 << 20) + 1);
    fixture.s3.put("source", value.clone()).await.unwrap();
    fixture.server.inject(Fault::lose_answer().operation(Operation::CompleteMultipartUpload).key("copy"));
    let receipt = fixture.s3.copy("source", "copy").await.unwrap();
    assert_stored(&fixture, "copy", &value, &receipt);
    let id = |key: &str| fixture.server.stored_object("bucket", key).unwrap().header(WRITE_ID).map(str::to_owned);
    assert!(id("source").is_some() && id("copy").is_some() && id("source") != id("copy"));

    fixture.server.inject(Fault::without_header("ETag").operation(Operation::HeadObject).key("source"));
    let error = fixture.s3.copy("source", "unpinned").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(error.to_string().contains("ETag"), "{error}");
    assert_eq!(fixture.server.object("bucket", "unpinned"), None);
}

#[tokio::test]
async fn a_delete_that_may_have_been_carried_out_says_so() {
    let fixture = with_retries(1).await;
    fixture.server.put_object("bucket", "k", "x");
    let dropped = || Fault::close_before_answer().times(2);
    fixture.server.inject(dropped());
    assert_unknown(&fixture.s3.delete("k").await.unwrap_err(), true, "one");
    fixture.server.inject(dropped());
    assert_unknown(&fixture.s3.delete_many(["k", "l"]).await.unwrap_err(), true, "many");
    fixture.server.inject(Fault::status(403, "AccessDenied"));
    assert_unknown(&fixture.s3.delete("k").await.unwrap_err(), false, "forbidden");
    fixture.server.inject(dropped());
    assert_unknown(&fixture.s3.get("k").await.unwrap_err(), false, "a read");
}

#[tokio::test]
async fn a_put_that_the_scopes_end_has_ended_may_have_been_carried_out() {
    let fixture = Fixture::new().await;
    fixture.server.hold();
    let put = tokio::spawn(fixture.s3.put("k", "x").into_future());
    fixture.wait_until(|log| log.len() == 1).await;
    fixture.s3.close().await.unwrap();
    let error = put.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    assert_unknown(&error, true, "while it was under way");
    let error = fixture.s3.put("k", "x").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    assert_unknown(&error, false, "after it");
}

#[tokio::test]
async fn a_copy_that_is_refused_after_a_lost_answer_is_looked_up() {
    let fixture = Fixture::new().await;
    fixture.server.put_object("bucket", "source", "text");
    let copy = |fault: Fault| fault.operation(Operation::CopyObject);
    fixture.server.inject(copy(Fault::lose_answer()));
    fixture.server.inject(copy(Fault::status(400, "InvalidRequest")).on_call(2));
    fixture.s3.copy("source", "copy").await.unwrap();
    assert_eq!(fixture.server.object("bucket", "copy").unwrap(), "text");
}

#[tokio::test]
async fn a_probe_whose_answer_was_lost_is_not_the_puts_own_doubt() {
    let fixture = Fixture::new().await;
    fixture.server.inject(Fault::lose_answer().operation(Operation::CompleteMultipartUpload));
    let receipt = fixture.s3.put("k", patterned(LARGE)).overwrite(false).await.unwrap();
    assert_eq!(receipt.outcome(), PutOutcome::Created);
    assert_eq!(fixture.server.keys("bucket"), ["k"]);
}
