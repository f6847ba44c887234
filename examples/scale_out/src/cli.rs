//! What the programs have in common.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use tracing::Level;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::error::{Error, Result};
use crate::job::Job;
use crate::queue::Queue;

/// Which job.
#[derive(Debug, Args)]
pub struct JobOptions {
    /// Where the job keeps its plan, outcomes and manifest, as s3://bucket/dir/
    #[arg(long, value_name = "URL")]
    job: String,
}

/// Which queue.
#[derive(Debug, Args)]
pub struct QueueOptions {
    /// The NATS server, as nats://host:port
    #[arg(long, value_name = "URL", env = "NATS_URL", hide_env_values = true, default_value = "nats://127.0.0.1:4222")]
    nats: String,
    /// How many seconds NATS, the plan and the queue may be missing
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "60")]
    patience: Duration,
}

/// What is to be copied.
#[derive(Debug, Args)]
pub struct PlanOptions {
    /// What is copied, as s3://bucket/dir/
    #[arg(long, value_name = "URL")]
    pub source: String,
    /// Where to; nothing may be there
    #[arg(long, value_name = "URL")]
    pub destination: String,
    /// How many pieces of about the same size
    #[arg(long, value_name = "COUNT", value_parser = at_least_one, default_value = "64")]
    pub shards: usize,
}

impl JobOptions {
    /// See [`Job::from_env`].
    ///
    /// # Errors
    ///
    /// Those of [`Job::from_env`].
    pub fn job(&self) -> Result<Job> {
        Job::from_env(&self.job)
    }
}

impl QueueOptions {
    /// See [`Queue::connect`].
    ///
    /// # Errors
    ///
    /// Those of [`Queue::connect`].
    pub async fn connect(&self, job: &Job) -> Result<Queue> {
        Queue::connect(&self.nats, job, self.patience).await
    }

    #[must_use]
    pub fn patience(&self) -> Duration {
        self.patience
    }
}

/// A duration in seconds, more than none.
///
/// # Errors
///
/// When it is none.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err("not a duration of more than 0 s".to_owned()),
    }
}

/// A count that is not 0.
///
/// # Errors
///
/// When it is.
pub fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse::<std::num::NonZeroUsize>().map(Into::into).map_err(|error| error.to_string())
}

/// Runs a program; what it tells on the way goes to standard error.
pub async fn run(name: &str, program: impl Future<Output = Result<()>>) -> ExitCode {
    let is_terminal = std::io::stderr().is_terminal();
    let told = Targets::new().with_target("scale_out", Level::INFO).with_default(Level::WARN);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(is_terminal);
    tracing_subscriber::registry().with(lines.with_filter(told)).init();
    program.await.map_or_else(|error| complain(name, &error.chain()), |()| ExitCode::SUCCESS)
}

/// The last words of a program.
pub fn complain(name: &str, message: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "{name}: {message}");
    ExitCode::FAILURE
}

/// A line of JSON on standard output.
///
/// # Errors
///
/// When it cannot be written.
pub fn say<T: Serialize>(value: &T) -> Result<()> {
    let json = serde_json::to_string(value).map_err(|error| Error::Refused(format!("the result: {error}")))?;
    print(format_args!("{json}"))
}

/// A line on standard output. `println!` would panic when nobody reads any more.
///
/// # Errors
///
/// When it cannot be written.
pub fn print(line: std::fmt::Arguments<'_>) -> Result<()> {
    writeln!(std::io::stdout(), "{line}").map_err(|error| Error::Refused(format!("standard output: {error}")))
}
