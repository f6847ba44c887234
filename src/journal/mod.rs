//! What a transfer has achieved, written down as it goes, so that the next call goes on after the process was killed.
//!
//! A directory: `journal.jsonl`, to which lines are added; `.lock`, which the kernel releases however the process ends; and for
//! downloads `files/`. Knows nothing of S3: what its notes mean, and whether they still hold, is for `transfer` to say.
//!
//! Nothing is synced. What a killed process has written is in the page cache, and after a power cut the CRCs tell what is there.

mod book;
mod line;
mod problem;

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use self::book::Book;
pub(crate) use self::book::{Got, Partial, Sent, Stored, Uploading, Whole};
pub(crate) use self::line::{Content, InParts, Piece, Way, What};
use self::line::{Head, Note, ObjectNote, PartNote, PieceNote, StoredNote, UploadNote, WholeNote};
pub use self::problem::JournalProblem;
use crate::blocking::blocking;
use crate::checksum::Verified;
use crate::error::{Error, ErrorKind, Result};

const LINES: &str = "journal.jsonl";
const LOCK: &str = ".lock";
const FILES: &str = "files";
/// Behind the names of files that are being written.
const PART_SUFFIX: &str = ".part";

/// What is written under way when a transfer is dropped ends in less.
const PATIENCE: Duration = Duration::from_millis(200);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// What a journal is for; one of another job is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Job {
    pub(crate) operation: &'static str,
    /// URLs of objects or directories.
    pub(crate) targets: Vec<String>,
}

/// A journal that this process alone uses, as long as a handle of it lives.
#[derive(Debug)]
pub(crate) struct Journal {
    directory: PathBuf,
    /// The first number that no name of a file begins with.
    first_free: u64,
    book: Mutex<Book>,
    _lock: File,
}

impl Journal {
    /// Opens the journal at `directory`, or begins one.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Journal`] with a [`JournalProblem`] when it is in use, of another job, or damaged; [`ErrorKind::Io`].
    pub(crate) async fn open(directory: PathBuf, job: Job) -> Result<Arc<Self>> {
        blocking(move || Self::open_blocking(&directory, &job).map(Arc::new)).await
    }

    fn open_blocking(directory: &Path, job: &Job) -> Result<Self> {
        // A file of the user may be named relative to a directory that the process leaves.
        let directory = std::path::absolute(directory).map_err(|error| unusable("find", directory, error))?;
        make(&directory)?;
        let (path, files) = (directory.join(LINES), directory.join(FILES));
        let is_new = !path.exists();
        if is_new {
            refuse_others(&directory)?;
        }
        let lock = lock(&directory)?;
        let head = Head {
            format: line::FORMAT.to_owned(),
            version: line::VERSION,
            operation: job.operation.to_owned(),
            targets: job.targets.clone(),
        };
        make(&files)?;
        let names = names(&files)?;
        let book = Book::open(&path, &head, !names.is_empty())?;
        let kept = book.files();
        let first_free = names.iter().filter_map(|name| number(name)).max().map_or(0, |number| number + 1);
        sweep(&files, &names, &kept);
        Ok(Self { directory, first_free, book: Mutex::new(book), _lock: lock })
    }

    /// Where the files of downloads are.
    pub(crate) fn files(&self) -> PathBuf {
        self.directory.join(FILES)
    }

    pub(crate) fn first_free(&self) -> u64 {
        self.first_free
    }

    /// What there is of a download. Who takes it goes on with it; the next one who asks begins anew.
    pub(crate) fn take_got(&self, what: &What) -> Option<Got> {
        self.lock().got.remove(what)
    }

    /// What there is of a put, as [`take_got`](Self::take_got).
    pub(crate) fn take_sent(&self, way: &Way) -> Option<Sent> {
        self.lock().sent.remove(way)
    }

    /// A download begins. Blocks, as all that writes.
    pub(crate) fn begin_object(&self, what: &What, file: &Path, etag: &str, size: u64) -> Result<u64> {
        let file = name(file)?;
        let mut book = self.lock();
        let id = book.next_id();
        let note = ObjectNote { id, what: what.clone(), file, etag: etag.to_owned(), size };
        book.write(&Note::Object(note)).map(|()| id)
    }

    /// Bytes of a download are in its file.
    pub(crate) fn wrote(&self, id: u64, piece: Piece) -> Result<()> {
        self.lock().write(&Note::Piece(PieceNote { id, piece }))
    }

    /// A download is done.
    pub(crate) fn whole(&self, what: &What, file: &Path, whole: Facts<'_>) -> Result<u64> {
        let file = name(file)?;
        let Facts { etag, size, sum, verified } = whole;
        let mut book = self.lock();
        let id = book.next_id();
        let (what, etag, sum) = (what.clone(), etag.to_owned(), sum.to_owned());
        book.write(&Note::Whole(WholeNote { id, what, file, etag, size, sum, verified })).map(|()| id)
    }

    /// The file of a download is about to be moved.
    pub(crate) fn moved(&self, id: u64, to: &Path) -> Result<()> {
        let path = text(to)?;
        self.lock().write(&Note::Moved { id, path })
    }

    /// An upload has begun.
    pub(crate) fn begin_upload(
        &self,
        way: &Way,
        content: &Content,
        parts: Option<InParts>,
        write_id: Option<&str>,
    ) -> Result<u64> {
        let mut book = self.lock();
        let id = book.next_id();
        let (way, content, write_id) = (way.clone(), content.clone(), write_id.map(str::to_owned));
        book.write(&Note::Upload(UploadNote { id, way, content, parts, write_id })).map(|()| id)
    }

    /// The server has taken a part.
    pub(crate) fn took(&self, id: u64, number: u32, etag: &str, sum: &str) -> Result<()> {
        self.lock().write(&Note::Part(PartNote { id, number, etag: etag.to_owned(), sum: sum.to_owned() }))
    }

    /// A put is done.
    pub(crate) fn stored(&self, way: &Way, content: &Content, etag: &str, sum: &str) -> Result<()> {
        let (way, content) = (way.clone(), content.clone());
        self.lock().write(&Note::Stored(StoredNote { way, content, sum: sum.to_owned(), etag: etag.to_owned() }))
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is noted of a download that is done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts<'a> {
    pub(crate) etag: &'a str,
    pub(crate) size: u64,
    pub(crate) sum: &'a str,
    pub(crate) verified: Option<Verified>,
}

fn make(directory: &Path) -> Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory).map_err(|error| unusable("make", directory, error))
}

/// A directory with other things in it was given by mistake.
fn refuse_others(directory: &Path) -> Result<()> {
    for name in names(directory)? {
        if name != LOCK && name != FILES {
            let problem = format!("the directory holds {name:?} and no {LINES}: it is no journal");
            return Err(JournalProblem::new(directory, problem).into_error());
        }
    }
    Ok(())
}

fn lock(directory: &Path) -> Result<File> {
    let path = directory.join(LOCK);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(&path).map_err(|error| unusable("open", &path, error))?;
    let until = Instant::now() + PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < until => std::thread::sleep(LOOK_AGAIN),
            Err(TryLockError::WouldBlock) => return Err(JournalProblem::in_use(directory).into_error()),
            Err(TryLockError::Error(error)) => return Err(unusable("lock", &path, error)),
        }
    }
}

fn names(directory: &Path) -> Result<Vec<String>> {
    let failed = |error| unusable("read", directory, error);
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        names.push(entry.map_err(failed)?.file_name().to_string_lossy().into_owned());
    }
    Ok(names)
}

/// Of a name that a file of a download has.
fn number(name: &str) -> Option<u64> {
    u64::from_str_radix(name.split_once('-')?.0, 16).ok()
}

/// Removes the files of downloads of which nothing is noted: they ended before they were.
fn sweep(files: &Path, names: &[String], kept: &HashSet<String>) {
    for name in names.iter().filter(|name| number(name).is_some() && !kept.contains(*name)) {
        if let Err(error) = fs::remove_file(files.join(name)) {
            tracing::warn!(path = %files.join(name).display(), %error, "a file without a note was not removed");
        }
    }
}

fn name(file: &Path) -> Result<String> {
    text(Path::new(file.file_name().unwrap_or_default()))
}

/// A path as a journal has it.
pub(crate) fn text(path: &Path) -> Result<String> {
    let problem = || Error::new(ErrorKind::InvalidObject, format!("{path:?} is not UTF-8; a journal cannot note it"));
    path.to_str().map(str::to_owned).ok_or_else(problem)
}

fn unusable(what: &str, path: &Path, error: io::Error) -> Error {
    let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    let kind = if full { ErrorKind::InsufficientDiskSpace } else { ErrorKind::Io };
    Error::new(kind, format!("could not {what} {} of the journal", path.display())).with_source(error)
}

#[cfg(test)]
mod tests;
