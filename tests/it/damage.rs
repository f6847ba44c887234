//! Damage that leaves every length and every ETag as it was: where an object is stored, and on the way in both directions.

use std::time::Duration;

use bytes::Bytes;
use s3flow::testing::S3Server;
use s3flow::{ChecksumAlgorithm, Client, ClientBuilder, ErrorKind, PutValue, RetryPolicy, S3};

use crate::flipping_wire::{Flip, FlippingWire};
use crate::integrity::{ALGORITHMS, reader};
use crate::support::{files_below, seed, split_mix};

const MIB: usize = 1 << 20;
const PART: usize = 5 * MIB;
/// In four parts of the same length.
const LARGE: usize = 4 * PART;

/// Answers with objects, and with parts of them.
const WHOLE: &str = "HTTP/1.1 200";
const RANGE: &str = "HTTP/1.1 206";
const UPLOAD: &str = "PUT ";

/// Other bytes for each seed, and at each place.
fn noise(length: usize, seed: u64) -> Bytes {
    let words = (0..length.div_ceil(8) as u64).map(|at| split_mix(split_mix(seed) ^ at).to_le_bytes());
    let mut bytes = words.flatten().collect::<Vec<u8>>();
    bytes.truncate(length);
    bytes.into()
}

/// A server, a wire to it, and a client at its other end, which signs nothing: a signature over plain HTTP would cover the body too.
struct Place {
    server: S3Server,
    wire: FlippingWire,
    s3: S3,
    tmproot: tempfile::TempDir,
}

impl Place {
    async fn new(algorithm: ChecksumAlgorithm, set: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Self {
        let server = S3Server::builder().bucket("bucket").md5(false).anonymous(true).start().await.unwrap();
        let wire = FlippingWire::to(server.endpoint()).await;
        let retries = RetryPolicy::service().transient_retries(1).first_wait(Duration::from_millis(1)).budget(None);
        let client = Client::builder().use_proxy(false).anonymous(true).endpoint(wire.endpoint());
        let client = set(client.checksum(algorithm).part_size(PART as u64).redownloads(0).retry_policy(retries));
        let tmproot = tempfile::tempdir().unwrap();
        let s3 = client.build().unwrap().s3().s3root("s3://bucket").tmproot(tmproot.path()).build().unwrap();
        Self { server, wire, s3, tmproot }
    }

    /// The same bytes from memory, from a file and from a stream.
    fn sources(&self, bytes: &Bytes) -> [(&'static str, PutValue); 3] {
        let file = self.tmproot.path().join("source");
        std::fs::write(&file, bytes).unwrap();
        [("bytes", bytes.clone().into()), ("file", PutValue::file(&file)), ("stream", reader(bytes))]
    }

    /// The object comes, and all of it was compared.
    async fn assert_comes(&self, key: &str, bytes: &Bytes) {
        let object = self.s3.get(key).await.unwrap();
        assert!(object.blob().await.unwrap() == *bytes && object.verified().is_some(), "{key}");
    }

    async fn assert_is_damaged(&self, key: &str) {
        let error = self.s3.get(key).await.unwrap_err();
        assert!(error.kind() == ErrorKind::Integrity && error.is_retryable(), "{key}: {error}");
    }

    /// Makes a part of `k` what it is in `version`, without anybody to notice.
    fn overwrite(&self, part: usize, version: &Bytes, other: usize) {
        let bytes = version.slice(other * PART..(other + 1) * PART);
        assert!(self.server.overwrite_object("bucket", "k", (part * PART) as u64, bytes));
    }

    /// Statuses of the requests with a body that is to be stored.
    fn statuses(&self) -> Vec<u16> {
        let puts = self.server.log().into_iter().filter(|request| request.method() == "PUT");
        puts.filter_map(|request| request.status()).collect()
    }

    async fn close(self) {
        let _ = std::fs::remove_file(self.tmproot.path().join("source"));
        self.s3.close().await.unwrap();
        assert_eq!(files_below(self.tmproot.path()), 0);
    }
}

#[tokio::test]
async fn parts_that_are_swapped_or_of_an_older_version_are_found() {
    let (mut swapped, mut stale) = (0, 0);
    for (algorithm, _) in ALGORITHMS {
        let place = Place::new(algorithm, |client| client).await;
        let (old, new) = (noise(LARGE, 1), noise(LARGE, 2));
        place.s3.put("k", old.clone()).await.unwrap();
        place.s3.put("k", new.clone()).await.unwrap();
        let stored = place.server.stored_object("bucket", "k").unwrap();
        assert_eq!(stored.parts(), [PART as u64; 4]);
        for first in 0..4 {
            for second in first + 1..4 {
                place.overwrite(first, &new, second);
                place.overwrite(second, &new, first);
                place.assert_is_damaged("k").await;
                swapped += 1;
                place.overwrite(first, &new, first);
                place.overwrite(second, &new, second);
            }
            place.overwrite(first, &old, first);
            place.assert_is_damaged("k").await;
            stale += 1;
            place.overwrite(first, &new, first);
        }
        place.assert_comes("k", &new).await;
        let now = place.server.stored_object("bucket", "k").unwrap();
        assert_eq!(now.etag(), stored.etag(), "it did not tell");
        place.close().await;
    }
    println!("{swapped} pairs of swapped parts and {stale} parts of an older version, all of them found");
    assert_eq!((swapped, stale), (30, 20));
}

#[tokio::test]
async fn bits_that_flip_on_the_way_down_are_found() {
    let mut flips = 0;
    for (algorithm, _) in ALGORITHMS {
        let place = Place::new(algorithm, |client| client).await;
        let (small, middle, large) = (noise(1000, 3), noise(4 * MIB, 4), noise(LARGE, 5));
        place.s3.put("small", small.clone()).await.unwrap();
        place.s3.put("parts", large.clone()).await.unwrap();
        place.s3.put("stream", middle.clone()).await.unwrap();
        for (key, head, tries) in [("small", WHOLE, 50), ("stream", WHOLE, 5), ("parts", RANGE, 5)] {
            for number in 0..tries {
                place.wire.flip(Flip { head, times: 1, seed: seed() ^ number });
                place.assert_is_damaged(key).await;
                assert_eq!(place.wire.flipped(), 1, "{algorithm} {key}");
                flips += 1;
            }
        }
        place.wire.flip(None);
        for (key, bytes) in [("small", &small), ("stream", &middle), ("parts", &large)] {
            place.assert_comes(key, bytes).await;
        }
        place.close().await;
    }
    println!("{flips} bits flipped on their way to the client, all of them found");
}

#[tokio::test]
async fn a_bit_that_flips_once_on_the_way_up_is_sent_again_and_stored_right() {
    let mut flips = 0;
    for (algorithm, _) in ALGORITHMS {
        let place = Place::new(algorithm, |client| client).await;
        for (length, tries, requests) in [(1000, 10, 1), (LARGE, 1, 4)] {
            let bytes = noise(length, 6);
            for number in 0..tries {
                for (key, value) in place.sources(&bytes) {
                    place.server.clear_log();
                    place.wire.flip(Flip { head: UPLOAD, times: 1, seed: seed() ^ number });
                    place.s3.put(key, value).await.unwrap();
                    assert_eq!(place.wire.flipped(), 1, "{algorithm} {key}");
                    let mut statuses = place.statuses();
                    statuses.sort_unstable();
                    assert_eq!(statuses.split_last(), Some((&400, &*vec![200; requests])), "{algorithm} {key}");
                    assert!(place.server.object("bucket", key).unwrap() == bytes, "{algorithm} {key}");
                    flips += 1;
                }
            }
        }
        place.close().await;
    }
    println!("{flips} bits flipped once on their way to the server, all of them found there");
}

#[tokio::test]
async fn bits_that_flip_each_time_on_the_way_up_are_an_error_and_no_object() {
    let mut flips = 0;
    for (algorithm, _) in ALGORITHMS {
        let place = Place::new(algorithm, |client| client).await;
        for length in [1000, LARGE] {
            let bytes = noise(length, 7);
            for (key, value) in place.sources(&bytes) {
                place.wire.flip(Flip { head: UPLOAD, times: usize::MAX, seed: seed() });
                let error = place.s3.put(key, value).await.unwrap_err();
                assert_eq!((error.kind(), error.code()), (ErrorKind::Integrity, Some("BadDigest")), "{key}: {error}");
                assert!(error.attempts() == 2 && !error.is_outcome_unknown(), "{key}: {error:?}");
                assert_eq!(place.server.object("bucket", key), None, "{algorithm} {key}");
                assert!(place.server.uploads("bucket").is_empty(), "{algorithm} {key}");
                assert!(place.statuses().iter().all(|status| *status == 400));
                flips += place.wire.flipped();
            }
        }
        place.close().await;
    }
    println!("{flips} bits flipped on their way to the server, none of the bodies stored");
    assert!(flips >= 60, "{flips}");
}

/// Over plain HTTP, the signature has a digest of the body.
#[tokio::test]
async fn a_bit_that_flips_in_what_is_signed_is_sent_again_too() {
    let server = S3Server::builder().bucket("bucket").start().await.unwrap();
    let wire = FlippingWire::to(server.endpoint()).await;
    let client = server.client_builder().endpoint(wire.endpoint()).checksum(None).build().unwrap();
    let s3 = client.s3().s3root("s3://bucket").build().unwrap();
    let bytes = noise(1000, 8);
    wire.flip(Flip { head: UPLOAD, times: 1, seed: seed() });
    s3.put("k", bytes.clone()).await.unwrap();
    assert_eq!((wire.flipped(), server.log()[0].status()), (1, Some(400)));
    assert_eq!(server.object("bucket", "k"), Some(bytes));
}
