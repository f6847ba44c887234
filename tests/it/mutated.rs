//! The whole client against answers that were mutated on their way: nothing panics, nothing hangs, no bytes are taken for an object's
//! that are not, and nothing is left.
//!
//! `S3FLOW_SEED` replays a run, and a case alone with `S3FLOW_MUTATION_CASE`; `S3FLOW_MUTATION_SECONDS` says how long it is. See
//! docs/reliability.md.

use std::time::{Duration, Instant};

use bytes::Bytes;
use s3flow::testing::S3Server;
use s3flow::{PutValue, RetryPolicy, S3, S3GetObject};

use crate::cases::uploads::patterned;
use crate::mutating_wire::{MutatingWire, Mutation, Random};
use crate::support::{Fixture, seed, split_mix};

const SMALL: usize = 5_000;
/// In parallel parts, and in parts up.
const LARGE: usize = 17 << 20;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

struct Cases {
    fixture: Fixture,
    wire: MutatingWire,
    small: Bytes,
    large: Bytes,
    succeeded: u64,
}

#[tokio::test]
async fn whatever_is_answered_no_wrong_bytes_are_taken_for_right_ones_and_everything_ends() {
    let server = S3Server::builder().bucket("bucket").page_size(3).log(false).start().await.unwrap();
    let wire = MutatingWire::to(server.endpoint(), 0).await;
    let policy = RetryPolicy::default()
        .transient_retries(3)
        .throttled_retries(3)
        .unreachable_retries(3)
        .first_wait(Duration::from_micros(100))
        .longest_wait(Duration::from_millis(1))
        .throttled_floor(Duration::ZERO)
        .longest_retry_after(Duration::from_millis(1))
        .deadline(Duration::from_secs(2))
        .budget(None);
    let client = server.client_builder().endpoint(wire.endpoint()).retry_policy(policy);
    let client = client.idle_timeout(Duration::from_millis(200)).build().unwrap();
    let fixture = Fixture::with_client(server, client);
    let mut cases =
        Cases { fixture, wire, small: patterned(SMALL).into(), large: patterned(LARGE).into(), succeeded: 0 };
    let (seed, one) = (seed(), number("S3FLOW_MUTATION_CASE"));
    let time = Duration::from_secs(number("S3FLOW_MUTATION_SECONDS").unwrap_or(15));
    let begun = Instant::now();
    let mut case = one.unwrap_or(0);
    while begun.elapsed() < time {
        cases.run(seed, case).await;
        if one.is_some() {
            break;
        }
        case += 1;
    }
    let Cases { fixture, succeeded, .. } = cases;
    assert_eq!(fixture.files(), 0);
    let stats = fixture.client.stats();
    assert_eq!(
        (stats.requests_in_flight, stats.memory_bytes, stats.disk_bytes, stats.waiting),
        (0, 0, 0, Default::default())
    );
    println!(
        "{case} cases with the seed {seed}, of which {succeeded} succeeded nevertheless; {} requests",
        stats.requests
    );
}

impl Cases {
    async fn run(&mut self, seed: u64, case: u64) {
        let mut random = Random(split_mix(seed) ^ case);
        self.reset();
        self.wire.begin(random.next());
        let s3 = self.fixture.s3.clone();
        let kind = random.below(16);
        let ended = tokio::time::timeout(Duration::from_secs(30), self.operation(&s3, kind, &mut random)).await;
        let mutations = self.wire.mutations();
        let story = || format!("case {case} of the seed {seed}, operation {kind}: {mutations:#?}");
        match ended {
            Ok(Ok(succeeded)) => self.succeeded += u64::from(succeeded),
            Ok(Err(problem)) => panic!("{problem}\n{}", story()),
            Err(_) => panic!("it hangs\n{}", story()),
        }
        // What is dropped may end a moment later.
        let left = tokio::time::timeout(Duration::from_secs(5), async {
            while self.fixture.files() > 0 || self.fixture.client.stats().requests_in_flight > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        assert!(left.await.is_ok(), "something is left\n{}", story());
    }

    fn reset(&self) {
        let server = &self.fixture.server;
        for key in server.keys("bucket") {
            if !["small", "large"].contains(&key.as_str()) {
                server.remove_object("bucket", &key);
            }
        }
        if server.object("bucket", "small").is_none() {
            server.put_object("bucket", "small", self.small.clone());
        }
        if server.object("bucket", "large").is_none() {
            server.put_object("bucket", "large", self.large.clone());
        }
        for key in ["d/a", "d/b", "d/c", "d/d"] {
            server.put_object("bucket", key, key);
        }
    }

    /// Whether it succeeded; an error when it says something that is not so.
    async fn operation(&self, s3: &S3, kind: usize, random: &mut Random) -> Result<bool, String> {
        let server = &self.fixture.server;
        let stored = |key: &str, bytes: &[u8]| match server.object("bucket", key) {
            Some(found) if found == bytes => Ok(true),
            found => Err(format!("{key} is not what was stored: {:?} bytes", found.map(|found| found.len()))),
        };
        match kind {
            0..=3 => self.get(s3, "small", &self.small, None).await,
            4 => self.get(s3, "large", &self.large, None).await,
            5 | 6 => {
                let (offset, length) = (random.below(SMALL), 1 + random.below(SMALL));
                self.get(s3, "small", &self.small, Some((offset, length))).await
            }
            7 => match s3.get_recursive(["d"]).await {
                Ok(objects) => {
                    for object in objects {
                        let key = object.url().trim_start_matches("s3://bucket/").to_owned();
                        self.compare(&object, key.as_bytes(), &key).await?;
                    }
                    Ok(true)
                }
                Err(_) => Ok(false),
            },
            8 => match s3.put("new", self.small.to_vec()).await {
                Ok(_) => stored("new", &self.small),
                Err(_) => Ok(false),
            },
            9 => match s3.put("new", self.small.to_vec()).overwrite(false).await {
                Ok(receipt) if receipt.uploaded() => stored("new", &self.small),
                Ok(_) | Err(_) => Ok(false),
            },
            10 => {
                let value = PutValue::reader(std::io::Cursor::new(self.large.clone()));
                match s3.put("new", value).await {
                    Ok(_) => stored("new", &self.large),
                    Err(_) => Ok(false),
                }
            }
            11 => match s3.copy("small", "copy").await {
                Ok(_) => stored("copy", &self.small),
                Err(_) => Ok(false),
            },
            12 => match s3.delete("d/a").await {
                Ok(_) if server.object("bucket", "d/a").is_some() => Err("it is still there".to_owned()),
                deleted => Ok(deleted.is_ok()),
            },
            13 => match s3.delete_many(["d/a", "d/b", "d/c"]).await {
                Ok(_) if server.keys("bucket").iter().any(|key| ["d/a", "d/b", "d/c"].contains(&key.as_str())) => {
                    Err("one is still there".to_owned())
                }
                deleted => Ok(deleted.is_ok()),
            },
            14 => match s3.info("small").await {
                Ok(info) if self.bytes_are_the_servers() && info.size() != Some(SMALL as u64) => {
                    Err(format!("a size of {:?}", info.size()))
                }
                info => Ok(info.is_ok()),
            },
            _ => match s3.list_recursive([""]).await {
                Ok(listed) if self.bytes_are_the_servers() && listed.len() != 6 => {
                    Err(format!("{} keys", listed.len()))
                }
                listed => {
                    let _ = s3.abandoned_uploads([""], Duration::ZERO).await;
                    Ok(listed.is_ok())
                }
            },
        }
    }

    async fn get(&self, s3: &S3, key: &str, whole: &[u8], range: Option<(usize, usize)>) -> Result<bool, String> {
        let mut request = S3GetObject::new(key);
        let mut wanted = whole;
        if let Some((offset, length)) = range {
            request = request.offset(offset as u64).length(length as i64);
            wanted = &whole[offset..whole.len().min(offset + length)];
        }
        match s3.get(request).await {
            Ok(object) => self.compare(&object, wanted, key).await,
            Err(_) => Ok(false),
        }
    }

    /// What came is what is stored, unless nothing was left to compare it with and its bytes, or their number, were mutated.
    async fn compare(&self, object: &s3flow::S3Object, wanted: &[u8], key: &str) -> Result<bool, String> {
        let found = object.blob().await.map_err(|error| error.to_string())?;
        if found == wanted || (object.verified().is_none() && !self.bytes_are_the_servers()) {
            return Ok(true);
        }
        Err(format!("{} bytes are not those of {key}, verified by {:?}", found.len(), object.verified()))
    }

    fn bytes_are_the_servers(&self) -> bool {
        !self.wire.mutations().iter().any(|Mutation { of_bytes, .. }| *of_bytes)
    }
}
