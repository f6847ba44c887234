//! The objects: their names and their bytes, which a client can check without asking.

use crate::Result;

pub(crate) const BUCKET: &str = "bench";

pub(crate) fn key(index: u64) -> String {
    format!("data/{index:08}.bin")
}

/// The bytes of an object, in pieces of any multiple of 8 bytes; different for each object and at each place.
pub(crate) struct Content(u64);

impl Content {
    pub(crate) fn of(index: u64) -> Self {
        Self(index.wrapping_mul(0xd134_2543_de82_ef95))
    }

    pub(crate) fn fill(&mut self, piece: &mut [u8]) {
        for word in piece.chunks_mut(8) {
            // SplitMix64.
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            word.copy_from_slice(&(z ^ (z >> 31)).to_le_bytes()[..word.len()]);
        }
    }

    pub(crate) fn whole(index: u64, size: u64) -> Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(size)?];
        Self::of(index).fill(&mut bytes);
        Ok(bytes)
    }
}

pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = match unit.trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        other => return Err(format!("{other:?} is not B, KiB, MiB or GiB")),
    };
    number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit)).ok_or_else(|| format!("{text:?} is no size"))
}

pub(crate) fn show_size(size: u64) -> String {
    [("GiB", 30), ("MiB", 20), ("KiB", 10)]
        .into_iter()
        .find(|(_, bits)| size > 0 && size.trailing_zeros() >= *bits)
        .map_or_else(|| format!("{size} B"), |(unit, bits)| format!("{} {unit}", size >> bits))
}
