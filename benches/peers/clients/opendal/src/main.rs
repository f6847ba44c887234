//! opendal, over its default transport, reqwest: `read` and `write` of single objects side by side, a reader and a writer with
//! concurrent chunks of 16 MiB for a large one.

use std::time::Instant;

use common::{Error, First, Job, Op, Result, print_batches};
use futures::{StreamExt as _, TryStreamExt as _};
use opendal::Operator;
use opendal::services::S3;
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const PART: usize = 16 << 20;

fn main() -> Result<()> {
    common::run(work(Job::from_env()?))
}

async fn work(job: Job) -> Result<()> {
    let service = S3::default()
        .endpoint(&job.endpoint)
        .region(&job.region)
        .bucket(&job.bucket)
        .access_key_id(&job.access_key_id)
        .secret_access_key(&job.secret_access_key);
    let store = Operator::new(service)?;
    match job.op {
        Op::Idle => Ok(()),
        Op::Get if job.size > PART as u64 => get_large(&job, &store, 0).await,
        Op::Get => get(&job, &store).await,
        Op::Ranges => ranges(&job, &store).await,
        Op::Put if job.size > PART as u64 => put_large(&job, &store).await,
        Op::Put => put(&job, &store).await,
        Op::List => list(&job, &store).await,
        Op::Head => head(&job, &store).await,
        Op::Threes => threes(&job, &store).await,
    }
}

async fn get(job: &Job, store: &Operator) -> Result<()> {
    let mut first = First::new();
    let mut done = futures::stream::iter(0..job.count)
        .map(async |index| {
            let bytes = store.read(&job.key(index)).await?.to_bytes();
            job.check_size(bytes.len() as u64)?;
            Ok::<_, Error>(tokio::fs::write(job.file(index), bytes).await?)
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

async fn get_large(job: &Job, store: &Operator, index: u64) -> Result<()> {
    let reader = store.reader_with(&job.key(index)).concurrent(job.concurrency).chunk(PART).await?;
    let mut chunks = reader.into_bytes_stream(..).await?;
    let mut file = File::create(job.file(index)).await?;
    let mut size = 0;
    while let Some(chunk) = chunks.try_next().await? {
        size += chunk.len() as u64;
        file.write_all(&chunk).await?;
    }
    file.flush().await?;
    job.check_size(size)
}

async fn ranges(job: &Job, store: &Operator) -> Result<()> {
    let key = job.key(0);
    let mut first = First::new();
    let mut done = futures::stream::iter(0..job.count)
        .map(async |index| {
            let from = job.offset(index);
            let bytes = store.read_with(&key).range(from..from + job.size).await?.to_bytes();
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

async fn put(job: &Job, store: &Operator) -> Result<()> {
    futures::stream::iter(0..job.count)
        .map(async |index| {
            let bytes = tokio::fs::read(job.file(index)).await?;
            store.write(&job.key(index), bytes).await?;
            Ok::<_, Error>(())
        })
        .buffer_unordered(job.concurrency)
        .try_collect()
        .await
}

async fn put_large(job: &Job, store: &Operator) -> Result<()> {
    let mut writer = store.writer_with(&job.key(0)).concurrent(job.concurrency).chunk(PART).await?;
    let mut file = File::open(job.file(0)).await?;
    file.set_max_buf_size(PART);
    loop {
        let mut part = Vec::with_capacity(PART);
        if (&mut file).take(PART as u64).read_to_end(&mut part).await? == 0 {
            break;
        }
        writer.write(part).await?;
    }
    writer.close().await?;
    Ok(())
}

async fn list(job: &Job, store: &Operator) -> Result<()> {
    let mut entries = store.lister_with(&job.prefix).recursive(true).await?;
    let mut count = 0;
    let mut keys = Vec::new();
    while let Some(entry) = entries.try_next().await? {
        count += 1;
        if job.verify {
            keys.push(entry.path().to_owned());
        }
    }
    job.check_count(count)?;
    if job.verify {
        job.write_keys(&keys)?;
    }
    Ok(())
}

async fn head(job: &Job, store: &Operator) -> Result<()> {
    futures::stream::iter(0..job.count)
        .map(async |index| job.check_size(store.stat(&job.key(index)).await?.content_length()))
        .buffer_unordered(job.concurrency)
        .try_collect()
        .await
}

async fn threes(job: &Job, store: &Operator) -> Result<()> {
    let mut batches = Vec::new();
    for batch in 0..job.count {
        let start = Instant::now();
        futures::future::try_join_all(job.three(batch).map(async |index| {
            let bytes = store.read(&job.key(index)).await?.to_bytes();
            job.check_size(bytes.len() as u64)?;
            Ok::<_, Error>(tokio::fs::write(job.file(index), bytes).await?)
        }))
        .await?;
        batches.push(start.elapsed().as_secs_f64());
    }
    print_batches(&batches);
    Ok(())
}
