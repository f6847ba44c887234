//! The CRC of a whole from those of its parts.
//!
//! A CRC is a remainder modulo a polynomial over GF(2), so bytes behind others multiply the CRC of those by a power of x.
//! `crc_fast::checksum_combine` squares matrices for it: 0.3 ms for a part of 8 MiB, a third of what it takes to hash that.

/// The remainders modulo a CRC's polynomial. In a number, the highest of its `bits` is the coefficient of x⁰, as the CRCs of S3
/// have it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Remainders {
    bits: u32,
    /// Without its highest power.
    polynomial: u64,
}

/// The polynomials of <https://reveng.sourceforge.io/crc-catalogue/all.htm>, reflected.
impl Remainders {
    pub(super) const CRC64_NVME: Self = Self { bits: 64, polynomial: 0x9a6c_9329_ac4b_c9b5 };
    pub(super) const CRC32: Self = Self { bits: 32, polynomial: 0xedb8_8320 };
    pub(super) const CRC32C: Self = Self { bits: 32, polynomial: 0x82f6_3b78 };

    /// The CRC of what has the CRC `first`, followed by `length` bytes that have `second`.
    pub(super) fn combine(self, first: u64, second: u64, length: u64) -> u64 {
        self.product(first, self.power_of_bytes(length)) ^ second
    }

    const fn one(self) -> u64 {
        1 << (self.bits - 1)
    }

    /// x to the power of the bits of so many bytes.
    fn power_of_bytes(self, bytes: u64) -> u64 {
        let (mut power, mut square, mut left) = (self.one(), self.one() >> 8, bytes);
        while left > 0 {
            if left & 1 == 1 {
                power = self.product(power, square);
            }
            square = self.product(square, square);
            left >>= 1;
        }
        power
    }

    fn product(self, left: u64, right: u64) -> u64 {
        let (mut product, mut shifted) = (0, right);
        for power in (0..self.bits).rev() {
            if left >> power & 1 == 1 {
                product ^= shifted;
            }
            let carry = shifted & 1 == 1;
            shifted >>= 1;
            if carry {
                shifted ^= self.polynomial;
            }
        }
        product
    }
}

#[cfg(test)]
mod tests {
    use crc_fast::CrcAlgorithm;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn crcs_are_combined_as_by_others(first: u64, second: u64, length in prop_oneof![0..100_u64, 0..1_u64 << 50]) {
            for (remainders, algorithm) in [
                (Remainders::CRC64_NVME, CrcAlgorithm::Crc64Nvme),
                (Remainders::CRC32, CrcAlgorithm::Crc32IsoHdlc),
                (Remainders::CRC32C, CrcAlgorithm::Crc32Iscsi),
            ] {
                let mask = u64::MAX >> (64 - remainders.bits);
                let (first, second) = (first & mask, second & mask);
                let combined = crc_fast::checksum_combine(algorithm, first, second, length);
                prop_assert_eq!(remainders.combine(first, second, length), combined);
            }
        }
    }
}
