//! The headers of requests for objects: what is stored with them, their encryption, the conditions.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use md5::{Digest as _, Md5};

use super::checksum::CHECKSUM_MODE;
use super::{ByteRange, keys};
use crate::checksum::{Checksum, ChecksumAlgorithm};
use crate::encryption::{CustomerKey, Encryption, KmsKey};
use crate::error::{Error, ErrorKind, Result};
use crate::metadata;
use crate::properties::Properties;

pub(super) const ATTRIBUTES: HeaderName = HeaderName::from_static(metadata::HEADER);
pub(super) const ENCRYPTION: HeaderName = HeaderName::from_static("x-amz-server-side-encryption");
const KMS_KEY: HeaderName = HeaderName::from_static("x-amz-server-side-encryption-aws-kms-key-id");
const KMS_CONTEXT: HeaderName = HeaderName::from_static("x-amz-server-side-encryption-context");
const STORAGE_CLASS: HeaderName = HeaderName::from_static("x-amz-storage-class");
/// Of the write that stored an object: an entry of its user metadata.
pub(super) const WRITE_ID: HeaderName = HeaderName::from_static("x-amz-meta-s3flow-write");
const USER_METADATA: &str = "x-amz-meta-";
pub(super) const TAGGING: HeaderName = HeaderName::from_static("x-amz-tagging");

/// The three headers of an SSE-C key: algorithm, key, and its MD5.
type CustomerHeaders = [HeaderName; 3];
pub(super) const CUSTOMER_KEY: CustomerHeaders = [
    HeaderName::from_static("x-amz-server-side-encryption-customer-algorithm"),
    HeaderName::from_static("x-amz-server-side-encryption-customer-key"),
    HeaderName::from_static("x-amz-server-side-encryption-customer-key-md5"),
];
pub(super) const SOURCE_CUSTOMER_KEY: CustomerHeaders = [
    HeaderName::from_static("x-amz-copy-source-server-side-encryption-customer-algorithm"),
    HeaderName::from_static("x-amz-copy-source-server-side-encryption-customer-key"),
    HeaderName::from_static("x-amz-copy-source-server-side-encryption-customer-key-md5"),
];

/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-tagging.html>
const MAX_TAGS: usize = 10;
const MAX_TAG_NAME: usize = 128;
const MAX_TAG_VALUE: usize = 256;

/// What a new object is stored with, checked and as headers.
#[derive(Debug, Clone, Default)]
pub(crate) struct ObjectHeaders {
    /// What is stored with the object beside its encryption.
    properties: HeaderMap,
    encryption: HeaderMap,
    customer_key: Option<CustomerKey>,
    write_id: Option<WriteId>,
    checksum: Option<ChecksumAlgorithm>,
}

/// What tells the object of one write from that of any other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WriteId(String);

/// What must hold when an object is stored; otherwise the answer is 412.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WriteCondition {
    /// The key is not there.
    Absent,
    /// The object there has this ETag.
    Matches(String),
}

/// How an object is read.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ReadOptions<'a> {
    pub(crate) range: Option<ByteRange>,
    /// Fails with 412 when the object's ETag is another.
    pub(crate) if_match: Option<&'a str>,
    pub(crate) customer_key: Option<&'a CustomerKey>,
    /// Whether the answer is to tell the checksum that is stored with the object.
    pub(crate) checksum: bool,
    /// Whether the request has waited to be [admitted](super::Store::admit).
    pub(crate) admitted: bool,
    /// Whether the caller reads the body, who may take any time for it: then it keeps no place among the requests on their way, which
    /// the caller may want for another one.
    pub(crate) given_out: bool,
    /// One of the parts that the object was uploaded in, counted from 1, in place of a range.
    pub(crate) part: Option<u32>,
}

impl ObjectHeaders {
    /// # Errors
    ///
    /// [`ErrorKind::InvalidObject`], naming what no header can carry or S3 does not take.
    pub(crate) fn new(properties: &Properties, scope: Option<&Encryption>) -> Result<Self> {
        let mut headers = Self::default();
        let Properties {
            content_type,
            cache_control,
            content_disposition,
            content_encoding,
            content_language,
            expires,
            storage_class,
            tags,
            metadata,
            encryption,
        } = properties;
        let attributes = metadata.as_ref().map(attributes).transpose()?;
        let tagging = (!tags.is_empty()).then(|| tagging(tags)).transpose()?;
        for (name, text) in [
            (header::CONTENT_TYPE, content_type),
            (header::CACHE_CONTROL, cache_control),
            (header::CONTENT_DISPOSITION, content_disposition),
            (header::CONTENT_ENCODING, content_encoding),
            (header::CONTENT_LANGUAGE, content_language),
            (header::EXPIRES, expires),
            (STORAGE_CLASS, storage_class),
            (ATTRIBUTES, &attributes),
            (TAGGING, &tagging),
        ] {
            if let Some(text) = text {
                headers.properties.insert(name.clone(), checked(&name, text)?);
            }
        }
        if let Some(encryption) = encryption.as_ref().or(scope) {
            headers.encrypt(encryption)?;
        }
        Ok(headers)
    }

    fn encrypt(&mut self, encryption: &Encryption) -> Result<()> {
        self.customer_key = encryption.customer_key().cloned();
        let Some((algorithm, key)) = encryption.algorithm() else { return Ok(()) };
        self.encryption.insert(ENCRYPTION, HeaderValue::from_static(algorithm));
        let Some(KmsKey { id, context }) = key else { return Ok(()) };
        if let Some(id) = id {
            self.encryption.insert(KMS_KEY, checked(&KMS_KEY, id)?);
        }
        if !context.is_empty() {
            let json = serde_json::json!(context).to_string();
            self.encryption.insert(KMS_CONTEXT, checked(&KMS_CONTEXT, &BASE64_STANDARD.encode(json))?);
        }
        Ok(())
    }

    /// The same encryption, and nothing else stored with the object.
    pub(crate) fn only_encryption(&self) -> Self {
        Self { properties: HeaderMap::new(), write_id: None, checksum: None, ..self.clone() }
    }

    /// With an id of the write, where the metadata leaves room for it.
    pub(crate) fn with_write_id(&self, id: WriteId) -> Self {
        let with = Self { write_id: Some(id), ..self.clone() };
        if has_room(&with.of_object()) { with } else { self.clone() }
    }

    pub(crate) fn write_id(&self) -> Option<&WriteId> {
        self.write_id.as_ref()
    }

    /// With a checksum that is sent along and stored.
    pub(crate) fn with_checksum(self, checksum: Option<ChecksumAlgorithm>) -> Self {
        Self { checksum, ..self }
    }

    pub(crate) fn checksum(&self) -> Option<ChecksumAlgorithm> {
        self.checksum
    }

    /// A digest of what is stored with an object beside its bytes and the id of the write. A key cannot be told from it.
    pub(crate) fn digest(&self) -> String {
        let mut lines: Vec<Vec<u8>> = Self { write_id: None, ..self.clone() }
            .of_object()
            .iter()
            .map(|(name, value)| [name.as_str().as_bytes(), b":", value.as_bytes(), b"\n"].concat())
            .collect();
        lines.sort_unstable();
        Checksum::of(ChecksumAlgorithm::Sha256, &lines.concat()).to_base64()
    }

    /// What reads of the object need.
    pub(crate) fn customer_key(&self) -> Option<&CustomerKey> {
        self.customer_key.as_ref()
    }

    /// For a request that makes an object.
    pub(super) fn of_object(&self) -> HeaderMap {
        let mut headers = self.properties.clone();
        headers.extend(self.encryption.clone());
        headers.extend(self.of_part());
        headers.extend(self.write_id.as_ref().map(|id| (WRITE_ID, id.to_header())));
        headers
    }

    /// For a request that makes an object out of another one's properties, with ours where they differ.
    pub(super) fn over(&self, kept: HeaderMap) -> HeaderMap {
        let mut headers = kept;
        headers.extend(self.of_object());
        headers
    }

    /// As [`over`](Self::over), and what of these headers the object is stored with then: without the id of the write where
    /// the other's metadata leaves no room for it.
    pub(super) fn and_over(&self, kept: HeaderMap) -> (Self, HeaderMap) {
        let headers = self.over(kept.clone());
        if has_room(&headers) {
            return (self.clone(), headers);
        }
        let without = Self { write_id: None, ..self.clone() };
        let headers = without.over(kept);
        (without, headers)
    }

    /// For a part of a multipart upload, and its completion.
    pub(super) fn of_part(&self) -> HeaderMap {
        self.customer_key.as_ref().map_or_else(HeaderMap::new, |key| customer_key(&CUSTOMER_KEY, key))
    }
}

impl WriteId {
    pub(crate) fn new(random: [u8; 16]) -> Self {
        Self(random.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// One that was written down; `None` of anything else.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (text.len() == 32 && text.bytes().all(is_digit)).then(|| Self(text.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    fn to_header(&self) -> HeaderValue {
        HeaderValue::from_str(&self.0).expect("digits are visible text")
    }
}

/// Whether S3 takes so much user metadata.
fn has_room(headers: &HeaderMap) -> bool {
    let entry = |(name, value): (&HeaderName, &HeaderValue)| {
        name.as_str().strip_prefix(USER_METADATA).map(|name| name.len() + value.len())
    };
    headers.iter().filter_map(entry).sum::<usize>() <= metadata::MAX_METADATA_BYTES
}

/// Whether a header of an object is one of its user metadata, and not of the write that stored it.
pub(super) fn is_user_metadata(name: &HeaderName) -> bool {
    name.as_str().starts_with(USER_METADATA) && *name != WRITE_ID
}

impl WriteCondition {
    pub(super) fn insert_into(&self, headers: &mut HeaderMap) -> Result<(), super::Failure> {
        match self {
            Self::Absent => headers.insert(header::IF_NONE_MATCH, HeaderValue::from_static("*")),
            Self::Matches(etag) => headers.insert(header::IF_MATCH, super::value(&header::IF_MATCH, etag)?),
        };
        Ok(())
    }
}

impl ReadOptions<'_> {
    pub(super) fn to_headers(self) -> Result<HeaderMap, super::Failure> {
        let Self { range, if_match, customer_key: key, checksum, admitted: _, given_out: _, part: _ } = self;
        let mut headers = HeaderMap::new();
        if let Some(key) = key {
            headers = customer_key(&CUSTOMER_KEY, key);
        }
        if let Some(range) = range {
            headers.insert(header::RANGE, super::value(&header::RANGE, &range.to_string())?);
        }
        if let Some(etag) = if_match {
            headers.insert(header::IF_MATCH, super::value(&header::IF_MATCH, etag)?);
        }
        if checksum {
            headers.insert(CHECKSUM_MODE, HeaderValue::from_static("ENABLED"));
        }
        Ok(headers)
    }

    pub(super) fn query(&self) -> String {
        self.part.map_or_else(String::new, |number| format!("partNumber={number}"))
    }
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/ServerSideEncryptionCustomerKeys.html>
pub(super) fn customer_key([algorithm, key, digest]: &CustomerHeaders, secret: &CustomerKey) -> HeaderMap {
    let text = |bytes: &[u8]| HeaderValue::from_str(&BASE64_STANDARD.encode(bytes)).expect("base64 is visible text");
    let mut secret_text = text(secret.bytes());
    secret_text.set_sensitive(true);
    HeaderMap::from_iter([
        (algorithm.clone(), HeaderValue::from_static("AES256")),
        (key.clone(), secret_text),
        (digest.clone(), text(&Md5::digest(secret.bytes()))),
    ])
}

/// Whether a request carries a customer's key.
pub(super) fn carries_a_key(headers: &HeaderMap) -> bool {
    keys_in(headers).next().is_some()
}

/// The customers' keys that a request carries.
pub(super) fn keys_in(headers: &HeaderMap) -> impl Iterator<Item = &HeaderValue> {
    [CUSTOMER_KEY, SOURCE_CUSTOMER_KEY].into_iter().filter_map(|[_, key, _]| headers.get(key))
}

fn checked(name: &HeaderName, text: &str) -> Result<HeaderValue> {
    HeaderValue::from_str(text).map_err(|_| invalid(format!("{text:?} cannot be the value of the header {name}")))
}

fn attributes(metadata: &serde_json::Map<String, serde_json::Value>) -> Result<String> {
    let encoded = metadata::encode(metadata);
    let counted = metadata::counted_bytes(&encoded);
    if counted > metadata::MAX_METADATA_BYTES {
        return Err(invalid(format!(
            "the metadata has {counted} bytes as JSON; S3 takes {}",
            metadata::MAX_METADATA_BYTES
        )));
    }
    Ok(encoded)
}

fn tagging(tags: &[(String, String)]) -> Result<String> {
    if tags.len() > MAX_TAGS {
        return Err(invalid(format!("there are {} tags; S3 takes {MAX_TAGS}", tags.len())));
    }
    let mut encoded = Vec::with_capacity(tags.len());
    for (index, (name, value)) in tags.iter().enumerate() {
        if name.is_empty() || name.chars().count() > MAX_TAG_NAME {
            return Err(invalid(format!("the name of the tag {name:?} does not have 1 to {MAX_TAG_NAME} characters")));
        }
        if value.chars().count() > MAX_TAG_VALUE {
            return Err(invalid(format!("the value of the tag {name:?} has more than {MAX_TAG_VALUE} characters")));
        }
        if tags[..index].iter().any(|(other, _)| other == name) {
            return Err(invalid(format!("there are two tags {name:?}")));
        }
        encoded.push(format!("{}={}", keys::encode_query(name), keys::encode_query(value)));
    }
    Ok(encoded.join("&"))
}

fn invalid(problem: String) -> Error {
    Error::new(ErrorKind::InvalidObject, problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(properties: Properties) -> Result<HeaderMap> {
        ObjectHeaders::new(&properties, None).map(|headers| headers.of_object())
    }

    fn tagged(tags: &[(&str, &str)]) -> Result<HeaderMap> {
        let tags = tags.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        headers(Properties { tags, ..Properties::default() })
    }

    #[test]
    fn metadata_over_2_kb_is_refused() {
        let with = |length: usize| {
            let metadata = Some([("n".to_owned(), "x".repeat(length).into())].into_iter().collect());
            headers(Properties { metadata, ..Properties::default() })
        };
        let overhead = "metaflow-user-attributes".len() + r#"{"n":""}"#.len();
        assert!(with(2048 - overhead).is_ok());
        let error = with(2049 - overhead).unwrap_err();
        assert_eq!((error.kind(), error.attempts()), (ErrorKind::InvalidObject, 0));
    }

    #[test]
    fn the_id_of_a_write_goes_where_there_is_room_for_it() {
        let id = || WriteId::new([0xa5; 16]);
        let with = |length: usize| {
            let metadata = Some([("n".to_owned(), "x".repeat(length).into())].into_iter().collect());
            let headers = ObjectHeaders::new(&Properties { metadata, ..Properties::default() }, None).unwrap();
            headers.with_write_id(id())
        };
        let longest = 2048 - "metaflow-user-attributes".len() - r#"{"n":""}"#.len() - "s3flow-write".len() - 32;
        let headers = with(longest);
        assert_eq!(headers.of_object()[WRITE_ID], "a5".repeat(16));
        let kept = HeaderMap::from_iter([(HeaderName::from_static("x-amz-meta-a"), HeaderValue::from_static("1"))]);
        let (without, request) = headers.and_over(kept);
        assert!(
            without.write_id().is_none() && !request.contains_key(WRITE_ID) && request.contains_key("x-amz-meta-a")
        );
        assert_eq!(headers.and_over(HeaderMap::new()).0.write_id(), Some(&id()));
        let headers = with(longest + 1);
        assert!(headers.write_id().is_none() && !headers.of_object().contains_key(WRITE_ID));
        assert!(with(1).only_encryption().of_object().is_empty());
    }

    #[test]
    fn tags_are_written_as_a_query() {
        assert_eq!(tagged(&[("a b", "c&d"), ("é", "")]).unwrap()[TAGGING], "a%20b=c%26d&%C3%A9=");
        assert!(!tagged(&[]).unwrap().contains_key(TAGGING));
    }

    #[test]
    fn tags_that_s3_does_not_take_are_named() {
        let long = "x".repeat(257);
        for (tags, named) in [
            (vec![("", "v")], "1 to 128"),
            (vec![("twice", "1"), ("twice", "2")], "two tags \"twice\""),
            (vec![("name", long.as_str())], "\"name\""),
            (vec![(long.as_str(), "")], "1 to 128"),
            (vec![("n", "v"); 11], "11 tags"),
        ] {
            let error = tagged(&tags).unwrap_err();
            assert!(error.kind() == ErrorKind::InvalidObject && error.to_string().contains(named), "{error}");
        }
    }

    #[test]
    fn an_encryption_has_its_headers() {
        let kms = KmsKey::new("alias/k").context([("team", "é")]);
        let of = |encryption: &Encryption| ObjectHeaders::new(&Properties::default(), Some(encryption)).unwrap();
        assert_eq!(of(&Encryption::Aes256).of_object()[ENCRYPTION], "AES256");
        let headers = of(&Encryption::AwsKmsDsse(kms)).of_object();
        assert_eq!(
            (&headers[ENCRYPTION], &headers[KMS_KEY]),
            (&"aws:kms:dsse".parse().unwrap(), &"alias/k".parse().unwrap())
        );
        assert_eq!(BASE64_STANDARD.decode(&headers[KMS_CONTEXT]).unwrap(), r#"{"team":"é"}"#.as_bytes());

        let headers = of(&Encryption::Customer(CustomerKey::new([7; 32])));
        assert_eq!(headers.of_object(), headers.of_part());
        let [algorithm, key, digest] = CUSTOMER_KEY;
        let headers = headers.of_part();
        assert_eq!(headers[algorithm], "AES256");
        assert!(headers[&key].is_sensitive() && carries_a_key(&headers));
        assert_eq!(BASE64_STANDARD.decode(&headers[key]).unwrap(), [7; 32]);
        // printf '\7%.0s' {1..32} | openssl md5 -binary | base64
        assert_eq!(headers[digest], "y4HAEFCYWuvAXWFTtA1Qpg==");
    }

    #[test]
    fn an_objects_own_encryption_is_used_in_place_of_the_scopes() {
        let own = Properties { encryption: Some(Encryption::AwsKms(KmsKey::default())), ..Properties::default() };
        let headers = ObjectHeaders::new(&own, Some(&Encryption::Customer(CustomerKey::new([7; 32])))).unwrap();
        assert_eq!(headers.of_object()[ENCRYPTION], "aws:kms");
        assert!(headers.of_part().is_empty());
    }
}
