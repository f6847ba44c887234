//! The handle of a scope: [`S3`], which is made, watched and closed here. Its operations are in the folder: every method only builds a
//! request.

mod manifests;
mod operation;
mod read;
mod shards;
mod write;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::address::Root;
use crate::client::{Client, ClientParts};
use crate::config::S3Builder;
use crate::encryption::Encryption;
use crate::error::Result;
use crate::limits::{Flow, Limits, Stats};
use crate::ops::Flights;
use crate::scope::{CLOSE_LIMIT, Scope};
use crate::transfer::Engine;

/// One scope: where keys begin, and the temporary directory that downloads go to.
///
/// Cheap to clone; clones are the same scope. Requests, futures and streams are `Send + 'static`, so they can be moved into
/// tasks and response bodies.
///
/// # Keys
///
/// With an [`s3root`](S3Builder::s3root), a key is a suffix of it (slashes in front are ignored, and an empty key is the root
/// itself). Without one, a key is a whole `s3://bucket/key` URL. Apart from those slashes, a key is used byte for byte: nothing
/// in it is decoded or normalised.
///
/// # Files
///
/// The scope's directory is made in the `tmproot` at the first download: `s3flow.` and six random characters, mode 0700. It
/// goes with [`close`](Self::close), or when the last clone of the scope and the last object with a file in it are dropped.
/// That last drop removes the directory on the spot, which blocks the thread for as long as it takes; `close` does it
/// elsewhere.
///
/// A process that is killed leaves its directory behind. The file `.lock` in it, which is locked for as long as its process
/// lives, tells the next process of the same user on the same machine (since that was started) that nobody uses it any more:
/// its first download into the same `tmproot` removes it, on a thread that nothing waits for. Where files cannot be locked, and
/// on Windows, such directories stay.
///
/// # Runtime
///
/// Operations need a tokio runtime with its time and I/O drivers enabled, and panic elsewhere. A builder becomes a future by
/// `.await`; what wants a `Future` itself, such as `tokio::spawn`, takes `s3.get("k").into_future()`.
#[derive(Clone)]
pub struct S3 {
    inner: Arc<Inner>,
    /// Of the operation that this clone is for.
    engine: Arc<Engine>,
    timeout: Option<Duration>,
}

struct Inner {
    client: Client,
    scope: Arc<Scope>,
    /// Where gets of the same object share a download.
    flights: Option<Flights>,
    settings: Settings,
}

/// What its operations have in common.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) root: Root,
    pub(crate) encryption: Option<Encryption>,
    pub(crate) concurrency: usize,
    pub(crate) part_size: Option<u64>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) single_flight: bool,
    /// Ends the scope from outside.
    pub(crate) token: Option<CancellationToken>,
}

impl S3 {
    /// A scope with settings of your own; [`build`](S3Builder::build) makes it.
    pub fn builder() -> S3Builder {
        S3Builder::default()
    }

    pub(crate) fn from_parts(client: Client, flow: Flow, tmproot: PathBuf, settings: Settings) -> Self {
        let ClientParts {
            store,
            retries,
            workers,
            in_place,
            promised,
            extra_parts,
            extra_pages,
            integrity,
            scopes,
            ..
        } = client.parts();
        let mut scope = Scope::new(tmproot, Arc::clone(workers), Arc::clone(promised)).drained_by(scopes.draining());
        if let Some(token) = &settings.token {
            scope = scope.ended_by(token);
        }
        let scope = Arc::new(scope);
        scopes.add(&scope);
        let engine = Arc::new(Engine {
            store: store.with_flow(flow.clone()),
            retries: retries.with_flow(flow),
            aborts: scope.aborts().clone(),
            in_place: Arc::clone(in_place),
            extra_parts: Arc::clone(extra_parts),
            extra_pages: Arc::clone(extra_pages),
            integrity: *integrity,
        });
        let timeout = settings.timeout;
        let flights = settings.single_flight.then(Flights::default);
        Self { inner: Arc::new(Inner { client, scope, flights, settings }), engine, timeout }
    }

    /// The same scope, for an operation with a share of its own.
    fn operation(&self) -> Self {
        Self { engine: Arc::new(self.engine.for_another_operation()), ..self.clone() }
    }

    /// The same operation, for another object of it.
    pub(crate) fn another_object(&self) -> Self {
        Self { engine: Arc::new(self.engine.for_another_object()), ..self.clone() }
    }

    /// The same scope, in which no operation takes longer than this: it ends with
    /// [`ErrorKind::Timeout`](crate::ErrorKind::Timeout), as if it had been dropped, and what was written then has an
    /// [unknown outcome](crate::Error::is_outcome_unknown). Of a many-operation it is each object's, of a listing each page's, and of
    /// what is read without a file, until the beginning of the answer. In place of [`S3Builder::timeout`].
    ///
    /// A service that has a second left to answer gives it on:
    ///
    /// ```
    /// # async fn example(s3: s3flow::S3) -> s3flow::Result<()> {
    /// use std::time::Duration;
    ///
    /// let left = Duration::from_secs(1);
    /// let object = s3.with_timeout(left).get("model.bin").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_timeout(&self, limit: Duration) -> Self {
        Self { timeout: Some(limit), ..self.clone() }
    }

    /// The root of the scope as an `s3://` URL; `None` when keys are whole URLs.
    #[must_use]
    pub fn s3root(&self) -> Option<&str> {
        self.inner.settings.root.url()
    }

    /// How many objects a many-operation of the scope has in flight or waiting to be taken, unless it is told otherwise; for
    /// work of your own that is to go as wide.
    #[must_use]
    pub fn concurrency(&self) -> usize {
        self.inner.settings.concurrency
    }

    /// The [`Limits`] of this scope, beside those of its client.
    pub fn limits(&self) -> Limits {
        self.engine.flow().scope().limits()
    }

    /// Sets other limits for this scope, in place of all that were set for it before; as [`Client::set_limits`] for all.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config), naming a limit of 0; nothing is changed then.
    pub fn set_limits(&self, limits: Limits) -> Result<()> {
        self.engine.flow().scope().set(limits)
    }

    /// What this scope has done, and is doing.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.engine.flow().scope().stats()
    }

    /// Ends the scope within 10 seconds, as [`close_within`](Self::close_within) does.
    ///
    /// ```
    /// # async fn example(s3: s3flow::S3) -> s3flow::Result<()> {
    /// s3.get("model.bin").await?.persist("/models/current").await?;
    /// s3.close().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`close_within`](Self::close_within).
    ///
    /// # Cancel safety
    ///
    /// That of [`close_within`](Self::close_within).
    pub async fn close(&self) -> Result<()> {
        self.close_within(CLOSE_LIMIT).await
    }

    /// Ends the scope: its operations under way end with [`ErrorKind::Closed`](crate::ErrorKind::Closed), as every later one
    /// does, what they began is cleaned up (multipart uploads are aborted), and its directory is removed with all of its files,
    /// kept ones too.
    ///
    /// It waits for the cleanups for as long as `limit`, and then for the removal, which takes no longer than its files need.
    /// An operation whose future is held and not polled is waited for no longer than a second: it ends, and what it began is
    /// cleaned up, when that future is polled or dropped.
    ///
    /// Any clone may close, again or at the same time: each call waits for all of it, and does what an earlier one left undone.
    ///
    /// ```
    /// # async fn example(s3: s3flow::S3) {
    /// use std::time::Duration;
    ///
    /// if let Err(error) = s3.close_within(Duration::from_secs(2)).await {
    ///     eprintln!("{error}");
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Timeout`](crate::ErrorKind::Timeout) when cleanups are still under way, saying how many. They go on in the
    /// background; the directory is removed nevertheless. [`ErrorKind::Io`](crate::ErrorKind::Io) when the directory cannot be
    /// removed. The scope is closed either way, and closing again tries again.
    ///
    /// # Cancel safety
    ///
    /// From the first poll on the scope is closed, and its operations and cleanups end, also when the future is dropped. The
    /// directory is removed by the next close then, or with the last clone of the scope and the last object with a file in it;
    /// a removal that has begun goes on to its end.
    pub async fn close_within(&self, limit: Duration) -> Result<()> {
        self.inner.scope.close_within(limit).await.map_err(|error| error.with_operation("close", None))
    }
}

fn owned<I>(prefixes: I) -> Vec<String>
where
    I: IntoIterator,
    I::Item: AsRef<str>,
{
    prefixes.into_iter().map(|prefix| prefix.as_ref().to_owned()).collect()
}

impl fmt::Debug for S3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { client, scope, flights: _, settings } = &*self.inner;
        f.debug_struct("S3")
            .field("settings", settings)
            .field("limits", &self.limits())
            .field("client", client)
            .field("scope", scope)
            .finish()
    }
}
