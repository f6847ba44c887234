use std::fmt;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use s3s::config::{S3Config, StaticConfigProvider};
use s3s::service::S3ServiceBuilder;
use tokio::net::TcpListener;

use super::accept::accept;
use super::access::{Access, User};
use super::clock::Clock;
use super::connection::Shared;
use super::fault::Faults;
use super::log::Log;
use super::object::Etags;
use super::server::S3Server;
use super::service::{Door, Service};
use super::store::Store;
use super::sync::Gate;

/// S3 copies nothing larger in one request.
const MAX_COPY: u64 = 5 * 1024 * 1024 * 1024;

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
    user: User,
    region: String,
    anonymous: bool,
    log: bool,
    md5: bool,
    discard_content: bool,
    max_copy_size: u64,
    conditional_writes: bool,
    conditional_completes: bool,
    clock_offset: i64,
}

impl Default for S3ServerBuilder {
    fn default() -> Self {
        Self {
            buckets: Vec::new(),
            page_size: 1000,
            latency: Duration::ZERO,
            user: User {
                access_key_id: "test-access-key-id".to_owned(),
                secret_access_key: "test-secret-access-key".to_owned(),
            },
            region: "us-east-1".to_owned(),
            anonymous: false,
            log: true,
            md5: true,
            discard_content: false,
            max_copy_size: MAX_COPY,
            conditional_writes: true,
            conditional_completes: true,
            clock_offset: 0,
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
        self.user = User { access_key_id: access_key_id.into(), secret_access_key: secret_access_key.into() };
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

    /// Whether the ETag of an object is the MD5 of its content, as in S3 without encryption. The default is `true`.
    /// MD5 is the slowest part of a large upload by far: without it, ETags are of the same form, but made of
    /// a faster checksum.
    pub fn md5(mut self, md5: bool) -> Self {
        self.md5 = md5;
        self
    }

    /// Whether the bytes of uploads are thrown away as soon as they are counted and hashed. The default is `false`.
    ///
    /// An upload of any size then takes next to no memory. Objects keep their size and the ETag of what was received;
    /// a GET answers as many zeros, without a checksum. What [`put_object`](S3Server::put_object) stores is kept as ever.
    pub fn discard_content(mut self, discard: bool) -> Self {
        self.discard_content = discard;
        self
    }

    /// The size in bytes above which CopyObject and UploadPartCopy answer `400 InvalidRequest`. The default is that of
    /// S3, 5 GiB.
    pub fn max_copy_size(mut self, bytes: u64) -> Self {
        self.max_copy_size = bytes;
        self
    }

    /// Whether PutObject, CopyObject and CompleteMultipartUpload heed `If-None-Match` and `If-Match`. The default is
    /// `true`. Some servers, garage 2.5 among them, ignore them and overwrite.
    pub fn conditional_writes(mut self, heeded: bool) -> Self {
        self.conditional_writes = heeded;
        self.conditional_completes = heeded;
        self
    }

    /// The same for CompleteMultipartUpload alone. After [`conditional_writes`](Self::conditional_writes), which sets
    /// both.
    pub fn conditional_completes(mut self, heeded: bool) -> Self {
        self.conditional_completes = heeded;
        self
    }

    /// By how many seconds the server's clock is fast, or slow when negative; see
    /// [`set_clock_offset`](S3Server::set_clock_offset). The default is 0.
    pub fn clock_offset(mut self, seconds: i64) -> Self {
        self.clock_offset = seconds;
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
        let Self {
            mut buckets,
            page_size,
            latency,
            user,
            region,
            anonymous,
            log,
            md5,
            discard_content,
            max_copy_size,
            conditional_writes,
            conditional_completes,
            clock_offset,
        } = self;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let clock = Clock::default();
        clock.set(clock_offset);
        let store = Arc::new(Store::default());
        if buckets.is_empty() {
            buckets.push("bucket".to_owned());
        }
        for bucket in &buckets {
            store.create_bucket(bucket, clock.moment());
        }
        let etags = if md5 { Etags::Md5 } else { Etags::Checksum };
        let access = Arc::new(Access::new(anonymous, region, clock.clone()));
        let faults = Arc::new(Faults::default());
        let service = Arc::new(Service {
            store,
            access,
            faults: Arc::clone(&faults),
            clock: clock.clone(),
            page_size,
            etags,
            keep_content: !discard_content,
            max_copy_size,
            conditional_writes,
            conditional_completes,
            endpoint,
        });
        let mut s3 = S3ServiceBuilder::new(Door(Arc::clone(&service)));
        s3.set_route(Door(Arc::clone(&service)));
        s3.set_auth(user.clone());
        s3.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config()))));
        let shared = Arc::new(Shared {
            service: Arc::clone(&service),
            log: Arc::new(Log::new(log)),
            gate: Gate::new(),
            faults,
            connections: Arc::default(),
            latency,
            s3: s3.build(),
            requests: AtomicU64::new(0),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared))).abort_handle();
        Ok(S3Server { shared, service, user, accepting })
    }
}

/// The server has a clock of its own, and looks at times itself.
fn config() -> S3Config {
    let mut config = S3Config::default();
    config.presigned_url_max_skew_time_secs = u32::MAX;
    config
}

impl fmt::Debug for S3ServerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            buckets,
            page_size,
            latency,
            user,
            region,
            anonymous,
            log,
            md5,
            discard_content,
            max_copy_size,
            conditional_writes,
            conditional_completes,
            clock_offset,
        } = self;
        f.debug_struct("S3ServerBuilder")
            .field("buckets", buckets)
            .field("page_size", page_size)
            .field("latency", latency)
            .field("access_key_id", &user.access_key_id)
            .field("secret_access_key", &"******")
            .field("region", region)
            .field("anonymous", anonymous)
            .field("log", log)
            .field("md5", md5)
            .field("discard_content", discard_content)
            .field("max_copy_size", max_copy_size)
            .field("conditional_writes", conditional_writes)
            .field("conditional_completes", conditional_completes)
            .field("clock_offset", clock_offset)
            .finish()
    }
}
