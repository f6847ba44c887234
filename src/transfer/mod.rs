//! One object into one file, one value into one object: attempts, resuming, completeness.
//!
//! Knows the store and files; nothing of roots, of batches, or of what a missing object means to the caller.

mod buffers;
mod conditional;
mod copy;
mod delete;
mod download;
mod multipart;
mod parts;
mod source;
mod upload;

pub(crate) use self::copy::copy;
pub(crate) use self::delete::delete_objects;
pub(crate) use self::download::{Downloaded, download};
pub(crate) use self::source::check_file;
pub(crate) use self::upload::{Outcome, Upload, upload};

use tokio_util::task::TaskTracker;

use crate::error::{Error, ErrorKind, Result};
use crate::retry::Retries;
use crate::store::{Failure, Store};

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
}

impl Engine {
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
}

/// A conditional write whose answer was lost may have met its own success. Two writers of the same bytes cannot be told apart
/// by what is stored.
fn unknown_outcome(failure: Failure, attempts: u32) -> Error {
    Error::new(ErrorKind::Other, "the object exists, and an earlier attempt of this put may have stored it")
        .with_attempts(attempts)
        .with_source(failure.into_error(attempts))
}
