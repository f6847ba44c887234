//! What all scopes of a client may use together.

use std::time::{Duration, Instant};

use futures::TryStreamExt as _;
use s3flow::testing::{Fault, Operation, S3Server};
use s3flow::{ErrorKind, Limits, PutValue};

use crate::cases::uploads::patterned;
use crate::support::{Fixture, count, in_time};

const MIB: usize = 1 << 20;

async fn fixture(limits: Limits) -> Fixture {
    let server = S3Server::builder().bucket("bucket").md5(false).start().await.unwrap();
    let client = server.client_builder().limits(limits).idle_timeout(Duration::from_secs(1)).build().unwrap();
    Fixture::with_client(server, client)
}

#[tokio::test]
async fn no_more_requests_are_on_their_way_than_allowed_and_a_new_limit_holds_at_once() {
    let fixture = fixture(Limits::default().requests_in_flight(3)).await;
    let keys = fixture.put_numbered(40);
    fixture.server.hold();
    let other = fixture.scope().s3root("s3://bucket").build().unwrap();
    let gets = tokio::spawn(fixture.s3.get_many(keys[..20].to_vec()).into_future());
    let others = tokio::spawn(other.get_many(keys[20..].to_vec()).into_future());
    fixture.wait_until(|log| log.len() == 3).await;
    in_time("all others wait", async {
        while fixture.client.stats().waiting.for_requests_in_flight < 37 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!((fixture.client.stats().requests_in_flight, fixture.server.log().len()), (3, 3));

    fixture.client.set_limits(fixture.client.limits().requests_in_flight(7)).unwrap();
    fixture.wait_until(|log| log.len() == 7).await;
    assert_eq!(fixture.client.stats().requests_in_flight, 7);
    fixture.server.release();
    assert_eq!(gets.await.unwrap().unwrap().len() + others.await.unwrap().unwrap().len(), 40);
    let stats = fixture.client.stats();
    assert_eq!((stats.requests, stats.requests_in_flight, stats.waiting.for_requests_in_flight), (40, 0, 0));
}

#[tokio::test]
async fn with_one_request_at_a_time_everything_still_ends() {
    let fixture = fixture(Limits::default().requests_in_flight(1)).await;
    let s3 = &fixture.s3;
    let everything = async {
        s3.put("large", patterned(33 * MIB)).await.unwrap();
        s3.put("stream", PutValue::reader(std::io::Cursor::new(patterned(17 * MIB)))).await.unwrap();
        s3.put("once", patterned(17 * MIB)).overwrite(false).await.unwrap();
        s3.put("once", "x").overwrite(false).await.unwrap();
        s3.copy("large", "copy").await.unwrap();
        // Kept, all of them, while the next ones come.
        let kept = s3.get_many(["large", "stream", "once", "copy", "large"]).await.unwrap();
        assert!(kept.iter().all(|object| object.verified().is_some()));
        let listed: Vec<_> = s3.get_from(s3.list_recursive([""])).try_collect().await.unwrap();
        assert_eq!(listed.len(), 4);
        let mut stream = s3.get_many(["large"; 6]);
        let first = stream.try_next().await.unwrap().unwrap();
        s3.get("stream").await.unwrap();
        drop(stream);
        drop(first);
        s3.delete_many(["large", "stream", "once", "copy"]).await.unwrap();
    };
    tokio::time::timeout(Duration::from_secs(120), everything).await.expect("nothing waits for itself");
    assert_eq!(
        (fixture.client.stats().requests_in_flight, fixture.client.stats().waiting.for_requests_in_flight),
        (0, 0)
    );
}

#[tokio::test]
async fn a_place_comes_back_from_whatever_ends_a_request() {
    let fixture = fixture(Limits::default().requests_in_flight(2)).await;
    fixture.server.put_object("bucket", "k", patterned(MIB));
    fixture.server.inject(Fault::close_before_answer().times(1));
    fixture.server.inject(Fault::close_after(1000).on_call(2).times(1));
    fixture.s3.get("k").await.unwrap();
    assert_eq!(fixture.s3.get("none").await.unwrap_err().kind(), ErrorKind::NotFound);
    fixture.server.hold();
    let dropped = tokio::spawn(fixture.s3.get_many(["k"; 10]).into_future());
    in_time("two are on their way", async {
        while fixture.client.stats().requests_in_flight < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    dropped.abort();
    let _ = dropped.await;
    fixture.server.release();
    in_time("both come back", async {
        while fixture.client.stats().requests_in_flight > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(fixture.client.stats().waiting.for_requests_in_flight, 0);
}

#[tokio::test]
async fn requests_are_begun_no_faster_than_allowed() {
    let fixture = fixture(Limits::default().requests_per_second(50)).await;
    let keys = fixture.put_numbered(40);
    let begun = Instant::now();
    fixture.s3.info_many(keys).await.unwrap();
    // A tenth of a second may be caught up with.
    assert!(begun.elapsed() >= Duration::from_millis(650), "{:?}", begun.elapsed());
    assert_eq!(count(&fixture.server.log(), Operation::HeadObject), 40);
}

/// Also when that leaves connections without a byte for longer than their idle timeout.
#[tokio::test]
async fn bytes_go_and_come_no_faster_than_allowed_and_nothing_times_out() {
    let fixture = fixture(Limits::default()).await;
    let bytes = patterned(MIB / 2);
    let slowly = Limits::default().upload_bytes_per_second(MIB as u64 / 4).download_bytes_per_second(MIB as u64 / 4);
    fixture.client.set_limits(slowly).unwrap();
    let slowest = Duration::from_millis(1700);
    let begun = Instant::now();
    fixture.s3.put_many([("a", bytes[..MIB / 4].to_vec()), ("b", bytes[MIB / 4..].to_vec())]).await.unwrap();
    assert!(begun.elapsed() >= slowest, "{:?}", begun.elapsed());
    let begun = Instant::now();
    let objects = fixture.s3.get_many(["a", "b"]).await.unwrap();
    assert!(begun.elapsed() >= slowest, "{:?}", begun.elapsed());
    assert!(objects.iter().all(|object| object.verified().is_some()));
    let stats = fixture.client.stats();
    assert_eq!((stats.requests, stats.bytes_sent), (4, MIB as u64 / 2), "each once");
    assert_eq!(stats.bytes_received, MIB as u64 / 2);
}

#[tokio::test]
async fn a_batch_of_many_small_objects_keeps_to_the_bytes_too() {
    let fixture = fixture(Limits::default().download_bytes_per_second(100_000)).await;
    let keys: Vec<String> = (0..100).map(|number| format!("k{number}")).collect();
    keys.iter().for_each(|key| fixture.server.put_object("bucket", key, vec![7; 2_000]));
    let begun = Instant::now();
    fixture.s3.get_many(&keys).concurrency(4).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(1_700), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_limit_of_nothing_is_refused_by_its_name() {
    let fixture = fixture(Limits::default()).await;
    let error = fixture.client.set_limits(Limits::default().requests_in_flight(0)).unwrap_err();
    assert!(error.kind() == ErrorKind::Config && error.to_string().contains("requests_in_flight"), "{error}");
    assert_eq!(fixture.client.limits(), Limits::default());
    let error = fixture.server.client_builder().limits(Limits::default().requests_per_second(0)).build().unwrap_err();
    assert!(error.kind() == ErrorKind::Config && error.to_string().contains("requests_per_second"), "{error}");
}
