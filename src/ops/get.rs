//! `get`, `get_many`, `get_from`.

use std::fmt;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::Stream;

use super::Operation;
use super::flights::Wanted;
use super::journals::Journaled;
use super::many::{Many, awaited_in_order, known_length, numbered, progress, settings_of_many};
use crate::address::Location;
use crate::encryption::CustomerKey;
use crate::error::{Error, ErrorKind, Result};
use crate::object::{RangeInfo, S3Object};
use crate::observe::Subject;
use crate::request::S3GetObject;
use crate::s3::S3;
use crate::store::ObjectHead;
use crate::transfer::{self, Downloaded};

/// One download; await it. Made by [`S3::get`].
///
/// # Errors
///
/// [`NotFound`](crate::ErrorKind::NotFound) (unless [`return_missing`](Self::return_missing)),
/// [`NoSuchBucket`](crate::ErrorKind::NoSuchBucket), [`AccessDenied`](crate::ErrorKind::AccessDenied),
/// [`InvalidUrl`](crate::ErrorKind::InvalidUrl) and [`InvalidRange`](crate::ErrorKind::InvalidRange) come back at once;
/// [`Changed`](crate::ErrorKind::Changed) when the object was replaced while it was read;
/// [`Network`](crate::ErrorKind::Network), [`Timeout`](crate::ErrorKind::Timeout) and
/// [`Throttled`](crate::ErrorKind::Throttled) after the attempts are used up; [`Io`](crate::ErrorKind::Io) and
/// [`InsufficientDiskSpace`](crate::ErrorKind::InsufficientDiskSpace) when the file cannot be written;
/// [`Closed`](crate::ErrorKind::Closed) after [`S3::close`]; [`Config`](crate::ErrorKind::Config) when no credentials are
/// found; [`Unsupported`](crate::ErrorKind::Unsupported) when the answer is not one of S3;
/// [`Integrity`](crate::ErrorKind::Integrity) when the bytes are not those of the object's checksum; and
/// [`Other`](crate::ErrorKind::Other).
///
/// # Cancel safety
///
/// Dropping the future ends the request and removes what was written, unless a [journal](Self::journal) keeps it; a write under way
/// ends first.
#[derive(Debug, Clone)]
#[must_use = "a get does nothing unless it is awaited"]
pub struct Get {
    s3: S3,
    object: S3GetObject,
    settings: Settings,
    journal: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) return_missing: bool,
    pub(crate) return_info: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { return_missing: false, return_info: true }
    }
}

impl Get {
    pub(crate) fn new(s3: S3, object: S3GetObject) -> Self {
        Self { s3, object, settings: Settings::default(), journal: None }
    }

    /// Goes on where a process was killed: the directory `path`, which is made if it is missing, keeps the file and notes what of it
    /// is there, and the next call with the same journal fetches what is missing. It works as that of
    /// [`GetRecursive::journal`](crate::GetRecursive::journal). Reading without a file is an [`ErrorKind::Config`](crate::ErrorKind::Config)
    /// error then, before any request.
    pub fn journal(mut self, path: impl Into<PathBuf>) -> Self {
        self.journal = Some(path.into());
        self
    }

    /// Whether a missing key is an object whose [`exists`](S3Object::exists) is false, and not an error. A missing bucket is
    /// an error either way. Default: false.
    pub fn return_missing(mut self, return_missing: bool) -> Self {
        self.settings.return_missing = return_missing;
        self
    }

    /// See [`S3GetObject::if_match`].
    pub fn if_match(mut self, etag: impl Into<String>) -> Self {
        self.object = self.object.if_match(etag);
        self
    }

    /// See [`S3GetObject::customer_key`].
    pub fn customer_key(mut self, key: CustomerKey) -> Self {
        self.object = self.object.customer_key(key);
        self
    }

    /// Whether content type, metadata, encryption and range come with the object. Default: true.
    pub fn return_info(mut self, return_info: bool) -> Self {
        self.settings.return_info = return_info;
        self
    }

    progress!();

    /// Whether it can be read without a file.
    pub(crate) fn check_without_file(&self) -> Result<()> {
        match &self.journal {
            None => Ok(()),
            Some(_) => {
                let problem = "a journal is for files, and nothing is read into one here";
                Err(Error::new(ErrorKind::Config, problem).with_operation("get", None))
            }
        }
    }

    pub(crate) fn into_parts(self) -> (S3, S3GetObject, Settings) {
        (self.s3, self.object, self.settings)
    }
}

impl IntoFuture for Get {
    type Output = Result<S3Object>;
    type IntoFuture = Operation<S3Object>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { s3, object, settings, journal } = self;
        s3.clone().single(async move {
            let Some(path) = journal else { return get(s3, 0, object, settings, None).await };
            let address = object.address(s3.root()).map_err(|error| error.with_operation("get", None))?;
            let journaled = Journaled::open(&s3, path, vec![address.location.url()], "get").await?;
            get(s3, 0, object, settings, Some((journaled, None))).await
        })
    }
}

/// With a journal, the download goes into that, with what is known of the object.
pub(super) async fn get(
    s3: S3,
    index: usize,
    object: S3GetObject,
    settings: Settings,
    journal: Option<(Journaled, Option<ObjectHead>)>,
) -> Result<S3Object> {
    let address = object.address(s3.root()).map_err(|error| error.with_operation("get", None))?;
    let download = async {
        if let Some((Journaled { journal, directory }, known)) = journal {
            let options = object.read_options(s3.encryption())?;
            let (engine, location) = (s3.engine(), &address.location);
            let download = transfer::download_journaled(engine, location, options, &directory, &journal, known);
            return Box::pin(download).await;
        }
        let shared = match s3.flights() {
            Some(flights) => Wanted::new(&address.location, &object.read_options(s3.encryption())?).zip(Some(flights)),
            None => None,
        };
        let Some((wanted, flights)) = shared else {
            return download(&s3, &address.location, &object).await;
        };
        let (of_all, location, object) = (s3.clone(), address.location.clone(), object.clone());
        flights.join(wanted, async move { download(&of_all, &location, &object).await }).await
    };
    match s3.run(Subject::object("get", &address.location), download).await {
        Ok(Downloaded { head, offset, file, verified }) => {
            let range = settings.return_info.then(|| RangeInfo::new(head.size, offset, file.size()));
            Ok(S3Object::found(index, address, head, range, Some(file), verified).reported(s3.reported()))
        }
        Err(error) if error.is_not_found() && settings.return_missing => {
            Ok(S3Object::missing(index, address).reported(s3.reported()))
        }
        Err(error) => Err(error.with_operation("get", Some(address.location.url()))),
    }
}

async fn download(s3: &S3, location: &Location, object: &S3GetObject) -> Result<Downloaded> {
    let options = object.read_options(s3.encryption())?;
    // First, so that a tmproot that cannot be used is found out before anything is sent.
    let directory = s3.scope().directory().await?;
    // Boxed, as it is moved through several layers.
    Box::pin(transfer::download(s3.engine(), location, options, &directory)).await
}

/// A download that was waiting to be taken when the scope was closed has lost its file.
pub(super) fn still_open(s3: &S3, object: S3Object) -> Result<S3Object> {
    match s3.scope().check_open() {
        Ok(()) => Ok(object),
        Err(error) => Err(error.with_operation("get", Some(object.url().to_owned())).with_index(object.index())),
    }
}

/// Many downloads: a stream of objects as they complete, or awaited, a `Vec` in the order asked for. Made by
/// [`S3::get_many`] and [`S3::get_from`].
///
/// Every input yields exactly one item, which tells by its `index()` which input it belongs to. An error is an item too, and
/// the stream goes on after it.
///
/// At most [`concurrency`](Self::concurrency) objects are under way or waiting to be taken, so a slow consumer holds the
/// stream back, and objects that are dropped as they come leave at most that many files on disk. Downloads under way go on
/// while nobody polls the stream.
///
/// The settings are made before the first poll; later ones have no effect.
///
/// # Errors
///
/// Each item: one of those of [`Get`]. Awaited, the first one, which cancels the rest. A concurrency of 0 is one
/// [`Config`](crate::ErrorKind::Config) error without an index.
///
/// # Cancellation
///
/// Dropping the stream, or the future, ends its requests and removes the files that were not taken; a write under way ends
/// first.
#[must_use = "a get_many does nothing unless it is polled or awaited"]
pub struct GetMany {
    s3: S3,
    many: Many<(usize, S3GetObject), S3Object>,
    settings: Settings,
}

impl GetMany {
    pub(crate) fn new(s3: S3, objects: impl Stream<Item = Result<S3GetObject>> + Send + 'static) -> Self {
        let length = known_length(&objects);
        Self { s3, many: Many::new(numbered(objects), length), settings: Settings::default() }
    }

    /// Whether a missing key is an object whose [`exists`](S3Object::exists) is false, and not an error. A missing bucket is
    /// an error either way. Default: false.
    pub fn return_missing(mut self, return_missing: bool) -> Self {
        self.settings.return_missing = return_missing;
        self
    }

    /// Whether content type, metadata, encryption and range come with each object. Default: true.
    pub fn return_info(mut self, return_info: bool) -> Self {
        self.settings.return_info = return_info;
        self
    }

    settings_of_many!();
}

impl Stream for GetMany {
    type Item = Result<S3Object>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { s3, many, settings } = self.get_mut();
        let next = many.poll(cx, s3, || {
            let (s3, settings) = (s3.clone(), *settings);
            move |index, object| get(s3.another_object(), index, object, settings, None)
        });
        next.map(|next| next.map(|outcome| outcome.and_then(|object| still_open(s3, object))))
    }
}

awaited_in_order!(GetMany: S3Object);

impl fmt::Debug for GetMany {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GetMany").field("s3", &self.s3).field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// An item of a stream given to [`S3::get_from`] or [`S3::info_from`]: what can be made into an [`S3GetObject`], or a `Result` of it.
pub trait GetInput: Send + 'static {
    /// The request, or the error that takes its place.
    ///
    /// # Errors
    ///
    /// The item's own.
    fn into_request(self) -> Result<S3GetObject>;
}

impl<T: Into<S3GetObject> + Send + 'static> GetInput for T {
    fn into_request(self) -> Result<S3GetObject> {
        Ok(self.into())
    }
}

impl<T: Into<S3GetObject> + Send + 'static> GetInput for Result<T, Error> {
    fn into_request(self) -> Result<S3GetObject> {
        self.map(Into::into)
    }
}
