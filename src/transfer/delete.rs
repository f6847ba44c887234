//! Objects out of a bucket: many in one request, single ones again, and services that know single deletes only.

use futures::future::{join, join_all};
use tokio::sync::Semaphore;

use super::Engine;
use crate::address::Location;
use crate::error::Result;
use crate::store::{Deleted, Failure, Retryability, is_exact_in_xml};

/// What became of one of many, by its place among them.
type Outcome = (usize, Result<Deleted>);

/// Deletes objects of one bucket, no more than a DeleteObjects takes, each of them once. An outcome for each, in their order.
///
/// Every request needs one of `permits`.
pub(crate) async fn delete_objects(
    engine: &Engine,
    locations: &[Location],
    permits: &Semaphore,
) -> Vec<Result<Deleted>> {
    let Some(first) = locations.first() else { return Vec::new() };
    let batch = Batch { engine, bucket: first.bucket(), locations, permits };
    let places = 0..locations.len();
    let (mut together, mut singly): (Vec<usize>, Vec<usize>) = if engine.store.lacks_delete_objects(batch.bucket) {
        (Vec::new(), places.collect())
    } else {
        places.partition(|place| is_exact_in_xml(locations[*place].key()))
    };
    if together.len() == 1 {
        singly.append(&mut together);
    }
    let (mut outcomes, others) = join(batch.together(together), batch.singly(singly)).await;
    outcomes.extend(others);
    outcomes.sort_unstable_by_key(|(place, _)| *place);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

struct Batch<'a> {
    engine: &'a Engine,
    bucket: &'a str,
    locations: &'a [Location],
    permits: &'a Semaphore,
}

impl Batch<'_> {
    /// A DeleteObjects for these places; again for those of them that may still be deleted.
    async fn together(&self, mut places: Vec<usize>) -> Vec<Outcome> {
        let mut outcomes = Vec::with_capacity(places.len());
        let mut retry = self.engine.retries.start();
        let mut in_doubt = false;
        while !places.is_empty() {
            let keys: Vec<&str> = places.iter().map(|place| self.locations[*place].key()).collect();
            let answer = {
                let _permit = self.permits.acquire().await;
                retry.attempt(self.engine.store.delete_objects(self.bucket, &keys)).await
            };
            let attempts = retry.attempts();
            if let Err(failure) = &answer {
                in_doubt |= failure.may_be_carried_out();
            }
            let ended = |failure: Failure| failure.into_error(attempts).with_outcome_unknown(in_doubt);
            let mut again: Vec<(usize, Failure)> = Vec::new();
            match answer {
                Ok(told) => {
                    for (place, outcome) in places.drain(..).zip(told) {
                        match outcome {
                            Err(failure) if failure.retryability() != Retryability::Permanent => {
                                again.push((place, failure));
                            }
                            outcome => {
                                outcomes.push((place, outcome.map_err(ended)));
                            }
                        }
                    }
                }
                Err(_) if self.engine.store.lacks_delete_objects(self.bucket) => {
                    outcomes.extend(self.singly(places).await);
                    return outcomes;
                }
                Err(failure) => again.extend(places.drain(..).map(|place| (place, failure.clone()))),
            }
            // One that is throttled makes all of them wait.
            let slowest = again.iter().map(|(_, failure)| failure);
            let slowest = slowest.max_by_key(|failure| failure.retryability() == Retryability::Throttled);
            let Some(slowest) = slowest.cloned() else { break };
            if retry.wait(slowest).await.is_ok() {
                places.extend(again.into_iter().map(|(place, _)| place));
            } else {
                outcomes.extend(again.into_iter().map(|(place, failure)| (place, Err(ended(failure)))));
            }
        }
        outcomes
    }

    /// A DeleteObject for each of these places.
    async fn singly(&self, places: Vec<usize>) -> Vec<Outcome> {
        join_all(places.into_iter().map(|place| async move {
            let deleted = self.engine.change(|store| async move {
                let _permit = self.permits.acquire().await;
                store.delete(&self.locations[place]).await
            });
            (place, deleted.await)
        }))
        .await
    }
}
