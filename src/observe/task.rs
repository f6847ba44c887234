//! One object's operation: its span, and what is counted of it.

use std::sync::Arc;

use ring::digest::{SHA256, digest};
use tokio::time::Instant;
use tracing::Span;
use tracing::field::Empty;

use super::metrics;
use super::record::{Record, Reported};
use crate::address::Location;
use crate::error::Result;

/// What an operation is called, and what it is about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) operation: &'static str,
    pub(crate) bucket: &'a str,
    /// Or a prefix.
    pub(crate) key: &'a str,
}

impl<'a> Subject<'a> {
    pub(crate) fn object(operation: &'static str, location: &'a Location) -> Self {
        Self { operation, bucket: location.bucket(), key: location.key() }
    }
}

const OK: &str = "ok";

/// An operation that runs. One that is dropped before it has ended was cancelled.
#[derive(Debug)]
pub(crate) struct Task {
    record: Arc<Record>,
    operation: &'static str,
    span: Span,
    begun: Instant,
    ended: bool,
}

impl Task {
    /// With `show_key`, the key stands in the span, and else what identifies it.
    pub(crate) fn begin(record: &Arc<Record>, subject: Subject<'_>, show_key: bool) -> Self {
        let Subject { operation, bucket, key } = subject;
        let span = tracing::debug_span!(
            "operation",
            operation,
            bucket,
            key = Empty,
            key_hash = Empty,
            outcome = Empty,
            requests = Empty,
            retries = Empty,
            bytes_sent = Empty,
            bytes_received = Empty,
            wait_ms = Empty,
        );
        if !span.is_disabled() {
            if show_key {
                span.record("key", key);
            } else {
                span.record("key_hash", hash(key));
            }
            record.set_span(Some(span.clone()));
        }
        Self { record: Arc::clone(record), operation, span, begun: Instant::now(), ended: false }
    }

    pub(crate) fn span(&self) -> Span {
        self.span.clone()
    }

    pub(crate) fn end<T>(mut self, result: Result<T>) -> Result<T> {
        self.ended = true;
        match &result {
            Ok(_) => self.note(OK),
            Err(error) => self.note(&error.kind().to_string()),
        }
        result.map_err(|error| error.with_report(Reported::by(&self.record)))
    }

    fn note(&self, outcome: &str) {
        self.record.end(outcome == OK);
        metrics::operation_ended(self.operation, outcome, self.begun.elapsed());
        if self.span.is_disabled() {
            return;
        }
        self.record.set_span(None);
        let report = self.record.report();
        let retries = report.retries;
        self.span
            .record("outcome", outcome)
            .record("requests", report.requests)
            .record("retries", retries.transient + retries.throttled + retries.unreachable)
            .record("bytes_sent", report.bytes_sent)
            .record("bytes_received", report.bytes_received)
            .record("wait_ms", report.waits.total().as_millis() as u64);
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if !self.ended {
            self.note("cancelled");
        }
    }
}

/// The first half of a key's SHA-256, in hexadecimal digits: `printf %s "$key" | sha256sum | cut -c1-32`.
fn hash(key: &str) -> String {
    let digest = digest(&SHA256, key.as_bytes());
    digest.as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_key_is_hashed_as_sha256sum_does() {
        assert_eq!(super::hash("abc"), "ba7816bf8f01cfea414140de5dae2223");
    }
}
