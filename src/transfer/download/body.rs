//! The body of an answer, as far as it comes.

use futures::StreamExt as _;

use super::pieces::{Append, Pieces};
use crate::store::{Failure, FailureKind, Incoming};
use crate::transfer::Stopped;

/// Takes from the body what `pieces` expect, from byte `next` of the object on. A server that ignored the range sends bytes
/// before it, and what follows is not read.
pub(super) async fn receive<F: Append>(incoming: Incoming, next: u64, pieces: &mut Pieces<F>) -> Result<(), Stopped> {
    let Incoming { head, mut body } = incoming;
    let answered_from = head.range.map_or(0, |range| range.start);
    let mut skip = next.checked_sub(answered_from).ok_or_else(|| {
        Failure::new(
            FailureKind::Malformed,
            format!("the server answered from byte {answered_from} when asked from {next}"),
        )
    })?;
    while pieces.expected() > 0 {
        let Some(chunk) = pieces.unless_failed(body.next()).await.map_err(Stopped::Local)? else {
            let missing = pieces.expected();
            return Err(Failure::new(FailureKind::Interrupted, format!("the body ended {missing} bytes early")).into());
        };
        let mut chunk = chunk?;
        let skipped = skip.min(chunk.len() as u64);
        skip -= skipped;
        // Both fit: they are at most the length of a chunk.
        let _ = chunk.split_to(skipped as usize);
        chunk.truncate(pieces.expected().min(chunk.len() as u64) as usize);
        pieces.push(chunk).await.map_err(Stopped::Local)?;
    }
    Ok(())
}
