//! Answers in place of the server's.

use std::time::SystemTime;

use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, LOCATION};

use super::action::Action;
use crate::testing::answer::{Answer, Failure};
use crate::testing::call::Call;
use crate::testing::clock::{offset, too_skewed};

/// An answer in place of the server's.
#[derive(Debug, Clone)]
pub(super) enum Canned {
    Status { status: StatusCode, code: String },
    ErrorIn200 { code: String },
    ClockSkew { seconds: i64 },
    Html { status: StatusCode },
    Redirect { status: StatusCode, location: Option<String>, region: Option<String> },
}

impl Canned {
    pub(super) fn answer(&self, call: &Call, now: SystemTime) -> Answer {
        match self {
            Self::Status { status, code } => failure(*status, code).into_answer(call),
            Self::ErrorIn200 { code } => failure(StatusCode::OK, code).into_answer(call),
            Self::ClockSkew { seconds } => too_skewed(offset(now, *seconds)).into_answer(call),
            Self::Html { status } => {
                let page = format!("<html><head><title>{status}</title></head><body><h1>{status}</h1></body></html>\n");
                let mut answer = Answer { body: page.into(), ..Answer::new(*status) };
                answer.headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
                answer
            }
            Self::Redirect { status, location, region } => {
                redirect(*status, location.as_deref(), region.as_deref(), call)
            }
        }
    }
}

impl Action {
    /// The code of the failure that it answers with for one key of many.
    pub(super) fn key_failure(&self) -> Option<Failure> {
        match self {
            Self::Answer(Canned::Status { status, code }) => Some(failure(*status, code)),
            _ => None,
        }
    }
}

fn failure(status: StatusCode, code: &str) -> Failure {
    Failure::new(status, code.to_owned(), message(code))
}

fn redirect(status: StatusCode, location: Option<&str>, region: Option<&str>, call: &Call) -> Answer {
    let (code, message) = if status == StatusCode::MOVED_PERMANENTLY {
        (
            "PermanentRedirect",
            "The bucket you are attempting to access must be addressed using the specified endpoint. Please send all future requests to this endpoint.",
        )
    } else {
        (
            "TemporaryRedirect",
            "Please re-send this request to the specified temporary endpoint. Continue to use the original request endpoint for future requests.",
        )
    };
    let mut failure = Failure::new(status, code, message);
    if let Some(location) = location {
        let host = location.split_once("://").map_or(location, |(_, host)| host);
        failure = failure.with("Endpoint", host.trim_end_matches('/')).with("Bucket", call.bucket());
        let target = format!("{}{}", location.trim_end_matches('/'), call.path_and_query());
        if let Ok(target) = HeaderValue::from_str(&target) {
            failure = failure.header(LOCATION, target);
        }
    }
    if let Some(region) = region.and_then(|region| HeaderValue::from_str(region).ok()) {
        failure = failure.header(HeaderName::from_static("x-amz-bucket-region"), region);
    }
    failure.into_answer(call)
}

fn message(code: &str) -> &'static str {
    match code {
        "SlowDown" => "Please reduce your request rate.",
        "InternalError" => "We encountered an internal error. Please try again.",
        "ServiceUnavailable" => "Service is unable to handle request.",
        "RequestTimeout" => {
            "Your socket connection to the server was not read from or written to within the timeout period."
        }
        "ExpiredToken" => "The provided token has expired.",
        "AccessDenied" => "Access Denied",
        "PreconditionFailed" => "At least one of the pre-conditions you specified did not hold",
        "OperationAborted" => {
            "A conflicting conditional operation is currently in progress against this resource. Please try again."
        }
        "ConditionalRequestConflict" => {
            "The conditional request cannot succeed due to a conflicting operation against this resource."
        }
        _ => "This failure was injected by a test.",
    }
}
