//! Many GETs, by each of the clients as its users write it.

use std::path::PathBuf;

use bytes::Bytes;
use clap::ValueEnum;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::ObjectStoreExt as _;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use s3flow::{Client, ClientBuilder, S3};
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::content::{Content, key};
use crate::process::print;
use crate::server::{Objects, Target};
use crate::usage::{Cpu, Spent, Stopwatch};

#[derive(Clone, Copy, PartialEq, ValueEnum, Serialize, Deserialize)]
pub(crate) enum Kind {
    S3flow,
    ObjectStoreFiles,
    ObjectStoreMemory,
}

#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) kind: Kind,
    pub(crate) target: Target,
    pub(crate) objects: Objects,
    pub(crate) concurrency: usize,
    /// Whether every byte is compared, which is no part of what a measured client does.
    pub(crate) check: bool,
}

#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Report {
    /// From the start of the process until one object has come, which brought up all that a client makes once.
    pub(crate) setup: Cpu,
    pub(crate) gets: Spent,
}

pub(crate) async fn get_many(job: Job) -> Result<()> {
    // In a task, where a service's handlers run too: the thread that blocks on the runtime is none of its workers.
    print(&tokio::spawn(measure(job)).await??)
}

async fn measure(job: Job) -> Result<Report> {
    match job.kind {
        Kind::S3flow => {
            let s3 = s3flow_scope(&job.target)?;
            check(&job, 0, &s3.get(key(0)).await?.blob().await?)?;
            let setup = Cpu::so_far()?;
            let watch = Stopwatch::start()?;
            s3flow_files(&job, &s3).await?;
            Ok(Report { setup, gets: watch.stop()? })
        }
        Kind::ObjectStoreFiles | Kind::ObjectStoreMemory => {
            let store = object_store(&job.target)?;
            check(&job, 0, &store.get(&Path::parse(key(0))?).await?.bytes().await?)?;
            let setup = Cpu::so_far()?;
            let watch = Stopwatch::start()?;
            match job.kind {
                Kind::ObjectStoreFiles => object_store_files(&job, &store).await?,
                _ => object_store_memory(&job, &store).await?,
            }
            Ok(Report { setup, gets: watch.stop()? })
        }
    }
}

pub(crate) fn s3flow_client(target: &Target) -> ClientBuilder {
    Client::builder()
        .endpoint(&target.endpoint)
        .region(&target.region)
        .credentials(target.credentials())
        .tmproot(std::env::temp_dir())
}

pub(crate) fn s3flow_scope(target: &Target) -> Result<S3> {
    let client = s3flow_client(target).build()?;
    Ok(client.s3().s3root(format!("s3://{}", target.bucket)).build()?)
}

fn object_store(target: &Target) -> Result<AmazonS3> {
    Ok(AmazonS3Builder::new()
        .with_endpoint(&target.endpoint)
        .with_allow_http(true)
        .with_region(&target.region)
        .with_bucket_name(&target.bucket)
        .with_access_key_id(&target.access_key_id)
        .with_secret_access_key(&target.secret_access_key)
        .build()?)
}

/// Files in the scope's directory, dropped as they come.
async fn s3flow_files(job: &Job, s3: &S3) -> Result<()> {
    let mut objects = s3.get_many((0..job.objects.objects).map(key)).concurrency(job.concurrency);
    let mut count = 0;
    while let Some(object) = objects.try_next().await? {
        if object.size() != Some(job.objects.size) {
            return Err(format!("{} has {:?} bytes", object.key(), object.size()).into());
        }
        if job.check {
            check(job, object.index() as u64, &object.blob().await?)?;
        }
        count += 1;
    }
    s3.close().await?;
    all(job, count)
}

/// Files in a temporary directory, which is removed in the end: as the other client, this leaves nothing behind.
async fn object_store_files(job: &Job, store: &AmazonS3) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let count = futures::stream::iter(0..job.objects.objects)
        .map(|index| object_store_file(job, store, index, directory.path().join(format!("{index:08}.bin"))))
        .buffer_unordered(job.concurrency)
        .try_fold(0, async |count, ()| Ok(count + 1))
        .await?;
    tokio::task::spawn_blocking(|| directory.close()).await??;
    all(job, count)
}

async fn object_store_file(job: &Job, store: &AmazonS3, index: u64, path: PathBuf) -> Result<()> {
    let bytes = object_store_bytes(job, store, index).await?;
    // One `spawn_blocking` that opens, writes and closes.
    tokio::fs::write(&path, bytes).await?;
    match job.check {
        true => check(job, index, &tokio::fs::read(&path).await?),
        false => Ok(()),
    }
}

async fn object_store_memory(job: &Job, store: &AmazonS3) -> Result<()> {
    let count = futures::stream::iter(0..job.objects.objects)
        .map(|index| object_store_bytes(job, store, index))
        .buffer_unordered(job.concurrency)
        .try_fold(0, async |count, _| Ok(count + 1))
        .await?;
    all(job, count)
}

async fn object_store_bytes(job: &Job, store: &AmazonS3, index: u64) -> Result<Bytes> {
    let bytes = store.get(&Path::parse(key(index))?).await?.bytes().await?;
    if bytes.len() as u64 != job.objects.size {
        return Err(format!("{} has {} bytes", key(index), bytes.len()).into());
    }
    if job.check {
        check(job, index, &bytes)?;
    }
    Ok(bytes)
}

fn check(job: &Job, index: u64, bytes: &[u8]) -> Result<()> {
    match bytes == Content::whole(index, job.objects.size)? {
        true => Ok(()),
        false => Err(format!("{} has other bytes", key(index)).into()),
    }
}

fn all(job: &Job, count: u64) -> Result<()> {
    match count == job.objects.objects {
        true => Ok(()),
        false => Err(format!("{count} objects of {}", job.objects.objects).into()),
    }
}
