//! Listings: order, back-pressure, errors.

use futures::{StreamExt as _, TryStreamExt as _};
use s3flow::ErrorKind;
use s3flow::testing::{Fault, Finish, Operation, S3Server};

use crate::support::{Fixture, count, poll_once};

async fn with_pages_of(page_size: usize, prefixes: &[&str], objects: usize) -> Fixture {
    let server = S3Server::builder().bucket("bucket").page_size(page_size).start().await.unwrap();
    for prefix in prefixes {
        for number in 0..objects {
            server.put_object("bucket", &format!("{prefix}/{number:04}"), "x");
        }
    }
    Fixture::of(server)
}

#[tokio::test]
async fn awaited_the_prefixes_come_in_the_order_asked() {
    let fixture = with_pages_of(3, &["a", "b", "c"], 10).await;
    for listed in [
        fixture.s3.list_recursive(["c", "a", "c"]).await.unwrap(),
        fixture.s3.list_recursive(["c", "a", "c"]).ordered(true).try_collect().await.unwrap(),
        fixture.s3.list_recursive(["c", "a", "c"]).concurrency(1).try_collect().await.unwrap(),
    ] {
        let found: Vec<String> = listed.iter().map(|object| object.url()["s3://bucket/".len()..].to_owned()).collect();
        let expected: Vec<String> = ["c", "a", "c"]
            .iter()
            .flat_map(|prefix| (0..10).map(move |number| format!("{prefix}/{number:04}")))
            .collect();
        assert_eq!(found, expected);
    }
}

#[tokio::test]
async fn objects_and_prefixes_come_in_one_byte_order_in_pages_of_any_size() {
    let keys = ["d/a", "d/a-", "d/a/1", "d/a/2", "d/a0", "d/b/1", "d/b/2", "d/b/3", "d/c", "d/é/x"];
    let level = ["a", "a-", "a/", "a0", "b/", "c", "é/"];
    for page_size in [1, 2, 3, 1000] {
        let fixture = with_pages_of(page_size, &[], 0).await;
        for key in keys {
            fixture.server.put_object("bucket", key, "x");
        }
        let paths = fixture.s3.list_paths(["d", "d"]).ordered(true);
        let streamed: Vec<_> = paths.map_ok(|path| (path.index(), path.key().to_owned())).try_collect().await.unwrap();
        let expected: Vec<_> = [0, 1].iter().flat_map(|index| level.map(|key| (*index, key.to_owned()))).collect();
        assert_eq!(streamed, expected);
        let awaited = fixture.s3.list_paths(["d", "d"]).await.unwrap();
        assert!(awaited.iter().map(|path| (path.index(), path.key().to_owned())).eq(expected));
    }
}

#[tokio::test]
async fn a_listing_runs_one_page_ahead_and_no_further() {
    let fixture = with_pages_of(10, &["a"], 100).await;
    // With more than one request, pages come from several places when they are taken faster than they come.
    let mut listing = fixture.s3.list_recursive(["a"]).concurrency(1);
    listing.next().await.unwrap().unwrap();
    fixture.wait_until(|log| count(log, Operation::ListObjectsV2) == 2 && log[1].status().is_some()).await;
    // The rest of the first page needs no request, and the third page is asked for with the first object of the second.
    for _ in 1..10 {
        listing.next().await.unwrap().unwrap();
    }
    assert_eq!(count(&fixture.server.log(), Operation::ListObjectsV2), 2);
    listing.next().await.unwrap().unwrap();
    fixture.wait_until(|log| count(log, Operation::ListObjectsV2) == 3).await;
}

#[tokio::test]
async fn at_most_concurrency_prefixes_are_listed_at_a_time() {
    let prefixes = ["a", "b", "c", "d", "e", "f"];
    for ordered in [false, true] {
        let fixture = with_pages_of(1000, &prefixes, 1).await;
        fixture.server.hold();
        let mut listing = fixture.s3.list_recursive(prefixes).concurrency(2).ordered(ordered);
        assert!(poll_once(&mut listing).await.is_pending());
        fixture.wait_until(|log| log.len() >= 2).await;
        assert!(poll_once(&mut listing).await.is_pending());
        assert_eq!(fixture.server.log().len(), 2);
        fixture.server.release();
        let listed: Vec<_> = listing.try_collect().await.unwrap();
        assert_eq!(listed.len(), 6);
    }
}

#[tokio::test]
async fn an_error_ends_its_prefix_and_the_others_go_on() {
    let fixture = with_pages_of(2, &["a"], 5).await;
    let urls = fixture.scope().build().unwrap();
    let prefixes = ["s3://missing-bucket/x", "s3://bucket/a", "not a url"];
    let outcomes: Vec<_> = urls.list_recursive(prefixes).ordered(true).collect().await;
    let kinds: Vec<_> = outcomes
        .iter()
        .map(|outcome| outcome.as_ref().map(|object| object.index()).map_err(|error| (error.index(), error.kind())))
        .collect();
    let mut expected = vec![Err((Some(0), ErrorKind::NoSuchBucket))];
    expected.extend([Ok(1); 5]);
    expected.push(Err((Some(2), ErrorKind::InvalidUrl)));
    assert_eq!(kinds, expected);
}

#[tokio::test]
async fn a_failed_page_is_asked_for_again() {
    let fixture = with_pages_of(2, &["a"], 5).await;
    fixture.server.inject(Fault::status(500, "InternalError").operation(Operation::ListObjectsV2).on_call(2));
    fixture.server.inject(Fault::error_in_200("InternalError").operation(Operation::ListObjectsV2).on_call(3));
    assert_eq!(fixture.s3.list_recursive(["a"]).await.unwrap().len(), 5);
}

#[tokio::test]
async fn a_dropped_listing_sends_nothing_more() {
    let fixture = with_pages_of(2, &["a"], 100).await;
    fixture.server.hold();
    let mut listing = fixture.s3.list_recursive(["a"]);
    assert!(poll_once(&mut listing).await.is_pending());
    fixture.wait_until(|log| log.len() == 1).await;
    drop(listing);
    // A held request ends only with its connection.
    fixture.connections_end(0).await;
    fixture.server.release();
    let log = fixture.server.log();
    assert_eq!((log.len(), log[0].finish()), (1, Some(Finish::ClientGone)));
}
