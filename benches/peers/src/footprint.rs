//! One large transfer, or many small requests: the memory that it takes.

use std::io::{Read as _, Write as _};
use std::path::Path;

use futures::{StreamExt as _, TryStreamExt as _};
use s3flow::PutValue;
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::clients::s3flow_scope;
use crate::content::{Content, key};
use crate::process::print;
use crate::server::Target;
use crate::usage::{Spent, Stopwatch, memory};

/// What a stream yields at a time, in bytes.
const CHUNK: u64 = 64 * 1024;

#[derive(Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) target: Target,
    /// Bytes of the object, or objects.
    pub(crate) amount: u64,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Report {
    /// Bytes in memory with the client made and nothing sent.
    pub(crate) idle: u64,
    /// The most bytes in memory until it was done.
    pub(crate) peak: u64,
    pub(crate) spent: Spent,
}

pub(crate) async fn get_one(job: Job) -> Result<()> {
    print(&tokio::spawn(measure_get(job)).await??)
}

pub(crate) async fn put_file(job: Job) -> Result<()> {
    print(&tokio::spawn(measure_put_file(job)).await??)
}

pub(crate) async fn put_stream(job: Job) -> Result<()> {
    print(&tokio::spawn(measure_put(job)).await??)
}

pub(crate) async fn info_many(job: Job) -> Result<()> {
    print(&tokio::spawn(measure_info(job)).await??)
}

async fn measure_get(job: Job) -> Result<Report> {
    let s3 = s3flow_scope(&job.target)?;
    let idle = memory("VmRSS")?;
    let watch = Stopwatch::start()?;
    let object = s3.get(key(0)).await?;
    let spent = watch.stop()?;
    let peak = memory("VmHWM")?;
    let path = object.path().ok_or("no file")?.to_owned();
    tokio::task::spawn_blocking(move || check(&path, job.amount)).await??;
    drop(object);
    s3.close().await?;
    Ok(Report { idle, peak, spent })
}

async fn measure_put_file(job: Job) -> Result<Report> {
    let file = tempfile::NamedTempFile::new()?;
    let (path, size) = (file.path().to_owned(), job.amount);
    tokio::task::spawn_blocking(move || write(&path, size)).await??;
    let s3 = s3flow_scope(&job.target)?;
    let idle = memory("VmRSS")?;
    let watch = Stopwatch::start()?;
    s3.put(key(0), PutValue::file(file.path())).await?;
    let spent = watch.stop()?;
    Ok(Report { idle, peak: memory("VmHWM")?, spent })
}

/// Of a stream that does not say how long it is.
async fn measure_put(job: Job) -> Result<Report> {
    let s3 = s3flow_scope(&job.target)?;
    let idle = memory("VmRSS")?;
    let watch = Stopwatch::start()?;
    let mut content = Content::of(0);
    let mut rest = job.amount;
    let chunks = std::iter::from_fn(move || {
        let length = rest.min(CHUNK);
        rest -= length;
        let mut chunk = vec![0; usize::try_from(length).ok()?];
        content.fill(&mut chunk);
        (length > 0).then_some(Ok::<_, std::io::Error>(chunk))
    });
    s3.put(key(0), PutValue::stream(futures::stream::iter(chunks))).await?;
    let spent = watch.stop()?;
    let peak = memory("VmHWM")?;
    match s3.info(key(0)).await?.size() {
        Some(size) if size == job.amount => Ok(Report { idle, peak, spent }),
        size => Err(format!("the object has {size:?} bytes").into()),
    }
}

async fn measure_info(job: Job) -> Result<Report> {
    let s3 = s3flow_scope(&job.target)?;
    let idle = memory("VmRSS")?;
    let watch = Stopwatch::start()?;
    let keys = futures::stream::iter(0..job.amount).map(key);
    let found = s3.info_from(keys).try_fold(0, async |found, object| Ok(found + u64::from(object.exists()))).await?;
    let spent = watch.stop()?;
    let peak = memory("VmHWM")?;
    if found != job.amount {
        return Err(format!("{found} objects of {}", job.amount).into());
    }
    Ok(Report { idle, peak, spent })
}

pub(crate) fn write(path: &Path, size: u64) -> Result<()> {
    let mut file = std::fs::File::create(path)?;
    let mut content = Content::of(0);
    let mut piece = vec![0; 1 << 20];
    let mut rest = size;
    while rest > 0 {
        let length = usize::try_from(rest)?.min(piece.len());
        content.fill(&mut piece[..length]);
        file.write_all(&piece[..length])?;
        rest -= length as u64;
    }
    Ok(())
}

fn check(path: &Path, size: u64) -> Result<()> {
    let mut file = std::fs::File::open(path)?;
    let mut content = Content::of(0);
    let (mut found, mut wanted) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    let mut rest = size;
    while rest > 0 {
        let length = usize::try_from(rest)?.min(found.len());
        file.read_exact(&mut found[..length])?;
        content.fill(&mut wanted[..length]);
        if found[..length] != wanted[..length] {
            return Err(format!("other bytes in the {rest} at the end").into());
        }
        rest -= length as u64;
    }
    match file.read(&mut found)? {
        0 => Ok(()),
        _ => Err("more bytes than the object has".into()),
    }
}
