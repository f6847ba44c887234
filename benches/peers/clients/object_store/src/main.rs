//! object_store by hand, over its default transport, reqwest: `buffer_unordered` over single requests, ranges of 16 MiB for a
//! large object, `BufWriter`'s parts for a large upload.

use std::io::SeekFrom;
use std::time::Instant;

use common::{Error, First, Job, Op, Result, print_batches};
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::buffered::BufWriter;
use object_store::path::Path;
use object_store::{ObjectStore as _, ObjectStoreExt as _};
use tokio::fs::File;
use tokio::io::{AsyncSeekExt as _, AsyncWriteExt as _};

const PART: u64 = 16 << 20;

fn main() -> Result<()> {
    common::run(work(Job::from_env()?))
}

async fn work(job: Job) -> Result<()> {
    let store = AmazonS3Builder::new()
        .with_allow_http(true)
        .with_endpoint(&job.endpoint)
        .with_region(&job.region)
        .with_bucket_name(&job.bucket)
        .with_access_key_id(&job.access_key_id)
        .with_secret_access_key(&job.secret_access_key)
        .build()?;
    match job.op {
        Op::Idle => Ok(()),
        Op::Get if job.size > PART => get_large(&job, &store).await,
        Op::Get => get(&job, &store).await,
        Op::Ranges => ranges(&job, &store).await,
        Op::Put if job.size > PART => put_large(&job, &store).await,
        Op::Put => put(&job, &store).await,
        Op::List => list(&job, &store).await,
        Op::Head => head(&job, &store).await,
        Op::Threes => threes(&job, &store).await,
    }
}

fn path(job: &Job, index: u64) -> Result<Path> {
    Ok(Path::parse(job.key(index))?)
}

/// One `spawn_blocking` that opens, writes and closes, by `tokio::fs::write`; what is longer goes to the file as it comes.
async fn get(job: &Job, store: &AmazonS3) -> Result<()> {
    let mut first = First::new();
    let mut done = futures::stream::iter(0..job.count)
        .map(async |index| {
            let result = store.get(&path(job, index)?).await?;
            if result.meta.size <= PART {
                let bytes = result.bytes().await?;
                job.check_size(bytes.len() as u64)?;
                tokio::fs::write(job.file(index), bytes).await?;
            } else {
                let mut file = File::create(job.file(index)).await?;
                let mut chunks = result.into_stream();
                while let Some(chunk) = chunks.try_next().await? {
                    file.write_all(&chunk).await?;
                }
                file.flush().await?;
            }
            Ok::<_, Error>(())
        })
        .buffer_unordered(job.concurrency);
    let mut count = 0;
    while done.try_next().await?.is_some() {
        first.item();
        count += 1;
    }
    first.print();
    job.check_count(count)
}

async fn get_large(job: &Job, store: &AmazonS3) -> Result<()> {
    let key = path(job, 0)?;
    let size = store.head(&key).await?.size;
    job.check_size(size)?;
    File::create(job.file(0)).await?.set_len(size).await?;
    futures::stream::iter((0..size).step_by(PART as usize))
        .map(async |from| {
            let range = from..size.min(from + PART);
            let bytes = store.get_range(&key, range).await?;
            let mut file = File::options().write(true).open(job.file(0)).await?;
            file.seek(SeekFrom::Start(from)).await?;
            file.write_all(&bytes).await?;
            Ok::<_, Error>(file.flush().await?)
        })
        .buffer_unordered(job.concurrency)
        .try_collect()
        .await
}

async fn ranges(job: &Job, store: &AmazonS3) -> Result<()> {
    let key = path(job, 0)?;
    let mut first = First::new();
    let mut done = futures::stream::iter(0..job.count)
        .map(async |index| {
            let from = job.offset(index);
            let bytes = store.get_range(&key, from..from + job.size).await?;
            job.check_size(bytes.len() as u64)?;
            Ok::<_, Error>(tokio::fs::write(job.file(index), bytes).await?)
        })
        .buffer_unordered(job.concurrency);
    while done.try_next().await?.is_some() {
        first.item();
    }
    first.print();
    Ok(())
}

async fn put(job: &Job, store: &AmazonS3) -> Result<()> {
    futures::stream::iter(0..job.count)
        .map(async |index| {
            let bytes = tokio::fs::read(job.file(index)).await?;
            store.put(&path(job, index)?, bytes.into()).await?;
            Ok::<_, Error>(())
        })
        .buffer_unordered(job.concurrency)
        .try_collect()
        .await
}

async fn put_large(job: &Job, store: &AmazonS3) -> Result<()> {
    let mut upload = BufWriter::with_capacity(std::sync::Arc::new(store.clone()), path(job, 0)?, PART as usize)
        .with_max_concurrency(job.concurrency);
    let mut file = tokio::io::BufReader::with_capacity(1 << 20, File::open(job.file(0)).await?);
    tokio::io::copy_buf(&mut file, &mut upload).await?;
    Ok(upload.shutdown().await?)
}

async fn list(job: &Job, store: &AmazonS3) -> Result<()> {
    let prefix = Path::parse(&job.prefix)?;
    let mut objects = store.list(Some(&prefix));
    let mut count = 0;
    let mut keys = Vec::new();
    while let Some(object) = objects.try_next().await? {
        count += 1;
        if job.verify {
            keys.push(object.location.to_string());
        }
    }
    job.check_count(count)?;
    if job.verify {
        job.write_keys(&keys)?;
    }
    Ok(())
}

async fn head(job: &Job, store: &AmazonS3) -> Result<()> {
    futures::stream::iter(0..job.count)
        .map(async |index| job.check_size(store.head(&path(job, index)?).await?.size))
        .buffer_unordered(job.concurrency)
        .try_collect()
        .await
}

async fn threes(job: &Job, store: &AmazonS3) -> Result<()> {
    let mut batches = Vec::new();
    for batch in 0..job.count {
        let start = Instant::now();
        futures::future::try_join_all(job.three(batch).map(async |index| {
            let bytes = store.get(&path(job, index)?).await?.bytes().await?;
            job.check_size(bytes.len() as u64)?;
            Ok::<_, Error>(tokio::fs::write(job.file(index), bytes).await?)
        }))
        .await?;
        batches.push(start.elapsed().as_secs_f64());
    }
    print_batches(&batches);
    Ok(())
}
