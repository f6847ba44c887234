//! Dates as S3 writes them, read without the general parsers: these take longer for a date than all else of a key does. What is
//! written in another way is left to them.

use std::time::SystemTime;

use chrono::{DateTime, Datelike as _, NaiveDate, NaiveDateTime};

/// Of a document: `2026-11-23T04:05:06.000Z`, or what else RFC 3339 allows.
pub(super) fn of_document(text: &str) -> Option<SystemTime> {
    match s3_document(text.as_bytes()) {
        Some(date) => Some(date.and_utc().into()),
        None => DateTime::parse_from_rfc3339(text).ok().map(SystemTime::from),
    }
}

/// Of a header: `Mon, 23 Nov 2026 04:05:06 GMT`, or what else RFC 2822 allows.
pub(super) fn of_header(text: &str) -> Option<SystemTime> {
    match imf_fixdate(text.as_bytes()) {
        Some(date) => Some(date.and_utc().into()),
        None => DateTime::parse_from_rfc2822(text).ok().map(SystemTime::from),
    }
}

fn s3_document(text: &[u8]) -> Option<NaiveDateTime> {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T', time @ .., b'.', f1, f2, f3, b'Z'] = text else {
        return None;
    };
    let date = NaiveDate::from_ymd_opt(
        i32::try_from(number(&[*y1, *y2, *y3, *y4])?).ok()?,
        number(&[*m1, *m2])?,
        number(&[*d1, *d2])?,
    )?;
    let [hour, minute, second] = hms(time)?;
    date.and_hms_milli_opt(hour, minute, second, number(&[*f1, *f2, *f3])?)
}

/// <https://www.rfc-editor.org/rfc/rfc9110.html#section-5.6.7>
fn imf_fixdate(text: &[u8]) -> Option<NaiveDateTime> {
    const MONTHS: [&[u8]; 12] =
        [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
    const DAYS: [&[u8]; 7] = [b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun"];
    let time = text.strip_suffix(b" GMT")?;
    let (date, time) = time.split_at_checked(16)?;
    let [w1, w2, w3, b',', b' ', d1, d2, b' ', m1, m2, m3, b' ', year @ ..] = date else { return None };
    let [b' ', time @ ..] = time else { return None };
    let month = MONTHS.iter().position(|month| **month == [*m1, *m2, *m3])?;
    let date = NaiveDate::from_ymd_opt(
        i32::try_from(number(year)?).ok()?,
        u32::try_from(month).ok()? + 1,
        number(&[*d1, *d2])?,
    )?;
    // A day of the week that is another makes no date.
    if DAYS[date.weekday().num_days_from_monday() as usize] != [*w1, *w2, *w3] {
        return None;
    }
    let [hour, minute, second] = hms(time)?;
    date.and_hms_opt(hour, minute, second)
}

fn hms(text: &[u8]) -> Option<[u32; 3]> {
    let [h1, h2, b':', m1, m2, b':', s1, s2] = text else { return None };
    Some([number(&[*h1, *h2])?, number(&[*m1, *m2])?, number(&[*s1, *s2])?])
}

fn number(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |number, digit| {
        let value = digit.checked_sub(b'0').filter(|value| *value < 10)?;
        Some(10 * number + u32::from(value))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn general_document(text: &str) -> Option<SystemTime> {
        DateTime::parse_from_rfc3339(text).ok().map(SystemTime::from)
    }

    fn general_header(text: &str) -> Option<SystemTime> {
        DateTime::parse_from_rfc2822(text).ok().map(SystemTime::from)
    }

    proptest! {
        #[test]
        fn a_date_is_what_the_general_parsers_read(seconds in 0..253_402_300_800_i64, milliseconds in 0..1000_u32) {
            let date = DateTime::from_timestamp(seconds, 1_000_000 * milliseconds).unwrap();
            let document = date.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
            prop_assert!(s3_document(document.as_bytes()).is_some());
            prop_assert_eq!(of_document(&document), general_document(&document));
            let header = date.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
            prop_assert!(imf_fixdate(header.as_bytes()).is_some());
            prop_assert_eq!(of_header(&header), general_header(&header));
        }

        #[test]
        fn what_is_nearly_a_date_is_what_the_general_parsers_read(at in 0..29_usize, byte in 32..127_u8) {
            let near = |text: &str| {
                let mut bytes = text.as_bytes().to_vec();
                let at = at % bytes.len();
                bytes[at] = byte;
                String::from_utf8(bytes).unwrap()
            };
            let document = near("2026-11-23T04:05:06.000Z");
            prop_assert_eq!(of_document(&document), general_document(&document));
            let header = near("Mon, 23 Nov 2026 04:05:06 GMT");
            prop_assert_eq!(of_header(&header), general_header(&header));
        }
    }

    #[test]
    fn other_ways_to_write_a_date_are_left_to_the_general_parsers() {
        for text in ["2026-11-23T04:05:06Z", "2026-11-23T05:05:06.000000+01:00", "2016-12-31T23:59:60.000Z"] {
            assert!(of_document(text).is_some() && of_document(text) == general_document(text), "{text}");
        }
        for text in ["Mon, 23 Nov 2026 04:05:06 +0000", "23 Nov 2026 04:05:06 GMT"] {
            assert!(of_header(text).is_some() && of_header(text) == general_header(text), "{text}");
        }
        for text in ["Tue, 23 Nov 2026 04:05:06 GMT", "Mon, 23 Nov 2026 24:05:06 GMT", ""] {
            assert_eq!((of_header(text), of_document(text)), (None, None), "{text}");
        }
    }
}
