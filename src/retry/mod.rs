//! The one retry loop: what is tried again, how often, and after which wait.

mod policy;
mod wait;

use std::sync::Arc;

pub use self::policy::RetryPolicy;
pub(crate) use self::policy::{METAFLOW_RETRY_COUNT, METAFLOW_TRANSIENT_RETRY_COUNT};
use self::wait::Waits;
use crate::error::Error;
use crate::store::{Failure, Retryability};

/// The retries of one client. Clones share everything.
#[derive(Debug, Clone)]
pub(crate) struct Retries {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    policy: RetryPolicy,
}

impl Retries {
    pub(crate) fn new(policy: RetryPolicy) -> Self {
        Self { shared: Arc::new(Shared { policy }) }
    }

    pub(crate) fn policy(&self) -> &RetryPolicy {
        &self.shared.policy
    }

    /// For one operation.
    pub(crate) fn start(&self) -> Retry<'_> {
        Retry { shared: &self.shared, waits: Waits::new(self.policy()), failed: 0, in_a_row: InARow::default() }
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
    shared: &'a Shared,
    waits: Waits,
    /// Requests that failed.
    failed: u32,
    in_a_row: InARow,
}

/// Failures since the operation last got on.
#[derive(Debug, Default)]
struct InARow {
    /// That may pass, the unreachable ones among them.
    transient: u32,
    throttled: u32,
    /// Since a server last answered.
    unreachable: u32,
}

impl InARow {
    /// Counts a failure; whether the policy has a retry for it.
    fn count(&mut self, class: Retryability, policy: &RetryPolicy) -> bool {
        match class {
            Retryability::Permanent => {}
            Retryability::Throttled => self.throttled += 1,
            Retryability::Transient | Retryability::Unreachable => self.transient += 1,
        }
        self.unreachable = if class == Retryability::Unreachable { self.unreachable + 1 } else { 0 };
        let within = |count, class| count <= policy.rule(class).retries;
        class != Retryability::Permanent
            && within(self.transient, Retryability::Transient)
            && within(self.throttled, Retryability::Throttled)
            && within(self.unreachable, Retryability::Unreachable)
    }
}

impl Retry<'_> {
    /// Returns when it is time for another attempt.
    ///
    /// # Errors
    ///
    /// `failure`, when it is permanent or one too many.
    pub(crate) async fn wait(&mut self, failure: Failure) -> Result<(), Error> {
        self.failed += 1;
        let policy = &self.shared.policy;
        let class = failure.retryability();
        if !self.in_a_row.count(class, policy) {
            return Err(failure.into_error(self.failed));
        }
        let pause = self.waits.next(policy, policy.rule(class), failure.retry_after);
        tracing::debug!(attempt = self.failed, ?pause, reason = %failure, "trying again");
        tokio::time::sleep(pause).await;
        Ok(())
    }

    /// The attempts before this one achieved something, so that the patience starts anew.
    pub(crate) fn progressed(&mut self) {
        self.in_a_row = InARow::default();
        self.waits = Waits::new(&self.shared.policy);
    }

    /// Requests sent so far when the current one is answered.
    pub(crate) fn attempts(&self) -> u32 {
        self.failed + 1
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
    async fn exhaust(policy: RetryPolicy, failure: Failure) -> (Error, Duration) {
        let retries = Retries::new(policy);
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
        let (error, took) = exhaust(RetryPolicy::default(), Failure::new(FailureKind::Malformed, "nonsense")).await;
        assert_eq!((error.attempts(), took), (1, Duration::ZERO));
        assert!(!error.is_retryable());
    }

    #[tokio::test(start_paused = true)]
    async fn transient_failures_end_within_a_minute() {
        let (error, took) = exhaust(RetryPolicy::default(), interrupted()).await;
        assert_eq!((error.kind(), error.attempts()), (ErrorKind::Network, 8));
        assert!(error.is_retryable());
        assert!(took > Duration::from_secs(12) && took < Duration::from_secs(60), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_unreachable_server_is_reported_within_seconds() {
        let (error, took) = exhaust(RetryPolicy::default(), Failure::new(FailureKind::Connect, "refused")).await;
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
    async fn throttling_has_a_count_of_its_own() {
        let policy = || RetryPolicy::metaflow(2, 5);
        assert_eq!(exhaust(policy(), throttled(None)).await.0.attempts(), 6);
        assert_eq!(exhaust(policy(), interrupted()).await.0.attempts(), 3);
        let retries = Retries::new(policy());
        let mut retry = retries.start();
        for failure in [throttled(None), interrupted(), throttled(None), interrupted(), throttled(None)] {
            retry.wait(failure).await.unwrap();
        }
        assert_eq!(retry.wait(interrupted()).await.unwrap_err().kind(), ErrorKind::Network);
    }

    #[tokio::test(start_paused = true)]
    async fn without_retries_every_failure_is_the_last() {
        for failure in [interrupted(), throttled(Some(1)), Failure::new(FailureKind::Connect, "refused")] {
            let (error, took) = exhaust(RetryPolicy::none(), failure).await;
            assert_eq!((error.attempts(), took), (1, Duration::ZERO));
            assert!(error.is_retryable());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_throttled_attempt_waits_at_least_the_floor() {
        let retries = Retries::new(RetryPolicy::default());
        let start = Instant::now();
        retries.start().wait(throttled(None)).await.unwrap();
        assert!(start.elapsed() >= retries.policy().throttled_floor);
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
        let retries = Retries::new(RetryPolicy::default().transient_retries(1));
        let mut retry = retries.start();
        for _ in 0..10 {
            retry.wait(interrupted()).await.unwrap();
            retry.progressed();
        }
        retry.wait(interrupted()).await.unwrap();
        assert_eq!(retry.wait(interrupted()).await.unwrap_err().attempts(), 12);
    }
}
