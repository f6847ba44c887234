//! Many-operations: every input one outcome, order, back-pressure, cancellation.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use s3flow::testing::{Fault, Finish, LoggedRequest, Operation, S3Server};
use s3flow::{ErrorKind, S3GetObject, S3Object};

use crate::support::{Fixture, count, poll_once};

#[tokio::test]
async fn a_thousand_keys_have_a_thousand_outcomes() {
    let fixture = Fixture::new().await;
    let mut keys = fixture.put_numbered(989);
    keys.extend((0..10).map(|number| format!("missing{number}")));
    fixture.server.put_object("bucket", "forbidden", "x");
    fixture.server.deny("bucket", "forbidden");
    keys.insert(500, "forbidden".to_owned());

    let mut outcomes = BTreeMap::new();
    let mut stream = fixture.s3.get_many(&keys).return_missing(true);
    while let Some(outcome) = stream.next().await {
        let (index, outcome) = match outcome {
            Ok(object) => {
                assert_eq!(object.key(), keys[object.index()]);
                (
                    object.index(),
                    Ok((object.exists(), object.downloaded().then_some(object.text().await.unwrap_or_default()))),
                )
            }
            Err(error) => (error.index().unwrap(), Err(error.kind())),
        };
        assert!(outcomes.insert(index, outcome).is_none(), "{index} has two outcomes");
    }
    assert_eq!(outcomes.len(), 1000);
    for (index, outcome) in outcomes {
        let expected = match keys[index].as_str() {
            "forbidden" => Err(ErrorKind::AccessDenied),
            key if key.starts_with("missing") => Ok((false, None)),
            key => Ok((true, Some(key.to_owned()))),
        };
        assert_eq!(outcome, expected);
    }
}

#[tokio::test]
async fn awaited_the_first_error_wins_and_the_rest_is_cancelled() {
    let fixture = Fixture::new().await;
    let keys = fixture.put_numbered(1000);
    // All but the forbidden one never answer: only a cancelled batch ends.
    fixture.server.deny("bucket", "k3");
    for number in [0, 1, 2, 4, 5, 6, 7] {
        fixture.server.inject(Fault::stall().key(format!("k{number}")));
    }
    let error = fixture.s3.get_many(keys).concurrency(8).await.unwrap_err();
    assert_eq!((error.kind(), error.index()), (ErrorKind::AccessDenied, Some(3)));
    assert!(error.to_string().contains("s3://bucket/k3"), "{error}");
    fixture.connections_end(1).await;
    assert!(count(&fixture.server.log(), Operation::GetObject) <= 9);
    assert_eq!(fixture.files(), 0);
}

#[tokio::test]
async fn awaited_the_order_is_the_one_asked_for_duplicates_included() {
    let fixture = Fixture::new().await;
    fixture.put_numbered(3);
    fixture.server.inject(Fault::status(500, "InternalError").key("k2"));
    let objects = fixture.s3.get_many(["k2", "k0", "k2", "k1", "k0"]).await.unwrap();
    assert_eq!(objects.iter().map(S3Object::key).collect::<Vec<_>>(), ["k2", "k0", "k2", "k1", "k0"]);
    assert_eq!(objects.iter().map(S3Object::index).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    for object in &objects {
        assert_eq!(object.text().await.unwrap(), object.key());
    }
}

#[tokio::test]
async fn an_ordered_stream_keeps_the_order_and_another_does_not_wait_for_the_slowest() {
    let fixture = Fixture::new().await;
    let keys = fixture.put_numbered(4);
    // A retried request comes after all others.
    fixture.server.inject(Fault::status(500, "InternalError").key("k0"));
    let ordered: Vec<_> =
        fixture.s3.get_many(&keys).ordered(true).map_ok(|object| object.index()).try_collect().await.unwrap();
    assert_eq!(ordered, [0, 1, 2, 3]);
    fixture.server.inject(Fault::status(500, "InternalError").key("k0"));
    let unordered: Vec<_> = fixture.s3.get_many(&keys).map_ok(|object| object.index()).try_collect().await.unwrap();
    assert_eq!(unordered.last(), Some(&0));
}

#[tokio::test]
async fn empty_input_is_an_empty_stream_and_no_request() {
    let fixture = Fixture::new().await;
    assert_eq!(fixture.s3.get_many(Vec::<String>::new()).await.unwrap().len(), 0);
    assert!(fixture.s3.get_many(Vec::<String>::new()).next().await.is_none());
    assert_eq!(fixture.s3.put_many(Vec::<(String, String)>::new()).await.unwrap().len(), 0);
    assert_eq!(fixture.s3.info_many(Vec::<String>::new()).await.unwrap().len(), 0);
    assert_eq!(fixture.s3.list_paths(Vec::<String>::new()).await.unwrap().len(), 0);
    assert_eq!(fixture.s3.get_recursive(Vec::<String>::new()).await.unwrap().len(), 0);
    assert!(fixture.server.log().is_empty());
    assert_eq!(fixture.files(), 0);
}

#[tokio::test]
async fn an_endless_input_is_read_no_further_than_the_concurrency() {
    let fixture = Fixture::new().await;
    fixture.put_numbered(100);
    let read = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&read);
    let keys = stream::iter(0..).map(move |number: usize| {
        counter.fetch_add(1, Ordering::Relaxed);
        format!("k{}", number % 100)
    });
    let taken: Vec<_> = fixture.s3.get_from(keys).concurrency(4).take(10).try_collect().await.unwrap();
    assert_eq!(taken.len(), 10);
    assert!(read.load(Ordering::Relaxed) <= 14, "{read:?}");
}

#[tokio::test]
async fn infos_of_a_long_stream_are_asked_for_as_they_are_taken() {
    let server = S3Server::builder().bucket("bucket").log(false).start().await.unwrap();
    let fixture = Fixture::of(server);
    fixture.put_numbered(10);
    let read = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&read);
    let keys = stream::iter(0..2_000).map(move |number: usize| {
        counter.fetch_add(1, Ordering::Relaxed);
        format!("k{}", number % 11)
    });
    let mut infos = fixture.s3.info_from(keys).return_missing(true).concurrency(16);
    let (mut taken, mut missing) = (0, 0);
    while let Some(info) = infos.try_next().await.unwrap() {
        taken += 1;
        missing += usize::from(!info.exists());
        assert!(read.load(Ordering::Relaxed) <= taken + 16);
    }
    assert_eq!((taken, missing, fixture.files()), (2_000, 181, 0));
}

#[tokio::test]
async fn an_error_of_the_input_is_an_item_of_the_output() {
    let fixture = Fixture::new().await;
    fixture.put_numbered(2);
    // It comes from a batch of its own, where it was the first.
    let broken = fixture.s3.get_many(["missing"]).await.unwrap_err();
    assert_eq!(broken.index(), Some(0));
    let inputs = stream::iter([Ok("k0"), Err(broken), Ok("k1")]);
    let outcomes: Vec<_> = fixture.s3.get_from(inputs).ordered(true).collect().await;
    assert_eq!(outcomes[1].as_ref().unwrap_err().index(), Some(1));
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 2);
}

#[tokio::test]
async fn a_consumer_that_takes_nothing_holds_the_stream_at_its_concurrency() {
    let fixture = Fixture::new().await;
    let keys = fixture.put_numbered(100);
    let mut objects = fixture.s3.get_many(keys).concurrency(8);
    assert!(poll_once(&mut objects).await.is_pending());
    // All eight are answered although nobody polls: the transfers run in tasks of their own.
    let answered = |log: &[s3flow::testing::LoggedRequest]| {
        log.iter().filter(|request| request.finish() == Some(Finish::Sent)).count()
    };
    fixture.wait_until(|log| answered(log) == 8).await;
    assert_eq!(count(&fixture.server.log(), Operation::GetObject), 8);
    for taken in 1..=20 {
        objects.next().await.unwrap().unwrap();
        assert!(count(&fixture.server.log(), Operation::GetObject) <= taken + 8);
    }
}

#[tokio::test]
async fn files_that_are_dropped_as_they_come_never_exceed_the_concurrency() {
    let server = S3Server::builder().bucket("bucket").log(false).start().await.unwrap();
    let fixture = Fixture::of(server);
    let keys = fixture.put_numbered(10_000);
    let mut objects = fixture.s3.get_many(keys).concurrency(16);
    let (mut taken, mut most) = (0, 0);
    while let Some(object) = objects.try_next().await.unwrap() {
        taken += 1;
        if taken % 50 == 0 {
            most = most.max(fixture.files());
        }
        drop(object);
    }
    assert_eq!(taken, 10_000);
    assert!((1..=16).contains(&most), "{most} files at a time");
    assert_eq!(fixture.files(), 0);
}

#[tokio::test]
async fn a_dropped_stream_stops_its_tasks_and_leaves_no_file() {
    let fixture = Fixture::new().await;
    let keys = fixture.put_numbered(100);
    for key in &keys[10..] {
        fixture.server.inject(Fault::stall_after(1).key(key));
    }
    let mut objects = fixture.s3.get_many(keys).concurrency(8);
    for _ in 0..10 {
        objects.next().await.unwrap().unwrap();
    }
    assert!(poll_once(&mut objects).await.is_pending());
    fixture.wait_until(|log| log.len() == 18).await;
    drop(objects);
    // The stalled answers hold their connections: these end because the client lets go. One that it has idle may stay.
    let gone =
        |log: &[LoggedRequest]| log.iter().filter(|request| request.finish() == Some(Finish::ClientGone)).count();
    fixture.wait_until(|log| gone(log) == 8).await;
    assert_eq!(fixture.server.log().len(), 18);
    assert_eq!(fixture.files(), 0);
}

#[tokio::test]
async fn a_dropped_large_download_leaves_no_part_file() {
    let fixture = Fixture::new().await;
    fixture.server.put_object("bucket", "large", vec![7; 8 << 20]);
    fixture.server.inject(Fault::stall_after(4 << 20));
    let mut get = Box::pin(fixture.s3.get("large").into_future());
    let part_written = async {
        // The file appears with the first piece that is written, well before the stall.
        while fixture.files() == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        _ = &mut get => panic!("a stalled download ended"),
        () = part_written => {}
    }
    drop(get);
    fixture.connections_end(0).await;
    // A write under way ends after the future is gone, and removes its file then.
    let gone = async {
        while fixture.files() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), gone).await.expect("the part file is removed");
}

#[tokio::test]
async fn a_dropped_put_many_sends_nothing_more() {
    let fixture = Fixture::new().await;
    fixture.server.hold();
    let objects: Vec<(String, &str)> = (0..100).map(|number| (format!("k{number}"), "value")).collect();
    let mut receipts = fixture.s3.put_many(objects).concurrency(8);
    tokio::select! {
        _ = receipts.next() => panic!("a held put ended"),
        () = fixture.wait_until(|log| log.len() >= 8) => {}
    }
    drop(receipts);
    fixture.connections_end(0).await;
    fixture.server.release();
    assert_eq!(fixture.server.log().len(), 8);
    assert_eq!(fixture.server.keys("bucket"), Vec::<String>::new());
}

#[tokio::test]
async fn a_dropped_put_ends_its_request() {
    let fixture = Fixture::new().await;
    fixture.server.hold();
    let mut put = Box::pin(fixture.s3.put("k", "value").into_future());
    tokio::select! {
        _ = &mut put => panic!("a held put ended"),
        () = fixture.wait_until(|log| log.len() == 1) => {}
    }
    drop(put);
    fixture.connections_end(0).await;
    fixture.server.release();
    assert!(fixture.server.object("bucket", "k").is_none());
}

#[tokio::test]
async fn zero_concurrency_is_an_error_and_not_a_hang() {
    let fixture = Fixture::new().await;
    for error in [
        fixture.s3.get_many(["k"]).concurrency(0).await.unwrap_err(),
        fixture.s3.put_many([("k", "v")]).concurrency(0).await.unwrap_err(),
        fixture.s3.list_recursive([""]).concurrency(0).await.unwrap_err(),
        fixture.s3.list_paths([""]).concurrency(0).await.unwrap_err(),
        fixture.s3.get_recursive([""]).concurrency(0).await.unwrap_err(),
        fixture.s3.info_many(["k"]).concurrency(0).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("concurrency"), "{error}");
    }
    assert!(fixture.server.log().is_empty());
}

#[tokio::test]
async fn put_many_stores_every_value_and_goes_on_after_an_error() {
    let fixture = Fixture::new().await;
    fixture.server.deny("bucket", "k7");
    let objects: Vec<(String, String)> =
        (0..50).map(|number| (format!("k{number}"), format!("value {number}"))).collect();
    let outcomes: Vec<_> = fixture.s3.put_many(objects).concurrency(5).ordered(true).collect().await;
    assert_eq!(outcomes.len(), 50);
    for (number, outcome) in outcomes.iter().enumerate() {
        match outcome {
            Ok(receipt) => {
                let stored = fixture.server.object("bucket", receipt.key()).unwrap();
                assert_eq!((receipt.index(), stored), (number, format!("value {number}").into()));
            }
            Err(error) => assert_eq!((error.index(), error.kind()), (Some(7), ErrorKind::AccessDenied)),
        }
    }
    assert_eq!(fixture.server.keys("bucket").len(), 49);
}

#[tokio::test]
async fn ranges_and_whole_objects_mix_in_one_batch() {
    let fixture = Fixture::new().await;
    fixture.server.put_object("bucket", "k", "0123456789");
    let requests = [
        S3GetObject::new("k"),
        S3GetObject::new("k").offset(2).length(2),
        S3GetObject::new("k").length(0),
        S3GetObject::new("k").offset(99),
    ];
    let outcomes: Vec<_> = fixture.s3.get_many(requests).ordered(true).collect().await;
    assert_eq!(outcomes[0].as_ref().unwrap().text().await.unwrap(), "0123456789");
    assert_eq!(outcomes[1].as_ref().unwrap().text().await.unwrap(), "23");
    assert_eq!(outcomes[2].as_ref().unwrap_err().kind(), ErrorKind::InvalidRange);
    assert_eq!(outcomes[3].as_ref().unwrap_err().kind(), ErrorKind::InvalidRange);
    assert_eq!(count(&fixture.server.log(), Operation::GetObject), 3);
}

#[tokio::test]
async fn objects_that_were_not_taken_before_a_close_are_closed() {
    let fixture = Fixture::new().await;
    let keys = fixture.put_numbered(8);
    let mut objects = fixture.s3.get_many(keys).concurrency(8);
    assert!(poll_once(&mut objects).await.is_pending());
    while fixture.files() < 8 {
        tokio::task::yield_now().await;
    }
    fixture.s3.close().await.unwrap();
    let outcomes: Vec<_> = objects.collect().await;
    assert_eq!(outcomes.len(), 8);
    for outcome in outcomes {
        let error = outcome.expect_err("an object without its file");
        assert_eq!(error.kind(), ErrorKind::Closed);
        assert!(error.index().is_some() && error.url().is_some(), "{error}");
    }
}
