//! What stays below its ceiling, and what does not grow: memory and disk of many large downloads, a small request beside them, and
//! one client for a long time.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::{StreamExt as _, TryStreamExt as _};
use s3flow::{Client, Limits, S3};
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::clients::s3flow_client;
use crate::content::{key, show_size};
use crate::process::{Role, ask, print};
use crate::server::{Objects, Target};
use crate::usage::{Spent, Stopwatch, memory};

/// Where downloads go.
fn scope(client: &Client, target: &Target, tmproot: &Path) -> Result<S3> {
    Ok(client.s3().s3root(format!("s3://{}", target.bucket)).tmproot(tmproot).build()?)
}

#[derive(Serialize, Deserialize)]
pub(crate) struct BudgetJob {
    target: Target,
    gets: usize,
    memory: u64,
    disk: u64,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct BudgetReport {
    idle: u64,
    peak: u64,
    on_disk: u64,
    requests: u64,
    spent: Spent,
}

/// All gets at once; each object is dropped when it has come.
pub(crate) async fn keep_budgets(job: BudgetJob) -> Result<()> {
    let BudgetJob { target, gets, memory: memory_bytes, disk } = job;
    let client = s3flow_client(&target)
        .limits(Limits::default().memory_bytes(memory_bytes).disk_bytes(disk))
        .disk_wait(Duration::MAX)
        .build()?;
    let tmproot = tempfile::tempdir()?;
    let s3 = scope(&client, &target, tmproot.path())?;
    let idle = memory("VmRSS")?;
    let watch = Stopwatch::start()?;
    let ended = Arc::new(AtomicBool::new(false));
    let looking = std::thread::spawn({
        let (ended, directory) = (Arc::clone(&ended), tmproot.path().to_owned());
        move || {
            let mut most = 0;
            while !ended.load(Ordering::Relaxed) {
                most = most.max(allocated(&directory));
                std::thread::sleep(Duration::from_millis(2));
            }
            most
        }
    });
    let all = (0..gets).map(|_| {
        let s3 = s3.clone();
        async move { s3.get(key(0)).await.map(drop) }
    });
    let done = tokio::spawn(futures::future::try_join_all(all.map(tokio::spawn))).await??;
    done.into_iter().collect::<s3flow::Result<Vec<()>>>()?;
    let spent = watch.stop()?;
    ended.store(true, Ordering::Relaxed);
    let on_disk = looking.join().map_err(|_| "the look at the disk failed")?;
    print(&BudgetReport { idle, peak: memory("VmHWM")?, on_disk, requests: client.stats().requests, spent })
}

/// Bytes that the files below a directory have on the disk.
fn allocated(directory: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;

    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let bytes = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => allocated(&entry.path()),
        Ok(metadata) => metadata.blocks() * 512,
        // It has gone meanwhile.
        Err(_) => 0,
    });
    bytes.sum()
}

pub(crate) fn budgets(gets: usize, size: u64, memory: u64, disk: u64) -> Result<()> {
    let (target, _server) = ask::<Target>(Role::Server, &Objects { objects: 1, size })?;
    let (report, _) = ask::<BudgetReport>(Role::Budgets, &BudgetJob { target, gets, memory, disk })?;
    let BudgetReport { idle, peak, on_disk, requests, spent } = report;
    println!(
        "{gets} gets of {} at once, with {} of memory and {} of disk\n",
        show_size(size),
        show_size(memory),
        show_size(disk)
    );
    println!("| idle, MiB | peak, MiB | most on disk, MiB | requests | CPU, s | wall, s |\n|---|---|---|---|---|---|");
    println!(
        "| {:.1} | {:.1} | {:.0} | {requests} | {:.1} | {:.1} |",
        mebibytes(idle),
        mebibytes(peak),
        mebibytes(on_disk),
        spent.cpu.total(),
        spent.wall
    );
    match (peak > memory + (64 << 20), on_disk > disk) {
        (true, _) => Err("the peak is more than 64 MiB over the memory".into()),
        (_, true) => Err("there was more on disk than the quota".into()),
        _ => Ok(()),
    }
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[derive(Serialize, Deserialize)]
pub(crate) struct BesideJob {
    target: Target,
    /// Of the batch, of which key 0 is an object.
    objects: usize,
    gets: usize,
    requests_in_flight: Option<u64>,
    memory: Option<u64>,
}

/// Milliseconds of which 99 % of the single gets took less.
#[derive(Serialize, Deserialize)]
pub(crate) struct BesideReport {
    alone: f64,
    beside: f64,
}

/// Single gets of key 1, alone and beside a batch of key 0.
pub(crate) async fn beside(job: BesideJob) -> Result<()> {
    print(&tokio::spawn(measure_beside(job)).await??)
}

async fn measure_beside(job: BesideJob) -> Result<BesideReport> {
    let BesideJob { target, objects, gets, requests_in_flight, memory } = job;
    let limits = Limits::default().requests_in_flight(requests_in_flight).memory_bytes(memory);
    let client = s3flow_client(&target).limits(limits).build()?;
    let tmproot = tempfile::tempdir()?;
    let (batch, single) = (scope(&client, &target, tmproot.path())?, scope(&client, &target, tmproot.path())?);
    singly(&single, 100).await?;
    let alone = singly(&single, gets).await?;
    let batch = tokio::spawn(async move {
        let keys = std::iter::repeat_n(key(0), objects).collect::<Vec<_>>();
        batch.get_many(keys).try_for_each(|_| async { Ok(()) }).await
    });
    while client.stats().requests < 10 + 2 * (100 + gets as u64) && client.stats().bytes_received < 100 << 20 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let beside = singly(&single, gets).await?;
    if batch.is_finished() {
        return Err("the batch ended before the single gets did".into());
    }
    batch.abort();
    Ok(BesideReport { alone, beside })
}

async fn singly(s3: &S3, times: usize) -> Result<f64> {
    let mut took = Vec::with_capacity(times);
    for _ in 0..times {
        let begun = Instant::now();
        s3.get(key(1)).await?;
        took.push(begun.elapsed().as_secs_f64() * 1000.0);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    took.sort_by(f64::total_cmp);
    Ok(took[times * 99 / 100])
}

pub(crate) fn compare_beside(latency: Duration, line: u64, size: u64, gets: usize, repeat: usize) -> Result<()> {
    println!(
        "99 % of {gets} single gets of 1 KiB took less, alone and beside a batch of 10 GiB in objects of {}; {latency:?} until an \
         answer, {} a second on all connections\n",
        show_size(size),
        show_size(line)
    );
    println!("| limits of the client | run | alone, ms | beside the batch, ms | times |\n|---|---|---|---|---|");
    for (limits, requests_in_flight, memory, at_once) in [
        ("none", None, None, 64),
        ("16 requests at a time", Some(16), None, 14),
        ("64 MiB of memory", None, Some(64 << 20), 18),
    ] {
        for run in 1..=repeat {
            let (target, _server) = ask::<Target>(Role::SlowServer, &(size, latency, line / at_once))?;
            let objects = usize::try_from((10 << 30) / size)?;
            let job = BesideJob { target, objects, gets, requests_in_flight, memory };
            let (BesideReport { alone, beside }, _) = ask::<BesideReport>(Role::Beside, &job)?;
            println!("| {limits} | {run} | {alone:.1} | {beside:.1} | {:.2} |", beside / alone);
        }
    }
    Ok(())
}

#[derive(Serialize, Deserialize)]
pub(crate) struct CapJob {
    target: Target,
    up: bool,
    /// Bytes in a second, at first and then.
    first: u64,
    then: u64,
}

/// Bytes in a second: over ten seconds, and after another limit was set, in the second after that second.
#[derive(Serialize, Deserialize)]
pub(crate) struct CapReport {
    first: f64,
    then: f64,
}

pub(crate) async fn keep_pace(job: CapJob) -> Result<()> {
    print(&tokio::spawn(measure_pace(job)).await??)
}

async fn measure_pace(CapJob { target, up, first, then }: CapJob) -> Result<CapReport> {
    let limits = |rate| Limits::default().upload_bytes_per_second(rate).download_bytes_per_second(rate);
    let client = s3flow_client(&target).limits(limits(first)).build()?;
    let tmproot = tempfile::tempdir()?;
    let s3 = scope(&client, &target, tmproot.path())?;
    let transfer = tokio::spawn(for_ever(s3, up));
    let gone = || if up { client.stats().bytes_sent } else { client.stats().bytes_received };
    let over = async |time: Duration| {
        let (before, begun) = (gone(), Instant::now());
        tokio::time::sleep(time).await;
        (gone() - before) as f64 / begun.elapsed().as_secs_f64()
    };
    over(Duration::from_secs(1)).await;
    let in_ten_seconds = over(Duration::from_secs(10)).await;
    client.set_limits(limits(then))?;
    over(Duration::from_secs(1)).await;
    let afterwards = over(Duration::from_secs(2)).await;
    if transfer.is_finished() {
        return transfer.await?.map(|()| CapReport { first: 0.0, then: 0.0 });
    }
    transfer.abort();
    Ok(CapReport { first: in_ten_seconds, then: afterwards })
}

async fn for_ever(s3: S3, up: bool) -> Result<()> {
    loop {
        if up {
            let value = vec![7; 8 << 20];
            s3.put_many((0..8).map(|number| (format!("cap/{number}"), value.clone()))).await?;
        } else {
            s3.get_many(vec![key(0); 8]).try_for_each(|_| async { Ok(()) }).await?;
        }
    }
}

pub(crate) fn paces(first: u64, then: u64) -> Result<()> {
    println!(
        "| | limit, MiB/s | over 10 s | of it | other limit, MiB/s | a second later, over 2 s | of it |\n|---|---|---|---|---|---|---|"
    );
    let mut missed = false;
    for (name, up, objects) in [("down", false, 1), ("up", true, 0)] {
        let (target, _server) = ask::<Target>(Role::Server, &Objects { objects, size: 16 << 20 })?;
        let (report, _) = ask::<CapReport>(Role::Pace, &CapJob { target, up, first, then })?;
        let [of_first, of_then] = [report.first / first as f64, report.then / then as f64];
        println!(
            "| {name} | {:.1} | {:.2} | {of_first:.3} | {:.1} | {:.2} | {of_then:.3} |",
            mebibytes(first),
            report.first / f64::from(1 << 20),
            mebibytes(then),
            report.then / f64::from(1 << 20)
        );
        missed |= [of_first, of_then].iter().any(|share| (share - 1.0).abs() > 0.05);
    }
    if missed { Err("a limit was missed by more than 5 %".into()) } else { Ok(()) }
}

#[derive(Serialize, Deserialize)]
pub(crate) struct SoakJob {
    target: Target,
    operations: usize,
}

/// What the process has at a moment.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Use {
    operations: usize,
    rss: u64,
    descriptors: usize,
    tasks: usize,
    files: usize,
}

/// So many operations are before the first look, and between two.
const ROUND: usize = 5_000;

pub(crate) async fn soak(job: SoakJob) -> Result<()> {
    print(&tokio::spawn(measure_soak(job)).await??)
}

async fn measure_soak(SoakJob { target, operations }: SoakJob) -> Result<Vec<Use>> {
    let client = s3flow_client(&target).build()?;
    let tmproot = tempfile::tempdir()?;
    let mut uses = Vec::new();
    // As a service does it: a scope for each piece of work.
    for round in 0..operations.div_ceil(ROUND) {
        let numbers = futures::stream::iter(0..ROUND);
        let scopes = (0..50).map(|_| scope(&client, &target, tmproot.path())).collect::<Result<Vec<_>>>()?;
        numbers.map(Ok).try_for_each_concurrent(32, |number| operation(&scopes[number % scopes.len()], number)).await?;
        drop(scopes);
        // What is removed off the async threads.
        while files(tmproot.path()) > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        uses.push(Use {
            operations: (round + 1) * ROUND,
            rss: memory("VmRSS")?,
            descriptors: std::fs::read_dir("/proc/self/fd")?.count(),
            tasks: tokio::runtime::Handle::current().metrics().num_alive_tasks(),
            files: files(tmproot.path()),
        });
    }
    Ok(uses)
}

async fn operation(s3: &S3, number: usize) -> Result<()> {
    let name = format!("soak/{}", number % 500);
    match number % 8 {
        0 | 1 => drop(s3.put(name, vec![7; number % 20_000]).await?),
        2 | 3 => drop(s3.get(name).return_missing(true).await?),
        4 => drop(s3.info(name).return_missing(true).await?),
        5 => drop(s3.get_many([key(0), name]).return_missing(true).await?),
        6 => drop(s3.list_paths(["soak/"]).next().await.transpose()?),
        _ => drop(s3.delete(name).await?),
    }
    Ok(())
}

pub(crate) fn files(directory: &Path) -> usize {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).map(|path: PathBuf| if path.is_dir() { 1 + files(&path) } else { 1 }).sum()
}

pub(crate) fn long_run(operations: usize) -> Result<()> {
    let (target, _server) = ask::<Target>(Role::Server, &Objects { objects: 2, size: 1024 })?;
    let (uses, _) = ask::<Vec<Use>>(Role::Soak, &SoakJob { target, operations })?;
    println!("one client, {operations} operations: puts, gets, infos, lists, deletes\n");
    println!("| after | RSS, MiB | descriptors | tasks | files |\n|---|---|---|---|---|");
    let (Some(first), Some(last)) = (uses.first(), uses.last()) else { return Err("no operation".into()) };
    let step = (uses.len() / 8).max(1);
    let shown = uses.iter().step_by(step).chain((uses.len() % step != 1 % step).then_some(last));
    for Use { operations, rss, descriptors, tasks, files } in shown {
        println!("| {operations} | {:.1} | {descriptors} | {tasks} | {files} |", mebibytes(*rss));
    }
    let more = |of: fn(&Use) -> f64| of(last) / of(first).max(1.0) - 1.0;
    println!("\nRSS at the end: {:+.1} % of that after the first {ROUND}", 100.0 * more(|all| all.rss as f64));
    let grown = [more(|all| all.rss as f64), more(|all| all.descriptors as f64), more(|all| all.tasks as f64)];
    if grown.iter().any(|more| *more > 0.05) || last.files > first.files {
        return Err("something has grown by more than 5 %".into());
    }
    Ok(())
}
