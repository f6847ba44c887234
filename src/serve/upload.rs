//! The body of a request as a value to put.

use axum_core::extract::{FromRequest, Request};
use axum_core::response::{IntoResponse, Response};
use futures::TryStreamExt as _;
use http::{StatusCode, header};
use http_body::Body as _;

use crate::error::Error;
use crate::request::PutValue;

/// In bytes. A longer body is stored in parts of so many as it comes: none of it waits for memory for all of it.
const PART: u64 = 8 * 1024 * 1024;

/// The body of an upload, as an extractor: it becomes a [`PutValue`] that is read while it is stored.
///
/// A client that vanishes, or sends less than it has announced, stores nothing.
///
/// ```
/// use axum::extract::{Path, State};
/// use s3flow::S3;
/// use s3flow::serve::UploadBody;
///
/// async fn upload(State(s3): State<S3>, Path(name): Path<String>, body: UploadBody) -> Result<String, s3flow::Error> {
///     let receipt = s3.put(name, body.into_value(10 << 20)).await?;
///     Ok(format!("{:?}", receipt.etag()))
/// }
/// ```
#[derive(Debug)]
pub struct UploadBody {
    body: axum_core::body::Body,
}

impl UploadBody {
    /// Of a request that was not extracted from.
    #[must_use]
    pub fn new(body: axum_core::body::Body) -> Self {
        Self { body }
    }

    /// How many bytes the client has announced, if it has.
    #[must_use]
    pub fn content_length(&self) -> Option<u64> {
        self.body.size_hint().exact()
    }

    /// The value, of at most so many bytes: a longer one fails the put at the first byte too many, or before the first when it was
    /// announced, and nothing is stored. Its error has the [status](Error::response_status) 413.
    pub fn into_value(self, limit: u64) -> PutValue {
        let announced = self.content_length();
        if announced.is_some_and(|announced| announced > limit) {
            return PutValue::too_long(limit);
        }
        let value = PutValue::stream_up_to(self.body.into_data_stream().map_err(axum_core::Error::into_inner), limit);
        match announced {
            Some(bytes) if bytes <= PART => value.with_length(bytes),
            _ => value,
        }
    }
}

impl<S: Send + Sync> FromRequest<S> for UploadBody {
    type Rejection = std::convert::Infallible;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Self::Rejection> {
        Ok(Self { body: request.into_body() })
    }
}

/// The [status](Error::response_status) and its name; with `Retry-After` where it may pass.
impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let status = self.response_status();
        tracing::debug!(error = %self, %status, "a request fails");
        let text = status.canonical_reason().unwrap_or("error");
        match status {
            StatusCode::SERVICE_UNAVAILABLE => (status, [(header::RETRY_AFTER, "1")], text).into_response(),
            _ => (status, text).into_response(),
        }
    }
}
