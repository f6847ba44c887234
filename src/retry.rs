//! The one retry loop: what is tried again, how often, and after which wait.

use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};

use crate::error::Error;
use crate::store::{Failure, Retryability};

/// How patient a client is.
#[derive(Debug, Clone)]
pub(crate) struct RetryPolicy {
    /// Repeated attempts after transient failures and throttling.
    pub(crate) retries: u32,
}

/// The retries of one client. Clones share everything.
#[derive(Debug, Clone)]
pub(crate) struct Retries {
    pub(crate) policy: Arc<RetryPolicy>,
}

/// Repeated attempts when nothing answers at the address at all.
const UNREACHABLE_RETRIES: u32 = 3;
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(20);
/// Under it, a throttled client would add to what throttles it.
const THROTTLED_FLOOR: Duration = Duration::from_millis(500);
/// A server may ask for longer; nobody waits longer.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(30);

impl Default for RetryPolicy {
    /// Metaflow's `S3_RETRY_COUNT`.
    fn default() -> Self {
        Self { retries: 7 }
    }
}

/// The attempts of one operation.
///
/// ```text
/// let mut retry = retries.start();
/// loop {
///     match attempt().await {
///         Ok(done) => return Ok(done),
///         Err(failure) => retry.wait(failure).await?,
///     }
/// }
/// ```
#[derive(Debug)]
pub(crate) struct Retry<'a> {
    policy: &'a RetryPolicy,
    waits: ExponentialBackoff,
    /// Requests that failed.
    failed: u32,
    /// Of these, the ones since the operation last got on.
    in_a_row: u32,
    /// Of these, the ones since a server last answered.
    unreachable_in_a_row: u32,
}

impl Retries {
    pub(crate) fn new(policy: RetryPolicy) -> Self {
        Self { policy: Arc::new(policy) }
    }

    /// For one operation.
    pub(crate) fn start(&self) -> Retry<'_> {
        Retry { policy: &self.policy, waits: waits(), failed: 0, in_a_row: 0, unreachable_in_a_row: 0 }
    }
}

fn waits() -> ExponentialBackoff {
    ExponentialBuilder::new()
        .with_min_delay(FIRST_WAIT)
        .with_max_delay(LONGEST_WAIT)
        .without_max_times()
        .with_jitter()
        .build()
}

impl Retry<'_> {
    /// Returns when it is time for another attempt.
    ///
    /// # Errors
    ///
    /// `failure`, when it is permanent or one too many.
    pub(crate) async fn wait(&mut self, failure: Failure) -> Result<(), Error> {
        self.failed += 1;
        self.in_a_row += 1;
        let retryability = failure.retryability();
        match retryability {
            Retryability::Unreachable => self.unreachable_in_a_row += 1,
            _ => self.unreachable_in_a_row = 0,
        }
        if retryability == Retryability::Permanent
            || self.in_a_row > self.policy.retries
            || self.unreachable_in_a_row > UNREACHABLE_RETRIES
        {
            return Err(failure.into_error(self.failed));
        }
        let pause = self.next_wait(&failure);
        tracing::debug!(attempt = self.failed, ?pause, reason = %failure, "trying again");
        tokio::time::sleep(pause).await;
        Ok(())
    }

    /// The attempts before this one achieved something, so that the patience starts anew.
    pub(crate) fn progressed(&mut self) {
        self.in_a_row = 0;
        self.unreachable_in_a_row = 0;
        self.waits = waits();
    }

    /// Requests sent so far when the current one is answered.
    pub(crate) fn attempts(&self) -> u32 {
        self.failed + 1
    }

    fn next_wait(&mut self, failure: &Failure) -> Duration {
        let mut wait = self.waits.next().unwrap_or(LONGEST_WAIT);
        if failure.retryability() == Retryability::Throttled {
            wait += THROTTLED_FLOOR;
        }
        match failure.retry_after {
            Some(asked) => wait.max(asked.min(LONGEST_RETRY_AFTER)),
            None => wait,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::error::ErrorKind;
    use crate::store::FailureKind;

    fn interrupted() -> Failure {
        Failure::new(FailureKind::Interrupted, "reset")
    }

    fn throttled(retry_after: Option<u64>) -> Failure {
        let mut failure = Failure::new(FailureKind::Answer, "slow down");
        failure.code = Some("SlowDown".into());
        failure.retry_after = retry_after.map(Duration::from_secs);
        failure
    }

    /// Fails until the policy gives up; the error and how long it took.
    async fn exhaust(failure: Failure) -> (Error, Duration) {
        let retries = Retries::new(RetryPolicy::default());
        let mut retry = retries.start();
        let start = Instant::now();
        loop {
            if let Err(error) = retry.wait(failure.clone()).await {
                return (error, start.elapsed());
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_permanent_failure_comes_back_at_once() {
        let (error, took) = exhaust(Failure::new(FailureKind::Malformed, "nonsense")).await;
        assert_eq!((error.attempts(), took), (1, Duration::ZERO));
        assert!(!error.is_retryable());
    }

    #[tokio::test(start_paused = true)]
    async fn transient_failures_end_within_a_minute() {
        let (error, took) = exhaust(interrupted()).await;
        assert_eq!((error.kind(), error.attempts()), (ErrorKind::Network, 8));
        assert!(error.is_retryable());
        assert!(took > Duration::from_secs(12) && took < Duration::from_secs(60), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_unreachable_server_is_reported_within_seconds() {
        let (error, took) = exhaust(Failure::new(FailureKind::Connect, "refused")).await;
        assert_eq!(error.attempts(), 4);
        assert!(took < Duration::from_secs(3), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_was_reached_may_be_away_for_a_moment() {
        let retries = Retries::new(RetryPolicy::default());
        let mut retry = retries.start();
        for _ in 0..4 {
            retry.wait(interrupted()).await.unwrap();
        }
        // As while a server restarts: once or twice nobody listens.
        for _ in 0..3 {
            retry.wait(Failure::new(FailureKind::Connect, "refused")).await.unwrap();
        }
        assert_eq!(retry.wait(interrupted()).await.unwrap_err().attempts(), 8);
    }

    #[tokio::test(start_paused = true)]
    async fn a_throttled_attempt_waits_at_least_the_floor() {
        let retries = Retries::new(RetryPolicy::default());
        let start = Instant::now();
        retries.start().wait(throttled(None)).await.unwrap();
        assert!(start.elapsed() >= THROTTLED_FLOOR);
    }

    #[tokio::test(start_paused = true)]
    async fn retry_after_is_honoured_up_to_a_limit() {
        let retries = Retries::new(RetryPolicy::default());
        for (asked, waited) in [(3, 3), (3600, 30)] {
            let start = Instant::now();
            retries.start().wait(throttled(Some(asked))).await.unwrap();
            assert_eq!(start.elapsed().as_secs(), waited);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn progress_renews_the_patience() {
        let retries = Retries::new(RetryPolicy { retries: 1 });
        let mut retry = retries.start();
        for _ in 0..10 {
            retry.wait(interrupted()).await.unwrap();
            retry.progressed();
        }
        retry.wait(interrupted()).await.unwrap();
        assert_eq!(retry.wait(interrupted()).await.unwrap_err().attempts(), 12);
    }
}
