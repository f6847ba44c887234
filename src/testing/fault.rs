use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use http::StatusCode;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, RETRY_AFTER};

use super::answer::{Answer, Failure};
use super::call::Call;
use super::operation::Operation;
use super::sync::lock;

/// Something that goes wrong at a chosen call.
///
/// A fault says what happens, and its setters say to which calls: those of an
/// [operation](Fault::operation) and of a [key](Fault::key), from the [n-th such call](Fault::on_call)
/// on, a [number of times](Fault::times). Without any setter it happens once, to the next request of
/// any kind. Nothing is left to chance.
///
/// Every injected fault counts every call that it matches, from the moment it is injected. When several
/// bite at the same call, the one injected first decides what happens to it, and the header changes of all of them
/// apply.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
/// use s3flow::testing::{Fault, Operation, S3Server};
///
/// let server = S3Server::start().await?;
/// // The second and third GET of `a` are told to slow down.
/// server.inject(
///     Fault::status(503, "SlowDown")
///         .retry_after(1)
///         .operation(Operation::GetObject)
///         .key("a")
///         .on_call(2)
///         .times(2),
/// );
/// // Every object arrives without its ETag.
/// server.inject(Fault::without_header("ETag").operation(Operation::GetObject).times(usize::MAX));
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
#[must_use = "a fault does nothing until it is given to `S3Server::inject`"]
pub struct Fault {
    action: Action,
    /// `None` removes the header.
    headers: Vec<(HeaderName, Option<HeaderValue>)>,
    operation: Option<Operation>,
    key: Option<String>,
    on_call: usize,
    times: usize,
}

#[derive(Debug, Clone)]
enum Action {
    /// These answer in place of the server; nothing is carried out.
    Status {
        status: StatusCode,
        code: String,
    },
    ErrorIn200 {
        code: String,
    },
    Html {
        status: StatusCode,
    },
    Redirect {
        status: StatusCode,
        location: Option<String>,
        region: Option<String>,
    },
    CloseBeforeAnswer,
    Stall,
    /// With these the request is carried out.
    LoseAnswer,
    IgnoreRange,
    CutAfter {
        bytes: u64,
        then: Cut,
    },
    /// Only the header changes.
    Headers,
}

/// What happens where a body is cut.
#[derive(Debug, Clone, Copy)]
pub(super) enum Cut {
    Close,
    Stall,
}

impl Fault {
    fn new(action: Action) -> Self {
        Self { action, headers: Vec::new(), operation: None, key: None, on_call: 1, times: 1 }
    }

    /// Answers with this HTTP status and an S3 error document with this code, `503` and `SlowDown` for
    /// example. The request is not carried out. A HEAD is answered without a document, as by S3.
    ///
    /// # Panics
    ///
    /// When `status` is not a valid HTTP status.
    pub fn status(status: u16, code: impl Into<String>) -> Self {
        Self::new(Action::Status { status: status_code(status), code: code.into() })
    }

    /// Answers `200 OK` with an error document as its body, as S3 does when CompleteMultipartUpload or
    /// CopyObject fail late. The request is not carried out.
    pub fn error_in_200(code: impl Into<String>) -> Self {
        Self::new(Action::ErrorIn200 { code: code.into() })
    }

    /// Answers with this HTTP status and an HTML page, as a proxy or load balancer in between would.
    ///
    /// # Panics
    ///
    /// When `status` is not a valid HTTP status.
    pub fn html(status: u16) -> Self {
        Self::new(Action::Html { status: status_code(status) })
    }

    /// Answers with a redirect: `PermanentRedirect` for 301, `TemporaryRedirect` for anything else.
    ///
    /// `location` is an endpoint like `http://127.0.0.1:4567`; the path and query of the request are appended to
    /// it in the `Location` header. `region` goes into `x-amz-bucket-region`. S3 may send either without the
    /// other.
    ///
    /// # Panics
    ///
    /// When `status` is not a valid HTTP status.
    pub fn redirect(status: u16, location: Option<&str>, region: Option<&str>) -> Self {
        Self::new(Action::Redirect {
            status: status_code(status),
            location: location.map(str::to_owned),
            region: region.map(str::to_owned),
        })
    }

    /// Reads the request and closes the connection. The request is not carried out.
    pub fn close_before_answer() -> Self {
        Self::new(Action::CloseBeforeAnswer)
    }

    /// Carries the request out and closes the connection instead of answering: the client cannot know that
    /// its write took place.
    pub fn lose_answer() -> Self {
        Self::new(Action::LoseAnswer)
    }

    /// Sends the real answer with the real `Content-Length`, and closes the connection after `bytes` bytes of its
    /// body. Does nothing to a body that is not longer than that.
    pub fn close_after(bytes: u64) -> Self {
        Self::new(Action::CutAfter { bytes, then: Cut::Close })
    }

    /// Reads the request and never answers, until the client goes away or the server is dropped. The request
    /// is not carried out.
    pub fn stall() -> Self {
        Self::new(Action::Stall)
    }

    /// Sends the real answer and stops after `bytes` bytes of its body, with the connection left open. Does
    /// nothing to a body that is not longer than that.
    pub fn stall_after(bytes: u64) -> Self {
        Self::new(Action::CutAfter { bytes, then: Cut::Stall })
    }

    /// Answers a ranged GET or HEAD with `200 OK` and the whole object, as HTTP allows.
    pub fn ignore_range() -> Self {
        Self::new(Action::IgnoreRange)
    }

    /// Sends the real answer without this header. Without `Content-Length`, the body is sent in
    /// chunks.
    ///
    /// # Panics
    ///
    /// When `name` is not a valid header name.
    pub fn without_header(name: &str) -> Self {
        Self::new(Action::Headers).edit(name, None)
    }

    /// Sends the real answer with this header, replacing what was there. The value may hold any bytes that HTTP
    /// can carry, those above 127 included.
    ///
    /// # Panics
    ///
    /// When `name` is not a valid header name, or `value` holds control characters.
    pub fn with_header(name: &str, value: impl AsRef<[u8]>) -> Self {
        let value = HeaderValue::from_bytes(value.as_ref()).expect("a valid header value");
        Self::new(Action::Headers).edit(name, Some(value))
    }

    /// Adds `Retry-After` with this number of seconds to the answer.
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.headers.push((RETRY_AFTER, Some(seconds.into())));
        self
    }

    /// Only requests for this operation.
    pub fn operation(mut self, operation: Operation) -> Self {
        self.operation = Some(operation);
        self
    }

    /// Only requests for this exact key, in any bucket.
    ///
    /// Each key of a DeleteObjects request counts as a call of its own, and [`status`](Self::status) makes it fail
    /// inside of the answer, with this code. Other faults do nothing to one key among many.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// From the `n`-th matching call on, counted from 1. The default is 1, the next call.
    pub fn on_call(mut self, n: usize) -> Self {
        self.on_call = n.max(1);
        self
    }

    /// For this many calls in a row; `usize::MAX` for ever. The default is 1.
    pub fn times(mut self, times: usize) -> Self {
        self.times = times;
        self
    }

    fn edit(mut self, name: &str, value: Option<HeaderValue>) -> Self {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a valid header name");
        self.headers.push((name, value));
        self
    }

    fn matches(&self, call: &Call) -> bool {
        self.operation.is_none_or(|operation| operation == call.operation)
            && self.key.as_ref().is_none_or(|key| call.key.as_ref() == Some(key))
    }

    /// Whether it is about this key of a request for many.
    fn names(&self, operation: Operation, key: &str) -> bool {
        self.operation.is_none_or(|named| named == operation) && self.key.as_deref() == Some(key)
    }
}

impl Action {
    /// The code of the failure that it answers with for one key of many.
    fn key_failure(&self) -> Option<Failure> {
        match self {
            Self::Status { status, code } => Some(Failure::new(*status, code.clone(), message(code))),
            _ => None,
        }
    }
}

fn status_code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).expect("a valid HTTP status")
}

/// The faults of a server, with their counts.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// Saves requests the lock while there are none.
    any: AtomicBool,
    rules: Mutex<Rules>,
}

#[derive(Debug, Default)]
struct Rules {
    injected: u64,
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    number: u64,
    fault: Fault,
    seen: usize,
}

impl Rule {
    /// Counts a call, and says whether the fault bites at it.
    fn count(&mut self) -> bool {
        self.seen += 1;
        (self.fault.on_call..self.end()).contains(&self.seen)
    }

    /// Whether it may bite again.
    fn is_left(&self) -> bool {
        self.seen + 1 < self.end()
    }

    fn end(&self) -> usize {
        self.fault.on_call.saturating_add(self.fault.times)
    }
}

impl Faults {
    pub(super) fn inject(&self, fault: Fault) {
        let mut rules = lock(&self.rules);
        let number = rules.injected;
        rules.injected += 1;
        rules.rules.push(Rule { number, fault, seen: 0 });
        self.any.store(true, Ordering::SeqCst);
    }

    pub(super) fn clear(&self) {
        let mut rules = lock(&self.rules);
        rules.rules.clear();
        self.any.store(false, Ordering::SeqCst);
    }

    /// Counts the call at every rule that it has not met yet, and adds what bites to `effects`.
    pub(super) fn apply(&self, call: &Call, effects: &mut Effects) {
        if !self.any.load(Ordering::SeqCst) {
            return;
        }
        let mut rules = lock(&self.rules);
        let known = std::mem::replace(&mut effects.known, rules.injected);
        rules.rules.retain_mut(|rule| {
            if rule.number < known || !rule.fault.matches(call) {
                return true;
            }
            if rule.count() {
                effects.add(&rule.fault);
            }
            rule.is_left()
        });
        self.any.store(!rules.rules.is_empty(), Ordering::SeqCst);
    }

    /// Counts one key of a request for many, at the rules that name it, and fails it when one bites.
    pub(super) fn check_key(&self, operation: Operation, key: &str) -> Result<(), Failure> {
        if !self.any.load(Ordering::SeqCst) {
            return Ok(());
        }
        let mut rules = lock(&self.rules);
        let mut failure = None;
        rules.rules.retain_mut(|rule| {
            if !rule.fault.names(operation, key) {
                return true;
            }
            if rule.count() && failure.is_none() {
                failure = rule.fault.action.key_failure();
            }
            rule.is_left()
        });
        self.any.store(!rules.rules.is_empty(), Ordering::SeqCst);
        failure.map_or(Ok(()), Err)
    }
}

/// What faults do to one request.
#[derive(Debug, Default)]
pub(super) struct Effects {
    action: Option<Action>,
    headers: Vec<(HeaderName, Option<HeaderValue>)>,
    /// Rules before this number have counted the request.
    known: u64,
}

impl Effects {
    fn add(&mut self, fault: &Fault) {
        self.headers.extend_from_slice(&fault.headers);
        if self.action.is_none() && !matches!(fault.action, Action::Headers) {
            self.action = Some(fault.action.clone());
        }
    }

    pub(super) fn closes_before_answer(&self) -> bool {
        matches!(self.action, Some(Action::CloseBeforeAnswer))
    }

    pub(super) fn loses_answer(&self) -> bool {
        matches!(self.action, Some(Action::LoseAnswer))
    }

    pub(super) fn stalls(&self) -> bool {
        matches!(self.action, Some(Action::Stall))
    }

    pub(super) fn ignores_range(&self) -> bool {
        matches!(self.action, Some(Action::IgnoreRange))
    }

    pub(super) fn cut(&self) -> Option<(u64, Cut)> {
        match self.action {
            Some(Action::CutAfter { bytes, then }) => Some((bytes, then)),
            _ => None,
        }
    }

    /// The answer in place of the server's.
    pub(super) fn answer(&self, call: &Call) -> Option<Answer> {
        let answer = match self.action.as_ref()? {
            Action::Status { status, code } => Failure::new(*status, code.clone(), message(code)).into_answer(call),
            Action::ErrorIn200 { code } => Failure::new(StatusCode::OK, code.clone(), message(code)).into_answer(call),
            Action::Html { status } => {
                let page = format!("<html><head><title>{status}</title></head><body><h1>{status}</h1></body></html>\n");
                let mut answer = Answer { body: page.into(), ..Answer::new(*status) };
                answer.headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
                answer
            }
            Action::Redirect { status, location, region } => {
                redirect(*status, location.as_deref(), region.as_deref(), call)
            }
            Action::CloseBeforeAnswer
            | Action::Stall
            | Action::LoseAnswer
            | Action::IgnoreRange
            | Action::CutAfter { .. }
            | Action::Headers => return None,
        };
        Some(answer)
    }

    /// Whether the length of the body is to be kept from the client.
    pub(super) fn hides_length(&self) -> bool {
        self.headers.iter().any(|(name, value)| *name == CONTENT_LENGTH && value.is_none())
    }

    /// Changes the headers of the answer, whoever made it.
    pub(super) fn edit(self, answer: &mut Answer) {
        for (name, value) in self.headers {
            match value {
                Some(value) => answer.headers.insert(name, value),
                None => answer.headers.remove(name),
            };
        }
    }
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
        _ => "This failure was injected by a test.",
    }
}
