//! Uploads that the server, the value or the caller let down: what is stored is whole, and nothing else stays.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use s3flow::testing::{Fault, Operation, S3Server};
use s3flow::{Encryption, ErrorKind, KmsKey, PutValue, S3PutObject};

use crate::cases::uploads::{LARGE, patterned, pieces};
use crate::support::{Fixture, count, in_time};

async fn without_conditions() -> Fixture {
    Fixture::of(S3Server::builder().bucket("bucket").conditional_writes(false).start().await.unwrap())
}

fn assert_nothing_stays(fixture: &Fixture) {
    assert_eq!(fixture.server.keys("bucket"), Vec::<String>::new());
    assert_eq!(fixture.server.multipart_uploads("bucket"), Vec::<String>::new());
}

#[tokio::test]
async fn a_short_value_is_one_request_and_a_long_one_is_parts() {
    let fixture = Fixture::new().await;
    for (key, value) in [("bytes", PutValue::from(vec![1; 16 << 20])), ("stream", pieces(&[1; 1 << 20], 1000))] {
        fixture.server.clear_log();
        fixture.s3.put(key, value).await.unwrap();
        let operations: Vec<Operation> = fixture.server.log().iter().map(|request| request.operation()).collect();
        assert_eq!(operations, [Operation::PutObject], "{key}");
    }
    for (key, value) in [("bytes", PutValue::from(patterned(LARGE))), ("stream", pieces(&patterned(LARGE), 1 << 20))] {
        fixture.server.clear_log();
        fixture.s3.put(key, value).await.unwrap();
        let stored = fixture.server.stored_object("bucket", key).unwrap();
        assert_eq!(stored.parts(), [8 << 20, 8 << 20, (4 << 20) + 1], "{key}");
        assert!(stored.bytes() == patterned(LARGE));
        assert_eq!(fixture.server.log().len(), 5);
    }
}

#[tokio::test]
async fn what_is_said_of_an_object_is_stored_with_it_in_parts_too() {
    let fixture = Fixture::new().await;
    for (key, value) in [("small", vec![1]), ("large", vec![1; LARGE])] {
        let object = S3PutObject::new(key, value)
            .content_type("text/x")
            .cache_control("no-store")
            .content_disposition("attachment; filename=\"x\"")
            .content_encoding("gzip")
            .content_language("de")
            .expires(std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(86_400))
            .storage_class("STANDARD_IA")
            .tags([("team", "a b"), ("é", "")])
            .metadata([("owner", "me")])
            .encryption(Encryption::AwsKmsDsse(KmsKey::new("alias/k").context([("a", "b")])));
        fixture.s3.put_many([object]).await.unwrap();
        let stored = fixture.server.stored_object("bucket", key).unwrap();
        for (name, value) in [
            ("content-type", "text/x"),
            ("cache-control", "no-store"),
            ("content-disposition", "attachment; filename=\"x\""),
            ("content-encoding", "gzip"),
            ("content-language", "de"),
            ("expires", "Fri, 02 Jan 1970 00:00:00 GMT"),
            ("x-amz-meta-metaflow-user-attributes", r#"{"owner":"me"}"#),
        ] {
            assert_eq!(stored.header(name), Some(value), "{key}: {name}");
        }
        assert_eq!(stored.storage_class(), "STANDARD_IA");
        assert_eq!(stored.tags(), [("team".to_owned(), "a b".to_owned()), ("é".to_owned(), String::new())]);
        assert_eq!((stored.encryption(), stored.kms_key_id()), (Some("aws:kms:dsse"), Some("alias/k")));
        assert!(stored.encryption_context().is_some());
    }
}

#[tokio::test]
async fn a_part_that_fails_for_good_ends_the_upload_and_leaves_nothing() {
    let fixture = Fixture::new().await;
    fixture.server.inject(Fault::status(403, "AccessDenied").operation(Operation::UploadPart).on_call(2));
    let error = fixture.s3.put("k", vec![1; LARGE]).await.unwrap_err();
    assert_eq!((error.kind(), error.operation()), (ErrorKind::AccessDenied, Some("put")), "{error}");
    assert_nothing_stays(&fixture);
}

#[tokio::test]
async fn a_part_that_fails_is_noticed_while_the_value_does_not_get_on() {
    let fixture = Fixture::new().await;
    fixture.server.inject(Fault::status(403, "AccessDenied").operation(Operation::UploadPart));
    let stuck =
        futures::stream::iter([Ok::<_, std::io::Error>(Bytes::from(vec![1; LARGE]))]).chain(futures::stream::pending());
    let put = fixture.s3.put("k", PutValue::stream(stuck)).into_future();
    let error = in_time("the failure of the part", put).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AccessDenied, "{error}");
    assert_nothing_stays(&fixture);
}

#[tokio::test]
async fn parts_and_completions_that_fail_for_a_moment_are_sent_again() {
    let fixture = Fixture::new().await;
    fixture.server.inject(Fault::status(500, "InternalError").operation(Operation::CreateMultipartUpload));
    fixture.server.inject(Fault::close_before_answer().operation(Operation::UploadPart).on_call(2));
    fixture.server.inject(Fault::error_in_200("InternalError").operation(Operation::CompleteMultipartUpload));
    fixture.s3.put("k", patterned(LARGE)).await.unwrap();
    assert!(fixture.server.object("bucket", "k").unwrap() == patterned(LARGE));
    assert!(fixture.server.multipart_uploads("bucket").is_empty());
}

#[tokio::test]
async fn a_completion_whose_answer_was_lost_is_recognised() {
    let fixture = Fixture::new().await;
    fixture.server.inject(Fault::lose_answer().operation(Operation::CompleteMultipartUpload));
    let receipt = fixture.s3.put("k", patterned(LARGE)).await.unwrap();
    assert!(receipt.uploaded() && receipt.etag().unwrap().ends_with("-3\""));
    assert_eq!(receipt.etag(), Some(fixture.server.stored_object("bucket", "k").unwrap().etag()));
}

#[tokio::test]
async fn a_completion_that_a_busy_server_carried_out_is_recognised() {
    let fixture = Fixture::new().await;
    let complete = |fault: Fault| fault.operation(Operation::CompleteMultipartUpload);
    fixture.server.inject(complete(Fault::lose_answer()));
    fixture.server.inject(complete(Fault::status(503, "SlowDown")).on_call(2));
    assert!(fixture.s3.put("k", patterned(LARGE)).await.unwrap().uploaded());
    assert!(fixture.server.object("bucket", "k").unwrap() == patterned(LARGE));
}

#[tokio::test]
async fn an_upload_that_was_taken_away_is_an_error() {
    let fixture = Fixture::new().await;
    fixture.server.inject(Fault::status(404, "NoSuchUpload").operation(Operation::CompleteMultipartUpload));
    let error = fixture.s3.put("k", vec![1; LARGE]).await.unwrap_err();
    assert_eq!((error.code(), error.attempts()), (Some("NoSuchUpload"), 1), "{error}");
    // It is not that an object is not there.
    assert_eq!((error.kind(), error.is_not_found()), (ErrorKind::Other, false), "{error}");
    assert_nothing_stays(&fixture);
}

#[tokio::test]
async fn a_conflict_begins_the_upload_anew_when_the_value_can_be_read_again() {
    let fixture = Fixture::new().await;
    let conflict = || Fault::status(409, "ConditionalRequestConflict");
    fixture.server.inject(conflict().operation(Operation::PutObject).key("small"));
    assert!(fixture.s3.put("small", "x").overwrite(false).await.unwrap().uploaded());

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    std::fs::write(&path, patterned(LARGE)).unwrap();
    for (key, value) in [("bytes", PutValue::from(patterned(LARGE))), ("file", PutValue::file(&path))] {
        fixture.server.inject(conflict().operation(Operation::CompleteMultipartUpload).key(key));
        fixture.server.clear_log();
        assert!(fixture.s3.put(key, value).overwrite(false).await.unwrap().uploaded(), "{key}");
        assert!(fixture.server.object("bucket", key).unwrap() == patterned(LARGE));
        let log = fixture.server.log().into_iter().filter(|request| request.key() == Some(key)).collect::<Vec<_>>();
        assert_eq!(count(&log, Operation::CreateMultipartUpload), 2, "{key}");
    }
    fixture.server.inject(conflict().operation(Operation::CompleteMultipartUpload).key("stream"));
    let error = fixture.s3.put("stream", pieces(&patterned(LARGE), 1 << 20)).overwrite(false).await.unwrap_err();
    assert_eq!((error.code(), error.is_retryable()), (Some("ConditionalRequestConflict"), true), "{error}");
    assert!(fixture.server.multipart_uploads("bucket").is_empty());
}

#[tokio::test]
async fn a_value_that_cannot_be_read_stores_nothing() {
    let fixture = Fixture::new().await;
    for length in [10, LARGE] {
        let broken = futures::stream::iter([Ok(Bytes::from(vec![1; length])), Err("the tape tore")]);
        let error = fixture.s3.put("k", PutValue::stream(broken)).await.unwrap_err();
        assert_eq!((error.kind(), error.url()), (ErrorKind::Io, Some("s3://bucket/k")), "{error}");
        assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "the tape tore");
        assert_nothing_stays(&fixture);
    }
}

#[tokio::test]
async fn a_file_that_changes_while_it_is_uploaded_stores_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    let shrink = |path: &std::path::Path| std::fs::write(path, vec![1; LARGE / 2]).unwrap();
    let grow = |path: &std::path::Path| std::fs::write(path, vec![1; LARGE * 2]).unwrap();
    // The clock of a file system is coarse.
    let rewrite = |path: &std::path::Path| {
        let file = std::fs::File::options().write(true).open(path).unwrap();
        file.set_modified(std::time::SystemTime::now() + Duration::from_secs(5)).unwrap();
    };
    for (what, change) in
        [("shrinks", &shrink as &dyn Fn(&std::path::Path)), ("grows", &grow), ("is rewritten", &rewrite)]
    {
        let fixture = Fixture::new().await;
        std::fs::write(&path, vec![1; LARGE]).unwrap();
        fixture.server.hold();
        let put = tokio::spawn(fixture.s3.put("k", PutValue::file(&path)).into_future());
        // The file is open, and nothing of it is read.
        fixture.wait_until(|log| log.len() == 1).await;
        change(&path);
        fixture.server.release();
        let error = put.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Changed, "a file that {what}: {error}");
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
        assert_nothing_stays(&fixture);
    }
}

#[tokio::test]
async fn parts_are_all_the_same_where_that_is_asked_for() {
    let fixture = Fixture::new().await;
    let mib = 1 << 20;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    std::fs::write(&path, patterned(LARGE)).unwrap();
    let values = || {
        [
            ("bytes", PutValue::from(patterned(LARGE))),
            ("stream", pieces(&patterned(LARGE), mib)),
            ("file", PutValue::file(&path)),
        ]
    };
    let parts = |key: &str| fixture.server.stored_object("bucket", key).unwrap().parts().to_vec();
    let scope = fixture.scope().s3root("s3://bucket").part_size(6 * mib as u64).build().unwrap();
    let client = fixture.server.client_builder().part_size(7 * mib as u64).build().unwrap();
    let of_client = client.s3().s3root("s3://bucket").build().unwrap();
    for (key, _) in values() {
        let value = || values().into_iter().find(|(name, _)| *name == key).unwrap().1;
        let rest = |part: u64| LARGE as u64 % part;
        fixture.s3.put(key, value()).part_size(5 * mib as u64).await.unwrap();
        let five = 5 * mib as u64;
        assert_eq!(parts(key), [five, five, five, five, rest(five)], "{key}");
        scope.put(key, value()).await.unwrap();
        let six = 6 * mib as u64;
        assert_eq!(parts(key), [six, six, six, rest(six)], "{key}");
        of_client.put_many([(key, value())]).await.unwrap();
        let seven = 7 * mib as u64;
        assert_eq!(parts(key), [seven, seven, rest(seven)], "{key}");
        assert!(fixture.server.object("bucket", key).unwrap() == patterned(LARGE), "{key}");
        // One part is one request.
        fixture.server.clear_log();
        scope.put_many([(key, value())]).part_size(32 * mib as u64).await.unwrap();
        assert_eq!(fixture.server.log().len(), 1, "{key}");
    }
    fixture.server.clear_log();
    for bytes in [0, (5 << 20) - 1, (5 << 30) + 1] {
        let one = fixture.s3.put("k", "x").part_size(bytes).await.unwrap_err();
        let many: Vec<_> = fixture.s3.put_many([("a", "x"), ("b", "x")]).part_size(bytes).collect().await;
        assert_eq!(many.len(), 1);
        for error in many.into_iter().map(Result::unwrap_err).chain([one]) {
            assert_eq!((error.kind(), error.index()), (ErrorKind::Config, None), "{error}");
        }
    }
    assert!(fixture.server.log().is_empty());
}

#[tokio::test]
async fn a_stream_that_is_always_ready_lets_others_run() {
    let fixture = Fixture::new().await;
    let nothing = futures::stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::new()));
    let put = fixture.s3.put("k", PutValue::stream(nothing)).into_future();
    assert!(tokio::time::timeout(Duration::from_millis(50), put).await.is_err());
}

#[tokio::test]
async fn at_most_five_parts_of_a_stream_are_in_memory() {
    let fixture = Fixture::new().await;
    fixture.server.inject(Fault::stall().operation(Operation::UploadPart).times(100));
    let (read, total) = (std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0)), 100_usize);
    let counter = std::sync::Arc::clone(&read);
    let chunks = futures::stream::iter(0..total).map(move |_| {
        counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Ok::<_, std::io::Error>(Bytes::from(vec![1; 1 << 20]))
    });
    let put = tokio::spawn(fixture.s3.put("k", PutValue::stream(chunks)).into_future());
    fixture.wait_until(|log| count(log, Operation::UploadPart) == 4).await;
    in_time("the fifth part is read", async {
        while read.load(std::sync::atomic::Ordering::SeqCst) < 40 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // Whatever could go on has gone on.
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(read.load(std::sync::atomic::Ordering::SeqCst), 40);
    put.abort();
}

#[tokio::test]
async fn a_batch_with_an_impossible_input_uploads_nothing_and_names_it() {
    let fixture = Fixture::new().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let missing = directory.path().join("missing");
    let urls = fixture.scope().build().unwrap();

    let refused = |error: s3flow::Error, kind: ErrorKind, named: &str| {
        assert_eq!((error.kind(), error.index(), error.attempts()), (kind, Some(1), 0), "{error}");
        assert!(error.to_string().contains(named), "{error}");
    };
    let files = |path: &std::path::Path| fixture.s3.put_files([("a", file.as_path()), ("b", path)]);
    refused(files(&missing).await.unwrap_err(), ErrorKind::Io, missing.to_str().unwrap());
    refused(files(directory.path()).await.unwrap_err(), ErrorKind::InvalidObject, "is a directory");
    let put = urls.put_many([("s3://bucket/a", "x"), ("b", "x")]);
    refused(put.await.unwrap_err(), ErrorKind::InvalidUrl, "\"b\"");
    for (object, named) in [
        (S3PutObject::new("b", "x").metadata([("n", "x".repeat(2048))]), "2048"),
        (S3PutObject::new("b", "x").content_type("a\nb"), "content-type"),
        (S3PutObject::new("b", "x").tags([("", "x")]), "tag"),
        (serde_json::from_str(r#"{"key": "b"}"#).unwrap(), "no value"),
    ] {
        let error = fixture.s3.put_many([S3PutObject::new("a", "x"), object]).await.unwrap_err();
        refused(error, ErrorKind::InvalidObject, named);
    }
    assert!(fixture.server.log().is_empty());

    // As a stream, the items are the inputs that are wrong, and no others.
    let outcomes: Vec<_> = urls.put_many([("x", "1"), ("s3://bucket/a", "2"), ("y", "3")]).collect::<Vec<_>>().await;
    let indices: Vec<_> = outcomes.into_iter().map(|outcome| outcome.unwrap_err().index()).collect();
    assert_eq!(indices, [Some(0), Some(2)]);
    assert!(fixture.server.log().is_empty());
}

#[tokio::test]
async fn an_error_of_the_input_stream_is_an_item_and_the_others_are_stored() {
    let fixture = Fixture::new().await;
    let objects = futures::stream::iter([("a", "1"), ("", "2"), ("c", "3")]).map(|(key, value)| {
        let wrong = fixture.s3.s3root().is_some() && key.is_empty();
        if wrong { Err(s3flow::S3::builder().s3root("nowhere").build().unwrap_err()) } else { Ok((key, value)) }
    });
    let objects: Vec<_> = objects.collect().await;
    let mut outcomes: Vec<_> =
        fixture.s3.put_from(futures::stream::iter(objects)).ordered(true).collect::<Vec<_>>().await;
    assert_eq!(outcomes.remove(1).unwrap_err().index(), Some(1));
    assert_eq!(outcomes.into_iter().map(|outcome| outcome.unwrap().index()).collect::<Vec<_>>(), [0, 2]);
    assert_eq!(fixture.server.keys("bucket"), ["a", "c"]);
}

#[tokio::test]
async fn a_server_that_ignores_conditions_is_found_out_and_nothing_is_damaged() {
    let fixture = without_conditions().await;
    fixture.server.put_object("bucket", "dir/there", "first");
    for value in [vec![1], vec![1; LARGE]] {
        let error = fixture.s3.put("dir/there", value.clone()).overwrite(false).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert!(error.to_string().contains("check_then_put"), "{error}");
        let error = fixture.s3.put("dir/there", value).if_match("\"an etag\"").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    }
    let error = fixture.s3.put_many([("dir/new", "x")]).overwrite(false).await.unwrap_err();
    assert_eq!((error.kind(), error.index()), (ErrorKind::Unsupported, Some(0)));
    assert_eq!(fixture.server.keys("bucket"), ["dir/there"]);
    assert_eq!(fixture.server.object("bucket", "dir/there").unwrap(), "first");
    assert!(fixture.server.multipart_uploads("bucket").is_empty());
    let probes: Vec<String> =
        fixture.server.log().iter().filter_map(|request| Some(request.key()?.to_owned())).collect();
    assert!(!probes.is_empty() && probes.iter().all(|key| key.starts_with("dir/.s3flow-probe-")), "{probes:?}");
}

#[tokio::test]
async fn completions_are_tried_on_their_own() {
    let server = S3Server::builder().bucket("bucket").conditional_completes(false).start().await.unwrap();
    let fixture = Fixture::of(server);
    assert!(fixture.s3.put("small", "x").overwrite(false).await.unwrap().uploaded());
    let error = fixture.s3.put("large", vec![1; LARGE]).overwrite(false).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert_eq!(fixture.server.keys("bucket"), ["small"]);
}

#[tokio::test]
async fn a_server_is_tried_once_for_a_batch_and_the_object_of_the_trial_is_removed() {
    let fixture = Fixture::new().await;
    let objects = (0..50).map(|number| (format!("k{number}"), "x"));
    assert_eq!(fixture.s3.put_many(objects).overwrite(false).await.unwrap().len(), 50);
    fixture.s3.put("k0", "y").overwrite(false).await.unwrap();
    let log = fixture.server.log();
    assert_eq!(count(&log, Operation::PutObject), 50 + 2 + 1);
    assert_eq!(count(&log, Operation::DeleteObject), 1);
    assert_eq!(fixture.server.keys("bucket").len(), 50);
}

#[tokio::test]
async fn a_trial_that_fails_is_an_error_and_is_repeated_the_next_time() {
    let fixture = Fixture::new().await;
    fixture.server.inject(Fault::status(403, "AccessDenied").operation(Operation::PutObject));
    let error = fixture.s3.put("k", "x").overwrite(false).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AccessDenied, "{error}");
    assert!(fixture.s3.put("k", "x").overwrite(false).await.unwrap().uploaded());
}

#[tokio::test]
async fn a_large_value_that_is_there_is_not_sent_without_overwrite() {
    let fixture = Fixture::new().await;
    fixture.server.put_object("bucket", "k", "first");
    assert!(!fixture.s3.put("k", vec![1; LARGE]).overwrite(false).await.unwrap().uploaded());
    let parts = fixture
        .server
        .log()
        .into_iter()
        .filter(|request| request.operation() == Operation::UploadPart && request.key() == Some("k"));
    assert_eq!(parts.count(), 0);
}

#[tokio::test]
async fn a_large_object_is_copied_by_parts_with_everything_that_belongs_to_it() {
    let server = S3Server::builder().bucket("bucket").bucket("other").max_copy_size(100 << 20).start().await.unwrap();
    let fixture = Fixture::of(server);
    let length = (130 << 20) + 1;
    let object = S3PutObject::new("k", patterned(length))
        .content_type("text/x")
        .cache_control("no-store")
        .tags([("team", "a b")])
        .metadata([("owner", "me")]);
    fixture.s3.put_many([object]).await.unwrap();
    let urls = fixture.scope().build().unwrap();
    urls.copy("s3://bucket/k", "s3://other/copy").storage_class("STANDARD_IA").await.unwrap();
    let copy = fixture.server.stored_object("other", "copy").unwrap();
    assert!(copy.bytes() == patterned(length));
    assert_eq!(copy.parts(), [64 << 20, 64 << 20, (2 << 20) + 1]);
    assert_eq!((copy.header("content-type"), copy.header("cache-control")), (Some("text/x"), Some("no-store")));
    assert_eq!(copy.header("x-amz-meta-metaflow-user-attributes"), Some(r#"{"owner":"me"}"#));
    assert_eq!(copy.tags(), [("team".to_owned(), "a b".to_owned())]);
    assert_eq!(copy.storage_class(), "STANDARD_IA");
    // Every part is of the object that was there at the beginning.
    let etag = fixture.server.stored_object("bucket", "k").unwrap().etag().to_owned();
    for request in fixture.server.log() {
        if request.operation() == Operation::UploadPartCopy {
            assert_eq!(request.header("x-amz-copy-source-if-match"), Some(etag.as_str()));
        }
    }
}

#[tokio::test]
async fn a_copy_that_is_refused_for_another_reason_says_so() {
    let fixture = Fixture::new().await;
    fixture.server.put_object("bucket", "k", "x");
    fixture.server.inject(Fault::status(400, "InvalidRequest").operation(Operation::CopyObject));
    let error = fixture.s3.copy("k", "copy").await.unwrap_err();
    assert_eq!((error.code(), error.operation()), (Some("InvalidRequest"), Some("copy")), "{error}");
    // Also when nobody may know how long it is.
    fixture.server.inject(Fault::status(400, "InvalidRequest").operation(Operation::CopyObject));
    fixture.server.inject(Fault::status(403, "AccessDenied").operation(Operation::HeadObject));
    assert_eq!(fixture.s3.copy("k", "copy").await.unwrap_err().code(), Some("InvalidRequest"));
    fixture.server.clear_faults();
    let error = fixture.s3.copy(s3flow::S3GetObject::new("k").length(1), "copy").await.unwrap_err();
    assert_eq!((error.kind(), error.attempts()), (ErrorKind::InvalidRange, 0));
}

#[tokio::test]
async fn a_customers_key_is_not_sent_over_plain_http() {
    let client = s3flow::Client::builder()
        .endpoint("http://192.0.2.1")
        .credentials(s3flow::Credentials::new("AKID", "secret"))
        .use_proxy(false)
        .build()
        .unwrap();
    let key = s3flow::CustomerKey::new([7; 32]);
    let s3 = client.s3().s3root("s3://bucket").encryption(Encryption::Customer(key)).build().unwrap();
    for error in [
        s3.put("k", "x").await.unwrap_err(),
        s3.get("k").await.unwrap_err(),
        s3.info("k").await.unwrap_err(),
        s3.copy("k", "l").await.unwrap_err(),
        s3.put("k", vec![1; LARGE]).await.unwrap_err(),
    ] {
        assert_eq!((error.kind(), error.attempts()), (ErrorKind::Config, 0), "{error}");
        assert!(error.to_string().contains("192.0.2.1") && !format!("{error:?}").contains("BwcH"), "{error:?}");
    }
}

#[tokio::test]
async fn a_stream_is_as_long_as_it_was_said_to_be_or_not_stored() {
    const MIB: usize = 1 << 20;
    let fixture = Fixture::new().await;
    let put = |key: &str, pieces: usize, said: usize| {
        let pieces = futures::stream::iter(vec![Bytes::from(vec![7; MIB]); pieces]).map(Ok::<_, std::io::Error>);
        fixture.s3.put(key, PutValue::stream(pieces).with_length((said * MIB) as u64)).into_future()
    };
    for (length, operations) in [(0, 1), (1, 1), (16, 1), (17, 3 + 2)] {
        fixture.server.clear_log();
        let receipt = put("k", length, length).await.unwrap();
        assert_eq!(fixture.server.object("bucket", "k").unwrap().len(), length * MIB);
        assert_eq!(receipt.report().unwrap().requests, operations, "{length} MiB");
    }
    for (pieces, said, told) in [
        (2, 1, "more than the 1048576 bytes"),
        (1, 0, "more than the 0 bytes"),
        (1, 2, "1048576 of the 2097152 bytes"),
        (20, 19, "more than the 19922944 bytes"),
        (19, 20, "19922944 of the 20971520 bytes"),
    ] {
        let error = put("other", pieces, said).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidObject);
        assert!(error.to_string().contains(told) && !error.is_outcome_unknown(), "{error}");
    }
    assert_eq!(fixture.server.keys("bucket"), ["k"]);
    assert!(fixture.server.multipart_uploads("bucket").is_empty());
}
