//! Large objects, which come in parts side by side.

use std::collections::BTreeSet;

use bytes::Bytes;
use s3flow::testing::{Fault, Finish, LoggedRequest, Operation, S3Server};
use s3flow::{CustomerKey, ErrorKind, S3GetObject};

use crate::cases::uploads::patterned;
use crate::support::{Fixture, count, in_time};

const MIB: usize = 1 << 20;
const PART: usize = 8 * MIB;

async fn with_large(length: usize) -> (Fixture, Bytes) {
    let fixture = Fixture::of(S3Server::builder().bucket("bucket").md5(false).start().await.unwrap());
    let bytes: Bytes = patterned(length).into();
    fixture.server.put_object("bucket", "large", bytes.clone());
    (fixture, bytes)
}

/// The bytes that a request asks for, from the first to the last.
fn range(request: &LoggedRequest) -> Option<(usize, usize)> {
    let (first, last) = request.header("range")?.strip_prefix("bytes=")?.split_once('-')?;
    Some((first.parse().unwrap(), last.parse().unwrap()))
}

#[tokio::test]
async fn up_to_two_parts_are_one_request_and_more_are_a_request_for_each_part() {
    for (length, requests) in
        [(0, 1), (PART, 1), (2 * PART, 1), (2 * PART + 1, 3), (3 * PART, 3), (3 * PART + 1, 4), (5 * PART - 1, 5)]
    {
        let (fixture, bytes) = with_large(length).await;
        let object = fixture.s3.get("large").await.unwrap();
        assert!(object.blob().await.unwrap() == bytes, "{length}");
        assert_eq!((object.size(), fixture.server.log().len()), (Some(length as u64), requests), "{length}");
        drop(object);
        fixture.s3.close().await.unwrap();
        assert_eq!(fixture.files(), 0);
    }
}

#[tokio::test]
async fn the_first_request_is_the_first_part_and_the_others_are_pinned_to_its_etag() {
    let (fixture, _) = with_large(4 * PART + 5).await;
    let object = fixture.s3.get("large").await.unwrap();
    let log = fixture.server.log();
    assert_eq!(count(&log, Operation::GetObject), log.len(), "nobody asks for a size first");
    assert_eq!((log[0].header("range"), log[0].header("if-match")), (None, None));
    assert!(log[1..].iter().all(|request| request.header("if-match") == object.etag()));
    let parts: BTreeSet<_> = log[1..].iter().map(|request| range(request).unwrap()).collect();
    let expected = (1..5).map(|part| (part * PART, ((part + 1) * PART).min(4 * PART + 5) - 1));
    assert_eq!(parts, expected.collect());
}

#[tokio::test]
async fn a_long_range_comes_in_parts_too() {
    let (fixture, bytes) = with_large(5 * PART).await;
    let whole = || S3GetObject::new("large");
    for (request, first, last) in [
        (whole().offset(3), 3, 5 * PART),
        (whole().offset(7).length(3 * PART as i64), 7, 7 + 3 * PART),
        (whole().length(-(3 * PART as i64)), 2 * PART, 5 * PART),
    ] {
        fixture.server.clear_log();
        let object = fixture.s3.get(request).await.unwrap();
        assert!(object.blob().await.unwrap() == bytes[first..last]);
        let told = object.range_info().unwrap();
        assert_eq!((told.request_offset, told.request_length), (first as u64, (last - first) as u64));
        let log = fixture.server.log();
        assert_eq!(log.len(), (last - first).div_ceil(PART));
        assert!(log[1..].iter().all(|request| {
            let (from, to) = range(request).unwrap();
            from > first && to < last && to - from < PART
        }));
    }
}

#[tokio::test]
async fn eight_parts_at_most_are_on_their_way() {
    let (fixture, bytes) = with_large(12 * PART).await;
    // The first one's headers tell that there are others.
    let first = Fault::stall_after(MIB as u64).operation(Operation::GetObject);
    fixture.server.inject(first);
    let get = tokio::spawn(fixture.s3.get("large").into_future());
    fixture.wait_until(|log| log.len() == 1).await;
    fixture.server.hold();
    let under_way = |log: &[LoggedRequest]| log.iter().filter(|request| request.finish().is_none()).count();
    fixture.wait_until(|log| under_way(log) == 8).await;
    fixture.server.release();
    // Seven go on while the first one stands still.
    fixture.wait_until(|log| log.len() == 12 && under_way(log) == 1).await;
    fixture.server.clear_faults();
    assert!(get.await.unwrap().unwrap().blob().await.unwrap() == bytes);
}

#[tokio::test]
async fn each_part_goes_on_from_the_byte_it_has_reached() {
    let (fixture, bytes) = with_large(4 * PART).await;
    for part in 0..4 {
        let cut = Fault::close_after((3 * MIB + part) as u64).operation(Operation::GetObject);
        fixture.server.inject(if part == 0 { cut } else { cut.first_byte((part * PART) as u64) });
    }
    let object = fixture.s3.get("large").await.unwrap();
    assert!(object.blob().await.unwrap() == bytes);
    let log = fixture.server.log();
    assert_eq!(log.len(), 8);
    for part in 0..4 {
        let resumed = log
            .iter()
            .filter_map(range)
            .find(|(first, last)| *first > part * PART && *last == (part + 1) * PART - 1 && first % PART != 0);
        let (first, _) = resumed.unwrap_or_else(|| panic!("part {part} was not resumed"));
        // What was on its way when the connection ended may be lost.
        assert!(first - part * PART <= 3 * MIB + part, "part {part} from {first}");
    }
}

#[tokio::test]
async fn parts_of_two_versions_are_never_mixed() {
    let (fixture, _) = with_large(4 * PART).await;
    let other = Fault::replace_object(vec![b'x'; 4 * PART]).operation(Operation::GetObject).on_call(3);
    fixture.server.inject(other);
    let error = fixture.s3.get("large").await.unwrap_err();
    assert_eq!((error.kind(), error.url()), (ErrorKind::Changed, Some("s3://bucket/large")), "{error}");
    fixture.s3.close().await.unwrap();
    assert_eq!(fixture.files(), 0);
}

#[tokio::test]
async fn a_part_that_fails_for_good_ends_the_others() {
    let (fixture, _) = with_large(6 * PART).await;
    fixture.server.inject(Fault::stall_after(MIB as u64).operation(Operation::GetObject).on_call(2).times(3));
    fixture.server.inject(Fault::status(403, "AccessDenied").operation(Operation::GetObject).on_call(5));
    let get = fixture.s3.get("large").into_future();
    let error = in_time("the failure of a part", get).await.unwrap_err();
    assert_eq!((error.kind(), error.attempts()), (ErrorKind::AccessDenied, 1), "{error}");
    assert_eq!(fixture.files(), 0);
    fixture.connections_end(1).await;
}

#[tokio::test]
async fn a_server_that_ignores_ranges_sends_a_large_object_in_one_stream() {
    let (fixture, bytes) = with_large(3 * PART).await;
    fixture.server.inject(Fault::ignore_range().times(usize::MAX));
    let object = fixture.s3.get("large").await.unwrap();
    assert!(object.blob().await.unwrap() == bytes);
    let log = fixture.server.log();
    // The first, a try of each other part at most, and the one that serves.
    assert!(log.len() <= 4, "{}", log.len());
    let whole = log.iter().filter(|request| request.finish() == Some(Finish::Sent) && range(request).is_none()).count();
    assert_eq!(whole, 1, "sent to its end once");

    fixture.server.clear_log();
    let part = fixture.s3.get(S3GetObject::new("large").offset(5)).await.unwrap();
    assert!(part.blob().await.unwrap() == bytes[5..]);
    assert_eq!(fixture.server.log().len(), 1, "the first answer has shown it");
}

#[tokio::test]
async fn without_a_strong_etag_a_large_object_is_one_stream() {
    for fault in [Fault::without_header("etag"), Fault::with_header("etag", "W/\"weak\"")] {
        let (fixture, bytes) = with_large(3 * PART).await;
        fixture.server.inject(fault.times(usize::MAX));
        let object = fixture.s3.get("large").await.unwrap();
        assert!(object.blob().await.unwrap() == bytes);
        assert_eq!(fixture.server.log().len(), 1);
    }
}

#[tokio::test]
async fn every_part_carries_the_customers_key() {
    let fixture = Fixture::new().await;
    let key = || CustomerKey::new([7; 32]);
    let bytes = patterned(3 * PART);
    let put = fixture.s3.put("large", bytes.clone()).encryption(s3flow::Encryption::Customer(key()));
    put.await.unwrap();
    fixture.server.clear_log();
    let object = fixture.s3.get("large").customer_key(key()).await.unwrap();
    assert!(object.blob().await.unwrap() == bytes);
    let log = fixture.server.log();
    assert_eq!(log.len(), 3);
    let name = "x-amz-server-side-encryption-customer-key-md5";
    assert!(log.iter().all(|request| request.header(name).is_some()));
}

#[tokio::test]
async fn many_large_objects_share_the_places_for_parts_and_all_of_them_come() {
    let (fixture, bytes) = with_large(5 * PART).await;
    let objects = in_time("all of them", IntoFuture::into_future(fixture.s3.get_many(["large"; 12]))).await.unwrap();
    assert_eq!(objects.len(), 12);
    for object in objects {
        assert!(object.blob().await.unwrap() == bytes);
    }
    // One for each object, and the places.
    assert!(fixture.server.open_connections() <= 12 + 24, "{}", fixture.server.open_connections());
}
