//! What one object's operation took, as plain data.

use std::time::Duration;

use serde::Serialize;

use super::seconds;

/// What one object's operation took: of a [`get`](crate::S3Object::report), a [`put`](crate::PutReceipt::report), a
/// [`delete`](crate::DeleteReceipt::report), or of one that [failed](crate::Error::report). Of what shares a request, such as the objects of one
/// DeleteObjects, it is that of the request.
///
/// ```
/// # async fn example(s3: s3flow::S3) -> s3flow::Result<()> {
/// let object = s3.get("model.bin").await?;
/// if let Some(report) = object.report() {
///     println!("{} requests, {:?} of them {:?}", report.requests, report.retries, report.request_ids);
///     println!("waited {:?} for other requests to end", report.waits.for_requests_in_flight);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// Requests that were begun, those that were sent again included.
    pub requests: u64,
    /// Of these, those that were sent again, and why.
    pub retries: RetryCounts,
    /// For how long something was waited for, by what it was. Parts that are on their way side by side wait side by side, so that the sum
    /// may be more than the time that went by.
    pub waits: Waits,
    /// Bytes of bodies that were sent, those that were sent again included.
    pub bytes_sent: u64,
    /// Bytes of bodies that came, those that were asked for again and those of errors included.
    pub bytes_received: u64,
    /// S3's ids of the last 16 requests, for its support. A service that gives none leaves it empty.
    pub request_ids: Vec<String>,
}

/// How many requests were sent again, by what had become of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct RetryCounts {
    /// Broken connections, timeouts, and errors of the server that may pass.
    pub transient: u64,
    /// The server asked for fewer requests.
    pub throttled: u64,
    /// Nothing answered at the address.
    pub unreachable: u64,
}

/// For how long something was waited for. Serialised, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct Waits {
    /// For other requests to end: [`Limits::requests_in_flight`](crate::Limits::requests_in_flight).
    #[serde(serialize_with = "seconds")]
    pub for_requests_in_flight: Duration,
    /// For the turn of a request: [`Limits::requests_per_second`](crate::Limits::requests_per_second).
    #[serde(serialize_with = "seconds")]
    pub for_requests_per_second: Duration,
    /// For the turn of a body's bytes: [`Limits::upload_bytes_per_second`](crate::Limits::upload_bytes_per_second) and
    /// [`download_bytes_per_second`](crate::Limits::download_bytes_per_second).
    #[serde(serialize_with = "seconds")]
    pub for_bytes_per_second: Duration,
    /// For a prefix that the server has [throttled](crate::Client::slowed_prefixes).
    #[serde(serialize_with = "seconds")]
    pub for_slowed_prefix: Duration,
    /// For [`Limits::memory_bytes`](crate::Limits::memory_bytes).
    #[serde(serialize_with = "seconds")]
    pub for_memory: Duration,
    /// For [`Limits::disk_bytes`](crate::Limits::disk_bytes), or for the disk itself.
    #[serde(serialize_with = "seconds")]
    pub for_disk: Duration,
    /// Between a request that failed and the next one: the [`RetryPolicy`](crate::RetryPolicy)'s.
    #[serde(serialize_with = "seconds")]
    pub for_retries: Duration,
}

impl Waits {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> Duration {
        let all = [
            self.for_requests_in_flight,
            self.for_requests_per_second,
            self.for_bytes_per_second,
            self.for_slowed_prefix,
            self.for_memory,
            self.for_disk,
            self.for_retries,
        ];
        all.into_iter().fold(Duration::ZERO, Duration::saturating_add)
    }
}
