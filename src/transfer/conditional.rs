//! Whether a server keeps the conditions of a write. One that ignores them would overwrite what it was told to leave.

use std::sync::Arc;

use bytes::Bytes;

use super::doubt::LOOK_LIMIT;
use super::multipart::Assembly;
use super::upload::{Outcome, Upload, create};
use super::{Engine, Stopped, random, with_id};
use crate::address::Location;
use crate::blocking::joined;
use crate::encryption::CustomerKey;
use crate::error::{Error, ErrorKind, Result};
use crate::store::{MultipartUpload, ObjectHeaders, ReadOptions, Store, WriteCondition};

/// The request that carries the condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Write {
    Put,
    Complete,
}

/// What is to be done.
pub(super) enum Settled<'a> {
    /// The upload, with a condition only if the server keeps it.
    Proceed(Upload<'a>),
    Exists,
}

/// Makes sure that the condition of an upload means something.
///
/// # Errors
///
/// [`ErrorKind::Unsupported`] when the server ignores it and the user did not ask to check first.
pub(super) async fn settle<'a>(engine: &Engine, upload: Upload<'a>, write: Write) -> Result<Settled<'a>> {
    let Some(condition) = upload.condition else { return Ok(Settled::Proceed(upload)) };
    if is_kept(engine, upload, condition, write).await? {
        return Ok(Settled::Proceed(upload));
    }
    if !upload.check_then_put {
        return Err(Error::new(
            ErrorKind::Unsupported,
            "the server ignores or refuses conditions of writes; check_then_put(true) looks first, and may race",
        ));
    }
    let unconditional = Upload { condition: None, ..upload };
    match (condition, etag(engine, upload).await?) {
        (WriteCondition::Absent, Some(_)) => Ok(Settled::Exists),
        (WriteCondition::Matches(wanted), Some(Some(there))) if *wanted == there => Ok(Settled::Proceed(unconditional)),
        (WriteCondition::Matches(wanted), Some(there)) => Err(another_object().with_etags(Some(wanted), there)),
        (WriteCondition::Matches(_), None) => Err(Error::new(ErrorKind::NotFound, "the object does not exist")),
        (WriteCondition::Absent, None) => Ok(Settled::Proceed(unconditional)),
    }
}

/// Whether the object is known to be there; for a write whose condition decides.
pub(super) async fn exists(engine: &Engine, upload: Upload<'_>) -> Result<bool> {
    match etag(engine, upload).await {
        Ok(etag) => Ok(etag.is_some()),
        // Who may write need not be allowed to read, nor have the key of the object that is there.
        Err(error) if matches!(error.status(), Some(400 | 403)) && !error.is_retryable() => Ok(false),
        Err(error) => Err(error),
    }
}

pub(super) fn another_object() -> Error {
    Error::new(ErrorKind::Changed, "the object is another than the one that the condition names")
}

/// Whether an answer is of the object that was asked for: a server that ignores `If-Match` answers with any.
pub(crate) fn check_asked(if_match: Option<&str>, etag: Option<&str>) -> Result<()> {
    // As it is compared where a proxy makes ETags weak; a list, or any ETag, is for the server to judge.
    let opaque = |etag: &'_ str| etag.trim_start_matches("W/").trim_matches('"').to_owned();
    match (if_match, etag) {
        (Some(asked), Some(found)) if asked != "*" && !asked.contains(',') && opaque(asked) != opaque(found) => {
            Err(another_object().with_etags(if_match, Some(found.to_owned())))
        }
        (Some(_), None) => Err(Error::new(
            ErrorKind::Unsupported,
            "the server gives no ETag, and may have ignored the one that was asked for",
        )),
        _ => Ok(()),
    }
}

/// The error with the ETag that is there, of one that tells which should be: a refusal does not say it.
pub(crate) async fn with_found(
    engine: &Engine,
    location: &Location,
    customer_key: Option<&CustomerKey>,
    error: Error,
) -> Error {
    let Some(expected) = error.expected_etag().filter(|_| error.found_etag().is_none()).map(str::to_owned) else {
        return error;
    };
    let options = ReadOptions { customer_key, ..ReadOptions::default() };
    let look = engine.request(|store| store.head(location, options));
    let found = match tokio::time::timeout(LOOK_LIMIT, look).await {
        Ok(Ok(head)) => head.etag.filter(|found| *found != expected),
        Ok(Err(_)) | Err(_) => None,
    };
    error.with_etags(Some(&expected), found)
}

/// The ETag of the object that is there, if one is.
async fn etag(engine: &Engine, upload: Upload<'_>) -> Result<Option<Option<String>>> {
    let options = ReadOptions { customer_key: upload.headers.customer_key(), ..ReadOptions::default() };
    match engine.request(|store| store.head(upload.location, options)).await {
        Ok(head) => Ok(Some(head.etag)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

async fn is_kept(engine: &Engine, upload: Upload<'_>, condition: &WriteCondition, write: Write) -> Result<bool> {
    if engine.store.is_aws() {
        return Ok(true);
    }
    let known = engine.store.write_conditions(upload.location.bucket()).map_err(|failure| failure.into_error(0))?;
    let index = 2 * usize::from(write == Write::Complete) + usize::from(*condition == WriteCondition::Absent);
    let kept = known[index].get_or_try_init(|| async {
        let probe = Probe {
            engine: engine.clone(),
            location: upload.location.beside(&probe_name()),
            headers: upload.headers.only_encryption(),
        };
        let absent = *condition == WriteCondition::Absent;
        // In a task of its own, so that it takes its object away also when nobody waits any more.
        engine
            .aborts
            .spawn(async move { probe.run(absent, write).await })
            .await
            .unwrap_or_else(|error| Err(joined(error)))
    });
    // Of the put itself nothing has been sent.
    kept.await.copied().map_err(|error| error.with_outcome_unknown(false))
}

fn probe_name() -> String {
    // Without randomness of the system, TLS had failed long before.
    format!(".s3flow-probe-{:016x}", u64::from_ne_bytes(random().unwrap_or_default()))
}

/// Finds out on an object of its own, beside the one that is to be stored: it is put, put again under a condition that does
/// not hold, and deleted.
struct Probe {
    engine: Engine,
    location: Location,
    headers: ObjectHeaders,
}

/// No object has it.
const NO_ETAG: &str = "\"00000000000000000000000000000000\"";

impl Probe {
    async fn run(self, absent: bool, write: Write) -> Result<bool> {
        let Self { engine, location, headers } = &self;
        engine.request(|store| store.put(location, headers, None, Bytes::new(), None)).await?;
        let condition = if absent { WriteCondition::Absent } else { WriteCondition::Matches(NO_ETAG.to_owned()) };
        let kept = match write {
            Write::Put => self.put(&condition).await,
            Write::Complete => self.complete(&condition).await,
        };
        let removed = engine.request(|store| store.delete(location)).await;
        if let Err(error) = removed {
            tracing::warn!(url = location.url(), %error, "the object of a probe was not removed");
        }
        let kept = kept?;
        tracing::debug!(bucket = location.bucket(), ?condition, ?write, kept, "probed");
        Ok(kept)
    }

    async fn put(&self, condition: &WriteCondition) -> Result<bool> {
        let mut retry = self.engine.retries.start();
        loop {
            let put = self.engine.store.put(&self.location, &self.headers, Some(condition), Bytes::new(), None);
            match retry.attempt(put).await {
                Ok(_) => return Ok(false),
                Err(failure) if failure.is_precondition_failed() => return Ok(true),
                Err(failure) => match retry.wait(failure).await {
                    Err(error) if is_refusal(&error) => return Ok(false),
                    waited => waited?,
                },
            }
        }
    }

    async fn complete(&self, condition: &WriteCondition) -> Result<bool> {
        // Its own success is told by it from the object that is there.
        let headers = with_id(&self.headers);
        let mut assembly = Assembly::begin(&self.engine, create(&self.location, &headers)).await?;
        let part = |store: Store, upload: Arc<MultipartUpload>| async move {
            store.upload_part(&upload, 1, Bytes::from_static(b"probe"), None).await
        };
        let handed_over = assembly.send(1, part).await;
        match assembly.end(handed_over, Some(condition)).await {
            Ok(Outcome::Exists) => Ok(true),
            Ok(_) => Ok(false),
            Err(Stopped::Remote(failure)) => Err(failure.into_error(1)),
            Err(Stopped::Local(error)) if error.kind() == ErrorKind::Changed => Ok(true),
            Err(Stopped::Local(error)) if is_refusal(&error) => Ok(false),
            Err(Stopped::Local(error)) => Err(error),
        }
    }
}

/// Whether the server does not take what it took without the condition.
fn is_refusal(error: &Error) -> bool {
    let refused = matches!(error.status(), Some(400 | 501)) || error.code() == Some("NotImplemented");
    refused && !error.is_retryable() && error.kind() != ErrorKind::AccessDenied
}
