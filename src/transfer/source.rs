//! A value as it is read, part by part.

use std::fs::File;
use std::io::{self, ErrorKind as IoErrorKind, Read as _, Seek as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _};
use tokio::task::consume_budget;

use super::buffers::{Buffer, Buffers};
use crate::blocking::{InPlace, blocking};
use crate::checksum::{Checksum, ChecksumAlgorithm, Hasher, Method};
use crate::error::{Error, ErrorKind, Result};
use crate::limits::Flow;
use crate::request::{ByteStream, Source, TooLong};

/// A file is read in pieces of this size, which are still in the processor's cache when they are hashed.
const PIECE: usize = 256 * 1024;
/// More bytes than these hold up other tasks.
const HASHED_INLINE: usize = 256 * 1024;

/// Bytes of a value that are sent together.
#[derive(Debug, Default)]
pub(super) struct Part {
    pub(super) bytes: Bytes,
    /// Where it was computed as they were read.
    checksum: Option<Checksum>,
}

/// A value that is being read.
pub(super) enum Reading {
    Bytes { all: Bytes, rest: Bytes },
    File(OpenFile),
    Stream(Gathering),
}

/// A stream, and what it has yielded beyond the last part.
pub(super) struct Gathering {
    stream: ByteStream,
    rest: Bytes,
    begun: bool,
    ended: bool,
    /// Bytes so far.
    gathered: u64,
    /// How many it was said to have.
    announced: Option<u64>,
    buffers: Buffers,
}

/// A stream that yields no more needs no memory that others want, so that many who send little or nothing hold up nobody.
const BEGINNING: usize = 64 * 1024;

/// A file, and what it was when it was opened.
pub(super) struct OpenFile {
    /// Behind an `Arc` for the threads that read it, one at a time.
    file: Arc<File>,
    path: PathBuf,
    was: Stamp,
    /// Bytes of its size that were not read yet.
    left: u64,
    buffers: Buffers,
    in_place: Arc<InPlace>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    size: u64,
    modified: Option<SystemTime>,
}

impl From<Bytes> for Part {
    fn from(bytes: Bytes) -> Self {
        Self { bytes, checksum: None }
    }
}

impl Part {
    /// Of the bytes. What was not computed before and takes long is computed off the async threads.
    pub(super) async fn checksum(&self, algorithm: Option<ChecksumAlgorithm>) -> Result<Option<Checksum>> {
        let Some(algorithm) = algorithm else { return Ok(None) };
        if let Some(checksum) = self.checksum.as_ref().filter(|checksum| checksum.by() == Method::Algorithm(algorithm))
        {
            return Ok(Some(checksum.clone()));
        }
        if self.bytes.len() <= HASHED_INLINE {
            return Ok(Some(Checksum::of(algorithm, &self.bytes)));
        }
        let bytes = self.bytes.clone();
        blocking(move || Ok(Some(Checksum::of(algorithm, &bytes)))).await
    }
}

impl Reading {
    pub(super) async fn begin(source: Source, flow: &Flow, in_place: &Arc<InPlace>) -> Result<Self> {
        Ok(match source {
            Source::Bytes(all) => Self::Bytes { rest: all.clone(), all },
            Source::File(path) => {
                let (buffers, files) = (Buffers::of_file(flow.clone()), Arc::clone(in_place));
                Self::File(in_place.run_or_block(0, move || OpenFile::open(path, buffers, files)).await?)
            }
            Source::Stream(stream, announced) => {
                let buffers = Buffers::of_stream(flow.clone());
                Self::Stream(Gathering {
                    stream,
                    rest: Bytes::new(),
                    begun: false,
                    ended: false,
                    gathered: 0,
                    announced,
                    buffers,
                })
            }
        })
    }

    /// In bytes; `None` of a stream that nobody said it of.
    pub(super) fn size(&self) -> Option<u64> {
        match self {
            Self::Bytes { all, .. } => Some(all.len() as u64),
            Self::File(file) => Some(file.was.size),
            Self::Stream(gathering) => gathering.announced,
        }
    }

    /// When a file was written to last, where that is known.
    pub(super) fn modified(&self) -> Option<SystemTime> {
        match self {
            Self::File(file) => file.was.modified,
            Self::Bytes { .. } | Self::Stream(_) => None,
        }
    }

    /// The next `length` bytes; fewer only at the end. They are to go with a checksum of this algorithm.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`].
    pub(super) async fn next(&mut self, length: u64, algorithm: Option<ChecksumAlgorithm>) -> Result<Part> {
        match self {
            Self::Bytes { rest, .. } => {
                Ok(rest.split_to(rest.len().min(usize::try_from(length).unwrap_or(usize::MAX))).into())
            }
            Self::File(file) => {
                let (reader, path) = (Arc::clone(&file.file), file.path.clone());
                // No further than the size: a file may grow faster than it is read.
                let length = length.min(file.left);
                let buffer = file.buffers.take(length).await;
                let (read, checksum) = blocking(move || read(&reader, &path, length, buffer, algorithm)).await?;
                file.left -= read.bytes.len() as u64;
                Ok(Part { bytes: file.buffers.lend(read), checksum })
            }
            Self::Stream(gathering) => gathering.next(length).await.map(Part::from),
        }
    }

    /// The whole value, of `size` bytes.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next) and [`finish`](Self::finish).
    pub(super) async fn whole(&mut self, size: u64, algorithm: Option<ChecksumAlgorithm>) -> Result<Part> {
        let Self::File(file) = self else {
            let part = self.next(size, algorithm).await?;
            return self.finish().await.map(|()| part);
        };
        let (reader, path, was) = (Arc::clone(&file.file), file.path.clone(), file.was);
        let buffer = file.buffers.take(size).await;
        let read = file.in_place.run_or_block(size, move || {
            let (read, checksum) = read(&reader, &path, size, buffer, algorithm)?;
            check_unchanged(&reader, &path, was, size - read.bytes.len() as u64)?;
            Ok((read, checksum))
        });
        let (read, checksum) = read.await?;
        Ok(Part { bytes: file.buffers.lend(read), checksum })
    }

    /// Whether what was read is all, and still as it was at the beginning.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Changed`] when a file is not; [`ErrorKind::InvalidObject`] when a stream has another length than it was said to have.
    pub(super) async fn finish(&mut self) -> Result<()> {
        let file = match self {
            Self::Bytes { .. } => return Ok(()),
            Self::Stream(gathering) => return gathering.finish().await,
            Self::File(file) => file,
        };
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
            Self::Stream(_) => return Ok(false),
        }
        Ok(true)
    }
}

impl OpenFile {
    fn open(path: PathBuf, buffers: Buffers, in_place: Arc<InPlace>) -> Result<Self> {
        check_file(&path)?;
        let file = File::open(&path).map_err(|error| unreadable(&path, error))?;
        let was = Stamp::of(&file, &path)?;
        Ok(Self { file: Arc::new(file), path, was, left: was.size, buffers, in_place })
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

/// Up to `length` bytes, into `buffer`, and their checksum. Blocks.
fn read(
    mut file: &File,
    path: &Path,
    length: u64,
    mut buffer: Buffer,
    algorithm: Option<ChecksumAlgorithm>,
) -> Result<(Buffer, Option<Checksum>)> {
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let bytes = &mut buffer.bytes;
    if bytes.is_empty() {
        // Memory of which the system knows that it is zeros is not written twice.
        *bytes = vec![0; length];
    } else {
        bytes.resize(length, 0);
    }
    let mut hasher = algorithm.map(|algorithm| Hasher::new(Method::Algorithm(algorithm)));
    let mut end = 0;
    while end < length {
        let piece = end..length.min(end + PIECE);
        match file.read(&mut bytes[piece]) {
            Ok(0) => break,
            Ok(count) => {
                if let Some(hasher) = &mut hasher {
                    hasher.update(&bytes[end..end + count]);
                }
                end += count;
            }
            Err(error) if error.kind() == IoErrorKind::Interrupted => {}
            Err(error) => return Err(unreadable(path, error)),
        }
    }
    bytes.truncate(end);
    Ok((buffer, hasher.map(Hasher::finish)))
}

/// Blocks.
fn check_unchanged(file: &File, path: &Path, was: Stamp, left: u64) -> Result<()> {
    if left != 0 || Stamp::of(file, path)? != was {
        return Err(Error::new(ErrorKind::Changed, format!("{} was changed while it was read", path.display())));
    }
    // The files of `/proc` say that they are empty.
    let mut more = Vec::new();
    file.take(1).read_to_end(&mut more).map_err(|error| unreadable(path, error))?;
    if !more.is_empty() {
        let problem =
            format!("{} holds more than its size of {} bytes; use PutValue::reader", path.display(), was.size);
        return Err(Error::new(ErrorKind::InvalidObject, problem));
    }
    Ok(())
}

impl Gathering {
    /// The next bytes, so many if it has them.
    async fn next(&mut self, length: u64) -> Result<Bytes> {
        let length = self.announced.map_or(length, |announced| length.min(announced - self.gathered));
        let part = self.gather(length).await?;
        self.gathered += part.len() as u64;
        Ok(part)
    }

    /// Fills a buffer of its own: what a stream yields may be a byte, or a small piece of something large.
    async fn gather(&mut self, length: u64) -> Result<Bytes> {
        let most = usize::try_from(length).unwrap_or(usize::MAX);
        let mut beginning = Vec::new();
        if !std::mem::replace(&mut self.begun, true) {
            self.fill(&mut beginning, most.min(BEGINNING)).await?;
        }
        if beginning.len() == most {
            return Ok(beginning.into());
        }
        // Memory is asked for when there is something to be put into it.
        self.pull().await?;
        if self.rest.is_empty() {
            return Ok(beginning.into());
        }
        let mut buffer = self.buffers.take(length).await;
        buffer.bytes.clear();
        buffer.bytes.append(&mut beginning);
        self.fill(&mut buffer.bytes, most).await?;
        if self.ended {
            buffer.shrink();
        }
        Ok(self.buffers.lend(buffer))
    }

    async fn finish(&mut self) -> Result<()> {
        let Some(announced) = self.announced else { return Ok(()) };
        self.pull().await?;
        let problem = if !self.rest.is_empty() {
            format!("the value has more than the {announced} bytes that it was said to have")
        } else if self.gathered < announced {
            format!("the value has {} of the {announced} bytes that it was said to have", self.gathered)
        } else {
            return Ok(());
        };
        Err(Error::new(ErrorKind::InvalidObject, problem))
    }

    /// Takes what the stream yields until that is so much, or the stream has ended.
    async fn fill(&mut self, gathered: &mut Vec<u8>, length: usize) -> Result<()> {
        while gathered.len() < length {
            self.pull().await?;
            if self.rest.is_empty() {
                break;
            }
            let taken = self.rest.split_to(self.rest.len().min(length - gathered.len()));
            gathered.extend_from_slice(&taken);
        }
        Ok(())
    }

    /// Waits until something is there that was not taken yet, or the stream has ended.
    async fn pull(&mut self) -> Result<()> {
        while self.rest.is_empty() && !self.ended {
            let chunk = match self.stream.next().now_or_never() {
                Some(ready) => ready,
                None => {
                    // Nobody knows for how long.
                    self.buffers.clear();
                    self.stream.next().await
                }
            };
            match chunk {
                None => self.ended = true,
                Some(Ok(chunk)) => {
                    self.rest = chunk;
                    // A stream that is always ready would let nothing else run, its own cancellation included.
                    consume_budget().await;
                }
                Some(Err(error)) => {
                    self.ended = true;
                    return Err(unreadable_stream(error));
                }
            }
        }
        Ok(())
    }
}

fn unreadable_stream(error: Box<dyn std::error::Error + Send + Sync>) -> Error {
    match error.downcast::<TooLong>() {
        Ok(too_long) => Error::new(ErrorKind::InvalidObject, too_long.to_string()).with_source(*too_long),
        Err(other) => Error::new(ErrorKind::Io, "the value could not be read").with_source(other),
    }
}

fn unreadable(path: &Path, error: io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("could not read {}", path.display())).with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn reading(path: &Path) -> Reading {
        Reading::begin(Source::File(path.to_owned()), &Flow::default(), &Arc::default()).await.unwrap()
    }

    #[tokio::test]
    async fn a_file_is_read_again_from_its_beginning() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, "0123456789").unwrap();
        let mut reading = reading(&path).await;
        assert_eq!(reading.size(), Some(10));
        assert_eq!(reading.next(4, None).await.unwrap().bytes, "0123");
        assert!(reading.rewind().await.unwrap());
        for part in ["01234", "56789", ""] {
            assert_eq!(reading.next(5, None).await.unwrap().bytes, part);
        }
        reading.finish().await.unwrap();
    }

    #[tokio::test]
    async fn what_is_hashed_as_it_is_read_has_the_checksum_of_its_bytes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let bytes: Vec<u8> = (0..3 * PIECE + 7).map(|at| (at ^ (at >> 8)) as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        for algorithm in [ChecksumAlgorithm::Crc64Nvme, ChecksumAlgorithm::Sha256] {
            let mut reading = reading(&path).await;
            // Buffers are used again, a shorter part in that of a longer one too.
            for part in [&bytes[..PIECE + 5], &bytes[PIECE + 5..2 * PIECE], &bytes[2 * PIECE..]] {
                let read = reading.next(part.len() as u64, Some(algorithm)).await.unwrap();
                assert!(read.bytes == *part);
                assert_eq!(read.checksum, Some(Checksum::of(algorithm, part)));
                let other = read.checksum(Some(ChecksumAlgorithm::Sha1)).await.unwrap();
                assert_eq!(other, Some(Checksum::of(ChecksumAlgorithm::Sha1, part)));
            }
        }
        let whole = reading(&path).await.whole(bytes.len() as u64, Some(ChecksumAlgorithm::Crc32)).await.unwrap();
        assert_eq!(whole.checksum, Some(Checksum::of(ChecksumAlgorithm::Crc32, &bytes)));
    }

    #[tokio::test]
    async fn a_short_file_that_changes_is_not_its_value() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        for text in ["short", "much longer than before", ""] {
            std::fs::write(&path, "0123456789").unwrap();
            let mut reading = reading(&path).await;
            std::fs::write(&path, text).unwrap();
            let error = reading.whole(10, None).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Changed, "{text:?}: {error}");
        }
    }

    #[tokio::test]
    async fn a_file_that_grows_is_read_to_its_size_and_no_further() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, "01234").unwrap();
        let mut reading = reading(&path).await;
        std::fs::write(&path, "0123456789").unwrap();
        assert_eq!(
            (reading.next(4, None).await.unwrap().bytes, reading.next(4, None).await.unwrap().bytes),
            ("0123".into(), "4".into())
        );
        assert_eq!(reading.next(4, None).await.unwrap().bytes, "");
        assert_eq!(reading.finish().await.unwrap_err().kind(), ErrorKind::Changed);
    }

    /// Such as those of `/proc` are.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_file_that_holds_more_than_its_size_is_not_stored_as_empty() {
        let mut reading = reading(Path::new("/proc/self/status")).await;
        assert_eq!(reading.size(), Some(0));
        let error = reading.whole(0, None).await.unwrap_err();
        assert!(error.kind() == ErrorKind::InvalidObject && error.to_string().contains("PutValue::reader"), "{error}");
    }

    #[tokio::test]
    async fn what_is_no_file_is_refused_before_it_is_opened() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("missing");
        for (path, kind) in [(directory.path(), ErrorKind::InvalidObject), (&missing, ErrorKind::Io)] {
            let error =
                Reading::begin(Source::File(path.to_owned()), &Flow::default(), &Arc::default()).await.err().unwrap();
            assert!(error.kind() == kind && error.to_string().contains(path.to_str().unwrap()), "{error}");
        }
    }
}
