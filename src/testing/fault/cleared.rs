use tokio::sync::watch;

/// Tells what a fault holds up that the faults were cleared.
#[derive(Debug, Clone)]
pub(in crate::testing) struct Cleared(watch::Receiver<u64>);

/// The other end of every [`Cleared`].
#[derive(Debug)]
pub(super) struct Clearing(watch::Sender<u64>);

impl Default for Clearing {
    fn default() -> Self {
        Self(watch::Sender::new(0))
    }
}

impl Clearing {
    /// Tells all who listen until now.
    pub(super) fn clear(&self) {
        self.0.send_modify(|clears| *clears += 1);
    }

    /// Hears of the next one, whenever it is waited for.
    pub(super) fn listen(&self) -> Cleared {
        Cleared(self.0.subscribe())
    }
}

impl Cleared {
    pub(in crate::testing) async fn wait(mut self) {
        // An error means that the server is gone, and its connections with it.
        let _ = self.0.changed().await;
    }
}
