//! What users get back from what stores and deletes, as plain data.

use serde::Serialize;

use crate::address::Address;
use crate::store::{Deleted, Stored};

/// What a put or a copy did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PutReceipt {
    index: usize,
    key: String,
    url: String,
    uploaded: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version_id: Option<String>,
}

impl PutReceipt {
    pub(crate) fn stored(index: usize, address: Address, stored: Stored) -> Self {
        let Stored { etag, version_id } = stored;
        Self { etag, version_id, uploaded: true, ..Self::existed(index, address) }
    }

    pub(crate) fn existed(index: usize, address: Address) -> Self {
        let url = address.location.url();
        Self { index, key: address.key, url, uploaded: false, etag: None, version_id: None }
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
    #[serde(skip_serializing_if = "Option::is_none")]
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
