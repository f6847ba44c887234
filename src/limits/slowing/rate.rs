//! How many requests a service takes in a second, found by sending more until it refuses some.

use std::time::Duration;

use tokio::time::Instant;

/// A rate that is lowered to what a service has taken when it refuses more than a few, and grows again as the congestion window of
/// CUBIC does: fast at first, slowly near where it was too much, and then faster and faster.
/// <https://www.rfc-editor.org/rfc/rfc9438.html>
///
/// It is a rate and not a window, since rates are what services limit: 200 requests in a second, each answered after 1 ms, are a
/// fifth of a request at a time. And it looks at shares of what was sent, not at single refusals: those that come at random,
/// whatever is sent, would lower it to nothing. Where lowering it does not help, it is left alone for a while.
#[derive(Debug)]
pub(super) struct Rate {
    /// When it was lowered, and to what.
    since: Instant,
    lowered_to: f64,
    /// What the service took then.
    too_much: f64,
    epoch: Epoch,
    /// What it was before it was lowered, until it is seen whether that has helped.
    tried: Option<Before>,
    alone_until: Option<Instant>,
    last_throttled: Instant,
}

#[derive(Debug)]
struct Before {
    rate: f64,
    /// The share that was.
    refused: f64,
}

/// What became of the requests that were sent since then.
#[derive(Debug)]
struct Epoch {
    begun: Instant,
    /// When the last of them was sent.
    last: Instant,
    taken: u32,
    throttled: u32,
}

/// A service may refuse this share.
const FEW: f64 = 0.02;
/// How much of what a service takes it is sent then. CUBIC goes on with 0.7 of what it had sent, which was too much; the more it
/// is, the closer the mean comes to what is allowed, and the longer it takes until several clients have equal shares.
const LEFT: f64 = 0.9;
/// Of what was sent, at least this is sent again: requests that wait to be sent once more look like fewer that are taken.
const LOWEST: f64 = 0.5;
/// How fast it grows, in shares of itself and per cubic second: it has doubled 4 s after it was too much. CUBIC grows by 0.4 of a
/// window, however large that is.
const GROWTH: f64 = 1.0 / 64.0;
const SLOWEST: f64 = 1.0;
/// One that is faster need not be slowed: S3 takes 5,500 reads in a second for each prefix, and more as it is used.
const FASTEST: f64 = 20_000.0;
/// What is too little to tell a share.
const ANSWERS: u32 = 10;
const TIME: Duration = Duration::from_millis(500);
/// When it was lowered to this share, it shows whether that helps.
const ENOUGH: f64 = 0.6;
/// For so long it is not lowered when that has not helped.
const ALONE: Duration = Duration::from_secs(10);
/// After so long without a refusal, there is nothing to be slowed.
const QUIET: Duration = Duration::from_secs(60);

impl Rate {
    /// For a service that has just refused a request, and was sent so many in a second.
    pub(super) fn new(sent: f64) -> Self {
        let (now, sent) = (Instant::now(), sent.clamp(SLOWEST, FASTEST));
        Self {
            since: now,
            lowered_to: sent,
            too_much: sent,
            epoch: Epoch::begin(now),
            tried: None,
            alone_until: None,
            last_throttled: now,
        }
    }

    /// In requests per second.
    pub(super) fn now(&self) -> f64 {
        let reaches_too_much = ((1.0 - self.lowered_to / self.too_much) / GROWTH).cbrt();
        let beyond = self.since.elapsed().as_secs_f64() - reaches_too_much;
        (self.too_much * (1.0 + GROWTH * beyond.powi(3))).clamp(SLOWEST, FASTEST)
    }

    pub(super) fn taken(&mut self, begun: Instant) {
        self.answered(begun, |epoch| epoch.taken += 1);
    }

    pub(super) fn throttled(&mut self, begun: Instant) {
        self.last_throttled = Instant::now();
        self.answered(begun, |epoch| epoch.throttled += 1);
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.last_throttled.elapsed() >= QUIET
    }

    /// What was sent before the epoch was sent at another rate, and tells nothing of this one.
    fn answered(&mut self, begun: Instant, count: impl FnOnce(&mut Epoch)) {
        if begun < self.epoch.begun {
            return;
        }
        count(&mut self.epoch);
        self.epoch.last = self.epoch.last.max(begun);
        if self.epoch.is_telling() {
            let now = Instant::now();
            let epoch = std::mem::replace(&mut self.epoch, Epoch::begin(now));
            self.judge(&epoch, now);
        }
    }

    fn judge(&mut self, epoch: &Epoch, now: Instant) {
        let (refused, sent) = (epoch.refused(), epoch.sent());
        if let Some(before) = &self.tried {
            if refused < 0.8 * before.refused || 1.0 - refused > 1.2 * (1.0 - before.refused) {
                self.tried = None;
            } else if self.lowered_to < ENOUGH * before.rate {
                (self.since, self.lowered_to, self.too_much) = (now, before.rate, before.rate);
                self.alone_until = Some(now + ALONE);
                self.tried = None;
            }
        }
        if refused > FEW && self.alone_until.is_none_or(|until| now >= until) {
            let taken = sent * (1.0 - refused);
            let rate = self.now();
            self.tried.get_or_insert(Before { rate, refused });
            self.since = now;
            self.lowered_to = (taken * LEFT).max(sent * LOWEST).max(SLOWEST);
            self.too_much = taken.max(self.lowered_to);
        }
    }
}

impl Epoch {
    fn begin(now: Instant) -> Self {
        Self { begun: now, last: now, taken: 0, throttled: 0 }
    }

    fn span(&self) -> Duration {
        self.last - self.begun
    }

    fn is_telling(&self) -> bool {
        self.taken + self.throttled >= ANSWERS && self.span() >= TIME
    }

    /// The share that was.
    fn refused(&self) -> f64 {
        f64::from(self.throttled) / f64::from(self.taken + self.throttled)
    }

    /// In a second.
    fn sent(&self) -> f64 {
        f64::from(self.taken + self.throttled) / self.span().as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a service took and refused in a minute after the first 5 s, when it is sent what the rate allows, and
    /// not more than 64 at a time, of which the refused come again after some time.
    async fn minute(latency: Duration, mut takes: impl FnMut() -> bool) -> (f64, f64) {
        let mut rate = Rate::new(3000.0);
        let begun = Instant::now();
        let (mut taken, mut refused) = (0, 0);
        let mut free = std::collections::BinaryHeap::from(vec![std::cmp::Reverse(begun); 64]);
        let mut next = begun;
        while begun.elapsed() < Duration::from_secs(65) {
            let std::cmp::Reverse(task) = free.pop().unwrap();
            next = next.max(task);
            tokio::time::advance(next - Instant::now()).await;
            let fine = takes();
            let counts = begun.elapsed() >= Duration::from_secs(5);
            let sent = Instant::now();
            if fine {
                taken += u32::from(counts);
                rate.taken(sent);
            } else {
                refused += u32::from(counts);
                rate.throttled(sent);
            }
            free.push(std::cmp::Reverse(
                sent + latency + if fine { Duration::ZERO } else { Duration::from_millis(700) },
            ));
            next += Duration::from_secs_f64(1.0 / rate.now());
        }
        (f64::from(taken) / 60.0, f64::from(refused) / f64::from(taken + refused))
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_service_takes_is_found_and_kept_to() {
        for (allowed, burst) in [(200.0, 20.0), (200.0, 200.0), (20.0, 5.0), (3500.0, 350.0)] {
            let (mut left, mut at) = (burst, Instant::now());
            let (taken, refused) = minute(Duration::from_millis(1), || {
                left = f64::min(left + at.elapsed().as_secs_f64() * allowed, burst);
                at = Instant::now();
                let fine = left >= 1.0;
                left -= f64::from(u8::from(fine));
                fine
            })
            .await;
            assert!(taken > 0.9 * allowed, "{taken} of {allowed}");
            assert!(refused < 0.05, "{refused} of what was sent, with {allowed}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_that_come_whatever_is_sent_do_not_lower_it_for_long() {
        for one_in in [2, 5, 20, 100] {
            let mut random = fastrand::Rng::with_seed(7);
            let (taken, refused) = minute(Duration::from_millis(20), || random.u32(0..one_in) > 0).await;
            // 64 tasks, each of which waits for 0.7 s when it was refused.
            let p = 1.0 / f64::from(one_in);
            let most = 64.0 * (1.0 - p) / (0.02 + p * 0.7);
            assert!(taken > 0.7 * most, "{taken} of {most} where one in {one_in} is refused: {refused}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_sent_before_it_was_lowered_does_not_lower_it_again() {
        let mut rate = Rate::new(1000.0);
        let begun = Instant::now();
        for number in 0..100 {
            tokio::time::advance(Duration::from_millis(6)).await;
            if number % 2 == 0 {
                rate.throttled(Instant::now())
            } else {
                rate.taken(Instant::now())
            };
        }
        let lowered = rate.now();
        assert!((80.0..100.0).contains(&lowered), "{lowered}");
        for number in 0..100 {
            rate.throttled(begun + Duration::from_millis(number));
        }
        assert!((rate.now() - lowered).abs() < 1.0);
    }
}
