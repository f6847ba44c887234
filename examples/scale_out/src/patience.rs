//! How long something may be missing.

use std::time::Duration;

use tokio::time::Instant;

use crate::error::Error;
use crate::queue::PAUSE;

/// Since when attempts fail.
#[derive(Debug)]
pub(crate) struct Patience {
    limit: Duration,
    failing_since: Option<Instant>,
}

impl Patience {
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit, failing_since: None }
    }

    /// It is there again.
    pub(crate) fn renew(&mut self) {
        self.failing_since = None;
    }

    /// Waits a little before the next attempt, unless they fail for too long.
    pub(crate) async fn bear(&mut self, error: Error) -> Result<(), Error> {
        let since = *self.failing_since.get_or_insert_with(Instant::now);
        if since.elapsed() >= self.limit {
            return Err(error);
        }
        tracing::warn!("{}; trying again", error.chain());
        tokio::time::sleep(PAUSE).await;
        Ok(())
    }
}
