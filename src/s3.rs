//! The handle of a scope: [`S3`]. Every method only builds a request.

mod manifests;
mod operation;
mod shards;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use tokio_util::sync::CancellationToken;

use crate::abandoned::AbandonedUpload;
use crate::address::Root;
use crate::client::{Client, ClientParts};
use crate::config::S3Builder;
use crate::encryption::Encryption;
use crate::error::Result;
use crate::limits::{Flow, Limits, Stats};
use crate::ops::{
    AbandonedUploads, AbortUpload, Copy, CopyInput, CopyMany, Delete, DeleteMany, Exists, FileInput, Flights, Get,
    GetInput, GetMany, GetRecursive, Info, InfoMany, ListPaths, ListRecursive, Open, PresignGet, PresignPut, Put,
    PutInput, PutMany,
};
use crate::request::{PutValue, S3CopyObject, S3GetObject, S3PutObject};
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

    /// Downloads one object into the scope's directory.
    ///
    /// ```
    /// # async fn example(s3: s3flow::S3) -> s3flow::Result<()> {
    /// use s3flow::S3GetObject;
    ///
    /// let model = s3.get("model.bin").await?;
    /// println!("{} bytes at {:?}", model.size().unwrap_or(0), model.path());
    /// let header = s3.get(S3GetObject::new("model.bin").length(512)).await?;
    /// let maybe = s3.get("cache").return_missing(true).await?;
    /// println!("{}", maybe.exists());
    /// # Ok(())
    /// # }
    /// ```
    pub fn get(&self, object: impl Into<S3GetObject>) -> Get {
        Get::new(self.operation(), object.into())
    }

    /// Downloads many objects: a stream of them as they complete, or awaited, a `Vec` in the order asked for.
    ///
    /// ```
    /// # async fn example(s3: s3flow::S3) -> s3flow::Result<()> {
    /// use futures::TryStreamExt;
    ///
    /// let mut objects = s3.get_many(["a", "b", "c"]).return_missing(true);
    /// while let Some(object) = objects.try_next().await? {
    ///     println!("{} is at {:?}", object.key(), object.path());
    /// }
    /// let both = s3.get_many(["a", "b"]).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn get_many<I>(&self, objects: I) -> GetMany
    where
        I: IntoIterator,
        I::Item: Into<S3GetObject>,
    {
        let objects: Vec<S3GetObject> = objects.into_iter().map(Into::into).collect();
        GetMany::new(self.operation(), futures::stream::iter(objects.into_iter().map(Ok)))
    }

    /// Downloads the objects that a stream names, which may be endless: it is read no further than the concurrency allows.
    ///
    /// The items are whatever [`get_many`](Self::get_many) takes, or `Result`s of it with this crate's [`Error`](crate::Error):
    /// a listing can be fetched as it comes. An error of the input is an item of the output.
    ///
    /// ```
    /// # async fn example(s3: s3flow::S3) -> s3flow::Result<()> {
    /// use futures::TryStreamExt;
    ///
    /// s3.get_from(s3.list_recursive(["2026"]))
    ///     .try_for_each_concurrent(8, |object| async move {
    ///         println!("{}", object.text().await?.len());
    ///         Ok(())
    ///     })
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn get_from<I>(&self, objects: I) -> GetMany
    where
        I: Stream + Send + 'static,
        I::Item: GetInput,
    {
        GetMany::new(self.operation(), futures::StreamExt::map(objects, GetInput::into_request))
    }

    /// Downloads all that lies below some prefixes: a stream of objects as they complete, or awaited, a `Vec` with the prefixes
    /// in the order asked for and each one's keys in byte order.
    ///
    /// A prefix is a directory, as for [`list_recursive`](Self::list_recursive): `run5` means `run5/x` and not `run56/x`. In
    /// addition, the object of exactly that name is fetched, if there is one, so that a file can be named too; not so for a
    /// prefix that is empty or ends with `/`. Metaflow fetches every key that begins with the text.
    ///
    /// ```
    /// # async fn example(s3: s3flow::S3) -> s3flow::Result<()> {
    /// use futures::TryStreamExt;
    ///
    /// let mut objects = s3.get_recursive(["2025", "2026", "index.json"]);
    /// while let Some(object) = objects.try_next().await? {
    ///     println!("{} is at {:?}", object.url(), object.path());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn get_recursive<I>(&self, prefixes: I) -> GetRecursive
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        GetRecursive::new(self.operation(), owned(prefixes))
    }

    /// Downloads all that lies below the scope's root, as [`get_recursive`](Self::get_recursive) does.
    ///
    /// ```
    /// # async fn example(client: s3flow::Client) -> s3flow::Result<()> {
    /// let run = client.s3().s3root("s3://bucket/data/TrainFlow/5").build()?;
    /// for object in run.get_all().await? {
    ///     println!("{} is at {:?}", object.key(), object.path());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn get_all(&self) -> GetRecursive {
        GetRecursive::all(self.operation())
    }

    /// Stores one object, whole or not at all. The value is text, bytes, a path, a reader or a stream: see [`PutValue`]. A `&str`
    /// is the text itself and never a file's name; for that there is [`PutValue::file`].
    ///
    /// ```
    /// # async fn example(s3: s3flow::S3) -> s3flow::Result<()> {
    /// let receipt = s3.put("notes.txt", "text").content_type("text/plain").metadata([("owner", "me")]).await?;
    /// println!("{} has the ETag {:?}", receipt.url(), receipt.etag());
    /// # Ok(())
    /// # }
    /// ```
    pub fn put(&self, key: impl Into<String>, value: impl Into<PutValue>) -> Put {
        Put::new(self.operation(), S3PutObject::new(key, value))
    }

    /// Stores many objects: a stream of receipts as they complete, or awaited, a `Vec` in the order given. With
    /// [`overwrite(false)`](PutMany::overwrite), there are receipts of those that were stored, and none of those that existed.
    ///
    /// ```
    /// # async fn example(s3: s3flow::S3) -> s3flow::Result<()> {
    /// use s3flow::S3PutObject;
    ///
    /// s3.put_many([("a", "1"), ("b", "2")]).await?;
    /// let page = S3PutObject::new("index.html", "<h1>hello</h1>").content_type("text/html");
    /// let stored = s3.put_many([page]).overwrite(false).await?;
    /// println!("{} new", stored.len());
    /// # Ok(())
    /// # }
    /// ```
    pub fn put_many<I>(&self, objects: I) -> PutMany
    where
        I: IntoIterator,
        I::Item: Into<S3PutObject>,
    {
        PutMany::of_all(self.operation(), objects.into_iter().map(Into::into).collect())
    }

    /// Stores many files: pairs of a key and a path, or [`S3PutObject::file`]s that say more.
    ///
    /// ```
    /// # async fn example(s3: s3flow::S3) -> s3flow::Result<()> {
    /// s3.put_files([("data/x.csv", "/tmp/x.csv"), ("data/y.csv", "/tmp/y.csv")]).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn put_files<I>(&self, files: I) -> PutMany
    where
        I: IntoIterator,
        I::Item: FileInput,
    {
        PutMany::of_all(self.operation(), files.into_iter().map(FileInput::into_put).collect())
    }

    /// Stores the objects that a stream names, which may be endless: it is read no further than the concurrency allows.
    ///
    /// The items are whatever [`put_many`](Self::put_many) takes, or `Result`s of it with this crate's
    /// [`Error`](crate::Error). An error of the input is an item of the output.
    ///
    /// ```
    /// # async fn example(s3: s3flow::S3) -> s3flow::Result<()> {
    /// use futures::{StreamExt, TryStreamExt};
    ///
    /// let numbers = futures::stream::iter(0..1_000_000).map(|n: u64| (format!("squares/{n}"), (n * n).to_string()));
    /// s3.put_from(numbers).try_for_each(|_| async { Ok(()) }).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn put_from<I>(&self, objects: I) -> PutMany
    where
        I: Stream + Send + 'static,
        I::Item: PutInput,
    {
        PutMany::of_stream(self.operation(), futures::StreamExt::map(objects, PutInput::into_put))
    }

    /// A URL with which whoever has it may get an object for a while, without credentials.
    ///
    /// ```
    /// # async fn example(s3: s3flow::S3) -> s3flow::Result<()> {
    /// use std::time::Duration;
    ///
    /// let link = s3.presign_get("report.pdf").expires_in(Duration::from_secs(300)).await?;
    /// println!("{} {}", link.method(), link.url());
    /// # Ok(())
    /// # }
    /// ```
    pub fn presign_get(&self, object: impl Into<S3GetObject>) -> PresignGet {
        PresignGet::new(self.operation(), object.into())
    }

    /// A URL with which whoever has it may put an object for a while, without credentials.
    ///
    /// ```
    /// # async fn example(s3: s3flow::S3) -> s3flow::Result<()> {
    /// let upload = s3.presign_put("avatar.png").content_type("image/png").content_length(20_480).await?;
    /// println!("{} {} with {:?}", upload.method(), upload.url(), upload.headers());
    /// # Ok(())
    /// # }
    /// ```
    pub fn presign_put(&self, key: impl Into<String>) -> PresignPut {
        PresignPut::new(self.operation(), key.into())
    }

    /// Copies one object inside the server: its bytes, properties, metadata and tags. The source is what a
    /// [`get`](Self::get) takes; the destination is a key. With a root, keys of both are below it: what lies elsewhere is named
    /// by its [`S3Object`](crate::S3Object), or copied in a scope without a root, by URLs.
    ///
    /// ```
    /// # async fn example(s3: s3flow::S3, client: s3flow::Client) -> s3flow::Result<()> {
    /// let receipt = s3.copy("model.bin", "models/2026-11.bin").storage_class("STANDARD_IA").await?;
    /// println!("{}", receipt.url());
    /// let urls = client.s3().build()?;
    /// urls.copy("s3://bucket/model.bin", "s3://archive/model.bin").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn copy(&self, source: impl Into<S3GetObject>, destination: impl Into<String>) -> Copy {
        Copy::new(self.operation(), S3CopyObject::new(source, destination))
    }

    /// Copies many objects inside the server: pairs of a source and a destination, or [`S3CopyObject`]s.
    ///
    /// ```
    /// # async fn example(s3: s3flow::S3) -> s3flow::Result<()> {
    /// let listed = s3.list_recursive(["current"]).await?;
    /// s3.copy_many(listed.iter().map(|object| (object, format!("archive/{}", object.key())))).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn copy_many<I>(&self, copies: I) -> CopyMany
    where
        I: IntoIterator,
        I::Item: Into<S3CopyObject>,
    {
        let copies: Vec<S3CopyObject> = copies.into_iter().map(Into::into).collect();
        CopyMany::new(self.operation(), futures::stream::iter(copies.into_iter().map(Ok)))
    }

    /// Copies the objects that a stream names, which may be endless: it is read no further than the concurrency allows.
    ///
    /// The items are whatever [`copy_many`](Self::copy_many) takes, or `Result`s of it with this crate's
    /// [`Error`](crate::Error). An error of the input is an item of the output.
    ///
    /// ```
    /// # async fn example(s3: s3flow::S3) -> s3flow::Result<()> {
    /// use futures::TryStreamExt;
    ///
    /// let copies = s3.list_recursive(["current"]).map_ok(|object| {
    ///     let destination = format!("archive/{}", object.key());
    ///     (object, destination)
    /// });
    /// s3.copy_from(copies).try_for_each(|_| async { Ok(()) }).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn copy_from<I>(&self, copies: I) -> CopyMany
    where
        I: Stream + Send + 'static,
        I::Item: CopyInput,
    {
        CopyMany::new(self.operation(), futures::StreamExt::map(copies, CopyInput::into_copy))
    }

    /// Opens one object to be read here and there, as a file, without a local copy.
    ///
    /// ```
    /// # async fn example(s3: s3flow::S3) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::io::SeekFrom;
    /// use tokio::io::{AsyncReadExt, AsyncSeekExt};
    ///
    /// let mut table = s3.open("table.parquet").await?;
    /// table.seek(SeekFrom::End(-8)).await?;
    /// let mut end = [0; 8];
    /// table.read_exact(&mut end).await?;
    /// assert_eq!(&end[4..], b"PAR1");
    /// # Ok(())
    /// # }
    /// ```
    pub fn open(&self, object: impl Into<S3GetObject>) -> Open {
        Open::new(self.operation(), object.into())
    }

    /// Asks for the size and the info of one object without its bytes.
    ///
    /// ```
    /// # async fn example(s3: s3flow::S3) -> s3flow::Result<()> {
    /// let object = s3.info("model.bin").return_missing(true).await?;
    /// println!("{:?} {:?}", object.size(), object.content_type());
    /// # Ok(())
    /// # }
    /// ```
    pub fn info(&self, key: impl Into<S3GetObject>) -> Info {
        Info::new(self.operation(), key.into())
    }

    /// Asks for the size and the info of many objects: a stream of them as the answers come, or awaited, a `Vec` in the order
    /// asked for.
    ///
    /// ```
    /// # async fn example(s3: s3flow::S3) -> s3flow::Result<()> {
    /// for object in s3.info_many(["a", "b"]).return_missing(true).await? {
    ///     println!("{} {:?}", object.key(), object.last_modified());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn info_many<I>(&self, keys: I) -> InfoMany
    where
        I: IntoIterator,
        I::Item: Into<S3GetObject>,
    {
        let objects: Vec<S3GetObject> = keys.into_iter().map(Into::into).collect();
        InfoMany::new(self.operation(), futures::stream::iter(objects.into_iter().map(Ok)))
    }

    /// Asks for the info of the objects that a stream names, which may be endless: it is read no further than the concurrency
    /// allows. The items are those of [`get_from`](Self::get_from).
    ///
    /// ```
    /// # async fn example(s3: s3flow::S3) -> s3flow::Result<()> {
    /// use futures::TryStreamExt;
    ///
    /// let mut objects = s3.info_from(s3.list_recursive(["2026"])).return_missing(true);
    /// while let Some(object) = objects.try_next().await? {
    ///     println!("{} {:?}", object.url(), object.metadata());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn info_from<I>(&self, keys: I) -> InfoMany
    where
        I: Stream + Send + 'static,
        I::Item: GetInput,
    {
        InfoMany::new(self.operation(), futures::StreamExt::map(keys, GetInput::into_request))
    }

    /// Asks whether an object is there.
    ///
    /// ```
    /// # async fn example(s3: s3flow::S3) -> s3flow::Result<()> {
    /// if !s3.exists("model.bin").await? {
    ///     println!("not trained yet");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn exists(&self, key: impl Into<S3GetObject>) -> Exists {
        Exists::new(self.operation(), key.into())
    }

    /// Lists the next level below some prefixes: the objects there, and one prefix for each name with something below it. A
    /// stream as pages arrive, or awaited, a `Vec` with the prefixes in the order asked for and each one's keys in byte order.
    ///
    /// What a prefix means is said at [`list_recursive`](Self::list_recursive). An object and a prefix of the same name are
    /// both listed, as `2026` and `2026/`. A directory's own marker object (`2026/` when `2026` is listed) is an object whose
    /// `key()` is empty.
    ///
    /// ```
    /// # async fn example(s3: s3flow::S3) -> s3flow::Result<()> {
    /// for path in s3.list_paths(["2026"]).await? {
    ///     if path.exists() {
    ///         println!("{} has {} bytes", path.key(), path.size().unwrap_or(0));
    ///     } else {
    ///         println!("{} is a directory", path.key());
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn list_paths<I>(&self, prefixes: I) -> ListPaths
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        ListPaths::new(self.operation(), owned(prefixes))
    }

    /// Lists every object below some prefixes: a stream of them as pages arrive, or awaited, a `Vec` with the prefixes in the
    /// order asked for and each one's keys in byte order.
    ///
    /// A prefix is a directory: `2026` lists `2026/x` and not `2026-old/x`. An empty one is the root itself. A directory's own
    /// marker object (`2026/` when `2026` is listed) is an object like any other; its `key()` is empty.
    ///
    /// To fetch what is listed, give the objects themselves to [`get`](Self::get), [`get_many`](Self::get_many) or
    /// [`get_from`](Self::get_from): their `key()` is relative to the prefix listed and not to the root.
    ///
    /// ```
    /// # async fn example(s3: s3flow::S3) -> s3flow::Result<()> {
    /// for object in s3.list_recursive(["2025", "2026"]).await? {
    ///     println!("{} {}", object.size().unwrap_or(0), object.url());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn list_recursive<I>(&self, prefixes: I) -> ListRecursive
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        ListRecursive::new(self.operation(), owned(prefixes))
    }

    /// Deletes one object. A key that is not there is no error.
    ///
    /// ```
    /// # async fn example(s3: s3flow::S3) -> s3flow::Result<()> {
    /// s3.delete("old.bin").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn delete(&self, key: impl Into<S3GetObject>) -> Delete {
        Delete::new(self.operation(), key.into())
    }

    /// Deletes many objects, up to 1,000 in a request: a stream of receipts as they complete, or awaited, a `Vec` in the order
    /// given.
    ///
    /// ```
    /// # async fn example(s3: s3flow::S3) -> s3flow::Result<()> {
    /// use futures::StreamExt;
    ///
    /// let mut outcomes = s3.delete_many(["a", "b", "c"]);
    /// while let Some(outcome) = outcomes.next().await {
    ///     match outcome {
    ///         Ok(receipt) => println!("{} is gone", receipt.url()),
    ///         Err(error) => eprintln!("{error}"),
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn delete_many<I>(&self, keys: I) -> DeleteMany
    where
        I: IntoIterator,
        I::Item: Into<S3GetObject>,
    {
        let objects: Vec<S3GetObject> = keys.into_iter().map(Into::into).collect();
        DeleteMany::new(self.operation(), futures::stream::iter(objects.into_iter().map(Ok)))
    }

    /// Deletes the objects that a stream names, which may be endless: what it has ready goes together, and it is read no
    /// further than the concurrency allows.
    ///
    /// The items are whatever [`get_from`](Self::get_from) takes: a listing can be deleted as it comes. An error of the input
    /// is an item of the output.
    ///
    /// ```
    /// # async fn example(s3: s3flow::S3) -> s3flow::Result<()> {
    /// let receipts = s3.delete_from(s3.list_recursive(["2025"])).await?;
    /// println!("{} objects deleted", receipts.len());
    /// # Ok(())
    /// # }
    /// ```
    pub fn delete_from<I>(&self, keys: I) -> DeleteMany
    where
        I: Stream + Send + 'static,
        I::Item: GetInput,
    {
        DeleteMany::new(self.operation(), futures::StreamExt::map(keys, GetInput::into_request))
    }

    /// Lists multipart uploads that nobody finished: their parts are paid for, and no listing of objects shows them. A stream of
    /// them as pages arrive, or awaited, a `Vec`. With [`abort`](AbandonedUploads::abort), each is aborted as it is listed.
    ///
    /// The library aborts what it does not finish. What stays is of processes that were killed, of networks that were gone, and
    /// of other programs. S3 cannot tell an upload that is abandoned from one that goes on slowly: `older_than` must be longer
    /// than any upload takes, counted from its beginning. It is compared with the server's clock. A
    /// [lifecycle rule](https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpu-abort-incomplete-mpu-lifecycle-config.html) of
    /// the bucket does the same for all of it.
    ///
    /// A prefix is a directory, as for [`list_recursive`](Self::list_recursive): `2026` means uploads to `2026/x` and not to
    /// `2026-old/x`; and also those to exactly `2026`, so that a file can be named too. An empty one is the root itself. The
    /// permissions are `s3:ListBucketMultipartUploads` and `s3:AbortMultipartUpload`.
    ///
    /// ```
    /// # async fn example(s3: s3flow::S3) -> s3flow::Result<()> {
    /// use std::time::Duration;
    ///
    /// let a_week = Duration::from_secs(7 * 24 * 60 * 60);
    /// for upload in s3.abandoned_uploads(["models"], a_week).await? {
    ///     println!("{} was begun at {:?}", upload.url(), upload.initiated());
    /// }
    /// let gone = s3.abandoned_uploads([""], a_week).abort(true).await?;
    /// println!("{} uploads aborted", gone.len());
    /// # Ok(())
    /// # }
    /// ```
    pub fn abandoned_uploads<I>(&self, prefixes: I, older_than: Duration) -> AbandonedUploads
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        AbandonedUploads::new(self.operation(), owned(prefixes), older_than)
    }

    /// Aborts one of the [`abandoned_uploads`](Self::abandoned_uploads) of any scope; its parts are removed. One that is gone is
    /// no error. Parts that somebody is sending at that moment may stay, and the upload with them: asking again shows it.
    ///
    /// ```
    /// # async fn example(s3: s3flow::S3) -> s3flow::Result<()> {
    /// use futures::TryStreamExt;
    ///
    /// let mut uploads = s3.abandoned_uploads(["models"], std::time::Duration::from_secs(86_400));
    /// while let Some(upload) = uploads.try_next().await? {
    ///     if upload.key().ends_with(".tmp") {
    ///         s3.abort_upload(&upload).await?;
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn abort_upload(&self, upload: &AbandonedUpload) -> AbortUpload {
        AbortUpload::new(self.operation(), upload.clone())
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
