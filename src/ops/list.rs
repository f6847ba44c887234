//! `list_recursive`.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _};
use tokio_util::task::AbortOnDropHandle;

use super::Operation;
use super::many::collect;
use crate::address::Directory;
use crate::blocking::joined;
use crate::config::checked_concurrency;
use crate::error::{Error, ErrorKind, Result};
use crate::object::S3Object;
use crate::s3::S3;
use crate::store::{ListPage, ListedObject};
use crate::transfer;

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
/// error.
///
/// # Cancellation
///
/// Dropping the stream, or the future, ends its requests.
#[must_use = "a list_recursive does nothing unless it is polled or awaited"]
pub struct ListRecursive {
    s3: S3,
    state: State,
}

enum State {
    Ready { prefixes: Vec<String>, concurrency: Option<usize>, ordered: bool },
    Running(BoxStream<'static, Result<S3Object>>),
}

impl ListRecursive {
    pub(crate) fn new(s3: S3, prefixes: Vec<String>) -> Self {
        Self { s3, state: State::Ready { prefixes, concurrency: None, ordered: false } }
    }

    /// How many prefixes are listed at a time, at most. Default: the scope's.
    pub fn concurrency(mut self, prefixes: usize) -> Self {
        if let State::Ready { concurrency, .. } = &mut self.state {
            *concurrency = Some(prefixes);
        }
        self
    }

    /// Whether the objects of one prefix come before those of the next, in place of as pages arrive. Default: false.
    pub fn ordered(mut self, ordered: bool) -> Self {
        if let State::Ready { ordered: setting, .. } = &mut self.state {
            *setting = ordered;
        }
        self
    }
}

impl Stream for ListRecursive {
    type Item = Result<S3Object>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { s3, state } = self.get_mut();
        if let State::Ready { prefixes, concurrency, ordered } = state {
            let prefixes = std::mem::take(prefixes);
            *state = State::Running(match checked_concurrency(concurrency.unwrap_or(s3.concurrency())) {
                Ok(concurrency) => list(s3.clone(), prefixes, concurrency, *ordered),
                Err(error) => futures::stream::iter([Err(error)]).boxed(),
            });
        }
        match state {
            State::Running(objects) => Pin::new(objects).poll_next(cx),
            State::Ready { .. } => Poll::Ready(None),
        }
    }
}

impl IntoFuture for ListRecursive {
    type Output = Result<Vec<S3Object>>;
    type IntoFuture = Operation<Vec<S3Object>>;

    fn into_future(self) -> Self::IntoFuture {
        // Directory buckets list in an order of their own.
        collect(self, |one, other| {
            let (one_place, other_place) = (&one.address().location, &other.address().location);
            (one.index(), one_place).cmp(&(other.index(), other_place))
        })
    }
}

impl fmt::Debug for ListRecursive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListRecursive").field("s3", &self.s3).finish_non_exhaustive()
    }
}

fn list(s3: S3, prefixes: Vec<String>, concurrency: usize, ordered: bool) -> BoxStream<'static, Result<S3Object>> {
    let listings = futures::stream::iter(prefixes.into_iter().enumerate()).map(move |(index, prefix)| {
        match s3.root().directory(&prefix) {
            Ok(directory) => Listing::start(s3.clone(), index, directory).boxed(),
            Err(invalid) => {
                let error = Error::new(ErrorKind::InvalidUrl, invalid.0).with_operation("list_recursive", None);
                futures::stream::iter([Err(error.with_index(index))]).boxed()
            }
        }
    });
    if ordered {
        // The listings behind the first are begun, so that their first pages are there when it ends.
        listings.map(std::future::ready).buffered(concurrency).flatten().boxed()
    } else {
        listings.flatten_unordered(concurrency).boxed()
    }
}

/// The listing of one directory: the page that is being taken, and the next one on its way.
struct Listing {
    s3: S3,
    index: usize,
    directory: Arc<Directory>,
    page: std::vec::IntoIter<ListedObject>,
    next: Option<AbortOnDropHandle<Result<ListPage>>>,
}

impl Listing {
    fn start(s3: S3, index: usize, directory: Directory) -> Self {
        let directory = Arc::new(directory);
        let next = Some(fetch(&s3, &directory, None));
        Self { s3, index, directory, page: Vec::new().into_iter(), next }
    }
}

fn fetch(s3: &S3, directory: &Arc<Directory>, token: Option<String>) -> AbortOnDropHandle<Result<ListPage>> {
    let (s3, directory) = (s3.clone(), Arc::clone(directory));
    AbortOnDropHandle::new(tokio::spawn(async move {
        let client = s3.client();
        let page = transfer::request(&client.retry, || {
            client.store.list(&directory.bucket, &directory.prefix, token.as_deref())
        });
        s3.scope().unless_closed(page).await
    }))
}

impl Stream for Listing {
    type Item = Result<S3Object>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some(object) = this.page.next() {
                let address = this.directory.address(&object.key);
                return Poll::Ready(Some(Ok(S3Object::listed(this.index, address, object))));
            }
            let Some(next) = &mut this.next else { return Poll::Ready(None) };
            let page = ready!(Pin::new(next).poll(cx)).unwrap_or_else(|error| Err(joined(error)));
            this.next = None;
            match page {
                Ok(ListPage { objects, next }) => {
                    this.page = objects.into_iter();
                    this.next = next.map(|token| fetch(&this.s3, &this.directory, Some(token)));
                }
                Err(error) => {
                    let url = this.directory.url.to_string();
                    return Poll::Ready(Some(Err(error
                        .with_operation("list_recursive", Some(url))
                        .with_index(this.index))));
                }
            }
        }
    }
}
