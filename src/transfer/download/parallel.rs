//! A large object into its file by parts, each in its place.

use std::ops::Range;
use std::sync::Arc;

use futures::TryStreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::sync::SemaphorePermit;

use super::journaled::{Notes, Placed};
use super::pieces::{Append as _, Pieces, discard};
use super::{Answered, Begun, Downloaded, Filled, IntoFile, STREAM, WHOLE_WILL_DO};
use crate::checksum::{Checksum, Method, StoredChecksum, Verified};
use crate::error::Result;
use crate::limits::Held;
use crate::retry::Retry;
use crate::scope::{Space, Target};
use crate::store::{Incoming, ObjectHead};
use crate::transfer::Engine;
use crate::transfer::parts::Plan;

/// Parts of one object on their way at a time: more connections are rarely faster, and each holds some 2 MiB.
pub(super) const AT_ONCE: usize = 8;

/// Downloads what was begun by parts; `None` when the server ignores ranges.
///
/// All is done by the caller's own task: who drops the future has ended everything.
pub(super) async fn download(into: IntoFile<'_>, begun: Begun<'_>, plan: Plan) -> Result<Option<Downloaded>> {
    let Begun { answered: Answered { incoming, window, check }, retry, space, memory } = begun;
    let head = incoming.head.clone();
    into_file(into, &head, &window, space, retry.attempts(), async |target| {
        let check_of = check.method();
        let parts =
            Parts { into, head: &head, from: window.start, target, check: check_of, at_once: AT_ONCE, notes: None };
        let mut ranges = cut(&window, plan).map(Wish::Range);
        let first = ranges.next().map(|first| (first, incoming, retry));
        let Some(fetched) = parts.fetch_all(first, ranges, memory).await? else { return Ok(None) };
        check.compare(of_whole(&fetched)).map(Some)
    })
    .await
}

/// Makes the file for `window` in its room, and has it filled by `fill`, which tells what all bytes were compared with, or `None` when it
/// is not to become the object's.
pub(super) async fn into_file(
    into: IntoFile<'_>,
    head: &ObjectHead,
    window: &Range<u64>,
    space: Arc<Space>,
    attempts: u32,
    fill: impl AsyncFnOnce(&Arc<Target>) -> Result<Option<Option<Verified>>>,
) -> Result<Option<Downloaded>> {
    let (directory, key) = (Arc::clone(into.directory), into.wanted.location.key().to_owned());
    let begun = into.directory.run_short(0, move || directory.begin(&key, space)).await;
    let file = begun.map_err(|error| error.with_attempts(attempts))?;
    let verified = match fill(file.target()).await {
        Ok(Some(verified)) => verified,
        other => {
            discard(into.directory, file).await;
            return other.map(|_| None);
        }
    };
    let finished = into.directory.run_short(0, move || file.finish()).await;
    let file = finished.map_err(|error| error.with_attempts(attempts))?;
    Ok(Some(Downloaded { head: head.clone(), offset: window.start, file: Arc::new(file), verified }))
}

/// The checksum of the whole, if that of each part was computed and they tell it.
pub(super) fn of_whole(fetched: &[Fetched]) -> Option<Checksum> {
    let checksums: Option<Vec<_>> =
        fetched.iter().map(|part| part.checksum.as_ref().map(|checksum| (checksum, part.length()))).collect();
    checksums.and_then(Checksum::of_parts)
}

/// The parts of a window, in their order.
pub(super) fn cut(window: &Range<u64>, plan: Plan) -> impl Iterator<Item = Range<u64>> + Send + use<> {
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
pub(super) struct Parts<'a> {
    pub(super) into: IntoFile<'a>,
    pub(super) head: &'a ObjectHead,
    /// The byte of the object that is the first of the file.
    pub(super) from: u64,
    pub(super) target: &'a Arc<Target>,
    pub(super) check: Option<Method>,
    pub(super) at_once: usize,
    /// Where it is noted what is written.
    pub(super) notes: Option<&'a Notes>,
}

/// Which bytes a part is.
#[derive(Debug)]
pub(super) enum Wish {
    Range(Range<u64>),
    /// Those of one of the parts that the object was uploaded in: the answer tells which.
    Number(u32),
}

/// A part that has come.
pub(super) struct Fetched {
    pub(super) range: Range<u64>,
    pub(super) checksum: Option<Checksum>,
    /// What the service says that it is, of a part by its number.
    pub(super) stored: Option<Checksum>,
}

impl Fetched {
    pub(super) fn length(&self) -> u64 {
        self.range.end - self.range.start
    }
}

impl<'a> Parts<'a> {
    /// All of them, in their order; `None` when the server answers one with something else.
    pub(super) async fn fetch_all(
        self,
        first: Option<(Wish, Incoming, Retry<'a>)>,
        mut rest: impl Iterator<Item = Wish>,
        memory: Held,
    ) -> Result<Option<Vec<Fetched>>> {
        let mut fetching = FuturesUnordered::new();
        let mut fetched = Vec::new();
        // Of one part; the last that came leaves it to the next, so that every download gets on.
        let mut left = Some(Means { _memory: memory, _permit: None });
        if let Some((first, incoming, retry)) = first
            && let Some(means) = left.take()
        {
            fetching.push(self.fetch(first, Some(incoming), retry, means));
        }
        loop {
            while fetching.len() < self.at_once
                && let Some(means) = left.take().or_else(|| Means::more(self.into.wanted.engine))
                && let Some(wish) = rest.next()
            {
                fetching.push(self.fetch(wish, None, self.into.wanted.engine.retries.start(), means));
            }
            match fetching.try_next().await? {
                Some((Some(part), means)) => {
                    fetched.push(part);
                    left = fetching.is_empty().then_some(means);
                }
                Some((None, _)) => return Ok(None),
                None => break,
            }
        }
        fetched.sort_unstable_by_key(|part: &Fetched| part.range.start);
        Ok(Some(fetched))
    }

    async fn fetch(
        self,
        wish: Wish,
        mut first: Option<Incoming>,
        mut retry: Retry<'_>,
        means: Means<'a>,
    ) -> Result<(Option<Fetched>, Means<'a>)> {
        let (range, stored) = match wish {
            Wish::Range(range) => (range, None),
            Wish::Number(number) => {
                let begun = match first {
                    Some(begun) => Some(begun),
                    None => self.into.wanted.begin_part(self.head, number, &mut retry).await?,
                };
                let Some((begun, range)) = begun.and_then(|begun| begun.head.range.clone().map(|range| (begun, range)))
                else {
                    return Ok((None, means));
                };
                let stored = begun.head.checksum.clone().and_then(StoredChecksum::of_bytes);
                first = Some(begun);
                (range, stored)
            }
        };
        let length = range.end - range.start;
        let (target, offset) = (Arc::clone(self.target), range.start - self.from);
        let notes = self.notes.cloned();
        let open = move || Placed::open(&target, offset, notes.clone());
        let mut pieces = Pieces::new(self.into.directory, length, self.check, open.clone());
        let filled =
            self.into.wanted.fill(&mut pieces, self.head, range.end, first, &mut retry, !WHOLE_WILL_DO).await?;
        let checksum = pieces.checksum();
        let attempts = retry.attempts();
        let written = pieces.finish(move |writer, rest| match writer {
            None => open()?.append(rest),
            Some(mut writer) => writer.append(rest),
        });
        written.await.map_err(|error| error.with_attempts(attempts))?;
        Ok((matches!(filled, Filled::Whole).then_some(Fetched { range, checksum, stored }), means))
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
