//! Encoded words, as which S3 gives back metadata that is not US-ASCII: `=?UTF-8?B?w6k=?=`.
//!
//! <https://datatracker.ietf.org/doc/html/rfc2047>
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html>

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Some encoders leave the padding away.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The text of a metadata value as it was before S3 encoded it.
///
/// S3 encodes a value as a whole or not at all. So whatever is not made of encoded words alone stays as it is, and a text
/// that happens to hold one keeps it; and so does everything malformed.
pub(super) fn decode(value: &str) -> Cow<'_, str> {
    match words(value) {
        Some(text) => Cow::Owned(sent_as_utf8(&text).unwrap_or(text)),
        None => Cow::Borrowed(value),
    }
}

/// What encoded words say; `None` when `value` is anything else. The spaces between them only separate them.
fn words(value: &str) -> Option<String> {
    if !value.starts_with("=?") {
        return None;
    }
    // One text for all words: some encoders cut in the middle of a character.
    let mut utf8 = Vec::with_capacity(value.len());
    for word in value.split_ascii_whitespace() {
        let mut parts = word.strip_prefix("=?")?.strip_suffix("?=")?.split('?');
        let (charset, encoding, text) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() {
            return None;
        }
        let bytes = match encoding {
            "B" | "b" => BASE64.decode(text).ok()?,
            "Q" | "q" => unquote(text)?,
            _ => return None,
        };
        // A language may follow: <https://datatracker.ietf.org/doc/html/rfc2231#section-5>
        let charset = charset.split('*').next().unwrap_or(charset).to_ascii_lowercase();
        match charset.as_str() {
            "utf-8" | "utf8" => utf8.extend(bytes),
            "us-ascii" if bytes.is_ascii() => utf8.extend(bytes),
            "iso-8859-1" => utf8.extend(bytes.into_iter().map(char::from).collect::<String>().into_bytes()),
            _ => return None,
        }
    }
    String::from_utf8(utf8).ok()
}

/// The bytes of an encoding `Q`.
fn unquote(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'_' => b' ',
            b'=' => u8::try_from(digit(rest.next())? << 4 | digit(rest.next())?).ok()?,
            b'!'..=b'~' => byte,
            _ => return None,
        });
    }
    Some(bytes)
}

/// Undoes what S3 does before it encodes: it takes every byte of a request's header for a character of ISO 8859-1, so that
/// `é`, sent as UTF-8, comes back as `Ã©`. AWS's own example does so. `None` when `text` is none that S3 makes of UTF-8.
fn sent_as_utf8(text: &str) -> Option<String> {
    let bytes: Vec<u8> = text.chars().map(u8::try_from).collect::<Result<_, _>>().ok()?;
    String::from_utf8(bytes).ok()
}

/// Encoded words of `text` for tests, each of so many bytes; `quoted`: in the encoding `Q`.
#[cfg(any(test, fuzzing))]
pub(super) fn encode(text: &str, quoted: bool, bytes: usize) -> String {
    let word = |bytes: &[u8]| {
        if !quoted {
            return format!("=?UTF-8?B?{}?=", BASE64.encode(bytes));
        }
        let quote = |byte: &u8| match byte {
            b' ' => "_".to_owned(),
            byte if byte.is_ascii_alphanumeric() => char::from(*byte).to_string(),
            byte => format!("={byte:02X}"),
        };
        format!("=?UTF-8?Q?{}?=", bytes.iter().map(quote).collect::<String>())
    };
    text.as_bytes().chunks(bytes.max(1)).map(word).collect::<Vec<_>>().join(" ")
}

/// What S3 takes the UTF-8 of `text` for; see [`sent_as_utf8`].
#[cfg(any(test, fuzzing))]
pub(super) fn as_s3_reads(text: &str) -> String {
    text.bytes().map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_are_read_in_both_encodings_and_three_charsets() {
        for (value, text) in [
            ("=?UTF-8?B?Y2Fmw6k=?=", "café"),
            ("=?utf-8?b?Y2Fmw6k?=", "café"),
            ("=?UTF-8*fr?Q?caf=C3=A9_noir?=", "café noir"),
            ("=?utf8?q?caf=c3=a9=5F?=", "café_"),
            ("=?US-ASCII?Q?plain?=", "plain"),
            ("=?ISO-8859-1?Q?caf=E9?=", "café"),
            ("=?iso-8859-1?B?Y2Fm6Q==?=", "café"),
            ("=?UTF-8?Q??=", ""),
            ("=?UTF-8?B?8J+mgA==?=", "🦀"),
        ] {
            assert_eq!(decode(value), text, "{value}");
        }
    }

    #[test]
    fn white_space_between_words_is_dropped_and_within_them_kept() {
        assert_eq!(decode("=?UTF-8?Q?a_?= =?UTF-8?B?w6k=?=\t =?ISO-8859-1?Q?=E9?="), "a éé");
        // An encoder that counts bytes and not characters.
        assert_eq!(decode("=?UTF-8?Q?caf=C3?= =?UTF-8?Q?=A9?="), "café");
    }

    #[test]
    fn the_double_encoding_of_s3_is_undone() {
        // The example of AWS's page, which was sent as `ÄMÄZÕÑ S3`.
        assert_eq!(decode("=?UTF-8?B?w4PChE3Dg8KEWsODwpXDg8KRIFMz?="), "ÄMÄZÕÑ S3");
        assert_eq!(decode("=?ISO-8859-1?Q?caf=C3=A9?="), "café");
    }

    #[test]
    fn what_is_not_made_of_words_alone_stays_as_it_is() {
        for value in [
            "",
            " ",
            "plain",
            "café",
            r#"{"note": "write =?UTF-8?Q?=C3=A9?= for é"}"#,
            "=?UTF-8?Q?a?= and more",
            "before =?UTF-8?Q?a?=",
            "=?UTF-8?Q?a?==?UTF-8?Q?b?=",
        ] {
            assert_eq!(decode(value), value);
        }
    }

    #[test]
    fn what_is_malformed_stays_as_it_is() {
        for value in [
            "=?",
            "=?=",
            "=??=",
            "=?UTF-8?=",
            "=?UTF-8?Q?=",
            "=?UTF-8?Q?a",
            "=?UTF-8?Q?a?b?=",
            "=?UTF-8?X?a?=",
            "=?UTF-8?Q?=C3?=",
            "=?UTF-8?Q?=4?=",
            "=?UTF-8?Q?=+4?=",
            "=?UTF-8?Q?=GG?=",
            "=?UTF-8?Q?é?=",
            "=?UTF-8?B?!!!!?=",
            "=?UTF-8?B?w6k==?=",
            "=?US-ASCII?Q?=C3=A9?=",
            "=?KOI8-R?Q?=C1?=",
            "=??Q?a?=",
            "=?UTF-8?Q?a?= =?UTF-8?Q?=FF?=",
        ] {
            assert_eq!(decode(value), value);
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(text in ".+", quoted: bool, bytes in 1..80_usize) {
            prop_assert_eq!(words(&encode(&text, quoted, bytes)), Some(text));
        }

        #[test]
        fn every_text_comes_back_from_s3(text in ".+", quoted: bool, bytes in 1..80_usize) {
            let value = encode(&as_s3_reads(&text), quoted, bytes);
            prop_assert_eq!(decode(&value), text);
        }

        #[test]
        fn a_text_that_iso_8859_1_has_not_is_never_read_anew(text in ".*[\u{100}-\u{10ffff}].*", quoted: bool) {
            let value = encode(&text, quoted, 45);
            prop_assert_eq!(decode(&value), text);
        }

        #[test]
        fn foreign_text_is_decoded_or_stays(text in "=\\?.*|(=\\?(UTF-8|iso-8859-1)\\?[BQ]\\?[\\x00-\\x7f]{0,20}\\?= ?){1,3}") {
            let decoded = decode(&text);
            prop_assert!(decoded == text || words(&text).is_some());
        }
    }
}
