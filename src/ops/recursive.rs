//! `get_recursive` and `get_all`.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::{Stream, StreamExt as _};

use super::Operation;
use super::get::{Settings, get, still_open};
use super::listing::{Begin, Listings, Mode, in_byte_order};
use super::many::{Many, collect, fan_out, numbered, progress};
use crate::error::{Error, ErrorKind, Result};
use crate::object::S3Object;
use crate::request::S3GetObject;
use crate::s3::S3;

/// Downloads of all that lies below some prefixes: a stream of objects as they complete, or awaited, a `Vec` with the prefixes
/// in the order asked for and each one's keys in byte order. Made by [`S3::get_recursive`] and [`S3::get_all`].
///
/// `index()` tells which prefix an object belongs to, `prefix()` its URL, and `key()` the rest. The object of exactly the name
/// that was asked for has nothing after the prefix: its `key()` is its URL, and it has no `prefix()`, as in Metaflow.
///
/// At most [`concurrency`](Self::concurrency) objects are under way or waiting to be taken, and as many prefixes are listed at
/// a time, each one page ahead, or as [large prefixes](super::ListRecursive#large-prefixes) are: a slow consumer holds back the downloads, and these the listings, and objects that are dropped
/// as they come leave at most so many files on disk. Downloads under way go on while nobody polls the stream.
///
/// An error is an item: one of a listing ends its prefix, one of a download is that object's alone, and the stream goes on
/// after either.
///
/// The settings are made before the first poll; later ones have no effect.
///
/// # Errors
///
/// Those of [`ListRecursive`](super::ListRecursive), and for each object one of those of [`Get`](super::Get); one that is
/// removed between its listing and its download is [`NotFound`](ErrorKind::NotFound). Their `index()` is that of the prefix.
/// Awaited, the first one, which cancels the rest. [`InvalidUrl`](ErrorKind::InvalidUrl) for a get_all without a root.
///
/// Who may list `2026/` but not `2026` itself (an IAM condition on `s3:prefix` can say that) is denied the question for the
/// object of that name: ask for `2026/`, which means the directory alone.
///
/// # Cancellation
///
/// Dropping the stream, or the future, ends its requests and removes the files that were not taken; a write under way ends
/// first.
#[must_use = "a get_recursive does nothing unless it is polled or awaited"]
pub struct GetRecursive {
    s3: S3,
    many: Many<(usize, String), S3Object>,
    settings: Settings,
    pinned: bool,
}

impl GetRecursive {
    pub(crate) fn new(s3: S3, prefixes: Vec<String>) -> Self {
        Self::of(s3, numbered(futures::stream::iter(prefixes).map(Ok)))
    }

    /// All below the root.
    pub(crate) fn all(s3: S3) -> Self {
        let root = if s3.s3root().is_some() {
            Ok((0, String::new()))
        } else {
            let problem = "there is no root to get everything from; the scope has neither an s3root nor a run";
            Err(Error::new(ErrorKind::InvalidUrl, problem).with_operation("get_all", None))
        };
        Self::of(s3, futures::stream::iter([root]))
    }

    fn of(s3: S3, prefixes: impl Stream<Item = Result<(usize, String)>> + Send + 'static) -> Self {
        let settings = Settings { return_missing: false, return_info: false };
        Self { s3, many: Many::new(prefixes, None), settings, pinned: false }
    }

    /// Whether content type, metadata, encryption and range come with each object. Default: false.
    pub fn return_info(mut self, return_info: bool) -> Self {
        self.settings.return_info = return_info;
        self
    }

    /// Fetches each object as it was listed, by its ETag (`If-Match`): what comes is what the prefixes held, if nothing was added
    /// or removed meanwhile, which [`verify_unchanged`](super::ListRecursive::verify_unchanged) shows. Without it, an object that is
    /// replaced between its listing and its download comes as it is then.
    ///
    /// One that was replaced is [`Changed`](ErrorKind::Changed), with [`expected_etag`](Error::expected_etag) and
    /// [`found_etag`](Error::found_etag); one that was removed [`NotFound`](ErrorKind::NotFound). Where the listing gives no ETag, or a weak
    /// one, [`Unsupported`](ErrorKind::Unsupported). A server that ignores `If-Match` is found out by the ETag of its answer.
    ///
    /// ```
    /// # async fn example(s3: s3flow::S3) -> s3flow::Result<()> {
    /// use futures::StreamExt;
    /// use s3flow::ErrorKind;
    ///
    /// let mut objects = s3.get_recursive(["2026"]).pinned();
    /// while let Some(outcome) = objects.next().await {
    ///     match outcome {
    ///         Ok(object) => println!("{} at {:?}", object.url(), object.path()),
    ///         Err(error) if error.kind() == ErrorKind::Changed => println!("listed and gone: {error}"),
    ///         Err(error) => return Err(error),
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn pinned(mut self) -> Self {
        self.pinned = true;
        self
    }

    progress!();

    /// How many objects are under way or waiting to be taken, and how many prefixes are listed at a time, at most. Default:
    /// the scope's.
    pub fn concurrency(mut self, objects: usize) -> Self {
        self.many.set_concurrency(objects);
        self
    }

    /// Whether the stream keeps the order of the prefixes, and within each one that of its listing, which is byte order but on
    /// directory buckets; in place of the order of completion. Default: false.
    pub fn ordered(mut self, ordered: bool) -> Self {
        self.many.set_ordered(ordered);
        self
    }
}

impl Stream for GetRecursive {
    type Item = Result<S3Object>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { s3, many, settings, pinned } = self.get_mut();
        let next = many.poll_by(cx, s3.counters(), s3.concurrency(), |prefixes, concurrency, ordered| {
            let mode = Mode::RecursiveWithNamesake;
            let objects = Listings::new(s3.clone(), mode, prefixes, Begin::Beginning, concurrency, ordered);
            let pinned = *pinned;
            let inputs = objects.map(move |object| request(&object?, pinned)).boxed();
            let (of_operation, settings) = (s3.clone(), *settings);
            fan_out(s3.counters(), inputs, concurrency, ordered, move |index, object| {
                get(of_operation.another_object(), index, object, settings)
            })
        });
        next.map(|next| next.map(|outcome| outcome.and_then(|object| still_open(s3, object))))
    }
}

/// For an object that was listed.
fn request(object: &S3Object, pinned: bool) -> Result<(usize, S3GetObject)> {
    let request = S3GetObject::from(object);
    let request = if pinned { request.pinned(object.etag()) } else { Ok(request) };
    match request {
        Ok(request) => Ok((object.index(), request)),
        Err(error) => {
            Err(error.with_operation("get_recursive", Some(object.url().to_owned())).with_index(object.index()))
        }
    }
}

impl IntoFuture for GetRecursive {
    type Output = Result<Vec<S3Object>>;
    type IntoFuture = Operation<Vec<S3Object>>;

    fn into_future(self) -> Self::IntoFuture {
        collect(self, in_byte_order)
    }
}

impl fmt::Debug for GetRecursive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GetRecursive")
            .field("s3", &self.s3)
            .field("settings", &self.settings)
            .field("pinned", &self.pinned)
            .finish_non_exhaustive()
    }
}
