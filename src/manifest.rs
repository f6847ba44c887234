//! A line of a manifest of objects, as plain data.

use std::time::SystemTime;

use chrono::DateTime;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::address::{Address, Location, Root};
use crate::error::{Error, ErrorKind, Result};
use crate::object::{S3Object, rfc3339};
use crate::request::S3GetObject;

/// An object as a listing shows it: a line of a [manifest](crate::S3::write_manifest), and a request for what is in it.
///
/// With serde it is a map of the `url`, and as far as they are known of the `size` in bytes, the `etag` in its quotes, the
/// `last_modified` in UTC as RFC 3339 has it, and the `version_id`:
///
/// ```
/// use s3flow::ManifestEntry;
///
/// let line = r#"{"url":"s3://bucket/a","size":3,"etag":"\"900150983cd24fb0d6963f7d28e17f72\"","last_modified":"2026-11-23T04:05:06Z"}"#;
/// let entry: ManifestEntry = serde_json::from_str(line)?;
/// assert_eq!((entry.url().as_str(), entry.size()), ("s3://bucket/a", Some(3)));
/// assert_eq!(serde_json::to_string(&entry)?, line);
/// # Ok::<(), serde_json::Error>(())
/// ```
///
/// Other fields are left out when it is read, so that a line may say more, and a serialised [`S3Object`] is one too. An ETag without
/// quotes, as inventories have it, is given them.
///
/// It becomes an [`S3GetObject`] of whatever is there now; [`pinned`](Self::pinned) makes one of the object that was listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestEntry {
    location: Location,
    size: Option<u64>,
    etag: Option<String>,
    last_modified: Option<SystemTime>,
    version_id: Option<String>,
}

impl ManifestEntry {
    /// The full location, `s3://bucket/key`.
    #[must_use]
    pub fn url(&self) -> String {
        self.location.url()
    }

    /// The bucket.
    #[must_use]
    pub fn bucket(&self) -> &str {
        self.location.bucket()
    }

    /// The whole key in the bucket.
    #[must_use]
    pub fn key(&self) -> &str {
        self.location.key()
    }

    /// In bytes.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// The ETag, in its quotes.
    #[must_use]
    pub fn etag(&self) -> Option<&str> {
        self.etag.as_deref()
    }

    /// When the object was stored.
    #[must_use]
    pub fn last_modified(&self) -> Option<SystemTime> {
        self.last_modified
    }

    /// The version, in a bucket that keeps versions; listings do not tell it.
    #[must_use]
    pub fn version_id(&self) -> Option<&str> {
        self.version_id.as_deref()
    }

    /// A request for the object with this entry's ETag: any other that is there by then is
    /// [`ErrorKind::Changed`](crate::ErrorKind::Changed).
    ///
    /// ```
    /// # async fn example(s3: s3flow::S3) -> s3flow::Result<()> {
    /// use futures::{StreamExt, TryStreamExt};
    /// use s3flow::ManifestEntry;
    ///
    /// let entries = s3.read_manifest::<ManifestEntry>("jobs/inputs.jsonl");
    /// let mut objects = s3.get_from(entries.map(|entry| entry?.pinned()));
    /// while let Some(object) = objects.try_next().await? {
    ///     println!("{}", object.url());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Unsupported`](crate::ErrorKind::Unsupported) when there is no ETag, or one that is weak and stands for no bytes.
    pub fn pinned(&self) -> Result<S3GetObject> {
        let pinned = S3GetObject::from(self).pinned(self.etag());
        pinned.map_err(|error| error.with_operation("pinned", Some(self.url())))
    }

    pub(crate) fn location(&self) -> &Location {
        &self.location
    }

    /// Whether `now` is what this was: as their ETags and sizes have it, and without ETags their dates, as far as both are known.
    pub(crate) fn is_still(&self, now: &Self) -> bool {
        fn same<T: PartialEq>(one: &Option<T>, other: &Option<T>) -> bool {
            one.is_none() || other.is_none() || one == other
        }
        let without_etags = self.etag.is_none() || now.etag.is_none();
        same(&self.etag, &now.etag)
            && same(&self.size, &now.size)
            && (!without_etags || same(&self.last_modified, &now.last_modified))
    }
}

/// An item of a stream of entries: what can be made into a [`ManifestEntry`], or a `Result` of it.
pub trait EntryInput: Send + 'static {
    /// The entry, or the error that takes its place.
    ///
    /// # Errors
    ///
    /// The item's own.
    fn into_entry(self) -> Result<ManifestEntry>;
}

impl<T: Into<ManifestEntry> + Send + 'static> EntryInput for T {
    fn into_entry(self) -> Result<ManifestEntry> {
        Ok(self.into())
    }
}

impl<T: Into<ManifestEntry> + Send + 'static> EntryInput for Result<T> {
    fn into_entry(self) -> Result<ManifestEntry> {
        self.map(Into::into)
    }
}

/// What is other than it was listed: an item of [`VerifyUnchanged`](crate::VerifyUnchanged).
///
/// With serde it is a map with a `difference`, which is `changed`, `removed` or `added`, and with the entries `earlier` and `now`, of
/// which there is one or both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "difference", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Difference {
    /// Another object is there under the same key.
    Changed {
        /// As it was listed.
        earlier: ManifestEntry,
        /// As it is.
        now: ManifestEntry,
    },
    /// There is no object any more.
    Removed {
        /// As it was listed.
        earlier: ManifestEntry,
    },
    /// There was no object.
    Added {
        /// As it is.
        now: ManifestEntry,
    },
}

impl Difference {
    /// The full location of the object, `s3://bucket/key`.
    #[must_use]
    pub fn url(&self) -> String {
        let (Self::Changed { now: entry, .. } | Self::Removed { earlier: entry } | Self::Added { now: entry }) = self;
        entry.url()
    }

    /// The same as an error, for who expects none.
    pub(crate) fn into_error(self) -> Error {
        let url = self.url();
        let error = |message: &str| Error::new(ErrorKind::Changed, message);
        let error = match self {
            Self::Changed { earlier, now } => {
                error("the object was replaced since it was listed").with_etags(earlier.etag(), now.etag)
            }
            Self::Removed { earlier } => {
                error("the object was removed since it was listed").with_etags(earlier.etag(), None)
            }
            Self::Added { now } => {
                error("the object was not there when the others were listed").with_etags(None, now.etag)
            }
        };
        error.with_operation("verify_unchanged", Some(url))
    }
}

impl From<&S3Object> for ManifestEntry {
    fn from(object: &S3Object) -> Self {
        Self {
            location: object.address().location.clone(),
            size: object.total_size(),
            etag: object.etag().map(str::to_owned),
            last_modified: object.last_modified(),
            version_id: object.version_id().map(str::to_owned),
        }
    }
}

impl From<S3Object> for ManifestEntry {
    fn from(object: S3Object) -> Self {
        Self::from(&object)
    }
}

impl From<&ManifestEntry> for S3GetObject {
    fn from(entry: &ManifestEntry) -> Self {
        Self::exact(Address::whole(entry.location.clone()))
    }
}

impl From<ManifestEntry> for S3GetObject {
    fn from(entry: ManifestEntry) -> Self {
        Self::from(&entry)
    }
}

/// What is written, and what is read of it.
#[derive(Serialize, Deserialize)]
struct Written {
    url: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_modified: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version_id: Option<String>,
}

impl Serialize for ManifestEntry {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let Self { location, size, etag, last_modified, version_id } = self.clone();
        Written { url: location.url(), size, etag, last_modified: last_modified.map(rfc3339), version_id }
            .serialize(serializer)
    }
}

/// Inventories have ETags without their quotes.
fn quoted(etag: String) -> String {
    if etag.ends_with('"') { etag } else { format!("\"{etag}\"") }
}

impl<'de> Deserialize<'de> for ManifestEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let Written { url, size, etag, last_modified, version_id } = Written::deserialize(deserializer)?;
        let address = Root::Urls.object(&url).map_err(|invalid| de::Error::custom(invalid.0))?;
        let last_modified = last_modified.map(|text| {
            let date = DateTime::parse_from_rfc3339(&text);
            date.map(SystemTime::from)
                .map_err(|_| de::Error::custom(format!("last_modified is {text:?}, which is no date")))
        });
        let etag = etag.filter(|etag| !etag.is_empty()).map(quoted);
        Ok(Self { location: address.location, size, etag, last_modified: last_modified.transpose()?, version_id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> std::result::Result<ManifestEntry, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn what_is_not_known_is_left_out_and_what_else_is_there_is_not_read() {
        let entry = read(r#"{"owner":{"name":[1]},"url":"s3://b/a b","key":"a b","exists":true}"#).unwrap();
        assert_eq!(serde_json::to_string(&entry).unwrap(), r#"{"url":"s3://b/a b"}"#);
        assert_eq!((entry.bucket(), entry.key(), entry.size(), entry.etag()), ("b", "a b", None, None));
        let error = entry.pinned().unwrap_err();
        assert_eq!((error.kind(), error.url()), (ErrorKind::Unsupported, Some("s3://b/a b")));
    }

    #[test]
    fn a_wrong_field_is_named() {
        for (json, problem) in [
            (r#"{"key":"a"}"#, "missing field `url`"),
            (r#"{"url":"a"}"#, "not an s3:// URL"),
            (r#"{"url":"s3://b/"}"#, "a key is needed"),
            (r#"{"url":"s3://b/a","size":-1}"#, "u64"),
            (r#"{"url":"s3://b/a","last_modified":"yesterday"}"#, "last_modified is \"yesterday\""),
        ] {
            let error = read(json).unwrap_err().to_string();
            assert!(error.contains(problem), "{json}: {error}");
        }
    }

    #[test]
    fn a_pinned_request_is_for_the_etag_of_the_entry() {
        let entry = read(r#"{"url":"s3://b/a","etag":"\"e\"","version_id":"v"}"#).unwrap();
        assert_eq!(entry.pinned().unwrap(), S3GetObject::from(&entry).if_match("\"e\""));
        let of_an_inventory = read(r#"{"url":"s3://b/a","etag":"e"}"#).unwrap();
        assert_eq!(of_an_inventory.pinned().unwrap(), entry.pinned().unwrap());
        assert_eq!(read(r#"{"url":"s3://b/a","etag":""}"#).unwrap().etag(), None);
        let weak = read(r#"{"url":"s3://b/a","etag":"W/\"e\""}"#).unwrap();
        assert_eq!(weak.pinned().unwrap_err().kind(), ErrorKind::Unsupported);
    }
}
