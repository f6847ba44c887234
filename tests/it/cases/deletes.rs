//! Deletes, one and many.

use futures::StreamExt as _;
use s3flow::ErrorKind;

use super::Place;
use super::objects::odd_keys;

pub(crate) async fn what_is_deleted_is_gone_and_missing_keys_are_no_error(place: &Place) {
    place.s3.put_many([("gone", "x"), ("gone/below", "x"), ("stays", "x")]).await.unwrap();
    let receipt = place.s3.delete("gone").await.unwrap();
    let root = place.s3.s3root().unwrap();
    assert_eq!((receipt.key(), receipt.index()), ("gone", 0));
    assert_eq!(receipt.url(), format!("{root}/gone"));
    assert_eq!((receipt.version_id(), receipt.delete_marker()), (None, false));
    let keys = ["gone", "never", "gone/below", "gone/below"];
    let receipts = place.s3.delete_many(keys).await.unwrap();
    assert_eq!(receipts.iter().map(|receipt| receipt.key()).collect::<Vec<_>>(), keys);
    assert_eq!(place.s3.delete("never").await.unwrap().key(), "never");
    let left = place.s3.list_recursive([""]).await.unwrap();
    assert_eq!(left.iter().map(|object| object.key()).collect::<Vec<_>>(), ["stays"]);

    let nowhere = ["s3://s3flow-no-such-bucket/a", "s3://s3flow-no-such-bucket/b"];
    let mut errors = vec![place.urls.delete(nowhere[0]).await.unwrap_err()];
    let mut outcomes = place.urls.delete_many(nowhere);
    while let Some(outcome) = outcomes.next().await {
        errors.push(outcome.unwrap_err());
    }
    assert_eq!(errors.len(), 3);
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::NoSuchBucket, "{error}");
        assert!(error.to_string().starts_with("delete s3://s3flow-no-such-bucket/"), "{error}");
    }
}

pub(crate) async fn thousands_are_deleted_as_they_are_listed(place: &Place) {
    // More than two requests take.
    let count = 2500;
    let keys: Vec<String> = (0..count).map(|number| format!("many/{number:05}")).collect();
    place.s3.put_many(keys.iter().map(|key| (key.as_str(), "x"))).await.unwrap();
    place.s3.put("many-not", "x").await.unwrap();
    let receipts = place.s3.delete_from(place.s3.list_recursive(["many"])).await.unwrap();
    let root = place.s3.s3root().unwrap();
    let urls: Vec<String> = keys.iter().map(|key| format!("{root}/{key}")).collect();
    assert_eq!(receipts.iter().map(|receipt| receipt.url()).collect::<Vec<_>>(), urls);
    let left = place.s3.list_recursive([""]).await.unwrap();
    assert_eq!(left.iter().map(|object| object.key()).collect::<Vec<_>>(), ["many-not"]);
}

/// A document that is read loosely would delete the neighbour.
pub(crate) async fn every_key_is_deleted_under_exactly_its_name(place: &Place) {
    let possible = |key: &str| key.len() < 900 && !place.impossible.iter().any(|other| other == key);
    let odd: Vec<String> = odd_keys().into_iter().filter(|key| possible(key.as_str())).collect();
    let root = place.s3.s3root().unwrap();
    let tag = root.rsplit('/').next().unwrap();
    let mut keys: Vec<String> = odd.iter().map(|key| format!("{root}/{key}")).collect();
    keys.push(format!("s3://{}/ {tag}", place.bucket));
    keys.extend(
        ["\u{a0}x", "x\u{a0}", "x\u{fffd}", "&amp;", "&#38;", "]]>", "<!--", "x\u{85}y"]
            .map(|key| format!("{root}/{key}")),
    );
    let neighbours: Vec<String> =
        ["lead", "trail", "a/b", "dir", "a", "b", "a b c", "t b", "n l", "/", "&", "x", "xy", "x y", "ÿ"]
            .iter()
            .map(|key| format!("{root}/{key}"))
            .chain([format!("s3://{}/{tag}", place.bucket)])
            .collect();
    place.urls.put_many(keys.iter().chain(&neighbours).map(|key| (key.as_str(), "x"))).await.unwrap();
    let receipts = place.urls.delete_many(&keys).await.unwrap();
    assert_eq!(receipts.iter().map(|receipt| receipt.url()).collect::<Vec<_>>(), keys);
    for key in &keys {
        let left = place.urls.info(key).return_missing(true).await.unwrap();
        assert!(!left.exists(), "{key:?} is deleted");
    }
    for key in &neighbours {
        assert!(place.urls.info(key).await.is_ok(), "{key:?} stays");
    }
}
