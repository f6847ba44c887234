//! Checksums as headers and in documents.
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html>

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::failure::Failure;
use super::text;
use crate::checksum::{Checksum, ChecksumAlgorithm, Composite, Method, StoredChecksum};

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

/// From an answer with the whole object, or with one `part` of those that it was uploaded in. Of other ranges there is none.
pub(super) fn of_answer(headers: &HeaderMap, part: bool) -> Option<StoredChecksum> {
    // It is the object's, also where the value is the part's.
    let kind = if part { "COMPOSITE" } else { "FULL_OBJECT" };
    let is_of_bytes = headers.get(TYPE).is_none_or(|found| found == kind);
    ALL.into_iter().find_map(|algorithm| {
        let value = text(headers, &header(algorithm))?;
        match Composite::parse(algorithm, &value) {
            Some(composite) => Some(StoredChecksum::Composite(composite)),
            None => Checksum::parse(algorithm, &value).filter(|_| is_of_bytes).map(StoredChecksum::Bytes),
        }
    })
}

/// For a request with a body.
pub(super) fn of_body(checksum: &Checksum) -> HeaderMap {
    let Method::Algorithm(algorithm) = checksum.by() else { return HeaderMap::new() };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_tells_the_checksum_of_what_it_carries() {
        let sha = Checksum::of(ChecksumAlgorithm::Sha256, b"bytes");
        let bytes = Some(StoredChecksum::Bytes(sha.clone()));
        let composite = Composite::parse(ChecksumAlgorithm::Sha256, &format!("{}-2", sha.to_base64()));
        let composite = composite.map(StoredChecksum::Composite);
        for (suffix, kind, whole, part) in [
            ("", None, &bytes, &bytes),
            ("", Some("FULL_OBJECT"), &bytes, &None),
            ("", Some("COMPOSITE"), &None, &bytes),
            ("-2", None, &composite, &composite),
            ("-2", Some("COMPOSITE"), &composite, &composite),
            ("-x", Some("COMPOSITE"), &None, &None),
        ] {
            let text = format!("{}{suffix}", sha.to_base64());
            let mut headers = HeaderMap::from_iter([(header(ChecksumAlgorithm::Sha256), value(&text))]);
            headers.extend(kind.map(|kind| (TYPE, HeaderValue::from_static(kind))));
            assert_eq!(
                (of_answer(&headers, false), of_answer(&headers, true)),
                (whole.clone(), part.clone()),
                "{headers:?}"
            );
        }
    }
}
