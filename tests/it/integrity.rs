//! Bytes are checked from end to end.

use bytes::Bytes;
use s3flow::testing::{Fault, Operation, S3Server};
use s3flow::{ChecksumAlgorithm, Client, ClientBuilder, ErrorKind, PutValue, Verification, Verified};

use crate::cases::uploads::patterned;
use crate::support::{Fixture, count};

const MIB: usize = 1 << 20;
/// Uploaded in three parts, downloaded in three.
const LARGE: usize = 17 * MIB;

pub(crate) const ALGORITHMS: [(ChecksumAlgorithm, &str); 5] = [
    (ChecksumAlgorithm::Crc64Nvme, "x-amz-checksum-crc64nvme"),
    (ChecksumAlgorithm::Crc32, "x-amz-checksum-crc32"),
    (ChecksumAlgorithm::Crc32c, "x-amz-checksum-crc32c"),
    (ChecksumAlgorithm::Sha1, "x-amz-checksum-sha1"),
    (ChecksumAlgorithm::Sha256, "x-amz-checksum-sha256"),
];

fn is_crc(algorithm: ChecksumAlgorithm) -> bool {
    !matches!(algorithm, ChecksumAlgorithm::Sha1 | ChecksumAlgorithm::Sha256)
}

async fn fixture(set: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Fixture {
    let server = S3Server::builder().bucket("bucket").md5(false).start().await.unwrap();
    let client = set(server.client_builder()).build().unwrap();
    Fixture::with_client(server, client)
}

pub(crate) fn reader(bytes: &Bytes) -> PutValue {
    PutValue::reader(std::io::Cursor::new(bytes.clone()))
}

#[tokio::test]
async fn every_algorithm_goes_with_every_value_and_is_checked_when_it_comes_back() {
    let (small, large): (Bytes, Bytes) = (patterned(1000).into(), patterned(LARGE).into());
    for (algorithm, header) in ALGORITHMS {
        let fixture = fixture(|client| client.checksum(algorithm)).await;
        let file = fixture.tmproot.path().join("large");
        std::fs::write(&file, &large).unwrap();
        fixture.s3.put("small", small.clone()).await.unwrap();
        fixture.s3.put("short-stream", reader(&small)).await.unwrap();
        fixture.s3.put("bytes", large.clone()).await.unwrap();
        fixture.s3.put("file", PutValue::file(&file)).await.unwrap();
        fixture.s3.put("stream", reader(&large)).await.unwrap();
        for request in fixture.server.log() {
            let carries = request.header(header).is_some();
            let has_to = match request.operation() {
                Operation::PutObject | Operation::UploadPart => true,
                // Of the whole, a digest is not told from those of its parts, which the document has.
                Operation::CompleteMultipartUpload => is_crc(algorithm),
                _ => false,
            };
            assert_eq!(carries, has_to, "{algorithm}: {request:?}");
        }
        for (key, bytes, is_in_parts) in [
            ("small", &small, false),
            ("short-stream", &small, false),
            ("bytes", &large, true),
            ("file", &large, true),
            ("stream", &large, true),
        ] {
            let object = fixture.s3.get(key).await.unwrap();
            assert!(object.blob().await.unwrap() == *bytes, "{algorithm} {key}");
            let of_parts = is_in_parts && !is_crc(algorithm);
            let verified = if of_parts { Verified::Composite(algorithm) } else { Verified::Checksum(algorithm) };
            assert_eq!(object.verified(), Some(verified), "{algorithm} {key}");
        }
    }
}

#[tokio::test]
async fn bytes_that_are_damaged_on_their_way_are_fetched_again() {
    let fixture = fixture(|client| client).await;
    for (key, length) in [("small", 1000), ("stream", 3 * MIB), ("parts", LARGE)] {
        let bytes: Bytes = patterned(length).into();
        fixture.server.put_object("bucket", key, bytes.clone());
        let injected = fixture.server.inject(Fault::corrupt_byte(700).operation(Operation::GetObject).times(1));
        let object = fixture.s3.get(key).await.unwrap();
        assert!(object.blob().await.unwrap() == bytes, "{key}");
        assert_eq!((injected.applied(), object.verified().is_some()), (1, true), "{key}");
    }
}

#[tokio::test]
async fn bytes_that_are_damaged_where_they_are_stored_are_an_error_and_no_file() {
    let fixture = fixture(|client| client.redownloads(2)).await;
    for (key, length, requests) in [("small", 1000, 1), ("parts", LARGE, 3)] {
        fixture.server.put_object("bucket", key, patterned(length));
        assert!(fixture.server.corrupt_object("bucket", key, length as u64 - 1));
        fixture.server.clear_log();
        let error = fixture.s3.get(key).await.unwrap_err();
        let text = error.to_string();
        assert!(error.kind() == ErrorKind::Integrity && error.is_retryable(), "{text}");
        assert!(text.matches("CRC64NVME").count() == 2 && text.contains("s3://bucket/"), "both are named: {text}");
        assert_eq!((fixture.server.log().len(), fixture.files()), (3 * requests, 0), "{key}");
    }
}

#[tokio::test]
async fn a_thousand_corruptions_are_a_thousand_errors() {
    let mut corruptions = 0;
    for (algorithm, _) in ALGORITHMS {
        let fixture = fixture(|client| client.checksum(algorithm).redownloads(0)).await;
        let (small, large): (Bytes, Bytes) = (patterned(1000).into(), patterned(LARGE).into());
        fixture.s3.put("bytes", small.clone()).await.unwrap();
        fixture.s3.put("stream", reader(&small)).await.unwrap();
        for key in ["bytes", "stream"] {
            for offset in 0..30 {
                for fault in
                    [Fault::corrupt_byte(33 * offset), Fault::short_body(33 * offset), Fault::extra_bytes(1 + offset)]
                {
                    let injected = fixture.server.inject(fault.key(key).operation(Operation::GetObject).times(1));
                    let error = fixture.s3.get(key).await.unwrap_err();
                    assert_eq!((error.kind(), injected.applied()), (ErrorKind::Integrity, 1), "{algorithm}: {error}");
                    corruptions += 1;
                }
                assert!(fixture.server.corrupt_object("bucket", key, 33 * offset));
                assert_eq!(fixture.s3.get(key).await.unwrap_err().kind(), ErrorKind::Integrity, "at rest");
                assert!(fixture.server.corrupt_object("bucket", key, 33 * offset), "and back");
                corruptions += 1;
            }
            assert_eq!(fixture.s3.get(key).await.unwrap().blob().await.unwrap(), small, "it was the faults");
        }
        if !is_crc(algorithm) {
            continue;
        }
        fixture.s3.put("parts", large.clone()).await.unwrap();
        for part in 0..3 {
            for offset in 0..4 {
                let at = (8 * part * MIB + offset * 77_777) as u64;
                assert!(fixture.server.corrupt_object("bucket", "parts", at));
                assert_eq!(fixture.s3.get("parts").await.unwrap_err().kind(), ErrorKind::Integrity, "{algorithm}");
                assert!(fixture.server.corrupt_object("bucket", "parts", at));
                let fault = Fault::corrupt_byte(offset as u64).first_byte((8 * part * MIB) as u64);
                let injected = fixture.server.inject(fault.operation(Operation::GetObject).times(1));
                let error = fixture.s3.get("parts").await.unwrap_err();
                assert_eq!((error.kind(), injected.applied()), (ErrorKind::Integrity, 1), "{algorithm}: {error}");
                corruptions += 2;
            }
        }
        assert!(fixture.s3.get("parts").await.unwrap().blob().await.unwrap() == large);
        fixture.s3.close().await.unwrap();
        assert_eq!(fixture.files(), 0);
    }
    println!("{corruptions} corruptions, all of them found");
    assert!(corruptions >= 1000, "{corruptions}");
}

#[tokio::test]
async fn what_arrives_damaged_is_sent_again_and_in_the_end_an_error() {
    for length in [1000, LARGE] {
        let fixture = fixture(|client| client.retries(2)).await;
        let operations = [Operation::PutObject, Operation::UploadPart];
        let refused = || Fault::status(400, "BadDigest").operations(operations);
        fixture.server.inject(refused().times(1));
        fixture.s3.put("k", patterned(length)).await.unwrap();
        assert!(fixture.server.object("bucket", "k").unwrap() == patterned(length));

        fixture.server.inject(refused().times(usize::MAX));
        let error = fixture.s3.put("other", patterned(length)).await.unwrap_err();
        assert_eq!((error.kind(), error.attempts()), (ErrorKind::Integrity, 3), "{error}");
        assert!(!error.is_outcome_unknown() && fixture.server.object("bucket", "other").is_none());
        assert!(fixture.server.uploads("bucket").is_empty());
    }
}

#[tokio::test]
async fn a_service_that_takes_no_checksums_gets_none_from_then_on() {
    for (status, code) in [(501, "NotImplemented"), (400, "InvalidArgument")] {
        let fixture = fixture(|client| client).await;
        fixture.server.inject(Fault::status(status, code).operation(Operation::CreateMultipartUpload).times(1));
        fixture.s3.put("parts", patterned(LARGE)).await.unwrap();
        fixture.s3.put("small", "text").await.unwrap();
        let log = fixture.server.log();
        assert_eq!(count(&log, Operation::CreateMultipartUpload), 2);
        let carries = |name: &str| name.starts_with("x-amz-checksum") || name == "x-amz-sdk-checksum-algorithm";
        assert!(log[1..].iter().all(|request| !request.headers().keys().any(|name| carries(name.as_str()))));
    }
}

#[tokio::test]
async fn an_answer_that_refuses_more_than_the_checksum_is_the_error() {
    let fixture = fixture(|client| client).await;
    fixture.server.inject(Fault::status(400, "InvalidArgument").operation(Operation::PutObject).times(usize::MAX));
    let error = fixture.s3.put("k", "text").await.unwrap_err();
    assert_eq!((error.code(), fixture.server.log().len()), (Some("InvalidArgument"), 2));
    fixture.server.clear_faults();
    fixture.s3.put("k", "text").await.unwrap();
    assert!(fixture.server.log()[2].header("x-amz-checksum-crc64nvme").is_some(), "it was not the checksum");
}

#[tokio::test]
async fn nothing_is_sent_or_asked_for_when_it_is_switched_off() {
    let fixture = fixture(|client| client.checksum(None).verification(Verification::Off)).await;
    fixture.s3.put("k", "text").await.unwrap();
    fixture.s3.put("parts", patterned(LARGE)).await.unwrap();
    assert_eq!(fixture.s3.get("k").await.unwrap().verified(), None);
    let log = fixture.server.log();
    assert!(log.iter().all(|request| !request.headers().keys().any(|name| name.as_str().contains("checksum"))));
}

#[tokio::test]
async fn a_server_that_tells_no_checksum_gives_the_object_unverified() {
    let fixture = fixture(|client| client).await;
    fixture.server.put_object("bucket", "k", "text");
    fixture.server.inject(Fault::without_header("x-amz-checksum-crc64nvme").times(usize::MAX));
    let object = fixture.s3.get("k").await.unwrap();
    assert_eq!((object.text().await.unwrap().as_str(), object.verified()), ("text", None));
}

#[tokio::test]
async fn an_etag_is_checked_where_that_is_asked_for_and_it_is_a_digest() {
    let server = S3Server::builder().bucket("bucket").start().await.unwrap();
    let client = server.client_builder().verification(Verification::ChecksumsAndEtags).redownloads(0).build().unwrap();
    let fixture = Fixture::with_client(server, client);
    let large: Bytes = patterned(LARGE).into();
    fixture.server.put_object("bucket", "small", "text");
    fixture.server.put_object("bucket", "large", large.clone());
    assert_eq!(
        fixture.s3.get("small").await.unwrap().verified(),
        Some(Verified::Checksum(ChecksumAlgorithm::Crc64Nvme)),
        "a checksum comes first"
    );
    fixture.server.inject(Fault::without_header("x-amz-checksum-crc64nvme").times(usize::MAX));
    for key in ["small", "large"] {
        assert_eq!(fixture.s3.get(key).await.unwrap().verified(), Some(Verified::Etag));
        assert!(fixture.server.corrupt_object("bucket", key, 2));
        let error = fixture.s3.get(key).await.unwrap_err();
        assert!(error.kind() == ErrorKind::Integrity && error.to_string().contains("MD5"), "{error}");
    }
    // In parts, it is a digest of digests.
    fixture.s3.put("parts", large).await.unwrap();
    assert_eq!(fixture.s3.get("parts").await.unwrap().verified(), None);
    fixture.s3.close().await.unwrap();
    assert_eq!(fixture.files(), 0);
}

#[tokio::test]
async fn a_range_is_not_taken_for_the_whole() {
    let fixture = fixture(|client| client).await;
    fixture.server.put_object("bucket", "k", "0123456789");
    let range = fixture.s3.get(s3flow::S3GetObject::new("k").offset(3)).await.unwrap();
    assert_eq!((range.text().await.unwrap().as_str(), range.verified()), ("3456789", None));
    fixture.server.inject(Fault::ignore_range().times(usize::MAX));
    let range = fixture.s3.get(s3flow::S3GetObject::new("k").offset(3)).await.unwrap();
    assert_eq!((range.text().await.unwrap().as_str(), range.verified()), ("3456789", None));
}

#[test]
fn a_client_is_made_with_any_of_the_settings() {
    for verification in [Verification::Off, Verification::Checksums, Verification::ChecksumsAndEtags] {
        let client = Client::builder().checksum(ChecksumAlgorithm::Crc32c).verification(verification).build().unwrap();
        assert!(format!("{client:?}").contains("Crc32c"));
    }
}
