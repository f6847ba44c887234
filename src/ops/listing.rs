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
    advance: Advance,
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

/// Whether pages lead anywhere: a server may answer with others for ever.
#[derive(Debug, Default)]
struct Advance {
    /// A token of before, and how many pages ago. It is renewed after 1, 2, 4, 8, … pages: in a circle of any length, one of them
    /// comes again. (R. P. Brent, An improved Monte Carlo factorization algorithm, 1980.)
    token: String,
    pages: u64,
    until: u64,
    empty: u32,
}

/// More pages without a key in a row are of no listing: S3 looks at a thousand keys for each, those that were deleted too.
const MOST_EMPTY: u32 = 100_000;

impl Advance {
    /// A page, on which the next one depends that has this token.
    fn to(&mut self, token: &str, is_empty: bool) -> Result<(), String> {
        self.empty = if is_empty { self.empty + 1 } else { 0 };
        if self.empty > MOST_EMPTY {
            return Err(format!("a listing of {MOST_EMPTY} pages without a key"));
        }
        if self.until > 0 && self.token == token {
            return Err("a listing whose continuation tokens lead in a circle".to_owned());
        }
        self.pages += 1;
        if self.pages > self.until {
            (self.token, self.pages, self.until) = (token.to_owned(), 0, (2 * self.until).max(1));
        }
        Ok(())
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
        let (page, advance) = (Vec::new().into_iter(), Advance::default());
        let mut listing = Self { s3, mode, index, directory, page, namesake, next: None, advance };
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
                    if let Some(token) = &next
                        && let Err(problem) = this.advance.to(token, entries.is_empty())
                    {
                        let error = Error::new(ErrorKind::Unsupported, problem);
                        let url = Some(this.directory.url.to_string());
                        return Poll::Ready(Some(Err(error
                            .with_operation(this.mode.operation(), url)
                            .with_index(this.index))));
                    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_that_lead_in_a_circle_are_found_out_however_long_it_is() {
        for (before, circle) in [(0, 1), (0, 2), (5, 3), (1000, 1), (7, 1000)] {
            let mut advance = Advance::default();
            let tokens = (0..before).map(|number| format!("before {number}"));
            let mut tokens = tokens.chain((0..circle).cycle().map(|number: u32| number.to_string()));
            let found = (0..10_000).find(|_| advance.to(&tokens.next().unwrap(), false).is_err());
            assert!(
                found.is_some_and(|pages| pages <= 4 * (before + circle as usize) + 4),
                "{before}, {circle}: {found:?}"
            );
        }
        let mut advance = Advance::default();
        (0..1_000_000).for_each(|number| advance.to(&number.to_string(), false).unwrap());
    }

    #[test]
    fn pages_without_keys_end() {
        let mut advance = Advance::default();
        let mut page = |number: u32, is_empty| advance.to(&number.to_string(), is_empty);
        (0..MOST_EMPTY).for_each(|number| page(number, true).unwrap());
        page(MOST_EMPTY, false).unwrap();
        (0..MOST_EMPTY).for_each(|number| page(MOST_EMPTY + 1 + number, true).unwrap());
        assert!(page(3 * MOST_EMPTY, true).unwrap_err().contains("without a key"));
    }
}
