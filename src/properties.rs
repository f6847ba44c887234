//! What is stored with an object beside its bytes, as plain data.

use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::encryption::Encryption;

/// What S3 keeps and answers with the object. Without a setting, nothing is sent, and S3 has its way.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Properties {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) content_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cache_control: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) content_disposition: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) content_encoding: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) content_language: Option<String>,
    /// As HTTP writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expires: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) storage_class: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) tags: Vec<(String, String)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) metadata: Option<Map<String, Value>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) encryption: Option<Encryption>,
}

/// 9999-12-31 23:59:59 UTC, in seconds after 1970.
const LAST_SECOND: Duration = Duration::from_secs(253_402_300_799);
/// 0001-01-01 00:00:00 UTC, in seconds before 1970.
const FIRST_SECOND: Duration = Duration::from_secs(62_135_596_800);

/// A date as HTTP writes it, whose years have four digits; the nearest one when `time` has none.
/// <https://www.rfc-editor.org/rfc/rfc9110.html#section-5.6.7>
pub(crate) fn http_date(time: SystemTime) -> String {
    // A system may know no time that early or late, and needs no limit then.
    let time = SystemTime::UNIX_EPOCH.checked_add(LAST_SECOND).map_or(time, |last| time.min(last));
    let time = SystemTime::UNIX_EPOCH.checked_sub(FIRST_SECOND).map_or(time, |first| time.max(first));
    DateTime::<Utc>::from(time).format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_written_as_http_wants_it() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(http_date(time), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(http_date(SystemTime::UNIX_EPOCH - Duration::from_secs(1)), "Wed, 31 Dec 1969 23:59:59 GMT");
    }

    #[test]
    fn a_time_that_http_cannot_write_is_the_nearest_that_it_can() {
        for seconds in [253_402_300_800, 1 << 50, i64::MAX as u64] {
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(http_date(time), "Fri, 31 Dec 9999 23:59:59 GMT");
        }
        for seconds in [62_135_596_801, 1 << 50, i64::MAX as u64] {
            let Some(time) = SystemTime::UNIX_EPOCH.checked_sub(Duration::from_secs(seconds)) else { continue };
            assert_eq!(http_date(time), "Mon, 01 Jan 0001 00:00:00 GMT");
        }
    }
}
