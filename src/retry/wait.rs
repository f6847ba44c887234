//! The waits between attempts: exponential, with equal jitter.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};

use super::policy::{RetryPolicy, Rule};

/// The waits of one operation.
#[derive(Debug)]
pub(super) struct Waits {
    growing: ExponentialBackoff,
    longest: Duration,
}

impl Waits {
    /// The jitter of `backon` adds up to the wait itself: from half of what is wanted, that is equal jitter.
    pub(super) fn new(policy: &RetryPolicy) -> Self {
        let growing = ExponentialBuilder::new()
            .with_min_delay(policy.first_wait / 2)
            .with_max_delay(policy.longest_wait / 2)
            .without_max_times()
            .with_jitter()
            .build();
        Self { growing, longest: policy.longest_wait }
    }

    /// The next wait, after a failure of this class whose answer asked for one of `retry_after`.
    pub(super) fn next(&mut self, policy: &RetryPolicy, rule: Rule, retry_after: Option<Duration>) -> Duration {
        let wait = self.grow().saturating_add(rule.floor);
        let Some(asked) = retry_after else { return wait };
        // Those that were told the same do not come back at the same moment.
        let spread = Self::new(policy).grow();
        wait.max(asked.min(policy.longest_retry_after).saturating_add(spread))
    }

    fn grow(&mut self) -> Duration {
        self.growing.next().unwrap_or(self.longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Retryability;

    /// The range of the waits, over many operations.
    fn ranges(policy: &RetryPolicy, class: Retryability, retries: usize) -> Vec<(Duration, Duration)> {
        let mut ranges = vec![(Duration::MAX, Duration::ZERO); retries];
        for _ in 0..500 {
            let mut waits = Waits::new(policy);
            for (least, most) in &mut ranges {
                let wait = waits.next(policy, policy.rule(class), None);
                (*least, *most) = ((*least).min(wait), (*most).max(wait));
            }
        }
        ranges
    }

    #[test]
    fn one_half_of_a_wait_is_fixed_and_the_other_at_random() {
        let wanted = [200, 400, 800, 1600, 3200, 6400, 12800, 20000, 20000];
        let transient = ranges(&RetryPolicy::default(), Retryability::Transient, wanted.len());
        let throttled = ranges(&RetryPolicy::default(), Retryability::Throttled, wanted.len());
        for (ranges, floor) in [(transient, 0), (throttled, 500)] {
            for ((least, most), wanted) in ranges.iter().zip(wanted) {
                let (least, most) = (least.as_millis() - floor, most.as_millis() - floor);
                // Of 500 draws one comes near each end.
                let near = wanted / 20;
                assert!((wanted / 2 - 1..wanted / 2 + near).contains(&least), "{wanted}: from {least}");
                assert!((wanted - near..=wanted + 1).contains(&most), "{wanted}: to {most}");
            }
        }
    }

    #[test]
    fn waits_of_any_length_can_be_asked_for() {
        for (first, longest) in [(Duration::ZERO, Duration::ZERO), (Duration::MAX, Duration::MAX)] {
            let policy = RetryPolicy::default().first_wait(first).longest_wait(longest).throttled_floor(longest);
            let mut waits = Waits::new(&policy);
            for _ in 0..100 {
                waits.next(&policy, policy.rule(Retryability::Throttled), Some(Duration::MAX));
            }
        }
    }
}
