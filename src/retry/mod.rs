//! The one retry loop: what is tried again, how often, and after which wait.

mod budget;
mod policy;
mod wait;

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::Either;

use self::budget::Budget;
pub use self::budget::RetryBudget;
pub use self::policy::RetryPolicy;
pub(crate) use self::policy::{METAFLOW_RETRY_COUNT, METAFLOW_TRANSIENT_RETRY_COUNT};
use self::wait::Waits;
use crate::error::Error;
use crate::limits::Flow;
use crate::observe::{self, Cause, Wait};
use crate::store::{self, Attempted, Failure, FailureKind, Retryability, Unread};

/// The retries of one client. Clones share everything.
#[derive(Debug, Clone)]
pub(crate) struct Retries {
    shared: Arc<Shared>,
    /// Whose retries are counted.
    flow: Flow,
}

#[derive(Debug)]
struct Shared {
    policy: RetryPolicy,
    budget: Option<Budget>,
}

impl Shared {
    /// The server has answered as it should.
    fn refund(&self) {
        if let Some(budget) = &self.budget {
            budget.refund();
        }
    }
}

impl Retries {
    pub(crate) fn new(policy: RetryPolicy) -> Self {
        let budget = policy.budget.clone().map(Budget::new);
        Self { shared: Arc::new(Shared { policy, budget }), flow: Flow::default() }
    }

    /// The same, with the retries of `flow`.
    pub(crate) fn with_flow(&self, flow: Flow) -> Self {
        Self { shared: Arc::clone(&self.shared), flow }
    }

    pub(crate) fn policy(&self) -> &RetryPolicy {
        &self.shared.policy
    }

    /// For one operation.
    pub(crate) fn start(&self) -> Retry<'_> {
        Retry {
            shared: &self.shared,
            flow: &self.flow,
            waits: Waits::new(self.policy()),
            failed: 0,
            in_a_row: InARow::default(),
            idle: Duration::ZERO,
            unread: None,
        }
    }
}

/// The attempts of one operation.
///
/// ```text
/// let mut retry = retries.start();
/// loop {
///     match retry.attempt(request()).await {
///         Ok(done) => return Ok(done),
///         Err(failure) => retry.wait(failure).await?,
///     }
/// }
/// ```
#[derive(Debug)]
pub(crate) struct Retry<'a> {
    shared: &'a Shared,
    flow: &'a Flow,
    waits: Waits,
    /// Requests that failed.
    failed: u32,
    in_a_row: InARow,
    /// For how long the operation has not got on.
    idle: Duration,
    /// That of the last attempt.
    unread: Option<Unread>,
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

impl Retryability {
    /// Why a request is sent again; `None` when it is not.
    fn cause(self) -> Option<Cause> {
        match self {
            Self::Permanent => None,
            Self::Unreachable => Some(Cause::Unreachable),
            Self::Transient => Some(Cause::Transient),
            Self::Throttled => Some(Cause::Throttled),
        }
    }
}

impl Retry<'_> {
    /// Makes an attempt, whose requests share what is left until the deadline.
    pub(crate) fn attempt<T, E>(
        &mut self,
        attempt: impl Future<Output = Result<T, E>>,
    ) -> impl Future<Output = Result<T, E>> {
        self.unread = None;
        self.go_on(observe::numbered(self.attempts(), attempt))
    }

    /// Goes on with the body of the answer that the last attempt ended with.
    pub(crate) fn go_on<T, E>(
        &mut self,
        attempt: impl Future<Output = Result<T, E>>,
    ) -> impl Future<Output = Result<T, E>> {
        let shared = self.shared;
        self.read_on(attempt).inspect(move |done| {
            if done.is_ok() {
                shared.refund();
            }
        })
    }

    /// As [`go_on`](Self::go_on), with some of the body: what the reader does in between is not the operation's time.
    ///
    /// No `async fn`: that would hold the attempt twice, as it was given and as it is awaited.
    pub(crate) fn read_on<T, E>(
        &mut self,
        attempt: impl Future<Output = Result<T, E>>,
    ) -> impl Future<Output = Result<T, E>> {
        let attempted = match self.shared.policy.deadline {
            Some(deadline) => {
                let left = deadline.saturating_sub(self.idle);
                Either::Left(store::within(left, self.unread.take(), attempt))
            }
            None => Either::Right(attempt.map(|done| Attempted { done, idle: Duration::ZERO, unread: None })),
        };
        attempted.map(|Attempted { done, idle, unread }| {
            self.idle += idle;
            self.unread = unread;
            done
        })
    }

    /// Returns when it is time for another attempt.
    ///
    /// # Errors
    ///
    /// `failure`, when it is permanent or one too many, or when the deadline or the client's budget leaves no attempt.
    pub(crate) async fn wait(&mut self, failure: Failure) -> Result<(), Error> {
        self.failed += 1;
        let Shared { policy, budget } = self.shared;
        let class = failure.retryability();
        if class == Retryability::Permanent && failure.kind == FailureKind::Answer {
            self.shared.refund();
        }
        if !self.in_a_row.count(class, policy) {
            return Err(failure.into_error(self.failed));
        }
        let pause = self.waits.next(policy, policy.rule(class), failure.retry_after);
        let idle = self.idle.saturating_add(pause);
        if let Some(deadline) = policy.deadline.filter(|deadline| idle >= *deadline) {
            let reason = format!("the retry policy's deadline of {deadline:?} leaves no time for another attempt");
            return Err(failure.not_retried(&reason).into_error(self.failed));
        }
        if budget.as_ref().is_some_and(|budget| !budget.take()) {
            return Err(failure.not_retried("the client's retry budget is used up").into_error(self.failed));
        }
        self.idle = idle;
        if let Some(cause) = class.cause() {
            self.flow.count_retry(cause);
        }
        tracing::debug!(attempt = self.failed, ?pause, reason = %failure, "trying again");
        self.flow.waiting(Wait::Retry, tokio::time::sleep(pause)).await;
        Ok(())
    }

    /// The attempts before this one achieved something, so that the patience starts anew.
    pub(crate) fn progressed(&mut self) {
        self.in_a_row = InARow::default();
        self.waits = Waits::new(&self.shared.policy);
        self.idle = Duration::ZERO;
        self.shared.refund();
    }

    /// Requests sent so far when the current one is answered.
    pub(crate) fn attempts(&self) -> u32 {
        self.failed + 1
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::error::ErrorKind;

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

    /// So many operations of which one attempt in two fails; the errors.
    async fn batch(policy: RetryPolicy, operations: usize) -> Vec<Error> {
        let retries = Retries::new(policy);
        // A linear congruential generator: the same faults in every run.
        let mut state = 1_u64;
        let mut fails = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 63 == 0
        };
        let mut errors = Vec::new();
        for _ in 0..operations {
            let mut retry = retries.start();
            loop {
                let attempted = if fails() { Err(interrupted()) } else { Ok(()) };
                match retry.attempt(std::future::ready(attempted)).await {
                    Ok(()) => break,
                    Err(failure) => {
                        if let Err(error) = retry.wait(failure).await {
                            errors.push(error);
                            break;
                        }
                    }
                }
            }
        }
        errors
    }

    #[tokio::test(start_paused = true)]
    async fn the_budget_does_not_harm_a_batch_of_which_one_request_in_two_fails() {
        let policy = |refund| RetryPolicy::default().budget(RetryBudget::default().refill(0).refund(refund));
        let is_budget = |error: &Error| error.to_string().contains("budget");
        let errors = batch(policy(2), 20_000).await;
        assert!(!errors.iter().any(is_budget));
        // Eight failures in a row.
        assert!(errors.len() < 20_000 / 256 * 2, "{}", errors.len());
        assert!(batch(policy(0), 20_000).await.iter().any(is_budget));
    }

    #[tokio::test(start_paused = true)]
    async fn no_failure_takes_a_minute_with_the_default_policy() {
        // Each with the time that passes until it is known: the idle timeout, a gateway's, the connect timeout.
        for (failure, after, attempts) in [
            (throttled(None), 0, None),
            (throttled(Some(20)), 0, Some(3)),
            (interrupted(), 0, Some(8)),
            (Failure::new(FailureKind::Connect, "dropped"), 5, Some(4)),
        ] {
            let retries = Retries::new(RetryPolicy::default());
            let mut retry = retries.start();
            let start = Instant::now();
            let error = loop {
                tokio::time::sleep(Duration::from_secs(after)).await;
                if let Err(error) = retry.wait(failure.clone()).await {
                    break error;
                }
            };
            let took = start.elapsed();
            assert!(took < Duration::from_secs(50), "{failure:?}: {took:?}");
            assert!(attempts.is_none_or(|attempts| attempts == error.attempts()), "{error}");
        }
    }
}
