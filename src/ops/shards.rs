//! `plan_shards`: a prefix divided into ranges of keys, from a few of its pages or from a manifest.

use std::collections::BTreeSet;
use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _};

use super::Operation;
use super::get::GetInput;
use super::listing::{KeyRange, Question, Survey, SurveyPage};
use crate::address::{Address, Directory};
use crate::error::{Error, ErrorKind, Result};
use crate::observe::Subject;
use crate::request::S3GetObject;
use crate::s3::S3;
use crate::shard::{MAX_SHARDS, Shard};
use crate::store::{ListPage, ListQuery};

const OPERATION: &str = "plan_shards";
/// So many keys of a manifest are kept.
const MOST_SAMPLES: usize = 65_536;

/// The division of a prefix into shards; await it. Made by [`S3::plan_shards`].
///
/// # How even they are
///
/// Each key is in exactly one shard, whatever the plan is made of. That they have about equally many keys is an estimate, from 9 pages
/// or as many as [`probes`](Self::probes) says. Where these are all of the prefix, the plan is exact.
///
/// The first request shows the directories of the next level, and the others read a page in places where many keys are supposed. Keys that
/// count, dates, hexadecimal names and UUIDs interpolate well. A directory that is much larger than its siblings is found when its keys lie
/// as densely in their names as they are many, as hashes do. When the keys count up, a page tells nothing of where they end, which takes
/// some 5 pages for each directory. What is known of the keys elsewhere, an inventory or a [manifest](Self::from_manifest), needs no estimate.
///
/// # Errors
///
/// [`Config`](ErrorKind::Config), before any request, for no shards, for more than 100,000, and for no probes;
/// [`InvalidUrl`](ErrorKind::InvalidUrl); [`NoSuchBucket`](ErrorKind::NoSuchBucket),
/// [`AccessDenied`](ErrorKind::AccessDenied), and those of the network. [`Unsupported`](ErrorKind::Unsupported) when the server ignores
/// `start-after` or lists in another order than that of bytes, as directory buckets do: such a prefix cannot be divided.
///
/// # Cancel safety
///
/// Dropping the future ends its request. Nothing is changed.
#[must_use = "a plan_shards does nothing unless it is awaited"]
pub struct PlanShards {
    s3: S3,
    prefix: String,
    shards: usize,
    probes: Option<usize>,
    manifest: Option<BoxStream<'static, Result<S3GetObject>>>,
}

impl PlanShards {
    pub(crate) fn new(s3: S3, prefix: String, shards: usize) -> Self {
        Self { s3, prefix, shards, probes: None, manifest: None }
    }

    /// How many pages are read, at most; one request more where that leaves untried whether the server heeds `start-after`. More make the
    /// shards more even. Default: 9.
    pub fn probes(mut self, pages: usize) -> Self {
        self.probes = Some(pages);
        self
    }

    /// Plans by the keys of a manifest in place of requests: by each key once, however often it is there. The items are whatever
    /// [`get_from`](S3::get_from) takes, in any order. Of up to 65,536 keys the plan is exact; of more, that many at most are kept, chosen by
    /// their hashes, and shards of `n` keys differ by some `1 / sqrt(65,536 n / all)`.
    ///
    /// A key that is not below the prefix is an [`InvalidUrl`](ErrorKind::InvalidUrl) error with its [`index`](Error::index), and an error of the
    /// stream is the plan's. The shards have all that lies below the prefix then, and not only what the manifest names.
    ///
    /// ```
    /// # async fn example(s3: s3flow::S3, inventory: Vec<String>) -> s3flow::Result<()> {
    /// let shards = s3.plan_shards("2026", 16).from_manifest(futures::stream::iter(inventory)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_manifest<I>(mut self, manifest: I) -> Self
    where
        I: Stream + Send + 'static,
        I::Item: GetInput,
    {
        self.manifest = Some(manifest.map(GetInput::into_request).boxed());
        self
    }

    async fn plan(self) -> Result<Vec<Shard>> {
        let Self { s3, prefix, shards, probes, manifest } = self;
        if shards == 0 || shards > MAX_SHARDS {
            let problem = format!("a prefix is divided into 1 to {MAX_SHARDS} shards, and not into {shards}");
            return Err(Error::new(ErrorKind::Config, problem));
        }
        if probes == Some(0) {
            return Err(Error::new(ErrorKind::Config, "shards are planned by one probe at least, and not by 0"));
        }
        let directory = s3.root().directory(&prefix);
        let directory = directory.map_err(|invalid| Error::new(ErrorKind::InvalidUrl, invalid.0))?;
        let cuts = match manifest {
            Some(manifest) => cuts_of(&s3, &directory, manifest, shards).await?,
            None => probed(&s3, &directory, shards, probes).await?,
        };
        Ok(divided(&directory, cuts))
    }
}

impl IntoFuture for PlanShards {
    type Output = Result<Vec<Shard>>;
    type IntoFuture = Operation<Vec<Shard>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            self.plan().await.map_err(|error| {
                let url = error.url().map(str::to_owned);
                error.with_operation(OPERATION, url)
            })
        })
    }
}

impl fmt::Debug for PlanShards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { s3, prefix, shards, probes, manifest } = self;
        f.debug_struct(stringify!(PlanShards))
            .field("s3", s3)
            .field("prefix", prefix)
            .field("shards", shards)
            .field("probes", probes)
            .field("from_manifest", &manifest.is_some())
            .finish()
    }
}

/// Shards that end behind each of these keys, and the last one.
fn divided(directory: &Directory, cuts: Vec<String>) -> Vec<Shard> {
    let (prefix, of) = (format!("s3://{}/{}", directory.bucket, directory.prefix), cuts.len() + 1);
    let mut rest = KeyRange::default();
    let mut ranges: Vec<KeyRange> = Vec::with_capacity(of);
    for cut in cuts {
        let next = rest.split_after(&cut);
        ranges.push(std::mem::replace(&mut rest, next));
    }
    ranges.push(rest);
    let shard = |(number, KeyRange { start_after, end_before })| {
        Shard::new(prefix.clone(), number, of, start_after, end_before)
    };
    ranges.into_iter().enumerate().map(shard).collect()
}

async fn probed(s3: &S3, directory: &Directory, shards: usize, probes: Option<usize>) -> Result<Vec<String>> {
    let mut survey = Survey::new(&directory.prefix, probes);
    let mut tried = false;
    while let Some(question) = survey.next(shards) {
        tried |= question.start_after.is_some();
        let page = ask(s3, directory, &question, None).await?;
        if !survey.answered(&question, page) {
            return Err(out_of_order(directory));
        }
    }
    let cuts = survey.cuts(shards);
    if let Some(last) = cuts.last().filter(|_| !tried) {
        let question =
            Question { prefix: directory.prefix.clone(), next_level: false, start_after: Some(last.clone()) };
        let page = ask(s3, directory, &question, Some(1)).await?;
        if !survey.answered(&question, page) {
            return Err(out_of_order(directory));
        }
    }
    Ok(cuts)
}

fn out_of_order(directory: &Directory) -> Error {
    let problem = "the server does not list keys in byte order from start-after on, and its listings cannot be divided";
    Error::new(ErrorKind::Unsupported, problem).with_operation(OPERATION, Some(directory.url.to_string()))
}

async fn ask(s3: &S3, directory: &Directory, question: &Question, max_keys: Option<u32>) -> Result<SurveyPage> {
    let Question { prefix, next_level, start_after } = question;
    let query = ListQuery { prefix, next_level: *next_level, start_after: start_after.as_deref(), max_keys };
    let of_page = s3.another_object();
    let bucket = &*directory.bucket;
    let page = of_page.engine().request(|store| store.list(bucket, query, None));
    let page = of_page.run(Subject { operation: OPERATION, bucket, key: prefix }, page).await;
    let ListPage { objects, prefixes, next } =
        page.map_err(|error| error.with_operation(OPERATION, Some(directory.url.to_string())))?;
    let mut entries: Vec<(String, bool)> = objects.into_iter().map(|object| (object.key, false)).collect();
    if !prefixes.is_empty() {
        entries.extend(prefixes.into_iter().map(|prefix| (prefix, true)));
        entries.sort();
    }
    Ok(SurveyPage { entries, more: next.is_some() })
}

/// The cuts by the keys of a manifest.
async fn cuts_of(
    s3: &S3,
    directory: &Directory,
    mut manifest: BoxStream<'static, Result<S3GetObject>>,
    shards: usize,
) -> Result<Vec<String>> {
    let mut sample = Sample::default();
    let mut index = 0;
    while let Some(request) = manifest.next().await {
        let address = request.and_then(|request| request.address(s3.root()));
        let Address { location, .. } = address.map_err(|error| error.with_index(index))?;
        if *location.bucket() != *directory.bucket || !location.key().starts_with(&directory.prefix) {
            let problem = format!("the manifest names what is not below {}", directory.url);
            let error = Error::new(ErrorKind::InvalidUrl, problem);
            return Err(error.with_operation(OPERATION, Some(location.url())).with_index(index));
        }
        sample.add(location.key());
        index += 1;
    }
    Ok(sample.cuts(shards))
}

/// Some of many keys, whatever the order in which they come: those whose hashes end with so many zeros.
#[derive(Debug, Default)]
struct Sample {
    keys: BTreeSet<String>,
    zeros: u32,
}

impl Sample {
    fn add(&mut self, key: &str) {
        if self.has(key) {
            self.keys.insert(key.to_owned());
        }
        while self.keys.len() > MOST_SAMPLES {
            self.zeros += 1;
            let keys = std::mem::take(&mut self.keys);
            self.keys = keys.into_iter().filter(|key| self.has(key)).collect();
        }
    }

    fn has(&self, key: &str) -> bool {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        hasher.finish().trailing_zeros() >= self.zeros
    }

    /// The last keys of all parts but the last one.
    fn cuts(self, parts: usize) -> Vec<String> {
        let keys: Vec<String> = self.keys.into_iter().collect();
        let ends =
            (1..parts).map(|part| (keys.len() * part).div_ceil(parts)).filter(|end| (1..keys.len()).contains(end));
        let mut cuts: Vec<String> = ends.map(|end| keys[end - 1].clone()).collect();
        cuts.dedup();
        cuts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Root;

    #[test]
    fn a_sample_of_many_keys_is_small_and_divides_them_evenly_in_any_order() {
        let key = |number: u64| format!("{number:07}");
        for order in [1_u64, 7919, 99_991] {
            let mut sample = Sample::default();
            for number in 0..300_000 {
                // Some twice.
                sample.add(&key(number * order % 300_000));
                sample.add(&key(number % 3));
            }
            assert!(sample.keys.len() <= MOST_SAMPLES && sample.keys.len() > MOST_SAMPLES / 4);
            let ends: Vec<u64> = sample.cuts(16).iter().map(|cut| cut.parse().unwrap()).collect();
            assert_eq!(ends.len(), 15);
            for (at, end) in ends.into_iter().enumerate() {
                assert!(end.abs_diff(300_000 * (at as u64 + 1) / 16) < 300_000 / 160, "{at}: {end}");
            }
        }
    }

    #[test]
    fn few_keys_of_a_manifest_are_divided_exactly_and_none_give_one_shard() {
        let mut sample = Sample::default();
        (0..5).for_each(|number| sample.add(&number.to_string()));
        assert_eq!(sample.cuts(16), ["0", "1", "2", "3"]);
        assert!(Sample::default().cuts(16).is_empty());
    }

    #[test]
    fn shards_meet_and_have_all_keys() {
        let directory = Root::Urls.directory("s3://b/d").unwrap();
        let shards = divided(&directory, vec!["d/1".to_owned(), "d/2".to_owned()]);
        let ends: Vec<_> =
            shards.iter().map(|shard| (shard.number(), shard.start_after(), shard.end_before())).collect();
        let expected = [(0, None, Some("d/1\0")), (1, Some("d/1"), Some("d/2\0")), (2, Some("d/2"), None)];
        assert_eq!(ends, expected);
        for shard in shards {
            assert_eq!((shard.prefix(), shard.of()), ("s3://b/d/", 3));
            let written = serde_json::to_string(&shard).unwrap();
            assert_eq!(serde_json::from_str::<Shard>(&written).unwrap(), shard);
        }
    }
}
