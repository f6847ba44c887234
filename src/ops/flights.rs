//! Gets of the same object that are under way at the same time, and share one download.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared, WeakShared};

use crate::address::Location;
use crate::error::{Error, Result};
use crate::store::{ByteRange, ReadOptions};
use crate::transfer::Downloaded;

/// The downloads of a scope that are under way. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flights(Arc<Mutex<Underway>>);

#[derive(Debug, Default)]
struct Underway {
    /// With the number of each.
    flights: HashMap<Wanted, (u64, WeakShared<Flight>)>,
    begun: u64,
}

/// Ends with what everybody who waits for it gets; it is polled by any of them, and ends with the last.
type Flight = BoxFuture<'static, Result<Downloaded, Arc<Error>>>;

/// What makes two gets the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Wanted {
    location: Location,
    range: Option<ByteRange>,
    if_match: Option<String>,
}

impl Wanted {
    /// `None` with a customer's key, without which nobody is to have the object.
    pub(super) fn new(location: &Location, options: &ReadOptions<'_>) -> Option<Self> {
        let (range, if_match) = (options.range, options.if_match.map(str::to_owned));
        options.customer_key.is_none().then(|| Self { location: location.clone(), range, if_match })
    }
}

impl Flights {
    /// The download that is under way, or this one.
    pub(super) async fn join(
        &self,
        wanted: Wanted,
        download: impl Future<Output = Result<Downloaded>> + Send + 'static,
    ) -> Result<Downloaded> {
        let flight = self.find_or_begin(wanted, download);
        flight.await.map_err(|error| error.duplicate())
    }

    fn find_or_begin(
        &self,
        wanted: Wanted,
        download: impl Future<Output = Result<Downloaded>> + Send + 'static,
    ) -> Shared<Flight> {
        let mut underway = self.lock();
        if let Some(flight) = underway.flights.get(&wanted).and_then(|(_, flight)| flight.upgrade()) {
            return flight;
        }
        underway.begun += 1;
        let number = underway.begun;
        let landing = Landing { flights: self.clone(), wanted: wanted.clone(), number };
        let flight: Flight = Box::pin(async move {
            let landed = download.await;
            drop(landing);
            landed.map_err(Arc::new)
        });
        let flight = flight.shared();
        if let Some(weak) = flight.downgrade() {
            underway.flights.insert(wanted, (number, weak));
        }
        flight
    }

    /// The object was written: who asks from now on gets what is there now.
    pub(crate) fn forget(&self, location: &Location) {
        self.lock().flights.retain(|wanted, _| wanted.location != *location);
    }

    fn lock(&self) -> MutexGuard<'_, Underway> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a download out when it has ended, or nobody waits for it any more.
struct Landing {
    flights: Flights,
    wanted: Wanted,
    number: u64,
}

impl Drop for Landing {
    fn drop(&mut self) {
        let flights = &mut self.flights.lock().flights;
        if flights.get(&self.wanted).is_some_and(|(number, _)| *number == self.number) {
            flights.remove(&self.wanted);
        }
    }
}
