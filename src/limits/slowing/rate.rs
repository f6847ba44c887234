//! How many requests a service takes in a second, found by sending more until it refuses some.

use std::time::Duration;

use tokio::time::Instant;

/// A rate that grows by less than in proportion to itself, and is lowered in proportion to itself and to the share that a service
/// refuses: so clients that do not know of each other, and see the same share refused, come to similar rates.
///
/// It is a rate and not a window, since rates are what services limit: 200 requests in a second, each answered after 1 ms, are a
/// fifth of a request at a time. And it looks at shares of what was sent, not at single refusals: those that come at random,
/// whatever is sent, would lower it to nothing. Where lowering it does not help, they are let pass for a while.
#[derive(Debug)]
pub(super) struct Rate {
    /// When it was lowered, and to what.
    since: Instant,
    lowered_to: f64,
    epoch: Epoch,
    /// How many epochs may still be short. Those who begin know nothing, and send far too much.
    short: u8,
    trial: Option<Trial>,
    /// The most that was sent since lowering it last helped.
    most: f64,
    at_random: Option<AtRandom>,
    last_throttled: Instant,
}

/// What shows whether fewer are refused when fewer are sent.
#[derive(Debug)]
struct Trial {
    begun: Instant,
    /// What was sent in a second, and the share that was refused.
    sent: f64,
    refused: f64,
    /// What became of those that were sent since then.
    taken: f64,
    throttled: f64,
}

/// This share is refused whatever is sent, which is believed for some time.
#[derive(Debug)]
struct AtRandom {
    share: f64,
    until: Instant,
}

/// What became of the requests that were sent since then.
#[derive(Debug)]
struct Epoch {
    begun: Instant,
    /// When the last of them was sent.
    last: Instant,
    /// For how long they were sent: a long pause tells nothing of what a service takes.
    span: Duration,
    taken: u32,
    throttled: u32,
}

/// A service may refuse this share.
const FEW: f64 = 0.02;
/// Of what is refused, this share is nothing to be slowed for.
const HARMLESS: f64 = 0.01;
/// It grows by this much times its root, in requests per second and each second: by less for its size the larger it is, so that shares
/// come closer, and by enough at any size.
const GROWTH: f64 = 0.6;
/// It is lowered by this much times the share that is refused, each second. The more it is, the fewer are refused, and the more
/// shares differ by chance.
const LOWERED: f64 = 2.0;
/// One that begins is lowered to this share of what is taken.
const LEFT: f64 = 0.9;
/// It is not lowered to less than this share of itself at a time: most of what is refused may be another client's, who begins.
const LOWEST: f64 = 0.5;
const SLOWEST: f64 = 1.0;
/// One that is faster need not be slowed: S3 takes 5,500 reads in a second for each prefix, and more as it is used.
const FASTEST: f64 = 20_000.0;
/// What is too little to tell a share.
const ANSWERS: u32 = 10;
const TIME: Duration = Duration::from_millis(500);
const SHORT_TIME: Duration = Duration::from_millis(100);
/// Longer than what was refused waits until it is sent again.
const PAUSE: Duration = Duration::from_secs(1);
/// As often as a client that begins has to be lowered at once: first by what its first burst shows, then by what that was sent again.
const SHORT: u8 = 2;
/// How far a share may be from what it is by chance, in standard deviations.
const CHANCE: f64 = 2.0;
/// The share that starts a trial was one by chance too, so that the next one is smaller.
const STARTS: f64 = 0.6;
/// It has helped when this share of the refusals is left, of so many to be expected.
const HELPED: f64 = 0.4;
const EXPECTED: f64 = 8.0;
/// It has not helped when this share is left of so many, at this share of what was sent, after so long: others lower theirs too.
const NOT_HELPED: f64 = 0.7;
const REFUSALS: f64 = 60.0;
const ENOUGH: f64 = 0.6;
const TRIAL: Duration = Duration::from_millis(1500);
/// Where fewer than these were refused it takes more of them: so many are, where several clients share what a service takes.
const MANY: f64 = 0.1;
const REFUSALS_OF_FEW: f64 = 200.0;
/// Less than this is not taken for chance.
const CLEARLY: f64 = 0.035;
/// What was sent before may be sent again, and so much more.
const MARGIN: f64 = 1.5;
/// For so long what is refused at random is let pass.
const BELIEVED: Duration = Duration::from_secs(10);
/// After so long without a refusal, there is nothing to be slowed.
const QUIET: Duration = Duration::from_secs(60);

impl Rate {
    /// For a service that refused a request which was sent at `begun`, and was sent so many in a second.
    pub(super) fn new(sent: f64, begun: Instant) -> Self {
        let now = Instant::now();
        Self {
            since: now,
            lowered_to: sent.clamp(SLOWEST, FASTEST),
            epoch: Epoch::begin(begun),
            short: SHORT,
            trial: None,
            most: 0.0,
            at_random: None,
            last_throttled: now,
        }
    }

    /// In requests per second.
    pub(super) fn now(&self) -> f64 {
        let passed = self.since.elapsed().as_secs_f64();
        // What `GROWTH` says, over time.
        let grown = (self.lowered_to.sqrt() + GROWTH * passed / 2.0).powi(2);
        let most = match &self.at_random {
            Some(at_random) if Instant::now() < at_random.until => self.lowered_to.max(MARGIN * self.most),
            _ => FASTEST,
        };
        grown.min(most).clamp(SLOWEST, FASTEST)
    }

    /// Whether it may have been lowered.
    pub(super) fn taken(&mut self, begun: Instant) -> bool {
        self.answered(begun, |epoch| epoch.taken += 1)
    }

    /// Whether it may have been lowered.
    pub(super) fn throttled(&mut self, begun: Instant) -> bool {
        self.last_throttled = Instant::now();
        self.answered(begun, |epoch| epoch.throttled += 1)
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.last_throttled.elapsed() >= QUIET
    }

    /// What was sent before the epoch was sent at another rate, and tells nothing of this one.
    fn answered(&mut self, begun: Instant, count: impl FnOnce(&mut Epoch)) -> bool {
        if begun < self.epoch.begun {
            return false;
        }
        count(&mut self.epoch);
        let pause = if self.short > 0 { SHORT_TIME } else { PAUSE };
        self.epoch.sent_at(begun, pause.max(Duration::from_secs_f64(2.0 / self.now())));
        if !self.epoch.is_telling(self.short > 0) {
            return false;
        }
        let now = Instant::now();
        let epoch = std::mem::replace(&mut self.epoch, Epoch::begin(now));
        self.judge(&epoch, now);
        true
    }

    fn judge(&mut self, epoch: &Epoch, now: Instant) {
        let (rate, refused) = (self.now(), epoch.refused());
        let sent = epoch.sent().min(rate);
        if epoch.span < TIME {
            self.short -= 1;
            self.most = self.most.max(sent);
            let taken = 1.0 - refused + by_chance(refused, epoch) / 2.0;
            self.go_on_from(sent * taken.min(LEFT), now);
            return;
        }
        self.short = 0;
        if self.is_at_random(epoch, rate, now) {
            // What waits to be sent once more looks like less that is sent.
            self.go_on_from(MARGIN * self.most, now);
            return;
        }
        let at_random = self.at_random.as_ref().filter(|at_random| now < at_random.until);
        let (share, chance) = at_random.map_or((0.0, 1.0), |at_random| (at_random.share, 1.5));
        let few = share + FEW;
        let harmless = share + HARMLESS;
        if refused <= harmless {
            return;
        }
        let lowered = (-LOWERED * (refused - harmless) * epoch.span.as_secs_f64()).exp().max(LOWEST);
        if refused > few + chance * by_chance(few, epoch) {
            self.most = self.most.max(sent);
            // Until it has shown whether that helps.
            let held = self.trial.as_ref().is_some_and(|trial| rate < ENOUGH * trial.sent && !trial.seems_to_help());
            self.go_on_from(if held { rate } else { sent * lowered }, now);
            let surely = (refused - STARTS / CHANCE * by_chance(refused, epoch)).max(FEW);
            self.trial.get_or_insert(Trial::begin(sent, surely, now));
        } else {
            self.go_on_from(rate * lowered, now);
        }
    }

    /// Whether what is refused is so whatever is sent, which a trial has shown now.
    fn is_at_random(&mut self, epoch: &Epoch, rate: f64, now: Instant) -> bool {
        let Some(trial) = &mut self.trial else { return false };
        trial.taken += f64::from(epoch.taken);
        trial.throttled += f64::from(epoch.throttled);
        let share = trial.share();
        let low = rate < ENOUGH * trial.sent && now - trial.begun >= TRIAL;
        if share < HELPED * trial.refused && trial.answers() * trial.refused >= EXPECTED {
            self.trial = None;
            self.most = 0.0;
        } else if epoch.refused() > trial.refused + 3.0 * by_chance(trial.refused, epoch) {
            // It has become worse, which is another matter.
            self.trial = None;
        } else if low && trial.throttled >= trial.enough() {
            if share > NOT_HELPED * trial.refused && share > CLEARLY {
                self.at_random = Some(AtRandom { share, until: now + BELIEVED });
                self.trial = None;
                return true;
            }
            self.trial = Some(Trial::begin(epoch.sent().min(rate), share, now));
        }
        false
    }

    fn go_on_from(&mut self, to: f64, now: Instant) {
        (self.since, self.lowered_to) = (now, to.clamp(SLOWEST, FASTEST));
    }
}

impl Trial {
    fn begin(sent: f64, refused: f64, now: Instant) -> Self {
        Self { begun: now, sent, refused, taken: 0.0, throttled: 0.0 }
    }

    fn answers(&self) -> f64 {
        self.taken + self.throttled
    }

    /// The share that is refused now.
    fn share(&self) -> f64 {
        self.throttled / self.answers()
    }

    /// How many refusals tell that it does not help.
    fn enough(&self) -> f64 {
        if self.refused < MANY { REFUSALS_OF_FEW } else { REFUSALS * (1.0 - self.refused) }
    }

    fn seems_to_help(&self) -> bool {
        self.answers() > 0.0 && self.share() <= NOT_HELPED * self.refused
    }
}

/// How far a share of this epoch may be from `share` by chance.
fn by_chance(share: f64, epoch: &Epoch) -> f64 {
    CHANCE * (share * (1.0 - share) / epoch.answers()).sqrt()
}

impl Epoch {
    fn begin(now: Instant) -> Self {
        Self { begun: now, last: now, span: Duration::ZERO, taken: 0, throttled: 0 }
    }

    fn sent_at(&mut self, begun: Instant, pause: Duration) {
        if begun > self.last {
            self.span += (begun - self.last).min(pause);
            self.last = begun;
        }
    }

    /// When most are refused, a short one tells enough.
    fn is_telling(&self, short: bool) -> bool {
        let enough = if short && self.throttled > self.taken { SHORT_TIME } else { TIME };
        self.taken + self.throttled >= ANSWERS && self.span >= enough
    }

    fn answers(&self) -> f64 {
        f64::from(self.taken + self.throttled)
    }

    /// The share that was.
    fn refused(&self) -> f64 {
        f64::from(self.throttled) / self.answers()
    }

    /// In a second.
    fn sent(&self) -> f64 {
        self.answers() / self.span.as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a service took and refused in a minute after the first 5 s, when it is sent what the rate allows, and
    /// not more than 64 at a time, of which the refused come again after some time.
    async fn minute(latency: Duration, mut takes: impl FnMut() -> bool) -> (f64, f64) {
        let mut rate = Rate::new(3000.0, Instant::now());
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
            // The fewer are allowed, the larger a share is one refusal.
            let few = if allowed < 50.0 { 0.08 } else { 0.05 };
            assert!(refused < few, "{refused} of what was sent, with {allowed}");
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
        let mut rate = Rate::new(1000.0, Instant::now());
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
        assert!((80.0..110.0).contains(&lowered), "{lowered}");
        for number in 0..100 {
            rate.throttled(begun + Duration::from_millis(number));
        }
        assert!((rate.now() - lowered).abs() < 1.0);
    }
}
