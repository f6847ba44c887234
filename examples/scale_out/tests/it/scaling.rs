//! How much faster more workers are.

use std::time::{Duration, Instant};

use scale_out::Task;

use crate::support::{JOB, Nats, Place, Running, within};

const OBJECTS: usize = 8_000;

/// Of eight copies at a time, of two requests of 20 ms each: what bounds a worker is waiting, and not the processors that all share here.
const CONCURRENCY: &str = "8";

/// From the start of the workers to the last outcome.
async fn copied_by(workers: usize) -> Duration {
    let place = Place::new(OBJECTS, Duration::from_millis(20)).await;
    let nats = Nats::new(&place).await.expect("nats-server is needed");
    let coordinator = place.coordinator(&nats.url(), &["--shards", "64"]);
    let plan = format!("{JOB}plan.jsonl");
    place.has(&plan).await;
    let shards = place.s3.read_manifest::<Task>(plan.as_str()).await.unwrap().len();
    let began = Instant::now();
    let all: Vec<Running> = (0..workers).map(|_| place.worker(&nats.url(), &["--concurrency", CONCURRENCY])).collect();
    place.reaches(&format!("{JOB}outcomes/"), shards).await;
    let took = began.elapsed();
    assert_eq!(coordinator.result().await["objects"], OBJECTS);
    for worker in all {
        worker.result().await;
    }
    took
}

#[tokio::test]
#[ignore = "a measurement: with --release, on a machine that does nothing else"]
async fn two_workers_are_1_8_times_as_fast_as_one_and_four_3_4_times() {
    within(Duration::from_secs(600), "all runs end", async {
        let one = copied_by(1).await;
        println!("{OBJECTS} objects, 20 ms for each request");
        println!("| workers | seconds | objects/s | times |");
        println!("|---|---|---|---|");
        for (workers, at_least) in [(1, 1.0), (2, 1.8), (4, 3.4)] {
            let took = if workers == 1 { one } else { copied_by(workers).await };
            let (seconds, times) = (took.as_secs_f64(), one.as_secs_f64() / took.as_secs_f64());
            println!("| {workers} | {seconds:.1} | {:.0} | {times:.2} |", OBJECTS as f64 / seconds);
            assert!(times >= at_least, "{workers} workers are {times:.2} times as fast");
        }
    })
    .await;
}
