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

/// The calls that were met so far.
#[derive(Debug, Default)]
pub(super) struct Counts {
    all: Count,
    each: HashMap<u64, Count>,
}

#[derive(Debug, Default)]
struct Count {
    seen: usize,
    chosen: usize,
}

impl Counts {
    /// Counts a call, and gives what was drawn for it when it is chosen. `None` stands for a connection.
    pub(super) fn count(&mut self, schedule: &Schedule, subject: Option<&Subject<'_>>) -> Option<Draw> {
        let identity = subject.filter(|_| schedule.per_key).map(Subject::identity);
        let count = match identity {
            Some(identity) => self.each.entry(identity).or_default(),
            None => &mut self.all,
        };
        count.seen += 1;
        let chance = schedule.chance.unwrap_or(Chance { rate: 1.0, seed: 0 });
        let draw = chance.draw(identity.unwrap_or_default(), count.seen);
        let chosen = count.seen >= schedule.on_call && count.chosen < schedule.times() && chance.chooses(draw);
        count.chosen += usize::from(chosen);
        chosen.then_some(draw)
    }

    /// Whether a call may be chosen some day.
    pub(super) fn is_left(&self, schedule: &Schedule) -> bool {
        match schedule.per_key {
            true => schedule.times() > 0,
            false => self.all.chosen < schedule.times(),
        }
    }
}
