//! A server, a client for it, and a look at the disk.

use std::path::{Path, PathBuf};
use std::task::Poll;
use std::time::Duration;

use futures::Stream;
use s3flow::testing::{LoggedRequest, Operation, S3Server};
use s3flow::{Client, S3, S3Builder};

/// A server with an empty bucket `bucket`, and a scope at its root that downloads into a directory of its own.
pub(crate) struct Fixture {
    pub(crate) server: S3Server,
    pub(crate) client: Client,
    pub(crate) s3: S3,
    pub(crate) tmproot: tempfile::TempDir,
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        Self::of(S3Server::start().await.unwrap())
    }

    /// With an idle timeout that no test reaches: what ends, ends because the client lets go.
    pub(crate) fn of(server: S3Server) -> Self {
        let client = server.client_builder().idle_timeout(Duration::from_secs(3600)).build().unwrap();
        Self::with_client(server, client)
    }

    pub(crate) fn with_client(server: S3Server, client: Client) -> Self {
        let tmproot = tempfile::tempdir().unwrap();
        let s3 = client.s3().s3root("s3://bucket").tmproot(tmproot.path()).build().unwrap();
        Self { server, client, s3, tmproot }
    }

    /// A scope of the same client and tmproot.
    pub(crate) fn scope(&self) -> S3Builder {
        self.client.s3().tmproot(self.tmproot.path())
    }

    /// `count` objects `k0`, `k1`, … whose text is their key.
    pub(crate) fn put_numbered(&self, count: usize) -> Vec<String> {
        let keys: Vec<String> = (0..count).map(|number| format!("k{number}")).collect();
        for key in &keys {
            self.server.put_object("bucket", key, key.clone());
        }
        keys
    }

    /// Waits for the server's log; a promise that is not kept is a failure and not a hang.
    pub(crate) async fn wait_until(&self, condition: impl FnMut(&[LoggedRequest]) -> bool + Send) {
        in_time("the requests come", self.server.wait_until(condition)).await;
    }

    /// Waits until the client has let go of all connections but so many.
    pub(crate) async fn connections_end(&self, at_most: usize) {
        in_time("the client lets go", self.server.wait_for_connections(|open| open <= at_most)).await;
    }

    /// How many files the scopes have on disk, but for the locks of their directories.
    pub(crate) fn files(&self) -> usize {
        files_below(self.tmproot.path())
    }
}

/// Far less than the timeouts of the client, and more than a busy machine needs.
pub(crate) async fn in_time<T>(what: &str, promise: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(20), promise).await {
        Ok(kept) => kept,
        Err(_) => panic!("within 20 s: {what}"),
    }
}

pub(crate) fn count(log: &[LoggedRequest], operation: Operation) -> usize {
    log.iter().filter(|request| request.operation() == operation).count()
}

/// Polls a stream once.
pub(crate) async fn poll_once<T: Stream + Unpin>(stream: &mut T) -> Poll<Option<T::Item>> {
    std::future::poll_fn(|cx| Poll::Ready(std::pin::Pin::new(&mut *stream).poll_next(cx))).await
}

/// An error and everything below it, as one text.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = format!("{error}");
    let mut cause = error.source();
    while let Some(current) = cause {
        text.push_str(&format!(": {current}"));
        cause = current.source();
    }
    text
}

pub(crate) fn files_below(directory: &Path) -> usize {
    // What goes away while it is looked at is not counted.
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let files = |path: PathBuf| if path.is_dir() { files_below(&path) } else { usize::from(!path.ends_with(".lock")) };
    entries.map(|entry| files(entry.path())).sum()
}

/// One step of SplitMix64 (Steele, Lea and Flood, 2014): a number from which the next one does not show.
pub(crate) fn split_mix(state: u64) -> u64 {
    let mixed = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// `S3FLOW_SEED`, or the usual one.
pub(crate) fn seed() -> u64 {
    std::env::var("S3FLOW_SEED").map_or(1, |seed| seed.parse().expect("S3FLOW_SEED is a number"))
}
