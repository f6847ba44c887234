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

impl Default for Gate {
    fn default() -> Self {
        Self { limit: AtomicU64::new(UNLIMITED), held: AtomicU64::new(0), line: Mutex::new(Line::new(History::Held)) }
    }
}

impl Gate {
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
        if !line.is_empty() || !self.has(amount) {
            return None;
        }
        line.add(owner, amount);
        Some(self.give(owner, amount, true))
    }

    fn has(&self, amount: u64) -> bool {
        let held = self.held();
        held == 0 || self.limit().is_none_or(|limit| held.saturating_add(amount) <= limit)
    }

    fn give(self: &Arc<Self>, owner: Owner, amount: u64, counted: bool) -> Permit {
        self.held.fetch_add(amount, Ordering::SeqCst);
        Permit { gate: Arc::clone(self), owner, amount, counted }
    }

    /// Lets those in who can be.
    fn admit(self: &Arc<Self>) {
        loop {
            let mut line = self.line();
            let Some(first) = line.front() else { return };
            // Who does not wait any more is in nobody's way.
            if !first.admitted.is_closed() && !self.has(first.amount) {
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
