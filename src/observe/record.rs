//! What is noted of one object's operation while it runs.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tracing::Span;

use super::cause::{Cause, Wait, Way};
use super::metrics;
use super::progress::Counters;
use super::report::{Report, RetryCounts, Waits};

/// What is noted of one object's operation.
#[derive(Debug, Default)]
pub(crate) struct Record {
    /// Of the operation that it is one object of.
    counters: Arc<Counters>,
    /// What its attempts are shown below, until it has ended: a span lasts as long as somebody has it.
    span: Mutex<Option<Span>>,
    requests: AtomicU64,
    retries: [AtomicU64; Cause::ALL.len()],
    /// In nanoseconds.
    waits: [AtomicU64; Wait::ALL.len()],
    bodies: [AtomicU64; 2],
    ids: Mutex<VecDeque<String>>,
    progress: Share,
}

/// What it has contributed to its operation's progress.
#[derive(Debug, Default)]
struct Share {
    /// One more than the number of the way that its object goes; 0: no way, or it has ended.
    way: AtomicU8,
    bytes: AtomicU64,
    /// One more than its length; 0: that is not known.
    length: AtomicU64,
}

const MOST_IDS: usize = 16;

impl Record {
    pub(crate) fn new(counters: Arc<Counters>) -> Self {
        Self { counters, ..Self::default() }
    }

    pub(crate) fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    pub(super) fn set_span(&self, span: Option<Span>) {
        *self.span.lock().unwrap_or_else(PoisonError::into_inner) = span;
    }

    pub(super) fn span(&self) -> Option<Span> {
        self.span.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn begin_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn add_id(&self, id: &str) {
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        if ids.len() == MOST_IDS {
            ids.pop_front();
        }
        ids.push_back(id.to_owned());
    }

    pub(crate) fn retried(&self, cause: Cause) {
        self.retries[cause as usize].fetch_add(1, Ordering::Relaxed);
        metrics::retried(cause);
    }

    pub(crate) fn waited(&self, why: Wait, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.waits[why as usize].fetch_add(nanos, Ordering::Relaxed);
        metrics::waited(why, time);
    }

    /// Bytes of a body went.
    pub(crate) fn moved(&self, way: Way, bytes: usize) {
        let bytes = bytes as u64;
        self.bodies[way as usize].fetch_add(bytes, Ordering::Relaxed);
        metrics::moved(way, bytes);
        if self.progress.way.load(Ordering::Relaxed) == way as u8 + 1 {
            self.progress.bytes.fetch_add(bytes, Ordering::Relaxed);
            self.counters.add_bytes(bytes);
        }
    }

    /// From now on, bodies that go this way are those of the object, which has so many bytes if that is known.
    pub(crate) fn carries(&self, way: Way, length: Option<u64>) {
        self.progress.way.store(way as u8 + 1, Ordering::Relaxed);
        let Some(length) = length else { return };
        if let Some(before) = self.progress.length.swap(length + 1, Ordering::Relaxed).checked_sub(1) {
            self.counters.forget(before);
        }
        self.counters.measure(length);
    }

    /// It has ended; its share of the progress is what the object has, or nothing.
    pub(super) fn end(&self, done: bool) {
        if self.progress.way.swap(0, Ordering::Relaxed) == 0 {
            return;
        }
        let bytes = self.progress.bytes.swap(0, Ordering::Relaxed);
        match (self.progress.length.swap(0, Ordering::Relaxed).checked_sub(1), done) {
            (Some(length), true) => {
                self.counters.add_bytes(length);
                self.counters.subtract_bytes(bytes);
            }
            (None, true) => self.counters.measure(bytes),
            (length, false) => {
                self.counters.subtract_bytes(bytes);
                if let Some(length) = length {
                    self.counters.forget(length);
                }
            }
        }
    }

    pub(crate) fn report(&self) -> Report {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let retries = |cause: Cause| load(&self.retries[cause as usize]);
        let waited = |why: Wait| Duration::from_nanos(load(&self.waits[why as usize]));
        Report {
            requests: load(&self.requests),
            retries: RetryCounts {
                transient: retries(Cause::Transient),
                throttled: retries(Cause::Throttled),
                unreachable: retries(Cause::Unreachable),
            },
            waits: Waits {
                for_requests_in_flight: waited(Wait::Place),
                for_requests_per_second: waited(Wait::Rate),
                for_bytes_per_second: waited(Wait::Bytes),
                for_slowed_prefix: waited(Wait::Prefix),
                for_memory: waited(Wait::Memory),
                for_disk: waited(Wait::Disk),
                for_retries: waited(Wait::Retry),
            },
            bytes_sent: load(&self.bodies[Way::Sent as usize]),
            bytes_received: load(&self.bodies[Way::Received as usize]),
            request_ids: self.ids.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect(),
        }
    }
}

/// The record of what has ended, with what came of it. How that came about does not make it another.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reported(Option<Arc<Record>>);

impl Reported {
    pub(crate) fn by(record: &Arc<Record>) -> Self {
        Self(Some(Arc::clone(record)))
    }

    pub(crate) fn report(&self) -> Option<Report> {
        self.0.as_ref().map(|record| record.report())
    }
}

impl PartialEq for Reported {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Reported {}
