//! A value as it is read, part by part.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;

use crate::blocking::blocking;
use crate::error::{Error, ErrorKind, Result};
use crate::request::{ByteStream, Source};

/// A value that is being read.
pub(super) enum Reading {
    Bytes { all: Bytes, rest: Bytes },
    File(OpenFile),
    Stream { stream: ByteStream, rest: Bytes, ended: bool },
}

/// A file, and what it was when it was opened.
pub(super) struct OpenFile {
    /// Behind an `Arc` for the threads that read it, one at a time.
    file: Arc<File>,
    path: PathBuf,
    was: Stamp,
    /// Bytes of its size that were not read yet.
    left: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    size: u64,
    modified: Option<SystemTime>,
}

impl Reading {
    pub(super) async fn begin(source: Source) -> Result<Self> {
        Ok(match source {
            Source::Bytes(all) => Self::Bytes { rest: all.clone(), all },
            Source::File(path) => Self::File(blocking(move || OpenFile::open(path)).await?),
            Source::Stream(stream) => Self::Stream { stream, rest: Bytes::new(), ended: false },
        })
    }

    /// In bytes; `None` of a stream.
    pub(super) fn size(&self) -> Option<u64> {
        match self {
            Self::Bytes { all, .. } => Some(all.len() as u64),
            Self::File(file) => Some(file.was.size),
            Self::Stream { .. } => None,
        }
    }

    /// The next `length` bytes; fewer only at the end.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`].
    pub(super) async fn next(&mut self, length: u64) -> Result<Bytes> {
        match self {
            Self::Bytes { rest, .. } => {
                Ok(rest.split_to(rest.len().min(usize::try_from(length).unwrap_or(usize::MAX))))
            }
            Self::File(file) => {
                let (reader, path) = (Arc::clone(&file.file), file.path.clone());
                // No further than the size: a file may grow faster than it is read.
                let length = length.min(file.left);
                let bytes = blocking(move || read(&reader, &path, length)).await?;
                file.left -= bytes.len() as u64;
                Ok(bytes)
            }
            Self::Stream { stream, rest, ended } => gather(stream, rest, ended, length).await,
        }
    }

    /// The whole value, of `size` bytes.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next) and [`finish`](Self::finish).
    pub(super) async fn whole(&mut self, size: u64) -> Result<Bytes> {
        let Self::File(file) = self else { return self.next(size).await };
        let (reader, path, was) = (Arc::clone(&file.file), file.path.clone(), file.was);
        blocking(move || {
            let bytes = read(&reader, &path, size)?;
            check_unchanged(&reader, &path, was, size - bytes.len() as u64)?;
            Ok(bytes)
        })
        .await
    }

    /// Whether what was read is all, and still as it was at the beginning.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Changed`] when a file is not.
    pub(super) async fn finish(&mut self) -> Result<()> {
        let Self::File(file) = self else { return Ok(()) };
        let (reader, path, was, left) = (Arc::clone(&file.file), file.path.clone(), file.was, file.left);
        blocking(move || check_unchanged(&reader, &path, was, left)).await
    }

    /// Begins anew; false of a stream, which can be read once.
    pub(super) async fn rewind(&mut self) -> Result<bool> {
        match self {
            Self::Bytes { all, rest } => *rest = all.clone(),
            Self::File(file) => {
                let (reader, path) = (Arc::clone(&file.file), file.path.clone());
                blocking(move || (&*reader).rewind().map_err(|error| unreadable(&path, error))).await?;
                file.left = file.was.size;
            }
            Self::Stream { .. } => return Ok(false),
        }
        Ok(true)
    }
}

impl OpenFile {
    fn open(path: PathBuf) -> Result<Self> {
        check_file(&path)?;
        let file = File::open(&path).map_err(|error| unreadable(&path, error))?;
        let was = Stamp::of(&file, &path)?;
        Ok(Self { file: Arc::new(file), path, was, left: was.size })
    }
}

impl Stamp {
    fn of(file: &File, path: &Path) -> Result<Self> {
        let metadata = file.metadata().map_err(|error| unreadable(path, error))?;
        check_regular(&metadata, path)?;
        Ok(Self { size: metadata.len(), modified: metadata.modified().ok() })
    }
}

/// Whether a file is there and can be put, without opening it: a pipe would wait for its writer. Blocks.
///
/// # Errors
///
/// [`ErrorKind::Io`] or [`ErrorKind::InvalidObject`], naming it.
pub(crate) fn check_file(path: &Path) -> Result<()> {
    let metadata = std::fs::metadata(path).map_err(|error| unreadable(path, error))?;
    check_regular(&metadata, path)
}

fn check_regular(metadata: &std::fs::Metadata, path: &Path) -> Result<()> {
    if metadata.is_file() {
        return Ok(());
    }
    let what = if metadata.is_dir() { "a directory" } else { "not a regular file; use PutValue::reader" };
    Err(Error::new(ErrorKind::InvalidObject, format!("{} is {what}", path.display())))
}

/// Up to `length` bytes. Blocks.
fn read(file: &File, path: &Path, length: u64) -> Result<Bytes> {
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    file.take(length).read_to_end(&mut bytes).map_err(|error| unreadable(path, error))?;
    Ok(bytes.into())
}

/// Blocks.
fn check_unchanged(file: &File, path: &Path, was: Stamp, left: u64) -> Result<()> {
    if left == 0 && Stamp::of(file, path)? == was {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Changed, format!("{} was changed while it was read", path.display())))
}

/// Fills a buffer of its own: what a stream yields may be a byte, or a small piece of something large.
async fn gather(stream: &mut ByteStream, rest: &mut Bytes, ended: &mut bool, length: u64) -> Result<Bytes> {
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let mut gathered = BytesMut::new();
    while gathered.len() < length {
        if rest.is_empty() {
            if *ended {
                break;
            }
            match stream.next().await {
                None => *ended = true,
                Some(Ok(chunk)) => *rest = chunk,
                Some(Err(error)) => {
                    *ended = true;
                    return Err(Error::new(ErrorKind::Io, "the value could not be read").with_source(error));
                }
            }
        }
        let taken = rest.split_to(rest.len().min(length - gathered.len()));
        gathered.extend_from_slice(&taken);
    }
    Ok(gathered.freeze())
}

fn unreadable(path: &Path, error: io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("could not read {}", path.display())).with_source(error)
}
