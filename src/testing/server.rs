use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::task::AbortHandle;

use super::access::User;
use super::builder::S3ServerBuilder;
use super::connection::Shared;
use super::fault::{FaultPlan, InjectedFault};
use super::log::LoggedRequest;
use super::service::Service;
use super::store::Upload;
use super::stored::StoredObject;
use super::time::Moment;
use super::upload::StoredUpload;

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
    pub(super) shared: Arc<Shared>,
    pub(super) service: Arc<Service>,
    pub(super) user: User,
    pub(super) accepting: AbortHandle,
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
        self.service.store.create_bucket(bucket, self.service.clock.moment());
    }

    /// Stores an object, in place of any that was there. Creates the bucket when it is missing.
    ///
    /// The bytes are kept as they are, without a copy.
    pub fn put_object(&self, bucket: &str, key: &str, body: impl Into<Bytes>) {
        self.service.put_plain(bucket, key, body.into());
    }

    /// An object with all that is stored about it, or `None` when there is no such object.
    pub fn stored_object(&self, bucket: &str, key: &str) -> Option<StoredObject> {
        self.service.store.find(bucket)?.get(key).map(StoredObject)
    }

    /// The bytes of an object, or `None` when there is no such object. Those of an object that was uploaded in parts are
    /// copied together for it.
    pub fn object(&self, bucket: &str, key: &str) -> Option<Bytes> {
        Some(self.service.store.find(bucket)?.get(key)?.content.to_bytes())
    }

    /// Inverts every bit of a byte of an object where it is stored, as a disk might: ETag, checksum and time stay. `false` when
    /// there is no such byte.
    pub fn corrupt_object(&self, bucket: &str, key: &str, offset: u64) -> bool {
        self.service.store.find(bucket).is_some_and(|bucket| bucket.damage(key, |content| content.inverted(offset)))
    }

    /// Puts `bytes` in the place of as many bytes of an object, from `offset` on, where it is stored: ETag, checksum and time stay.
    /// So a disk behaves that mixes up blocks, or has lost a write. `false` when the object has no such bytes.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let server = s3flow::testing::S3Server::start().await?;
    /// server.put_object("bucket", "k", "of the new version");
    /// assert!(server.overwrite_object("bucket", "k", 7, "old"));
    ///
    /// assert_eq!(server.object("bucket", "k").as_deref(), Some(&b"of the old version"[..]));
    /// assert!(!server.overwrite_object("bucket", "k", 17, "beyond the end"));
    /// let s3 = server.client_builder().build()?.s3().s3root("s3://bucket").build()?;
    /// assert!(s3.get("k").await.is_err(), "the checksum is that of the new version");
    /// # Ok(()) }
    /// ```
    pub fn overwrite_object(&self, bucket: &str, key: &str, offset: u64, bytes: impl Into<Bytes>) -> bool {
        let bytes = bytes.into();
        let bucket = self.service.store.find(bucket);
        bucket.is_some_and(|bucket| bucket.damage(key, |content| content.overwritten(offset, bytes)))
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

    /// Begins a multipart upload that nobody will finish, as if it were begun `age` ago, and gives its id. Creates the bucket
    /// when it is missing.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// let server = s3flow::testing::S3Server::start().await?;
    /// let id = server.abandon_upload("bucket", "model.bin", Duration::from_secs(86_400));
    ///
    /// let s3 = server.client_builder().build()?.s3().s3root("s3://bucket").build()?;
    /// let found = s3.abandoned_uploads([""], Duration::from_secs(3600)).await?;
    /// assert_eq!((found.len(), found[0].upload_id()), (1, id.as_str()));
    /// # Ok(()) }
    /// ```
    pub fn abandon_upload(&self, bucket: &str, key: &str, age: Duration) -> String {
        self.service.store.create_bucket(bucket, self.service.clock.moment());
        let id = self.service.store.upload_id();
        let begun = self.service.clock.now().checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH);
        if let Some(bucket) = self.service.store.find(bucket) {
            bucket.create_upload(id.clone(), Upload::begun(key, Moment::at(begun)));
        }
        id
    }

    /// The multipart uploads of a bucket that are neither completed nor aborted, by key, then by age.
    pub fn uploads(&self, bucket: &str) -> Vec<StoredUpload> {
        let uploads = self.service.store.find(bucket).map(|bucket| bucket.uploads()).unwrap_or_default();
        uploads.into_iter().map(|(id, upload)| StoredUpload::new(id, &upload)).collect()
    }

    /// Sets by how many seconds the server's clock is fast, or slow when negative.
    ///
    /// It goes by that clock in all it does: the `Date` of its answers, the times of what is stored, and what it makes
    /// of signatures, which it refuses with `403 RequestTimeTooSkewed` when they are more than 15 minutes away, as S3
    /// does. A client that learns the difference from `Date` gets on.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
    /// # let server = s3flow::testing::S3Server::start().await?;
    /// // Everything that is stored is a day old now, by the server's clock.
    /// server.set_clock_offset(86_400);
    /// # Ok(()) }
    /// ```
    pub fn set_clock_offset(&self, seconds: i64) {
        self.service.clock.set(seconds);
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
    /// # let client = tokio::net::TcpStream::connect(server.endpoint().trim_start_matches("http://")).await?;
    /// # client.writable().await?;
    /// # client.try_write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")?;
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
    /// // … start something that sends eight requests at a time, and wait until they are here:
    /// // `server.wait_until(|log| log.len() == 8).await` …
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

    /// Adds a [`Fault`](super::Fault) or a [`FaultPlan`]. It counts calls from now on, and those that are [held](Self::hold) now.
    ///
    /// What comes back tells how often it happened; it may be dropped.
    pub fn inject(&self, fault: impl Into<FaultPlan>) -> InjectedFault {
        self.shared.faults.inject(fault.into())
    }

    /// How often faults happened so far, of those that are over or [cleared](Self::clear_faults) too.
    pub fn faults_applied(&self) -> usize {
        self.shared.faults.applied()
    }

    /// Removes all faults, and closes the connections that one of them stalls.
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
        let Self { shared: _, service, user: User { access_key_id, secret_access_key: _ }, accepting: _ } = self;
        f.debug_struct("S3Server")
            .field("endpoint", &service.endpoint)
            .field("region", &service.access.region)
            .field("access_key_id", access_key_id)
            .field("secret_access_key", &"******")
            .finish_non_exhaustive()
    }
}
