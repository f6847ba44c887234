//! `open`: an object to be read here and there.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, SeekFrom};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::Stream as _;
use tokio::io::{AsyncBufRead, AsyncRead, AsyncSeek, ReadBuf};

use super::Operation;
use super::get::Settings;
use super::info::Info;
use super::stream::GetStream;
use crate::encryption::CustomerKey;
use crate::error::{Error, ErrorKind, Result};
use crate::object::S3Object;
use crate::request::S3GetObject;
use crate::s3::S3;

/// What is asked for at a place where reading begins, in bytes.
const WINDOW: u64 = 1024 * 1024;
/// Who reads on where the last request ended is asked for so many times as much, until that is enough to fill a line.
const GROWTH: u64 = 4;
const MOST: u64 = 64 * 1024 * 1024;

/// Opens an object; await it. Made by [`S3::open`].
///
/// # Errors
///
/// Those of [`Info`].
///
/// # Cancel safety
///
/// Safe: nothing is changed.
#[derive(Debug, Clone)]
#[must_use = "an open does nothing unless it is awaited"]
pub struct Open {
    s3: S3,
    object: S3GetObject,
    window: u64,
}

impl Open {
    pub(crate) fn new(s3: S3, object: S3GetObject) -> Self {
        Self { s3, object, window: WINDOW }
    }

    /// How much is asked for where reading begins, and kept of what was read, in bytes. Default: 1 MiB. An object that is no longer is one
    /// request, however it is read. 0 counts as 1.
    pub fn window(mut self, bytes: u64) -> Self {
        self.window = bytes.max(1);
        self
    }

    /// See [`S3GetObject::if_match`].
    pub fn if_match(mut self, etag: impl Into<String>) -> Self {
        self.object = self.object.if_match(etag);
        self
    }

    /// See [`S3GetObject::customer_key`].
    pub fn customer_key(mut self, key: CustomerKey) -> Self {
        self.object = self.object.customer_key(key);
        self
    }
}

impl IntoFuture for Open {
    type Output = Result<ObjectReader>;
    type IntoFuture = Operation<ObjectReader>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let Self { s3, object, window } = self;
            let found = Info::new(s3.clone(), object.clone()).await.map_err(|error| {
                let url = error.url().map(str::to_owned);
                error.with_operation("open", url)
            })?;
            let wanted = match found.etag() {
                Some(etag) => object.if_match(etag),
                None => object,
            };
            let size = found.size().unwrap_or(0);
            let reader = ObjectReader {
                s3,
                wanted,
                object: found,
                size,
                window,
                position: 0,
                kept: VecDeque::new(),
                kept_len: 0,
                coming: None,
                asked: window,
            };
            Ok(reader)
        })
    }
}

/// An object to be read here and there, as a file: [`AsyncRead`], [`AsyncBufRead`] and [`AsyncSeek`]. Made by [`S3::open`].
///
/// All that is read is of the version that was opened. A read where nothing is there yet asks for a
/// [window](Open::window) from there on (in the last window of the object, for all of that, where formats as Parquet and zip have their
/// directories); reading on asks for four times as much each time, up to 64 MiB at once, of which parts are fetched ahead as
/// a [`GetStream`] does. A read into a buffer with room for more than that asks for as much as there is room for: a column of Parquet is
/// one request up to 16 MiB, and else one for each of its parts. What was read last stays, as much as a window, so that small steps
/// back cost nothing. Seeking sends nothing.
///
/// Ranges of an object are not compared with its checksum, which is of the whole: for that there is
/// [`Get::stream`](super::Get::stream).
///
/// # Errors
///
/// An [`io::Error`] with the [`Error`] inside, where [`get_ref`](io::Error::get_ref) finds it. After one, the next read asks
/// anew. [`ErrorKind::Changed`] when the object was replaced since it was opened; to go on, open it again.
///
/// # Cancel safety
///
/// Safe: a read that is dropped has taken nothing. Dropping the reader ends its requests.
pub struct ObjectReader {
    s3: S3,
    /// Pinned to the version that was opened.
    wanted: S3GetObject,
    object: S3Object,
    size: u64,
    window: u64,
    position: u64,
    /// Neighbours of what was read last, with where they begin, in the order in which they came.
    kept: VecDeque<(u64, Bytes)>,
    kept_len: u64,
    coming: Option<Coming>,
    /// How much the last request asked for.
    asked: u64,
}

/// Bytes on their way.
struct Coming {
    stream: GetStream,
    next: u64,
    end: u64,
}

impl ObjectReader {
    /// What was opened: its size, type and metadata. It has no file.
    #[must_use]
    pub fn object(&self) -> &S3Object {
        &self.object
    }

    /// Where the next read begins, in bytes.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Of what is kept, that which begins at the position, with where it lies.
    fn at_position(&self) -> Option<(usize, usize)> {
        let covers = |(start, bytes): &(u64, Bytes)| (*start..*start + bytes.len() as u64).contains(&self.position);
        // The newest is the likeliest.
        let index = self.kept.iter().rposition(covers)?;
        Some((index, (self.position - self.kept[index].0) as usize))
    }

    fn keep(&mut self, start: u64, bytes: Bytes) {
        self.kept_len += bytes.len() as u64;
        self.kept.push_back((start, bytes));
        while self.kept.len() > 1
            && let Some(oldest) = self.kept.front().map(|(_, bytes)| bytes.len() as u64)
            && self.kept_len - oldest >= self.window
        {
            self.kept.pop_front();
            self.kept_len -= oldest;
        }
    }

    /// The bytes from the position on that are at hand. `room` is how many are wanted.
    fn poll_bytes(&mut self, room: u64, cx: &mut Context<'_>) -> Poll<Result<Option<(usize, usize)>>> {
        loop {
            if self.position >= self.size {
                return Poll::Ready(Ok(None));
            }
            if let Some(found) = self.at_position() {
                return Poll::Ready(Ok(Some(found)));
            }
            // What lies before the position is read over, if it is no more than would be asked for.
            let near = |coming: &Coming| {
                (coming.next..coming.end.min(coming.next.saturating_add(self.window))).contains(&self.position)
            };
            let coming = match self.coming.take().filter(near) {
                Some(coming) => self.coming.insert(coming),
                None => {
                    let (start, end) = self.next_range(room);
                    let wanted = self.wanted.clone().offset(start).length((end - start) as i64);
                    let stream = GetStream::new(self.s3.another_object(), wanted, Settings::default());
                    self.coming.insert(Coming { stream, next: start, end })
                }
            };
            match ready!(Pin::new(&mut coming.stream).poll_next(cx)) {
                Some(Ok(bytes)) => {
                    let start = coming.next;
                    coming.next += bytes.len() as u64;
                    if coming.next >= coming.end {
                        self.coming = None;
                    }
                    self.keep(start, bytes);
                }
                failed => {
                    self.coming = None;
                    let early = || Error::new(ErrorKind::Other, "the range ended early");
                    return Poll::Ready(Err(failed.and_then(Result::err).unwrap_or_else(early)));
                }
            }
        }
    }

    /// What to ask for, when the position is not among what is there.
    fn next_range(&mut self, room: u64) -> (u64, u64) {
        let reads_on = self.kept.back().is_some_and(|(start, bytes)| start + bytes.len() as u64 == self.position);
        self.asked = if reads_on { self.asked.saturating_mul(GROWTH).min(MOST.max(self.window)) } else { self.window };
        let tail = self.size.saturating_sub(self.window);
        let start = if reads_on { self.position } else { self.position.min(tail) };
        let end = start.saturating_add(self.asked).max(self.position.saturating_add(room));
        (start, self.size.min(end))
    }
}

impl AsyncBufRead for ObjectReader {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        Poll::Ready(Ok(match ready!(this.poll_bytes(0, cx))? {
            Some((index, offset)) => &this.kept[index].1[offset..],
            None => &[],
        }))
    }

    fn consume(self: Pin<&mut Self>, amount: usize) {
        self.get_mut().position += amount as u64;
    }
}

impl AsyncRead for ObjectReader {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let this = self.get_mut();
        if let Some((index, offset)) = ready!(this.poll_bytes(buf.remaining() as u64, cx))? {
            let bytes = &this.kept[index].1[offset..];
            let taken = bytes.len().min(buf.remaining());
            buf.put_slice(&bytes[..taken]);
            this.position += taken as u64;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncSeek for ObjectReader {
    fn start_seek(self: Pin<&mut Self>, position: SeekFrom) -> io::Result<()> {
        let this = self.get_mut();
        let (from, offset) = match position {
            SeekFrom::Start(position) => (position, 0),
            SeekFrom::End(offset) => (this.size, offset),
            SeekFrom::Current(offset) => (this.position, offset),
        };
        this.position = from.checked_add_signed(offset).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                "a position before the first byte, or after the last that there can be",
            )
        })?;
        Ok(())
    }

    fn poll_complete(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<u64>> {
        Poll::Ready(Ok(self.position))
    }
}

impl fmt::Debug for ObjectReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectReader")
            .field("object", &self.object)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}
