//! A large object into its file by parts, each in its place.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::TryStreamExt as _;
use futures::future::Either;
use futures::stream::FuturesUnordered;

use super::pieces::{Pieces, discard};
use super::{Begun, Downloaded, Filled, WHOLE_WILL_DO, Wanted};
use crate::error::Result;
use crate::retry::Retry;
use crate::scope::Target;
use crate::store::{Incoming, ObjectHead};
use crate::transfer::parts::Plan;

/// Parts of one object on their way at a time: more connections are rarely faster, and each holds some 2 MiB.
const AT_ONCE: u64 = 8;

/// The parts of one object, and who fetches which.
struct Parts<'a> {
    wanted: Wanted<'a>,
    head: ObjectHead,
    window: Range<u64>,
    length: u64,
    target: Arc<Target>,
    /// The next part that nobody has taken.
    next: AtomicU64,
}

/// Downloads what was begun by parts; `None` when the server ignores ranges.
///
/// All is done by the caller's own task: who drops the future has ended everything.
pub(super) async fn download(wanted: Wanted<'_>, begun: Begun<'_>, plan: Plan) -> Result<Option<Downloaded>> {
    let Begun { incoming, window, retry } = begun;
    let head = incoming.head.clone();
    let (directory, key) = (Arc::clone(wanted.directory), wanted.location.key().to_owned());
    let size = window.end - window.start;
    let attempts = retry.attempts();
    let begun = wanted.directory.run(move || directory.begin(&key, size)).await;
    let file = begun.map_err(|error| error.with_attempts(attempts))?;
    let parts = Parts {
        wanted,
        head: head.clone(),
        length: plan.length(1).unwrap_or(size),
        window: window.clone(),
        target: Arc::clone(file.target()),
        next: AtomicU64::new(0),
    };
    match parts.fetch_all(incoming, retry).await {
        Ok(Filled::Whole) => {}
        Ok(Filled::RangesIgnored) => {
            discard(wanted.directory, file).await;
            return Ok(None);
        }
        Err(error) => {
            discard(wanted.directory, file).await;
            return Err(error);
        }
    }
    let file = wanted.directory.run(move || file.finish()).await?;
    Ok(Some(Downloaded { head, offset: window.start, file }))
}

impl Parts<'_> {
    fn count(&self) -> u64 {
        (self.window.end - self.window.start).div_ceil(self.length)
    }

    /// A part that nobody else fetches.
    fn take(&self) -> Option<Range<u64>> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let start = self.window.start + number * self.length;
        (number < self.count()).then(|| start..(start + self.length).min(self.window.end))
    }

    async fn fetch_all(&self, incoming: Incoming, retry: Retry<'_>) -> Result<Filled> {
        let mut fetching = FuturesUnordered::new();
        fetching.push(Either::Left(self.fetch_first(self.take(), incoming, retry)));
        for _ in 1..self.count().min(AT_ONCE) {
            fetching.push(Either::Right(self.fetch_others()));
        }
        while let Some(filled) = fetching.try_next().await? {
            if matches!(filled, Filled::RangesIgnored) {
                return Ok(Filled::RangesIgnored);
            }
        }
        Ok(Filled::Whole)
    }

    /// The first part by the answer that is there, and then what is left. Needs no permit, so that every download gets on.
    async fn fetch_first(&self, first: Option<Range<u64>>, incoming: Incoming, retry: Retry<'_>) -> Result<Filled> {
        let mut next = first.map(|range| (range, Some(incoming), retry));
        while let Some((range, incoming, retry)) = next.take() {
            if matches!(self.fetch(range, incoming, retry).await?, Filled::RangesIgnored) {
                return Ok(Filled::RangesIgnored);
            }
            next = self.take().map(|range| (range, None, self.wanted.engine.retries.start()));
        }
        Ok(Filled::Whole)
    }

    async fn fetch_others(&self) -> Result<Filled> {
        loop {
            // It is never closed.
            let _permit = self.wanted.engine.extra_parts.acquire().await;
            let Some(range) = self.take() else { return Ok(Filled::Whole) };
            if matches!(self.fetch(range, None, self.wanted.engine.retries.start()).await?, Filled::RangesIgnored) {
                return Ok(Filled::RangesIgnored);
            }
        }
    }

    async fn fetch(&self, range: Range<u64>, first: Option<Incoming>, mut retry: Retry<'_>) -> Result<Filled> {
        let (target, offset) = (Arc::clone(&self.target), range.start - self.window.start);
        let open = move || target.writer_at(offset);
        let mut pieces = Pieces::new(self.wanted.directory, range.end - range.start, open.clone());
        let filled = self.wanted.fill(&mut pieces, &self.head, range.end, first, &mut retry, !WHOLE_WILL_DO).await?;
        let attempts = retry.attempts();
        let written = pieces.finish(move |writer, rest| match writer {
            None => open()?.append(rest),
            Some(mut writer) => writer.append(rest),
        });
        written.await.map_err(|error| error.with_attempts(attempts))?;
        Ok(filled)
    }
}
