//! An object without a file: `Get::stream`, `Get::reader`, `Get::bytes`.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use futures::stream::{Map, StreamExt as _};
use futures::{FutureExt as _, Stream, TryStreamExt as _};
use tokio::io::{AsyncBufRead, AsyncRead, ReadBuf};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Sleep;
use tokio_util::io::StreamReader;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;

use super::Operation;
use super::get::{Get, Settings};
use crate::address::Address;
use crate::blocking::joined;
use crate::checksum::Verified;
use crate::error::{Error, ErrorKind, Result};
use crate::object::{RangeInfo, S3Object};
use crate::observe::{Report, Running, Subject};
use crate::request::S3GetObject;
use crate::s3::S3;
use crate::transfer::{self, Opened, Outlet};

/// Of [`Get::bytes`], no more is made room for before it comes: what a server says of the length is not yet an object.
const TRUSTED: u64 = 64 * 1024 * 1024;

/// The bytes of one object as they come, without a file. Made by [`Get::stream`].
///
/// Nothing is sent before the first poll, or before [`object`](Self::object) is awaited. A connection that breaks off is
/// resumed from the byte reached, pinned to the version that was begun.
///
/// Chunks are as the network brings them, of up to some 400 KiB. Of an object over 16 MiB, up to four parts of 8 MiB are fetched
/// into memory ahead of the reader, once it has read 1 MiB, and only as far as [`Limits::memory_bytes`](crate::Limits) allows: at
/// most an eighth of it is for what is read ahead. They are on their way also while nobody polls. A reader may take any time; a
/// request that waits for it has no place among [`Limits::requests_in_flight`](crate::Limits).
///
/// # Errors
///
/// An error is the last item. They are those of [`Get`], but for those of files. The bytes are compared with the object's checksum as they
/// go by, and the last chunk is held back until that is done: an [`Integrity`](ErrorKind::Integrity) comes in its place, so that nobody
/// has all bytes of a damaged object. What was made of the others must be undone then.
/// Without a strong ETag nothing is resumed.
///
/// # Cancel safety
///
/// Safe to poll in a `select!`. Dropping the stream ends its requests.
#[must_use = "a stream does nothing unless it is polled"]
pub struct GetStream {
    s3: S3,
    asked: Asked,
    /// Of the operation's timeout, until the answer begins.
    patience: Option<Pin<Box<Sleep>>>,
    /// `None` once it has been heard.
    opened: Option<oneshot::Receiver<Opened>>,
    chunks: mpsc::Receiver<Bytes>,
    reading: Reading,
    object: Option<S3Object>,
    /// Bytes in all, once that is known.
    length: Option<u64>,
    verified: Option<Verified>,
    /// Of an operation of its own, until it has ended.
    running: Option<Running>,
}

/// What was asked for.
struct Asked {
    /// `None`, when it is no address: the reading has the error.
    address: Option<Address>,
    settings: Settings,
}

/// Who goes on with it.
enum Reading {
    Here(Operation<Option<Verified>>),
    /// Parts are read ahead.
    Spawned(AbortOnDropHandle<Result<Option<Verified>>>),
    /// `None` once it has been told.
    Failed(Option<Error>),
    Ended,
}

impl GetStream {
    pub(crate) fn new(s3: S3, object: S3GetObject, settings: Settings) -> Self {
        let (opened_sender, opened) = oneshot::channel();
        let (chunk_sender, chunks) = mpsc::channel(1);
        let outlet = Outlet { opened: opened_sender, chunks: chunk_sender };
        let (address, reading) = match object.address(s3.root()) {
            Ok(address) => {
                let reading = read(s3.clone(), address.clone(), object, outlet);
                (Some(address), Reading::Here(Box::pin(reading)))
            }
            Err(error) => (None, Reading::Failed(Some(error.with_operation("get", None)))),
        };
        let asked = Asked { address, settings };
        Self {
            s3,
            asked,
            patience: None,
            opened: Some(opened),
            chunks,
            reading,
            object: None,
            length: None,
            verified: None,
            running: None,
        }
    }

    /// As the whole of an operation, whose progress it tells.
    fn on_its_own(mut self) -> Self {
        self.running = Some(self.s3.counters().begin(Some(1)));
        self
    }

    /// Waits for the beginning of the answer, which tells what the object is: its size, type, metadata, and which range of it will
    /// come. It has no file. Awaited again, the same.
    ///
    /// # Errors
    ///
    /// Those of the stream, which has ended then. With [`Get::return_missing`], a missing key is an object whose
    /// [`exists`](S3Object::exists) is false, and the stream is empty.
    ///
    /// # Cancel safety
    ///
    /// Safe; nothing that has come is lost.
    pub async fn object(&mut self) -> Result<&S3Object> {
        poll_fn(|cx| self.poll_object(cx)).await?;
        // What was ready is there.
        self.object.as_ref().ok_or_else(|| Error::new(ErrorKind::Other, "the stream has ended with an error"))
    }

    /// What all bytes were compared with; `None` before the end of the stream, and when there was nothing to compare with.
    #[must_use]
    pub fn verified(&self) -> Option<Verified> {
        self.verified
    }

    /// What it took so far: requests, and for what it waited; `None` before it was polled.
    #[must_use]
    pub fn report(&self) -> Option<Report> {
        Some(self.s3.reported().report()?).filter(|report| report.requests > 0)
    }

    /// In place of the bytes, there is this error.
    pub(super) fn refuse(&mut self, error: Error) {
        self.reading = Reading::Failed(Some(error.with_operation("get", self.url())));
    }

    /// Lets go of what was not taken.
    pub(super) fn end(&mut self) {
        self.reading = Reading::Ended;
        self.chunks.close();
        self.running = None;
    }

    pub(super) fn url(&self) -> Option<String> {
        self.asked.address.as_ref().map(|address| address.location.url())
    }

    #[cfg(feature = "serve")]
    pub(crate) fn length(&self) -> Option<u64> {
        self.length
    }

    fn poll_object(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        while self.object.is_none() {
            match ready!(self.poll_reading(cx)) {
                Ok(()) if self.object.is_none() && matches!(self.reading, Reading::Ended) => break,
                Ok(()) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Goes on; ready when the answer has just begun, or all is over.
    fn poll_reading(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if let (None, Reading::Here(_), Some(limit)) = (&self.object, &self.reading, self.s3.timeout()) {
            let patience = self.patience.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
            if patience.as_mut().poll(cx).is_ready() {
                self.reading = Reading::Ended;
                return Poll::Ready(Err(self.s3.timed_out().with_operation("get", self.url())));
            }
        }
        let polled = match &mut self.reading {
            Reading::Here(reading) => reading.poll_unpin(cx),
            Reading::Spawned(task) => task.poll_unpin(cx).map(|ended| ended.unwrap_or_else(|error| Err(joined(error)))),
            Reading::Ended => Poll::Ready(Ok(self.verified)),
            Reading::Failed(error) => Poll::Ready(error.take().map_or(Ok(None), Err)),
        };
        let heard = self.hear(cx, polled.is_pending());
        match polled {
            Poll::Pending if heard => Poll::Ready(Ok(())),
            Poll::Pending => Poll::Pending,
            Poll::Ready(ended) => {
                self.reading = Reading::Ended;
                if let Some(running) = self.running.take() {
                    running.count(ended.is_ok());
                }
                match ended {
                    Ok(verified) => self.verified = verified,
                    Err(error) if error.is_not_found() && self.asked.settings.return_missing => {
                        self.object = self.asked.address.clone().map(|address| S3Object::missing(0, address));
                    }
                    Err(error) => return Poll::Ready(Err(error)),
                }
                Poll::Ready(Ok(()))
            }
        }
    }

    /// Looks whether the answer has begun; whether it just has.
    fn hear(&mut self, cx: &mut Context<'_>, goes_on: bool) -> bool {
        let Some(Poll::Ready(opened)) = self.opened.as_mut().map(|opened| opened.poll_unpin(cx)) else { return false };
        self.opened = None;
        // Where there is none, the reading ends with an error.
        let Ok(opened) = opened else { return false };
        let is_long = opened.is_long();
        let Opened { head, window } = opened;
        let range = RangeInfo::new(head.size, window.start, window.end - window.start);
        self.length = Some(range.request_length);
        let range = Some(range).filter(|_| self.asked.settings.return_info);
        self.object = self.asked.address.clone().map(|address| S3Object::found(0, address, head, range, None, None));
        self.reading = match std::mem::replace(&mut self.reading, Reading::Ended) {
            Reading::Here(reading) if is_long && goes_on => {
                Reading::Spawned(AbortOnDropHandle::new(tokio::spawn(reading.in_current_span())))
            }
            other => other,
        };
        true
    }
}

async fn read(s3: S3, address: Address, object: S3GetObject, outlet: Outlet) -> Result<Option<Verified>> {
    let reading = async {
        let options = object.read_options(s3.encryption())?;
        transfer::read(s3.engine(), &address.location, options, outlet).await
    };
    // The operation's timeout is up to who waits for the beginning of the answer.
    let read = s3.run_untimed(Subject::object("get", &address.location), reading).await;
    read.map_err(|error| error.with_operation("get", Some(address.location.url())))
}

impl Stream for GetStream {
    type Item = Result<Bytes>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        let this = self.get_mut();
        loop {
            if let Poll::Ready(Some(chunk)) = this.chunks.poll_recv(cx) {
                return Poll::Ready(Some(Ok(chunk)));
            }
            if matches!(this.reading, Reading::Ended) {
                return Poll::Ready(None);
            }
            let gone_on = this.poll_reading(cx);
            if let Poll::Ready(Some(chunk)) = this.chunks.poll_recv(cx) {
                // What it ended with comes behind it.
                if let Poll::Ready(Err(error)) = gone_on {
                    this.reading = Reading::Failed(Some(error));
                }
                return Poll::Ready(Some(Ok(chunk)));
            }
            ready!(gone_on)?;
        }
    }
}

impl fmt::Debug for GetStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GetStream").field("s3", &self.s3).field("object", &self.object).finish_non_exhaustive()
    }
}

type AsIo = Map<GetStream, fn(Result<Bytes>) -> io::Result<Bytes>>;

/// The bytes of one object as they come, to be read. Made by [`Get::reader`].
///
/// Otherwise the same as [`GetStream`]. An error is an [`io::Error`] with the [`Error`] inside, where
/// [`get_ref`](io::Error::get_ref) finds it.
#[must_use = "a reader does nothing unless it is read"]
pub struct GetReader(StreamReader<AsIo, Bytes>);

impl GetReader {
    pub(super) fn new(stream: GetStream) -> Self {
        let as_io: fn(Result<Bytes>) -> io::Result<Bytes> = |chunk| chunk.map_err(io::Error::from);
        Self(StreamReader::new(stream.map(as_io)))
    }

    /// See [`GetStream::object`].
    ///
    /// # Errors
    ///
    /// Those of the stream, which has ended then.
    pub async fn object(&mut self) -> Result<&S3Object> {
        self.0.get_mut().get_mut().object().await
    }

    /// See [`GetStream::report`].
    #[must_use]
    pub fn report(&self) -> Option<Report> {
        self.0.get_ref().get_ref().report()
    }

    /// See [`GetStream::verified`].
    #[must_use]
    pub fn verified(&self) -> Option<Verified> {
        self.0.get_ref().get_ref().verified()
    }
}

impl AsyncRead for GetReader {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_read(cx, buf)
    }
}

impl AsyncBufRead for GetReader {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        Pin::new(&mut self.get_mut().0).poll_fill_buf(cx)
    }

    fn consume(self: Pin<&mut Self>, amount: usize) {
        Pin::new(&mut self.get_mut().0).consume(amount);
    }
}

impl fmt::Debug for GetReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GetReader").finish_non_exhaustive()
    }
}

impl Get {
    /// The bytes as they come, without a file.
    ///
    /// ```
    /// # async fn example(s3: s3flow::S3) -> s3flow::Result<()> {
    /// use futures::TryStreamExt;
    ///
    /// let mut stream = s3.get("video.mp4").stream();
    /// println!("{:?}", stream.object().await?.content_type());
    /// while let Some(chunk) = stream.try_next().await? {
    ///     println!("{} bytes", chunk.len());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn stream(self) -> GetStream {
        let checked = self.check_without_file();
        let (s3, object, settings) = self.into_parts();
        let mut stream = GetStream::new(s3, object, settings);
        if let Err(error) = checked {
            stream.refuse(error);
        }
        stream.on_its_own()
    }

    /// The bytes as they come, without a file, as an [`AsyncRead`] and [`AsyncBufRead`].
    ///
    /// ```
    /// # async fn example(s3: s3flow::S3) -> Result<(), Box<dyn std::error::Error>> {
    /// use tokio::io::AsyncBufReadExt;
    ///
    /// let mut lines = s3.get("log.txt").reader().lines();
    /// while let Some(line) = lines.next_line().await? {
    ///     println!("{line}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn reader(self) -> GetReader {
        GetReader::new(self.stream())
    }

    /// All bytes in memory, without a file. They are compared with the object's checksum before they are given out, and fetched
    /// anew when they do not fit, as [`ClientBuilder::redownloads`](crate::ClientBuilder::redownloads) has it. They do not count for
    /// [`Limits::memory_bytes`](crate::Limits): what is too large for memory is for [`stream`](Self::stream).
    ///
    /// ```
    /// # async fn example(s3: s3flow::S3) -> s3flow::Result<()> {
    /// let page = s3.get("index.html").bytes().await?;
    /// println!("{}", String::from_utf8_lossy(&page));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`Get`], but for those of files; of a missing key also with [`return_missing`](Self::return_missing), for no bytes are
    /// not an object without any.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the request.
    pub async fn bytes(self) -> Result<Bytes> {
        self.check_without_file()?;
        let (s3, object, settings) = self.return_missing(false).into_parts();
        let running = s3.counters().begin(Some(1));
        let mut left = s3.engine().integrity.redownloads;
        loop {
            match collect(GetStream::new(s3.clone(), object.clone(), settings)).await {
                Err(error) if error.kind() == ErrorKind::Integrity && left > 0 => {
                    left -= 1;
                    tracing::warn!(%error, "downloading anew");
                }
                done => {
                    running.count(done.is_ok());
                    return done;
                }
            }
        }
    }
}

async fn collect(mut stream: GetStream) -> Result<Bytes> {
    let length = stream.object().await?.range_info().map_or(0, |range| range.request_length);
    let Some(first) = stream.try_next().await? else { return Ok(Bytes::new()) };
    let Some(second) = stream.try_next().await? else { return Ok(first) };
    let mut all = BytesMut::with_capacity(length.min(TRUSTED) as usize);
    all.extend_from_slice(&first);
    all.extend_from_slice(&second);
    while let Some(chunk) = stream.try_next().await? {
        all.extend_from_slice(&chunk);
    }
    Ok(all.freeze())
}
