//! What users get back, as plain data and files.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::address::Address;
use crate::error::{Error, ErrorKind, Result};
use crate::metadata;
use crate::scope::FileLease;
use crate::store::{Deleted, ListedObject, ObjectHead, Stored};

/// An object in S3, and, after a get, its local copy.
///
/// Cheap to clone. The file of a downloaded object lives as long as any clone of it, and never longer than the scope (the
/// [`S3`](crate::S3) handle) that made it: it is removed when the last clone is dropped, or by
/// [`S3::close`](crate::S3::close). [`keep`](Self::keep) leaves it to the scope, [`persist`](Self::persist) moves it out.
///
/// Which properties are known depends on where the object comes from:
///
/// | from | `exists` | `size`, `etag`, `last_modified` | `content_type`, `metadata`, `encryption`, `range_info` | `path` |
/// |---|---|---|---|---|
/// | a get | yes | yes | yes, unless `return_info(false)` | yes |
/// | an info | yes | yes | yes | no |
/// | a listing | yes | yes | no | no |
/// | a missing key | no | no | no | no |
#[derive(Clone)]
pub struct S3Object {
    index: usize,
    facts: Arc<Facts>,
    file: Option<Arc<FileLease>>,
}

#[derive(Debug)]
struct Facts {
    address: Address,
    url: String,
    size: Option<u64>,
    etag: Option<String>,
    last_modified: Option<SystemTime>,
    version_id: Option<String>,
    info: Option<Info>,
}

impl Facts {
    fn unknown(address: Address) -> Self {
        let url = address.location.url();
        Self { address, url, size: None, etag: None, last_modified: None, version_id: None, info: None }
    }
}

#[derive(Debug)]
struct Info {
    content_type: Option<String>,
    metadata: Option<Map<String, Value>>,
    encryption: Option<String>,
    range: RangeInfo,
}

/// Which bytes of an object were fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
        Self { index, facts: Arc::new(Facts::unknown(address)), file: None }
    }

    pub(crate) fn listed(index: usize, address: Address, object: ListedObject) -> Self {
        let ListedObject { key: _, size, etag, last_modified } = object;
        let facts = Facts { size: Some(size), etag, last_modified, ..Facts::unknown(address) };
        Self { index, facts: Arc::new(facts), file: None }
    }

    /// With `range`, the object has its info; with `file`, its local copy.
    pub(crate) fn found(
        index: usize,
        address: Address,
        head: ObjectHead,
        range: Option<RangeInfo>,
        file: Option<FileLease>,
    ) -> Self {
        let ObjectHead { size, range: _, etag, last_modified, content_type, attributes, encryption, version_id } = head;
        let metadata = attributes.as_deref().and_then(metadata::decode);
        let info = range.map(|range| Info { content_type, metadata, encryption, range });
        let facts = Facts { size: Some(size), etag, last_modified, version_id, info, ..Facts::unknown(address) };
        Self { index, facts: Arc::new(facts), file: file.map(Arc::new) }
    }

    pub(crate) fn address(&self) -> &Address {
        &self.facts.address
    }

    /// Whether the object was there. `false` only for a missing key with `return_missing(true)`.
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
    /// listed, give the object itself to a get.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.facts.address.key
    }

    /// The URL below which [`key`](Self::key) was found: the scope's root, or for a listing the prefix asked for.
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

    /// The user metadata, as s3flow or Metaflow stored it.
    #[must_use]
    pub fn metadata(&self) -> Option<&Map<String, Value>> {
        self.facts.info.as_ref()?.metadata.as_ref()
    }

    /// The server-side encryption as S3 reports it: `AES256` or `aws:kms`.
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

    /// Which input of the operation this belongs to, counted from 0.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
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
        self.file()?.read().await
    }

    /// The local copy as UTF-8; what is not valid is replaced by U+FFFD, as in Metaflow.
    ///
    /// # Errors
    ///
    /// As [`blob`](Self::blob).
    ///
    /// # Cancel safety
    ///
    /// Safe: nothing is changed.
    pub async fn text(&self) -> Result<String> {
        let bytes = self.blob().await?;
        Ok(String::from_utf8(bytes).unwrap_or_else(|invalid| String::from_utf8_lossy(invalid.as_bytes()).into_owned()))
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
        let file = Arc::clone(self.file()?);
        drop(self);
        file.persist(destination).await
    }

    fn file(&self) -> Result<&Arc<FileLease>> {
        self.file
            .as_ref()
            .ok_or_else(|| Error::new(ErrorKind::InvalidObject, format!("{} was not downloaded", self.facts.url)))
    }
}

impl fmt::Debug for S3Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { index, facts, file } = self;
        f.debug_struct("S3Object")
            .field("url", &facts.url)
            .field("index", index)
            .field("size", &facts.size)
            .field("path", &file.as_deref().map(FileLease::path))
            .finish_non_exhaustive()
    }
}

/// What a put or a copy did.
#[derive(Debug, Clone)]
pub struct PutReceipt {
    index: usize,
    address: Address,
    url: String,
    uploaded: bool,
    etag: Option<String>,
    version_id: Option<String>,
}

impl PutReceipt {
    pub(crate) fn stored(index: usize, address: Address, stored: Stored) -> Self {
        let Stored { etag, version_id } = stored;
        Self { etag, version_id, uploaded: true, ..Self::existed(index, address) }
    }

    pub(crate) fn existed(index: usize, address: Address) -> Self {
        let url = address.location.url();
        Self { index, url, address, uploaded: false, etag: None, version_id: None }
    }

    /// The key as it was given, without the slashes in front; of an empty one, the URL of the root.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.address.key
    }

    /// The full location, `s3://bucket/key`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Whether this put stored the object. `false` only with `overwrite(false)`, when the key existed.
    #[must_use]
    pub fn uploaded(&self) -> bool {
        self.uploaded
    }

    /// The ETag of what was stored, in its quotes.
    #[must_use]
    pub fn etag(&self) -> Option<&str> {
        self.etag.as_deref()
    }

    /// The version that was stored, in a bucket that keeps versions.
    #[must_use]
    pub fn version_id(&self) -> Option<&str> {
        self.version_id.as_deref()
    }

    /// Which input of the operation this belongs to, counted from 0.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }
}

/// What a delete did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeleteReceipt {
    index: usize,
    key: String,
    url: String,
    version_id: Option<String>,
    delete_marker: bool,
}

impl DeleteReceipt {
    pub(crate) fn new(index: usize, address: Address, deleted: Deleted) -> Self {
        let Deleted { version_id, delete_marker } = deleted;
        Self { index, url: address.location.url(), key: address.key, version_id, delete_marker }
    }

    /// The key as it was given, without the slashes in front; of an empty one, the URL of the root.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The full location, `s3://bucket/key`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// In a bucket that keeps versions, the version of the delete marker that now stands for the object.
    #[must_use]
    pub fn version_id(&self) -> Option<&str> {
        self.version_id.as_deref()
    }

    /// Whether the bucket keeps versions, so that a delete marker was put in front of them and nothing was removed.
    #[must_use]
    pub fn delete_marker(&self) -> bool {
        self.delete_marker
    }

    /// Which input of the operation this belongs to, counted from 0.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }
}
