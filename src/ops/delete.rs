//! `delete`, `delete_many`, `delete_from`.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::Stream;

use super::Operation;
use super::batches::Batches;
use super::many::{Many, awaited_in_order, known_length, progress};
use crate::address::Address;
use crate::error::{Error, ErrorKind, Result};
use crate::observe::Subject;
use crate::receipt::DeleteReceipt;
use crate::request::S3GetObject;
use crate::s3::S3;
use crate::store::MAX_DELETE_KEYS;

pub(super) const OPERATION: &str = "delete";

/// By default a delete_many has no more objects under way than so many requests take.
const REQUESTS: usize = 4;

/// One delete; await it. Made by [`S3::delete`].
///
/// A key that is not there is no error, as in S3: nothing tells it from one that was.
///
/// # Errors
///
/// [`NoSuchBucket`](crate::ErrorKind::NoSuchBucket), [`AccessDenied`](crate::ErrorKind::AccessDenied),
/// [`InvalidUrl`](crate::ErrorKind::InvalidUrl) and, for a request with a range,
/// [`InvalidRange`](crate::ErrorKind::InvalidRange) come back at once; [`Network`](crate::ErrorKind::Network),
/// [`Timeout`](crate::ErrorKind::Timeout) and [`Throttled`](crate::ErrorKind::Throttled) after the attempts are used up;
/// [`Closed`](crate::ErrorKind::Closed) after [`S3::close`]; [`Config`](crate::ErrorKind::Config) when no credentials are
/// found; [`Unsupported`](crate::ErrorKind::Unsupported) when the answer is not one of S3; and
/// [`Other`](crate::ErrorKind::Other).
///
/// # Cancel safety
///
/// Dropping the future ends the request. Whether the object is deleted is not known then.
#[derive(Debug, Clone)]
#[must_use = "a delete does nothing unless it is awaited"]
pub struct Delete {
    s3: S3,
    object: S3GetObject,
}

impl Delete {
    pub(crate) fn new(s3: S3, object: S3GetObject) -> Self {
        Self { s3, object }
    }
}

impl IntoFuture for Delete {
    type Output = Result<DeleteReceipt>;
    type IntoFuture = Operation<DeleteReceipt>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { s3, object } = self;
        Box::pin(async move {
            let address = target(&s3, &object)?;
            let delete = s3.engine().change(|store| store.delete(&address.location));
            s3.scope().check_open().map_err(|error| error.with_operation(OPERATION, Some(address.location.url())))?;
            let deleted = s3.change(Subject::object(OPERATION, &address.location), delete).await;
            s3.changed(&address.location);
            match deleted {
                Ok(deleted) => Ok(DeleteReceipt::new(0, address, deleted, s3.reported())),
                Err(error) => Err(error.with_operation(OPERATION, Some(address.location.url()))),
            }
        })
    }
}

/// What is to be deleted, whole.
pub(super) fn target(s3: &S3, object: &S3GetObject) -> Result<Address> {
    let address = object.address(s3.root()).map_err(|error| error.with_operation(OPERATION, None))?;
    let problem = if object.is_ranged() {
        Error::new(ErrorKind::InvalidRange, "a range of an object cannot be deleted")
    } else if object.has_condition() {
        Error::new(ErrorKind::Unsupported, "a delete has no condition")
    } else {
        return Ok(address);
    };
    Err(problem.with_operation(OPERATION, Some(address.location.url())))
}

/// Many deletes: a stream of receipts as they complete, or awaited, a `Vec` in the order asked for. Made by
/// [`S3::delete_many`] and [`S3::delete_from`].
///
/// Every input yields exactly one item, which tells by its `index()` which input it belongs to. An error is an item too, and
/// the stream goes on after it. A key that is not there is no error; one that is asked for twice has two receipts.
///
/// Objects of one bucket go together, up to 1,000 in one DeleteObjects request. What an input stream has ready goes at once:
/// nothing waits for a request to become full. Keys that XML carries only on some servers (with control characters, or with
/// white space at their ends) go by a DeleteObject each, and so do all keys on a service that does not know DeleteObjects.
///
/// At most [`concurrency`](Self::concurrency) objects are under way or waiting to be taken, in no more requests at a time than
/// the scope's concurrency. Requests under way go on while nobody polls the stream.
///
/// The settings are made before the first poll; later ones have no effect.
///
/// # Errors
///
/// Each item: one of those of [`Delete`]. A request that fails fails each of its objects, and an object that the server cannot
/// delete fails alone; what may pass is tried again. Awaited, the first error, which cancels the rest. A concurrency of 0 is
/// one [`Config`](crate::ErrorKind::Config) error without an index.
///
/// # Cancellation
///
/// Dropping the stream, or the future, ends its requests. Which objects of those requests are deleted is not known then.
#[must_use = "a delete_many does nothing unless it is polled or awaited"]
pub struct DeleteMany {
    s3: S3,
    many: Many<S3GetObject, DeleteReceipt>,
}

impl DeleteMany {
    pub(crate) fn new(s3: S3, objects: impl Stream<Item = Result<S3GetObject>> + Send + 'static) -> Self {
        let length = known_length(&objects);
        Self { s3, many: Many::new(objects, length) }
    }

    progress!();

    /// How many objects are under way or waiting to be taken, at most; no request has more. Default: 1,000 for each of the
    /// scope's concurrency, and no more than 4,000.
    pub fn concurrency(mut self, objects: usize) -> Self {
        self.many.set_concurrency(objects);
        self
    }

    /// Whether the stream keeps the order of its input, in place of the order of completion. Default: false.
    pub fn ordered(mut self, ordered: bool) -> Self {
        self.many.set_ordered(ordered);
        self
    }
}

impl Stream for DeleteMany {
    type Item = Result<DeleteReceipt>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { s3, many } = self.get_mut();
        let default = MAX_DELETE_KEYS * s3.concurrency().min(REQUESTS);
        many.poll_by(cx, s3.counters(), default, |inputs, concurrency, ordered| {
            Box::pin(Batches::new(s3.clone(), inputs, concurrency, ordered))
        })
    }
}

awaited_in_order!(DeleteMany: DeleteReceipt);

impl fmt::Debug for DeleteMany {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeleteMany").field("s3", &self.s3).finish_non_exhaustive()
    }
}
