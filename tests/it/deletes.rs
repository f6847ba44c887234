//! Deletes of many: few requests, an outcome for each input, and services that know single deletes only.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::channel::mpsc;
use futures::{StreamExt as _, stream};
use s3flow::testing::{Fault, Finish, Operation, S3Server};
use s3flow::{DeleteMany, DeleteReceipt, Error, ErrorKind, S3GetObject};

use crate::support::{Fixture, count, in_time, poll_once};

/// Every outcome by its index.
async fn outcomes(deletes: DeleteMany) -> BTreeMap<usize, Result<DeleteReceipt, Error>> {
    let mut outcomes = BTreeMap::new();
    let mut deletes = deletes;
    while let Some(outcome) = deletes.next().await {
        let index = outcome.as_ref().map_or_else(|error| error.index().unwrap(), DeleteReceipt::index);
        assert!(outcomes.insert(index, outcome).is_none(), "{index} has two outcomes");
    }
    outcomes
}

fn lengths(fixture: &Fixture, operation: Operation) -> Vec<usize> {
    let log = fixture.server.log();
    let requests = log.iter().filter(|request| request.operation() == operation);
    requests.map(|request| request.header("content-length").unwrap().parse().unwrap()).collect()
}

#[tokio::test]
async fn thousands_go_in_few_requests() {
    let fixture = Fixture::new().await;
    let keys = fixture.put_numbered(2500);
    let receipts = fixture.s3.delete_many(&keys).await.unwrap();
    assert!(receipts.iter().map(DeleteReceipt::key).eq(&keys));
    assert!(receipts.iter().map(DeleteReceipt::index).eq(0..2500));
    assert_eq!(fixture.server.keys("bucket"), [""; 0]);
    let log = fixture.server.log();
    assert_eq!((log.len(), count(&log, Operation::DeleteObjects)), (3, 3));
}

#[tokio::test]
async fn more_than_may_be_under_way_go_in_full_requests_too() {
    let fixture = Fixture::new().await;
    let keys = fixture.put_numbered(9500);
    let outcomes = outcomes(fixture.s3.delete_many(&keys)).await;
    assert_eq!(outcomes.len(), 9500);
    assert_eq!(fixture.server.keys("bucket"), [""; 0]);
    assert_eq!(fixture.server.log().len(), 10);
}

#[tokio::test]
async fn each_bucket_has_its_requests() {
    let fixture = Fixture::of(S3Server::builder().bucket("one").bucket("two").start().await.unwrap());
    let keys: Vec<String> = (0..100).map(|number| format!("s3://{}/k{number}", ["one", "two"][number % 2])).collect();
    let s3 = fixture.scope().build().unwrap();
    s3.put_many(keys.iter().map(|key| (key.as_str(), "x"))).await.unwrap();
    fixture.server.clear_log();
    let receipts = s3.delete_many(&keys).await.unwrap();
    assert!(receipts.iter().map(DeleteReceipt::url).eq(&keys));
    assert_eq!(fixture.server.log().len(), 2);
    assert_eq!((fixture.server.keys("one"), fixture.server.keys("two")), (vec![], vec![]));
}

#[tokio::test]
async fn a_key_that_is_named_twice_has_two_outcomes() {
    let fixture = Fixture::new().await;
    fixture.put_numbered(3);
    fixture.server.deny("bucket", "k1");
    let outcomes = outcomes(fixture.s3.delete_many(["k0", "k1", "k0", "k2", "k1"])).await;
    let kinds: Vec<Option<ErrorKind>> =
        outcomes.values().map(|outcome| outcome.as_ref().err().map(Error::kind)).collect();
    let denied = Some(ErrorKind::AccessDenied);
    assert_eq!(kinds, [None, denied, None, None, denied]);
    assert_eq!(fixture.server.log().len(), 1);
}

#[tokio::test]
async fn a_denied_key_fails_alone() {
    let fixture = Fixture::new().await;
    let keys = fixture.put_numbered(50);
    fixture.server.deny("bucket", "k7");
    let outcomes = outcomes(fixture.s3.delete_many(&keys)).await;
    for (index, outcome) in &outcomes {
        match outcome {
            Ok(receipt) => assert_eq!(receipt.key(), keys[*index]),
            Err(error) => {
                assert_eq!((*index, error.kind(), error.code()), (7, ErrorKind::AccessDenied, Some("AccessDenied")));
                assert_eq!((error.url(), error.attempts()), (Some("s3://bucket/k7"), 1));
                assert!(error.request_id().is_some() && !error.is_retryable());
            }
        }
    }
    assert_eq!((outcomes.len(), outcomes[&7].is_err()), (50, true));
    assert_eq!(fixture.server.keys("bucket"), ["k7"]);

    let error = fixture.s3.delete("k7").await.unwrap_err();
    assert_eq!((error.kind(), error.status()), (ErrorKind::AccessDenied, Some(403)));
    let awaited = fixture.s3.delete_many(&keys).await.unwrap_err();
    assert_eq!((awaited.kind(), awaited.index()), (ErrorKind::AccessDenied, Some(7)));
}

#[tokio::test]
async fn only_keys_that_may_pass_are_asked_for_again() {
    let fixture = Fixture::new().await;
    let keys = fixture.put_numbered(50);
    let fault = |code| Fault::status(500, code).operation(Operation::DeleteObjects);
    fixture.server.inject(fault("SlowDown").key("k3"));
    fixture.server.inject(fault("InternalError").key("k4").times(2));
    fixture.server.deny("bucket", "k5");
    let outcomes = outcomes(fixture.s3.delete_many(&keys)).await;
    assert_eq!(outcomes.values().filter(|outcome| outcome.is_err()).count(), 1);
    assert_eq!(fixture.server.keys("bucket"), ["k5"]);
    let lengths = lengths(&fixture, Operation::DeleteObjects);
    let object = "<Object><Key>k3</Key></Object>".len();
    assert_eq!((lengths.len(), lengths[1] - lengths[2]), (3, object));
    assert!(lengths[0] > lengths[1] + 40 * object, "{lengths:?}");
}

#[tokio::test]
async fn a_key_that_stays_throttled_ends_after_its_attempts() {
    let server = S3Server::start().await.unwrap();
    let client = server.client_builder().retries(1).build().unwrap();
    let fixture = Fixture::with_client(server, client);
    fixture.put_numbered(3);
    let slow = Fault::status(503, "SlowDown").operation(Operation::DeleteObjects).key("k1").times(usize::MAX);
    fixture.server.inject(slow);
    let outcomes = outcomes(fixture.s3.delete_many(["k0", "k1", "k2"])).await;
    let error = outcomes[&1].as_ref().unwrap_err();
    assert_eq!((error.kind(), error.attempts(), error.index()), (ErrorKind::Throttled, 2, Some(1)));
    assert!(error.is_retryable());
    assert_eq!(fixture.server.keys("bucket"), ["k1"]);
}

#[tokio::test]
async fn a_request_that_fails_fails_each_of_its_keys() {
    let fixture = Fixture::new().await;
    let keys = fixture.put_numbered(20);
    fixture.server.inject(Fault::status(503, "SlowDown").operation(Operation::DeleteObjects));
    fixture.server.inject(Fault::status(403, "AccessDenied").operation(Operation::DeleteObjects).on_call(2));
    let outcomes = outcomes(fixture.s3.delete_many(&keys)).await;
    assert_eq!(outcomes.len(), 20);
    for (index, outcome) in outcomes {
        let error = outcome.unwrap_err();
        assert_eq!((error.kind(), error.status(), error.attempts()), (ErrorKind::AccessDenied, Some(403), 2));
        assert_eq!(error.url(), Some(format!("s3://bucket/{}", keys[index]).as_str()));
    }
    // A request that may have been carried out is sent again, and finds nothing to delete.
    fixture.server.inject(Fault::lose_answer().operation(Operation::DeleteObjects));
    assert_eq!(fixture.s3.delete_many(&keys).await.unwrap().len(), 20);
}

#[tokio::test]
async fn a_service_without_delete_objects_is_asked_once() {
    for (status, code) in [(501, "NotImplemented"), (405, "MethodNotAllowed")] {
        let fixture = Fixture::new().await;
        let keys = fixture.put_numbered(100);
        fixture.server.deny("bucket", "k9");
        fixture.server.inject(Fault::status(status, code).operation(Operation::DeleteObjects).times(usize::MAX));
        let outcomes = outcomes(fixture.s3.delete_many(&keys[..50])).await;
        assert_eq!(outcomes[&9].as_ref().unwrap_err().kind(), ErrorKind::AccessDenied);
        assert_eq!(outcomes.values().filter(|outcome| outcome.is_ok()).count(), 49);
        fixture.s3.delete_many(&keys[50..]).await.unwrap();
        assert_eq!(fixture.server.keys("bucket"), ["k9"]);
        let log = fixture.server.log();
        assert_eq!((count(&log, Operation::DeleteObjects), count(&log, Operation::DeleteObject)), (1, 100));
    }
}

#[tokio::test]
async fn single_deletes_are_no_more_at_a_time_than_the_scope_allows() {
    let fixture = Fixture::new().await;
    let keys = fixture.put_numbered(50);
    fixture.server.inject(Fault::status(501, "NotImplemented").operation(Operation::DeleteObjects));
    let s3 = fixture.scope().s3root("s3://bucket").concurrency(4).build().unwrap();
    s3.delete_many(&keys[..2]).await.unwrap();
    fixture.server.clear_log();
    fixture.server.hold();
    let mut deletes = s3.delete_many(&keys[2..]);
    assert!(poll_once(&mut deletes).await.is_pending());
    fixture.wait_until(|log| log.len() == 4).await;
    // A fifth would open a connection of its own.
    assert!(poll_once(&mut deletes).await.is_pending());
    assert!(fixture.server.open_connections() <= 5);
    fixture.server.release();
    assert_eq!(outcomes(deletes).await.len(), 48);
    assert_eq!(fixture.server.keys("bucket"), [""; 0]);
}

#[tokio::test]
async fn keys_that_xml_does_not_carry_go_alone() {
    let fixture = Fixture::new().await;
    let keys = ["\u{1}", "a\rb", " lead", "plain", "x<&>", "trail\u{a0}", "\u{ffff}"];
    for key in keys {
        fixture.server.put_object("bucket", key, "x");
    }
    fixture.s3.delete_many(keys).await.unwrap();
    assert_eq!(fixture.server.keys("bucket"), [""; 0]);
    let log = fixture.server.log();
    assert_eq!((count(&log, Operation::DeleteObjects), count(&log, Operation::DeleteObject)), (1, 5));
}

#[tokio::test]
async fn what_cannot_be_deleted_is_refused_before_any_request() {
    let fixture = Fixture::new().await;
    fixture.put_numbered(1);
    for (object, kind) in [
        (S3GetObject::new("k0").offset(1), ErrorKind::InvalidRange),
        (S3GetObject::new("k0").length(3), ErrorKind::InvalidRange),
        (S3GetObject::new("k0").length(0), ErrorKind::InvalidRange),
        (S3GetObject::new("s3://bucket/k0"), ErrorKind::InvalidUrl),
        (S3GetObject::new(""), ErrorKind::InvalidUrl),
    ] {
        let single = fixture.s3.delete(object.clone()).await.unwrap_err();
        assert_eq!((single.kind(), single.operation()), (kind, Some("delete")), "{object:?}");
        let outcomes = outcomes(fixture.s3.delete_many([object])).await;
        assert_eq!(outcomes[&0].as_ref().unwrap_err().kind(), kind);
    }
    assert_eq!(fixture.server.log().len(), 0);
    let none = fixture.s3.delete_many(["k0"]).concurrency(0).await.unwrap_err();
    assert_eq!((none.kind(), none.index()), (ErrorKind::Config, None));
    assert!(fixture.s3.delete_many(Vec::<String>::new()).await.unwrap().is_empty());
    assert_eq!(fixture.server.log().len(), 0);
}

#[tokio::test]
async fn in_order_an_error_that_is_known_first_comes_in_its_place() {
    let fixture = Fixture::new().await;
    fixture.put_numbered(3);
    let inputs = || [S3GetObject::new("k0"), S3GetObject::new("k1").length(1), S3GetObject::new("k2")];
    let kinds = |deletes: DeleteMany| async {
        deletes
            .map(|outcome| outcome.map(|receipt| receipt.index()).map_err(|error| error.kind()))
            .collect::<Vec<_>>()
            .await
    };
    let range = Err(ErrorKind::InvalidRange);
    assert_eq!(kinds(fixture.s3.delete_many(inputs())).await[0], range);
    // One object at a time, all at once, and fewer than there are.
    for concurrency in [1, 2, 1000] {
        let deletes = fixture.s3.delete_many(inputs()).ordered(true).concurrency(concurrency);
        assert_eq!(kinds(deletes).await, [Ok(0), range, Ok(2)]);
    }
}

#[tokio::test]
async fn what_is_ready_goes_at_once_and_the_rest_together() {
    let fixture = Fixture::new().await;
    let keys = fixture.put_numbered(11);
    let (sender, receiver) = mpsc::unbounded();
    let mut deletes = fixture.s3.delete_from(receiver);
    sender.unbounded_send(keys[0].clone()).unwrap();
    // The stream is open, and nobody knows whether there will be more.
    let first = in_time("one that is alone", deletes.next()).await.unwrap().unwrap();
    assert_eq!(first.key(), "k0");
    for key in &keys[1..] {
        sender.unbounded_send(key.clone()).unwrap();
    }
    assert_eq!(in_time("the others", deletes.by_ref().take(10).count()).await, 10);
    assert_eq!(fixture.server.log().len(), 2);
    drop(sender);
    assert!(deletes.next().await.is_none());
}

#[tokio::test]
async fn what_comes_while_all_requests_are_under_way_goes_together() {
    let fixture = Fixture::new().await;
    let keys = fixture.put_numbered(12);
    let s3 = fixture.scope().s3root("s3://bucket").concurrency(2).build().unwrap();
    fixture.server.hold();
    let (sender, receiver) = mpsc::unbounded();
    let mut deletes = s3.delete_from(receiver);
    for (sent, key) in keys.iter().enumerate() {
        sender.unbounded_send(key.clone()).unwrap();
        assert!(poll_once(&mut deletes).await.is_pending());
        let under_way = (sent + 1).min(2);
        fixture.wait_until(|log| log.len() >= under_way).await;
    }
    drop(sender);
    fixture.server.release();
    assert_eq!(outcomes(deletes).await.len(), 12);
    let log = fixture.server.log();
    assert_eq!((count(&log, Operation::DeleteObject), count(&log, Operation::DeleteObjects)), (2, 1));
}

#[tokio::test]
async fn an_endless_input_is_read_no_further_than_the_concurrency() {
    let fixture = Fixture::new().await;
    let read = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&read);
    let endless = stream::repeat_with(move || format!("k{}", counter.fetch_add(1, Ordering::Relaxed)));
    let mut deletes = fixture.s3.delete_from(endless).concurrency(10);
    for taken in 0..100 {
        let receipt = deletes.next().await.unwrap().unwrap();
        assert_eq!(receipt.url(), format!("s3://bucket/{}", receipt.key()));
        assert!(read.load(Ordering::Relaxed) <= taken + 10);
    }
    // Ten at a time, not one by one behind a consumer that takes one by one.
    assert!(fixture.server.log().len() <= 11, "{}", fixture.server.log().len());
}

#[tokio::test]
async fn an_error_of_the_input_is_an_item() {
    let fixture = Fixture::new().await;
    fixture.put_numbered(2);
    let listing = fixture.scope().build().unwrap().list_recursive(["s3://nowhere", "s3://bucket"]);
    let mut deletes = fixture.s3.delete_from(listing.ordered(true));
    let mut kinds = Vec::new();
    while let Some(outcome) = deletes.next().await {
        kinds.push(outcome.map(|receipt| receipt.url().to_owned()).map_err(|error| (error.kind(), error.index())));
    }
    let url = |key: &str| Ok(format!("s3://bucket/{key}"));
    assert_eq!(kinds, [Err((ErrorKind::NoSuchBucket, Some(0))), url("k0"), url("k1")]);
}

#[tokio::test]
async fn dropped_deletes_end_their_requests() {
    let fixture = Fixture::new().await;
    let keys = fixture.put_numbered(2500);
    fixture.server.hold();
    let mut deletes = fixture.s3.delete_many(&keys);
    assert!(poll_once(&mut deletes).await.is_pending());
    fixture.wait_until(|log| log.len() == 3).await;
    drop(deletes);
    fixture.connections_end(0).await;
    fixture.server.release();
    let log = fixture.server.log();
    assert!(log.len() == 3 && log.iter().all(|request| request.finish() == Some(Finish::ClientGone)), "{log:?}");
    assert_eq!(fixture.server.keys("bucket").len(), 2500);
}

#[tokio::test]
async fn after_a_close_every_input_is_told() {
    let fixture = Fixture::new().await;
    let keys = fixture.put_numbered(20);
    fixture.server.hold();
    let mut deletes = fixture.s3.delete_many(&keys);
    assert!(poll_once(&mut deletes).await.is_pending());
    fixture.wait_until(|log| log.len() == 1).await;
    fixture.s3.close().await.unwrap();
    let told = outcomes(deletes).await;
    assert_eq!(told.len(), 20);
    assert!(told.values().all(|outcome| outcome.as_ref().unwrap_err().kind() == ErrorKind::Closed));
    assert_eq!(fixture.s3.delete("k0").await.unwrap_err().kind(), ErrorKind::Closed);
    fixture.server.release();
}

#[tokio::test]
async fn versions_and_delete_markers_are_told() {
    let fixture = Fixture::new().await;
    fixture.server.inject(Fault::with_header("x-amz-version-id", "v7"));
    fixture.server.inject(Fault::with_header("x-amz-delete-marker", "true"));
    let receipt = fixture.s3.delete("k").await.unwrap();
    assert_eq!((receipt.version_id(), receipt.delete_marker()), (Some("v7"), true));
    let json = serde_json::json!({
        "index": 0, "key": "k", "url": "s3://bucket/k", "version_id": "v7", "delete_marker": true,
    });
    assert_eq!(serde_json::to_value(&receipt).unwrap(), json);
}
