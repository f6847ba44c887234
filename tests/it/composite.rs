//! Objects whose checksum is one of the checksums of their parts, as others upload them: compared by the parts.

use bytes::Bytes;
use http::Method;
use s3flow::testing::{Fault, LoggedRequest, Operation, S3Server};
use s3flow::{ChecksumAlgorithm, ClientBuilder, ErrorKind, Limits, S3, S3GetObject, Verification, Verified};

use crate::cases::uploads::patterned;
use crate::server::Raw;
use crate::support::files_below;

const MIB: usize = 1 << 20;
/// No two are the same, and none is as long as the parts that the library makes.
const PARTS: [usize; 4] = [6 * MIB, 5 * MIB + 1, 9 * MIB, 3];

struct Place {
    raw: Raw,
    s3: S3,
    tmproot: tempfile::TempDir,
}

impl Place {
    async fn new(set: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Self {
        let raw = Raw::of(S3Server::builder().bucket("bucket").md5(false)).await;
        let client = set(raw.server.client_builder()).build().unwrap();
        let tmproot = tempfile::tempdir().unwrap();
        let s3 = client.s3().s3root("s3://bucket").tmproot(tmproot.path()).build().unwrap();
        Self { raw, s3, tmproot }
    }

    async fn upload(&self, key: &str, algorithm: &str, kind: &str, parts: &[usize]) -> Bytes {
        let headers = [("x-amz-checksum-algorithm", algorithm), ("x-amz-checksum-type", kind)];
        let path = format!("/bucket/{key}");
        let (id, _) = self.raw.create(&path, &headers).await;
        let bytes = Bytes::from(patterned(parts.iter().sum()));
        let mut rest = bytes.clone();
        let mut etags = Vec::new();
        for (number, length) in (1..).zip(parts) {
            let part = format!("{path}?uploadId={id}&partNumber={number}");
            let answer = self.raw.send(Method::PUT, &part, &[], rest.split_to(*length)).await;
            etags.push(answer.header("etag").unwrap().to_owned());
        }
        let etags: Vec<&str> = etags.iter().map(String::as_str).collect();
        self.raw.complete(&path, &id, &etags, &[]).await;
        self.raw.server.clear_log();
        bytes
    }

    async fn composite(&self) -> Bytes {
        self.upload("k", "SHA256", "COMPOSITE", &PARTS).await
    }

    async fn assert_comes(&self, bytes: &Bytes, verified: Option<Verified>) {
        let object = self.s3.get("k").await.unwrap();
        assert!(object.blob().await.unwrap() == *bytes);
        assert_eq!(object.verified(), verified);
    }

    async fn assert_is_damaged(&self, told: &str) {
        let error = self.s3.get("k").await.unwrap_err();
        let text = error.to_string();
        assert!(error.kind() == ErrorKind::Integrity && error.is_retryable() && text.contains(told), "{text}");
        assert_eq!(files_below(self.tmproot.path()), 0);
    }
}

const SHA256: Option<Verified> = Some(Verified::Composite(ChecksumAlgorithm::Sha256));

/// The part, the first byte of the range, or neither.
fn asked(request: &LoggedRequest) -> String {
    assert_eq!(request.operation(), Operation::GetObject);
    let part = request.query_value("partNumber").map(|number| format!("part {number}"));
    part.or(request.header("range").map(str::to_owned)).unwrap_or_default()
}

#[tokio::test]
async fn an_object_with_a_checksum_of_checksums_is_compared_by_its_parts() {
    let place = Place::new(|client| client).await;
    for (name, algorithm) in [
        ("CRC32", ChecksumAlgorithm::Crc32),
        ("CRC32C", ChecksumAlgorithm::Crc32c),
        ("SHA1", ChecksumAlgorithm::Sha1),
        ("SHA256", ChecksumAlgorithm::Sha256),
    ] {
        let bytes = place.upload("k", name, "COMPOSITE", &PARTS).await;
        place.assert_comes(&bytes, Some(Verified::Composite(algorithm))).await;
        let mut requests: Vec<String> = place.raw.server.log().iter().map(asked).collect();
        requests.sort();
        assert_eq!(
            requests,
            ["", "part 1", "part 2", "part 3", "part 4"],
            "each part once, at the cost of one request"
        );
    }
}

#[tokio::test]
async fn an_object_of_one_part_needs_no_request_more() {
    let place = Place::new(|client| client.redownloads(0)).await;
    for (length, requests) in [(3, 1), (17 * MIB, 1)] {
        let bytes = place.upload("k", "SHA256", "COMPOSITE", &[length]).await;
        place.assert_comes(&bytes, SHA256).await;
        assert_eq!(place.raw.server.log().len(), requests);
        assert!(place.raw.server.corrupt_object("bucket", "k", 2));
        place.assert_is_damaged("-1, and the object has SHA256").await;
    }
    let bytes = place.upload("k", "CRC32", "COMPOSITE", &[17 * MIB]).await;
    place.assert_comes(&bytes, Some(Verified::Composite(ChecksumAlgorithm::Crc32))).await;
}

#[tokio::test]
async fn a_byte_that_is_damaged_in_any_part_is_found_and_the_part_is_named() {
    let place = Place::new(|client| client.redownloads(0)).await;
    place.composite().await;
    let mut start = 0;
    for (number, length) in (1..).zip(PARTS) {
        let end = start + length as u64;
        for offset in [start, end - 1] {
            assert!(place.raw.server.corrupt_object("bucket", "k", offset));
            place.assert_is_damaged(&format!("part {number} of 4, the bytes {start} to {}", end - 1)).await;
            assert!(place.raw.server.corrupt_object("bucket", "k", offset), "and back");
        }
        start = end;
    }
    place.assert_comes(&place.raw.server.object("bucket", "k").unwrap(), SHA256).await;
}

#[tokio::test]
async fn where_only_the_bounds_of_the_parts_are_told_all_are_compared_together() {
    let place = Place::new(|client| client.redownloads(0)).await;
    let bytes = place.composite().await;
    for number in 1..=4 {
        let untold = Fault::without_header("x-amz-checksum-sha256").part_number(number);
        place.raw.server.inject(untold.times(usize::MAX));
    }
    place.assert_comes(&bytes, SHA256).await;
    assert!(place.raw.server.corrupt_object("bucket", "k", 7 * MIB as u64));
    place.assert_is_damaged("the parts that came have the checksum SHA256").await;
}

#[tokio::test]
async fn a_service_that_knows_no_parts_gives_the_object_unverified() {
    let faults = [Fault::ignore_range(), Fault::status(501, "NotImplemented"), Fault::status(400, "InvalidArgument")];
    for fault in faults {
        let place = Place::new(|client| client).await;
        let bytes = place.composite().await;
        let asked_for = place.raw.server.inject(fault.part_number(1).times(usize::MAX));
        place.assert_comes(&bytes, None).await;
        place.assert_comes(&bytes, None).await;
        assert_eq!(asked_for.applied(), 1, "it is known from then on");
    }
    let place = Place::new(|client| client).await;
    let bytes = place.composite().await;
    let unknown = place.raw.server.inject(Fault::status(416, "InvalidPartNumber").part_number(3));
    place.assert_comes(&bytes, None).await;
    assert_eq!(unknown.applied(), 1);
    place.assert_comes(&bytes, SHA256).await;
}

#[tokio::test]
async fn a_part_that_is_interrupted_goes_on_from_the_byte_reached() {
    let place = Place::new(|client| client).await;
    let bytes = place.composite().await;
    for number in 1..=3 {
        place.raw.server.inject(Fault::close_after(3 * MIB as u64).part_number(number));
        place.raw.server.inject(Fault::status(503, "SlowDown").part_number(number));
    }
    place.assert_comes(&bytes, SHA256).await;
    let ranges = place.raw.server.log().iter().map(asked).filter(|asked| asked.starts_with("bytes=")).count();
    assert_eq!(ranges, 3);
}

#[tokio::test]
async fn what_was_damaged_on_the_way_is_fetched_again() {
    let place = Place::new(|client| client).await;
    let bytes = place.composite().await;
    let damaged = place.raw.server.inject(Fault::corrupt_byte(5 * MIB as u64).part_number(2));
    place.assert_comes(&bytes, SHA256).await;
    assert_eq!(damaged.applied(), 1);
}

#[tokio::test]
async fn one_place_for_requests_is_enough() {
    let place = Place::new(|client| client.limits(Limits::default().requests_in_flight(1))).await;
    let bytes = place.composite().await;
    crate::support::in_time("no part waits for another", place.assert_comes(&bytes, SHA256)).await;
}

#[tokio::test]
async fn an_object_that_is_replaced_between_its_parts_is_an_error() {
    let place = Place::new(|client| client).await;
    place.composite().await;
    place.raw.server.inject(Fault::replace_object("another").part_number(1));
    assert_eq!(place.s3.get("k").await.unwrap_err().kind(), ErrorKind::Changed);
    assert_eq!(files_below(place.tmproot.path()), 0);
}

#[tokio::test]
async fn what_is_not_compared_is_not_asked_for_by_parts() {
    let off = Place::new(|client| client.verification(Verification::Off)).await;
    let bytes = off.composite().await;
    off.assert_comes(&bytes, None).await;
    let range = Place::new(|client| client).await;
    range.composite().await;
    let object = range.s3.get(S3GetObject::new("k").offset(10)).await.unwrap();
    assert!(object.blob().await.unwrap() == bytes[10..]);
    assert_eq!(object.verified(), None);
    for place in [off, range] {
        assert!(place.raw.server.log().iter().all(|request| request.query_value("partNumber").is_none()));
    }
}

#[tokio::test]
async fn the_server_tells_the_checksum_of_a_part_where_the_objects_is_made_of_them() {
    let place = Place::new(|client| client).await;
    place.upload("k", "CRC32", "COMPOSITE", &PARTS).await;
    place.upload("whole", "CRC32", "FULL_OBJECT", &PARTS).await;
    let checksum = |method: Method, path: &'static str, mode: &'static str| {
        let place = &place;
        async move {
            let answer = place.raw.send(method, path, &[("x-amz-checksum-mode", mode)], "").await;
            assert_eq!(answer.header("x-amz-mp-parts-count"), Some("4"));
            assert_eq!(answer.header("x-amz-checksum-type").is_some(), answer.header("x-amz-checksum-crc32").is_some());
            answer.header("x-amz-checksum-crc32").map(str::to_owned)
        }
    };
    let first = checksum(Method::GET, "/bucket/k?partNumber=1", "ENABLED").await;
    let last = checksum(Method::HEAD, "/bucket/k?partNumber=4", "ENABLED").await;
    assert!(first.as_ref().is_some_and(|first| first.len() == 8) && first != last, "{first:?} {last:?}");
    assert_eq!(checksum(Method::GET, "/bucket/k?partNumber=1", "").await, None);
    assert_eq!(checksum(Method::GET, "/bucket/whole?partNumber=1", "ENABLED").await, None);
}
