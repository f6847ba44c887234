//! Objects there and back.

use tonic::Code;
use tonic_blobs::proto::{GetRequest, Head, ListRequest, PutRequest, put_request};

use crate::support::{Fixture, code, data, end, get, head, patterned, put, whole};

#[tokio::test]
async fn an_object_comes_as_its_facts_and_then_its_bytes() {
    let fixture = Fixture::new().await;
    let mut caller = fixture.caller();
    for size in [0, 1, 100_000, 20 << 20] {
        let bytes = patterned(size);
        fixture.store("k", bytes.clone());
        let (facts, came) = get(&mut caller, whole("k")).await.unwrap();
        assert_eq!(facts.size, size as u64);
        assert_eq!(facts.etag, fixture.server.stored_object("bucket", "root/k").unwrap().etag());
        assert!(came == bytes, "{size}");
    }
}

#[tokio::test]
async fn a_range_is_the_bytes_asked_for_and_the_size_is_that_of_the_object() {
    let fixture = Fixture::new().await;
    let mut caller = fixture.caller();
    let bytes = patterned(1_000);
    fixture.store("k", bytes.clone());
    let range = |offset, length| GetRequest { key: "k".into(), offset, length };
    for (offset, length, expected) in [
        (0, Some(10), 0..10),
        (5, Some(1), 5..6),
        (990, None, 990..1_000),
        (990, Some(500), 990..1_000),
        (0, Some(1 << 40), 0..1_000),
    ] {
        let (facts, came) = get(&mut caller, range(offset, length)).await.unwrap();
        assert_eq!((facts.size, &came[..]), (1_000, &bytes[expected]), "{offset} {length:?}");
    }
    for (offset, length) in [(1_000, None), (1_000, Some(1)), (5, Some(0)), (0, Some(u64::MAX)), (u64::MAX, Some(1))] {
        let outcome = get(&mut caller, range(offset, length)).await;
        assert_eq!(code(outcome), Code::OutOfRange, "{offset} {length:?}");
    }
}

#[tokio::test]
async fn what_is_put_is_there_with_its_type_and_metadata() {
    let fixture = Fixture::new().await;
    let mut caller = fixture.caller();
    let head = Head {
        key: "dir/ü".into(),
        content_type: "text/plain".into(),
        metadata: [("owner".to_owned(), "me".to_owned())].into(),
    };
    let messages = [PutRequest { part: Some(put_request::Part::Head(head)) }, data("te"), data(""), data("xt"), end()];
    let receipt = caller.put(futures::stream::iter(messages)).await.unwrap().into_inner();
    let stored = fixture.server.stored_object("bucket", "root/dir/ü").unwrap();
    assert_eq!((&stored.bytes()[..], stored.etag()), (&b"text"[..], &*receipt.etag));
    let (facts, bytes) = get(&mut caller, whole("dir/ü")).await.unwrap();
    assert_eq!((&*facts.content_type, &bytes[..]), ("text/plain", &b"text"[..]));
    let s3 = fixture.client.s3().s3root("s3://bucket/root").build().unwrap();
    assert_eq!(s3.info("dir/ü").await.unwrap().metadata().unwrap()["owner"], "me");

    for size in [0, 20 << 20] {
        let bytes = patterned(size);
        put(&mut caller, "large", &bytes).await.unwrap();
        assert!(fixture.server.object("bucket", "root/large").unwrap() == bytes);
    }
}

#[tokio::test]
async fn a_value_over_the_limit_stores_nothing() {
    for limit in [100_000, 20 << 20] {
        let fixture = Fixture::with_limit(limit).await;
        let mut caller = fixture.caller();
        let bytes = patterned(limit as usize + 1);
        assert_eq!(code(put(&mut caller, "k", &bytes).await), Code::ResourceExhausted);
        fixture.everything_ends().await;
        assert!(fixture.is_empty());
        put(&mut caller, "k", &bytes[..limit as usize]).await.unwrap();
    }
}

#[tokio::test]
async fn messages_out_of_order_and_keys_that_are_none_store_nothing() {
    let fixture = Fixture::new().await;
    let mut caller = fixture.caller();
    let nothing = || PutRequest { part: None };
    for messages in [
        vec![],
        vec![end()],
        vec![data("x"), end()],
        vec![nothing()],
        vec![head("k"), nothing(), end()],
        vec![head("k"), data("x"), head("k"), end()],
        vec![head(""), data("x"), end()],
        vec![head("/k"), data("x"), end()],
        vec![head(&"k".repeat(1025)), data("x"), end()],
        vec![head("s3://bucket/k"), data("x"), end()],
    ] {
        let outcome = caller.put(futures::stream::iter(messages.clone())).await;
        assert_eq!(code(outcome), Code::InvalidArgument, "{messages:?}");
    }
    assert!(fixture.is_empty());
}

#[tokio::test]
async fn a_listing_names_all_below_a_prefix_and_nothing_else() {
    let fixture = Fixture::new().await;
    let mut caller = fixture.caller();
    let keys: Vec<_> = (0..2_500).map(|number| format!("dir/sub/{number:04}")).collect();
    for key in keys.iter().map(String::as_str).chain(["dir/a", "dira", "other"]) {
        fixture.store(key, "text");
    }
    fixture.server.put_object("bucket", "outside", "text");
    let mut listed = async |prefix: &str| {
        let mut entries = caller.list(ListRequest { prefix: prefix.into() }).await.unwrap().into_inner();
        let mut keys = Vec::new();
        while let Some(entry) = entries.message().await.unwrap() {
            assert_eq!(entry.size, 4);
            keys.push(entry.key);
        }
        keys.sort();
        keys
    };
    assert_eq!(listed("dir/sub").await, keys);
    assert_eq!(listed("dir").await.len(), 2_501);
    assert_eq!(listed("").await.len(), 2_503);
    assert!(listed("d").await.is_empty());
    // By what it is named, it can be had.
    assert_eq!(get(&mut caller, whole(&keys[7])).await.unwrap().1, b"text");
}
