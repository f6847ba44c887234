//! aws-sdk-s3-transfer-manager: its own runtime, connections, parts and concurrency, as it recommends; one transfer for
//! each object, as many at a time as are asked for.

use std::time::Instant;

use aws_sdk_s3::config::{Config as S3Config, Credentials, Region};
use aws_sdk_s3_transfer_manager::io::InputStream;
use aws_sdk_s3_transfer_manager::{Client, Config};
use common::{Error, First, Job, Op, Result, print_batches};
use futures::{StreamExt as _, TryStreamExt as _};

fn main() -> Result<()> {
    common::run(work(Job::from_env()?))
}

async fn work(job: Job) -> Result<()> {
    let config = S3Config::builder()
        .behavior_version(aws_sdk_s3::config::BehaviorVersion::latest())
        .endpoint_url(&job.endpoint)
        .region(Region::new(job.region.clone()))
        .credentials_provider(Credentials::new(&job.access_key_id, &job.secret_access_key, None, None, "bench"))
        .force_path_style(true);
    let client = Client::new(Config::builder().s3_config(config).build());
    match job.op {
        Op::Idle => Ok(()),
        Op::Get => get(&job, &client).await,
        Op::Put => put(&job, &client).await,
        Op::Threes => threes(&job, &client).await,
        Op::Ranges => ranges(&job, &client).await,
        Op::List | Op::Head => Err(format!("{:?} is not for a transfer manager", job.op).into()),
    }
}

async fn get_one(job: &Job, client: &Client, index: u64) -> Result<()> {
    let request = client.download().bucket(&job.bucket).key(job.key(index));
    let handle = request.write_to_path(job.file(index)).await?;
    job.check_size(handle.object_meta().await?.total_object_size())?;
    handle.join().await?;
    Ok(())
}

async fn get(job: &Job, client: &Client) -> Result<()> {
    let mut first = First::new();
    let mut done =
        futures::stream::iter(0..job.count).map(|index| get_one(job, client, index)).buffer_unordered(job.concurrency);
    let mut count = 0;
    while done.try_next().await?.is_some() {
        first.item();
        count += 1;
    }
    first.print();
    job.check_count(count)
}

async fn ranges(job: &Job, client: &Client) -> Result<()> {
    let mut first = First::new();
    let mut done = futures::stream::iter(0..job.count)
        .map(async |index| {
            let from = job.offset(index);
            let range = format!("bytes={from}-{}", from + job.size - 1);
            let request = client.download().bucket(&job.bucket).key(job.key(0)).range(range);
            request.write_to_path(job.file(index)).await?.join().await?;
            Ok::<_, Error>(())
        })
        .buffer_unordered(job.concurrency);
    while done.try_next().await?.is_some() {
        first.item();
    }
    first.print();
    Ok(())
}

async fn put(job: &Job, client: &Client) -> Result<()> {
    futures::stream::iter(0..job.count)
        .map(async |index| {
            let body = InputStream::from_path(job.file(index))?;
            client.upload().bucket(&job.bucket).key(job.key(index)).body(body).initiate()?.join().await?;
            Ok::<_, Error>(())
        })
        .buffer_unordered(job.concurrency)
        .try_collect()
        .await
}

async fn threes(job: &Job, client: &Client) -> Result<()> {
    let mut batches = Vec::new();
    for batch in 0..job.count {
        let start = Instant::now();
        futures::future::try_join_all(job.three(batch).map(|index| get_one(job, client, index))).await?;
        batches.push(start.elapsed().as_secs_f64());
    }
    print_batches(&batches);
    Ok(())
}
