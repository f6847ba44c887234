//! `put` and `put_many`.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::{Stream, StreamExt as _};
use serde_json::Value;

use super::Operation;
use super::many::{Many, collect};
use crate::encryption::Encryption;
use crate::error::{Error, ErrorKind, Result};
use crate::object::PutReceipt;
use crate::request::S3PutObject;
use crate::s3::S3;
use crate::store::PutHeaders;
use crate::transfer;

/// One upload; await it. Made by [`S3::put`].
///
/// # Errors
///
/// Before any request: [`InvalidUrl`](crate::ErrorKind::InvalidUrl) for the key, and
/// [`InvalidObject`](crate::ErrorKind::InvalidObject) for metadata over 2 KB, a content type that is not a header's value, or
/// a value over 5 GiB. Afterwards: those of [`Get`](super::Get), without the ones of ranges and files.
///
/// # Cancel safety
///
/// Dropping the future ends the request. The object is stored whole or not at all; which of the two is not known.
#[derive(Debug, Clone)]
#[must_use = "a put does nothing unless it is awaited"]
pub struct Put {
    s3: S3,
    object: S3PutObject,
    overwrite: bool,
}

impl Put {
    pub(crate) fn new(s3: S3, object: S3PutObject) -> Self {
        Self { s3, object, overwrite: true }
    }

    /// Whether an object that is there is replaced. When not, the server decides atomically (`If-None-Match: *`), and
    /// [`PutReceipt::uploaded`] tells. A server that does not know this condition, such as garage 2.5, overwrites.
    /// When the answer to an attempt was lost and the next finds the object there, it is not known who stored it:
    /// [`ErrorKind::Other`]. Default: true.
    pub fn overwrite(mut self, overwrite: bool) -> Self {
        self.overwrite = overwrite;
        self
    }

    /// See [`S3PutObject::content_type`].
    pub fn content_type(mut self, content_type: impl Into<String>) -> Self {
        self.object = self.object.content_type(content_type);
        self
    }

    /// See [`S3PutObject::metadata`].
    pub fn metadata<K, V>(mut self, metadata: impl IntoIterator<Item = (K, V)>) -> Self
    where
        K: Into<String>,
        V: Into<Value>,
    {
        self.object = self.object.metadata(metadata);
        self
    }

    /// See [`S3PutObject::encryption`].
    pub fn encryption(mut self, encryption: Encryption) -> Self {
        self.object = self.object.encryption(encryption);
        self
    }
}

impl IntoFuture for Put {
    type Output = Result<PutReceipt>;
    type IntoFuture = Operation<PutReceipt>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(put(self.s3, 0, self.object, self.overwrite))
    }
}

async fn put(s3: S3, index: usize, object: S3PutObject, overwrite: bool) -> Result<PutReceipt> {
    let address = s3
        .root()
        .object(&object.key)
        .map_err(|invalid| Error::new(ErrorKind::InvalidUrl, invalid.0).with_operation("put", None))?;
    let upload = async {
        let attributes = object.attributes()?;
        let headers = PutHeaders {
            content_type: object.content_type.as_deref(),
            attributes: attributes.as_deref(),
            encryption: object.encryption.as_ref().or(s3.encryption()),
            if_absent: !overwrite,
        };
        let client = s3.client();
        transfer::upload(&client.store, &client.retry, &address.location, &headers, object.value.0).await
    };
    match s3.scope().unless_closed(upload).await {
        Ok(stored) => Ok(PutReceipt::stored(index, address, stored)),
        // The condition of the put was that the key is absent.
        Err(error) if error.kind() == ErrorKind::Changed && !overwrite => Ok(PutReceipt::existed(index, address)),
        Err(error) => Err(error.with_operation("put", Some(address.location.url()))),
    }
}

/// Many uploads: a stream of receipts as they complete, or awaited, a `Vec` in the order given. Made by [`S3::put_many`].
///
/// Every input yields one item; with `overwrite(false)`, those that existed are left out, as in Metaflow. An error is an item
/// too, and the stream goes on after it.
///
/// At most [`concurrency`](Self::concurrency) uploads are under way or waiting to be taken. The settings are made before the
/// first poll; later ones have no effect.
///
/// # Errors
///
/// Each item: one of those of [`Put`]. Awaited, the first one, which cancels the rest. A concurrency of 0 is one
/// [`Config`](crate::ErrorKind::Config) error without an index.
///
/// # Cancellation
///
/// Dropping the stream, or the future, ends its requests. Each object is stored whole or not at all.
#[must_use = "a put_many does nothing unless it is polled or awaited"]
pub struct PutMany {
    s3: S3,
    many: Many<S3PutObject, PutReceipt>,
    overwrite: bool,
}

impl PutMany {
    pub(crate) fn new(s3: S3, objects: Vec<S3PutObject>) -> Self {
        Self { s3, many: Many::new(futures::stream::iter(objects).map(Ok)), overwrite: true }
    }

    /// Whether objects that are there are replaced; see [`Put::overwrite`]. Default: true.
    pub fn overwrite(mut self, overwrite: bool) -> Self {
        self.overwrite = overwrite;
        self
    }

    /// How many objects are under way or waiting to be taken, at most. Default: the scope's.
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

impl Stream for PutMany {
    type Item = Result<PutReceipt>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { s3, many, overwrite } = self.get_mut();
        loop {
            let next = many.poll(cx, s3, || {
                let (s3, overwrite) = (s3.clone(), *overwrite);
                move |index, object| put(s3.clone(), index, object, overwrite)
            });
            match next {
                Poll::Ready(Some(Ok(receipt))) if !receipt.uploaded() => {}
                other => return other,
            }
        }
    }
}

impl IntoFuture for PutMany {
    type Output = Result<Vec<PutReceipt>>;
    type IntoFuture = Operation<Vec<PutReceipt>>;

    fn into_future(self) -> Self::IntoFuture {
        collect(self, |one, other| one.index().cmp(&other.index()))
    }
}

impl fmt::Debug for PutMany {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PutMany").field("s3", &self.s3).field("overwrite", &self.overwrite).finish_non_exhaustive()
    }
}
