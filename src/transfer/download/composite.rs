//! An object whose checksum is one of those of its parts.
//!
//! Where the parts begin and end, a GET by `partNumber` tells along with their bytes, in `Content-Range`, and with the checksum of
//! each. So parts of any lengths need no request beside those that fetch them, and no permission but that to read the object,
//! unlike GetObjectAttributes.

use std::ops::Range;
use std::sync::Arc;

use super::check::{compare_parts, damaged};
use super::parallel::{AT_ONCE, Fetched, Parts, Wish, into_file};
use super::{Downloaded, IntoFile, Wanted, same_version, unless_changed};
use crate::checksum::{Checksum, Composite, Method, Verified};
use crate::error::{Error, Result};
use crate::limits::Held;
use crate::retry::Retry;
use crate::scope::Space;
use crate::store::{Failure, FailureKind, Incoming, ObjectHead, ReadOptions};

/// Downloads the object by the parts that it was uploaded in; `None` when the server does not tell them.
///
/// All is done by the caller's own task: who drops the future has ended everything.
pub(super) async fn download(
    into: IntoFile<'_>,
    head: &ObjectHead,
    composite: &Composite,
    space: Arc<Space>,
    memory: Held,
) -> Result<Option<Downloaded>> {
    let mut retry = into.wanted.engine.retries.start();
    let Some(first) = into.wanted.begin_part(head, 1, &mut retry).await? else { return Ok(None) };
    let whole = 0..head.size;
    into_file(into, head, &whole, space, retry.attempts(), async |target| {
        let check = Some(Method::Algorithm(composite.algorithm()));
        let parts = Parts { into, head, from: whole.start, target, check, at_once: AT_ONCE, notes: None };
        let first = Some((Wish::Number(1), first, retry));
        let Some(fetched) = parts.fetch_all(first, (2..=composite.parts()).map(Wish::Number), memory).await? else {
            return Ok(None);
        };
        check_borders(&fetched, &whole)?;
        compare(composite, &fetched).map(|verified| Some(Some(verified)))
    })
    .await
}

impl Wanted<'_> {
    /// Asks for one of the parts that the version of `head` was uploaded in, until there is an answer; `None` when the server
    /// does not tell it.
    pub(super) async fn begin_part(
        self,
        head: &ObjectHead,
        number: u32,
        retry: &mut Retry<'_>,
    ) -> Result<Option<Incoming>> {
        let pinned = ReadOptions { if_match: head.etag.as_deref(), checksum: true, ..self.options };
        loop {
            let attempt = async {
                let begun = self.engine.store.get_part(self.location, pinned, number).await?;
                begun.map(|begun| same_version(head, begun)).transpose()
            };
            match retry.attempt(attempt).await {
                Ok(begun) => return Ok(begun),
                Err(stopped) => {
                    let failure = unless_changed(stopped.failure(retry)?, head, retry)?;
                    retry.wait(failure).await?;
                }
            }
        }
    }
}

/// Whether the parts are the object without gaps.
pub(super) fn check_borders(fetched: &[Fetched], whole: &Range<u64>) -> Result<()> {
    let end = fetched.iter().try_fold(whole.start, |at, part| (part.range.start == at).then_some(part.range.end));
    if end == Some(whole.end) {
        return Ok(());
    }
    Err(not_the_object())
}

pub(super) fn not_the_object() -> Error {
    let problem = "the parts that the server answered with are not the object";
    Failure::new(FailureKind::Malformed, problem).into_error(1)
}

/// Compares what came with the object's checksum, and tells of a difference which parts it is in.
pub(super) fn compare(composite: &Composite, fetched: &[Fetched]) -> Result<Verified> {
    let received: Vec<&Checksum> = fetched.iter().filter_map(|part| part.checksum.as_ref()).collect();
    compare_parts(composite, &received).map_err(|of_all| {
        let differs = (1..).zip(fetched).find_map(|(number, part)| match (&part.checksum, &part.stored) {
            (Some(received), Some(stored)) if received != stored => Some((number, part, received, stored)),
            _ => None,
        });
        let Some((number, Fetched { range, .. }, received, stored)) = differs else { return of_all };
        let (parts, last) = (composite.parts(), range.end - 1);
        let part = format!("part {number} of {parts}, the bytes {} to {last}", range.start);
        damaged(format!("of {part}, those that came have the checksum {received}, and the stored part has {stored}"))
    })
}
