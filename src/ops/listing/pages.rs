//! Pages: one request for each, in a task of its own.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;

use super::Shared;
use crate::address::{Directory, Location};
use crate::blocking::joined;
use crate::error::Result;
use crate::observe::Subject;
use crate::store::{ListPage, ListQuery, ListedObject};

/// A page on its way; it goes on while nobody polls.
pub(super) struct Request {
    /// The segment that it is of.
    pub(super) segment: u64,
    task: AbortOnDropHandle<Result<Page>>,
}

pub(super) struct Page {
    pub(super) entries: Vec<Entry>,
    pub(super) next: Option<String>,
    /// Whether the keys are in byte order.
    pub(super) ascending: bool,
    /// From when it was sent until it was read.
    pub(super) took: Duration,
    /// For a page beyond the one that is needed next.
    pub(super) extra: Option<OwnedSemaphorePermit>,
}

pub(super) enum Entry {
    Namesake(Location, ListedObject),
    Object(ListedObject),
    Prefix(String),
}

impl Entry {
    pub(super) fn key(&self) -> &str {
        match self {
            Self::Namesake(_, object) | Self::Object(object) => &object.key,
            Self::Prefix(prefix) => prefix,
        }
    }
}

/// Where a page begins.
#[derive(Debug, Default)]
pub(super) struct Start {
    /// A key.
    pub(super) start_after: Option<String>,
    /// In its place, what the page before told.
    pub(super) token: Option<String>,
}

/// What a page needs that is beyond the one that is needed next: permits for its request and for its place in memory.
pub(super) struct Extra {
    request: OwnedSemaphorePermit,
    page: OwnedSemaphorePermit,
}

impl Shared {
    /// What an extra page needs, if it is there at once.
    pub(super) fn extra(&self) -> Option<Extra> {
        let request = Arc::clone(&self.requests).try_acquire_owned().ok()?;
        let page = Arc::clone(&self.s3.engine().extra_pages).try_acquire_owned().ok()?;
        Some(Extra { request, page })
    }

    /// Asks for a page of a directory.
    pub(super) fn ask(&self, segment: u64, directory: &Arc<Directory>, start: Start, extra: Option<Extra>) -> Request {
        let (shared, directory) = (self.clone(), Arc::clone(directory));
        let page = async move {
            let (request, page) = match extra {
                Some(Extra { request, page }) => (Some(request), Some(page)),
                // Nobody closes the semaphore.
                None => (Arc::clone(&shared.requests).acquire_owned().await.ok(), None),
            };
            let answer = shared.page(&directory, start, page).await;
            drop(request);
            answer
        };
        Request { segment, task: AbortOnDropHandle::new(tokio::spawn(page.in_current_span())) }
    }

    async fn page(&self, directory: &Directory, start: Start, extra: Option<OwnedSemaphorePermit>) -> Result<Page> {
        let next_level = self.mode == super::Mode::NextLevel;
        let start_after = start.start_after.as_deref();
        let query = ListQuery { prefix: &directory.prefix, next_level, start_after, ..ListQuery::default() };
        let begun = Instant::now();
        let page = self.fetch(&directory.bucket, query, start.token.as_deref()).await;
        let took = begun.elapsed();
        let ListPage { objects, prefixes, next } =
            page.map_err(|error| error.with_operation(self.mode.operation(), Some(directory.url.to_string())))?;
        let mut entries: Vec<Entry> = objects.into_iter().map(Entry::Object).collect();
        if !prefixes.is_empty() {
            entries.extend(prefixes.into_iter().map(Entry::Prefix));
            entries.sort_by(|one, other| one.key().cmp(other.key()));
        }
        let ascending = entries.is_sorted_by(|one, other| one.key() < other.key());
        Ok(Page { entries, next, ascending, took, extra })
    }

    async fn fetch(&self, bucket: &str, query: ListQuery<'_>, token: Option<&str>) -> Result<ListPage> {
        let s3 = self.s3.another_object();
        let page = s3.engine().request(|store| store.list(bucket, query, token));
        s3.run(Subject { operation: self.mode.operation(), bucket, key: query.prefix }, page).await
    }

    /// Asks for the object at `location`, if there is one. In byte order it is the first of those that begin with its key, so that a
    /// listing finds it: a HEAD would need to be allowed for objects outside of the directory, and tells less of a denied one.
    pub(super) fn ask_for_namesake(&self, location: Location) -> Request {
        let shared = self.clone();
        let page = async move {
            let _request = Arc::clone(&shared.requests).acquire_owned().await.ok();
            let query = ListQuery { prefix: location.key(), max_keys: Some(1), ..ListQuery::default() };
            let begun = Instant::now();
            let page = shared.fetch(location.bucket(), query, None).await;
            let took = begun.elapsed();
            let ListPage { objects, .. } =
                page.map_err(|error| error.with_operation(shared.mode.operation(), Some(location.url())))?;
            let found = objects.into_iter().find(|object| object.key == location.key());
            let entries = found.map(|object| Entry::Namesake(location, object)).into_iter().collect();
            Ok(Page { entries, next: None, ascending: true, took, extra: None })
        };
        Request { segment: 0, task: AbortOnDropHandle::new(tokio::spawn(page.in_current_span())) }
    }
}

impl Future for Request {
    type Output = (u64, Result<Page>);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let segment = self.segment;
        let page = Pin::new(&mut self.task).poll(cx);
        page.map(|page| (segment, page.unwrap_or_else(|error| Err(joined(error)))))
    }
}

/// Whether pages lead anywhere: a server may answer with others for ever.
#[derive(Debug, Default)]
pub(super) struct Advance {
    /// A token of before, and how many pages ago. It is renewed after 1, 2, 4, 8, … pages: in a circle of any length, one of them
    /// comes again. (R. P. Brent, An improved Monte Carlo factorization algorithm, 1980.)
    token: String,
    pages: u64,
    until: u64,
    empty: u32,
}

/// More pages without a key in a row are of no listing: S3 looks at a thousand keys for each, those that were deleted too.
const MOST_EMPTY: u32 = 100_000;

impl Advance {
    /// A page, on which the next one depends that has this token.
    pub(super) fn to(&mut self, token: &str, is_empty: bool) -> Result<(), String> {
        self.empty = if is_empty { self.empty + 1 } else { 0 };
        if self.empty > MOST_EMPTY {
            return Err(format!("a listing of {MOST_EMPTY} pages without a key"));
        }
        if self.until > 0 && self.token == token {
            return Err("a listing whose continuation tokens lead in a circle".to_owned());
        }
        self.pages += 1;
        if self.pages > self.until {
            (self.token, self.pages, self.until) = (token.to_owned(), 0, (2 * self.until).max(1));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_that_lead_in_a_circle_are_found_out_however_long_it_is() {
        for (before, circle) in [(0, 1), (0, 2), (5, 3), (1000, 1), (7, 1000)] {
            let mut advance = Advance::default();
            let tokens = (0..before).map(|number| format!("before {number}"));
            let mut tokens = tokens.chain((0..circle).cycle().map(|number: u32| number.to_string()));
            let found = (0..10_000).find(|_| advance.to(&tokens.next().unwrap(), false).is_err());
            assert!(
                found.is_some_and(|pages| pages <= 4 * (before + circle as usize) + 4),
                "{before}, {circle}: {found:?}"
            );
        }
        let mut advance = Advance::default();
        (0..1_000_000).for_each(|number| advance.to(&number.to_string(), false).unwrap());
    }

    #[test]
    fn pages_without_keys_end() {
        let mut advance = Advance::default();
        let mut page = |number: u32, is_empty| advance.to(&number.to_string(), is_empty);
        (0..MOST_EMPTY).for_each(|number| page(number, true).unwrap());
        page(MOST_EMPTY, false).unwrap();
        (0..MOST_EMPTY).for_each(|number| page(MOST_EMPTY + 1 + number, true).unwrap());
        assert!(page(3 * MOST_EMPTY, true).unwrap_err().contains("without a key"));
    }
}
