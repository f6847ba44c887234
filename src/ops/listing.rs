//! What all listings share: directories listed side by side, each one page ahead of what was taken.

use std::cmp::Ordering;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _};
use tokio_util::task::AbortOnDropHandle;

use crate::address::{Address, Directory, Location};
use crate::blocking::joined;
use crate::error::{Error, ErrorKind, Result};
use crate::object::S3Object;
use crate::s3::S3;
use crate::store::{ListPage, ListQuery, ListedObject};

/// What is listed of a directory, and for which operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Recursive,
    NextLevel,
    /// As `Recursive`, and before it the object of exactly the directory's name, if there is one.
    RecursiveWithNamesake,
}

impl Mode {
    fn operation(self) -> &'static str {
        match self {
            Self::Recursive => "list_recursive",
            Self::NextLevel => "list_paths",
            Self::RecursiveWithNamesake => "get_recursive",
        }
    }
}

/// Lists so many directories at a time; `ordered`, one after the other.
pub(super) fn list(
    s3: S3,
    mode: Mode,
    prefixes: BoxStream<'static, Result<(usize, String)>>,
    concurrency: usize,
    ordered: bool,
) -> BoxStream<'static, Result<S3Object>> {
    let listings = prefixes.map(move |prefix| {
        match prefix.and_then(|(index, prefix)| Listing::start(s3.clone(), mode, index, &prefix)) {
            Ok(listing) => listing.boxed(),
            Err(error) => futures::stream::iter([Err(error)]).boxed(),
        }
    });
    if ordered {
        // The listings behind the first are begun, so that their first pages are there when it ends.
        listings.map(std::future::ready).buffered(concurrency).flatten().boxed()
    } else {
        listings.flatten_unordered(concurrency).boxed()
    }
}

/// The order of an awaited listing. Directory buckets list in an order of their own.
pub(super) fn in_byte_order(one: &S3Object, other: &S3Object) -> Ordering {
    let (one_place, other_place) = (&one.address().location, &other.address().location);
    (one.index(), one_place).cmp(&(other.index(), other_place))
}

/// The listing of one directory: the page that is being taken, and the next one on its way.
struct Listing {
    s3: S3,
    mode: Mode,
    index: usize,
    directory: Arc<Directory>,
    page: std::vec::IntoIter<Entry>,
    namesake: Option<Request>,
    next: Option<Request>,
}

type Request = AbortOnDropHandle<Result<Page>>;

struct Page {
    entries: Vec<Entry>,
    next: Option<String>,
}

enum Entry {
    Namesake(Location, ListedObject),
    Object(ListedObject),
    Prefix(String),
}

impl Entry {
    fn key(&self) -> &str {
        match self {
            Self::Namesake(_, object) | Self::Object(object) => &object.key,
            Self::Prefix(prefix) => prefix,
        }
    }
}

impl Listing {
    fn start(s3: S3, mode: Mode, index: usize, prefix: &str) -> Result<Self> {
        let directory = s3.root().directory(prefix).map_err(|invalid| {
            let error = Error::new(ErrorKind::InvalidUrl, invalid.0);
            error.with_operation(mode.operation(), None).with_index(index)
        })?;
        let directory = Arc::new(directory);
        let namesake = match &directory.namesake {
            Some(location) if mode == Mode::RecursiveWithNamesake => {
                Some(AbortOnDropHandle::new(tokio::spawn(find_namesake(s3.clone(), mode, location.clone()))))
            }
            _ => None,
        };
        let mut listing = Self { s3, mode, index, directory, page: Vec::new().into_iter(), namesake, next: None };
        listing.request(None);
        Ok(listing)
    }

    fn request(&mut self, token: Option<String>) {
        let page = next_page(self.s3.clone(), self.mode, Arc::clone(&self.directory), token);
        self.next = Some(AbortOnDropHandle::new(tokio::spawn(page)));
    }

    fn object(&self, entry: Entry) -> S3Object {
        match entry {
            Entry::Namesake(location, object) => S3Object::listed(self.index, Address::whole(location), object),
            Entry::Object(object) => S3Object::listed(self.index, self.directory.address(&object.key), object),
            Entry::Prefix(prefix) => S3Object::missing(self.index, self.directory.address(&prefix)),
        }
    }
}

impl Stream for Listing {
    type Item = Result<S3Object>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some(entry) = this.page.next() {
                return Poll::Ready(Some(Ok(this.object(entry))));
            }
            let request = if this.namesake.is_some() { &mut this.namesake } else { &mut this.next };
            let Some(pending) = request else { return Poll::Ready(None) };
            let page = ready!(Pin::new(pending).poll(cx)).unwrap_or_else(|error| Err(joined(error)));
            *request = None;
            match page {
                Ok(Page { entries, next }) => {
                    this.page = entries.into_iter();
                    if next.is_some() {
                        this.request(next);
                    }
                }
                Err(error) => {
                    this.next = None;
                    return Poll::Ready(Some(Err(error.with_index(this.index))));
                }
            }
        }
    }
}

async fn next_page(s3: S3, mode: Mode, directory: Arc<Directory>, token: Option<String>) -> Result<Page> {
    let query = ListQuery { prefix: &directory.prefix, next_level: mode == Mode::NextLevel, ..ListQuery::default() };
    let page = fetch(&s3, &directory.bucket, query, token.as_deref()).await;
    let ListPage { objects, prefixes, next } =
        page.map_err(|error| error.with_operation(mode.operation(), Some(directory.url.to_string())))?;
    let mut entries: Vec<Entry> = objects.into_iter().map(Entry::Object).collect();
    if !prefixes.is_empty() {
        entries.extend(prefixes.into_iter().map(Entry::Prefix));
        entries.sort_by(|one, other| one.key().cmp(other.key()));
    }
    Ok(Page { entries, next })
}

/// The object at `location`, if there is one. In byte order it is the first of those that begin with its key, so that a
/// listing finds it: a HEAD would need to be allowed for objects outside of the directory, and tells less of a denied one.
async fn find_namesake(s3: S3, mode: Mode, location: Location) -> Result<Page> {
    let query = ListQuery { prefix: location.key(), next_level: false, max_keys: Some(1) };
    let page = fetch(&s3, location.bucket(), query, None).await;
    let ListPage { objects, .. } =
        page.map_err(|error| error.with_operation(mode.operation(), Some(location.url())))?;
    let found = objects.into_iter().find(|object| object.key == location.key());
    let entries = found.map(|object| Entry::Namesake(location, object)).into_iter().collect();
    Ok(Page { entries, next: None })
}

async fn fetch(s3: &S3, bucket: &str, query: ListQuery<'_>, token: Option<&str>) -> Result<ListPage> {
    let page = s3.engine().request(|store| store.list(bucket, query, token));
    s3.scope().unless_closed(page).await
}
