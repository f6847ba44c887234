//! Taking in request bodies.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt as _;
use s3s::crypto::{Checksum as _, Md5};
use s3s::{Body, TrailingHeaders};

use super::answer::Failure;
use super::checksum::{Checksum, Expected, verify_content_md5};
use super::content::Content;

/// Nothing larger goes into one PUT.
const MAX_PUT: u64 = 5 * 1024 * 1024 * 1024;

/// Room made at once for an announced body; beyond, it grows.
const MAX_RESERVE: u64 = 1024 * 1024 * 1024;

/// The body of a request, as announced.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) body: Body,
    pub(super) trailers: Option<TrailingHeaders>,
}

/// A body that arrived whole and matches every digest that came with it.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) content: Content,
    pub(super) md5: [u8; 16],
    pub(super) checksum: Checksum,
}

impl Incoming {
    /// Takes in the bytes of an object or a part.
    pub(super) async fn content(self, headers: &HeaderMap) -> Result<Received, Failure> {
        let length = headers.get(http::header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let Some(length) = length else {
            return Err(Failure::new(
                StatusCode::LENGTH_REQUIRED,
                "MissingContentLength",
                "You must provide the Content-Length HTTP header.",
            ));
        };
        if length > MAX_PUT {
            return Err(Failure::bad_request(
                "EntityTooLarge",
                "Your proposed upload exceeds the maximum allowed size",
            ));
        }
        let expected = Expected::of(headers);
        let mut md5 = Md5::new();
        let mut hasher = expected.hasher();
        let bytes = read(self.body, length, |chunk| {
            md5.update(chunk);
            hasher.update(chunk);
        })
        .await?;
        let md5 = md5.finalize();
        verify_content_md5(headers, &md5)?;
        let checksum = hasher.finish();
        let trailers = self.trailers.and_then(|trailers| trailers.take()).unwrap_or_default();
        expected.verify(&checksum, headers, &trailers)?;
        Ok(Received { content: bytes.into(), md5, checksum })
    }

    /// Takes in an XML document, verified like an object.
    pub(super) async fn document(self, headers: &HeaderMap) -> Result<Bytes, Failure> {
        // Clients may send a document in chunks, without a length.
        let mut headers = headers.clone();
        headers.entry(http::header::CONTENT_LENGTH).or_insert(0.into());
        Ok(self.content(&headers).await?.content.to_bytes())
    }
}

async fn read(mut body: Body, length: u64, mut see: impl FnMut(&[u8]) + Send) -> Result<Bytes, Failure> {
    let mut bytes = BytesMut::with_capacity(length.min(MAX_RESERVE) as usize);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| broken(&error.to_string()))?;
        if let Some(chunk) = frame.data_ref() {
            see(chunk);
            bytes.extend_from_slice(chunk);
        }
    }
    Ok(bytes.freeze())
}

/// The errors of the signed streams have no public type, only their names.
fn broken(error: &str) -> Failure {
    if error.ends_with("Sha256Mismatch") {
        Failure::bad_request(
            "XAmzContentSHA256Mismatch",
            "The provided 'x-amz-content-sha256' header does not match what was computed.",
        )
    } else if error.ends_with("SignatureMismatch") {
        Failure::new(
            StatusCode::FORBIDDEN,
            "SignatureDoesNotMatch",
            "The request signature we calculated does not match the signature you provided.",
        )
    } else {
        Failure::bad_request(
            "IncompleteBody",
            "You did not provide the number of bytes specified by the Content-Length HTTP header",
        )
    }
}
