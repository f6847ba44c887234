//! Stores many objects, lists them, fetches them as a stream, and checks every byte.
//!
//! ```text
//! cargo run --example quickstart
//! cargo run --example quickstart -- --objects 200 --size 1MiB
//! cargo run --example quickstart -- --endpoint http://127.0.0.1:9000 --s3root s3://bucket/try
//! ```
//!
//! Without options it talks to an S3 server that it starts inside this process, so that nothing has to be set up.

use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use indicatif::{ProgressBar, ProgressStyle};
use s3flow::testing::S3Server;
use s3flow::{Client, S3, S3Object};

type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

/// Store, list and fetch many objects, and check every byte.
///
/// Works on an S3 server inside the process, unless --s3root names a bucket. Credentials for that come from the environment,
/// and the objects stay in a new sub-prefix of it.
#[derive(Parser)]
struct Options {
    /// How many objects
    #[arg(long, default_value_t = 1000)]
    objects: usize,
    /// The size of each: bytes, or with a unit as in 64KiB or 1MiB
    #[arg(long, default_value = "64KiB", value_parser = parse_size)]
    size: usize,
    /// How many objects are under way at a time
    #[arg(long, default_value_t = 16)]
    concurrency: usize,
    /// The URL of an S3 service
    #[arg(long, value_name = "URL", requires = "s3root")]
    endpoint: Option<String>,
    /// Where to store, as s3://bucket/prefix
    #[arg(long, value_name = "URL")]
    s3root: Option<String>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "quickstart: {}", with_causes(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<()> {
    // A client has the connections and the credentials; what is not set comes from the environment.
    let mut builder = Client::builder();
    // Dropping the server stops it, so it stays in scope.
    let _server;
    let s3root = match options.s3root {
        Some(s3root) => {
            if let Some(endpoint) = options.endpoint {
                builder = builder.endpoint(endpoint);
            }
            let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
            format!("{}/quickstart-{now}-{}", s3root.trim_end_matches('/'), std::process::id())
        }
        None => {
            let server = S3Server::start().await?;
            say(format_args!("started an S3 server at {}", server.endpoint()))?;
            builder = server.client_builder();
            _server = server;
            "s3://bucket/quickstart".to_owned()
        }
    };
    let client = builder.concurrency(options.concurrency).build()?;

    // A scope says what keys are relative to, and has the temporary directory that downloads go to.
    let s3 = client.s3().s3root(s3root).build()?;
    say(format_args!("working below {}", s3.s3root().unwrap_or_default()))?;

    let start = Instant::now();
    let outcome = store_list_fetch(&s3, options.objects, options.size).await;
    // Removes the directory, also after a failure. Without it, dropping the last handle does.
    let closed = s3.close().await;
    let bytes = outcome?;
    closed?;

    let (objects, seconds) = (options.objects, start.elapsed().as_secs_f64());
    let rate = objects as f64 / seconds;
    say(format_args!("{objects} objects, {bytes} bytes, {seconds:.2} s, {rate:.0} objects/s: every byte verified"))
}

/// Returns how many bytes were verified.
async fn store_list_fetch(s3: &S3, objects: usize, size: usize) -> Result<u64> {
    let stored = store(s3, objects, size).await?;
    say(format_args!("stored {stored} objects of {size} bytes"))?;
    let listed = list(s3, objects, size).await?;
    say(format_args!("listed {listed} objects"))?;
    let (fetched, bytes) = fetch(s3, objects, size).await?;
    say(format_args!("fetched {fetched} objects"))?;
    Ok(bytes)
}

async fn store(s3: &S3, objects: usize, size: usize) -> Result<usize> {
    let progress = progress("storing", objects);
    // A value is made when its turn comes, so no more of them are in memory than the concurrency says. With all of them at
    // hand it would be `s3.put_many(pairs).await?`.
    let pairs = stream::iter(0..objects).map(move |index| (key(index), contents(index, size)));
    let mut receipts = s3.put_from(pairs);
    let mut stored = 0;
    while let Some(receipt) = receipts.try_next().await? {
        stored += usize::from(receipt.uploaded());
        progress.inc(1);
    }
    progress.finish_and_clear();
    if stored == objects { Ok(stored) } else { Err(format!("stored {stored} objects of {objects}").into()) }
}

async fn list(s3: &S3, objects: usize, size: usize) -> Result<usize> {
    let progress = progress("listing", objects);
    let mut seen = vec![false; objects];
    // Pages are fetched while this loop takes objects, one page ahead.
    let mut listing = s3.list_recursive([""]);
    while let Some(object) = listing.try_next().await? {
        let index = index(object.key()).filter(|index| *index < objects);
        let index = index.ok_or_else(|| format!("{} is listed and was not stored", object.url()))?;
        if std::mem::replace(&mut seen[index], true) {
            return Err(format!("{} is listed twice", object.url()).into());
        }
        if object.size() != Some(size as u64) {
            return Err(format!("{} is listed with {:?} bytes in place of {size}", object.url(), object.size()).into());
        }
        progress.inc(1);
    }
    progress.finish_and_clear();
    match seen.iter().position(|seen| !seen) {
        Some(missing) => Err(format!("{} is not listed", key(missing)).into()),
        None => Ok(seen.len()),
    }
}

async fn fetch(s3: &S3, objects: usize, size: usize) -> Result<(usize, u64)> {
    let progress = progress("fetching", objects);
    // The keys are a stream that is read no further than the concurrency allows. Listings can be fetched the same way:
    // `s3.get_from(s3.list_recursive([""]))`.
    let mut downloads = s3.get_from(stream::iter((0..objects).map(key)));
    let (mut fetched, mut bytes) = (0, 0);
    // Downloads go on while this loop works. When it is slow they wait for it: at most so many as the concurrency says.
    while let Some(object) = downloads.try_next().await? {
        // A file in the scope's directory, which goes when `object` is dropped at the end of `verify`.
        bytes += verify(object, size).await?;
        fetched += 1;
        progress.inc(1);
    }
    progress.finish_and_clear();
    if fetched == objects {
        Ok((fetched, bytes))
    } else {
        Err(format!("fetched {fetched} objects of {objects}").into())
    }
}

async fn verify(object: S3Object, size: usize) -> Result<u64> {
    let found = object.blob().await?;
    // `index` says which input of `get_from` this is the result of.
    let expected = contents(object.index(), size);
    if found == expected {
        return Ok(found.len() as u64);
    }
    Err(match found.iter().zip(&expected).position(|(found, expected)| found != expected) {
        Some(at) => format!("{} differs from what was stored at byte {at}", object.url()),
        None => format!("{} has {} bytes in place of {size}", object.url(), found.len()),
    }
    .into())
}

/// In a hundred directories, as keys often are.
fn key(index: usize) -> String {
    format!("{:02}/{index:08}.bin", index % 100)
}

fn index(name: &str) -> Option<usize> {
    let index = name.get(3..)?.strip_suffix(".bin")?.parse().ok()?;
    (key(index) == name).then_some(index)
}

/// The same bytes for the same index, others for another (SplitMix64).
fn contents(index: usize, size: usize) -> Vec<u8> {
    let mut state = index as u64;
    let mut bytes = Vec::with_capacity(size.saturating_add(8));
    while bytes.len() < size {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend_from_slice(&(mixed ^ (mixed >> 31)).to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

fn parse_size(text: &str) -> Result<usize, String> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let factor = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(format!("{unit:?} is no unit; try 4096, 64KiB or 1MiB")),
    };
    let number: usize = number.parse().map_err(|_| "try 4096, 64KiB or 1MiB".to_owned())?;
    // The limit of S3 for one PutObject.
    number.checked_mul(factor).filter(|size| *size as u64 <= 5 << 30).ok_or_else(|| "an object has 5GiB at most".into())
}

/// On stderr, and nowhere when that is no terminal.
fn progress(what: &'static str, objects: usize) -> ProgressBar {
    let bar = ProgressBar::new(objects as u64).with_message(what);
    match ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {eta}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// `println!` would panic when nobody reads any more.
fn say(line: std::fmt::Arguments<'_>) -> Result<()> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}

/// An error of the library speaks of its own layer; what lies below is in `source`.
fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
