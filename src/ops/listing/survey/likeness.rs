//! Which directories are like others: by their own names, and by those below them.

use std::collections::BTreeMap;

use super::super::keyspace::{KeySpace, samples};

/// A name is odd when one in so many is of its shape, and no more than so many are.
const ODD: usize = 8;
const MOST_ODD: usize = 3;

/// What directories have in common whose names below them look alike.
#[derive(Debug)]
pub(super) struct Kind {
    pub(super) looks: String,
    pub(super) space: KeySpace,
    /// Behind this name, none of those whose ends are known has any.
    pub(super) end: Option<String>,
    /// The last name that was seen in any of them.
    pub(super) last: Option<String>,
}

impl Kind {
    pub(super) fn new(looks: String) -> Self {
        Self { looks, space: KeySpace::new(""), end: None, last: None }
    }
}

/// Those whose shapes few others have, where most are of one that many have.
pub(super) fn odd(directories: &[String]) -> Vec<String> {
    let mut counts = BTreeMap::<String, usize>::new();
    for directory in directories {
        *counts.entry(shape(directory)).or_default() += 1;
    }
    let is_odd = |directory: &&String| counts[&shape(directory)] * ODD <= directories.len();
    let odd: Vec<String> = directories.iter().filter(is_odd).cloned().collect();
    if odd.len() <= MOST_ODD { odd } else { Vec::new() }
}

/// A name without what numbers differ in.
fn shape(name: &str) -> String {
    let mut shape = String::with_capacity(name.len());
    for character in name.chars() {
        let character = if character.is_ascii_digit() { '0' } else { character };
        if character != '0' || !shape.ends_with('0') {
            shape.push(character);
        }
    }
    shape
}

/// How names look, by some of them: what stands between their letters and digits, and where there are digits only.
pub(super) fn looks<'a>(count: usize, name: impl Fn(usize) -> &'a str) -> String {
    let mut found: Vec<(char, bool)> = Vec::new();
    for sample in samples(count) {
        let runs = runs(name(sample));
        if sample == 0 {
            found = runs;
        } else if runs.iter().map(|(run, _)| run).eq(found.iter().map(|(run, _)| run)) {
            found.iter_mut().zip(runs).for_each(|((_, digits), (_, also))| *digits &= also);
        }
    }
    found.into_iter().map(|(run, digits)| if digits { '0' } else { run }).collect()
}

/// Letters and digits in a row as `x`, with whether they are digits only, and all other characters.
fn runs(name: &str) -> Vec<(char, bool)> {
    let mut runs: Vec<(char, bool)> = Vec::new();
    for character in name.chars() {
        match runs.last_mut() {
            _ if !character.is_alphanumeric() => runs.push((character, false)),
            Some(('x', digits)) => *digits &= character.is_ascii_digit(),
            _ => runs.push(('x', character.is_ascii_digit())),
        }
    }
    runs
}
