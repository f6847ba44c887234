//! Jobs and outcomes as JSON lines.

use futures::{StreamExt as _, TryStreamExt as _};
use s3flow::{ErrorKind, ManifestEntry, PutOutcome, S3CopyObject, S3GetObject};
use serde_json::{Value, json};

use super::Place;

pub(crate) async fn what_is_listed_is_written_down_and_fetched_copied_and_deleted(place: &Place) {
    let s3 = &place.s3;
    let keys = ["a", "b c", "é/🦀", "line\u{2028}end", "quote\"d\\"].map(|key| format!("in/{key}"));
    s3.put_many(keys.iter().map(|key| (key.clone(), key.clone()))).await.unwrap();

    let mut inputs = s3.write_manifest("jobs/inputs.jsonl");
    let mut copies = s3.write_manifest("jobs/copies.jsonl");
    let listed = s3.list_recursive(["in"]).await.unwrap();
    for object in &listed {
        inputs.write(&ManifestEntry::from(object)).await.unwrap();
        copies.write(&S3CopyObject::new(object, format!("out/{}", object.key()))).await.unwrap();
    }
    let receipt = inputs.finish().await.unwrap();
    assert_eq!((receipt.outcome(), receipt.key()), (PutOutcome::Stored, "jobs/inputs.jsonl"));
    copies.finish().await.unwrap();
    let manifest = s3.info("jobs/inputs.jsonl").await.unwrap();
    assert_eq!(manifest.content_type(), Some("application/x-ndjson"));

    let entries = s3.read_manifest::<ManifestEntry>("jobs/inputs.jsonl").await.unwrap();
    assert_eq!(entries, listed.iter().map(ManifestEntry::from).collect::<Vec<_>>());
    let pinned = s3.read_manifest::<ManifestEntry>("jobs/inputs.jsonl").map(|entry| entry?.pinned());
    let fetched = s3.get_from(pinned).await.unwrap();
    assert_eq!(fetched.len(), keys.len());
    for object in fetched {
        assert!(object.url().ends_with(&object.text().await.unwrap()));
    }
    let copied = s3.copy_from(s3.read_manifest::<S3CopyObject>("jobs/copies.jsonl")).await.unwrap();
    assert_eq!(copied.len(), keys.len());
    for (original, copy) in listed.iter().zip(s3.list_recursive(["out"]).await.unwrap()) {
        assert_eq!((original.key(), original.size()), (copy.key(), copy.size()));
    }
    let infos = s3.info_from(s3.read_manifest::<ManifestEntry>("jobs/inputs.jsonl")).await.unwrap();
    assert_eq!(infos.len(), keys.len());
    s3.delete_from(s3.read_manifest::<ManifestEntry>("jobs/inputs.jsonl")).await.unwrap();
    assert!(s3.list_recursive(["in"]).await.unwrap().is_empty());
    assert_eq!(s3.list_recursive(["out"]).await.unwrap().len(), keys.len());

    // An object that was replaced since is none that was listed.
    s3.put("in/a", "another").await.unwrap();
    let pinned = s3.read_manifest::<ManifestEntry>("jobs/inputs.jsonl").map(|entry| entry?.pinned());
    let outcomes = s3.get_from(pinned).ordered(true);
    assert_eq!(outcomes.await.unwrap_err().kind(), ErrorKind::Changed);
    let error = s3.read_manifest::<Value>("jobs/missing.jsonl").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.url().unwrap().ends_with("/jobs/missing.jsonl"), "{error}");
}

pub(crate) async fn of_several_that_write_an_outcome_exactly_one_wins(place: &Place) {
    const WRITERS: usize = 8;
    let write = |writer: usize| {
        let s3 = place.s3.clone();
        async move {
            let mut outcome = s3.write_manifest("outcomes/00003.jsonl").overwrite(false);
            for line in 0..100 {
                outcome.write(&json!({"writer": writer, "line": line})).await.unwrap();
            }
            outcome.finish().await.unwrap()
        }
    };
    let receipts = futures::future::join_all((0..WRITERS).map(write)).await;
    let winners: Vec<usize> =
        (0..WRITERS).filter(|writer| receipts[*writer].outcome() == PutOutcome::Created).collect();
    assert_eq!(winners.len(), 1, "{receipts:?}");
    let others = receipts.iter().filter(|receipt| receipt.outcome() == PutOutcome::AlreadyExists);
    assert_eq!(others.count(), WRITERS - 1);
    // Who comes late, with more to say, changes nothing.
    let late = write(WRITERS).await;
    assert_eq!((late.outcome(), late.uploaded()), (PutOutcome::AlreadyExists, false));
    let lines = place.s3.read_manifest::<Value>("outcomes/00003.jsonl").await.unwrap();
    let expected: Vec<Value> = (0..100).map(|line| json!({"writer": winners[0], "line": line})).collect();
    assert_eq!(lines, expected);
}

pub(crate) async fn a_manifest_of_several_parts_is_read_line_by_line(place: &Place) {
    const LINES: u64 = 300_000;
    let s3 = &place.s3;
    let mut manifest = s3.write_manifest("large.jsonl").overwrite(false);
    for line in 0..LINES {
        let request = S3GetObject::new(format!("a key of some length that is unlike the others: {line:020}"));
        manifest.write(&request.offset(line)).await.unwrap();
    }
    assert_eq!(manifest.finish().await.unwrap().outcome(), PutOutcome::Created);
    assert!(s3.info("large.jsonl").await.unwrap().size().unwrap() > 24 << 20);
    let (mut number, mut lines) = (0, s3.read_manifest::<Value>("large.jsonl"));
    while let Some(line) = lines.try_next().await.unwrap() {
        assert_eq!(line["offset"].as_u64(), Some(number));
        number += 1;
    }
    assert_eq!(number, LINES);
}
