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

use crate::error::{Error, ErrorKind, Result};
use crate::retry::RetryPolicy;
use crate::store::Failure;

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

/// A request that is simply sent again when it fails.
pub(crate) async fn request<T, F>(policy: &RetryPolicy, mut attempt: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<T, Failure>>,
{
    let mut retry = policy.start();
    loop {
        match attempt().await {
            Ok(done) => return Ok(done),
            Err(failure) => retry.wait(failure).await?,
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
