//! What is divided among workers.

use super::S3;
use crate::ops::{ListRecursive, PlanShards};
use crate::shard::Shard;

impl S3 {
    /// Divides what lies below a prefix into ranges of keys of about equal count, for workers that list them side by side with
    /// [`list_shard`](Self::list_shard): together they have every key exactly once, also those that are stored meanwhile.
    ///
    /// There are as many shards as asked for, or fewer where the keys are too few or too alike to be divided further, and one at least. The plan
    /// takes few requests: see [`PlanShards`].
    ///
    /// A prefix is a directory, as for [`list_recursive`](Self::list_recursive).
    ///
    /// ```
    /// # async fn example(s3: s3flow::S3) -> s3flow::Result<()> {
    /// for shard in s3.plan_shards("2026", 16).await? {
    ///     println!("{}: from {:?} to {:?}", shard.name(), shard.start_after(), shard.end_before());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn plan_shards(&self, prefix: impl Into<String>, shards: usize) -> PlanShards {
        PlanShards::new(self.operation(), prefix.into(), shards)
    }

    /// Lists the objects of a shard, as [`list_recursive`](Self::list_recursive) lists a prefix: as they come or in order, from several places at a
    /// time, with a [`cursor`](ListRecursive::cursor) to go on from in another process, which is of this shard alone.
    /// [`start_after`](ListRecursive::start_after) is relative to the shard's prefix, and what it leaves out is left out of the shard.
    ///
    /// The scope may be another one than that which planned it, if the shard's prefix is its root or below it; else the listing is one
    /// [`Config`](crate::ErrorKind::Config) error, before any request.
    ///
    /// ```
    /// # async fn example(s3: s3flow::S3, shard: s3flow::Shard) -> s3flow::Result<()> {
    /// use futures::TryStreamExt;
    ///
    /// let mut objects = s3.list_shard(&shard);
    /// while let Some(object) = objects.try_next().await? {
    ///     println!("{}", object.url());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn list_shard(&self, shard: &Shard) -> ListRecursive {
        ListRecursive::of_shard(self.operation(), shard)
    }
}
