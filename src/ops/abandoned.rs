//! `abandoned_uploads` and `abort_upload`.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;

use super::Operation;
use super::many::{Many, collect, fan_out, numbered};
use crate::abandoned::AbandonedUpload;
use crate::address::{Address, Directory};
use crate::blocking::joined;
use crate::error::{Error, ErrorKind, Result};
use crate::observe::Subject;
use crate::s3::S3;
use crate::store::{ListedUpload, UploadMarker, UploadsPage};

const OPERATION: &str = "abandoned_uploads";

/// A question for multipart uploads that nobody finished: a stream of them as pages arrive, or awaited, a `Vec` with the
/// prefixes in the order asked for and for each one the uploads by key and age. Made by [`S3::abandoned_uploads`].
///
/// Up to [`concurrency`](Self::concurrency) prefixes are listed at a time. An error of a listing ends its prefix and is an item;
/// so is one of an abort, and the stream goes on after either.
///
/// The settings are made before the first poll; later ones have no effect.
///
/// # Errors
///
/// [`InvalidUrl`](ErrorKind::InvalidUrl) for a prefix that is no address, without a request; [`NoSuchBucket`](ErrorKind::NoSuchBucket),
/// [`AccessDenied`](ErrorKind::AccessDenied) and those of the network; [`Unsupported`](ErrorKind::Unsupported) when the server
/// does not list uploads, or does not say what time it is. Awaited, the first error, which cancels the rest. A concurrency of 0
/// is one [`Config`](ErrorKind::Config) error without an index.
///
/// # Cancellation
///
/// Dropping the stream, or the future, ends its requests. Whether an upload whose abort was under way is gone is not known then;
/// asking again shows it.
#[must_use = "an abandoned_uploads does nothing unless it is polled or awaited"]
pub struct AbandonedUploads {
    s3: S3,
    older_than: Duration,
    abort: bool,
    many: Many<(usize, String), AbandonedUpload>,
}

impl AbandonedUploads {
    pub(crate) fn new(s3: S3, prefixes: Vec<String>, older_than: Duration) -> Self {
        let many = Many::new(numbered(futures::stream::iter(prefixes).map(Ok)), None);
        Self { s3, older_than, abort: false, many }
    }

    /// Whether each upload is aborted before it is an item, as [`S3::abort_upload`] does it: the items are what is gone then.
    /// Default: false.
    pub fn abort(mut self, abort: bool) -> Self {
        self.abort = abort;
        self
    }

    /// How many prefixes are listed at a time, and how many uploads are being aborted or wait to be taken, at most. Default: the
    /// scope's.
    pub fn concurrency(mut self, uploads: usize) -> Self {
        self.many.set_concurrency(uploads);
        self
    }

    /// Whether the uploads of one prefix come before those of the next, in place of as pages arrive. Default: false.
    pub fn ordered(mut self, ordered: bool) -> Self {
        self.many.set_ordered(ordered);
        self
    }
}

impl Stream for AbandonedUploads {
    type Item = Result<AbandonedUpload>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { s3, older_than, abort, many } = self.get_mut();
        many.poll_by(cx, s3.counters(), s3.concurrency(), |prefixes, concurrency, ordered| {
            let uploads = list(s3.clone(), *older_than, prefixes, concurrency, ordered);
            if !*abort {
                return uploads;
            }
            let uploads = uploads.map_ok(|upload| (upload.index(), upload)).boxed();
            let of_operation = s3.clone();
            fan_out(s3.counters(), uploads, concurrency, ordered, move |_, upload| {
                aborted(of_operation.another_object(), upload)
            })
        })
    }
}

impl IntoFuture for AbandonedUploads {
    type Output = Result<Vec<AbandonedUpload>>;
    type IntoFuture = Operation<Vec<AbandonedUpload>>;

    fn into_future(self) -> Self::IntoFuture {
        collect(self, |one, other| place(one).cmp(&place(other)))
    }
}

fn place(upload: &AbandonedUpload) -> impl Ord + '_ {
    (upload.index(), upload.location(), upload.initiated(), upload.upload_id())
}

impl fmt::Debug for AbandonedUploads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AbandonedUploads")
            .field("s3", &self.s3)
            .field("older_than", &self.older_than)
            .field("abort", &self.abort)
            .finish_non_exhaustive()
    }
}

/// Lists so many prefixes at a time; `ordered`, one after the other.
fn list(
    s3: S3,
    older_than: Duration,
    prefixes: BoxStream<'static, Result<(usize, String)>>,
    concurrency: usize,
    ordered: bool,
) -> BoxStream<'static, Result<AbandonedUpload>> {
    let listings = prefixes.map(move |prefix| {
        match prefix.and_then(|(index, prefix)| Listing::new(s3.clone(), index, &prefix, older_than)) {
            Ok(listing) => listing.into_stream(),
            Err(error) => futures::stream::iter([Err(error)]).boxed(),
        }
    });
    if ordered { listings.flatten().boxed() } else { listings.flatten_unordered(concurrency).boxed() }
}

/// The listing of one prefix.
#[derive(Clone)]
struct Listing {
    s3: S3,
    index: usize,
    directory: Arc<Directory>,
    older_than: Duration,
}

/// Where a listing goes on.
enum Position {
    Start,
    After(UploadMarker),
    End,
}

impl Listing {
    fn new(s3: S3, index: usize, prefix: &str, older_than: Duration) -> Result<Self> {
        match s3.root().directory(prefix) {
            Ok(directory) => Ok(Self { s3, index, directory: Arc::new(directory), older_than }),
            Err(invalid) => {
                Err(Error::new(ErrorKind::InvalidUrl, invalid.0).with_operation(OPERATION, None).with_index(index))
            }
        }
    }

    fn into_stream(self) -> BoxStream<'static, Result<AbandonedUpload>> {
        let pages = futures::stream::try_unfold(Position::Start, move |position| {
            let listing = self.clone();
            async move {
                let marker = match position {
                    Position::Start => None,
                    Position::After(marker) => Some(marker),
                    Position::End => return Ok(None),
                };
                let index = listing.index;
                let page = AbortOnDropHandle::new(tokio::spawn(listing.page(marker).in_current_span())).await;
                let (uploads, next) =
                    page.unwrap_or_else(|error| Err(joined(error))).map_err(|error| error.with_index(index))?;
                let uploads = futures::stream::iter(uploads.into_iter().map(Ok));
                Ok(Some((uploads, next.map_or(Position::End, Position::After))))
            }
        });
        pages.try_flatten().boxed()
    }

    async fn page(self, marker: Option<UploadMarker>) -> Result<(Vec<AbandonedUpload>, Option<UploadMarker>)> {
        let Directory { bucket, prefix, url, namesake } = &*self.directory;
        // One listing has both: what is in the directory, and what has exactly its name.
        let prefix = namesake.as_ref().map_or(prefix.as_str(), |namesake| namesake.key());
        let s3 = self.s3.another_object();
        let page = s3.engine().request(|store| store.list_uploads(bucket, prefix, marker.as_ref()));
        let page = s3.run(Subject { operation: OPERATION, bucket, key: prefix }, page).await;
        let UploadsPage { uploads, next, date } =
            page.map_err(|error| error.with_operation(OPERATION, Some(url.to_string())))?;
        let is_older =
            |upload: &ListedUpload| date.duration_since(upload.initiated).unwrap_or_default() >= self.older_than;
        let uploads = uploads.into_iter().filter(is_older).filter_map(|upload| self.within(upload)).collect();
        Ok((uploads, next))
    }

    /// An upload that is listed; `None` when its key only begins as the name of the directory does.
    fn within(&self, upload: ListedUpload) -> Option<AbandonedUpload> {
        let address = match &self.directory.namesake {
            Some(namesake) if *namesake.key() == upload.key => Address::whole(namesake.clone()),
            _ if upload.key.starts_with(&self.directory.prefix) => self.directory.address(&upload.key),
            _ => return None,
        };
        Some(AbandonedUpload::new(self.index, address, upload))
    }
}

/// The abort of one multipart upload; await it. Made by [`S3::abort_upload`].
///
/// # Errors
///
/// [`NoSuchBucket`](ErrorKind::NoSuchBucket) and [`AccessDenied`](ErrorKind::AccessDenied) come back at once;
/// [`Network`](ErrorKind::Network), [`Timeout`](ErrorKind::Timeout) and [`Throttled`](ErrorKind::Throttled) after the attempts are
/// used up; [`Closed`](ErrorKind::Closed) after [`S3::close`]; and [`Other`](ErrorKind::Other). An upload that is not there any
/// more, because somebody completed or aborted it, is no error.
///
/// # Cancel safety
///
/// Dropping the future ends the request. Whether the upload is aborted is not known then.
#[derive(Debug, Clone)]
#[must_use = "an abort_upload does nothing unless it is awaited"]
pub struct AbortUpload {
    s3: S3,
    upload: AbandonedUpload,
}

impl AbortUpload {
    pub(crate) fn new(s3: S3, upload: AbandonedUpload) -> Self {
        Self { s3, upload }
    }
}

impl IntoFuture for AbortUpload {
    type Output = Result<()>;
    type IntoFuture = Operation<()>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { s3, upload } = self;
        Box::pin(async move { aborted(s3, upload).await.map(drop) })
    }
}

async fn aborted(s3: S3, upload: AbandonedUpload) -> Result<AbandonedUpload> {
    let abort = s3.engine().request(|store| store.abort_listed(upload.location(), upload.upload_id()));
    match s3.change(Subject::object("abort_upload", upload.location()), abort).await {
        Ok(()) => Ok(upload),
        Err(error) => Err(error.with_operation("abort_upload", Some(upload.url().to_owned()))),
    }
}
