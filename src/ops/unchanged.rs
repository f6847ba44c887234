//! `verify_unchanged`: what was listed, beside what is there.

use std::cmp::Ordering;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _, TryStreamExt as _};

use super::{ListRecursive, Operation};
use crate::address::{Directory, Location};
use crate::error::{Error, ErrorKind, Result};
use crate::manifest::{Difference, ManifestEntry};
use crate::observe::Progress;

const OPERATION: &str = "verify_unchanged";

/// What is other than it was listed: a stream of the differences, or awaited, an [`Ok`] when there is none. Made by
/// [`ListRecursive::verify_unchanged`] and [`ListRecursive::verify_unchanged_from`].
///
/// The prefixes are listed anew, in order, and both listings are gone through side by side: a request for 1,000 keys, and as much in
/// memory as a listing in order has.
///
/// An object is the same when it has the same ETag and size, whenever it was stored; without ETags, when it has the same size and date.
/// What an entry does not tell is not compared.
///
/// Objects may change while they are listed: no difference means that each was unchanged when it was listed.
///
/// # Errors
///
/// An error is the last item. They are those of the listing and those of the input. An input that is not in byte order, names an object
/// twice, or one that is below none of the prefixes, is [`InvalidObject`](ErrorKind::InvalidObject), and tells the URL. A server that does
/// not list in byte order is [`Unsupported`](ErrorKind::Unsupported).
///
/// Awaited, the first difference is a [`Changed`](ErrorKind::Changed), of the object that was replaced, removed or added; see
/// [`Error::expected_etag`] and [`Error::found_etag`].
///
/// # Cancel safety
///
/// Safe to poll in a `select!`. Dropping the stream, or the future, ends its requests.
#[must_use = "a verify_unchanged does nothing unless it is polled or awaited"]
pub struct VerifyUnchanged {
    listing: ListRecursive,
    earlier: BoxStream<'static, Result<ManifestEntry>>,
    /// Of the listing; `None` before the first poll.
    directories: Option<Vec<Directory>>,
    was: Side,
    is: Side,
    ended: bool,
}

/// One of the two listings: how far it was gone through.
#[derive(Default)]
struct Side {
    /// The next entry, and its prefix.
    next: Option<(usize, ManifestEntry)>,
    /// Where the one before it was.
    last: Option<(usize, Location)>,
    ended: bool,
}

impl Side {
    /// Takes the next entry in; whether it is behind the one before.
    fn advance(&mut self, prefix: usize, entry: ManifestEntry) -> bool {
        let place = (prefix, entry.location().clone());
        let in_order = self.last.as_ref().is_none_or(|last| *last < place);
        self.last = Some(place);
        self.next = Some((prefix, entry));
        in_order
    }

    fn take(&mut self) -> Option<ManifestEntry> {
        self.next.take().map(|(_, entry)| entry)
    }
}

impl VerifyUnchanged {
    pub(super) fn new(listing: ListRecursive, earlier: BoxStream<'static, Result<ManifestEntry>>) -> Self {
        let (was, is) = (Side::default(), Side::default());
        Self { listing, earlier, directories: None, was, is, ended: false }
    }

    /// See [`ListRecursive::progress`].
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.listing.progress()
    }

    /// Waits for the next entry of the input.
    fn poll_was(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let Self { earlier, directories, was, .. } = self;
        if was.next.is_none() && !was.ended {
            match ready!(earlier.poll_next_unpin(cx)?) {
                Some(entry) => {
                    let prefix = prefix_of(directories.as_deref().unwrap_or_default(), was.last.as_ref(), &entry);
                    let refused = |problem| {
                        Error::new(ErrorKind::InvalidObject, problem).with_operation(OPERATION, Some(entry.url()))
                    };
                    was.advance(prefix.map_err(refused)?, entry);
                }
                None => was.ended = true,
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Waits for the next object of the listing.
    fn poll_is(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let Self { listing, is, .. } = self;
        if is.next.is_none() && !is.ended {
            match ready!(listing.poll_next_unpin(cx)?) {
                Some(object) => {
                    if !is.advance(object.index(), ManifestEntry::from(&object)) {
                        let problem = "the server does not list keys in byte order, by which listings are compared";
                        let error = Error::new(ErrorKind::Unsupported, problem);
                        return Poll::Ready(Err(error.with_operation(OPERATION, Some(object.url().to_owned()))));
                    }
                }
                None => is.ended = true,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_difference(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Difference>>> {
        if self.directories.is_none() {
            let directories = self.listing.directories();
            self.directories = Some(directories.map_err(|error| error.with_operation(OPERATION, None))?);
        }
        loop {
            // Both, so that each is on its way while the other one is waited for.
            let (was, is) = (self.poll_was(cx)?, self.poll_is(cx)?);
            ready!(was);
            ready!(is);
            let order = match (&self.was.next, &self.is.next) {
                (Some((prefix, was)), Some((listed, is))) => (prefix, was.location()).cmp(&(listed, is.location())),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => return Poll::Ready(Ok(None)),
            };
            let earlier = if order.is_le() { self.was.take() } else { None };
            let now = if order.is_ge() { self.is.take() } else { None };
            let difference = match (earlier, now) {
                (Some(earlier), Some(now)) if earlier.is_still(&now) => continue,
                (Some(earlier), Some(now)) => Difference::Changed { earlier, now },
                (Some(earlier), None) => Difference::Removed { earlier },
                (None, Some(now)) => Difference::Added { now },
                (None, None) => continue,
            };
            return Poll::Ready(Ok(Some(difference)));
        }
    }
}

/// The prefix that an entry is below: that of the one before, or a later one. Prefixes are listed one after the other, and within each
/// its keys are in byte order.
fn prefix_of(
    directories: &[Directory],
    last: Option<&(usize, Location)>,
    entry: &ManifestEntry,
) -> std::result::Result<usize, &'static str> {
    let location = entry.location();
    let is_below = |directory: &Directory| {
        location.bucket() == &*directory.bucket && location.key().starts_with(&directory.prefix)
    };
    let may_be_of = |number: usize| last.is_none_or(|(prefix, last)| (*prefix, last) < (number, location));
    let mut below = directories.iter().enumerate().filter(|(_, directory)| is_below(directory)).peekable();
    if below.peek().is_none() {
        return Err("the entry is below none of the prefixes that are listed");
    }
    below.find(|(number, _)| may_be_of(*number)).map(|(number, _)| number).ok_or(
        "the entry is not behind the one before it: what was listed must be in byte order, with each object once",
    )
}

impl Stream for VerifyUnchanged {
    type Item = Result<Difference>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.ended {
            return Poll::Ready(None);
        }
        let next = ready!(this.poll_difference(cx)).transpose();
        this.ended = !matches!(next, Some(Ok(_)));
        Poll::Ready(next)
    }
}

impl IntoFuture for VerifyUnchanged {
    type Output = Result<()>;
    type IntoFuture = Operation<()>;

    fn into_future(mut self) -> Self::IntoFuture {
        Box::pin(async move {
            match self.try_next().await? {
                Some(difference) => Err(difference.into_error()),
                None => Ok(()),
            }
        })
    }
}

impl fmt::Debug for VerifyUnchanged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyUnchanged").field("listing", &self.listing).finish_non_exhaustive()
    }
}
