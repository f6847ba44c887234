//! How far an operation has come: [`Progress`].

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::Stream;
use futures::future::BoxFuture;
use serde::Serialize;
use tokio::sync::SetOnce;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::seconds;

/// How far an operation has come, to be looked at from elsewhere while it runs. Made by the `progress()` of an operation, before that is
/// awaited or polled.
///
/// Cheap to clone. It does not hold the operation, and costs it nothing to be looked at.
///
/// ```
/// # async fn example(s3: s3flow::S3) -> s3flow::Result<()> {
/// use std::time::Duration;
///
/// use futures::StreamExt;
///
/// let files = s3.put_files([("a.bin", "/data/a.bin"), ("b.bin", "/data/b.bin")]);
/// let mut updates = files.progress().updates(Duration::from_secs(1));
/// let shown = tokio::spawn(async move {
///     while let Some(now) = updates.next().await {
///         println!("{} of {:?} files, {:.0} bytes/s", now.items, now.items_total, now.bytes_per_second);
///     }
/// });
/// let receipts = files.await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Progress(Arc<Counters>);

/// How far an operation has come, at one time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ProgressSnapshot {
    /// Objects that are done, those that failed not counted; of a listing, objects and prefixes that were found.
    pub items: u64,
    /// Objects that failed.
    pub failed: u64,
    /// How many objects there are, once that is known: of a list at once, of a stream when it has ended, of a listing never before its
    /// end.
    pub items_total: Option<u64>,
    /// Bytes of objects that came or went. It grows while bodies are on their way, and falls back when something has to come again.
    pub bytes: u64,
    /// How many bytes there are in all, once that is known of each object: of a download, from its answer on, and of an upload, from its
    /// beginning on, unless it is of a stream.
    pub bytes_total: Option<u64>,
    /// Since the operation began.
    #[serde(serialize_with = "seconds")]
    pub elapsed: Duration,
    /// Over the last 5 s, as far as somebody looked meanwhile; else since the beginning.
    pub bytes_per_second: f64,
    /// Likewise.
    pub items_per_second: f64,
    /// Whether the operation has ended or was dropped.
    pub finished: bool,
}

/// Snapshots of a [`Progress`], made by [`Progress::updates`].
#[must_use = "a stream does nothing unless it is polled"]
pub struct ProgressUpdates {
    progress: Progress,
    interval: Interval,
    /// `None` once it has been told.
    finished: Option<BoxFuture<'static, ()>>,
}

impl Progress {
    pub(crate) fn of(counters: Arc<Counters>) -> Self {
        Self(counters)
    }

    /// How far it has come now.
    #[must_use]
    pub fn snapshot(&self) -> ProgressSnapshot {
        self.0.snapshot()
    }

    /// A snapshot at once and then after each of these times, and a last one when the operation has ended or was dropped. One that nobody
    /// takes in time is left out. A time of 0 is a millisecond.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with its time driver enabled.
    pub fn updates(&self, every: Duration) -> ProgressUpdates {
        let mut interval = tokio::time::interval(every.max(Duration::from_millis(1)));
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let progress = self.clone();
        let finished: BoxFuture<'static, ()> = Box::pin(async move { progress.finished().await });
        ProgressUpdates { progress: self.clone(), interval, finished: Some(finished) }
    }

    /// Waits until the operation has ended or was dropped.
    ///
    /// # Cancel safety
    ///
    /// Safe.
    pub async fn finished(&self) {
        self.0.finished.wait().await;
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Progress").field(&self.snapshot()).finish()
    }
}

impl Stream for ProgressUpdates {
    type Item = ProgressSnapshot;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let Some(finished) = &mut this.finished else { return Poll::Ready(None) };
        if finished.as_mut().poll(cx).is_ready() {
            this.finished = None;
        } else {
            ready!(this.interval.poll_tick(cx));
        }
        Poll::Ready(Some(this.progress.snapshot()))
    }
}

impl fmt::Debug for ProgressUpdates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProgressUpdates").field("progress", &self.progress).finish_non_exhaustive()
    }
}

/// What the objects of one operation have come to together.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    begun: OnceLock<Instant>,
    items: AtomicU64,
    failed: AtomicU64,
    items_total: OnceLock<u64>,
    bytes: AtomicU64,
    /// Objects whose length is known, and these lengths together.
    measured: AtomicU64,
    measured_bytes: AtomicU64,
    finished: SetOnce<Instant>,
    seen: Mutex<Seen>,
}

/// What was seen lately, the oldest first.
type Seen = VecDeque<Sample>;

#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Instant,
    items: u64,
    bytes: u64,
}

/// Of what is seen in this time, a rate is told.
const LATELY: Duration = Duration::from_secs(5);
/// Who looks more often finds the same sample.
const APART: Duration = Duration::from_millis(100);

impl Counters {
    /// The operation begins, on so many objects if that is known. It has ended when what this returns is dropped.
    pub(crate) fn begin(self: &Arc<Self>, items_total: Option<u64>) -> Running {
        self.begun.get_or_init(Instant::now);
        if let Some(items) = items_total {
            self.there_are(items);
        }
        Running(Arc::clone(self))
    }

    /// So many objects there are, as is known now.
    pub(crate) fn there_are(&self, items: u64) {
        // A list knows at once what its end would tell again.
        let _ = self.items_total.set(items);
    }

    /// One object is done, or has failed.
    pub(crate) fn count(&self, done: bool) {
        let count = if done { &self.items } else { &self.failed };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// Objects that are done.
    pub(crate) fn items(&self) -> u64 {
        self.items.load(Ordering::Relaxed)
    }

    pub(super) fn add_bytes(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn subtract_bytes(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// An object has so many bytes.
    pub(super) fn measure(&self, bytes: u64) {
        self.measured_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.measured.fetch_add(1, Ordering::Relaxed);
    }

    /// It has not, after all.
    pub(super) fn forget(&self, bytes: u64) {
        self.measured.fetch_sub(1, Ordering::Relaxed);
        self.measured_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn snapshot(&self) -> ProgressSnapshot {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let (items, failed, bytes) = (load(&self.items), load(&self.failed), load(&self.bytes));
        let items_total = self.items_total.get().copied();
        // What failed has none.
        let measured = items_total.is_some_and(|total| load(&self.measured) + failed >= total);
        let at = self.finished.get().copied().unwrap_or_else(Instant::now);
        let now = Sample { at, items, bytes };
        let begun = self.begun.get().copied().unwrap_or(now.at);
        let since = self.since(now, begun);
        let seconds = (now.at - since.at).as_secs_f64();
        let rate = |now: u64, since: u64| if seconds > 0.0 { now.saturating_sub(since) as f64 / seconds } else { 0.0 };
        ProgressSnapshot {
            items,
            failed,
            items_total,
            bytes,
            bytes_total: measured.then(|| load(&self.measured_bytes)),
            elapsed: now.at - begun,
            bytes_per_second: rate(bytes, since.bytes),
            items_per_second: rate(items, since.items),
            finished: self.finished.initialized(),
        }
    }

    /// What to reckon a rate from.
    fn since(&self, now: Sample, begun: Instant) -> Sample {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // One that is older stays, so that there is always one.
        while seen.get(1).is_some_and(|next| now.at.saturating_duration_since(next.at) >= LATELY) {
            seen.pop_front();
        }
        let since = seen.front().copied().unwrap_or(Sample { at: begun, items: 0, bytes: 0 });
        if seen.back().is_none_or(|last| now.at.saturating_duration_since(last.at) >= APART) {
            seen.push_back(now);
        }
        since
    }
}

/// An operation that runs; it has ended when this is dropped.
#[derive(Debug)]
pub(crate) struct Running(Arc<Counters>);

impl Running {
    /// See [`Counters::count`].
    pub(crate) fn count(&self, done: bool) {
        self.0.count(done);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Of a request that is made twice, the first one counts.
        let _ = self.0.finished.set(Instant::now());
    }
}
