//! Memory and disk: what transfers may have of them, whoever keeps what.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, future, stream};
use s3flow::testing::{Operation, S3Server};
use s3flow::{Client, ErrorKind, Limits, PutValue, S3, Stats};
use tokio_util::task::AbortOnDropHandle;

use crate::cases::uploads::patterned;
use crate::support::{Fixture, count, in_time};

const MIB: u64 = 1 << 20;

async fn fixture(limits: Limits, disk_wait: Duration) -> Fixture {
    let server = S3Server::builder().bucket("bucket").md5(false).start().await.unwrap();
    let client = server.client_builder().limits(limits).disk_wait(disk_wait).build().unwrap();
    Fixture::with_client(server, client)
}

/// As long as the budgets are kept, nobody waits for so long.
const PATIENT: Duration = Duration::from_secs(300);

/// Looks all the time, until it is dropped; a look that panics ends the test at its end.
struct Watch(AbortOnDropHandle<u64>);

impl Watch {
    /// The highest that was seen is told in the end.
    fn begin(mut look: impl FnMut() -> u64 + Send + 'static) -> (Self, tokio::sync::oneshot::Sender<()>) {
        let (end, mut ended) = tokio::sync::oneshot::channel();
        let watch = tokio::spawn(async move {
            let mut most = 0;
            while ended.try_recv() == Err(tokio::sync::oneshot::error::TryRecvError::Empty) {
                most = most.max(look());
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            most
        });
        (Self(AbortOnDropHandle::new(watch)), end)
    }
}

/// What `work` comes to, and the highest that `look` has seen meanwhile.
async fn watched<T>(look: impl FnMut() -> u64 + Send + 'static, work: impl Future<Output = T>) -> (T, u64) {
    let (watch, end) = Watch::begin(look);
    let done = tokio::time::timeout(Duration::from_secs(120), work).await.expect("nothing waits for ever");
    let _ = end.send(());
    (done, watch.0.await.unwrap())
}

fn stat(client: &Client, of: fn(Stats) -> u64) -> impl FnMut() -> u64 + Send + 'static + use<> {
    let client = client.clone();
    move || of(client.stats())
}

/// Bytes of the files below a directory.
fn on_disk(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let bytes = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => on_disk(&entry.path()),
        Ok(metadata) => metadata.len(),
        // It has gone meanwhile.
        Err(_) => 0,
    });
    bytes.sum()
}

#[tokio::test]
async fn transfers_share_the_memory_there_is_and_all_end() {
    let fixture = fixture(Limits::default().memory_bytes(32 * MIB), PATIENT).await;
    let file = fixture.tmproot.path().join("file");
    std::fs::write(&file, patterned(17 * MIB as usize)).unwrap();
    fixture.server.put_object("bucket", "large", patterned(20 * MIB as usize));
    fixture.server.put_object("bucket", "small", "small");
    let s3 = &fixture.s3;
    let everything = async {
        let gets = s3.get_many(["large"; 20]).concurrency(20).try_for_each(|object| async move {
            assert!(object.verified().is_some());
            Ok(())
        });
        let small = s3.get_many(["small"; 500]).try_for_each(|_| async { Ok(()) });
        let files = s3.put_many((0..6).map(|number| (format!("f{number}"), PutValue::file(&file))));
        let files = async { files.await };
        let streams = s3.put_many((0..6).map(|number| {
            let chunks = stream::iter((0..17).map(|_| Ok::<_, std::io::Error>(Bytes::from(vec![7; MIB as usize]))));
            (format!("s{number}"), PutValue::stream(chunks))
        }));
        let lists = future::try_join_all((0..20).map(|_| async { s3.list_recursive([""]).await }));
        future::try_join5(gets, small, files, async { streams.await }, lists).await.unwrap();
    };
    let ((), waited) = watched(stat(&fixture.client, |stats| stats.waiting.for_memory), async {
        let ((), most) = watched(stat(&fixture.client, |stats| stats.memory_bytes), everything).await;
        assert!((20 * MIB..=32 * MIB).contains(&most), "{most}");
    })
    .await;
    assert!(waited > 0);
    let stats = fixture.client.stats();
    assert_eq!((stats.memory_bytes, stats.disk_bytes, stats.waiting), (0, 0, Default::default()));
}

#[tokio::test]
async fn files_stay_below_the_quota_and_all_come_when_they_go_as_they_come() {
    let fixture = fixture(Limits::default().disk_bytes(40 * MIB), PATIENT).await;
    fixture.server.put_object("bucket", "k", patterned(9 * MIB as usize));
    fixture.server.put_object("bucket", "parts", patterned(20 * MIB as usize));
    let keys: Vec<&str> = (0..40).map(|number| if number % 4 == 0 { "parts" } else { "k" }).collect();
    let gets = fixture.s3.get_many(&keys).concurrency(40).try_for_each(|_| async { Ok(()) });
    let tmproot = fixture.tmproot.path().to_owned();
    let (got, most) = watched(move || on_disk(&tmproot), gets).await;
    got.unwrap();
    assert!((9 * MIB..=40 * MIB).contains(&most), "{most}");
    in_time("the files go", async {
        while fixture.client.stats().disk_bytes > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // Those that waited asked again, and nobody more often than once.
    assert!(count(&fixture.server.log(), Operation::GetObject) <= 2 * 40 + 10 * 2);
}

#[tokio::test]
async fn a_consumer_that_keeps_what_the_quota_holds_gets_an_error_and_what_it_lets_go_makes_room() {
    let fixture = fixture(Limits::default().disk_bytes(100), Duration::from_millis(100)).await;
    fixture.server.put_object("bucket", "k", vec![7; 40]);
    let outcomes: Vec<_> = fixture.s3.get_many(["k"; 3]).collect().await;
    let (kept, refused): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    let error = refused.into_iter().next().unwrap().unwrap_err();
    assert_eq!(error.attempts(), 1);
    assert_eq!(error.kind(), ErrorKind::InsufficientDiskSpace);
    let text = error.to_string();
    assert!(text.contains("40 bytes") && text.contains("80 bytes on disk") && text.contains("disk_bytes"), "{text}");
    let persisted = fixture.tmproot.path().join("persisted");
    let [first, second] = <[_; 2]>::try_from(kept).unwrap().map(Result::unwrap);
    first.persist(&persisted).await.unwrap();
    assert_eq!(fixture.client.stats().disk_bytes, 40);
    fixture.s3.get("k").await.unwrap();
    second.keep();
    drop(second);
    assert_eq!(fixture.client.stats().disk_bytes, 40, "it stays until the scope ends");
    fixture.s3.close().await.unwrap();
    assert_eq!(fixture.client.stats().disk_bytes, 0);
}

#[tokio::test]
async fn what_the_quota_can_never_hold_is_refused_by_its_headers() {
    let fixture = fixture(Limits::default().disk_bytes(MIB), PATIENT).await;
    fixture.server.put_object("bucket", "k", vec![7; 2 * MIB as usize]);
    let error = in_time("it ends", fixture.s3.get("k").into_future()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InsufficientDiskSpace);
    assert!(error.to_string().contains("2097152 bytes") && error.to_string().contains("1048576"), "{error}");
    assert_eq!((fixture.server.log().len(), fixture.files()), (1, 0));
    // Of a part of it, only the part counts.
    let part = fixture.s3.get(s3flow::S3GetObject::new("k").length(1000)).await.unwrap();
    assert_eq!(fixture.client.stats().disk_bytes, 1000);
    drop(part);
}

#[tokio::test]
async fn a_scope_has_limits_of_its_own_below_those_of_the_client() {
    let fixture = fixture(Limits::default(), Duration::ZERO).await;
    fixture.server.put_object("bucket", "k", vec![7; 60]);
    let narrow = fixture.scope().s3root("s3://bucket").limits(Limits::default().disk_bytes(100)).build().unwrap();
    let _kept =
        (narrow.get("k").await.unwrap(), fixture.s3.get("k").await.unwrap(), fixture.s3.get("k").await.unwrap());
    assert_eq!(narrow.get("k").await.unwrap_err().kind(), ErrorKind::InsufficientDiskSpace);
    assert_eq!((narrow.stats().disk_bytes, fixture.s3.stats().disk_bytes), (60, 120));
    assert_eq!((fixture.client.stats().disk_bytes, fixture.client.stats().requests), (180, 4));
    narrow.set_limits(Limits::default()).unwrap();
    assert_eq!(narrow.limits(), Limits::default());
    narrow.get("k").await.unwrap();
    let error = narrow.set_limits(Limits::default().disk_bytes(0)).unwrap_err();
    assert!(error.kind() == ErrorKind::Config && error.to_string().contains("disk_bytes"), "{error}");
}

/// All that a program may do that keeps something while it wants more: with as little of everything as there can be.
#[tokio::test]
async fn nothing_waits_for_itself() {
    let least = Limits::default().requests_in_flight(1).memory_bytes(32 * MIB).disk_bytes(60 * MIB);
    let fixture = fixture(least, PATIENT).await;
    fixture.server.put_object("bucket", "large", patterned(20 * MIB as usize));
    for number in 0..30 {
        fixture.server.put_object("bucket", &format!("d/k{number}"), vec![7; 1000]);
    }
    let other = fixture.scope().s3root("s3://bucket").limits(least).build().unwrap();
    let everything = async {
        // Files that are kept, and a stream that nobody polls while others work.
        let mut unpolled = fixture.s3.get_many(["d/k1"; 10]);
        let kept = unpolled.try_next().await.unwrap();
        let kept_too = other.get_many(["large", "d/k2"]).await.unwrap();
        future::try_join4(
            fixture.s3.get_many(["large"; 4]).try_for_each(|_| async { Ok(()) }),
            other.get_recursive(["d"]).try_for_each(|_| async { Ok(()) }),
            copied_by_streams(&fixture.s3, &other),
            async { other.put("values", patterned(17 * MIB as usize)).await.map(|_| ()) },
        )
        .await
        .unwrap();
        drop((unpolled, kept, kept_too));
    };
    tokio::time::timeout(Duration::from_secs(120), everything).await.expect("nothing waits for itself");
    for number in 0..30 {
        assert!(fixture.server.object("bucket", &format!("copy/{number}")).is_some());
    }
}

/// Values that come from downloads of the same client, and are read while they are stored.
async fn copied_by_streams(from: &S3, to: &S3) -> s3flow::Result<()> {
    let values = (0..30).map(|number| {
        let from = from.clone();
        let pieces = stream::iter(0..3).then(move |_| {
            let from = from.clone();
            async move {
                let object = from.get(format!("d/k{number}")).await.map_err(std::io::Error::other)?;
                object.blob().await.map(Bytes::from).map_err(std::io::Error::other)
            }
        });
        (format!("copy/{number}"), PutValue::stream(pieces.boxed()))
    });
    to.put_many(values).await.map(|_| ())
}

#[tokio::test]
async fn uploads_of_who_sends_little_or_nothing_hold_nobody_back() {
    let server = S3Server::start().await.unwrap();
    let client = server.client_builder().limits(Limits::default().memory_bytes(64 << 20)).build().unwrap();
    let fixture = Fixture::with_client(server, client);
    let text = |length| stream::iter([Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; length]))]);
    let slow = |number: usize| {
        // From nothing at all to the last byte that needs no memory of the client's.
        let value = text(number * 8 * 1024).chain(stream::pending());
        AbortOnDropHandle::new(tokio::spawn(
            fixture.s3.put(format!("slow{number}"), PutValue::stream(value)).into_future(),
        ))
    };
    let _slow: Vec<_> = (0..=8).map(slow).collect();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(fixture.client.stats().memory_bytes, 0);
    for length in [0, 4, 64 * 1024, 64 * 1024 + 1, 9 << 20] {
        let quick = fixture.s3.put("quick", PutValue::stream(text(length)));
        in_time("it waits for no slow one", quick.into_future()).await.unwrap();
        assert_eq!(fixture.server.object("bucket", "quick").unwrap().len(), length);
    }
}

#[tokio::test]
async fn a_stream_whose_length_is_said_takes_as_much_memory() {
    let server = S3Server::start().await.unwrap();
    let client = server.client_builder().limits(Limits::default().memory_bytes(64 << 20)).build().unwrap();
    let fixture = Fixture::with_client(server, client);
    let uploads: Vec<_> = (0..40)
        .map(|number| {
            let begun = stream::iter([Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; 100_000]))]);
            let value = PutValue::stream(begun.chain(stream::pending())).with_length(1 << 20);
            AbortOnDropHandle::new(tokio::spawn(fixture.s3.put(format!("slow{number}"), value).into_future()))
        })
        .collect();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    let stats = fixture.client.stats();
    assert_eq!((stats.memory_bytes, stats.waiting.for_memory), (40 << 20, 0));
    drop(uploads);
}
