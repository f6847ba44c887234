/// Chooses calls at a rate: by seed and count alone, so that a seed is a replay.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Chance {
    pub(super) rate: f64,
    pub(super) seed: u64,
}

/// What was drawn for one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Draw(u64);

impl Chance {
    /// # Panics
    ///
    /// When the rate is not one.
    pub(super) fn new(rate: f64, seed: u64) -> Self {
        assert!((0.0..=1.0).contains(&rate), "a rate is a number from 0 to 1, and not {rate}");
        Self { rate, seed }
    }

    /// The draw for the `count`-th call of those that `identity` stands for.
    pub(super) fn draw(self, identity: u64, count: usize) -> Draw {
        Draw(split_mix(split_mix(self.seed ^ identity).wrapping_add(count as u64)))
    }

    pub(super) fn chooses(self, draw: Draw) -> bool {
        draw.fraction() < self.rate
    }
}

impl Draw {
    /// From 0 to just below 1: the 53 bits that an `f64` holds exactly.
    fn fraction(self) -> f64 {
        ((self.0 >> 11) as f64) / ((1_u64 << 53) as f64)
    }

    /// From 0 to just below `bound`, independent of whether the call was chosen.
    pub(super) fn below(self, bound: u64) -> u64 {
        let wide = u128::from(split_mix(self.0)) * u128::from(bound);
        (wide >> 64) as u64
    }
}

/// The output function of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
fn split_mix(state: u64) -> u64 {
    let z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// FNV-1a: the same on every platform and in every version, unlike the standard library's hashes.
#[derive(Debug)]
pub(super) struct StableHash(u64);

impl StableHash {
    pub(super) fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    /// Adds a field; its end is part of it.
    pub(super) fn field(mut self, bytes: &[u8]) -> Self {
        for byte in bytes.iter().copied().chain([0xff]) {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        self
    }

    pub(super) fn finish(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_split_mix_64() {
        // The first outputs for the seed 0 of the reference implementation.
        assert_eq!(split_mix(0), 0xe220_a839_7b1d_cdaf);
        assert_eq!(split_mix(0x9e37_79b9_7f4a_7c15), 0x6e78_9e6a_a1b9_65f4);
    }

    #[test]
    fn rates_are_kept_and_none_and_all_are_exact() {
        for seed in 0..20 {
            for (rate, low, high) in
                [(0.0, 0, 0), (0.1, 900, 1100), (0.5, 4800, 5200), (0.9, 8900, 9100), (1.0, 10_000, 10_000)]
            {
                let chance = Chance::new(rate, seed);
                let chosen = (1..=10_000).filter(|count| chance.chooses(chance.draw(0, *count))).count();
                assert!((low..=high).contains(&chosen), "{chosen} of 10000 for {chance:?}");
            }
        }
    }

    #[test]
    fn what_is_picked_does_not_depend_on_being_chosen() {
        let chance = Chance::new(0.1, 7);
        let chosen: Vec<_> =
            (1..=30_000).map(|count| chance.draw(0, count)).filter(|draw| chance.chooses(*draw)).collect();
        for choice in 0..3 {
            let picked = chosen.iter().filter(|draw| draw.below(3) == choice).count();
            assert!((900..=1100).contains(&picked), "{picked} of {}", chosen.len());
        }
    }
}
