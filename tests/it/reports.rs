//! What each object tells of how it came about.

use std::time::Duration;

use futures::StreamExt as _;
use s3flow::Limits;
use s3flow::testing::{Fault, Operation, S3Server};

use crate::support::{Fixture, in_time};

#[tokio::test]
async fn an_object_tells_its_requests_retries_and_their_ids() {
    let fixture = Fixture::new().await;
    let keys = fixture.put_numbered(3);
    fixture.server.inject(Fault::status(500, "InternalError").key("k1").operation(Operation::GetObject).times(2));
    let objects = fixture.s3.get_many(&keys).await.unwrap();
    let reports: Vec<_> = objects.iter().map(|object| object.report().unwrap()).collect();
    let requests: Vec<_> = reports.iter().map(|report| report.requests).collect();
    assert_eq!(requests, [1, 3, 1]);
    assert_eq!((reports[1].retries.transient, reports[1].retries.throttled), (2, 0));
    assert!(reports[1].waits.for_retries > Duration::ZERO && reports[0].waits.for_retries == Duration::ZERO);
    let ids: Vec<_> = reports.iter().flat_map(|report| report.request_ids.clone()).collect();
    assert_eq!(ids.len(), 5);
    assert_eq!(ids.iter().collect::<std::collections::BTreeSet<_>>().len(), 5, "{ids:?}");
    assert_eq!((reports[0].bytes_received, reports[0].bytes_sent), (2, 0));
}

#[tokio::test]
async fn an_error_tells_what_it_took() {
    let server = S3Server::start().await.unwrap();
    let client = server.client_builder().retries(2).build().unwrap();
    let fixture = Fixture::with_client(server, client);
    fixture.server.put_object("bucket", "k", "v");
    fixture.server.inject(Fault::status(503, "SlowDown").times(usize::MAX));
    let error = fixture.s3.get("k").await.unwrap_err();
    let report = error.report().unwrap();
    assert_eq!((error.attempts(), report.requests, report.retries.throttled), (3, 3, 2));
    assert_eq!(report.request_ids.len(), 3);
    assert_eq!(report.request_ids.last().map(String::as_str), error.request_id());
    // What fails before it begins has taken nothing.
    assert_eq!(fixture.s3.get("s3://bucket/k").await.unwrap_err().report(), None);
}

#[tokio::test]
async fn what_was_waited_for_is_told_by_its_cause() {
    let fixture = Fixture::new().await;
    let keys = fixture.put_numbered(4);
    fixture.client.set_limits(Limits::default().requests_in_flight(1)).unwrap();
    fixture.server.hold();
    let (s3, asked) = (fixture.s3.clone(), keys.clone());
    let getting = tokio::spawn(async move { s3.get_many(asked).await });
    in_time("a request comes", fixture.server.wait_until(|log| log.len() == 1)).await;
    let waiting = || fixture.client.stats().waiting.for_requests_in_flight;
    while waiting() < 3 {
        tokio::task::yield_now().await;
    }
    fixture.server.release();
    let objects = in_time("they come", getting).await.unwrap().unwrap();
    let waited = objects.iter().filter(|object| object.report().unwrap().waits.for_requests_in_flight > Duration::ZERO);
    assert_eq!(waited.count(), 3);

    fixture.client.set_limits(Limits::default().download_bytes_per_second(200_000)).unwrap();
    fixture.server.put_object("bucket", "slow", vec![0; 50_000]);
    let report = fixture.s3.get("slow").await.unwrap().report().unwrap();
    assert!(report.waits.for_bytes_per_second > Duration::from_millis(100), "{report:?}");
    assert!(report.waits.total() >= report.waits.for_bytes_per_second);
}

#[tokio::test]
async fn puts_copies_and_deletes_report_too() {
    let fixture = Fixture::new().await;
    let put = fixture.s3.put("k", "value").await.unwrap();
    let report = put.report().unwrap();
    assert_eq!((report.requests, report.bytes_sent), (1, 5));
    assert_eq!(fixture.s3.copy("k", "copy").await.unwrap().report().unwrap().requests, 1);
    let deleted = fixture.s3.delete_many(["k", "copy"]).await.unwrap();
    let reports: Vec<_> = deleted.iter().map(|receipt| receipt.report().unwrap()).collect();
    assert_eq!(reports[0], reports[1]);
    assert_eq!(reports[0].requests, 1);
    // How it came about does not make it another.
    let again = fixture.s3.put("k", "value").await.unwrap();
    assert_eq!(put, again);
    assert_ne!(put.report(), again.report());
}

#[tokio::test]
async fn a_stream_reports_while_it_is_read() {
    let fixture = Fixture::new().await;
    fixture.server.put_object("bucket", "k", vec![0; 3 << 20]);
    let mut stream = fixture.s3.get("k").stream();
    assert_eq!(stream.report(), None);
    stream.object().await.unwrap();
    assert_eq!(stream.report().unwrap().requests, 1);
    while let Some(chunk) = stream.next().await {
        chunk.unwrap();
    }
    assert_eq!(stream.report().unwrap().bytes_received, 3 << 20);
}

#[tokio::test]
async fn a_report_is_written_in_seconds() {
    let fixture = Fixture::new().await;
    let report = fixture.s3.put("k", "v").await.unwrap().report().unwrap();
    let written = serde_json::to_value(&report).unwrap();
    assert_eq!(written["requests"], 1);
    assert!(written["waits"]["for_retries"].is_f64(), "{written}");
}
