//! A multipart upload from its beginning to its completion or its abort.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{Either, select};
use md5::{Digest as _, Md5};
use tokio::runtime::Handle;
use tokio::task::{JoinError, JoinSet};

use super::{Engine, Stopped, unknown_outcome};
use crate::blocking::joined;
use crate::error::{Error, ErrorKind, Result};
use crate::store::{Failure, MultipartUpload, ReadOptions, Store, Stored, UploadedPart, WriteCondition};

/// An upload that was begun, and its parts. Dropping it ends those under way and aborts it in a task of the runtime: as much
/// as can be done when a future is dropped.
pub(super) struct Assembly {
    engine: Engine,
    /// Where it was begun: it may be dropped outside.
    runtime: Handle,
    /// `None` when it was completed or aborted.
    upload: Option<Arc<MultipartUpload>>,
    sending: JoinSet<Result<UploadedPart>>,
    sent: Vec<UploadedPart>,
}

/// How long an abort may take, with its retries: somebody waits for the error that led to it.
const ABORT_LIMIT: Duration = Duration::from_secs(10);

impl Assembly {
    pub(super) fn new(engine: &Engine, upload: MultipartUpload) -> Self {
        Self {
            engine: engine.clone(),
            runtime: Handle::current(),
            upload: Some(Arc::new(upload)),
            sending: JoinSet::new(),
            sent: Vec::new(),
        }
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
        while self.sending.len() >= at_once {
            self.take_sent().await?;
        }
        let engine = self.engine.clone();
        if let Some(upload) = self.upload.clone() {
            self.sending.spawn(async move { engine.request(|store| send(store.clone(), Arc::clone(&upload))).await });
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

    /// Completes the upload when all parts were `handed_over` and sent; else aborts it.
    pub(super) async fn end(
        mut self,
        handed_over: Result<()>,
        condition: Option<&WriteCondition>,
    ) -> Result<Stored, Stopped> {
        let completed = async {
            handed_over?;
            while !self.sending.is_empty() {
                self.take_sent().await?;
            }
            self.sent.sort_unstable_by_key(|part| part.number);
            self.complete(&self.sent, condition).await
        }
        .await;
        if completed.is_err()
            && let Some(upload) = self.upload.clone()
        {
            // A part that arrives after the abort would stay.
            self.sending.shutdown().await;
            abort(&self.engine, &upload).await;
        }
        self.upload = None;
        completed
    }

    async fn complete(&self, parts: &[UploadedPart], condition: Option<&WriteCondition>) -> Result<Stored, Stopped> {
        let Some(upload) = &self.upload else { unreachable!("completed once, before anything ends it") };
        let mut retry = self.engine.retries.start();
        let mut may_be_stored = false;
        loop {
            let failure = match retry.attempt(self.engine.store.complete_multipart(upload, parts, condition)).await {
                Ok(stored) => return Ok(stored),
                Err(failure) => failure,
            };
            // An upload that is gone may have been completed by an earlier attempt, whatever was answered to that.
            if retry.attempts() > 1 && failure.is_no_such_upload() {
                return self.look(upload, parts, failure).await.map_err(Stopped::Local);
            }
            if may_be_stored && failure.is_precondition_failed() {
                return Err(Stopped::Local(unknown_outcome(failure, retry.attempts())));
            }
            // S3 wants the upload from its beginning then; but a completion whose answer was lost may be in conflict with
            // itself, and an upload from the beginning would meet the object that it stored.
            let begin_anew = failure.is_conflict() && !may_be_stored;
            if failure.is_precondition_failed() || begin_anew {
                return Err(Stopped::Remote(failure));
            }
            may_be_stored |= failure.may_be_carried_out();
            retry.wait(failure).await?;
        }
    }

    /// Whether the object that is there is made of `parts`.
    async fn look(&self, upload: &MultipartUpload, parts: &[UploadedPart], gone: Failure) -> Result<Stored> {
        let options = ReadOptions { customer_key: upload.headers.customer_key(), ..ReadOptions::default() };
        let there = self.engine.request(|store| store.head(&upload.location, options)).await;
        match there {
            Ok(head) if head.etag.is_some() && head.etag == composite_etag(parts) => {
                Ok(Stored { etag: head.etag, version_id: head.version_id })
            }
            Ok(_) => Err(unknown_outcome(gone, 0)),
            Err(error) if error.is_not_found() => Err(gone.into_error(0)),
            Err(error) => Err(error),
        }
    }
}

impl Drop for Assembly {
    fn drop(&mut self) {
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
async fn abort(engine: &Engine, upload: &MultipartUpload) {
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
    let hex: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Some(format!("\"{hex}-{}\"", parts.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_etag_of_parts_is_the_digest_of_their_digests() {
        let part = |number: u32, etag: &str| UploadedPart { number, etag: format!("\"{etag}\"") };
        let parts = [part(1, "900150983cd24fb0d6963f7d28e17f72"), part(2, "d41d8cd98f00b204e9800998ecf8427e")];
        // printf 900150983cd24fb0d6963f7d28e17f72d41d8cd98f00b204e9800998ecf8427e | xxd -r -p | md5sum
        assert_eq!(composite_etag(&parts).as_deref(), Some("\"fdf1fdf1567f6942ffe1743f1e72301e-2\""));
        assert_eq!(composite_etag(&[part(1, "not an MD5")]), None);
        assert_eq!(composite_etag(&[part(1, "é00150983cd24fb0d6963f7d28e17f7")]), None);
    }
}
