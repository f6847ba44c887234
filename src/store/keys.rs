//! Exact keys through `object_store`'s `Path`, which cannot carry all of them.
//!
//! `Path` rejects empty, `.` and `..` segments and control characters, and drops a leading or a trailing `/`. A key that
//! `Path` would refuse or change travels as a marker and its bytes in hexadecimal; the wire undoes that before signing.
//! Every other key travels as it is.

use std::borrow::Cow;

use object_store::path::Path;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode, utf8_percent_encode};

/// Only characters that neither `Path` nor a URL encodes, so that the marker is found in a URL's path as it stands.
const MARKER: &str = "~s3flow~";

/// What SigV4 leaves unencoded in an S3 path: the unreserved characters of RFC 3986 and `/`.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>
const PATH: &AsciiSet = &QUERY.remove(b'/');

/// What SigV4 leaves unencoded in a query: the unreserved characters of RFC 3986.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The `Path` that stands for `key` between us and `object_store`.
pub(super) fn to_path(key: &str) -> Path {
    if !key.starts_with(MARKER)
        && let Ok(path) = Path::parse(key)
        && path.as_ref() == key
    {
        return path;
    }
    let mut escaped = String::with_capacity(MARKER.len() + 2 * key.len());
    escaped.push_str(MARKER);
    for byte in key.bytes() {
        escaped.push(char::from(HEX[usize::from(byte >> 4)]));
        escaped.push(char::from(HEX[usize::from(byte & 15)]));
    }
    Path::parse(&escaped).expect("a marker and hexadecimal digits are a valid path")
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// From the URL path that `object_store` made of [`to_path`]'s result to the path of the key itself, encoded as SigV4 asks
/// (both without the `/` in front).
pub(super) fn from_url_path(path: &str) -> Option<Cow<'_, str>> {
    let Some(hex) = path.strip_prefix(MARKER) else {
        return Some(Cow::Borrowed(path));
    };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let bytes: Option<Vec<u8>> = hex
        .as_bytes()
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => u8::try_from(digit(*high)? << 4 | digit(*low)?).ok(),
            _ => None,
        })
        .collect();
    Some(Cow::Owned(encode_path(&String::from_utf8(bytes?).ok()?)))
}

/// `key` percent-encoded as the path of a request, `/` kept.
pub(super) fn encode_path(key: &str) -> String {
    utf8_percent_encode(key, PATH).to_string()
}

/// `text` percent-encoded as a name or value of a query.
pub(super) fn encode_query(text: &str) -> String {
    utf8_percent_encode(text, QUERY).to_string()
}

/// A query as `object_store` writes it, form-encoded, as SigV4 wants it: percent-encoded, its parameters sorted.
pub(super) fn canonical_query(query: &str) -> String {
    let encode = |text: &str| {
        let spaced = text.replace('+', " ");
        percent_encode(&percent_decode_str(&spaced).collect::<Vec<u8>>(), QUERY).to_string()
    };
    let mut parameters: Vec<(String, String)> = query
        .split('&')
        .filter(|parameter| !parameter.is_empty())
        .map(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            (encode(name), encode(value))
        })
        .collect();
    parameters.sort_unstable();
    parameters.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

/// A text from a listing with `encoding-type=url`. S3 encodes a space as `+`, and a `+` as `%2B`.
pub(super) fn decode_listed(text: &str) -> Option<String> {
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8().ok()?;
    Some(decoded.into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The way of a key through `object_store`: `Path`, its URL encoding, the wire.
    fn round_trip(key: &str) -> String {
        let path = to_path(key);
        let url_path = utf8_percent_encode(path.as_ref(), PATH).to_string();
        let wire = from_url_path(&url_path).expect("what we escaped");
        percent_decode_str(&wire).decode_utf8().expect("UTF-8").into_owned()
    }

    #[test]
    fn keys_that_a_path_would_change_arrive_unchanged() {
        for key in [
            "plain/key.txt",
            "a//b",
            "dir/",
            "/lead",
            "/",
            "//",
            "./a",
            "../a",
            "a/../b",
            ".",
            "..",
            "a b",
            " lead",
            "trail ",
            "a+b",
            "%2F",
            "a?b#c&d=e;f",
            "<xml>&\"'`",
            "\u{1}ÿ",
            "\t",
            "\n",
            "🦀",
            "文件/名",
            "~s3flow~",
            "~s3flow~00",
            "~s3flow~zz",
            "x/~s3flow~",
        ] {
            assert_eq!(round_trip(key), key, "{key:?}");
        }
    }

    #[test]
    fn an_ordinary_key_is_not_escaped() {
        assert_eq!(to_path("data/part-0001.parquet").as_ref(), "data/part-0001.parquet");
    }

    #[test]
    fn a_query_is_sorted_and_encoded_anew() {
        assert_eq!(canonical_query("uploadId=a%2Bb+c%2F%3D&partNumber=1"), "partNumber=1&uploadId=a%2Bb%20c%2F%3D");
        assert_eq!(canonical_query("uploads="), "uploads=");
        assert_eq!(canonical_query("delete"), "delete=");
        assert_eq!(canonical_query(""), "");
    }

    #[test]
    fn a_query_is_sorted_by_name_although_names_begin_alike() {
        assert_eq!(canonical_query("part-number=1&part=2&part=1"), "part=1&part=2&part-number=1");
    }

    #[test]
    fn a_listed_plus_is_a_space_and_its_escape_a_plus() {
        assert_eq!(decode_listed("a+b%2Bc%2F%E6%96%87").as_deref(), Some("a b+c/文"));
        assert_eq!(decode_listed("%FF"), None);
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_ascii_and_decoded_again(text in any::<String>()) {
            for encoded in [encode_path(&text), encode_query(&text)] {
                prop_assert!(encoded.bytes().all(|byte| byte.is_ascii_graphic()));
                let decoded = percent_decode_str(&encoded).decode_utf8().unwrap();
                prop_assert_eq!(decoded, text.as_str());
            }
            prop_assert_eq!(encode_path(&text), encode_query(&text).replace("%2F", "/"));
        }

        #[test]
        fn a_listed_key_is_decoded(key in any::<String>()) {
            prop_assert_eq!(decode_listed(&encode_query(&key)), Some(key.clone()));
            prop_assert_eq!(decode_listed(&encode_query(&key).replace("%20", "+")), Some(key));
        }

        #[test]
        fn a_query_keeps_its_parameters(parameters in proptest::collection::vec(("[a-c ÿ/+-]{1,3}", ".{0,5}"), 0..6)) {
            let form = |text: &str| encode_query(text).replace("%20", "+");
            let mut written = Vec::new();
            let mut encoded = Vec::new();
            for (name, value) in &parameters {
                written.push(format!("{}={}", form(name), form(value)));
                encoded.push((encode_query(name), encode_query(value)));
            }
            encoded.sort();
            let sorted: Vec<_> = encoded.iter().map(|(name, value)| format!("{name}={value}")).collect();
            prop_assert_eq!(canonical_query(&written.join("&")), sorted.join("&"));
        }

        #[test]
        fn every_key_survives(key in "\\PC{1,40}|[\\x00-\\x7f/.~]{1,40}|(~s3flow~|[/.])*.{0,10}") {
            prop_assert_eq!(round_trip(&key), key);
        }

        #[test]
        fn foreign_paths_never_panic(path in ".*") {
            let _ = from_url_path(&path);
            let _ = from_url_path(&format!("{MARKER}{path}"));
        }
    }
}
