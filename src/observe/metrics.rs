//! Numbers for the `metrics` facade, which whoever runs the program collects. Without the feature, nothing.
//!
//! Their names, labels and units are told in docs/observability.md, which a test compares with these.

#[cfg(feature = "metrics")]
pub use self::collected::describe_metrics;
#[cfg(feature = "metrics")]
pub(super) use self::collected::*;
#[cfg(not(feature = "metrics"))]
pub(super) use self::ignored::*;

#[cfg(feature = "metrics")]
mod collected {
    use std::time::Duration;

    use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

    use crate::observe::cause::{Cause, Wait, Way};

    const OPERATIONS: &str = "s3flow_operation_duration_seconds";
    const IN_FLIGHT: &str = "s3flow_requests_in_flight";
    const ANSWERS: &str = "s3flow_request_duration_seconds";
    const UNANSWERED: &str = "s3flow_unanswered_requests_total";
    const BYTES: &str = "s3flow_bytes_total";
    const RETRIES: &str = "s3flow_retries_total";
    const WAITS: &str = "s3flow_wait_duration_seconds";

    /// Tells the recorder that is installed what each metric means, for exporters that show it. What is counted does not depend on it.
    ///
    /// ```
    /// s3flow::describe_metrics();
    /// ```
    pub fn describe_metrics() {
        describe_histogram!(OPERATIONS, Unit::Seconds, "How long operations on one object, or pages of listings, took");
        describe_gauge!(IN_FLIGHT, Unit::Count, "Requests that are on their way");
        describe_histogram!(ANSWERS, Unit::Seconds, "From when a request was sent until its answer began");
        describe_counter!(UNANSWERED, Unit::Count, "Requests that had no answer, or were given up before it");
        describe_counter!(BYTES, Unit::Bytes, "Bytes of bodies, those that went again included");
        describe_counter!(RETRIES, Unit::Count, "Requests that were sent again");
        describe_histogram!(WAITS, Unit::Seconds, "How long something waited for a limit or for the next attempt");
    }

    pub(in crate::observe) fn operation_ended(operation: &'static str, outcome: &str, took: Duration) {
        let outcome = outcome.to_owned();
        histogram!(OPERATIONS, "operation" => operation, "outcome" => outcome).record(took);
    }

    pub(in crate::observe) fn request_begun() {
        gauge!(IN_FLIGHT).increment(1);
    }

    pub(in crate::observe) fn request_ended() {
        gauge!(IN_FLIGHT).decrement(1);
    }

    pub(in crate::observe) fn answered(method: &'static str, status: u16, took: Duration) {
        let status = status.to_string();
        histogram!(ANSWERS, "method" => method, "status" => status).record(took);
    }

    pub(in crate::observe) fn unanswered(method: &'static str) {
        counter!(UNANSWERED, "method" => method).increment(1);
    }

    pub(in crate::observe) fn moved(way: Way, bytes: u64) {
        counter!(BYTES, "direction" => way.label()).increment(bytes);
    }

    pub(in crate::observe) fn retried(cause: Cause) {
        counter!(RETRIES, "cause" => cause.label()).increment(1);
    }

    pub(in crate::observe) fn waited(why: Wait, time: Duration) {
        histogram!(WAITS, "for" => why.label()).record(time);
    }
}

#[cfg(not(feature = "metrics"))]
mod ignored {
    use std::time::Duration;

    use crate::observe::cause::{Cause, Wait, Way};

    pub(in crate::observe) fn operation_ended(_: &'static str, _: &str, _: Duration) {}
    pub(in crate::observe) fn request_begun() {}
    pub(in crate::observe) fn request_ended() {}
    pub(in crate::observe) fn answered(_: &'static str, _: u16, _: Duration) {}
    pub(in crate::observe) fn unanswered(_: &'static str) {}
    pub(in crate::observe) fn moved(_: Way, _: u64) {}
    pub(in crate::observe) fn retried(_: Cause) {}
    pub(in crate::observe) fn waited(_: Wait, _: Duration) {}
}
