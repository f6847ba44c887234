//! Why a request to the store failed, as facts: never decided from text.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use http::{HeaderMap, StatusCode, header};
use object_store::client::{HttpError, HttpErrorKind};

use super::xml::{self, Tag};
use crate::error::{Error, ErrorKind};

/// A failed request.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) kind: FailureKind,
    pub(crate) status: Option<StatusCode>,
    /// S3's error code, such as `NoSuchKey`.
    pub(crate) code: Option<String>,
    /// Whether the answer broke off before a code of it was there: another attempt may tell it.
    pub(crate) lost_code: bool,
    pub(crate) message: String,
    pub(crate) request_id: Option<String>,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) source: Option<Arc<dyn StdError + Send + Sync>>,
}

/// Those of headers and of presigned URLs.
fn hide_signatures(text: &mut String) {
    const SIGNATURE: &str = "Signature=";
    let mut from = 0;
    while let Some(at) = text[from..].find(SIGNATURE) {
        let start = from + at + SIGNATURE.len();
        let length = text[start..].bytes().take_while(u8::is_ascii_hexdigit).count();
        text.replace_range(start..start + length, HIDDEN);
        from = start + HIDDEN.len();
    }
}

/// In place of a secret.
const HIDDEN: &str = "[hidden]";

/// Where a request failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// The server answered with an error.
    Answer,
    /// No connection was made, or none in time.
    Connect,
    /// Nothing moved for longer than the idle timeout.
    Timeout,
    /// The connection ended before the answer did.
    Interrupted,
    /// The answer is not what S3 answers.
    Malformed,
    /// No credentials could be had.
    Credentials,
    /// The request cannot be sent as it is.
    Request,
    /// The request would carry a secret in plain text.
    Insecure,
}

/// How a failure may be retried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retryability {
    /// The same request fails again.
    Permanent,
    /// Nothing answered at the address.
    Unreachable,
    Transient,
    /// The server asks for fewer requests.
    Throttled,
}

impl Failure {
    pub(crate) fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            status: None,
            code: None,
            lost_code: false,
            message: message.into(),
            request_id: None,
            retry_after: None,
            source: None,
        }
    }

    pub(crate) fn with_source(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// One that may pass, and why it is the last nevertheless.
    pub(crate) fn not_retried(mut self, reason: &str) -> Self {
        self.message = format!("{}; {reason}", self.message);
        self
    }

    /// As the error type of `object_store`'s HTTP seam, out of which [`from_store`](Self::from_store) takes it again.
    pub(super) fn into_http(self) -> HttpError {
        HttpError::new(HttpErrorKind::Unknown, self)
    }

    /// The failure that the wire put into an error of `object_store`.
    pub(super) fn from_store(error: object_store::Error) -> Self {
        Self::within(&error)
            .unwrap_or_else(|| Self::new(FailureKind::Malformed, "the answer cannot be used").with_source(error))
    }

    pub(super) fn from_http(error: HttpError) -> Self {
        Self::within(&error)
            .unwrap_or_else(|| Self::new(FailureKind::Interrupted, "the answer was cut off").with_source(error))
    }

    /// The error answer that `error` comes from, if it does.
    pub(super) fn answered(error: &object_store::Error) -> Option<Self> {
        Self::within(error).filter(|failure| failure.kind == FailureKind::Answer)
    }

    fn within(error: &(dyn StdError + 'static)) -> Option<Self> {
        let mut cause = Some(error);
        while let Some(current) = cause {
            if let Some(failure) = current.downcast_ref::<Self>() {
                return Some(failure.clone());
            }
            cause = current.source();
        }
        None
    }

    /// From an error answer: its status, headers and (when it has one) XML body.
    pub(super) fn from_answer(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        let document = ErrorDocument::parse(body).unwrap_or_default();
        let message =
            document.message.unwrap_or_else(|| status.canonical_reason().unwrap_or("error answer").to_owned());
        Self {
            kind: FailureKind::Answer,
            status: Some(status),
            code: document.code,
            lost_code: false,
            message,
            request_id: request_id(headers).map(str::to_owned).or(document.request_id),
            retry_after: retry_after(headers),
            source: None,
        }
    }

    /// Takes out what the server has no business to show again: these secrets, and signatures. A proxy, or a server that helps to
    /// find out what is wrong with a request, may tell its headers.
    pub(super) fn hide<'a>(&mut self, secrets: impl Iterator<Item = &'a str>) {
        let secrets: Vec<&str> = secrets.filter(|secret| !secret.is_empty()).collect();
        for text in [Some(&mut self.message), self.code.as_mut(), self.request_id.as_mut()].into_iter().flatten() {
            for secret in &secrets {
                if text.contains(secret) {
                    *text = text.replace(secret, HIDDEN);
                }
            }
            hide_signatures(text);
        }
    }

    /// From a part of an answer with these headers, such as one key's in that to DeleteObjects.
    pub(super) fn from_part(headers: &HeaderMap, message: String) -> Self {
        let whole = Self::from_answer(StatusCode::OK, headers, &[]);
        Self { status: None, message, ..whole }
    }

    /// From a success status whose body is an `<Error>` document, as CompleteMultipartUpload and CopyObject may answer.
    pub(super) fn from_error_in_success(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Option<Self> {
        ErrorDocument::parse(body)?;
        Some(Self::from_answer(status, headers, body))
    }

    pub(super) fn is_code(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }

    pub(super) fn has_status(&self, status: StatusCode) -> bool {
        self.status == Some(status)
    }

    /// Whether a condition of the request does not hold: HTTP 412, or found out after a 200 was on its way.
    pub(crate) fn is_precondition_failed(&self) -> bool {
        self.has_status(StatusCode::PRECONDITION_FAILED) || self.is_code("PreconditionFailed")
    }

    /// Whether another write was going on at the same key.
    pub(crate) fn is_conflict(&self) -> bool {
        self.has_status(StatusCode::CONFLICT) || self.is_code("ConditionalRequestConflict")
    }

    pub(crate) fn is_no_such_upload(&self) -> bool {
        self.is_code("NoSuchUpload")
    }

    /// Whether the server may have done what it was asked nevertheless.
    pub(crate) fn may_be_carried_out(&self) -> bool {
        match self.kind {
            FailureKind::Connect | FailureKind::Credentials | FailureKind::Request | FailureKind::Insecure => false,
            FailureKind::Timeout | FailureKind::Interrupted | FailureKind::Malformed => true,
            FailureKind::Answer => {
                self.retryability() == Retryability::Transient
                    && self.status.is_some_and(|status| status.is_server_error() || status.is_success())
            }
        }
    }

    /// Decided from the kind, the S3 code and the status, in this order.
    pub(crate) fn retryability(&self) -> Retryability {
        match self.kind {
            FailureKind::Connect => return Retryability::Unreachable,
            FailureKind::Timeout | FailureKind::Interrupted => return Retryability::Transient,
            FailureKind::Malformed | FailureKind::Credentials | FailureKind::Request | FailureKind::Insecure => {
                return Retryability::Permanent;
            }
            FailureKind::Answer => {}
        }
        // These two stand for too much: an object or its bucket that is missing, a wrong request or a late one.
        if self.lost_code && matches!(self.status, Some(StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND)) {
            return Retryability::Transient;
        }
        let by_code = self.code.as_deref().and_then(Retryability::of_code);
        by_code.unwrap_or_else(|| self.status.map_or(Retryability::Permanent, Retryability::of_status))
    }
}

impl Retryability {
    /// What an S3 code says, whatever the status: it comes with 400, 409, 500, 503, and within a 200. S3's, and those that
    /// AWS's SDKs and Metaflow take for throttling and transient beside them.
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>
    fn of_code(code: &str) -> Option<Self> {
        match code {
            "SlowDown"
            | "ServiceUnavailable"
            | "Throttling"
            | "ThrottlingException"
            | "ThrottledException"
            | "RequestLimitExceeded"
            | "RequestThrottled"
            | "RequestThrottledException"
            | "BandwidthLimitExceeded"
            | "TooManyRequests"
            | "TooManyRequestsException" => Some(Self::Throttled),
            "RequestTimeout"
            | "RequestTimeoutException"
            | "PriorRequestNotComplete"
            | "InternalError"
            | "ConditionalRequestConflict"
            | "OperationAborted"
            // What came is not what was sent.
            | "BadDigest"
            | "XAmzContentChecksumMismatch"
            | "XAmzContentSHA256Mismatch" => Some(Self::Transient),
            _ => None,
        }
    }

    fn of_status(status: StatusCode) -> Self {
        match status.as_u16() {
            429 | 503 => Self::Throttled,
            // What the server does not know, it will not know the next time.
            501 | 505 => Self::Permanent,
            408 | 500..=599 => Self::Transient,
            _ => Self::Permanent,
        }
    }
}

impl Failure {
    /// As the user sees it, when it ended the last of `attempts`.
    pub(crate) fn into_error(self, attempts: u32) -> Error {
        let sent = !matches!(self.kind, FailureKind::Request | FailureKind::Credentials | FailureKind::Insecure);
        let attempts = if sent { attempts } else { attempts.saturating_sub(1) };
        let retryable = self.retryability() != Retryability::Permanent;
        let error = Error::new(self.error_kind(), self.message)
            .with_answer(self.status.map(|status| status.as_u16()), self.code, self.request_id)
            .with_attempts(attempts)
            .with_retryable(retryable);
        match self.source {
            Some(source) => error.with_source(source),
            None => error,
        }
    }

    fn error_kind(&self) -> ErrorKind {
        match self.kind {
            FailureKind::Connect | FailureKind::Interrupted => return ErrorKind::Network,
            FailureKind::Timeout => return ErrorKind::Timeout,
            FailureKind::Malformed => return ErrorKind::Unsupported,
            FailureKind::Credentials | FailureKind::Insecure => return ErrorKind::Config,
            FailureKind::Request => return ErrorKind::InvalidObject,
            FailureKind::Answer => {}
        }
        match self.code.as_deref() {
            Some("NoSuchBucket") => return ErrorKind::NoSuchBucket,
            // One key's in the answer to DeleteObjects has no status.
            Some("AccessDenied") => return ErrorKind::AccessDenied,
            // HTTP 400, all of them.
            Some("ExpiredToken" | "InvalidToken" | "TokenRefreshRequired") => return ErrorKind::AccessDenied,
            Some("InvalidBucketName") => return ErrorKind::InvalidUrl,
            Some("KeyTooLongError") => return ErrorKind::InvalidUrl,
            Some("MetadataTooLarge" | "EntityTooLarge" | "InvalidObjectState") => return ErrorKind::InvalidObject,
            Some("NotImplemented") => return ErrorKind::Unsupported,
            Some("BadDigest" | "XAmzContentChecksumMismatch" | "XAmzContentSHA256Mismatch") => {
                return ErrorKind::Integrity;
            }
            Some("PreconditionFailed") => return ErrorKind::Changed,
            // HTTP 404, and no word about the object.
            Some("NoSuchUpload") => return ErrorKind::Other,
            _ => {}
        }
        match (self.retryability(), self.status.map_or(0, |status| status.as_u16())) {
            (Retryability::Throttled, _) => ErrorKind::Throttled,
            (_, 401 | 403) => ErrorKind::AccessDenied,
            (_, 404) => ErrorKind::NotFound,
            (_, 412) => ErrorKind::Changed,
            (_, 416) => ErrorKind::InvalidRange,
            (_, 501) => ErrorKind::Unsupported,
            _ => ErrorKind::Other,
        }
    }
}

pub(super) fn request_id(headers: &HeaderMap) -> Option<&str> {
    headers.get("x-amz-request-id").and_then(|value| value.to_str().ok())
}

/// What `Retry-After` asks for: seconds, or a date, which is one of the server's clock.
/// <https://www.rfc-editor.org/rfc/rfc9110.html#section-10.2.3>
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let asked = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = asked.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = DateTime::parse_from_rfc2822(asked).ok()?.to_utc();
    let now = date(headers).unwrap_or_else(Utc::now);
    // What is over need not be waited for.
    Some((until - now).to_std().unwrap_or_default())
}

/// When the server answered, by its own clock.
pub(super) fn date(headers: &HeaderMap) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc2822(headers.get(header::DATE)?.to_str().ok()?).ok().map(|date| date.to_utc())
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Failure {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// S3's `<Error>` document.
#[derive(Default)]
struct ErrorDocument {
    code: Option<String>,
    message: Option<String>,
    request_id: Option<String>,
}

impl ErrorDocument {
    /// `None` when the root is not `<Error>`. What is cut off in the middle gives what came before.
    fn parse(body: &[u8]) -> Option<Self> {
        let mut document = None::<Self>;
        let whole = xml::read(body, |depth, tag| {
            match (depth, tag, &mut document) {
                (_, Tag::Close(_, text), _) if text.is_empty() => {}
                (0, Tag::Open(b"Error"), _) => document = Some(Self::default()),
                (0, Tag::Open(_), _) => return Err("a document that is not an error"),
                (1, Tag::Close(b"Code", text), Some(document)) => document.code = Some(text.into_owned()),
                (1, Tag::Close(b"Message", text), Some(document)) => document.message = Some(text.into_owned()),
                (1, Tag::Close(b"RequestId", text), Some(document)) => document.request_id = Some(text.into_owned()),
                _ => {}
            }
            Ok(())
        });
        if let Err(problem) = whole {
            tracing::trace!(problem, "an error answer has no whole error document");
        }
        document
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Failure {
        Failure::from_answer(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), body.as_bytes())
    }

    #[test]
    fn an_error_document_gives_code_message_and_request_id() {
        let failure = answer(
            403,
            "<?xml version=\"1.0\"?>\n<Error><Code>AccessDenied</Code><Message>no &amp; never</Message>\
             <RequestId>R1</RequestId><HostId>h</HostId></Error>",
        );
        assert_eq!(failure.code.as_deref(), Some("AccessDenied"));
        assert_eq!(failure.message, "no & never");
        assert_eq!(failure.request_id.as_deref(), Some("R1"));
    }

    #[test]
    fn html_and_nothing_give_the_status_alone() {
        for body in ["", "<html><body>Bad Gateway</body></html>", "oops", "<Error"] {
            let failure = answer(502, body);
            assert_eq!(failure.code, None, "{body}");
            assert_eq!(failure.message, "Bad Gateway");
            assert_eq!(failure.retryability(), Retryability::Transient);
        }
    }

    #[test]
    fn only_what_is_directly_within_the_error_is_its_own() {
        let failure = answer(403, "<Error><Code>AccessDenied</Code><Policy><Code>P1</Code></Policy></Error>");
        assert_eq!(failure.code.as_deref(), Some("AccessDenied"));
    }

    #[test]
    fn an_empty_code_or_message_is_none() {
        let failure = answer(403, "<Error><Code/><Message></Message><RequestId/></Error>");
        assert_eq!((failure.code, failure.request_id), (None, None));
        assert_eq!(failure.message, "Forbidden");
    }

    #[test]
    fn the_code_decides_before_the_status() {
        let code = |status, code: &str| answer(status, &format!("<Error><Code>{code}</Code></Error>")).retryability();
        assert_eq!(code(400, "RequestTimeout"), Retryability::Transient);
        assert_eq!(code(400, "InvalidArgument"), Retryability::Permanent);
        assert_eq!(code(200, "InternalError"), Retryability::Transient);
        assert_eq!(code(200, "SlowDown"), Retryability::Throttled);
        assert_eq!(code(409, "ConditionalRequestConflict"), Retryability::Transient);
        assert_eq!(code(409, "BucketNotEmpty"), Retryability::Permanent);
        assert_eq!(code(403, "SignatureDoesNotMatch"), Retryability::Permanent);
        assert_eq!(code(416, "InvalidRange"), Retryability::Permanent);
    }

    #[test]
    fn a_5xx_may_pass_but_for_what_the_server_does_not_know() {
        // 520 to 530 come from content delivery networks before an S3 service.
        for status in [500, 502, 504, 507, 520, 522, 524, 529] {
            assert_eq!(answer(status, "").retryability(), Retryability::Transient, "{status}");
        }
        for status in [501, 505] {
            assert_eq!(answer(status, "").retryability(), Retryability::Permanent, "{status}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_of_the_servers_clock() {
        let asked = |retry_after: &'static str| {
            let headers = HeaderMap::from_iter([
                (header::RETRY_AFTER, http::HeaderValue::from_static(retry_after)),
                // Not the time of this machine.
                (header::DATE, http::HeaderValue::from_static("Wed, 21 Oct 2015 07:28:00 GMT")),
            ]);
            Failure::from_answer(StatusCode::SERVICE_UNAVAILABLE, &headers, b"").retry_after
        };
        assert_eq!(asked("120"), Some(Duration::from_secs(120)));
        assert_eq!(asked("Wed, 21 Oct 2015 07:30:05 GMT"), Some(Duration::from_secs(125)));
        assert_eq!(asked("Wed, 21 Oct 2015 07:00:00 GMT"), Some(Duration::ZERO));
        for nonsense in ["-1", "soon", "1.5"] {
            assert_eq!(asked(nonsense), None, "{nonsense}");
        }
        let headers = HeaderMap::from_iter([(
            header::RETRY_AFTER,
            http::HeaderValue::from_str(&(Utc::now() + Duration::from_secs(100)).to_rfc2822()).unwrap(),
        )]);
        let asked = Failure::from_answer(StatusCode::SERVICE_UNAVAILABLE, &headers, b"").retry_after.unwrap();
        assert!((95..=100).contains(&asked.as_secs()), "{asked:?}");
    }

    #[test]
    fn an_error_within_a_success_is_found_and_a_result_is_not_taken_for_one() {
        let found =
            |body: &str| Failure::from_error_in_success(StatusCode::OK, &HeaderMap::new(), body.as_bytes()).is_some();
        assert!(found("<Error><Code>InternalError</Code></Error>"));
        assert!(found("   \n <?xml version=\"1.0\"?><Error><Code>SlowDown</Code>"));
        assert!(!found("<CopyObjectResult><ETag>e</ETag></CopyObjectResult>"));
        assert!(!found(""));
    }
}
