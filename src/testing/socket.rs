//! A connection's socket, which can be closed behind an answer.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// How a connection is to be closed.
#[derive(Debug, Default)]
pub(super) struct HangUp {
    after_flush: AtomicBool,
    reset: AtomicBool,
}

impl HangUp {
    /// As soon as everything written to it is on the wire.
    pub(super) fn after_flush(&self) {
        self.after_flush.store(true, Ordering::Relaxed);
    }

    /// With a reset, whenever it is.
    pub(super) fn with_reset(&self) {
        self.reset.store(true, Ordering::Relaxed);
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

impl Drop for Socket {
    fn drop(&mut self) {
        if self.hang_up.reset.load(Ordering::Relaxed) {
            reset(self.stream.inner());
        }
    }
}

/// Has the socket closed with a reset.
pub(super) fn reset(stream: &TcpStream) {
    // Otherwise it is closed in the ordinary way, which is close to it.
    let _ = stream.set_zero_linger();
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
            Poll::Ready(Ok(())) if self.hang_up.after_flush.load(Ordering::Relaxed) => {
                Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
            }
            other => other,
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.hang_up.reset.load(Ordering::Relaxed) {
            // An orderly end would come before the reset.
            return Poll::Ready(Ok(()));
        }
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
