//! Which page of a prefix is asked for next, when several may be on their way. Pure: no requests, no clock.
//!
//! A prefix is cut into segments, and each is listed page after page: its first page begins after a key (`start-after`), the
//! others where the one before ended (the continuation token). What lies beyond its end is dropped, for the next segment has it.
//! So each key is in one segment, whatever the cuts are; they decide about speed alone. A cut may lie between any two keys.
//!
//! Nothing is cut before somebody waits for more than comes. Then as many cuts are made as pages have come: their number doubles with
//! each round of answers. Each costs at most one page that is not full, and they are made only while those are few beside the full ones. The
//! first one shows whether the server understands `start-after` at all.

use super::keyspace::KeySpace;
use super::range::KeyRange;

/// Of one prefix, so many pages are on their way at most.
const MOST_REQUESTS: usize = 32;
/// And so many are on their way or wait to be taken: more in order, when those behind have to be kept until those before are there.
const MOST_PAGES: usize = 48;
const MOST_PAGES_IN_ORDER: usize = 96;
/// In order, a part of these is for the pages that are needed first.
const FOR_THE_FIRST: usize = 8;
/// In order, a segment has so many pages, or those behind it would have to wait for it.
const PAGES_IN_ORDER: f64 = 4.0;
/// Of fewer pages, a segment is not worth a cut.
const LEAST_PAGES: f64 = 2.0;
/// Pages that are not full may be so many, and one for so many that are.
const SPARE_PAGES: f64 = 6.0;
const PAGES_PER_SPARE: f64 = 4.0;
/// The first cut is so many pages away; what is beyond a cut may be so many times farther from it.
const FIRST_REACH: f64 = 2.0;
const REACH: f64 = 4.0;
/// Of segments without an answer, so many follow each other: from the first number up to the second one, as answers have keys.
const UNANSWERED: (u32, u32) = (2, 8);

#[derive(Debug)]
pub(super) struct Plan {
    space: KeySpace,
    ordered: bool,
    most_requests: usize,
    most_pages: usize,
    /// How many pages may be on their way or wait now.
    window: usize,
    /// In the order of their keys, those that are not taken to the end.
    segments: Vec<Segment>,
    next_id: u64,
    start_after: StartAfter,
    disordered: bool,
    /// Pages on their way.
    asked: usize,
    /// Pages that have come and wait.
    waiting: usize,
    /// Pages that have come since the window was widened.
    arrived: usize,
    /// Keys of a full page, as far as one was seen.
    page_size: usize,
    keys: u64,
    /// Of segments that have ended, pages less full ones.
    spared: f64,
    /// Segments that there were from the beginning.
    given: usize,
    /// How many segments without an answer may follow each other.
    unanswered: u32,
}

/// What is known of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StartAfter {
    Untried,
    /// With the first page of this segment.
    Trying(u64),
    Understood,
    /// One page after another, then.
    Useless,
}

#[derive(Debug)]
struct Segment {
    id: u64,
    range: KeyRange,
    given: bool,
    state: State,
    answered: bool,
    /// The last key that came.
    reached: Option<String>,
    /// The last key of the last page that was taken to its end.
    taken: Option<String>,
    /// Whether a page of it is being taken.
    in_hand: bool,
    waiting: usize,
    /// So many keys lie between these two, here or where this was cut from.
    density: Option<Density>,
    /// How many pages there probably are to come.
    left: f64,
    /// How many pages away the next cut may be.
    reach: f64,
    /// How many cuts away is the segment that was answered.
    unanswered: u32,
    pages: u64,
    keys: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Asked,
    Ended,
}

#[derive(Debug, Clone)]
struct Density {
    low: String,
    high: String,
    keys: usize,
}

/// A page to ask for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) segment: u64,
    /// Of the segment's first page; the others have a continuation token.
    pub(super) start_after: Option<String>,
    /// Whether the listing would get on without it.
    pub(super) extra: bool,
}

/// A page that has come.
pub(super) struct Answer<'a> {
    pub(super) count: usize,
    pub(super) key: &'a dyn Fn(usize) -> &'a str,
    /// Whether its keys are in byte order.
    pub(super) ascending: bool,
    /// Whether there is another one after it.
    pub(super) more: bool,
}

impl<'a> Answer<'a> {
    fn key_at(&self, at: usize) -> &'a str {
        (self.key)(at)
    }

    fn last(&self) -> Option<&'a str> {
        self.count.checked_sub(1).map(|last| self.key_at(last))
    }

    /// How many of its keys lie before the end of a range; they are in order.
    fn count_within(&self, range: &KeyRange) -> usize {
        if self.last().is_none_or(|last| range.is_before_end(last)) {
            return self.count;
        }
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low.midpoint(high);
            if range.is_before_end(self.key_at(middle)) { low = middle + 1 } else { high = middle }
        }
        low
    }

    /// Whether it holds what comes after `start` and nothing else.
    fn follows(&self, start: Option<&str>) -> bool {
        self.ascending && start.is_none_or(|start| self.count == 0 || self.key_at(0) > start)
    }
}

/// What becomes of a page.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Its first so many keys are of the segment.
    Keep(usize),
    /// It is to be shown again when the segment that is tried has been answered.
    Hold,
    /// All of it is of other segments.
    Drop,
    /// The server ignores where the listing is to start. It begins anew, from the first key on, and what is not wanted is left out.
    StartOver,
    /// The server has gone back on its order.
    Contradiction,
}

impl Plan {
    /// For keys that begin with `prefix`, in these ranges, which are in order and apart. With one request at a time, nothing is cut.
    pub(super) fn new(prefix: &str, ranges: Vec<KeyRange>, ordered: bool, requests: usize) -> Self {
        let most_pages = if ordered { MOST_PAGES_IN_ORDER } else { MOST_PAGES };
        let mut plan = Self {
            space: KeySpace::new(prefix),
            ordered,
            most_requests: MOST_REQUESTS.min(requests),
            most_pages: if requests > 1 { most_pages } else { 1 },
            window: 1,
            segments: Vec::new(),
            next_id: 0,
            start_after: StartAfter::Untried,
            disordered: false,
            asked: 0,
            waiting: 0,
            arrived: 0,
            page_size: 0,
            keys: 0,
            spared: 0.0,
            given: ranges.len(),
            unanswered: UNANSWERED.0,
        };
        for range in ranges {
            let segment = plan.segment(range, FIRST_REACH);
            plan.segments.push(Segment { given: true, ..segment });
        }
        plan
    }

    fn segment(&mut self, range: KeyRange, reach: f64) -> Segment {
        self.next_id += 1;
        Segment {
            id: self.next_id,
            range,
            given: false,
            state: State::Idle,
            answered: false,
            reached: None,
            taken: None,
            in_hand: false,
            waiting: 0,
            density: None,
            left: 0.0,
            reach,
            unanswered: 0,
            pages: 0,
            keys: 0,
        }
    }

    /// Nothing is cut, whatever happens.
    pub(super) fn stay_whole(&mut self) {
        self.start_after = StartAfter::Useless;
    }

    /// Whether all pages have come and were taken.
    pub(super) fn is_done(&self) -> bool {
        self.segments.is_empty()
    }

    /// The segment whose pages come first, in order.
    pub(super) fn first(&self) -> Option<u64> {
        self.segments.first().map(|segment| segment.id)
    }

    /// Whether the segment is not taken to its end.
    pub(super) fn has(&self, id: u64) -> bool {
        self.segments.iter().any(|segment| segment.id == id)
    }

    /// Whether keys came that are not in byte order.
    pub(super) fn is_disordered(&self) -> bool {
        self.disordered
    }

    /// Pages on their way.
    pub(super) fn asked(&self) -> usize {
        self.asked
    }

    /// Somebody waits for more than comes.
    pub(super) fn starved(&mut self) {
        self.window = (self.window + std::mem::take(&mut self.arrived)).min(self.most_pages);
    }

    /// The next page to ask for, if there may be one.
    pub(super) fn next(&mut self) -> Option<Ask> {
        let at = (0..self.segments.len()).find(|at| self.may_ask(*at)).or_else(|| self.cut())?;
        let extra = !self.is_needed(at);
        self.asked += 1;
        let segment = &mut self.segments[at];
        segment.state = State::Asked;
        let start_after = segment.range.start_after.clone().filter(|_| !segment.answered);
        if start_after.is_some() && self.start_after == StartAfter::Untried {
            self.start_after = StartAfter::Trying(segment.id);
        }
        Some(Ask { segment: segment.id, start_after, extra })
    }

    /// Takes back what [`next`](Self::next) gave: it was not asked for.
    pub(super) fn not_asked(&mut self, id: u64) {
        self.asked -= 1;
        if self.start_after == StartAfter::Trying(id) {
            self.start_after = StartAfter::Untried;
        }
        let Some(at) = self.segments.iter().position(|segment| segment.id == id) else { return };
        let Segment { answered, given, .. } = self.segments[at];
        if answered || given {
            self.segments[at].state = State::Idle;
        } else {
            self.join(at);
        }
    }

    fn may_ask(&self, at: usize) -> bool {
        let segment = &self.segments[at];
        if segment.state != State::Idle {
            return false;
        }
        let is_first_answer = !segment.answered && segment.range.start_after.is_some();
        if is_first_answer && matches!(self.start_after, StartAfter::Trying(_)) {
            return false;
        }
        // The listing always gets on.
        if self.is_needed(at) {
            return true;
        }
        self.asked < self.most_requests && self.asked + self.waiting < self.room(at)
    }

    /// Whether nothing can be taken before a page of this segment.
    fn is_needed(&self, at: usize) -> bool {
        self.asked + self.waiting == 0 || self.ordered && at == 0 && self.segments[at].waiting == 0
    }

    /// How many pages may be on their way or wait, that one of this segment may be.
    fn room(&self, at: usize) -> usize {
        if !self.ordered {
            return self.window;
        }
        let for_the_first = self.window / FOR_THE_FIRST;
        let before =
            self.segments[..=at].iter().map(|segment| segment.waiting + usize::from(segment.state == State::Asked));
        if before.sum::<usize>() < for_the_first { self.window } else { self.window - for_the_first }
    }

    /// Cuts a segment in two and gives the place of the second one, if that is worth it.
    fn cut(&mut self) -> Option<usize> {
        let may_be_cut = matches!(self.start_after, StartAfter::Untried | StartAfter::Understood);
        if !may_be_cut || self.page_size == 0 || self.asked >= self.most_requests {
            return None;
        }
        let open = self.segments.iter().filter(|segment| segment.state != State::Ended).count();
        let spare = SPARE_PAGES + self.keys as f64 / self.page_size as f64 / PAGES_PER_SPARE;
        if self.spared + open.saturating_sub(self.given) as f64 >= spare {
            return None;
        }
        loop {
            let at = self.worth_a_cut()?;
            if self.asked + self.waiting >= self.room(at) {
                return None;
            }
            if let Some(second) = self.cut_at(at) {
                self.segments.insert(at + 1, second);
                return Some(at + 1);
            }
            // Until its next page tells more.
            self.segments[at].left = 0.0;
        }
    }

    /// In order, the first one that is too long; else the longest.
    fn worth_a_cut(&self) -> Option<usize> {
        let long = |segment: &Segment| {
            segment.state != State::Ended && segment.unanswered < self.unanswered && segment.left >= 2.0 * LEAST_PAGES
        };
        let mut all = self.segments.iter().enumerate().filter(|(_, segment)| long(segment));
        let found = if self.ordered {
            all.find(|(_, segment)| segment.left > 1.5 * PAGES_IN_ORDER)
        } else {
            all.max_by(|(_, one), (_, other)| one.left.total_cmp(&other.left))
        };
        found.map(|(at, _)| at)
    }

    fn cut_at(&mut self, at: usize) -> Option<Segment> {
        let segment = &self.segments[at];
        let low = segment.reached.as_deref().or(segment.range.start_after.as_deref())?;
        let mut pages = (segment.left / 2.0).min(segment.reach.max(LEAST_PAGES));
        if self.ordered {
            pages = pages.min(PAGES_IN_ORDER);
        }
        let page = self.page(segment.density.as_ref()?);
        let key = self.space.beyond(low, page + pages.log2()).filter(|key| segment.range.is_before_end(key))?;
        let (density, unanswered) = (segment.density.clone(), segment.unanswered + 1);
        let first = &mut self.segments[at];
        let range = first.range.split_after(&key);
        first.left = pages;
        let second = self.segment(range, pages * REACH);
        let mut second = Segment { density, unanswered, ..second };
        second.left = self.left(&second);
        Some(second)
    }

    /// How much of the space a page has, as a binary logarithm.
    fn page(&self, density: &Density) -> f64 {
        let Density { low, high, keys } = density;
        self.space.distance(low, Some(high)) + (self.page_size as f64 / *keys as f64).log2()
    }

    /// How many pages a segment probably has yet.
    fn left(&self, segment: &Segment) -> f64 {
        let low = segment.reached.as_deref().or(segment.range.start_after.as_deref());
        let (Some(low), Some(density)) = (low, &segment.density) else { return 0.0 };
        let left = (self.space.distance(low, segment.range.end_before.as_deref()) - self.page(density)).exp2();
        if left.is_nan() { 0.0 } else { left }
    }

    /// A page has come.
    pub(super) fn answered(&mut self, id: u64, answer: &Answer<'_>) -> Verdict {
        let Some(at) = self.segments.iter().position(|segment| segment.id == id) else {
            // Of a segment that was joined to the one before it.
            self.asked -= 1;
            return Verdict::Drop;
        };
        let segment = &self.segments[at];
        let start = segment.reached.as_deref().or(segment.range.start_after.as_deref());
        let follows = answer.follows(start);
        match self.start_after {
            StartAfter::Trying(tried) if tried == id => {
                if !follows {
                    self.asked -= 1;
                    return self.give_up(at);
                }
                self.start_after = StartAfter::Understood;
            }
            StartAfter::Trying(tried) if follows => {
                let crosses = answer.last().is_some_and(|last| !segment.range.is_before_end(last));
                if crosses && self.segments.get(at + 1).is_some_and(|next| next.id == tried) {
                    return Verdict::Hold;
                }
            }
            StartAfter::Trying(tried) => {
                if let Some(tried) = self.segments.iter().position(|segment| segment.id == tried) {
                    self.join(tried);
                }
                self.start_after = StartAfter::Useless;
                if self.segments[at].range != KeyRange::default() {
                    return Verdict::Contradiction;
                }
            }
            StartAfter::Understood if !follows => return Verdict::Contradiction,
            StartAfter::Untried if !follows => {
                self.start_after = StartAfter::Useless;
                if segment.range != KeyRange::default() {
                    return if self.keys == 0 { Verdict::StartOver } else { Verdict::Contradiction };
                }
            }
            _ => {}
        }
        self.asked -= 1;
        self.arrived += 1;
        self.disordered |= !follows;
        self.keep(at, answer, follows)
    }

    fn keep(&mut self, at: usize, answer: &Answer<'_>, follows: bool) -> Verdict {
        let kept = if follows { answer.count_within(&self.segments[at].range) } else { answer.count };
        if answer.more {
            self.page_size = self.page_size.max(answer.count);
        }
        if self.start_after != StartAfter::Useless && self.most_pages > 1 {
            self.space.learn(answer.count, answer.key);
        }
        let Self { segments, .. } = self;
        let (before, rest) = segments.split_at_mut(at);
        let segment = &mut rest[0];
        if !segment.answered && kept > 0 {
            self.unanswered = (self.unanswered + 1).min(UNANSWERED.1);
        } else if !segment.answered {
            self.unanswered = (self.unanswered / 2).max(UNANSWERED.0);
            // There is nothing here, and perhaps nothing for some way before it.
            if let Some(before) = before.last_mut() {
                before.reach = (segment.reach / REACH / REACH).max(1.0);
            }
        }
        segment.answered = true;
        segment.unanswered = 0;
        segment.pages += 1;
        segment.keys += kept as u64;
        segment.waiting += usize::from(kept > 0);
        self.waiting += usize::from(kept > 0);
        self.keys += kept as u64;
        if kept > 1 {
            let low = segment.reached.take().unwrap_or_else(|| answer.key_at(0).to_owned());
            let high = answer.key_at(kept - 1).to_owned();
            segment.density = Some(Density { low, high, keys: kept });
        }
        if let Some(last) = kept.checked_sub(1) {
            segment.reached = Some(answer.key_at(last).to_owned());
        }
        let ended = kept < answer.count || !answer.more;
        segment.state = if ended { State::Ended } else { State::Idle };
        if ended {
            self.spared += (segment.pages as f64 - segment.keys as f64 / self.page_size.max(1) as f64).max(0.0);
        }
        let left = self.left(&self.segments[at]);
        self.segments[at].left = left;
        self.remove_if_done(at);
        Verdict::Keep(kept)
    }

    /// The segment that was to show whether `start-after` is understood has failed, and whether the listing gets on without it.
    pub(super) fn failed(&mut self, id: u64) -> bool {
        let at = self.segments.iter().position(|segment| segment.id == id);
        if at.is_none() {
            self.asked -= 1;
            return true;
        }
        if self.start_after != StartAfter::Trying(id) {
            return false;
        }
        let Some(at) = at.filter(|at| !self.segments[*at].given) else { return false };
        self.asked -= 1;
        self.give_up(at);
        true
    }

    fn give_up(&mut self, at: usize) -> Verdict {
        self.start_after = StartAfter::Useless;
        if !self.segments[at].given {
            self.join(at);
            return Verdict::Drop;
        }
        if self.keys == 0 { Verdict::StartOver } else { Verdict::Contradiction }
    }

    /// Undoes a cut.
    fn join(&mut self, at: usize) {
        let second = self.segments.remove(at);
        if let Some(first) = at.checked_sub(1).and_then(|first| self.segments.get_mut(first)) {
            first.range.end_before = second.range.end_before;
        }
    }

    /// A page of a segment is being taken.
    pub(super) fn take(&mut self, id: u64) {
        if let Some(segment) = self.segments.iter_mut().find(|segment| segment.id == id) {
            segment.in_hand = true;
            segment.waiting -= 1;
            self.waiting -= 1;
        }
    }

    /// It was taken to its end, which is this key.
    pub(super) fn taken(&mut self, id: u64, last: &str) {
        if let Some(at) = self.segments.iter().position(|segment| segment.id == id) {
            self.segments[at].in_hand = false;
            self.segments[at].taken = Some(last.to_owned());
            self.remove_if_done(at);
        }
    }

    fn remove_if_done(&mut self, at: usize) {
        let Segment { state, waiting, in_hand, .. } = &self.segments[at];
        if *state == State::Ended && *waiting == 0 && !in_hand {
            self.segments.remove(at);
        }
    }

    /// What was not taken yet. Of the page in hand, it is said which segment's it is, the last key that was taken, and whether
    /// that is its end.
    pub(super) fn rest(&self, taken: Option<(u64, &str, bool)>) -> Vec<KeyRange> {
        let mut rest: Vec<KeyRange> = Vec::new();
        for segment in &self.segments {
            let in_hand = taken.filter(|(id, ..)| *id == segment.id);
            if segment.state == State::Ended && segment.waiting == 0 && in_hand.is_some_and(|(.., end)| end) {
                continue;
            }
            let in_hand = in_hand.map(|(_, key, _)| key);
            let mut range = segment.range.clone();
            let key = in_hand.or(segment.taken.as_deref());
            if let Some(key) = key {
                range.start_after = Some(key.to_owned());
            }
            match rest.last_mut() {
                Some(before) if key.is_none() && before.meets(&range) => before.end_before = range.end_before,
                _ if range.is_empty() => {}
                _ => rest.push(range),
            }
        }
        rest
    }
}

#[cfg(test)]
mod tests;
