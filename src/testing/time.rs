//! Times as S3 writes them, in whole seconds.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::NaiveDateTime;
use http::HeaderValue;
use s3s::dto::{Timestamp, TimestampFormat};

/// A moment, with both of its spellings.
#[derive(Debug, Clone)]
pub(super) struct Moment {
    time: SystemTime,
    /// `Wed, 21 Oct 2026 07:28:00 GMT`
    pub(super) http: HeaderValue,
    /// `2026-10-21T07:28:00.000Z`
    pub(super) iso: String,
}

impl Moment {
    /// No earlier than 1970.
    pub(super) fn at(time: SystemTime) -> Self {
        let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let time = UNIX_EPOCH + Duration::from_secs(seconds);
        let timestamp = Timestamp::from(time);
        let http = format(&timestamp, TimestampFormat::HttpDate);
        Self {
            http: HeaderValue::from_str(&http).unwrap_or_else(|_| HeaderValue::from_static("")),
            iso: format(&timestamp, TimestampFormat::DateTime),
            time,
        }
    }

    pub(super) fn time(&self) -> SystemTime {
        self.time
    }

    /// `None` when the text is not an HTTP date: such a condition is ignored.
    pub(super) fn is_after(&self, http_date: &str) -> Option<bool> {
        let other = Timestamp::parse(TimestampFormat::HttpDate, http_date).ok()?;
        Some(Timestamp::from(self.time) > other)
    }
}

/// `Wed, 21 Oct 2026 07:28:00 GMT`
pub(super) fn http_date(time: SystemTime) -> HeaderValue {
    Moment::at(time).http
}

/// The time of a signature: `20261021T072800Z`.
pub(super) fn from_basic(text: &str) -> Option<SystemTime> {
    let time = NaiveDateTime::parse_from_str(text, "%Y%m%dT%H%M%SZ").ok()?;
    Some(time.and_utc().into())
}

fn format(time: &Timestamp, format: TimestampFormat) -> String {
    let mut text = Vec::with_capacity(32);
    // Writing to memory cannot fail.
    let _ = time.format(format, &mut text);
    String::from_utf8(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_after_another_by_whole_seconds() {
        let now = Moment::at(SystemTime::now());
        assert_eq!(now.is_after("Wed, 21 Oct 2015 07:28:00 GMT"), Some(true));
        assert_eq!(now.is_after(now.http.to_str().unwrap()), Some(false));
        assert_eq!(now.is_after("yesterday"), None);
        assert_eq!(now.iso.len(), "2026-10-21T07:28:00.000Z".len());
        assert!(now.iso.ends_with(".000Z"), "{}", now.iso);
    }

    #[test]
    fn the_times_of_signatures_are_read() {
        let time = from_basic("20261021T072800Z").unwrap();
        assert_eq!(http_date(time), "Wed, 21 Oct 2026 07:28:00 GMT");
        for other in
            ["", "20261021T072800", "2026-10-21T07:28:00Z", "20261321T072800Z", "20261021 072800Z", "é0261021T07280Z"]
        {
            assert_eq!(from_basic(other), None, "{other}");
        }
    }
}
