//! What all listings share: prefixes listed side by side, each one in pages.
//!
//! [`plan`] says which pages of a prefix are asked for, from what [`keyspace`] makes of its keys; [`prefix`] asks for them, by [`pages`].
//! [`range`] and [`cursor`] say which keys are wanted. [`survey`] estimates where they are, to divide them.

mod cursor;
mod keyspace;
mod pages;
mod plan;
mod prefix;
mod range;
mod survey;

use std::cmp::Ordering;
use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::stream::{BoxStream, Fuse};
use futures::{Stream, StreamExt as _};
use tokio::sync::Semaphore;

pub use self::cursor::ListCursor;
pub(in crate::ops) use self::cursor::{Begin, Extent, located};
use self::prefix::Listing;
pub(in crate::ops) use self::range::KeyRange;
pub(in crate::ops) use self::survey::{Answer as SurveyPage, Question, Survey};
use crate::error::{Error, Result};
use crate::object::S3Object;
use crate::s3::S3;

/// What is listed of a directory, and for which operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Recursive,
    /// As `Recursive`, of what a shard has.
    Shard,
    NextLevel,
    /// As `Recursive`, and before it the object of exactly the directory's name, if there is one.
    RecursiveWithNamesake,
}

impl Mode {
    pub(super) fn operation(self) -> &'static str {
        match self {
            Self::Recursive => "list_recursive",
            Self::Shard => "list_shard",
            Self::NextLevel => "list_paths",
            Self::RecursiveWithNamesake => "get_recursive",
        }
    }
}

/// What the listings of an operation have in common. Clones share the permits.
#[derive(Clone)]
struct Shared {
    s3: S3,
    mode: Mode,
    ordered: bool,
    /// How many requests may be on their way.
    concurrency: usize,
    requests: Arc<Semaphore>,
}

/// The order of an awaited listing. Directory buckets list in an order of their own.
pub(super) fn in_byte_order(one: &S3Object, other: &S3Object) -> Ordering {
    let (one_place, other_place) = (&one.address().location, &other.address().location);
    (one.index(), one_place).cmp(&(other.index(), other_place))
}

/// Listings of prefixes, so many at a time; `ordered`, one after the other.
pub(super) struct Listings {
    shared: Shared,
    prefixes: Fuse<BoxStream<'static, Result<(usize, String)>>>,
    extent: Extent,
    /// Those that are listed, with the number of each; in order, only the first one is polled.
    active: VecDeque<(usize, Active)>,
    begun: usize,
    /// The one whose turn it is, and for how many objects it has been.
    turn: (usize, usize),
    /// What those have left that ended with an error; `None` where that cannot be told.
    failed: BTreeMap<usize, Option<Rest>>,
}

enum Active {
    Listing(Box<Listing>),
    Refused(Option<Error>),
}

/// The others are looked at after so many objects of one.
const TURN: usize = 1000;

impl Listings {
    pub(super) fn new(
        s3: S3,
        mode: Mode,
        prefixes: BoxStream<'static, Result<(usize, String)>>,
        extent: Extent,
        concurrency: usize,
        ordered: bool,
    ) -> Self {
        let requests = Arc::new(Semaphore::new(concurrency.min(Semaphore::MAX_PERMITS)));
        let shared = Shared { s3, mode, ordered, concurrency, requests };
        Self {
            shared,
            prefixes: prefixes.fuse(),
            extent,
            active: VecDeque::new(),
            begun: 0,
            turn: (0, 0),
            failed: BTreeMap::new(),
        }
    }

    /// Begins as many as may run. The listings behind the first are begun in order too, so that their first pages are there when it
    /// ends.
    fn start(&mut self, cx: &mut Context<'_>) -> bool {
        while self.active.len() < self.shared.concurrency {
            match self.prefixes.poll_next_unpin(cx) {
                Poll::Ready(Some(prefix)) => {
                    let (number, extent) = (self.begun, &self.extent);
                    let listing = prefix.and_then(|(index, prefix)| {
                        Listing::start(self.shared.clone(), index, &prefix, |directory| {
                            extent.ranges(number, directory)
                        })
                    });
                    let listing = match listing {
                        Ok(listing) => Active::Listing(Box::new(listing)),
                        Err(error) => Active::Refused(Some(error)),
                    };
                    self.active.push_back((number, listing));
                    self.begun += 1;
                }
                Poll::Ready(None) => return true,
                Poll::Pending => return false,
            }
        }
        false
    }

    /// What was not taken yet of a prefix, by its number; `None` when that cannot be told.
    pub(super) fn rest(&self, number: usize) -> Option<Rest> {
        if number >= self.begun {
            return Some(Rest::All);
        }
        if let Some((_, active)) = self.active.iter().find(|(other, _)| *other == number) {
            return active.rest();
        }
        self.failed.get(&number).cloned().unwrap_or_else(|| Some(Rest::Some(Vec::new())))
    }
}

impl Active {
    fn rest(&self) -> Option<Rest> {
        match self {
            Self::Listing(listing) => listing.rest().map(Rest::Some),
            Self::Refused(_) => Some(Rest::All),
        }
    }
}

/// What is left of a prefix.
#[derive(Clone)]
pub(super) enum Rest {
    All,
    Some(Vec<KeyRange>),
}

impl Stream for Listings {
    type Item = Result<S3Object>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let mut pending = 0;
        loop {
            let all_begun = this.start(cx);
            if this.active.is_empty() {
                return if all_begun { Poll::Ready(None) } else { Poll::Pending };
            }
            let at = if this.shared.ordered { 0 } else { this.turn.0 % this.active.len() };
            let (number, active) = &mut this.active[at];
            let next = match active {
                Active::Listing(listing) => Pin::new(&mut **listing).poll_next(cx),
                Active::Refused(error) => Poll::Ready(error.take().map(Err)),
            };
            match next {
                Poll::Ready(Some(item)) => {
                    if item.is_err() {
                        this.failed.insert(*number, active.rest());
                    }
                    this.turn.1 += 1;
                    if this.turn.1 >= TURN {
                        this.turn = (at + 1, 0);
                    }
                    return Poll::Ready(Some(item));
                }
                Poll::Ready(None) => {
                    this.active.remove(at);
                    this.turn = (at, 0);
                    pending = 0;
                }
                Poll::Pending => {
                    pending += 1;
                    this.turn = (at + 1, 0);
                    if this.shared.ordered || pending >= this.active.len() {
                        return Poll::Pending;
                    }
                }
            }
        }
    }
}
