//! A prefix from which the service takes fewer requests is slowed, and not the rest.

use std::time::{Duration, Instant};

use futures::{StreamExt as _, stream};
use s3flow::testing::{Fault, InjectedFault, S3Server};
use s3flow::{RetryBudget, RetryPolicy, S3, Stats};

use crate::support::Fixture;

/// What the service takes below `a/`, in a second.
const ALLOWED: u32 = 200;
const WARM_UP: Duration = Duration::from_secs(5);

fn measured() -> Duration {
    let seconds = std::env::var("S3FLOW_THROTTLED_SECONDS").map_or(10, |seconds| seconds.parse().unwrap());
    Duration::from_secs(seconds)
}

async fn fixture() -> Fixture {
    let server = S3Server::builder().bucket("bucket").latency(Duration::from_millis(20)).start().await.unwrap();
    server.put_object("bucket", "a/k", "text");
    server.put_object("bucket", "b/k", "text");
    let policy = RetryPolicy::default().budget(RetryBudget::default().capacity(10_000));
    let client = server.client_builder().retry_policy(policy).build().unwrap();
    Fixture::with_client(server, client)
}

fn throttle(fixture: &Fixture) -> InjectedFault {
    fixture.server.inject(Fault::status(503, "SlowDown").key_prefix("a/").beyond(ALLOWED))
}

/// Gets an object again and again for so long; how many came in each second of the time behind the warm-up.
async fn rate(s3: &S3, key: &'static str, concurrency: usize) -> f64 {
    let begun = Instant::now();
    let (from, until) = (begun + WARM_UP, begun + WARM_UP + measured());
    let keys = stream::repeat(key).take_while(move |_| std::future::ready(Instant::now() < until));
    let gets = s3.get_from(keys).concurrency(concurrency);
    let came = gets.filter_map(|object| async move {
        object.unwrap();
        Some(Instant::now())
    });
    let counted = came.filter(|at| std::future::ready((from..until).contains(at))).count().await;
    counted as f64 / measured().as_secs_f64()
}

/// What the client does in the time behind the warm-up.
async fn stats(fixture: &Fixture) -> (Stats, Stats) {
    tokio::time::sleep(WARM_UP).await;
    let before = fixture.client.stats();
    tokio::time::sleep(measured()).await;
    (before, fixture.client.stats())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_throttled_prefix_gets_what_it_is_allowed_and_others_are_as_fast_as_alone() {
    let fixture = fixture().await;
    let alone = rate(&fixture.s3, "b/k", 2).await;
    let throttling = throttle(&fixture);
    let (a, b, (before, after)) =
        tokio::join!(rate(&fixture.s3, "a/k", 64), rate(&fixture.s3, "b/k", 2), stats(&fixture));
    let throttled = (after.throttled - before.throttled) as f64;
    let of_a = a * measured().as_secs_f64() + throttled;
    println!(
        "of {ALLOWED} requests/s that the service takes, {a:.0} came; {:.1} % of those that were sent were throttled; the other \
         prefix: {b:.0}/s, alone {alone:.0}/s",
        100.0 * throttled / of_a
    );
    assert!(a >= 0.9 * f64::from(ALLOWED), "{a} of {ALLOWED}");
    assert!(throttled < 0.05 * of_a, "{throttled} of {of_a}");
    // Beside it, the other one shares the processor with what is throttled, and both with whatever else is at work. Held up with it, it would
    // get a few in a second.
    assert!(b >= 0.6 * alone, "{b} of {alone}");
    let slowed = fixture.client.slowed_prefixes();
    assert_eq!(slowed.len(), 1, "{slowed:?}");
    assert_eq!((slowed[0].bucket.as_str(), slowed[0].prefix.as_str()), ("bucket", "a/"));
    let stats = fixture.client.stats();
    assert_eq!((stats.throttled, stats.retries.throttled), (throttling.applied() as u64, stats.throttled));
    assert_eq!((stats.retries.transient, stats.retries.unreachable), (0, 0));
}

#[tokio::test]
async fn a_request_that_is_throttled_once_slows_nothing_down_that_anybody_would_notice() {
    let fixture = fixture().await;
    fixture.server.inject(Fault::status(503, "SlowDown").times(1));
    fixture.s3.get("a/k").await.unwrap();
    let begun = Instant::now();
    fixture.s3.get_many(["a/k"; 100]).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!((fixture.client.stats().throttled, fixture.client.slowed_prefixes().len()), (1, 1));
}
