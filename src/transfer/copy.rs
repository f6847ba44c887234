//! An object into another one, inside the server.

use std::sync::Arc;

use super::doubt::Attempts;
use super::multipart::Assembly;
use super::parts::Plan;
use super::upload::Outcome;
use super::{Engine, Stopped, with_id};
use crate::address::Location;
use crate::encryption::CustomerKey;
use crate::error::{Error, ErrorKind, Result};
use crate::store::{CopySource, MultipartUpload, ObjectHead, ObjectHeaders, ReadOptions, Store, Stored};

/// Of a copy by parts, one of them: nothing of it passes through here.
const COPY_PART: u64 = 64 * 1024 * 1024;
const PARTS_AT_ONCE: usize = 8;

/// Copies `source` with its properties, metadata and tags, but for what `headers` say.
///
/// One request, unless the server refuses it, as S3 does over 5 GiB: then by parts, pinned to one ETag.
///
/// # Errors
///
/// Any with [`Error::is_outcome_unknown`] when an attempt may have made the copy, and nothing shows whether it did.
pub(crate) async fn copy(
    engine: &Engine,
    source: CopySource<'_>,
    destination: &Location,
    headers: &ObjectHeaders,
) -> Result<Stored> {
    let mut attempts = Attempts::begin(engine, destination, headers, None);
    let mut retry = engine.retries.start();
    let refused = loop {
        let failure = match retry.attempt(engine.store.copy(source, destination, headers)).await {
            Ok(stored) => return Ok(stored),
            Err(failure) => failure,
        };
        attempts.failed(&failure);
        let Err(error) = retry.wait(failure).await else { continue };
        if may_be_too_large(&error) {
            break error;
        }
        return attempts.conclude(error, etag(engine, source)).await.and_then(stored);
    };
    match head(engine, source).await {
        Ok(head) if head.size > COPY_PART => in_parts(engine, source, head, destination, headers).await,
        // Whatever was wrong, it was not its length; or nobody may know that.
        Ok(_) | Err(_) => attempts.conclude(refused, etag(engine, source)).await.and_then(stored),
    }
}

async fn head(engine: &Engine, source: CopySource<'_>) -> Result<ObjectHead> {
    let options =
        ReadOptions { if_match: source.if_match, customer_key: source.customer_key, ..ReadOptions::default() };
    engine.request(|store| store.head(source.location, options)).await
}

/// The ETag of a copy of `source` that was uploaded in one request; of any other, that of the copy is a new one.
async fn etag(engine: &Engine, source: CopySource<'_>) -> Option<String> {
    match source.if_match {
        Some(etag) => Some(etag.to_owned()),
        None => head(engine, source).await.ok()?.etag,
    }
}

fn stored(outcome: Outcome) -> Result<Stored> {
    match outcome {
        Outcome::Stored(stored)
        | Outcome::Created(stored)
        | Outcome::Replaced(stored)
        | Outcome::AlreadyStored(stored) => Ok(stored),
        Outcome::Exists => unreachable!("a copy has no condition for its destination"),
    }
}

/// A source for the requests of tasks, and the ETag that all of them ask for.
struct Pinned {
    location: Location,
    etag: String,
    customer_key: Option<CustomerKey>,
}

impl Pinned {
    fn source(&self) -> CopySource<'_> {
        let Self { location, etag, customer_key } = self;
        CopySource { location, if_match: Some(etag), customer_key: customer_key.as_ref() }
    }
}

async fn in_parts(
    engine: &Engine,
    source: CopySource<'_>,
    ObjectHead { size, etag, .. }: ObjectHead,
    destination: &Location,
    headers: &ObjectHeaders,
) -> Result<Stored> {
    let plan = Plan::of(size, COPY_PART)
        .ok_or_else(|| Error::new(ErrorKind::InvalidObject, format!("{size} bytes cannot be copied")))?;
    let Some(etag) = source.if_match.map(str::to_owned).or(etag) else {
        let problem = "the server gives no ETag of the source, and parts could be of two versions of it";
        return Err(Error::new(ErrorKind::Unsupported, problem));
    };
    let pinned =
        Arc::new(Pinned { location: source.location.clone(), etag, customer_key: source.customer_key.cloned() });
    let headers = with_id(headers);
    let object = Arc::new((destination.clone(), headers));
    let begun_of = Arc::clone(&pinned);
    let create = move |store: Store| {
        let (pinned, object) = (Arc::clone(&begun_of), Arc::clone(&object));
        async move { store.create_multipart_copy(pinned.source(), &object.0, &object.1).await }
    };
    let mut assembly = Assembly::begin(engine, create).await?;
    let handed_over = hand_over(&mut assembly, plan, &pinned, size).await;
    match assembly.end(handed_over, None).await {
        Ok(outcome) => stored(outcome),
        Err(Stopped::Local(error)) => Err(error),
        Err(Stopped::Remote(failure)) => Err(failure.into_error(1)),
    }
}

async fn hand_over(assembly: &mut Assembly, plan: Plan, pinned: &Arc<Pinned>, size: u64) -> Result<()> {
    let mut start = 0;
    for number in 1.. {
        let Some(length) = plan.length(number).filter(|_| start < size) else { break };
        let range = start..(start + length).min(size);
        start = range.end;
        let pinned = Arc::clone(pinned);
        let send = move |store: Store, upload: Arc<MultipartUpload>| {
            let (pinned, range) = (Arc::clone(&pinned), range.clone());
            async move { store.copy_part(&upload, number, pinned.source(), range).await }
        };
        assembly.send(PARTS_AT_ONCE, send).await?;
    }
    Ok(())
}

fn may_be_too_large(error: &Error) -> bool {
    matches!(error.code(), Some("InvalidRequest" | "EntityTooLarge" | "InvalidArgument"))
}
