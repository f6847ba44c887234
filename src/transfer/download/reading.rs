//! An object to who reads it: its bytes in their order, resumed from the byte reached, pinned to the version that was begun.
//!
//! The bytes of the first request are passed on as they come. Of a large object, the parts behind them are fetched into memory
//! meanwhile. The caller may take any time: so nothing is held in the meantime that others wait for, but for the memory of what was
//! read ahead, and what can be had of that only without waiting.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesOrdered;
use tokio::sync::{SemaphorePermit, mpsc, oneshot};

use super::body::Body;
use super::check::{Check, compare_parts};
use super::composite::not_the_object;
use super::parallel::cut;
use super::{Answered, LONGEST_STREAM, PROGRESS, Wanted, strong, unless_changed};
use crate::address::Location;
use crate::checksum::{Checksum, Composite, Hasher, Method, Verified};
use crate::error::{Error, ErrorKind, Result};
use crate::limits::Held;
use crate::retry::Retry;
use crate::store::{Incoming, ObjectHead, ReadOptions};
use crate::transfer::conditional::with_found;
use crate::transfer::parts::{PART, Plan};
use crate::transfer::{Engine, Stopped};

/// Parts that are read ahead of one reader: with the one that it reads, 40 MiB.
const AHEAD: usize = 4;
/// From so many bytes on: many a reader looks at the beginning and goes.
const AHEAD_AFTER: u64 = 1024 * 1024;

/// What a reader hears first.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) head: ObjectHead,
    /// The bytes of the object that will come.
    pub(crate) window: Range<u64>,
}

impl Opened {
    /// Whether parts are read ahead, for which somebody must go on while the reader does not poll.
    pub(crate) fn is_long(&self) -> bool {
        self.window.end - self.window.start > LONGEST_STREAM
    }
}

/// Where it goes to.
#[derive(Debug)]
pub(crate) struct Outlet {
    pub(crate) opened: oneshot::Sender<Opened>,
    pub(crate) chunks: mpsc::Sender<Bytes>,
}

/// Reads an object, or a range of it, into `outlet`; with what all of its bytes were compared.
///
/// # Errors
///
/// Those of a [download](super::download). An [`ErrorKind::Integrity`] comes in place of the last chunk, and is about all of them.
pub(crate) async fn read(
    engine: &Engine,
    location: &Location,
    options: ReadOptions<'_>,
    outlet: Outlet,
) -> Result<Option<Verified>> {
    let wanted = Wanted { engine, location, options: ReadOptions { given_out: true, ..options } };
    match wanted.read(outlet).await {
        Err(error) => Err(with_found(engine, location, options.customer_key, error).await),
        done => done,
    }
}

impl<'a> Wanted<'a> {
    async fn read(self, outlet: Outlet) -> Result<Option<Verified>> {
        let (mut answered, mut retry) = self.answered().await?;
        if let Some(composite) = answered.composite().cloned() {
            let Answered { incoming: Incoming { head, body }, window, .. } = answered;
            drop(body);
            let mut retry_of_part = self.engine.retries.start();
            if let Some(first) = self.begin_part(&head, 1, &mut retry_of_part).await? {
                let reader = Reader::open(self, outlet, head, window);
                return reader.by_numbers(&composite, first, retry_of_part).await.map(Some);
            }
            (answered, retry) = self.answered().await?;
        }
        let plan = answered.parts(self.options);
        let Answered { incoming, window, check } = answered;
        let reader = Reader::open(self, outlet, incoming.head.clone(), window);
        reader.in_order(&check, plan, incoming, retry).await
    }

    /// Asks for all of it, until there is an answer.
    pub(super) async fn answered(self) -> Result<(Answered, Retry<'a>)> {
        let mut retry = self.engine.retries.start();
        loop {
            self.engine.store.admit(self.location).await;
            match self.ask(&mut retry).await? {
                Ok(answered) => return Ok((answered, retry)),
                Err(failure) => retry.wait(failure).await?,
            }
        }
    }
}

struct Reader<'a> {
    wanted: Wanted<'a>,
    chunks: mpsc::Sender<Bytes>,
    head: Arc<ObjectHead>,
    window: Range<u64>,
    /// The first byte of the object that was not passed on.
    next: u64,
    hasher: Option<Hasher>,
    /// The last chunk, which is given out when all has been compared: who counts bytes takes nothing damaged for whole.
    last: Option<Bytes>,
}

impl<'a> Reader<'a> {
    fn open(wanted: Wanted<'a>, outlet: Outlet, head: ObjectHead, window: Range<u64>) -> Self {
        let Outlet { opened, chunks } = outlet;
        // Who does not ask for it may read nevertheless.
        let _ = opened.send(Opened { head: head.clone(), window: window.clone() });
        let next = window.start;
        Self { wanted, chunks, head: Arc::new(head), window, next, hasher: None, last: None }
    }

    async fn in_order(
        mut self,
        check: &Check,
        plan: Option<Plan>,
        first: Incoming,
        retry: Retry<'a>,
    ) -> Result<Option<Verified>> {
        self.hasher = check.method().map(Hasher::new);
        let attempts = retry.attempts();
        let mut ahead = Ahead::none(self.wanted, &self.head);
        if let Some(plan) = plan {
            ahead.ranges = Box::new(cut(&self.window, plan));
        }
        let end = ahead.next_range().map_or(self.window.end, |range| range.end);
        self.pass_on(self.resumed(end, retry).with(first), &mut ahead).await?;
        while self.next < self.window.end {
            ahead.ask_for_more();
            match ahead.next().await {
                Some(part) => {
                    let Some(Part { chunks, memory }) = part? else {
                        // Each request for a part would bring everything.
                        ahead = Ahead::none(self.wanted, &self.head);
                        continue;
                    };
                    for chunk in chunks {
                        self.give(chunk, &mut ahead).await?;
                    }
                    drop(memory);
                }
                None => {
                    let end = ahead.next_range().map_or(self.window.end, |range| range.end);
                    self.pass_on(self.resumed(end, self.wanted.engine.retries.start()), &mut ahead).await?;
                }
            }
        }
        let compared = check.compare(self.hasher.take().map(Hasher::finish));
        let verified = compared.map_err(|error| error.with_attempts(attempts))?;
        self.give_last().await?;
        Ok(verified)
    }

    /// By the parts that the object was uploaded in, one after another.
    async fn by_numbers(mut self, composite: &Composite, first: Incoming, retry: Retry<'a>) -> Result<Verified> {
        let mut none_ahead = Ahead::none(self.wanted, &self.head);
        let mut begun = Some((first, retry));
        let mut checksums = Vec::new();
        for number in 1..=composite.parts() {
            let (part, retry) = match begun.take() {
                Some(first) => first,
                None => {
                    let mut retry = self.wanted.engine.retries.start();
                    let part = self.wanted.begin_part(&self.head, number, &mut retry).await?;
                    (part.ok_or_else(not_the_object)?, retry)
                }
            };
            let range = part.head.range.clone().filter(|range| range.start == self.next).ok_or_else(not_the_object)?;
            self.hasher = Some(Hasher::new(Method::Algorithm(composite.algorithm())));
            self.pass_on(self.resumed(range.end, retry).with(part), &mut none_ahead).await?;
            checksums.extend(self.hasher.take().map(Hasher::finish));
        }
        if self.next != self.window.end {
            return Err(not_the_object());
        }
        let verified = compare_parts(composite, &checksums.iter().collect::<Vec<&Checksum>>())?;
        self.give_last().await?;
        Ok(verified)
    }

    fn resumed(&self, end: u64, retry: Retry<'a>) -> Resumed<'a> {
        let head = Arc::clone(&self.head);
        Resumed { wanted: self.wanted, head, next: self.next, end, first: None, body: None, retry, progress: self.next }
    }

    async fn pass_on(&mut self, mut bytes: Resumed<'a>, ahead: &mut Ahead<'a>) -> Result<()> {
        while let Some(chunk) = ahead.beside(bytes.next()).await? {
            self.give(chunk, ahead).await?;
        }
        Ok(())
    }

    async fn give(&mut self, chunk: Bytes, ahead: &mut Ahead<'a>) -> Result<()> {
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&chunk);
        }
        self.next += chunk.len() as u64;
        if self.next == self.window.end {
            self.last = Some(chunk);
            return Ok(());
        }
        if self.next - self.window.start >= AHEAD_AFTER {
            ahead.ask_for_more();
        }
        ahead.beside(self.chunks.send(chunk)).await.map_err(|_| unread())
    }

    async fn give_last(&mut self) -> Result<()> {
        match self.last.take() {
            Some(chunk) => self.chunks.send(chunk).await.map_err(|_| unread()),
            None => Ok(()),
        }
    }
}

fn unread() -> Error {
    Error::new(ErrorKind::Closed, "nobody reads the object any more")
}

/// The bytes up to one of an object, whatever breaks off.
struct Resumed<'a> {
    wanted: Wanted<'a>,
    head: Arc<ObjectHead>,
    next: u64,
    end: u64,
    first: Option<Incoming>,
    body: Option<Body>,
    retry: Retry<'a>,
    /// Where the patience last began anew.
    progress: u64,
}

impl Resumed<'_> {
    /// Begins with this answer.
    fn with(self, first: Incoming) -> Self {
        Self { first: Some(first), ..self }
    }

    async fn next(&mut self) -> Result<Option<Bytes>> {
        let Self { wanted, head, next, end, first, body, retry, .. } = self;
        while *next < *end {
            let missing = *end - *next;
            let came = match (&mut *body, first.take()) {
                (Some(body), _) => retry.read_on(body.next(missing)).await.map_err(Stopped::from),
                (None, first) => {
                    let answer = match first {
                        Some(first) => Ok(first),
                        None => retry.attempt(wanted.rest(head, *next..*end)).await,
                    };
                    match answer.and_then(|answer| Ok(Body::new(answer, *next)?)) {
                        Ok(begun) => {
                            *body = Some(begun);
                            continue;
                        }
                        Err(stopped) => Err(stopped),
                    }
                }
            };
            let failure = match came {
                Ok(chunk) => {
                    *next += chunk.len() as u64;
                    return Ok(Some(chunk));
                }
                Err(stopped) => stopped.failure(retry)?,
            };
            *body = None;
            if !strong(head.etag.as_deref()) {
                let reason = "without a strong ETag, nothing shows that the rest belongs to what was read";
                return Err(failure.not_retried(reason).into_error(retry.attempts()));
            }
            if self.progress + PROGRESS <= *next {
                retry.progressed();
                self.progress = *next;
            }
            retry.wait(unless_changed(failure, head, retry)?).await?;
        }
        Ok(None)
    }
}

/// Parts on their way to memory.
struct Ahead<'a> {
    wanted: Wanted<'a>,
    head: Arc<ObjectHead>,
    /// Those that are still to be asked for.
    ranges: Box<dyn Iterator<Item = Range<u64>> + Send>,
    fetching: FuturesOrdered<BoxFuture<'a, Result<Option<Part>>>>,
    there: VecDeque<Result<Option<Part>>>,
}

/// Bytes that were read ahead.
struct Part {
    chunks: Vec<Bytes>,
    memory: [Held; 2],
}

impl<'a> Ahead<'a> {
    fn none(wanted: Wanted<'a>, head: &Arc<ObjectHead>) -> Self {
        Self {
            wanted,
            head: Arc::clone(head),
            ranges: Box::new(std::iter::empty()),
            fetching: FuturesOrdered::new(),
            there: VecDeque::new(),
        }
    }

    /// The first that nobody has asked for, for who fetches it by itself.
    fn next_range(&mut self) -> Option<Range<u64>> {
        self.ranges.next()
    }

    /// As many as there is room for.
    fn ask_for_more(&mut self) {
        let engine = self.wanted.engine;
        while self.fetching.len() + self.there.len() < AHEAD
            && let Ok(connection) = engine.extra_parts.try_acquire()
            && let Some(memory) = engine.flow().try_ahead(PART)
            && let Some(range) = self.ranges.next()
        {
            let (wanted, head) = (self.wanted, Arc::clone(&self.head));
            // It is this process that is waited for: so it holds its place only as long as it is fetched.
            let wanted = Wanted { options: ReadOptions { given_out: false, ..wanted.options }, ..wanted };
            self.fetching.push_back(Box::pin(fetch(wanted, head, range, memory, connection)));
        }
    }

    /// The next part; `None` when none was asked for.
    async fn next(&mut self) -> Option<Result<Option<Part>>> {
        match self.there.pop_front() {
            Some(part) => Some(part),
            None => self.fetching.next().await,
        }
    }

    /// Waits for `other`, and gets on meanwhile.
    async fn beside<T>(&mut self, other: impl Future<Output = T>) -> T {
        let mut other = pin!(other);
        poll_fn(|cx| {
            if let Poll::Ready(done) = other.as_mut().poll(cx) {
                return Poll::Ready(done);
            }
            while let Poll::Ready(Some(part)) = self.fetching.poll_next_unpin(cx) {
                self.there.push_back(part);
                self.ask_for_more();
            }
            Poll::Pending
        })
        .await
    }
}

/// Fetches a part; `None` when the server answers with everything.
async fn fetch(
    wanted: Wanted<'_>,
    head: Arc<ObjectHead>,
    range: Range<u64>,
    memory: [Held; 2],
    _connection: SemaphorePermit<'_>,
) -> Result<Option<Part>> {
    let Range { start, end } = range;
    let mut retry = wanted.engine.retries.start();
    let first = loop {
        match retry.attempt(wanted.rest(&head, start..end)).await {
            Ok(first) => break first,
            Err(stopped) => {
                let failure = unless_changed(stopped.failure(&retry)?, &head, &retry)?;
                retry.wait(failure).await?;
            }
        }
    };
    if first.head.range.is_none() {
        return Ok(None);
    }
    let mut bytes = Resumed { wanted, head, next: start, end, first: Some(first), body: None, retry, progress: start };
    let mut chunks = Vec::new();
    while let Some(chunk) = bytes.next().await? {
        chunks.push(chunk);
    }
    Ok(Some(Part { chunks, memory }))
}
