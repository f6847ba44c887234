use std::collections::HashMap;
use std::time::Instant;

use super::chance::{Chance, Draw};
use super::target::Subject;

/// At which of the calls that it matches a fault bites.
#[derive(Debug, Clone)]
pub(super) struct Schedule {
    /// Counted from 1.
    pub(super) on_call: usize,
    /// Once, or without an end at or beyond a rate.
    pub(super) times: Option<usize>,
    pub(super) chance: Option<Chance>,
    pub(super) per_key: bool,
    /// So many calls in a second are none of it.
    pub(super) beyond: Option<u32>,
}

impl Default for Schedule {
    fn default() -> Self {
        Self { on_call: 1, times: None, chance: None, per_key: false, beyond: None }
    }
}

impl Schedule {
    fn times(&self) -> usize {
        let without_end = self.chance.is_some() || self.beyond.is_some();
        self.times.unwrap_or(if without_end { usize::MAX } else { 1 })
    }
}

/// What was met so far.
#[derive(Debug, Default)]
pub(super) struct Counts {
    connections: usize,
    all: Count,
    each: HashMap<u64, Count>,
}

#[derive(Debug, Default)]
struct Count {
    seen: usize,
    chosen: usize,
    allowance: Option<Allowance>,
}

/// Calls that are still allowed.
#[derive(Debug, Clone, Copy)]
struct Allowance {
    calls: f64,
    at: Instant,
}

/// What may be caught up with, in seconds.
const CREDIT: f64 = 0.1;

impl Allowance {
    fn new(rate: u32) -> Self {
        Self { calls: f64::from(rate) * CREDIT, at: Instant::now() }
    }

    /// Whether a call is allowed, which is one less then.
    fn take(&mut self, rate: u32) -> bool {
        let rate = f64::from(rate);
        let now = Instant::now();
        let most = (rate * CREDIT).max(1.0);
        self.calls = (self.calls + (now - self.at).as_secs_f64() * rate).min(most);
        self.at = now;
        let allowed = self.calls >= 1.0;
        self.calls -= f64::from(u8::from(allowed));
        allowed
    }
}

/// Sets the draws for connections apart from those for calls.
const CONNECTIONS: u64 = u64::MAX;

impl Counts {
    /// Counts a call, and gives what was drawn for it when it is chosen. `None` stands for a connection.
    pub(super) fn count(&mut self, schedule: &Schedule, subject: Option<&Subject<'_>>) -> Option<Draw> {
        let identity = match subject {
            None => CONNECTIONS,
            Some(subject) if schedule.per_key => subject.identity(),
            Some(_) => 0,
        };
        let (seen, chosen, allowance) = match subject {
            None => (&mut self.connections, &mut self.all.chosen, &mut self.all.allowance),
            Some(_) => {
                let count = if schedule.per_key { self.each.entry(identity).or_default() } else { &mut self.all };
                (&mut count.seen, &mut count.chosen, &mut count.allowance)
            }
        };
        *seen += 1;
        let allowed =
            schedule.beyond.is_some_and(|rate| allowance.get_or_insert_with(|| Allowance::new(rate)).take(rate));
        let chance = schedule.chance.unwrap_or(Chance { rate: 1.0, seed: 0 });
        let draw = chance.draw(identity, *seen);
        let bites = !allowed && *seen >= schedule.on_call && *chosen < schedule.times() && chance.chooses(draw);
        *chosen += usize::from(bites);
        bites.then_some(draw)
    }

    /// Whether anything may be chosen some day.
    pub(super) fn is_left(&self, schedule: &Schedule) -> bool {
        if schedule.per_key { schedule.times() > 0 } else { self.all.chosen < schedule.times() }
    }
}
