//! The listing of one prefix: the page that is being taken, those that wait, and those on their way.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::stream::FuturesUnordered;
use futures::{Stream, StreamExt as _};
use tokio::time::Instant;

use super::pages::{Advance, Entry, Page, Request, Start};
use super::plan::{Answer, Ask, Plan, Verdict};
use super::range::KeyRange;
use super::{Mode, Shared};
use crate::address::{Address, Directory};
use crate::error::{Error, ErrorKind, Result};
use crate::object::S3Object;

pub(super) struct Listing {
    shared: Shared,
    index: usize,
    directory: Arc<Directory>,
    namesake: Option<Request>,
    plan: Plan,
    /// What is wanted.
    ranges: Vec<KeyRange>,
    /// Whether what comes has to be compared with that.
    sifted: bool,
    /// Whether keys have come that are not in byte order.
    disordered: bool,
    segments: HashMap<u64, Segment>,
    requests: FuturesUnordered<Request>,
    /// As found: the segments of the pages that have come.
    found: VecDeque<u64>,
    /// Pages of which the plan cannot say yet what they are worth.
    held: Vec<(u64, Page)>,
    hand: Hand,
    /// As found: what ends the listing when the pages that have come are taken.
    error: Option<Error>,
    ended: bool,
    /// How long the last page took to come, and to be taken.
    latency: Duration,
    busy: Duration,
}

/// What was asked for of a segment, and has come.
#[derive(Default)]
struct Segment {
    token: Option<String>,
    advance: Advance,
    pages: VecDeque<Page>,
    /// In order: what ends the listing after these.
    error: Option<Error>,
}

/// The page that is being taken.
struct Hand {
    segment: u64,
    entries: std::vec::IntoIter<Entry>,
    /// The key that was taken last.
    taken: Option<String>,
    /// The last key of the page, as long as the plan does not know that it was taken.
    end: Option<String>,
    begun: Instant,
}

impl Listing {
    pub(super) fn start(
        shared: Shared,
        index: usize,
        prefix: &str,
        ranges: impl FnOnce(&Directory) -> Result<Vec<KeyRange>>,
    ) -> Result<Self> {
        let operation = shared.mode.operation();
        let directory =
            shared.s3.root().directory(prefix).map_err(|invalid| Error::new(ErrorKind::InvalidUrl, invalid.0));
        let started = directory.and_then(|directory| Ok((ranges(&directory)?, Arc::new(directory))));
        let (ranges, directory) = started.map_err(|error| error.with_operation(operation, None).with_index(index))?;
        let namesake = match &directory.namesake {
            Some(location) if shared.mode == Mode::RecursiveWithNamesake => {
                Some(shared.ask_for_namesake(location.clone()))
            }
            _ => None,
        };
        let requests = if shared.mode == Mode::NextLevel { 1 } else { shared.concurrency };
        let mut listing = Self {
            plan: Plan::new(&directory.prefix, ranges.clone(), shared.ordered, requests),
            shared,
            index,
            directory,
            namesake,
            ranges,
            sifted: false,
            disordered: false,
            segments: HashMap::new(),
            requests: FuturesUnordered::new(),
            found: VecDeque::new(),
            held: Vec::new(),
            hand: Hand { segment: 0, entries: Vec::new().into_iter(), taken: None, end: None, begun: Instant::now() },
            error: None,
            ended: false,
            latency: Duration::ZERO,
            busy: Duration::ZERO,
        };
        listing.ask();
        Ok(listing)
    }

    /// Asks for the pages that may be asked for, and says whether there were any.
    fn ask(&mut self) -> bool {
        let mut any = false;
        while self.error.is_none()
            && let Some(Ask { segment, start_after, extra }) = self.plan.next()
        {
            let extra = match extra.then(|| self.shared.extra()) {
                None => None,
                Some(Some(extra)) => Some(extra),
                Some(None) => {
                    self.plan.not_asked(segment);
                    break;
                }
            };
            let token = self.segments.entry(segment).or_default().token.take();
            self.requests.push(self.shared.ask(segment, &self.directory, Start { start_after, token }, extra));
            any = true;
        }
        any
    }

    fn answered(&mut self, segment: u64, page: Result<Page>) {
        match page.and_then(|page| self.checked(segment, page)) {
            Ok(page) => self.sort_in(segment, page),
            Err(error) => {
                if !self.plan.failed(segment) {
                    self.fail(segment, error);
                }
            }
        }
        // Those that waited for this one.
        for (segment, page) in std::mem::take(&mut self.held) {
            self.sort_in(segment, page);
        }
    }

    /// A page that leads on.
    fn checked(&mut self, segment: u64, page: Page) -> Result<Page> {
        self.latency = page.took;
        if let (Some(token), Some(segment)) = (&page.next, self.segments.get_mut(&segment)) {
            segment.advance.to(token, page.entries.is_empty()).map_err(|problem| self.unsupported(problem))?;
        }
        Ok(page)
    }

    fn sort_in(&mut self, id: u64, mut page: Page) {
        let verdict = {
            let entries = &page.entries;
            let key = |at: usize| entries[at].key();
            let Page { ascending, next, .. } = &page;
            let answer = Answer { count: entries.len(), key: &key, ascending: *ascending, more: next.is_some() };
            self.plan.answered(id, &answer)
        };
        match verdict {
            Verdict::Keep(kept) => {
                self.disordered |= !page.ascending || self.plan.is_disordered();
                let Some(segment) = self.segments.get_mut(&id) else { return };
                segment.token = page.next.take();
                page.entries.truncate(kept);
                if kept > 0 {
                    segment.pages.push_back(page);
                    if !self.shared.ordered {
                        self.found.push_back(id);
                    }
                }
            }
            Verdict::Hold => self.held.push((id, page)),
            Verdict::Drop => {
                self.segments.remove(&id);
            }
            Verdict::StartOver => self.start_over(),
            Verdict::Contradiction => {
                let error =
                    self.unsupported("a listing whose keys are not where the server had them before".to_owned());
                self.fail(id, error);
            }
        }
    }

    /// From the first key on, one page after another, since the server begins nowhere else.
    fn start_over(&mut self) {
        self.plan = Plan::new(&self.directory.prefix, vec![KeyRange::default()], self.shared.ordered, 1);
        self.plan.stay_whole();
        self.sifted = true;
        self.segments.clear();
        self.requests.clear();
        self.held.clear();
    }

    fn fail(&mut self, segment: u64, error: Error) {
        if self.shared.ordered
            && let Some(segment) = self.segments.get_mut(&segment)
        {
            segment.error = Some(error);
        } else {
            self.error.get_or_insert(error);
        }
    }

    fn unsupported(&self, problem: String) -> Error {
        let error = Error::new(ErrorKind::Unsupported, problem);
        error.with_operation(self.shared.mode.operation(), Some(self.directory.url.to_string()))
    }

    /// Takes the next page that has come in hand, if it may be taken.
    fn take(&mut self) -> bool {
        let next = if self.shared.ordered { self.plan.first() } else { self.found.pop_front() };
        let Some(id) = next else { return false };
        let Some(page) = self.segments.get_mut(&id).and_then(|segment| segment.pages.pop_front()) else { return false };
        let Page { mut entries, extra, .. } = page;
        drop(extra);
        let end = entries.last().map(|entry| entry.key().to_owned());
        if self.sifted {
            entries.retain(|entry| self.ranges.iter().any(|range| range.contains(entry.key())));
        }
        self.plan.take(id);
        self.hand = Hand { segment: id, entries: entries.into_iter(), taken: None, end, begun: Instant::now() };
        true
    }

    /// The page in hand was taken.
    fn lay_down(&mut self) {
        if let Some(end) = self.hand.end.take() {
            self.busy = self.hand.begun.elapsed();
            self.plan.taken(self.hand.segment, &end);
            self.hand.taken = None;
            if !self.plan.has(self.hand.segment) {
                self.segments.remove(&self.hand.segment);
            }
        }
    }

    /// Whether pages are taken faster than they come: by Little's law, when fewer are on their way than are taken while one is.
    fn is_starved(&self) -> bool {
        let asked = u32::try_from(self.plan.asked()).unwrap_or(u32::MAX);
        self.busy.saturating_mul(asked) < self.latency
    }

    /// What was not taken yet; `None` when that cannot be told by keys.
    pub(super) fn rest(&self) -> Option<Vec<KeyRange>> {
        if self.disordered {
            return None;
        }
        let end = self.hand.entries.as_slice().is_empty();
        let taken = if end { self.hand.end.as_deref() } else { self.hand.taken.as_deref() };
        let rest = self.plan.rest(taken.map(|taken| (self.hand.segment, taken, end)));
        if !self.sifted {
            return Some(rest);
        }
        let Some(KeyRange { start_after, .. }) = rest.into_iter().next() else { return Some(Vec::new()) };
        let wanted = self.ranges.iter().map(|range| {
            let mut range = range.clone();
            range.start_after = range.start_after.max(start_after.clone());
            range
        });
        Some(wanted.filter(|range| !range.is_empty()).collect())
    }

    fn object(&mut self, entry: Entry) -> S3Object {
        match entry {
            Entry::Namesake(location, object) => S3Object::listed(self.index, Address::whole(location), object),
            Entry::Object(mut object) => {
                let key = std::mem::take(&mut object.key);
                let object = S3Object::listed(self.index, self.directory.address(&key), object);
                self.hand.taken = Some(key);
                object
            }
            Entry::Prefix(prefix) => S3Object::missing(self.index, self.directory.address(&prefix)),
        }
    }

    fn end(&mut self, error: Option<Error>) -> Option<Result<S3Object>> {
        self.ended = true;
        self.requests.clear();
        error.map(|error| Err(error.with_index(self.index)))
    }

    fn poll_namesake(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<S3Object>>> {
        let Some(request) = &mut self.namesake else { return Poll::Ready(None) };
        let (_, page) = ready!(Pin::new(request).poll(cx));
        self.namesake = None;
        Poll::Ready(match page {
            Ok(Page { entries, .. }) => entries.into_iter().next().map(|entry| Ok(self.object(entry))),
            Err(error) => self.end(Some(error)),
        })
    }
}

impl Stream for Listing {
    type Item = Result<S3Object>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some(entry) = this.hand.entries.next() {
                return Poll::Ready(Some(Ok(this.object(entry))));
            }
            if this.ended {
                return Poll::Ready(None);
            }
            if let Some(namesake) = ready!(this.poll_namesake(cx)) {
                return Poll::Ready(Some(namesake));
            }
            this.lay_down();
            while let Poll::Ready(Some((segment, page))) = this.requests.poll_next_unpin(cx) {
                this.answered(segment, page);
            }
            if this.take() {
                this.ask();
                continue;
            }
            let first = this.plan.first().filter(|_| this.shared.ordered);
            let of_first = first.and_then(|first| this.segments.get_mut(&first)?.error.take());
            if let Some(error) = of_first.or_else(|| this.error.take()) {
                return Poll::Ready(this.end(Some(error)));
            }
            if this.plan.is_done() {
                return Poll::Ready(this.end(None));
            }
            if this.is_starved() {
                this.plan.starved();
            }
            // What was asked for just now has to be polled too.
            if !this.ask() {
                return Poll::Pending;
            }
        }
    }
}
