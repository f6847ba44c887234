//! A large object into its file by parts, each in its place.

use std::ops::Range;
use std::sync::Arc;

use futures::TryStreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::sync::SemaphorePermit;

use super::pieces::{Pieces, discard};
use super::{Begun, Downloaded, Filled, STREAM, WHOLE_WILL_DO, Wanted, compare};
use crate::checksum::{Checksum, Verified};
use crate::error::Result;
use crate::limits::Held;
use crate::retry::Retry;
use crate::scope::Target;
use crate::store::{Incoming, ObjectHead};
use crate::transfer::Engine;
use crate::transfer::parts::Plan;

/// Parts of one object on their way at a time: more connections are rarely faster, and each holds some 2 MiB.
const AT_ONCE: usize = 8;

/// Downloads what was begun by parts; `None` when the server ignores ranges.
///
/// All is done by the caller's own task: who drops the future has ended everything.
pub(super) async fn download(wanted: Wanted<'_>, begun: Begun<'_>, plan: Plan) -> Result<Option<Downloaded>> {
    let Begun { incoming, window, check, retry, space, memory } = begun;
    let head = incoming.head.clone();
    let (directory, key) = (Arc::clone(wanted.directory), wanted.location.key().to_owned());
    let attempts = retry.attempts();
    let begun = wanted.directory.run(move || directory.begin(&key, space)).await;
    let file = begun.map_err(|error| error.with_attempts(attempts))?;
    let by = check.as_ref().map(Checksum::by);
    let parts = Parts { wanted, head: &head, from: window.start, target: file.target(), check: by };
    let fetched = parts
        .fetch_all(&window, plan, incoming, retry, Means { _memory: memory, _permit: None })
        .await
        .and_then(|fetched| match fetched {
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

/// What a part that is fetched has.
struct Means<'a> {
    _memory: Held,
    /// `None`: every download has one part that needs none.
    _permit: Option<SemaphorePermit<'a>>,
}

impl<'a> Means<'a> {
    /// For one part more, if there are any.
    fn more(engine: &'a Engine) -> Option<Self> {
        let permit = engine.extra_parts.try_acquire().ok()?;
        Some(Self { _memory: engine.flow().try_memory(STREAM)?, _permit: Some(permit) })
    }
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
struct Fetched<'a> {
    means: Means<'a>,
    filled: Filled,
    start: u64,
    length: u64,
    checksum: Option<Checksum>,
}

impl<'a> Parts<'a> {
    async fn fetch_all(
        self,
        window: &Range<u64>,
        plan: Plan,
        incoming: Incoming,
        retry: Retry<'_>,
        means: Means<'a>,
    ) -> Result<AllParts> {
        let mut ranges = cut(window, plan);
        let mut fetching = FuturesUnordered::new();
        let mut fetched = Vec::new();
        fetching.extend(ranges.next().map(|first| self.fetch(first, Some(incoming), retry, means)));
        // The last part that came leaves its means to the next, so that every download gets on.
        let mut left = None;
        loop {
            while fetching.len() < AT_ONCE
                && let Some(means) = left.take().or_else(|| Means::more(self.wanted.engine))
                && let Some(range) = ranges.next()
            {
                fetching.push(self.fetch(range, None, self.wanted.engine.retries.start(), means));
            }
            let Some(Fetched { means, filled, start, length, checksum }) = fetching.try_next().await? else { break };
            if matches!(filled, Filled::RangesIgnored) {
                return Ok(AllParts::RangesIgnored);
            }
            left = fetching.is_empty().then_some(means);
            fetched.push((start, length, checksum));
        }
        fetched.sort_unstable_by_key(|(start, ..)| *start);
        let checksums: Option<Vec<_>> =
            fetched.iter().map(|(_, length, checksum)| checksum.as_ref().map(|checksum| (checksum, *length))).collect();
        Ok(AllParts::Whole(checksums.and_then(Checksum::of_parts)))
    }

    async fn fetch(
        self,
        range: Range<u64>,
        first: Option<Incoming>,
        mut retry: Retry<'_>,
        means: Means<'a>,
    ) -> Result<Fetched<'a>> {
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
        Ok(Fetched { means, filled, start: range.start, length, checksum })
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
