//! How many requests a service takes in a second, found by sending more until it refuses some.

use std::time::Duration;

use tokio::time::Instant;

/// A rate that each answer moves: up by what is to be refused at this rate, and down by what is.
///
/// The faster a client is, the less it lets be refused. So clients that do not know of each other, and see the same share refused, come to
/// the same rate: who is faster than the others is refused more than it lets be, and who is slower less.
///
/// It is a rate and not a window, since rates are what services limit: 200 requests in a second, each answered after 1 ms, are a
/// fifth of a request at a time.
#[derive(Debug)]
pub(super) struct Rate {
    /// In requests per second.
    rate: f64,
    phase: Phase,
    /// What was sent before was sent at another rate, and tells nothing of this one.
    since: Instant,
    seen: Seen,
    /// Whether it has begun from little.
    has_started: bool,
    refused_in_a_row: u32,
    /// How many were to be refused since the last one was.
    missing: f64,
    /// So many answers more, before it is tried whether some are refused at random.
    until_trial: u32,
    between_trials: u32,
    last_throttled: Instant,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    /// Some were refused, which does not show yet that there is a rate.
    Watching,
    /// From little to more, until several are refused.
    Starting,
    /// Near what is taken.
    Keeping,
    /// Much more is sent, to see whether a larger share is refused.
    Trying { from: f64, share: f64, of: u32 },
    /// This share is refused whatever is sent, which is believed for some time.
    AtRandom { from: f64, share: f64, until: Instant },
}

/// What became of requests.
#[derive(Debug)]
struct Seen {
    since: Instant,
    answers: u32,
    refused: u32,
}

/// A client that is fast lets this share be refused,
const LEAST_SHARE: f64 = 0.004;
/// and one whose rate is `r` so many in `r + SLOW` more.
const TO_BE_REFUSED: f64 = 3.0;
const SLOW: f64 = 15.0;
/// What is refused beyond that lowers the rate by so many times its share in a second. More would swing where answers take a tenth of
/// a second.
const GAIN: f64 = 3.0;
/// Half as much at this rate, and less below: a single refusal is much of what a slow client sees.
const HALF_GAIN: f64 = 40.0;
/// When so many refusals are missing, it grows faster: somebody has left.
const MISSING: f64 = 4.0;
const SLOWEST: f64 = 1.0;
/// One that is faster need not be slowed: S3 takes 5,500 reads in a second for each prefix, and more as it is used.
const FASTEST: f64 = 20_000.0;

/// So many answers show whether there is a rate.
const FIRST: u32 = 20;
/// When this share is refused, there is.
const MUCH: f64 = 0.2;
/// All start here, whatever they had: so none has more than another for long.
const START: f64 = 20.0;
/// Each that is taken raises it by so much: it doubles in half a second,
const DOUBLING: f64 = 1.4;
/// until so many are refused. Then it goes on with this share of it.
const SEVERAL: u32 = 5;
const LEFT: f64 = 0.7;
/// When so many are refused in a row, nothing is taken from anybody: what was found before is of no use when that is over.
const OUTAGE: u32 = 20;

/// So many answers, this many refusals, and this time tell a share.
const ANSWERS: u32 = 100;
const REFUSALS: u32 = 10;
const TIME: Duration = Duration::from_millis(250);
/// More often than this, who refuses has a reason.
const MOST_AT_RANDOM: f64 = 0.15;
/// The first trial comes after so many answers, and each that fails doubles their number, up to this.
const TRIAL: u32 = 600;
const LONGEST: u32 = 10_000;
/// A step of it: where many clients share a rate, four times as much of one of them is a difference.
const STEP: f64 = 4.0;
/// One that is not sent so much of what the rate allows wants no more,
const WANTED: f64 = 0.7;
/// and nothing was tried unless it was so much more than before.
const TRIED: f64 = 1.7;
/// How far a share may be from another by chance, in standard deviations; the second one is looked at again and again.
const CHANCE: f64 = 3.0;
const CHANCE_OF_MANY: f64 = 4.0;
/// What is refused at random is let pass for so long,
const BELIEVED: Duration = Duration::from_secs(30);
/// and looked at as often.
const LOOK: Duration = Duration::from_secs(1);
/// After so long without a refusal, there is nothing to be slowed.
const QUIET: Duration = Duration::from_secs(60);

impl Rate {
    /// For a service that refused a request which was sent at `begun`, and was sent so many in a second.
    pub(super) fn new(sent: f64, begun: Instant) -> Self {
        Self {
            rate: sent.clamp(SLOWEST, FASTEST),
            phase: Phase::Watching,
            since: begun,
            seen: Seen::begin(),
            has_started: false,
            refused_in_a_row: 0,
            missing: 0.0,
            until_trial: TRIAL,
            between_trials: TRIAL,
            last_throttled: Instant::now(),
        }
    }

    /// In requests per second.
    pub(super) fn now(&self) -> f64 {
        self.rate
    }

    /// A request that was sent at `begun` was taken.
    pub(super) fn taken(&mut self, begun: Instant) {
        self.answered(begun, false);
    }

    /// One that was sent at `begun` was refused.
    pub(super) fn throttled(&mut self, begun: Instant) {
        self.last_throttled = Instant::now();
        self.answered(begun, true);
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.last_throttled.elapsed() >= QUIET
    }

    fn answered(&mut self, begun: Instant, refused: bool) {
        if begun < self.since {
            return;
        }
        self.seen.answers += 1;
        self.seen.refused += u32::from(refused);
        self.until_trial = self.until_trial.saturating_sub(1);
        match self.phase {
            Phase::Watching => self.watch(),
            Phase::Starting => self.start(refused),
            Phase::Keeping => self.keep(refused),
            Phase::Trying { from, share, of } => self.try_more(from, share, of),
            Phase::AtRandom { from, share, until } => self.let_pass(from, share, until),
        }
    }

    fn watch(&mut self) {
        if self.seen.answers < FIRST {
            return;
        }
        let share = self.seen.share();
        if share > MUCH {
            self.start_anew();
        } else if self.seen.refused == 0 {
            // What was sent when one was refused may have been far less than what is wanted now.
            self.go_on(Phase::Starting, self.rate);
        } else {
            self.go_on(Phase::Keeping, self.rate * (1.0 - share));
        }
    }

    fn start_anew(&mut self) {
        self.has_started = true;
        self.go_on(Phase::Starting, self.rate.min(START));
    }

    fn start(&mut self, refused: bool) {
        if self.seen.refused >= SEVERAL {
            self.go_on(Phase::Keeping, self.rate * LEFT);
        } else if !refused {
            self.set(self.rate + DOUBLING);
        }
    }

    fn keep(&mut self, refused: bool) {
        if self.seen.since.elapsed() >= TIME && self.share_is_for_another_phase() {
            return;
        }
        let in_a_row = if refused { self.refused_in_a_row + 1 } else { 0 };
        let before = std::mem::replace(&mut self.refused_in_a_row, in_a_row);
        if !refused && before >= OUTAGE {
            return self.go_on(Phase::Starting, self.rate);
        }
        let to_be_refused = LEAST_SHARE + TO_BE_REFUSED / (self.rate + SLOW);
        self.missing = if refused { 0.0 } else { self.missing + to_be_refused };
        let up = to_be_refused * (self.missing / MISSING).max(1.0);
        let down = f64::from(u8::from(refused));
        // In a second there are as many answers as the rate says.
        let gain = GAIN / (self.rate + HALF_GAIN);
        self.set(self.rate * (gain * (up - down)).exp());
    }

    /// Goes on in another phase where what was seen is a reason.
    fn share_is_for_another_phase(&mut self) -> bool {
        let Seen { answers, refused, .. } = self.seen;
        let share = self.seen.share();
        if !self.has_started && answers >= FIRST && share > MUCH {
            self.start_anew();
            return true;
        }
        if answers < ANSWERS || refused < REFUSALS {
            return false;
        }
        if self.until_trial == 0 && share <= MOST_AT_RANDOM {
            self.go_on(Phase::Trying { from: self.rate, share, of: answers }, self.rate * STEP);
            return true;
        }
        self.seen = Seen::begin();
        false
    }

    /// Where a rate is the reason, more are refused as soon as more are sent; at random, the same share is.
    fn try_more(&mut self, from: f64, share: f64, of: u32) {
        let answers = self.seen.answers;
        if self.seen.is_above(share, CHANCE, f64::from(of)) {
            return self.not_at_random(from);
        }
        if answers < ANSWERS {
            return;
        }
        let sent = f64::from(answers) / self.seen.since.elapsed().as_secs_f64();
        if sent >= WANTED * self.rate && self.rate < FASTEST {
            self.go_on(self.phase, self.rate * STEP);
        } else if sent >= TRIED * from {
            self.go_on(Phase::AtRandom { from, share, until: Instant::now() + BELIEVED }, self.rate);
        } else {
            self.until_trial = self.between_trials;
            self.go_on(Phase::Keeping, from);
        }
    }

    fn let_pass(&mut self, from: f64, share: f64, until: Instant) {
        if Instant::now() >= until {
            // To be tried again, from where it is seen.
            self.until_trial = 0;
            self.go_on(Phase::Keeping, self.rate / STEP);
        } else if self.seen.answers >= ANSWERS && self.seen.since.elapsed() >= LOOK {
            if self.seen.is_above(share, CHANCE_OF_MANY, f64::INFINITY) {
                return self.not_at_random(from);
            }
            if self.seen.share() < share / 2.0 {
                self.phase = Phase::AtRandom { from, share: self.seen.share(), until };
            }
            self.seen = Seen::begin();
        }
    }

    fn not_at_random(&mut self, from: f64) {
        self.between_trials = (2 * self.between_trials).min(LONGEST);
        self.until_trial = self.between_trials;
        self.go_on(Phase::Keeping, from);
    }

    fn go_on(&mut self, phase: Phase, rate: f64) {
        self.phase = phase;
        self.set(rate);
        (self.since, self.seen) = (Instant::now(), Seen::begin());
        (self.refused_in_a_row, self.missing) = (0, 0.0);
    }

    fn set(&mut self, rate: f64) {
        self.rate = rate.clamp(SLOWEST, FASTEST);
    }
}

impl Seen {
    fn begin() -> Self {
        Self { since: Instant::now(), answers: 0, refused: 0 }
    }

    /// The share that was refused.
    fn share(&self) -> f64 {
        f64::from(self.refused) / f64::from(self.answers)
    }

    /// Whether more were refused than a share says by chance, which was seen in so many answers.
    fn is_above(&self, share: f64, chance: f64, of: f64) -> bool {
        let answers = f64::from(self.answers);
        let deviation = (share * (1.0 - share) * answers * (1.0 + answers / of)).sqrt();
        f64::from(self.refused) > share * answers + chance * deviation + 1.0
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
            let few = if allowed < 50.0 { 0.11 } else { 0.05 };
            assert!(refused < few, "{refused} of what was sent, with {allowed}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_that_come_whatever_is_sent_do_not_lower_it_for_long() {
        for one_in in [10, 20, 100] {
            let mut random = fastrand::Rng::with_seed(7);
            let (taken, refused) = minute(Duration::from_millis(20), || random.u32(0..one_in) > 0).await;
            // 64 tasks, each of which waits for 0.7 s when it was refused.
            let p = 1.0 / f64::from(one_in);
            let most = 64.0 * (1.0 - p) / (0.02 + p * 0.7);
            assert!(taken > 0.7 * most, "{taken} of {most} where one in {one_in} is refused: {refused}");
        }
    }

    /// Answers to a request that is sent now.
    async fn answers(rate: &mut Rate, count: u32, refused: impl Fn(u32) -> bool) {
        for number in 0..count {
            tokio::time::advance(Duration::from_secs_f64(1.0 / rate.now())).await;
            if refused(number) { rate.throttled(Instant::now()) } else { rate.taken(Instant::now()) }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_sent_before_it_was_lowered_does_not_lower_it_again() {
        let begun = Instant::now();
        let mut rate = Rate::new(1000.0, begun);
        answers(&mut rate, FIRST, |number| number % 2 == 0).await;
        let lowered = rate.now();
        assert!(lowered <= START, "{lowered}");
        for _ in 0..100 {
            rate.throttled(begun);
        }
        assert!((rate.now() - lowered).abs() < f64::EPSILON);
    }

    #[tokio::test(start_paused = true)]
    async fn a_few_refusals_of_many_requests_do_not_make_it_begin_anew() {
        let mut rate = Rate::new(1000.0, Instant::now());
        answers(&mut rate, 500, |number| number % 50 == 0).await;
        assert!(rate.now() > 900.0, "{}", rate.now());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_was_refused_little_begins_anew_when_it_is_refused_much() {
        let mut rate = Rate::new(1000.0, Instant::now());
        answers(&mut rate, FIRST, |number| number % 10 == 0).await;
        assert!(rate.now() > 800.0, "{}", rate.now());
        answers(&mut rate, 300, |number| number % 2 == 0).await;
        assert!(rate.now() < 2.0 * START, "{}", rate.now());
    }

    #[tokio::test(start_paused = true)]
    async fn one_refusal_when_little_was_sent_does_not_hold_up_what_comes() {
        let mut rate = Rate::new(5.0, Instant::now());
        let begun = Instant::now();
        answers(&mut rate, 500, |_| false).await;
        assert!(
            rate.now() > 500.0 && begun.elapsed() < Duration::from_secs(10),
            "{} {:?}",
            rate.now(),
            begun.elapsed()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn the_faster_a_client_is_the_less_it_lets_be_refused() {
        let mut at = Vec::new();
        for rate in [20.0, 200.0, 2000.0] {
            let mut kept = Rate { phase: Phase::Keeping, has_started: true, ..Rate::new(rate, Instant::now()) };
            answers(&mut kept, 200, |number| number % 20 == 0).await;
            at.push(kept.now() / rate);
        }
        assert!(at[0] > 1.0 && at[1] < 1.0 && at[2] < 1.0, "one in twenty refused: {at:?}");
    }
}
