//! How patient a client is, as data.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};

/// Which failures are tried again, how often and for how long.
///
/// Give it to [`ClientBuilder::retry_policy`](crate::ClientBuilder::retry_policy). It holds for each request: of an object in
/// parts, each part has the whole patience.
///
/// | the request failed | attempts after the first |
/// |---|---|
/// | nobody answered at the address: refused, no route, no name, [no connection in time](crate::ClientBuilder::connect_timeout) | 3 ([`unreachable_retries`](Self::unreachable_retries)) |
/// | the connection broke, or [nothing moved for too long](crate::ClientBuilder::idle_timeout) | 7 ([`retries`](Self::retries)) |
/// | 500, 502, 503, 504 and every other 5xx but 501 and 505; 408; `InternalError`, `RequestTimeout`, `OperationAborted`, `ConditionalRequestConflict` (also in an answer with status 200) | 7 |
/// | the server asks for fewer requests: `SlowDown`, `Throttling…`, `RequestLimitExceeded`, `TooManyRequests`, 429, ... | 20 ([`throttled_retries`](Self::throttled_retries)) |
/// | anything else: 400, 403, 404, 412, 416, 501, a wrong signature, a full disk | 0 |
///
/// The counts are of failures in a row: a download that gets on by a mebibyte before its connection breaks begins to count
/// anew. The same holds for the [`deadline`](Self::deadline), so that no long transfer is ended while it moves.
///
/// Between two attempts passes half of an exponential wait, and a random part of the other half ("equal jitter"), so that
/// clients that failed together do not come back together.
/// <https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>
///
/// ```
/// use std::time::Duration;
///
/// use s3flow::{Client, RetryPolicy};
///
/// # fn main() -> s3flow::Result<()> {
/// // A handler that rather fails than waits.
/// let policy = RetryPolicy::default().retries(2).throttled_retries(2).deadline(Duration::from_secs(5));
/// let client = Client::builder().retry_policy(policy).build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct RetryPolicy {
    pub(super) retries: u32,
    pub(super) throttled_retries: u32,
    pub(super) unreachable_retries: u32,
    pub(super) first_wait: Duration,
    pub(super) longest_wait: Duration,
    pub(super) throttled_floor: Duration,
    pub(super) longest_retry_after: Duration,
    pub(super) deadline: Option<Duration>,
    pub(super) budget: Option<Allowance>,
}

/// What a client may spend on retries.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Allowance {
    pub(super) capacity: u32,
    pub(super) per_second: f64,
}

impl Default for RetryPolicy {
    /// Metaflow's counts, and an answer within a minute when the endpoint is dead.
    fn default() -> Self {
        Self {
            // Metaflow's `S3_RETRY_COUNT` and `S3_TRANSIENT_RETRY_COUNT`.
            retries: 7,
            throttled_retries: 20,
            unreachable_retries: 3,
            first_wait: Duration::from_millis(100),
            longest_wait: Duration::from_secs(20),
            throttled_floor: Duration::from_millis(500),
            longest_retry_after: Duration::from_secs(30),
            // With the idle timeout of an attempt that begins just before it, under a minute.
            deadline: Some(Duration::from_secs(20)),
            budget: Some(Allowance { capacity: 500, per_second: 10.0 }),
        }
    }
}

impl RetryPolicy {
    /// Nothing is tried again.
    #[must_use]
    pub fn none() -> Self {
        Self::default().retries(0).throttled_retries(0).unreachable_retries(0)
    }

    /// For jobs that nobody waits for: through an outage of some minutes. Ten retries, also when nobody answers, waits up to a
    /// minute, a deadline of 15 minutes and no budget.
    #[must_use]
    pub fn patient() -> Self {
        Self::default()
            .retries(10)
            .unreachable_retries(10)
            .longest_wait(Duration::from_secs(60))
            .deadline(Duration::from_secs(15 * 60))
            .without_budget()
    }

    /// How often a request is sent again after failures that may pass. Default: 7, as Metaflow's `S3_RETRY_COUNT`.
    #[must_use]
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// How often a request is sent again when the server asks for fewer. Default: 20, as Metaflow's
    /// `S3_TRANSIENT_RETRY_COUNT`, which counts the same.
    #[must_use]
    pub fn throttled_retries(mut self, retries: u32) -> Self {
        self.throttled_retries = retries;
        self
    }

    /// How often a request is sent again when nobody answers at the address, in a row. Default: 3.
    #[must_use]
    pub fn unreachable_retries(mut self, retries: u32) -> Self {
        self.unreachable_retries = retries;
        self
    }

    /// The wait before the second attempt; it doubles with each. Default: 0.1 s.
    #[must_use]
    pub fn first_wait(mut self, wait: Duration) -> Self {
        self.first_wait = wait;
        self
    }

    /// What waits grow to. Default: 20 s.
    #[must_use]
    pub fn longest_wait(mut self, wait: Duration) -> Self {
        self.longest_wait = wait;
        self
    }

    /// What a throttled request waits at least, and longer by: less would add to what throttles it. Default: 0.5 s.
    #[must_use]
    pub fn throttled_floor(mut self, wait: Duration) -> Self {
        self.throttled_floor = wait;
        self
    }

    /// A server's `Retry-After` is heeded up to here. Default: 30 s.
    #[must_use]
    pub fn longest_retry_after(mut self, wait: Duration) -> Self {
        self.longest_retry_after = wait;
        self
    }

    /// No attempt begins when attempts have failed for so long. Default: 20 s.
    ///
    /// An attempt under way is not ended by it; that is what the [idle timeout](crate::ClientBuilder::idle_timeout) is for, so
    /// the longest time without a byte is the sum of both. Waiting as a throttling server asks for does not count: it is
    /// alive, and [`throttled_retries`](Self::throttled_retries) is the bound.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// No limit but the counts.
    #[must_use]
    pub fn without_deadline(mut self) -> Self {
        self.deadline = None;
        self
    }

    /// What all requests of a client together may spend on retries, so that a dead endpoint is not sent many times the load of
    /// a living one: each retry takes a token, a request that succeeds gives its own back, and `per_second` come back by
    /// themselves, up to `capacity`. When none is left, a failure comes back at once. Default: 500 tokens, 10 per second.
    ///
    /// The AWS SDKs have such a bucket of 500 too, of which a retry takes 5.
    /// <https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html>
    #[must_use]
    pub fn budget(mut self, capacity: u32, per_second: f64) -> Self {
        let per_second = if per_second.is_finite() { per_second.max(0.0) } else { 0.0 };
        self.budget = Some(Allowance { capacity, per_second });
        self
    }

    /// Every request has its whole patience, whatever befalls the others.
    #[must_use]
    pub fn without_budget(mut self) -> Self {
        self.budget = None;
        self
    }

    /// The waits without their jitter.
    pub(super) fn waits(&self) -> ExponentialBackoff {
        ExponentialBuilder::new()
            .with_min_delay(self.first_wait)
            .with_max_delay(self.longest_wait)
            .without_max_times()
            .build()
    }
}
