//! One request to S3: the address of the bucket, the signature, redirects, and failures as [`Failure`].
//!
//! `object_store` calls it through [`BucketService`]; what `object_store` has no name for (listings, headers) comes and goes
//! beside it.

use std::borrow::Cow;
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use chrono::{DateTime, TimeDelta, Utc};
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use http_body_util::BodyExt as _;
use object_store::aws::AwsCredential;
use object_store::client::{HttpError, HttpRequest, HttpRequestBody, HttpResponse, HttpResponseBody, HttpService};
use tokio::time::Instant;
use tracing::Instrument as _;

use super::clock::{Clock, Verdict};
use super::credentials::Credentials;
use super::failure::{self, Failure, FailureKind, Retryability};
use super::headers::{carries_a_key, keys_in};
use super::keys;
use super::paced::Paced;
use super::route::{Endpoint, Route};
use super::sign::{self, Signer, SigningKeys};
use super::transport::Transport;
use crate::limits::{Flow, Slowing};
use crate::observe::Attempt;

/// What all buckets of a client share.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) transport: Transport,
    pub(super) credentials: Credentials,
    pub(super) signer: Signer,
    /// `None`: where TLS does not protect bodies.
    pub(super) payload_signing: Option<bool>,
    pub(super) clock: Clock,
    pub(super) endpoint: Option<Endpoint>,
    pub(super) region: String,
    pub(super) virtual_host_style: bool,
    pub(super) slowing: Slowing,
}

/// What is known of one bucket.
#[derive(Debug)]
pub(super) struct Bucket {
    pub(super) name: String,
    route: RwLock<Arc<Route>>,
    /// Whether an answer has shown that the bucket is there.
    seen: AtomicBool,
}

/// A request before it is signed. The path is that of the key, encoded, without the bucket and without a `/` in front.
#[derive(Debug)]
pub(super) struct Request<'a> {
    pub(super) method: Method,
    pub(super) key_path: Cow<'a, str>,
    pub(super) query: Cow<'a, str>,
    pub(super) headers: HeaderMap,
    pub(super) body: HttpRequestBody,
    /// What the keys begin with that a request to the bucket as a whole is about, encoded.
    pub(super) prefix: Cow<'a, str>,
    /// For whom it is sent.
    pub(super) flow: Flow,
    /// Whether it has [waited](Slowing::wait) for its prefix.
    pub(super) admitted: bool,
    /// Whether its place is free again when the head of its answer is there.
    pub(super) given_out: bool,
}

/// What a caller adds to a request of `object_store`.
#[derive(Debug, Default)]
pub(super) struct Addition {
    pub(super) headers: HeaderMap,
    /// In place of one that it has none of itself.
    pub(super) query: String,
    pub(super) flow: Flow,
    /// Whether it has [waited](Slowing::wait) for its prefix.
    pub(super) admitted: bool,
    /// Whether its place is free again when the head of its answer is there.
    pub(super) given_out: bool,
}

/// Status and headers of an answer.
#[derive(Debug)]
pub(super) struct ResponseHead {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
}

tokio::task_local! {
    /// What goes past `object_store` within a task. Its own way for that, extensions of requests and answers, clones and boxes
    /// them a dozen times.
    static BESIDE: Beside;
}

struct Beside {
    addition: Cell<Option<Addition>>,
    head: Cell<Option<ResponseHead>>,
}

/// An operation of `object_store` whose request gets this `addition`; with the head of the answer.
pub(super) async fn with_addition<T>(
    addition: Addition,
    operation: impl Future<Output = T>,
) -> (T, Option<ResponseHead>) {
    let beside = Beside { addition: Cell::new(Some(addition)), head: Cell::new(None) };
    let operation = async {
        let done = operation.await;
        (done, BESIDE.with(|beside| beside.head.take()))
    };
    BESIDE.scope(beside, operation).await
}

const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("s3flow/", env!("CARGO_PKG_VERSION")));
const UNSIGNED_PAYLOAD: HeaderValue = HeaderValue::from_static(sign::UNSIGNED_PAYLOAD);
const EMPTY_PAYLOAD: HeaderValue = HeaderValue::from_static(sign::EMPTY_SHA256);
const MAX_REDIRECTS: usize = 4;
/// A longer body is hashed off the async threads: 1 MiB takes about a millisecond.
const HASHED_INLINE: usize = 1024 * 1024;
/// An error document is about 1 KiB.
const MAX_ERROR_BODY: usize = 64 * 1024;
/// A thousand keys of 1,024 bytes, escaped, and as many messages are under 8 MiB; other answers to writes are a few hundred
/// bytes.
pub(super) const MAX_RESULT_BODY: usize = 16 * 1024 * 1024;

impl Bucket {
    pub(super) fn new(name: &str, wire: &Wire) -> Result<Self, Failure> {
        let route = Route::new(name, wire, &wire.region)?;
        Ok(Self { name: name.to_owned(), route: RwLock::new(Arc::new(route)), seen: AtomicBool::new(false) })
    }

    pub(super) fn is_seen(&self) -> bool {
        self.seen.load(Ordering::Relaxed)
    }

    fn route(&self) -> Arc<Route> {
        Arc::clone(&self.route.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn set_route(&self, route: Arc<Route>) {
        *self.route.write().unwrap_or_else(PoisonError::into_inner) = route;
    }
}

impl Wire {
    /// Sends `request` once; again only as answers say how, each at most once: to another place, for the server's time, with
    /// fresh credentials. The answer is a success, unread unless it may carry an error.
    pub(super) async fn send(&self, bucket: &Bucket, request: Request<'_>) -> Result<HttpResponse, Failure> {
        let Request { key_path, prefix, flow, .. } = &request;
        let keys = if key_path.is_empty() { prefix } else { key_path };
        let asked = Instant::now();
        if !request.admitted {
            self.slowing.wait(flow, &bucket.name, || keys).await;
        }
        let place = flow.begin().await;
        let begun = Instant::now();
        let length = request.body.content_length() as u64;
        let mut attempt = Attempt::begin(flow.record(), name_of(&request.method), begun - asked, length);
        match self.send_now(bucket, &request).instrument(attempt.span().clone()).await {
            Ok(response) => {
                self.slowing.taken(&bucket.name, || keys, begun);
                attempt.answered(response.status().as_u16(), failure::request_id(response.headers()));
                let place = Some(place).filter(|_| !request.given_out);
                Ok(response.map(|body| HttpResponseBody::new(Paced::received(body, flow.clone(), attempt, place))))
            }
            Err(failure) => {
                match failure.status {
                    Some(status) => attempt.answered(status.as_u16(), failure.request_id.as_deref()),
                    None => attempt.failed(&failure),
                }
                match failure.kind {
                    FailureKind::Answer if failure.retryability() == Retryability::Throttled => {
                        self.slowing.throttled(flow, &bucket.name, keys, begun);
                    }
                    FailureKind::Answer => self.slowing.taken(&bucket.name, || keys, begun),
                    _ => {}
                }
                Err(failure)
            }
        }
    }

    async fn send_now(&self, bucket: &Bucket, request: &Request<'_>) -> Result<HttpResponse, Failure> {
        let mut route = bucket.route();
        let mut redirects = 0;
        let mut ahead = self.clock.ahead();
        let mut corrected = None;
        let mut renewed = false;
        loop {
            let (signed, credential) = self.signed(&route, request, ahead).await?;
            let response = self.transport.send(signed, Some(&request.flow)).await?;
            let (parts, body) = response.into_parts();
            if parts.status.is_success() {
                bucket.seen.store(true, Ordering::Relaxed);
                if corrected.is_some() {
                    self.clock.learn(ahead);
                }
                return check_success(&request.method, parts, body).await;
            }
            if let Some(next) = route.moved(&bucket.name, self, request, parts.status, &parts.headers) {
                redirects += 1;
                if redirects == MAX_REDIRECTS {
                    let message = format!("redirected {MAX_REDIRECTS} times without an answer");
                    return Err(Failure::new(FailureKind::Malformed, message));
                }
                route = Arc::new(next);
                if matches!(parts.status.as_u16(), 301 | 308 | 400) {
                    bucket.set_route(Arc::clone(&route));
                }
                continue;
            }
            let (text, whole) =
                if request.method == Method::HEAD { (Bytes::new(), true) } else { read_error(body).await };
            let mut failure = Failure::from_answer(parts.status, &parts.headers, &text);
            if let Some(place) = Route::leads_astray(parts.status, &parts.headers) {
                failure.message = format!("{}; it leads to {place}, which is not followed", failure.message);
            }
            failure.lost_code = !whole && failure.code.is_none();
            let token = credential.as_ref().and_then(|credential| credential.token.as_deref());
            let keys = keys_in(&request.headers).filter_map(|key| key.to_str().ok());
            failure.hide(token.into_iter().chain(keys));
            if failure.is_code("NoSuchKey") {
                bucket.seen.store(true, Ordering::Relaxed);
            }
            let Some(credential) = credential else { return Err(failure) };

            let verdict = Verdict::of(&failure);
            match corrected.take() {
                None => {
                    let correction = verdict.correction(ahead, failure::date(&parts.headers), Utc::now());
                    if let Some(correction) = correction.filter(|_| !renewed) {
                        ahead = correction;
                        corrected = Some((verdict, failure));
                        continue;
                    }
                }
                Some(_) if verdict == Verdict::Fine => self.clock.learn(ahead),
                // It was not the time, and no other signature is any better.
                Some((Verdict::Doubtful, first)) => return Err(first),
                Some(_) => return Err(failure),
            }
            if renewed || !may_be_expired(&failure, &credential, &request.method) {
                return Err(failure);
            }
            match self.credentials.renew(&credential).await {
                Ok(true) => renewed = true,
                Ok(false) => return Err(failure),
                // That may pass, and what needs it may be done then.
                Err(overloaded) if failure.code.is_some() && overloaded.retryability() != Retryability::Permanent => {
                    return Err(overloaded);
                }
                Err(unavailable) => return Err(failure.with_source(unavailable)),
            }
        }
    }

    /// The URL of a request that whoever has it may send for so long, with these headers; and the time from which that counts.
    pub(super) async fn presigned(
        &self,
        bucket: &Bucket,
        method: &Method,
        key_path: &str,
        query: &str,
        headers: &HeaderMap,
        expires: Duration,
    ) -> Result<(String, DateTime<Utc>), Failure> {
        let route = bucket.route();
        let Some(credential) = self.credentials.current().await? else {
            return Err(Failure::new(FailureKind::Credentials, "an anonymous client has nothing to sign a URL with"));
        };
        let path = format!("{}/{key_path}", route.base);
        let mut headers = headers.clone();
        headers.insert(header::HOST, route.host.clone());
        let target = sign::Target { method, path: &path, query, region: &route.region, service: "s3" };
        let now = Utc::now() + self.clock.ahead();
        let query = self.signer.presign(keys_of(&credential), target, &headers, now, expires).map_err(unsignable)?;
        Ok((format!("{}://{}{path}?{query}", route.scheme, route.authority), now))
    }

    /// The HTTP request with the credentials of now and the time of now, and `ahead` of it; and these credentials.
    pub(super) async fn signed(
        &self,
        route: &Route,
        request: &Request<'_>,
        ahead: TimeDelta,
    ) -> Result<(HttpRequest, Option<Arc<AwsCredential>>), Failure> {
        let mut target = String::with_capacity(route.base.len() + request.key_path.len() + request.query.len() + 2);
        target.push_str(&route.base);
        target.push('/');
        target.push_str(&request.key_path);
        let path = target.len();
        if !request.query.is_empty() {
            target.push('?');
            target.push_str(&request.query);
        }
        let target = Bytes::from(target);
        let mut uri = http::uri::Parts::default();
        uri.scheme = Some(route.scheme.clone());
        uri.authority = Some(route.authority.clone());
        uri.path_and_query = Some(PathAndQuery::from_maybe_shared(target.clone()).map_err(unsendable)?);
        let uri = Uri::from_parts(uri).map_err(unsendable)?;
        if route.scheme == Scheme::HTTP && carries_a_key(&request.headers) {
            let by_proxy = if self.transport.is_proxied(&uri) { " by a proxy" } else { "" };
            if !by_proxy.is_empty() || !is_loopback(route.authority.host()) {
                let place = &route.authority;
                let message = format!("a customer's encryption key is not sent to http://{place}{by_proxy}: use https");
                return Err(Failure::new(FailureKind::Insecure, message));
            }
        }

        let mut headers = request.headers.clone();
        headers.insert(header::HOST, route.host.clone());
        let credential = self.credentials.current().await?;
        if let Some(credential) = &credential {
            let payload = match request.body.content_length() {
                0 => EMPTY_PAYLOAD,
                _ if self.signs_payload(&route.scheme) => hashed(&request.body).await?,
                _ => UNSIGNED_PAYLOAD,
            };
            headers.insert(sign::CONTENT_SHA256, payload);
            let path = std::str::from_utf8(&target[..path]).map_err(unsendable)?;
            let target = sign::Target {
                method: &request.method,
                path,
                query: &request.query,
                region: &route.region,
                service: "s3",
            };
            let now = Utc::now() + ahead;
            self.signer.sign(keys_of(credential), target, &mut headers, now).map_err(unsignable)?;
        }
        headers.insert(header::USER_AGENT, USER_AGENT);

        let mut signed = http::Request::new(request.body.clone());
        *signed.method_mut() = request.method.clone();
        *signed.uri_mut() = uri;
        *signed.headers_mut() = headers;
        Ok((signed, credential))
    }

    /// TLS protects the body on its way; without it, the signature does.
    fn signs_payload(&self, scheme: &Scheme) -> bool {
        self.payload_signing.unwrap_or(*scheme != Scheme::HTTPS)
    }
}

/// As what is counted has it.
fn name_of(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::PUT => "PUT",
        Method::POST => "POST",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}

fn keys_of(credential: &AwsCredential) -> SigningKeys<'_> {
    SigningKeys {
        access_key_id: &credential.key_id,
        secret_access_key: &credential.secret_key,
        session_token: credential.token.as_deref(),
    }
}

fn unsignable(header: sign::Unsignable) -> Failure {
    Failure::new(FailureKind::Request, format!("the value of the header {} is not visible text", header.0))
}

/// Whether other credentials may be accepted. A HEAD has no code to say so, and credentials without a token do not expire.
fn may_be_expired(failure: &Failure, credential: &AwsCredential, method: &Method) -> bool {
    match failure.code.as_deref() {
        Some("ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired" | "InvalidToken" | "InvalidTokenId") => {
            true
        }
        Some(_) => false,
        None => *method == Method::HEAD && failure.has_status(StatusCode::BAD_REQUEST) && credential.token.is_some(),
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn unsendable(error: impl std::error::Error + Send + Sync + 'static) -> Failure {
    Failure::new(FailureKind::Request, "the request cannot be sent").with_source(error)
}

/// The SHA-256 of a body, as it stands in the headers.
async fn hashed(body: &HttpRequestBody) -> Result<HeaderValue, Failure> {
    let length = body.content_length();
    let mut chunks = Vec::new();
    let mut frames = body.clone();
    while let Some(frame) = frames.frame().await {
        chunks.extend(frame.map_err(Failure::from_http)?.into_data());
    }
    let hash = if length > HASHED_INLINE {
        tokio::task::spawn_blocking(move || sign::payload_hash(&chunks)).await.map_err(unsendable)?
    } else {
        sign::payload_hash(&chunks)
    };
    HeaderValue::from_str(&hash).map_err(unsendable)
}

/// S3 may answer a write with 200 and then find out that it failed.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html>
async fn check_success(
    method: &Method,
    parts: http::response::Parts,
    body: HttpResponseBody,
) -> Result<HttpResponse, Failure> {
    if *method == Method::GET || *method == Method::HEAD {
        return Ok(HttpResponse::from_parts(parts, body));
    }
    let (document, whole) = read(body, MAX_RESULT_BODY).await?;
    if !whole {
        return Err(Failure::new(FailureKind::Malformed, "an answer to a write that is longer than 16 MiB"));
    }
    match Failure::from_error_in_success(parts.status, &parts.headers, &document) {
        Some(failure) => Err(failure),
        None => Ok(HttpResponse::from_parts(parts, document.into())),
    }
}

/// The body of an error answer, as far as it comes, and whether nothing broke it off: the status alone says that it failed.
async fn read_error(mut body: HttpResponseBody) -> (Bytes, bool) {
    let mut text = BytesMut::new();
    let mut whole = true;
    while text.len() < MAX_ERROR_BODY
        && let Some(frame) = body.frame().await
    {
        match frame {
            Ok(frame) => text.extend(frame.into_data()),
            Err(_) => {
                whole = false;
                break;
            }
        }
    }
    text.truncate(MAX_ERROR_BODY);
    (text.freeze(), whole)
}

/// At most `limit` bytes of a body, and whether that was all.
pub(super) async fn read(body: HttpResponseBody, limit: usize) -> Result<(Bytes, bool), Failure> {
    use futures::StreamExt as _;

    let mut chunks = body.bytes_stream();
    let mut text = BytesMut::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(Failure::from_http)?;
        if text.len() + chunk.len() > limit {
            text.extend_from_slice(&chunk[..limit - text.len()]);
            return Ok((text.freeze(), false));
        }
        text.extend_from_slice(&chunk);
    }
    Ok((text.freeze(), true))
}

/// The wire as `object_store` sees it: every request of one bucket.
#[derive(Debug)]
pub(super) struct BucketService {
    pub(super) wire: Arc<Wire>,
    pub(super) bucket: Arc<Bucket>,
}

#[async_trait::async_trait]
impl HttpService for BucketService {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        let addition = BESIDE.try_with(|beside| beside.addition.take());
        let Addition { headers, query, flow, admitted, given_out } = addition.ok().flatten().unwrap_or_default();
        let key_path = parts.uri.path().strip_prefix('/').and_then(keys::from_url_path).ok_or_else(|| {
            Failure::new(FailureKind::Request, format!("{:?} is not the path of a key", parts.uri.path())).into_http()
        })?;
        let query = Some(query).filter(|query| !query.is_empty());
        let query = query.unwrap_or_else(|| keys::canonical_query(parts.uri.query().unwrap_or(""))).into();
        let prefix = "".into();
        let method = parts.method;
        let request = Request { method, key_path, query, headers, body, prefix, flow, admitted, given_out };
        let response = self.wire.send(&self.bucket, request).await.map_err(Failure::into_http)?;
        Ok(hand_over(response))
    }
}

/// Gives `object_store` the two headers that it insists on and the caller all of them: one that `object_store` cannot read
/// must not fail the request.
fn hand_over(response: HttpResponse) -> HttpResponse {
    let (mut parts, body) = response.into_parts();
    let headers = std::mem::take(&mut parts.headers);
    let length = headers.get(header::CONTENT_LENGTH).cloned().unwrap_or(HeaderValue::from_static("0"));
    parts.headers.insert(header::CONTENT_LENGTH, length);
    parts.headers.insert(header::ETAG, HeaderValue::from_static("-"));
    let head = ResponseHead { status: parts.status, headers };
    // Of a request that nobody added anything to, nobody asks for it.
    let _ = BESIDE.try_with(|beside| beside.head.set(Some(head)));
    HttpResponse::from_parts(parts, body)
}

#[cfg(test)]
pub(super) mod tests {
    use hyper_util::client::proxy::matcher::Matcher;

    use super::*;
    use crate::store::connector::TransportConfig;

    pub(in crate::store) fn wire(endpoint: Option<&str>, virtual_host_style: bool) -> Wire {
        let endpoint = endpoint.map(|url| {
            let uri: Uri = url.parse().unwrap();
            let base = uri.path().trim_end_matches('/').to_owned();
            let parts = uri.into_parts();
            Endpoint { scheme: parts.scheme.unwrap(), authority: parts.authority.unwrap(), base }
        });
        Wire {
            transport: Transport::new(&TransportConfig::default()).unwrap(),
            credentials: Credentials::Anonymous,
            signer: Signer::default(),
            payload_signing: None,
            clock: Clock::default(),
            endpoint,
            region: "us-east-1".to_owned(),
            virtual_host_style,
            slowing: Slowing::default(),
        }
    }

    pub(in crate::store) fn a_get(key_path: &str, headers: HeaderMap) -> Request<'_> {
        let body = HttpRequestBody::empty();
        Request {
            method: Method::GET,
            key_path: key_path.into(),
            query: "".into(),
            headers,
            body,
            prefix: "".into(),
            flow: Flow::default(),
            admitted: true,
            given_out: false,
        }
    }

    #[tokio::test]
    async fn a_customers_key_is_sent_over_tls_or_to_the_own_machine() {
        let headers = crate::store::ReadOptions {
            customer_key: Some(&crate::encryption::CustomerKey::new([7; 32])),
            ..Default::default()
        };
        let headers = headers.to_headers().unwrap();
        for (endpoint, sent) in [
            ("https://host", true),
            ("http://localhost:9000", true),
            ("http://127.1.2.3", true),
            ("http://[::1]:9000", true),
            ("http://host", false),
            ("http://192.168.0.1:9000", false),
            ("http://127.0.0.1.example", false),
        ] {
            let mut wire = wire(Some(endpoint), false);
            let without = TransportConfig { proxy_from_env: false, ..TransportConfig::default() };
            wire.transport = Transport::new(&without).unwrap();
            let route = Route::new("b", &wire, "x").unwrap();
            let request = a_get("k", headers.clone());
            let signed = wire.signed(&route, &request, TimeDelta::zero()).await;
            assert_eq!(signed.is_ok(), sent, "{endpoint}");
            if let Err(failure) = signed {
                assert_eq!(failure.into_error(1).kind(), crate::ErrorKind::Config);
            }
        }
    }

    #[tokio::test]
    async fn a_customers_key_for_the_own_machine_does_not_go_to_a_proxy() {
        let key = crate::encryption::CustomerKey::new([7; 32]);
        let options = crate::store::ReadOptions { customer_key: Some(&key), ..Default::default() };
        for (endpoint, sent) in [("http://localhost:9000", false), ("https://localhost:9000", true)] {
            let mut wire = wire(Some(endpoint), false);
            let proxies = Matcher::builder().all("http://proxy.example").build();
            wire.transport = Transport::with_proxies(&TransportConfig::default(), proxies).unwrap();
            let route = Route::new("b", &wire, "x").unwrap();
            let request = a_get("k", options.to_headers().unwrap());
            let signed = wire.signed(&route, &request, TimeDelta::zero()).await;
            assert_eq!(signed.is_ok(), sent, "{endpoint}");
            if let Err(failure) = signed {
                assert!(failure.message.contains("proxy"), "{failure}");
            }
        }
    }
}
