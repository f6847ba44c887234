//! Copies inside the server.

use s3flow::{ErrorKind, PutReceipt, S3GetObject, S3PutObject};
use serde_json::json;

use super::Place;
use super::uploads::{LARGE, patterned};

pub(crate) async fn a_copy_keeps_bytes_and_metadata(place: &Place) {
    let s3 = &place.s3;
    let metadata = json!({"owner": "me", "café": ["🦀"]});
    let object = S3PutObject::new("copied/a b", "text").content_type("text/x");
    s3.put_many([object.metadata(metadata.as_object().unwrap().clone())]).await.unwrap();
    let receipt = s3.copy("copied/a b", "copied/é//+").await.unwrap();
    assert!(receipt.uploaded() && receipt.etag().is_some());
    assert_eq!((receipt.key(), receipt.index()), ("copied/é//+", 0));

    let copy = s3.get("copied/é//+").await.unwrap();
    assert_eq!(copy.text().await.unwrap(), "text");
    assert_eq!((copy.content_type(), copy.metadata()), (Some("text/x"), metadata.as_object()));
    // By its whole address, from a scope without a root.
    let listed = s3.list_recursive(["copied"]).await.unwrap();
    let url = format!("s3://{}/elsewhere", place.bucket);
    place.urls.copy(&listed[0], &url).await.unwrap();
    assert_eq!(place.urls.get(&url).await.unwrap().text().await.unwrap(), "text");
}

pub(crate) async fn many_copies_have_an_outcome_each(place: &Place) {
    let s3 = &place.s3;
    s3.put_many((0..10).map(|number| (format!("source/{number}"), number.to_string()))).await.unwrap();
    let pairs = (0..10).map(|number| (format!("source/{number}"), format!("target/{number}")));
    let copied = s3.copy_many(pairs).await.unwrap();
    assert_eq!(copied.iter().map(PutReceipt::index).collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
    assert_eq!(s3.get("target/7").await.unwrap().text().await.unwrap(), "7");
    // Of one destination twice, the last source.
    s3.copy_many((0..10).map(|number| (format!("source/{number}"), "target/last"))).await.unwrap();
    assert_eq!(s3.get("target/last").await.unwrap().text().await.unwrap(), "9");

    let error = s3.copy_many([("source/1", "target/x"), ("source/missing", "target/y")]).await.unwrap_err();
    assert_eq!((error.kind(), error.index()), (ErrorKind::NotFound, Some(1)), "{error}");
    assert!(error.url().unwrap().ends_with("/source/missing"), "{error}");
}

pub(crate) async fn a_copy_is_of_the_object_that_was_asked_for(place: &Place) {
    let s3 = &place.s3;
    s3.put("pinned", "first").await.unwrap();
    let etag = s3.info("pinned").await.unwrap().etag().unwrap().to_owned();
    s3.copy(S3GetObject::new("pinned").if_match(&etag), "pinned-copy").await.unwrap();
    s3.put("pinned", "second").await.unwrap();
    let error = s3.copy(S3GetObject::new("pinned").if_match(&etag), "pinned-copy").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Changed, "{error}");
    assert_eq!(s3.get("pinned-copy").await.unwrap().text().await.unwrap(), "first");
}

pub(crate) async fn a_large_object_can_be_copied(place: &Place) {
    place.s3.put("large", patterned(LARGE)).await.unwrap();
    place.s3.copy("large", "large-copy").await.unwrap();
    assert!(place.s3.get("large-copy").await.unwrap().blob().await.unwrap() == patterned(LARGE));
}

pub(crate) async fn of_a_copy_the_missing_bucket_is_named(place: &Place) {
    let here = format!("s3://{}/copied", place.bucket);
    let nowhere = "s3://s3flow-no-such-bucket/copied";
    place.urls.put(&here, "x").await.unwrap();
    for (source, destination) in [(nowhere, here.as_str()), (here.as_str(), nowhere)] {
        let error = place.urls.copy(source, destination).await.unwrap_err();
        assert_eq!((error.kind(), error.url()), (ErrorKind::NoSuchBucket, Some(nowhere)), "{error}");
    }
}
