//! One request: its span, and what is counted of it.

use std::sync::Arc;
use std::time::Duration;

use futures::future::Either;
use tokio::time::Instant;
use tracing::Span;
use tracing::field::Empty;

use super::metrics;
use super::record::Record;

tokio::task_local! {
    /// Which attempt this is, from the second one on.
    static NUMBER: u32;
}

/// The requests of `attempt`, which is the nth from 1 on, have this number.
pub(crate) fn numbered<F: Future>(number: u32, attempt: F) -> impl Future<Output = F::Output> {
    if number > 1 { Either::Left(NUMBER.scope(number, attempt)) } else { Either::Right(attempt) }
}

/// One request, from when it is sent until its answer is read or given up.
#[derive(Debug)]
pub(crate) struct Attempt {
    record: Arc<Record>,
    span: Span,
    method: &'static str,
    begun: Instant,
    bytes: u64,
    answered: bool,
}

impl Attempt {
    /// A request that has waited for so long, with a body of so many bytes.
    pub(crate) fn begin(record: &Arc<Record>, method: &'static str, waited: Duration, bytes: u64) -> Self {
        record.begin_request();
        metrics::request_begun();
        let span = tracing::debug_span!(
            parent: record.span().and_then(|span| span.id()),
            "attempt",
            attempt = NUMBER.try_with(|number| *number).unwrap_or(1),
            method,
            wait_ms = waited.as_millis() as u64,
            status = Empty,
            error = Empty,
            request_id = Empty,
            bytes = Empty,
            answered_ms = Empty,
        );
        Self { record: Arc::clone(record), span, method, begun: Instant::now(), bytes, answered: false }
    }

    pub(crate) fn span(&self) -> &Span {
        &self.span
    }

    /// The beginning of the answer is there.
    pub(crate) fn answered(&mut self, status: u16, request_id: Option<&str>) {
        let took = self.begun.elapsed();
        self.answered = true;
        self.span.record("status", status).record("answered_ms", took.as_millis() as u64);
        if let Some(id) = request_id {
            self.span.record("request_id", id);
            self.record.add_id(id);
        }
        metrics::answered(self.method, status, took);
    }

    /// There is no answer.
    pub(crate) fn failed(&self, problem: &dyn std::fmt::Display) {
        self.span.record("error", tracing::field::display(problem));
    }

    /// Bytes of the answer's body came.
    pub(crate) fn received(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.span.record("bytes", self.bytes);
        if !self.answered {
            metrics::unanswered(self.method);
        }
        metrics::request_ended();
    }
}
