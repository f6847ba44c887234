//! A large object into its file by parts, each in its place.

use std::ops::Range;
use std::sync::Arc;

use futures::TryStreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::sync::{SemaphorePermit, TryAcquireError};

use super::pieces::{Pieces, discard};
use super::{Begun, Downloaded, Filled, WHOLE_WILL_DO, Wanted, compare};
use crate::checksum::{Checksum, Verified};
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
    let Begun { incoming, window, check, retry } = begun;
    let head = incoming.head.clone();
    let (directory, key) = (Arc::clone(wanted.directory), wanted.location.key().to_owned());
    let size = window.end - window.start;
    let attempts = retry.attempts();
    let begun = wanted.directory.run(move || directory.begin(&key, size)).await;
    let file = begun.map_err(|error| error.with_attempts(attempts))?;
    let by = check.as_ref().map(Checksum::by);
    let parts = Parts { wanted, head: &head, from: window.start, target: file.target(), check: by };
    let fetched = parts.fetch_all(&window, plan, incoming, retry).await.and_then(|fetched| match fetched {
        AllParts::Whole(checksum) => compare(check.as_ref(), checksum.as_ref()).map(Some),
        AllParts::RangesIgnored => Ok(None),
    });
    let verified = match fetched {
        Ok(Some(verified)) => verified,
        other => {
            discard(wanted.directory, file).await;
            return other.map(|_| None);
        }
    };
    let finished = wanted.directory.run(move || file.finish()).await;
    let file = finished.map_err(|error| error.with_attempts(attempts))?;
    Ok(Some(Downloaded { head, offset: window.start, file, verified }))
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
    check: Option<Verified>,
}

/// How the parts of one object have come.
enum AllParts {
    /// With the checksum of the whole, if it was asked for.
    Whole(Option<Checksum>),
    RangesIgnored,
}

/// A part that has come, or what came in its place.
struct Fetched {
    filled: Filled,
    start: u64,
    length: u64,
    checksum: Option<Checksum>,
}

impl Parts<'_> {
    async fn fetch_all(
        self,
        window: &Range<u64>,
        plan: Plan,
        incoming: Incoming,
        retry: Retry<'_>,
    ) -> Result<AllParts> {
        let mut ranges = cut(window, plan);
        let mut fetching = FuturesUnordered::new();
        let mut fetched = Vec::new();
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
                Some(Fetched { filled: Filled::RangesIgnored, .. }) => return Ok(AllParts::RangesIgnored),
                Some(part) => fetched.push(part),
                None => break,
            }
        }
        fetched.sort_unstable_by_key(|part| part.start);
        let checksums: Option<Vec<_>> =
            fetched.iter().map(|part| part.checksum.as_ref().map(|checksum| (checksum, part.length))).collect();
        Ok(AllParts::Whole(checksums.and_then(Checksum::of_parts)))
    }

    async fn fetch(
        self,
        range: Range<u64>,
        first: Option<Incoming>,
        mut retry: Retry<'_>,
        _permit: Option<SemaphorePermit<'_>>,
    ) -> Result<Fetched> {
        let length = range.end - range.start;
        let (target, offset) = (Arc::clone(self.target), range.start - self.from);
        let open = move || target.writer_at(offset);
        let mut pieces = Pieces::new(self.wanted.directory, length, self.check, open.clone());
        let filled = self.wanted.fill(&mut pieces, self.head, range.end, first, &mut retry, !WHOLE_WILL_DO).await?;
        let checksum = pieces.checksum();
        let attempts = retry.attempts();
        let written = pieces.finish(move |writer, rest| match writer {
            None => open()?.append(rest),
            Some(mut writer) => writer.append(rest),
        });
        written.await.map_err(|error| error.with_attempts(attempts))?;
        Ok(Fetched { filled, start: range.start, length, checksum })
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
