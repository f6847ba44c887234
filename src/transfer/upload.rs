//! A value into an object: in one request when it is short, in parts when it is long.

use std::sync::Arc;

use futures::future::BoxFuture;

use super::conditional::{self, Settled, Write};
use super::multipart::Assembly;
use super::parts::{PART, Plan};
use super::single::single;
use super::source::{Part, Reading};
use super::{Engine, Stopped, with_id};
use crate::address::Location;
use crate::error::{Error, ErrorKind, Result};
use crate::observe::Way;
use crate::request::Source;
use crate::store::{Failure, MultipartUpload, ObjectHeaders, Store, Stored, WriteCondition};

/// Where a value goes, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Upload<'a> {
    pub(crate) location: &'a Location,
    pub(crate) headers: &'a ObjectHeaders,
    pub(crate) condition: Option<&'a WriteCondition>,
    /// On a server that ignores conditions, look first and then put, in place of an error.
    pub(crate) check_then_put: bool,
    /// Of equal parts; without it, parts grow with the value.
    pub(crate) part_size: Option<u64>,
}

/// What became of an upload.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Without a condition.
    Stored(Stored),
    /// The condition was [`WriteCondition::Absent`], and nothing was there.
    Created(Stored),
    /// The condition was [`WriteCondition::Absent`], and the key is there, and not of this upload.
    Exists,
    /// The condition was [`WriteCondition::Matches`], and that object was there.
    Replaced(Stored),
    /// With a journal: an earlier call has stored it, and this one has sent nothing.
    AlreadyStored(Stored),
}

/// A longer value of known size goes in parts, unless it is one part itself.
const LONGEST_SINGLE: u64 = 2 * PART;

/// Stores a value whole or not at all.
///
/// # Errors
///
/// [`ErrorKind::InvalidObject`] when the value is longer than S3 takes; [`ErrorKind::Changed`] when a file changed while it
/// was read, or the object is not the one of the condition; [`ErrorKind::Unsupported`] when the server ignores conditions;
/// any with [`Error::is_outcome_unknown`] when an attempt may have stored the object, and nothing shows whether it did.
pub(crate) async fn upload(engine: &Engine, upload: Upload<'_>, value: Source) -> Result<Outcome> {
    let mut reading = Reading::begin(value, engine.flow(), &engine.in_place).await?;
    let algorithm = upload.headers.checksum();
    let (plan, first) = match reading.size() {
        Some(size) if size <= upload.part_size.unwrap_or(0).max(LONGEST_SINGLE) => {
            (None, reading.whole(size, algorithm).await?)
        }
        Some(size) => {
            let plan = Plan::of(size, upload.part_size.unwrap_or(PART));
            (Some(plan.ok_or_else(|| too_long(&format!("{size} bytes")))?), Part::default())
        }
        None => {
            let part = upload.part_size.unwrap_or(PART);
            let first = reading.next(part, algorithm).await?;
            ((first.bytes.len() as u64 == part).then(|| Plan::of_unknown(upload.part_size)), first)
        }
    };
    let length = reading.size().or_else(|| plan.is_none().then_some(first.bytes.len() as u64));
    engine.flow().record().carries(Way::Sent, length);
    let write = if plan.is_some() { Write::Complete } else { Write::Put };
    let upload = match conditional::settle(engine, upload, write).await? {
        Settled::Proceed(upload) => upload,
        Settled::Exists => return Ok(Outcome::Exists),
    };
    // By its id, an object that is there is known to be this one. Others see it in the metadata, so a put in one request has it
    // only where it decides who won.
    let identified = plan.is_some() || upload.condition.is_some();
    let headers = if identified { with_id(upload.headers) } else { upload.headers.clone() };
    let upload = Upload { headers: &headers, ..upload };
    let Some(plan) = plan else { return single(engine, upload, first).await };
    // Nobody wants to send a long value only to hear that it is there already.
    if upload.condition == Some(&WriteCondition::Absent) && conditional::exists(engine, upload).await? {
        return Ok(Outcome::Exists);
    }
    let mut retry = engine.retries.start();
    let mut first = first;
    loop {
        match in_parts(engine, upload, plan, &mut reading, first).await {
            Ok(outcome) => return Ok(outcome),
            Err(Stopped::Local(error)) => return Err(error),
            // A conflict with another write: to be sent again from the beginning.
            Err(Stopped::Remote(failure)) => {
                if !reading.rewind().await? {
                    return Err(failure.into_error(retry.attempts()));
                }
                retry.wait(failure).await?;
            }
        }
        first = Part::default();
    }
}

/// One multipart upload. A failure that is left to judge is a conflict with another write.
async fn in_parts(
    engine: &Engine,
    upload: Upload<'_>,
    plan: Plan,
    reading: &mut Reading,
    first: Part,
) -> Result<Outcome, Stopped> {
    let Upload { location, headers, condition, .. } = upload;
    let mut assembly = Assembly::begin(engine, create(location, headers)).await?;
    let handed_over = hand_over(&mut assembly, plan, reading, first).await;
    // Of many a stream, it is known only now.
    let handed_over = handed_over.map(|length| engine.flow().record().carries(Way::Sent, Some(length)));
    assembly.end(handed_over, condition).await
}

/// Reads the parts, and hands them over to be sent; how many bytes they were.
async fn hand_over(assembly: &mut Assembly, plan: Plan, reading: &mut Reading, first: Part) -> Result<u64> {
    let mut handed_over = 0;
    let mut first = Some(first).filter(|first| !first.bytes.is_empty());
    for number in 1.. {
        let length = plan.length(number);
        let algorithm = assembly.checksum();
        let part = match first.take() {
            Some(first) => first,
            // Beyond the last part that S3 takes, one byte is too much.
            None => assembly.meanwhile(reading.next(length.unwrap_or(1), algorithm)).await?,
        };
        if part.bytes.is_empty() {
            break;
        }
        if length.is_none() {
            return Err(too_long(&format!("more than {} bytes", plan.capacity())));
        }
        let checksum = part.checksum(algorithm).await?;
        let body = part.bytes;
        handed_over += body.len() as u64;
        let send = move |store: Store, upload: Arc<MultipartUpload>| {
            let (body, checksum) = (body.clone(), checksum.clone());
            async move { store.upload_part(&upload, number, body, checksum.as_ref()).await }
        };
        assembly.send(plan.at_once(number), send).await?;
    }
    reading.finish().await.map(|()| handed_over)
}

/// The request that begins an upload, for each attempt.
pub(super) fn create(
    location: &Location,
    headers: &ObjectHeaders,
) -> impl Fn(Store) -> BoxFuture<'static, Result<MultipartUpload, Failure>> + Send + Sync + 'static {
    let object = Arc::new((location.clone(), headers.clone()));
    move |store| {
        let object = Arc::clone(&object);
        Box::pin(async move { store.create_multipart(&object.0, &object.1).await })
    }
}

pub(super) fn too_long(length: &str) -> Error {
    Error::new(
        ErrorKind::InvalidObject,
        format!("the value has {length}; the 10,000 parts of an upload cannot hold it"),
    )
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use bytes::Bytes;
    use futures::StreamExt as _;

    use super::*;
    use crate::testing::{Operation, S3Server};

    #[tokio::test]
    async fn a_stream_that_10_000_parts_cannot_hold_ends_before_one_more_is_sent() {
        let server = S3Server::start().await.unwrap();
        let s3 = server.client_builder().build().unwrap().s3().s3root("s3://bucket").build().unwrap();
        let address = s3.root().object("k").unwrap();
        // S3 takes no parts of a byte; it says so when they are put together.
        let plan = Plan::of_unknown(Some(1));
        let stream = futures::stream::iter(std::iter::repeat_n(Bytes::from_static(&[7; 100]), 101)).map(Ok).boxed();
        let mut reading =
            Reading::begin(Source::Stream(stream, None), s3.engine().flow(), &Arc::default()).await.unwrap();
        let create = create(&address.location, &ObjectHeaders::default());
        let mut assembly = Assembly::begin(s3.engine(), create).await.unwrap();
        let handed_over = hand_over(&mut assembly, plan, &mut reading, Part::default()).await;
        let Err(Stopped::Local(error)) = assembly.end(handed_over.map(drop), None).await else {
            panic!("it was not refused")
        };
        assert_eq!(error.kind(), ErrorKind::InvalidObject);
        assert!(error.to_string().contains("more than 10000 bytes") && error.to_string().contains("10,000 parts"));
        let parts = server.log().iter().filter(|request| request.operation() == Operation::UploadPart).count();
        assert!(parts <= 10_000, "{parts}");
        assert!(server.multipart_uploads("bucket").is_empty());
    }
}
