//! So much of something at a time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::line::{History, Line, Owner};

/// A resource of which so much may be held at a time, by all together. Who wants more of it than there is gets it when nobody
/// else holds any.
#[derive(Debug)]
pub(super) struct Gate {
    /// [`UNLIMITED`] without one.
    limit: AtomicU64,
    /// Of the limit, one operation leaves one part in so many to others, which would have to wait for it to give something back.
    left_to_others: Option<u64>,
    held: AtomicU64,
    line: Mutex<Line<Waiter>>,
}

#[derive(Debug)]
struct Waiter {
    amount: u64,
    admitted: oneshot::Sender<Permit>,
}

/// What somebody holds; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Permit {
    gate: Arc<Gate>,
    owner: Owner,
    amount: u64,
    /// Whether the line knows of it: there was a limit when it was given.
    counted: bool,
}

const UNLIMITED: u64 = u64::MAX;

/// An eighth of few is nothing.
const LEFT_TO_OTHERS: u64 = 8;

impl Gate {
    /// Of which an operation may have all.
    pub(super) fn for_anyone() -> Arc<Self> {
        Self::new(None)
    }

    /// Of which an operation leaves something to others.
    pub(super) fn with_room_for_others() -> Arc<Self> {
        Self::new(Some(LEFT_TO_OTHERS))
    }

    fn new(left_to_others: Option<u64>) -> Arc<Self> {
        Arc::new(Self {
            limit: AtomicU64::new(UNLIMITED),
            left_to_others,
            held: AtomicU64::new(0),
            line: Mutex::new(Line::new(History::Held)),
        })
    }

    pub(super) fn set_limit(self: &Arc<Self>, limit: Option<u64>) {
        self.limit.store(limit.unwrap_or(UNLIMITED), Ordering::SeqCst);
        self.admit();
    }

    pub(super) fn limit(&self) -> Option<u64> {
        Some(self.limit.load(Ordering::SeqCst)).filter(|limit| *limit != UNLIMITED)
    }

    pub(super) fn held(&self) -> u64 {
        self.held.load(Ordering::SeqCst)
    }

    /// Waits until `amount` is there.
    pub(super) async fn enter(self: &Arc<Self>, owner: Owner, amount: u64) -> Permit {
        if self.limit().is_none() {
            return self.give(owner, amount, false);
        }
        let (admitted, admission) = oneshot::channel();
        self.line().join(owner, Waiter { amount, admitted });
        self.admit();
        match admission.await {
            Ok(permit) => permit,
            Err(_) => unreachable!("who waits is in the line until it is admitted"),
        }
    }

    /// What there is at once, and nobody waits for.
    pub(super) fn try_enter(self: &Arc<Self>, owner: Owner, amount: u64) -> Option<Permit> {
        if self.limit().is_none() {
            return Some(self.give(owner, amount, false));
        }
        let mut line = self.line();
        if !line.is_empty() || !self.has(amount, line.held_by(owner)) {
            return None;
        }
        line.add(owner, amount);
        Some(self.give(owner, amount, true))
    }

    /// Whether there is so much for an operation that holds so much.
    fn has(&self, amount: u64, by_itself: u64) -> bool {
        let held = self.held();
        let Some(limit) = self.limit().filter(|_| held > 0) else { return true };
        let most = limit - self.left_to_others.map_or(0, |share| limit / share);
        held.saturating_add(amount) <= limit && (by_itself == 0 || by_itself.saturating_add(amount) <= most)
    }

    fn give(self: &Arc<Self>, owner: Owner, amount: u64, counted: bool) -> Permit {
        self.held.fetch_add(amount, Ordering::SeqCst);
        Permit { gate: Arc::clone(self), owner, amount, counted }
    }

    /// Lets those in who can be.
    fn admit(self: &Arc<Self>) {
        loop {
            let mut line = self.line();
            let Some((owner, first)) = line.front() else { return };
            // Who does not wait any more is in nobody's way.
            if !first.admitted.is_closed() && !self.has(first.amount, line.held_by(owner)) {
                return;
            }
            let Some((owner, Waiter { amount, admitted })) = line.pop() else { return };
            line.add(owner, amount);
            let permit = self.give(owner, amount, true);
            drop(line);
            if let Err(mut unwanted) = admitted.send(permit) {
                unwanted.take_back(0);
            }
        }
    }

    fn line(&self) -> MutexGuard<'_, Line<Waiter>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit {
    /// Gives back what is more than `amount`.
    pub(super) fn shrink(&mut self, amount: u64) {
        if amount < self.amount {
            self.take_back(amount);
            // A limit that is set after this is looked at by who sets it.
            if self.gate.limit().is_some() {
                self.gate.admit();
            }
        }
    }

    fn take_back(&mut self, left: u64) {
        let less = self.amount - left;
        self.amount = left;
        if self.counted {
            self.gate.line().subtract(self.owner, less);
        }
        self.gate.held.fetch_sub(less, Ordering::SeqCst);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.shrink(0);
    }
}
