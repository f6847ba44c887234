//! The outcomes of all shards as one manifest, checked against what is there.

use std::cmp::Ordering;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use s3flow::{ListRecursive, S3Object};
use serde::Serialize;

use crate::copy::Line;
use crate::error::{Error, Result};
use crate::job::{Job, Task};

/// Outcomes that are opened before they are needed.
const AHEAD: usize = 8;

/// What a job has done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    pub manifest: String,
    pub objects: u64,
    pub bytes: u64,
}

impl Job {
    /// Merges the outcomes, in the order of keys, into the manifest, unless there is one. It is stored when every object of the
    /// source has a line, every line an object at the destination with its size and ETag, and neither has any other.
    ///
    /// The memory that it takes does not grow with the number of objects.
    ///
    /// # Errors
    ///
    /// When something is missing, twice or changed: the first one, by its URL. There is no manifest then. Those of S3.
    pub async fn merge(&self, plan: &[Task]) -> Result<Report> {
        match self.merged().await {
            Err(Error::Store(error)) if error.is_not_found() => {}
            merged => return merged,
        }
        let Some(first) = plan.first() else { return Err(Error::refused("a plan without shards")) };
        let listing = |place: &str| Listing::new(self.s3().list_recursive([place]).ordered(true));
        let (mut sources, mut destinations) = (listing(first.source()), listing(first.destination()));
        let mut manifest = self.s3().write_manifest(self.manifest_url()).overwrite(false);
        let outcomes = stream::iter(plan).map(|task| async {
            let outcome = self.outcome_url(&task.name());
            let mut lines = Box::pin(self.s3().read_manifest::<Line>(outcome.as_str()).peekable());
            lines.as_mut().peek().await;
            (outcome, lines)
        });
        let mut outcomes = outcomes.buffered(AHEAD);
        while let Some((outcome, mut lines)) = outcomes.next().await {
            while let Some(line) = lines.try_next().await? {
                let wrong = |what: String| Error::refused(format!("{outcome}: {what}"));
                sources.expect(&line.source, line.size, None).await?.map_err(wrong)?;
                destinations.expect(&line.destination, line.size, Some(&line.etag)).await?.map_err(wrong)?;
                manifest.write(&line).await?;
            }
        }
        for mut listing in [sources, destinations] {
            if let Some(object) = listing.next().await? {
                return Err(Error::refused(format!("{} has no line in any outcome", object.url())));
            }
        }
        manifest.finish().await?;
        self.merged().await
    }

    async fn merged(&self) -> Result<Report> {
        let manifest = self.manifest_url();
        let mut lines = self.s3().read_manifest::<Line>(manifest.as_str());
        let (mut objects, mut bytes) = (0, 0);
        while let Some(line) = lines.try_next().await? {
            objects += 1;
            bytes += line.size;
        }
        Ok(Report { manifest, objects, bytes })
    }
}

/// What is there, in the order of keys.
struct Listing(ListRecursive);

impl Listing {
    fn new(listing: ListRecursive) -> Self {
        Self(listing)
    }

    async fn next(&mut self) -> Result<Option<S3Object>> {
        loop {
            match self.0.try_next().await? {
                // A worker that is killed while it tries whether the server keeps conditions leaves it.
                Some(object) if is_probe(object.url()) => {}
                next => return Ok(next),
            }
        }
    }

    /// Whether the next one is this; if not, what is wrong.
    async fn expect(&mut self, url: &str, size: u64, etag: Option<&str>) -> Result<Result<(), String>> {
        let Some(object) = self.next().await? else { return Ok(Err(format!("{url} is not there"))) };
        Ok(match object.url().cmp(url) {
            Ordering::Less => Err(format!("{} has no line before that of {url}", object.url())),
            Ordering::Greater => Err(format!("{url} is not there, or has two lines")),
            Ordering::Equal if object.size() != Some(size) => Err(format!("{url} has not {size} bytes any more")),
            Ordering::Equal if etag.is_some() && object.etag() != etag => Err(format!("{url} is another object now")),
            Ordering::Equal => Ok(()),
        })
    }
}

fn is_probe(url: &str) -> bool {
    url.rsplit('/').next().is_some_and(|name| name.starts_with(".s3flow-probe-"))
}
