//! Into which parts a value is cut: pure.
//!
//! S3 takes parts of 5 MiB to 5 GiB, at most 10,000 of them.
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>

const MIB: u64 = 1024 * 1024;
pub(super) const PART: u64 = 8 * MIB;
const MAX_PART: u64 = 5 * 1024 * MIB;
const MAX_PARTS: u64 = 10_000;
/// Of a value whose length is not known, this many parts have the same size before it doubles.
const PARTS_OF_A_SIZE: u32 = 1_000;
/// Parts on their way at a time: enough to fill a line, and with the one that is read, 40 MiB.
const AT_ONCE: u64 = 4;

/// How long the parts of one value are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plan {
    /// All the same, but for the last.
    Equal { part: u64 },
    /// Growing, so that few parts hold a short value and 10,000 of them 7.8 TiB.
    Growing,
}

impl Plan {
    /// For a value of `size` bytes in parts of at least `smallest`; `None` when 10,000 parts cannot hold it.
    pub(super) fn of(size: u64, smallest: u64) -> Option<Self> {
        let part = size.div_ceil(MAX_PARTS).next_multiple_of(MIB).max(smallest);
        (part <= MAX_PART).then_some(Self::Equal { part })
    }

    /// The length of a part, counted from 1; `None` after the last one that S3 takes.
    pub(super) fn length(self, number: u32) -> Option<u64> {
        if number == 0 || u64::from(number) > MAX_PARTS {
            return None;
        }
        Some(match self {
            Self::Equal { part } => part,
            Self::Growing => PART << ((number - 1) / PARTS_OF_A_SIZE),
        })
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
    fn growing_parts_hold_a_value_of_any_length_that_s3_takes() {
        let lengths: Vec<u64> = (1..).map_while(|number| Plan::Growing.length(number)).collect();
        assert_eq!(lengths.len(), 10_000);
        assert_eq!(lengths[..1_000], [8 * MIB; 1_000]);
        assert!(lengths.iter().all(|length| (5 * MIB..=MAX_PART).contains(length)));
        assert!(lengths.iter().sum::<u64>() > 7 << 40);
        let at_once = [1, 1_000, 1_001, 2_001, 3_001, 10_000].map(|number| Plan::Growing.at_once(number));
        assert_eq!(at_once, [4, 4, 2, 1, 1, 1]);
    }

    #[test]
    fn what_no_upload_can_hold_is_refused() {
        assert!(Plan::of(10_000 * MAX_PART, PART).is_some());
        assert_eq!(Plan::of(10_000 * MAX_PART + 1, PART), None);
    }

    proptest! {
        #[test]
        fn equal_parts_hold_the_value_within_the_limits(size in 0..(48_u64 << 40)) {
            let plan = Plan::of(size, PART).unwrap();
            let part = plan.length(1).unwrap();
            prop_assert!((5 * MIB..=MAX_PART).contains(&part));
            prop_assert!(size.div_ceil(part) <= MAX_PARTS);
            prop_assert!((1..=4).contains(&plan.at_once(1)));
            prop_assert!(plan.at_once(1) == 1 || plan.at_once(1) as u64 * part <= 4 * PART);
        }
    }
}
