//! A value into an object: in one request when it is short, in parts when it is long.

use std::sync::Arc;

use bytes::Bytes;

use super::conditional::{self, Settled, Write};
use super::multipart::Assembly;
use super::parts::{PART, Plan};
use super::source::Reading;
use super::{Engine, Stopped, unknown_outcome};
use crate::address::Location;
use crate::error::{Error, ErrorKind, Result};
use crate::request::Source;
use crate::store::{MultipartUpload, ObjectHeaders, Store, Stored, WriteCondition};

/// Where a value goes, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Upload<'a> {
    pub(crate) location: &'a Location,
    pub(crate) headers: &'a ObjectHeaders,
    pub(crate) condition: Option<&'a WriteCondition>,
    /// On a server that ignores conditions, look first and then put, in place of an error.
    pub(crate) check_then_put: bool,
}

/// What became of an upload.
#[derive(Debug)]
pub(crate) enum Outcome {
    Stored(Stored),
    /// The condition was [`WriteCondition::Absent`], and the key is there.
    Exists,
}

/// A longer value of known size goes in parts.
const LONGEST_SINGLE: u64 = 2 * PART;

/// Stores a value whole or not at all.
///
/// # Errors
///
/// [`ErrorKind::InvalidObject`] when the value is longer than S3 takes; [`ErrorKind::Changed`] when a file changed while it
/// was read, or the object is not the one of the condition; [`ErrorKind::Unsupported`] when the server ignores conditions;
/// [`ErrorKind::Other`] when a condition does not hold any more and an earlier attempt may have stored the object.
pub(crate) async fn upload(engine: &Engine, upload: Upload<'_>, value: Source) -> Result<Outcome> {
    let mut reading = Reading::begin(value).await?;
    let (plan, first) = match reading.size() {
        Some(size) if size <= LONGEST_SINGLE => (None, reading.whole(size).await?),
        Some(size) => (Some(Plan::of(size, PART).ok_or_else(|| too_long(Some(size)))?), Bytes::new()),
        None => {
            let first = reading.next(PART).await?;
            ((first.len() as u64 == PART).then_some(Plan::Growing), first)
        }
    };
    let write = if plan.is_some() { Write::Complete } else { Write::Put };
    let upload = match conditional::settle(engine, upload, write).await? {
        Settled::Proceed(upload) => upload,
        Settled::Exists => return Ok(Outcome::Exists),
    };
    let Some(plan) = plan else { return single(engine, upload, first).await };
    // Nobody wants to send a long value only to hear that it is there already.
    if upload.condition == Some(&WriteCondition::Absent) && conditional::exists(engine, upload).await? {
        return Ok(Outcome::Exists);
    }
    let mut retry = engine.retries.start();
    let mut first = first;
    loop {
        match in_parts(engine, upload, plan, &mut reading, first).await {
            Ok(stored) => return Ok(Outcome::Stored(stored)),
            Err(Stopped::Local(error)) => return Err(error),
            Err(Stopped::Remote(failure)) if failure.is_precondition_failed() => {
                return refused(upload, failure.into_error(retry.attempts()));
            }
            // A conflict with another write: to be sent again from the beginning.
            Err(Stopped::Remote(failure)) => {
                if !reading.rewind().await? {
                    return Err(failure.into_error(retry.attempts()));
                }
                retry.wait(failure).await?;
            }
        }
        first = Bytes::new();
    }
}

async fn single(engine: &Engine, upload: Upload<'_>, body: Bytes) -> Result<Outcome> {
    let Upload { location, headers, condition, .. } = upload;
    let mut retry = engine.retries.start();
    let mut may_be_stored = false;
    loop {
        match retry.attempt(engine.store.put(location, headers, condition, body.clone())).await {
            Ok(stored) => return Ok(Outcome::Stored(stored)),
            Err(failure) if condition.is_some() && failure.is_precondition_failed() => {
                let attempts = retry.attempts();
                if may_be_stored {
                    return Err(unknown_outcome(failure, attempts));
                }
                return refused(upload, failure.into_error(attempts));
            }
            Err(failure) => {
                may_be_stored |= failure.may_be_carried_out();
                retry.wait(failure).await?;
            }
        }
    }
}

/// One multipart upload. A failure that is left to judge is one of the completion.
async fn in_parts(
    engine: &Engine,
    upload: Upload<'_>,
    plan: Plan,
    reading: &mut Reading,
    first: Bytes,
) -> Result<Stored, Stopped> {
    let Upload { location, headers, condition, .. } = upload;
    let begun = engine.request(|store| store.create_multipart(location, headers)).await?;
    let mut assembly = Assembly::new(engine, begun);
    let handed_over = hand_over(&mut assembly, plan, reading, first).await;
    assembly.end(handed_over, condition).await
}

/// Reads the parts, and hands them over to be sent.
async fn hand_over(assembly: &mut Assembly, plan: Plan, reading: &mut Reading, first: Bytes) -> Result<()> {
    let mut first = Some(first).filter(|first| !first.is_empty());
    for number in 1.. {
        let length = plan.length(number);
        let body = match first.take() {
            Some(first) => first,
            // Beyond the last part that S3 takes, one byte is too much.
            None => assembly.meanwhile(reading.next(length.unwrap_or(1))).await?,
        };
        if body.is_empty() {
            break;
        }
        if length.is_none() {
            return Err(too_long(None));
        }
        let send = move |store: Store, upload: Arc<MultipartUpload>| {
            let body = body.clone();
            async move { store.upload_part(&upload, number, body).await }
        };
        assembly.send(plan.at_once(number), send).await?;
    }
    reading.finish().await
}

/// The answer to a condition that does not hold.
fn refused(upload: Upload<'_>, error: Error) -> Result<Outcome> {
    match upload.condition {
        Some(WriteCondition::Absent) => Ok(Outcome::Exists),
        _ => Err(conditional::another_object().with_attempts(error.attempts()).with_source(error)),
    }
}

fn too_long(size: Option<u64>) -> Error {
    let size = size.map_or_else(|| "more than 7.8 TiB".to_owned(), |size| format!("{size} bytes"));
    Error::new(ErrorKind::InvalidObject, format!("the value has {size}; the 10,000 parts of an upload cannot hold it"))
}
