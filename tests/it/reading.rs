//! Objects without a file: streams, readers, and what is opened to be read here and there.

use std::io::SeekFrom;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use s3flow::testing::{Fault, LoggedRequest, Operation, S3Server};
use s3flow::{ChecksumAlgorithm, ErrorKind, GetStream, Limits, PutValue, S3GetObject, Verified};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncSeekExt as _};

use crate::cases::uploads::patterned;
use crate::support::{Fixture, count, in_time, seed, split_mix};

const MIB: usize = 1 << 20;
const PART: usize = 8 * MIB;

async fn with_object(length: usize) -> (Fixture, Bytes) {
    let fixture = Fixture::of(S3Server::builder().bucket("bucket").md5(false).start().await.unwrap());
    let bytes: Bytes = patterned(length).into();
    fixture.s3.put("k", bytes.clone()).await.unwrap();
    fixture.server.clear_log();
    (fixture, bytes)
}

async fn all(mut stream: GetStream) -> s3flow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.try_next().await? {
        bytes.extend_from_slice(&chunk);
    }
    assert!(stream.next().await.is_none(), "an end is an end");
    Ok(bytes)
}

fn under_way(log: &[LoggedRequest]) -> usize {
    log.iter().filter(|request| request.finish().is_none()).count()
}

#[tokio::test]
async fn a_stream_brings_every_byte_once_and_leaves_no_file() {
    for (length, requests) in [(0, 1), (5, 1), (2 * PART, 1), (2 * PART + 1, 3), (9 * PART + 5, 10)] {
        let (fixture, bytes) = with_object(length).await;
        let mut stream = fixture.s3.get("k").stream();
        assert!(fixture.server.log().is_empty(), "nothing is sent before it is polled");
        let object = stream.object().await.unwrap().clone();
        assert_eq!((object.size(), object.path(), object.key()), (Some(length as u64), None, "k"));
        let mut came = Vec::new();
        while let Some(chunk) = stream.try_next().await.unwrap() {
            came.extend_from_slice(&chunk);
        }
        assert!(came == bytes, "{length}");
        assert_eq!(stream.verified(), Some(Verified::Checksum(ChecksumAlgorithm::Crc64Nvme)), "{length}");
        assert_eq!(fixture.server.log().len(), requests, "{length}");
        assert_eq!(fixture.files(), 0);
    }
}

#[tokio::test]
async fn bytes_and_readers_are_the_same_bytes() {
    let (fixture, bytes) = with_object(3 * PART + 7).await;
    assert!(fixture.s3.get("k").bytes().await.unwrap() == bytes);
    let mut read = Vec::new();
    let mut reader = fixture.s3.get("k").reader();
    assert_eq!(reader.object().await.unwrap().size(), Some(bytes.len() as u64));
    reader.read_to_end(&mut read).await.unwrap();
    assert!(read == bytes && reader.verified().is_some());
    let range = || S3GetObject::new("k").offset(PART as u64 - 3).length(2 * PART as i64 + 9);
    let wanted = bytes.slice(PART - 3..3 * PART + 6);
    assert!(fixture.s3.get(range()).bytes().await.unwrap() == wanted);
    let mut stream = fixture.s3.get(range()).stream();
    let told = stream.object().await.unwrap().range_info().unwrap();
    assert_eq!((told.request_offset, told.request_length), (PART as u64 - 3, wanted.len() as u64));
    assert!(all(stream).await.unwrap() == wanted);

    fixture.s3.put("lines", "one\ntwo\n").await.unwrap();
    let lines: Vec<String> = {
        let mut lines = fixture.s3.get("lines").reader().lines();
        let mut all = Vec::new();
        while let Some(line) = lines.next_line().await.unwrap() {
            all.push(line);
        }
        all
    };
    assert_eq!(lines, ["one", "two"]);
    assert_eq!(fixture.files(), 0);
}

#[tokio::test]
async fn a_stream_goes_on_where_a_connection_broke_off_and_is_pinned() {
    for length in [3 * MIB, 4 * PART] {
        let (fixture, bytes) = with_object(length).await;
        for call in [1, 2] {
            let cut = Fault::close_after(MIB as u64 + 5).operation(Operation::GetObject).on_call(call);
            fixture.server.inject(cut);
        }
        let mut stream = fixture.s3.get("k").stream();
        let etag = stream.object().await.unwrap().etag().unwrap().to_owned();
        assert!(all(stream).await.unwrap() == bytes, "{length}");
        let log = fixture.server.log();
        assert!(log.len() >= 3 && log[1..].iter().all(|request| request.header("if-match") == Some(&etag)), "{log:?}");
    }
}

#[tokio::test]
async fn of_an_object_that_is_replaced_no_two_versions_are_mixed() {
    let (fixture, bytes) = with_object(5 * PART).await;
    let other = Fault::replace_object(vec![b'x'; 5 * PART]).operation(Operation::GetObject).on_call(3);
    fixture.server.inject(other);
    let mut stream = fixture.s3.get("k").stream();
    let mut came = Vec::new();
    let error = loop {
        match stream.next().await.unwrap() {
            Ok(chunk) => came.extend_from_slice(&chunk),
            Err(error) => break error,
        }
    };
    assert_eq!((error.kind(), error.url()), (ErrorKind::Changed, Some("s3://bucket/k")), "{error}");
    assert!(bytes.starts_with(&came));
    assert!(stream.next().await.is_none(), "the error is the last item");
    drop(stream);
    fixture.wait_until(|log| under_way(log) == 0).await;
}

#[tokio::test]
async fn damage_is_told_in_place_of_the_last_chunk_and_bytes_are_fetched_anew() {
    for length in [1000, 3 * PART] {
        let (fixture, bytes) = with_object(length).await;
        fixture.server.inject(Fault::corrupt_byte(7).operation(Operation::GetObject));
        let mut stream = fixture.s3.get("k").stream();
        let mut came = 0;
        let error = loop {
            match stream.next().await.unwrap() {
                Ok(chunk) => came += chunk.len(),
                Err(error) => break error,
            }
        };
        assert!(error.kind() == ErrorKind::Integrity && came < length, "{came} bytes, {error}");
        assert_eq!(stream.verified(), None);

        fixture.server.inject(Fault::corrupt_byte(7).operation(Operation::GetObject));
        assert!(fixture.s3.get("k").bytes().await.unwrap() == bytes, "{length}");
    }
}

#[tokio::test]
async fn objects_with_digests_and_with_checksums_of_checksums_are_verified_too() {
    for (algorithm, verified) in [
        (ChecksumAlgorithm::Sha256, Verified::Composite(ChecksumAlgorithm::Sha256)),
        (ChecksumAlgorithm::Crc32c, Verified::Checksum(ChecksumAlgorithm::Crc32c)),
    ] {
        let server = S3Server::builder().bucket("bucket").md5(false).start().await.unwrap();
        let client = server.client_builder().checksum(algorithm).build().unwrap();
        let fixture = Fixture::with_client(server, client);
        let bytes = patterned(3 * PART + 1);
        fixture.s3.put("k", PutValue::reader(std::io::Cursor::new(bytes.clone()))).await.unwrap();
        let mut stream = fixture.s3.get("k").stream();
        let mut came = Vec::new();
        while let Some(chunk) = stream.try_next().await.unwrap() {
            came.extend_from_slice(&chunk);
        }
        assert!(came == bytes);
        assert_eq!(stream.verified(), Some(verified));
    }
}

#[tokio::test]
async fn a_server_that_ignores_ranges_is_read_to_its_end_once() {
    let (fixture, bytes) = with_object(5 * PART).await;
    fixture.server.inject(Fault::ignore_range().operation(Operation::GetObject).times(usize::MAX));
    assert!(all(fixture.s3.get("k").stream()).await.unwrap() == bytes);
    let log = fixture.server.log();
    assert!(log.len() <= 6, "the first, four that were asked for ahead, and one for the rest: {}", log.len());
}

#[tokio::test]
async fn who_looks_at_the_beginning_alone_sends_one_request() {
    let (fixture, bytes) = with_object(9 * PART).await;
    let mut stream = fixture.s3.get("k").stream();
    let first = stream.next().await.unwrap().unwrap();
    assert!(bytes.starts_with(&first));
    tokio::task::yield_now().await;
    drop(stream);
    fixture.wait_until(|log| under_way(log) == 0).await;
    assert_eq!(fixture.server.log().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_stops_is_read_ahead_of_by_four_parts_and_no_more() {
    let (fixture, bytes) = with_object(12 * PART).await;
    let mut stream = fixture.s3.get("k").stream();
    let mut came = 0;
    while came < 2 * MIB {
        came += stream.next().await.unwrap().unwrap().len();
    }
    // Nobody polls, and four parts come nevertheless; the first request waits for its reader.
    fixture.wait_until(|log| log.len() == 5 && under_way(log) == 1).await;
    assert_eq!(fixture.client.stats().memory_bytes, 4 * PART as u64);
    let rest = all(stream).await.unwrap();
    assert!(bytes[came..] == rest);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_limit_of_memory_an_eighth_is_read_ahead() {
    let (fixture, bytes) = with_object(5 * PART).await;
    let limited =
        fixture.scope().s3root("s3://bucket").limits(Limits::default().memory_bytes(64 << 20)).build().unwrap();
    let mut stream = limited.get("k").stream();
    let mut came = 0;
    while came < 2 * MIB {
        came += stream.next().await.unwrap().unwrap().len();
    }
    fixture.wait_until(|log| log.len() == 2 && under_way(log) == 1).await;
    assert_eq!(limited.stats().memory_bytes, PART as u64);
    assert!(bytes[came..] == all(stream).await.unwrap());
    assert_eq!(limited.stats().memory_bytes, 0);
}

#[tokio::test]
async fn a_slow_reader_is_no_stall_and_is_not_charged_for_its_time() {
    let server = S3Server::builder().bucket("bucket").md5(false).start().await.unwrap();
    let policy = s3flow::RetryPolicy::default().deadline(Duration::from_millis(300));
    let client = server.client_builder().idle_timeout(Duration::from_millis(200)).retry_policy(policy).build().unwrap();
    let fixture = Fixture::with_client(server, client);
    let bytes = patterned(12 * MIB);
    fixture.s3.put("k", bytes.clone()).await.unwrap();
    fixture.server.inject(Fault::close_after(10 * MIB as u64).operation(Operation::GetObject));
    let mut stream = fixture.s3.get("k").stream();
    let mut came = stream.next().await.unwrap().unwrap().to_vec();
    tokio::time::sleep(Duration::from_millis(900)).await;
    while let Some(chunk) = stream.try_next().await.unwrap() {
        came.extend_from_slice(&chunk);
    }
    assert!(came == bytes);
}

#[tokio::test]
async fn a_stream_can_be_put_with_a_place_for_one_request_and_memory_for_little() {
    let (fixture, bytes) = with_object(5 * PART).await;
    let limits = Limits::default().requests_in_flight(1).memory_bytes(64 << 20);
    let s3 = fixture.scope().s3root("s3://bucket").limits(limits).build().unwrap();
    let copies = futures::stream::iter(0..3).map(|copy| {
        let s3 = s3.clone();
        async move { s3.put(format!("copy/{copy}"), PutValue::stream(s3.get("k").stream())).await }
    });
    in_time("copies through the client", copies.buffer_unordered(3).try_collect::<Vec<_>>()).await.unwrap();
    for copy in 0..3 {
        assert!(s3.get(format!("copy/{copy}")).bytes().await.unwrap() == bytes);
    }
}

#[tokio::test]
async fn what_is_wrong_is_an_error_before_and_after_the_first_request() {
    let (fixture, _) = with_object(5).await;
    let kind = |error: s3flow::Error| error.kind();
    let urls = fixture.client.s3().build().unwrap();
    assert_eq!(all(urls.get("no url").stream()).await.map_err(kind), Err(ErrorKind::InvalidUrl));
    let nothing = S3GetObject::new("k").length(0);
    assert_eq!(all(fixture.s3.get(nothing).stream()).await.map_err(kind), Err(ErrorKind::InvalidRange));
    assert!(fixture.server.log().is_empty());
    assert_eq!(all(fixture.s3.get("none").stream()).await.map_err(kind), Err(ErrorKind::NotFound));
    assert_eq!(fixture.s3.get("none").bytes().await.map_err(kind), Err(ErrorKind::NotFound));
    assert_eq!(fixture.s3.get("none").return_missing(true).bytes().await.map_err(kind), Err(ErrorKind::NotFound));
    let mut missing = fixture.s3.get("none").return_missing(true).stream();
    assert!(!missing.object().await.unwrap().exists());
    assert!(missing.next().await.is_none());
    let mut failed = fixture.s3.get("none").stream();
    assert_eq!(failed.object().await.map_err(kind).err(), Some(ErrorKind::NotFound));
    assert!(failed.next().await.is_none() && failed.object().await.is_err());
    let error = fixture.s3.get("none").reader().read_u8().await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<s3flow::Error>()).unwrap();
    assert_eq!((inner.kind(), inner.url()), (ErrorKind::NotFound, Some("s3://bucket/none")));
    fixture.s3.close().await.unwrap();
    assert_eq!(all(fixture.s3.get("k").stream()).await.map_err(kind), Err(ErrorKind::Closed));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_ends_with_its_scope() {
    let (fixture, _) = with_object(9 * PART).await;
    let mut stream = fixture.s3.get("k").stream();
    stream.next().await.unwrap().unwrap();
    in_time("a close beside a stream that nobody reads", fixture.s3.close()).await.unwrap();
    let ended = in_time("the end of the stream", async {
        loop {
            match stream.next().await {
                Some(Ok(_)) => {}
                other => return other,
            }
        }
    });
    assert_eq!(ended.await.unwrap().unwrap_err().kind(), ErrorKind::Closed);
    fixture.wait_until(|log| under_way(log) == 0).await;
}

#[tokio::test]
async fn what_is_opened_reads_as_a_file_does_wherever_one_seeks() {
    let (fixture, bytes) = with_object(3 * MIB + 17).await;
    let file = fixture.tmproot.path().join("same");
    std::fs::write(&file, &bytes).unwrap();
    let mut file = tokio::fs::File::open(&file).await.unwrap();
    let mut opened = fixture.s3.open("k").window(100_000).await.unwrap();
    assert_eq!(opened.object().size(), Some(bytes.len() as u64));
    let mut state = seed();
    let mut random = |below: u64| {
        state = split_mix(state);
        state % below
    };
    for _ in 0..300 {
        let size = bytes.len() as u64;
        let to = match random(3) {
            0 => SeekFrom::Start(random(size + 1000)),
            1 => SeekFrom::End(-(random(size + 1) as i64)),
            _ => SeekFrom::Current(random(100_000) as i64),
        };
        let mut places = [0, 0];
        places[0] = file.seek(to).await.unwrap();
        places[1] = opened.seek(to).await.unwrap();
        assert_eq!(places[0], places[1], "{to:?}");
        let length = random(150_000);
        let (mut one, mut other) = (Vec::new(), Vec::new());
        (&mut file).take(length).read_to_end(&mut one).await.unwrap();
        (&mut opened).take(length).read_to_end(&mut other).await.unwrap();
        assert!(one == other, "{length} bytes from {}", places[0]);
        assert_eq!(opened.position(), places[0] + one.len() as u64);
    }
    assert_eq!(opened.seek(SeekFrom::Current(i64::MIN)).await.unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
}

#[tokio::test]
async fn what_is_read_again_nearby_is_not_asked_for_again() {
    let (fixture, bytes) = with_object(40 * MIB).await;
    let gets = || count(&fixture.server.log(), Operation::GetObject);
    let mut opened = fixture.s3.open("k").await.unwrap();
    assert_eq!((fixture.server.log().len(), gets()), (1, 0), "one HEAD");
    opened.seek(SeekFrom::End(-8)).await.unwrap();
    let mut end = [0; 8];
    opened.read_exact(&mut end).await.unwrap();
    opened.seek(SeekFrom::End(-100_000)).await.unwrap();
    let mut directory = vec![0; 100_000];
    opened.read_exact(&mut directory).await.unwrap();
    assert!(bytes.ends_with(&directory) && directory.ends_with(&end));
    assert_eq!(gets(), 1, "the end of the object is one request");
    // A column of 20 MiB.
    opened.seek(SeekFrom::Start(10 * MIB as u64)).await.unwrap();
    let mut column = vec![0; 20 * MIB];
    opened.read_exact(&mut column).await.unwrap();
    assert!(bytes[10 * MIB..30 * MIB] == column);
    assert_eq!(gets(), 4, "8, 8 and 4 MiB more");
    let mut small = fixture.s3.open("k").window(64 << 20).await.unwrap();
    fixture.server.clear_log();
    for at in [30 * MIB, 5, 20 * MIB, 0] {
        small.seek(SeekFrom::Start(at as u64)).await.unwrap();
        assert_eq!(small.read_u8().await.unwrap(), bytes[at]);
    }
    let mut whole = Vec::new();
    small.seek(SeekFrom::Start(0)).await.unwrap();
    small.read_to_end(&mut whole).await.unwrap();
    assert!(whole == bytes);
    let log = fixture.server.log();
    assert!(
        log.iter().filter(|request| request.header("range").is_some_and(|range| range.starts_with("bytes=0-"))).count()
            <= 1
    );
}

#[tokio::test]
async fn a_read_into_a_large_buffer_asks_for_as_much_as_there_is_room_for() {
    let (fixture, bytes) = with_object(60 * MIB).await;
    let mut opened = fixture.s3.open("k").await.unwrap();
    // A column, its neighbour, one elsewhere, one that reaches into the last window, and a few bytes.
    for (at, length) in [(3, 10 * MIB), (3 + 10 * MIB, 12 * MIB), (40 * MIB, 2 * PART), (58 * MIB, 2 * MIB), (5, 7)] {
        fixture.server.clear_log();
        opened.seek(SeekFrom::Start(at as u64)).await.unwrap();
        let mut column = vec![0; length];
        opened.read_exact(&mut column).await.unwrap();
        assert!(bytes[at..at + length] == column, "{length} bytes from {at}");
        let log = fixture.server.log();
        let range = format!("bytes={at}-{}", at + length.max(MIB) - 1);
        assert_eq!((log.len(), log[0].header("range")), (1, Some(range.as_str())));
    }
    // Whoever reads on is read ahead of nevertheless.
    let mut read = vec![0; 3 * MIB];
    for _ in 0..9 {
        opened.read_exact(&mut read).await.unwrap();
    }
    assert!(bytes[12 + 24 * MIB..][..3 * MIB] == read);
    assert!(fixture.server.log().len() <= 8, "{}", fixture.server.log().len());
}

#[tokio::test]
async fn what_is_replaced_after_it_was_opened_is_changed() {
    let (fixture, _) = with_object(3 * MIB).await;
    let mut opened = fixture.s3.open("k").window(1000).await.unwrap();
    opened.read_u8().await.unwrap();
    fixture.server.put_object("bucket", "k", vec![0; 3 * MIB]);
    opened.seek(SeekFrom::Start(2 * MIB as u64)).await.unwrap();
    let error = opened.read_u8().await.unwrap_err();
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<s3flow::Error>()).unwrap();
    assert_eq!((inner.kind(), inner.url()), (ErrorKind::Changed, Some("s3://bucket/k")), "{inner}");
    assert_eq!(fixture.s3.open("none").await.unwrap_err().kind(), ErrorKind::NotFound);
    let empty = fixture.s3.put("empty", "").await.unwrap();
    let mut nothing = Vec::new();
    fixture.s3.open(empty.key()).await.unwrap().read_to_end(&mut nothing).await.unwrap();
    assert!(nothing.is_empty());
}
