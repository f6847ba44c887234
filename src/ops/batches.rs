//! What is to be deleted, gathered into requests for many, and their outcomes one by one.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures::future::BoxFuture;
use futures::stream::{BoxStream, Fuse, FuturesUnordered};
use futures::{Stream, StreamExt as _};
use tokio::sync::Semaphore;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;

use super::delete::{OPERATION, target};
use crate::address::{Address, Location};
use crate::blocking::joined;
use crate::error::Result;
use crate::observe::Subject;
use crate::receipt::DeleteReceipt;
use crate::request::S3GetObject;
use crate::s3::S3;
use crate::store::MAX_DELETE_KEYS;
use crate::transfer;

type Input = (usize, Address);
type Outcome = (usize, Result<DeleteReceipt>);

/// A delete_many that runs.
pub(super) struct Batches {
    s3: S3,
    inputs: Fuse<BoxStream<'static, Result<S3GetObject>>>,
    /// How many inputs there were so far.
    seen: usize,
    /// How many of them are gathered, under way, or waiting to be taken.
    held: usize,
    concurrency: usize,
    gathered: BTreeMap<String, VecDeque<Input>>,
    running: FuturesUnordered<BoxFuture<'static, Vec<Outcome>>>,
    permits: Arc<Semaphore>,
    done: Done,
}

/// Why no more inputs are taken in now.
#[derive(Clone, Copy, PartialEq)]
enum Intake {
    Full,
    Waiting,
    Ended,
}

impl Batches {
    pub(super) fn new(
        s3: S3,
        inputs: BoxStream<'static, Result<S3GetObject>>,
        concurrency: usize,
        ordered: bool,
    ) -> Self {
        let requests = s3.concurrency().min(Semaphore::MAX_PERMITS);
        Self {
            s3,
            inputs: inputs.fuse(),
            seen: 0,
            held: 0,
            concurrency,
            gathered: BTreeMap::new(),
            running: FuturesUnordered::new(),
            permits: Arc::new(Semaphore::new(requests)),
            done: if ordered { Done::InOrder(0, BTreeMap::new()) } else { Done::AsTheyCome(VecDeque::new()) },
        }
    }

    fn add(&mut self, index: usize, outcome: Result<DeleteReceipt>) {
        self.s3.counters().count(outcome.is_ok());
        self.done.add(index, outcome);
    }

    /// How many objects fill a request.
    fn full(&self) -> usize {
        MAX_DELETE_KEYS.min(self.concurrency)
    }

    /// Gathers what is ready, and sends what fills a request.
    fn take_in(&mut self, cx: &mut Context<'_>) -> Intake {
        while self.held < self.concurrency {
            let input = match self.inputs.poll_next_unpin(cx) {
                Poll::Ready(Some(input)) => input,
                Poll::Ready(None) => {
                    self.s3.counters().there_are(self.seen as u64);
                    return Intake::Ended;
                }
                Poll::Pending => return Intake::Waiting,
            };
            let index = self.seen;
            self.seen += 1;
            self.held += 1;
            match input.and_then(|object| target(&self.s3, &object)) {
                Ok(address) => {
                    if self.gather(index, address) >= self.full() {
                        self.send(self.full());
                    }
                }
                Err(error) => self.add(index, Err(error.with_index(index))),
            }
        }
        Intake::Full
    }

    /// Adds to what is gathered for a bucket, and says how much that is now.
    fn gather(&mut self, index: usize, address: Address) -> usize {
        let bucket = address.location.bucket();
        match self.gathered.get_mut(bucket) {
            Some(gathered) => {
                gathered.push_back((index, address));
                gathered.len()
            }
            None => {
                self.gathered.insert(bucket.to_owned(), VecDeque::from([(index, address)]));
                1
            }
        }
    }

    /// Sends what is gathered in requests of at least so many objects, as far as there may be more requests. The others
    /// gather on.
    fn send(&mut self, at_least: usize) {
        let (full, most) = (self.full(), self.s3.concurrency());
        let Self { s3, gathered, running, permits, .. } = self;
        gathered.retain(|_, inputs| {
            while running.len() < most && inputs.len() >= at_least && !inputs.is_empty() {
                let batch: Vec<Input> = inputs.drain(..full.min(inputs.len())).collect();
                running.push(start(s3.another_object(), batch, Arc::clone(permits)));
            }
            !inputs.is_empty()
        });
    }
}

impl Stream for Batches {
    type Item = Result<DeleteReceipt>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            let intake = this.take_in(cx);
            let next = this.done.next();
            // A request waits to become full only while the consumer, and not the input, holds it back.
            this.send(if intake == Intake::Full && next.is_some() { this.full() } else { 1 });
            if let Some(outcome) = next {
                this.held -= 1;
                return Poll::Ready(Some(outcome));
            }
            match ready!(this.running.poll_next_unpin(cx)) {
                Some(outcomes) => {
                    for (index, outcome) in outcomes {
                        this.add(index, outcome);
                    }
                }
                None if intake == Intake::Ended => return Poll::Ready(None),
                None => return Poll::Pending,
            }
        }
    }
}

/// Outcomes that wait to be taken.
enum Done {
    AsTheyCome(VecDeque<Result<DeleteReceipt>>),
    /// From the next index on.
    InOrder(usize, BTreeMap<usize, Result<DeleteReceipt>>),
}

impl Done {
    fn add(&mut self, index: usize, outcome: Result<DeleteReceipt>) {
        match self {
            Self::AsTheyCome(outcomes) => outcomes.push_back(outcome),
            Self::InOrder(_, outcomes) => {
                outcomes.insert(index, outcome);
            }
        }
    }

    fn next(&mut self) -> Option<Result<DeleteReceipt>> {
        match self {
            Self::AsTheyCome(outcomes) => outcomes.pop_front(),
            Self::InOrder(index, outcomes) => {
                let outcome = outcomes.remove(index)?;
                *index += 1;
                Some(outcome)
            }
        }
    }
}

/// Deletes objects of one bucket in a task of its own, which goes on while nobody polls.
fn start(s3: S3, batch: Vec<Input>, permits: Arc<Semaphore>) -> BoxFuture<'static, Vec<Outcome>> {
    let places: Vec<(usize, Location)> =
        batch.iter().map(|(index, address)| (*index, address.location.clone())).collect();
    let task = AbortOnDropHandle::new(tokio::spawn(delete(s3, batch, permits).in_current_span()));
    Box::pin(async move {
        task.await.unwrap_or_else(|error| {
            let error = joined(error);
            let lost = places.iter().map(|(index, location)| {
                (*index, Err(error.duplicate().with_operation(OPERATION, Some(location.url())).with_index(*index)))
            });
            lost.collect()
        })
    })
}

async fn delete(s3: S3, batch: Vec<Input>, permits: Arc<Semaphore>) -> Vec<Outcome> {
    // A request names each key once.
    let mut locations: Vec<Location> = Vec::with_capacity(batch.len());
    let mut places = HashMap::with_capacity(batch.len());
    for (_, Address { location, .. }) in &batch {
        places.entry(location.clone()).or_insert_with(|| {
            locations.push(location.clone());
            locations.len() - 1
        });
    }
    let deletes = async { Ok(transfer::delete_objects(s3.engine(), &locations, &permits).await) };
    // All of a batch are in one bucket.
    let bucket = locations.first().map_or("", Location::bucket);
    let outcomes = s3.change(Subject { operation: OPERATION, bucket, key: "" }, deletes).await;
    locations.iter().for_each(|location| s3.changed(location));
    let outcome_of = |location: &Location| match &outcomes {
        Ok(outcomes) => outcomes[places[location]].as_ref().cloned(),
        Err(closed) => Err(closed),
    };
    let finished = batch.into_iter().map(|(index, address)| {
        let outcome = outcome_of(&address.location);
        let outcome = match outcome {
            Ok(deleted) => Ok(DeleteReceipt::new(index, address, deleted, s3.reported())),
            Err(error) => {
                let url = address.location.url();
                Err(error.duplicate().with_operation(OPERATION, Some(url)).with_index(index))
            }
        };
        (index, outcome)
    });
    finished.collect()
}
