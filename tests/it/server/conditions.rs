//! Conditions of writes, and servers that do not heed them.

use super::*;

/// Uploads in one part; the answer to the completion.
async fn in_parts(raw: &Raw, key: &str, condition: (&str, &str)) -> Answer {
    let (id, _) = raw.create(key, &[]).await;
    let part = raw.put(&format!("{key}?uploadId={id}&partNumber=1"), &[], "parts").await;
    raw.complete(key, &id, &[part.header("etag").unwrap()], &[condition]).await
}

#[tokio::test]
async fn writes_heed_their_conditions() {
    let raw = Raw::new().await;
    assert_eq!(raw.put("/bucket/k", &[("if-none-match", "*")], "first").await.status, 200);
    assert_eq!(raw.put("/bucket/k", &[("if-none-match", "*")], "second").await.failure(), (412, "PreconditionFailed"));
    assert_eq!(in_parts(&raw, "/bucket/k", ("if-none-match", "*")).await.failure(), (412, "PreconditionFailed"));
    assert_eq!(raw.server.object("bucket", "k").as_deref(), Some(&b"first"[..]));
    // The upload is still there to be completed or aborted.
    assert_eq!(raw.server.multipart_uploads("bucket"), ["k"]);
    assert_eq!(in_parts(&raw, "/bucket/parts", ("if-none-match", "*")).await.status, 200);

    let etag = raw.head("/bucket/k", &[]).await.header("etag").unwrap().to_owned();
    let other = ("if-match", "\"00000000000000000000000000000000\"");
    assert_eq!(raw.put("/bucket/k", &[other], "third").await.failure(), (412, "PreconditionFailed"));
    assert_eq!(in_parts(&raw, "/bucket/k", other).await.failure(), (412, "PreconditionFailed"));
    assert_eq!(raw.put("/bucket/none", &[other], "x").await.failure(), (404, "NoSuchKey"));
    assert_eq!(in_parts(&raw, "/bucket/none", other).await.failure(), (404, "NoSuchKey"));
    assert_eq!(raw.put("/bucket/k", &[("if-match", &etag)], "fourth").await.status, 200);
    let etag = raw.head("/bucket/k", &[]).await.header("etag").unwrap().to_owned();
    assert_eq!(in_parts(&raw, "/bucket/k", ("if-match", &etag)).await.status, 200);
    assert_eq!(raw.server.object("bucket", "k").as_deref(), Some(&b"parts"[..]));
}

#[tokio::test]
async fn a_server_told_so_overwrites_whatever_the_conditions() {
    let raw = Raw::of(S3Server::builder().conditional_writes(false)).await;
    for (condition, value) in [("if-none-match", "*"), ("if-match", "\"0\"")] {
        raw.server.put_object("bucket", "k", "before");
        assert_eq!(raw.put("/bucket/k", &[(condition, value)], "after").await.status, 200);
        assert_eq!(raw.server.object("bucket", "k").as_deref(), Some(&b"after"[..]));
        assert_eq!(in_parts(&raw, "/bucket/k", (condition, value)).await.status, 200);
        assert_eq!(raw.server.object("bucket", "k").as_deref(), Some(&b"parts"[..]));
    }
}

#[tokio::test]
async fn completions_alone_may_ignore_their_conditions() {
    let raw = Raw::of(S3Server::builder().conditional_completes(false)).await;
    raw.server.put_object("bucket", "k", "before");
    assert_eq!(raw.put("/bucket/k", &[("if-none-match", "*")], "after").await.status, 412);
    assert_eq!(in_parts(&raw, "/bucket/k", ("if-none-match", "*")).await.status, 200);
}
