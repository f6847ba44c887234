//! Where the keys of a prefix are, estimated from a few of its pages, to divide them into parts of about equal count. Pure.
//!
//! The first page is of the next level: it shows the directories in one request, and of a flat prefix it is the first page of all. Each
//! other one begins where the most keys are supposed that little is known of. What lies between two pages is reckoned from how dense
//! they are, by [`KeySpace`]. Estimates decide where the cuts are and nothing else: each key is on one side of a cut.

mod gap;
mod likeness;

use std::collections::BTreeMap;
use std::ops::Range;

use self::gap::{Edge, Gap, spread};
use self::likeness::{Kind, looks, odd};
use super::keyspace::KeySpace;
use crate::address::MAX_KEY_BYTES;

/// As many as are less than a hundredth of the pages of a million keys.
const PROBES: usize = 9;
/// More directories are not looked at one by one.
const MOST_DIRECTORIES: usize = 1000;
/// Directories with nothing but another one are gone down so far.
const MOST_LEVELS: usize = 3;
/// All keys of so many pages are kept, and of the others one of [`THINNED`].
const WHOLE_PAGES: usize = 32;
const THINNED: usize = 16;
/// The end of a gap is far when that is so many times the run before it and so many pages, both as binary logarithms.
const GALLOP: f64 = 4.0;
const FAR: f64 = 13.0;
/// How doubtful the size of a directory is of which nothing is known.
const ANY_SIZE: f64 = 4.0;
/// An end that leaves out less of a directory is not looked at.
const MOST_OF_IT: f64 = 0.9;
/// A place without keys of a quarter of a gap, by its logarithm.
const HOLE: f64 = 2.0;
/// Where what lies between two pages matters less than so much of a part, nothing more is asked.
const ENOUGH: f64 = 0.05;

#[derive(Debug)]
pub(in crate::ops) struct Survey {
    /// What all keys begin with, as far as is known.
    prefix: String,
    space: KeySpace,
    /// Of the names below directories; the first is that of those of which nothing is known.
    kinds: Vec<Kind>,
    kind_of: BTreeMap<String, usize>,
    /// What is known, in order and apart; there is at least a key between two.
    known: Vec<Stretch>,
    /// Where those directories begin that are looked at one by one.
    directories: Vec<String>,
    /// Those of them whose names are not of the shape that the others' have: their sizes may not be those of the others either.
    odd: Vec<String>,
    /// How many directories were gone down that hold everything.
    levels: usize,
    answers: usize,
    page_size: usize,
    most: Option<usize>,
}

/// Keys that are known, all between two places.
#[derive(Debug)]
struct Stretch {
    from: String,
    /// `None`: to the last key.
    to: Option<String>,
    /// Some of them, and how many each stands for.
    keys: Vec<(String, f64)>,
}

/// A page to ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::ops) struct Question {
    pub(in crate::ops) prefix: String,
    pub(in crate::ops) next_level: bool,
    pub(in crate::ops) start_after: Option<String>,
}

/// Keys, and prefixes that end with `/`, in byte order.
#[derive(Debug, Default)]
pub(in crate::ops) struct Answer {
    /// With whether each is a prefix.
    pub(in crate::ops) entries: Vec<(String, bool)>,
    pub(in crate::ops) more: bool,
}

impl Survey {
    pub(in crate::ops) fn new(prefix: &str, most: Option<usize>) -> Self {
        Self {
            prefix: prefix.to_owned(),
            space: KeySpace::new(prefix),
            kinds: vec![Kind::new(String::new())],
            kind_of: BTreeMap::new(),
            known: Vec::new(),
            directories: Vec::new(),
            odd: Vec::new(),
            levels: 0,
            answers: 0,
            page_size: 0,
            most,
        }
    }

    /// The next page to ask for, to make so many parts; `None` when enough is known.
    pub(in crate::ops) fn next(&self, parts: usize) -> Option<Question> {
        if self.known.is_empty() {
            return Some(Question { prefix: self.prefix.clone(), next_level: true, start_after: None });
        }
        let gaps = self.gaps();
        let total = self.total(&gaps);
        if parts < 2 || self.answers >= self.most.unwrap_or(PROBES) {
            return None;
        }
        let most = gaps.iter().map(Gap::worth).max_by(f64::total_cmp)?;
        let mut odd = self.odd.iter().filter(|odd| gaps.iter().any(|gap| gap.is_unknown() && gap.low == **odd));
        let start_after = match odd.next() {
            Some(directory) => directory.clone(),
            None if most < ENOUGH * total / parts as f64 && !gaps.iter().any(Gap::is_unknown) => return None,
            None => self.place(spread(&gaps, most)?, &gaps),
        };
        Some(Question { prefix: self.prefix.clone(), next_level: false, start_after: Some(start_after) })
    }

    /// Where in a gap the next page is to begin.
    fn place(&self, gap: &Gap, gaps: &[Gap]) -> String {
        let Gap { at, low, high, left, right, mass, .. } = gap;
        let page = self.page_size.max(1) as f64;
        if *mass <= 2.0 * page {
            return low.clone();
        }
        let whole = self.distance(low, high.as_deref());
        let inside = |low: &str, distance: f64| {
            let key = self.beyond(low, distance)?;
            (key > gap.low && gap.high.as_ref().is_none_or(|high| key < *high)).then_some(key)
        };
        let next = gaps.iter().find(|next| next.at == at + 1 && next.left == Edge::Unknown);
        if let Some(end) = &gap.end {
            return end.clone();
        }
        let found = match (left, right) {
            // Near its end, where the next directory shows too.
            (Edge::Unknown, Edge::Unknown) if next.is_some() && self.known[*at].keys.is_empty() => {
                let rest = (page / 2.0 / mass).clamp(1.0 / 64.0, 0.5);
                inside(low, whole + (1.0 - rest).log2())
            }
            (Edge::Dense(_), Edge::Empty | Edge::Unknown) if gap.is_far() => {
                let first = self.run_before(*at);
                let run = self.distance(first, Some(low));
                let all = (run.exp2() + whole.exp2()).log2();
                inside(first, f64::midpoint(all, run))
            }
            // Its end is not where it was looked for; where it begins, there are keys.
            (Edge::Unknown, Edge::Empty) => None,
            _ => inside(low, whole - 1.0),
        };
        found.unwrap_or_else(|| low.clone())
    }

    /// Where a gap that goes to the end of a directory has its last keys, if it is as in the others and much is left out so.
    fn supposed_end(&self, gap: &Gap) -> Option<String> {
        let directory = self.below(&gap.low).filter(|_| gap.left.density().is_some())?;
        let name = &gap.low[directory.len()..];
        if gap.high.as_ref().is_none_or(|high| *high != behind(directory)) {
            return None;
        }
        let kind = self.kind(directory);
        let end = kind.end.as_ref().filter(|end| end.as_str() > name)?;
        let (supposed, whole) = (kind.space.distance(name, Some(end)), kind.space.distance(name, None));
        (supposed < whole + MOST_OF_IT.log2()).then(|| format!("{directory}{end}"))
    }

    /// The first key of the directory of the gap before a stretch.
    fn run_before(&self, at: usize) -> &str {
        let low = self.known[at - 1].to.as_deref().unwrap_or_default();
        let start = self.directory(low).start;
        let mut keys = self.known[..at].iter().flat_map(|stretch| &stretch.keys).map(|(key, _)| key.as_str());
        keys.find(|key| *key >= start.as_str()).unwrap_or(low)
    }

    /// A page has come; false when it is not one of keys in byte order behind where it was to begin.
    pub(in crate::ops) fn answered(&mut self, question: &Question, answer: Answer) -> bool {
        let Answer { entries, more } = answer;
        let start = question.start_after.as_deref();
        let sorted = entries.is_sorted_by(|(one, _), (other, _)| one < other);
        let follows = entries.first().is_none_or(|(first, _)| start.is_none_or(|start| first.as_str() > start));
        if !sorted || !follows || !entries.iter().all(|(key, _)| key.starts_with(&question.prefix)) {
            return false;
        }
        self.answers += 1;
        if more {
            self.page_size = self.page_size.max(entries.len());
        }
        match (&entries[..], start) {
            ([(only, true)], None) if !more && self.levels < MOST_LEVELS => {
                self.levels += 1;
                self.prefix.clone_from(only);
                self.space = KeySpace::new(only);
            }
            (_, None) => self.skeleton(entries, more),
            (_, Some(start)) => {
                self.learn(&entries);
                let to = entries.last().filter(|_| more).map(|(last, _)| last.clone());
                self.add(start.to_owned(), to.or_else(|| more.then(|| start.to_owned())), entries);
            }
        }
        true
    }

    fn learn(&mut self, entries: &[(String, bool)]) {
        let of_directories: Vec<_> =
            entries.chunk_by(|(one, _), (other, _)| self.below(one) == self.below(other)).collect();
        for keys in of_directories {
            let Some(directory) = keys.first().and_then(|(first, _)| self.below(first)).map(str::to_owned) else {
                self.space.learn(keys.len(), |at| &keys[at].0);
                continue;
            };
            let name = |at: usize| &keys[at].0[directory.len()..];
            let kind = match self.kind_of.get(&directory) {
                Some(kind) => *kind,
                None => self.kind_that_looks(looks(keys.len(), name)),
            };
            self.kinds[kind].space.learn(keys.len(), name);
            self.kind_of.insert(directory, kind);
        }
    }

    fn kind_that_looks(&mut self, looks: String) -> usize {
        if self.kind_of.is_empty() {
            self.kinds[0].looks.clone_from(&looks);
        }
        self.kinds.iter().position(|kind| kind.looks == looks).unwrap_or_else(|| {
            self.kinds.push(Kind::new(looks));
            self.kinds.len() - 1
        })
    }

    fn kind(&self, directory: &str) -> &Kind {
        &self.kinds[self.kind_of.get(directory).copied().unwrap_or_default()]
    }

    /// The directory that a place is below, of those that are looked at one by one.
    fn below(&self, place: &str) -> Option<&str> {
        let next = self.directories.partition_point(|directory| directory.as_str() <= place);
        next.checked_sub(1).map(|at| self.directories[at].as_str()).filter(|directory| place.starts_with(directory))
    }

    /// As [`KeySpace::distance`].
    fn distance(&self, low: &str, high: Option<&str>) -> f64 {
        match self.below(low) {
            Some(directory) => {
                let low = &low[directory.len()..];
                let high =
                    high.and_then(|high| high.strip_prefix(directory)).filter(|high| !high.starts_with(char::MAX));
                let kind = self.kind(directory);
                let end = || kind.end.as_deref().filter(|end| *end > low);
                kind.space.distance(low, high.or_else(end))
            }
            None => self.space.distance(low, high),
        }
    }

    /// As [`KeySpace::beyond`].
    fn beyond(&self, low: &str, distance: f64) -> Option<String> {
        match self.below(low) {
            Some(directory) => {
                let name = self.kind(directory).space.beyond(&low[directory.len()..], distance)?;
                Some(format!("{directory}{name}"))
            }
            None => self.space.beyond(low, distance),
        }
    }

    /// Takes in a page of the next level.
    fn skeleton(&mut self, entries: Vec<(String, bool)>, more: bool) {
        self.space.learn(entries.len(), |at| &entries[at].0);
        let directories: Vec<usize> = (0..entries.len()).filter(|at| entries[*at].1).collect();
        // Too many are one gap.
        let skipped = match (directories.first(), directories.last()) {
            (Some(first), Some(last)) if directories.len() > MOST_DIRECTORIES => *first..*last,
            _ => 0..0,
        };
        let mut stretch = Stretch { from: self.prefix.clone(), to: None, keys: Vec::new() };
        for (at, (key, is_directory)) in entries.into_iter().enumerate() {
            if skipped.contains(&at) && at > skipped.start {
                continue;
            }
            if !is_directory {
                stretch.keys.push((key, 1.0));
                continue;
            }
            let end = behind(&key);
            if skipped.is_empty() || at == skipped.start {
                stretch.to = Some(key.clone());
                self.known.push(std::mem::replace(&mut stretch, Stretch { from: end, to: None, keys: Vec::new() }));
                self.directories.push(key);
            } else {
                stretch.from = end;
            }
        }
        if more {
            let last = stretch.keys.last().map(|(last, _)| last.clone());
            stretch.to = Some(last.unwrap_or_else(|| stretch.from.clone()));
        }
        self.known.push(stretch);
        self.odd = odd(&self.directories);
    }

    /// Takes in what is known from a place on.
    fn add(&mut self, from: String, to: Option<String>, entries: Vec<(String, bool)>) {
        let step = if self.answers > WHOLE_PAGES { THINNED } else { 1 };
        let last = entries.len().saturating_sub(1);
        let kept = entries.into_iter().enumerate().filter(|(at, _)| at % step == 0 || *at == last);
        let mut stretch = Stretch { from, to, keys: kept.map(|(_, (key, _))| (key, step as f64)).collect() };
        let first = self.known.partition_point(|known| known.to.as_ref().is_some_and(|to| *to < stretch.from));
        let mut end = first;
        while self.known.get(end).is_some_and(|known| stretch.to.as_ref().is_none_or(|to| known.from <= *to)) {
            end += 1;
        }
        for known in self.known.drain(first..end) {
            if known.from < stretch.from {
                // It ends where this one begins.
                let new = std::mem::replace(&mut stretch.keys, known.keys);
                let reached = stretch.keys.last().map(|(last, _)| last.clone());
                stretch
                    .keys
                    .extend(new.into_iter().filter(|(key, _)| reached.as_ref().is_none_or(|reached| key > reached)));
                stretch.from = known.from;
            } else {
                let reached = stretch.keys.last().map(|(last, _)| last.clone());
                let beyond = |key: &str| reached.as_deref().is_none_or(|reached| key > reached);
                stretch.keys.extend(known.keys.into_iter().filter(|(key, _)| beyond(key)));
            }
            if let Some(to) = &stretch.to
                && known.to.as_ref().is_none_or(|known| known > to)
            {
                stretch.to = known.to;
            }
        }
        self.known.insert(first, stretch);
        let mut known = vec![(None, None); self.kinds.len()];
        for (directory, kind) in &self.kind_of {
            let (end, last) = &mut known[*kind];
            *end = self.end_of(directory).max(end.take());
            *last = self.last_of(directory).max(last.take());
        }
        for (kind, (end, last)) in self.kinds.iter_mut().zip(known) {
            (kind.end, kind.last) = (end, last);
        }
    }

    /// The last name that was seen in a directory.
    fn last_of(&self, directory: &str) -> Option<String> {
        let end = behind(directory);
        let stretches = self.known.iter().rev().skip_while(|stretch| stretch.from >= end);
        let mut before = stretches.map(|stretch| &stretch.keys[..stretch.keys.partition_point(|(key, _)| *key < end)]);
        let (last, _) = before.find_map(<[_]>::last)?;
        last.strip_prefix(directory).map(str::to_owned)
    }

    /// Behind which name a directory has no more, where that is known.
    fn end_of(&self, directory: &str) -> Option<String> {
        let end = behind(directory);
        let last = self.known.iter().rev().find(|stretch| stretch.from < end)?;
        if last.to.as_ref().is_some_and(|to| *to < end) {
            return None;
        }
        let mut keys = last.keys.iter().rev().map(|(key, _)| key.as_str()).skip_while(|key| *key >= end.as_str());
        let found = keys.next().filter(|key| *key > last.from.as_str()).unwrap_or(&last.from);
        found.strip_prefix(directory).filter(|name| !name.is_empty()).map(str::to_owned)
    }

    /// The directory that a place is in, as the range of its keys.
    fn directory(&self, place: &str) -> Range<String> {
        let next = self.directories.partition_point(|directory| directory.as_str() <= place);
        let end = match next.checked_sub(1).map(|at| &self.directories[at]) {
            Some(directory) if place < behind(directory).as_str() => return directory.clone()..behind(directory),
            Some(directory) => behind(directory),
            None => self.prefix.clone(),
        };
        end..self.directories.get(next).cloned().unwrap_or_else(|| behind(&self.prefix))
    }

    fn gaps(&self) -> Vec<Gap> {
        let mut gaps = Vec::new();
        for at in 1..=self.known.len() {
            let Some(low) = self.known[at - 1].to.clone() else { break };
            let high = self.known.get(at).map(|next| next.from.clone());
            let edges = self.edges(at, &low);
            gaps.push(Gap::new(at, low, high, edges));
        }
        let dense = gaps.iter().flat_map(|gap| [gap.left, gap.right]).filter_map(Edge::density);
        let (sum, count) = dense.fold((0.0, 0), |(sum, count), density| (sum + density, count + 1));
        let usual = (count > 0).then(|| sum / f64::from(count));
        for gap in &mut gaps {
            let distance = self.distance(&gap.low, gap.high.as_deref());
            let page = self.page_size.max(1) as f64;
            (gap.mass, gap.doubt) = gap.weigh(distance, usual, page);
            gap.end = self.supposed_end(gap);
            if gap.end.is_some() {
                gap.doubt = gap.doubt.max(1.0);
            }
            if let (Edge::Dense(density), Edge::Empty | Edge::Unknown) = (gap.left, gap.right) {
                let run = self.distance(self.run_before(gap.at), Some(&gap.low));
                if distance - run > GALLOP && distance + density - page.log2() > FAR {
                    // Between nothing and all of it, by the logarithm.
                    gap.reach = (run - distance) / 2.0;
                    gap.mass *= gap.reach.exp2();
                    gap.doubt = 2.0;
                }
            }
        }
        if let Some(usual) = self.usual_size(&gaps) {
            let unknown = gaps.iter_mut().filter(|gap| gap.is_of_unknown_size());
            unknown.for_each(|gap| (gap.mass, gap.doubt) = (usual, ANY_SIZE));
        }
        gaps
    }

    /// How many keys a directory has of which some are known: the geometric mean, for one may have more than all others.
    fn usual_size(&self, gaps: &[Gap]) -> Option<f64> {
        let keys = self.known.iter().flat_map(|stretch| &stretch.keys).map(|(key, weight)| (key.as_str(), *weight));
        let mut sizes = BTreeMap::<&str, f64>::new();
        for (key, weight) in keys {
            if let Some(directory) = self.below(key) {
                *sizes.entry(directory).or_default() += weight;
            }
        }
        for gap in gaps {
            if let Some(size) = self.below(&gap.low).and_then(|directory| sizes.get_mut(directory)) {
                *size += gap.mass;
            }
        }
        let logarithms = sizes.values().map(|size| size.log2());
        (!sizes.is_empty()).then(|| (logarithms.sum::<f64>() / sizes.len() as f64).exp2())
    }

    fn edges(&self, at: usize, low: &str) -> [Edge; 2] {
        let directory = self.directory(low);
        let before = self.known[at - 1].keys.iter().rev();
        let before = before.take_while(|(key, _)| *key >= directory.start);
        let left = match self.density(before) {
            Some(density) => Edge::Dense(density),
            None if low == directory.start => Edge::Unknown,
            None => Edge::Empty,
        };
        let Some(next) = self.known.get(at) else { return [left, Edge::Unknown] };
        let whole = self.distance(low, Some(&next.from));
        let after = next.keys.iter().take_while(|(key, _)| *key < directory.end);
        let right = match self.density(after) {
            Some(density) => {
                let hole = self.distance(&next.from, next.keys.first().map(|(first, _)| first.as_str()));
                // A hole of so many pages.
                let pages = hole + density - (self.page_size.max(1) as f64).log2();
                if pages > 2.0 && hole > whole - HOLE { Edge::Empty } else { Edge::Dense(density) }
            }
            None if next.from == directory.end => Edge::Unknown,
            None => Edge::Empty,
        };
        // Other directories have names as far as this gap goes: so it has them, probably.
        let below = self.below(low);
        let name = below.and_then(|directory| next.from.strip_prefix(directory));
        match (right, name, below.and_then(|directory| self.kind(directory).last.as_ref())) {
            (Edge::Empty, Some(name), Some(last)) if name <= last.as_str() => [left, Edge::Unknown],
            _ => [left, right],
        }
    }

    /// Of the first page of these keys, in the order of their distance from a gap.
    fn density<'a>(&self, keys: impl Iterator<Item = &'a (String, f64)>) -> Option<f64> {
        let (mut ends, mut count) = (None::<(&str, &str)>, 0.0);
        for (key, weight) in keys {
            ends = Some((ends.map_or(key, |(first, _)| first), key));
            count += weight;
            if count >= self.page_size as f64 {
                break;
            }
        }
        let (one, other) = ends?;
        let distance = self.distance(one.min(other), Some(one.max(other)));
        (!distance.is_nan()).then(|| f64::log2(count) - distance)
    }

    fn total(&self, gaps: &[Gap]) -> f64 {
        let known: f64 = self.known.iter().flat_map(|stretch| &stretch.keys).map(|(_, weight)| weight).sum();
        known + gaps.iter().map(|gap| gap.mass).sum::<f64>()
    }

    /// The last keys of all parts but the last one, in order and each once: about so many parts of equal count.
    pub(in crate::ops) fn cuts(&self, parts: usize) -> Vec<String> {
        let gaps = self.gaps();
        let part = self.total(&gaps) / parts as f64;
        let mut cuts: Vec<String> = Vec::new();
        let mut passed = 0.0;
        let wanted = |cuts: &[String]| part * (cuts.len() + 1) as f64;
        let mut gaps = gaps.iter().peekable();
        // Places where there is no cut to be found count as one.
        let mut missed = Vec::new();
        for (at, stretch) in self.known.iter().enumerate() {
            if let Some(gap) = gaps.next_if(|gap| gap.at == at) {
                while cuts.len() + 1 < parts && passed + gap.mass > wanted(&cuts) {
                    let key = self.quantile(gap, wanted(&cuts) - passed);
                    missed.push(key.is_none());
                    cuts.push(key.unwrap_or_else(|| gap.low.clone()));
                }
                passed += gap.mass;
            }
            for (key, weight) in &stretch.keys {
                passed += weight;
                while cuts.len() + 1 < parts && passed >= wanted(&cuts) {
                    cuts.push(key.clone());
                }
            }
        }
        if let Some(gap) = gaps.next() {
            while cuts.len() + 1 < parts && passed + gap.mass > wanted(&cuts) {
                let key = self.quantile(gap, wanted(&cuts) - passed);
                cuts.push(key.unwrap_or_else(|| gap.low.clone()));
            }
        }
        let last = match self.known.last() {
            Some(Stretch { to: None, keys, .. }) => keys.last().map(|(last, _)| last.clone()),
            _ => None,
        };
        cuts.retain(|key| {
            key.len() <= MAX_KEY_BYTES && *key > self.prefix && last.as_ref().is_none_or(|last| key < last)
        });
        cuts.sort_unstable();
        cuts.dedup();
        cuts
    }

    /// The key of a gap with so many keys before it in there.
    fn quantile(&self, gap: &Gap, keys: f64) -> Option<String> {
        let share = gap.share(keys / gap.mass);
        let distance = self.distance(&gap.low, gap.high.as_deref());
        let key = self.beyond(&gap.low, distance + gap.reach + share.log2())?;
        gap.high.as_ref().is_none_or(|high| key < *high).then_some(key)
    }
}

/// What follows all keys that begin so.
fn behind(directory: &str) -> String {
    format!("{directory}{}", char::MAX)
}

#[cfg(test)]
mod tests;
