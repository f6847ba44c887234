//! Carries out shards until none is left. Any number of them, anywhere; each may be killed at any time.

use std::process::ExitCode;

use clap::Parser;
use scale_out::cli::{JobOptions, QueueOptions, at_least_one, run, say};
use scale_out::{Error, Result, Tally, Work, work};
use tokio::signal::unix::{SignalKind, signal};

/// Carries out shards of a job, one after the other, until none is left. SIGTERM and SIGINT: gives the one at work back, and ends.
///
/// Credentials, region and endpoint come from the environment: AWS_ACCESS_KEY_ID, AWS_REGION, AWS_ENDPOINT_URL and so on.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    job: JobOptions,
    #[command(flatten)]
    queue: QueueOptions,
    /// How many objects are copied at a time
    #[arg(long, value_name = "COUNT", value_parser = at_least_one, default_value = "64")]
    concurrency: usize,
    /// How often a shard is tried, by all workers together, before it is given up
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(i64).range(1..), default_value = "10")]
    attempts: i64,
}

#[tokio::main]
async fn main() -> ExitCode {
    run("worker", all(Options::parse())).await
}

async fn all(options: Options) -> Result<()> {
    let listen = |kind| signal(kind).map_err(|error| Error::Refused(format!("signals: {error}")));
    let (mut terminated, mut interrupted) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    let mut stop = std::pin::pin!(async {
        tokio::select! {
            _ = terminated.recv() => {}
            _ = interrupted.recv() => {}
        }
    });
    let job = options.job.job()?;
    let queue = tokio::select! {
        () = &mut stop => return say(&Tally::default()),
        queue = options.queue.connect(&job) => queue?,
    };
    let Options { concurrency, attempts, .. } = options;
    let settings = Work { concurrency, attempts, patience: options.queue.patience() };
    say(&work(&job, &queue, settings, stop).await?)
}
