//! Single objects, their keys and info, and listings of them.

use std::io::SeekFrom;

use futures::TryStreamExt as _;
use s3flow::{Encryption, ErrorKind, KmsKey, S3GetObject, S3Object, S3PutObject};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};

use super::Place;
use super::uploads::patterned;
use crate::http::ask_url;

/// Every key that some client or server is known to change.
pub(crate) fn odd_keys() -> Vec<String> {
    let mut keys: Vec<String> = [
        "a//b",
        "dir/",
        "/lead",
        "./a",
        "../a",
        "a/../b",
        "a b",
        " lead",
        "trail ",
        "a+b",
        "%2F",
        "a?b#c&d=e;f",
        "<xml>&\"'`",
        "\u{1}ÿ",
        "t\tb",
        "n\nl",
        "🦀/🦀",
        "中文/名",
        "~s3flow~6b",
        "~s3flow~",
    ]
    .map(str::to_owned)
    .to_vec();
    keys.push("k".repeat(1024));
    keys.push("é".repeat(512));
    keys
}

pub(crate) async fn every_key_comes_back_under_exactly_its_name(place: &Place) {
    let keys: Vec<String> = odd_keys().into_iter().filter(|key| !place.impossible.contains(key)).collect();
    for key in &keys {
        let url = format!("s3://{}/{key}", place.bucket);
        place.urls.put(&url, "first").await.unwrap();
        place.urls.put(&url, key.as_str()).await.unwrap();
        let object = place.urls.get(&url).await.unwrap();
        assert_eq!((object.url(), object.key()), (url.as_str(), url.as_str()));
        assert_eq!(object.text().await.unwrap(), *key);
        let info = place.urls.info(&url).await.unwrap();
        assert_eq!(info.size(), Some(key.len() as u64), "{key:?}");
    }
    let listed: Vec<S3Object> = place.urls.list_recursive([format!("s3://{}", place.bucket)]).await.unwrap();
    for key in &keys {
        let url = format!("s3://{}/{key}", place.bucket);
        let found: Vec<&S3Object> = listed.iter().filter(|object| object.url() == url).collect();
        assert_eq!(found.len(), 1, "{key:?} is listed once");
        assert_eq!((found[0].key(), found[0].size()), (key.as_str(), Some(key.len() as u64)));
        // What a listing shows can be fetched as it is, whatever the root of the scope.
        assert_eq!(place.s3.get(found[0]).await.unwrap().text().await.unwrap(), *key);
    }
}

pub(crate) async fn what_was_put_comes_back_with_its_info(place: &Place) {
    let metadata = json!({"owner": "me", "café": ["🦀", 1.5, null], "spaces": "a   b"});
    let object = S3PutObject::new("info", "text").content_type("text/plain; charset=utf-8");
    let object = object.metadata(metadata.as_object().unwrap().clone());
    let receipts = place.s3.put_many([object]).await.unwrap();
    assert!(receipts[0].uploaded() && receipts[0].etag().is_some());
    assert_eq!(receipts[0].key(), "info");

    for object in [place.s3.get("info").await.unwrap(), place.s3.info("info").await.unwrap()] {
        assert!(object.exists() && object.has_info());
        assert_eq!(object.size(), Some(4));
        assert_eq!(object.content_type(), Some("text/plain; charset=utf-8"));
        assert_eq!(object.metadata(), metadata.as_object());
        assert_eq!(object.etag(), receipts[0].etag());
        let range = object.range_info().unwrap();
        assert_eq!((range.total_size, range.request_offset, range.request_length), (4, 0, 4));
        let age = std::time::SystemTime::now().duration_since(object.last_modified().unwrap());
        assert!(age.unwrap_or_default().as_secs() < 3600);
    }
    assert_eq!(place.s3.get("info").await.unwrap().blob().await.unwrap(), b"text");
    assert!(!place.s3.get("info").return_info(false).await.unwrap().has_info());

    place.s3.put("plain", "").await.unwrap();
    let plain = place.s3.get("plain").await.unwrap();
    assert_eq!((plain.size(), plain.metadata()), (Some(0), None));
    // What S3 says of an object that was given none; garage says nothing.
    assert!(
        plain.content_type().is_none_or(|reported| reported == "binary/octet-stream"),
        "{:?}",
        plain.content_type()
    );
    assert_eq!(plain.blob().await.unwrap(), b"");
}

pub(crate) async fn ranges_are_cut_at_the_end_and_refused_outside(place: &Place) {
    place.s3.put("range", "0123456789").await.unwrap();
    place.s3.put("empty", "").await.unwrap();
    let whole = || S3GetObject::new("range");
    for (request, text, offset) in [
        (whole().offset(2).length(3), "234", 2),
        (whole().offset(2).length(300), "23456789", 2),
        (whole().length(3), "012", 0),
        (whole().offset(7), "789", 7),
        (whole().offset(7).length(-1), "789", 7),
        (whole().length(-3), "789", 7),
        (whole().length(-300), "0123456789", 0),
        (whole(), "0123456789", 0),
    ] {
        let object = place.s3.get(request.clone()).await.unwrap();
        assert_eq!(object.text().await.unwrap(), text, "{request:?}");
        let range = object.range_info().unwrap();
        assert_eq!((range.total_size, range.request_offset, range.request_length), (10, offset, text.len() as u64));
        assert_eq!(object.size(), Some(text.len() as u64));
    }
    for request in [
        whole().offset(10),
        whole().offset(11).length(1),
        S3GetObject::new("empty").length(1),
        S3GetObject::new("empty").length(-1),
    ] {
        let error = place.s3.get(request.clone()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRange, "{request:?}: {error}");
    }
}

pub(crate) async fn a_missing_key_is_an_object_on_request_and_a_missing_bucket_never(place: &Place) {
    let error = place.s3.get("missing").await.unwrap_err();
    assert_eq!((error.kind(), error.code(), error.status()), (ErrorKind::NotFound, Some("NoSuchKey"), Some(404)));
    assert!(error.is_not_found() && !error.is_retryable());
    assert_eq!(place.s3.info("missing").await.unwrap_err().kind(), ErrorKind::NotFound);

    for missing in [
        place.s3.get("missing").return_missing(true).await.unwrap(),
        place.s3.info("missing").return_missing(true).await.unwrap(),
    ] {
        assert!(!missing.exists() && !missing.downloaded() && !missing.has_info());
        assert_eq!((missing.key(), missing.size(), missing.path()), ("missing", None, None));
    }

    let nowhere = "s3://s3flow-no-such-bucket/k";
    let got = place.urls.get(nowhere).return_missing(true).await.unwrap_err();
    let info = place.urls.info(nowhere).return_missing(true).await.unwrap_err();
    let put = place.urls.put(nowhere, "x").await.unwrap_err();
    let listed = place.urls.list_recursive(["s3://s3flow-no-such-bucket"]).await.unwrap_err();
    for error in [got, info, put, listed] {
        assert_eq!(error.kind(), ErrorKind::NoSuchBucket, "{error}");
        assert!(error.to_string().contains("s3flow-no-such-bucket"), "{error}");
    }
}

pub(crate) async fn without_overwrite_the_first_put_stays(place: &Place) {
    let first = place.s3.put("once", "first").overwrite(false).await.unwrap();
    assert!(first.uploaded());
    let second = place.s3.put("once", "second").overwrite(false).await.unwrap();
    assert!(!second.uploaded());
    assert_eq!(place.s3.get("once").await.unwrap().text().await.unwrap(), "first");

    let stored = place.s3.put_many([("once", "third"), ("new", "x")]).overwrite(false).await.unwrap();
    assert_eq!(stored.iter().map(|receipt| (receipt.index(), receipt.key())).collect::<Vec<_>>(), [(1, "new")]);
    let file = tempfile::NamedTempFile::new().unwrap();
    let files = place.s3.put_files([("new", file.path()), ("newer", file.path())]).overwrite(false).await.unwrap();
    assert_eq!(files.iter().map(|receipt| (receipt.index(), receipt.key())).collect::<Vec<_>>(), [(1, "newer")]);
    assert_eq!(place.s3.get("new").await.unwrap().text().await.unwrap(), "x");
    place.s3.put("once", "fourth").await.unwrap();
    assert_eq!(place.s3.get("once").await.unwrap().text().await.unwrap(), "fourth");
}

pub(crate) async fn a_prefix_is_a_directory(place: &Place) {
    let objects = ["a/1", "a/2", "a/b/3", "a/", "ab/4", "a", "other/5"];
    place.s3.put_many(objects.map(|key| (format!("tree/{key}"), "x"))).await.unwrap();
    let listed = place.s3.list_recursive(["tree/ab", "tree/a", "tree/none", "tree/a/b/"]).await.unwrap();
    let found: Vec<(usize, &str)> = listed.iter().map(|object| (object.index(), object.key())).collect();
    assert_eq!(found, [(0, "4"), (1, ""), (1, "1"), (1, "2"), (1, "b/3"), (3, "3")]);
    let root = place.s3.s3root().unwrap();
    assert_eq!(listed[1].prefix(), Some(format!("{root}/tree/a").as_str()));
    assert_eq!(listed[2].url(), format!("{root}/tree/a/1"));
    assert!(listed.iter().all(|object| object.exists() && !object.downloaded() && object.size() == Some(1)));

    assert_eq!(place.s3.list_recursive(["tree"]).await.unwrap().len(), objects.len());
    assert_eq!(place.s3.list_recursive(Vec::<String>::new()).await.unwrap().len(), 0);
    assert!(place.s3.list_recursive([""]).await.unwrap().len() >= objects.len());
}

pub(crate) async fn a_listing_of_several_pages_is_whole(place: &Place) {
    // More than a page of S3's.
    let count = 1100;
    let keys: Vec<String> = (0..count).map(|number| format!("pages/{number:05}")).collect();
    place.s3.put_many(keys.iter().map(|key| (key.as_str(), key.as_str()))).await.unwrap();
    let listed = place.s3.list_recursive(["pages"]).await.unwrap();
    let found: Vec<String> = listed.iter().map(|object| format!("pages/{}", object.key())).collect();
    assert_eq!(found, keys);

    let fetched: Vec<S3Object> = place.s3.get_from(place.s3.list_recursive(["pages"])).try_collect().await.unwrap();
    assert_eq!(fetched.len(), count);
    for object in fetched {
        let text = object.text().await.unwrap();
        assert_eq!(text, format!("pages/{}", object.key()), "{:?} of {object:?}", object.etag());
    }
}

pub(crate) async fn encryption_is_asked_for_and_reported(place: &Place) {
    place.s3.put("sse", "x").encryption(Encryption::Aes256).await.unwrap();
    assert_eq!(place.s3.info("sse").await.unwrap().encryption(), Some("AES256"));
    let kms = Encryption::AwsKms(KmsKey::new("alias/s3flow"));
    let object = S3PutObject::new("kms", "x").encryption(kms);
    place.s3.put_many([object]).await.unwrap();
    assert_eq!(place.s3.get("kms").await.unwrap().encryption(), Some("aws:kms"));
}

pub(crate) async fn a_presigned_url_works_without_credentials_for_any_key(place: &Place) {
    for key in ["k", "a b/ü?#+&=%", "dir//x", "./a"] {
        let upload = place.s3.presign_put(key).content_type("text/x").metadata([("owner", "me")]).await.unwrap();
        if !upload.url().starts_with("http://") {
            return;
        }
        let answer = ask_url("PUT", upload.url(), upload.headers(), b"0123456789").await;
        assert_eq!(answer.status, 200, "{key}: {}", String::from_utf8_lossy(&answer.body));
        let stored = place.s3.get(key).await.unwrap();
        assert_eq!((stored.content_type(), stored.metadata().unwrap()["owner"].as_str()), (Some("text/x"), Some("me")));

        let link = place.s3.presign_get(key).content_disposition("attachment; filename=\"x\"").await.unwrap();
        let answer = ask_url("GET", link.url(), link.headers(), b"").await;
        assert_eq!((answer.status, &answer.body[..]), (200, &b"0123456789"[..]), "{key}");
        let range = place.s3.presign_get(S3GetObject::new(key).offset(2).length(3)).await.unwrap();
        assert_eq!(ask_url("GET", range.url(), range.headers(), b"").await.body, b"234", "{key}");
    }
}

pub(crate) async fn objects_are_read_without_a_file(place: &Place) {
    let large = patterned((17 << 20) + 3);
    for (key, bytes) in [("small", &large[..1000]), ("large", &large[..]), ("empty", &large[..0])] {
        place.s3.put(key, bytes.to_vec()).await.unwrap();
        assert!(place.s3.get(key).bytes().await.unwrap() == bytes, "{key}");
        let mut read = Vec::new();
        place.s3.get(key).reader().read_to_end(&mut read).await.unwrap();
        assert!(read == bytes, "{key}");
        let mut opened = place.s3.open(key).window(1 << 20).await.unwrap();
        opened.seek(SeekFrom::Start(500)).await.unwrap();
        read.clear();
        opened.read_to_end(&mut read).await.unwrap();
        assert!(read == bytes[500.min(bytes.len())..], "{key}");
        let mut writer = place.s3.put(format!("{key}-written"), "").writer();
        writer.write_all(bytes).await.unwrap();
        writer.finish().await.unwrap();
        assert!(place.s3.get(format!("{key}-written")).bytes().await.unwrap() == bytes, "{key}");
    }
}
