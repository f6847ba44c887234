//! Copies and their limits.

use super::*;

const MIB: u64 = 1024 * 1024;

#[tokio::test]
async fn what_is_larger_than_the_limit_is_copied_by_parts_only() {
    let raw = Raw::of(S3Server::builder().max_copy_size(5 * MIB)).await;
    let content = bytes::Bytes::from((0..6 * MIB).map(|n| (n / 1000) as u8).collect::<Vec<_>>());
    raw.server.put_object("bucket", "large", content.clone());
    raw.server.put_object("bucket", "fits", vec![0; 5 * MIB as usize]);
    let source = ("x-amz-copy-source", "bucket/large");

    let refused = raw.put("/bucket/copy", &[source], "").await;
    assert_eq!(refused.failure(), (400, "InvalidRequest"));
    assert_eq!(
        refused.element("Message"),
        "The specified copy source is larger than the maximum allowable size for a copy source: 5242880"
    );
    assert_eq!(raw.put("/bucket/copy", &[("x-amz-copy-source", "bucket/fits")], "").await.status, 200);

    let (id, _) = raw.create("/bucket/copy", &[]).await;
    let part = |number| format!("/bucket/copy?uploadId={id}&partNumber={number}");
    assert_eq!(raw.put(&part(1), &[source], "").await.failure(), (400, "InvalidRequest"));
    let mut etags = Vec::new();
    for (number, range) in [(1, "bytes=0-5242879"), (2, "bytes=5242880-6291455")] {
        let copied = raw.put(&part(number), &[source, ("x-amz-copy-source-range", range)], "").await;
        assert_eq!(copied.status, 200, "{}", copied.text());
        etags.push(copied.element("ETag").replace("&quot;", "\""));
    }
    for range in ["bytes=5242880-6291456", "bytes=0-", "bytes=2-1"] {
        let copied = raw.put(&part(3), &[source, ("x-amz-copy-source-range", range)], "").await;
        assert_eq!(copied.failure(), (400, "InvalidArgument"), "{range}");
    }
    assert_eq!(raw.complete("/bucket/copy", &id, &[&etags[0], &etags[1]], &[]).await.status, 200);
    let stored = raw.server.stored_object("bucket", "copy").unwrap();
    assert_eq!(stored.parts(), [5 * MIB, MIB]);
    assert!(stored.bytes() == content);
}

#[tokio::test]
async fn a_copy_heeds_the_etag_of_its_source() {
    let raw = Raw::new().await;
    let etag = raw.put("/bucket/k", &[], "x").await.header("etag").unwrap().to_owned();
    let (id, _) = raw.create("/bucket/parts", &[]).await;
    for path in ["/bucket/copy".to_owned(), format!("/bucket/parts?uploadId={id}&partNumber=1")] {
        let source = ("x-amz-copy-source", "bucket/k");
        let condition = "x-amz-copy-source-if-match";
        let other = raw.put(&path, &[source, (condition, "\"0\"")], "").await;
        assert_eq!(other.failure(), (412, "PreconditionFailed"));
        assert_eq!(raw.put(&path, &[source, (condition, &etag)], "").await.status, 200);
    }
}
