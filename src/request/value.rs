//! The bytes of an object to put: what is there already, or what is read while it is stored.

use std::fmt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use tokio::io::AsyncRead;
use tokio_util::io::ReaderStream;

/// The bytes of an object to put.
///
/// Made from `&str`, `String`, `&[u8]`, `Vec<u8>` or [`Bytes`]; from a path ([`Path`], [`PathBuf`], or
/// [`file`](Self::file)); or from what is read while it is stored: [`reader`](Self::reader) and [`stream`](Self::stream).
///
/// A value of up to 16 MiB whose length is known is one request, and so is a shorter stream than a part. A larger one is a multipart upload in parts of 8 MiB, or larger ones when 10,000 could
/// not hold it: up to 48.8 TiB. No more than 48 MiB of a file, a reader or a stream are in memory, or two parts where these are
/// longer than 16 MiB: from 160 GB on of a file, and beyond the first 15 GiB of a reader or a stream, whose length is not known.
/// Parts of those have 8 MiB at first, and never more than 1/250 of what came before; 10,000 of them hold 25.9 TiB. For more,
/// or for parts that are all the same, there is [`Put::part_size`](crate::Put::part_size). Of those two, the first part is read
/// before it is decided.
///
/// ```
/// use s3flow::{PutValue, S3PutObject};
///
/// # async fn example(s3: s3flow::S3, file: tokio::fs::File) -> s3flow::Result<()> {
/// s3.put("text", "some text").await?;
/// s3.put("report.pdf", PutValue::file("/tmp/report.pdf")).await?;
/// s3.put("log", PutValue::reader(file)).await?;
/// let lines = futures::stream::iter(["one\n", "two\n"].map(Ok::<_, std::io::Error>));
/// s3.put("lines", PutValue::stream(lines)).await?;
/// # Ok(())
/// # }
/// ```
pub struct PutValue(pub(crate) Source);

/// Where the bytes of a value come from.
pub(crate) enum Source {
    Bytes(Bytes),
    File(PathBuf),
    /// With its length, where that is known.
    Stream(ByteStream, Option<u64>),
}

pub(crate) type ByteStream = BoxStream<'static, Result<Bytes, Box<dyn std::error::Error + Send + Sync>>>;

/// What a reader is asked for at a time, in bytes.
const READ: usize = 64 * 1024;

impl PutValue {
    /// The contents of a file. It must not change while it is stored: what shrinks, grows or is written to in the meantime is
    /// [`ErrorKind::Changed`](crate::ErrorKind::Changed), and nothing is stored.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Source::File(path.into()))
    }

    /// What `reader` yields until its end. An error of its ends the put, and nothing is stored.
    pub fn reader(reader: impl AsyncRead + Send + 'static) -> Self {
        Self::stream(ReaderStream::with_capacity(reader, READ))
    }

    /// What `stream` yields until its end. An error of its ends the put, and nothing is stored.
    pub fn stream<B, E>(stream: impl Stream<Item = Result<B, E>> + Send + 'static) -> Self
    where
        B: Into<Bytes> + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static,
    {
        Self(Source::Stream(stream.map_ok(Into::into).map_err(Into::into).boxed(), None))
    }

    /// As [`stream`](Self::stream), of at most `limit` bytes: the first one beyond ends the put with
    /// [`ErrorKind::InvalidObject`](crate::ErrorKind::InvalidObject), and nothing is stored. For what strangers send.
    pub fn stream_up_to<B, E>(stream: impl Stream<Item = Result<B, E>> + Send + 'static, limit: u64) -> Self
    where
        B: Into<Bytes> + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static,
    {
        let mut left = limit;
        Self::stream(stream.map(move |chunk| {
            let chunk: Bytes = chunk.map_err(Into::into)?.into();
            left = left.checked_sub(chunk.len() as u64).ok_or(TooLong { limit })?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(chunk)
        }))
    }

    /// Says how many bytes a reader or a stream has, as an HTTP request with a `Content-Length` does: it needs no more memory than that, and up to
    /// 16 MiB are one request. One that has more or fewer bytes is [`ErrorKind::InvalidObject`](crate::ErrorKind::InvalidObject), and nothing is
    /// stored. Of bytes and files, it is known, and this changes nothing.
    ///
    /// ```
    /// # async fn example(s3: s3flow::S3, socket: tokio::net::TcpStream) -> s3flow::Result<()> {
    /// use s3flow::PutValue;
    /// use tokio::io::AsyncReadExt;
    ///
    /// s3.put("message", PutValue::reader(socket.take(5000)).with_length(5000)).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_length(self, bytes: u64) -> Self {
        match self.0 {
            Source::Stream(stream, _) => Self(Source::Stream(stream, Some(bytes))),
            known => Self(known),
        }
    }

    /// A value of which it is known that it is longer.
    #[cfg(feature = "axum")]
    pub(crate) fn too_long(limit: u64) -> Self {
        Self::stream(futures::stream::iter([Err::<Bytes, _>(TooLong { limit })]))
    }

    /// The same with `more` behind it.
    pub(crate) fn with_more(self, more: impl Stream<Item = std::io::Result<Bytes>> + Send + 'static) -> Self {
        match self.0 {
            Source::Bytes(bytes) if bytes.is_empty() => Self::stream(more),
            Source::Bytes(bytes) => Self::stream(futures::stream::iter([Ok(bytes)]).chain(more)),
            Source::File(path) => {
                let opened = futures::stream::once(tokio::fs::File::open(path));
                let contents = opened.map_ok(|file| ReaderStream::with_capacity(file, READ)).try_flatten();
                Self::stream(contents.chain(more))
            }
            Source::Stream(stream, _) => Self::stream(stream.chain(more.map_err(Into::into))),
        }
    }
}

/// Why a value was not read to its end.
#[derive(Debug)]
pub(crate) struct TooLong {
    limit: u64,
}

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the value is longer than its limit of {} bytes", self.limit)
    }
}

impl std::error::Error for TooLong {}

impl fmt::Debug for PutValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::Bytes(bytes) => write!(f, "PutValue({} bytes)", bytes.len()),
            Source::File(path) => write!(f, "PutValue({})", path.display()),
            Source::Stream(..) => f.write_str("PutValue(stream)"),
        }
    }
}

impl From<Bytes> for PutValue {
    fn from(bytes: Bytes) -> Self {
        Self(Source::Bytes(bytes))
    }
}

impl From<&Bytes> for PutValue {
    fn from(bytes: &Bytes) -> Self {
        bytes.clone().into()
    }
}

impl From<Vec<u8>> for PutValue {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl From<&Vec<u8>> for PutValue {
    fn from(bytes: &Vec<u8>) -> Self {
        bytes.as_slice().into()
    }
}

impl From<&[u8]> for PutValue {
    fn from(bytes: &[u8]) -> Self {
        Bytes::copy_from_slice(bytes).into()
    }
}

impl<const N: usize> From<&[u8; N]> for PutValue {
    fn from(bytes: &[u8; N]) -> Self {
        bytes.as_slice().into()
    }
}

impl From<String> for PutValue {
    fn from(text: String) -> Self {
        Bytes::from(text).into()
    }
}

impl From<&String> for PutValue {
    fn from(text: &String) -> Self {
        text.as_str().into()
    }
}

impl From<&str> for PutValue {
    fn from(text: &str) -> Self {
        text.as_bytes().into()
    }
}

impl From<PathBuf> for PutValue {
    fn from(path: PathBuf) -> Self {
        Self::file(path)
    }
}

impl From<&PathBuf> for PutValue {
    fn from(path: &PathBuf) -> Self {
        Self::file(path)
    }
}

impl From<&Path> for PutValue {
    fn from(path: &Path) -> Self {
        Self::file(path)
    }
}
