//! `exists`.

use super::Operation;
use super::info::head;
use crate::error::Result;
use crate::observe::Subject;
use crate::request::S3GetObject;
use crate::s3::S3;

/// One question whether an object is there; await it. Made by [`S3::exists`].
///
/// # Errors
///
/// A missing bucket is [`NoSuchBucket`](crate::ErrorKind::NoSuchBucket) and not `false`, and a denied key
/// [`AccessDenied`](crate::ErrorKind::AccessDenied): who is not allowed to list a bucket is not told that a key is missing.
/// Else those of [`Info`](super::Info).
///
/// # Cancel safety
///
/// Safe: nothing is changed.
#[derive(Debug, Clone)]
#[must_use = "an exists does nothing unless it is awaited"]
pub struct Exists {
    s3: S3,
    object: S3GetObject,
}

impl Exists {
    pub(crate) fn new(s3: S3, object: S3GetObject) -> Self {
        Self { s3, object }
    }
}

impl IntoFuture for Exists {
    type Output = Result<bool>;
    type IntoFuture = Operation<bool>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { s3, object } = self;
        Box::pin(async move {
            let address = object.address(s3.root()).map_err(|error| error.with_operation("exists", None))?;
            match s3.run(Subject::object("exists", &address.location), head(&s3, &object, &address)).await {
                Ok(_) => Ok(true),
                Err(error) if error.is_not_found() => Ok(false),
                Err(error) => Err(error.with_operation("exists", Some(address.location.url()))),
            }
        })
    }
}
