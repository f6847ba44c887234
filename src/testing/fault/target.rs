use http::HeaderMap;
use http::header::RANGE;

use super::chance::StableHash;
use super::pattern::Keys;
use crate::testing::call::Call;
use crate::testing::operation::Operation;

/// Which calls a fault is about.
#[derive(Debug, Clone, Default)]
pub(super) struct Target {
    /// Empty means all.
    pub(super) operations: Vec<Operation>,
    pub(super) keys: Option<Keys>,
    pub(super) part: Option<u16>,
    pub(super) first_byte: Option<u64>,
}

/// What faults know about a call, or about one key of a call that names many.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject<'a> {
    operation: Operation,
    bucket: &'a str,
    key: Option<&'a str>,
    part: Option<u16>,
    first_byte: Option<u64>,
    one_of_many: bool,
}

impl<'a> Subject<'a> {
    pub(super) fn of(call: &'a Call, headers: &HeaderMap) -> Self {
        Self {
            operation: call.operation,
            bucket: call.bucket(),
            key: call.key.as_deref(),
            part: call.query("partNumber").and_then(|number| number.parse().ok()),
            first_byte: first_byte(call.operation, headers),
            one_of_many: false,
        }
    }

    pub(super) fn one_of_many(call: &'a Call, key: &'a str) -> Self {
        Self {
            operation: call.operation,
            bucket: call.bucket(),
            key: Some(key),
            part: None,
            first_byte: None,
            one_of_many: true,
        }
    }

    /// The same number for every attempt at the same thing.
    pub(super) fn identity(&self) -> u64 {
        let Self { operation, bucket, key, part, first_byte, one_of_many: _ } = self;
        StableHash::new()
            .field(format!("{operation:?}").as_bytes())
            .field(bucket.as_bytes())
            .field(key.unwrap_or_default().as_bytes())
            .field(&part.unwrap_or_default().to_le_bytes())
            .field(&first_byte.unwrap_or_default().to_le_bytes())
            .finish()
    }
}

impl Target {
    pub(super) fn matches(&self, subject: &Subject<'_>) -> bool {
        let Self { operations, keys, part, first_byte } = self;
        (operations.is_empty() || operations.contains(&subject.operation))
            && match (keys, subject.key) {
                // One key of many is met by those faults alone that are about keys.
                (None, _) => !subject.one_of_many,
                (Some(keys), Some(key)) => keys.contains(key),
                (Some(_), None) => false,
            }
            && part.is_none_or(|part| subject.part == Some(part))
            && first_byte.is_none_or(|byte| subject.first_byte == Some(byte))
    }
}

/// Where a read begins; `None` for calls that read no object.
fn first_byte(operation: Operation, headers: &HeaderMap) -> Option<u64> {
    if !matches!(operation, Operation::GetObject | Operation::HeadObject) {
        return None;
    }
    let range = headers.get(RANGE).and_then(|range| range.to_str().ok());
    let start = range.and_then(|range| range.trim().strip_prefix("bytes=")?.split_once('-')?.0.trim().parse().ok());
    Some(start.unwrap_or(0))
}
