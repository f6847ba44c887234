//! The three steps of a job, for an engine that runs programs: `metaflow/copy_flow.py` is one.

use std::io::Read as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use scale_out::cli::{JobOptions, PlanOptions, at_least_one, run, say};
use scale_out::{Copied, Error, Job, Result, Task, copy_shard};
use serde_json::json;

/// Plans, carries out and merges the shards of a job.
///
/// Credentials, region and endpoint come from the environment: AWS_ACCESS_KEY_ID, AWS_REGION, AWS_ENDPOINT_URL and so on.
#[derive(Parser)]
struct Options {
    #[command(subcommand)]
    step: Step,
}

#[derive(Subcommand)]
enum Step {
    /// Print the shards, one JSON object a line; of a job that is planned, those of its plan
    Plan {
        #[command(flatten)]
        plan: PlanOptions,
        #[command(flatten)]
        job: JobOptions,
    },
    /// Carry out the shard that is on standard input, unless it has an outcome
    Copy {
        /// How many objects are copied at a time
        #[arg(long, value_name = "COUNT", value_parser = at_least_one, default_value = "64")]
        concurrency: usize,
    },
    /// Merge the outcomes of all shards into the manifest, and check it
    Merge {
        #[command(flatten)]
        job: JobOptions,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    run("shard", step(Options::parse().step)).await
}

async fn step(step: Step) -> Result<()> {
    match step {
        Step::Plan { plan, job } => {
            let tasks = job.job()?.plan(&plan.source, &plan.destination, plan.shards).await?;
            tasks.iter().try_for_each(say)
        }
        Step::Copy { concurrency } => {
            let mut text = Vec::new();
            let read = std::io::stdin().read_to_end(&mut text);
            read.map_err(|error| Error::Refused(format!("standard input: {error}")))?;
            let task = Task::parse(&text)?;
            let job = Job::from_env(task.job())?;
            say(&match copy_shard(&job, &task, concurrency).await? {
                Copied::Now { objects, bytes } => json!({ "shard": task.name(), "objects": objects, "bytes": bytes }),
                Copied::Before | Copied::Late => json!({ "shard": task.name(), "done_before": true }),
            })
        }
        Step::Merge { job } => {
            let job = job.job()?;
            let plan = job.stored_plan().await?;
            let plan = plan.ok_or_else(|| Error::Refused(format!("there is no plan at {}", job.place())))?;
            say(&job.merge(&plan).await?)
        }
    }
}
