//! How long nothing may move: on a connection, and in what is left of the time of an attempt.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use hyper::body::{Body, Frame, SizeHint};
use object_store::client::HttpError;
use tokio::time::{Instant, Sleep};

use super::failure::{Failure, FailureKind};

tokio::task_local! {
    /// That of the attempt which the task is at: requests pass through `object_store`, which would not hand it on.
    static ATTEMPT: Arc<Attempt>;
}

struct Attempt {
    limit: Duration,
    requests: Mutex<Requests>,
}

#[derive(Default)]
struct Requests {
    /// When the first was sent.
    since: Option<Instant>,
    /// On the connection of the last one that has one.
    traffic: Option<Traffic>,
}

/// An answer whose body is still to be read.
#[derive(Debug)]
pub(crate) struct Unread(Traffic);

/// What an attempt came to.
pub(crate) struct Attempted<T> {
    pub(crate) done: T,
    /// How long it took since its first request, without the time in which a body was on its way.
    pub(crate) idle: Duration,
    pub(crate) unread: Option<Unread>,
}

/// Makes an attempt of which no request goes on without a byte moving when, since the first of them, `limit` is over. One that
/// goes on with an `unread` answer begins with its body.
pub(crate) fn within<T>(
    limit: Duration,
    unread: Option<Unread>,
    attempt: impl Future<Output = T>,
) -> impl Future<Output = Attempted<T>> {
    let requests = unread.map_or_else(Requests::default, |Unread(traffic)| Requests {
        since: Some(Instant::now()),
        traffic: Some(traffic),
    });
    let current = Arc::new(Attempt { limit, requests: Mutex::new(requests) });
    ATTEMPT.scope(Arc::clone(&current), attempt).map(move |done| {
        let Requests { since, traffic } = std::mem::take(&mut *current.requests());
        let idle_since = since.map(|since| traffic.as_ref().map_or(since, |traffic| traffic.idle_since(since)));
        let idle = idle_since.map_or(Duration::ZERO, |since| since.elapsed());
        Attempted { done, idle, unread: traffic.map(Unread) }
    })
}

impl Attempt {
    fn requests(&self) -> MutexGuard<'_, Requests> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One request's share of an attempt.
pub(super) struct Patience {
    limit: Duration,
    attempt: Arc<Attempt>,
    traffic: Option<Traffic>,
}

impl Patience {
    /// Of the attempt that the task is at, if it has a limit.
    pub(super) fn begin() -> Option<Self> {
        let attempt = ATTEMPT.try_with(Arc::clone).ok()?;
        let since = *attempt.requests().since.get_or_insert_with(Instant::now);
        Some(Self { limit: attempt.limit.saturating_sub(since.elapsed()), attempt, traffic: None })
    }

    /// The request has a connection.
    pub(super) fn on(&mut self, traffic: Traffic) {
        self.attempt.requests().traffic = Some(traffic.clone());
        self.traffic = Some(traffic);
    }

    /// Waits for a connection or the head of an answer; `None` when nothing has moved for too long.
    pub(super) async fn wait<T>(&self, answer: impl Future<Output = T>) -> Option<T> {
        if self.limit.is_zero() {
            return None;
        }
        let mut answer = pin!(answer);
        let mut moved = Instant::now();
        loop {
            // Farther than that there is no deadline.
            let Some(until) = moved.checked_add(self.limit) else { return Some(answer.await) };
            if let Ok(answered) = tokio::time::timeout_at(until, &mut answer).await {
                return Some(answered);
            }
            moved = self.traffic.as_ref().map(Traffic::last).filter(|last| *last > moved)?;
        }
    }

    /// The limit for each part of the answer's body, where it is shorter than the connection's own.
    pub(super) fn limit(&self, idle_timeout: Duration) -> Option<Duration> {
        Some(self.limit).filter(|limit| *limit < idle_timeout)
    }
}

pub(super) fn stalled() -> Failure {
    Failure::new(FailureKind::Timeout, "nothing moved on the connection for too long")
}

/// What has moved on a connection.
#[derive(Debug, Clone)]
pub(super) struct Traffic(Arc<Mutex<Moved>>);

#[derive(Debug)]
struct Moved {
    last: Instant,
    /// Bytes written, or reads, since the direction last changed.
    written: usize,
    reads: usize,
    /// When more than the head of a request or a short answer was last on its way.
    body: Option<Instant>,
}

/// No head of a request is longer.
const BODY_WRITTEN: usize = 64 * 1024;
/// A head and an error document come in fewer.
const BODY_READS: usize = 8;

impl Traffic {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Moved { last: Instant::now(), written: 0, reads: 0, body: None })))
    }

    pub(super) fn wrote(&self, bytes: usize) {
        self.moved(|moved| {
            moved.reads = 0;
            moved.written = moved.written.saturating_add(bytes);
        });
    }

    pub(super) fn read(&self) {
        self.moved(|moved| {
            moved.written = 0;
            moved.reads += 1;
        });
    }

    fn moved(&self, count: impl FnOnce(&mut Moved)) {
        let now = Instant::now();
        let mut moved = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        count(&mut moved);
        moved.last = now;
        if moved.written >= BODY_WRITTEN || moved.reads >= BODY_READS {
            moved.body = Some(now);
        }
    }

    fn last(&self) -> Instant {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).last
    }

    /// `since`, later by the time in which a body was on its way.
    fn idle_since(&self, since: Instant) -> Instant {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).body.map_or(since, |body| body.max(since))
    }
}

/// Counts only the time in which somebody waits: a response that nobody reads is not idle.
pub(super) struct IdleTimer {
    pub(super) timeout: Duration,
    waiting_since: Option<Instant>,
    /// Who waits. An answer is waited for since before its request was written, and is not asked for again in between.
    waiting: [bool; 2],
    sleep: Option<Pin<Box<Sleep>>>,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Direction {
    Read,
    Write,
}

/// Nothing moved for as long as that.
#[derive(Debug)]
pub(super) struct Idle;

impl IdleTimer {
    pub(super) fn new(timeout: Duration) -> Self {
        Self { timeout, waiting_since: None, waiting: [false; 2], sleep: None }
    }

    /// Passes on what was polled, or that nothing has moved in either direction for too long.
    pub(super) fn watch<T>(
        &mut self,
        cx: &mut Context<'_>,
        direction: Direction,
        polled: Poll<T>,
    ) -> Poll<Result<T, Idle>> {
        self.waiting[direction as usize] = polled.is_pending();
        if let Poll::Ready(ready) = polled {
            self.waiting_since = self.waiting.contains(&true).then(Instant::now);
            return Poll::Ready(Ok(ready));
        }
        let since = *self.waiting_since.get_or_insert_with(Instant::now);
        let Some(deadline) = since.checked_add(self.timeout) else { return Poll::Pending };
        // The timer is moved only when it fires, not at each byte.
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        while sleep.as_mut().poll(cx).is_ready() {
            if Instant::now() >= deadline {
                return Poll::Ready(Err(Idle));
            }
            sleep.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

/// The body of an answer that may not pause for longer than its attempt has left.
pub(super) struct LimitedBody<B> {
    body: B,
    timer: IdleTimer,
}

impl<B> LimitedBody<B> {
    pub(super) fn new(body: B, limit: Duration) -> Self {
        Self { body, timer: IdleTimer::new(limit) }
    }
}

impl<B: Body<Data = Bytes, Error = HttpError> + Unpin> Body for LimitedBody<B> {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        Poll::Ready(match ready!(this.timer.watch(cx, Direction::Read, polled)) {
            Ok(frame) => frame,
            Err(Idle) => Some(Err(stalled().into_http())),
        })
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
