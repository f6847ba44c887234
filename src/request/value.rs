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
    Stream(ByteStream),
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
        Self(Source::Stream(stream.map_ok(Into::into).map_err(Into::into).boxed()))
    }
}

impl fmt::Debug for PutValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::Bytes(bytes) => write!(f, "PutValue({} bytes)", bytes.len()),
            Source::File(path) => write!(f, "PutValue({})", path.display()),
            Source::Stream(_) => f.write_str("PutValue(stream)"),
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
