//! One large GET: the memory that it takes.

use std::io::Read as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::clients::s3flow_scope;
use crate::content::{Content, key};
use crate::process::print;
use crate::server::Target;
use crate::usage::{Spent, Stopwatch, memory};

#[derive(Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) target: Target,
    pub(crate) size: u64,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Report {
    /// Bytes in memory with the client made and nothing sent.
    pub(crate) idle: u64,
    /// The most bytes in memory until the object had come.
    pub(crate) peak: u64,
    pub(crate) get: Spent,
}

pub(crate) async fn get_one(job: Job) -> Result<()> {
    print(&tokio::spawn(measure(job)).await??)
}

async fn measure(job: Job) -> Result<Report> {
    let s3 = s3flow_scope(&job.target)?;
    let idle = memory("VmRSS")?;
    let watch = Stopwatch::start()?;
    let object = s3.get(key(0)).await?;
    let get = watch.stop()?;
    let peak = memory("VmHWM")?;
    let path = object.path().ok_or("no file")?.to_owned();
    tokio::task::spawn_blocking(move || check(&path, job.size)).await??;
    drop(object);
    s3.close().await?;
    Ok(Report { idle, peak, get })
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
