//! How cost grows with the number of objects, with their size, and with how many are on their way at a time.

use std::path::Path;
use std::time::Duration;

use futures::TryStreamExt as _;
use s3flow::testing::S3Server;
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::clients::s3flow_scope;
use crate::content::{BUCKET, Content, key, show_size};
use crate::plot::{Panel, Series, svg};
use crate::process::{Role, ask, print};
use crate::server::{Target, until_told};
use crate::usage::{Spent, Stopwatch, memory};

/// What the server has: objects that are asked for over and over.
#[derive(Serialize, Deserialize)]
pub(crate) struct Stock {
    objects: u64,
    size: u64,
    latency: Duration,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Job {
    target: Target,
    objects: u64,
    gets: u64,
    size: u64,
    concurrency: usize,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Report {
    spent: Spent,
    /// Bytes that the memory's peak is above what it was before the first request.
    above_idle: u64,
}

/// The most objects of one size.
const OBJECTS: u64 = 1_000;
/// So many bytes of each size are fetched at least.
const BYTES: u64 = 512 << 20;

pub(crate) async fn serve(Stock { objects, size, latency }: Stock) -> Result<()> {
    let server = S3Server::builder().bucket(BUCKET).log(false).latency(latency).start().await?;
    for index in 0..objects {
        server.put_object(BUCKET, &key(index), Content::whole(index, size)?);
    }
    until_told(&server).await
}

pub(crate) async fn get(job: Job) -> Result<()> {
    print(&tokio::spawn(measure(job)).await??)
}

async fn measure(Job { target, objects, gets, size, concurrency }: Job) -> Result<Report> {
    let s3 = s3flow_scope(&target)?;
    let idle = memory("VmRSS")?;
    let watch = Stopwatch::start()?;
    let keys = futures::stream::iter((0..gets).map(move |get| key(get % objects)));
    let mut got = s3.get_from(keys).concurrency(concurrency);
    let mut count = 0;
    while let Some(object) = got.try_next().await? {
        if object.size() != Some(size) {
            return Err(format!("{} has {:?} bytes", object.key(), object.size()).into());
        }
        count += 1;
    }
    s3.close().await?;
    let spent = watch.stop()?;
    match count == gets {
        true => Ok(Report { spent, above_idle: memory("VmHWM")?.saturating_sub(idle) }),
        false => Err(format!("{count} objects of {gets}").into()),
    }
}

fn run(objects: u64, gets: u64, size: u64, concurrency: usize, latency: Duration) -> Result<Report> {
    let (target, _server) = ask::<Target>(Role::GrowthServer, &Stock { objects, size, latency })?;
    Ok(ask(Role::Growth, &Job { target, objects, gets, size, concurrency })?.0)
}

pub(crate) fn compare(largest_count: u64, largest_size: u64, plot: Option<&Path>) -> Result<()> {
    let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);

    println!("GETs of 1 KiB, 64 at a time\n");
    println!("| objects | CPU for one, µs | wall, s | peak RSS above idle, MiB |\n|---|---|---|---|");
    let mut by_count = Vec::new();
    for gets in (3..).map(|power| 10_u64.pow(power)).take_while(|gets| *gets <= largest_count) {
        let Report { spent, above_idle } = run(OBJECTS, gets, 1024, 64, Duration::ZERO)?;
        let each = 1e6 * spent.cpu.total() / gets as f64;
        println!("| {gets} | {each:.1} | {:.2} | {:.1} |", spent.wall, mebibytes(above_idle));
        by_count.push((gets as f64, each));
    }

    println!("\nGETs of one size, 8 at a time\n");
    println!("| size | objects | CPU for 1 MiB, ms | MiB/s | peak RSS above idle, MiB |\n|---|---|---|---|---|");
    let mut by_size = Vec::new();
    let sizes = (0..).map(|step| 1024_u64 << (2 * step)).take_while(|size| *size < largest_size);
    for size in sizes.chain([largest_size]) {
        let gets = (BYTES / size).clamp(1, 20_000);
        let Report { spent, above_idle } = run(gets.min(OBJECTS), gets, size, 8, Duration::ZERO)?;
        let total = mebibytes(gets * size);
        let each = 1e3 * spent.cpu.total() / total;
        let (shown, rate) = (show_size(size), total / spent.wall);
        println!("| {shown} | {gets} | {each:.2} | {rate:.0} | {:.1} |", mebibytes(above_idle));
        by_size.push((size as f64, each));
    }

    println!("\nGETs of 1 KiB from a server that answers after 20 ms\n");
    println!(
        "| at a time | objects | objects/s | of what the latency allows | CPU for one, µs |\n|---|---|---|---|---|"
    );
    let mut by_concurrency = Vec::new();
    let latency = Duration::from_millis(20);
    for concurrency in (0..10).map(|power| 1_usize << power) {
        let gets = 100 * concurrency as u64;
        let Report { spent, .. } = run(OBJECTS, gets, 1024, concurrency, latency)?;
        let rate = gets as f64 / spent.wall;
        let allowed = concurrency as f64 / latency.as_secs_f64();
        let each = 1e6 * spent.cpu.total() / gets as f64;
        println!("| {concurrency} | {gets} | {rate:.0} | {:.2} | {each:.1} |", rate / allowed);
        by_concurrency.push((concurrency as f64, rate));
    }

    if let Some(path) = plot {
        let panel = |title: &str, x: &str, y: &str, points| Panel {
            title: title.to_owned(),
            x: x.to_owned(),
            y: y.to_owned(),
            series: Series(points),
        };
        let panels = [
            panel("CPU for an object of 1 KiB", "objects of a batch", "µs", by_count),
            panel("CPU for 1 MiB", "size of an object, bytes", "ms", by_size),
            panel("Objects in a second, 20 ms of latency", "at a time", "objects/s", by_concurrency),
        ];
        std::fs::write(path, svg(&panels))?;
        println!("\nplotted in {}", path.display());
    }
    Ok(())
}
