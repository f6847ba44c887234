//! `info`.

use super::Operation;
use crate::address::Address;
use crate::error::{Error, ErrorKind, Result};
use crate::object::{RangeInfo, S3Object};
use crate::request::S3GetObject;
use crate::s3::S3;
use crate::store::ReadOptions;
use crate::transfer;

/// One question for an object's info; await it. Made by [`S3::info`].
///
/// A range in the request does not matter.
///
/// # Errors
///
/// Those of [`Get`](super::Get), without the ones of ranges and files.
///
/// # Cancel safety
///
/// Safe: nothing is changed.
#[derive(Debug, Clone)]
#[must_use = "an info does nothing unless it is awaited"]
pub struct Info {
    s3: S3,
    object: S3GetObject,
    return_missing: bool,
}

impl Info {
    pub(crate) fn new(s3: S3, object: S3GetObject) -> Self {
        Self { s3, object, return_missing: false }
    }

    /// Whether a missing key is an object whose [`exists`](S3Object::exists) is false, and not an error. A missing bucket is
    /// an error either way. Default: false.
    pub fn return_missing(mut self, return_missing: bool) -> Self {
        self.return_missing = return_missing;
        self
    }
}

impl IntoFuture for Info {
    type Output = Result<S3Object>;
    type IntoFuture = Operation<S3Object>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { s3, object, return_missing } = self;
        Box::pin(async move {
            let address = object.address(s3.root()).map_err(|error| error.with_operation("info", None))?;
            match s3.scope().unless_closed(info(&s3, &object, &address)).await {
                Ok(object) => Ok(object),
                Err(error) if error.is_not_found() && return_missing => Ok(S3Object::missing(0, address)),
                Err(error) => Err(error.with_operation("info", Some(address.location.url()))),
            }
        })
    }
}

async fn info(s3: &S3, object: &S3GetObject, address: &Address) -> Result<S3Object> {
    let client = s3.client();
    let options = ReadOptions { range: None, ..object.read_options(s3.encryption())? };
    let head = match transfer::request(&client.retry, || client.store.head(&address.location, options)).await {
        Err(error) if error.is_not_found() => {
            // The answer to a HEAD has no body that tells a missing key from a missing bucket.
            let bucket = address.location.bucket();
            if transfer::request(&client.retry, || client.store.bucket_exists(bucket)).await? {
                return Err(error);
            }
            return Err(Error::new(ErrorKind::NoSuchBucket, "the bucket does not exist")
                .with_answer(error.status(), None, error.request_id().map(str::to_owned))
                .with_attempts(error.attempts()));
        }
        head => head?,
    };
    let range = RangeInfo::new(head.size, 0, head.size);
    Ok(S3Object::found(0, address.clone(), head, Some(range), None))
}
