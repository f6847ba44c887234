//! What users get back from what stores and deletes, as plain data.

use serde::Serialize;

use crate::address::Address;
use crate::observe::{Report, Reported};
use crate::store::{Deleted, Stored};

/// How a put or a copy ended. What its [receipt](PutReceipt::outcome) says was so: it is looked up where an answer was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PutOutcome {
    /// There was no object, and this put stored one: with [`overwrite(false)`](crate::Put::overwrite).
    Created,
    /// This put stored its object in place of the one that it named: with [`if_match`](crate::Put::if_match).
    Replaced,
    /// There is an object, and it is not of this put: with [`overwrite(false)`](crate::Put::overwrite).
    AlreadyExists,
    /// An earlier call with the same [journal](crate::Put::journal) has stored it, and this one has sent nothing: the object is
    /// still the one that was stored then, and the file what it was.
    AlreadyStored,
    /// It is stored; nobody knows whether there was an object before. Without a condition, and of a copy.
    Stored,
}

/// What a put or a copy did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PutReceipt {
    index: usize,
    key: String,
    url: String,
    uploaded: bool,
    outcome: PutOutcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version_id: Option<String>,
    #[serde(skip)]
    reported: Reported,
}

impl PutReceipt {
    /// `stored` is what the server said of the object, if this put stored it.
    pub(crate) fn new(
        index: usize,
        address: Address,
        outcome: PutOutcome,
        stored: Option<Stored>,
        reported: Reported,
    ) -> Self {
        let Stored { etag, version_id } = stored.unwrap_or_default();
        let uploaded = outcome != PutOutcome::AlreadyExists;
        Self { index, url: address.location.url(), key: address.key, uploaded, outcome, etag, version_id, reported }
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

    /// Whether this put stored the object, now or in an earlier call with the same journal. `false` only with `overwrite(false)`, when the key existed:
    /// [`PutOutcome::AlreadyExists`].
    #[must_use]
    pub fn uploaded(&self) -> bool {
        self.uploaded
    }

    /// What the put did.
    ///
    /// ```
    /// # async fn example(s3: s3flow::S3) -> s3flow::Result<()> {
    /// use s3flow::PutOutcome;
    ///
    /// let leader = s3.put("leader", "me").overwrite(false).await?;
    /// if leader.outcome() == PutOutcome::Created {
    ///     println!("it is us");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn outcome(&self) -> PutOutcome {
        self.outcome
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

    /// What it took: requests, and for what it waited.
    #[must_use]
    pub fn report(&self) -> Option<Report> {
        self.reported.report()
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
    #[serde(skip)]
    reported: Reported,
}

impl DeleteReceipt {
    pub(crate) fn new(index: usize, address: Address, deleted: Deleted, reported: Reported) -> Self {
        let Deleted { version_id, delete_marker } = deleted;
        Self { index, url: address.location.url(), key: address.key, version_id, delete_marker, reported }
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

    /// What it took: requests, and for what it waited. Objects that were deleted by one request have the same.
    #[must_use]
    pub fn report(&self) -> Option<Report> {
        self.reported.report()
    }

    /// Which input of the operation this belongs to, counted from 0.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }
}
