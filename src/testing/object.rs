//! Stored objects and what is stored with them.

use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE, ETAG, EXPIRES,
    HeaderName, HeaderValue, LAST_MODIFIED,
};
use http::{HeaderMap, StatusCode};
use s3s::crypto::{Checksum as _, Md5};

use super::answer::Failure;
use super::checksum::Checksum;
use super::content::Content;
use super::encode::{base64, base64_decode, hex};
use super::time::Moment;

/// An object. Immutable: a write puts another in its place.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) content: Content,
    /// Quoted, as in headers and listings.
    pub(super) etag: String,
    pub(super) modified: Moment,
    pub(super) attributes: Attributes,
    pub(super) checksum: Option<Checksum>,
    /// The length of each part; empty unless uploaded in parts.
    pub(super) parts: Vec<u64>,
    /// What every GET and HEAD answers.
    pub(super) headers: HeaderMap,
}

impl Object {
    pub(super) fn new(
        content: Content,
        etag: String,
        attributes: Attributes,
        checksum: Option<Checksum>,
        parts: Vec<u64>,
    ) -> Self {
        let modified = Moment::now();
        let mut headers = attributes.headers.clone();
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        headers.insert(LAST_MODIFIED, modified.http.clone());
        if let Ok(etag) = HeaderValue::from_str(&etag) {
            headers.insert(ETAG, etag);
        }
        Self { content, etag, modified, attributes, checksum, parts, headers }
    }

    /// An object as a plain PUT without headers makes it.
    pub(super) fn plain(content: Content, etags: Etags) -> Self {
        let checksum = Checksum::of(&content);
        let etag = quoted(&etags.digest(&content, &checksum));
        Self::new(content, etag, Attributes::default(), Some(checksum), Vec::new())
    }
}

/// What ETags are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Etags {
    Md5,
    /// The checksum that is there anyway.
    Checksum,
}

impl Etags {
    /// The digest in the ETag of an object or a part.
    pub(super) fn digest(self, content: &Content, checksum: &Checksum) -> [u8; 16] {
        match self {
            Self::Md5 => md5(content),
            Self::Checksum => checksum.digest(content.len()),
        }
    }
}

pub(super) fn md5(content: &Content) -> [u8; 16] {
    let mut md5 = Md5::new();
    content.segments().iter().for_each(|segment| md5.update(segment));
    md5.finalize()
}

/// An ETag as headers and listings show it.
pub(super) fn quoted(digest: &[u8]) -> String {
    format!("\"{}\"", hex(digest))
}

/// What a client says about an object when it creates it.
#[derive(Debug, Clone)]
pub(super) struct Attributes {
    headers: HeaderMap,
    pub(super) encryption: Encryption,
}

impl Default for Attributes {
    fn default() -> Self {
        let headers = [(CONTENT_TYPE, HeaderValue::from_static("binary/octet-stream"))].into_iter().collect();
        Self { headers, encryption: Encryption::default() }
    }
}

const META: &str = "x-amz-meta-";
const MAX_METADATA: usize = 2048;

impl Attributes {
    /// What the headers of a PUT, a CreateMultipartUpload or a copy that replaces metadata say.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Failure> {
        let mut attributes = Self { encryption: Encryption::of(headers)?, ..Self::default() };
        for name in [
            CONTENT_TYPE,
            CACHE_CONTROL,
            CONTENT_DISPOSITION,
            CONTENT_LANGUAGE,
            EXPIRES,
            HeaderName::from_static("x-amz-website-redirect-location"),
        ] {
            if let Some(value) = headers.get(&name).filter(|value| !value.is_empty()) {
                attributes.headers.insert(name, value.clone());
            }
        }
        if let Some(class) = headers.get(STORAGE_CLASS).filter(|class| *class != "STANDARD") {
            attributes.headers.insert(STORAGE_CLASS, class.clone());
        }
        if let Some(encoding) = content_encoding(headers) {
            attributes.headers.insert(CONTENT_ENCODING, encoding);
        }
        let mut size = 0;
        for (name, value) in headers.iter().filter(|(name, _)| name.as_str().starts_with(META)) {
            size += name.as_str().len() - META.len() + value.len();
            attributes.headers.append(name.clone(), printable(value));
        }
        if size > MAX_METADATA {
            return Err(Failure::bad_request(
                "MetadataTooLarge",
                "Your metadata headers exceed the maximum allowed metadata size",
            )
            .with("Size", size.to_string())
            .with("MaxSizeAllowed", MAX_METADATA.to_string()));
        }
        attributes.headers.extend(attributes.encryption.headers.clone());
        Ok(attributes)
    }

    /// The same for a copy, whose encryption is its own and not that of its source.
    pub(super) fn copied(&self, headers: &HeaderMap) -> Result<Self, Failure> {
        let mut copy = self.clone();
        for name in self.encryption.headers.keys() {
            copy.headers.remove(name);
        }
        copy.encryption = Encryption::of(headers)?;
        copy.headers.extend(copy.encryption.headers.clone());
        copy.headers.remove(STORAGE_CLASS);
        if let Some(class) = headers.get(STORAGE_CLASS).filter(|class| *class != "STANDARD") {
            copy.headers.insert(STORAGE_CLASS, class.clone());
        }
        Ok(copy)
    }

    pub(super) fn storage_class(&self) -> &str {
        self.headers.get(STORAGE_CLASS).and_then(|class| class.to_str().ok()).unwrap_or("STANDARD")
    }
}

const STORAGE_CLASS: HeaderName = HeaderName::from_static("x-amz-storage-class");

/// `aws-chunked` describes the request, not the object.
fn content_encoding(headers: &HeaderMap) -> Option<HeaderValue> {
    let encoding = headers.get(CONTENT_ENCODING)?;
    let Ok(text) = encoding.to_str() else { return Some(encoding.clone()) };
    let kept: Vec<_> =
        text.split(',').map(str::trim).filter(|part| !part.is_empty() && *part != "aws-chunked").collect();
    if kept.is_empty() { None } else { HeaderValue::from_str(&kept.join(",")).ok() }
}

/// S3 gives back a value that is not ASCII in the encoding of RFC 2047, and takes what it was sent for ISO 8859-1: UTF-8
/// comes back encoded twice, as in the example of its page.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html>
fn printable(value: &HeaderValue) -> HeaderValue {
    if value.as_bytes().is_ascii() {
        return value.clone();
    }
    let latin1: String = value.as_bytes().iter().copied().map(char::from).collect();
    let encoded = format!("=?UTF-8?B?{}?=", base64(latin1.as_bytes()));
    HeaderValue::from_str(&encoded).unwrap_or_else(|_| value.clone())
}

/// Server-side encryption, in name only: nothing is encrypted, but everything is echoed and checked.
#[derive(Debug, Clone, Default)]
pub(super) struct Encryption {
    /// What answers report.
    pub(super) headers: HeaderMap,
    /// The MD5 of the customer's key, which reads must present.
    customer_key: Option<HeaderValue>,
}

const SSE: HeaderName = HeaderName::from_static("x-amz-server-side-encryption");
const SSE_KEY: HeaderName = HeaderName::from_static("x-amz-server-side-encryption-aws-kms-key-id");
const SSE_CONTEXT: HeaderName = HeaderName::from_static("x-amz-server-side-encryption-context");
const SSE_BUCKET_KEY: HeaderName = HeaderName::from_static("x-amz-server-side-encryption-bucket-key-enabled");
const CUSTOMER_ALGORITHM: HeaderName = HeaderName::from_static("x-amz-server-side-encryption-customer-algorithm");
const CUSTOMER_KEY: HeaderName = HeaderName::from_static("x-amz-server-side-encryption-customer-key");
const CUSTOMER_KEY_MD5: HeaderName = HeaderName::from_static("x-amz-server-side-encryption-customer-key-md5");
const SOURCE_CUSTOMER_KEY_MD5: HeaderName =
    HeaderName::from_static("x-amz-copy-source-server-side-encryption-customer-key-md5");

impl Encryption {
    fn of(headers: &HeaderMap) -> Result<Self, Failure> {
        let mut encryption = Self::default();
        if let Some(algorithm) = headers.get(SSE) {
            let kms = algorithm == "aws:kms" || algorithm == "aws:kms:dsse";
            if !kms && algorithm != "AES256" {
                return Err(Failure::bad_request(
                    "InvalidEncryptionAlgorithmError",
                    "The Encryption request you specified is not valid. Supported value: AES256, aws:kms.",
                ));
            }
            if !kms && (headers.contains_key(SSE_KEY) || headers.contains_key(SSE_CONTEXT)) {
                return Err(Failure::invalid_argument(
                    "Server Side Encryption with AWS KMS managed key requires HTTP header x-amz-server-side-encryption : aws:kms",
                ));
            }
        } else if headers.contains_key(SSE_KEY) || headers.contains_key(SSE_CONTEXT) {
            return Err(Failure::invalid_argument(
                "Server Side Encryption with AWS KMS managed key requires HTTP header x-amz-server-side-encryption : aws:kms",
            ));
        }
        for name in [SSE, SSE_KEY, SSE_CONTEXT, SSE_BUCKET_KEY] {
            if let Some(value) = headers.get(&name) {
                encryption.headers.insert(name, value.clone());
            }
        }
        if let Some(key) = customer_key(headers)? {
            encryption.headers.insert(CUSTOMER_ALGORITHM, HeaderValue::from_static("AES256"));
            encryption.headers.insert(CUSTOMER_KEY_MD5, key.clone());
            encryption.customer_key = Some(key);
        }
        Ok(encryption)
    }

    /// Whether a read presents what it needs, and nothing that belongs to writes.
    pub(super) fn check_read(&self, headers: &HeaderMap) -> Result<(), Failure> {
        Self::forbid(headers)?;
        customer_key(headers)?;
        self.check_key(headers.get(CUSTOMER_KEY_MD5))
    }

    /// Whether a copy presents the key of its source.
    pub(super) fn check_source(&self, headers: &HeaderMap) -> Result<(), Failure> {
        self.check_key(headers.get(SOURCE_CUSTOMER_KEY_MD5))
    }

    /// Whether a part comes with the key that its upload was created with.
    pub(super) fn check_part(&self, headers: &HeaderMap) -> Result<(), Failure> {
        self.check_read(headers)
    }

    fn check_key(&self, presented: Option<&HeaderValue>) -> Result<(), Failure> {
        match (&self.customer_key, presented) {
            (None, None) => Ok(()),
            (Some(_), None) => Err(Failure::bad_request(
                "InvalidRequest",
                "The object was stored using a form of Server Side Encryption. The correct parameters must be provided to retrieve the object.",
            )),
            (None, Some(_)) => Err(Failure::bad_request(
                "InvalidRequest",
                "The encryption parameters are not applicable to this object.",
            )),
            (Some(key), Some(presented)) if key == presented => Ok(()),
            (Some(_), Some(_)) => Err(Failure::access_denied()),
        }
    }

    /// These headers are for PUT and CreateMultipartUpload only.
    fn forbid(headers: &HeaderMap) -> Result<(), Failure> {
        match [SSE, SSE_KEY, SSE_CONTEXT].iter().find_map(|name| Some((name, headers.get(name)?))) {
            None => Ok(()),
            Some((name, value)) => {
                let message = format!("{name} header is not supported for this operation.");
                Err(Failure::new(StatusCode::BAD_REQUEST, "InvalidArgument", message)
                    .with("ArgumentName", name.as_str())
                    .with("ArgumentValue", String::from_utf8_lossy(value.as_bytes())))
            }
        }
    }
}

/// The MD5 of the customer's key, after a look at the three headers that belong together.
fn customer_key(headers: &HeaderMap) -> Result<Option<HeaderValue>, Failure> {
    let all = (headers.get(CUSTOMER_ALGORITHM), headers.get(CUSTOMER_KEY), headers.get(CUSTOMER_KEY_MD5));
    let (algorithm, key, digest) = match all {
        (None, None, None) => return Ok(None),
        (Some(algorithm), Some(key), Some(digest)) => (algorithm, key, digest),
        _ => {
            return Err(Failure::invalid_argument(
                "Requests specifying Server Side Encryption with Customer provided keys must provide an appropriate secret key.",
            ));
        }
    };
    if algorithm != "AES256" {
        return Err(Failure::bad_request(
            "InvalidEncryptionAlgorithmError",
            "The Encryption request you specified is not valid. Supported value: AES256.",
        ));
    }
    let key = key.to_str().ok().and_then(base64_decode).filter(|key| key.len() == 32);
    let Some(key) = key else {
        return Err(Failure::invalid_argument("The secret key was invalid for the specified algorithm."));
    };
    if base64(&Md5::checksum(&key)).as_bytes() != digest.as_bytes() {
        return Err(Failure::invalid_argument(
            "The calculated MD5 hash of the key did not match the hash that was provided.",
        ));
    }
    Ok(Some(digest.clone()))
}
