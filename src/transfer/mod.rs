//! One object into one file, one value into one object: attempts, resuming, completeness.
//!
//! Knows the store and files; nothing of roots, of batches, or of what a missing object means to the caller.

mod delete;
mod download;
mod upload;

pub(crate) use self::delete::delete_objects;
pub(crate) use self::download::{Downloaded, download};
pub(crate) use self::upload::upload;

use crate::error::Result;
use crate::retry::RetryPolicy;
use crate::store::Failure;

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
