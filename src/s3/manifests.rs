//! Manifests: jobs and outcomes as JSON lines.

use serde::de::DeserializeOwned;

use super::S3;
use crate::ops::{ManifestWriter, ReadManifest};
use crate::request::S3GetObject;

impl S3 {
    /// Reads a manifest, an object of JSON lines: a stream of what its lines say, or awaited, a `Vec`.
    ///
    /// It can be given to [`get_from`](Self::get_from), [`info_from`](Self::info_from), [`delete_from`](Self::delete_from) and
    /// [`copy_from`](Self::copy_from) as it is. They read it no further than they need, so that it may have any length.
    ///
    /// ```
    /// # async fn example(s3: s3flow::S3) -> s3flow::Result<()> {
    /// use futures::TryStreamExt;
    /// use s3flow::S3CopyObject;
    ///
    /// let copies = s3.read_manifest::<S3CopyObject>("jobs/copies.jsonl");
    /// let mut receipts = s3.copy_from(copies);
    /// while let Some(receipt) = receipts.try_next().await? {
    ///     println!("{}", receipt.url());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn read_manifest<T: DeserializeOwned + Send + 'static>(
        &self,
        manifest: impl Into<S3GetObject>,
    ) -> ReadManifest<T> {
        ReadManifest::new(self.operation(), manifest.into())
    }

    /// Writes a manifest, an object of JSON lines, line by line. It is stored by [`finish`](ManifestWriter::finish) alone.
    ///
    /// ```
    /// # async fn example(s3: s3flow::S3) -> s3flow::Result<()> {
    /// use futures::TryStreamExt;
    /// use s3flow::ManifestEntry;
    ///
    /// let mut manifest = s3.write_manifest("jobs/inputs.jsonl");
    /// let mut listing = s3.list_recursive(["2026"]);
    /// while let Some(object) = listing.try_next().await? {
    ///     manifest.write(&ManifestEntry::from(object)).await?;
    /// }
    /// println!("{}", manifest.finish().await?.url());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// The outcome of a piece of work that may be done twice has exactly one writer:
    ///
    /// ```
    /// # async fn example(s3: s3flow::S3, outcomes: Vec<s3flow::PutReceipt>) -> s3flow::Result<()> {
    /// use s3flow::PutOutcome;
    ///
    /// let mut manifest = s3.write_manifest("outcomes/00003.jsonl").overwrite(false);
    /// for outcome in &outcomes {
    ///     manifest.write(outcome).await?;
    /// }
    /// if manifest.finish().await?.outcome() == PutOutcome::AlreadyExists {
    ///     println!("another worker was faster");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn write_manifest(&self, key: impl Into<String>) -> ManifestWriter {
        ManifestWriter::new(self.operation(), key.into())
    }
}
