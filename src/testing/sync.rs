//! What the server's tasks share and wait for.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

/// A panic of one test's closure must not take the server's other tests along.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Holds requests back until they are let go.
#[derive(Debug)]
pub(super) struct Gate {
    state: watch::Sender<GateState>,
}

#[derive(Debug, Clone, Copy, Default)]
struct GateState {
    held: bool,
    /// Counts releases, so that a new hold right after one cannot catch those let go.
    releases: u64,
}

impl Gate {
    pub(super) fn new() -> Self {
        Self { state: watch::Sender::new(GateState::default()) }
    }

    pub(super) fn hold(&self) {
        self.state.send_modify(|state| state.held = true);
    }

    pub(super) fn release(&self) {
        self.state.send_modify(|state| {
            state.held = false;
            state.releases += 1;
        });
    }

    /// A pass for one request: `None` when nothing is held now.
    pub(super) fn arrive(&self) -> Option<Held> {
        let now = *self.state.borrow();
        now.held.then(|| Held { state: self.state.subscribe(), releases: now.releases })
    }
}

/// A request at a closed gate.
#[derive(Debug)]
pub(super) struct Held {
    state: watch::Receiver<GateState>,
    releases: u64,
}

impl Held {
    pub(super) async fn released(mut self) {
        let releases = self.releases;
        // An error means that the server is gone, and its connections with it.
        let _ = self.state.wait_for(|state| state.releases != releases).await;
    }
}

/// Counts open connections.
#[derive(Debug, Default)]
pub(super) struct Connections {
    open: AtomicUsize,
    changed: Notify,
}

impl Connections {
    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    pub(super) fn enter(self: &Arc<Self>) -> Connection {
        self.open.fetch_add(1, Ordering::SeqCst);
        self.changed.notify_waiters();
        Connection(Arc::clone(self))
    }

    pub(super) async fn wait_for(&self, mut condition: impl FnMut(usize) -> bool + Send) {
        let mut changed = pin!(self.changed.notified());
        loop {
            changed.as_mut().enable();
            if condition(self.open()) {
                return;
            }
            changed.as_mut().await;
            changed.set(self.changed.notified());
        }
    }
}

/// One open connection.
#[derive(Debug)]
pub(super) struct Connection(Arc<Connections>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
        self.0.changed.notify_waiters();
    }
}
