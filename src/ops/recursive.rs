//! `get_recursive` and `get_all`.

use std::fmt;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::{Stream, StreamExt as _};

use super::Operation;
use super::get::{Settings, get, still_open};
use super::journals::{Journaled, known, when_open};
use super::listing::{Extent, Listings, Mode, in_byte_order};
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
    /// As they were given.
    prefixes: Vec<String>,
    journal: Option<PathBuf>,
}

impl GetRecursive {
    pub(crate) fn new(s3: S3, prefixes: Vec<String>) -> Self {
        Self::of(s3, numbered(futures::stream::iter(prefixes.clone()).map(Ok)), prefixes)
    }

    /// All below the root.
    pub(crate) fn all(s3: S3) -> Self {
        let root = if s3.s3root().is_some() {
            Ok((0, String::new()))
        } else {
            let problem = "there is no root to get everything from; the scope has neither an s3root nor a run";
            Err(Error::new(ErrorKind::InvalidUrl, problem).with_operation("get_all", None))
        };
        Self::of(s3, futures::stream::iter([root]), vec![String::new()])
    }

    fn of(s3: S3, inputs: impl Stream<Item = Result<(usize, String)>> + Send + 'static, prefixes: Vec<String>) -> Self {
        let settings = Settings { return_missing: false, return_info: false };
        Self { s3, many: Many::new(inputs, None), settings, pinned: false, prefixes, journal: None }
    }

    /// Goes on where a process was killed. The directory `path`, which is made if it is missing (mode 0700), keeps the files and notes
    /// what of them is there, in `journal.jsonl`. The next call with the same journal and the same prefixes takes from there what is
    /// still the object of S3 (its ETag) and undamaged (size and CRC64NVME of the bytes on the disk), and fetches the rest. Nothing has
    /// to be called before the process ends, and a call that was dropped or has failed is gone on with likewise.
    ///
    /// * Of an object of over 4 MiB, each MiB that is written is noted, and only what is missing or damaged is fetched again. What a
    ///   kill loses is what was on its way: at most a hundredth of the object, or 4 MiB. That costs a HEAD for each such object, and
    ///   fewer bytes on their way at a time than without a journal.
    /// * An object that has another ETag than what is noted is fetched anew.
    /// * The files stay when their objects are dropped and when the scope ends. [`S3Object::persist`] moves one and notes where to:
    ///   a later call finds it there, if its bytes are still the same, and yields it with that path. [Remove](std::fs::remove_dir_all)
    ///   the directory when all is done.
    /// * The journal is locked as long as the operation or one of its objects lives: another call with it, of any process, is an
    ///   [`ErrorKind::Journal`], as one of another operation, of other prefixes, of another version of the format, or damaged is. Then
    ///   nothing was deleted or overwritten. The last line without its end is what a kill leaves, and is no damage.
    /// * Nothing is synced to the disk: a killed process loses nothing by that, and after a loss of power the CRCs show what is there.
    ///
    /// ```
    /// # async fn example(s3: s3flow::S3) -> s3flow::Result<()> {
    /// use futures::TryStreamExt;
    ///
    /// let mut objects = s3.get_recursive(["models/"]).journal("/data/models.journal");
    /// while let Some(object) = objects.try_next().await? {
    ///     let destination = std::path::Path::new("/data/models").join(object.key());
    ///     object.persist(destination).await?;
    /// }
    /// drop(objects);
    /// std::fs::remove_dir_all("/data/models.journal").ok();
    /// # Ok(())
    /// # }
    /// ```
    pub fn journal(mut self, path: impl Into<PathBuf>) -> Self {
        self.journal = Some(path.into());
        self
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

/// The journal of a get_recursive of these prefixes.
async fn open(s3: S3, path: PathBuf, prefixes: Vec<String>) -> Result<Journaled> {
    let url = |prefix: &String| s3.root().directory(prefix).map(|directory| directory.url.to_string());
    // What is no prefix is refused by its listing.
    let targets = prefixes.iter().map(|prefix| url(prefix).unwrap_or_else(|_| prefix.clone())).collect();
    Journaled::open(&s3, path, targets, "get_recursive").await
}

impl Stream for GetRecursive {
    type Item = Result<S3Object>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { s3, many, settings, pinned, prefixes, journal } = self.get_mut();
        let next = many.poll_by(cx, s3.counters(), s3.concurrency(), |inputs, concurrency, ordered| {
            let (s3, settings, pinned) = (s3.clone(), *settings, *pinned);
            let opened = journal.take().map(|path| open(s3.clone(), path, std::mem::take(prefixes)));
            let start = move |journal: Option<Journaled>| {
                let mode = Mode::RecursiveWithNamesake;
                let objects = Listings::new(s3.clone(), mode, inputs, Extent::default(), concurrency, ordered);
                let is_known = journal.is_some() && !settings.return_info;
                let inputs = objects.map(move |object| {
                    let object = object?;
                    let (index, request) = request(&object, pinned)?;
                    Ok((index, (request, is_known.then(|| known(&object)).flatten())))
                });
                let counters = Arc::clone(s3.counters());
                fan_out(&counters, inputs.boxed(), concurrency, ordered, move |index, (object, known)| {
                    let journal = journal.clone().map(|journal| (journal, known));
                    get(s3.another_object(), index, object, settings, journal)
                })
            };
            match opened {
                None => start(None),
                Some(opened) => when_open(opened, move |journal| start(Some(journal))),
            }
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
