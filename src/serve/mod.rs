//! Objects as answers to HTTP requests, for any service on `http` and `http-body`.

mod body;
mod conditions;
mod range;
#[cfg(feature = "axum")]
mod upload;

use std::time::SystemTime;

use headers::{ETag, HeaderMapExt as _, LastModified};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};

pub use self::body::GetBody;
use self::conditions::{Conditions, Verdict};
use self::range::WantedRange;
#[cfg(feature = "axum")]
pub use self::upload::UploadBody;
use crate::error::{Error, ErrorKind, Result};
use crate::object::S3Object;
use crate::ops::{Get, GetSettings, GetStream, Info, Operation};

/// How often an object may be replaced between the look at its conditions and the request for its bytes.
const LOOKS: usize = 3;

/// An answer to an HTTP request for one object; await it. Made by [`Get::respond`].
///
/// `GET` and `HEAD` are answered with what RFC 9110 says: 200, or 206 with the range; 304 and 412 as the conditions want it
/// (`If-Match`, `If-Unmodified-Since`, `If-None-Match`, `If-Modified-Since`, in the order of its section 13.2.2); 416 with the size for a
/// range outside of the object; 405 for other methods. The headers are those of the object: `Content-Type`, `ETag`, `Last-Modified`,
/// `Content-Encoding`, `Content-Language`, `Content-Disposition`, `Cache-Control`; and `Accept-Ranges`.
///
/// * A range is one of bytes. Several are answered with the whole object, as section 14.2 allows, and so is one that cannot be read or
///   is of another unit, or whose `If-Range` is not of this version.
/// * A condition that cannot be read counts as none, but for an `If-Range`.
/// * A request without conditions is one GET. With them, the object is looked at first, and what is read is of the version that was
///   looked at. A HEAD is a HEAD.
///
/// The body is a [`GetStream`]: who goes away ends the requests to S3. A failure in the middle breaks the body off, so that the client
/// of the service does not take it for whole.
///
/// # Errors
///
/// Those of [`Get`] before the first byte; [`Error::response_status`] is an answer to them without inner detail.
///
/// # Cancel safety
///
/// Dropping the future ends its request.
#[derive(Debug, Clone)]
#[must_use = "a respond does nothing unless it is awaited"]
pub struct Respond {
    get: Get,
    method: Method,
    request: HeaderMap,
    /// In place of those of the object.
    answer: HeaderMap,
}

impl Get {
    /// Answers an HTTP request, of which these are the method and the headers, with the object.
    ///
    /// ```
    /// # async fn example(s3: s3flow::S3, request: http::Request<()>) -> http::Response<s3flow::serve::GetBody> {
    /// match s3.get("video.mp4").respond(request.method(), request.headers()).await {
    ///     Ok(response) => response,
    ///     Err(error) => {
    ///         eprintln!("{error}");
    ///         let mut response = http::Response::new(s3flow::serve::GetBody::empty());
    ///         *response.status_mut() = error.response_status();
    ///         response
    ///     }
    /// }
    /// # }
    /// ```
    pub fn respond(self, method: &Method, headers: &HeaderMap) -> Respond {
        Respond { get: self, method: method.clone(), request: headers.clone(), answer: HeaderMap::new() }
    }
}

impl Respond {
    /// A header of the answer, in place of the object's own: `Content-Disposition: attachment; filename="report.pdf"` makes a
    /// browser save it.
    pub fn header(mut self, name: header::HeaderName, value: HeaderValue) -> Self {
        self.answer.insert(name, value);
        self
    }

    async fn answer(self) -> Result<Response<GetBody>> {
        let Self { get, method, request, answer } = self;
        get.check_without_file()?;
        let (s3, object, _) = get.into_parts();
        if method != Method::GET && method != Method::HEAD {
            let allow = HeaderMap::from_iter([(header::ALLOW, HeaderValue::from_static("GET, HEAD"))]);
            return Ok(respond(StatusCode::METHOD_NOT_ALLOWED, allow, GetBody::empty()));
        }
        let conditions = Conditions::of(&request);
        let range = if method == Method::GET { WantedRange::of(&request) } else { WantedRange::Whole };
        for _ in 0..LOOKS {
            let (mut object, mut range) = (object.clone(), range);
            if method == Method::HEAD || !conditions.is_empty() {
                let found = Info::new(s3.clone(), object.clone()).await?;
                let of_object = |status| {
                    let mut headers = headers_of(&found);
                    headers.extend(answer.clone());
                    respond(status, headers, GetBody::empty())
                };
                match conditions.judge(&found) {
                    Verdict::Proceed => {}
                    Verdict::NotModified => return Ok(of_object(StatusCode::NOT_MODIFIED)),
                    Verdict::Failed => return Ok(of_object(StatusCode::PRECONDITION_FAILED)),
                }
                if method == Method::HEAD {
                    let mut whole = of_object(StatusCode::OK);
                    whole.headers_mut().insert(header::CONTENT_LENGTH, found.size().unwrap_or(0).into());
                    return Ok(whole);
                }
                if !conditions.range_holds(&found) {
                    range = WantedRange::Whole;
                }
                if let Some(etag) = found.etag() {
                    object = object.if_match(etag);
                }
            }
            let mut stream = GetStream::new(s3.clone(), range.of_object(object.clone()), GetSettings::default());
            match stream.object().await {
                Ok(found) => {
                    let mut headers = headers_of(found);
                    let status = range.tell(found, &mut headers);
                    headers.extend(answer);
                    return Ok(respond(status, headers, GetBody::new(stream)));
                }
                // Replaced since it was looked at.
                Err(error) if error.kind() == ErrorKind::Changed && !conditions.is_empty() => {}
                Err(error) if error.kind() == ErrorKind::InvalidRange => {
                    let size = Info::new(s3, object).await?.size().unwrap_or(0);
                    let mut headers = HeaderMap::new();
                    headers.insert(header::CONTENT_RANGE, visible(format!("bytes */{size}"))?);
                    return Ok(respond(StatusCode::RANGE_NOT_SATISFIABLE, headers, GetBody::empty()));
                }
                Err(error) => return Err(error),
            }
        }
        Err(Error::new(ErrorKind::Changed, format!("the object was replaced {LOOKS} times while it was looked at")))
    }
}

impl IntoFuture for Respond {
    type Output = Result<Response<GetBody>>;
    type IntoFuture = Operation<Response<GetBody>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.answer())
    }
}

fn respond(status: StatusCode, headers: HeaderMap, body: GetBody) -> Response<GetBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// What the object says of itself.
fn headers_of(object: &S3Object) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    for (name, value) in [
        (header::CONTENT_TYPE, object.content_type()),
        (header::ETAG, object.etag()),
        (header::CONTENT_ENCODING, object.content_encoding()),
        (header::CONTENT_LANGUAGE, object.content_language()),
        (header::CONTENT_DISPOSITION, object.content_disposition()),
        (header::CACHE_CONTROL, object.cache_control()),
    ] {
        // They have been headers of an answer.
        if let Some(Ok(value)) = value.map(HeaderValue::from_str) {
            headers.insert(name, value);
        }
    }
    if let Some(time) = object.last_modified() {
        headers.typed_insert(LastModified::from(time));
    }
    headers
}

fn visible(text: String) -> Result<HeaderValue> {
    HeaderValue::try_from(text).map_err(|error| Error::new(ErrorKind::Other, "no header's value").with_source(error))
}

fn etag_of(object: &S3Object) -> Option<ETag> {
    object.etag()?.parse().ok()
}

fn modified(object: &S3Object) -> Option<SystemTime> {
    object.last_modified()
}

impl Error {
    /// The status with which a service answers its own client when an operation fails so. It tells nothing of what is behind the
    /// service: that is in the error itself, for its log.
    ///
    /// | kind | status |
    /// |---|---|
    /// | `NotFound`, `NoSuchBucket` | 404 |
    /// | `AccessDenied` | 403 |
    /// | `InvalidUrl` | 400 |
    /// | `InvalidObject` | 413 where a [limit](crate::PutValue::stream_up_to) was exceeded, else 400 |
    /// | `InvalidRange` | 416 |
    /// | `Changed` | 412 |
    /// | `Throttled`, `Closed` | 503 |
    /// | `Timeout` | 504 |
    /// | `Network`, `Unsupported`, `Integrity` | 502 |
    /// | `InsufficientDiskSpace` | 507 |
    /// | the others | 500 |
    #[must_use]
    pub fn response_status(&self) -> StatusCode {
        match self.kind() {
            ErrorKind::NotFound | ErrorKind::NoSuchBucket => StatusCode::NOT_FOUND,
            ErrorKind::AccessDenied => StatusCode::FORBIDDEN,
            ErrorKind::InvalidObject if self.is_too_long() => StatusCode::PAYLOAD_TOO_LARGE,
            ErrorKind::InvalidUrl | ErrorKind::InvalidObject => StatusCode::BAD_REQUEST,
            ErrorKind::InvalidRange => StatusCode::RANGE_NOT_SATISFIABLE,
            ErrorKind::Changed => StatusCode::PRECONDITION_FAILED,
            ErrorKind::Throttled | ErrorKind::Closed => StatusCode::SERVICE_UNAVAILABLE,
            ErrorKind::Timeout => StatusCode::GATEWAY_TIMEOUT,
            ErrorKind::Network | ErrorKind::Unsupported | ErrorKind::Integrity => StatusCode::BAD_GATEWAY,
            ErrorKind::InsufficientDiskSpace => StatusCode::INSUFFICIENT_STORAGE,
            ErrorKind::Io | ErrorKind::Config | ErrorKind::Journal | ErrorKind::Other => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        }
    }
}
