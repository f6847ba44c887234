//! Gets of the same object at the same time share one download, where a scope is told so.

use futures::future::join_all;
use s3flow::testing::{Fault, Operation};
use s3flow::{ErrorKind, Get, S3, S3GetObject, S3Object};
use tokio_util::task::AbortOnDropHandle;

use crate::support::{Fixture, count, in_time};

fn sharing(fixture: &Fixture) -> S3 {
    fixture.scope().s3root("s3://bucket").single_flight(true).build().unwrap()
}

fn gets(fixture: &Fixture) -> usize {
    count(&fixture.server.log(), Operation::GetObject)
}

#[tokio::test]
async fn gets_of_one_object_are_one_request_and_one_file() {
    let fixture = Fixture::new().await;
    fixture.server.put_object("bucket", "k", "value");
    let s3 = sharing(&fixture);
    fixture.server.hold();
    let all = tokio::spawn(join_all((0..100).map(|_| s3.get("k").into_future())));
    let many = {
        let s3 = s3.clone();
        tokio::spawn(async move { s3.get_many(vec!["k"; 100]).concurrency(100).await })
    };
    fixture.wait_until(|log| log.len() == 1).await;
    all_have_begun().await;
    fixture.server.release();
    let all = in_time("all come", all).await.unwrap();
    let mut objects: Vec<_> = all.into_iter().map(Result::unwrap).collect();
    let many = in_time("the batch comes", many).await.unwrap().unwrap();
    assert_eq!(many.iter().map(|object| object.index()).collect::<Vec<_>>(), (0..100).collect::<Vec<_>>());
    assert_eq!((gets(&fixture), fixture.files()), (1, 1));
    drop(many);
    let last = objects.pop().unwrap();
    drop(objects);
    assert_eq!(last.text().await.unwrap(), "value");
    assert_eq!(fixture.files(), 1);
    drop(last);
    assert_eq!(fixture.files(), 0);
    // What has ended is not joined.
    s3.get("k").await.unwrap();
    assert_eq!(gets(&fixture), 2);
}

#[tokio::test]
async fn what_is_not_the_same_or_not_told_to_is_not_shared() {
    let fixture = Fixture::new().await;
    fixture.server.put_object("bucket", "k", "value");
    let s3 = sharing(&fixture);
    let etag = s3.info("k").await.unwrap().etag().unwrap().to_owned();
    let key = s3flow::CustomerKey::new([7; 32]);
    let get = |object: S3GetObject| s3.get(object).into_future();
    fixture.server.hold();
    let asked = join_all([
        get(S3GetObject::new("k")),
        get(S3GetObject::new("k").offset(1)),
        get(S3GetObject::new("k").offset(1).length(2)),
        get(S3GetObject::new("k").if_match(etag)),
        get(S3GetObject::new("k").customer_key(key.clone())),
        get(S3GetObject::new("k").customer_key(key)),
        fixture.s3.get("k").into_future(),
        fixture.s3.get("k").into_future(),
    ]);
    let asked = tokio::spawn(asked);
    fixture.wait_until(|log| count(log, Operation::GetObject) == 8).await;
    fixture.server.release();
    in_time("they come", asked).await.unwrap();
}

/// A get that is under way; dropping it ends it.
fn begun(get: Get) -> AbortOnDropHandle<s3flow::Result<S3Object>> {
    AbortOnDropHandle::new(tokio::spawn(get.into_future()))
}

/// Lets every task go on, of which a few begin others, until it waits for the network.
async fn all_have_begun() {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn who_began_it_may_go_and_the_last_one_ends_it() {
    let fixture = Fixture::new().await;
    fixture.server.put_object("bucket", "k", "value");
    let s3 = sharing(&fixture);
    fixture.server.hold();
    let first = begun(s3.get("k"));
    let second = begun(s3.get("k"));
    fixture.wait_until(|log| log.len() == 1).await;
    all_have_begun().await;
    drop(first);
    fixture.server.release();
    assert_eq!(in_time("it comes", second).await.unwrap().unwrap().size(), Some(5));
    assert_eq!(gets(&fixture), 1);

    fixture.server.hold();
    let both = [begun(s3.get("k")), begun(s3.get("k"))];
    fixture.wait_until(|log| count(log, Operation::GetObject) == 2).await;
    all_have_begun().await;
    drop(both);
    fixture.connections_end(0).await;
    fixture.server.release();
    // What was given up is not joined.
    in_time("it comes", s3.get("k").into_future()).await.unwrap();
}

#[tokio::test]
async fn what_this_scope_has_stored_is_seen_by_every_later_get() {
    let fixture = Fixture::new().await;
    fixture.server.put_object("bucket", "k", "old");
    fixture.server.put_object("bucket", "source", "copied");
    let s3 = sharing(&fixture);
    let slow = || Fault::stall().operation(Operation::GetObject).key("k").times(1);
    for (change, seen) in [("put", Some("new")), ("copy", Some("copied")), ("delete", None), ("delete_many", None)] {
        fixture.server.put_object("bucket", "k", "old");
        fixture.server.inject(slow());
        let before = begun(s3.get("k"));
        fixture.wait_until(|log| log.last().is_some_and(|request| request.operation() == Operation::GetObject)).await;
        match change {
            "put" => drop(s3.put("k", "new").await.unwrap()),
            "copy" => drop(s3.copy("source", "k").await.unwrap()),
            "delete" => drop(s3.delete("k").await.unwrap()),
            _ => drop(s3.delete_many(["k"]).await.unwrap()),
        }
        let after = in_time("a later get comes", s3.get("k").return_missing(true).into_future()).await.unwrap();
        match seen {
            Some(text) => assert_eq!(after.text().await.unwrap(), text, "{change}"),
            None => assert!(!after.exists(), "{change}"),
        }
        drop(before);
    }
}

#[tokio::test]
async fn an_error_is_everybodys() {
    let fixture = Fixture::new().await;
    fixture.server.put_object("bucket", "other", "");
    let s3 = sharing(&fixture);
    fixture.server.hold();
    let all = tokio::spawn(join_all([
        s3.get("k").into_future(),
        s3.get("k").return_missing(true).into_future(),
        s3.get("k").into_future(),
    ]));
    fixture.wait_until(|log| log.len() == 1).await;
    all_have_begun().await;
    fixture.server.release();
    let mut all = in_time("they come", all).await.unwrap().into_iter();
    let first = all.next().unwrap().unwrap_err();
    assert!(first.is_not_found() && first.operation() == Some("get") && first.url() == Some("s3://bucket/k"));
    assert!(!all.next().unwrap().unwrap().exists());
    assert_eq!(all.next().unwrap().unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(gets(&fixture), 1);
}
