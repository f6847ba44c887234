//! Bad input is a typed error that names the thing, before any request where that is possible, and leaves nothing on disk.

use std::time::{Duration, Instant};

use s3flow::{Client, Credentials, Error, ErrorKind, S3GetObject, S3PutObject};

use crate::support::Fixture;

#[track_caller]
fn assert_refused(error: &Error, kind: ErrorKind, named: &str) {
    assert_eq!((error.kind(), error.attempts()), (kind, 0), "{error}");
    assert!(error.to_string().contains(named), "{error} names {named}");
}

#[tokio::test]
async fn what_is_no_address_is_refused_by_every_operation() {
    let fixture = Fixture::new().await;
    let urls = fixture.scope().build().unwrap();
    let bucket_root = &fixture.s3;
    let long = format!("s3://bucket/{}", "k".repeat(1025));
    for (s3, key, named) in [
        (&urls, "relative", "relative"),
        (&urls, "", "not an s3:// URL"),
        (&urls, "http://host/k", "http://host/k"),
        (&urls, "s3://bucket", "a key is needed"),
        (&urls, "s3://bucket/", "a key is needed"),
        (&urls, "s3://bad bucket/k", "bad bucket"),
        (&urls, long.as_str(), "1025 bytes"),
        (bucket_root, "s3://bucket/k", "relative to the root"),
        (bucket_root, "", "a key is needed"),
        (bucket_root, &long[12..], "1025 bytes"),
    ] {
        for error in [
            s3.get(key).await.unwrap_err(),
            s3.get(key).return_missing(true).await.unwrap_err(),
            s3.get_many([key]).await.unwrap_err(),
            s3.put(key, "v").await.unwrap_err(),
            s3.put_many([(key, "v")]).await.unwrap_err(),
            s3.info(key).await.unwrap_err(),
            s3.info_many([key]).await.unwrap_err(),
            s3.exists(key).await.unwrap_err(),
        ] {
            assert_refused(&error, ErrorKind::InvalidUrl, named);
        }
    }
    for (s3, prefix, named) in [(&urls, "relative", "relative"), (bucket_root, "s3://bucket/x", "relative to the root")]
    {
        for error in [
            s3.list_recursive([prefix]).await.unwrap_err(),
            s3.list_paths([prefix]).await.unwrap_err(),
            s3.get_recursive([prefix]).await.unwrap_err(),
        ] {
            assert_refused(&error, ErrorKind::InvalidUrl, named);
        }
    }
    assert!(fixture.server.log().is_empty());
    assert_eq!(fixture.files(), 0);
}

#[tokio::test]
async fn a_root_that_is_no_s3_url_is_refused() {
    let fixture = Fixture::new().await;
    for root in ["bucket/prefix", "http://bucket", "", "s3://", "s3:///x", "S3://bucket"] {
        let error = fixture.scope().s3root(root).build().unwrap_err();
        assert_refused(&error, ErrorKind::InvalidUrl, &format!("the s3root {root:?}"));
    }
}

#[tokio::test]
async fn a_tmproot_that_cannot_be_used_is_refused_before_anything_is_sent() {
    let fixture = Fixture::new().await;
    fixture.put_numbered(1);
    let file = fixture.tmproot.path().join("a-file");
    std::fs::write(&file, "").unwrap();
    for tmproot in [file.as_path(), std::path::Path::new("/no/such/directory")] {
        let s3 = fixture.client.s3().s3root("s3://bucket").tmproot(tmproot).build().unwrap();
        assert_refused(&s3.get("k0").await.unwrap_err(), ErrorKind::Io, tmproot.to_str().unwrap());
    }
    assert!(fixture.server.log().is_empty());
}

#[tokio::test]
async fn a_range_of_nothing_is_refused() {
    let fixture = Fixture::new().await;
    for object in [
        S3GetObject::new("k").length(0),
        S3GetObject::new("k").offset(3).length(0),
        S3GetObject::new("k").offset(u64::MAX).length(2),
    ] {
        assert_refused(&fixture.s3.get(object).await.unwrap_err(), ErrorKind::InvalidRange, "s3://bucket/k");
    }
    assert!(fixture.server.log().is_empty());
}

#[tokio::test]
async fn what_s3_would_not_store_is_refused() {
    let fixture = Fixture::new().await;
    let metadata = S3PutObject::new("k", "v").metadata([("n", "x".repeat(2048))]);
    assert_refused(&fixture.s3.put_many([metadata]).await.unwrap_err(), ErrorKind::InvalidObject, "2048");
    let error = fixture.s3.put("k", "v").content_type("text/\nplain").await.unwrap_err();
    assert_refused(&error, ErrorKind::InvalidObject, "content-type");
    assert!(fixture.server.log().is_empty());
}

#[tokio::test]
async fn zero_concurrency_is_refused_where_it_is_set() {
    let fixture = Fixture::new().await;
    assert_refused(&fixture.scope().concurrency(0).build().unwrap_err(), ErrorKind::Config, "concurrency");
    assert_refused(&Client::builder().concurrency(0).build().unwrap_err(), ErrorKind::Config, "concurrency");
}

#[tokio::test]
async fn an_unreachable_endpoint_is_reported_within_seconds() {
    // Bound and dropped: nobody listens there.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let client = Client::builder()
        .endpoint(format!("http://127.0.0.1:{port}"))
        .credentials(Credentials::new("AKID", "secret"))
        .use_proxy(false)
        .build()
        .unwrap();
    let s3 = client.s3().s3root("s3://bucket").build().unwrap();
    let start = Instant::now();
    for error in [
        s3.get("k").await.unwrap_err(),
        s3.put("k", "v").await.unwrap_err(),
        s3.list_recursive([""]).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Network, "{error}");
        assert!(error.to_string().contains(&format!("127.0.0.1:{port}")), "{error}");
        assert!(error.is_retryable() && error.url().is_some());
    }
    assert!(start.elapsed() < Duration::from_secs(30));
}

#[tokio::test]
async fn a_wrong_secret_is_access_denied() {
    let fixture = Fixture::new().await;
    let wrong = fixture
        .server
        .client_builder()
        .credentials(Credentials::new(fixture.server.access_key_id(), "hunter2"))
        .build()
        .unwrap();
    let unknown =
        fixture.server.client_builder().credentials(Credentials::new("AKIDUNKNOWN", "hunter2")).build().unwrap();
    let nobody =
        Client::builder().endpoint(fixture.server.endpoint()).anonymous(true).use_proxy(false).build().unwrap();
    for (client, code) in [(wrong, "SignatureDoesNotMatch"), (unknown, "InvalidAccessKeyId"), (nobody, "AccessDenied")]
    {
        let s3 = client.s3().s3root("s3://bucket").build().unwrap();
        let error = s3.get("k").await.unwrap_err();
        assert_eq!((error.kind(), error.code(), error.attempts()), (ErrorKind::AccessDenied, Some(code), 1));
        assert!(error.request_id().is_some());
    }
}
