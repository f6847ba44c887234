//! Transfers with a journal.

use std::path::Path;

use futures::FutureExt as _;
use s3flow::{PutOutcome, PutValue};

use super::Place;
use super::uploads::patterned;

/// Polls a transfer until so many bytes have passed, and drops it then, as a process does that is killed.
async fn interrupt<T>(transfer: impl Future<Output = T>, progress: &s3flow::Progress, bytes: u64) {
    let mut transfer = Box::pin(transfer);
    while progress.snapshot().bytes < bytes {
        assert!((&mut transfer).now_or_never().is_none(), "it is done before");
        tokio::task::yield_now().await;
    }
}

fn lines(journal: &Path, with: &str) -> usize {
    let text = std::fs::read_to_string(journal.join("journal.jsonl")).unwrap();
    text.lines().filter(|line| line.contains(with)).count()
}

pub(crate) async fn a_dropped_upload_is_gone_on_with(place: &Place) {
    let work = tempfile::tempdir().unwrap();
    let (path, journal) = (work.path().join("file"), work.path().join("journal"));
    let content = patterned(27 << 20);
    std::fs::write(&path, &content).unwrap();
    let put = || place.s3.put("journaled", PutValue::file(&path)).journal(&journal);
    let first = put();
    let progress = first.progress();
    interrupt(first.into_future(), &progress, 16 << 20).await;
    let noted = lines(&journal, "\"part\"");
    let receipt = put().await.unwrap();
    assert_eq!(receipt.outcome(), PutOutcome::Stored);
    let sent = receipt.report().unwrap().bytes_sent;
    let rest = (27_u64 << 20) - noted as u64 * (5 << 20);
    // With the documents around them.
    assert!(sent <= rest + (64 << 10), "{sent} bytes were sent, and {noted} parts were there");
    assert!(place.s3.get("journaled").await.unwrap().blob().await.unwrap() == content);
    assert_eq!(put().await.unwrap().outcome(), PutOutcome::AlreadyStored);
    let left = place.s3.abandoned_uploads(["journaled"], std::time::Duration::ZERO).await.unwrap();
    assert!(left.is_empty(), "{left:?}");
}

pub(crate) async fn a_dropped_download_is_gone_on_with(place: &Place) {
    let journal = tempfile::tempdir().unwrap();
    let content = patterned(19 << 20);
    place.s3.put("fetched/large", content.clone()).await.unwrap();
    place.s3.put("fetched/small", "small").await.unwrap();
    let get = || place.s3.get_recursive(["fetched"]).journal(journal.path());
    let first = get();
    let progress = first.progress();
    interrupt(first.into_future(), &progress, 9 << 20).await;
    let objects = get().await.unwrap();
    let received: u64 = objects.iter().map(|object| object.report().unwrap().bytes_received).sum();
    assert!(received < 13 << 20, "{received} bytes came again");
    assert!(objects[0].blob().await.unwrap() == content);
    assert_eq!(objects[1].text().await.unwrap(), "small");
    drop(objects);
    let objects = get().await.unwrap();
    let received: Vec<u64> = objects.iter().map(|object| object.report().unwrap().bytes_received).collect();
    assert_eq!(received, [0, 0]);
}
