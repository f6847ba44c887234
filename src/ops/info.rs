//! `info`, `info_many`, `info_from`.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::Stream;

use super::Operation;
use super::many::{Many, awaited_in_order, known_length, numbered, settings_of_many};
use crate::address::Address;
use crate::error::{Error, ErrorKind, Result};
use crate::object::{RangeInfo, S3Object};
use crate::observe::Subject;
use crate::request::S3GetObject;
use crate::s3::S3;
use crate::store::ObjectHead;
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
        self.s3.clone().single(info(self.s3, 0, self.object, self.return_missing))
    }
}

async fn info(s3: S3, index: usize, object: S3GetObject, return_missing: bool) -> Result<S3Object> {
    let address = object.address(s3.root()).map_err(|error| error.with_operation("info", None))?;
    match s3.run(Subject::object("info", &address.location), head(&s3, &object, &address)).await {
        Ok(head) => {
            let range = RangeInfo::new(head.size, 0, head.size);
            Ok(S3Object::found(index, address, head, Some(range), None, None).reported(s3.reported()))
        }
        Err(error) if error.is_not_found() && return_missing => {
            Ok(S3Object::missing(index, address).reported(s3.reported()))
        }
        Err(error) => Err(error.with_operation("info", Some(address.location.url()))),
    }
}

/// Asks for the object, whatever range of it is meant.
pub(super) async fn head(s3: &S3, object: &S3GetObject, address: &Address) -> Result<ObjectHead> {
    let engine = s3.engine();
    let options = object.whole_options(s3.encryption());
    match engine.request(|store| store.head(&address.location, options)).await {
        Ok(head) => transfer::check_asked(options.if_match, head.etag.as_deref()).map(|()| head),
        Err(error) if error.kind() == ErrorKind::Changed => {
            let error = error.with_etags(options.if_match, None);
            Err(transfer::with_found(engine, &address.location, options.customer_key, error).await)
        }
        Err(error) if error.is_not_found() => {
            // The answer to a HEAD has no body that tells a missing key from a missing bucket.
            let bucket = address.location.bucket();
            if engine.request(|store| store.bucket_exists(bucket)).await? {
                return Err(error);
            }
            Err(Error::new(ErrorKind::NoSuchBucket, "the bucket does not exist")
                .with_answer(error.status(), None, error.request_id().map(str::to_owned))
                .with_attempts(error.attempts()))
        }
        Err(error) => Err(error),
    }
}

/// Many questions for info: a stream of objects as the answers come, or awaited, a `Vec` in the order asked for. Made by
/// [`S3::info_many`] and [`S3::info_from`].
///
/// Every input yields exactly one item, which tells by its `index()` which input it belongs to. An error is an item too, and
/// the stream goes on after it. Ranges in the requests do not matter.
///
/// At most [`concurrency`](Self::concurrency) objects are under way or waiting to be taken. The settings are made before the
/// first poll; later ones have no effect.
///
/// # Errors
///
/// Each item: one of those of [`Info`]. Awaited, the first one, which cancels the rest. A concurrency of 0 is one
/// [`Config`](crate::ErrorKind::Config) error without an index.
///
/// # Cancellation
///
/// Dropping the stream, or the future, ends its requests.
#[must_use = "an info_many does nothing unless it is polled or awaited"]
pub struct InfoMany {
    s3: S3,
    many: Many<(usize, S3GetObject), S3Object>,
    return_missing: bool,
}

impl InfoMany {
    pub(crate) fn new(s3: S3, objects: impl Stream<Item = Result<S3GetObject>> + Send + 'static) -> Self {
        let length = known_length(&objects);
        Self { s3, many: Many::new(numbered(objects), length), return_missing: false }
    }

    /// Whether a missing key is an object whose [`exists`](S3Object::exists) is false, and not an error. A missing bucket is
    /// an error either way. Default: false.
    pub fn return_missing(mut self, return_missing: bool) -> Self {
        self.return_missing = return_missing;
        self
    }

    settings_of_many!();
}

impl Stream for InfoMany {
    type Item = Result<S3Object>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { s3, many, return_missing } = self.get_mut();
        many.poll(cx, s3, || {
            let (s3, return_missing) = (s3.clone(), *return_missing);
            move |index, object| info(s3.another_object(), index, object, return_missing)
        })
    }
}

awaited_in_order!(InfoMany: S3Object);

impl fmt::Debug for InfoMany {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InfoMany")
            .field("s3", &self.s3)
            .field("return_missing", &self.return_missing)
            .finish_non_exhaustive()
    }
}
