//! A large object into its file by parts, each in its place.

use std::ops::Range;
use std::sync::Arc;

use futures::TryStreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::sync::{SemaphorePermit, TryAcquireError};

use super::pieces::{Pieces, discard};
use super::{Begun, Downloaded, Filled, WHOLE_WILL_DO, Wanted};
use crate::error::Result;
use crate::retry::Retry;
use crate::scope::Target;
use crate::store::{Incoming, ObjectHead};
use crate::transfer::parts::Plan;

/// Parts of one object on their way at a time: more connections are rarely faster, and each holds some 2 MiB.
const AT_ONCE: usize = 8;

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
    let parts = Parts { wanted, head: &head, from: window.start, target: file.target() };
    let filled = parts.fetch_all(&window, plan, incoming, retry).await;
    if !matches!(filled, Ok(Filled::Whole)) {
        discard(wanted.directory, file).await;
        return filled.map(|_| None);
    }
    let finished = wanted.directory.run(move || file.finish()).await;
    let file = finished.map_err(|error| error.with_attempts(attempts))?;
    Ok(Some(Downloaded { head, offset: window.start, file }))
}

/// The parts of a window, in their order.
fn cut(window: &Range<u64>, plan: Plan) -> impl Iterator<Item = Range<u64>> + Send + use<> {
    let Range { mut start, end } = *window;
    (1..).map_while(move |number| {
        let length = plan.length(number).filter(|_| start < end)?;
        let part = start..end.min(start + length);
        start = part.end;
        Some(part)
    })
}

fn may_fetch_another<'a>(wanted: Wanted<'a>, is_only: bool) -> Result<Option<SemaphorePermit<'a>>, TryAcquireError> {
    if is_only { Ok(None) } else { wanted.engine.extra_parts.try_acquire().map(Some) }
}

/// What the parts of one object have in common.
#[derive(Clone, Copy)]
struct Parts<'a> {
    wanted: Wanted<'a>,
    head: &'a ObjectHead,
    /// The byte of the object that is the first of the file.
    from: u64,
    target: &'a Arc<Target>,
}

impl Parts<'_> {
    async fn fetch_all(self, window: &Range<u64>, plan: Plan, incoming: Incoming, retry: Retry<'_>) -> Result<Filled> {
        let mut ranges = cut(window, plan);
        let mut fetching = FuturesUnordered::new();
        fetching.extend(ranges.next().map(|first| self.fetch(first, Some(incoming), retry, None)));
        loop {
            // One part needs no permit, so that every download gets on.
            while fetching.len() < AT_ONCE
                && let Ok(permit) = may_fetch_another(self.wanted, fetching.is_empty())
                && let Some(range) = ranges.next()
            {
                fetching.push(self.fetch(range, None, self.wanted.engine.retries.start(), permit));
            }
            match fetching.try_next().await? {
                Some(Filled::Whole) => {}
                Some(Filled::RangesIgnored) => return Ok(Filled::RangesIgnored),
                None => return Ok(Filled::Whole),
            }
        }
    }

    async fn fetch(
        self,
        range: Range<u64>,
        first: Option<Incoming>,
        mut retry: Retry<'_>,
        _permit: Option<SemaphorePermit<'_>>,
    ) -> Result<Filled> {
        let (target, offset) = (Arc::clone(self.target), range.start - self.from);
        let open = move || target.writer_at(offset);
        let mut pieces = Pieces::new(self.wanted.directory, range.end - range.start, open.clone());
        let filled = self.wanted.fill(&mut pieces, self.head, range.end, first, &mut retry, !WHOLE_WILL_DO).await?;
        let attempts = retry.attempts();
        let written = pieces.finish(move |writer, rest| match writer {
            None => open()?.append(rest),
            Some(mut writer) => writer.append(rest),
        });
        written.await.map_err(|error| error.with_attempts(attempts))?;
        Ok(filled)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn parts_are_the_window_without_gaps(start in 0..1_u64 << 45, length in 1..(5_u64 << 40)) {
            let window = start..start + length;
            let plan = Plan::of(length, crate::transfer::parts::PART).unwrap();
            let parts: Vec<Range<u64>> = cut(&window, plan).collect();
            prop_assert_eq!((parts[0].start, parts[parts.len() - 1].end), (window.start, window.end));
            prop_assert!(parts.windows(2).all(|pair| pair[0].end == pair[1].start));
            prop_assert!(parts.iter().all(|part| part.start < part.end) && parts.len() <= 10_000);
        }
    }
}
