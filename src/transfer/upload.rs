//! A value into an object.

use bytes::Bytes;

use crate::address::Location;
use crate::error::{Error, ErrorKind, Result};
use crate::retry::RetryPolicy;
use crate::store::{PutHeaders, Store, Stored};

/// S3's limit for one PutObject, in bytes.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/upload-objects.html>
const MAX_PUT_BYTES: usize = 5 << 30;

/// Stores `body` whole or not at all.
///
/// # Errors
///
/// [`ErrorKind::InvalidObject`] before any request when `body` is longer than S3 takes; [`ErrorKind::Other`] when the
/// object is there and an earlier attempt may have stored it.
pub(crate) async fn upload(
    store: &Store,
    policy: &RetryPolicy,
    location: &Location,
    put: &PutHeaders<'_>,
    body: Bytes,
) -> Result<Stored> {
    if body.len() > MAX_PUT_BYTES {
        return Err(Error::new(
            ErrorKind::InvalidObject,
            format!("the value has {} bytes; one PutObject takes {MAX_PUT_BYTES} (5 GiB)", body.len()),
        ));
    }
    let mut retry = policy.start();
    let mut may_be_stored = false;
    loop {
        match store.put(location, put, body.clone()).await {
            Ok(stored) => return Ok(stored),
            Err(failure) if may_be_stored && put.if_absent && failure.is_precondition_failed() => {
                let message = "the object exists, and an earlier attempt of this put may have stored it";
                return Err(Error::new(ErrorKind::Other, message)
                    .with_attempts(retry.attempts())
                    .with_source(failure.into_error(retry.attempts())));
            }
            Err(failure) => {
                may_be_stored |= failure.may_be_carried_out();
                retry.wait(failure).await?;
            }
        }
    }
}
