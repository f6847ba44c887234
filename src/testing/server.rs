use std::fmt;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bytes::Bytes;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use s3s::service::S3ServiceBuilder as S3sBuilder;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

use super::access::{Access, User};
use super::body::{HangUp, Socket};
use super::conditions::WriteCondition;
use super::connection::Shared;
use super::content::Content;
use super::fault::{Fault, Faults};
use super::log::{Log, LoggedRequest};
use super::object::Object;
use super::service::{Door, Service};
use super::store::Store;
use super::sync::Gate;

/// An S3 server inside this process, on a port of its own on `127.0.0.1`.
///
/// It keeps objects in memory, verifies signatures, and follows S3 where clients notice: exact keys, listings,
/// ranges, conditional requests, multipart uploads, error codes. Dropping it closes every connection and forgets
/// every object. It runs on the Tokio runtime that it was started on.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use s3flow::testing::S3Server;
///
/// let server = S3Server::start().await?;
/// server.put_object("bucket", "data/a.txt", "hello");
///
/// // Point a client at `server.endpoint()`, with path-style addressing, `server.region()`,
/// // `server.access_key_id()` and `server.secret_access_key()`.
///
/// assert_eq!(server.object("bucket", "data/a.txt").as_deref(), Some(&b"hello"[..]));
/// assert_eq!(server.keys("bucket"), ["data/a.txt"]);
/// # Ok(()) }
/// ```
pub struct S3Server {
    shared: Arc<Shared>,
    service: Arc<Service>,
    user: UserKeys,
    accepting: AbortHandle,
}

#[derive(Clone)]
struct UserKeys {
    access_key_id: String,
    secret_access_key: String,
}

impl S3Server {
    /// Starts a server with the defaults of [`S3ServerBuilder`].
    ///
    /// # Errors
    ///
    /// When no port can be had.
    ///
    /// # Panics
    ///
    /// Outside of a Tokio runtime.
    pub async fn start() -> io::Result<Self> {
        Self::builder().start().await
    }

    /// Prepares a server with other settings.
    pub fn builder() -> S3ServerBuilder {
        S3ServerBuilder::default()
    }

    /// `http://127.0.0.1:PORT`, without a slash at the end.
    pub fn endpoint(&self) -> &str {
        &self.service.endpoint
    }

    /// The access key id that the server knows.
    pub fn access_key_id(&self) -> &str {
        &self.user.access_key_id
    }

    /// The secret that belongs to [`access_key_id`](Self::access_key_id).
    pub fn secret_access_key(&self) -> &str {
        &self.user.secret_access_key
    }

    /// The region that signatures must name.
    pub fn region(&self) -> &str {
        &self.service.access.region
    }

    /// Creates a bucket, if it does not exist.
    pub fn create_bucket(&self, bucket: &str) {
        self.service.store.create_bucket(bucket);
    }

    /// Stores an object, in place of any that was there. Creates the bucket when it is missing.
    ///
    /// The bytes are kept as they are, without a copy.
    pub fn put_object(&self, bucket: &str, key: &str, body: impl Into<Bytes>) {
        self.service.store.create_bucket(bucket);
        let object = Object::plain(Content::from(body.into()));
        if let Some(bucket) = self.service.store.find(bucket) {
            // Without a condition, nothing can refuse it.
            let _ = bucket.put(key, Arc::new(object), &WriteCondition::None);
        }
    }

    /// The bytes of an object, or `None` when there is no such object.
    pub fn object(&self, bucket: &str, key: &str) -> Option<Bytes> {
        Some(self.service.store.find(bucket)?.get(key)?.content.to_bytes())
    }

    /// Removes an object. `false` when there was none.
    pub fn remove_object(&self, bucket: &str, key: &str) -> bool {
        self.service.store.find(bucket).is_some_and(|bucket| bucket.remove(key))
    }

    /// All keys of a bucket, in byte order. Empty when the bucket is missing.
    pub fn keys(&self, bucket: &str) -> Vec<String> {
        self.service.store.find(bucket).map(|bucket| bucket.keys()).unwrap_or_default()
    }

    /// The keys of the multipart uploads of a bucket that are neither completed nor aborted, in byte order. A key
    /// with several is there several times.
    pub fn multipart_uploads(&self, bucket: &str) -> Vec<String> {
        let uploads = self.service.store.find(bucket).map(|bucket| bucket.uploads()).unwrap_or_default();
        uploads.into_iter().map(|(_, upload)| upload.key).collect()
    }

    /// From now on, every request for this key is answered with `403 AccessDenied`. The key stays in listings.
    pub fn deny(&self, bucket: &str, key: &str) {
        self.service.access.deny(bucket, key);
    }

    /// The requests so far in order of arrival, those not yet answered included.
    ///
    /// The log holds the last 100,000 requests. It is empty when it was [switched off](S3ServerBuilder::log).
    pub fn log(&self) -> Vec<LoggedRequest> {
        self.shared.log.requests()
    }

    /// Forgets the requests so far. Those at work are not logged again when they end.
    pub fn clear_log(&self) {
        self.shared.log.clear();
    }

    /// Waits until the log is as the condition wants it: looks at once, and again at each change.
    ///
    /// The condition is called while the log is locked, so it must not call the server.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
    /// # let server = s3flow::testing::S3Server::start().await?;
    /// # tokio::net::TcpStream::connect(server.endpoint().trim_start_matches("http://")).await?
    /// #     .try_write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")?;
    /// // The first request has arrived, whether or not it is answered.
    /// server.wait_until(|log| !log.is_empty()).await;
    /// # Ok(()) }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    ///
    /// # Panics
    ///
    /// When the log was switched off.
    pub async fn wait_until(&self, condition: impl FnMut(&[LoggedRequest]) -> bool + Send) {
        self.shared.log.wait_until(condition).await;
    }

    /// How many connections clients hold open now, idle ones included.
    pub fn open_connections(&self) -> usize {
        self.shared.connections.open()
    }

    /// Waits until the number of open connections is as the condition wants it.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn wait_for_connections(&self, condition: impl FnMut(usize) -> bool + Send) {
        self.shared.connections.wait_for(condition).await;
    }

    /// Holds every request that arrives from now on: it is logged and waits, with nothing carried out, until
    /// [`release`](Self::release).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
    /// # let server = s3flow::testing::S3Server::start().await?;
    /// server.hold();
    /// // … start something that sends requests …
    /// // server.wait_until(|log| log.len() == 8).await;     // eight are in flight, and no ninth can start
    /// server.release();
    /// # Ok(()) }
    /// ```
    pub fn hold(&self) {
        self.shared.gate.hold();
    }

    /// Lets all held requests go, and holds no more.
    pub fn release(&self) {
        self.shared.gate.release();
    }

    /// Adds a fault. It counts calls from now on, and those that are [held](Self::hold) now.
    pub fn inject(&self, fault: Fault) {
        self.shared.faults.inject(fault);
    }

    /// Removes all faults.
    pub fn clear_faults(&self) {
        self.shared.faults.clear();
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        // The task owns the listener and the connections.
        self.accepting.abort();
    }
}

impl fmt::Debug for S3Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { shared: _, service, user: UserKeys { access_key_id, secret_access_key: _ }, accepting: _ } = self;
        f.debug_struct("S3Server")
            .field("endpoint", &service.endpoint)
            .field("region", &service.access.region)
            .field("access_key_id", access_key_id)
            .field("secret_access_key", &"******")
            .finish_non_exhaustive()
    }
}

/// Settings of an [`S3Server`] that is not started yet.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
/// use s3flow::testing::S3Server;
///
/// let server = S3Server::builder().bucket("in").bucket("out").page_size(7).start().await?;
/// server.put_object("in", "a", "1");
/// # Ok(()) }
/// ```
#[derive(Clone)]
#[must_use = "a builder does nothing until it is started"]
pub struct S3ServerBuilder {
    buckets: Vec<String>,
    page_size: usize,
    latency: Duration,
    user: UserKeys,
    region: String,
    anonymous: bool,
    log: bool,
}

impl Default for S3ServerBuilder {
    fn default() -> Self {
        Self {
            buckets: Vec::new(),
            page_size: 1000,
            latency: Duration::ZERO,
            user: UserKeys {
                access_key_id: "test-access-key-id".to_owned(),
                secret_access_key: "test-secret-access-key".to_owned(),
            },
            region: "us-east-1".to_owned(),
            anonymous: false,
            log: true,
        }
    }
}

impl S3ServerBuilder {
    /// Adds a bucket. Without any, the server has one that is named `bucket`.
    pub fn bucket(mut self, name: impl Into<String>) -> Self {
        self.buckets.push(name.into());
        self
    }

    /// How many keys and common prefixes a page of a listing holds at most, whatever a client asks for. The
    /// default is that of S3, 1000.
    pub fn page_size(mut self, keys: usize) -> Self {
        self.page_size = keys;
        self
    }

    /// How long every request waits before it is carried out. The default is not at all.
    pub fn latency(mut self, latency: Duration) -> Self {
        self.latency = latency;
        self
    }

    /// The keys that requests are signed with.
    pub fn credentials(mut self, access_key_id: impl Into<String>, secret_access_key: impl Into<String>) -> Self {
        self.user = UserKeys { access_key_id: access_key_id.into(), secret_access_key: secret_access_key.into() };
        self
    }

    /// The region that signatures must name. The default is `us-east-1`.
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.region = region.into();
        self
    }

    /// Whether requests without a signature are carried out too; those that have one must have a correct one
    /// all the same. The default is `false`: they are answered with `403 AccessDenied`.
    pub fn anonymous(mut self, anonymous: bool) -> Self {
        self.anonymous = anonymous;
        self
    }

    /// Whether requests are logged. The default is `true`; a benchmark may want to do without.
    pub fn log(mut self, log: bool) -> Self {
        self.log = log;
        self
    }

    /// Starts the server.
    ///
    /// # Errors
    ///
    /// When no port can be had.
    ///
    /// # Panics
    ///
    /// Outside of a Tokio runtime.
    pub async fn start(self) -> io::Result<S3Server> {
        let Self { mut buckets, page_size, latency, user, region, anonymous, log } = self;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let store = Arc::new(Store::default());
        if buckets.is_empty() {
            buckets.push("bucket".to_owned());
        }
        for bucket in &buckets {
            store.create_bucket(bucket);
        }
        let access = Arc::new(Access::new(anonymous, region));
        let service = Arc::new(Service { store, access, page_size, endpoint });
        let mut s3 = S3sBuilder::new(Door(Arc::clone(&service)));
        s3.set_route(Door(Arc::clone(&service)));
        s3.set_auth(User {
            access_key_id: user.access_key_id.clone(),
            secret_access_key: user.secret_access_key.clone(),
        });
        let shared = Arc::new(Shared {
            log: Arc::new(Log::new(log)),
            gate: Gate::new(),
            faults: Faults::default(),
            connections: Arc::default(),
            latency,
            s3: s3.build(),
            requests: AtomicU64::new(0),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared))).abort_handle();
        Ok(S3Server { shared, service, user, accepting })
    }
}

impl fmt::Debug for S3ServerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { buckets, page_size, latency, user, region, anonymous, log } = self;
        f.debug_struct("S3ServerBuilder")
            .field("buckets", buckets)
            .field("page_size", page_size)
            .field("latency", latency)
            .field("access_key_id", &user.access_key_id)
            .field("secret_access_key", &"******")
            .field("region", region)
            .field("anonymous", anonymous)
            .field("log", log)
            .finish()
    }
}

/// Runs until it is aborted; its connections end with it.
async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connect(stream, Arc::clone(&shared)));
                }
                // Out of file descriptors, most likely: some come back when connections end.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connect(stream: TcpStream, shared: Arc<Shared>) {
    let _open = shared.connections.enter();
    // Without it, answers in two segments wait for the client's delayed acknowledgement.
    let _ = stream.set_nodelay(true);
    let hang_up = Arc::new(HangUp::default());
    let socket = Socket::new(stream, Arc::clone(&hang_up));
    let service = service_fn(move |request| Arc::clone(&shared).handle(Arc::clone(&hang_up), request));
    // An error here is a client that left, or a fault.
    let _ = http1::Builder::new().serve_connection(socket, service).await;
}
