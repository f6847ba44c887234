//! Text, and plain data as JSON.

use futures::TryStreamExt as _;
use s3flow::{Error, ErrorKind, RangeInfo, S3GetObject, S3Object};
use serde_json::json;

use crate::support::{Fixture, with_causes};

#[tokio::test]
async fn text_that_is_not_utf8_is_an_error_that_says_at_which_byte() {
    let fixture = Fixture::new().await;
    for (bytes, offset) in
        [(&b"\xff"[..], 0), (b"abc\xc3(", 3), ("é🦀\u{10ffff}\0".as_bytes(), usize::MAX), (b"cut \xe2\x82", 4)]
    {
        fixture.server.put_object("bucket", "k", bytes);
        let object = fixture.s3.get("k").await.unwrap();
        assert_eq!(object.blob().await.unwrap(), bytes);
        match object.text().await {
            Ok(text) => assert_eq!((text.as_bytes(), offset), (bytes, usize::MAX)),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::InvalidObject);
                assert_eq!(error.to_string(), format!("text s3://bucket/k: the byte at offset {offset} is not UTF-8"));
                assert!(with_causes(&error).contains("utf-8"), "{}", with_causes(&error));
            }
        }
    }
    let mut large = vec![b'x'; 32 << 20];
    large.push(0x80);
    fixture.server.put_object("bucket", "large", large);
    let error = fixture.s3.get("large").await.unwrap().text().await.unwrap_err();
    assert!(error.to_string().contains("offset 33554432"), "{error}");
}

#[tokio::test]
async fn what_is_known_of_an_object_is_serialised_under_plain_names() {
    let fixture = Fixture::new().await;
    let metadata = json!({"owner": "me", "n": [1, null]});
    let put = fixture.s3.put("dir/k", "text").content_type("text/plain");
    let receipt = put.metadata(metadata.as_object().unwrap().clone()).await.unwrap();
    let etag = receipt.etag().unwrap();
    assert_eq!(
        serde_json::to_value(&receipt).unwrap(),
        json!({
            "index": 0, "url": "s3://bucket/dir/k", "key": "dir/k", "uploaded": true, "outcome": "stored", "etag": etag,
        })
    );

    let range = S3GetObject::new("dir/k").offset(1).length(2);
    let object = fixture.s3.get(range).await.unwrap();
    let mut written = serde_json::to_value(&object).unwrap();
    let date = written.as_object_mut().unwrap().remove("last_modified").unwrap();
    let expected = json!({
        "index": 0,
        "url": "s3://bucket/dir/k",
        "key": "dir/k",
        "prefix": "s3://bucket",
        "exists": true,
        "downloaded": true,
        "path": object.path().unwrap(),
        "size": 2,
        "etag": etag,
        "has_info": true,
        "content_type": "text/plain",
        "metadata": metadata,
        "range_info": {"total_size": 4, "request_offset": 1, "request_length": 2},
    });
    assert_eq!(written, expected);
    // RFC 3339 in UTC, to the second.
    let date = date.as_str().unwrap();
    assert!(date.len() == "2026-11-23T04:05:06Z".len() && date.ends_with('Z') && date.as_bytes()[10] == b'T', "{date}");
    let range: RangeInfo = serde_json::from_value(expected["range_info"].clone()).unwrap();
    assert_eq!(Some(range), object.range_info());

    fixture.server.put_object("bucket", "dir/sub/x", "");
    let listed = fixture.s3.list_paths(["dir"]).await.unwrap();
    let prefix = json!({"index": 0, "url": "s3://bucket/dir/sub/", "key": "sub/", "prefix": "s3://bucket/dir",
        "exists": false, "downloaded": false, "has_info": false});
    assert_eq!(serde_json::to_value(&listed[1]).unwrap(), prefix);
    let entry = serde_json::to_value(&listed[0]).unwrap();
    assert_eq!((&entry["size"], &entry["etag"], entry.get("content_type")), (&json!(4), &json!(etag), None));
}

#[tokio::test]
async fn a_request_of_a_listed_object_comes_back_to_it_in_a_scope_with_another_root() {
    let fixture = Fixture::new().await;
    fixture.server.put_object("bucket", "a//b c/%2F", "text");
    let listed = fixture.s3.list_recursive(["a"]).await.unwrap();
    let json = serde_json::to_string(&S3GetObject::from(&listed[0]).length(2)).unwrap();
    assert_eq!(json, r#"{"url":"s3://bucket/a//b c/%2F","length":2}"#);
    let elsewhere = fixture.scope().s3root("s3://other/root").build().unwrap();
    let request: S3GetObject = serde_json::from_str(&json).unwrap();
    let object = elsewhere.get(request).await.unwrap();
    assert_eq!((object.url(), object.text().await.unwrap().as_str()), (listed[0].url(), "te"));
}

#[tokio::test]
async fn a_callers_own_error_goes_through_a_stream_with_its_cause() {
    let fixture = Fixture::new().await;
    fixture.put_numbered(1);
    let rows = futures::stream::iter([Ok("k0"), Err(Error::other(std::io::Error::other("connection lost")))]);
    let outcome: Result<Vec<S3Object>, Error> = fixture.s3.get_from(rows).try_collect().await;
    let error = outcome.unwrap_err();
    assert_eq!((error.kind(), error.index(), error.is_retryable()), (ErrorKind::Other, Some(1), false));
    assert_eq!(with_causes(&error), "the caller's own error (input 1): connection lost");
    assert_eq!(Error::other("text").kind(), ErrorKind::Other);
}
