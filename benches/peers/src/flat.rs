//! The listing of one flat prefix: one page after another, and in several places at a time.

use std::time::Duration;

use clap::ValueEnum;
use futures::TryStreamExt as _;
use s3flow::Client;
use s3flow::testing::S3Server;
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::content::BUCKET;
use crate::process::{Role, ask, print};
use crate::server::{Target, until_told};
use crate::usage::{Spent, Stopwatch, memory};

/// What the keys look like.
#[derive(Clone, Copy, ValueEnum, Serialize, Deserialize)]
pub(crate) enum Keys {
    Dates,
    Hex,
    Uuid,
    Numbers,
    /// 99 % below one name of many.
    Skewed,
}

impl Keys {
    fn key(self, index: u64, count: u64) -> String {
        let (one, other) = (mixed(index), mixed(index + count));
        match self {
            Self::Dates => {
                // So many over two years.
                let second = index * 63_072_000 / count;
                let (day, second) = (second / 86_400, second % 86_400);
                let (hour, minute) = (second / 3600, second / 60 % 60);
                let (year, month, day) = (2025 + day / 365, day % 365 / 31 + 1, day % 365 % 31 + 1);
                format!("flat/{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}-{index:07}.json", second % 60)
            }
            Self::Hex => format!("flat/{one:016x}{other:016x}"),
            Self::Uuid => format!(
                "flat/{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
                one >> 32,
                one & 0xffff,
                other >> 52,
                other & 0xfff,
                other >> 16
            ),
            Self::Numbers => format!("flat/part-{index:012}.parquet"),
            Self::Skewed if index.is_multiple_of(100) => format!("flat/{:04x}/{index}", one >> 48),
            Self::Skewed => format!("flat/m/deep/below/{index:09}"),
        }
    }
}

/// SplitMix64.
fn mixed(state: u64) -> u64 {
    let z = state.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[derive(Clone, Copy, ValueEnum, Serialize, Deserialize)]
pub(crate) enum How {
    OneByOne,
    AsFound,
    Ordered,
}

#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Job {
    target: Target,
    how: How,
}

#[derive(Serialize, Deserialize)]
struct Report {
    idle: u64,
    peak: u64,
    spent: Spent,
    objects: u64,
    pages: u64,
}

pub(crate) async fn serve((keys, count, latency): (Keys, u64, Duration)) -> Result<()> {
    let server = S3Server::builder().bucket(BUCKET).log(false).md5(false).latency(latency).start().await?;
    for index in 0..count {
        server.put_object(BUCKET, &keys.key(index, count), "");
    }
    until_told(&server).await
}

pub(crate) async fn list(job: Job) -> Result<()> {
    print(&tokio::spawn(measure(job)).await??)
}

async fn measure(Job { target, how }: Job) -> Result<Report> {
    let client = Client::builder().endpoint(&target.endpoint).region(&target.region).credentials(target.credentials());
    let client = client.build()?;
    let s3 = client.s3().s3root(format!("s3://{}", target.bucket)).build()?;
    let idle = memory("VmRSS")?;
    let watch = Stopwatch::start()?;
    let listing = s3.list_recursive(["flat"]);
    let mut listing = match how {
        How::OneByOne => listing.concurrency(1),
        How::AsFound => listing,
        How::Ordered => listing.ordered(true),
    };
    let (mut objects, mut last) = (0, String::new());
    while let Some(object) = listing.try_next().await? {
        objects += 1;
        if !matches!(how, How::AsFound) {
            if object.key() <= last.as_str() {
                return Err(format!("{} came after {last}", object.key()).into());
            }
            object.key().clone_into(&mut last);
        }
    }
    let spent = watch.stop()?;
    Ok(Report { idle, peak: memory("VmHWM")?, spent, objects, pages: client.stats().requests })
}

pub(crate) fn compare(count: u64, latency: Duration) -> Result<()> {
    println!("{count} keys below one prefix, {} ms a page, with s3flow\n", latency.as_millis());
    println!("| keys | listing | wall, s | times as fast | CPU, s | pages | of those one by one | above idle, MiB |");
    println!("|---|---|---|---|---|---|---|---|");
    for keys in Keys::value_variants() {
        let name = keys.to_possible_value().ok_or("keys without a name")?;
        let (target, server) = ask::<Target>(Role::FlatServer, &(*keys, count, latency))?;
        let mut reference = None;
        for how in How::value_variants() {
            let (report, _) = ask::<Report>(Role::ListFlat, &Job { target: target.clone(), how: *how })?;
            if report.objects != count {
                return Err(format!("{} objects in place of {count}", report.objects).into());
            }
            let (wall, pages) = *reference.get_or_insert((report.spent.wall, report.pages));
            println!(
                "| {} | {} | {:.2} | {:.1} | {:.2} | {} | {:.3} | {:.1} |",
                name.get_name(),
                how.to_possible_value().ok_or("a listing without a name")?.get_name(),
                report.spent.wall,
                wall / report.spent.wall,
                report.spent.cpu.total(),
                report.pages,
                report.pages as f64 / pages as f64,
                report.peak.saturating_sub(report.idle) as f64 / f64::from(1 << 20)
            );
        }
        drop(server);
    }
    Ok(())
}
