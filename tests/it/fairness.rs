//! Who waits for a limit together with others gets a fair share of it.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use s3flow::testing::S3Server;
use s3flow::{Limits, S3};

use crate::support::Fixture;

async fn fixture(limits: Limits) -> Fixture {
    let server = S3Server::builder().bucket("bucket").latency(Duration::from_millis(10)).start().await.unwrap();
    server.put_object("bucket", "small", vec![7; 1024]);
    server.put_object("bucket", "large", vec![7; 1 << 20]);
    let client = server.client_builder().limits(limits).build().unwrap();
    Fixture::with_client(server, client)
}

fn scope(fixture: &Fixture, weight: u32) -> S3 {
    fixture.scope().s3root("s3://bucket").weight(NonZeroU32::new(weight).unwrap()).build().unwrap()
}

/// How many objects come within three seconds.
async fn count(s3: &S3, key: &'static str, concurrency: usize) -> f64 {
    let until = Instant::now() + Duration::from_secs(3);
    let keys = stream::repeat(key).take_while(move |_| std::future::ready(Instant::now() < until));
    let gets = s3.get_from(keys).concurrency(concurrency).map_ok(|_| Instant::now());
    let in_time = gets.try_filter(|at| std::future::ready(*at < until));
    in_time.try_fold(0.0, |count, _| async move { Ok(count + 1.0) }).await.unwrap()
}

#[tokio::test]
async fn scopes_of_equal_weight_have_equal_shares_whatever_each_asks_for() {
    let fixture = fixture(Limits::default().requests_in_flight(6)).await;
    let (greedy, modest) = (scope(&fixture, 1), scope(&fixture, 1));
    let (greedy, modest) = tokio::join!(count(&greedy, "small", 64), count(&modest, "small", 8));
    println!("{greedy} and {modest} objects");
    assert!((0.8..1.25).contains(&(greedy / modest)), "{greedy} and {modest}");
}

#[tokio::test]
async fn a_scope_of_more_weight_has_more() {
    let fixture = fixture(Limits::default().requests_in_flight(8)).await;
    let (light, heavy) = (scope(&fixture, 1), scope(&fixture, 3));
    let (light, heavy) = tokio::join!(count(&light, "small", 32), count(&heavy, "small", 32));
    println!("{light} and {heavy} objects");
    assert!((2.4..3.6).contains(&(heavy / light)), "{heavy} and {light}");
}

fn percentile(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() * 99 / 100]
}

async fn singly(s3: &S3, times: usize) -> Vec<Duration> {
    let mut took = Vec::new();
    for _ in 0..times {
        let begun = Instant::now();
        s3.get("small").await.unwrap();
        took.push(begun.elapsed());
    }
    took
}

/// Also in the same scope: an operation is an operation, however much it does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn single_gets_do_not_wait_for_a_batch_that_has_all_places_and_all_bytes() {
    let fixture = fixture(Limits::default().requests_in_flight(8).download_bytes_per_second(50_000_000)).await;
    let mut alone = singly(&fixture.s3, 300).await;
    let batch = tokio::spawn({
        let gets = fixture.s3.get_many(vec!["large"; 2000]).concurrency(64);
        gets.try_for_each(|_| async { Ok(()) })
    });
    while fixture.client.stats().waiting.for_requests_in_flight < 50 {
        tokio::task::yield_now().await;
    }
    let mut beside = singly(&fixture.s3, 100).await;
    assert!(!batch.is_finished());
    batch.abort();
    let (alone, beside) = (percentile(&mut alone), percentile(&mut beside));
    println!("99 % of the single gets took {alone:?} alone, and {beside:?} beside the batch");
    // 64 that are before it, of 1 MiB each, would take 1.3 s.
    assert!(beside < Duration::from_millis(400), "{beside:?}, alone {alone:?}");
}
