//! Whatever is killed, in the end every object is there once.

use std::time::Duration;

use tokio::time::MissedTickBehavior;

use crate::support::{JOB, Nats, Place, Running, within};

/// Requests take so long that workers are killed at work.
const LATENCY: Duration = Duration::from_millis(20);

const WORKERS: usize = 4;

/// Short, so that the shard of a killed worker is soon another's.
const LEASE: &str = "2";

/// How much is copied while processes are killed.
struct Scale {
    objects: usize,
    shards: usize,
    between_kills: Duration,
    at_least_killed: usize,
}

const SMALL: Scale = Scale { objects: 4_000, shards: 80, between_kills: Duration::from_secs(1), at_least_killed: 5 };

const FULL: Scale = Scale { objects: 50_000, shards: 250, between_kills: Duration::from_secs(2), at_least_killed: 25 };

/// Four workers, of which one after the other is killed and replaced until the job is done.
async fn workers_are_killed(scale: &Scale, coordinator_and_nats_too: bool) {
    let place = Place::new(scale.objects, LATENCY).await;
    let Some(mut nats) = Nats::new(&place).await else { return };
    let url = nats.url();
    let shards = scale.shards.to_string();
    let coordinate = || place.coordinator(&url, &["--shards", &shards, "--lease", LEASE]);
    // At eight objects at a time and two requests for each, a worker copies 200 in a second.
    let work = || place.worker(&url, &["--concurrency", "8"]);

    let mut coordinator = coordinate();
    let mut workers: Vec<Running> = (0..WORKERS).map(|_| work()).collect();
    let mut ticks = tokio::time::interval(scale.between_kills);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    let mut random = fastrand::Rng::with_seed(7);
    let began = std::time::Instant::now();
    let mut killed = 0;
    let mut coordinators = 1;
    let mut servers = 1;
    while !coordinator.has_ended() {
        ticks.tick().await;
        let victim = random.usize(..WORKERS);
        let ended = workers[victim].has_ended();
        // At the end, workers end by themselves.
        if !ended {
            std::mem::replace(&mut workers[victim], work()).kill().await;
            killed += 1;
        }
        if coordinator_and_nats_too {
            let done = place.count(&format!("{JOB}outcomes/")).await;
            if coordinators == 1 && done >= scale.shards / 4 {
                std::mem::replace(&mut coordinator, coordinate()).kill().await;
                coordinators += 1;
            }
            if servers == 1 && done >= scale.shards / 2 {
                nats.kill().await;
                nats.start().await;
                servers += 1;
            }
        }
    }
    let took = began.elapsed();
    let report = coordinator.result().await;
    assert_eq!(report["objects"], scale.objects, "{report}");
    assert!(killed >= scale.at_least_killed, "{killed} workers were killed");
    assert_eq!((coordinators, servers), if coordinator_and_nats_too { (2, 2) } else { (1, 1) });
    for worker in workers {
        worker.result().await;
    }
    place.assert_copied(scale.objects).await;
    println!(
        "{} objects in {} shards: {killed} workers, {} coordinators and {} NATS servers killed in {:.1} s; every object there once",
        scale.objects,
        scale.shards,
        coordinators - 1,
        servers - 1,
        took.as_secs_f64()
    );
}

const LIMIT: Duration = Duration::from_secs(600);

#[tokio::test]
async fn every_object_is_copied_once_though_workers_are_killed() {
    within(LIMIT, "the job is done", workers_are_killed(&SMALL, false)).await;
}

#[tokio::test]
async fn every_object_is_copied_once_though_the_coordinator_and_nats_are_killed_too() {
    within(LIMIT, "the job is done", workers_are_killed(&SMALL, true)).await;
}

#[tokio::test]
#[ignore = "takes minutes"]
async fn full_every_object_is_copied_once_though_workers_are_killed() {
    within(LIMIT, "the job is done", workers_are_killed(&FULL, false)).await;
}

#[tokio::test]
#[ignore = "takes minutes"]
async fn full_every_object_is_copied_once_though_the_coordinator_and_nats_are_killed_too() {
    within(LIMIT, "the job is done", workers_are_killed(&FULL, true)).await;
}

#[tokio::test]
async fn a_queue_that_lost_all_it_had_is_filled_again() {
    let place = Place::new(200, Duration::ZERO).await;
    let Some(mut nats) = Nats::new(&place).await else { return };
    let coordinator = place.coordinator(&nats.url(), &["--shards", "4"]);
    crate::support::in_time("the shards are in the queue", async {
        while nats.queue().await.is_none_or(|(_, messages)| messages < 4) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    nats.kill().await;
    nats.lose_files();
    nats.start().await;
    let worker = place.worker(&nats.url(), &[]);
    within(LIMIT, "the job is done", async {
        assert_eq!(coordinator.result().await["objects"], 200);
        worker.result().await;
    })
    .await;
    place.assert_copied(200).await;
}
