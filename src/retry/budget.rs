//! The retries that all operations of a client share, so that a service which is down gets no multiple of the load.

use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

/// How many requests a client may send again, all of its scopes together: a bucket of tokens.
///
/// Every retry takes a token. Every request that is answered as it should be puts back
/// [`refund`](Self::refund) of them, and time [`refill`](Self::refill) in a second, until
/// [`capacity`](Self::capacity) are there. When none is left, a failure comes back at once; it
/// [is retryable](crate::Error::is_retryable), and its message says why it was not retried. So a service that is down gets the
/// requests that a program makes, and a few more, in place of eight times as many.
///
/// | | default | because |
/// |---|---|---|
/// | capacity | 500 | the capacity of AWS's SDKs ([`aws-smithy-runtime`](https://docs.rs/aws-smithy-runtime)), there of retries that cost 5 or more; here 64 downloads at a time, Metaflow's number, may use up their 7 retries at once |
/// | refund | 2 | when one in two requests fails, a success needs one retry: that goes on for ever, up to two in three |
/// | refill | 10 | that of [Finagle](https://finagle.github.io/blog/2016/02/08/retry-budgets/): after a minute of nothing but failures, a client that works again has its retries back |
///
/// ```
/// use s3flow::{RetryBudget, RetryPolicy};
///
/// let policy = RetryPolicy::default().budget(RetryBudget::default().capacity(50));
/// let unlimited = RetryPolicy::default().budget(None);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a budget does nothing until it is given to `RetryPolicy::budget`"]
pub struct RetryBudget {
    capacity: u32,
    refund: u32,
    refill: u32,
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self { capacity: 500, refund: 2, refill: 10 }
    }
}

impl RetryBudget {
    /// How many retries there are at first, and at most.
    pub fn capacity(mut self, retries: u32) -> Self {
        self.capacity = retries;
        self
    }

    /// How many a request that is answered as it should be puts back.
    pub fn refund(mut self, retries: u32) -> Self {
        self.refund = retries;
        self
    }

    /// How many come back in a second.
    pub fn refill(mut self, retries: u32) -> Self {
        self.refill = retries;
        self
    }
}

/// The tokens of one client.
#[derive(Debug)]
pub(super) struct Budget {
    settings: RetryBudget,
    level: Mutex<Level>,
}

#[derive(Debug)]
struct Level {
    tokens: f64,
    at: Instant,
}

impl Budget {
    pub(super) fn new(settings: RetryBudget) -> Self {
        let level = Level { tokens: settings.capacity.into(), at: Instant::now() };
        Self { settings, level: Mutex::new(level) }
    }

    /// Whether there is a token, which is taken then.
    pub(super) fn take(&self) -> bool {
        self.change(|tokens| if tokens >= 1.0 { Some(tokens - 1.0) } else { None })
    }

    pub(super) fn refund(&self) {
        self.change(|tokens| Some(tokens + f64::from(self.settings.refund)));
    }

    fn change(&self, change: impl FnOnce(f64) -> Option<f64>) -> bool {
        let RetryBudget { capacity, refund: _, refill } = self.settings;
        let now = Instant::now();
        let mut level = self.level.lock().unwrap_or_else(PoisonError::into_inner);
        let refilled = now.saturating_duration_since(level.at).as_secs_f64() * f64::from(refill);
        let tokens = (level.tokens + refilled).min(capacity.into());
        let changed = change(tokens);
        *level = Level { tokens: changed.unwrap_or(tokens).min(capacity.into()), at: now };
        changed.is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Takes until nothing is left.
    fn left(budget: &Budget) -> usize {
        std::iter::from_fn(|| budget.take().then_some(())).take(10_000).count()
    }

    #[tokio::test(start_paused = true)]
    async fn a_budget_fills_with_successes_and_with_time_up_to_its_capacity() {
        let budget = Budget::new(RetryBudget::default().capacity(30).refund(2).refill(10));
        assert_eq!(left(&budget), 30);
        budget.refund();
        assert_eq!(left(&budget), 2);
        tokio::time::advance(Duration::from_millis(50)).await;
        assert_eq!(left(&budget), 0);
        tokio::time::advance(Duration::from_millis(50)).await;
        assert_eq!(left(&budget), 1);
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert_eq!(left(&budget), 30);
        (0..100).for_each(|_| budget.refund());
        assert_eq!(left(&budget), 30);
    }

    #[tokio::test(start_paused = true)]
    async fn a_budget_of_nothing_stays_empty() {
        let budget = Budget::new(RetryBudget::default().capacity(0));
        budget.refund();
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(left(&budget), 0);
    }
}
