//! Stored objects and what is stored with them.

use http::HeaderMap;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE, ETAG, EXPIRES,
    HeaderName, HeaderValue, LAST_MODIFIED,
};
use s3s::crypto::{Checksum as _, Md5};

use super::answer::Failure;
use super::checksum::Checksum;
use super::content::Content;
use super::encode::{base64, hex};
use super::encryption::Encryption;
use super::tags::Tags;
use super::time::Moment;

/// An object. Immutable: a write puts another in its place.
#[derive(Debug, Clone)]
pub(super) struct Object {
    pub(super) content: Content,
    /// Quoted, as in headers and listings.
    pub(super) etag: String,
    pub(super) modified: Moment,
    pub(super) attributes: Attributes,
    pub(super) checksum: Option<Checksum>,
    /// The length of each part; empty unless uploaded in parts.
    pub(super) parts: Vec<u64>,
    /// Of each part, where that of the object is made of them; else empty.
    pub(super) part_checksums: Vec<Checksum>,
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
        modified: Moment,
    ) -> Self {
        let mut headers = attributes.headers.clone();
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        headers.insert(LAST_MODIFIED, modified.http.clone());
        if let Ok(etag) = HeaderValue::from_str(&etag) {
            headers.insert(ETAG, etag);
        }
        // What was received is gone, and what is read back has another checksum.
        let checksum = checksum.filter(|_| !content.is_discarded());
        let tags = attributes.tags.clone();
        Self { content, etag, modified, attributes, checksum, parts, part_checksums: Vec::new(), headers }.tagged(tags)
    }

    /// The same object with other tags.
    pub(super) fn tagged(mut self, tags: Tags) -> Self {
        match tags.as_slice().len() {
            0 => self.headers.remove(TAGGING_COUNT),
            count => self.headers.insert(TAGGING_COUNT, count.into()),
        };
        self.attributes.tags = tags;
        self
    }

    /// An object as a plain PUT without headers makes it.
    pub(super) fn plain(content: Content, etags: Etags, modified: Moment) -> Self {
        let checksum = Checksum::of(&content);
        let etag = quoted(&etags.digest(&content, &checksum));
        Self::new(content, etag, Attributes::default(), Some(checksum), Vec::new(), modified)
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
    pub(super) tags: Tags,
}

impl Default for Attributes {
    fn default() -> Self {
        let headers = [(CONTENT_TYPE, HeaderValue::from_static("binary/octet-stream"))].into_iter().collect();
        Self { headers, encryption: Encryption::default(), tags: Tags::default() }
    }
}

const TAGGING_COUNT: HeaderName = HeaderName::from_static("x-amz-tagging-count");

const META: &str = "x-amz-meta-";
const MAX_METADATA: usize = 2048;

impl Attributes {
    /// What the headers of a PUT, a CreateMultipartUpload or a copy that replaces metadata say.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Failure> {
        let (encryption, tags) = (Encryption::of(headers)?, Tags::of(headers)?);
        let mut attributes = Self { encryption, tags, ..Self::default() };
        for name in [CONTENT_TYPE, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LANGUAGE, EXPIRES, REDIRECT] {
            if let Some(value) = headers.get(&name).filter(|value| !value.is_empty()) {
                attributes.headers.insert(name, value.clone());
            }
        }
        attributes.set_storage_class(headers)?;
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

    /// The same for a copy, whose encryption and storage class are its own and not those of its source.
    pub(super) fn copied(&self, headers: &HeaderMap) -> Result<Self, Failure> {
        let mut copy = self.clone();
        for name in self.encryption.headers.keys() {
            copy.headers.remove(name);
        }
        copy.encryption = Encryption::of(headers)?;
        copy.headers.extend(copy.encryption.headers.clone());
        copy.headers.remove(REDIRECT);
        copy.headers.remove(STORAGE_CLASS);
        copy.set_storage_class(headers)?;
        Ok(copy)
    }

    /// S3 does not report the default.
    fn set_storage_class(&mut self, headers: &HeaderMap) -> Result<(), Failure> {
        let Some(class) = headers.get(STORAGE_CLASS) else { return Ok(()) };
        if !STORAGE_CLASSES.iter().any(|known| class == known) {
            return Err(Failure::bad_request("InvalidStorageClass", "The storage class you specified is not valid")
                .with("StorageClassRequested", String::from_utf8_lossy(class.as_bytes())));
        }
        if class != "STANDARD" {
            self.headers.insert(STORAGE_CLASS, class.clone());
        }
        Ok(())
    }

    pub(super) fn storage_class(&self) -> &str {
        self.headers.get(STORAGE_CLASS).and_then(|class| class.to_str().ok()).unwrap_or("STANDARD")
    }
}

const REDIRECT: HeaderName = HeaderName::from_static("x-amz-website-redirect-location");
const STORAGE_CLASS: HeaderName = HeaderName::from_static("x-amz-storage-class");

const STORAGE_CLASSES: [&str; 11] = [
    "STANDARD",
    "REDUCED_REDUNDANCY",
    "STANDARD_IA",
    "ONEZONE_IA",
    "INTELLIGENT_TIERING",
    "GLACIER",
    "DEEP_ARCHIVE",
    "OUTPOSTS",
    "GLACIER_IR",
    "SNOW",
    "EXPRESS_ONEZONE",
];

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
