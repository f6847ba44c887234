//! What is stored, from whatever it comes, and under which condition.

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use s3flow::{
    ChecksumAlgorithm, CustomerKey, Encryption, ErrorKind, PutReceipt, PutValue, S3, S3GetObject, S3PutObject, Verified,
};

use super::Place;

/// Longer than one request takes, and no multiple of a part.
pub(crate) const LARGE: usize = 20 * 1024 * 1024 + 1;

/// Bytes that differ from part to part.
pub(crate) fn patterned(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at ^ (at >> 8) ^ (at >> 16)) as u8).collect()
}

/// In pieces of odd lengths, among them none at all.
pub(crate) fn pieces(value: &[u8], piece: usize) -> PutValue {
    let mut chunks = vec![Bytes::new()];
    chunks.extend(value.chunks(piece).map(Bytes::copy_from_slice));
    PutValue::stream(futures::stream::iter(chunks).map(Ok::<_, std::io::Error>))
}

async fn assert_stored(s3: &S3, key: &str, value: &[u8]) {
    let object = s3.get(key).await.unwrap();
    assert_eq!(object.size(), Some(value.len() as u64), "{key}");
    assert!(object.blob().await.unwrap() == value, "{key} has other bytes");
}

pub(crate) async fn a_value_of_any_source_is_stored_whole(place: &Place) {
    let s3 = &place.s3;
    let directory = tempfile::tempdir().unwrap();
    for (size, value) in [("empty", Vec::new()), ("small", patterned(1000)), ("large", patterned(LARGE))] {
        let path = directory.path().join(size);
        std::fs::write(&path, &value).unwrap();
        let file = || tokio::fs::File::open(&path);
        for (source, value) in [
            ("bytes", PutValue::from(value.clone())),
            ("file", PutValue::file(&path)),
            ("reader", PutValue::reader(file().await.unwrap())),
            ("stream", pieces(&value, 100_003)),
        ] {
            let receipt = s3.put(format!("{source}/{size}"), value).content_type("text/x").await.unwrap();
            assert!(receipt.uploaded() && receipt.etag().is_some(), "{source}/{size}");
        }
        for source in ["bytes", "file", "reader", "stream"] {
            let key = format!("{source}/{size}");
            assert_stored(s3, &key, &value).await;
            assert_eq!(s3.info(&key).await.unwrap().content_type(), Some("text/x"), "{key}");
        }
    }
}

pub(crate) async fn files_are_stored_under_their_keys(place: &Place) {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    for name in ["a", "b", "c"] {
        std::fs::write(path(name), format!("file {name}")).unwrap();
    }
    let stored = place.s3.put_files([("files/1", path("a")), ("files/2", path("b"))]).await.unwrap();
    assert_eq!(stored.iter().map(PutReceipt::key).collect::<Vec<_>>(), ["files/1", "files/2"]);
    let more = S3PutObject::file("files/3", path("c")).content_type("text/x").metadata([("owner", "me")]);
    place.s3.put_files([more]).await.unwrap();
    for (key, text) in [("files/1", "file a"), ("files/2", "file b"), ("files/3", "file c")] {
        assert_eq!(place.s3.get(key).await.unwrap().text().await.unwrap(), text);
    }
    let third = place.s3.info("files/3").await.unwrap();
    assert_eq!((third.content_type(), third.metadata().unwrap()["owner"].as_str()), (Some("text/x"), Some("me")));
}

pub(crate) async fn a_stream_of_objects_is_stored_as_it_comes(place: &Place) {
    let objects = futures::stream::iter(0..200).map(|number| (format!("from/{number:03}"), number.to_string()));
    let stored: Vec<PutReceipt> = place.s3.put_from(objects).concurrency(16).await.unwrap();
    assert_eq!(stored.iter().map(PutReceipt::index).collect::<Vec<_>>(), (0..200).collect::<Vec<_>>());
    assert_eq!(stored[7].key(), "from/007");
    assert_eq!(place.s3.get("from/199").await.unwrap().text().await.unwrap(), "199");
}

pub(crate) async fn of_one_key_twice_in_a_batch_the_last_wins(place: &Place) {
    for _ in 0..5 {
        let values = (0..20).map(|number| (["twice", "thrice"][number % 2], number.to_string()));
        let stored = place.s3.put_many(values).concurrency(16).await.unwrap();
        assert_eq!(stored.len(), 20);
        assert_eq!(place.s3.get("twice").await.unwrap().text().await.unwrap(), "18");
        assert_eq!(place.s3.get("thrice").await.unwrap().text().await.unwrap(), "19");
    }
}

/// Also of a value in parts.
pub(crate) async fn of_20_that_race_for_a_key_exactly_one_wins(place: &Place) {
    for (key, length) in [("race/small", 100), ("race/large", LARGE - 20)] {
        let racers = 20.min(LARGE / length);
        let puts = (0..racers).map(|racer| {
            let mut value = vec![b'.'; length];
            value.push(racer as u8);
            let s3 = place.s3.clone();
            tokio::spawn(async move { (racer, s3.put(key, value).overwrite(false).await) })
        });
        let outcomes = futures::future::join_all(puts).await;
        let winners: Vec<usize> = outcomes
            .into_iter()
            .map(|outcome| outcome.unwrap())
            .filter_map(|(racer, outcome)| outcome.unwrap().uploaded().then_some(racer))
            .collect();
        assert_eq!(winners.len(), 1, "{key}: {winners:?} won");
        let stored = place.s3.get(key).await.unwrap().blob().await.unwrap();
        assert_eq!(usize::from(*stored.last().unwrap()), winners[0], "{key}");
    }
}

pub(crate) async fn without_overwrite_a_large_value_stays_too(place: &Place) {
    let s3 = &place.s3;
    assert!(s3.put("large-once", patterned(LARGE)).overwrite(false).await.unwrap().uploaded());
    assert!(!s3.put("large-once", vec![0; LARGE]).overwrite(false).await.unwrap().uploaded());
    assert!(!s3.put("large-once", pieces(&vec![0; LARGE], 1 << 20)).overwrite(false).await.unwrap().uploaded());
    assert_stored(s3, "large-once", &patterned(LARGE)).await;
}

pub(crate) async fn a_put_can_ask_for_the_object_that_it_replaces(place: &Place) {
    let s3 = &place.s3;
    let first = s3.put("versioned", "first").await.unwrap();
    let etag = first.etag().unwrap();
    let second = s3.put("versioned", "second").if_match(etag).await.unwrap();
    let error = s3.put("versioned", "third").if_match(etag).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Changed, "{error}");
    assert_eq!((error.expected_etag(), error.found_etag()), (Some(etag), second.etag()), "{error}");
    assert_eq!(s3.put("never", "x").if_match(etag).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(s3.get("versioned").await.unwrap().text().await.unwrap(), "second");

    let now = second.etag().unwrap();
    assert_eq!(s3.get("versioned").if_match(now).await.unwrap().text().await.unwrap(), "second");
    let error = s3.get("versioned").if_match(etag).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Changed, "{error}");
    let objects = [S3GetObject::new("versioned").if_match(etag), S3GetObject::new("versioned")];
    let outcomes: Vec<_> = s3.get_many(objects).ordered(true).collect().await;
    assert_eq!(outcomes[0].as_ref().unwrap_err().kind(), ErrorKind::Changed);
    assert!(outcomes[1].is_ok());
}

/// On a service that ignores conditions as on any other.
pub(crate) async fn to_check_and_then_put_works_everywhere(place: &Place) {
    let s3 = &place.s3;
    let put = |key: &str, value: &str| s3.put(key, value).overwrite(false).check_then_put(true);
    assert!(put("checked", "first").await.unwrap().uploaded());
    assert!(!put("checked", "second").await.unwrap().uploaded());
    let stored = s3.put_many([("checked", "third"), ("checked-new", "x")]).overwrite(false).check_then_put(true);
    assert_eq!(stored.await.unwrap().iter().map(PutReceipt::key).collect::<Vec<_>>(), ["checked-new"]);
    let etag = s3.info("checked").await.unwrap().etag().unwrap().to_owned();
    s3.put("checked", "fourth").if_match(&etag).check_then_put(true).await.unwrap();
    let error = s3.put("checked", "fifth").if_match(&etag).check_then_put(true).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Changed);
    assert_eq!(s3.get("checked").await.unwrap().text().await.unwrap(), "fourth");
}

pub(crate) async fn what_a_customers_key_stored_no_other_reads(place: &Place) {
    let s3 = &place.s3;
    s3.put("sse-c/locked", "x").encryption(Encryption::Customer(CustomerKey::new([7; 32]))).await.unwrap();
    let other = S3GetObject::new("sse-c/locked").customer_key(CustomerKey::new([8; 32]));
    for request in [S3GetObject::new("sse-c/locked"), other] {
        assert!(s3.get(request.clone()).await.is_err(), "{request:?}");
        assert!(s3.info(request.clone()).await.is_err(), "{request:?}");
        assert!(s3.copy(request.clone(), "sse-c/stolen").await.is_err(), "{request:?}");
    }
}

/// Of a value in one request and of one in parts, and of its copy.
pub(crate) async fn what_a_customers_key_stored_it_reads(place: &Place) {
    let key = CustomerKey::new([7; 32]);
    let other = CustomerKey::new([8; 32]);
    for (name, value) in [("sse-c/small", patterned(1000)), ("sse-c/large", patterned(LARGE))] {
        place.s3.put(name, value.clone()).encryption(Encryption::Customer(key.clone())).await.unwrap();
        let object = place.s3.get(name).customer_key(key.clone()).await.unwrap();
        assert!(object.blob().await.unwrap() == value, "{name}");
        let info = place.s3.info(S3GetObject::new(name).customer_key(key.clone())).await.unwrap();
        assert_eq!(info.size(), Some(value.len() as u64));
        let many: Vec<_> = place
            .s3
            .get_many([S3GetObject::new(name).customer_key(key.clone()).length(10)])
            .try_collect()
            .await
            .unwrap();
        assert_eq!(many[0].blob().await.unwrap(), value[..10]);
    }
    let copy = format!("{}/sse-c/copy", place.s3.s3root().unwrap());
    let source = S3GetObject::new("sse-c/small").customer_key(key.clone());
    place.s3.copy(source, "sse-c/copy").encryption(Encryption::Customer(other.clone())).await.unwrap();
    let copied = place.urls.get(S3GetObject::new(copy).customer_key(other)).await.unwrap();
    assert!(copied.blob().await.unwrap() == patterned(1000));
}

pub(crate) async fn a_value_goes_with_a_checksum_and_is_compared_with_it(place: &Place) {
    let crc = Some(Verified::Checksum(ChecksumAlgorithm::Crc64Nvme));
    for (key, length) in [("one request", 100_000), ("parts", LARGE)] {
        place.s3.put(key, patterned(length)).await.unwrap();
        let object = place.s3.get(key).await.unwrap();
        assert!(object.blob().await.unwrap() == patterned(length));
        assert_eq!(object.verified(), crc, "{key}");
    }
}
