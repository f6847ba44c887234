//! Random operations under random faults, against a model of what the store must hold.
//!
//! `S3FLOW_SEED` replays a run; `S3FLOW_SOAK_OPERATIONS` and `S3FLOW_SOAK_SECONDS` say how long it is. See
//! docs/reliability.md.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt as _;
use s3flow::testing::{Fault, InjectedFault, S3Server};
use s3flow::{Error, ErrorKind, PutOutcome, PutValue, RetryPolicy, S3, S3GetObject, S3Object};

use crate::support::{Fixture, in_time, seed, split_mix};

const KEYS: u64 = 24;
/// Over what goes in one request, either way.
const LARGE: u64 = (16 << 20) + 12_345;
/// As many requests of an operation meet faults at the rate; later ones none.
const FAULTY_CALLS: usize = 64;

/// Numbers from a seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        split_mix(self.0)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn key(&mut self) -> String {
        let number = self.below(KEYS);
        // Some of them in directories, and some that have to be escaped.
        format!("{}{number}", ["k", "d/k", "d//k", "e f+%/k"][number as usize % 4])
    }
}

/// A value, by what makes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Value {
    seed: u64,
    length: u64,
}

impl Value {
    fn of(random: &mut Random) -> Self {
        let length = match random.below(400) {
            0 => LARGE + random.below(9 << 20),
            1..40 => 0,
            _ => random.below(60_000),
        };
        Self { seed: random.next() | 1, length }
    }

    fn bytes(self) -> Bytes {
        let mut state = self.seed;
        let words = self.length.div_ceil(8) as usize;
        let mut bytes = Vec::with_capacity(words * 8);
        for _ in 0..words {
            // Xorshift (Marsaglia, 2003): megabytes of it cost little.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.extend_from_slice(&state.to_le_bytes());
        }
        bytes.truncate(self.length as usize);
        bytes.into()
    }
}

/// What may be at a key: one state, or several after an outcome that nobody knows.
type States = Vec<Option<Value>>;

#[derive(Default)]
struct Counts {
    operations: usize,
    succeeded: usize,
    failed: usize,
    unknown: usize,
    faults: usize,
}

struct Soak {
    fixture: Fixture,
    random: Random,
    /// Of a hundred requests, so many go wrong.
    rate: u64,
    model: BTreeMap<String, States>,
    injected: Vec<InjectedFault>,
    counts: Counts,
}

impl Soak {
    async fn new(seed: u64, rate: u64) -> Self {
        let server = S3Server::builder().bucket("bucket").page_size(5).start().await.unwrap();
        let policy = RetryPolicy::default()
            .first_wait(Duration::from_micros(100))
            .longest_wait(Duration::from_millis(2))
            .throttled_floor(Duration::ZERO)
            .longest_retry_after(Duration::from_millis(1))
            .budget(None);
        let client =
            server.client_builder().retry_policy(policy).idle_timeout(Duration::from_millis(150)).build().unwrap();
        let fixture = Fixture::with_client(server, client);
        Self {
            fixture,
            random: Random(split_mix(seed ^ rate)),
            rate,
            model: BTreeMap::new(),
            injected: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// Faults for the requests to come.
    fn inject(&mut self) {
        self.fixture.server.clear_faults();
        self.counts.faults += self.injected.drain(..).map(|fault| fault.applied()).sum::<usize>();
        for call in 1..=FAULTY_CALLS {
            if self.random.chance(self.rate) {
                let fault = fault(&mut self.random);
                self.injected.push(self.fixture.server.inject(fault.on_call(call)));
            }
        }
    }

    fn states(&self, key: &str) -> States {
        self.model.get(key).cloned().unwrap_or_else(|| vec![None])
    }

    /// After a write that would leave `value`.
    fn wrote(&mut self, key: &str, value: Option<Value>, failed: Option<&Error>) {
        let mut states = match failed {
            None => Vec::new(),
            Some(_) => self.states(key),
        };
        if failed.is_none_or(Error::is_outcome_unknown) {
            states.retain(|state| *state != value);
            states.push(value);
        }
        self.model.insert(key.to_owned(), states);
    }

    fn judge(&mut self, what: &str, failed: Option<&Error>) {
        self.counts.operations += 1;
        match failed {
            None => self.counts.succeeded += 1,
            Some(error) => {
                self.counts.failed += 1;
                self.counts.unknown += usize::from(error.is_outcome_unknown());
                assert_ne!(error.kind(), ErrorKind::Closed, "{what}: {error:?}");
            }
        }
    }

    /// Whether what came back may be at the key, and what is there then.
    async fn saw(&mut self, what: &str, key: &str, object: Option<&S3Object>) {
        let states = self.states(key);
        let seen: States = match object.filter(|object| object.exists()) {
            None => states.iter().copied().filter(Option::is_none).collect(),
            Some(object) => {
                let bytes = match object.path() {
                    Some(_) => Some(object.blob().await.unwrap()),
                    None => None,
                };
                let fits = |value: &Value| match &bytes {
                    Some(bytes) => value.bytes() == *bytes,
                    None => Some(value.length) == object.size(),
                };
                states.iter().copied().filter(|state| state.as_ref().is_some_and(fits)).collect()
            }
        };
        assert!(!seen.is_empty(), "{what}: {key} is {object:?}, and may be {states:?}");
        self.model.insert(key.to_owned(), seen);
    }

    async fn step(&mut self) {
        self.inject();
        let s3 = self.fixture.s3.clone();
        let key = self.random.key();
        match self.random.below(14) {
            0..3 => self.put(&s3, &key).await,
            3 => self.put_if_absent(&s3, &key).await,
            4 => self.put_many(&s3).await,
            5 => self.delete(&s3, &key).await,
            6 => self.copy(&s3, &key).await,
            7 => self.get_range(&s3, &key).await,
            8 => self.info(&s3, &key).await,
            9 => self.list(&s3).await,
            10 => self.get_many(&s3).await,
            _ => self.get(&s3, &key).await,
        }
    }

    async fn put(&mut self, s3: &S3, key: &str) {
        let value = Value::of(&mut self.random);
        let source = match self.random.below(3) {
            0 => PutValue::stream(
                futures::stream::iter(value.bytes().chunks(30_000).map(Bytes::copy_from_slice).collect::<Vec<_>>())
                    .map(Ok::<_, std::io::Error>),
            ),
            _ => value.bytes().into(),
        };
        let stored = s3.put(key, source).await;
        self.judge("put", stored.as_ref().err());
        self.wrote(key, Some(value), stored.as_ref().err());
    }

    async fn put_if_absent(&mut self, s3: &S3, key: &str) {
        let value = Value::of(&mut self.random);
        let stored = s3.put(key, value.bytes()).overwrite(false).await;
        self.judge("put without overwriting", stored.as_ref().err());
        match &stored {
            Ok(receipt) if receipt.outcome() == PutOutcome::AlreadyExists => {
                let there: States = self.states(key).into_iter().filter(Option::is_some).collect();
                assert!(!there.is_empty(), "{key} is said to exist");
                self.model.insert(key.to_owned(), there);
            }
            Ok(receipt) => {
                assert_eq!(receipt.outcome(), PutOutcome::Created);
                assert!(self.states(key).contains(&None), "{key} existed and was overwritten");
                self.wrote(key, Some(value), None);
            }
            Err(error) => self.wrote(key, Some(value), Some(error)),
        }
    }

    async fn put_many(&mut self, s3: &S3) {
        let mut values = BTreeMap::new();
        for _ in 0..6 {
            values.insert(self.random.key(), Value::of(&mut self.random));
        }
        let inputs: Vec<(String, Value)> = values.into_iter().collect();
        let mut stored = s3.put_many(inputs.iter().map(|(key, value)| (key.clone(), value.bytes()))).concurrency(3);
        while let Some(stored) = stored.next().await {
            let index = stored.as_ref().map_or_else(|error| error.index().unwrap(), |receipt| receipt.index());
            self.judge("put_many", stored.as_ref().err());
            let (key, value) = &inputs[index];
            self.wrote(key, Some(*value), stored.as_ref().err());
        }
    }

    async fn delete(&mut self, s3: &S3, key: &str) {
        if self.random.chance(50) {
            let deleted = s3.delete(key).await;
            self.judge("delete", deleted.as_ref().err());
            self.wrote(key, None, deleted.as_ref().err());
            return;
        }
        let keys = [key.to_owned(), self.random.key(), self.random.key()];
        let mut deleted = s3.delete_many(keys.clone());
        while let Some(deleted) = deleted.next().await {
            let index = deleted.as_ref().map_or_else(|error| error.index().unwrap(), |receipt| receipt.index());
            self.judge("delete_many", deleted.as_ref().err());
            self.wrote(&keys[index], None, deleted.as_ref().err());
        }
    }

    async fn copy(&mut self, s3: &S3, to: &str) {
        let from = self.random.key();
        let there = self.states(&from);
        if there.len() > 1 || from == to {
            return;
        }
        let copied = s3.copy(from.as_str(), to).await;
        self.judge("copy", copied.as_ref().err());
        match (there[0], &copied) {
            (None, Ok(receipt)) => panic!("what is not there was copied: {receipt:?}"),
            (None, Err(_)) => {}
            (Some(value), copied) => self.wrote(to, Some(value), copied.as_ref().err()),
        }
    }

    async fn get(&mut self, s3: &S3, key: &str) {
        let object = s3.get(key).return_missing(true).await;
        self.judge("get", object.as_ref().err());
        if let Ok(object) = object {
            self.saw("get", key, Some(&object)).await;
        }
    }

    async fn get_range(&mut self, s3: &S3, key: &str) {
        let states = self.states(key);
        let [Some(value)] = states[..] else { return };
        if value.length == 0 {
            return;
        }
        let offset = self.random.below(value.length);
        let length = 1 + self.random.below(value.length);
        let object = s3.get(S3GetObject::new(key).offset(offset).length(length as i64)).await;
        self.judge("get a range", object.as_ref().err());
        if let Ok(object) = object {
            let end = (offset + length).min(value.length);
            let wanted = value.bytes().slice(offset as usize..end as usize);
            assert!(object.blob().await.unwrap() == wanted, "{key} from {offset}, {length} bytes");
        }
    }

    async fn get_many(&mut self, s3: &S3) {
        let keys: Vec<String> = (0..6).map(|_| self.random.key()).collect();
        let mut objects = s3.get_many(keys.clone()).return_missing(true).concurrency(3);
        let mut items = 0;
        while let Some(object) = objects.next().await {
            items += 1;
            self.judge("get_many", object.as_ref().err());
            if let Ok(object) = object {
                self.saw("get_many", &keys[object.index()], Some(&object)).await;
            }
        }
        assert_eq!(items, keys.len());
    }

    async fn info(&mut self, s3: &S3, key: &str) {
        let info = s3.info(key).return_missing(true).await;
        self.judge("info", info.as_ref().err());
        if let Ok(info) = info {
            self.saw("info", key, Some(&info)).await;
        }
    }

    async fn list(&mut self, s3: &S3) {
        let listed = s3.list_recursive([""]).await;
        self.judge("list_recursive", listed.as_ref().err());
        let Ok(listed) = listed else { return };
        let listed: BTreeMap<&str, &S3Object> = listed.iter().map(|object| (object.key(), object)).collect();
        for key in self.model.keys().cloned().collect::<Vec<_>>() {
            self.saw("list_recursive", &key, listed.get(key.as_str()).copied()).await;
        }
        for key in listed.keys() {
            assert!(self.model.contains_key(*key) || is_probe(key), "{key} was never put");
        }
    }

    /// What is left when all is done.
    async fn finish(self) -> Counts {
        let Self { fixture, model, counts, .. } = self;
        fixture.server.clear_faults();
        in_time("the end of all cleanup", fixture.s3.close()).await.unwrap();
        assert_eq!(fixture.files(), 0);
        for (key, states) in &model {
            let there = fixture.server.object("bucket", key);
            let fits = states.iter().any(|state| state.map(Value::bytes) == there);
            assert!(fits, "{key} holds {:?} bytes, and may be {states:?}", there.map(|bytes| bytes.len()));
        }
        for key in fixture.server.keys("bucket") {
            assert!(model.contains_key(&key) || is_probe(&key), "{key} was never put");
        }
        counts
    }
}

/// The object of a probe, which could not be taken away again.
fn is_probe(key: &str) -> bool {
    key.contains(".s3flow-probe-")
}

/// One thing that goes wrong.
fn fault(random: &mut Random) -> Fault {
    match random.below(20) {
        0 => Fault::status(500, "InternalError"),
        1 => Fault::status(503, "SlowDown").retry_after(1),
        2 => Fault::status(503, "ServiceUnavailable"),
        3 => Fault::status(502, "BadGateway"),
        4 => Fault::status(429, "TooManyRequests"),
        5 => Fault::status(400, "RequestTimeout"),
        6 => Fault::html(502),
        7 => Fault::status(500, "InternalError").carried_out(),
        8 => Fault::close_before_answer(),
        9 => Fault::close_after_request(random.below(60_000)).reset(),
        10..13 => Fault::lose_answer(),
        13..16 => Fault::close_after(random.below(1_000)),
        16 => Fault::close_after(random.below(9 << 20)),
        17 => match random.below(6) {
            0 => Fault::garbage_xml(),
            1 => Fault::cut_xml(random.below(100)),
            2 => Fault::status(400, "ExpiredToken"),
            _ => Fault::error_in_200("InternalError"),
        },
        18 => match random.below(3) {
            0 => Fault::ignore_range(),
            _ => Fault::status(500, "InternalError"),
        },
        _ => match random.below(6) {
            // These cost the idle timeout.
            0 => Fault::stall(),
            1 => Fault::stall_after(random.below(60_000)),
            _ => Fault::status(500, "InternalError"),
        },
    }
}

/// What an environment variable says.
fn number<T: std::str::FromStr>(name: &str) -> Option<T> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}, which is no number")))
}

/// As many operations as the environment says, or a thousand.
fn soak(rate: u64) {
    let limit = number("S3FLOW_SOAK_SECONDS").map(Duration::from_secs);
    let operations = number("S3FLOW_SOAK_OPERATIONS").unwrap_or(1000);
    let seed = seed();
    eprintln!("soak: S3FLOW_SEED={seed} at {rate} % faults");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let counts = runtime.block_on(async move {
        let start = Instant::now();
        let mut soak = Soak::new(seed, rate).await;
        loop {
            let done = match limit {
                Some(limit) => start.elapsed() >= limit,
                None => soak.counts.operations >= operations,
            };
            if done {
                return soak.finish().await;
            }
            in_time("an operation", soak.step()).await;
        }
    });
    let Counts { operations, succeeded, failed, unknown, faults } = counts;
    eprintln!(
        "soak: {operations} operations at {rate} %, {faults} faults: {succeeded} succeeded, {failed} failed, {unknown} of them \
         with an unknown outcome; 0 lost, 0 wrong, 0 left behind"
    );
    assert!(succeeded > 0);
}

#[test]
fn nothing_is_lost_when_a_tenth_of_all_requests_go_wrong() {
    soak(10);
}

#[test]
fn nothing_is_lost_when_half_of_all_requests_go_wrong() {
    soak(50);
}

#[test]
fn nothing_is_lost_when_nearly_all_requests_go_wrong() {
    soak(90);
}
