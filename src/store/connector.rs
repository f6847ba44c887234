//! One connection to a host: TLS, proxies, and how long nothing may move on it.

use std::error::Error as StdError;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioIo;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::net::TcpStream;
use tower_service::Service;

use super::idle::{Direction, Idle, IdleTimer, Traffic};

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

pub(super) type BoxError = Box<dyn StdError + Send + Sync>;

/// Connects, TLS included, within a time.
#[derive(Clone)]
pub(super) struct TimedConnector {
    https: HttpsConnector<Connector>,
    timeout: Duration,
}

impl TimedConnector {
    /// # Errors
    ///
    /// A text that says what is wrong with `config.ca_certificates`.
    pub(super) fn new(config: &TransportConfig, proxies: Arc<Matcher>) -> Result<Self, String> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(Duration::from_secs(60)));
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(tls_config(config.roots, &config.ca_certificates)?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(Connector { tcp, proxies, idle_timeout: config.idle_timeout });
        Ok(Self { https, timeout: config.connect_timeout })
    }
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
pub(super) struct WatchedStream {
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
