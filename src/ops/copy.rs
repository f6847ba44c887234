//! `copy`, `copy_many`, `copy_from`.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::Stream;

use super::Operation;
use super::many::{Many, awaited_in_order, known_length, numbered, progress, settings_of_many};
use super::turns::Turns;
use crate::address::Address;
use crate::encryption::Encryption;
use crate::error::{Error, ErrorKind, Result};
use crate::observe::Subject;
use crate::properties::Properties;
use crate::receipt::{PutOutcome, PutReceipt};
use crate::request::{S3CopyObject, S3GetObject};
use crate::s3::S3;
use crate::store::{CopySource, ObjectHeaders};
use crate::transfer;

/// One copy inside the server; await it. Made by [`S3::copy`].
///
/// Bytes, content type and the like, metadata and tags are kept. Storage class and encryption are those of a new object: what
/// is set here, else the scope's encryption, else the bucket's. An object over 5 GiB is copied by parts, pinned to one ETag,
/// which needs the permission to read its tags if it has any.
///
/// # Errors
///
/// [`NotFound`](crate::ErrorKind::NotFound) of the source; [`InvalidRange`](crate::ErrorKind::InvalidRange) for a range of it:
/// copies are of whole objects; [`Changed`](crate::ErrorKind::Changed) when it has another ETag than
/// [asked for](S3GetObject::if_match), or was replaced meanwhile; [`Unsupported`](crate::ErrorKind::Unsupported) when it has
/// over 5 GiB and the server gives no ETag of it. Else those of [`Put`](super::Put), and lost answers are looked up as there: a
/// copy in one request is known by having the source's ETag since it began, which is so when the source was uploaded in one
/// request and both are encrypted alike; else its [outcome is unknown](Error::is_outcome_unknown).
///
/// # Cancel safety
///
/// As of [`Put`](super::Put).
#[derive(Debug, Clone)]
#[must_use = "a copy does nothing unless it is awaited"]
pub struct Copy {
    s3: S3,
    object: S3CopyObject,
    properties: Properties,
}

impl Copy {
    pub(crate) fn new(s3: S3, object: S3CopyObject) -> Self {
        Self { s3, object, properties: Properties::default() }
    }

    /// The storage class of the copy; see [`S3PutObject::storage_class`](crate::S3PutObject::storage_class).
    pub fn storage_class(mut self, class: impl Into<String>) -> Self {
        self.properties.storage_class = Some(class.into());
        self
    }

    /// The server-side encryption of the copy, in place of the scope's.
    pub fn encryption(mut self, encryption: Encryption) -> Self {
        self.properties.encryption = Some(encryption);
        self
    }

    progress!();
}

impl IntoFuture for Copy {
    type Output = Result<PutReceipt>;
    type IntoFuture = Operation<PutReceipt>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { s3, object, properties } = self;
        s3.clone().single(async move {
            let prepared = prepare(&s3, object, &properties)?;
            copy(&s3, 0, prepared).await
        })
    }
}

/// A copy with everything checked that can be without the network.
struct Prepared {
    source: S3GetObject,
    from: Address,
    to: Address,
    headers: ObjectHeaders,
}

fn prepare(s3: &S3, object: S3CopyObject, properties: &Properties) -> Result<Prepared> {
    let S3CopyObject { source, destination } = object;
    let unnamed = |error: Error| error.with_operation("copy", None);
    let from = source.address(s3.root()).map_err(unnamed)?;
    let to = s3.root().object(&destination).map_err(|invalid| unnamed(Error::new(ErrorKind::InvalidUrl, invalid.0)))?;
    if source.is_ranged() {
        return Err(Error::new(ErrorKind::InvalidRange, "a copy is of a whole object")
            .with_operation("copy", Some(from.location.url())));
    }
    let headers = ObjectHeaders::new(properties, s3.encryption())
        .map_err(|error| error.with_operation("copy", Some(to.location.url())))?;
    Ok(Prepared { source, from, to, headers })
}

async fn copy(s3: &S3, index: usize, prepared: Prepared) -> Result<PutReceipt> {
    let Prepared { source, from, to, headers } = prepared;
    let engine = s3.engine();
    let copied = async {
        let options = source.read_options(s3.encryption())?;
        let source =
            CopySource { location: &from.location, if_match: options.if_match, customer_key: options.customer_key };
        match transfer::copy(engine, source, &to.location, &headers).await {
            Err(error) if error.kind() == ErrorKind::Changed => {
                let error = error.with_etags(source.if_match, None);
                Err(transfer::with_found(engine, source.location, source.customer_key, error).await)
            }
            copied => copied,
        }
    };
    s3.scope().check_open().map_err(|error| error.with_operation("copy", Some(to.location.url())))?;
    let copied = s3.change(Subject::object("copy", &to.location), copied).await;
    s3.changed(&to.location);
    match copied {
        Ok(stored) => Ok(PutReceipt::new(index, to, PutOutcome::Stored, Some(stored), s3.reported())),
        Err(error) => {
            let of_the_source = match error.kind() {
                ErrorKind::NotFound | ErrorKind::Changed => true,
                // The answer does not say which of the two buckets it means.
                ErrorKind::NoSuchBucket => matches!(engine.store.bucket_exists(to.location.bucket()).await, Ok(true)),
                _ => false,
            };
            let place = if of_the_source { &from } else { &to };
            Err(error.with_operation("copy", Some(place.location.url())))
        }
    }
}

/// Many copies: a stream of receipts as they complete, or awaited, a `Vec` in the order given. Made by [`S3::copy_many`] and
/// [`S3::copy_from`].
///
/// Every input yields one item, which tells by its `index()` which input it belongs to. An error is an item too, and the stream
/// goes on after it. Of several copies to the same key, each waits for those before it: the last one wins.
///
/// At most [`concurrency`](Self::concurrency) copies are under way or waiting to be taken. The settings are made before the first
/// poll; later ones have no effect.
///
/// # Errors
///
/// Each item: one of those of [`Copy`](struct@Copy). Awaited, the first one, which cancels the rest. A concurrency of 0 is one
/// [`Config`](crate::ErrorKind::Config) error without an index.
///
/// # Cancellation
///
/// Dropping the stream, or the future, ends its requests. Each copy is there whole or not at all; see [`Put`](super::Put).
#[must_use = "a copy_many does nothing unless it is polled or awaited"]
pub struct CopyMany {
    s3: S3,
    many: Many<(usize, S3CopyObject), PutReceipt>,
    properties: Properties,
}

impl CopyMany {
    pub(crate) fn new(s3: S3, copies: impl Stream<Item = Result<S3CopyObject>> + Send + 'static) -> Self {
        let length = known_length(&copies);
        Self { s3, many: Many::new(numbered(copies), length), properties: Properties::default() }
    }

    /// See [`Copy::storage_class`].
    pub fn storage_class(mut self, class: impl Into<String>) -> Self {
        self.properties.storage_class = Some(class.into());
        self
    }

    /// See [`Copy::encryption`].
    pub fn encryption(mut self, encryption: Encryption) -> Self {
        self.properties.encryption = Some(encryption);
        self
    }

    settings_of_many!();
}

impl Stream for CopyMany {
    type Item = Result<PutReceipt>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { s3, many, properties } = self.get_mut();
        many.poll(cx, s3, || {
            let (s3, properties, turns) = (s3.clone(), properties.clone(), Turns::default());
            move |index, object| {
                let s3 = s3.another_object();
                let prepared = prepare(&s3, object, &properties);
                let prepared = prepared.map(|prepared| (turns.take(&prepared.to.location), prepared));
                async move {
                    let (mut turn, prepared) = prepared?;
                    turn.begin().await;
                    copy(&s3, index, prepared).await
                }
            }
        })
    }
}

awaited_in_order!(CopyMany: PutReceipt);

impl fmt::Debug for CopyMany {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CopyMany").field("s3", &self.s3).field("properties", &self.properties).finish_non_exhaustive()
    }
}

/// An item of a stream given to [`S3::copy_from`]: what can be made into an [`S3CopyObject`], or a `Result` of it.
pub trait CopyInput: Send + 'static {
    /// The request, or the error that takes its place.
    ///
    /// # Errors
    ///
    /// The item's own.
    fn into_copy(self) -> Result<S3CopyObject>;
}

impl<T: Into<S3CopyObject> + Send + 'static> CopyInput for T {
    fn into_copy(self) -> Result<S3CopyObject> {
        Ok(self.into())
    }
}

impl<T: Into<S3CopyObject> + Send + 'static> CopyInput for Result<T, Error> {
    fn into_copy(self) -> Result<S3CopyObject> {
        self.map(Into::into)
    }
}
