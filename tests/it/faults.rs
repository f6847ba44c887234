//! What the library does when server and network do not behave: one retry loop, resumed downloads, typed failures.

use std::error::Error as _;
use std::time::{Duration, Instant};

use s3flow::testing::{Fault, Operation, S3Server};
use s3flow::{ErrorKind, S3GetObject};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::support::{Fixture, count};

/// Bytes of which every range is different.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|position| (position / 256 * 31 + position) as u8).collect()
}

#[tokio::test]
async fn failures_that_may_pass_are_tried_again() {
    for fault in [
        Fault::status(500, "InternalError"),
        Fault::status(502, "BadGateway"),
        Fault::status(503, "SlowDown"),
        Fault::status(400, "RequestTimeout"),
        Fault::status(429, "TooManyRequests"),
        Fault::html(502),
        Fault::close_before_answer(),
        Fault::close_after(3),
    ] {
        let fixture = Fixture::new().await;
        fixture.server.put_object("bucket", "k", "0123456789");
        fixture.server.inject(fault.clone());
        let object = fixture.s3.get("k").await.unwrap();
        assert_eq!(object.text().await.unwrap(), "0123456789");
        assert_eq!(fixture.server.log().len(), 2, "{fault:?}");
    }
}

#[tokio::test]
async fn permanent_failures_come_back_at_once() {
    for (fault, kind) in [
        (Fault::status(403, "AccessDenied"), ErrorKind::AccessDenied),
        (Fault::status(403, "SignatureDoesNotMatch"), ErrorKind::AccessDenied),
        (Fault::status(404, "NoSuchKey"), ErrorKind::NotFound),
        (Fault::status(404, "NoSuchBucket"), ErrorKind::NoSuchBucket),
        (Fault::status(416, "InvalidRange"), ErrorKind::InvalidRange),
        (Fault::status(400, "InvalidArgument"), ErrorKind::Other),
        (Fault::status(501, "NotImplemented"), ErrorKind::Unsupported),
        (Fault::html(404), ErrorKind::NotFound),
    ] {
        let fixture = Fixture::new().await;
        fixture.server.put_object("bucket", "k", "text");
        fixture.server.inject(fault.clone().times(usize::MAX));
        for error in [fixture.s3.get("k").await.unwrap_err(), fixture.s3.put("k", "x").await.unwrap_err()] {
            assert_eq!((error.kind(), error.attempts()), (kind, 1), "{fault:?}: {error}");
            assert!(!error.is_retryable());
        }
        assert_eq!(fixture.files(), 0);
    }
}

#[tokio::test]
async fn attempts_are_bounded_and_the_error_tells_how_many_there_were() {
    let server = S3Server::start().await.unwrap();
    let client = server.client_builder().retries(2).build().unwrap();
    let fixture = Fixture::with_client(server, client);
    fixture.server.inject(Fault::status(503, "SlowDown").times(usize::MAX));
    let error = fixture.s3.get("k").await.unwrap_err();
    assert_eq!((error.kind(), error.attempts(), error.code()), (ErrorKind::Throttled, 3, Some("SlowDown")));
    assert!(error.is_retryable() && error.request_id().is_some());
    assert_eq!(fixture.server.log().len(), 3);
}

#[tokio::test]
async fn retry_after_is_waited_for() {
    let fixture = Fixture::new().await;
    fixture.server.put_object("bucket", "k", "text");
    fixture.server.inject(Fault::status(503, "SlowDown").retry_after(1));
    let start = Instant::now();
    fixture.s3.get("k").await.unwrap();
    assert!(start.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn an_error_within_a_200_is_an_error() {
    let fixture = Fixture::new().await;
    fixture.server.inject(Fault::error_in_200("InternalError").operation(Operation::PutObject));
    fixture.s3.put("k", "text").await.unwrap();
    assert_eq!(count(&fixture.server.log(), Operation::PutObject), 2);
    fixture.server.inject(Fault::error_in_200("AccessDenied").operation(Operation::PutObject));
    let error = fixture.s3.put("k", "text").await.unwrap_err();
    assert_eq!((error.code(), error.status(), error.attempts()), (Some("AccessDenied"), Some(200), 1));
}

#[tokio::test]
async fn a_download_goes_on_from_the_byte_reached_and_is_pinned() {
    let fixture = Fixture::new().await;
    let bytes = pattern(5 << 20);
    fixture.server.put_object("bucket", "k", bytes.clone());
    for (call, after) in [(1, 1_000_000), (2, 2_000_000)] {
        fixture.server.inject(Fault::close_after(after).on_call(call));
    }
    let object = fixture.s3.get("k").await.unwrap();
    assert!(object.blob().await.unwrap() == bytes);
    let log = fixture.server.log();
    assert_eq!(log.len(), 3);
    assert_eq!((log[0].header("range"), log[0].header("if-match")), (None, None));
    let etag = object.etag();
    let mut reached = 0;
    for request in &log[1..] {
        assert_eq!(request.header("if-match"), etag);
        let (start, end) = request.header("range").unwrap()["bytes=".len()..].split_once('-').unwrap();
        let start: u64 = start.parse().unwrap();
        assert!(start > reached, "{start} comes after {reached}");
        assert_eq!(end, (bytes.len() - 1).to_string());
        reached = start;
    }
}

#[tokio::test]
async fn a_resumed_range_stays_within_the_range() {
    let fixture = Fixture::new().await;
    let bytes = pattern(1 << 20);
    fixture.server.put_object("bucket", "k", bytes.clone());
    fixture.server.inject(Fault::close_after(100_000));
    let object = fixture.s3.get(S3GetObject::new("k").offset(1000).length(500_000)).await.unwrap();
    assert!(object.blob().await.unwrap() == bytes[1000..501_000]);
    let range = object.range_info().unwrap();
    assert_eq!((range.total_size, range.request_offset, range.request_length), (1 << 20, 1000, 500_000));
}

#[tokio::test]
async fn an_object_that_is_replaced_while_it_is_read_is_changed_and_never_mixed() {
    let fixture = Fixture::new().await;
    fixture.server.put_object("bucket", "k", vec![b'a'; 4 << 20]);
    fixture.server.inject(Fault::close_after(1 << 20).on_call(1));
    let get = tokio::spawn(fixture.s3.get("k").into_future());
    fixture.wait_until(|log| log.len() == 1 && log[0].finish().is_some()).await;
    // The second attempt is held until the object is another.
    fixture.server.hold();
    fixture.server.put_object("bucket", "k", vec![b'b'; 4 << 20]);
    fixture.server.release();
    let error = get.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.url()), (ErrorKind::Changed, Some("s3://bucket/k")), "{error}");
    assert_eq!(fixture.files(), 0);
}

#[tokio::test]
async fn a_download_without_an_etag_begins_anew() {
    let fixture = Fixture::new().await;
    let bytes = pattern(3 << 20);
    fixture.server.put_object("bucket", "k", bytes.clone());
    fixture.server.inject(Fault::close_after(2 << 20).on_call(1));
    fixture.server.inject(Fault::without_header("etag").times(usize::MAX));
    let object = fixture.s3.get("k").await.unwrap();
    assert!(object.blob().await.unwrap() == bytes);
    assert!(fixture.server.log().iter().all(|request| request.header("range").is_none()));
    assert_eq!(object.etag(), None);
    drop(object);
    assert_eq!(fixture.files(), 0);
}

#[tokio::test]
async fn a_server_that_ignores_ranges_is_cut_to_the_range() {
    let fixture = Fixture::new().await;
    fixture.server.put_object("bucket", "k", "0123456789");
    fixture.server.inject(Fault::ignore_range().times(usize::MAX));
    let get = |object: S3GetObject| fixture.s3.get(object).into_future();
    let whole = || S3GetObject::new("k");
    for (object, text) in [(whole().offset(2).length(3), "234"), (whole().offset(8), "89"), (whole().length(-3), "789")]
    {
        assert_eq!(get(object).await.unwrap().text().await.unwrap(), text);
    }
    assert_eq!(get(whole().offset(10)).await.unwrap_err().kind(), ErrorKind::InvalidRange);
}

#[tokio::test]
async fn an_answer_with_other_bytes_than_asked_for_is_refused() {
    let fixture = Fixture::new().await;
    fixture.server.put_object("bucket", "k", "0123456789");
    for wrong in ["bytes 0-3/10", "bytes 1-4/10", "nonsense"] {
        fixture.server.inject(Fault::with_header("content-range", wrong));
        let error = fixture.s3.get(S3GetObject::new("k").offset(2).length(4)).await.unwrap_err();
        assert_eq!((error.kind(), error.attempts()), (ErrorKind::Unsupported, 1), "{wrong}: {error}");
    }
    assert_eq!(fixture.files(), 0);
}

#[tokio::test]
async fn headers_that_cannot_be_read_do_not_fail_the_get() {
    let fixture = Fixture::new().await;
    fixture.server.put_object("bucket", "k", "text");
    for (name, value) in [
        ("x-amz-meta-other", &b"caf\xc3\xa9"[..]),
        ("x-amz-meta-metaflow-user-attributes", b"not json"),
        ("last-modified", b"yesterday"),
        ("content-type", b"\xff"),
    ] {
        fixture.server.inject(Fault::with_header(name, value));
        let object = fixture.s3.get("k").await.unwrap();
        assert_eq!(object.text().await.unwrap(), "text");
        assert_eq!(object.metadata(), None);
    }
}

#[tokio::test]
async fn a_bucket_in_another_region_is_followed_with_a_new_signature() {
    let server = S3Server::builder().bucket("bucket").region("eu-west-1").start().await.unwrap();
    let client = server.client_builder().region("us-east-1").build().unwrap();
    let fixture = Fixture::with_client(server, client);
    fixture.server.put_object("bucket", "k", "text");
    // As S3 answers: with the region, on every verb.
    fixture.server.inject(Fault::redirect(301, None, Some("eu-west-1")));
    fixture.s3.put("new", "x").await.unwrap();
    assert_eq!(fixture.s3.get("k").await.unwrap().text().await.unwrap(), "text");
    assert_eq!(fixture.server.log().len(), 3, "the region is remembered");
    assert!(fixture.server.object("bucket", "new").is_some());
}

#[tokio::test]
async fn a_temporary_redirect_is_followed_for_its_request_alone() {
    let (first, second) = (Fixture::new().await, S3Server::start().await.unwrap());
    first.server.put_object("bucket", "k", "first");
    second.put_object("bucket", "k", "second");
    first.server.inject(Fault::redirect(307, Some(second.endpoint()), None));
    let client = first.server.client_builder().build().unwrap();
    let s3 = client.s3().s3root("s3://bucket").tmproot(first.tmproot.path()).build().unwrap();
    assert_eq!(s3.get("k").await.unwrap().text().await.unwrap(), "second");
    assert_eq!(s3.get("k").await.unwrap().text().await.unwrap(), "first");
}

#[tokio::test]
async fn redirects_that_lead_nowhere_end() {
    let fixture = Fixture::new().await;
    let elsewhere = format!("{}/bucket/another-key", fixture.server.endpoint());
    fixture.server.inject(Fault::status(301, "PermanentRedirect"));
    fixture.server.inject(Fault::with_header("location", elsewhere));
    let error = fixture.s3.get("k").await.unwrap_err();
    assert_eq!((error.kind(), error.status()), (ErrorKind::Other, Some(301)), "{error}");
    fixture.server.inject(Fault::redirect(307, Some("https://s3.evil.example"), None));
    let error = fixture.s3.get("k").await.unwrap_err();
    assert_eq!(error.status(), Some(307));
    assert!(error.to_string().contains("it leads to s3.evil.example, which is not followed"), "{error}");
    fixture.server.inject(Fault::redirect(307, Some(fixture.server.endpoint()), None).times(usize::MAX));
    let error = fixture.s3.get("k").await.unwrap_err();
    assert!(error.to_string().contains("redirected"), "{error}");
}

#[tokio::test]
async fn a_put_is_sent_again_whole() {
    let fixture = Fixture::new().await;
    let bytes = pattern(3 << 20);
    fixture.server.inject(Fault::status(500, "InternalError"));
    fixture.server.inject(Fault::close_before_answer().on_call(2));
    fixture.server.inject(Fault::lose_answer().on_call(3));
    fixture.s3.put("k", bytes.clone()).await.unwrap();
    assert!(fixture.server.object("bucket", "k").unwrap() == bytes);
    assert_eq!(fixture.server.log().len(), 4);
}

#[tokio::test]
async fn a_stalled_answer_times_out_and_the_rest_is_fetched() {
    let server = S3Server::start().await.unwrap();
    let client = server.client_builder().idle_timeout(Duration::from_millis(300)).build().unwrap();
    let fixture = Fixture::with_client(server, client);
    let bytes = pattern(2 << 20);
    fixture.server.put_object("bucket", "k", bytes.clone());
    fixture.server.inject(Fault::stall());
    fixture.server.inject(Fault::stall_after(100_000).on_call(2));
    let object = fixture.s3.get("k").await.unwrap();
    assert!(object.blob().await.unwrap() == bytes);
    assert_eq!(fixture.server.log().len(), 3);
}

#[tokio::test]
async fn a_server_that_never_answers_is_a_timeout() {
    let server = S3Server::start().await.unwrap();
    let client = server.client_builder().idle_timeout(Duration::from_millis(100)).retries(1).build().unwrap();
    let fixture = Fixture::with_client(server, client);
    fixture.server.inject(Fault::stall().times(usize::MAX));
    let error = fixture.s3.get("k").await.unwrap_err();
    assert_eq!((error.kind(), error.attempts()), (ErrorKind::Timeout, 2));
    assert!(error.source().is_some());
}

#[tokio::test]
async fn a_consumer_that_is_slower_than_the_idle_timeout_is_no_stall() {
    let server = S3Server::start().await.unwrap();
    let client = server.client_builder().idle_timeout(Duration::from_millis(100)).build().unwrap();
    let fixture = Fixture::with_client(server, client);
    let keys = fixture.put_numbered(30);
    let mut objects = fixture.s3.get_many(keys).concurrency(2);
    for _ in 0..3 {
        futures::StreamExt::next(&mut objects).await.unwrap().unwrap();
        // Time passes in which nothing moves, because nobody asks for anything.
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    let rest: Vec<_> = futures::TryStreamExt::try_collect(objects).await.unwrap();
    assert_eq!(rest.len(), 27);
    assert_eq!(fixture.server.log().len(), 30, "no request was sent twice");
}

#[tokio::test]
async fn a_download_with_a_weak_etag_begins_anew() {
    let fixture = Fixture::new().await;
    let bytes = pattern(3 << 20);
    fixture.server.put_object("bucket", "k", bytes.clone());
    fixture.server.inject(Fault::close_after(2 << 20).on_call(1));
    fixture.server.inject(Fault::with_header("etag", "W/\"weak\"").times(usize::MAX));
    let object = fixture.s3.get("k").await.unwrap();
    assert!(object.blob().await.unwrap() == bytes);
    assert!(fixture.server.log().iter().all(|request| request.header("range").is_none()));
}

#[tokio::test]
async fn a_download_that_begins_anew_and_gets_no_further_ends() {
    let server = S3Server::start().await.unwrap();
    let client = server.client_builder().retries(2).build().unwrap();
    let fixture = Fixture::with_client(server, client);
    fixture.server.put_object("bucket", "k", pattern(8 << 20));
    fixture.server.inject(Fault::without_header("etag").times(usize::MAX));
    // By turns far and not so far, and never to the end.
    for call in 1..=20 {
        let reached = if call % 2 == 0 { 2 << 20 } else { 4 << 20 };
        fixture.server.inject(Fault::close_after(reached).on_call(call));
    }
    let error = fixture.s3.get("k").await.unwrap_err();
    assert_eq!((error.kind(), error.attempts()), (ErrorKind::Network, 3));
}

#[tokio::test]
async fn an_error_tells_its_attempts_also_when_a_later_answer_is_of_another_object() {
    let fixture = Fixture::new().await;
    fixture.server.put_object("bucket", "k", pattern(3 << 20));
    fixture.server.inject(Fault::close_after(2 << 20).on_call(1));
    // As from a server that does not know If-Match.
    fixture.server.inject(Fault::with_header("etag", "\"another\"").on_call(2));
    let error = fixture.s3.get("k").await.unwrap_err();
    assert_eq!((error.kind(), error.attempts()), (ErrorKind::Changed, 2));
}

#[tokio::test]
async fn credentials_that_have_expired_are_not_accepted() {
    for code in ["ExpiredToken", "InvalidToken", "TokenRefreshRequired"] {
        let fixture = Fixture::new().await;
        fixture.server.inject(Fault::status(400, code));
        let error = fixture.s3.get("k").await.unwrap_err();
        assert!(error.is_access_denied(), "{error:?}");
    }
}

#[tokio::test]
async fn a_page_in_place_of_an_object_is_refused() {
    let fixture = Fixture::new().await;
    fixture.server.put_object("bucket", "k", "text");
    for fault in [Fault::html(200), Fault::error_in_200("InternalError")] {
        fixture.server.inject(fault.times(2));
        for error in [fixture.s3.get("k").await.unwrap_err(), fixture.s3.info("k").await.unwrap_err()] {
            assert_eq!((error.kind(), error.attempts()), (ErrorKind::Unsupported, 1), "{error}");
        }
    }
    assert_eq!(fixture.files(), 0);
}

/// A server that answers every request with these bytes and hangs up; its endpoint.
async fn answering(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(connection.read_u8().await.unwrap());
            }
            connection.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    endpoint
}

#[tokio::test]
async fn an_error_answer_that_is_cut_off_is_still_that_error() {
    let fixture = Fixture::new().await;
    for (body, code) in [("", None), ("<Error><Code>AccessDenied</Code><Mess", Some("AccessDenied"))] {
        let answer = format!("HTTP/1.1 403 Forbidden\r\nContent-Length: 500\r\n\r\n{body}").leak();
        let client = fixture.server.client_builder().endpoint(answering(answer).await).build().unwrap();
        let s3 = client.s3().s3root("s3://bucket").tmproot(fixture.tmproot.path()).build().unwrap();
        let error = s3.get("k").await.unwrap_err();
        assert_eq!((error.kind(), error.code(), error.attempts()), (ErrorKind::AccessDenied, code, 1), "{error}");
    }
}

#[tokio::test]
async fn a_length_that_the_body_overrides_does_not_cut_the_object() {
    let fixture = Fixture::new().await;
    // RFC 9112, 6.3: Transfer-Encoding decides, and Content-Length is not to be believed.
    let answer = "HTTP/1.1 200 OK\r\nETag: \"e\"\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n\
                  5\r\nhello\r\n0\r\n\r\n";
    let client = fixture.server.client_builder().endpoint(answering(answer).await).build().unwrap();
    let s3 = client.s3().s3root("s3://bucket").tmproot(fixture.tmproot.path()).build().unwrap();
    assert_eq!(s3.get("k").await.unwrap_err().kind(), ErrorKind::Unsupported);
}

#[tokio::test]
async fn an_answer_that_breaks_off_before_it_says_what_is_missing_is_asked_for_again() {
    let fixture = Fixture::new().await;
    let urls = fixture.scope().build().unwrap();
    for (url, kind) in [("s3://bucket/none", ErrorKind::NotFound), ("s3://none/k", ErrorKind::NoSuchBucket)] {
        let injected = fixture.server.inject(Fault::close_after(0).operation(Operation::GetObject).times(1));
        let error = urls.get(url).await.unwrap_err();
        assert_eq!((error.kind(), error.attempts(), injected.applied()), (kind, 2, 1), "{error}");
    }
}
