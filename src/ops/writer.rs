//! A value that is written: `Put::writer`.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use futures::{FutureExt as _, Stream};
use tokio::io::AsyncWrite;
use tokio::sync::mpsc;
use tokio::task::JoinError;
use tokio_util::sync::PollSender;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;

use super::put::Put;
use crate::blocking::joined;
use crate::error::{Error, ErrorKind, Result};
use crate::receipt::PutReceipt;

/// What is gathered before it goes on, in bytes.
const PIECE: usize = 256 * 1024;

/// The value of one object, to be written. Made by [`Put::writer`].
///
/// It is stored by [`finish`](Self::finish) alone: a writer that is dropped without it stores nothing, and ends its upload as a
/// dropped [`Put`] does. Neither does [`shutdown`](tokio::io::AsyncWriteExt::shutdown) finish it: code that fails somewhere shuts down
/// what it wrote to, too.
///
/// Parts are uploaded while the next ones are written, as those of a stream: see [`PutValue`](crate::PutValue) for how many bytes
/// are in memory. A write waits while these are on their way. What is written before the first part is full is one request.
///
/// Without [`overwrite`](Put::overwrite), a long value is not sent when an object is there: what is written then goes nowhere, and
/// [`finish`](Self::finish) has the receipt that says so.
///
/// # Errors
///
/// Those of [`Put`]: of a write, as an [`io::Error`] with the [`Error`] inside; of [`finish`](Self::finish), as it is. After one,
/// every write fails.
///
/// # Cancel safety
///
/// A write that is dropped has written nothing.
#[must_use = "what is written is stored by finish() alone"]
pub struct PutWriter {
    gathered: BytesMut,
    pipe: PollSender<Message>,
    upload: Upload,
}

enum Upload {
    Running(AbortOnDropHandle<Result<PutReceipt>>),
    /// It has ended before the value had.
    Failed(Error),
    /// Another's object is there, and stays: what else is written goes nowhere.
    Exists(PutReceipt),
}

/// What goes through the pipe, whose end alone is no end of the value.
enum Message {
    Bytes(Bytes),
    End,
}

impl Put {
    /// Stores the value and whatever is written behind it, as an [`AsyncWrite`]; an empty value is a good beginning. The upload runs in a
    /// task, from now on.
    ///
    /// ```
    /// # async fn example(s3: s3flow::S3) -> Result<(), Box<dyn std::error::Error>> {
    /// use tokio::io::AsyncWriteExt;
    ///
    /// let mut writer = s3.put("report.csv", "name,value\n").content_type("text/csv").writer();
    /// for n in 0..1_000_000 {
    ///     writer.write_all(format!("n{n},{n}\n").as_bytes()).await?;
    /// }
    /// let receipt = writer.finish().await?; // dropped without it, nothing is stored
    /// println!("{}", receipt.url());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn writer(self) -> PutWriter {
        let (pipe, written) = mpsc::channel(1);
        let put = self.with_more(until_end(written));
        let upload = Upload::Running(AbortOnDropHandle::new(tokio::spawn(put.into_future().in_current_span())));
        PutWriter { gathered: BytesMut::new(), pipe: PollSender::new(pipe), upload }
    }
}

/// What was written, and an error when it has no end.
fn until_end(written: mpsc::Receiver<Message>) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    futures::stream::unfold(Some(written), |written| async {
        let mut written = written?;
        match written.recv().await {
            Some(Message::Bytes(bytes)) => Some((Ok(bytes), Some(written))),
            Some(Message::End) => None,
            None => Some((Err(io::Error::other("the writer was dropped before it was finished")), None)),
        }
    })
}

impl PutWriter {
    /// Stores what was written.
    ///
    /// # Errors
    ///
    /// Those of [`Put`]. Nothing is stored then, unless its [outcome is unknown](Error::is_outcome_unknown).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future is as dropping that of a [`Put`].
    pub async fn finish(mut self) -> Result<PutReceipt> {
        let ended = std::future::poll_fn(|cx| {
            ready!(self.poll_empty(cx))?;
            ready!(self.poll_ready(cx))?;
            Poll::Ready(self.send(Message::End))
        });
        let ended = ended.await;
        match self.upload {
            Upload::Failed(error) => Err(error),
            Upload::Exists(receipt) => Ok(receipt),
            Upload::Running(task) => match ended_with(task.await) {
                Ok(receipt) if receipt.uploaded() && ended.is_err() => {
                    Err(Error::new(ErrorKind::Other, "the upload ended before the value did"))
                }
                done => done,
            },
        }
    }

    /// Waits until more may be gathered, and gives what is: for who appends something whole, however long it is.
    pub(super) async fn room(&mut self) -> Result<&mut BytesMut> {
        let room = std::future::poll_fn(|cx| match &self.upload {
            Upload::Failed(error) => Poll::Ready(Err(repeated(error))),
            _ if self.gathered.len() < PIECE => Poll::Ready(Ok(())),
            _ => self.poll_empty(cx),
        });
        match room.await {
            Ok(()) => Ok(&mut self.gathered),
            Err(error) => Err(error.downcast().unwrap_or_else(Error::other)),
        }
    }

    /// Waits until the pipe takes something.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.upload {
            Upload::Failed(error) => return Poll::Ready(Err(repeated(error))),
            Upload::Exists(_) => return Poll::Ready(Ok(())),
            Upload::Running(_) => {}
        }
        if ready!(self.pipe.poll_reserve(cx)).is_ok() {
            return Poll::Ready(Ok(()));
        }
        // Nobody reads any more: the upload has ended, and tells why.
        let Upload::Running(task) = &mut self.upload else { return Poll::Ready(Ok(())) };
        let error = match ended_with(ready!(task.poll_unpin(cx))) {
            Ok(receipt) if !receipt.uploaded() => {
                self.upload = Upload::Exists(receipt);
                return Poll::Ready(Ok(()));
            }
            Ok(_) => Error::new(ErrorKind::Other, "the upload ended before the value did"),
            Err(error) => error,
        };
        let told = repeated(&error);
        self.upload = Upload::Failed(error);
        Poll::Ready(Err(told))
    }

    /// Waits until nothing is gathered.
    fn poll_empty(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.gathered.is_empty() {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_ready(cx))?;
        let piece = self.gathered.split().freeze();
        Poll::Ready(self.send(Message::Bytes(piece)))
    }

    /// In the place that has just been waited for.
    fn send(&mut self, message: Message) -> io::Result<()> {
        match self.upload {
            Upload::Exists(_) => Ok(()),
            _ => self.pipe.send_item(message).map_err(|_| io::Error::other("the upload has ended")),
        }
    }
}

fn ended_with(ended: Result<Result<PutReceipt>, JoinError>) -> Result<PutReceipt> {
    ended.unwrap_or_else(|error| Err(joined(error)))
}

/// The error that [`PutWriter::finish`] will tell.
fn repeated(error: &Error) -> io::Error {
    error.duplicate().into()
}

impl AsyncWrite for PutWriter {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.gathered.len() >= PIECE {
            ready!(this.poll_empty(cx))?;
        }
        if let Upload::Failed(error) = &this.upload {
            return Poll::Ready(Err(repeated(error)));
        }
        let taken = bytes.len().min(PIECE - this.gathered.len());
        this.gathered.extend_from_slice(&bytes[..taken]);
        Poll::Ready(Ok(taken))
    }

    /// Hands on what was gathered; whether it is uploaded, only [`finish`](PutWriter::finish) tells.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_empty(cx)
    }

    /// The same as a flush.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}

impl fmt::Debug for PutWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PutWriter").finish_non_exhaustive()
    }
}
