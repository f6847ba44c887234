//! The handle that a process shares: [`Client`].

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::blocking::{InPlace, Workers};
use crate::checksum::Integrity;
use crate::config::{ClientBuilder, RunSettings, S3Builder};
use crate::encryption::Encryption;
use crate::error::Result;
use crate::limits::{Ceilings, Limits, SlowedPrefix, Stats};
use crate::retry::Retries;
use crate::scope::{CLOSE_LIMIT, Promised, Scopes};
use crate::store::Store;

/// What a process needs once: connections, credentials, defaults.
///
/// Cheap to clone; clones share everything. Make one, and a scope ([`S3`](crate::S3)) for each piece of work:
///
/// ```
/// # fn main() -> s3flow::Result<()> {
/// let client = s3flow::Client::new()?;
/// let s3 = client.s3().s3root("s3://bucket/prefix").build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Client {
    parts: Arc<ClientParts>,
}

pub(crate) struct ClientParts {
    pub(crate) store: Store,
    pub(crate) ceilings: Arc<Ceilings>,
    pub(crate) promised: Arc<Promised>,
    pub(crate) scopes: Scopes,
    pub(crate) retries: Retries,
    pub(crate) concurrency: usize,
    pub(crate) part_size: Option<u64>,
    pub(crate) encryption: Option<Encryption>,
    pub(crate) tmproot: PathBuf,
    pub(crate) runs: RunSettings,
    pub(crate) workers: Arc<Workers>,
    /// For files that are put.
    pub(crate) in_place: Arc<InPlace>,
    pub(crate) extra_parts: Arc<Semaphore>,
    pub(crate) extra_pages: Arc<Semaphore>,
    pub(crate) integrity: Integrity,
    pub(crate) keys_in_spans: bool,
}

impl Client {
    /// A client with the settings of the environment and of Metaflow's configuration files; see [`ClientBuilder`].
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config), naming the variable, or the file and its field, that cannot be used.
    pub fn new() -> Result<Self> {
        Self::builder().build()
    }

    /// A client with settings of your own.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// A scope that uses this client.
    pub fn s3(&self) -> S3Builder {
        S3Builder::default().client(self.clone())
    }

    /// The [`Limits`] of all transfers together.
    pub fn limits(&self) -> Limits {
        self.parts.ceilings.limits()
    }

    /// Sets other limits, in place of all that were set before. They hold at once, also for requests and bodies that wait or are
    /// on their way; what is on its way beyond a lower limit goes on.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config), naming a limit of 0; nothing is changed then.
    pub fn set_limits(&self, limits: Limits) -> Result<()> {
        self.parts.ceilings.set(limits)
    }

    /// Where the service takes fewer requests than it was sent, and how many it is sent now.
    ///
    /// When it answers that there are too many (HTTP 503 and 429, `SlowDown` and its like), the keys up to the last `/` of the
    /// one that was asked for are sent fewer, by all scopes together; then more and more again, until the next such answer. What
    /// was quiet for a minute is forgotten. Other prefixes are not held up.
    ///
    /// ```
    /// # fn main() -> s3flow::Result<()> {
    /// let client = s3flow::Client::builder().build()?;
    /// for slowed in client.slowed_prefixes() {
    ///     println!("s3://{}/{}: {:.0} requests/s", slowed.bucket, slowed.prefix, slowed.requests_per_second);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn slowed_prefixes(&self) -> Vec<SlowedPrefix> {
        self.parts.store.slowed_prefixes()
    }

    /// What this client has done, and is doing.
    ///
    /// ```
    /// # fn main() -> s3flow::Result<()> {
    /// let client = s3flow::Client::builder().build()?;
    /// assert_eq!(client.stats().requests_in_flight, 0);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.parts.ceilings.stats()
    }

    /// Ends all scopes of this client: operations that are running may end by themselves, others are
    /// [`Closed`](crate::ErrorKind::Closed) from now on; then each scope is [closed](crate::S3::close). Waits 10 s at most, as most
    /// supervisors do before they kill.
    ///
    /// Of a many-operation that is running, the objects that are on their way are finished, and the others are errors.
    ///
    /// # Errors
    ///
    /// The first one of a scope's close.
    ///
    /// # Cancel safety
    ///
    /// From the first poll on no operation begins. Dropping the future leaves the scopes as they are then; closing again goes on.
    pub async fn close(&self) -> Result<()> {
        self.close_within(CLOSE_LIMIT).await
    }

    /// As [`close`](Self::close), for at most `limit`: three quarters of it are for operations to end by themselves, and what is left
    /// of it for cleanups.
    ///
    /// ```
    /// # async fn example(client: s3flow::Client) {
    /// use std::time::Duration;
    ///
    /// tokio::signal::ctrl_c().await.ok();
    /// if let Err(error) = client.close_within(Duration::from_secs(25)).await {
    ///     eprintln!("{error}");
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As of [`close`](Self::close).
    pub async fn close_within(&self, limit: Duration) -> Result<()> {
        self.parts.scopes.close_within(limit).await.map_err(|error| error.with_operation("close", None))
    }

    pub(crate) fn from_parts(parts: ClientParts) -> Self {
        Self { parts: Arc::new(parts) }
    }

    pub(crate) fn parts(&self) -> &ClientParts {
        &self.parts
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ClientParts {
            store,
            ceilings,
            promised: _,
            scopes: _,
            retries,
            concurrency,
            part_size,
            encryption,
            tmproot,
            runs,
            workers: _,
            in_place: _,
            extra_parts: _,
            extra_pages: _,
            integrity,
            keys_in_spans,
        } = &*self.parts;
        f.debug_struct("Client")
            .field("store", store)
            .field("limits", &ceilings.limits())
            .field("retry_policy", retries.policy())
            .field("concurrency", concurrency)
            .field("part_size", part_size)
            .field("integrity", integrity)
            .field("encryption", encryption)
            .field("tmproot", tmproot)
            .field("runs", runs)
            .field("keys_in_spans", keys_in_spans)
            .finish_non_exhaustive()
    }
}
