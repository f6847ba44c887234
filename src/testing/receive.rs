//! Taking in request bodies.

use bytes::{Bytes, BytesMut};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt as _;
use s3s::crypto::{Checksum as _, Md5};
use s3s::{Body, TrailingHeaders};

use super::answer::Failure;
use super::checksum::{Checksum, Expected, verify_content_md5};
use super::content::Content;
use super::object::Etags;

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
    /// For the ETag.
    pub(super) digest: [u8; 16],
    pub(super) checksum: Checksum,
}

impl Incoming {
    /// Takes in the bytes of an object or a part.
    pub(super) async fn content(self, headers: &HeaderMap, etags: Etags, keep: bool) -> Result<Received, Failure> {
        let Some(length) = announced_length(headers) else {
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
        self.verified(headers, etags, Some(length), keep).await
    }

    /// Takes in an XML document, verified like an object. It may come without a length.
    pub(super) async fn document(self, headers: &HeaderMap) -> Result<Bytes, Failure> {
        let received = self.verified(headers, Etags::Checksum, announced_length(headers), true).await?;
        Ok(received.content.to_bytes())
    }

    /// The same for the operations that S3 carries out only with a digest of the document.
    pub(super) async fn document_with_digest(self, headers: &HeaderMap) -> Result<Bytes, Failure> {
        if !headers.contains_key("content-md5") && !Expected::of(headers).is_announced() {
            return Err(Failure::bad_request(
                "InvalidRequest",
                "Missing required header for this request: Content-MD5 OR x-amz-checksum-*",
            ));
        }
        self.document(headers).await
    }

    async fn verified(
        self,
        headers: &HeaderMap,
        etags: Etags,
        length: Option<u64>,
        keep: bool,
    ) -> Result<Received, Failure> {
        let expected = Expected::of(headers);
        let mut hasher = expected.hasher();
        // By far the slowest digest: only when something needs it.
        let with_md5 = etags == Etags::Md5 || headers.contains_key("content-md5");
        let mut md5 = with_md5.then(Md5::new);
        let content = read(self.body, length.unwrap_or(0), keep, |chunk| {
            if let Some(md5) = &mut md5 {
                md5.update(chunk);
            }
            hasher.update(chunk);
        })
        .await?;
        if length.is_some_and(|length| length != content.len()) {
            return Err(incomplete());
        }
        let md5 = md5.map(Md5::finalize);
        if let Some(md5) = &md5 {
            verify_content_md5(headers, md5)?;
        }
        let checksum = hasher.finish();
        let trailers = self.trailers.and_then(|trailers| trailers.take()).unwrap_or_default();
        expected.verify(&checksum, headers, &trailers)?;
        let digest = match md5 {
            Some(md5) if etags == Etags::Md5 => md5,
            _ => checksum.digest(content.len()),
        };
        Ok(Received { content, digest, checksum })
    }
}

fn announced_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

async fn read(
    mut body: Body,
    announced: u64,
    keep: bool,
    mut see: impl FnMut(&[u8]) + Send,
) -> Result<Content, Failure> {
    let mut bytes = BytesMut::with_capacity(if keep { announced.min(MAX_RESERVE) as usize } else { 0 });
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| broken(&error.to_string()))?;
        if let Some(chunk) = frame.data_ref() {
            see(chunk);
            length += chunk.len() as u64;
            if keep {
                bytes.extend_from_slice(chunk);
            }
        }
    }
    Ok(if keep { bytes.freeze().into() } else { Content::discarded(length) })
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
        incomplete()
    }
}

fn incomplete() -> Failure {
    Failure::bad_request(
        "IncompleteBody",
        "You did not provide the number of bytes specified by the Content-Length HTTP header",
    )
}
