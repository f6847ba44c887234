//! Bytes that come in pieces, cut into lines.

use bytes::{Buf as _, Bytes, BytesMut};

use super::MAX_LINE;

/// What has come and was not taken yet.
#[derive(Default)]
pub(super) struct Lines {
    /// The beginning of a line, from the pieces before.
    begun: BytesMut,
    piece: Bytes,
    /// Of the line that was taken last, from 1.
    number: u64,
}

#[derive(Debug)]
pub(super) struct TooLong;

impl Lines {
    /// Adds what comes next, when all that was there is [taken](Self::next).
    pub(super) fn add(&mut self, piece: Bytes) {
        self.piece = piece;
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// The next line, without its end; `None` when more has to come for it. A line that lies in one piece is not copied.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, TooLong> {
        let end = memchr::memchr(b'\n', &self.piece);
        if self.begun.len() + end.unwrap_or(self.piece.len()) > MAX_LINE {
            self.number += 1;
            return Err(TooLong);
        }
        let Some(end) = end else {
            self.begun.extend_from_slice(&std::mem::take(&mut self.piece));
            return Ok(None);
        };
        self.number += 1;
        let line = self.piece.split_to(end);
        self.piece.advance(1);
        if self.begun.is_empty() {
            return Ok(Some(line));
        }
        self.begun.extend_from_slice(&line);
        Ok(Some(self.begun.split().freeze()))
    }

    /// What stands behind the last line end, if anything does.
    pub(super) fn last(&mut self) -> Option<Bytes> {
        let last = self.begun.split().freeze();
        if last.is_empty() {
            return None;
        }
        self.number += 1;
        Some(last)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cut(pieces: impl IntoIterator<Item = Bytes>) -> Result<Vec<Bytes>, TooLong> {
        let (mut lines, mut cut) = (Lines::default(), Vec::new());
        for piece in pieces {
            lines.add(piece);
            while let Some(line) = lines.next()? {
                cut.push(line);
                assert_eq!(lines.number(), cut.len() as u64);
            }
        }
        cut.extend(lines.last());
        assert!(lines.last().is_none());
        Ok(cut)
    }

    #[test]
    fn a_line_is_as_long_as_it_may_be_and_no_longer_in_pieces_of_any_size() {
        for size in [1000, 1 << 20, 2 * MAX_LINE] {
            let pieces = |length: usize| {
                let bytes = Bytes::from(vec![b'x'; length]);
                (0..length).step_by(size).map(move |at| bytes.slice(at..length.min(at + size))).collect::<Vec<_>>()
            };
            let longest = [pieces(MAX_LINE), vec![Bytes::from_static(b"\nshort")]].concat();
            assert_eq!(cut(longest).unwrap().iter().map(Bytes::len).collect::<Vec<_>>(), [MAX_LINE, 5]);
            assert!(cut(pieces(MAX_LINE + 1)).is_err());
            assert!(cut([Bytes::from_static(b"short\n")].into_iter().chain(pieces(100 << 20))).is_err());
        }
    }

    #[test]
    fn what_lies_in_one_piece_is_not_copied() {
        let piece = Bytes::from_static(b"first\nsecond\n");
        let lines = cut([piece.clone()]).unwrap();
        assert_eq!(lines[1].as_ptr(), piece[6..].as_ptr());
    }

    proptest! {
        #[test]
        fn lines_are_the_same_however_they_come(text in "[ab\n]{0,40}", sizes in prop::collection::vec(1_usize..9, 1..9)) {
            let mut rest = Bytes::from(text.clone());
            let mut sizes = sizes.into_iter().cycle();
            let pieces = std::iter::from_fn(|| {
                let size = sizes.next()?.min(rest.len());
                (size > 0).then(|| rest.split_to(size))
            });
            let lines: Vec<Bytes> = cut(pieces).unwrap();
            let mut expected: Vec<&str> = text.split('\n').collect();
            if expected.last() == Some(&"") {
                expected.pop();
            }
            prop_assert_eq!(lines, expected);
        }
    }
}
