//! Which bytes a request asks for.

use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_range_header::{EndPosition, StartPosition, SyntacticallyCorrectRange, parse_range_header};

use crate::object::S3Object;
use crate::request::S3GetObject;

/// What a `Range` header comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WantedRange {
    Whole,
    From(u64),
    /// From one byte to another, both included.
    Span(u64, u64),
    Last(u64),
}

impl WantedRange {
    /// <https://www.rfc-editor.org/rfc/rfc9110.html#section-14.2>
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut values = headers.get_all(header::RANGE).into_iter();
        let (Some(value), None) = (values.next(), values.next()) else { return Self::Whole };
        let Ok(text) = value.to_str() else { return Self::Whole };
        // The parser has no word for it: a range that can be read, and is never there.
        if text
            .strip_prefix("bytes=-")
            .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|digit| digit == b'0'))
        {
            return Self::Last(0);
        }
        let parsed = parse_range_header(text).ok();
        let Some([SyntacticallyCorrectRange { start, end }]) = parsed.as_ref().map(|parsed| &parsed.ranges[..]) else {
            return Self::Whole;
        };
        match (*start, *end) {
            (StartPosition::FromLast(length), _) => Self::Last(length),
            (StartPosition::Index(first), EndPosition::LastByte) => Self::From(first),
            // It cannot be read.
            (StartPosition::Index(first), EndPosition::Index(last)) if last < first => Self::Whole,
            (StartPosition::Index(first), EndPosition::Index(last)) => Self::Span(first, last),
        }
    }

    /// The request for it.
    pub(super) fn of_object(self, object: S3GetObject) -> S3GetObject {
        // No object has more bytes than that.
        let length = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        match self {
            Self::Whole => object,
            Self::From(first) => object.offset(first),
            Self::Span(first, last) => object.offset(first).length(length((last - first).saturating_add(1))),
            Self::Last(bytes) => object.length(-length(bytes)),
        }
    }

    /// The status of an answer with what was found, and what its headers say of the length.
    pub(super) fn tell(self, found: &S3Object, headers: &mut HeaderMap) -> StatusCode {
        let Some(range) = found.range_info() else { return StatusCode::OK };
        headers.insert(header::CONTENT_LENGTH, range.request_length.into());
        if self == Self::Whole {
            return StatusCode::OK;
        }
        let last = (range.request_offset + range.request_length).saturating_sub(1);
        let told = format!("bytes {}-{last}/{}", range.request_offset, range.total_size);
        headers.insert(header::CONTENT_RANGE, HeaderValue::try_from(told).expect("digits are visible text"));
        StatusCode::PARTIAL_CONTENT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[&str]) -> WantedRange {
        let values = values.iter().map(|value| (header::RANGE, HeaderValue::from_str(value).unwrap()));
        let mut headers = HeaderMap::new();
        for (name, value) in values {
            headers.append(name, value);
        }
        WantedRange::of(&headers)
    }

    #[test]
    fn one_range_of_bytes_is_heeded_and_anything_else_is_the_whole() {
        assert_eq!(of(&["bytes=0-"]), WantedRange::From(0));
        assert_eq!(of(&["bytes=5-5"]), WantedRange::Span(5, 5));
        assert_eq!(of(&["bytes=-5"]), WantedRange::Last(5));
        assert_eq!(of(&["bytes=-0"]), WantedRange::Last(0));
        assert_eq!(of(&["bytes=0-18446744073709551615"]), WantedRange::Span(0, u64::MAX));
        for whole in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=5",
            "bytes=9-5",
            "bytes=a-b",
            "bytes=1-2-3",
            "items=0-5",
            "bytes=--5",
            "bytes=0-5,7-9",
            "bytes=0-5,-2",
            "bytes 0-5",
            "bytes=99999999999999999999-",
            "bytes=0x1-5",
            "bytes=+1-5",
        ] {
            assert_eq!(of(&[whole]), WantedRange::Whole, "{whole}");
        }
        assert_eq!(of(&[]), WantedRange::Whole);
        assert_eq!(of(&["bytes=0-5", "bytes=7-9"]), WantedRange::Whole);
    }
}
