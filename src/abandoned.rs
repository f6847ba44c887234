//! An upload that nobody finished, as plain data.

use std::time::SystemTime;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Serialize, Serializer};

use crate::address::{Address, Location};
use crate::store::ListedUpload;

/// A multipart upload that was neither completed nor aborted. Of [`S3::abandoned_uploads`](crate::S3::abandoned_uploads).
///
/// It can be serialised: under the names of the methods, with `initiated` in UTC as RFC 3339 has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AbandonedUpload {
    index: usize,
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    prefix: Option<String>,
    url: String,
    upload_id: String,
    #[serde(serialize_with = "rfc3339")]
    initiated: SystemTime,
    #[serde(skip_serializing_if = "Option::is_none")]
    storage_class: Option<String>,
    #[serde(skip)]
    location: Location,
}

impl AbandonedUpload {
    pub(crate) fn new(index: usize, address: Address, upload: ListedUpload) -> Self {
        let Address { location, prefix, key } = address;
        let ListedUpload { key: _, id, initiated, storage_class } = upload;
        let prefix = prefix.map(|prefix| prefix.to_string());
        Self { index, key, prefix, url: location.url(), upload_id: id, initiated, storage_class, location }
    }

    pub(crate) fn location(&self) -> &Location {
        &self.location
    }

    /// The key that the object would have, relative to [`prefix`](Self::prefix); its URL when it is exactly what was asked for.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The URL of the prefix that was asked for; `None` when the upload is to exactly that name.
    #[must_use]
    pub fn prefix(&self) -> Option<&str> {
        self.prefix.as_deref()
    }

    /// Where the object would be, `s3://bucket/key`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The server's name of the upload. A key may have several.
    #[must_use]
    pub fn upload_id(&self) -> &str {
        &self.upload_id
    }

    /// When it was begun, by the server's clock.
    #[must_use]
    pub fn initiated(&self) -> SystemTime {
        self.initiated
    }

    /// The storage class that the object would have and that the parts are paid for in, when the server tells it.
    #[must_use]
    pub fn storage_class(&self) -> Option<&str> {
        self.storage_class.as_deref()
    }

    /// Which prefix of the question it belongs to, counted from 0.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }
}

fn rfc3339<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&DateTime::<Utc>::from(*time).to_rfc3339_opts(SecondsFormat::AutoSi, true))
}
