//! The server's clock, by which signatures are valid: S3 accepts those of a quarter of an hour.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/RESTAuthentication.html>

use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use http::StatusCode;

use super::failure::{Failure, FailureKind};

/// How far the server's clock is ahead of ours, as far as it is known.
#[derive(Debug, Default)]
pub(super) struct Clock {
    seconds_ahead: AtomicI64,
}

/// What an answer says of the time for which its request was signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The server does not object to it.
    Fine,
    /// It may be the time that is wrong with the signature.
    Doubtful,
    Wrong,
}

/// A difference of less is not one of clocks: answers take their time too.
const LEAST_CHANGE: TimeDelta = TimeDelta::minutes(1);
/// As in AWS's SDKs, when the server does not say that it is the time.
const LEAST_DOUBTFUL: TimeDelta = TimeDelta::minutes(5);

impl Clock {
    /// How far ahead of ours a request is to be signed.
    pub(super) fn ahead(&self) -> TimeDelta {
        TimeDelta::seconds(self.seconds_ahead.load(Ordering::Relaxed))
    }

    /// From a request that was accepted so.
    pub(super) fn learn(&self, ahead: TimeDelta) {
        let seconds = ahead.num_seconds();
        let before = self.seconds_ahead.swap(seconds, Ordering::Relaxed);
        if TimeDelta::seconds(seconds - before).abs() >= LEAST_CHANGE {
            tracing::warn!(seconds, "the server's clock is ahead of the one of this machine");
        }
    }
}

impl Verdict {
    /// Of a HEAD, or when something between here and S3 answers, there is no code to tell.
    pub(super) fn of(failure: &Failure) -> Self {
        if failure.kind != FailureKind::Answer {
            return Self::Fine;
        }
        match failure.code.as_deref() {
            Some("RequestTimeTooSkewed" | "RequestExpired" | "RequestInTheFuture") => Self::Wrong,
            Some("SignatureDoesNotMatch" | "InvalidSignatureException" | "AuthFailure" | "InvalidRequest") => {
                Self::Doubtful
            }
            None if matches!(
                failure.status,
                Some(StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
            ) =>
            {
                Self::Doubtful
            }
            _ => Self::Fine,
        }
    }

    /// How far ahead to sign in place of `ahead`, when the server's `date` shows that it was that.
    pub(super) fn correction(
        self,
        ahead: TimeDelta,
        date: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> Option<TimeDelta> {
        let least = match self {
            Self::Fine => return None,
            Self::Doubtful => LEAST_DOUBTFUL,
            Self::Wrong => LEAST_CHANGE,
        };
        let shown = date? - now;
        ((shown - ahead).abs() >= least).then_some(shown)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    fn verdict(status: u16, code: &str) -> Verdict {
        let body = if code.is_empty() { String::new() } else { format!("<Error><Code>{code}</Code></Error>") };
        let status = StatusCode::from_u16(status).unwrap();
        Verdict::of(&Failure::from_answer(status, &HeaderMap::new(), body.as_bytes()))
    }

    #[test]
    fn the_code_says_whether_it_is_the_time_and_without_one_it_may_be() {
        assert_eq!(verdict(403, "RequestTimeTooSkewed"), Verdict::Wrong);
        for (status, code) in [(403, "SignatureDoesNotMatch"), (400, "InvalidRequest"), (403, ""), (400, "")] {
            assert_eq!(verdict(status, code), Verdict::Doubtful, "{status} {code}");
        }
        for (status, code) in [(403, "AccessDenied"), (400, "ExpiredToken"), (404, ""), (500, ""), (503, "SlowDown")] {
            assert_eq!(verdict(status, code), Verdict::Fine, "{status} {code}");
        }
        assert_eq!(Verdict::of(&Failure::new(FailureKind::Timeout, "")), Verdict::Fine);
    }

    #[test]
    fn a_time_is_corrected_by_what_the_server_shows() {
        let now = Utc::now();
        let (none, hour) = (TimeDelta::zero(), TimeDelta::hours(1));
        let minutes = |minutes| Some(now + TimeDelta::minutes(minutes));
        assert_eq!(Verdict::Wrong.correction(none, minutes(60), now), Some(hour));
        assert_eq!(Verdict::Wrong.correction(none, minutes(-60), now), Some(-hour));
        assert_eq!(Verdict::Wrong.correction(hour, minutes(0), now), Some(none));
        assert_eq!(Verdict::Doubtful.correction(none, minutes(5), now), Some(TimeDelta::minutes(5)));
        // Nothing to correct, or nothing that shows it.
        assert_eq!(Verdict::Wrong.correction(hour, minutes(60), now), None);
        assert_eq!(Verdict::Wrong.correction(none, None, now), None);
        assert_eq!(Verdict::Doubtful.correction(none, minutes(4), now), None);
        assert_eq!(Verdict::Fine.correction(none, minutes(60), now), None);
    }
}
