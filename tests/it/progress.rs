//! How far an operation has come, as seen from elsewhere.

use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use s3flow::testing::{Fault, Operation};
use s3flow::{Limits, PutValue, S3PutObject};

use crate::support::{Fixture, in_time};

#[tokio::test]
async fn a_batch_counts_its_objects_and_their_bytes() {
    let fixture = Fixture::new().await;
    for number in 0..10 {
        fixture.server.put_object("bucket", &format!("k{number}"), vec![0; 1000 * (number + 1)]);
    }
    let keys: Vec<String> = (0..10).map(|number| format!("k{number}")).chain(["missing".to_owned()]).collect();
    let mut getting = fixture.s3.get_many(keys);
    let progress = getting.progress();
    let before = progress.snapshot();
    assert_eq!((before.items, before.items_total, before.finished), (0, None, false));
    let mut failed = 0;
    while let Some(outcome) = getting.next().await {
        failed += usize::from(outcome.is_err());
        assert_eq!(progress.snapshot().items_total, Some(11));
    }
    let after = progress.snapshot();
    assert_eq!((after.items, after.failed, failed), (10, 1, 1));
    assert_eq!((after.bytes, after.bytes_total), (55_000, Some(55_000)));
    assert!(after.finished && after.elapsed > Duration::ZERO);
    // Time stands still afterwards.
    assert_eq!(progress.snapshot().elapsed, after.elapsed);
}

#[tokio::test]
async fn what_has_to_come_again_is_counted_once() {
    let fixture = Fixture::new().await;
    fixture.server.put_object("bucket", "k", vec![0; 3 << 20]);
    fixture.server.inject(Fault::short_body(2 << 20).operation(Operation::GetObject).times(1));
    fixture.server.inject(Fault::corrupt_byte(5).operation(Operation::GetObject).times(1));
    let get = fixture.s3.get("k");
    let progress = get.progress();
    let report = get.await.unwrap().report().unwrap();
    assert!(report.bytes_received > 3 << 20, "{report:?}");
    let after = progress.snapshot();
    assert_eq!((after.items, after.bytes, after.bytes_total), (1, 3 << 20, Some(3 << 20)));

    fixture.server.clear_faults();
    fixture.server.inject(Fault::status(500, "InternalError").operation(Operation::UploadPart).times(2));
    let put = fixture.s3.put("large", vec![1_u8; 20 << 20]);
    let progress = put.progress();
    let report = put.await.unwrap().report().unwrap();
    assert!(report.bytes_sent > 20 << 20, "{report:?}");
    assert_eq!((progress.snapshot().bytes, progress.snapshot().bytes_total), (20 << 20, Some(20 << 20)));

    fixture.server.inject(Fault::status(500, "InternalError").operation(Operation::UploadPart).times(2));
    let pieces = futures::stream::iter((0..20).map(|_| Ok::<_, std::io::Error>(Bytes::from(vec![1; 1 << 20]))));
    let put = fixture.s3.put("stream", PutValue::stream(pieces));
    let progress = put.progress();
    put.await.unwrap();
    assert_eq!((progress.snapshot().bytes, progress.snapshot().bytes_total), (20 << 20, Some(20 << 20)));
}

#[tokio::test]
async fn a_large_transfer_moves_while_it_is_looked_at() {
    let fixture = Fixture::new().await;
    fixture.server.put_object("bucket", "large", vec![0; 24 << 20]);
    fixture.client.set_limits(Limits::default().download_bytes_per_second(40 << 20)).unwrap();
    let get = fixture.s3.get("large");
    let progress = get.progress();
    let mut updates = progress.updates(Duration::from_millis(50));
    let getting = tokio::spawn(get.into_future());
    let mut seen = Vec::new();
    while let Some(now) = in_time("an update comes", updates.next()).await {
        seen.push(now);
    }
    getting.await.unwrap().unwrap();
    let last = seen.last().unwrap();
    assert!(last.finished && last.bytes == 24 << 20);
    let between: Vec<_> = seen.iter().filter(|now| now.bytes > 0 && now.bytes < 24 << 20).collect();
    assert!(between.len() >= 2, "{seen:?}");
    assert!(between.iter().all(|now| now.bytes_total == Some(24 << 20) && !now.finished));
    assert!(seen.is_sorted_by(|one, other| one.bytes <= other.bytes));
    assert!(between.iter().any(|now| now.bytes_per_second > 0.0));
}

#[tokio::test]
async fn of_an_input_that_is_a_stream_the_total_is_known_at_its_end() {
    let fixture = Fixture::new().await;
    let (sender, inputs) = tokio::sync::mpsc::channel::<(String, &'static str)>(1);
    let inputs = futures::stream::unfold(inputs, |mut inputs| async { Some((inputs.recv().await?, inputs)) });
    let mut putting = fixture.s3.put_from(inputs);
    let progress = putting.progress();
    sender.send(("a".to_owned(), "12345")).await.unwrap();
    putting.next().await.unwrap().unwrap();
    assert_eq!((progress.snapshot().items, progress.snapshot().items_total), (1, None));
    drop(sender);
    assert!(putting.next().await.is_none());
    let after = progress.snapshot();
    assert_eq!((after.items, after.items_total, after.bytes, after.finished), (1, Some(1), 5, true));
}

#[tokio::test]
async fn every_kind_of_operation_tells_its_end() {
    let fixture = Fixture::new().await;
    let files = tempfile::tempdir().unwrap();
    let path = files.path().join("f");
    std::fs::write(&path, vec![0; 70_000]).unwrap();

    let put = fixture.s3.put_files([("a", path.clone()), ("b", path)]);
    let progress = put.progress();
    put.await.unwrap();
    let after = progress.snapshot();
    assert_eq!((after.items, after.bytes, after.bytes_total), (2, 140_000, Some(140_000)));

    let value = PutValue::stream(futures::stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"abc"))]));
    let put = fixture.s3.put_many([S3PutObject::new("c", value)]);
    let progress = put.progress();
    put.await.unwrap();
    assert_eq!((progress.snapshot().bytes, progress.snapshot().bytes_total), (3, Some(3)));

    let mut listing = fixture.s3.list_recursive([""]);
    let progress = listing.progress();
    while listing.try_next().await.unwrap().is_some() {
        assert_eq!(progress.snapshot().items_total, None);
    }
    let after = progress.snapshot();
    assert_eq!((after.items, after.items_total, after.bytes, after.finished), (3, Some(3), 0, true));

    let copy = fixture.s3.copy_many([("a", "d")]);
    let progress = copy.progress();
    copy.await.unwrap();
    assert_eq!((progress.snapshot().items, progress.snapshot().items_total), (1, Some(1)));

    let get = fixture.s3.get_recursive([""]);
    let progress = get.progress();
    get.await.unwrap();
    let after = progress.snapshot();
    assert_eq!((after.items, after.items_total, after.bytes), (4, Some(4), 210_003));

    let delete = fixture.s3.delete_from(fixture.s3.list_recursive([""]));
    let progress = delete.progress();
    delete.await.unwrap();
    let after = progress.snapshot();
    assert_eq!((after.items, after.items_total, after.finished), (4, Some(4), true));

    let get = fixture.s3.get("a");
    let progress = get.progress();
    get.bytes().await.unwrap_err();
    assert_eq!((progress.snapshot().failed, progress.snapshot().finished), (1, true));
}

#[tokio::test]
async fn an_operation_that_is_dropped_has_ended() {
    let fixture = Fixture::new().await;
    let keys = fixture.put_numbered(3);
    fixture.server.hold();
    let mut getting = fixture.s3.get_many(keys);
    let progress = getting.progress();
    let mut updates = progress.updates(Duration::from_secs(3600));
    assert!(crate::support::poll_once(&mut getting).await.is_pending());
    assert!(!updates.next().await.unwrap().finished);
    drop(getting);
    in_time("it ends", progress.finished()).await;
    assert!(in_time("the last update", updates.next()).await.unwrap().finished);
    assert!(updates.next().await.is_none());
    fixture.server.release();
}
