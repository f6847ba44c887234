//! A worker: one shard after the other, until none is left.

use std::collections::HashMap;
use std::pin::pin;
use std::time::Duration;

use serde::Serialize;

use crate::copy::{Copied, copy_shard};
use crate::error::{Error, Result};
use crate::job::{Failure, Job, Task};
use crate::patience::Patience;
use crate::queue::{Delivery, Queue};

/// How long a worker waits for a shard before it looks whether any is left.
const PULL: Duration = Duration::from_secs(2);

/// Before somebody tries again what has failed, for each time that it did.
const AFTER_A_FAILURE: Duration = Duration::from_secs(2);

/// The longest such wait.
const LONGEST: Duration = Duration::from_secs(60);

/// How a worker works.
#[derive(Debug, Clone, Copy)]
pub struct Work {
    /// Objects that are copied at a time.
    pub concurrency: usize,
    /// How often a shard is tried before it is given up.
    pub attempts: i64,
    /// How long the plan and the queue may be missing.
    pub patience: Duration,
}

/// What a worker has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Shards whose outcome is its own.
    pub shards: u64,
    pub objects: u64,
    pub bytes: u64,
    /// Shards that had an outcome when it was given them.
    pub before: u64,
    /// Shards of which another worker's outcome came first.
    pub late: u64,
    /// Attempts that ended with an error.
    pub failed: u64,
    /// Messages that were no shard of the plan.
    pub refused: u64,
}

/// Works until every shard has an outcome or was given up, or until `stop`: then the shard at work is given back.
///
/// # Errors
///
/// When there is no plan, or no queue, for longer than the worker has patience. Those of S3, of what is not a shard's.
pub async fn work(job: &Job, queue: &Queue, work: Work, stop: impl Future<Output = ()>) -> Result<Tally> {
    let mut stop = pin!(stop);
    let mut tally = Tally::default();
    let mut patience = Patience::new(work.patience);
    let plan = tokio::select! {
        () = &mut stop => return Ok(tally),
        plan = planned(job, &mut patience) => plan?,
    };
    let tasks: HashMap<String, &Task> = plan.iter().map(|task| (task.name(), task)).collect();
    loop {
        let next = tokio::select! {
            () = &mut stop => break,
            next = next(job, &plan, queue, &mut patience) => next?,
        };
        let Some(delivery) = next else { break };
        tokio::select! {
            () = &mut stop => {
                delivery.give_back(None).await;
                break;
            }
            () = carry_out(job, &tasks, &delivery, work, &mut tally) => {}
        }
    }
    Ok(tally)
}

async fn planned(job: &Job, patience: &mut Patience) -> Result<Vec<Task>> {
    loop {
        if let Some(plan) = job.stored_plan().await? {
            patience.renew();
            return Ok(plan);
        }
        patience.bear(Error::refused(format!("there is no plan at {}", job.place()))).await?;
    }
}

/// Waits for a shard; `None` when no more will come.
async fn next(job: &Job, plan: &[Task], queue: &Queue, patience: &mut Patience) -> Result<Option<Delivery>> {
    loop {
        let next = queue.next(PULL).await;
        if let Ok(Some(delivery)) = next {
            patience.renew();
            return Ok(Some(delivery));
        }
        if job.state(plan).await?.is_over() {
            return Ok(None);
        }
        match next {
            Ok(_) => patience.renew(),
            Err(error) => patience.bear(error).await?,
        }
    }
}

async fn carry_out(job: &Job, tasks: &HashMap<String, &Task>, delivery: &Delivery, work: Work, tally: &mut Tally) {
    let planned = Task::parse(delivery.payload()).and_then(|task| match tasks.get(&task.name()) {
        Some(planned) if **planned == task => Ok(*planned),
        _ => {
            Err(Error::refused(format!("{} of {} is no shard of the plan at {}", task.name(), task.job(), job.place())))
        }
    });
    let task = match planned {
        Ok(task) => task,
        Err(error) => {
            tracing::error!("a message is refused: {error}");
            tally.refused += 1;
            return delivery.terminate().await;
        }
    };
    let shard = task.name();
    // Also what ends the worker each time ends.
    let copied = if delivery.delivered > work.attempts {
        Err(Error::refused(format!("it was delivered {} times", delivery.delivered)))
    } else {
        tokio::select! {
            copied = copy_shard(job, task, work.concurrency) => copied,
            never = delivery.keep() => never,
        }
    };
    match copied {
        Ok(copied) => {
            match copied {
                Copied::Now { objects, bytes } => {
                    tracing::info!(shard, objects, bytes, "copied");
                    tally.shards += 1;
                    tally.objects += objects;
                    tally.bytes += bytes;
                }
                Copied::Before => {
                    tracing::info!(shard, "had an outcome before");
                    tally.before += 1;
                }
                Copied::Late => {
                    tracing::info!(shard, "has another worker's outcome, which stays");
                    tally.late += 1;
                }
            }
            delivery.done().await;
        }
        Err(error) => {
            tracing::error!(shard, attempt = delivery.delivered, "failed: {}", error.chain());
            tally.failed += 1;
            failed(job, delivery, work, Failure { shard, error: error.chain() }).await;
        }
    }
}

async fn failed(job: &Job, delivery: &Delivery, work: Work, failure: Failure) {
    if delivery.delivered >= work.attempts {
        match job.give_up(&failure).await {
            Ok(()) => return delivery.terminate().await,
            Err(error) => tracing::error!(shard = failure.shard, "not written down as failed: {}", error.chain()),
        }
    }
    let failures = u32::try_from(delivery.delivered).unwrap_or(u32::MAX);
    delivery.give_back(Some(AFTER_A_FAILURE.saturating_mul(failures).min(LONGEST))).await;
}
