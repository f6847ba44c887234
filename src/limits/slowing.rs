//! Where a service takes fewer requests than it was sent: which prefixes, and their rates.
//!
//! S3 answers 503 when a prefix gets more requests in a second than its machines are there for, and what a prefix is, S3 alone
//! knows: it divides the keys of a bucket as they are used.
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/optimizing-performance.html>
//!
//! So nothing is limited until a request is throttled. Then the keys beside it, up to the last `/`, get a [rate](Rate), which is
//! forgotten after a minute without another 503. When many neighbours have one, it is what they have in common that gets it.

mod rate;
#[cfg(test)]
mod simulation;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use self::rate::Rate;
use super::SlowedPrefix;
use super::flow::Flow;
use super::pace::Pace;
use crate::observe::Wait;

/// The prefixes of a client that have a rate.
#[derive(Debug, Default)]
pub(crate) struct Slowing {
    buckets: Mutex<HashMap<String, Prefixes>>,
    /// How many prefixes there are, so that a client that nobody throttles does not look.
    count: AtomicUsize,
}

/// Those of a bucket, as they stand in URLs.
type Prefixes = HashMap<String, Arc<Prefix>>;

#[derive(Debug)]
struct Prefix {
    pace: Arc<Pace>,
    rate: Mutex<Rate>,
}

/// More prefixes beside each other than this are slowed together.
const NEIGHBOURS: usize = 8;
/// More of a bucket than this, wherever they are, are the bucket.
const MOST: usize = 256;
/// A rate that differs by less is the same.
const DIFFERENCE: f64 = 0.02;

impl Slowing {
    /// Waits until a request for this key, or for keys that begin with it, may be sent.
    pub(crate) async fn wait<K: AsRef<str>>(&self, flow: &Flow, bucket: &str, key_path: impl FnOnce() -> K) {
        let Some(prefix) = self.find(bucket, key_path) else { return };
        let turn = flow.waiting(Wait::Prefix, prefix.pace.wait(flow.owner())).await;
        prefix.pace.charge(flow.owner(), 1);
        drop(turn);
    }

    /// A request that was sent at `begun` was taken.
    pub(crate) fn taken<K: AsRef<str>>(&self, bucket: &str, key_path: impl FnOnce() -> K, begun: Instant) {
        if let Some(prefix) = self.find(bucket, key_path) {
            prefix.rate().taken(begun);
            prefix.keep_pace();
        }
    }

    /// A request that was sent at `begun` was one too many.
    pub(crate) fn throttled(&self, flow: &Flow, bucket: &str, key_path: &str, begun: Instant) {
        flow.count_throttled();
        let mut buckets = self.buckets();
        let prefixes = buckets.entry(bucket.to_owned()).or_default();
        if let Some((_, prefix)) = longest(prefixes, key_path).filter(|(_, prefix)| !prefix.rate().is_quiet()) {
            prefix.rate().throttled(begun);
            prefix.keep_pace();
            return;
        }
        // By Little's law, so many were answered in a second.
        let took = begun.elapsed().max(Duration::from_millis(1)).as_secs_f64();
        let mut rate = flow.requests_in_flight().max(1) as f64 / took;
        let mut name = parent(key_path).to_owned();
        prefixes.retain(|_, prefix| !prefix.rate().is_quiet());
        if prefixes.len() >= MOST {
            rate = prefixes.drain().map(|(_, prefix)| prefix.rate().now()).sum();
            name.clear();
        }
        while let Some(wider) = crowded(prefixes, &name) {
            let joined = prefixes.extract_if(|other, _| parent_of_prefix(other) == Some(wider.as_str()));
            rate = joined.map(|(_, prefix)| prefix.rate().now()).sum();
            name = wider;
        }
        tracing::debug!(bucket, prefix = name, rate, "throttled");
        prefixes.insert(name, Arc::new(Prefix::new(rate, begun)));
        self.recount(&buckets);
    }

    /// Those that have a rate now; as they stand in URLs.
    pub(crate) fn prefixes(&self) -> Vec<SlowedPrefix> {
        let mut buckets = self.buckets();
        for prefixes in buckets.values_mut() {
            prefixes.retain(|_, prefix| !prefix.rate().is_quiet());
        }
        self.recount(&buckets);
        let all = buckets.iter().flat_map(|(bucket, prefixes)| {
            prefixes.iter().map(|(name, prefix)| SlowedPrefix {
                bucket: bucket.clone(),
                prefix: name.clone(),
                requests_per_second: prefix.rate().now(),
            })
        });
        all.collect()
    }

    fn find<K: AsRef<str>>(&self, bucket: &str, key_path: impl FnOnce() -> K) -> Option<Arc<Prefix>> {
        if self.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        let mut buckets = self.buckets();
        let prefixes = buckets.get_mut(bucket)?;
        let (name, prefix) = longest(prefixes, key_path().as_ref())?;
        if !prefix.rate().is_quiet() {
            return Some(Arc::clone(prefix));
        }
        let name = name.to_owned();
        prefixes.remove(&name);
        self.recount(&buckets);
        None
    }

    fn recount(&self, buckets: &HashMap<String, Prefixes>) {
        self.count.store(buckets.values().map(HashMap::len).sum(), Ordering::Release);
    }

    fn buckets(&self) -> MutexGuard<'_, HashMap<String, Prefixes>> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Prefix {
    fn new(rate: f64, begun: Instant) -> Self {
        let prefix = Self { pace: Arc::default(), rate: Mutex::new(Rate::new(rate, begun)) };
        prefix.keep_pace();
        prefix
    }

    /// Each answer moves the rate; who waits is woken when that makes a difference.
    fn keep_pace(&self) {
        let rate = self.rate().now();
        if self.pace.rate().is_none_or(|kept| (rate - kept).abs() > kept * DIFFERENCE) {
            self.pace.set_rate(Some(rate));
        }
    }

    fn rate(&self) -> MutexGuard<'_, Rate> {
        self.rate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Up to the last `/`.
fn parent(key_path: &str) -> &str {
    key_path.rfind('/').map_or("", |slash| &key_path[..=slash])
}

/// `None` of the bucket as a whole.
fn parent_of_prefix(prefix: &str) -> Option<&str> {
    prefix.strip_suffix('/').map(parent)
}

/// The longest prefix of a key that has a rate.
fn longest<'a>(prefixes: &'a Prefixes, key_path: &str) -> Option<(&'a str, &'a Arc<Prefix>)> {
    let mut prefix = Some(parent(key_path));
    while let Some(name) = prefix {
        if let Some((name, found)) = prefixes.get_key_value(name) {
            return Some((name, found));
        }
        prefix = parent_of_prefix(name);
    }
    None
}

/// What is above `name`, when too many beside it have a rate.
fn crowded(prefixes: &Prefixes, name: &str) -> Option<String> {
    let above = parent_of_prefix(name)?;
    let neighbours = prefixes.keys().filter(|other| parent_of_prefix(other) == Some(above)).count();
    (neighbours >= NEIGHBOURS).then(|| above.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(slowing: &Slowing) -> Vec<String> {
        let mut names: Vec<_> = slowing.prefixes().into_iter().map(|slowed| slowed.prefix).collect();
        names.sort();
        names
    }

    #[tokio::test(start_paused = true)]
    async fn a_prefix_is_slowed_where_it_was_throttled_and_nowhere_else() {
        let (slowing, flow) = (Slowing::default(), Flow::default());
        slowing.throttled(&flow, "b", "a/x/k", Instant::now());
        for (bucket, key, slowed) in [
            ("b", "a/x/other", true),
            ("b", "a/x/deeper/k", true),
            ("b", "a/k", false),
            ("b", "a/xy/k", false),
            ("b", "k", false),
            ("b", "", false),
            ("c", "a/x/k", false),
        ] {
            assert_eq!(slowing.find(bucket, || key).is_some(), slowed, "{bucket}/{key}");
        }
        assert_eq!(names(&slowing), ["a/x/"]);
    }

    #[tokio::test(start_paused = true)]
    async fn many_neighbours_are_slowed_together_and_forgotten_when_it_is_quiet() {
        let (slowing, flow) = (Slowing::default(), Flow::default());
        for number in 0..100 {
            slowing.throttled(&flow, "b", &format!("top/{number}/k"), Instant::now());
        }
        assert_eq!(names(&slowing), ["top/"]);
        for number in 0..100 {
            slowing.throttled(&flow, "b", &format!("{number}/k"), Instant::now());
        }
        assert_eq!(names(&slowing), [""]);
        tokio::time::advance(Duration::from_secs(61)).await;
        assert!(slowing.find("b", || "top/k").is_none());
        assert_eq!(slowing.count.load(Ordering::Acquire), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn however_many_prefixes_are_throttled_few_are_kept() {
        let (slowing, flow) = (Slowing::default(), Flow::default());
        for number in 0..10_000 {
            slowing.throttled(&flow, "b", &format!("{number}/only/k"), Instant::now());
            assert!(slowing.count.load(Ordering::Acquire) <= MOST);
        }
        assert_eq!(names(&slowing), [""]);
        tokio::time::advance(Duration::from_secs(61)).await;
        slowing.throttled(&flow, "b", "another/k", Instant::now());
        assert_eq!(names(&slowing), ["another/"]);
    }
}
