//! Recursive gets: order, back-pressure, errors, cancellation.

use futures::{StreamExt as _, TryStreamExt as _};
use s3flow::testing::{Fault, Finish, Operation, S3Server};
use s3flow::{ErrorKind, S3Object};

use crate::support::{Fixture, count, poll_once};

/// `count` objects `{directory}/0000`, … in each directory; their text is their key.
async fn with_directories(page_size: usize, directories: &[&str], count: usize) -> Fixture {
    let server = S3Server::builder().bucket("bucket").page_size(page_size).start().await.unwrap();
    for directory in directories {
        for number in 0..count {
            let key = format!("{directory}/{number:04}");
            server.put_object("bucket", &key, key.clone());
        }
    }
    Fixture::of(server)
}

fn keys(objects: &[S3Object]) -> Vec<(usize, String)> {
    objects.iter().map(|object| (object.index(), object.url()["s3://bucket/".len()..].to_owned())).collect()
}

#[tokio::test]
async fn objects_come_in_the_order_of_the_prefixes_and_of_their_keys() {
    for page_size in [1, 3, 1000] {
        let fixture = with_directories(page_size, &["a", "b"], 10).await;
        fixture.server.put_object("bucket", "a", "a");
        // The first object comes last, for it is asked for again.
        fixture.server.inject(Fault::status(500, "InternalError").key("b/0000").times(3));
        let asked = ["b", "a", "b"];
        let mut expected = Vec::new();
        for (index, directory) in asked.iter().enumerate() {
            if *directory == "a" {
                expected.push((index, "a".to_owned()));
            }
            expected.extend((0..10).map(|number| (index, format!("{directory}/{number:04}"))));
        }
        assert_eq!(keys(&fixture.s3.get_recursive(asked).await.unwrap()), expected);
        let ordered: Vec<_> = fixture.s3.get_recursive(asked).ordered(true).try_collect().await.unwrap();
        assert_eq!(keys(&ordered), expected);
        for object in &ordered {
            assert_eq!(object.text().await.unwrap(), object.url()["s3://bucket/".len()..]);
        }
    }
}

#[tokio::test]
async fn a_consumer_that_takes_nothing_holds_back_downloads_and_pages() {
    let fixture = with_directories(10, &["a"], 200).await;
    let mut objects = fixture.s3.get_recursive(["a/"]).concurrency(4);
    let mut taken = 0;
    loop {
        // Everything that may be under way is there before the next object is taken.
        let answered = |log: &[s3flow::testing::LoggedRequest]| {
            log.iter().filter(|request| request.finish() == Some(Finish::Sent)).count() == log.len()
        };
        let Some(object) = objects.next().await else { break };
        object.unwrap();
        taken += 1;
        fixture.wait_until(answered).await;
        let log = fixture.server.log();
        let (gets, pages) = (count(&log, Operation::GetObject), count(&log, Operation::ListObjectsV2));
        assert!(gets <= taken + 4, "{gets} gets for {taken} taken");
        assert!(pages <= (taken + 4) / 10 + 2, "{pages} pages for {taken} taken");
        assert!(fixture.files() <= 4);
    }
    assert_eq!(taken, 200);
    assert_eq!(fixture.files(), 0);
}

#[tokio::test]
async fn only_a_name_that_may_be_an_objects_is_looked_for() {
    let fixture = with_directories(1000, &["a"], 1).await;
    fixture.server.put_object("bucket", "a-", "x");
    let s3 = fixture.scope().s3root("s3://bucket/a").build().unwrap();
    assert_eq!(s3.get_all().await.unwrap().len(), 1);
    assert_eq!(fixture.s3.get_recursive(["a/", ""]).await.unwrap().len(), 3);
    assert_eq!(count(&fixture.server.log(), Operation::ListObjectsV2), 3);
    fixture.server.clear_log();

    assert_eq!(fixture.s3.get_recursive(["a"]).await.unwrap().len(), 1);
    let log = fixture.server.log();
    let mut asked: Vec<_> = log
        .iter()
        .filter_map(|request| Some((request.query_value("prefix")?, request.query_value("max-keys"))))
        .collect();
    asked.sort_unstable();
    assert_eq!(asked, [("a", Some("1")), ("a/", None)]);
}

#[tokio::test]
async fn an_object_that_is_removed_after_its_listing_is_not_found() {
    let fixture = with_directories(1000, &["other", "a"], 3).await;
    let mut objects = fixture.s3.get_recursive(["other", "a"]).concurrency(1).ordered(true);
    for _ in 0..4 {
        objects.try_next().await.unwrap().unwrap();
    }
    assert!(fixture.server.remove_object("bucket", "a/0001"));
    let error = objects.next().await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.index(), error.url()), (ErrorKind::NotFound, Some(1), Some("s3://bucket/a/0001")));
    // The stream goes on.
    assert_eq!(objects.try_next().await.unwrap().unwrap().key(), "0002");
    assert!(objects.next().await.is_none());
}

#[tokio::test]
async fn an_error_is_an_item_with_the_index_of_its_prefix() {
    let fixture = with_directories(2, &["a", "b", "c"], 3).await;
    fixture.server.deny("bucket", "b/0001");
    fixture.server.inject(Fault::status(403, "AccessDenied").operation(Operation::ListObjectsV2));
    let outcomes: Vec<_> = fixture.s3.get_recursive(["c/", "b/"]).concurrency(1).ordered(true).collect().await;
    let seen: Vec<_> = outcomes
        .iter()
        .map(|outcome| match outcome {
            Ok(object) => Ok((object.index(), object.key())),
            Err(error) => Err((error.index(), error.kind(), error.operation())),
        })
        .collect();
    let denied = |index, operation| Err((Some(index), ErrorKind::AccessDenied, Some(operation)));
    assert_eq!(seen, [denied(0, "get_recursive"), Ok((1, "0000")), denied(1, "get"), Ok((1, "0002"))]);
    let awaited = fixture.s3.get_recursive(["a", "b"]).await.unwrap_err();
    assert_eq!((awaited.index(), awaited.kind()), (Some(1), ErrorKind::AccessDenied));

    let addresses: Vec<_> = fixture.s3.get_recursive(["s3://bucket/a", "a"]).ordered(true).collect().await;
    let error = addresses[0].as_ref().unwrap_err();
    assert_eq!((error.kind(), error.index()), (ErrorKind::InvalidUrl, Some(0)));
    assert_eq!(addresses.len(), 4);
}

#[tokio::test]
async fn whether_an_object_has_the_name_of_the_directory_is_never_guessed() {
    let fixture = with_directories(1000, &["a"], 1).await;
    for number in [1, 2] {
        fixture.server.inject(Fault::status(403, "AccessDenied").operation(Operation::ListObjectsV2).on_call(number));
        let outcomes: Vec<_> = fixture.s3.get_recursive(["a"]).collect().await;
        fixture.server.clear_faults();
        // Whichever of the two requests is denied, the prefix ends there.
        assert_eq!(outcomes.last().unwrap().as_ref().unwrap_err().kind(), ErrorKind::AccessDenied);
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_err()).count(), 1);
    }
}

#[tokio::test]
async fn a_dropped_recursive_get_stops_listings_and_downloads_and_leaves_no_file() {
    let fixture = with_directories(1000, &["a"], 20).await;
    fixture.server.hold();
    let mut objects = fixture.s3.get_recursive(["a"]).concurrency(4);
    tokio::select! {
        _ = objects.next() => panic!("a held listing ended"),
        () = fixture.wait_until(|log| log.len() == 2) => {}
    }
    drop(objects);
    fixture.connections_end(0).await;
    fixture.server.release();
    assert_eq!(fixture.server.log().len(), 2);
    fixture.server.clear_log();

    fixture.server.inject(Fault::stall_after(1).operation(Operation::GetObject).on_call(3).times(usize::MAX));
    let mut objects = fixture.s3.get_recursive(["a/"]).concurrency(4);
    for _ in 0..2 {
        objects.next().await.unwrap().unwrap();
    }
    tokio::select! {
        _ = objects.next() => panic!("a download that stalled ended"),
        () = fixture.wait_until(|log| count(log, Operation::GetObject) == 6) => {}
    }
    drop(objects);
    fixture.connections_end(0).await;
    assert_eq!((count(&fixture.server.log(), Operation::GetObject), fixture.files()), (6, 0));
}

#[tokio::test]
async fn objects_that_were_not_taken_before_a_close_are_closed() {
    let fixture = with_directories(1000, &["a"], 4).await;
    let mut objects = fixture.s3.get_recursive(["a/"]).concurrency(4);
    // Until the page is there; with it, all four are begun at once.
    while count(&fixture.server.log(), Operation::GetObject) == 0 {
        assert!(poll_once(&mut objects).await.is_pending());
        tokio::task::yield_now().await;
    }
    while fixture.files() < 4 {
        tokio::task::yield_now().await;
    }
    fixture.s3.close().await.unwrap();
    let outcomes: Vec<_> = objects.collect().await;
    assert_eq!(outcomes.len(), 4);
    assert!(outcomes.iter().all(|outcome| outcome.as_ref().is_err_and(|error| error.kind() == ErrorKind::Closed)));
    assert_eq!(std::fs::read_dir(fixture.tmproot.path()).unwrap().count(), 0);
}
