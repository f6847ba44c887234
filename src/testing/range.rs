//! The `Range` header as S3 understands it.

use std::ops::Range;

/// What a `Range` header means for an object of a given size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Requested {
    /// No range, or one that S3 ignores: several ranges, another unit, garbage.
    Whole,
    /// These bytes.
    Part(Range<u64>),
    /// 416: outside of the object, or any range of an empty object.
    Unsatisfiable,
}

pub(super) fn resolve(header: Option<&str>, size: u64) -> Requested {
    let Some(spec) = header.and_then(|h| h.trim().strip_prefix("bytes=")) else {
        return Requested::Whole;
    };
    let Some((first, last)) = spec.trim().split_once('-') else {
        return Requested::Whole;
    };
    match (number(first), number(last)) {
        (None, Some(length)) if first.is_empty() => match length {
            0 => Requested::Unsatisfiable,
            _ if size == 0 => Requested::Unsatisfiable,
            _ => Requested::Part(size.saturating_sub(length)..size),
        },
        (Some(first), None) if last.is_empty() => bounded(first, u64::MAX, size),
        (Some(first), Some(last)) if first <= last => bounded(first, last, size),
        _ => Requested::Whole,
    }
}

fn bounded(first: u64, last: u64, size: u64) -> Requested {
    if first >= size {
        return Requested::Unsatisfiable;
    }
    Requested::Part(first..last.saturating_add(1).min(size))
}

/// Digits only: `u64::from_str` would take a `+`.
fn number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    // More digits than a u64 holds is a position past the end of any object.
    Some(text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::Requested::{Part, Unsatisfiable, Whole};
    use super::*;

    #[test]
    fn ranges_of_an_object_of_ten_bytes() {
        for (header, expected) in [
            ("bytes=0-0", Part(0..1)),
            ("bytes=2-5", Part(2..6)),
            ("bytes=2-500", Part(2..10)),
            ("bytes=9-", Part(9..10)),
            ("bytes=0-99999999999999999999999", Part(0..10)),
            ("bytes=-3", Part(7..10)),
            ("bytes=-30", Part(0..10)),
            ("bytes=10-", Unsatisfiable),
            ("bytes=10-20", Unsatisfiable),
            ("bytes=-0", Unsatisfiable),
            ("bytes=5-2", Whole),
            ("bytes=0-1,3-4", Whole),
            ("bytes=-", Whole),
            ("bytes=+1-2", Whole),
            ("bytes=a-b", Whole),
            ("items=0-1", Whole),
            ("", Whole),
        ] {
            assert_eq!(resolve(Some(header), 10), expected, "{header}");
        }
        assert_eq!(resolve(None, 10), Whole);
    }

    #[test]
    fn every_range_of_an_empty_object_is_unsatisfiable() {
        for header in ["bytes=0-", "bytes=0-0", "bytes=-1"] {
            assert_eq!(resolve(Some(header), 0), Unsatisfiable, "{header}");
        }
    }
}
