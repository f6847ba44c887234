//! The pieces of work whose instructions `benches/micro` counts; each panics when it does not come to what it must.
//!
//! For us alone: the module is there for tests and under `--cfg s3flow_bench`. A case calls the functions that the rest of the
//! crate calls, with plain inputs.

use std::hint::black_box;

use serde_json::{Map, Value, json};

use crate::address::Root;
use crate::checksum::{Checksum, ChecksumAlgorithm};
use crate::{metadata, ops, store, transfer};

/// Work of one kind.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// As the baseline has it.
    pub name: &'static str,
    /// How often the work is done for one figure: some millions of instructions.
    pub times: u32,
    /// Makes what the work needs.
    pub prepare: fn() -> Work,
}

/// Does the work once with each call.
pub type Work = Box<dyn FnMut()>;

impl Case {
    /// A case as its name says.
    pub const fn new(name: &'static str, times: u32, prepare: fn() -> Work) -> Self {
        Self { name, times, prepare }
    }
}

/// What needs no server.
pub const CASES: [Case; 15] = [
    Case::new("address", 2000, address),
    Case::new("escape-8-ordinary-keys", 500, store::bench::escape_ordinary_keys),
    Case::new("escape-8-odd-keys", 500, store::bench::escape_odd_keys),
    Case::new("sign-get", 500, store::bench::sign),
    Case::new("build-and-sign-get", 500, store::bench::request),
    Case::new("read-object-head", 1000, store::bench::head),
    Case::new("read-page-of-1000-keys", 5, store::bench::page),
    Case::new("encode-metadata", 1000, encode_metadata),
    Case::new("decode-metadata", 1000, decode_metadata),
    Case::new("crc64-of-1mib", 10, crc64),
    Case::new("combine-100-crc64s", 10, combine),
    Case::new("plan-10000-equal-parts", 50, transfer::bench::equal_parts),
    Case::new("plan-10000-growing-parts", 50, transfer::bench::growing_parts),
    Case::new("schedule-10000-as-they-come", 2, ops::bench::as_they_come),
    Case::new("schedule-10000-in-order", 2, ops::bench::in_order),
];

fn address() -> Work {
    let root = Root::parse("s3://bucket/data/2026").expect("a root");
    Box::new(move || {
        let below = root.object(black_box("11/25/part-00042.parquet")).expect("a key");
        assert_eq!(below.location.key(), "data/2026/11/25/part-00042.parquet");
        let whole = Root::Urls.object(black_box("s3://bucket/data/2026/11/25/part-00042.parquet")).expect("a URL");
        assert_eq!(whole.location, below.location);
        let directory = root.directory(black_box("11/25")).expect("a prefix");
        assert_eq!(directory.address(below.location.key()).location, below.location);
    })
}

fn attributes() -> Map<String, Value> {
    let metadata = json!({
        "owner": "me", "flow": "TrainFlow", "run": 1234, "café": "naïve 🦀", "scores": [0.25, 1.5, null, true],
        "columns": {"id": "int64", "price": "float64", "text": "a text of a few words, as people write it"},
    });
    metadata.as_object().expect("an object").clone()
}

fn encode_metadata() -> Work {
    let metadata = attributes();
    let length = metadata::encode(&metadata).len();
    Box::new(move || assert_eq!(metadata::encode(black_box(&metadata)).len(), length))
}

fn decode_metadata() -> Work {
    let text = metadata::encode(&attributes());
    Box::new(move || {
        let metadata = metadata::decode(black_box(&text)).expect("metadata of Metaflow's");
        assert_eq!(metadata.len(), 6);
    })
}

const MIB: u64 = 1024 * 1024;

fn crc64() -> Work {
    let bytes: Vec<u8> = (0..MIB).map(|at| (at % 251) as u8).collect();
    let checksum = Checksum::of(ChecksumAlgorithm::Crc64Nvme, &bytes);
    Box::new(move || assert_eq!(Checksum::of(ChecksumAlgorithm::Crc64Nvme, black_box(&bytes)), checksum))
}

fn combine() -> Work {
    let parts: Vec<_> = (0..100_u8).map(|part| Checksum::of(ChecksumAlgorithm::Crc64Nvme, &[part])).collect();
    Box::new(move || {
        let whole = Checksum::of_parts(black_box(&parts).iter().map(|part| (part, 8 * MIB)));
        assert!(whole.is_some_and(|whole| whole != parts[0]));
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_case_comes_to_what_it_must_each_time() {
        for Case { prepare, .. } in CASES {
            let mut work = prepare();
            work();
            work();
        }
    }

    #[test]
    fn a_name_stands_for_one_case() {
        let names: BTreeSet<_> = CASES.iter().map(|case| case.name).collect();
        assert_eq!(names.len(), CASES.len());
    }
}
