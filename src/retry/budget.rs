//! What a client may still spend on retries: a bucket of tokens that fills up again.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::policy::Allowance;

#[derive(Debug)]
pub(super) struct Budget {
    allowance: Allowance,
    bucket: Mutex<Bucket>,
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    /// When `tokens` was right; `None` while the bucket is full since the beginning.
    filled: Option<Instant>,
}

impl Budget {
    pub(super) fn new(allowance: Allowance) -> Self {
        Self { allowance, bucket: Mutex::new(Bucket { tokens: f64::from(allowance.capacity), filled: None }) }
    }

    /// Takes a token for a retry; false when there is none.
    pub(super) fn take(&self) -> bool {
        let mut bucket = self.bucket();
        let now = Instant::now();
        let passed = bucket.filled.map_or(0.0, |filled| now.duration_since(filled).as_secs_f64());
        bucket.filled = Some(now);
        bucket.tokens = self.at_most(bucket.tokens + passed * self.allowance.per_second);
        let there = bucket.tokens >= 1.0;
        if there {
            bucket.tokens -= 1.0;
        }
        there
    }

    /// For retries that led to a success.
    pub(super) fn give_back(&self, tokens: u32) {
        let mut bucket = self.bucket();
        bucket.tokens = self.at_most(bucket.tokens + f64::from(tokens));
    }

    fn at_most(&self, tokens: f64) -> f64 {
        tokens.min(f64::from(self.allowance.capacity))
    }

    fn bucket(&self) -> MutexGuard<'_, Bucket> {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn taken(budget: &Budget) -> usize {
        std::iter::repeat_with(|| budget.take()).take_while(|taken| *taken).count()
    }

    #[tokio::test(start_paused = true)]
    async fn it_fills_up_again_and_never_over_its_capacity() {
        let budget = Budget::new(Allowance { capacity: 5, per_second: 0.5 });
        assert_eq!(taken(&budget), 5);
        tokio::time::advance(Duration::from_secs(4)).await;
        assert_eq!(taken(&budget), 2);
        tokio::time::advance(Duration::from_secs(4000)).await;
        assert_eq!(taken(&budget), 5);
        budget.give_back(3);
        assert_eq!(taken(&budget), 3);
        budget.give_back(30);
        assert_eq!(taken(&budget), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn parts_of_a_token_add_up() {
        let budget = Budget::new(Allowance { capacity: 1, per_second: 0.1 });
        assert!(budget.take());
        for _ in 0..9 {
            tokio::time::advance(Duration::from_secs(1)).await;
            assert!(!budget.take());
        }
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(budget.take());
    }
}
