//! What users ask for, as plain data.

mod copy;
mod put;
mod value;
mod written;

pub use self::copy::S3CopyObject;
pub use self::put::S3PutObject;
pub use self::value::PutValue;
pub(crate) use self::value::{ByteStream, Source, TooLong};
use crate::address::{Address, Root};
use crate::encryption::{CustomerKey, Encryption};
use crate::error::{Error, ErrorKind, Result};
use crate::object::S3Object;
use crate::store::{ByteRange, ReadOptions};

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
///
/// With serde it is a map of a `key`, and if they are set, `offset`, `length` and `if_match`. One that was made from an
/// [`S3Object`] has a `url` in place of the key, so that it means the same object in a scope with any root. A
/// [`customer_key`](Self::customer_key) cannot be serialised: it would be written down in plain text.
#[derive(Debug, Clone, PartialEq)]
#[must_use = "an S3GetObject says what to get; give it to get or get_many"]
pub struct S3GetObject {
    target: Target,
    offset: Option<u64>,
    length: Option<i64>,
    if_match: Option<String>,
    customer_key: Option<CustomerKey>,
}

#[derive(Debug, Clone, PartialEq)]
enum Target {
    Key(String),
    Exact(Address),
}

impl S3GetObject {
    /// The whole object at `key`.
    pub fn new(key: impl Into<String>) -> Self {
        Self::of(Target::Key(key.into()))
    }

    fn of(target: Target) -> Self {
        Self { target, offset: None, length: None, if_match: None, customer_key: None }
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

    /// Only the object with this ETag, in its quotes; any other is [`ErrorKind::Changed`], which tells both ETags. A server that ignores
    /// the condition is found out by the ETag of its answer.
    pub fn if_match(mut self, etag: impl Into<String>) -> Self {
        self.if_match = Some(etag.into());
        self
    }

    /// Only the object that a listing showed with this ETag.
    pub(crate) fn pinned(self, etag: Option<&str>) -> Result<Self> {
        match etag {
            // Of a weak one, bytes are not told apart, and it matches nothing.
            Some(etag) if !etag.starts_with("W/") => Ok(self.if_match(etag)),
            _ => Err(Error::new(ErrorKind::Unsupported, "there is no strong ETag of the object to pin it by")),
        }
    }

    /// The key that the object was stored with, when its encryption is [`Encryption::Customer`]; in place of the scope's.
    pub fn customer_key(mut self, key: CustomerKey) -> Self {
        self.customer_key = Some(key);
        self
    }

    /// Whether it is of less than the whole object.
    pub(crate) fn is_ranged(&self) -> bool {
        self.offset.is_some() || self.length.is_some()
    }

    /// Whether it must be the object with a certain ETag.
    pub(crate) fn has_condition(&self) -> bool {
        self.if_match.is_some()
    }

    /// How the object is read in a scope with this encryption.
    pub(crate) fn read_options<'a>(&'a self, scope: Option<&'a Encryption>) -> Result<ReadOptions<'a>> {
        Ok(ReadOptions { range: self.range()?, ..self.whole_options(scope) })
    }

    /// The same without the range.
    pub(crate) fn whole_options<'a>(&'a self, scope: Option<&'a Encryption>) -> ReadOptions<'a> {
        let customer_key = self.customer_key.as_ref().or_else(|| scope?.customer_key());
        ReadOptions { if_match: self.if_match.as_deref(), customer_key, ..ReadOptions::default() }
    }

    /// The object at this location, whatever the root.
    pub(crate) fn exact(address: Address) -> Self {
        Self::of(Target::Exact(address))
    }

    pub(crate) fn address(&self, root: &Root) -> Result<Address> {
        match &self.target {
            Target::Key(key) => root.object(key).map_err(|invalid| Error::new(ErrorKind::InvalidUrl, invalid.0)),
            Target::Exact(address) => Ok(address.clone()),
        }
    }

    fn range(&self) -> Result<Option<ByteRange>> {
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
        Self::exact(object.address().clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offset_and_length_make_the_range_of_the_table() {
        let range = |offset: Option<u64>, length: Option<i64>| {
            S3GetObject { offset, length, ..S3GetObject::new("k") }.range().map_err(|error| error.kind())
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
}
