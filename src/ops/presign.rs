//! `presign_get`, `presign_put`.

use std::time::Duration;

use serde_json::Value;

use super::Operation;
use crate::address::{Address, Location};
use crate::encryption::Encryption;
use crate::error::{Error, ErrorKind, Result};
use crate::observe::Subject;
use crate::presigned::PresignedRequest;
use crate::request::{S3GetObject, S3PutObject};
use crate::s3::S3;
use crate::store::{Failure, KeptHeaders, ObjectHeaders, Presigned, WriteCondition};

/// As long as AWS's SDKs have it.
const EXPIRES_IN: Duration = Duration::from_secs(60 * 60);
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html>
const LONGEST: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// A URL for a get; await it. Made by [`S3::presign_get`].
///
/// Nothing is sent: whether the object is there, and whether the credentials may read it, is found out by who uses the URL.
/// With a range or [`if_match`](S3GetObject::if_match), the request has headers.
///
/// # Errors
///
/// [`InvalidUrl`](ErrorKind::InvalidUrl) and [`InvalidRange`](ErrorKind::InvalidRange);
/// [`Config`](ErrorKind::Config) for a time of 0 or over seven days, when there are no credentials, and with a customer's key, which
/// would have to be given away.
///
/// # Cancel safety
///
/// Safe: nothing is changed.
#[derive(Debug, Clone)]
#[must_use = "a presign_get does nothing unless it is awaited"]
pub struct PresignGet {
    s3: S3,
    object: S3GetObject,
    expires_in: Duration,
    content_type: Option<String>,
    /// In place of those that are stored with the object.
    answer: KeptHeaders,
}

/// Setters of both.
macro_rules! expires_in {
    () => {
        /// For how long it may be used from now on, to the second: 1 s to seven days. Default: an hour.
        pub fn expires_in(mut self, time: Duration) -> Self {
            self.expires_in = time;
            self
        }
    };
}

impl PresignGet {
    pub(crate) fn new(s3: S3, object: S3GetObject) -> Self {
        Self { s3, object, expires_in: EXPIRES_IN, content_type: None, answer: KeptHeaders::default() }
    }

    expires_in!();

    /// The type that the answer tells, in place of the object's own.
    pub fn content_type(mut self, content_type: impl Into<String>) -> Self {
        self.content_type = Some(content_type.into());
        self
    }

    /// The disposition that the answer tells, in place of the object's own: `attachment; filename="report.pdf"` makes a browser
    /// save it.
    pub fn content_disposition(mut self, disposition: impl Into<String>) -> Self {
        self.answer.content_disposition = Some(disposition.into());
        self
    }

    /// The directives for caches that the answer has, in place of the object's own.
    pub fn cache_control(mut self, directives: impl Into<String>) -> Self {
        self.answer.cache_control = Some(directives.into());
        self
    }
}

impl IntoFuture for PresignGet {
    type Output = Result<PresignedRequest>;
    type IntoFuture = Operation<PresignedRequest>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let Self { s3, object, expires_in, content_type, answer } = self;
            let address = object.address(s3.root()).map_err(|error| error.with_operation("presign_get", None))?;
            let signed = async {
                let options = object.read_options(s3.encryption())?;
                let expires = checked(expires_in)?;
                let store = &s3.engine().store;
                let signed = store.presign_get(&address.location, options, content_type.as_deref(), &answer, expires);
                signed.await.map_err(not_signed)
            };
            finish(&s3, "presign_get", &address.location, signed).await
        })
    }
}

/// A URL for a put; await it. Made by [`S3::presign_put`].
///
/// What is set here are headers of the request, and have to be sent with it as they are. A body of any length and with any bytes is
/// taken, unless [`content_length`](Self::content_length) says how long it has to be.
///
/// # Errors
///
/// [`InvalidUrl`](ErrorKind::InvalidUrl); [`InvalidObject`](ErrorKind::InvalidObject) for what no header can carry;
/// [`Config`](ErrorKind::Config) for a time of 0 or over seven days, when there are no credentials, and with a customer's key, which
/// would have to be given away.
///
/// # Cancel safety
///
/// Safe: nothing is changed.
#[derive(Debug)]
#[must_use = "a presign_put does nothing unless it is awaited"]
pub struct PresignPut {
    s3: S3,
    object: S3PutObject,
    expires_in: Duration,
    length: Option<u64>,
    condition: Option<WriteCondition>,
}

impl PresignPut {
    pub(crate) fn new(s3: S3, key: String) -> Self {
        let object = S3PutObject::new(key, "");
        Self { s3, object, expires_in: EXPIRES_IN, length: None, condition: None }
    }

    expires_in!();

    /// How many bytes the body has to have, no more and no less.
    pub fn content_length(mut self, bytes: u64) -> Self {
        self.length = Some(bytes);
        self
    }

    /// Whether an object that is there is replaced; see [`Put::overwrite`](super::Put::overwrite), which finds out whether the service
    /// keeps this condition: here, who uses the URL has to know. Default: true.
    pub fn overwrite(mut self, overwrite: bool) -> Self {
        self.condition = (!overwrite).then_some(WriteCondition::Absent);
        self
    }

    /// See [`S3PutObject::content_type`].
    pub fn content_type(mut self, content_type: impl Into<String>) -> Self {
        self.object = self.object.content_type(content_type);
        self
    }

    /// See [`S3PutObject::cache_control`].
    pub fn cache_control(mut self, directives: impl Into<String>) -> Self {
        self.object = self.object.cache_control(directives);
        self
    }

    /// See [`S3PutObject::content_disposition`].
    pub fn content_disposition(mut self, disposition: impl Into<String>) -> Self {
        self.object = self.object.content_disposition(disposition);
        self
    }

    /// See [`S3PutObject::metadata`].
    pub fn metadata(mut self, metadata: impl IntoIterator<Item = (impl Into<String>, impl Into<Value>)>) -> Self {
        self.object = self.object.metadata(metadata);
        self
    }

    /// See [`S3PutObject::encryption`].
    pub fn encryption(mut self, encryption: Encryption) -> Self {
        self.object = self.object.encryption(encryption);
        self
    }
}

impl IntoFuture for PresignPut {
    type Output = Result<PresignedRequest>;
    type IntoFuture = Operation<PresignedRequest>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let Self { s3, object, expires_in, length, condition } = self;
            let Address { location, .. } = s3
                .root()
                .object(&object.key)
                .map_err(|invalid| Error::new(ErrorKind::InvalidUrl, invalid.0).with_operation("presign_put", None))?;
            let signed = async {
                let headers = ObjectHeaders::new(&object.properties, s3.encryption())?;
                let expires = checked(expires_in)?;
                let store = &s3.engine().store;
                let signed = store.presign_put(&location, &headers, length, condition.as_ref(), expires).await;
                signed.map_err(not_signed)
            };
            finish(&s3, "presign_put", &location, signed).await
        })
    }
}

async fn finish(
    s3: &S3,
    operation: &'static str,
    location: &Location,
    signed: impl Future<Output = Result<Presigned>>,
) -> Result<PresignedRequest> {
    let signed = s3.run(Subject::object(operation, location), signed).await;
    signed.map(Into::into).map_err(|error| error.with_operation(operation, Some(location.url())))
}

/// Nothing was sent, but perhaps for credentials.
fn not_signed(failure: Failure) -> Error {
    failure.into_error(1)
}

fn checked(time: Duration) -> Result<Duration> {
    if (Duration::from_secs(1)..=LONGEST).contains(&time) {
        return Ok(time);
    }
    let problem = format!("expires_in is {time:?}; S3 takes 1 s to seven days");
    Err(Error::new(ErrorKind::Config, problem))
}
