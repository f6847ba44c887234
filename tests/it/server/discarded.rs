//! A server that keeps no content.

use super::*;

#[tokio::test]
async fn discarded_content_leaves_its_size_and_etag_and_reads_as_zeros() {
    let raw = Raw::of(S3Server::builder().discard_content(true)).await;
    let kept = Raw::new().await;
    let large = bytes::Bytes::from(vec![7; 5 * 1024 * 1024]);
    for raw in [&raw, &kept] {
        raw.put("/bucket/k", &[], "text").await;
        let (id, _) = raw.create("/bucket/parts", &[]).await;
        let mut etags = Vec::new();
        for (number, body) in [(1, large.clone()), (2, bytes::Bytes::from_static(b"end"))] {
            let path = format!("/bucket/parts?uploadId={id}&partNumber={number}");
            let part = raw.send(Method::PUT, &path, &[], body).await;
            etags.push(part.header("etag").unwrap().to_owned());
        }
        let completed = raw.complete("/bucket/parts", &id, &[&etags[0], &etags[1]], &[]).await;
        assert_eq!(completed.status, 200, "{}", completed.text());
    }
    for key in ["k", "parts"] {
        let (stored, whole) = (raw.server.stored_object("bucket", key), kept.server.stored_object("bucket", key));
        let (stored, whole) = (stored.unwrap(), whole.unwrap());
        assert_eq!((stored.size(), stored.etag(), stored.parts()), (whole.size(), whole.etag(), whole.parts()));
        let read = raw.get(&format!("/bucket/{key}"), &[("x-amz-checksum-mode", "ENABLED")]).await;
        assert_eq!(read.body.len() as u64, whole.size());
        assert!(read.body.iter().all(|byte| *byte == 0));
        assert!(!read.headers.keys().any(|name| name.as_str().starts_with("x-amz-checksum")));
    }
    let range = raw.get("/bucket/parts", &[("range", "bytes=5242879-5242881")]).await;
    assert_eq!((range.status.as_u16(), &range.body[..]), (206, &[0, 0, 0][..]));
    // What a test puts there itself stays.
    raw.server.put_object("bucket", "mine", "text");
    assert_eq!(raw.get("/bucket/mine", &[]).await.text(), "text");
}
