//! Uploads that nobody finished: which ones are found, in pages, and what becomes of aborts that fail.

use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use s3flow::testing::{Fault, Operation, S3Server};
use s3flow::{AbandonedUpload, Client, Credentials, ErrorKind};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::cases::objects::odd_keys;
use crate::support::{Fixture, count, poll_once};

const NOW: Duration = Duration::ZERO;

async fn with_pages_of(page_size: usize) -> Fixture {
    Fixture::of(S3Server::builder().bucket("bucket").page_size(page_size).start().await.unwrap())
}

fn ids(uploads: &[AbandonedUpload]) -> Vec<&str> {
    uploads.iter().map(AbandonedUpload::upload_id).collect()
}

#[tokio::test]
async fn every_upload_is_found_once_in_pages_of_any_size() {
    for page_size in [1, 2, 3, 1000] {
        let fixture = with_pages_of(page_size).await;
        let mut begun = Vec::new();
        for key in ["d", "d/a", "d/a", "d/a", "d/b", "d-", "d/c", "d0", "e"] {
            begun.push(fixture.server.abandon_upload("bucket", key, NOW));
        }
        let below_d = [&begun[0], &begun[1], &begun[2], &begun[3], &begun[4], &begun[6]];
        assert_eq!(ids(&fixture.s3.abandoned_uploads(["d"], NOW).await.unwrap()), below_d);
        assert_eq!(ids(&fixture.s3.abandoned_uploads(["d/"], NOW).await.unwrap()), below_d[1..]);
        assert_eq!(fixture.s3.abandoned_uploads([""], NOW).await.unwrap().len(), begun.len());
        let streamed = fixture.s3.abandoned_uploads(["d", "e", "d"], NOW).ordered(true);
        let places: Vec<_> = streamed.map_ok(|upload| upload.index()).try_collect().await.unwrap();
        assert_eq!(places, [0, 0, 0, 0, 0, 0, 1, 2, 2, 2, 2, 2, 2]);

        fixture.server.clear_log();
        let gone = fixture.s3.abandoned_uploads([""], NOW).abort(true).concurrency(2).await.unwrap();
        assert_eq!(gone.len(), begun.len());
        assert_eq!(fixture.server.multipart_uploads("bucket"), Vec::<String>::new());
        assert_eq!(count(&fixture.server.log(), Operation::AbortMultipartUpload), begun.len());
    }
}

#[tokio::test]
async fn every_key_is_told_and_aborted_under_exactly_its_name() {
    let fixture = with_pages_of(7).await;
    let mut keys = odd_keys();
    keys.sort();
    for key in &keys {
        fixture.server.abandon_upload("bucket", key, NOW);
    }
    let urls = fixture.scope().build().unwrap();
    let found = urls.abandoned_uploads(["s3://bucket"], NOW).await.unwrap();
    assert!(found.iter().map(AbandonedUpload::key).eq(&keys));
    assert!(found.iter().zip(&keys).all(|(upload, key)| upload.url() == format!("s3://bucket/{key}")));
    urls.abandoned_uploads(["s3://bucket"], NOW).abort(true).await.unwrap();
    assert_eq!(fixture.server.multipart_uploads("bucket"), Vec::<String>::new());
}

#[tokio::test]
async fn only_what_is_old_enough_is_listed_and_aborted() {
    let fixture = Fixture::new().await;
    let hours = |hours: u64| Duration::from_secs(hours * 3600);
    for (key, age) in [("new", NOW), ("hour", hours(1)), ("day", hours(24)), ("epoch", Duration::MAX)] {
        fixture.server.abandon_upload("bucket", key, age);
    }
    for (older_than, expected) in [
        (NOW, &["day", "epoch", "hour", "new"][..]),
        (Duration::from_secs(60), &["day", "epoch", "hour"]),
        (hours(2), &["day", "epoch"]),
        (hours(25), &["epoch"]),
        (Duration::MAX, &[]),
    ] {
        let found = fixture.s3.abandoned_uploads([""], older_than).await.unwrap();
        assert_eq!(found.iter().map(AbandonedUpload::key).collect::<Vec<_>>(), expected);
    }
    fixture.s3.abandoned_uploads([""], hours(2)).abort(true).await.unwrap();
    assert_eq!(fixture.server.multipart_uploads("bucket"), ["hour", "new"]);
}

/// A server whose answers to everything are these headers and this document.
async fn answering(headers: &'static str, document: &'static str) -> s3flow::S3 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    request.push(stream.read_u8().await.unwrap());
                }
                let length = document.len();
                let answer = format!("HTTP/1.1 200 OK\r\n{headers}content-length: {length}\r\n\r\n{document}");
                stream.write_all(answer.as_bytes()).await.unwrap();
            });
        }
    });
    let client = Client::builder().endpoint(endpoint).credentials(Credentials::new("id", "secret")).use_proxy(false);
    client.build().unwrap().s3().s3root("s3://bucket").build().unwrap()
}

const BEGUN_IN_2030: &str = "<ListMultipartUploadsResult><Upload><Key>k</Key><UploadId>i</UploadId>\
    <Initiated>2030-05-05T10:00:00.000Z</Initiated></Upload></ListMultipartUploadsResult>";

#[tokio::test]
async fn age_is_told_by_the_clock_of_the_server() {
    let s3 = answering("Date: Sun, 05 May 2030 11:00:00 GMT\r\n", BEGUN_IN_2030).await;
    let found = async |seconds| s3.abandoned_uploads([""], Duration::from_secs(seconds)).await.unwrap().len();
    assert_eq!((found(3600).await, found(3601).await), (1, 0));
    // Begun after now, as far as the answer's seconds tell.
    let s3 = answering("Date: Sun, 05 May 2030 09:59:59 GMT\r\n", BEGUN_IN_2030).await;
    let found = async |seconds| s3.abandoned_uploads([""], Duration::from_secs(seconds)).await.unwrap().len();
    assert_eq!((found(0).await, found(1).await), (1, 0));
}

#[tokio::test]
async fn without_the_servers_time_nothing_is_taken_for_abandoned() {
    for headers in ["", "Date: yesterday\r\n"] {
        let s3 = answering(headers, BEGUN_IN_2030).await;
        let error = s3.abandoned_uploads([""], NOW).abort(true).await.unwrap_err();
        assert_eq!((error.kind(), error.operation()), (ErrorKind::Unsupported, Some("abandoned_uploads")), "{error}");
        assert!(error.to_string().contains("without a valid Date"), "{error}");
    }
}

#[tokio::test]
async fn what_is_no_address_is_an_error_before_any_request() {
    let fixture = Fixture::new().await;
    let urls = fixture.scope().build().unwrap();
    let long = "k".repeat(1024);
    for (s3, prefix) in
        [(&urls, "plain"), (&urls, "s3://"), (&fixture.s3, "s3://bucket/x"), (&fixture.s3, long.as_str())]
    {
        let error = s3.abandoned_uploads([prefix], NOW).await.unwrap_err();
        assert_eq!((error.kind(), error.index(), error.attempts()), (ErrorKind::InvalidUrl, Some(0), 0), "{error}");
    }
    let error = fixture.s3.abandoned_uploads(["a"], NOW).concurrency(0).await.unwrap_err();
    assert_eq!((error.kind(), error.index()), (ErrorKind::Config, None));
    assert!(fixture.server.log().is_empty());

    fixture.server.abandon_upload("bucket", "k", NOW);
    let outcomes: Vec<_> = urls.abandoned_uploads(["plain", "s3://bucket"], NOW).ordered(true).collect().await;
    assert_eq!(outcomes.iter().map(Result::is_ok).collect::<Vec<_>>(), [false, true]);
}

#[tokio::test]
async fn an_abort_that_fails_is_an_item_and_the_others_go_on() {
    let fixture = with_pages_of(2).await;
    let keys = ["a", "b", "c", "d", "e"];
    for key in keys {
        fixture.server.abandon_upload("bucket", key, NOW);
    }
    fixture.server.deny("bucket", "c");
    fixture.server.inject(Fault::status(500, "InternalError").operation(Operation::AbortMultipartUpload).key("d"));
    // Somebody else was faster.
    fixture.server.inject(Fault::status(404, "NoSuchUpload").operation(Operation::AbortMultipartUpload).key("e"));
    let outcomes: Vec<_> = fixture.s3.abandoned_uploads(["/"], NOW).abort(true).ordered(true).collect().await;
    let error = outcomes[2].as_ref().unwrap_err();
    assert_eq!(
        (error.kind(), error.index(), error.operation()),
        (ErrorKind::AccessDenied, Some(0), Some("abort_upload"))
    );
    assert_eq!(error.url(), Some("s3://bucket/c"));
    let gone: Vec<_> = outcomes.iter().flatten().map(AbandonedUpload::key).collect();
    assert_eq!(gone, ["a", "b", "d", "e"]);
    assert_eq!(fixture.server.multipart_uploads("bucket"), ["c", "e"]);
}

#[tokio::test]
async fn a_page_that_fails_is_asked_for_again_or_ends_its_prefix() {
    let fixture = with_pages_of(1).await;
    for key in ["a/1", "a/2", "b/1"] {
        fixture.server.abandon_upload("bucket", key, NOW);
    }
    let listing = |fault: Fault| fault.operation(Operation::ListMultipartUploads);
    fixture.server.inject(listing(Fault::status(503, "SlowDown")).on_call(2));
    assert_eq!(fixture.s3.abandoned_uploads(["a"], NOW).await.unwrap().len(), 2);
    fixture.server.clear_faults();
    fixture.server.inject(listing(Fault::status(403, "AccessDenied")).on_call(2));
    let outcomes: Vec<_> = fixture.s3.abandoned_uploads(["a", "b"], NOW).ordered(true).collect().await;
    let told: Vec<_> = outcomes
        .iter()
        .map(|outcome| outcome.as_ref().map(|upload| upload.index()).map_err(|error| (error.kind(), error.index())))
        .collect();
    assert_eq!(told, [Ok(0), Err((ErrorKind::AccessDenied, Some(0))), Ok(1)]);
}

#[tokio::test]
async fn after_a_close_and_after_a_drop_nothing_more_is_sent() {
    let fixture = with_pages_of(1).await;
    for number in 0..20 {
        fixture.server.abandon_upload("bucket", &number.to_string(), NOW);
    }
    let mut uploads = fixture.s3.abandoned_uploads([""], NOW).abort(true).concurrency(2);
    fixture.server.hold();
    assert!(poll_once(&mut uploads).await.is_pending());
    fixture.wait_until(|log| log.len() == 1).await;
    drop(uploads);
    fixture.connections_end(0).await;
    fixture.server.release();
    assert_eq!((fixture.server.log().len(), fixture.server.multipart_uploads("bucket").len()), (1, 20));

    let upload = fixture.s3.abandoned_uploads([""], NOW).next().await.unwrap().unwrap();
    fixture.s3.close().await.unwrap();
    fixture.server.clear_log();
    assert_eq!(fixture.s3.abandoned_uploads([""], NOW).await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(fixture.s3.abort_upload(&upload).await.unwrap_err().kind(), ErrorKind::Closed);
    assert!(fixture.server.log().is_empty());
}

#[tokio::test]
async fn an_abandoned_upload_is_plain_data() {
    let fixture = Fixture::new().await;
    let id = fixture.server.abandon_upload("bucket", "dir/k", Duration::MAX);
    let upload = fixture.s3.abandoned_uploads(["dir"], NOW).await.unwrap().remove(0);
    let expected = json!({
        "index": 0,
        "key": "k",
        "prefix": "s3://bucket/dir",
        "url": "s3://bucket/dir/k",
        "upload_id": id,
        "initiated": "1970-01-01T00:00:00Z",
        "storage_class": "STANDARD",
    });
    assert_eq!(serde_json::to_value(&upload).unwrap(), expected);
    assert_eq!((upload.storage_class(), &upload.clone()), (Some("STANDARD"), &upload));
}
