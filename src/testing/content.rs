//! Stored bytes, handed out without copying.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

/// The bytes of an object or of a part: one buffer, or the buffers of the parts that it was made of.
#[derive(Debug, Clone, Default)]
pub(super) struct Content {
    segments: Vec<Bytes>,
    length: u64,
    discarded: bool,
}

/// Stands for bytes that were not kept.
static ZEROS: [u8; 1024 * 1024] = [0; 1024 * 1024];

impl Content {
    /// The same with every bit of a byte inverted, if there is such a byte.
    pub(super) fn inverted(&self, offset: u64) -> Option<Self> {
        let byte = self.slice(offset..offset.checked_add(1).filter(|end| *end <= self.len())?).to_bytes();
        self.overwritten(offset, vec![!byte[0]].into())
    }

    /// The same with other bytes in a place, if there is such a place.
    pub(super) fn overwritten(&self, offset: u64, bytes: Bytes) -> Option<Self> {
        let end = offset.checked_add(bytes.len() as u64).filter(|end| *end <= self.len())?;
        Some(Self::concat([&self.slice(0..offset), &Self::from(bytes), &self.slice(end..self.len())]))
    }

    pub(super) fn concat<'a>(contents: impl IntoIterator<Item = &'a Content>) -> Self {
        let mut whole = Self::default();
        for content in contents {
            whole.segments.extend_from_slice(&content.segments);
            whole.length += content.length;
            whole.discarded |= content.discarded;
        }
        whole
    }

    /// As many zeros in place of what was received. They take no memory to speak of.
    pub(super) fn discarded(length: u64) -> Self {
        let mut segments = Vec::new();
        let mut rest = length;
        while rest > 0 {
            let zeros = rest.min(ZEROS.len() as u64);
            segments.push(Bytes::from_static(&ZEROS[..zeros as usize]));
            rest -= zeros;
        }
        Self { segments, length, discarded: true }
    }

    /// Whether these are zeros in place of what was received.
    pub(super) fn is_discarded(&self) -> bool {
        self.discarded
    }

    pub(super) fn len(&self) -> u64 {
        self.length
    }

    pub(super) fn segments(&self) -> &[Bytes] {
        &self.segments
    }

    /// These bytes as one buffer; copies only when there are several.
    pub(super) fn to_bytes(&self) -> Bytes {
        match self.segments.as_slice() {
            [] => Bytes::new(),
            [only] => only.clone(),
            several => {
                let mut whole = BytesMut::with_capacity(several.iter().map(Bytes::len).sum());
                several.iter().for_each(|segment| whole.extend_from_slice(segment));
                whole.freeze()
            }
        }
    }

    /// The bytes of `range`, which must lie inside.
    pub(super) fn slice(&self, range: Range<u64>) -> Content {
        let mut part =
            Self { segments: Vec::with_capacity(1), length: range.end - range.start, discarded: self.discarded };
        let mut start = 0;
        for segment in &self.segments {
            let end = start + segment.len() as u64;
            let from = range.start.max(start);
            let to = range.end.min(end);
            if from < to {
                // Both are offsets into a buffer in memory, so they fit.
                part.segments.push(segment.slice((from - start) as usize..(to - start) as usize));
            }
            start = end;
        }
        part
    }
}

impl From<Bytes> for Content {
    fn from(bytes: Bytes) -> Self {
        let length = bytes.len() as u64;
        Self { segments: if bytes.is_empty() { Vec::new() } else { vec![bytes] }, length, discarded: false }
    }
}

impl From<String> for Content {
    fn from(text: String) -> Self {
        Bytes::from(text).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_cross_the_borders_of_parts() {
        let parts = ["abc", "", "defg", "h"].map(|part| Content::from(Bytes::from_static(part.as_bytes())));
        let whole = Content::concat(&parts);
        assert_eq!(whole.to_bytes(), "abcdefgh");
        for start in 0..=8 {
            for end in start..=8 {
                let slice = whole.slice(start..end);
                assert_eq!(slice.to_bytes(), &"abcdefgh"[start as usize..end as usize]);
                assert_eq!(slice.len(), end - start);
            }
        }
    }

    #[test]
    fn discarded_content_keeps_its_length_and_is_zeros() {
        let size = ZEROS.len() as u64;
        for length in [0, 1, size, size + 1, 3 * size] {
            let content = Content::discarded(length);
            assert_eq!((content.len(), content.to_bytes().len() as u64), (length, length));
            assert!(content.to_bytes().iter().all(|byte| *byte == 0));
        }
        let whole = Content::concat(&[Content::from(Bytes::from_static(b"a")), Content::discarded(2)]);
        assert!(whole.is_discarded() && whole.slice(0..1).is_discarded());
        assert_eq!(whole.to_bytes(), &b"a\0\0"[..]);
    }
}
