use std::collections::HashMap;

use super::chance::{Chance, Draw};
use super::target::Subject;

/// At which of the calls that it matches a fault bites.
#[derive(Debug, Clone)]
pub(super) struct Schedule {
    /// Counted from 1.
    pub(super) on_call: usize,
    /// Once, or without an end at a rate.
    pub(super) times: Option<usize>,
    pub(super) chance: Option<Chance>,
    pub(super) per_key: bool,
}

impl Default for Schedule {
    fn default() -> Self {
        Self { on_call: 1, times: None, chance: None, per_key: false }
    }
}

impl Schedule {
    fn times(&self) -> usize {
        self.times.unwrap_or(if self.chance.is_some() { usize::MAX } else { 1 })
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
        let (seen, chosen) = match subject {
            None => (&mut self.connections, &mut self.all.chosen),
            Some(_) => {
                let count = if schedule.per_key { self.each.entry(identity).or_default() } else { &mut self.all };
                (&mut count.seen, &mut count.chosen)
            }
        };
        *seen += 1;
        let chance = schedule.chance.unwrap_or(Chance { rate: 1.0, seed: 0 });
        let draw = chance.draw(identity, *seen);
        let bites = *seen >= schedule.on_call && *chosen < schedule.times() && chance.chooses(draw);
        *chosen += usize::from(bites);
        bites.then_some(draw)
    }

    /// Whether anything may be chosen some day.
    pub(super) fn is_left(&self, schedule: &Schedule) -> bool {
        if schedule.per_key { schedule.times() > 0 } else { self.all.chosen < schedule.times() }
    }
}
