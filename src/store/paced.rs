//! Bodies that keep the pace of a client's limits.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use crate::limits::{Flow, Held, Pause};
use crate::observe::{Attempt, Way};

/// A body whose bytes are counted, and wait where there is a limit.
pub(super) struct Paced<B> {
    body: B,
    /// `None`: it has no pace.
    flow: Option<Flow>,
    way: Way,
    /// Before the next bytes.
    pause: Option<Pause>,
    /// What is left of a frame that is too long to be handed on at once.
    rest: Bytes,
    /// The request that an answer is of.
    attempt: Option<Attempt>,
    /// The request's place, until its answer is read or given up.
    _place: Option<Held>,
}

impl<B> Paced<B> {
    pub(super) fn sent(body: B, flow: Option<Flow>) -> Self {
        Self::new(body, flow, Way::Sent, None, None)
    }

    pub(super) fn received(body: B, flow: Flow, attempt: Attempt, place: Option<Held>) -> Self {
        Self::new(body, Some(flow), Way::Received, Some(attempt), place)
    }

    fn new(body: B, flow: Option<Flow>, way: Way, attempt: Option<Attempt>, place: Option<Held>) -> Self {
        let pause = flow.as_ref().and_then(|flow| flow.pause(way));
        Self { body, flow, way, pause, rest: Bytes::new(), attempt, _place: place }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Paced<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        if let Some(pause) = &mut this.pause {
            ready!(pause.as_mut().poll(cx));
            this.pause = None;
        }
        let mut data = std::mem::take(&mut this.rest);
        if data.is_empty() {
            data = match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => data,
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
                other => return Poll::Ready(other),
            };
        }
        if let Some(flow) = &this.flow {
            if let Some(piece) = flow.piece(this.way).filter(|piece| *piece < data.len()) {
                this.rest = data.split_off(piece);
            }
            flow.count(this.way, data.len());
            if let Some(attempt) = &mut this.attempt {
                attempt.received(data.len());
            }
            this.pause = flow.pause(this.way);
        }
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (hint, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut whole = SizeHint::new();
        if let Some(upper) = hint.upper() {
            whole.set_upper(upper + rest);
        }
        whole.set_lower(hint.lower() + rest);
        whole
    }
}
