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
/// [`ErrorKind::InvalidObject`] before any request when `body` is longer than S3 takes.
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
    super::request(policy, || store.put(location, put, body.clone())).await
}
