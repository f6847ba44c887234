//! A multipart upload from its beginning to its completion or its abort.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::{Either, ready, select};
use md5::{Digest as _, Md5};
use tokio::runtime::Handle;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::doubt::Attempts;
use super::single::hex;
use super::upload::Outcome;
use super::{Engine, Stopped};
use crate::blocking::{blocking, joined};
use crate::checksum::ChecksumAlgorithm;
use crate::error::{Error, ErrorKind, Result};
use crate::journal::Journal;
use crate::store::{Failure, MultipartUpload, Store, UploadedPart, WriteCondition};

/// An upload that was begun, and its parts. Dropping it ends those under way and aborts it in a task of the runtime: as much
/// as can be done when a future is dropped.
pub(super) struct Assembly {
    engine: Engine,
    /// Where it was begun: it may be dropped outside.
    runtime: Handle,
    since: Instant,
    /// `None` when it was completed or aborted.
    upload: Option<Arc<MultipartUpload>>,
    sending: JoinSet<Result<UploadedPart>>,
    sent: Vec<UploadedPart>,
    /// With a journal: then the upload is left to the next call in place of being aborted.
    notes: Option<PartNotes>,
}

/// Where the parts of an upload are noted that have arrived.
#[derive(Clone)]
pub(super) struct PartNotes {
    journal: Arc<Journal>,
    id: u64,
}

impl PartNotes {
    pub(super) fn new(journal: &Arc<Journal>, id: u64) -> Self {
        Self { journal: Arc::clone(journal), id }
    }

    async fn took(self, number: u32, etag: String, sum: String) -> Result<()> {
        blocking(move || self.journal.took(self.id, number, &etag, &sum)).await
    }
}

/// How long an abort may take, with its retries: somebody waits for the error that led to it.
const ABORT_LIMIT: Duration = Duration::from_secs(10);

impl Assembly {
    /// Begins an upload with a request that `create` makes.
    ///
    /// It is in the caller's hand or aborted also when the future is dropped before the answer is there: that is waited for in
    /// a task, for as long as an abort may take. When the answer is lost, nobody learns the upload's id, and nothing tells it
    /// from another client's, which must not be aborted.
    pub(super) async fn begin<F>(engine: &Engine, create: impl Fn(Store) -> F + Send + Sync + 'static) -> Result<Self>
    where
        F: Future<Output = Result<MultipartUpload, Failure>> + Send + 'static,
    {
        let nobody_waits = CancellationToken::new();
        let _waiting = nobody_waits.clone().drop_guard();
        let (begin, since) = (engine.clone(), Instant::now());
        let begun = engine.aborts.spawn(async move {
            let upload = begin_unless(nobody_waits, &begin, create).await?;
            Ok(Self {
                engine: begin,
                runtime: Handle::current(),
                since,
                upload: Some(Arc::new(upload)),
                sending: JoinSet::new(),
                sent: Vec::new(),
                notes: None,
            })
        });
        begun.await.unwrap_or_else(|error| Err(joined(error)))
    }

    /// One that an earlier process may have begun.
    pub(super) fn resumed(engine: &Engine, upload: MultipartUpload, notes: PartNotes) -> Self {
        Self {
            engine: engine.clone(),
            runtime: Handle::current(),
            since: Instant::now(),
            upload: Some(Arc::new(upload)),
            sending: JoinSet::new(),
            sent: Vec::new(),
            notes: Some(notes),
        }
    }

    /// Leaves what is begun to who has `noted` it: it is not aborted any more.
    pub(super) fn noted(&mut self, noted: PartNotes) {
        self.notes = Some(noted);
    }

    /// Of the upload.
    pub(super) fn id(&self) -> &str {
        self.upload.as_ref().map_or("", |upload| &upload.id)
    }

    /// A part that the server has already.
    pub(super) fn has(&mut self, part: UploadedPart) {
        self.sent.push(part);
    }

    /// What its parts are to be sent with.
    pub(super) fn checksum(&self) -> Option<ChecksumAlgorithm> {
        self.upload.as_ref().and_then(|upload| upload.checksum)
    }

    /// Sends a part in a task of its own, as soon as fewer than `at_once` are on their way. `send` makes the request of each
    /// attempt.
    pub(super) async fn send<F>(
        &mut self,
        at_once: usize,
        send: impl Fn(Store, Arc<MultipartUpload>) -> F + Send + Sync + 'static,
    ) -> Result<()>
    where
        F: Future<Output = Result<UploadedPart, Failure>> + Send + 'static,
    {
        self.send_noted(at_once, None, send).await
    }

    /// The same, and notes when it has arrived, with the `sum` of its bytes.
    pub(super) async fn send_noted<F>(
        &mut self,
        at_once: usize,
        sum: Option<String>,
        send: impl Fn(Store, Arc<MultipartUpload>) -> F + Send + Sync + 'static,
    ) -> Result<()>
    where
        F: Future<Output = Result<UploadedPart, Failure>> + Send + 'static,
    {
        while self.sending.len() >= at_once {
            self.take_sent().await?;
        }
        let engine = self.engine.clone();
        if let Some(upload) = self.upload.clone() {
            let notes = self.notes.clone().zip(sum);
            self.sending.spawn(async move {
                let part = engine.request(|store| send(store.clone(), Arc::clone(&upload))).await?;
                if let Some((notes, sum)) = notes {
                    notes.took(part.number, part.etag.clone(), sum).await?;
                }
                Ok(part)
            });
        }
        Ok(())
    }

    /// Does `work` while parts are on their way; the first of them that fails ends it.
    pub(super) async fn meanwhile<T>(&mut self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let mut work = pin!(work);
        while !self.sending.is_empty() {
            match select(&mut work, pin!(self.sending.join_next())).await {
                Either::Left((done, _)) => return done,
                Either::Right((sent, _)) => self.sent.extend(sent.map(part).transpose()?),
            }
        }
        work.await
    }

    async fn take_sent(&mut self) -> Result<()> {
        let sent = self.sending.join_next().await;
        self.sent.extend(sent.map(part).transpose()?);
        Ok(())
    }

    /// Completes the upload when all parts were `handed_over` and sent; else aborts it. A failure that is left to judge is a
    /// conflict with another write: the upload is to be sent again from its beginning.
    pub(super) async fn end(
        mut self,
        handed_over: Result<()>,
        condition: Option<&WriteCondition>,
    ) -> Result<Outcome, Stopped> {
        let ended = async {
            handed_over?;
            while !self.sending.is_empty() {
                self.take_sent().await?;
            }
            self.sent.sort_unstable_by_key(|part| part.number);
            self.complete(&self.sent, condition).await
        }
        .await;
        if !matches!(ended, Ok(Outcome::Stored(_) | Outcome::Created(_) | Outcome::Replaced(_)))
            && let Some(upload) = self.upload.clone()
        {
            // A part that arrives after the abort would stay.
            self.sending.shutdown().await;
            if self.notes.is_none() || !can_be_gone_on_with(&ended) {
                abort(&self.engine, &upload).await;
            }
        }
        self.upload = None;
        ended
    }

    async fn complete(&self, parts: &[UploadedPart], condition: Option<&WriteCondition>) -> Result<Outcome, Stopped> {
        let Some(upload) = &self.upload else { unreachable!("completed once, before anything ends it") };
        let attempts = Attempts::begin(&self.engine, &upload.location, &upload.headers, condition);
        let mut attempts = attempts.since(self.since);
        let mut retry = self.engine.retries.start();
        loop {
            let failure = match retry.attempt(self.engine.store.complete_multipart(upload, parts, condition)).await {
                Ok(stored) => return Ok(attempts.stored(stored)),
                Err(failure) => failure,
            };
            // S3 wants the upload from its beginning then; but a completion whose answer was lost may be in conflict with
            // itself, and an upload from the beginning would meet the object that it stored.
            if condition.is_some() && failure.is_conflict() && !attempts.are_in_doubt() {
                return Err(Stopped::Remote(failure));
            }
            attempts.failed(&failure);
            if let Err(error) = retry.wait(failure).await {
                let outcome = attempts.conclude(error, ready(composite_etag(parts))).await;
                return outcome.map_err(Stopped::Local);
            }
        }
    }
}

/// Whether another call may complete what has ended so.
fn can_be_gone_on_with(ended: &Result<Outcome, Stopped>) -> bool {
    let Err(Stopped::Local(error)) = ended else { return false };
    !matches!(error.kind(), ErrorKind::Changed | ErrorKind::InvalidObject | ErrorKind::NotFound)
}

/// The answer to a request that begins an upload. From when nobody waits for it, no other one is sent.
async fn begin_unless<F>(
    nobody_waits: CancellationToken,
    engine: &Engine,
    create: impl Fn(Store) -> F + Sync,
) -> Result<MultipartUpload>
where
    F: Future<Output = Result<MultipartUpload, Failure>>,
{
    let abandoned = || Error::new(ErrorKind::Closed, "nobody waits for the upload");
    let mut retry = engine.retries.start();
    loop {
        let late = async {
            nobody_waits.cancelled().await;
            tokio::time::sleep(ABORT_LIMIT).await;
        };
        let failure = match select(pin!(retry.attempt(create(engine.store.clone()))), pin!(late)).await {
            Either::Left((Ok(upload), _)) => return Ok(upload),
            Either::Left((Err(failure), _)) => failure,
            Either::Right(_) => return Err(abandoned()),
        };
        nobody_waits.run_until_cancelled(retry.wait(failure)).await.unwrap_or_else(|| Err(abandoned()))?;
    }
}

impl Drop for Assembly {
    fn drop(&mut self) {
        if self.notes.is_some() {
            return;
        }
        if let Some(upload) = self.upload.take() {
            let engine = self.engine.clone();
            let mut sending = std::mem::take(&mut self.sending);
            let abort = async move {
                sending.shutdown().await;
                abort(&engine, &upload).await;
            };
            self.engine.aborts.spawn_on(abort, &self.runtime);
        }
    }
}

fn part(sent: Result<Result<UploadedPart>, JoinError>) -> Result<UploadedPart> {
    sent.unwrap_or_else(|error| Err(joined(error)))
}

/// As well as it can be done: what led to it is the error that counts.
pub(super) async fn abort(engine: &Engine, upload: &MultipartUpload) {
    let aborted = tokio::time::timeout(ABORT_LIMIT, engine.request(|store| store.abort_multipart(upload))).await;
    let problem = match aborted {
        Ok(Ok(())) => return,
        Ok(Err(error)) if error.code() == Some("NoSuchUpload") || error.is_not_found() => return,
        Ok(Err(error)) => error,
        Err(_) => Error::new(ErrorKind::Timeout, "no answer in time"),
    };
    tracing::warn!(url = upload.location.url(), upload_id = upload.id, %problem, "a multipart upload was not aborted");
}

/// The ETag that S3 gives to the object made of `parts`, when theirs are MD5 digests.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html>
fn composite_etag(parts: &[UploadedPart]) -> Option<String> {
    let mut digest = Md5::new();
    for part in parts {
        let hex = part.etag.trim_matches('"');
        if hex.len() != 32 {
            return None;
        }
        for at in (0..32).step_by(2) {
            digest.update([u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()?]);
        }
    }
    Some(format!("\"{}-{}\"", hex(&digest.finalize()), parts.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "testing")]
    #[tokio::test]
    async fn an_upload_that_nobody_waits_for_is_not_tried_again() {
        use crate::testing::{Fault, Operation, S3Server};

        let server = S3Server::start().await.unwrap();
        let s3 = server.client_builder().build().unwrap().s3().s3root("s3://bucket").build().unwrap();
        let busy = Fault::status(503, "SlowDown").operation(Operation::CreateMultipartUpload);
        server.inject(busy);
        let put = tokio::spawn(s3.put("k", vec![1; 17 << 20]).into_future());
        server.wait_until(|log| log.first().is_some_and(|request| request.finish().is_some())).await;
        put.abort();
        assert!(put.await.unwrap_err().is_cancelled());
        let aborts = &s3.engine().aborts;
        aborts.close();
        aborts.wait().await;
        assert_eq!(server.log().len(), 1);
    }

    #[test]
    fn the_etag_of_parts_is_the_digest_of_their_digests() {
        let part = |number: u32, etag: &str| UploadedPart { number, etag: format!("\"{etag}\""), checksum: None };
        let parts = [part(1, "900150983cd24fb0d6963f7d28e17f72"), part(2, "d41d8cd98f00b204e9800998ecf8427e")];
        // printf 900150983cd24fb0d6963f7d28e17f72d41d8cd98f00b204e9800998ecf8427e | xxd -r -p | md5sum
        assert_eq!(composite_etag(&parts).as_deref(), Some("\"fdf1fdf1567f6942ffe1743f1e72301e-2\""));
        assert_eq!(composite_etag(&[part(1, "not an MD5")]), None);
        assert_eq!(composite_etag(&[part(1, "é00150983cd24fb0d6963f7d28e17f7")]), None);
    }
}
