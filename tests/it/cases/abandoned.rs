//! Uploads that nobody finished.

use std::time::Duration;

use bytes::Bytes;
use futures::future::{join_all, select};
use futures::{StreamExt as _, TryStreamExt as _};
use s3flow::{AbandonedUpload, ErrorKind, PutValue, S3};

use super::Place;

/// Begins an upload for each key below a directory, and forgets them, as a process does that is killed.
async fn abandon(s3: &S3, directory: &str, keys: &[&str]) {
    let endless = |key: &&str| {
        let begin = futures::stream::iter([Ok::<_, std::io::Error>(Bytes::from(vec![1; 9 << 20]))]);
        let put = s3.put(format!("{directory}/{key}"), PutValue::stream(begin.chain(futures::stream::pending())));
        Box::pin(put.into_future())
    };
    let mut puts = join_all(keys.iter().map(endless));
    let begun = async { while s3.abandoned_uploads([directory], Duration::ZERO).await.unwrap().len() < keys.len() {} };
    select(&mut puts, Box::pin(begun)).await;
    std::mem::forget(puts);
}

fn urls(uploads: &[AbandonedUpload]) -> Vec<&str> {
    uploads.iter().map(AbandonedUpload::url).collect()
}

pub(crate) async fn what_nobody_finished_is_found_and_aborted(place: &Place) {
    let s3 = &place.s3;
    let root = format!("{}/abandoned", s3.s3root().unwrap());
    abandon(s3, "abandoned", &["run", "run/a b+%2F", "run/ü", "run-old/x"]).await;

    let found =
        s3.abandoned_uploads(["abandoned/run", "abandoned/none", "abandoned/run/"], Duration::ZERO).await.unwrap();
    let told: Vec<_> = found.iter().map(|upload| (upload.index(), upload.key())).collect();
    let exact = format!("{root}/run");
    let expected = [(0, exact.as_str()), (0, "a b+%2F"), (0, "ü"), (2, "a b+%2F"), (2, "ü")];
    assert_eq!(told, expected);
    assert_eq!((found[0].url(), found[0].prefix()), (exact.as_str(), None));
    assert_eq!((found[1].url(), found[1].prefix()), (format!("{exact}/a b+%2F").as_str(), Some(exact.as_str())));
    assert!(found.iter().all(|upload| !upload.upload_id().is_empty()));
    assert_eq!(found[1].upload_id(), found[3].upload_id());

    // By whole URLs too, as a stream, and one at a time.
    let streamed = place.urls.abandoned_uploads([&exact], Duration::ZERO);
    let mut by_url: Vec<AbandonedUpload> = streamed.try_collect().await.unwrap();
    // Not every server lists them in the order of their keys.
    by_url.sort_by(|one, other| one.url().cmp(other.url()));
    assert_eq!(urls(&by_url), urls(&found[..3]));
    for _ in 0..2 {
        // The second time it is gone.
        place.urls.abort_upload(&by_url[2]).await.unwrap();
    }
    let gone = s3.abandoned_uploads(["abandoned/run"], Duration::ZERO).abort(true).await.unwrap();
    assert_eq!(urls(&gone), urls(&found[..2]));
    assert!(s3.abandoned_uploads(["abandoned/run"], Duration::ZERO).await.unwrap().is_empty());
    let left = s3.abandoned_uploads([""], Duration::ZERO).abort(true).await.unwrap();
    assert_eq!(left.iter().map(AbandonedUpload::key).collect::<Vec<_>>(), ["abandoned/run-old/x"]);
    assert!(s3.list_recursive([""]).await.unwrap().is_empty());
}

pub(crate) async fn what_was_begun_just_now_is_not_abandoned(place: &Place) {
    let s3 = &place.s3;
    abandon(s3, "young", &["a"]).await;
    assert!(s3.abandoned_uploads(["young"], Duration::from_secs(3600)).abort(true).await.unwrap().is_empty());
    let gone = s3.abandoned_uploads(["young"], Duration::ZERO).abort(true).await.unwrap();
    let age = gone[0].initiated().elapsed().unwrap_or_default();
    assert!(age < Duration::from_secs(600), "{age:?}");
}

pub(crate) async fn of_a_missing_bucket_no_uploads_are_listed(place: &Place) {
    let error = place.urls.abandoned_uploads(["s3://s3flow-no-such-bucket/k"], Duration::ZERO).await.unwrap_err();
    assert_eq!((error.kind(), error.index()), (ErrorKind::NoSuchBucket, Some(0)), "{error}");
}
