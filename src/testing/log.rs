use std::collections::VecDeque;
use std::fmt;
use std::pin::pin;
use std::sync::{Arc, Mutex};

use http::{HeaderMap, Method};
use tokio::sync::Notify;

use super::call::Call;
use super::operation::Operation;
use super::sync::lock;

/// How many requests a log keeps; older ones are forgotten first.
const CAPACITY: usize = 100_000;

/// One request that an [`S3Server`](super::S3Server) received, and what became of it.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
/// use s3flow::testing::{Operation, S3Server};
///
/// let server = S3Server::start().await?;
/// // … code under test …
/// let parts = server.log().iter().filter(|r| r.operation() == Operation::UploadPart).count();
/// assert_eq!(parts, 0);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct LoggedRequest {
    call: Arc<Call>,
    status: Option<u16>,
    finish: Option<Finish>,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Finish {
    /// The whole answer was handed to the connection. Its last few hundred KiB may still be in
    /// buffers on their way to the client.
    Sent,
    /// The client closed the connection before the whole answer was sent.
    ClientGone,
    /// A [`Fault`](super::Fault) closed the connection.
    Cut,
}

impl LoggedRequest {
    /// The HTTP method.
    pub fn method(&self) -> &Method {
        &self.call.method
    }

    /// The bucket of the path, if it names one.
    pub fn bucket(&self) -> Option<&str> {
        self.call.bucket.as_deref()
    }

    /// The exact key of the path, percent-decoded and otherwise untouched, if it names one.
    pub fn key(&self) -> Option<&str> {
        self.call.key.as_deref()
    }

    /// The decoded pairs of the query, in the order sent.
    pub fn query(&self) -> &[(String, String)] {
        &self.call.query
    }

    /// The first value of a query parameter, `""` when it has none.
    pub fn query_value(&self, name: &str) -> Option<&str> {
        self.call.query(name)
    }

    /// The path and query exactly as sent, still encoded.
    pub fn path_and_query(&self) -> &str {
        self.call.path_and_query()
    }

    /// The headers of the request.
    pub fn headers(&self) -> &HeaderMap {
        &self.call.headers
    }

    /// The first value of a header, if it is there and readable as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.call.headers.get(name)?.to_str().ok()
    }

    /// What the request asks for.
    pub fn operation(&self) -> Operation {
        self.call.operation
    }

    /// The HTTP status of the answer; `None` until there is one.
    pub fn status(&self) -> Option<u16> {
        self.status
    }

    /// How the request ended; `None` while it is held, worked on or being answered.
    pub fn finish(&self) -> Option<Finish> {
        self.finish
    }
}

/// Headers and query parameters whose values do not belong into a test's output.
const SECRETS: &[&str] = &[
    "authorization",
    "x-amz-security-token",
    "x-amz-server-side-encryption-customer-key",
    "x-amz-copy-source-server-side-encryption-customer-key",
    "x-amz-signature",
];

impl fmt::Debug for LoggedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { call, status, finish } = self;
        let Call { id: _, method, bucket, key, query, operation, headers, .. } = &**call;
        let shown = |name: &str, value: &dyn fmt::Debug| {
            if SECRETS.contains(&name.to_ascii_lowercase().as_str()) {
                "******".to_owned()
            } else {
                format!("{value:?}")
            }
        };
        let query: Vec<_> = query.iter().map(|(n, v)| format!("{n}={}", shown(n, v))).collect();
        let headers: Vec<_> = headers.iter().map(|(n, v)| format!("{n}: {}", shown(n.as_str(), v))).collect();
        f.debug_struct("LoggedRequest")
            .field("operation", operation)
            .field("method", method)
            .field("bucket", bucket)
            .field("key", key)
            .field("query", &query)
            .field("headers", &headers)
            .field("status", status)
            .field("finish", finish)
            .finish()
    }
}

/// The requests of a server, in order of arrival.
#[derive(Debug)]
pub(super) struct Log {
    enabled: bool,
    entries: Mutex<Entries>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Entries {
    /// The number of the first entry: those before it were cleared or forgotten.
    first: u64,
    requests: VecDeque<LoggedRequest>,
}

impl Log {
    pub(super) fn new(enabled: bool) -> Self {
        Self { enabled, entries: Mutex::default(), changed: Notify::new() }
    }

    pub(super) fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// Records an arrival. What becomes of the request is told to the ticket.
    pub(super) fn arrived(self: &Arc<Self>, call: &Arc<Call>) -> Ticket {
        if !self.enabled {
            return Ticket { log: None, number: 0 };
        }
        let request = LoggedRequest { call: Arc::clone(call), status: None, finish: None };
        let number = {
            let mut entries = lock(&self.entries);
            if entries.requests.len() == CAPACITY {
                entries.requests.pop_front();
                entries.first += 1;
            }
            entries.requests.push_back(request);
            entries.first + entries.requests.len() as u64 - 1
        };
        self.changed.notify_waiters();
        Ticket { log: Some(Arc::clone(self)), number }
    }

    fn update(&self, number: u64, change: impl FnOnce(&mut LoggedRequest)) {
        {
            let mut entries = lock(&self.entries);
            let Some(index) = number.checked_sub(entries.first) else { return };
            // A number in a buffer in memory fits.
            if let Some(request) = entries.requests.get_mut(index as usize) {
                change(request);
            }
        }
        self.changed.notify_waiters();
    }

    pub(super) fn requests(&self) -> Vec<LoggedRequest> {
        lock(&self.entries).requests.iter().cloned().collect()
    }

    pub(super) fn clear(&self) {
        let mut entries = lock(&self.entries);
        entries.first += entries.requests.len() as u64;
        entries.requests.clear();
    }

    pub(super) async fn wait_until(&self, mut condition: impl FnMut(&[LoggedRequest]) -> bool + Send) {
        assert!(self.enabled, "this server does not log requests");
        let mut changed = pin!(self.changed.notified());
        loop {
            // Registered before the look, so that no change between look and wait is lost.
            changed.as_mut().enable();
            if condition(lock(&self.entries).requests.make_contiguous()) {
                return;
            }
            changed.as_mut().await;
            changed.set(self.changed.notified());
        }
    }
}

/// A request's place in the log.
#[derive(Debug)]
pub(super) struct Ticket {
    log: Option<Arc<Log>>,
    number: u64,
}

impl Ticket {
    /// The answer is about to be sent; it may already be all there is to send.
    pub(super) fn answered(&self, status: u16, finish: Option<Finish>) {
        self.update(|request| {
            request.status = Some(status);
            request.finish = finish;
        });
    }

    /// The first end counts.
    pub(super) fn finished(&self, finish: Finish) {
        self.update(|request| {
            request.finish.get_or_insert(finish);
        });
    }

    fn update(&self, change: impl FnOnce(&mut LoggedRequest)) {
        if let Some(log) = &self.log {
            log.update(self.number, change);
        }
    }
}
