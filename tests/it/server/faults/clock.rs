//! A server whose clock is off.

use std::time::{Duration, SystemTime};

use super::*;

const MINUTE: i64 = 60;

#[tokio::test]
async fn signatures_of_another_time_are_refused_and_the_date_tells_the_servers() {
    let server = S3Server::start().await.unwrap();
    server.put_object("bucket", "k", "text");
    let s3 = server.client_builder().build().unwrap().s3().s3root("s3://bucket").build().unwrap();
    s3.get("k").await.unwrap();
    // The same signed request again and again: only the server's clock moves.
    let signed = server.log().remove(0);
    let headers: Vec<_> =
        signed.headers().iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    let raw = Raw { server, http: Client::builder(TokioExecutor::new()).build_http() };
    for (offset, status) in [(0, 200), (14, 200), (-14, 200), (16, 403), (-16, 403), (600_000, 403), (0, 200)] {
        raw.server.set_clock_offset(offset * MINUTE);
        let before = SystemTime::now();
        let answer = raw.get(signed.path_and_query(), &headers).await;
        assert_eq!(answer.status, status, "{offset} minutes: {}", answer.text());
        if status == 403 {
            assert_eq!(answer.element("Code"), "RequestTimeTooSkewed");
        }
        let date = s3s::dto::Timestamp::parse(s3s::dto::TimestampFormat::HttpDate, answer.header("date").unwrap());
        let distance = Duration::from_secs((offset * MINUTE).unsigned_abs());
        let expected = if offset < 0 { before - distance } else { before + distance };
        let minute = Duration::from_secs(60);
        let range = s3s::dto::Timestamp::from(expected - minute)..s3s::dto::Timestamp::from(expected + minute);
        assert!(range.contains(&date.unwrap()), "{offset} minutes: {:?}", answer.headers);
    }
}

#[tokio::test]
async fn unsigned_requests_have_no_time() {
    let raw = Raw::of(S3Server::builder().clock_offset(-86_400)).await;
    assert_eq!(raw.put("/bucket/k", &[], "x").await.status, 200);
}

#[tokio::test]
async fn what_is_stored_has_the_servers_time() {
    let raw = Raw::of(S3Server::builder().clock_offset(-86_400)).await;
    let old = raw.create("/bucket/b", &[]).await.0;
    raw.put(&format!("/bucket/b?partNumber=3&uploadId={old}"), &[], "part").await;
    raw.server.set_clock_offset(0);
    raw.create("/bucket/a", &[]).await;
    let uploads = raw.server.uploads("bucket");
    let [a, b] = &uploads[..] else { panic!("{uploads:?}") };
    assert_eq!((a.key(), a.parts(), b.key(), b.parts()), ("a", &[][..], "b", &[(3, 4)][..]));
    assert_eq!(b.id().replace('+', "%2B").replace('/', "%2F").replace('=', "%3D"), old);
    let apart = a.initiated().duration_since(b.initiated()).unwrap();
    assert!((86_390..86_410).contains(&apart.as_secs()), "{apart:?}");
}
