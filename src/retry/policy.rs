//! How patient a client is, as data.

use std::time::Duration;

use super::budget::RetryBudget;
use crate::store::Retryability;

/// How often, how long and after which waits a client sends a request again.
///
/// | failure | how often | wait |
/// |---|---|---|
/// | broken connection, timeout, `RequestTimeout`, conflict that S3 says to repeat, HTTP 408, 5xx other than 501, 503, 505 | [`transient_retries`](Self::transient_retries): 7 | from 0.2 s, doubling, up to 20 s |
/// | `SlowDown` and its like, HTTP 429, 503 | [`throttled_retries`](Self::throttled_retries): 20 | 0.5 s more |
/// | nothing at the address: refused, no connection in time | [`unreachable_retries`](Self::unreachable_retries): 3, and as transient | as transient |
/// | all else: HTTP 404, 403, 412, 416, 501, a wrong signature, an answer that is not one of S3 | never | |
///
/// The numbers are those of the default, which counts as Metaflow does. They are counted in a row: a download that has got
/// on by 1 MiB begins anew. Between them:
///
/// * **Waits** have *equal jitter*: one half is fixed and the other at random, so that requests which failed together do not
///   come back together
///   ([Exponential backoff and jitter](https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/)). 20 s is the
///   longest of AWS's SDKs too.
/// * **`Retry-After`**, in seconds or as a date, is honoured up to [`longest_retry_after`](Self::longest_retry_after), and a
///   little longer, again at random.
/// * **The [`deadline`](Self::deadline)**, 45 s, is for how long an operation may go on without getting on: waits, and what
///   attempts took until their answer or failure, but for the time in which a body was on its way. No wait goes beyond it, so
///   that a failure comes back at once when the next attempt would be too late, also when it is `Retry-After` that asks for
///   the wait; no attempt begins after it; and one under way is ended when nothing has moved on its connection for as long as
///   was left when it began. A transfer whose bytes move is never ended. The error is that of the last failure, and says so.
/// * **The [`budget`](Self::budget)** limits the retries of all operations of a client together.
///
/// So an endpoint that is dead is reported within a minute, and by how it is dead: one that refuses connections after 2 s at
/// most, one that drops packets after 22 s (four times the [`connect_timeout`](crate::ClientBuilder::connect_timeout)), one
/// that breaks every connection after 26 s, one that answers 503 for ever, or accepts and never answers, after 45 s.
///
/// A policy belongs to a client, and every request of its scopes is counted by itself. What Metaflow's variables say is in
/// [`ClientBuilder`](crate::ClientBuilder).
///
/// ```
/// # fn main() -> s3flow::Result<()> {
/// use std::time::Duration;
///
/// use s3flow::{Client, RetryPolicy};
///
/// // A nightly job: better late than never.
/// let patient = Client::builder().retry_policy(RetryPolicy::batch()).build()?;
/// // A web service whose users wait.
/// let policy = RetryPolicy::service().longest_wait(Duration::from_millis(500));
/// let impatient = Client::builder().retry_policy(policy).build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a policy does nothing until it is given to `ClientBuilder::retry_policy`"]
pub struct RetryPolicy {
    pub(super) transient_retries: u32,
    pub(super) throttled_retries: u32,
    pub(super) unreachable_retries: u32,
    pub(super) first_wait: Duration,
    pub(super) longest_wait: Duration,
    pub(super) throttled_floor: Duration,
    pub(super) longest_retry_after: Duration,
    pub(super) deadline: Option<Duration>,
    pub(super) budget: Option<RetryBudget>,
}

/// Metaflow's `S3_RETRY_COUNT`.
pub(crate) const METAFLOW_RETRY_COUNT: u32 = 7;
/// Metaflow's `S3_TRANSIENT_RETRY_COUNT`.
pub(crate) const METAFLOW_TRANSIENT_RETRY_COUNT: u32 = 20;

impl Default for RetryPolicy {
    /// [`metaflow`](Self::metaflow) with Metaflow's defaults: 7 and 20.
    fn default() -> Self {
        Self::metaflow(METAFLOW_RETRY_COUNT, METAFLOW_TRANSIENT_RETRY_COUNT)
    }
}

impl RetryPolicy {
    /// With Metaflow's two numbers: `METAFLOW_S3_RETRY_COUNT` after transient failures, and
    /// `METAFLOW_S3_TRANSIENT_RETRY_COUNT`, which is for "SlowDown errors", when throttled.
    ///
    /// They count the retries of a request. Metaflow 2.19 takes the larger one for every failure of an object, and the first
    /// for listings; its waits double up to 360 s, where a [`batch`](Self::batch) goes furthest here.
    pub fn metaflow(retry_count: u32, transient_retry_count: u32) -> Self {
        Self {
            transient_retries: retry_count,
            throttled_retries: transient_retry_count,
            unreachable_retries: retry_count.min(3),
            first_wait: Duration::from_millis(200),
            longest_wait: Duration::from_secs(20),
            throttled_floor: Duration::from_millis(500),
            longest_retry_after: Duration::from_secs(30),
            deadline: Some(Duration::from_secs(45)),
            budget: Some(RetryBudget::default()),
        }
    }

    /// Every request is sent once. What is no retry stays: a bucket is followed to its region, a signature is made anew for
    /// the server's clock or with fresh credentials.
    pub fn none() -> Self {
        Self::metaflow(0, 0)
    }

    /// For those who answer others that wait: three attempts, as AWS's SDKs in their
    /// [standard mode](https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html), waits of 1 s at most, and
    /// an answer, or an error, after 10 s without progress.
    pub fn service() -> Self {
        Self {
            unreachable_retries: 1,
            first_wait: Duration::from_millis(100),
            longest_wait: Duration::from_secs(1),
            longest_retry_after: Duration::from_secs(2),
            deadline: Some(Duration::from_secs(10)),
            ..Self::metaflow(2, 2)
        }
    }

    /// For work that nobody waits for: outlasts a server that restarts, and the minutes in which S3 answers 503 while it
    /// [spreads a prefix](https://docs.aws.amazon.com/AmazonS3/latest/userguide/optimizing-performance.html) over more of its
    /// machines. Without progress, it ends after a quarter of an hour.
    pub fn batch() -> Self {
        Self {
            unreachable_retries: 15,
            longest_wait: Duration::from_secs(60),
            longest_retry_after: Duration::from_secs(300),
            deadline: Some(Duration::from_secs(900)),
            ..Self::metaflow(15, 60)
        }
    }

    /// How often in a row a request is sent again after failures that may pass.
    pub fn transient_retries(mut self, retries: u32) -> Self {
        self.transient_retries = retries;
        self
    }

    /// How often in a row a request is sent again when the server asks for fewer of them. Counted apart from the others.
    pub fn throttled_retries(mut self, retries: u32) -> Self {
        self.throttled_retries = retries;
        self
    }

    /// How often in a row a request is sent again when nothing answers at the address. They count as transient too.
    pub fn unreachable_retries(mut self, retries: u32) -> Self {
        self.unreachable_retries = retries;
        self
    }

    /// The wait before the first retry, at its longest. Each wait is twice the one before it.
    pub fn first_wait(mut self, wait: Duration) -> Self {
        self.first_wait = wait;
        self
    }

    /// No wait grows beyond it.
    pub fn longest_wait(mut self, wait: Duration) -> Self {
        self.longest_wait = wait;
        self
    }

    /// Added to the waits of a request that was throttled: the least of them. Below it, a client adds to what throttles it.
    pub fn throttled_floor(mut self, floor: Duration) -> Self {
        self.throttled_floor = floor;
        self
    }

    /// A server may ask for a longer wait; it gets this one.
    pub fn longest_retry_after(mut self, limit: Duration) -> Self {
        self.longest_retry_after = limit;
        self
    }

    /// How long an operation may go on without getting on; `None` for as long as there are retries.
    pub fn deadline(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.deadline = limit.into();
        self
    }

    /// What the operations of a client share; `None` for no limit.
    pub fn budget(mut self, budget: impl Into<Option<RetryBudget>>) -> Self {
        self.budget = budget.into();
        self
    }
}

/// What a policy has for one class of failures.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    /// How many may follow each other.
    pub(super) retries: u32,
    /// What is added to each wait.
    pub(super) floor: Duration,
}

impl RetryPolicy {
    /// The table: which failure, how often, how long. What belongs to a class is said by [`Retryability::of_code`] and
    /// [`Retryability::of_status`].
    pub(super) fn rule(&self, class: Retryability) -> Rule {
        let (retries, floor) = match class {
            Retryability::Permanent => (0, Duration::ZERO),
            Retryability::Unreachable => (self.unreachable_retries, Duration::ZERO),
            Retryability::Transient => (self.transient_retries, Duration::ZERO),
            Retryability::Throttled => (self.throttled_retries, self.throttled_floor),
        };
        Rule { retries, floor }
    }

    /// So many retries after transient failures and when throttled, and no more when unreachable.
    pub(crate) fn retries(self, retries: u32) -> Self {
        let unreachable = self.unreachable_retries.min(retries);
        self.transient_retries(retries).throttled_retries(retries).unreachable_retries(unreachable)
    }

    /// # Errors
    ///
    /// A text that names the field which cannot be used.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.longest_wait < self.first_wait {
            let (first, longest) = (self.first_wait, self.longest_wait);
            return Err(format!("longest_wait is {longest:?}, and first_wait, {first:?}, is longer"));
        }
        if self.deadline == Some(Duration::ZERO) {
            return Err("deadline is 0; no request could end".to_owned());
        }
        Ok(())
    }
}
