//! `list_paths` and `list_recursive`.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::{Stream, StreamExt as _};

use super::Operation;
use super::listing::{Mode, in_byte_order, list};
use super::many::{Many, collect, numbered};
use crate::error::Result;
use crate::object::S3Object;
use crate::s3::S3;

/// A listing before and while it runs.
struct Listings {
    s3: S3,
    mode: Mode,
    many: Many<(usize, String), S3Object>,
}

impl Listings {
    fn new(s3: S3, mode: Mode, prefixes: Vec<String>) -> Self {
        Self { s3, mode, many: Many::new(numbered(futures::stream::iter(prefixes).map(Ok))) }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<S3Object>>> {
        let Self { s3, mode, many } = self;
        many.poll_by(cx, s3.concurrency(), |prefixes, concurrency, ordered| {
            list(s3.clone(), *mode, prefixes, concurrency, ordered)
        })
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
/// # Errors
///
/// [`InvalidUrl`](crate::ErrorKind::InvalidUrl), [`NoSuchBucket`](crate::ErrorKind::NoSuchBucket),
/// [`AccessDenied`](crate::ErrorKind::AccessDenied), and those of the network. A prefix without objects is empty and no
/// error. A concurrency of 0 is one [`Config`](crate::ErrorKind::Config) error without an index.
///
/// # Cancellation
///
/// Dropping the stream, or the future, ends its requests.
#[must_use = "a list_recursive does nothing unless it is polled or awaited"]
pub struct ListRecursive(Listings);

impl ListRecursive {
    pub(crate) fn new(s3: S3, prefixes: Vec<String>) -> Self {
        Self(Listings::new(s3, Mode::Recursive, prefixes))
    }

    /// How many prefixes are listed at a time, at most. Default: the scope's.
    pub fn concurrency(mut self, prefixes: usize) -> Self {
        self.0.many.set_concurrency(prefixes);
        self
    }

    /// Whether the objects of one prefix come before those of the next, in place of as pages arrive. Default: false.
    pub fn ordered(mut self, ordered: bool) -> Self {
        self.0.many.set_ordered(ordered);
        self
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
/// Concurrency, pages, errors and cancellation are those of a [recursive listing](ListRecursive).
#[must_use = "a list_paths does nothing unless it is polled or awaited"]
pub struct ListPaths(Listings);

impl ListPaths {
    pub(crate) fn new(s3: S3, prefixes: Vec<String>) -> Self {
        Self(Listings::new(s3, Mode::NextLevel, prefixes))
    }

    /// How many prefixes are listed at a time, at most. Default: the scope's.
    pub fn concurrency(mut self, prefixes: usize) -> Self {
        self.0.many.set_concurrency(prefixes);
        self
    }

    /// Whether what one prefix holds comes before what the next one holds, in place of as pages arrive. Default: false.
    pub fn ordered(mut self, ordered: bool) -> Self {
        self.0.many.set_ordered(ordered);
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
