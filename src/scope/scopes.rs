//! All scopes of a client, and their end together.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use futures::future::join_all;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Scope;
use crate::error::Result;

/// The scopes of a client that are in use.
#[derive(Debug, Default)]
pub(crate) struct Scopes {
    all: Mutex<Vec<Weak<Scope>>>,
    draining: CancellationToken,
}

impl Scopes {
    /// Cancelled when no operation is to begin any more.
    pub(crate) fn draining(&self) -> CancellationToken {
        self.draining.clone()
    }

    pub(crate) fn add(&self, scope: &Arc<Scope>) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        // Looking through them now and then costs each scope a look at two others.
        if all.len() == all.capacity() {
            all.retain(|scope| scope.strong_count() > 0);
            let room = all.len().max(8);
            all.reserve(room);
        }
        all.push(Arc::downgrade(scope));
    }

    /// Lets operations end by themselves for three quarters of the limit, and closes all scopes in what is left of it.
    pub(crate) async fn close_within(&self, limit: Duration) -> Result<()> {
        self.draining.cancel();
        let all: Vec<Arc<Scope>> = {
            let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
            all.iter().filter_map(Weak::upgrade).collect()
        };
        let begun = Instant::now();
        join_all(all.iter().map(|scope| scope.drain(limit - limit / 4))).await;
        let left = limit.saturating_sub(begun.elapsed());
        join_all(all.iter().map(|scope| scope.close_within(left))).await.into_iter().collect()
    }
}
