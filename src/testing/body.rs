//! The body of an answer on its way.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::content::Content;
use super::fault::{Delivery, Ending};
use super::log::{Finish, Ticket};
use super::pace::{Pacer, Piece};
use super::socket::HangUp;

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
    pacer: Option<Pacer>,
    ticket: Ticket,
}

struct PendingCut {
    after: u64,
    /// Until the connection is closed.
    stall: Pin<Box<dyn Future<Output = ()> + Send>>,
    hang_up: Arc<HangUp>,
    done: bool,
}

impl fmt::Debug for PendingCut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { after, stall: _, hang_up: _, done } = self;
        f.debug_struct("PendingCut").field("after", after).field("done", done).finish_non_exhaustive()
    }
}

impl AnswerBody {
    pub(super) fn new(content: &Content, delivery: Delivery, hang_up: Arc<HangUp>, ticket: Ticket) -> Self {
        let Delivery { cut, pace, hides_length } = delivery;
        let cut = cut.map(|(after, then)| PendingCut {
            after,
            stall: match then {
                Ending::Close => Box::pin(std::future::ready(())),
                Ending::Stall(cleared) => Box::pin(cleared.wait()),
            },
            hang_up,
            done: false,
        });
        let beginning = content.segments().first().map(|segment| &**segment).unwrap_or_default();
        Self {
            pacer: pace.map(|pace| Pacer::new(pace, beginning)),
            segments: content.segments().to_vec().into_iter(),
            current: Bytes::new(),
            remaining: content.len(),
            length_hidden: hides_length,
            cut,
            ticket,
        }
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

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let mut limit = FRAME;
        if let Some(pacer) = &mut self.pacer {
            match ready!(pacer.poll(cx)) {
                Piece::Space => return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b" "))))),
                Piece::Body(bytes) => limit = limit.min(bytes),
            }
        }
        if let Some(cut) = &mut self.cut {
            if cut.after == 0 {
                if !cut.done {
                    ready!(cut.stall.as_mut().poll(cx));
                    cut.hang_up.after_flush();
                    cut.done = true;
                }
                // The socket hangs up at its next flush.
                return Poll::Pending;
            }
            limit = limit.min(usize::try_from(cut.after).unwrap_or(FRAME));
        }
        let frame = self.next_frame(limit);
        let sent = frame.as_ref().map_or(0, Bytes::len);
        if let Some(cut) = &mut self.cut {
            cut.after -= sent as u64;
        }
        if let Some(pacer) = &mut self.pacer {
            pacer.sent(sent);
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
