//! `list_paths` and `list_recursive`.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures::{Stream, StreamExt as _};

use super::Operation;
use super::listing::{Begin, Extent, ListCursor, Listings, Mode, Rest, in_byte_order, located};
use super::many::{collect, numbered};
use super::unchanged::VerifyUnchanged;
use crate::address::{Directory, InvalidAddress};
use crate::config::checked_concurrency;
use crate::error::{Error, ErrorKind, Result};
use crate::manifest::{EntryInput, ManifestEntry};
use crate::object::S3Object;
use crate::observe::{Progress, Running};
use crate::s3::S3;
use crate::shard::Shard;

/// A listing before and while it runs.
struct Listed {
    s3: S3,
    mode: Mode,
    prefixes: Vec<String>,
    extent: Extent,
    concurrency: Option<usize>,
    ordered: bool,
    state: State,
}

enum State {
    Ready,
    /// `None` once it has ended.
    Running(Box<Listings>, Option<Running>),
    Refused(Option<Error>),
}

impl Listed {
    fn new(s3: S3, mode: Mode, prefixes: Vec<String>) -> Self {
        let (extent, state) = (Extent::default(), State::Ready);
        Self { s3, mode, prefixes, extent, concurrency: None, ordered: false, state }
    }

    fn start(&self) -> Result<Listings> {
        let concurrency = checked_concurrency(self.concurrency.unwrap_or(self.s3.concurrency()))?;
        let check = self.extent.check(self.s3.root(), &self.prefixes);
        check.map_err(|error| error.with_operation(self.mode.operation(), None))?;
        let prefixes = numbered(futures::stream::iter(self.prefixes.clone()).map(Ok)).boxed();
        Ok(Listings::new(self.s3.clone(), self.mode, prefixes, self.extent.clone(), concurrency, self.ordered))
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<S3Object>>> {
        if let State::Ready = self.state {
            self.state = match self.start() {
                Ok(listings) => State::Running(Box::new(listings), Some(self.s3.counters().begin(None))),
                Err(error) => State::Refused(Some(error)),
            };
        }
        match &mut self.state {
            State::Running(listings, running) => {
                let next = ready!(Pin::new(&mut **listings).poll_next(cx));
                let counters = self.s3.counters();
                match &next {
                    Some(found) => counters.count(found.is_ok()),
                    None => {
                        if running.take().is_some() {
                            counters.there_are(counters.items());
                        }
                    }
                }
                Poll::Ready(next)
            }
            State::Refused(error) => Poll::Ready(error.take().map(Err)),
            State::Ready => Poll::Ready(None),
        }
    }

    fn progress(&self) -> Progress {
        Progress::of(Arc::clone(self.s3.counters()))
    }

    fn cursor(&self) -> Result<ListCursor> {
        let root = self.s3.root();
        let left = self.prefixes.iter().enumerate().map(|(number, prefix)| {
            let rest = match &self.state {
                State::Running(listings, _) => listings.rest(number),
                State::Ready | State::Refused(_) => Some(Rest::All),
            };
            let ranges = match rest {
                Some(Rest::Some(ranges)) => ranges,
                Some(Rest::All) => match root.directory(prefix) {
                    Ok(directory) => self.extent.ranges(number, &directory)?,
                    Err(_) => self.extent.everything(),
                },
                None => {
                    let problem =
                        "the server does not list keys in byte order, and where such a listing is cannot be told";
                    return Err(Error::new(ErrorKind::Unsupported, problem).with_index(number));
                }
            };
            Ok((located(root, prefix), ranges))
        });
        let left: Result<Vec<_>> = left.collect();
        let shard = self.extent.shard.as_ref();
        left.map(|left| ListCursor::new(shard, left)).map_err(|error| error.with_operation("cursor", None))
    }
}

/// A recursive listing: a stream of objects as pages arrive, or awaited, a `Vec` with the prefixes in the order asked for and
/// each one's keys in byte order. Made by [`S3::list_recursive`].
///
/// Objects have their address, size, ETag and date, and are not downloaded. `index()` tells which prefix an object belongs
/// to, `prefix()` its URL, and `key()` the rest.
///
/// Up to [`concurrency`](Self::concurrency) prefixes are listed at a time, each one page ahead of what was taken: nothing
/// gathers a whole listing. An error ends its prefix and is an item; the other prefixes go on. Awaited, the first error wins.
///
/// # Large prefixes
///
/// A page has up to 1,000 keys, and only the end of one tells where the next one begins. When objects are taken faster than pages
/// come, a prefix is listed in several places at a time: its keys are cut in ranges by what the keys seen so far look like, and listed by
/// `start-after`. A prefix of one page is one request, and one of many has at most a quarter more pages than if they came one after
/// another, and 8, whatever the keys are.
///
/// Of a prefix, at most 32 pages are on their way and 48 on their way or waiting to be taken; in order 96, those behind being kept until
/// those before are taken. All listings of a [`Client`](crate::Client) together have 192 pages beyond the one ahead of each prefix: some
/// 50 MiB of ordinary keys. What is not polled sends nothing more.
///
/// A server that ignores `start-after`, or has an order of its own, is found out before an object of such a range is given out, and its
/// pages come one after another. One that goes back on it later is an [`Unsupported`](crate::ErrorKind::Unsupported) error. Keys that are
/// stored or deleted while they are listed may or may not be there; each other one comes once.
///
/// # Errors
///
/// [`InvalidUrl`](crate::ErrorKind::InvalidUrl), [`NoSuchBucket`](crate::ErrorKind::NoSuchBucket),
/// [`AccessDenied`](crate::ErrorKind::AccessDenied), and those of the network. A prefix without objects is empty and no
/// error. A concurrency of 0, and a cursor that is of another listing, is one [`Config`](crate::ErrorKind::Config) error without an
/// index, before any request.
///
/// # Cancellation
///
/// Dropping the stream, or the future, ends its requests.
#[must_use = "a list_recursive does nothing unless it is polled or awaited"]
pub struct ListRecursive(Listed);

impl ListRecursive {
    pub(crate) fn new(s3: S3, prefixes: Vec<String>) -> Self {
        Self(Listed::new(s3, Mode::Recursive, prefixes))
    }

    /// What a shard has of its prefix.
    pub(crate) fn of_shard(s3: S3, shard: &Shard) -> Self {
        let prefix = match s3.root().url() {
            None => Some(shard.prefix()),
            Some(root) => shard.prefix().strip_prefix(root).and_then(|below| below.strip_prefix('/')),
        };
        // Not every directory below a root has a name there: slashes in front of one are dropped.
        let prefix = prefix.filter(|prefix| located(s3.root(), prefix) == shard.prefix()).map(str::to_owned);
        let refused = prefix.is_none().then(|| {
            let root = s3.s3root().unwrap_or_default();
            let problem = format!("the shard's prefix, {}, is not below the scope's root, {root}", shard.prefix());
            Error::new(ErrorKind::Config, problem).with_operation(Mode::Shard.operation(), None)
        });
        let mut listed = Listed::new(s3, Mode::Shard, prefix.into_iter().collect());
        if refused.is_some() {
            listed.state = State::Refused(refused);
        }
        listed.extent.shard = Some(shard.clone());
        Self(listed)
    }

    /// To look at how far it has come, from elsewhere and while it runs: how many objects were taken.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.0.progress()
    }

    /// How many requests are on their way at a time, and how many prefixes are listed, at most. With 1, pages come one after another.
    /// Default: the scope's.
    pub fn concurrency(mut self, requests: usize) -> Self {
        self.0.concurrency = Some(requests);
        self
    }

    /// Whether the objects of one prefix come before those of the next, and in byte order (on directory buckets, in the server's), in
    /// place of as pages arrive. Default: false.
    pub fn ordered(mut self, ordered: bool) -> Self {
        self.0.ordered = ordered;
        self
    }

    /// Only objects after this key, in byte order of UTF-8. It is relative to each prefix, as the [`key`](S3Object::key) of what is
    /// listed, and need not exist. One that is too long, with its prefix, is [`InvalidUrl`](crate::ErrorKind::InvalidUrl).
    ///
    /// In place of a [`resume`](Self::resume) that was asked for before.
    ///
    /// ```
    /// # async fn example(s3: s3flow::S3) -> s3flow::Result<()> {
    /// let new = s3.list_recursive(["logs"]).start_after("2026-11-25T23").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn start_after(mut self, key: impl Into<String>) -> Self {
        self.0.extent.begin = Begin::After(key.into());
        self
    }

    /// Goes on where another listing of the same prefixes was: what was taken there is left out, and everything else comes, in order or
    /// as found, whatever it was there. The settings of the other one hold no more, but for its [`start_after`](Self::start_after).
    ///
    /// The prefixes must be those of the [`cursor`](Self::cursor), in their order. Where the server ignores `start-after`, the pages before are
    /// read again, and what was taken is left out.
    pub fn resume(mut self, cursor: ListCursor) -> Self {
        self.0.extent.begin = Begin::Cursor(cursor);
        self
    }

    /// Compares what was listed earlier with what is there now: a stream of the differences, or awaited, an error of the first one.
    ///
    /// This listing must be made as the earlier one was, with the same prefixes in the same order and the same
    /// [`start_after`](Self::start_after), and what was listed must be in byte order for each prefix, as it is when the earlier listing was
    /// awaited or [ordered](Self::ordered).
    ///
    /// ```
    /// # async fn example(s3: s3flow::S3) -> s3flow::Result<()> {
    /// let listed = s3.list_recursive(["2026"]).await?;
    /// // Hours of work with what was listed.
    /// s3.list_recursive(["2026"]).verify_unchanged(&listed).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn verify_unchanged<I>(self, earlier: I) -> VerifyUnchanged
    where
        I: IntoIterator,
        I::Item: Into<ManifestEntry>,
    {
        let earlier: Vec<ManifestEntry> = earlier.into_iter().map(Into::into).collect();
        self.verify_unchanged_from(futures::stream::iter(earlier))
    }

    /// As [`verify_unchanged`](Self::verify_unchanged), with a stream of what was listed, such as a manifest of it, which may have any
    /// length. An error of the input is the last item.
    ///
    /// ```
    /// # async fn example(s3: s3flow::S3) -> s3flow::Result<()> {
    /// use futures::TryStreamExt;
    /// use s3flow::ManifestEntry;
    ///
    /// let earlier = s3.read_manifest::<ManifestEntry>("jobs/inputs.jsonl");
    /// let mut differences = s3.list_recursive(["2026"]).verify_unchanged_from(earlier);
    /// while let Some(difference) = differences.try_next().await? {
    ///     println!("{difference:?}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn verify_unchanged_from<I>(self, earlier: I) -> VerifyUnchanged
    where
        I: Stream + Send + 'static,
        I::Item: EntryInput,
    {
        VerifyUnchanged::new(self.ordered(true), earlier.map(EntryInput::into_entry).boxed())
    }

    /// The prefixes as directories, in their order.
    pub(super) fn directories(&self) -> Result<Vec<Directory>> {
        let directories = self.0.prefixes.iter().map(|prefix| self.0.s3.root().directory(prefix));
        let directories: std::result::Result<_, InvalidAddress> = directories.collect();
        directories.map_err(|invalid| Error::new(ErrorKind::InvalidUrl, invalid.0))
    }

    /// Where this listing is: all that has not been taken from the stream. A prefix that ended with an error is left from there on, so
    /// that a [resumed](Self::resume) listing tries again.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](crate::ErrorKind::Unsupported) when keys came that are not in byte order, as of directory buckets.
    pub fn cursor(&self) -> Result<ListCursor> {
        self.0.cursor()
    }
}

impl Stream for ListRecursive {
    type Item = Result<S3Object>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().0.poll(cx)
    }
}

impl IntoFuture for ListRecursive {
    type Output = Result<Vec<S3Object>>;
    type IntoFuture = Operation<Vec<S3Object>>;

    fn into_future(self) -> Self::IntoFuture {
        collect(self, in_byte_order)
    }
}

impl fmt::Debug for ListRecursive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListRecursive").field("s3", &self.0.s3).finish_non_exhaustive()
    }
}

/// A listing of the next level: a stream of objects and prefixes as pages arrive, or awaited, a `Vec` with the prefixes in the
/// order asked for and for each one what it holds in byte order. Made by [`S3::list_paths`].
///
/// An object is as in a [recursive listing](ListRecursive), with its size, also when that is 0. What lies deeper is shown as
/// one prefix for each name: its [`exists`](S3Object::exists) is false, it has no size, and its [`url`](S3Object::url) and
/// [`key`](S3Object::key) end with `/`. `index()` tells which prefix asked for an item belongs to, `prefix()` its URL, and
/// `key()` the rest.
///
/// Each prefix is listed one page ahead of what was taken. Errors and cancellation are those of a
/// [recursive listing](ListRecursive).
#[must_use = "a list_paths does nothing unless it is polled or awaited"]
pub struct ListPaths(Listed);

impl ListPaths {
    pub(crate) fn new(s3: S3, prefixes: Vec<String>) -> Self {
        Self(Listed::new(s3, Mode::NextLevel, prefixes))
    }

    /// See [`ListRecursive::progress`].
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.0.progress()
    }

    /// How many prefixes are listed at a time, at most. Default: the scope's.
    pub fn concurrency(mut self, prefixes: usize) -> Self {
        self.0.concurrency = Some(prefixes);
        self
    }

    /// Whether what one prefix holds comes before what the next one holds, in place of as pages arrive. Default: false.
    pub fn ordered(mut self, ordered: bool) -> Self {
        self.0.ordered = ordered;
        self
    }
}

impl Stream for ListPaths {
    type Item = Result<S3Object>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().0.poll(cx)
    }
}

impl IntoFuture for ListPaths {
    type Output = Result<Vec<S3Object>>;
    type IntoFuture = Operation<Vec<S3Object>>;

    fn into_future(self) -> Self::IntoFuture {
        collect(self, in_byte_order)
    }
}

impl fmt::Debug for ListPaths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListPaths").field("s3", &self.0.s3).finish_non_exhaustive()
    }
}
