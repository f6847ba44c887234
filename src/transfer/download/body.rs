//! The body of an answer, as far as it comes.

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;

use super::pieces::{Append, Pieces};
use crate::store::{Failure, FailureKind, Incoming};
use crate::transfer::Stopped;

/// The bytes of an answer from a certain one on. A server that ignored the range sends bytes before it.
pub(super) struct Body {
    chunks: BoxStream<'static, Result<Bytes, Failure>>,
    skip: u64,
}

impl Body {
    /// From byte `next` of the object on.
    pub(super) fn new(incoming: Incoming, next: u64) -> Result<Self, Failure> {
        let Incoming { head, body: chunks } = incoming;
        let answered_from = head.range.map_or(0, |range| range.start);
        let skip = next.checked_sub(answered_from).ok_or_else(|| {
            Failure::new(
                FailureKind::Malformed,
                format!("the server answered from byte {answered_from} when asked from {next}"),
            )
        })?;
        Ok(Self { chunks, skip })
    }

    /// The next chunk of the `missing` bytes; what follows these is not read.
    pub(super) async fn next(&mut self, missing: u64) -> Result<Bytes, Failure> {
        loop {
            let Some(chunk) = self.chunks.next().await else {
                let problem = format!("the body ended {missing} bytes early");
                return Err(Failure::new(FailureKind::Interrupted, problem));
            };
            let mut chunk = chunk?;
            let skipped = self.skip.min(chunk.len() as u64);
            self.skip -= skipped;
            // Both fit: they are at most the length of a chunk.
            let _ = chunk.split_to(skipped as usize);
            chunk.truncate(missing.min(chunk.len() as u64) as usize);
            if !chunk.is_empty() {
                return Ok(chunk);
            }
        }
    }
}

/// Takes from the body what `pieces` expect, from byte `next` of the object on.
pub(super) async fn receive<F: Append>(incoming: Incoming, next: u64, pieces: &mut Pieces<F>) -> Result<(), Stopped> {
    let mut body = Body::new(incoming, next)?;
    while pieces.expected() > 0 {
        let missing = pieces.expected();
        let chunk = pieces.unless_failed(body.next(missing)).await.map_err(Stopped::Local)??;
        pieces.push(chunk).await.map_err(Stopped::Local)?;
    }
    Ok(())
}
