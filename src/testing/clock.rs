//! The server's clock, which may be off.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use http::header::DATE;
use http::{HeaderMap, StatusCode};

use super::answer::Failure;
use super::call::Call;
use super::time::{Moment, from_basic, http_date};

/// How far the time of a signature may be from the server's.
const MAX_SKEW: Duration = Duration::from_secs(15 * 60);

/// The time that a server believes in.
#[derive(Debug, Clone, Default)]
pub(super) struct Clock {
    offset: Arc<AtomicI64>,
}

impl Clock {
    /// Sets by how many seconds it is fast, or slow when negative.
    pub(super) fn set(&self, seconds: i64) {
        self.offset.store(seconds, Ordering::SeqCst);
    }

    /// Whether its time is that of the machine.
    pub(super) fn is_right(&self) -> bool {
        self.offset.load(Ordering::SeqCst) == 0
    }

    pub(super) fn now(&self) -> SystemTime {
        offset(SystemTime::now(), self.offset.load(Ordering::SeqCst))
    }

    pub(super) fn moment(&self) -> Moment {
        Moment::at(self.now())
    }

    /// Refuses signatures of another time. S3 says 15 minutes either way, and for a query its own span.
    pub(super) fn check(&self, call: &Call, headers: &HeaderMap) -> Result<(), Failure> {
        let now = self.now();
        if let Some(signed) = call.query("X-Amz-Date").and_then(from_basic) {
            let span = call.query("X-Amz-Expires").and_then(|seconds| seconds.parse().ok()).unwrap_or(0);
            return match now.duration_since(signed) {
                Ok(age) if age > Duration::from_secs(span) => {
                    Err(Failure::new(StatusCode::FORBIDDEN, "AccessDenied", "Request has expired"))
                }
                Err(early) if early.duration() > MAX_SKEW => Err(too_skewed(now)),
                Ok(_) | Err(_) => Ok(()),
            };
        }
        let signed = headers.get("x-amz-date").and_then(|date| from_basic(date.to_str().ok()?));
        let skew = signed.map(|signed| now.duration_since(signed).unwrap_or_else(|early| early.duration()));
        if skew.is_some_and(|skew| skew > MAX_SKEW) { Err(too_skewed(now)) } else { Ok(()) }
    }
}

/// A time so many seconds later, or earlier when negative.
pub(super) fn offset(time: SystemTime, seconds: i64) -> SystemTime {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    let moved = if seconds < 0 { time.checked_sub(distance) } else { time.checked_add(distance) };
    moved.unwrap_or(time)
}

/// What a server says whose time is this.
pub(super) fn too_skewed(server: SystemTime) -> Failure {
    Failure::new(
        StatusCode::FORBIDDEN,
        "RequestTimeTooSkewed",
        "The difference between the request time and the current time is too large.",
    )
    .with("ServerTime", Moment::at(server).iso)
    .with("MaxAllowedSkewMilliseconds", MAX_SKEW.as_millis().to_string())
    .header(DATE, http_date(server))
}
