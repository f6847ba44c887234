//! Checksums as headers and in documents.
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html>

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::failure::Failure;
use super::text;
use crate::checksum::{Checksum, ChecksumAlgorithm, Verified};

pub(super) const CHECKSUM_MODE: HeaderName = HeaderName::from_static("x-amz-checksum-mode");
const ALGORITHM: HeaderName = HeaderName::from_static("x-amz-checksum-algorithm");
const TYPE: HeaderName = HeaderName::from_static("x-amz-checksum-type");

/// The cheapest first, for a service that answers several.
const ALL: [ChecksumAlgorithm; 5] = [
    ChecksumAlgorithm::Crc64Nvme,
    ChecksumAlgorithm::Crc32c,
    ChecksumAlgorithm::Crc32,
    ChecksumAlgorithm::Sha1,
    ChecksumAlgorithm::Sha256,
];

fn header(algorithm: ChecksumAlgorithm) -> HeaderName {
    HeaderName::from_static(match algorithm {
        ChecksumAlgorithm::Crc64Nvme => "x-amz-checksum-crc64nvme",
        ChecksumAlgorithm::Crc32 => "x-amz-checksum-crc32",
        ChecksumAlgorithm::Crc32c => "x-amz-checksum-crc32c",
        ChecksumAlgorithm::Sha1 => "x-amz-checksum-sha1",
        ChecksumAlgorithm::Sha256 => "x-amz-checksum-sha256",
    })
}

fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("base64 and digits are visible text")
}

fn kind(algorithm: ChecksumAlgorithm) -> &'static str {
    if algorithm.combines() { "FULL_OBJECT" } else { "COMPOSITE" }
}

/// Of the whole object, from an answer.
pub(super) fn of_object(headers: &HeaderMap) -> Option<Checksum> {
    if headers.get(TYPE).is_some_and(|kind| kind != "FULL_OBJECT") {
        return None;
    }
    ALL.into_iter().find_map(|algorithm| Checksum::parse(algorithm, &text(headers, header(algorithm).as_str())?))
}

/// For a request with a body.
pub(super) fn of_body(checksum: &Checksum) -> HeaderMap {
    let Verified::Checksum(algorithm) = checksum.by() else { return HeaderMap::new() };
    HeaderMap::from_iter([(header(algorithm), value(&checksum.to_base64()))])
}

/// For the beginning of an upload in parts.
pub(super) fn of_upload(algorithm: ChecksumAlgorithm) -> HeaderMap {
    HeaderMap::from_iter([
        (ALGORITHM, value(&algorithm.to_string())),
        (TYPE, HeaderValue::from_static(kind(algorithm))),
    ])
}

/// For the completion of an upload in parts. Without one of the whole, those of the parts are all that S3 makes its own of.
pub(super) fn of_completion(algorithm: ChecksumAlgorithm, whole: Option<&Checksum>) -> HeaderMap {
    let mut headers = whole.map(of_body).unwrap_or_default();
    headers.insert(TYPE, HeaderValue::from_static(kind(algorithm)));
    headers
}

/// As a part of a completion has it.
pub(super) fn element(checksum: &Checksum) -> String {
    format!("<Checksum{0}>{1}</Checksum{0}>", checksum.by(), checksum.to_base64())
}

/// Whether the service may not know such headers, or not this algorithm.
pub(super) fn may_be_unknown(failure: &Failure) -> bool {
    failure.has_status(StatusCode::NOT_IMPLEMENTED)
        || (failure.has_status(StatusCode::BAD_REQUEST)
            && ["NotImplemented", "InvalidArgument", "InvalidRequest"].iter().any(|code| failure.is_code(code)))
}
