//! What a client may still spend on retries: a bucket of tokens that fills up again.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::policy::Allowance;

#[derive(Debug)]
pub(super) struct Budget {
    allowance: Allowance,
    bucket: Mutex<Bucket>,
}

/// Whole numbers, so that small parts add up.
const TOKEN: u64 = 1_000_000;

#[derive(Debug)]
struct Bucket {
    /// In millionths.
    tokens: u64,
    /// When `tokens` was right; `None` before the first one is taken.
    filled: Option<Instant>,
}

impl Budget {
    pub(super) fn new(allowance: Allowance) -> Self {
        Self { allowance, bucket: Mutex::new(Bucket { tokens: TOKEN * u64::from(allowance.capacity), filled: None }) }
    }

    /// Takes a token for a retry; false when there is none.
    pub(super) fn take(&self) -> bool {
        let mut bucket = self.bucket();
        let now = Instant::now();
        let passed = bucket.filled.map_or(0.0, |filled| now.duration_since(filled).as_secs_f64());
        bucket.filled = Some(now);
        self.add(&mut bucket, (passed * self.allowance.per_second * TOKEN as f64).round() as u64);
        let Some(left) = bucket.tokens.checked_sub(TOKEN) else { return false };
        bucket.tokens = left;
        true
    }

    /// For retries that led to a success.
    pub(super) fn give_back(&self, tokens: u32) {
        self.add(&mut self.bucket(), TOKEN * u64::from(tokens));
    }

    fn add(&self, bucket: &mut Bucket, tokens: u64) {
        bucket.tokens = bucket.tokens.saturating_add(tokens).min(TOKEN * u64::from(self.allowance.capacity));
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
