//! The body of an answer.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::Stream as _;
use http_body::{Body, Frame, SizeHint};

use crate::error::Error;
use crate::ops::GetStream;

/// The bytes of an object as the body of an HTTP answer; or none. Dropping it ends the requests for them.
#[derive(Debug)]
#[must_use = "a body does nothing unless it is sent"]
pub struct GetBody {
    stream: Option<GetStream>,
    /// Bytes to come.
    left: u64,
}

impl GetBody {
    /// No bytes.
    pub fn empty() -> Self {
        Self { stream: None, left: 0 }
    }

    /// Of a stream whose object is known.
    pub(super) fn new(stream: GetStream) -> Self {
        let left = stream.length().unwrap_or(0);
        Self { stream: Some(stream), left }
    }
}

impl Body for GetBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = self.get_mut();
        let Some(stream) = &mut this.stream else { return Poll::Ready(None) };
        let polled = ready!(Pin::new(stream).poll_next(cx));
        match &polled {
            Some(Ok(chunk)) => this.left = this.left.saturating_sub(chunk.len() as u64),
            Some(Err(error)) => tracing::warn!(%error, "a body breaks off"),
            None => this.stream = None,
        }
        Poll::Ready(polled.map(|chunk| chunk.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
