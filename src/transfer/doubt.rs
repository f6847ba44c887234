//! What became of a write whose answer was lost: looked up, and never guessed.

use std::time::{Duration, Instant, SystemTime};

use super::Engine;
use super::conditional::another_object;
use super::upload::Outcome;
use crate::address::Location;
use crate::error::{Error, ErrorKind, Result};
use crate::store::{Failure, FailureKind, ObjectHead, ObjectHeaders, ReadOptions, Stored, WriteCondition};

/// The attempts of one write so far, and what they may have done.
pub(super) struct Attempts<'a> {
    engine: &'a Engine,
    location: &'a Location,
    /// Those that the object is stored with, with the write's id if they have one.
    headers: &'a ObjectHeaders,
    condition: Option<&'a WriteCondition>,
    since: Instant,
    doubt: Doubt,
    /// Whether the condition did not hold at the last one.
    refused: bool,
}

/// Whether a write that was not acknowledged may be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Doubt {
    /// No attempt was carried out.
    None,
    /// One that was answered with an error may have been carried out.
    Answered,
    /// One that was not answered may have been carried out, or may yet be.
    Unanswered,
}

/// What a look at the object shows.
#[derive(Debug)]
enum Found {
    Ours(Stored),
    /// It is another one, of this ETag.
    Another(Option<String>),
    Nothing,
    /// It is there, and nothing tells whose it is.
    Unclear,
}

/// How long a look may take, with its retries: the attempts before it have been patient already.
pub(super) const LOOK_LIMIT: Duration = Duration::from_secs(5);
/// Times in headers are whole seconds.
const SECOND: Duration = Duration::from_secs(1);

impl<'a> Attempts<'a> {
    /// Before the first of them.
    pub(super) fn begin(
        engine: &'a Engine,
        location: &'a Location,
        headers: &'a ObjectHeaders,
        condition: Option<&'a WriteCondition>,
    ) -> Self {
        Self { engine, location, headers, condition, since: Instant::now(), doubt: Doubt::None, refused: false }
    }

    /// Of a write that began earlier: the time of an object made of parts may be that of its upload's beginning.
    pub(super) fn since(self, since: Instant) -> Self {
        Self { since, ..self }
    }

    /// Notes what an attempt that failed leaves open.
    pub(super) fn failed(&mut self, failure: &Failure) {
        self.refused = self.condition.is_some() && failure.is_precondition_failed();
        // An upload that is gone may have been completed, whatever was answered to that.
        if failure.may_be_carried_out() || failure.is_no_such_upload() {
            // What stands before S3 answers for it without knowing what it does.
            let of_s3 = failure.kind == FailureKind::Answer && failure.code.is_some();
            self.doubt = self.doubt.max(if of_s3 { Doubt::Answered } else { Doubt::Unanswered });
        }
    }

    /// Whether one of them may have been carried out.
    pub(super) fn are_in_doubt(&self) -> bool {
        self.doubt != Doubt::None
    }

    pub(super) fn stored(&self, stored: Stored) -> Outcome {
        match self.condition {
            None => Outcome::Stored(stored),
            Some(WriteCondition::Absent) => Outcome::Created(stored),
            Some(WriteCondition::Matches(_)) => Outcome::Replaced(stored),
        }
    }

    /// What came of the write, the last attempt of which ended with `error`: success if the object that is there is ours.
    /// Without an id, `etag` is the one that it would have, as far as that can be known.
    ///
    /// The server's word that a condition does not hold is not enough: something between us and it may have sent an attempt
    /// twice.
    ///
    /// # Errors
    ///
    /// `error`, with [`Error::is_outcome_unknown`] unless what is there shows that nothing was carried out;
    /// [`ErrorKind::Changed`] when the object is not the one of the condition.
    pub(super) async fn conclude(&self, error: Error, etag: impl Future<Output = Option<String>>) -> Result<Outcome> {
        if !self.refused && !self.are_in_doubt() {
            return Err(error);
        }
        let found = tokio::time::timeout(LOOK_LIMIT, self.look(etag)).await;
        let found = found.unwrap_or_else(|_| Err(Error::new(ErrorKind::Timeout, "no answer in time")));
        tracing::debug!(url = self.location.url(), %error, ?found, "looked for what an unclear write has done");
        if let Ok(Found::Ours(stored)) = found {
            return Ok(self.stored(stored));
        }
        match self.condition {
            None => Err(self.unconditional(error, &found)),
            Some(WriteCondition::Absent) => self.absent(error, found),
            Some(WriteCondition::Matches(wanted)) => Err(self.matches(error, &found, wanted)),
        }
    }

    fn unconditional(&self, error: Error, found: &Result<Found>) -> Error {
        let shown = matches!(found, Ok(Found::Another(_) | Found::Nothing));
        error.with_outcome_unknown(!shown || self.doubt == Doubt::Unanswered)
    }

    fn absent(&self, error: Error, found: Result<Found>) -> Result<Outcome> {
        match found {
            Ok(Found::Another(_)) => Ok(Outcome::Exists),
            // It was there when the server said so, and none of ours.
            _ if self.doubt == Doubt::None => Ok(Outcome::Exists),
            Ok(Found::Nothing) if !self.refused => Err(error.with_outcome_unknown(self.doubt == Doubt::Unanswered)),
            _ if !self.refused => Err(error.with_outcome_unknown(true)),
            Ok(_) => Err(unknown(error)),
            Err(looked) => Err(unknown(looked)),
        }
    }

    /// Who was told that the object is another one reads it and tries again: not if that is what became of our own.
    fn matches(&self, error: Error, found: &Result<Found>, wanted: &str) -> Error {
        if self.refused {
            let there = match found {
                Ok(Found::Another(etag)) => etag.clone().filter(|etag| etag != wanted),
                _ => None,
            };
            return another_object()
                .with_etags(Some(wanted), there)
                .with_attempts(error.attempts())
                .with_source(error)
                .with_outcome_unknown(self.are_in_doubt());
        }
        let untouched = matches!(found, Ok(Found::Another(Some(etag))) if etag == wanted);
        error.with_outcome_unknown(!untouched || self.doubt == Doubt::Unanswered)
    }

    async fn look(&self, etag: impl Future<Output = Option<String>>) -> Result<Found> {
        let options = ReadOptions { customer_key: self.headers.customer_key(), ..ReadOptions::default() };
        let head = match self.engine.request(|store| store.head(self.location, options)).await {
            Ok(head) => head,
            Err(error) if error.is_not_found() => return Ok(Found::Nothing),
            Err(error) => return Err(error),
        };
        if let Some(id) = self.headers.write_id() {
            let ours = head.write_id.as_deref() == Some(id.as_str());
            return Ok(if ours { Found::Ours(stored(head)) } else { Found::Another(head.etag) });
        }
        Ok(match modified_since(&head, self.since.elapsed()) {
            // Its bytes may be the same, with other metadata.
            Some(false) => Found::Another(head.etag),
            // Of two writers of the same bytes, only one may hear that it won.
            Some(true) if self.condition.is_none() && head.etag.is_some() && head.etag == etag.await => {
                Found::Ours(stored(head))
            }
            // Not every ETag is a digest.
            _ => Found::Unclear,
        })
    }
}

fn stored(head: ObjectHead) -> Stored {
    Stored { etag: head.etag, version_id: head.version_id }
}

/// Whether an object was stored within the time that has `elapsed`, by the server's clock; `None` when it does not say.
fn modified_since(head: &ObjectHead, elapsed: Duration) -> Option<bool> {
    let begun: SystemTime = head.date?.checked_sub(elapsed + SECOND)?;
    Some(head.last_modified? >= begun)
}

fn unknown(cause: Error) -> Error {
    Error::new(ErrorKind::Other, "the object exists, and an earlier attempt of this put may have stored it")
        .with_attempts(cause.attempts())
        .with_source(cause)
        .with_outcome_unknown(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_ours_only_from_the_second_of_the_first_attempt_on() {
        let at = |second: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + second);
        let head = |date: Option<u64>, modified: Option<u64>| ObjectHead {
            date: date.map(at),
            ..ObjectHead::listed(0, None, modified.map(at))
        };
        let elapsed = Duration::from_millis(5_500);
        for (modified, since) in [(100, true), (95, true), (94, true), (93, false), (0, false)] {
            assert_eq!(modified_since(&head(Some(100), Some(modified)), elapsed), Some(since), "{modified}");
        }
        assert_eq!(modified_since(&head(None, Some(1)), elapsed), None);
        assert_eq!(modified_since(&head(Some(1), None), elapsed), None);
    }
}
