//! The limits of a client or of a scope, and what counts against them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::gate::Gate;
use super::pace::Pace;
use super::{Limits, Stats, Waiting};
use crate::error::Result;
use crate::observe::{Cause, RetryCounts, Wait};

#[derive(Debug)]
pub(crate) struct Ceilings {
    limits: Mutex<Limits>,
    pub(super) requests: Arc<Gate>,
    pub(super) memory: Arc<Gate>,
    /// Of the memory, what streams of callers may have.
    pub(super) streams: Arc<Gate>,
    /// Of the memory, what may be read ahead of callers.
    pub(super) ahead: Arc<Gate>,
    pub(super) disk: Arc<Gate>,
    /// Requests that were begun.
    pub(super) begun: Arc<Pace>,
    pub(super) sent: Arc<Pace>,
    pub(super) received: Arc<Pace>,
    pub(super) disk_wait: Duration,
    waiting: [AtomicU64; Wait::ALL.len()],
    retries: [AtomicU64; Cause::ALL.len()],
    throttled: AtomicU64,
    numbers: AtomicU64,
}

impl Default for Ceilings {
    fn default() -> Self {
        Self {
            limits: Mutex::default(),
            requests: Gate::with_room_for_others(),
            memory: Gate::with_room_for_others(),
            streams: Gate::for_anyone(),
            ahead: Gate::for_anyone(),
            disk: Gate::for_anyone(),
            begun: Arc::default(),
            sent: Arc::default(),
            received: Arc::default(),
            disk_wait: DISK_WAIT,
            waiting: Default::default(),
            retries: Default::default(),
            throttled: AtomicU64::new(0),
            numbers: AtomicU64::new(0),
        }
    }
}

/// As long as nothing moves on a connection until it is given up.
const DISK_WAIT: Duration = Duration::from_secs(30);

impl Ceilings {
    pub(crate) fn new(limits: Limits) -> Result<Self> {
        let ceilings = Self::default();
        ceilings.set(limits)?;
        Ok(ceilings)
    }

    pub(crate) fn with_disk_wait(self, disk_wait: Option<Duration>) -> Self {
        Self { disk_wait: disk_wait.unwrap_or(DISK_WAIT), ..self }
    }

    pub(crate) fn limits(&self) -> Limits {
        *self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Also of those who wait already.
    pub(crate) fn set(&self, limits: Limits) -> Result<()> {
        let limits = limits.check()?;
        // Locked to the end, so that of two who set, one has set all.
        let mut current = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        *current = limits;
        let rate = |rate: Option<u64>| rate.map(|rate| rate as f64);
        self.requests.set_limit(limits.requests_in_flight);
        self.memory.set_limit(limits.memory_bytes);
        self.streams.set_limit(limits.memory_bytes.map(|bytes| bytes - bytes / 4));
        self.ahead.set_limit(limits.memory_bytes.map(|bytes| bytes / 8));
        self.disk.set_limit(limits.disk_bytes);
        self.begun.set_rate(rate(limits.requests_per_second));
        self.sent.set_rate(rate(limits.upload_bytes_per_second));
        self.received.set_rate(rate(limits.download_bytes_per_second));
        Ok(())
    }

    pub(crate) fn stats(&self) -> Stats {
        let retries = |cause: Cause| self.retries[cause as usize].load(Ordering::Relaxed);
        Stats {
            requests: self.begun.taken(),
            requests_in_flight: self.requests.held(),
            bytes_sent: self.sent.taken(),
            bytes_received: self.received.taken(),
            memory_bytes: self.memory.held(),
            disk_bytes: self.disk.held(),
            waiting: Waiting {
                for_requests_in_flight: self.waiting(Wait::Place),
                for_requests_per_second: self.waiting(Wait::Rate),
                for_bytes_per_second: self.waiting(Wait::Bytes),
                for_slowed_prefix: self.waiting(Wait::Prefix),
                for_memory: self.waiting(Wait::Memory),
                for_disk: self.waiting(Wait::Disk),
                for_retries: self.waiting(Wait::Retry),
            },
            throttled: self.throttled.load(Ordering::Relaxed),
            retries: RetryCounts {
                transient: retries(Cause::Transient),
                throttled: retries(Cause::Throttled),
                unreachable: retries(Cause::Unreachable),
            },
        }
    }

    pub(super) fn waiting(&self, why: Wait) -> u64 {
        self.waiting[why as usize].load(Ordering::Relaxed)
    }

    pub(super) fn one_more_waits(&self, why: Wait) -> OneWaits<'_> {
        let count = &self.waiting[why as usize];
        count.fetch_add(1, Ordering::Relaxed);
        OneWaits(count)
    }

    pub(super) fn count_retry(&self, cause: Cause) {
        self.retries[cause as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_throttled(&self) {
        self.throttled.fetch_add(1, Ordering::Relaxed);
    }

    /// One that nobody else of this client has.
    pub(super) fn next_number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// Counts one who waits.
#[derive(Debug)]
pub(super) struct OneWaits<'a>(&'a AtomicU64);

impl Drop for OneWaits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
