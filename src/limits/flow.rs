//! What one operation of one scope asks for, under the ceilings of its scope and of its client.

use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::ceilings::Ceilings;
use super::gate::{Gate, Permit};
use super::line::Owner;
use super::pace::Pace;
use crate::observe::{Cause, Counters, Record, Wait, Way};

/// For whom requests are made, from what they draw, and where it is noted. Clones are the same object of the same operation.
#[derive(Debug, Clone)]
pub(crate) struct Flow {
    operation: Arc<Operation>,
    record: Arc<Record>,
}

#[derive(Debug)]
struct Operation {
    owner: Owner,
    scope: Arc<Ceilings>,
    client: Arc<Ceilings>,
}

/// What an operation holds of something, by the ceilings of its scope and of its client; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Held {
    of_client: Permit,
    of_scope: Permit,
}

/// What waits for a body's next bytes to be allowed.
pub(crate) type Pause = Pin<Box<dyn Future<Output = ()> + Send + Sync>>;

const PIECES_PER_SECOND: f64 = 20.0;
const LONGEST_PIECE: usize = 64 * 1024;

impl Flow {
    /// Of a new scope, which has so many times the share of one whose weight is 1.
    pub(crate) fn of_scope(client: &Arc<Ceilings>, scope: Arc<Ceilings>, weight: NonZeroU32) -> Self {
        let owner = Owner { scope: client.next_number(), weight, operation: 0 };
        Self::of(Operation { owner, scope, client: Arc::clone(client) })
    }

    fn of(operation: Operation) -> Self {
        Self { operation: Arc::new(operation), record: Arc::default() }
    }

    /// Another operation of the same scope.
    pub(crate) fn another(&self) -> Self {
        let Operation { owner, scope, client } = &*self.operation;
        let owner = Owner { operation: client.next_number(), ..*owner };
        Self::of(Operation { owner, scope: Arc::clone(scope), client: Arc::clone(client) })
    }

    /// Another object of the same operation.
    pub(crate) fn another_object(&self) -> Self {
        let record = Record::new(Arc::clone(self.counters()));
        Self { operation: Arc::clone(&self.operation), record: Arc::new(record) }
    }

    pub(crate) fn record(&self) -> &Arc<Record> {
        &self.record
    }

    /// What the objects of the operation have come to.
    pub(crate) fn counters(&self) -> &Arc<Counters> {
        self.record.counters()
    }

    pub(crate) fn scope(&self) -> &Ceilings {
        &self.operation.scope
    }

    pub(super) fn owner(&self) -> Owner {
        self.operation.owner
    }

    /// The narrower ones first: who waits for those of its scope keeps nothing from other scopes.
    fn ceilings(&self) -> [&Arc<Ceilings>; 2] {
        [&self.operation.scope, &self.operation.client]
    }

    /// Waits for `what`, which the statistics and the record tell.
    pub(crate) async fn waiting<T>(&self, why: Wait, what: impl Future<Output = T>) -> T {
        let _waiting = self.ceilings().map(|ceilings| ceilings.one_more_waits(why));
        let _noted = Noted { record: &self.record, why, begun: Instant::now() };
        what.await
    }

    /// Waits until a request may be begun. What it returns is held until the request has ended.
    pub(crate) async fn begin(&self) -> Held {
        let owner = self.owner();
        // First the place, so that no turn is used up in waiting for one.
        let place = self.hold(Wait::Place, 1, |ceilings| &ceilings.requests).await;
        for ceilings in self.ceilings() {
            let limited = ceilings.begun.rate().is_some();
            let _turn = if limited { self.waiting(Wait::Rate, ceilings.begun.wait(owner)).await } else { None };
            ceilings.begun.charge(owner, 1);
        }
        place
    }

    pub(crate) fn count_retry(&self, cause: Cause) {
        self.record.retried(cause);
        self.ceilings().iter().for_each(|ceilings| ceilings.count_retry(cause));
    }

    pub(super) fn count_throttled(&self) {
        self.ceilings().iter().for_each(|ceilings| ceilings.count_throttled());
    }

    /// Requests of the client that are on their way.
    pub(super) fn requests_in_flight(&self) -> u64 {
        self.operation.client.requests.held()
    }

    /// Waits until so many bytes of memory may be used.
    ///
    /// Who has some does not wait for more with it in hand, or it is given back without it: so it does not wait for itself.
    pub(crate) async fn memory(&self, bytes: u64) -> Held {
        self.hold(Wait::Memory, bytes, |ceilings| &ceilings.memory).await
    }

    /// Waits until so many bytes may be used for what comes from a stream of the caller's. They are to be had a second time from
    /// [`memory`](Self::memory), of which all streams together leave something: what a stream waits for may be a download.
    pub(crate) async fn stream_memory(&self, bytes: u64) -> Held {
        self.hold(Wait::Memory, bytes, |ceilings| &ceilings.streams).await
    }

    /// What [`stream_memory`](Self::stream_memory) has in all.
    pub(crate) fn most_for_streams(&self) -> u64 {
        self.ceilings().iter().filter_map(|ceilings| ceilings.streams.limit()).min().unwrap_or(u64::MAX)
    }

    /// So many bytes of memory if they are there, and nobody waits for them.
    pub(crate) fn try_memory(&self, bytes: u64) -> Option<Held> {
        self.try_hold(bytes, |ceilings| &ceilings.memory)
    }

    /// So many bytes of memory for what is read ahead of a caller, if they are there. All that is read ahead together leaves most of
    /// it: what a caller does before it reads on may wait for memory.
    pub(crate) fn try_ahead(&self, bytes: u64) -> Option<[Held; 2]> {
        let most = self.ceilings().iter().filter_map(|ceilings| ceilings.ahead.limit()).min();
        if most.is_some_and(|most| most < bytes) {
            return None;
        }
        Some([self.try_hold(bytes, |ceilings| &ceilings.ahead)?, self.try_memory(bytes)?])
    }

    /// Whether somebody waits for memory.
    pub(crate) fn memory_is_wanted(&self) -> bool {
        self.ceilings().iter().any(|ceilings| ceilings.waiting(Wait::Memory) > 0)
    }

    /// Waits until so many bytes of the quota are there, until then; `None` when they are not.
    pub(crate) async fn disk(&self, bytes: u64, until: Option<Instant>) -> Option<Held> {
        let held = self.hold(Wait::Disk, bytes, |ceilings| &ceilings.disk);
        match until {
            Some(until) => tokio::time::timeout_at(until, held).await.ok(),
            None => Some(held.await),
        }
    }

    pub(crate) fn try_disk(&self, bytes: u64) -> Option<Held> {
        self.try_hold(bytes, |ceilings| &ceilings.disk)
    }

    /// The smaller one of the quotas, when a file of so many bytes is larger.
    pub(crate) fn quota_under(&self, bytes: u64) -> Option<u64> {
        self.ceilings().iter().filter_map(|ceilings| ceilings.disk.limit()).min().filter(|quota| *quota < bytes)
    }

    /// What this client has on disk.
    pub(crate) fn on_disk(&self) -> u64 {
        self.operation.client.disk.held()
    }

    /// For how long a download waits for room on the disk.
    pub(crate) fn disk_wait(&self) -> Duration {
        self.operation.client.disk_wait
    }

    async fn hold(&self, why: Wait, amount: u64, gate: impl Fn(&Ceilings) -> &Arc<Gate>) -> Held {
        if let Some(held) = self.try_hold(amount, &gate) {
            return held;
        }
        let [scope, client] = self.ceilings().map(|ceilings| gate(ceilings));
        self.waiting(why, async {
            let of_scope = scope.enter(self.owner(), amount).await;
            let of_client = client.enter(self.owner(), amount).await;
            Held { of_client, of_scope }
        })
        .await
    }

    fn try_hold(&self, amount: u64, gate: impl Fn(&Ceilings) -> &Arc<Gate>) -> Option<Held> {
        let [scope, client] = self.ceilings().map(|ceilings| gate(ceilings));
        let of_scope = scope.try_enter(self.owner(), amount)?;
        let of_client = client.try_enter(self.owner(), amount)?;
        Some(Held { of_client, of_scope })
    }

    /// The longest piece of a body in which its pace still shows; `None` without one.
    pub(crate) fn piece(&self, way: Way) -> Option<usize> {
        let rates = self.paces(way).into_iter().filter_map(|pace| pace.rate());
        let rate = rates.min_by(f64::total_cmp)?;
        Some(((rate / PIECES_PER_SECOND) as usize).clamp(1, LONGEST_PIECE))
    }

    /// Counts bytes that went.
    pub(crate) fn count(&self, way: Way, bytes: usize) {
        self.record.moved(way, bytes);
        for pace in self.paces(way) {
            pace.charge(self.owner(), bytes as u64);
        }
    }

    /// What to wait for before the next bytes, if anything: until it is time for those that went.
    pub(crate) fn pause(&self, way: Way) -> Option<Pause> {
        if self.paces(way).into_iter().all(|pace| pace.rate().is_none()) {
            return None;
        }
        let flow = self.clone();
        Some(Box::pin(async move {
            let paces = async {
                for pace in flow.paces(way) {
                    drop(pace.wait(flow.owner()).await);
                }
            };
            flow.waiting(Wait::Bytes, paces).await;
        }))
    }

    fn paces(&self, way: Way) -> [&Arc<Pace>; 2] {
        self.ceilings().map(|ceilings| match way {
            Way::Sent => &ceilings.sent,
            Way::Received => &ceilings.received,
        })
    }
}

/// Notes for how long something was waited for, also when nobody waits any more.
struct Noted<'a> {
    record: &'a Record,
    why: Wait,
    begun: Instant,
}

impl Drop for Noted<'_> {
    fn drop(&mut self) {
        self.record.waited(self.why, self.begun.elapsed());
    }
}

impl Default for Flow {
    /// Without a limit.
    fn default() -> Self {
        Self::of_scope(&Arc::default(), Arc::default(), NonZeroU32::MIN)
    }
}

impl Held {
    /// Gives back what is more than `amount`.
    pub(crate) fn shrink(&mut self, amount: u64) {
        self.of_client.shrink(amount);
        self.of_scope.shrink(amount);
    }
}
