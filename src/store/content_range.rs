//! The header `Content-Range`: which bytes of the whole a partial answer carries.
//!
//! <https://www.rfc-editor.org/rfc/rfc9110#name-content-range>

use std::ops::Range;

/// `bytes 0-9/100`: the range and the size of the whole. An empty object has no range, whatever is said of it: garage 2.5
/// answers a request for its last byte with 206 and `bytes 0-18446744073709551615/0`.
pub(super) fn parse(text: &str) -> Option<(Option<Range<u64>>, u64)> {
    let (range, size) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let size = number(size)?;
    if size == 0 {
        return Some((None, 0));
    }
    let (first, last) = range.split_once('-')?;
    let (first, end) = (number(first)?, number(last)?.checked_add(1)?);
    (first < end && end <= size).then_some((Some(first..end), size))
}

/// `str::parse` alone would take a sign.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_content_range_is_read_or_refused() {
        assert_eq!(parse("bytes 0-9/100"), Some((Some(0..10), 100)));
        assert_eq!(parse("bytes 99-99/100"), Some((Some(99..100), 100)));
        assert_eq!(parse("bytes 0-18446744073709551615/0"), Some((None, 0)));
        for wrong in [
            "",
            "bytes */100",
            "bytes 0-9/*",
            "bytes 9-0/100",
            "bytes 0-100/100",
            "0-9/100",
            "bytes 0-18446744073709551615/1",
            "bytes 0-9/18446744073709551616",
            "bytes +0-9/100",
            "bytes 0-+9/100",
            "bytes 0-9/+100",
            "bytes 0 - 9/100",
            "bytes --9/100",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn every_range_within_an_object_is_read(first: u64, last: u64, size: u64) {
            prop_assume!(size > 0);
            let within = first <= last && last < size;
            let read = within.then(|| (Some(first..last + 1), size));
            prop_assert_eq!(parse(&format!("bytes {first}-{last}/{size}")), read);
        }
    }
}
