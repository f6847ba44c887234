//! Which bytes of an object a range means: pure.

use std::ops::Range;

use crate::error::{Error, ErrorKind};
use crate::store::{ByteRange, Failure, FailureKind, ObjectHead};
use crate::transfer::Stopped;

/// The bytes that the first answer settles on.
pub(super) fn first_window(range: Option<ByteRange>, head: &ObjectHead) -> Result<Range<u64>, Stopped> {
    let size = head.size;
    let Some(wanted) = window(range, size) else {
        let message = format!(
            "the range {} lies outside of the object's {size} bytes",
            range.map_or(String::new(), |range| range.to_string())
        );
        return Err(Stopped::Local(Error::new(ErrorKind::InvalidRange, message)));
    };
    match &head.range {
        Some(answered) if *answered != wanted => Err(Failure::new(
            FailureKind::Malformed,
            format!("the server answered with the bytes {answered:?} when asked for {wanted:?}"),
        )
        .into()),
        _ => Ok(wanted),
    }
}

/// The bytes of an object of `size` bytes that a range means; `None` when it lies outside.
fn window(range: Option<ByteRange>, size: u64) -> Option<Range<u64>> {
    let (start, end) = match range {
        None => return Some(0..size),
        Some(ByteRange::From(start)) => (start, size),
        Some(ByteRange::Span { start, end }) => (start, end.min(size)),
        Some(ByteRange::Last(length)) => (size.saturating_sub(length), size),
    };
    (start < end).then_some(start..end)
}

#[cfg(test)]
mod tests {
    use proptest::option;
    use proptest::prelude::*;

    use super::*;
    use crate::request::S3GetObject;

    #[test]
    fn a_range_is_cut_at_the_end_of_the_object() {
        assert_eq!(window(None, 0), Some(0..0));
        assert_eq!(window(None, 5), Some(0..5));
        assert_eq!(window(Some(ByteRange::From(2)), 5), Some(2..5));
        assert_eq!(window(Some(ByteRange::From(5)), 5), None);
        assert_eq!(window(Some(ByteRange::Span { start: 1, end: 9 }), 5), Some(1..5));
        assert_eq!(window(Some(ByteRange::Span { start: 5, end: 9 }), 5), None);
        assert_eq!(window(Some(ByteRange::Last(2)), 5), Some(3..5));
        assert_eq!(window(Some(ByteRange::Last(9)), 5), Some(0..5));
        assert_eq!(window(Some(ByteRange::Last(9)), 0), None);
    }

    /// What Python's slices give; nothing where the range is an error.
    fn sliced(bytes: &[u8], offset: Option<u64>, length: Option<i64>) -> Option<Vec<u8>> {
        let from = |start: u64| bytes.iter().copied().skip(start as usize);
        let sliced: Vec<u8> = match (offset, length) {
            (None, None) => return Some(bytes.to_vec()),
            (_, Some(0)) => return None,
            (None, Some(length @ ..0)) => {
                from(bytes.len().saturating_sub(length.unsigned_abs() as usize) as u64).collect()
            }
            (Some(offset), None | Some(..0)) => from(offset).collect(),
            (offset, Some(length)) => from(offset.unwrap_or(0)).take(length as usize).collect(),
        };
        Some(sliced).filter(|sliced| !sliced.is_empty())
    }

    proptest! {
        #[test]
        fn a_range_is_a_slice_of_the_object(
            size in 0..20_usize,
            offset in option::of(prop_oneof![0..25_u64, any::<u64>()]),
            length in option::of(prop_oneof![-25..25_i64, any::<i64>()]),
        ) {
            let bytes: Vec<u8> = (0..size as u8).collect();
            let mut request = S3GetObject::new("k");
            if let Some(offset) = offset {
                request = request.offset(offset);
            }
            if let Some(length) = length {
                request = request.length(length);
            }
            let window = match request.read_options(None) {
                Ok(options) => window(options.range, size as u64),
                Err(error) => {
                    prop_assert_eq!(error.kind(), ErrorKind::InvalidRange);
                    None
                }
            };
            let fetched = window.map(|window| bytes[window.start as usize..window.end as usize].to_vec());
            prop_assert_eq!(fetched, sliced(&bytes, offset, length));
        }
    }
}
