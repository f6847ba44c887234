//! The embedded server itself, by requests that no library made.

use http::header::HeaderMap;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use s3flow::testing::{S3Server, S3ServerBuilder};
use s3s::crypto::{Checksum as _, Md5};

mod attributes;
mod conditions;
mod copies;
mod deletes;
mod discarded;
mod encryption;
mod faults;

/// A server that takes unsigned requests, and a plain HTTP client.
pub(crate) struct Raw {
    pub(crate) server: S3Server,
    http: Client<HttpConnector, Full<bytes::Bytes>>,
}

pub(crate) struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: bytes::Bytes,
}

impl Raw {
    async fn new() -> Self {
        Self::of(S3Server::builder()).await
    }

    pub(crate) async fn of(builder: S3ServerBuilder) -> Self {
        let server = builder.anonymous(true).start().await.unwrap();
        Self { server, http: Client::builder(TokioExecutor::new()).build_http() }
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<bytes::Bytes>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.server.endpoint()));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = self.http.request(request.body(Full::new(body.into())).unwrap()).await.unwrap();
        let (parts, body) = answer.into_parts();
        Answer { status: parts.status, headers: parts.headers, body: body.collect().await.unwrap().to_bytes() }
    }

    async fn put(&self, path: &str, headers: &[(&str, &str)], body: &'static str) -> Answer {
        self.send(Method::PUT, path, headers, body).await
    }

    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(Method::GET, path, headers, "").await
    }

    async fn head(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(Method::HEAD, path, headers, "").await
    }

    async fn post(&self, path: &str, headers: &[(&str, &str)], body: impl Into<bytes::Bytes>) -> Answer {
        self.send(Method::POST, path, headers, body).await
    }

    /// Creates a multipart upload; its id is ready for a query.
    pub(crate) async fn create(&self, path: &str, headers: &[(&str, &str)]) -> (String, Answer) {
        let answer = self.post(&format!("{path}?uploads"), headers, "").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let id = answer.element("UploadId").replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
        (id, answer)
    }

    pub(crate) async fn complete(&self, path: &str, id: &str, etags: &[&str], headers: &[(&str, &str)]) -> Answer {
        let parts: String = (1..)
            .zip(etags)
            .map(|(number, etag)| format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"))
            .collect();
        let document = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
        self.post(&format!("{path}?uploadId={id}"), headers, document).await
    }
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The text of the first element of this name.
    fn element(&self, name: &str) -> &str {
        self.elements(name).first().unwrap_or_else(|| panic!("no {name} in {:?}", self.text()))
    }

    /// The texts of all elements of this name.
    fn elements(&self, name: &str) -> Vec<&str> {
        let (open, close) = (format!("<{name}>"), format!("</{name}>"));
        self.text().split(&open).skip(1).map(|rest| rest.split(&close).next().unwrap()).collect()
    }

    /// Status and S3 code.
    fn failure(&self) -> (u16, &str) {
        (self.status.as_u16(), self.element("Code"))
    }
}

/// The value of the header `Content-MD5`.
fn content_md5(body: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digest = u128::from_be_bytes(Md5::checksum(body.as_bytes()));
    // 128 bits are 21 digits of six bits and one of two.
    let digits = (0..22).map(|at| if at < 21 { digest >> (122 - 6 * at) } else { digest << 4 });
    digits.map(|bits| char::from(DIGITS[(bits & 63) as usize])).chain("==".chars()).collect()
}
