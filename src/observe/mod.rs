//! What is told of operations: spans, metrics, progress while they run, and a report afterwards.
//!
//! Knows nothing of how they are carried out: who does that tells a [`Record`].

mod attempt;
mod cause;
mod metrics;
mod progress;
mod record;
mod report;
mod task;

use std::time::Duration;

use serde::Serializer;

pub(crate) use self::attempt::{Attempt, numbered};
pub(crate) use self::cause::{Cause, Wait, Way};
#[cfg(feature = "metrics")]
pub use self::metrics::describe_metrics;
pub(crate) use self::progress::{Counters, Running};
pub use self::progress::{Progress, ProgressSnapshot, ProgressUpdates};
pub(crate) use self::record::{Record, Reported};
pub use self::report::{Report, RetryCounts, Waits};
pub(crate) use self::task::{Subject, Task};

fn seconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}
