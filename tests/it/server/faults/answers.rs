//! Answers that are not the server's, and answers that come late.

use std::time::{Duration, SystemTime};

use s3s::dto::{Timestamp, TimestampFormat};
use tokio::time::Instant;

use super::wire::{End, Wire};
use super::*;

/// Whether an HTTP date is about this many seconds from now.
fn is_in(date: &str, seconds: i64) -> bool {
    let date = Timestamp::parse(TimestampFormat::HttpDate, date).unwrap();
    let now = SystemTime::now();
    let at = |seconds: i64| {
        let distance = Duration::from_secs(seconds.unsigned_abs());
        Timestamp::from(if seconds < 0 { now - distance } else { now + distance })
    };
    (at(seconds - 60)..at(seconds + 60)).contains(&date)
}

#[tokio::test]
async fn statuses_and_codes_are_those_of_s3() {
    let raw = with_objects(["k"]).await;
    for (status, code) in [
        (500, "InternalError"),
        (502, "BadGateway"),
        (503, "ServiceUnavailable"),
        (503, "SlowDown"),
        (429, "TooManyRequests"),
        (400, "RequestTimeout"),
        (400, "ExpiredToken"),
        (409, "OperationAborted"),
        (409, "ConditionalRequestConflict"),
    ] {
        raw.server.inject(Fault::status(status, code).times(2));
        let answer = raw.put("/bucket/k", &[], "x").await;
        assert_eq!((answer.failure(), answer.header("content-type")), ((status, code), Some("application/xml")));
        assert_eq!((answer.element("Resource"), answer.element("RequestId").len()), ("/bucket/k", 16));
        let head = raw.head("/bucket/k", &[]).await;
        assert_eq!((head.status.as_u16(), head.text()), (status, ""));
    }
    assert_eq!(raw.server.object("bucket", "k").unwrap(), "0123456789");
}

#[tokio::test]
async fn retry_after_is_seconds_or_a_date() {
    let raw = Raw::new().await;
    raw.server.inject(slow_down().retry_after(7));
    assert_eq!(raw.get("/bucket/k", &[]).await.header("retry-after"), Some("7"));
    raw.server.inject(slow_down().retry_after_date(600));
    let answer = raw.get("/bucket/k", &[]).await;
    assert!(is_in(answer.header("retry-after").unwrap(), 600), "{:?}", answer.headers);
}

#[tokio::test]
async fn a_skewed_clock_shows_in_the_date() {
    let raw = Raw::new().await;
    for seconds in [7200, -7200] {
        raw.server.inject(Fault::clock_skew(seconds));
        let answer = raw.put("/bucket/k", &[], "x").await;
        assert_eq!(answer.failure(), (403, "RequestTimeTooSkewed"));
        assert!(is_in(answer.header("date").unwrap(), seconds), "{:?}", answer.headers);
        assert!(is_in(raw.get("/bucket/k", &[]).await.header("date").unwrap(), 0));
    }
    assert!(raw.server.keys("bucket").is_empty());
}

#[tokio::test]
async fn an_answer_may_deny_what_was_carried_out() {
    let raw = Raw::new().await;
    let absent = [("if-none-match", "*")];
    let denied = raw.server.inject(Fault::precondition_failed_after_success().times(2));
    assert_eq!(raw.put("/bucket/k", &absent, "first").await.failure(), (412, "PreconditionFailed"));
    assert_eq!(raw.server.object("bucket", "k").unwrap(), "first");
    // This one is the server's own.
    assert_eq!(raw.put("/bucket/k", &absent, "second").await.element("Condition"), "If-None-Match");
    assert_eq!((raw.server.object("bucket", "k").unwrap(), denied.applied()), ("first".into(), 1));

    raw.server.clear_faults();
    raw.server.inject(Fault::status(500, "InternalError").carried_out().times(2));
    assert_eq!(raw.put("/bucket/k", &[], "third").await.failure(), (500, "InternalError"));
    assert_eq!(raw.get("/bucket/none", &[]).await.failure(), (404, "NoSuchKey"));
    assert_eq!(raw.server.object("bucket", "k").unwrap(), "third");
    raw.server.clear_faults();
    raw.server.inject(Fault::error_in_200("InternalError").carried_out());
    assert_eq!(raw.put("/bucket/k", &[], "fourth").await.failure(), (200, "InternalError"));
    assert_eq!(raw.server.object("bucket", "k").unwrap(), "fourth");
}

#[tokio::test]
async fn pages_of_proxies_and_redirects_are_answered_as_they_are() {
    let raw = Raw::new().await;
    raw.server.inject(Fault::html(502));
    let page = raw.get("/bucket/k", &[]).await;
    assert_eq!((page.status.as_u16(), page.header("content-type")), (502, Some("text/html")));
    assert!(page.text().starts_with("<html>"));
    raw.server.inject(Fault::redirect(301, Some("http://127.0.0.1:1/"), Some("eu-central-1")));
    let redirect = raw.get("/bucket/a%20b?x=1", &[]).await;
    assert_eq!(redirect.failure(), (301, "PermanentRedirect"));
    assert_eq!(redirect.header("x-amz-bucket-region"), Some("eu-central-1"));
    assert_eq!(redirect.header("location"), Some("http://127.0.0.1:1/bucket/a%20b?x=1"));
}

#[tokio::test(start_paused = true)]
async fn an_error_comes_after_the_head_and_white_space() {
    let raw = with_objects(["source"]).await;
    let late = Duration::from_secs(30);
    for (method, path, headers) in
        [("PUT", "/bucket/copy", "x-amz-copy-source: bucket/source\r\n"), ("POST", "/bucket/k?uploadId=1", "")]
    {
        raw.server.inject(Fault::error_in_200("InternalError").after_whitespace(late));
        let start = Instant::now();
        let mut wire = Wire::request(&raw.server, method, path, &format!("{headers}content-length: 0\r\n")).await;
        wire.until("?>\n\r\n").await;
        assert!(wire.head().starts_with("HTTP/1.1 200 OK\r\n") && start.elapsed() < Duration::from_secs(1));
        assert!(wire.head().contains("transfer-encoding: chunked") && !wire.head().contains("content-length"));
        assert_eq!(wire.end().await, End::Fin);
        assert!((late..late * 2).contains(&start.elapsed()), "{:?}", start.elapsed());
        let chunks = wire.chunks();
        assert_eq!(chunks[0], "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        let (document, spaces) = chunks[1..].split_last().unwrap();
        assert!(spaces.len() >= 30 && spaces.iter().all(|space| *space == " "), "{spaces:?}");
        assert!(document.starts_with("<Error><Code>InternalError</Code>"), "{document}");
    }
    assert_eq!(raw.server.keys("bucket"), ["source"]);
}

#[tokio::test(start_paused = true)]
async fn success_may_come_after_white_space_too() {
    let raw = with_objects(["source"]).await;
    let late = Duration::from_millis(500);
    raw.server.inject(Fault::whitespace(late));
    let start = Instant::now();
    let headers = "x-amz-copy-source: bucket/source\r\ncontent-length: 0\r\n";
    let mut wire = Wire::request(&raw.server, "PUT", "/bucket/copy", headers).await;
    wire.end().await;
    assert!((late..late * 2).contains(&start.elapsed()), "{:?}", start.elapsed());
    let chunks = wire.chunks();
    assert_eq!(chunks.len(), 12, "the declaration, ten spaces and the document: {chunks:?}");
    assert!(chunks[11].contains("<CopyObjectResult"), "{chunks:?}");
    assert!(raw.server.object("bucket", "copy").is_some());
}

#[tokio::test]
async fn failures_and_objects_are_not_answered_after_white_space() {
    let raw = with_objects(["k"]).await;
    raw.server.put_object("bucket", "object.xml", "<?xml version=\"1.0\"?><a/>");
    let late = raw.server.inject(Fault::whitespace(Duration::from_secs(3600)).times(usize::MAX));
    assert_eq!(raw.get("/bucket/none", &[]).await.failure(), (404, "NoSuchKey"));
    assert_eq!(raw.get("/bucket/k", &[]).await.header("content-length"), Some("10"));
    let xml = raw.get("/bucket/object.xml?response-content-type=application/xml", &[]).await;
    assert_eq!((xml.header("content-type"), xml.header("content-length")), (Some("application/xml"), Some("25")));
    assert_eq!(late.applied(), 0);
}
