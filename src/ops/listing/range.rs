//! Which keys of a prefix are listed.

use serde::{Deserialize, Serialize};

use crate::shard::Shard;

/// Keys between two, in byte order of UTF-8; both are whole keys, and both are left out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(in crate::ops) struct KeyRange {
    /// `None`: from the first key on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::ops) start_after: Option<String>,
    /// `None`: to the last key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::ops) end_before: Option<String>,
}

impl KeyRange {
    pub(super) fn of(shard: &Shard) -> Self {
        let owned = |key: Option<&str>| key.map(str::to_owned);
        Self { start_after: owned(shard.start_after()), end_before: owned(shard.end_before()) }
    }

    /// What both have.
    pub(super) fn within(&self, other: &Self) -> Self {
        let ends = [&self.end_before, &other.end_before].into_iter().flatten();
        Self { start_after: self.start_after.clone().max(other.start_after.clone()), end_before: ends.min().cloned() }
    }

    pub(super) fn contains(&self, key: &str) -> bool {
        self.start_after.as_deref().is_none_or(|after| key > after) && self.is_before_end(key)
    }

    pub(super) fn is_before_end(&self, key: &str) -> bool {
        self.end_before.as_deref().is_none_or(|before| key < before)
    }

    /// Whether no key can be in it.
    pub(super) fn is_empty(&self) -> bool {
        match (&self.start_after, &self.end_before) {
            (Some(after), Some(before)) => *before <= next_key(after),
            (None, Some(before)) => before.is_empty(),
            (_, None) => false,
        }
    }

    /// Ends it with `key`, and gives what comes after that.
    pub(in crate::ops) fn split_after(&mut self, key: &str) -> Self {
        let end_before = self.end_before.replace(next_key(key));
        Self { start_after: Some(key.to_owned()), end_before }
    }

    /// Whether `next` begins where this ends.
    pub(super) fn meets(&self, next: &Self) -> bool {
        match (&self.end_before, &next.start_after) {
            (Some(before), Some(after)) => *before == next_key(after),
            _ => false,
        }
    }
}

/// The first text after `key`.
fn next_key(key: &str) -> String {
    format!("{key}\0")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn of_a_range_that_is_split_each_key_is_in_one_half(
            keys in proptest::collection::vec("[a\u{0}\u{1}é\u{10ffff}]{0,3}", 1..40), at in "[a\u{0}é\u{10ffff}]{0,3}",
        ) {
            let mut low = KeyRange::default();
            let high = low.split_after(&at);
            prop_assert!(low.meets(&high));
            for key in keys {
                prop_assert_ne!(low.contains(&key), high.contains(&key));
                prop_assert_eq!(low.contains(&key), key <= at);
            }
        }

        #[test]
        fn an_empty_range_has_no_keys(after in "[a\u{0}]{0,3}", before in "[a\u{0}]{0,3}", key in "[a\u{0}]{0,4}") {
            let range = KeyRange { start_after: Some(after), end_before: Some(before) };
            prop_assert!(!range.is_empty() || !range.contains(&key));
        }
    }
}
