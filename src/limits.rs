//! Ceilings that all transfers of a client share, and that may be set while they run.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex as StdMutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::{Mutex, MutexGuard as TokioGuard, Notify};
use tokio::time::Instant;

use crate::error::{Error, ErrorKind, Result};

/// What all scopes of a client may use together. What is not set has no limit.
///
/// ```
/// # fn main() -> s3flow::Result<()> {
/// use s3flow::{Client, Limits};
///
/// let client = Client::builder().limits(Limits::default().requests_in_flight(128)).build()?;
/// // At night:
/// client.set_limits(client.limits().download_bytes_per_second(100_000_000))?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[must_use = "limits do nothing until a client has them"]
pub struct Limits {
    requests_in_flight: Option<u64>,
    requests_per_second: Option<u64>,
    upload_bytes_per_second: Option<u64>,
    download_bytes_per_second: Option<u64>,
}

impl Limits {
    /// How many requests may be on their way, from before the first byte is sent until the answer is read or given up. Each has a
    /// connection. Those that wait are let through in the order in which they came.
    pub fn requests_in_flight(mut self, requests: impl Into<Option<u64>>) -> Self {
        self.requests_in_flight = requests.into();
        self
    }

    /// How many requests may be begun in a second, those that are sent again included.
    pub fn requests_per_second(mut self, requests: impl Into<Option<u64>>) -> Self {
        self.requests_per_second = requests.into();
        self
    }

    /// How many bytes of bodies may be sent in a second.
    pub fn upload_bytes_per_second(mut self, bytes: impl Into<Option<u64>>) -> Self {
        self.upload_bytes_per_second = bytes.into();
        self
    }

    /// How many bytes of bodies may be received in a second. What the kernel and TLS have read ahead is not counted.
    pub fn download_bytes_per_second(mut self, bytes: impl Into<Option<u64>>) -> Self {
        self.download_bytes_per_second = bytes.into();
        self
    }

    fn check(self) -> Result<Self> {
        let Self { requests_in_flight, requests_per_second, upload_bytes_per_second, download_bytes_per_second } = self;
        for (name, limit) in [
            ("requests_in_flight", requests_in_flight),
            ("requests_per_second", requests_per_second),
            ("upload_bytes_per_second", upload_bytes_per_second),
            ("download_bytes_per_second", download_bytes_per_second),
        ] {
            if limit == Some(0) {
                return Err(Error::new(ErrorKind::Config, format!("the limit {name} is 0; no request could end")));
            }
        }
        Ok(self)
    }
}

/// What a client has done, and is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// Requests that were begun, those that were sent again included, and those that are redirected counted once.
    pub requests: u64,
    /// Of these, those that are on their way.
    pub requests_in_flight: u64,
    /// Requests that wait for a limit, before their first byte.
    pub requests_waiting: u64,
    /// Bytes of bodies that were handed to connections, those that were sent again included.
    pub bytes_sent: u64,
    /// Bytes of bodies that came, those that were asked for again included.
    pub bytes_received: u64,
}

/// The limits of a client, and who waits for them.
#[derive(Debug, Default)]
pub(crate) struct Ceilings {
    limits: StdMutex<Limits>,
    gate: Gate,
    requests: Pace,
    sent: Pace,
    received: Pace,
    waiting: AtomicUsize,
}

/// What a request holds while it is on its way.
#[derive(Debug)]
pub(crate) struct InFlight(Arc<Ceilings>);

/// Which way a body goes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Way {
    Sent,
    Received,
}

/// What waits for a body's next bytes to be allowed.
pub(crate) type Pause = Pin<Box<dyn Future<Output = ()> + Send + Sync>>;

impl Ceilings {
    pub(crate) fn new(limits: Limits) -> Result<Self> {
        Ok(Self { limits: StdMutex::new(limits.check()?), ..Self::default() })
    }

    pub(crate) fn limits(&self) -> Limits {
        *self.locked()
    }

    /// Also of those who wait already.
    pub(crate) fn set(&self, limits: Limits) -> Result<()> {
        *self.locked() = limits.check()?;
        for changed in [&self.gate.changed, &self.requests.changed, &self.sent.changed, &self.received.changed] {
            changed.notify_one();
        }
        Ok(())
    }

    fn locked(&self) -> MutexGuard<'_, Limits> {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn stats(&self) -> Stats {
        Stats {
            requests: self.requests.taken(),
            requests_in_flight: self.gate.used.load(Ordering::Relaxed) as u64,
            requests_waiting: self.waiting.load(Ordering::Relaxed) as u64,
            bytes_sent: self.sent.taken(),
            bytes_received: self.received.taken(),
        }
    }

    /// Waits until a request may be begun.
    pub(crate) async fn begin(self: &Arc<Self>) -> InFlight {
        let _waiting = Counted::one_more(&self.waiting);
        // First the place, so that no turn is used up in waiting for one.
        self.gate.enter(|| self.limits().requests_in_flight).await;
        let entered = InFlight(Arc::clone(self));
        let rate = || self.limits().requests_per_second;
        let _turn = if rate().is_some() { Some(self.requests.wait(rate).await) } else { None };
        self.requests.charge(1, rate());
        entered
    }

    /// The longest piece of a body in which its pace still shows; `None` without one.
    pub(crate) fn piece(&self, way: Way) -> Option<usize> {
        let rate = self.rate(way)?;
        Some(usize::try_from(rate / PIECES_PER_SECOND).unwrap_or(usize::MAX).clamp(1, LONGEST_PIECE))
    }

    /// Counts bytes that went.
    pub(crate) fn count(&self, way: Way, bytes: usize) {
        self.pace(way).charge(bytes as u64, self.rate(way));
    }

    /// What to wait for before the next bytes, if anything: until it is time for those that went.
    pub(crate) fn pause(self: &Arc<Self>, way: Way) -> Option<Pause> {
        self.rate(way)?;
        let ceilings = Arc::clone(self);
        Some(Box::pin(async move { drop(ceilings.pace(way).wait(|| ceilings.rate(way)).await) }))
    }

    fn rate(&self, way: Way) -> Option<u64> {
        let limits = self.locked();
        match way {
            Way::Sent => limits.upload_bytes_per_second,
            Way::Received => limits.download_bytes_per_second,
        }
    }

    fn pace(&self, way: Way) -> &Pace {
        match way {
            Way::Sent => &self.sent,
            Way::Received => &self.received,
        }
    }
}

const PIECES_PER_SECOND: u64 = 20;
const LONGEST_PIECE: usize = 64 * 1024;

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.gate.leave();
    }
}

struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn one_more(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// So many at a time.
#[derive(Debug, Default)]
struct Gate {
    /// Of the one who waits; behind it, the others stand in their order.
    turn: Mutex<()>,
    used: AtomicUsize,
    changed: Notify,
}

impl Gate {
    async fn enter(&self, limit: impl Fn() -> Option<u64>) {
        if limit().is_none() {
            self.used.fetch_add(1, Ordering::AcqRel);
            return;
        }
        let _turn = self.turn.lock().await;
        while limit().is_some_and(|limit| self.used.load(Ordering::Acquire) as u64 >= limit) {
            self.changed.notified().await;
        }
        self.used.fetch_add(1, Ordering::AcqRel);
    }

    fn leave(&self) {
        self.used.fetch_sub(1, Ordering::AcqRel);
        self.changed.notify_one();
    }
}

/// So many in a second.
#[derive(Debug, Default)]
struct Pace {
    /// Of the one who waits; behind it, the others stand in their order.
    turn: Mutex<()>,
    debt: StdMutex<Debt>,
    taken: AtomicU64,
    changed: Notify,
}

/// What was taken and is not paid for by time. Less than nothing is credit.
#[derive(Debug, Default)]
struct Debt {
    amount: f64,
    at: Option<Instant>,
}

/// So long may be caught up with what was not taken.
const CREDIT: Duration = Duration::from_millis(100);

impl Pace {
    fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    fn charge(&self, amount: u64, rate: Option<u64>) {
        self.taken.fetch_add(amount, Ordering::Relaxed);
        if rate.is_some() {
            self.debt().amount += amount as f64;
        }
    }

    /// Waits until what was charged is paid for, with all others behind.
    async fn wait(&self, rate: impl Fn() -> Option<u64>) -> TokioGuard<'_, ()> {
        let turn = self.turn.lock().await;
        while let Some(rate) = rate()
            && let Some(wait) = self.paid_after(rate)
        {
            // Either way, it is looked at again.
            let _ = tokio::time::timeout(wait, self.changed.notified()).await;
        }
        turn
    }

    fn paid_after(&self, rate: u64) -> Option<Duration> {
        self.debt().paid_after(rate)
    }

    fn debt(&self) -> MutexGuard<'_, Debt> {
        self.debt.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Debt {
    /// How long it takes until it is paid; `None` when it is.
    fn paid_after(&mut self, rate: u64) -> Option<Duration> {
        let (now, rate) = (Instant::now(), rate as f64);
        let passed = self.at.map_or(Duration::ZERO, |at| now - at);
        self.at = Some(now);
        self.amount = (self.amount - passed.as_secs_f64() * rate).max(-CREDIT.as_secs_f64() * rate);
        // At least what a timer can tell.
        (self.amount > 0.0).then(|| Duration::from_secs_f64((self.amount / rate).clamp(0.001, 3600.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ceilings(limits: Limits) -> Arc<Ceilings> {
        Arc::new(Ceilings::new(limits).unwrap())
    }

    async fn receive(ceilings: &Arc<Ceilings>, bytes: usize) {
        if let Some(pause) = ceilings.pause(Way::Received) {
            pause.await;
        }
        ceilings.count(Way::Received, bytes);
    }

    #[test]
    fn a_limit_of_nothing_is_refused_by_its_name() {
        for (limits, name) in [
            (Limits::default().requests_in_flight(0), "requests_in_flight"),
            (Limits::default().requests_per_second(0), "requests_per_second"),
            (Limits::default().upload_bytes_per_second(0), "upload_bytes_per_second"),
            (Limits::default().download_bytes_per_second(0), "download_bytes_per_second"),
        ] {
            let error = Ceilings::new(limits).unwrap_err();
            assert!(error.kind() == ErrorKind::Config && error.to_string().contains(name), "{error}");
            assert_eq!(ceilings(Limits::default()).set(limits).unwrap_err().kind(), ErrorKind::Config);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_pace_is_kept_to_a_hundredth() {
        let ceilings = ceilings(Limits::default().requests_per_second(200).download_bytes_per_second(1_000_000));
        let begun = Instant::now();
        for _ in 0..2000 {
            drop(ceilings.begin().await);
        }
        let took = begun.elapsed().as_secs_f64();
        assert!((9.8..10.1).contains(&took), "{took}");

        let begun = Instant::now();
        for _ in 0..1000 {
            receive(&ceilings, 10_000).await;
        }
        let took = begun.elapsed().as_secs_f64();
        assert!((9.8..10.1).contains(&took), "{took}");
        assert_eq!((ceilings.stats().requests, ceilings.stats().bytes_received), (2000, 10_000_000));
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_limit_holds_for_those_who_wait_already() {
        let ceilings = ceilings(Limits::default().download_bytes_per_second(1).requests_in_flight(1));
        receive(&ceilings, 1_000_000).await;
        let first = ceilings.begin().await;
        let (one, other) = (Arc::clone(&ceilings), Arc::clone(&ceilings));
        let receiving = tokio::spawn(async move { receive(&one, 1).await });
        let entering = tokio::spawn(async move { drop(other.begin().await) });
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert!(!receiving.is_finished() && !entering.is_finished());
        assert_eq!((ceilings.stats().requests_in_flight, ceilings.stats().requests_waiting), (1, 1));
        let begun = Instant::now();
        ceilings.set(Limits::default().download_bytes_per_second(10_000_000).requests_in_flight(2)).unwrap();
        receiving.await.unwrap();
        entering.await.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
        drop(first);
        assert_eq!((ceilings.stats().requests_in_flight, ceilings.stats().requests_waiting), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn places_are_given_in_the_order_of_waiting_and_come_back_from_who_stops_waiting() {
        let ceilings = ceilings(Limits::default().requests_in_flight(2));
        let (first, second) = (ceilings.begin().await, ceilings.begin().await);
        let order = Arc::new(StdMutex::new(Vec::new()));
        let waiting: Vec<_> = (0..5)
            .map(|number| {
                let (ceilings, order) = (Arc::clone(&ceilings), Arc::clone(&order));
                tokio::spawn(async move {
                    let _entered = ceilings.begin().await;
                    order.lock().unwrap().push(number);
                    tokio::time::sleep(Duration::from_secs(1)).await;
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(ceilings.stats().requests_waiting, 5);
        waiting[0].abort();
        waiting[2].abort();
        drop((first, second));
        for task in waiting {
            let _ = task.await;
        }
        assert_eq!(*order.lock().unwrap(), [1, 3, 4]);
        assert_eq!((ceilings.stats().requests_in_flight, ceilings.stats().requests_waiting), (0, 0));
    }
}
