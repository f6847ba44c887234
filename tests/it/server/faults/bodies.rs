//! Bodies that are not what they should be.

use std::time::Duration;

use tokio::time::Instant;

use super::wire::Wire;
use super::*;

/// The answer to a GET of `0123456789` under a fault.
async fn damaged(fault: Fault, headers: &[(&str, &str)]) -> Answer {
    let raw = with_objects(["k"]).await;
    let injected = raw.server.inject(fault);
    let answer = raw.get("/bucket/k", headers).await;
    assert_eq!(injected.applied(), 1);
    answer
}

#[tokio::test]
async fn a_body_may_be_short_or_long_and_its_length_fits() {
    let ranged = [("range", "bytes=2-7")];
    for (fault, headers, length, body) in [
        (Fault::short_body(4), &[][..], "4", "0123"),
        (Fault::short_body(0), &[], "0", ""),
        (Fault::short_body(4), &ranged, "4", "2345"),
        (Fault::extra_bytes(3), &[], "13", "0123456789+++"),
        (Fault::extra_bytes(1), &ranged, "7", "234567+"),
    ] {
        let answer = damaged(fault.clone(), headers).await;
        assert_eq!((answer.header("content-length"), answer.text()), (Some(length), body), "{fault:?}");
        let range = (!headers.is_empty()).then_some("bytes 2-7/10");
        assert_eq!(answer.header("content-range"), range, "it says what it should be");
    }
}

#[tokio::test]
async fn a_byte_is_inverted_and_no_other() {
    for offset in [0, 4, 9] {
        let answer = damaged(Fault::corrupt_byte(offset), &[]).await;
        let mut expected = b"0123456789".to_vec();
        expected[offset as usize] = !expected[offset as usize];
        assert_eq!(answer.body, expected);
    }
}

#[tokio::test]
async fn a_content_range_may_be_wrong_and_a_range_ignored() {
    let ranged = [("range", "bytes=2-7")];
    let shifted = damaged(Fault::wrong_content_range(), &ranged).await;
    assert_eq!(shifted.status, 206);
    assert_eq!((shifted.header("content-range"), shifted.text()), (Some("bytes 3-8/10"), "234567"));
    let whole = damaged(Fault::ignore_range(), &ranged).await;
    assert_eq!((whole.status.as_u16(), whole.header("content-range"), whole.text()), (200, None, "0123456789"));
}

#[tokio::test]
async fn what_has_no_such_body_is_left_alone() {
    for fault in [
        Fault::short_body(10),
        Fault::short_body(u64::MAX),
        Fault::corrupt_byte(10),
        Fault::corrupt_byte(u64::MAX),
        Fault::extra_bytes(0),
        Fault::wrong_content_range(),
        Fault::garbage_xml(),
        Fault::cut_xml(1),
        Fault::truncated_token(),
        Fault::missing_token(),
    ] {
        let raw = with_objects(["k"]).await;
        let injected = raw.server.inject(fault.clone().times(usize::MAX));
        let get = raw.get("/bucket/k", &[]).await;
        assert_eq!((get.status.as_u16(), get.text()), (200, "0123456789"), "{fault:?}");
        let head = raw.head("/bucket/k", &[]).await;
        assert_eq!((head.status.as_u16(), head.header("content-length")), (200, Some("10")), "{fault:?}");
        assert_eq!(injected.applied(), 0, "{fault:?}");
    }
    let raw = with_objects(["k"]).await;
    let injected = raw.server.inject(Fault::extra_bytes(3).times(2));
    assert_eq!(raw.head("/bucket/k", &[]).await.header("content-length"), Some("10"));
    assert_eq!(raw.send(Method::DELETE, "/bucket/k", &[], "").await.status, 204);
    assert_eq!(injected.applied(), 0);
}

#[tokio::test]
async fn documents_are_garbage_or_cut() {
    let raw = with_objects(["a", "b"]).await;
    let whole = raw.get("/bucket?list-type=2", &[]).await;
    raw.server.inject(Fault::cut_xml(100));
    let cut = raw.get("/bucket?list-type=2", &[]).await;
    assert_eq!((cut.status.as_u16(), cut.header("content-length")), (200, Some("100")));
    assert_eq!(cut.text(), &whole.text()[..100]);
    raw.server.inject(Fault::garbage_xml());
    let garbage = raw.get("/bucket?list-type=2", &[]).await;
    assert_eq!((garbage.status.as_u16(), garbage.header("content-type")), (200, Some("application/xml")));
    assert!(garbage.text().contains("<<&;") && !garbage.text().contains("<Key>"));
    // The bytes of an object are the caller's, whatever their type.
    raw.server.inject(Fault::garbage_xml());
    assert_eq!(raw.get("/bucket/a?response-content-type=application/xml", &[]).await.text(), "0123456789");
}

#[tokio::test]
async fn a_page_may_have_half_a_token_or_none() {
    let raw = Raw::of(S3Server::builder().page_size(1)).await;
    for key in ["a", "b", "c"] {
        raw.server.put_object("bucket", key, "");
    }
    let page = raw.get("/bucket?list-type=2", &[]).await;
    let token = page.element("NextContinuationToken");

    raw.server.inject(Fault::truncated_token());
    let halved = raw.get("/bucket?list-type=2", &[]).await;
    let half = halved.element("NextContinuationToken");
    assert!(token.starts_with(half) && half.len() == token.len() / 2, "{half} of {token}");
    assert_eq!(halved.text(), page.text().replace(token, half));
    let next = raw.get(&format!("/bucket?list-type=2&continuation-token={}", half.replace('/', "%2F")), &[]).await;
    assert_eq!(next.failure(), (400, "InvalidArgument"));

    let missing = raw.server.inject(Fault::missing_token().times(usize::MAX));
    let without = raw.get("/bucket?list-type=2", &[]).await;
    assert_eq!(
        without.text(),
        page.text().replace(&format!("<NextContinuationToken>{token}</NextContinuationToken>"), "")
    );
    assert_eq!(without.element("IsTruncated"), "true");
    let old = raw.get("/bucket?delimiter=/", &[]).await;
    assert_eq!((old.element("IsTruncated"), old.elements("NextMarker").len()), ("true", 0));
    let (id, _) = raw.create("/bucket/parts", &[]).await;
    for part in [1, 2] {
        raw.put(&format!("/bucket/parts?partNumber={part}&uploadId={id}"), &[], "x").await;
    }
    assert_eq!(missing.applied(), 2);
    let parts = raw.get(&format!("/bucket/parts?uploadId={id}"), &[]).await;
    assert_eq!((parts.element("IsTruncated"), parts.elements("NextPartNumberMarker").len()), ("true", 0));
    assert_eq!(missing.applied(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_body_trickles_at_its_pace() {
    for (bytes_per_second, first, took) in [(1, "0", 9000), (2, "0", 4500), (40, "0123", 200)] {
        let raw = with_objects(["k"]).await;
        raw.server.inject(Fault::trickle(bytes_per_second));
        let start = Instant::now();
        let mut wire = Wire::get(&raw.server, "/bucket/k").await;
        wire.until(&format!("\r\n\r\n{first}")).await;
        assert!(start.elapsed() < Duration::from_millis(100), "the first bytes come at once");
        wire.end().await;
        assert_eq!(wire.body(), "0123456789");
        let took = Duration::from_millis(took);
        assert!((took..took + Duration::from_millis(20)).contains(&start.elapsed()), "{:?}", start.elapsed());
    }
}

#[tokio::test]
async fn an_object_is_another_before_the_call_that_it_is_said_of() {
    let raw = with_objects(["k", "other"]).await;
    let replaced = raw.server.inject(Fault::replace_object("abcdefghij").operation(Operation::GetObject).on_call(2));
    let first = raw.get("/bucket/k", &[("range", "bytes=0-4")]).await;
    let second = raw.get("/bucket/k", &[("range", "bytes=5-9")]).await;
    assert_eq!((first.text(), second.text()), ("01234", "fghij"));
    assert_ne!(first.header("etag"), second.header("etag"));
    assert_eq!((replaced.applied(), raw.server.object("bucket", "other").unwrap()), (1, "0123456789".into()));

    raw.server.inject(Fault::replace_object("new"));
    let pinned = raw.get("/bucket/k", &[("if-match", second.header("etag").unwrap())]).await;
    assert_eq!(pinned.failure(), (412, "PreconditionFailed"));
    let nothing = raw.server.inject(Fault::replace_object("none"));
    assert_eq!(raw.get("/bucket?list-type=2", &[]).await.elements("Key"), ["k", "other"]);
    assert_eq!(nothing.applied(), 0);
}
