//! One shard: each of its objects copied, with a line for each in the outcome.

use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crc_fast::{CrcAlgorithm, Digest};
use futures::{StreamExt as _, TryStreamExt as _};
use s3flow::{Put, PutOutcome, PutValue, S3, S3GetObject, S3Object};
use serde::{Deserialize, Serialize};
use tokio_util::task::AbortOnDropHandle;

use crate::error::{Error, Result};
use crate::job::{Job, Task};

/// A line of an outcome and of the manifest: one object and its copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    pub source: String,
    pub destination: String,
    /// In bytes.
    pub size: u64,
    /// Of the copy.
    pub etag: String,
    /// CRC-64/NVME of the bytes that were read, in base64 as `x-amz-checksum-crc64nvme` has it.
    pub crc64nvme: String,
}

/// What became of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copied {
    /// Its outcome is ours.
    Now { objects: u64, bytes: u64 },
    /// It had an outcome before it was begun.
    Before,
    /// Somebody else's outcome came while this one was made, and stays.
    Late,
}

/// Copies a shard with so many objects at a time, and stores its outcome, unless it has one.
///
/// Whoever does a shard a second time, or while another does, changes nothing that is there: neither a copy nor the outcome.
///
/// # Errors
///
/// When the destination has other bytes than the source. Those of S3. There is no outcome then.
///
/// # Cancel safety
///
/// Dropping the future ends its requests. There is no outcome then, and copies that are there stay.
pub async fn copy_shard(job: &Job, task: &Task, concurrency: usize) -> Result<Copied> {
    let outcome = job.outcome_url(&task.name());
    if job.s3().exists(&outcome).await? {
        return Ok(Copied::Before);
    }
    let mut manifest = job.s3().write_manifest(outcome).overwrite(false);
    let listing = job.s3().list_shard(task.shard()).ordered(true).map_err(Error::from);
    let copies = listing.map(|object| {
        let (s3, task) = (job.s3().clone(), task.clone());
        // Of its own, so that it runs on while those before it are awaited.
        AbortOnDropHandle::new(tokio::spawn(async move { copy_object(&s3, &task, &object?).await }))
    });
    let mut lines = copies.buffered(concurrency);
    let (mut objects, mut bytes) = (0, 0);
    while let Some(line) = lines.next().await {
        let line = line.map_err(|error| Error::refused(format!("a copy ended: {error}")))??;
        manifest.write(&line).await?;
        objects += 1;
        bytes += line.size;
    }
    match manifest.finish().await?.outcome() {
        PutOutcome::AlreadyExists => Ok(Copied::Late),
        _ => Ok(Copied::Now { objects, bytes }),
    }
}

/// Reads an object and stores what was read. A copy inside the server would be one request, but the checksum then somebody
/// else's word: here it is of the bytes that came. They were compared with the source's own checksum, and the server compares
/// what it stores with theirs.
async fn copy_object(s3: &S3, task: &Task, object: &S3Object) -> Result<Line> {
    let target = task.target(object.url())?;
    let mut stream = s3.get(object).stream();
    let found = stream.object().await?.clone();
    let size = found.size().unwrap_or_default();
    let digest = Arc::new(Mutex::new(Digest::new(CrcAlgorithm::Crc64Nvme)));
    let passing = Arc::clone(&digest);
    let value = PutValue::stream(stream.inspect_ok(move |bytes| update(&passing, bytes))).with_length(size);
    // What is there stays: a worker that was taken for dead may be late by any time.
    let receipt = like(s3.put(target.as_str(), value), &found).overwrite(false).await?;
    let (etag, crc64nvme) = match receipt.outcome() {
        PutOutcome::AlreadyExists => same(s3, object, &target).await?,
        _ => (receipt.etag().map(str::to_owned), told(&digest)),
    };
    let etag = etag.ok_or_else(|| Error::refused(format!("{target} has no ETag")))?;
    Ok(Line { source: object.url().to_owned(), destination: target, size, etag, crc64nvme })
}

/// The ETag and the checksum of a copy that was there, of the same bytes as the source.
async fn same(s3: &S3, source: &S3Object, target: &str) -> Result<(Option<String>, String)> {
    let ((_, of_source), (copy, of_copy)) =
        futures::try_join!(read(s3, source.into()), read(s3, S3GetObject::new(target)))?;
    if of_copy != of_source {
        return Err(Error::refused(format!("{target} has other bytes than {}, and stays as it is", source.url())));
    }
    Ok((copy.etag().map(str::to_owned), of_copy))
}

async fn read(s3: &S3, object: S3GetObject) -> Result<(S3Object, String)> {
    let mut stream = s3.get(object).stream();
    let found = stream.object().await?.clone();
    let digest = Mutex::new(Digest::new(CrcAlgorithm::Crc64Nvme));
    while let Some(bytes) = stream.try_next().await? {
        update(&digest, &bytes);
    }
    Ok((found, told(&digest)))
}

fn update(digest: &Mutex<Digest>, bytes: &[u8]) {
    digest.lock().unwrap_or_else(PoisonError::into_inner).update(bytes);
}

fn told(digest: &Mutex<Digest>) -> String {
    STANDARD.encode(digest.lock().unwrap_or_else(PoisonError::into_inner).finalize().to_be_bytes())
}

/// With what is stored beside the bytes. Tags, storage class and encryption are those of a new object.
fn like(mut put: Put, found: &S3Object) -> Put {
    type Setter = fn(Put, &str) -> Put;
    let headers: [(Option<&str>, Setter); 5] = [
        (found.content_type(), |put, value| put.content_type(value)),
        (found.cache_control(), |put, value| put.cache_control(value)),
        (found.content_disposition(), |put, value| put.content_disposition(value)),
        (found.content_encoding(), |put, value| put.content_encoding(value)),
        (found.content_language(), |put, value| put.content_language(value)),
    ];
    for (value, set) in headers {
        put = value.into_iter().fold(put, set);
    }
    found.metadata().cloned().into_iter().fold(put, Put::metadata)
}
