//! The body of an answer on its way, and the socket that can be closed behind it.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::content::Content;
use super::fault::Cut;
use super::log::{Finish, Ticket};

/// Large bodies go out in pieces, so that "sent" is never far ahead of the client.
const FRAME: usize = 256 * 1024;

/// The body of an answer. Tells the log how the answer ended.
#[derive(Debug)]
pub(super) struct AnswerBody {
    segments: std::vec::IntoIter<Bytes>,
    current: Bytes,
    remaining: u64,
    length_hidden: bool,
    cut: Option<PendingCut>,
    ticket: Ticket,
}

#[derive(Debug)]
struct PendingCut {
    after: u64,
    then: Cut,
    hang_up: Arc<HangUp>,
    done: bool,
}

impl AnswerBody {
    /// A `cut` lies before the end of the body.
    pub(super) fn new(content: &Content, cut: Option<(u64, Cut)>, hang_up: Arc<HangUp>, ticket: Ticket) -> Self {
        let cut = cut.map(|(after, then)| PendingCut { after, then, hang_up, done: false });
        Self {
            segments: content.segments().to_vec().into_iter(),
            current: Bytes::new(),
            remaining: content.len(),
            length_hidden: false,
            cut,
            ticket,
        }
    }

    pub(super) fn hide_length(mut self, hidden: bool) -> Self {
        self.length_hidden = hidden;
        self
    }

    fn next_frame(&mut self, limit: usize) -> Option<Bytes> {
        while self.current.is_empty() {
            self.current = self.segments.next()?;
        }
        let frame = self.current.split_to(limit.min(self.current.len()));
        self.remaining -= frame.len() as u64;
        Some(frame)
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let mut limit = FRAME;
        if let Some(cut) = &mut self.cut {
            if cut.after == 0 {
                if matches!(cut.then, Cut::Close) {
                    cut.hang_up.after_flush();
                    cut.done = true;
                }
                // Either the socket hangs up at its next flush, or the client does some day.
                return Poll::Pending;
            }
            limit = limit.min(usize::try_from(cut.after).unwrap_or(FRAME));
        }
        let frame = self.next_frame(limit);
        if let (Some(cut), Some(frame)) = (&mut self.cut, &frame) {
            cut.after -= frame.len() as u64;
        }
        if self.remaining == 0 {
            self.ticket.finished(Finish::Sent);
        }
        Poll::Ready(frame.map(|frame| Ok(Frame::data(frame))))
    }

    fn is_end_stream(&self) -> bool {
        self.remaining == 0
    }

    fn size_hint(&self) -> SizeHint {
        if self.length_hidden { SizeHint::default() } else { SizeHint::with_exact(self.remaining) }
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        if self.remaining > 0 {
            let cut = self.cut.as_ref().is_some_and(|cut| cut.done);
            self.ticket.finished(if cut { Finish::Cut } else { Finish::ClientGone });
        }
    }
}

/// Closes a connection as soon as everything written to it is on the wire.
#[derive(Debug, Default)]
pub(super) struct HangUp(AtomicBool);

impl HangUp {
    fn after_flush(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A connection's socket.
#[derive(Debug)]
pub(super) struct Socket {
    stream: TokioIo<TcpStream>,
    hang_up: Arc<HangUp>,
}

impl Socket {
    pub(super) fn new(stream: TcpStream, hang_up: Arc<HangUp>) -> Self {
        Self { stream: TokioIo::new(stream), hang_up }
    }
}

impl Read for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl Write for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper flushes the socket only when its own buffer is empty.
        match Pin::new(&mut self.stream).poll_flush(cx) {
            Poll::Ready(Ok(())) if self.hang_up.0.load(Ordering::Relaxed) => {
                Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
            }
            other => other,
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }
}
