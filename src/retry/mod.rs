//! The one retry loop: what is tried again, how often, and after which wait.

mod budget;
mod policy;

use std::sync::Arc;
use std::time::Duration;

use backon::ExponentialBackoff;
use tokio::time::Instant;

use self::budget::Budget;
pub use self::policy::RetryPolicy;
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
    budget: Option<Budget>,
}

impl Retries {
    pub(crate) fn new(policy: RetryPolicy) -> Self {
        let budget = policy.budget.map(Budget::new);
        Self { shared: Arc::new(Shared { policy, budget }) }
    }

    pub(crate) fn policy(&self) -> &RetryPolicy {
        &self.shared.policy
    }

    /// For one request.
    pub(crate) fn start(&self) -> Retry<'_> {
        Retry { shared: &self.shared, waits: self.shared.policy.waits(), failed: 0, spent: 0, row: Row::default() }
    }
}

/// The attempts of one request.
///
/// ```text
/// let mut retry = retries.start();
/// loop {
///     match attempt().await {
///         Ok(done) => {
///             retry.succeeded();
///             return Ok(done);
///         }
///         Err(failure) => retry.wait(failure).await?,
///     }
/// }
/// ```
#[derive(Debug)]
pub(crate) struct Retry<'a> {
    shared: &'a Shared,
    waits: ExponentialBackoff,
    /// Requests that failed.
    failed: u32,
    /// Tokens of the budget.
    spent: u32,
    row: Row,
}

/// Failures since the request last got on.
#[derive(Debug, Default)]
struct Row {
    throttled: u32,
    others: u32,
    /// Of the others, the ones since a server last answered.
    unreachable: u32,
    /// The first, since a server last asked for fewer requests: until then it was alive.
    since: Option<Instant>,
}

impl Retry<'_> {
    /// Returns when it is time for another attempt.
    ///
    /// # Errors
    ///
    /// `failure`, when it is permanent, one too many, or the time or the budget for it is over.
    pub(crate) async fn wait(&mut self, failure: Failure) -> Result<(), Error> {
        self.failed += 1;
        if failure.retryability() == Retryability::Permanent || !self.count(&failure) {
            return Err(failure.into_error(self.failed));
        }
        let pause = self.next_wait(&failure);
        let policy = &self.shared.policy;
        let failing = self.row.since.map_or(Duration::ZERO, |since| since.elapsed());
        if let (Some(deadline), Some(_)) = (policy.deadline, self.row.since)
            && failing + pause > deadline
        {
            return Err(
                self.given_up(failure, format_args!("no attempt after {} s without success", deadline.as_secs_f64()))
            );
        }
        if self.shared.budget.as_ref().is_some_and(|budget| !budget.take()) {
            return Err(self.given_up(failure, format_args!("the client's budget for retries is used up")));
        }
        self.spent += 1;
        tracing::debug!(attempt = self.failed, ?pause, reason = %failure, "trying again");
        tokio::time::sleep(pause).await;
        Ok(())
    }

    /// What was attempted is done.
    pub(crate) fn succeeded(&mut self) {
        let spent = std::mem::take(&mut self.spent);
        if let Some(budget) = self.shared.budget.as_ref().filter(|_| spent > 0) {
            budget.give_back(spent);
        }
    }

    /// The attempts before this one achieved something, so that the patience starts anew.
    pub(crate) fn progressed(&mut self) {
        self.succeeded();
        self.row = Row::default();
        self.waits = self.shared.policy.waits();
    }

    /// Requests sent so far when the current one is answered.
    pub(crate) fn attempts(&self) -> u32 {
        self.failed + 1
    }

    /// Counts a failure that may pass; false when it is one too many.
    fn count(&mut self, failure: &Failure) -> bool {
        let (row, policy) = (&mut self.row, &self.shared.policy);
        if failure.retryability() == Retryability::Throttled {
            row.throttled += 1;
            row.unreachable = 0;
        } else {
            row.others += 1;
            row.unreachable = if failure.retryability() == Retryability::Unreachable { row.unreachable + 1 } else { 0 };
        }
        row.since = if failure.asks_for_fewer() { None } else { row.since.or_else(|| Some(Instant::now())) };
        row.throttled <= policy.throttled_retries
            && row.others <= policy.retries
            && row.unreachable <= policy.unreachable_retries
    }

    fn next_wait(&mut self, failure: &Failure) -> Duration {
        let policy = &self.shared.policy;
        let longest = self.waits.next().unwrap_or(policy.longest_wait);
        let mut wait = longest / 2 + longest.div_f64(2.0).mul_f64(fastrand::f64());
        if failure.retryability() == Retryability::Throttled {
            wait += policy.throttled_floor;
        }
        match failure.retry_after {
            Some(asked) => wait.max(asked.min(policy.longest_retry_after)),
            None => wait,
        }
    }

    fn given_up(&self, mut failure: Failure, why: std::fmt::Arguments<'_>) -> Error {
        failure.message = format!("{}; {why}", failure.message);
        failure.into_error(self.failed)
    }
}

#[cfg(test)]
mod tests {
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

    /// Fails until the default policy gives up; the error and how long it took.
    async fn exhaust(failure: Failure) -> (Error, Duration) {
        exhaust_by(&Retries::new(RetryPolicy::default()), failure).await
    }

    async fn exhaust_by(retries: &Retries, failure: Failure) -> (Error, Duration) {
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
    async fn transient_failures_end_within_seconds() {
        let (error, took) = exhaust(interrupted()).await;
        assert_eq!((error.kind(), error.attempts()), (ErrorKind::Network, 8));
        assert!(error.is_retryable());
        // Half of the doubling waits at least, and never more than all of them.
        assert!(took > Duration::from_secs(6) && took < Duration::from_secs(13), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_unreachable_server_is_reported_within_seconds() {
        let (error, took) = exhaust(Failure::new(FailureKind::Connect, "refused")).await;
        assert_eq!(error.attempts(), 4);
        assert!(took < Duration::from_secs(1), "{took:?}");
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
    async fn a_server_that_accepts_and_never_answers_is_given_up_within_a_minute() {
        let retries = Retries::new(RetryPolicy::default());
        let idle_timeout = crate::store::TransportConfig::default().idle_timeout;
        let start = Instant::now();
        let mut retry = retries.start();
        let error = loop {
            tokio::time::sleep(idle_timeout).await;
            if let Err(error) = retry.wait(Failure::new(FailureKind::Timeout, "nothing moved")).await {
                break error;
            }
        };
        assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
        assert!(error.attempts() > 1 && error.kind() == ErrorKind::Timeout, "{error}");
        assert!(error.to_string().contains("without success"), "{error}");
        // Neither does the worst that there can be: an attempt that begins just before the deadline.
        let deadline = retries.policy().deadline.unwrap();
        assert!(idle_timeout + deadline + idle_timeout <= Duration::from_secs(60));
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_asks_for_fewer_requests_is_alive() {
        let (error, took) = exhaust(throttled(None)).await;
        assert_eq!((error.kind(), error.attempts()), (ErrorKind::Throttled, 21));
        assert!(took > RetryPolicy::default().deadline.unwrap() * 3, "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_503_without_a_word_is_no_sign_of_life() {
        let mut failure = Failure::new(FailureKind::Answer, "Service Unavailable");
        failure.status = Some(http::StatusCode::SERVICE_UNAVAILABLE);
        let (error, took) = exhaust(failure).await;
        assert_eq!(error.kind(), ErrorKind::Throttled);
        assert!(took <= RetryPolicy::default().deadline.unwrap(), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn throttling_and_other_failures_are_counted_apart() {
        let retries = Retries::new(RetryPolicy::default().retries(1).throttled_retries(2).without_deadline());
        let mut retry = retries.start();
        retry.wait(throttled(None)).await.unwrap();
        retry.wait(interrupted()).await.unwrap();
        retry.wait(throttled(None)).await.unwrap();
        assert_eq!(retry.wait(throttled(None)).await.unwrap_err().attempts(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn a_throttled_attempt_waits_at_least_the_floor() {
        let retries = Retries::new(RetryPolicy::default());
        let start = Instant::now();
        retries.start().wait(throttled(None)).await.unwrap();
        assert!(start.elapsed() >= RetryPolicy::default().throttled_floor);
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
    async fn waits_have_a_fixed_and_a_random_half() {
        let retries = Retries::new(RetryPolicy::default());
        let mut waits = Vec::new();
        for _ in 0..100 {
            let start = Instant::now();
            retries.start().wait(interrupted()).await.unwrap();
            waits.push(start.elapsed());
        }
        let (shortest, longest) = (waits.iter().min().unwrap(), waits.iter().max().unwrap());
        assert!(*shortest >= Duration::from_millis(50) && *longest <= Duration::from_millis(101), "{waits:?}");
        assert!(*longest - *shortest > Duration::from_millis(25), "{waits:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn progress_renews_the_patience() {
        let retries = Retries::new(RetryPolicy::default().retries(1).budget(2, 0.0));
        let mut retry = retries.start();
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_secs(60)).await;
            retry.wait(interrupted()).await.unwrap();
            retry.progressed();
        }
        retry.wait(interrupted()).await.unwrap();
        assert_eq!(retry.wait(interrupted()).await.unwrap_err().attempts(), 12);
    }

    #[tokio::test(start_paused = true)]
    async fn a_dead_endpoint_gets_what_the_budget_allows_and_no_more() {
        let retries = Retries::new(RetryPolicy::default().budget(100, 1.0));
        let start = Instant::now();
        let dead = futures::future::join_all((0..1000).map(|_| exhaust_by(&retries, interrupted()))).await;
        let attempts: u32 = dead.iter().map(|(error, _)| error.attempts()).sum();
        let most = 1000 + 100 + start.elapsed().as_secs() + 1;
        assert!(u64::from(attempts) <= most, "{attempts} attempts, and {most} are allowed");
        assert!(dead.iter().all(|(error, _)| error.is_retryable()));
        let (error, _) = exhaust_by(&retries, interrupted()).await;
        assert!(error.to_string().contains("the client's budget for retries is used up"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn retries_that_lead_to_a_success_cost_nothing() {
        let retries = Retries::new(RetryPolicy::default().budget(7, 0.0));
        for _ in 0..100 {
            let mut retry = retries.start();
            for _ in 0..7 {
                retry.wait(interrupted()).await.unwrap();
            }
            retry.succeeded();
        }
        // Those that are given up do.
        assert_eq!(exhaust_by(&retries, interrupted()).await.0.attempts(), 8);
        assert_eq!(exhaust_by(&retries, interrupted()).await.0.attempts(), 1);
    }
}
