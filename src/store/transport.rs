//! Bytes to a host and back: connections, TLS, proxies, timeouts. Knows HTTP and nothing of S3.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};
use std::time::Duration;

use http::uri::Authority;
use http::{Uri, header};
use http_body_util::BodyExt as _;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use object_store::client::{HttpRequest, HttpRequestBody, HttpResponse, HttpResponseBody};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::net::TcpStream;
use tokio::runtime::{self, Handle};
use tokio_util::task::AbortOnDropHandle;
use tower_service::Service;

use super::failure::{Failure, FailureKind};
use super::idle::{Direction, Idle, IdleTimer, LimitedBody, Patience, Traffic};
use super::paced::Paced;
use crate::limits::Flow;

/// Which certificate authorities are trusted, beside those that are added one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum TlsRoots {
    /// Those of the platform, or of `SSL_CERT_FILE` and `SSL_CERT_DIR`.
    #[default]
    Platform,
    /// Mozilla's, as of the crate `webpki-roots`: for containers that have none (feature `bundled-roots`).
    #[cfg(feature = "bundled-roots")]
    Bundled,
    /// None: only those that [`ca_certificate`](crate::ClientBuilder::ca_certificate) adds.
    None,
}

/// How connections are made.
#[derive(Debug, Clone)]
pub(crate) struct TransportConfig {
    pub(crate) roots: TlsRoots,
    /// Certificates trusted beside these.
    pub(crate) ca_certificates: Vec<CaCertificates>,
    /// Whether HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY are followed.
    pub(crate) proxy_from_env: bool,
    /// For name lookup, TCP, the proxy and TLS together.
    pub(crate) connect_timeout: Duration,
    /// How long a connection in use may neither read nor write a byte.
    pub(crate) idle_timeout: Duration,
}

/// Certificates of authorities.
#[derive(Debug, Clone)]
pub(crate) struct CaCertificates {
    /// Where they stand, as an error names it.
    pub(crate) place: String,
    pub(crate) pem: Vec<u8>,
}

impl Default for TransportConfig {
    fn default() -> Self {
        Self {
            roots: TlsRoots::default(),
            ca_certificates: Vec::new(),
            proxy_from_env: true,
            connect_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(20),
        }
    }
}

/// How long an unused connection is kept. A server that closes it first costs a request another attempt.
const POOL_IDLE: Duration = Duration::from_secs(15);

type Pool = legacy::Client<TimedConnector, Paced<HttpRequestBody>>;

/// A pool of connections for each runtime: a connection moves only while its own runtime is driven.
#[derive(Clone)]
pub(super) struct Transport {
    connector: TimedConnector,
    pools: Arc<RwLock<HashMap<runtime::Id, RuntimePool>>>,
    proxies: Arc<Matcher>,
    idle_timeout: Duration,
}

struct RuntimePool {
    pool: Pool,
    /// A task that ends with its runtime.
    alive: AbortOnDropHandle<()>,
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").finish_non_exhaustive()
    }
}

impl Transport {
    /// # Errors
    ///
    /// A text that says what is wrong with `config.ca_certificates`.
    pub(super) fn new(config: &TransportConfig) -> Result<Self, String> {
        let proxies = if config.proxy_from_env { Matcher::from_env() } else { Matcher::builder().build() };
        Self::with_proxies(config, proxies)
    }

    pub(super) fn with_proxies(config: &TransportConfig, proxies: Matcher) -> Result<Self, String> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(Duration::from_secs(60)));
        let proxies = Arc::new(proxies);
        let connector = Connector { tcp, proxies: Arc::clone(&proxies), idle_timeout: config.idle_timeout };
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(tls_config(config.roots, &config.ca_certificates)?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        let connector = TimedConnector { https, timeout: config.connect_timeout };
        Ok(Self { connector, pools: Arc::default(), proxies, idle_timeout: config.idle_timeout })
    }

    /// Whether a proxy is between here and `uri`.
    pub(super) fn is_proxied(&self, uri: &Uri) -> bool {
        self.proxies.intercept(uri).is_some()
    }

    /// The pool of the runtime that polls.
    fn pool(&self) -> Pool {
        let runtime = Handle::current().id();
        if let Some(known) = self.pools.read().unwrap_or_else(PoisonError::into_inner).get(&runtime) {
            return known.pool.clone();
        }
        let pool = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE)
            .build(self.connector.clone());
        let alive = AbortOnDropHandle::new(tokio::spawn(std::future::pending()));
        let mut pools = self.pools.write().unwrap_or_else(PoisonError::into_inner);
        pools.retain(|_, pool| !pool.alive.is_finished());
        pools.entry(runtime).or_insert(RuntimePool { pool, alive }).pool.clone()
    }

    /// Sends one request once, its body at the pace of `flow`. Ends with the headers of the answer, whatever its status.
    pub(super) async fn send(&self, mut request: HttpRequest, flow: Option<&Flow>) -> Result<HttpResponse, Failure> {
        // For https the tunnel authenticates; a plain request does it itself.
        if request.uri().scheme_str() == Some("http") {
            let proxy = self.proxies.intercept(request.uri());
            if let Some(credentials) = proxy.as_ref().and_then(|proxy| proxy.basic_auth()) {
                request.headers_mut().insert(header::PROXY_AUTHORIZATION, credentials.clone());
            }
        }
        let host = request.uri().authority().cloned();
        let patience = Patience::begin(&mut request);
        let sent = self.pool().request(request.map(|body| Paced::sent(body, flow.cloned())));
        let answered = match &patience {
            Some(patience) => patience.wait(sent).await?,
            None => sent.await,
        };
        let response = answered.map_err(|error| {
            let connecting = host.filter(|_| error.is_connect());
            classify(error, connecting.as_ref())
        })?;
        let limit = patience.and_then(|patience| patience.limit(self.idle_timeout));
        Ok(response.map(|body| {
            let body = body.map_err(|error| classify(error, None).into_http());
            match limit {
                Some(limit) => HttpResponseBody::new(LimitedBody::new(body, limit)),
                None => HttpResponseBody::new(body),
            }
        }))
    }
}

/// The kind of a failure below HTTP, from the types in its chain of sources. `connecting` is the host that was not reached.
fn classify(error: impl StdError + Send + Sync + 'static, connecting: Option<&Authority>) -> Failure {
    let mut timed_out = false;
    let mut unreadable = false;
    let mut cause: Option<&(dyn StdError + 'static)> = Some(&error);
    while let Some(current) = cause {
        timed_out |= current.downcast_ref::<io::Error>().is_some_and(|io| io.kind() == io::ErrorKind::TimedOut);
        unreadable |= current.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse);
        cause = current.source();
    }
    let failure = match (connecting, timed_out, unreadable) {
        (Some(host), ..) => Failure::new(FailureKind::Connect, format!("could not connect to {host}")),
        (None, true, _) => Failure::new(FailureKind::Timeout, "nothing moved on the connection for too long"),
        (None, _, true) => Failure::new(FailureKind::Malformed, "the server does not speak HTTP"),
        (None, ..) => Failure::new(FailureKind::Interrupted, "the connection was interrupted"),
    };
    failure.with_source(error)
}

fn tls_config(trusted: TlsRoots, ca_certificates: &[CaCertificates]) -> Result<rustls::ClientConfig, String> {
    let mut roots = rustls::RootCertStore::empty();
    match trusted {
        // A platform without roots is not an error here: plain HTTP may be all that is used.
        TlsRoots::Platform => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
        #[cfg(feature = "bundled-roots")]
        TlsRoots::Bundled => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        TlsRoots::None => {}
    }
    for CaCertificates { place, pem } in ca_certificates {
        let certificates = CertificateDer::pem_slice_iter(pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| format!("{place} does not hold PEM certificates: {error}"))?;
        if certificates.is_empty() {
            return Err(format!("{place} holds no PEM certificate"));
        }
        for certificate in certificates {
            roots.add(certificate).map_err(|error| format!("{place} holds no usable certificate: {error}"))?;
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

type BoxError = Box<dyn StdError + Send + Sync>;

/// Connects, TLS included, within a time.
#[derive(Clone)]
struct TimedConnector {
    https: HttpsConnector<Connector>,
    timeout: Duration,
}

impl Service<Uri> for TimedConnector {
    type Response = MaybeHttpsStream<WatchedStream>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.https.poll_ready(cx)
    }

    fn call(&mut self, destination: Uri) -> Self::Future {
        let limit = self.timeout;
        let connected = tokio::time::timeout(limit, self.https.call(destination));
        Box::pin(async move {
            connected.await.unwrap_or_else(|_| {
                let message = format!("no connection within {limit:?}");
                Err(io::Error::new(io::ErrorKind::TimedOut, message).into())
            })
        })
    }
}

/// Connects to a host or to its proxy.
#[derive(Debug, Clone)]
struct Connector {
    tcp: HttpConnector,
    proxies: Arc<Matcher>,
    idle_timeout: Duration,
}

impl Connector {
    async fn connect(mut self, destination: Uri) -> Result<WatchedStream, BoxError> {
        let proxy = self.proxies.intercept(&destination);
        // In plain text, the password of a TLS proxy would be for all to read.
        if let Some(scheme) =
            proxy.as_ref().and_then(|proxy| proxy.uri().scheme_str()).filter(|scheme| *scheme != "http")
        {
            let message = format!("proxies of the scheme {scheme} are not supported, only of http");
            return Err(io::Error::new(io::ErrorKind::Unsupported, message).into());
        }
        let (io, proxied) = match proxy {
            None => (self.tcp.call(destination).await?, false),
            Some(proxy) if destination.scheme_str() == Some("https") => {
                let mut tunnel = Tunnel::new(proxy.uri().clone(), self.tcp);
                if let Some(credentials) = proxy.basic_auth() {
                    tunnel = tunnel.with_auth(credentials.clone());
                }
                (tunnel.call(destination).await?, false)
            }
            Some(proxy) => (self.tcp.call(proxy.uri().clone()).await?, true),
        };
        Ok(WatchedStream { io, proxied, idle: IdleTimer::new(self.idle_timeout), traffic: Traffic::new() })
    }
}

impl Service<Uri> for Connector {
    type Response = WatchedStream;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<WatchedStream, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, destination: Uri) -> Self::Future {
        Box::pin(self.clone().connect(destination))
    }
}

/// A connection that fails when it is waited for and nothing moves.
struct WatchedStream {
    io: TokioIo<TcpStream>,
    proxied: bool,
    idle: IdleTimer,
    traffic: Traffic,
}

impl WatchedStream {
    /// Passes on what a read or a write said, or the timeout when it has been pending for too long.
    fn watch<T>(
        &mut self,
        cx: &mut Context<'_>,
        direction: Direction,
        polled: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        self.idle.watch(cx, direction, polled).map(|watched| {
            watched.unwrap_or_else(|Idle| {
                let message = format!("nothing moved for {:?}", self.idle.timeout);
                Err(io::Error::new(io::ErrorKind::TimedOut, message))
            })
        })
    }

    fn watch_write(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = polled {
            self.traffic.wrote(bytes);
        }
        self.watch(cx, Direction::Write, polled)
    }
}

impl hyper::rt::Read for WatchedStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.io).poll_read(cx, buffer);
        if let Poll::Ready(Ok(())) = polled {
            this.traffic.read();
        }
        this.watch(cx, Direction::Read, polled)
    }
}

impl hyper::rt::Write for WatchedStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.io).poll_write(cx, bytes);
        this.watch_write(cx, polled)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.io).poll_write_vectored(cx, bytes);
        this.watch_write(cx, polled)
    }
}

impl Connection for WatchedStream {
    fn connected(&self) -> Connected {
        // A proxy wants the whole URL in the request line.
        self.io.connected().proxy(self.proxied).extra(self.traffic.clone())
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn a_runtime_that_is_gone_leaves_no_pool() {
        let transport = Transport::new(&TransportConfig::default()).unwrap();
        for _ in 0..10 {
            let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async { drop((transport.pool(), transport.pool())) });
            assert_eq!(transport.pools.read().unwrap().len(), 1);
        }
    }

    #[tokio::test]
    async fn a_proxy_that_is_not_plain_http_gets_no_byte() {
        for scheme in ["https", "socks5"] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let proxies = Matcher::builder().all(format!("{scheme}://user:hunter2@{address}")).build();
            let mut tcp = HttpConnector::new();
            tcp.enforce_http(false);
            let connector = Connector { tcp, proxies: Arc::new(proxies), idle_timeout: Duration::from_secs(1) };
            for destination in ["https://s3.invalid/", "http://s3.invalid/"] {
                let (mut connector, destination) = (connector.clone(), Uri::from_static(destination));
                let spoken_to = async {
                    let (mut connection, _) = listener.accept().await.unwrap();
                    let mut heard = [0; 256];
                    let length = connection.read(&mut heard).await.unwrap();
                    String::from_utf8_lossy(&heard[..length]).into_owned()
                };
                let error = tokio::select! {
                    connected = connector.call(destination) => connected.err().expect("no connection"),
                    heard = spoken_to => panic!("a {scheme} proxy was told {heard:?}"),
                };
                let error = error.to_string();
                assert!(error.contains(scheme) && !error.contains("hunter2"), "{error}");
            }
        }
    }
}
