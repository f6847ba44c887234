//! What is changed: stored, copied, deleted.

use std::time::Duration;

use futures::Stream;

use super::{S3, owned};
use crate::abandoned::AbandonedUpload;
use crate::ops::{
    AbandonedUploads, AbortUpload, Copy, CopyInput, CopyMany, Delete, DeleteMany, FileInput, GetInput, PresignPut, Put,
    PutInput, PutMany,
};
use crate::request::{PutValue, S3CopyObject, S3GetObject, S3PutObject};

impl S3 {
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
}
