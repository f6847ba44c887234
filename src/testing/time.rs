//! Times as S3 writes them, in whole seconds.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderValue;
use s3s::dto::{Timestamp, TimestampFormat};

/// A moment, with both of its spellings.
#[derive(Debug, Clone)]
pub(super) struct Moment {
    time: Timestamp,
    /// `Wed, 21 Oct 2026 07:28:00 GMT`
    pub(super) http: HeaderValue,
    /// `2026-10-21T07:28:00.000Z`
    pub(super) iso: String,
}

impl Moment {
    pub(super) fn now() -> Self {
        Self::at(SystemTime::now())
    }

    /// No earlier than 1970.
    pub(super) fn at(time: SystemTime) -> Self {
        let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let time = Timestamp::from(UNIX_EPOCH + Duration::from_secs(seconds));
        let http = format(&time, TimestampFormat::HttpDate);
        Self {
            http: HeaderValue::from_str(&http).unwrap_or_else(|_| HeaderValue::from_static("")),
            iso: format(&time, TimestampFormat::DateTime),
            time,
        }
    }

    /// `None` when the text is not an HTTP date: such a condition is ignored.
    pub(super) fn is_after(&self, http_date: &str) -> Option<bool> {
        let other = Timestamp::parse(TimestampFormat::HttpDate, http_date).ok()?;
        Some(self.time > other)
    }
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
        let now = Moment::now();
        assert_eq!(now.is_after("Wed, 21 Oct 2015 07:28:00 GMT"), Some(true));
        assert_eq!(now.is_after(now.http.to_str().unwrap()), Some(false));
        assert_eq!(now.is_after("yesterday"), None);
        assert_eq!(now.iso.len(), "2026-10-21T07:28:00.000Z".len());
        assert!(now.iso.ends_with(".000Z"), "{}", now.iso);
    }
}
