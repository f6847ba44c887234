//! URLs that work without credentials, for a while.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use s3flow::{CustomerKey, Encryption, ErrorKind, S3GetObject};

use crate::http::ask_url;
use crate::support::Fixture;

#[tokio::test]
async fn an_url_is_of_its_method_key_and_headers_alone() {
    let fixture = Fixture::new().await;
    fixture.s3.put("k", "text").await.unwrap();
    fixture.s3.put("other", "secret").await.unwrap();
    let link = fixture.s3.presign_get("k").await.unwrap();
    let status = async |method: &str, url: &str| ask_url(method, url, link.headers(), b"").await.status;
    assert_eq!(status("GET", link.url()).await, 200);
    assert_eq!(status("GET", &link.url().replace("/k?", "/other?")).await, 403);
    assert_eq!(status("DELETE", link.url()).await, 403);
    assert_eq!(status("GET", &link.url().replace("Expires=3600", "Expires=36000")).await, 403);
    let upload = fixture.s3.presign_put("new").content_type("text/x").content_length(4).await.unwrap();
    let put = async |body: &[u8], headers: &HeaderMap| ask_url("PUT", upload.url(), headers, body).await.status;
    assert_eq!(put(b"longer", upload.headers()).await, 403);
    let mut other = upload.headers().clone();
    other.insert("content-type", "text/y".parse().unwrap());
    assert_eq!(put(b"text", &other).await, 403);
    assert!(fixture.server.object("bucket", "new").is_none());
    assert_eq!(put(b"text", upload.headers()).await, 200);
    let stored = fixture.s3.get("new").await.unwrap();
    assert_eq!((stored.content_type(), stored.text().await.unwrap()), (Some("text/x"), "text".to_owned()));
}

#[tokio::test]
async fn an_url_ends_when_it_says() {
    let fixture = Fixture::new().await;
    fixture.s3.put("k", "text").await.unwrap();
    let link = fixture.s3.presign_get("k").expires_in(Duration::from_secs(60)).await.unwrap();
    let left = link.expires_at().duration_since(SystemTime::now()).unwrap();
    assert!(left <= Duration::from_secs(60) && left > Duration::from_secs(50), "{left:?}");
    assert_eq!(ask_url("GET", link.url(), link.headers(), b"").await.status, 200);
    fixture.server.set_clock_offset(120);
    assert_eq!(ask_url("GET", link.url(), link.headers(), b"").await.status, 403);
}

#[tokio::test]
async fn what_cannot_be_signed_is_named_and_nothing_is_sent() {
    let fixture = Fixture::new().await;
    let kind = |error: s3flow::Error| error.kind();
    let s3 = &fixture.s3;
    for time in [Duration::ZERO, Duration::from_secs(7 * 24 * 60 * 60 + 1), Duration::from_millis(999)] {
        assert_eq!(s3.presign_get("k").expires_in(time).await.map_err(kind).err(), Some(ErrorKind::Config), "{time:?}");
        let error = s3.presign_put("k").expires_in(time).await.unwrap_err();
        assert!(error.to_string().contains("presign_put s3://bucket/k: expires_in"), "{error}");
    }
    let nothing = S3GetObject::new("k").length(0);
    assert_eq!(s3.presign_get(nothing).await.map_err(kind).err(), Some(ErrorKind::InvalidRange));
    let line = s3.presign_put("k").content_type("a\nb").await;
    assert_eq!(line.map_err(kind).err(), Some(ErrorKind::InvalidObject));
    let key = CustomerKey::new([7; 32]);
    let with_key = S3GetObject::new("k").customer_key(key.clone());
    assert_eq!(s3.presign_get(with_key).await.map_err(kind).err(), Some(ErrorKind::Config));
    let with_key = s3.presign_put("k").encryption(Encryption::Customer(key));
    assert_eq!(with_key.await.map_err(kind).err(), Some(ErrorKind::Config));
    let anonymous = s3flow::Client::builder().endpoint(fixture.server.endpoint()).anonymous(true);
    let anonymous = anonymous.build().unwrap().s3().s3root("s3://bucket").build().unwrap();
    let urls = fixture.client.s3().build().unwrap();
    assert_eq!(urls.presign_put("no url").await.map_err(kind).err(), Some(ErrorKind::InvalidUrl));
    assert_eq!(anonymous.presign_get("k").await.map_err(kind).err(), Some(ErrorKind::Config));
    assert!(fixture.server.log().is_empty());
}

#[tokio::test]
async fn debug_shows_no_signature() {
    let fixture = Fixture::new().await;
    let link = fixture.s3.presign_get("k").await.unwrap();
    let shown = format!("{link:?}");
    assert!(shown.contains("/bucket/k?******") && !shown.contains("X-Amz"), "{shown}");
}
