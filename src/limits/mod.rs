//! Ceilings of a client and of its scopes, set while transfers run; who waits for them, and in which order.

mod ceilings;
mod flow;
mod gate;
mod line;
mod pace;
mod slowing;

use serde::Serialize;

pub(crate) use self::ceilings::Ceilings;
pub(crate) use self::flow::{Flow, Held, Pause};
pub(crate) use self::slowing::Slowing;
use crate::error::{Error, ErrorKind, Result};
use crate::observe::RetryCounts;

/// What a client, or one of its scopes, may use. What is not set has no limit.
///
/// Where several wait for the same, scopes get equal shares, or shares by their [weights](crate::S3Builder::weight), and in a
/// scope each operation the same: a batch is one operation, as is a single get. So a request need not wait for a batch of ten
/// thousand objects that came before it. Nor for one of its long requests to end: of the requests on their way and of the memory, one
/// operation leaves an eighth to others.
///
/// ```
/// # fn main() -> s3flow::Result<()> {
/// use s3flow::{Client, Limits};
///
/// let client = Client::builder().limits(Limits::default().requests_in_flight(128)).build()?;
/// let backup = client.s3().limits(Limits::default().upload_bytes_per_second(10_000_000)).build()?;
/// // At night:
/// backup.set_limits(Limits::default())?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[must_use = "limits do nothing until a client or a scope has them"]
pub struct Limits {
    requests_in_flight: Option<u64>,
    requests_per_second: Option<u64>,
    upload_bytes_per_second: Option<u64>,
    download_bytes_per_second: Option<u64>,
    memory_bytes: Option<u64>,
    disk_bytes: Option<u64>,
}

impl Limits {
    /// How many requests may be on their way, from before the first byte is sent until the answer is read or given up. Each has a
    /// connection. One that a caller [reads](crate::GetStream) counts until its answer begins: the caller may want another request
    /// for it.
    pub fn requests_in_flight(mut self, requests: impl Into<Option<u64>>) -> Self {
        self.requests_in_flight = requests.into();
        self
    }

    /// How many requests may be begun in a second, those that are sent again included.
    pub fn requests_per_second(mut self, requests: impl Into<Option<u64>>) -> Self {
        self.requests_per_second = requests.into();
        self
    }

    /// How many bytes of bodies may be sent in a second.
    pub fn upload_bytes_per_second(mut self, bytes: impl Into<Option<u64>>) -> Self {
        self.upload_bytes_per_second = bytes.into();
        self
    }

    /// How many bytes of bodies may be received in a second. What the kernel and TLS have read ahead is not counted.
    pub fn download_bytes_per_second(mut self, bytes: impl Into<Option<u64>>) -> Self {
        self.download_bytes_per_second = bytes.into();
        self
    }

    /// How many bytes of memory the buffers of transfers may have: 3 MiB for each stream of a download that is on its way, or
    /// less when the object is shorter; the parts of files and streams that are stored, but for the first 64 KiB of a stream; 1 MiB for each page of a listing; 8 MiB
    /// for each part that is read ahead of a [`GetStream`](crate::GetStream), of which all together may have an eighth. At least 32 MiB. A part
    /// that is longer than all of it is the only one.
    ///
    /// Not counted are values that are given as bytes, what is [read](crate::S3Object::blob) from files, and some 100 KiB for
    /// each connection, or up to 3 MiB where a caller who reads a [`GetStream`](crate::GetStream) takes its time.
    pub fn memory_bytes(mut self, bytes: impl Into<Option<u64>>) -> Self {
        self.memory_bytes = bytes.into();
        self
    }

    /// How many bytes the downloaded files may have, from before the first byte is written until the file is removed or
    /// [persisted](crate::S3Object::persist). A download for which there is no room
    /// [waits](crate::ClientBuilder::disk_wait), and an object that is larger than this is
    /// [`ErrorKind::InsufficientDiskSpace`] at once.
    pub fn disk_bytes(mut self, bytes: impl Into<Option<u64>>) -> Self {
        self.disk_bytes = bytes.into();
        self
    }

    fn check(self) -> Result<Self> {
        let Self {
            requests_in_flight,
            requests_per_second,
            upload_bytes_per_second,
            download_bytes_per_second,
            memory_bytes,
            disk_bytes,
        } = self;
        for (name, limit) in [
            ("requests_in_flight", requests_in_flight),
            ("requests_per_second", requests_per_second),
            ("upload_bytes_per_second", upload_bytes_per_second),
            ("download_bytes_per_second", download_bytes_per_second),
            ("memory_bytes", memory_bytes),
            ("disk_bytes", disk_bytes),
        ] {
            if limit == Some(0) {
                return Err(Error::new(ErrorKind::Config, format!("the limit {name} is 0; no request could end")));
            }
        }
        if memory_bytes.is_some_and(|bytes| bytes < LEAST_MEMORY) {
            return Err(Error::new(ErrorKind::Config, "the limit memory_bytes is less than 32 MiB"));
        }
        Ok(self)
    }
}

/// A quarter of it is left for downloads that a stream may wait for, and three quarters hold three parts of streams.
const LEAST_MEMORY: u64 = 32 * 1024 * 1024;

/// What a client or a scope has done, and is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// Requests that were begun, those that were sent again included, and those that are redirected counted once.
    pub requests: u64,
    /// Of these, those that are on their way.
    pub requests_in_flight: u64,
    /// Bytes of bodies that were handed to connections, those that were sent again included.
    pub bytes_sent: u64,
    /// Bytes of bodies that came, those that were asked for again included.
    pub bytes_received: u64,
    /// Bytes of memory that are kept for buffers.
    pub memory_bytes: u64,
    /// Bytes of files, those included that are kept for downloads which are under way.
    pub disk_bytes: u64,
    /// Who waits, and why.
    pub waiting: Waiting,
    /// Requests that the server refused because there were too many.
    pub throttled: u64,
    /// Requests that were sent again, and why.
    pub retries: RetryCounts,
}

/// How many wait for a limit, by the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct Waiting {
    /// Requests, for others to end: [`Limits::requests_in_flight`].
    pub for_requests_in_flight: u64,
    /// Requests, for time to pass: [`Limits::requests_per_second`].
    pub for_requests_per_second: u64,
    /// Bodies, for time to pass: [`Limits::upload_bytes_per_second`] and [`Limits::download_bytes_per_second`].
    pub for_bytes_per_second: u64,
    /// Requests for a prefix that the server has [throttled](crate::Client::slowed_prefixes).
    pub for_slowed_prefix: u64,
    /// Parts and listings: [`Limits::memory_bytes`].
    pub for_memory: u64,
    /// Downloads: [`Limits::disk_bytes`], or the disk itself.
    pub for_disk: u64,
    /// Requests that failed, until they are sent again: [`RetryPolicy`](crate::RetryPolicy).
    pub for_retries: u64,
}

/// Keys for which a server takes fewer requests than it was sent.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct SlowedPrefix {
    /// The bucket.
    pub bucket: String,
    /// What the keys begin with; empty for all of the bucket.
    pub prefix: String,
    /// How many requests it is sent in a second now.
    pub requests_per_second: f64,
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;
    use crate::observe::Way;

    fn scope(client: &Arc<Ceilings>, limits: Limits, weight: u32) -> Flow {
        Flow::of_scope(client, Arc::new(Ceilings::new(limits).unwrap()), weight.try_into().unwrap())
    }

    fn flow(limits: Limits) -> (Arc<Ceilings>, Flow) {
        let client = Arc::new(Ceilings::new(limits).unwrap());
        let flow = scope(&client, Limits::default(), 1);
        (client, flow)
    }

    async fn receive(flow: &Flow, bytes: usize) {
        if let Some(pause) = flow.pause(Way::Received) {
            pause.await;
        }
        flow.count(Way::Received, bytes);
    }

    #[test]
    fn a_limit_of_nothing_is_refused_by_its_name() {
        for (limits, name) in [
            (Limits::default().requests_in_flight(0), "requests_in_flight"),
            (Limits::default().requests_per_second(0), "requests_per_second"),
            (Limits::default().upload_bytes_per_second(0), "upload_bytes_per_second"),
            (Limits::default().download_bytes_per_second(0), "download_bytes_per_second"),
            (Limits::default().memory_bytes(0), "memory_bytes is 0"),
            (Limits::default().memory_bytes(LEAST_MEMORY - 1), "memory_bytes is less than 32 MiB"),
            (Limits::default().disk_bytes(0), "disk_bytes"),
        ] {
            let error = Ceilings::new(limits).unwrap_err();
            assert!(error.kind() == ErrorKind::Config && error.to_string().contains(name), "{error}");
            assert_eq!(Ceilings::default().set(limits).unwrap_err().kind(), ErrorKind::Config);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_pace_is_kept_to_a_hundredth() {
        let (client, flow) = flow(Limits::default().requests_per_second(200).download_bytes_per_second(1_000_000));
        let begun = Instant::now();
        for _ in 0..2000 {
            drop(flow.begin().await);
        }
        let took = begun.elapsed().as_secs_f64();
        assert!((9.8..10.1).contains(&took), "{took}");

        let begun = Instant::now();
        for _ in 0..1000 {
            receive(&flow, 10_000).await;
        }
        let took = begun.elapsed().as_secs_f64();
        assert!((9.8..10.1).contains(&took), "{took}");
        assert_eq!((client.stats().requests, client.stats().bytes_received), (2000, 10_000_000));
        assert_eq!(flow.scope().stats().bytes_received, 10_000_000);
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_limit_holds_for_those_who_wait_already() {
        let (client, flow) =
            flow(Limits::default().download_bytes_per_second(1).requests_in_flight(1).memory_bytes(10 * LEAST_MEMORY));
        receive(&flow, 1_000_000).await;
        let (first, memory) = (flow.begin().await, flow.memory(10 * LEAST_MEMORY).await);
        let flows = [(); 3].map(|()| flow.another());
        let [one, other, third] = flows;
        let receiving = tokio::spawn(async move { receive(&one, 1).await });
        let entering = tokio::spawn(async move { drop(other.begin().await) });
        let using = tokio::spawn(async move { drop(third.memory(5 * LEAST_MEMORY).await) });
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert!(!receiving.is_finished() && !entering.is_finished() && !using.is_finished());
        let waiting = client.stats().waiting;
        assert_eq!((waiting.for_requests_in_flight, waiting.for_memory, client.stats().requests_in_flight), (1, 1, 1));
        let begun = Instant::now();
        let wider = Limits::default()
            .download_bytes_per_second(10_000_000)
            .requests_in_flight(2)
            .memory_bytes(15 * LEAST_MEMORY);
        client.set(wider).unwrap();
        receiving.await.unwrap();
        entering.await.unwrap();
        using.await.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
        drop((first, memory));
        let stats = client.stats();
        assert_eq!((stats.requests_in_flight, stats.memory_bytes, stats.waiting), (0, 0, Waiting::default()));
    }

    #[tokio::test(start_paused = true)]
    async fn places_are_given_in_the_order_of_waiting_and_come_back_from_who_stops_waiting() {
        let (client, flow) = flow(Limits::default().requests_in_flight(2));
        let (first, second) = (flow.begin().await, flow.begin().await);
        let order = Arc::new(Mutex::new(Vec::new()));
        let waiting: Vec<_> = (0..5)
            .map(|number| {
                let (flow, order) = (flow.clone(), Arc::clone(&order));
                tokio::spawn(async move {
                    let _entered = flow.begin().await;
                    order.lock().unwrap().push(number);
                    tokio::time::sleep(Duration::from_secs(1)).await;
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(client.stats().waiting.for_requests_in_flight, 5);
        waiting[0].abort();
        waiting[2].abort();
        drop((first, second));
        for task in waiting {
            let _ = task.await;
        }
        assert_eq!(*order.lock().unwrap(), [1, 3, 4]);
        let stats = client.stats();
        assert_eq!((stats.requests_in_flight, stats.waiting), (0, Waiting::default()));
    }

    /// What each of these gets of a pace within ten seconds, with so many connections.
    async fn shares(flows: &[(Flow, usize)]) -> Vec<usize> {
        let counts: Vec<_> = flows.iter().map(|_| Arc::new(std::sync::atomic::AtomicUsize::new(0))).collect();
        let mut receiving = Vec::new();
        for ((flow, connections), count) in flows.iter().zip(&counts) {
            for _ in 0..*connections {
                let (flow, count) = (flow.clone(), Arc::clone(count));
                receiving.push(tokio_util::task::AbortOnDropHandle::new(tokio::spawn(async move {
                    loop {
                        receive(&flow, 1000).await;
                        count.fetch_add(1000, std::sync::atomic::Ordering::Relaxed);
                        tokio::task::yield_now().await;
                    }
                })));
            }
        }
        tokio::time::sleep(Duration::from_secs(10)).await;
        counts.iter().map(|count| count.load(std::sync::atomic::Ordering::Relaxed)).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn scopes_share_a_pace_by_their_weights_whatever_their_connections() {
        let (client, one) = flow(Limits::default().download_bytes_per_second(1_000_000));
        let (equal, heavy) = (scope(&client, Limits::default(), 1), scope(&client, Limits::default(), 2));
        let shares = shares(&[(one.clone(), 20), (equal, 1), (heavy, 4), (one.another(), 3)]).await;
        let of = |share: usize| share as f64 / 10_000_000.0;
        // The first and the last are of one scope.
        assert!((0.24..0.27).contains(&(of(shares[0]) + of(shares[3]))), "{shares:?}");
        assert!((0.9..1.1).contains(&(of(shares[0]) / of(shares[3]))), "{shares:?}");
        assert!((0.23..0.27).contains(&of(shares[1])), "{shares:?}");
        assert!((0.47..0.53).contains(&of(shares[2])), "{shares:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_limit_of_a_scope_holds_for_it_alone() {
        let client: Arc<Ceilings> = Arc::default();
        let slow = Limits::default().download_bytes_per_second(10_000);
        let (slow, fast) = (scope(&client, slow, 1), scope(&client, Limits::default(), 1));
        let begun = Instant::now();
        receive(&fast, 1_000_000).await;
        receive(&fast, 1_000_000).await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
        receive(&slow, 100_000).await;
        receive(&slow, 1).await;
        assert!(begun.elapsed() > Duration::from_secs(9), "{:?}", begun.elapsed());
        assert_eq!(client.stats().bytes_received, 2_100_001);
    }

    #[tokio::test(start_paused = true)]
    async fn one_operation_leaves_an_eighth_to_others() {
        let (client, flow) = flow(Limits::default().requests_in_flight(16));
        let batch: Vec<_> = (0..20)
            .map(|_| {
                let flow = flow.clone();
                tokio::spawn(async move { flow.begin().await })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(client.stats().requests_in_flight, 14);
        // Neither in the same scope nor in another one.
        let others = [flow.another().begin().await, scope(&client, Limits::default(), 1).begin().await];
        assert_eq!((client.stats().requests_in_flight, client.stats().waiting.for_requests_in_flight), (16, 6));
        drop(others);
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(client.stats().requests_in_flight, 14);
        drop(batch);
    }

    #[tokio::test(start_paused = true)]
    async fn what_wants_more_than_there_is_gets_it_alone_and_who_waits_first_is_not_overtaken() {
        let (client, flow) = flow(Limits::default().disk_bytes(10));
        let mut held = flow.try_disk(6).unwrap();
        let (large, small) = (flow.another(), flow.another());
        let large = tokio::spawn(async move { large.disk(25, None).await.unwrap() });
        tokio::time::sleep(Duration::from_millis(1)).await;
        let small = tokio::spawn(async move { small.disk(2, None).await.unwrap() });
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(flow.try_disk(1).is_none());
        held.shrink(1);
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!((client.stats().disk_bytes, client.stats().waiting.for_disk), (1, 2));
        drop(held);
        let large = large.await.unwrap();
        assert_eq!((client.stats().disk_bytes, client.stats().waiting.for_disk), (25, 1));
        drop(large);
        drop(small.await.unwrap());
        assert_eq!((client.stats().disk_bytes, client.stats().waiting), (0, Waiting::default()));
    }
}
