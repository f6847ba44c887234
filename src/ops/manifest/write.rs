//! `write_manifest`.

use std::fmt;

use bytes::BufMut as _;
use serde::Serialize;

use super::MAX_LINE;
use crate::error::{Error, ErrorKind, Result};
use crate::ops::many::progress;
use crate::ops::{Put, PutWriter};
use crate::receipt::PutReceipt;
use crate::request::S3PutObject;
use crate::s3::S3;

const OPERATION: &str = "write_manifest";

/// <https://github.com/ndjson/ndjson-spec>; IANA has registered none.
const CONTENT_TYPE: &str = "application/x-ndjson";

/// A manifest that is written line by line. Made by [`S3::write_manifest`].
///
/// A line is what is serialised, as compact JSON, and a line feed: what [`read_manifest`](S3::read_manifest) reads. The object has the
/// content type `application/x-ndjson`.
///
/// It is stored by [`finish`](Self::finish) alone, whole or not at all: a writer that is dropped without it stores nothing, and ends
/// its upload as a dropped [`PutWriter`] does. As many bytes are in memory as of a [`PutWriter`].
///
/// The settings are made before the first line; later ones have no effect.
#[must_use = "what is written is stored by finish() alone"]
pub struct ManifestWriter {
    s3: S3,
    key: String,
    overwrite: bool,
    check_then_put: bool,
    /// From the first line on.
    writer: Option<PutWriter>,
}

impl ManifestWriter {
    pub(crate) fn new(s3: S3, key: String) -> Self {
        Self { s3, key, overwrite: true, check_then_put: false, writer: None }
    }

    /// Whether an object that is there is replaced. When not, of several that write the same manifest exactly one stores it, and the
    /// receipt of every other one is [`PutOutcome::AlreadyExists`](crate::PutOutcome::AlreadyExists): see [`Put::overwrite`].
    /// Default: true.
    pub fn overwrite(mut self, overwrite: bool) -> Self {
        self.overwrite = overwrite;
        self
    }

    /// See [`Put::check_then_put`].
    pub fn check_then_put(mut self, check: bool) -> Self {
        self.check_then_put = check;
        self
    }

    progress!();

    /// Adds a line. Waits while as much is on its way as may be.
    ///
    /// # Errors
    ///
    /// [`InvalidObject`](ErrorKind::InvalidObject) when `line` cannot be serialised, or has over 8 MiB; nothing of it is written then,
    /// and other lines can be. Those of [`Put`] when the upload has failed; every later write fails then.
    ///
    /// # Cancel safety
    ///
    /// A write that is dropped has written nothing.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub async fn write<T: Serialize + Sync + ?Sized>(&mut self, line: &T) -> Result<()> {
        let writer = self.writer.take().unwrap_or_else(|| self.start());
        let gathered = self.writer.insert(writer).room().await.map_err(named)?;
        let start = gathered.len();
        let written = serde_json::to_writer((&mut *gathered).writer(), line);
        let length = gathered.len() - start;
        let problem = match written {
            Err(error) => Error::new(ErrorKind::InvalidObject, "the line cannot be serialised").with_source(error),
            Ok(()) if length > MAX_LINE => {
                Error::new(ErrorKind::InvalidObject, format!("the line has {length} bytes; a line has up to 8 MiB"))
            }
            Ok(()) => {
                // JSON that was made elsewhere may have them between its tokens; strings have none.
                let (mut rest, feed) = (&mut gathered[start..], b'\n');
                while let Some(at) = memchr::memchr(feed, rest) {
                    rest[at] = b' ';
                    rest = &mut rest[at + 1..];
                }
                gathered.put_u8(feed);
                return Ok(());
            }
        };
        gathered.truncate(start);
        let address = self.s3.root().object(&self.key).ok();
        Err(problem.with_operation(OPERATION, address.map(|address| address.location.url())))
    }

    /// Stores the manifest; one without lines is an empty object.
    ///
    /// # Errors
    ///
    /// Those of [`Put`]. Nothing is stored then, unless its [outcome is unknown](Error::is_outcome_unknown).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future is as dropping that of a [`Put`].
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub async fn finish(mut self) -> Result<PutReceipt> {
        let writer = self.writer.take().unwrap_or_else(|| self.start());
        writer.finish().await.map_err(named)
    }

    fn start(&self) -> PutWriter {
        let object = S3PutObject::new(&self.key, "").content_type(CONTENT_TYPE);
        Put::new(self.s3.clone(), object).overwrite(self.overwrite).check_then_put(self.check_then_put).writer()
    }
}

fn named(error: Error) -> Error {
    let url = error.url().map(str::to_owned);
    error.with_operation(OPERATION, url)
}

impl fmt::Debug for ManifestWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManifestWriter").field("s3", &self.s3).field("key", &self.key).finish_non_exhaustive()
    }
}
