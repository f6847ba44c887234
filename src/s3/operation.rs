//! What operations do with their scope.

use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, Either};
use futures::{FutureExt as _, TryFutureExt as _};
use tracing::Instrument as _;

use super::S3;
use crate::address::{Location, Root};
use crate::encryption::Encryption;
use crate::error::{Error, ErrorKind, Result};
use crate::observe::{Counters, Reported, Subject, Task};
use crate::ops::Flights;
use crate::scope::Scope;
use crate::transfer::Engine;

impl S3 {
    /// Runs an operation unless and until the scope is closed, and no longer than its timeout.
    pub(crate) fn run<T>(
        &self,
        subject: Subject<'_>,
        operation: impl Future<Output = Result<T>>,
    ) -> impl Future<Output = Result<T>> {
        // Thousands of bytes, which every layer from here on would move.
        let operation = Box::pin(operation);
        let operation = match self.timeout {
            None => Either::Left(operation),
            Some(limit) => {
                let timely = tokio::time::timeout(limit, operation);
                Either::Right(timely.map(move |ended| ended.unwrap_or_else(|_| Err(Error::timed_out(limit)))))
            }
        };
        self.run_untimed(subject, operation)
    }

    /// The same for as long as it takes.
    pub(crate) fn run_untimed<T>(
        &self,
        subject: Subject<'_>,
        operation: impl Future<Output = Result<T>>,
    ) -> impl Future<Output = Result<T>> {
        let show_key = self.inner.client.parts().keys_in_spans;
        let task = Task::begin(self.engine.flow().record(), subject, show_key);
        let operation = self.scope().unless_closed(operation).instrument(task.span());
        operation.map(|ended| task.end(ended))
    }

    /// As [`run`](Self::run), with one that changes something.
    pub(crate) fn change<T>(
        &self,
        subject: Subject<'_>,
        operation: impl Future<Output = Result<T>>,
    ) -> impl Future<Output = Result<T>> {
        self.run(subject, operation).map_err(|error| {
            // Ended from outside, what was sent of it may be carried out.
            let unknown = error.is_outcome_unknown() || error.kind() == ErrorKind::Closed || error.is_timed_out();
            error.with_outcome_unknown(unknown)
        })
    }

    /// An operation on one object, which is all that there is to be done.
    pub(crate) fn single<T>(
        &self,
        operation: impl Future<Output = Result<T>> + Send + 'static,
    ) -> BoxFuture<'static, Result<T>>
    where
        T: 'static,
    {
        let running = self.counters().begin(Some(1));
        Box::pin(operation.inspect(move |ended| running.count(ended.is_ok())))
    }

    /// What is noted of the object that this is for.
    pub(crate) fn reported(&self) -> Reported {
        Reported::by(self.engine.flow().record())
    }

    pub(crate) fn counters(&self) -> &Arc<Counters> {
        self.engine.flow().counters()
    }

    pub(crate) fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    pub(crate) fn timed_out(&self) -> Error {
        Error::timed_out(self.timeout.unwrap_or_default())
    }

    pub(crate) fn flights(&self) -> Option<&Flights> {
        self.inner.flights.as_ref()
    }

    /// An object was stored or deleted, or may have been.
    pub(crate) fn changed(&self, location: &Location) {
        if let Some(flights) = self.flights() {
            flights.forget(location);
        }
    }

    pub(crate) fn root(&self) -> &Root {
        &self.inner.settings.root
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(crate) fn scope(&self) -> &Arc<Scope> {
        &self.inner.scope
    }

    pub(crate) fn part_size(&self) -> Option<u64> {
        self.inner.settings.part_size
    }

    pub(crate) fn encryption(&self) -> Option<&Encryption> {
        self.inner.settings.encryption.as_ref()
    }
}
