//! s3flow: the streams of its many-operations, with its defaults on. `client-s3flow` keeps what it downloads until its end, as
//! the other clients do; `client-s3flow stream` drops each object as it comes, which removes its file; `client-s3flow unsigned`
//! leaves bodies out of the signature, as the other clients do.

use std::mem;
use std::time::Instant;

use common::{First, Job, Op, Result, print_batches};
use futures::TryStreamExt as _;
use s3flow::{Client, Credentials, S3, S3GetObject};

fn main() -> Result<()> {
    let job = Job::from_env()?;
    let (drops, unsigned) = match std::env::args().nth(1).as_deref() {
        None => (false, false),
        Some("stream") => (true, false),
        Some("unsigned") => (false, true),
        Some(other) => return Err(format!("{other}: only `stream` and `unsigned` are known").into()),
    };
    common::run(work(job, drops, unsigned))
}

async fn work(job: Job, drops: bool, unsigned: bool) -> Result<()> {
    let mut client = Client::builder()
        .endpoint(&job.endpoint)
        .region(&job.region)
        .credentials(Credentials::new(&job.access_key_id, &job.secret_access_key))
        .tmproot(&job.directory);
    if unsigned {
        client = client.payload_signing(false);
    }
    let root = format!("s3://{}/{}", job.bucket, job.prefix);
    let s3 = client.build()?.s3().s3root(root).concurrency(job.concurrency).build()?;
    match job.op {
        Op::Idle => {}
        Op::Get => {
            let names = (0..job.count).map(|index| S3GetObject::new(job.name(index)));
            get(&job, &s3, names, drops).await?;
        }
        Op::Ranges => {
            let length = job.size.try_into()?;
            let ranges =
                (0..job.count).map(|index| S3GetObject::new(job.name(0)).offset(job.offset(index)).length(length));
            get(&job, &s3, ranges, drops).await?;
        }
        Op::Put => {
            let files = (0..job.count).map(|index| (job.name(index), job.file(index)));
            let mut stored = s3.put_files(files);
            let mut count = 0;
            while stored.try_next().await?.is_some() {
                count += 1;
            }
            job.check_count(count)?;
        }
        Op::List => list(&job, &s3).await?,
        Op::Head => {
            let mut infos = s3.info_many((0..job.count).map(|index| job.name(index)));
            let mut count = 0;
            while let Some(info) = infos.try_next().await? {
                job.check_size(info.size().ok_or("no size")?)?;
                count += 1;
            }
            job.check_count(count)?;
        }
        Op::Threes => {
            let mut batches = Vec::new();
            for batch in 0..job.count {
                let start = Instant::now();
                let objects = s3.get_many(job.three(batch).map(|index| job.name(index))).await?;
                batches.push(start.elapsed().as_secs_f64());
                for object in objects {
                    job.check_size(object.size().ok_or("no size")?)?;
                }
            }
            print_batches(&batches);
        }
    }
    // What ends with the scope is no part of what is measured.
    mem::forget(s3);
    Ok(())
}

async fn get(job: &Job, s3: &S3, wanted: impl Iterator<Item = S3GetObject>, drops: bool) -> Result<()> {
    let mut first = First::new();
    let mut count = 0;
    let mut kept = Vec::new();
    let mut objects = s3.get_many(wanted);
    while let Some(object) = objects.try_next().await? {
        first.item();
        job.check_size(object.range_info().ok_or("no size")?.request_length)?;
        count += 1;
        if job.verify {
            // Nothing of what is promised is left out.
            if job.op == Op::Get && object.verified().is_none() {
                return Err(format!("{} was not compared with its checksum", object.key()).into());
            }
            let file = job.file(object.index() as u64);
            object.persist(file).await?;
        } else if !drops {
            kept.push(object);
        }
    }
    first.print();
    job.check_count(count)?;
    mem::forget(kept);
    Ok(())
}

async fn list(job: &Job, s3: &S3) -> Result<()> {
    let mut objects = s3.list_recursive([""]);
    let mut count = 0;
    let mut keys = Vec::new();
    while let Some(object) = objects.try_next().await? {
        count += 1;
        if job.verify {
            keys.push(format!("{}{}", job.prefix, object.key()));
        }
    }
    job.check_count(count)?;
    if job.verify {
        job.write_keys(&keys)?;
    }
    Ok(())
}
