//! A worker that another one took over from, and one that is told to end.

use std::time::Duration;

use rustix::process::Signal;
use scale_out::Tally;
use scale_out::trial::object;
use serde_json::{Value, json};

use crate::support::{DESTINATION, JOB, Nats, Place, in_time};

const OBJECTS: usize = 100;

/// A worker stands still in the middle of the only shard, its lease expires, and another one does the shard; then it goes on. What it
/// has done in the end.
async fn taken_over(place: &Place, nats: &Nats, before_it_goes_on: impl AsyncFnOnce()) -> Value {
    let url = nats.url();
    let coordinator = place.coordinator(&url, &["--shards", "1", "--lease", "1"]);
    let late = place.worker(&url, &["--concurrency", "1", "--attempts", "1000"]);
    place.reaches(DESTINATION, 3).await;
    late.signal(Signal::STOP);
    let other = place.worker(&url, &["--attempts", "1000"]);
    assert_eq!(coordinator.result().await["objects"], OBJECTS);
    let other = other.result().await;
    assert_eq!((&other["shards"], &other["objects"]), (&json!(1), &json!(OBJECTS)));
    before_it_goes_on().await;
    let before = place.fingerprint().await;
    late.signal(Signal::CONT);
    let tally = late.result().await;
    assert_eq!(place.fingerprint().await, before);
    tally
}

#[tokio::test]
async fn a_worker_whose_lease_expired_changes_nothing() {
    let place = Place::new(OBJECTS, Duration::from_millis(20)).await;
    let Some(nats) = Nats::new(&place).await else { return };
    in_time("both workers end", async {
        let tally = taken_over(&place, &nats, async || ()).await;
        assert_eq!((&tally["shards"], &tally["late"]), (&json!(0), &json!(1)), "{tally}");
    })
    .await;
    place.assert_copied(OBJECTS).await;
}

#[tokio::test]
async fn a_worker_whose_lease_expired_overwrites_no_copy_with_a_newer_source() {
    let place = Place::new(OBJECTS, Duration::from_millis(20)).await;
    let Some(nats) = Nats::new(&place).await else { return };
    in_time("both workers end", async {
        let change = async || {
            for number in 0..OBJECTS {
                let url = format!("s3://bucket/{}", object(number).0);
                place.s3.put(url, "newer").await.unwrap();
            }
        };
        let tally = taken_over(&place, &nats, change).await;
        assert_eq!((&tally["shards"], &tally["failed"]), (&json!(0), &json!(1)), "{tally}");
    })
    .await;
    place.assert_copied(OBJECTS).await;
}

#[tokio::test]
async fn a_worker_keeps_its_shard_for_longer_than_a_lease_while_it_works() {
    let place = Place::new(OBJECTS, Duration::from_millis(30)).await;
    let Some(nats) = Nats::new(&place).await else { return };
    let coordinator = place.coordinator(&nats.url(), &["--shards", "1", "--lease", "3"]);
    // Two leases at least.
    let busy = place.worker(&nats.url(), &["--concurrency", "1"]);
    place.reaches(DESTINATION, 1).await;
    let idle = place.worker(&nats.url(), &[]);
    in_time("the job is done", async {
        coordinator.result().await;
        assert_eq!(busy.result().await["objects"], OBJECTS);
        assert_eq!(idle.result().await, json!(Tally::default()));
    })
    .await;
}

#[tokio::test]
async fn a_worker_that_is_told_to_end_gives_its_shard_back_at_once() {
    let place = Place::new(OBJECTS, Duration::from_millis(20)).await;
    let Some(nats) = Nats::new(&place).await else { return };
    // Nobody could wait for that.
    let coordinator = place.coordinator(&nats.url(), &["--shards", "1", "--lease", "86400"]);
    for signal in [Signal::TERM, Signal::INT] {
        let worker = place.worker(&nats.url(), &["--concurrency", "1"]);
        let there = place.count(DESTINATION).await;
        place.reaches(DESTINATION, there + 1).await;
        worker.signal(signal);
        let tally = in_time("the worker ends", worker.result()).await;
        assert_eq!((&tally["shards"], &tally["failed"]), (&json!(0), &json!(0)), "{tally}");
    }
    let worker = place.worker(&nats.url(), &[]);
    in_time("the job is done", async {
        assert_eq!(worker.result().await["shards"], 1);
        coordinator.result().await;
    })
    .await;
    place.assert_copied(OBJECTS).await;
}

impl Place {
    /// Of all that a job makes.
    async fn fingerprint(&self) -> Vec<(String, Option<String>)> {
        let stored = self.s3.list_recursive([DESTINATION, JOB]).ordered(true).await.unwrap();
        stored.iter().map(|object| (object.url().to_owned(), object.etag().map(str::to_owned))).collect()
    }
}
