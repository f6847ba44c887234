//! What users get back, as plain data and files.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::address::Address;
use crate::checksum::Verified;
use crate::error::{Error, ErrorKind, Result};
use crate::metadata;
use crate::observe::{Report, Reported};
use crate::scope::FileLease;
use crate::store::{KeptHeaders, ListedObject, ObjectHead};

/// An object in S3, and, after a get, its local copy.
///
/// Cheap to clone. The file of a downloaded object lives as long as any clone of it, and never longer than the scope (the
/// [`S3`](crate::S3) handle) that made it: it is removed when the last clone is dropped, or by
/// [`S3::close`](crate::S3::close). [`keep`](Self::keep) leaves it to the scope, [`persist`](Self::persist) moves it out.
///
/// Which properties are known depends on where the object comes from:
///
/// | from | `exists` | `size`, `etag`, `last_modified` | `content_type` and other headers, `metadata`, `encryption`, `range_info` | `path` |
/// |---|---|---|---|---|
/// | a get | yes | yes | yes, unless `return_info(false)` | yes |
/// | an info | yes | yes | yes | no |
/// | a listing | yes | yes | no | no |
/// | a prefix of [`list_paths`](crate::S3::list_paths) | no | no | no | no |
/// | a missing key | no | no | no | no |
///
/// It can be serialised: what is known, under the names of the methods, with `last_modified` in UTC as RFC 3339 has it; what
/// is not known is left out. A path that is not UTF-8 is an error.
#[derive(Clone)]
pub struct S3Object {
    index: usize,
    facts: Arc<Facts>,
    file: Option<Arc<FileLease>>,
    reported: Reported,
}

#[derive(Debug)]
struct Facts {
    address: Address,
    url: String,
    size: Option<u64>,
    etag: Option<String>,
    last_modified: Option<SystemTime>,
    version_id: Option<String>,
    verified: Option<Verified>,
    info: Option<Info>,
}

impl Facts {
    fn unknown(address: Address) -> Self {
        let url = address.location.url();
        Self { address, url, size: None, etag: None, last_modified: None, version_id: None, verified: None, info: None }
    }
}

#[derive(Debug)]
struct Info {
    content_type: Option<String>,
    kept: Option<Box<KeptHeaders>>,
    metadata: Option<Map<String, Value>>,
    encryption: Option<String>,
    range: RangeInfo,
}

/// Which bytes of an object were fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RangeInfo {
    /// The size of the whole object, in bytes.
    pub total_size: u64,
    /// The first byte fetched, counted from 0.
    pub request_offset: u64,
    /// How many bytes were fetched.
    pub request_length: u64,
}

impl RangeInfo {
    pub(crate) fn new(total_size: u64, request_offset: u64, request_length: u64) -> Self {
        Self { total_size, request_offset, request_length }
    }
}

impl S3Object {
    pub(crate) fn missing(index: usize, address: Address) -> Self {
        Self { index, facts: Arc::new(Facts::unknown(address)), file: None, reported: Reported::default() }
    }

    pub(crate) fn listed(index: usize, address: Address, object: ListedObject) -> Self {
        let ListedObject { key: _, size, etag, last_modified } = object;
        let facts = Facts { size: Some(size), etag, last_modified, ..Facts::unknown(address) };
        Self { index, facts: Arc::new(facts), file: None, reported: Reported::default() }
    }

    /// With `range`, the object has its info; with `file`, its local copy.
    pub(crate) fn found(
        index: usize,
        address: Address,
        head: ObjectHead,
        range: Option<RangeInfo>,
        file: Option<Arc<FileLease>>,
        verified: Option<Verified>,
    ) -> Self {
        let ObjectHead {
            size,
            range: _,
            etag,
            last_modified,
            date: _,
            content_type,
            kept,
            attributes,
            encryption,
            version_id,
            write_id: _,
            checksum: _,
        } = head;
        let metadata = attributes.as_deref().and_then(metadata::decode);
        let info = range.map(|range| Info { content_type, kept, metadata, encryption, range });
        let facts =
            Facts { size: Some(size), etag, last_modified, version_id, verified, info, ..Facts::unknown(address) };
        Self { index, facts: Arc::new(facts), file, reported: Reported::default() }
    }

    pub(crate) fn reported(self, reported: Reported) -> Self {
        Self { reported, ..self }
    }

    pub(crate) fn address(&self) -> &Address {
        &self.facts.address
    }

    /// Whether the object was there. `false` only for a missing key with `return_missing(true)`, and for the prefixes of
    /// [`list_paths`](crate::S3::list_paths).
    #[must_use]
    pub fn exists(&self) -> bool {
        self.facts.size.is_some()
    }

    /// Whether there is a local copy.
    #[must_use]
    pub fn downloaded(&self) -> bool {
        self.file.is_some()
    }

    /// The full location, `s3://bucket/key`, byte for byte.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.facts.url
    }

    /// The key as it was asked for, without the slashes in front: the suffix after [`prefix`](Self::prefix), or the whole URL
    /// when there is none. Of a listing it is relative to the prefix listed, and not to the scope's root: to fetch what was
    /// listed, give the object itself to a get. It is empty for a directory's own marker object (`dir/` when `dir` is listed);
    /// [`url`](Self::url) is exact always.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.facts.address.key
    }

    /// The URL below which [`key`](Self::key) was found: the scope's root, or for a listing the prefix asked for. `None` when
    /// the key is a whole URL, as it is for an object of exactly the name that a
    /// [`get_recursive`](crate::S3::get_recursive) asked for.
    #[must_use]
    pub fn prefix(&self) -> Option<&str> {
        self.facts.address.prefix.as_deref()
    }

    /// The local copy. The file is complete, and is not changed any more. It goes with the last clone of this object: keep the
    /// object as long as the path is used, or call [`keep`](Self::keep).
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.file.as_deref().map(FileLease::path)
    }

    /// In bytes: of what was downloaded (for a range, the range's), otherwise of the object.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        self.file.as_deref().map(FileLease::size).or(self.facts.size)
    }

    /// Of the object, also when less of it was downloaded.
    pub(crate) fn total_size(&self) -> Option<u64> {
        self.facts.size
    }

    /// Whether content type, metadata, encryption and range are known.
    #[must_use]
    pub fn has_info(&self) -> bool {
        self.facts.info.is_some()
    }

    /// The MIME type as S3 reports it; `binary/octet-stream` when none was given.
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        self.facts.info.as_ref()?.content_type.as_deref()
    }

    fn kept(&self) -> Option<&KeptHeaders> {
        self.facts.info.as_ref()?.kept.as_deref()
    }

    /// `Cache-Control`, as it was stored.
    #[must_use]
    pub fn cache_control(&self) -> Option<&str> {
        self.kept()?.cache_control.as_deref()
    }

    /// `Content-Disposition`, as it was stored.
    #[must_use]
    pub fn content_disposition(&self) -> Option<&str> {
        self.kept()?.content_disposition.as_deref()
    }

    /// `Content-Encoding`: what was done to the bytes, such as `gzip`. They come as they are stored.
    #[must_use]
    pub fn content_encoding(&self) -> Option<&str> {
        self.kept()?.content_encoding.as_deref()
    }

    /// `Content-Language`, as it was stored.
    #[must_use]
    pub fn content_language(&self) -> Option<&str> {
        self.kept()?.content_language.as_deref()
    }

    /// The user metadata, as s3flow or Metaflow stored it.
    #[must_use]
    pub fn metadata(&self) -> Option<&Map<String, Value>> {
        self.facts.info.as_ref()?.metadata.as_ref()
    }

    /// The server-side encryption as S3 reports it: `AES256`, `aws:kms` or `aws:kms:dsse`. `None` also for SSE-C.
    #[must_use]
    pub fn encryption(&self) -> Option<&str> {
        self.facts.info.as_ref()?.encryption.as_deref()
    }

    /// Which bytes were fetched; for a whole download and for an info, all of them.
    #[must_use]
    pub fn range_info(&self) -> Option<RangeInfo> {
        self.facts.info.as_ref().map(|info| info.range)
    }

    /// When the object was stored, to the second.
    #[must_use]
    pub fn last_modified(&self) -> Option<SystemTime> {
        self.facts.last_modified
    }

    /// The ETag, in its quotes.
    #[must_use]
    pub fn etag(&self) -> Option<&str> {
        self.facts.etag.as_deref()
    }

    /// The version, in a bucket that keeps versions.
    #[must_use]
    pub fn version_id(&self) -> Option<&str> {
        self.facts.version_id.as_deref()
    }

    /// What all bytes of this download were compared with, as they came; a difference is
    /// [`ErrorKind::Integrity`](crate::ErrorKind::Integrity) and no object. `None` when nothing was: of a range, for S3 stores checksums of whole
    /// objects; when the object has none, or one that is made of those of its parts and the service does not tell where these begin
    /// and end; when the service tells nothing; when [`Verification`](crate::Verification) is off; and when nothing was downloaded.
    ///
    /// ```
    /// # async fn example(s3: s3flow::S3) -> s3flow::Result<()> {
    /// let object = s3.get("model.bin").await?;
    /// if object.verified().is_none() {
    ///     eprintln!("{} has no checksum", object.url());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn verified(&self) -> Option<Verified> {
        self.facts.verified
    }

    /// Which input of the operation this belongs to, counted from 0.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// What the get or the info took: its requests, and for what it waited. `None` of an object of a listing.
    #[must_use]
    pub fn report(&self) -> Option<Report> {
        self.reported.report()
    }

    /// The bytes of the local copy.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidObject`] when the object was not downloaded; [`ErrorKind::Io`] when the file is gone, as it is
    /// after [`S3::close`](crate::S3::close).
    ///
    /// # Cancel safety
    ///
    /// Safe: nothing is changed.
    pub async fn blob(&self) -> Result<Vec<u8>> {
        let bytes = self.file()?.read(Ok).await;
        bytes.map_err(|error| error.with_operation("blob", Some(self.facts.url.clone())))
    }

    /// The local copy as text. Metaflow replaces what is not UTF-8; here it is an error, so that no text is changed silently.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidObject`] when the local copy is not UTF-8, with the offset of the first byte that is not; else as
    /// [`blob`](Self::blob).
    ///
    /// # Cancel safety
    ///
    /// Safe: nothing is changed.
    pub async fn text(&self) -> Result<String> {
        let decode = |bytes| {
            String::from_utf8(bytes).map_err(|error| {
                let invalid = error.utf8_error();
                let problem = format!("the byte at offset {} is not UTF-8", invalid.valid_up_to());
                Error::new(ErrorKind::InvalidObject, problem).with_source(invalid)
            })
        };
        let text = self.file()?.read(decode).await;
        text.map_err(|error| error.with_operation("text", Some(self.facts.url.clone())))
    }

    /// Leaves the file to the scope: it stays after this object until the scope ends, for code that passes paths on.
    /// Does nothing without a local copy.
    pub fn keep(&self) {
        if let Some(file) = &self.file {
            file.keep();
        }
    }

    /// Moves the local copy to `destination` and replaces what is there. While clones of this object hold the file, it is
    /// copied instead. Either way `destination` is never half a file. Only its owner may read the file (mode 0600). When that
    /// fails, the local copy goes with this object, unless a clone of it is kept.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidObject`] when the object was not downloaded; [`ErrorKind::Io`] or
    /// [`ErrorKind::InsufficientDiskSpace`] when the file cannot be moved.
    ///
    /// # Cancel safety
    ///
    /// Once begun, the move ends also when the future is dropped.
    pub async fn persist(self, destination: impl Into<PathBuf>) -> Result<()> {
        let destination = destination.into();
        let (file, facts) = (Arc::clone(self.file()?), Arc::clone(&self.facts));
        drop(self);
        let persisted = file.persist(destination).await;
        persisted.map_err(|error| error.with_operation("persist", Some(facts.url.clone())))
    }

    fn file(&self) -> Result<&Arc<FileLease>> {
        self.file
            .as_ref()
            .ok_or_else(|| Error::new(ErrorKind::InvalidObject, format!("{} was not downloaded", self.facts.url)))
    }
}

impl fmt::Debug for S3Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { index, facts, file, reported: _ } = self;
        f.debug_struct("S3Object")
            .field("url", &facts.url)
            .field("index", index)
            .field("size", &facts.size)
            .field("path", &file.as_deref().map(FileLease::path))
            .finish_non_exhaustive()
    }
}

/// A time as it is serialised: in UTC, as RFC 3339 has it.
pub(crate) fn rfc3339(time: SystemTime) -> String {
    DateTime::<Utc>::from(time).to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

impl Serialize for S3Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Written<'a> {
            index: usize,
            url: &'a str,
            key: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            prefix: Option<&'a str>,
            exists: bool,
            downloaded: bool,
            #[serde(skip_serializing_if = "Option::is_none")]
            path: Option<&'a Path>,
            #[serde(skip_serializing_if = "Option::is_none")]
            size: Option<u64>,
            #[serde(skip_serializing_if = "Option::is_none")]
            etag: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            last_modified: Option<String>,
            #[serde(skip_serializing_if = "Option::is_none")]
            version_id: Option<&'a str>,
            has_info: bool,
            #[serde(skip_serializing_if = "Option::is_none")]
            content_type: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            cache_control: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            content_disposition: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            content_encoding: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            content_language: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            metadata: Option<&'a Map<String, Value>>,
            #[serde(skip_serializing_if = "Option::is_none")]
            encryption: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            range_info: Option<RangeInfo>,
        }

        let written = Written {
            index: self.index(),
            url: self.url(),
            key: self.key(),
            prefix: self.prefix(),
            exists: self.exists(),
            downloaded: self.downloaded(),
            path: self.path(),
            size: self.size(),
            etag: self.etag(),
            last_modified: self.last_modified().map(rfc3339),
            version_id: self.version_id(),
            has_info: self.has_info(),
            content_type: self.content_type(),
            cache_control: self.cache_control(),
            content_disposition: self.content_disposition(),
            content_encoding: self.content_encoding(),
            content_language: self.content_language(),
            metadata: self.metadata(),
            encryption: self.encryption(),
            range_info: self.range_info(),
        };
        written.serialize(serializer)
    }
}
