//! The checksums that clients send and ask for.

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Sha1, Sha256};

use super::answer::Failure;
use super::content::Content;
use super::encode::{base64, base64_decode};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    Crc32,
    Crc32c,
    Crc64Nvme,
    Sha1,
    Sha256,
}

const ALGORITHMS: [Algorithm; 5] =
    [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64Nvme, Algorithm::Sha1, Algorithm::Sha256];

impl Algorithm {
    fn header(self) -> HeaderName {
        HeaderName::from_static(match self {
            Self::Crc32 => "x-amz-checksum-crc32",
            Self::Crc32c => "x-amz-checksum-crc32c",
            Self::Crc64Nvme => "x-amz-checksum-crc64nvme",
            Self::Sha1 => "x-amz-checksum-sha1",
            Self::Sha256 => "x-amz-checksum-sha256",
        })
    }

    /// The element of XML documents.
    fn element(self) -> &'static str {
        match self {
            Self::Crc32 => "ChecksumCRC32",
            Self::Crc32c => "ChecksumCRC32C",
            Self::Crc64Nvme => "ChecksumCRC64NVME",
            Self::Sha1 => "ChecksumSHA1",
            Self::Sha256 => "ChecksumSHA256",
        }
    }

    /// As `x-amz-checksum-algorithm` names it.
    fn name(self) -> &'static str {
        &self.element()["Checksum".len()..]
    }

    fn named(name: &str) -> Option<Self> {
        ALGORITHMS.into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }
}

/// A checksum in the making.
pub(super) struct Hasher {
    algorithm: Algorithm,
    hasher: ChecksumHasher,
}

impl std::fmt::Debug for Hasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hasher").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

impl Hasher {
    pub(super) fn new(algorithm: Algorithm) -> Self {
        let mut hasher = ChecksumHasher::default();
        match algorithm {
            Algorithm::Crc32 => hasher.crc32 = Some(Crc32::new()),
            Algorithm::Crc32c => hasher.crc32c = Some(Crc32c::new()),
            Algorithm::Crc64Nvme => hasher.crc64nvme = Some(Crc64Nvme::new()),
            Algorithm::Sha1 => hasher.sha1 = Some(Sha1::new()),
            Algorithm::Sha256 => hasher.sha256 = Some(Sha256::new()),
        }
        Self { algorithm, hasher }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
    }

    pub(super) fn finish(self) -> Checksum {
        let sums = self.hasher.finalize();
        let value = match self.algorithm {
            Algorithm::Crc32 => sums.checksum_crc32,
            Algorithm::Crc32c => sums.checksum_crc32c,
            Algorithm::Crc64Nvme => sums.checksum_crc64nvme,
            Algorithm::Sha1 => sums.checksum_sha1,
            Algorithm::Sha256 => sums.checksum_sha256,
        };
        Checksum { algorithm: self.algorithm, value: value.unwrap_or_default(), full_object: true }
    }
}

/// The checksum of an object or of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Checksum {
    algorithm: Algorithm,
    /// Base64, with a `-N` behind it when it is one of checksums of parts.
    pub(super) value: String,
    full_object: bool,
}

impl Checksum {
    /// The checksum that S3 adds when a client sends none.
    pub(super) fn of(content: &Content) -> Self {
        Self::by(Algorithm::Crc64Nvme, content)
    }

    fn by(algorithm: Algorithm, content: &Content) -> Self {
        let mut hasher = Hasher::new(algorithm);
        content.segments().iter().for_each(|segment| hasher.update(segment));
        hasher.finish()
    }

    /// Whether it is the one that a completion expects of the object.
    pub(super) fn check_expected(&self, headers: &HeaderMap) -> Result<(), Failure> {
        Expected::of(headers).verify(self, headers, &HeaderMap::new())
    }

    pub(super) fn element(&self) -> &'static str {
        self.algorithm.element()
    }

    /// As listings name it.
    pub(super) fn algorithm(&self) -> &'static str {
        self.algorithm.name()
    }

    pub(super) fn kind(&self) -> &'static str {
        if self.full_object { "FULL_OBJECT" } else { "COMPOSITE" }
    }

    /// Sixteen bytes that tell contents apart, for ETags that need not be an MD5.
    pub(super) fn digest(&self, length: u64) -> [u8; 16] {
        let mut digest = [0; 16];
        let sum = base64_decode(&self.value).unwrap_or_default();
        digest.iter_mut().zip(sum.iter().take(8)).for_each(|(place, byte)| *place = *byte);
        digest[8..].copy_from_slice(&length.to_be_bytes());
        digest
    }

    /// The header of an answer.
    pub(super) fn add_to(&self, headers: &mut HeaderMap) {
        if let Ok(value) = HeaderValue::from_str(&self.value) {
            headers.insert(self.algorithm.header(), value);
        }
    }

    /// The header of an answer, with its type.
    pub(super) fn add_with_kind(&self, headers: &mut HeaderMap) {
        self.add_to(headers);
        headers.insert("x-amz-checksum-type", HeaderValue::from_static(self.kind()));
    }
}

/// Which checksum a request body comes with, announced before the body is there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected(Option<Algorithm>);

impl Expected {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let trailer = headers.get("x-amz-trailer");
        Self(ALGORITHMS.into_iter().find(|algorithm| {
            let name = algorithm.header();
            headers.contains_key(&name) || trailer.is_some_and(|trailer| trailer == name.as_str())
        }))
    }

    /// Whether there is one at all.
    pub(super) fn is_announced(self) -> bool {
        self.0.is_some()
    }

    /// A client that sends no checksum gets S3's own.
    pub(super) fn hasher(self) -> Hasher {
        Hasher::new(self.0.unwrap_or(Algorithm::Crc64Nvme))
    }

    /// Compares with what the client sent, in its headers or behind the body.
    pub(super) fn verify(self, sum: &Checksum, headers: &HeaderMap, trailers: &HeaderMap) -> Result<(), Failure> {
        let Some(algorithm) = self.0 else { return Ok(()) };
        let name = algorithm.header();
        let Some(sent) = headers.get(&name).or_else(|| trailers.get(&name)) else {
            return Err(Failure::bad_request(
                "MalformedTrailerError",
                "The request contained trailing data that was not well-formed or did not conform to our published schema.",
            ));
        };
        if sent.as_bytes() == sum.value.as_bytes() {
            return Ok(());
        }
        let message = format!("The {} you specified did not match the calculated checksum.", algorithm.name());
        Err(Failure::new(http::StatusCode::BAD_REQUEST, "BadDigest", message))
    }
}

/// How the checksum of a multipart upload is made, settled when it is created.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    algorithm: Algorithm,
    full_object: bool,
    asked_for: bool,
}

impl Default for Plan {
    /// When nothing is asked for.
    fn default() -> Self {
        Self { algorithm: Algorithm::Crc64Nvme, full_object: true, asked_for: false }
    }
}

impl Plan {
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Failure> {
        let value = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let algorithm = match value("x-amz-checksum-algorithm") {
            None => None,
            Some(name) => Some(Algorithm::named(name).ok_or_else(|| {
                Failure::bad_request("InvalidRequest", "Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]")
            })?),
        };
        let kind = value("x-amz-checksum-type");
        let full_object = match (algorithm, kind) {
            (None | Some(Algorithm::Crc64Nvme), _) => true,
            (Some(Algorithm::Sha1 | Algorithm::Sha256), Some("FULL_OBJECT")) => {
                return Err(Failure::bad_request(
                    "InvalidRequest",
                    "The FULL_OBJECT checksum type cannot be used with this checksum algorithm.",
                ));
            }
            (Some(_), kind) => kind == Some("FULL_OBJECT"),
        };
        Ok(Self { algorithm: algorithm.unwrap_or(Algorithm::Crc64Nvme), full_object, asked_for: algorithm.is_some() })
    }

    /// The headers of the answer to CreateMultipartUpload.
    pub(super) fn add_to(self, headers: &mut HeaderMap) {
        if self.asked_for {
            headers.insert("x-amz-checksum-algorithm", HeaderValue::from_static(self.algorithm.name()));
            headers.insert(
                "x-amz-checksum-type",
                HeaderValue::from_static(if self.full_object { "FULL_OBJECT" } else { "COMPOSITE" }),
            );
        }
    }

    /// The checksum of the whole object, over all of its bytes or over the checksums of its parts, and then these too.
    pub(super) fn complete<'a>(
        self,
        content: &Content,
        parts: impl Iterator<Item = &'a Content>,
    ) -> (Checksum, Vec<Checksum>) {
        if self.full_object {
            return (Checksum::by(self.algorithm, content), Vec::new());
        }
        let part = |part| Checksum { full_object: false, ..Checksum::by(self.algorithm, part) };
        let parts: Vec<Checksum> = parts.map(part).collect();
        let mut hasher = Hasher::new(self.algorithm);
        parts.iter().for_each(|part| hasher.update(&base64_decode(&part.value).unwrap_or_default()));
        let whole = hasher.finish();
        (Checksum { value: format!("{}-{}", whole.value, parts.len()), full_object: false, ..whole }, parts)
    }
}

/// `Content-MD5`, which predates all of the above.
pub(super) fn verify_content_md5(headers: &HeaderMap, md5: &[u8; 16]) -> Result<(), Failure> {
    let Some(sent) = headers.get("content-md5") else { return Ok(()) };
    let Some(sent) = sent.to_str().ok().and_then(base64_decode).filter(|sent| sent.len() == 16) else {
        return Err(Failure::bad_request("InvalidDigest", "The Content-MD5 you specified was invalid."));
    };
    if sent == md5 {
        return Ok(());
    }
    Err(Failure::bad_request("BadDigest", "The Content-MD5 you specified did not match what we received.")
        .with("ExpectedDigest", base64(&sent))
        .with("CalculatedDigest", base64(md5)))
}
