//! So much of something in a second.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::line::{History, Line, Owner};

/// What is counted, and where there is a rate, waited for.
#[derive(Debug)]
pub(super) struct Pace {
    /// The bits of a number that is not 0; 0 without a rate.
    rate: AtomicU64,
    taken: AtomicU64,
    state: Mutex<State>,
    /// The rate was.
    changed: Notify,
}

#[derive(Debug)]
struct State {
    debt: Debt,
    /// Whether somebody has the turn; the others stand in the line.
    is_taken: bool,
    line: Line<oneshot::Sender<Turn>>,
}

/// The right to wait, while all others stand behind.
#[derive(Debug)]
pub(super) struct Turn(Option<Arc<Pace>>);

/// What was taken and is not paid for by time. Less than nothing is credit.
#[derive(Debug, Default)]
struct Debt {
    amount: f64,
    at: Option<Instant>,
}

/// So long may be caught up with what was not taken.
const CREDIT: Duration = Duration::from_millis(100);

impl Default for Pace {
    fn default() -> Self {
        Self {
            rate: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            state: Mutex::new(State { debt: Debt::default(), is_taken: false, line: Line::new(History::Had) }),
            changed: Notify::new(),
        }
    }
}

impl Pace {
    /// So much in a second.
    pub(super) fn set_rate(&self, rate: Option<f64>) {
        self.rate.store(rate.map_or(0, f64::to_bits), Ordering::Relaxed);
        self.changed.notify_one();
    }

    pub(super) fn rate(&self) -> Option<f64> {
        Some(self.rate.load(Ordering::Relaxed)).filter(|bits| *bits != 0).map(f64::from_bits)
    }

    pub(super) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    pub(super) fn charge(&self, owner: Owner, amount: u64) {
        self.taken.fetch_add(amount, Ordering::Relaxed);
        if self.rate().is_some() {
            let mut state = self.state();
            state.debt.amount += amount as f64;
            // Who has had how much matters to those who wait.
            if state.is_taken {
                state.line.add(owner, amount);
            }
        }
    }

    /// Waits until what was charged is paid for, before all others as long as the turn is not dropped; at once without a rate.
    pub(super) async fn wait(self: &Arc<Self>, owner: Owner) -> Option<Turn> {
        self.rate()?;
        let turn = self.turn(owner).await;
        while let Some(rate) = self.rate()
            && let Some(wait) = self.paid_after(rate)
        {
            // Either way, it is looked at again.
            let _ = tokio::time::timeout(wait, self.changed.notified()).await;
        }
        Some(turn)
    }

    async fn turn(self: &Arc<Self>, owner: Owner) -> Turn {
        let given = {
            let mut state = self.state();
            if !std::mem::replace(&mut state.is_taken, true) {
                return Turn(Some(Arc::clone(self)));
            }
            let (sender, given) = oneshot::channel();
            state.line.join(owner, sender);
            given
        };
        match given.await {
            Ok(turn) => turn,
            Err(_) => unreachable!("who waits is in the line until its turn has come"),
        }
    }

    fn paid_after(&self, rate: f64) -> Option<Duration> {
        self.state().debt.paid_after(rate)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(pace) = self.0.take() else { return };
        loop {
            let mut state = pace.state();
            let Some((_, next)) = state.line.pop() else {
                state.is_taken = false;
                return;
            };
            drop(state);
            match next.send(Self(Some(Arc::clone(&pace)))) {
                Ok(()) => return,
                // It does not wait any more.
                Err(mut unwanted) => unwanted.0 = None,
            }
        }
    }
}

impl Debt {
    /// How long it takes until it is paid; `None` when it is.
    fn paid_after(&mut self, rate: f64) -> Option<Duration> {
        let now = Instant::now();
        let passed = self.at.map_or(Duration::ZERO, |at| now - at);
        self.at = Some(now);
        self.amount = (self.amount - passed.as_secs_f64() * rate).max(-CREDIT.as_secs_f64() * rate);
        // At least what a timer can tell.
        (self.amount > 0.0).then(|| Duration::from_secs_f64((self.amount / rate).clamp(0.001, 3600.0)))
    }
}
