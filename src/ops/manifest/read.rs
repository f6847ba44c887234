//! `read_manifest`.

use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::{Stream, TryStreamExt as _};
use serde::de::DeserializeOwned;

use super::lines::{Lines, TooLong};
use crate::error::{Error, ErrorKind, Result};
use crate::object::S3Object;
use crate::observe::Report;
use crate::ops::many::progress;
use crate::ops::{Get, GetStream, Operation};
use crate::request::S3GetObject;
use crate::s3::S3;

const OPERATION: &str = "read_manifest";

/// Of what serde says, so many characters are told: it may show a whole value.
const MAX_PROBLEM: usize = 300;

/// What some editors and shells put before a text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The lines of a manifest, each as a `T`: a stream of them as they come, or awaited, a `Vec`. Made by [`S3::read_manifest`].
///
/// A manifest is an object of JSON lines in UTF-8, one value on each, as `jq -c` writes them and many tools read them. A line ends
/// with a line feed, with or without a carriage return before it; the last one may lack it. Lines without anything but white space
/// are left out, and so is a byte order mark at the beginning. A line has up to 8 MiB. A field that `T` does not know is up to `T`:
/// [`ManifestEntry`](crate::ManifestEntry) leaves it out, the requests refuse it.
///
/// The bytes are read as a [`GetStream`] reads them: resumed, pinned to one version, compared with the object's checksum. In memory
/// are what that reads ahead, up to 40 MiB, and one line.
///
/// # Errors
///
/// An error is the last item: nobody works on with a manifest that is damaged. A line that is not a `T`, or is too long, is
/// [`InvalidObject`](ErrorKind::InvalidObject), and tells the URL, the number of the line from 1, the column, and the field. The others
/// are those of a [`GetStream`], so that a manifest that is missing is [`NotFound`](ErrorKind::NotFound), and one that was replaced
/// meanwhile [`Changed`](ErrorKind::Changed). One that is given with a range is [`InvalidRange`](ErrorKind::InvalidRange).
///
/// The lines before the one with the error have been given out: what a [`delete_from`](S3::delete_from) made of them is deleted.
/// To work on none of a manifest that is damaged anywhere, read it through first, and then the same version again:
///
/// ```
/// # async fn example(s3: s3flow::S3) -> s3flow::Result<()> {
/// use futures::TryStreamExt;
/// use s3flow::S3GetObject;
///
/// let mut check = s3.read_manifest::<S3GetObject>("old.jsonl");
/// let etag = check.object().await?.etag().unwrap_or_default().to_owned();
/// while check.try_next().await?.is_some() {}
///
/// let whole = S3GetObject::new("old.jsonl").if_match(etag);
/// let deleted = s3.delete_from(s3.read_manifest::<S3GetObject>(whole));
/// deleted.try_for_each(|_| async { Ok(()) }).await?;
/// # Ok(())
/// # }
/// ```
///
/// # Cancel safety
///
/// Safe to poll in a `select!`. Dropping the stream ends its requests.
#[must_use = "a read_manifest does nothing unless it is polled or awaited"]
pub struct ReadManifest<T> {
    s3: S3,
    source: GetStream,
    lines: Lines,
    state: State,
    line: PhantomData<fn() -> T>,
}

enum State {
    Reading,
    /// All bytes have come.
    Last,
    Ended,
}

impl<T> ReadManifest<T> {
    pub(crate) fn new(s3: S3, manifest: S3GetObject) -> Self {
        let is_ranged = manifest.is_ranged();
        let mut source = Get::new(s3.clone(), manifest).stream();
        if is_ranged {
            source.refuse(Error::new(ErrorKind::InvalidRange, "a manifest is read whole"));
        }
        Self { s3, source, lines: Lines::default(), state: State::Reading, line: PhantomData }
    }

    /// Waits for the beginning of the answer, which tells what the manifest is: its size, its ETag, its date. Awaited again, the
    /// same.
    ///
    /// # Errors
    ///
    /// Those of the stream, which has ended then.
    ///
    /// # Cancel safety
    ///
    /// Safe; nothing that has come is lost.
    pub async fn object(&mut self) -> Result<&S3Object> {
        match self.source.object().await {
            Ok(object) => Ok(object),
            Err(error) => {
                self.state = State::Ended;
                Err(named(error))
            }
        }
    }

    progress!();

    /// What it took so far: requests, and for what it waited; `None` before it was polled.
    #[must_use]
    pub fn report(&self) -> Option<Report> {
        self.source.report()
    }

    /// The bytes of the next line that there is.
    fn poll_line(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        loop {
            let line = match self.state {
                State::Reading => self.lines.next(),
                State::Last => {
                    self.state = State::Ended;
                    Ok(self.lines.last())
                }
                State::Ended => return Poll::Ready(None),
            };
            match line {
                Ok(Some(line)) => return Poll::Ready(Some(Ok(line))),
                Err(TooLong) => {
                    let problem = format!("line {} is longer than 8 MiB", self.lines.number());
                    return Poll::Ready(Some(Err(self.invalid(problem))));
                }
                Ok(None) => {}
            }
            if let State::Reading = self.state {
                match ready!(Pin::new(&mut self.source).poll_next(cx)) {
                    Some(Ok(chunk)) => self.lines.add(chunk),
                    Some(Err(error)) => return Poll::Ready(Some(Err(named(error)))),
                    None => self.state = State::Last,
                }
            }
        }
    }

    fn invalid(&self, problem: String) -> Error {
        Error::new(ErrorKind::InvalidObject, problem).with_operation(OPERATION, self.source.url())
    }
}

impl<T: DeserializeOwned> ReadManifest<T> {
    /// `None` of a line without anything on it.
    fn parse(&self, line: &[u8]) -> Result<Option<T>> {
        let line = match line.strip_prefix(BYTE_ORDER_MARK) {
            Some(line) if self.lines.number() == 1 => line,
            _ => line,
        };
        if line.iter().all(u8::is_ascii_whitespace) {
            return Ok(None);
        }
        serde_json::from_slice(line).map(Some).map_err(|error| {
            let told = error.to_string();
            // Of the line alone, serde counts this as its first one.
            let problem = told.rsplit_once(" at line ").map_or(told.as_str(), |(problem, _)| problem);
            let shown: String = problem.chars().take(MAX_PROBLEM).collect();
            let cut = if shown.len() < problem.len() { "…" } else { "" };
            let place = match error.column() {
                // What a `T` finds wrong when it has been read.
                0 => format!("line {}", self.lines.number()),
                column => format!("line {}, column {column}", self.lines.number()),
            };
            self.invalid(format!("{place}: {shown}{cut}")).with_source(error)
        })
    }
}

fn named(error: Error) -> Error {
    let url = error.url().map(str::to_owned);
    error.with_operation(OPERATION, url)
}

impl<T: DeserializeOwned> Stream for ReadManifest<T> {
    type Item = Result<T>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            let line = match ready!(this.poll_line(cx)) {
                Some(line) => line.and_then(|line| this.parse(&line)),
                None => return Poll::Ready(None),
            };
            match line {
                Ok(None) => {}
                Ok(Some(line)) => return Poll::Ready(Some(Ok(line))),
                Err(error) => {
                    this.state = State::Ended;
                    this.source.end();
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
    }
}

impl<T: DeserializeOwned + Send + 'static> IntoFuture for ReadManifest<T> {
    type Output = Result<Vec<T>>;
    type IntoFuture = Operation<Vec<T>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.try_collect())
    }
}

impl<T> fmt::Debug for ReadManifest<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadManifest")
            .field("source", &self.source)
            .field("line", &self.lines.number())
            .finish_non_exhaustive()
    }
}
