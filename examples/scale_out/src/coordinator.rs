//! The coordinator: a plan, a queue, and in the end one manifest.
//!
//! It has no state of its own: killed and started again, it finds the plan and the outcomes in S3 and goes on.

use std::time::Duration;

use crate::error::{Error, Result};
use crate::job::{Job, State, Task};
use crate::merge::Report;
use crate::patience::Patience;
use crate::queue::{Depth, Queue};

/// Between two looks at the outcomes.
const LOOK: Duration = Duration::from_secs(1);

/// As many failures are in the message of an error.
const TOLD: usize = 5;

/// How a coordinator waits.
#[derive(Debug, Clone, Copy)]
pub struct Coordinate {
    /// How long a worker has a shard without saying that it still has it.
    pub lease: Duration,
    /// How long the queue may be out of reach.
    pub patience: Duration,
}

/// Has every shard of the plan carried out, merges the outcomes, and removes the queue.
///
/// # Errors
///
/// When shards were given up: their names and errors, once all others are done. When the queue is out of reach for too long. Those
/// of [`Job::merge`] and of S3. Everything that was done stays, and the next call goes on from there.
///
/// # Cancel safety
///
/// As an error.
pub async fn coordinate(job: &Job, plan: &[Task], queue: &Queue, settings: Coordinate) -> Result<Report> {
    let mut patience = Patience::new(settings.patience);
    let mut published = false;
    let mut told = None;
    job.forget_failures().await?;
    loop {
        // Before the outcomes: a shard's outcome is there before its message is gone.
        let depth = queue.create(settings.lease).await;
        let state = job.state(plan).await?;
        let counts = (plan.len() - state.missing.len(), state.failed.len());
        if told != Some(counts) {
            tracing::info!(done = counts.0, of = plan.len(), failed = counts.1, "shards");
            told = Some(counts);
        }
        if state.missing.is_empty() {
            break;
        }
        if state.is_over() {
            return Err(given_up(job, plan, &state).await?);
        }
        let filled = match depth {
            Ok(depth) => publish(queue, depth, &state, published).await,
            Err(error) => Err(error),
        };
        match filled {
            Ok(()) => {
                published = true;
                patience.renew();
            }
            Err(error) => patience.bear(error).await?,
        }
        tokio::time::sleep(LOOK).await;
    }
    let report = job.merge(plan).await?;
    if let Err(error) = queue.delete().await {
        tracing::warn!("the queue stays: {}", error.chain());
    }
    Ok(report)
}

/// Puts shards without an outcome into the queue: at first, and when it has none although some are missing.
async fn publish(queue: &Queue, depth: Depth, state: &State<'_>, published: bool) -> Result<()> {
    if published && depth.messages > 0 {
        return Ok(());
    }
    for task in state.open() {
        // After a restart the same ids, so that what is in the queue does not come twice; once that was lost, others.
        let id = if published { format!("{}@{}", task.name(), depth.last_sequence) } else { task.name() };
        queue.publish(task, &id).await?;
    }
    Ok(())
}

async fn given_up(job: &Job, plan: &[Task], state: &State<'_>) -> Result<Error> {
    let failures = job.failures(state, TOLD).await?;
    let (count, of, place) = (state.missing.len(), plan.len(), job.place());
    let mut told = format!("{count} of {of} shards were given up; {place}failed/ has their errors");
    for failure in failures {
        told.push_str(&format!("; shard {}: {}", failure.shard, failure.error));
    }
    Ok(Error::refused(told))
}
