//! What is read: objects, and what there is of them.

use futures::Stream;

use super::{S3, owned};
use crate::ops::{
    Exists, Get, GetInput, GetMany, GetRecursive, Info, InfoMany, ListPaths, ListRecursive, Open, PresignGet,
};
use crate::request::S3GetObject;

impl S3 {
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
}
