//! Writes of one batch to the same key, one after the other in the order of the input: the last one wins.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::address::Location;

/// The writes of a batch that are under way.
#[derive(Clone, Default)]
pub(super) struct Turns(Arc<Mutex<HashMap<Location, Last>>>);

/// The last write to a key that came.
struct Last {
    number: u64,
    done: oneshot::Receiver<()>,
}

/// A place in the order of the writes to one key; the next one comes when it is dropped.
pub(super) struct Turn {
    turns: Turns,
    location: Location,
    number: u64,
    before: Option<oneshot::Receiver<()>>,
    _done: oneshot::Sender<()>,
}

impl Turns {
    /// The place behind all that were taken before.
    pub(super) fn take(&self, location: &Location) -> Turn {
        let (sender, done) = oneshot::channel();
        let mut last = self.lock();
        let number = last.get(location).map_or(0, |last| last.number + 1);
        let before = last.insert(location.clone(), Last { number, done }).map(|last| last.done);
        Turn { turns: self.clone(), location: location.clone(), number, before, _done: sender }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Location, Last>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    /// Waits until those before are done, however they ended.
    pub(super) async fn begin(&mut self) {
        if let Some(before) = &mut self.before {
            let _ = before.await;
            self.before = None;
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut last = self.turns.lock();
        if last.get(&self.location).is_some_and(|last| last.number == self.number) {
            last.remove(&self.location);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;
    use crate::address::Root;

    fn location(key: &str) -> Location {
        Root::Urls.object(&format!("s3://b/{key}")).unwrap().location
    }

    #[tokio::test]
    async fn writes_to_one_key_wait_for_those_before_and_others_do_not() {
        let turns = Turns::default();
        let (mut first, mut second, mut third) =
            (turns.take(&location("k")), turns.take(&location("k")), turns.take(&location("k")));
        turns.take(&location("other")).begin().now_or_never().unwrap();
        first.begin().now_or_never().unwrap();
        assert!(second.begin().now_or_never().is_none() && third.begin().now_or_never().is_none());
        drop(first);
        second.begin().now_or_never().unwrap();
        assert!(third.begin().now_or_never().is_none());
        drop(second);
        third.begin().now_or_never().unwrap();
        drop(third);
        assert!(turns.lock().is_empty());
    }
}
