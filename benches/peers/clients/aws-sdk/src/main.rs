//! aws-sdk-s3: one request each, side by side, with its defaults: checksums of what is sent and of what comes. A large object goes
//! in ranges, and in parts, of 16 MiB.

use std::io::SeekFrom;
use std::time::Instant;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{Config, Credentials, Region};
use aws_sdk_s3::primitives::{ByteStream, Length};
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use common::{Error, First, Job, Op, Result, print_batches};
use futures::{StreamExt as _, TryStreamExt as _};
use tokio::fs::File;
use tokio::io::{AsyncSeekExt as _, AsyncWriteExt as _};

const PART: u64 = 16 << 20;

fn main() -> Result<()> {
    common::run(work(Job::from_env()?))
}

async fn work(job: Job) -> Result<()> {
    let config = Config::builder()
        .endpoint_url(&job.endpoint)
        .region(Region::new(job.region.clone()))
        .credentials_provider(Credentials::new(&job.access_key_id, &job.secret_access_key, None, None, "bench"))
        .force_path_style(true)
        .build();
    let client = Client::from_conf(config);
    match job.op {
        Op::Idle => Ok(()),
        Op::Get if job.size > PART => get_large(&job, &client).await,
        Op::Get => get(&job, &client).await,
        Op::Ranges => ranges(&job, &client).await,
        Op::Put if job.size > PART => put_large(&job, &client).await,
        Op::Put => put(&job, &client).await,
        Op::List => list(&job, &client).await,
        Op::Head => head(&job, &client).await,
        Op::Threes => threes(&job, &client).await,
    }
}

/// What fits is gathered and written in one go; the rest goes to the file as it comes.
async fn get_one(job: &Job, client: &Client, index: u64) -> Result<()> {
    let object = client.get_object().bucket(&job.bucket).key(job.key(index)).send().await?;
    if object.content_length().is_some_and(|size| size as u64 <= PART) {
        let bytes = object.body.collect().await?.into_bytes();
        job.check_size(bytes.len() as u64)?;
        tokio::fs::write(job.file(index), bytes).await?;
    } else {
        let mut file = File::create(job.file(index)).await?;
        let mut body = object.body;
        while let Some(chunk) = body.try_next().await? {
            file.write_all(&chunk).await?;
        }
        file.flush().await?;
    }
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

async fn range(job: &Job, client: &Client, from: u64, length: u64) -> Result<impl AsRef<[u8]> + Send + Sync + 'static> {
    let range = format!("bytes={from}-{}", from + length - 1);
    let object = client.get_object().bucket(&job.bucket).key(job.key(0)).range(range).send().await?;
    let bytes = object.body.collect().await?.into_bytes();
    match bytes.len() as u64 == length {
        true => Ok(bytes),
        false => Err(format!("{} bytes in place of {length}", bytes.len()).into()),
    }
}

async fn get_large(job: &Job, client: &Client) -> Result<()> {
    let head = client.head_object().bucket(&job.bucket).key(job.key(0)).send().await?;
    let size = head.content_length().ok_or("no size")?.try_into()?;
    job.check_size(size)?;
    File::create(job.file(0)).await?.set_len(size).await?;
    futures::stream::iter((0..size).step_by(PART as usize))
        .map(async |from| {
            let bytes = range(job, client, from, PART.min(size - from)).await?;
            let mut file = File::options().write(true).open(job.file(0)).await?;
            file.seek(SeekFrom::Start(from)).await?;
            file.write_all(bytes.as_ref()).await?;
            Ok::<_, Error>(file.flush().await?)
        })
        .buffer_unordered(job.concurrency)
        .try_collect()
        .await
}

async fn ranges(job: &Job, client: &Client) -> Result<()> {
    let mut first = First::new();
    let mut done = futures::stream::iter(0..job.count)
        .map(async |index| {
            let bytes = range(job, client, job.offset(index), job.size).await?;
            Ok::<_, Error>(tokio::fs::write(job.file(index), bytes).await?)
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
            let body = ByteStream::from(tokio::fs::read(job.file(index)).await?);
            client.put_object().bucket(&job.bucket).key(job.key(index)).body(body).send().await?;
            Ok::<_, Error>(())
        })
        .buffer_unordered(job.concurrency)
        .try_collect()
        .await
}

async fn put_large(job: &Job, client: &Client) -> Result<()> {
    let key = job.key(0);
    let size = tokio::fs::metadata(job.file(0)).await?.len();
    let upload = client.create_multipart_upload().bucket(&job.bucket).key(&key).send().await?;
    let id = upload.upload_id().ok_or("no upload id")?;
    let parts: Vec<CompletedPart> = futures::stream::iter((0..size).step_by(PART as usize).zip(1..))
        .map(async |(from, number)| {
            let length = Length::Exact(PART.min(size - from));
            let body = ByteStream::read_from().path(job.file(0)).offset(from).length(length).build().await?;
            let request =
                client.upload_part().bucket(&job.bucket).key(&key).upload_id(id).part_number(number).body(body);
            let etag = request.send().await?.e_tag.ok_or("no ETag")?;
            Ok::<_, Error>(CompletedPart::builder().part_number(number).e_tag(etag).build())
        })
        .buffered(job.concurrency)
        .try_collect()
        .await?;
    let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
    client
        .complete_multipart_upload()
        .bucket(&job.bucket)
        .key(&key)
        .upload_id(id)
        .multipart_upload(parts)
        .send()
        .await?;
    Ok(())
}

async fn list(job: &Job, client: &Client) -> Result<()> {
    let mut pages = client.list_objects_v2().bucket(&job.bucket).prefix(&job.prefix).into_paginator().send();
    let mut count = 0;
    let mut keys = Vec::new();
    while let Some(page) = pages.try_next().await? {
        for object in page.contents() {
            count += 1;
            if job.verify {
                keys.push(object.key().ok_or("no key")?.to_owned());
            }
        }
    }
    job.check_count(count)?;
    if job.verify {
        job.write_keys(&keys)?;
    }
    Ok(())
}

async fn head(job: &Job, client: &Client) -> Result<()> {
    futures::stream::iter(0..job.count)
        .map(async |index| {
            let head = client.head_object().bucket(&job.bucket).key(job.key(index)).send().await?;
            job.check_size(head.content_length().ok_or("no size")?.try_into()?)
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
