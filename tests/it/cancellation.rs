//! Every operation, dropped at every await: no file, no upload, no request and no task stays, and no object is half of one.

use std::io::SeekFrom;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{BoxFuture, Either, select};
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use s3flow::testing::S3Server;
use s3flow::{PutValue, S3, S3GetObject};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};
use tokio::runtime::{Builder, Handle, Runtime};

use crate::cases::uploads::patterned;
use crate::support::{Fixture, in_time};

/// Over the longest value of one request, and of the longest download in one.
const LARGE: usize = (17 << 20) + 1;
/// Each poll up to this one is a place to drop at; behind it, every eighth of the way. `S3FLOW_EVERY_POLL=1` is all of them.
const DENSE: usize = 40;

/// An operation on a bucket that holds `small`, `large` and `d/0` to `d/9`.
struct Case {
    name: &'static str,
    run: fn(S3) -> BoxFuture<'static, ()>,
}

macro_rules! cases {
    ($($name:ident: |$s3:ident| $run:expr;)*) => {
        &[$(Case { name: stringify!($name), run: |$s3| async move { $run; }.boxed() }),*]
    };
}

const CASES: &[Case] = cases! {
    get_small: |s3| s3.get("small").await.unwrap();
    get_large: |s3| s3.get("large").await.unwrap();
    get_range: |s3| s3.get(S3GetObject::new("large").offset(5).length(1 << 20)).await.unwrap();
    get_many: |s3| s3.get_many((0..10).map(|n| format!("d/{n}"))).concurrency(3).await.unwrap();
    get_recursive: |s3| s3.get_recursive(["d", "small"]).await.unwrap();
    get_bytes: |s3| s3.get("small").bytes().await.unwrap();
    get_large_bytes: |s3| s3.get("large").bytes().await.unwrap();
    open_and_seek: |s3| {
        let mut opened = s3.open("large").window(1 << 20).await.unwrap();
        opened.seek(SeekFrom::End(-(3 << 20))).await.unwrap();
        opened.read_to_end(&mut Vec::new()).await.unwrap()
    };
    read_bytes: |s3| s3.get("small").await.unwrap().blob().await.unwrap();
    put_small: |s3| s3.put("new", "text").await.unwrap();
    put_large: |s3| s3.put("new", patterned(LARGE)).await.unwrap();
    put_stream: |s3| s3.put("new", in_pieces()).await.unwrap();
    put_written: |s3| {
        let mut writer = s3.put("new", "").writer();
        writer.write_all(&patterned(LARGE)).await.unwrap();
        writer.finish().await.unwrap()
    };
    put_conditional: |s3| s3.put("new", "text").overwrite(false).await.unwrap();
    put_large_conditional: |s3| s3.put("new", patterned(LARGE)).overwrite(false).await.unwrap();
    put_many: |s3| s3.put_many((0..10).map(|n| (format!("new/{n}"), "text"))).concurrency(3).await.unwrap();
    copy_small: |s3| s3.copy("small", "new").await.unwrap();
    copy_in_parts: |s3| s3.copy("huge", "new").await.unwrap();
    copy_from: |s3| {
        let copies = s3.list_recursive(["d"]).map_ok(|object| {
            let destination = format!("copies/{}", object.key());
            (object, destination)
        });
        s3.copy_from(copies).concurrency(3).await.unwrap()
    };
    delete: |s3| s3.delete("d/0").await.unwrap();
    delete_many: |s3| s3.delete_many((0..10).map(|n| format!("d/{n}"))).await.unwrap();
    abandoned_uploads: |s3| s3.abandoned_uploads([""], Duration::ZERO).abort(true).await.unwrap();
    info: |s3| s3.info("small").await.unwrap();
    info_many: |s3| s3.info_many((0..10).map(|n| format!("d/{n}"))).await.unwrap();
    exists: |s3| s3.exists("nothing").await.unwrap();
    list_paths: |s3| s3.list_paths([""]).await.unwrap();
    list_recursive: |s3| s3.list_recursive([""]).await.unwrap();
    get_pinned: |s3| s3.get_recursive(["d", "large"]).pinned().await.unwrap();
    verify_unchanged: |s3| {
        let listed = s3.list_recursive([""]).await.unwrap();
        s3.list_recursive([""]).verify_unchanged(listed).await.unwrap()
    };
    manifest: |s3| {
        let mut manifest = s3.write_manifest("manifest").overwrite(false);
        for line in [1, 2] {
            manifest.write(&line).await.unwrap();
        }
        manifest.finish().await.unwrap();
        s3.read_manifest::<u64>("manifest").await.unwrap()
    };
    close: |s3| {
        s3.get("small").await.unwrap();
        s3.close().await.unwrap()
    };
};

/// What a copy takes for too long for one request.
const LONGEST_COPY: u64 = 64 << 20;

fn in_pieces() -> PutValue {
    let chunks: Vec<_> =
        patterned(LARGE).chunks(1 << 20).map(|chunk| Ok::<_, std::io::Error>(chunk.to_vec())).collect();
    // A value that comes piece by piece, each of which has to be waited for.
    PutValue::stream(futures::stream::iter(chunks).then(|chunk| async {
        tokio::task::yield_now().await;
        chunk
    }))
}

/// A server with a runtime of its own, so that the tasks of the client's are the client's.
struct Bench {
    fixture: Fixture,
    large: Bytes,
    huge: Bytes,
    _server: Runtime,
}

impl Bench {
    fn new() -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let builder = S3Server::builder().bucket("bucket").page_size(3).max_copy_size(LONGEST_COPY).md5(false);
        let server = runtime.block_on(builder.start()).unwrap();
        let huge = vec![7; LONGEST_COPY as usize + 1].into();
        Self { fixture: Fixture::of(server), large: patterned(LARGE).into(), huge, _server: runtime }
    }

    fn refill(&self) {
        let server = &self.fixture.server;
        for key in server.keys("bucket") {
            server.remove_object("bucket", &key);
        }
        server.put_object("bucket", "small", "text");
        server.put_object("bucket", "large", self.large.clone());
        server.put_object("bucket", "huge", self.huge.clone());
        for number in 0..10 {
            server.put_object("bucket", &format!("d/{number}"), "text");
        }
        server.clear_log();
    }

    fn scope(&self) -> S3 {
        self.fixture.scope().s3root("s3://bucket").build().unwrap()
    }

    /// Nothing of a dropped operation goes on, and what it did is whole.
    async fn assert_nothing_stays(&self, at: &str) {
        let server = &self.fixture.server;
        let left = || {
            let files = self.fixture.files();
            let uploads = server.multipart_uploads("bucket").len();
            let at_work = server.log().iter().filter(|request| request.finish().is_none()).count();
            // A connection that is kept may have a task, the pool has one, and nothing else.
            let tasks = Handle::current().metrics().num_alive_tasks();
            let tasks = tasks.saturating_sub(1 + server.open_connections());
            (files, uploads, at_work, tasks)
        };
        let settled = tokio::time::timeout(Duration::from_secs(20), async {
            while left() != (0, 0, 0, 0) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        if settled.await.is_err() {
            panic!("{at}: files, uploads, requests and tasks that stay: {:?}", left());
        }
        for key in server.keys("bucket") {
            let object = server.object("bucket", &key).unwrap();
            let whole = match key.as_str() {
                "large" => object == self.large,
                "huge" => object == self.huge,
                "manifest" => object == "1\n2\n",
                "new" => object == "text" || object == self.large || object == self.huge,
                _ => object == "text",
            };
            assert!(whole, "{at}: {key} is not whole");
        }
    }
}

/// Where an operation is dropped.
#[derive(Debug, Clone, Copy)]
enum Drop {
    /// As soon as it has been polled so often.
    AfterPolls(usize),
    /// When it would be polled once more.
    BeforePoll(usize),
    /// When the server has so many requests.
    AtRequest(usize),
    /// When so many requests are answered.
    AtAnswer(usize),
}

impl Drop {
    /// Whether `operation` ended before it was to be dropped.
    async fn ended(self, operation: BoxFuture<'static, ()>, server: &S3Server) -> bool {
        match self {
            Self::AfterPolls(times) => polled(operation, times, false).await,
            Self::BeforePoll(times) => polled(operation, times, true).await,
            Self::AtRequest(number) => {
                let there = pin!(server.wait_until(|log| log.len() >= number));
                matches!(select(operation, there).await, Either::Left(_))
            }
            Self::AtAnswer(number) => {
                let there =
                    pin!(server.wait_until(|log| {
                        log.iter().filter(|request| request.finish().is_some()).count() >= number
                    }));
                matches!(select(operation, there).await, Either::Left(_))
            }
        }
    }
}

async fn polled(mut operation: BoxFuture<'static, ()>, times: usize, until_woken: bool) -> bool {
    let mut left = times;
    std::future::poll_fn(move |cx| {
        if left == 0 {
            return Poll::Ready(false);
        }
        left -= 1;
        let polled = operation.poll_unpin(cx).map(|()| true);
        if polled.is_pending() && left == 0 && !until_woken { Poll::Ready(false) } else { polled }
    })
    .await
}

/// Drops the operation of `case` everywhere; how often that was.
fn drop_everywhere(case: &Case) -> usize {
    let bench = Bench::new();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let every = std::env::var_os("S3FLOW_EVERY_POLL").is_some();
    runtime.block_on(async {
        // Connections are made, and what a client keeps is there.
        bench.refill();
        in_time("the operation", (case.run)(bench.scope())).await;
        bench.refill();
        bench.fixture.connections_end(usize::MAX).await;
        let mut dropped = 0;
        for kind in [Drop::AfterPolls, Drop::BeforePoll, Drop::AtRequest, Drop::AtAnswer] {
            let mut number = 0;
            loop {
                let at = kind(number);
                bench.refill();
                let s3 = bench.scope();
                let ended = in_time(case.name, at.ended((case.run)(s3.clone()), &bench.fixture.server)).await;
                drop(s3);
                bench.assert_nothing_stays(&format!("{} dropped {at:?}", case.name)).await;
                if ended {
                    break;
                }
                dropped += 1;
                number += if every || number < DENSE { 1 } else { number / 8 };
            }
        }
        dropped
    })
}

macro_rules! dropped_everywhere {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                let case = CASES.iter().find(|case| case.name == stringify!($name)).unwrap();
                let dropped = drop_everywhere(case);
                eprintln!("cancellation: {} was dropped {dropped} times", case.name);
                assert!(dropped >= 4);
            }
        )*

        #[test]
        fn every_case_is_a_test() {
            let tests = [$(stringify!($name)),*];
            assert_eq!(CASES.iter().map(|case| case.name).collect::<Vec<_>>(), tests);
        }
    };
}

dropped_everywhere! {
    get_small
    get_large
    get_range
    get_many
    get_recursive
    get_bytes
    get_large_bytes
    open_and_seek
    read_bytes
    put_small
    put_large
    put_stream
    put_written
    put_conditional
    put_large_conditional
    put_many
    copy_small
    copy_in_parts
    copy_from
    delete
    delete_many
    abandoned_uploads
    info
    info_many
    exists
    list_paths
    list_recursive
    get_pinned
    verify_unchanged
    manifest
    close
}
