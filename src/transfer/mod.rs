//! One object into one file, one value into one object: attempts, resuming, completeness.
//!
//! Knows the store and files; nothing of roots, of batches, or of what a missing object means to the caller.

#[cfg(any(test, s3flow_bench))]
pub(crate) mod bench;
mod buffers;
mod conditional;
mod copy;
mod delete;
mod doubt;
mod download;
mod journaled;
mod multipart;
mod parts;
mod single;
mod source;
mod sums;
mod upload;

pub(crate) use self::conditional::{check_asked, with_found};
pub(crate) use self::copy::copy;
pub(crate) use self::delete::delete_objects;
pub(crate) use self::download::{Downloaded, Opened, Outlet, download, download_journaled, read};
pub(crate) use self::journaled::upload_journaled;
pub(crate) use self::parts::{MAX_PART, MIN_PART};
pub(crate) use self::source::check_file;
pub(crate) use self::upload::{Outcome, Upload, upload};

use std::sync::Arc;

use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::blocking::InPlace;
use crate::checksum::Integrity;
use crate::error::{Error, Result};
use crate::limits::Flow;
use crate::retry::Retries;
use crate::store::{Failure, ObjectHeaders, Store, WriteId};

/// Why an attempt of several steps ended.
enum Stopped {
    /// By an answer, or for the want of one: to be judged.
    Remote(Failure),
    Local(Error),
}

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Self {
        Self::Remote(failure)
    }
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Self {
        Self::Local(error)
    }
}

/// What the transfers of a scope work with. Clones share everything.
#[derive(Debug, Clone)]
pub(crate) struct Engine {
    pub(crate) store: Store,
    pub(crate) retries: Retries,
    /// Where the tasks run that end what a dropped transfer has begun; the scope's end waits for them.
    pub(crate) aborts: TaskTracker,
    /// Where values are read from files.
    pub(crate) in_place: Arc<InPlace>,
    /// For the parts of large objects beyond each one's first, of all scopes of a client together: each has a connection, and
    /// some 2 MiB on their way to the disk.
    pub(crate) extra_parts: Arc<Semaphore>,
    /// For the pages of listings beyond the one of each that is needed next, from when they are asked for until they are taken; of all
    /// scopes of a client together.
    pub(crate) extra_pages: Arc<Semaphore>,
    pub(crate) integrity: Integrity,
}

/// How many [`extra_pages`](Engine::extra_pages) a client has: each has some 250 KiB.
pub(crate) const EXTRA_PAGES: usize = 192;

/// How many [`extra_parts`](Engine::extra_parts) a client has.
pub(crate) const EXTRA_PARTS: usize = 24;

impl Engine {
    /// The same, for another operation of the scope: with its own share of what all have together.
    pub(crate) fn for_another_operation(&self) -> Self {
        self.with_flow(self.flow().another())
    }

    /// The same, for another object of the operation: with a record of its own.
    pub(crate) fn for_another_object(&self) -> Self {
        self.with_flow(self.flow().another_object())
    }

    fn with_flow(&self, flow: Flow) -> Self {
        Self { store: self.store.with_flow(flow.clone()), retries: self.retries.with_flow(flow), ..self.clone() }
    }

    /// What its requests, buffers and files count for.
    pub(crate) fn flow(&self) -> &Flow {
        self.store.flow()
    }

    /// A request that is simply sent again when it fails.
    pub(crate) async fn request<'a, T, F>(&'a self, mut attempt: impl FnMut(&'a Store) -> F) -> Result<T>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let mut retry = self.retries.start();
        loop {
            match retry.attempt(attempt(&self.store)).await {
                Ok(done) => return Ok(done),
                Err(failure) => retry.wait(failure).await?,
            }
        }
    }

    /// As [`request`](Self::request), for one that changes something and may be carried out twice. The error says whether it
    /// may have been carried out at all.
    pub(crate) async fn change<'a, T, F>(&'a self, mut attempt: impl FnMut(&'a Store) -> F) -> Result<T>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let mut retry = self.retries.start();
        let mut in_doubt = false;
        loop {
            match retry.attempt(attempt(&self.store)).await {
                Ok(done) => return Ok(done),
                Err(failure) => {
                    in_doubt |= failure.may_be_carried_out();
                    retry.wait(failure).await.map_err(|error| error.with_outcome_unknown(in_doubt))?;
                }
            }
        }
    }
}

/// Headers with which the object tells whose it is, where the system has the randomness for it.
fn with_id(headers: &ObjectHeaders) -> ObjectHeaders {
    random().map_or_else(|| headers.clone(), |random| headers.with_write_id(WriteId::new(random)))
}

/// What nobody else has drawn; `None` where the system has no randomness.
fn random<const BYTES: usize>() -> Option<[u8; BYTES]> {
    let mut random = [0; BYTES];
    SystemRandom::new().fill(&mut random).ok()?;
    Some(random)
}
