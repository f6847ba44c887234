//! What is stored beside the bytes: headers, storage class, tags.

use super::*;

const HEADERS: [(&str, &str); 7] = [
    ("content-type", "text/csv"),
    ("cache-control", "max-age=60"),
    ("content-disposition", "attachment; filename=\"a.csv\""),
    ("content-encoding", "gzip"),
    ("content-language", "de"),
    ("expires", "Wed, 21 Oct 2026 07:28:00 GMT"),
    ("x-amz-meta-owner", "me"),
];

const STORAGE_CLASS: (&str, &str) = ("x-amz-storage-class", "STANDARD_IA");
const TAGGING: (&str, &str) = ("x-amz-tagging", "team=data&caf%C3%A9=%2B");

fn expected_tags() -> [(String, String); 2] {
    [("team".to_owned(), "data".to_owned()), ("café".to_owned(), "+".to_owned())]
}

#[tokio::test]
async fn headers_storage_class_and_tags_are_answered_after_put_multipart_and_copy() {
    let raw = Raw::new().await;
    let said = [&HEADERS[..], &[STORAGE_CLASS, TAGGING]].concat();
    assert_eq!(raw.put("/bucket/put", &said, "x").await.status, 200);
    let (id, _) = raw.create("/bucket/parts", &said).await;
    let part = raw.put(&format!("/bucket/parts?uploadId={id}&partNumber=1"), &[], "x").await;
    assert_eq!(raw.complete("/bucket/parts", &id, &[part.header("etag").unwrap()], &[]).await.status, 200);
    // A copy has a storage class of its own.
    raw.put("/bucket/copy", &[("x-amz-copy-source", "bucket/parts"), STORAGE_CLASS], "").await;

    for key in ["put", "parts", "copy"] {
        let path = format!("/bucket/{key}");
        for answer in [raw.get(&path, &[]).await, raw.head(&path, &[]).await] {
            for (name, value) in HEADERS.into_iter().chain([STORAGE_CLASS, ("x-amz-tagging-count", "2")]) {
                assert_eq!(answer.header(name), Some(value), "{key} {name}");
            }
        }
        let stored = raw.server.stored_object("bucket", key).unwrap();
        assert_eq!((stored.size(), stored.storage_class()), (1, "STANDARD_IA"));
        assert_eq!(stored.tags(), expected_tags());
        let tags = raw.get(&format!("{path}?tagging"), &[]).await;
        assert_eq!(tags.elements("Key"), ["team", "café"]);
        assert_eq!(tags.elements("Value"), ["data", "+"]);
    }

    raw.put("/bucket/plain", &[("x-amz-copy-source", "bucket/put")], "").await;
    assert_eq!(raw.head("/bucket/plain", &[]).await.header("x-amz-storage-class"), None);
    assert_eq!(raw.server.stored_object("bucket", "plain").unwrap().storage_class(), "STANDARD");
}

#[tokio::test]
async fn a_copy_replaces_headers_and_tags_by_its_directives_alone() {
    let raw = Raw::new().await;
    raw.put("/bucket/k", &[("cache-control", "max-age=60"), ("x-amz-tagging", "old=1")], "x").await;
    for (metadata, tagging, cache_control, tag) in [
        ("COPY", "COPY", "max-age=60", "old"),
        ("COPY", "REPLACE", "max-age=60", "new"),
        ("REPLACE", "COPY", "no-store", "old"),
        ("REPLACE", "REPLACE", "no-store", "new"),
    ] {
        let headers = [
            ("x-amz-copy-source", "bucket/k"),
            ("x-amz-metadata-directive", metadata),
            ("x-amz-tagging-directive", tagging),
            ("cache-control", "no-store"),
            ("x-amz-tagging", "new=1"),
        ];
        assert_eq!(raw.put("/bucket/copy", &headers, "").await.status, 200);
        let stored = raw.server.stored_object("bucket", "copy").unwrap();
        assert_eq!(stored.header("cache-control"), Some(cache_control), "{metadata} {tagging}");
        assert_eq!(stored.tags(), [(tag.to_owned(), "1".to_owned())], "{metadata} {tagging}");
    }
    for directive in ["x-amz-metadata-directive", "x-amz-tagging-directive"] {
        let headers = [("x-amz-copy-source", "bucket/k"), (directive, "MERGE")];
        assert_eq!(raw.put("/bucket/copy", &headers, "").await.failure(), (400, "InvalidArgument"));
    }
}

#[tokio::test]
async fn tags_beyond_the_limits_of_s3_are_refused_and_nothing_is_stored() {
    let raw = Raw::new().await;
    let eleven = (0..11).map(|n| format!("k{n}=v")).collect::<Vec<_>>().join("&");
    for (tagging, code) in [(eleven.as_str(), "BadRequest"), ("a%21=v", "InvalidTag"), ("a=1&a=2", "InvalidArgument")] {
        let header = [("x-amz-tagging", tagging)];
        assert_eq!(raw.put("/bucket/k", &header, "x").await.failure(), (400, code));
        assert_eq!(raw.post("/bucket/k?uploads", &header, "").await.failure(), (400, code));
    }
    assert_eq!(raw.server.keys("bucket"), [""; 0]);
    assert_eq!(raw.server.multipart_uploads("bucket"), [""; 0]);
}

#[tokio::test]
async fn an_unknown_storage_class_is_refused() {
    let raw = Raw::new().await;
    let header = [("x-amz-storage-class", "COLD")];
    assert_eq!(raw.put("/bucket/k", &header, "x").await.failure(), (400, "InvalidStorageClass"));
}

#[tokio::test]
async fn tags_are_replaced_and_removed_without_a_change_to_the_object() {
    let raw = Raw::new().await;
    let etag = raw.put("/bucket/k", &[TAGGING], "x").await.header("etag").unwrap().to_owned();
    let document = "<Tagging><TagSet><Tag><Key>a</Key><Value>1</Value></Tag></TagSet></Tagging>";
    let digest = [("content-md5", &*content_md5(document))];
    let put = raw.put("/bucket/k?tagging", &digest, document).await;
    assert_eq!(put.status, 200, "{}", put.text());
    let head = raw.head("/bucket/k", &[]).await;
    assert_eq!((head.header("x-amz-tagging-count"), head.header("etag")), (Some("1"), Some(etag.as_str())));
    assert_eq!(raw.get("/bucket/k?tagging", &[]).await.elements("Key"), ["a"]);

    assert_eq!(raw.put("/bucket/k?tagging", &[], document).await.failure(), (400, "InvalidRequest"));
    assert_eq!(raw.put("/bucket/none?tagging", &digest, document).await.failure(), (404, "NoSuchKey"));
    assert_eq!(raw.get("/bucket/none?tagging", &[]).await.failure(), (404, "NoSuchKey"));

    assert_eq!(raw.send(Method::DELETE, "/bucket/k?tagging", &[], "").await.status, 204);
    assert_eq!(raw.head("/bucket/k", &[]).await.header("x-amz-tagging-count"), None);
    assert_eq!(raw.get("/bucket/k", &[]).await.text(), "x");
}
