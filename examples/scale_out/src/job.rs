//! What is to be done and what was: the plan of a job and its outcomes, all of it in S3.

use std::collections::HashSet;

use futures::TryStreamExt as _;
use s3flow::{Client, ErrorKind, RetryPolicy, S3, Shard};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Of [`Task`].
const VERSION: u32 = 1;

/// A part of a job, whole in itself: a worker needs nothing else to carry it out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    version: u32,
    /// Where the job is, as `s3://bucket/dir/`.
    job: String,
    /// Where objects are copied to, as `s3://bucket/dir/`.
    destination: String,
    shard: Shard,
}

impl Task {
    /// From JSON.
    ///
    /// # Errors
    ///
    /// When it is damaged, or of another version of this format; the error names the field.
    pub fn parse(json: &[u8]) -> Result<Self> {
        let task: Self =
            serde_json::from_slice(json).map_err(|error| Error::refused(format!("not a task: {error}")))?;
        task.check()?;
        Ok(task)
    }

    fn check(&self) -> Result<()> {
        if self.version != VERSION {
            let found = self.version;
            return Err(Error::refused(format!("a task's version: {found}, where {VERSION} is understood")));
        }
        places(self.shard.prefix(), &self.destination, &self.job)
    }

    #[must_use]
    pub fn job(&self) -> &str {
        &self.job
    }

    #[must_use]
    pub fn shard(&self) -> &Shard {
        &self.shard
    }

    #[must_use]
    pub fn name(&self) -> String {
        self.shard.name()
    }

    #[must_use]
    pub fn source(&self) -> &str {
        self.shard.prefix()
    }

    #[must_use]
    pub fn destination(&self) -> &str {
        &self.destination
    }

    /// Where the copy of an object of the shard is.
    ///
    /// # Errors
    ///
    /// When the object is not one of the source.
    pub(crate) fn target(&self, url: &str) -> Result<String> {
        let key = url.strip_prefix(self.source());
        let key = key.ok_or_else(|| Error::refused(format!("{url} is not below {}", self.source())))?;
        Ok(format!("{}{key}", self.destination))
    }
}

/// Refuses what is not a directory of a bucket.
fn place(what: &str, url: &str) -> Result<()> {
    let bucket = url.strip_prefix("s3://").and_then(|place| place.split_once('/'));
    if !url.ends_with('/') || bucket.is_none_or(|(bucket, _)| bucket.is_empty()) {
        return Err(Error::refused(format!("the {what} has to be s3://bucket/dir/: {url:?}")));
    }
    Ok(())
}

/// Refuses places of which one holds another: a copy would be copied again.
fn places(source: &str, destination: &str, job: &str) -> Result<()> {
    let named = [("source", source), ("destination", destination), ("job", job)];
    named.into_iter().try_for_each(|(what, url)| place(what, url))?;
    for (index, (what, url)) in named.into_iter().enumerate() {
        for (other, within) in named.into_iter().skip(index + 1) {
            if url.starts_with(within) || within.starts_with(url) {
                return Err(Error::refused(format!("the {what} and the {other} are not apart: {url} and {within}")));
            }
        }
    }
    Ok(())
}

fn directory(url: &str) -> String {
    if url.ends_with('/') { url.to_owned() } else { format!("{url}/") }
}

/// Why a shard was given up.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Failure {
    pub shard: String,
    pub error: String,
}

/// A job: a place in S3 with its plan, the outcome of each shard, and in the end the manifest of all.
#[derive(Debug, Clone)]
pub struct Job {
    s3: S3,
    /// With a slash at its end.
    place: String,
}

/// How far a job is.
#[derive(Debug)]
pub struct State<'a> {
    /// In the order of the plan. Those that were given up are among them.
    pub missing: Vec<&'a Task>,
    pub failed: HashSet<String>,
}

impl State<'_> {
    /// Whether no worker will get anything more to do.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.open().next().is_none()
    }

    pub(crate) fn open(&self) -> impl Iterator<Item = &Task> {
        self.missing.iter().copied().filter(|task| !self.failed.contains(&task.name()))
    }
}

impl Job {
    /// Of a scope that takes whole URLs: one without an `s3root`.
    #[must_use]
    pub fn new(s3: S3, place: &str) -> Self {
        Self { s3, place: directory(place) }
    }

    /// With credentials, region and endpoint of the environment, and the patience of a job that runs for hours.
    ///
    /// # Errors
    ///
    /// When they are missing or wrong, or the place is not `s3://bucket/dir/`.
    pub fn from_env(url: &str) -> Result<Self> {
        place("job", &directory(url))?;
        let client = Client::builder().retry_policy(RetryPolicy::batch()).build()?;
        Ok(Self::new(client.s3().build()?, url))
    }

    pub(crate) fn s3(&self) -> &S3 {
        &self.s3
    }

    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    fn plan_url(&self) -> String {
        format!("{}plan.jsonl", self.place)
    }

    /// Where the manifest of all that was copied is, once the job is done.
    #[must_use]
    pub fn manifest_url(&self) -> String {
        format!("{}manifest.jsonl", self.place)
    }

    pub(crate) fn outcome_url(&self, shard: &str) -> String {
        format!("{}outcomes/{shard}.jsonl", self.place)
    }

    fn failure_url(&self, shard: &str) -> String {
        format!("{}failed/{shard}.json", self.place)
    }

    /// Makes the plan, unless there is one: of several that do, one wins, and all go by its plan.
    ///
    /// # Errors
    ///
    /// When the source, the destination and the job are not apart; when there is a plan of other places, or a damaged one; when
    /// the destination has an object before there is a plan; those of S3.
    pub async fn plan(&self, source: &str, destination: &str, shards: usize) -> Result<Vec<Task>> {
        let (source, destination) = (directory(source), directory(destination));
        places(&source, &destination, &self.place)?;
        let plan = match self.stored_plan().await? {
            Some(plan) => plan,
            None => self.make_plan(&source, &destination, shards).await?,
        };
        match plan.first() {
            Some(task) if task.source() != source || task.destination != destination => Err(Error::refused(format!(
                "{} is a plan to copy {} to {}",
                self.plan_url(),
                task.source(),
                task.destination
            ))),
            _ => Ok(plan),
        }
    }

    async fn make_plan(&self, source: &str, destination: &str, shards: usize) -> Result<Vec<Task>> {
        if let Some(object) = self.s3.list_recursive([destination]).try_next().await? {
            return Err(Error::refused(format!("the destination is not empty: {} is there", object.url())));
        }
        let mut manifest = self.s3.write_manifest(self.plan_url()).overwrite(false);
        for shard in self.s3.plan_shards(source, shards).await? {
            let (job, destination) = (self.place.clone(), destination.to_owned());
            manifest.write(&Task { version: VERSION, job, destination, shard }).await?;
        }
        manifest.finish().await?;
        let stored = self.stored_plan().await?;
        stored.ok_or_else(|| Error::refused(format!("{} was removed", self.plan_url())))
    }

    /// The plan, in the order of keys; `None` before there is one.
    ///
    /// # Errors
    ///
    /// When it is damaged: the shards have to be all there, in their order, of this job. Those of S3.
    pub async fn stored_plan(&self) -> Result<Option<Vec<Task>>> {
        let plan = match self.s3.read_manifest::<Task>(self.plan_url()).await {
            Ok(plan) => plan,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let damaged = |what: String| Error::refused(format!("{} is damaged: {what}", self.plan_url()));
        for (index, task) in plan.iter().enumerate() {
            task.check().map_err(|error| damaged(format!("line {}: {error}", index + 1)))?;
            let shard = &task.shard;
            if (shard.number(), shard.of()) != (index, plan.len()) || task.source() != plan[0].source() {
                return Err(damaged(format!("line {} of {} is shard {}", index + 1, plan.len(), task.name())));
            }
            if task.job != self.place || task.destination != plan[0].destination {
                return Err(damaged(format!("line {} is of the job {}", index + 1, task.job)));
            }
        }
        if plan.is_empty() {
            return Err(damaged("it has no line".to_owned()));
        }
        Ok(Some(plan))
    }

    /// Which shards have no outcome, and which were given up.
    ///
    /// # Errors
    ///
    /// Those of S3.
    pub async fn state<'a>(&self, plan: &'a [Task]) -> Result<State<'a>> {
        let (done, failed) = futures::try_join!(self.names("outcomes/", ".jsonl"), self.names("failed/", ".json"))?;
        let missing = plan.iter().filter(|task| !done.contains(&task.name())).collect();
        Ok(State { missing, failed })
    }

    async fn names(&self, directory: &str, ending: &str) -> Result<HashSet<String>> {
        let directory = format!("{}{directory}", self.place);
        let name = |url: &str| Some(url.strip_prefix(&directory)?.strip_suffix(ending)?.to_owned());
        let mut listing = self.s3.list_recursive([&directory]);
        let mut names = HashSet::new();
        while let Some(object) = listing.try_next().await? {
            names.extend(name(object.url()));
        }
        Ok(names)
    }

    /// Writes down that nobody need try a shard again.
    ///
    /// # Errors
    ///
    /// Those of S3.
    pub async fn give_up(&self, failure: &Failure) -> Result<()> {
        let json = serde_json::json!(failure).to_string();
        self.s3.put(self.failure_url(&failure.shard), json).content_type("application/json").await?;
        Ok(())
    }

    /// The first shards that were given up.
    ///
    /// # Errors
    ///
    /// Those of S3.
    pub async fn failures(&self, state: &State<'_>, most: usize) -> Result<Vec<Failure>> {
        let mut names: Vec<_> = state.missing.iter().map(|task| task.name()).collect();
        names.retain(|name| state.failed.contains(name));
        names.truncate(most);
        let mut failures = Vec::new();
        for shard in names {
            let url = self.failure_url(&shard);
            failures.extend(self.s3.read_manifest::<Failure>(url).await?);
        }
        Ok(failures)
    }

    /// So that a job that is started again tries its shards again.
    ///
    /// # Errors
    ///
    /// Those of S3.
    pub async fn forget_failures(&self) -> Result<()> {
        self.s3.delete_from(self.s3.list_recursive([format!("{}failed/", self.place)])).await?;
        Ok(())
    }
}
