//! Into which parts a value is cut: pure.
//!
//! S3 takes parts of 5 MiB to 5 GiB, at most 10,000 of them.
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>

const MIB: u64 = 1024 * 1024;
pub(super) const PART: u64 = 8 * MIB;
pub(crate) const MIN_PART: u64 = 5 * MIB;
pub(crate) const MAX_PART: u64 = 5 * 1024 * MIB;
const MAX_PARTS: u64 = 10_000;
/// Of a value whose length is not known, so many parts are the shortest.
const PARTS_BEFORE_GROWTH: u32 = 1_000;
/// Then, this many have the same size before it doubles. A part is at most 1/250 of what came before it, for it is in memory.
const PARTS_OF_A_SIZE: u32 = 500;
/// Parts on their way at a time: enough to fill a line, and with the one that is read, 40 MiB.
const AT_ONCE: u64 = 4;

/// How long the parts of one value are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plan {
    /// All the same, but for the last.
    Equal { part: u64 },
    /// Growing, so that few bytes of a short value are in memory, and 10,000 parts hold 25.9 TiB. Only parts that are all of
    /// 5 GiB hold the 48.8 TiB that S3 takes.
    Growing,
}

impl Plan {
    /// For a value of `size` bytes in equal parts of at least `smallest`; `None` when 10,000 parts cannot hold it.
    pub(super) fn of(size: u64, smallest: u64) -> Option<Self> {
        let part = size.div_ceil(MAX_PARTS).next_multiple_of(MIB).max(smallest);
        (part <= MAX_PART).then_some(Self::Equal { part })
    }

    /// For a value of which nobody knows how long it is, in parts of the size asked for.
    pub(super) fn of_unknown(part: Option<u64>) -> Self {
        part.map_or(Self::Growing, |part| Self::Equal { part })
    }

    /// The length of a part, counted from 1; `None` after the last one that S3 takes.
    pub(super) fn length(self, number: u32) -> Option<u64> {
        if number == 0 || u64::from(number) > MAX_PARTS {
            return None;
        }
        Some(match self {
            Self::Equal { part } => part,
            Self::Growing if number <= PARTS_BEFORE_GROWTH => PART,
            Self::Growing => {
                let doubled = 1 + (number - PARTS_BEFORE_GROWTH - 1) / PARTS_OF_A_SIZE;
                (PART << doubled.min(u64::BITS / 2)).min(MAX_PART)
            }
        })
    }

    /// How many bytes all of its parts hold.
    pub(super) fn capacity(self) -> u64 {
        match self {
            Self::Equal { part } => part * MAX_PARTS,
            Self::Growing => (1..).map_while(|number| self.length(number)).sum(),
        }
    }

    /// How many parts of this one's length are on their way at a time: longer ones are as many bytes in fewer requests.
    pub(super) fn at_once(self, number: u32) -> usize {
        let length = self.length(number).unwrap_or(MAX_PART);
        (AT_ONCE * PART / length).clamp(1, AT_ONCE) as usize
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn growing_parts_begin_small_and_hold_25_tib() {
        let lengths: Vec<u64> = (1..).map_while(|number| Plan::Growing.length(number)).collect();
        assert_eq!(lengths.len(), 10_000);
        assert_eq!(lengths[..1_000], [8 * MIB; 1_000]);
        assert_eq!(lengths[9_999], MAX_PART);
        assert!(lengths.iter().all(|length| (MIN_PART..=MAX_PART).contains(length)));
        assert!(Plan::Growing.capacity() > 25 << 40);
        let mut before = 0;
        for length in lengths {
            assert!(length <= 8 * MIB || length <= before / 250, "{length} after {before}");
            before += length;
        }
        let at_once = [1, 1_000, 1_001, 1_501, 2_001, 10_000].map(|number| Plan::Growing.at_once(number));
        assert_eq!(at_once, [4, 4, 2, 1, 1, 1]);
    }

    /// 50 TB, as its documentation calls it.
    #[test]
    fn the_longest_object_of_s3_is_reached_by_a_known_size_and_by_the_largest_parts() {
        let longest = 48_u64 * (1 << 40) + 8 * (1 << 40) / 10;
        assert!(Plan::of(longest, PART).unwrap().capacity() >= longest);
        assert!(Plan::of_unknown(Some(MAX_PART)).capacity() >= longest);
        assert!(Plan::of(10_000 * MAX_PART, PART).is_some());
        assert_eq!(Plan::of(10_000 * MAX_PART + 1, PART), None);
    }

    proptest! {
        #[test]
        fn equal_parts_hold_the_value_within_the_limits(
            size in 0..=(10_000 * MAX_PART),
            smallest in prop_oneof![Just(PART), MIN_PART..=MAX_PART],
        ) {
            let plan = Plan::of(size, smallest).unwrap();
            let part = plan.length(1).unwrap();
            prop_assert!((smallest..=MAX_PART).contains(&part));
            prop_assert!(size <= plan.capacity() && size.div_ceil(part) <= MAX_PARTS);
            prop_assert_eq!(plan.length(10_000), Some(part));
            prop_assert_eq!(plan.length(10_001), None);
            prop_assert!((1..=4).contains(&plan.at_once(1)));
            prop_assert!(plan.at_once(1) == 1 || plan.at_once(1) as u64 * part <= 4 * PART);
        }

        /// Cut as it is read, nothing of a value is left over, and only its last part may be short.
        #[test]
        fn a_value_of_unknown_length_is_held_to_the_last_byte_that_fits(
            part in prop_oneof![Just(None), (MIN_PART..=MAX_PART).prop_map(Some)],
            share in 0.0..1.0_f64,
        ) {
            let plan = Plan::of_unknown(part);
            let size = (plan.capacity() as f64 * share) as u64;
            let (mut left, mut number) = (size, 0);
            while left > 0 {
                number += 1;
                let length = plan.length(number).unwrap();
                if let Some(part) = part {
                    prop_assert_eq!(length, part);
                }
                left -= length.min(left);
            }
            prop_assert!(u64::from(number) <= MAX_PARTS);
        }
    }
}
