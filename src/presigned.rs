//! A request that is signed beforehand, as plain data.

use std::fmt;
use std::time::SystemTime;

use http::{HeaderMap, Method};

use crate::store::Presigned;

/// A request that whoever has it may send until it expires, without credentials.
///
/// It is a secret as long: [`Debug`](fmt::Debug) does not show the signature.
#[derive(Clone)]
pub struct PresignedRequest {
    method: Method,
    url: String,
    headers: HeaderMap,
    expires_at: SystemTime,
}

impl PresignedRequest {
    /// `GET` or `PUT`.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The URL with the signature in its query.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The headers that have to be sent with it, as they are: they are part of the signature.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Until when it is taken, by the service's clock. Temporary credentials may end sooner, and the URL with them.
    #[must_use]
    pub fn expires_at(&self) -> SystemTime {
        self.expires_at
    }
}

impl From<Presigned> for PresignedRequest {
    fn from(signed: Presigned) -> Self {
        let Presigned { method, url, headers, expires: expires_at } = signed;
        Self { method, url, headers, expires_at }
    }
}

impl fmt::Debug for PresignedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { method, url, headers, expires_at } = self;
        let place = url.split('?').next().unwrap_or_default();
        f.debug_struct("PresignedRequest")
            .field("method", method)
            .field("url", &format_args!("{place}?******"))
            .field("headers", headers)
            .field("expires_at", expires_at)
            .finish()
    }
}
