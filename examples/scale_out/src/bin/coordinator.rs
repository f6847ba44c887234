//! Plans a job, gives its shards to workers by NATS JetStream, and merges their outcomes. It may be killed at any time, and started
//! again with the same arguments.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use scale_out::cli::{JobOptions, PlanOptions, QueueOptions, run, say, seconds};
use scale_out::{Coordinate, Result, coordinate};

/// Copies a prefix to another one, with a manifest of all objects and their checksums, by the workers of a NATS queue.
///
/// Credentials, region and endpoint come from the environment: AWS_ACCESS_KEY_ID, AWS_REGION, AWS_ENDPOINT_URL and so on.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    plan: PlanOptions,
    #[command(flatten)]
    job: JobOptions,
    #[command(flatten)]
    queue: QueueOptions,
    /// How many seconds a worker may be silent before another one gets its shard
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "30")]
    lease: Duration,
}

#[tokio::main]
async fn main() -> ExitCode {
    run("coordinator", all(Options::parse())).await
}

async fn all(options: Options) -> Result<()> {
    let job = options.job.job()?;
    let plan = job.plan(&options.plan.source, &options.plan.destination, options.plan.shards).await?;
    let queue = options.queue.connect(&job).await?;
    let settings = Coordinate { lease: options.lease, patience: options.queue.patience() };
    say(&coordinate(&job, &plan, &queue, settings).await?)
}
