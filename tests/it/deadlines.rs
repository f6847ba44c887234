//! How long operations take: timeouts, tokens, and the end of a client.

use std::time::{Duration, Instant};

use futures::{StreamExt as _, TryStreamExt as _};
use s3flow::testing::{Fault, Operation};
use s3flow::{ErrorKind, PutValue};
use tokio::io::AsyncReadExt as _;
use tokio_util::sync::CancellationToken;

use crate::cases::uploads::patterned;
use crate::support::{Fixture, count, in_time};

const SHORT: Duration = Duration::from_millis(100);

#[tokio::test]
async fn an_operation_ends_with_its_timeout_and_leaves_no_request() {
    let fixture = Fixture::new().await;
    fixture.s3.put("k", "text").await.unwrap();
    fixture.server.hold();
    let s3 = fixture.s3.with_timeout(SHORT);
    let built = fixture.scope().s3root("s3://bucket").timeout(SHORT).build().unwrap();
    let kind = |error: s3flow::Error| (error.kind(), error.is_outcome_unknown());
    assert_eq!(s3.get("k").await.map_err(kind).err(), Some((ErrorKind::Timeout, false)));
    assert_eq!(built.info("k").await.map_err(kind).err(), Some((ErrorKind::Timeout, false)));
    assert_eq!(s3.list_recursive([""]).await.map_err(kind).err(), Some((ErrorKind::Timeout, false)));
    assert_eq!(s3.put("new", "text").await.map_err(kind).err(), Some((ErrorKind::Timeout, true)));
    assert_eq!(s3.delete("k").await.map_err(kind).err(), Some((ErrorKind::Timeout, true)));
    assert_eq!(s3.copy("k", "new").await.map_err(kind).err(), Some((ErrorKind::Timeout, true)));
    assert_eq!(s3.get("k").bytes().await.map_err(kind).err(), Some((ErrorKind::Timeout, false)));
    let mut stream = s3.get("k").stream();
    let error = stream.object().await.unwrap_err();
    assert_eq!((error.kind(), error.url()), (ErrorKind::Timeout, Some("s3://bucket/k")), "{error}");
    assert!(error.to_string().contains("timeout of 100ms"), "{error}");
    assert!(stream.next().await.is_none());
    let outcomes: Vec<_> = s3.get_many(["k", "k"]).collect().await;
    assert!(outcomes.iter().all(|outcome| outcome.as_ref().is_err_and(|error| error.kind() == ErrorKind::Timeout)));
    assert_eq!(fixture.client.stats().requests_in_flight, 0);
    fixture.server.release();
    assert_eq!(s3.get("k").await.unwrap().text().await.unwrap(), "text");
}

#[tokio::test]
async fn a_reader_has_its_time_behind_the_head() {
    let fixture = Fixture::new().await;
    let bytes = patterned(3 << 20);
    fixture.s3.put("k", bytes.clone()).await.unwrap();
    let mut reader = fixture.s3.with_timeout(SHORT).get("k").reader();
    let first = reader.read_u8().await.unwrap();
    tokio::time::sleep(3 * SHORT).await;
    let mut rest = vec![first];
    reader.read_to_end(&mut rest).await.unwrap();
    assert!(rest == bytes);
}

#[tokio::test]
async fn a_large_upload_that_runs_into_its_timeout_leaves_no_parts() {
    let fixture = Fixture::new().await;
    fixture.server.inject(Fault::stall_after_request(1).operation(Operation::UploadPart).times(usize::MAX));
    let value = PutValue::reader(std::io::Cursor::new(patterned(20 << 20)));
    let error = fixture.s3.with_timeout(Duration::from_secs(1)).put("k", value).await.unwrap_err();
    assert_eq!((error.kind(), error.is_outcome_unknown()), (ErrorKind::Timeout, true));
    in_time("cleanups", fixture.s3.close()).await.unwrap();
    assert!(fixture.server.multipart_uploads("bucket").is_empty() && fixture.server.keys("bucket").is_empty());
}

#[tokio::test]
async fn a_token_ends_the_operations_of_its_scope_and_of_no_other() {
    let fixture = Fixture::new().await;
    fixture.s3.put("k", "text").await.unwrap();
    let token = CancellationToken::new();
    let s3 = fixture.scope().s3root("s3://bucket").cancellation_token(token.clone()).build().unwrap();
    let file = s3.get("k").await.unwrap();
    fixture.server.hold();
    let waiting = tokio::spawn(s3.get("k").into_future());
    fixture.wait_until(|log| count(log, Operation::GetObject) == 2).await;
    token.cancel();
    assert_eq!(in_time("the end", waiting).await.unwrap().unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(s3.get("k").await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(file.text().await.unwrap(), "text");
    fixture.server.release();
    assert_eq!(fixture.s3.get("k").await.unwrap().text().await.unwrap(), "text");
    s3.close().await.unwrap();
}

#[tokio::test]
async fn a_client_that_is_closed_lets_operations_end_and_begins_no_other() {
    let fixture = Fixture::new().await;
    fixture.s3.put("k", "text").await.unwrap();
    let other = fixture.scope().s3root("s3://bucket").build().unwrap();
    fixture.server.hold();
    let running = [fixture.s3.get("k"), other.get("k")].map(|get| tokio::spawn(get.into_future()));
    fixture.wait_until(|log| count(log, Operation::GetObject) == 2).await;
    let closing = tokio::spawn({
        let client = fixture.client.clone();
        async move { client.close().await }
    });
    // It is polled now, by the same thread.
    tokio::task::yield_now().await;
    let refused = in_time("a refusal while the server answers nothing", other.info("k").into_future()).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(
        fixture.client.s3().s3root("s3://bucket").build().unwrap().info("k").await.unwrap_err().kind(),
        ErrorKind::Closed
    );
    fixture.server.release();
    for get in running {
        get.await.unwrap().unwrap();
    }
    in_time("the close", closing).await.unwrap().unwrap();
    assert_eq!(fixture.files(), 0);
}

#[tokio::test]
async fn a_client_that_is_closed_ends_what_does_not_end_by_itself() {
    let fixture = Fixture::new().await;
    fixture.s3.put("k", "text").await.unwrap();
    fixture.server.hold();
    let waiting = tokio::spawn(fixture.s3.get("k").into_future());
    fixture.wait_until(|log| count(log, Operation::GetObject) == 1).await;
    let begun = Instant::now();
    fixture.client.close_within(Duration::from_millis(400)).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(300));
    assert_eq!(waiting.await.unwrap().unwrap_err().kind(), ErrorKind::Closed);
    fixture.client.close().await.unwrap();
    let listed = fixture.s3.list_recursive([""]).try_collect::<Vec<_>>().await;
    assert_eq!(listed.unwrap_err().kind(), ErrorKind::Closed);
}
