//! The one error of the library.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use crate::observe::{Report, Reported};

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation failed, with what a person needs to act on it.
///
/// It is one word wide. [`kind`](Self::kind) is what code branches on; the other facts are there when they are known: the
/// operation, the URL, the HTTP status, S3's code and request id, the number of attempts. What lies below is in
/// [`source`](StdError::source). No text of it shows a secret.
///
/// ```
/// # async fn example(s3: s3flow::S3) -> s3flow::Result<()> {
/// match s3.get("settings.json").await {
///     Ok(object) => println!("{} bytes", object.size().unwrap_or(0)),
///     Err(error) if error.is_not_found() => println!("no settings yet"),
///     Err(error) => return Err(error),
/// }
/// # Ok(())
/// # }
/// ```
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    message: String,
    operation: Option<&'static str>,
    url: Option<String>,
    status: Option<u16>,
    code: Option<String>,
    request_id: Option<String>,
    attempts: u32,
    index: Option<usize>,
    retryable: bool,
    outcome_unknown: bool,
    /// By the operation's own timeout.
    timed_out: bool,
    /// Of [`ErrorKind::Changed`].
    expected_etag: Option<String>,
    found_etag: Option<String>,
    reported: Reported,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

/// What went wrong, in the categories that code can act on.
///
/// The first six are Metaflow's exceptions (`MetaflowS3NotFound` and so on).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The object does not exist.
    NotFound,
    /// The credentials are not allowed to do this, or the server does not accept them.
    AccessDenied,
    /// The range is empty or lies outside of the object.
    InvalidRange,
    /// A key, a prefix or an `s3root` is not an address.
    InvalidUrl,
    /// What is to be stored cannot be stored as it is, or what was fetched is not what it is taken for.
    InvalidObject,
    /// The disk under `tmproot`, or that of a file that is persisted, is full, or its quota is used up.
    InsufficientDiskSpace,
    /// The bucket does not exist.
    NoSuchBucket,
    /// The server asked for fewer requests until the attempts were used up.
    Throttled,
    /// Nothing moved for longer than the idle timeout, on every attempt; or an operation took longer than its
    /// [timeout](crate::S3::with_timeout); or of a close, cleanups took longer than it waits.
    Timeout,
    /// The server could not be reached, or connections to it broke, on every attempt.
    Network,
    /// The object is not that of `if_match`, or was replaced while it was read, or since it was listed; or a file changed while it was
    /// uploaded. Of an object, [`Error::expected_etag`] and [`Error::found_etag`] tell which it was and is.
    Changed,
    /// Bytes are not those that were sent or stored: their checksum is another.
    Integrity,
    /// The scope was closed.
    Closed,
    /// A journal cannot be used: it is in use, of another job, or damaged. The [source](StdError::source) is a
    /// [`JournalProblem`](crate::JournalProblem).
    Journal,
    /// A local file could not be made, read, written or moved.
    Io,
    /// A setting, an environment variable or the credentials cannot be used.
    Config,
    /// The server does not know what is asked of it, or its answer is not one of S3.
    Unsupported,
    /// Anything else, such as an `InternalError` that stayed, which [`Error::code`] names, or an error of the caller's own
    /// ([`Error::other`]).
    Other,
}

impl fmt::Display for ErrorKind {
    /// Its name, as a label of a metric wants it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl Error {
    /// An error of your own, of [`ErrorKind::Other`] and with `source` as its [source](StdError::source): for the streams that
    /// are given to [`get_from`](crate::S3::get_from) and the like.
    ///
    /// ```
    /// # use futures::{Stream, StreamExt};
    /// # #[derive(Debug)] struct DatabaseError;
    /// # impl std::fmt::Display for DatabaseError {
    /// #     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str("connection lost") }
    /// # }
    /// # impl std::error::Error for DatabaseError {}
    /// # async fn example(
    /// #     s3: s3flow::S3,
    /// #     rows: impl Stream<Item = Result<String, DatabaseError>> + Send + 'static,
    /// # ) -> s3flow::Result<()> {
    /// use futures::TryStreamExt;
    ///
    /// // `rows` is a stream of `Result<String, DatabaseError>`.
    /// let mut objects = s3.get_from(rows.map_err(s3flow::Error::other));
    /// while let Some(object) = objects.try_next().await? {
    ///     println!("{}", object.url());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn other(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::new(ErrorKind::Other, "the caller's own error").with_source(source)
    }

    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            operation: None,
            url: None,
            status: None,
            code: None,
            request_id: None,
            attempts: 0,
            index: None,
            retryable: false,
            outcome_unknown: false,
            timed_out: false,
            expected_etag: None,
            found_etag: None,
            reported: Reported::default(),
            source: None,
        }))
    }

    pub(crate) fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(Arc::from(source.into()));
        self
    }

    pub(crate) fn with_operation(mut self, operation: &'static str, url: Option<String>) -> Self {
        self.0.operation = Some(operation);
        self.0.url = url;
        self
    }

    pub(crate) fn with_answer(mut self, status: Option<u16>, code: Option<String>, request_id: Option<String>) -> Self {
        self.0.status = status;
        self.0.code = code;
        self.0.request_id = request_id;
        self
    }

    pub(crate) fn with_attempts(mut self, attempts: u32) -> Self {
        self.0.attempts = attempts;
        self
    }

    pub(crate) fn with_retryable(mut self, retryable: bool) -> Self {
        self.0.retryable = retryable;
        self
    }

    /// Of an operation that its timeout has ended.
    pub(crate) fn timed_out(limit: std::time::Duration) -> Self {
        let mut error = Self::new(ErrorKind::Timeout, format!("the operation's timeout of {limit:?} is over"));
        error.0.timed_out = true;
        error
    }

    pub(crate) fn is_timed_out(&self) -> bool {
        self.0.timed_out
    }

    pub(crate) fn with_outcome_unknown(mut self, unknown: bool) -> Self {
        self.0.outcome_unknown = unknown;
        self
    }

    /// Of an object that is not the one that it should be.
    pub(crate) fn with_etags(mut self, expected: Option<&str>, found: Option<String>) -> Self {
        self.0.expected_etag = expected.map(str::to_owned);
        self.0.found_etag = found;
        self
    }

    pub(crate) fn with_report(mut self, reported: Reported) -> Self {
        self.0.reported = reported;
        self
    }

    pub(crate) fn with_index(mut self, index: usize) -> Self {
        self.0.index = Some(index);
        self
    }

    /// The same for another input that it befell.
    pub(crate) fn duplicate(&self) -> Self {
        Self(self.0.clone())
    }

    /// The category.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the object does not exist. A missing bucket is [`ErrorKind::NoSuchBucket`].
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.kind() == ErrorKind::NotFound
    }

    /// Whether the credentials do not suffice.
    #[must_use]
    pub fn is_access_denied(&self) -> bool {
        self.kind() == ErrorKind::AccessDenied
    }

    /// Whether a value was longer than the limit that it had: see [`PutValue::stream_up_to`](crate::PutValue::stream_up_to).
    #[must_use]
    pub fn is_too_long(&self) -> bool {
        self.source().is_some_and(|source| source.is::<crate::request::TooLong>())
    }

    /// Whether the same call may succeed later: the failure was one of the network or of the server, and the attempts, the
    /// deadline or the retry budget of this call were used up.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.0.retryable
    }

    /// Whether the server may have carried out this write nevertheless, or may yet: an answer was lost on the way, or the scope
    /// was closed meanwhile, and a look at the object has not shown what became of it. Never so of what only reads.
    ///
    /// When it is false, nothing of this write is there.
    ///
    /// ```
    /// # async fn example(s3: s3flow::S3) -> s3flow::Result<()> {
    /// match s3.put("order/1234", "paid").overwrite(false).await {
    ///     Ok(receipt) => println!("{:?}", receipt.outcome()),
    ///     Err(error) if error.is_outcome_unknown() => println!("look before it is done again: {error}"),
    ///     Err(error) => return Err(error),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn is_outcome_unknown(&self) -> bool {
        self.0.outcome_unknown
    }

    /// The method that failed, such as `"get"`.
    #[must_use]
    pub fn operation(&self) -> Option<&str> {
        self.0.operation
    }

    /// The object, directory or bucket, as an `s3://` URL.
    #[must_use]
    pub fn url(&self) -> Option<&str> {
        self.0.url.as_deref()
    }

    /// The HTTP status of the answer, if there was one.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.0.status
    }

    /// S3's error code, such as `"SlowDown"`. A HEAD request has none.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        self.0.code.as_deref()
    }

    /// S3's id of the request, which its support asks for.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        self.0.request_id.as_deref()
    }

    /// How many times the request that failed was sent; 0 when the call failed before it.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }

    /// Of an [`ErrorKind::Changed`] of an object: the ETag that it should have, in its quotes.
    #[must_use]
    pub fn expected_etag(&self) -> Option<&str> {
        self.0.expected_etag.as_deref()
    }

    /// Of an [`ErrorKind::Changed`] of an object: the ETag that was there instead, in its quotes. S3's refusal does not tell it, so it
    /// is asked for then; `None` when that fails, and when there was no object any more.
    ///
    /// ```
    /// # async fn example(s3: s3flow::S3, etag: String) -> s3flow::Result<()> {
    /// use s3flow::ErrorKind;
    ///
    /// match s3.get("model.bin").if_match(etag).await {
    ///     Err(error) if error.kind() == ErrorKind::Changed => {
    ///         println!("{:?} was replaced by {:?}", error.expected_etag(), error.found_etag());
    ///     }
    ///     object => println!("{} bytes", object?.size().unwrap_or(0)),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn found_etag(&self) -> Option<&str> {
        self.0.found_etag.as_deref()
    }

    /// What the operation took until then; `None` of one that failed before it began.
    #[must_use]
    pub fn report(&self) -> Option<Report> {
        self.0.reported.report()
    }

    /// Which input of a many-operation this belongs to, counted from 0; of a chain of them, an input of the last.
    #[must_use]
    pub fn index(&self) -> Option<usize> {
        self.0.index
    }
}

impl Error {
    pub(crate) fn io_kind(&self) -> std::io::ErrorKind {
        use std::io::ErrorKind as Io;
        match self.kind() {
            ErrorKind::NotFound | ErrorKind::NoSuchBucket => Io::NotFound,
            ErrorKind::AccessDenied => Io::PermissionDenied,
            ErrorKind::InvalidRange | ErrorKind::InvalidUrl | ErrorKind::InvalidObject | ErrorKind::Config => {
                Io::InvalidInput
            }
            ErrorKind::InsufficientDiskSpace => Io::StorageFull,
            ErrorKind::Timeout => Io::TimedOut,
            ErrorKind::Network => Io::ConnectionAborted,
            ErrorKind::Integrity | ErrorKind::Journal => Io::InvalidData,
            ErrorKind::Unsupported => Io::Unsupported,
            ErrorKind::Throttled | ErrorKind::Changed | ErrorKind::Closed | ErrorKind::Io | ErrorKind::Other => {
                Io::Other
            }
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        match (inner.operation, &inner.url) {
            (Some(operation), Some(url)) => write!(f, "{operation} {url}: ")?,
            (Some(operation), None) => write!(f, "{operation}: ")?,
            (None, _) => {}
        }
        f.write_str(&inner.message)?;

        let mut facts = Vec::new();
        match (&inner.code, inner.status) {
            (Some(code), Some(status)) => facts.push(format!("{code}, HTTP {status}")),
            (Some(code), None) => facts.push(code.clone()),
            (None, Some(status)) => facts.push(format!("HTTP {status}")),
            (None, None) => {}
        }
        if let Some(request_id) = &inner.request_id {
            facts.push(format!("request id {request_id}"));
        }
        if inner.attempts > 1 {
            facts.push(format!("{} attempts", inner.attempts));
        }
        if let (Some(expected), Some(found)) = (&inner.expected_etag, &inner.found_etag) {
            facts.push(format!("ETag {found} in place of {expected}"));
        }
        if let Some(index) = inner.index {
            facts.push(format!("input {index}"));
        }
        if inner.outcome_unknown {
            facts.push("it may have been carried out".to_owned());
        }
        if facts.is_empty() { Ok(()) } else { write!(f, " ({})", facts.join("; ")) }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner {
            kind,
            message,
            operation,
            url,
            status,
            code,
            request_id,
            attempts,
            index,
            retryable,
            outcome_unknown,
            timed_out: _,
            expected_etag,
            found_etag,
            reported: _,
            source,
        } = &*self.0;
        f.debug_struct("Error")
            .field("kind", kind)
            .field("message", message)
            .field("operation", operation)
            .field("url", url)
            .field("status", status)
            .field("code", code)
            .field("request_id", request_id)
            .field("attempts", attempts)
            .field("index", index)
            .field("retryable", retryable)
            .field("outcome_unknown", outcome_unknown)
            .field("expected_etag", expected_etag)
            .field("found_etag", found_etag)
            .field("source", source)
            .finish()
    }
}

impl From<Error> for std::io::Error {
    /// With the error inside, where [`get_ref`](std::io::Error::get_ref) finds it.
    fn from(error: Error) -> Self {
        Self::new(error.io_kind(), error)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_word_wide() {
        assert_eq!(size_of::<Error>(), size_of::<usize>());
        assert_eq!(size_of::<Result<()>>(), size_of::<usize>());
    }

    #[test]
    fn display_tells_the_facts_and_leaves_the_cause_to_source() {
        let error = Error::new(ErrorKind::AccessDenied, "not allowed")
            .with_operation("get", Some("s3://b/k".into()))
            .with_answer(Some(403), Some("AccessDenied".into()), Some("R1".into()))
            .with_attempts(2)
            .with_source(std::io::Error::other("cause"));
        assert_eq!(error.to_string(), "get s3://b/k: not allowed (AccessDenied, HTTP 403; request id R1; 2 attempts)");
        assert_eq!(error.source().map(ToString::to_string).as_deref(), Some("cause"));
        let error = error.with_index(7);
        assert!(error.to_string().ends_with("; 2 attempts; input 7)"));
        let error = error.with_outcome_unknown(true).to_string();
        assert!(error.ends_with("; input 7; it may have been carried out)"), "{error}");
        let changed = Error::new(ErrorKind::Changed, "changed").with_etags(Some("\"a\""), Some("\"b\"".into()));
        assert_eq!(changed.with_index(1).to_string(), "changed (ETag \"b\" in place of \"a\"; input 1)");
        assert_eq!(Error::new(ErrorKind::Config, "no").to_string(), "no");
    }
}
