//! What users ask for, as plain data.

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::address::{Address, Root};
use crate::encryption::Encryption;
use crate::error::{Error, ErrorKind, Result};
use crate::metadata;
use crate::object::S3Object;
use crate::store::ByteRange;

/// An object to get, or a range of it.
///
/// Made from a key (`&str` or `String`: a suffix of the scope's root, or a whole `s3://` URL when there is none), from an
/// [`S3Object`] (by its exact address, whatever the root), or by [`new`](Self::new) for a range:
///
/// | offset | length | what is fetched |
/// |---|---|---|
/// | `o` | `n > 0` | `n` bytes from `o`, cut at the object's end |
/// | none | `n > 0` | the first `n` bytes |
/// | `o` | none or negative | from `o` to the end |
/// | none | `-n` | the last `n` bytes; the whole object when it is shorter |
///
/// A length of 0, an offset at or after the object's end, and any range of an empty object are [`ErrorKind::InvalidRange`].
///
/// ```
/// use s3flow::S3GetObject;
///
/// let middle = S3GetObject::new("big.bin").offset(1024).length(512);
/// let tail = S3GetObject::new("log.txt").length(-4096);
/// ```
#[derive(Debug, Clone, PartialEq)]
#[must_use = "an S3GetObject says what to get; give it to get or get_many"]
pub struct S3GetObject {
    target: Target,
    offset: Option<u64>,
    length: Option<i64>,
}

#[derive(Debug, Clone, PartialEq)]
enum Target {
    Key(String),
    Exact(Address),
}

impl S3GetObject {
    /// The whole object at `key`.
    pub fn new(key: impl Into<String>) -> Self {
        Self { target: Target::Key(key.into()), offset: None, length: None }
    }

    /// The first byte to fetch, counted from 0.
    pub fn offset(mut self, bytes: u64) -> Self {
        self.offset = Some(bytes);
        self
    }

    /// How many bytes to fetch; negative: see the table of [`S3GetObject`].
    pub fn length(mut self, bytes: i64) -> Self {
        self.length = Some(bytes);
        self
    }

    pub(crate) fn address(&self, root: &Root) -> Result<Address> {
        match &self.target {
            Target::Key(key) => root.object(key).map_err(|invalid| Error::new(ErrorKind::InvalidUrl, invalid.0)),
            Target::Exact(address) => Ok(address.clone()),
        }
    }

    pub(crate) fn range(&self) -> Result<Option<ByteRange>> {
        Ok(match (self.offset, self.length) {
            (_, Some(0)) => return Err(Error::new(ErrorKind::InvalidRange, "the length of a range is 0")),
            (None, None) => None,
            (None, Some(length)) if length < 0 => Some(ByteRange::Last(length.unsigned_abs())),
            (Some(offset), None) => Some(ByteRange::From(offset)),
            (Some(offset), Some(length)) if length < 0 => Some(ByteRange::From(offset)),
            (offset, Some(length)) => {
                let start = offset.unwrap_or(0);
                let end = start.checked_add(length.unsigned_abs()).ok_or_else(|| {
                    Error::new(ErrorKind::InvalidRange, format!("{length} bytes from {start} end after 2^64"))
                })?;
                Some(ByteRange::Span { start, end })
            }
        })
    }
}

impl From<&str> for S3GetObject {
    fn from(key: &str) -> Self {
        Self::new(key)
    }
}

impl From<&&str> for S3GetObject {
    fn from(key: &&str) -> Self {
        Self::new(*key)
    }
}

impl From<String> for S3GetObject {
    fn from(key: String) -> Self {
        Self::new(key)
    }
}

impl From<&String> for S3GetObject {
    fn from(key: &String) -> Self {
        Self::new(key)
    }
}

impl From<S3Object> for S3GetObject {
    fn from(object: S3Object) -> Self {
        Self::from(&object)
    }
}

impl From<&S3Object> for S3GetObject {
    fn from(object: &S3Object) -> Self {
        Self { target: Target::Exact(object.address().clone()), offset: None, length: None }
    }
}

/// An object to put: a key, a value, and what is stored with it.
///
/// Made from a pair `(key, value)`, or by [`new`](Self::new) to say more.
///
/// ```
/// use s3flow::S3PutObject;
///
/// let object = S3PutObject::new("report.html", "<h1>42</h1>")
///     .content_type("text/html")
///     .metadata([("owner", "me")]);
/// ```
#[derive(Debug, Clone, PartialEq)]
#[must_use = "an S3PutObject says what to put; give it to put_many"]
pub struct S3PutObject {
    pub(crate) key: String,
    pub(crate) value: PutValue,
    pub(crate) content_type: Option<String>,
    pub(crate) metadata: Option<Map<String, Value>>,
    pub(crate) encryption: Option<Encryption>,
}

impl S3PutObject {
    /// `value` at `key`.
    pub fn new(key: impl Into<String>, value: impl Into<PutValue>) -> Self {
        Self { key: key.into(), value: value.into(), content_type: None, metadata: None, encryption: None }
    }

    /// The MIME type. Without it, S3 reports `binary/octet-stream`.
    pub fn content_type(mut self, content_type: impl Into<String>) -> Self {
        self.content_type = Some(content_type.into());
        self
    }

    /// User metadata: names, and anything that JSON can say. Stored as Metaflow stores it, so that Python reads it; at most
    /// 2 KB in all. For values of several types, or the metadata of another object:
    ///
    /// ```
    /// # use s3flow::{S3Object, S3PutObject};
    /// # fn example(object: S3Object) {
    /// use serde_json::json;
    ///
    /// let mixed = S3PutObject::new("k", "v").metadata([("epoch", json!(3)), ("owner", json!("me"))]);
    /// let copied = S3PutObject::new("k", "v").metadata(object.metadata().cloned().unwrap_or_default());
    /// # }
    /// ```
    pub fn metadata<K, V>(mut self, metadata: impl IntoIterator<Item = (K, V)>) -> Self
    where
        K: Into<String>,
        V: Into<Value>,
    {
        self.metadata = Some(metadata.into_iter().map(|(name, value)| (name.into(), value.into())).collect());
        self
    }

    /// Server-side encryption of this object, in place of the scope's.
    pub fn encryption(mut self, encryption: Encryption) -> Self {
        self.encryption = Some(encryption);
        self
    }

    /// The metadata as it is sent, if there is any.
    pub(crate) fn attributes(&self) -> Result<Option<String>> {
        let Some(metadata) = &self.metadata else { return Ok(None) };
        let encoded = metadata::encode(metadata);
        let counted = metadata::counted_bytes(&encoded);
        if counted > metadata::MAX_METADATA_BYTES {
            return Err(Error::new(
                ErrorKind::InvalidObject,
                format!("the metadata has {counted} bytes as JSON; S3 takes {}", metadata::MAX_METADATA_BYTES),
            ));
        }
        Ok(Some(encoded))
    }
}

impl<K: Into<String>, V: Into<PutValue>> From<(K, V)> for S3PutObject {
    fn from((key, value): (K, V)) -> Self {
        Self::new(key, value)
    }
}

/// The bytes of an object to put: from `&str`, `String`, `&[u8]`, `Vec<u8>` or [`Bytes`].
///
/// At most 5 GiB, S3's limit for one request.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct PutValue(pub(crate) Bytes);

impl std::fmt::Debug for PutValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PutValue({} bytes)", self.0.len())
    }
}

impl From<&str> for PutValue {
    fn from(text: &str) -> Self {
        Self(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl From<String> for PutValue {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<&String> for PutValue {
    fn from(text: &String) -> Self {
        text.as_str().into()
    }
}

impl From<&Vec<u8>> for PutValue {
    fn from(bytes: &Vec<u8>) -> Self {
        bytes.as_slice().into()
    }
}

impl From<&Bytes> for PutValue {
    fn from(bytes: &Bytes) -> Self {
        Self(bytes.clone())
    }
}

impl From<&[u8]> for PutValue {
    fn from(bytes: &[u8]) -> Self {
        Self(Bytes::copy_from_slice(bytes))
    }
}

impl<const N: usize> From<&[u8; N]> for PutValue {
    fn from(bytes: &[u8; N]) -> Self {
        Self(Bytes::copy_from_slice(bytes))
    }
}

impl From<Vec<u8>> for PutValue {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl From<Bytes> for PutValue {
    fn from(bytes: Bytes) -> Self {
        Self(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offset_and_length_make_the_range_of_the_table() {
        let range = |offset: Option<u64>, length: Option<i64>| {
            S3GetObject { target: Target::Key("k".into()), offset, length }.range().map_err(|error| error.kind())
        };
        assert_eq!(range(None, None), Ok(None));
        assert_eq!(range(Some(3), Some(4)), Ok(Some(ByteRange::Span { start: 3, end: 7 })));
        assert_eq!(range(None, Some(4)), Ok(Some(ByteRange::Span { start: 0, end: 4 })));
        assert_eq!(range(Some(3), None), Ok(Some(ByteRange::From(3))));
        assert_eq!(range(Some(3), Some(-1)), Ok(Some(ByteRange::From(3))));
        assert_eq!(range(None, Some(-4)), Ok(Some(ByteRange::Last(4))));
        assert_eq!(range(None, Some(i64::MIN)), Ok(Some(ByteRange::Last(1 << 63))));
        assert_eq!(range(Some(3), Some(0)), Err(ErrorKind::InvalidRange));
        assert_eq!(range(None, Some(0)), Err(ErrorKind::InvalidRange));
        assert_eq!(range(Some(u64::MAX), Some(1)), Err(ErrorKind::InvalidRange));
    }

    #[test]
    fn metadata_over_2_kb_is_refused() {
        let object = |length: usize| S3PutObject::new("k", "v").metadata([("n", "x".repeat(length))]);
        let overhead = "metaflow-user-attributes".len() + r#"{"n":""}"#.len();
        assert!(object(2048 - overhead).attributes().is_ok());
        assert_eq!(object(2049 - overhead).attributes().unwrap_err().kind(), ErrorKind::InvalidObject);
        assert_eq!(object(2049 - overhead).attributes().unwrap_err().attempts(), 0);
    }
}
