//! The temporary directory of a scope: file names, and who keeps which file alive. Knows files and nothing of S3.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::blocking::{Workers, blocking};
use crate::error::{Error, ErrorKind, Result};

mod close;
mod locked;
#[cfg(unix)]
mod sweep;
mod writer;

pub(crate) use self::close::CLOSE_LIMIT;
use self::locked::LockedDir;
pub(crate) use self::writer::FileWriter;

/// Where the files of a scope go. The directory is made at the first use.
pub(crate) struct Scope {
    tmproot: PathBuf,
    workers: Arc<Workers>,
    /// Never locked for longer than it takes to look.
    directory: RwLock<Option<Arc<Directory>>>,
    closed: CancellationToken,
    /// The operations.
    running: TaskTracker,
    /// What the operations leave to be done.
    aborts: TaskTracker,
    /// The directory of a closed scope until it is removed. Locked while the directory is made or removed.
    leaving: Mutex<Option<LockedDir>>,
}

/// The directory itself; it goes with the last handle of it.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    /// `None` once the scope is closed. Files are made under the read lock, so that none is made behind the back of a close.
    temp: RwLock<Option<LockedDir>>,
    next: AtomicU64,
    workers: Arc<Workers>,
}

/// A finished file. Dropping it removes the file, unless it was kept.
#[derive(Debug)]
pub(crate) struct FileLease {
    path: PathBuf,
    size: u64,
    owned: AtomicBool,
    directory: Arc<Directory>,
}

/// A file that is being written, under a name that no object shows. Dropping it removes the file.
#[derive(Debug)]
pub(crate) struct PartFile {
    writer: FileWriter,
    lease: FileLease,
    finished: PathBuf,
}

/// Above it, the space of a removed file takes long enough to free that an async thread must not do it.
const REMOVED_INLINE: u64 = 8 * 1024 * 1024;
const PART_SUFFIX: &str = ".part";
/// Far under the 255 bytes of a file name, with room for the number and the suffix.
const NAME_TAIL: usize = 128;

impl Scope {
    pub(crate) fn new(tmproot: PathBuf, workers: Arc<Workers>) -> Self {
        Self {
            tmproot,
            workers,
            directory: RwLock::new(None),
            closed: CancellationToken::new(),
            running: TaskTracker::new(),
            aborts: TaskTracker::new(),
            leaving: Mutex::new(None),
        }
    }

    /// The tasks that clean up after dropped operations.
    pub(crate) fn aborts(&self) -> &TaskTracker {
        &self.aborts
    }

    pub(crate) fn check_open(&self) -> Result<()> {
        if self.closed.is_cancelled() { Err(closed()) } else { Ok(()) }
    }

    /// Runs `operation` unless and until the scope is closed.
    pub(crate) async fn unless_closed<T>(&self, operation: impl Future<Output = Result<T>>) -> Result<T> {
        match self.running.track_future(self.closed.run_until_cancelled(operation)).await {
            Some(result) => result,
            None => Err(closed()),
        }
    }

    /// The directory, made if this is its first use.
    pub(crate) async fn directory(self: &Arc<Self>) -> Result<Arc<Directory>> {
        self.check_open()?;
        if let Some(directory) = self.made() {
            return Ok(directory);
        }
        let scope = Arc::clone(self);
        blocking(move || {
            let _one_at_a_time = scope.leaving.lock().unwrap_or_else(PoisonError::into_inner);
            scope.check_open()?;
            if let Some(directory) = scope.made() {
                return Ok(directory);
            }
            let directory = Arc::new(Directory::make(&scope.tmproot, &scope.workers)?);
            *scope.directory.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&directory));
            #[cfg(unix)]
            sweep::begin(&directory.path);
            Ok(directory)
        })
        .await
    }

    fn made(&self) -> Option<Arc<Directory>> {
        self.directory.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tmproot, workers: _, directory: _, closed, running: _, aborts: _, leaving: _ } = self;
        f.debug_struct("Scope")
            .field("tmproot", tmproot)
            .field("closed", &closed.is_cancelled())
            .finish_non_exhaustive()
    }
}

impl Directory {
    fn make(tmproot: &Path, workers: &Arc<Workers>) -> Result<Self> {
        let temp = LockedDir::make(tmproot)
            .map_err(|error| io_error("could not make a directory in the tmproot", tmproot, error))?;
        Ok(Self {
            path: temp.path().to_owned(),
            temp: RwLock::new(Some(temp)),
            next: AtomicU64::new(0),
            workers: Arc::clone(workers),
        })
    }

    /// Does short work with the files of this directory, off the async threads.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> impl Future<Output = Result<T>> + Send + 'static {
        self.workers.run(work)
    }

    /// Writes a whole file. Blocks.
    pub(crate) fn write(self: &Arc<Self>, key: &str, chunks: &[Bytes]) -> Result<FileLease> {
        let mut part = self.create(key, "")?;
        part.append(chunks)?;
        Ok(part.into_lease())
    }

    /// Begins a file that is written piece by piece. Blocks.
    pub(crate) fn begin(self: &Arc<Self>, key: &str) -> Result<PartFile> {
        self.create(key, PART_SUFFIX)
    }

    fn create(self: &Arc<Self>, key: &str, suffix: &str) -> Result<PartFile> {
        let temp = self.temp.read().unwrap_or_else(PoisonError::into_inner);
        if temp.is_none() {
            return Err(closed());
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let name = format!("{number:x}-{}", name_tail(key));
        let path = self.path.join(format!("{name}{suffix}"));
        let writer = FileWriter::create(&path)?;
        let lease = FileLease { path, size: 0, owned: AtomicBool::new(true), directory: Arc::clone(self) };
        Ok(PartFile { writer, lease, finished: self.path.join(name) })
    }
}

impl PartFile {
    /// Writes at the end. Blocks.
    pub(crate) fn append(&mut self, chunks: &[Bytes]) -> Result<()> {
        self.writer.append(chunks)
    }

    /// For [writers](FileWriter::open_at) of its parts.
    pub(crate) fn path(&self) -> &Path {
        &self.lease.path
    }

    /// As [`finish`](Self::finish), when others have written it, to this size. Blocks.
    pub(crate) fn finish_of_parts(mut self, size: u64) -> Result<FileLease> {
        let there = self.writer.file_len()?;
        if there != size {
            let problem = format!("{} has {there} bytes in place of {size}", self.lease.path.display());
            return Err(Error::new(ErrorKind::Io, problem));
        }
        self.lease.size = size;
        self.rename()
    }

    /// Gives the file its own name. Blocks.
    pub(crate) fn finish(mut self) -> Result<FileLease> {
        self.lease.size = self.writer.written();
        self.rename()
    }

    fn rename(self) -> Result<FileLease> {
        let Self { writer: _, mut lease, finished } = self;
        let directory = Arc::clone(&lease.directory);
        // A name that appears while the directory is being removed would keep it from going.
        let temp = directory.temp.read().unwrap_or_else(PoisonError::into_inner);
        if temp.is_none() {
            return Err(closed());
        }
        fs::rename(&lease.path, &finished).map_err(|error| io_error("could not rename", &lease.path, error))?;
        lease.path = finished;
        Ok(lease)
    }

    fn into_lease(self) -> FileLease {
        let Self { writer, mut lease, finished: _ } = self;
        lease.size = writer.written();
        lease
    }
}

impl FileLease {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// In bytes.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Leaves the file to the scope.
    pub(crate) fn keep(&self) {
        self.owned.store(false, Ordering::Relaxed);
    }

    /// The bytes of the file, or what `convert` makes of them, which blocks.
    pub(crate) async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        convert: impl FnOnce(Vec<u8>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let lease = Arc::clone(self);
        blocking(move || {
            let bytes = fs::read(&lease.path).map_err(|error| io_error("could not read", &lease.path, error))?;
            convert(bytes)
        })
        .await
    }

    /// Moves the file to `destination`, or copies it while others hold it. A file that is there is replaced, at once and whole.
    pub(crate) async fn persist(self: Arc<Self>, destination: PathBuf) -> Result<()> {
        blocking(move || {
            let copied = match Arc::try_unwrap(self) {
                Ok(only) => match fs::rename(&only.path, &destination) {
                    Ok(()) => {
                        only.keep();
                        return Ok(());
                    }
                    Err(error) if error.kind() == io::ErrorKind::CrossesDevices => copy(&only.path, &destination),
                    Err(error) => Err(error),
                },
                Err(shared) => copy(&shared.path, &destination),
            };
            copied.map_err(|error| io_error("could not persist to", &destination, error))
        })
        .await
    }
}

impl Drop for FileLease {
    fn drop(&mut self) {
        if !*self.owned.get_mut() {
            return;
        }
        let path = std::mem::take(&mut self.path);
        let directory = Arc::clone(&self.directory);
        // A failure leaves the file to the directory's end, which removes it again.
        let remove = move || {
            let _ = fs::remove_file(path);
            drop(directory);
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) if self.size > REMOVED_INLINE => drop(runtime.spawn_blocking(remove)),
            _ => remove(),
        }
    }
}

/// Copies by way of a temporary neighbour, so that `destination` is never half a file.
fn copy(source: &Path, destination: &Path) -> io::Result<()> {
    let parent = destination.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut neighbour = tempfile::NamedTempFile::new_in(parent)?;
    io::copy(&mut File::open(source)?, neighbour.as_file_mut())?;
    neighbour.persist(destination)?;
    Ok(())
}

/// The end of a key, in characters that every file system takes; the extension survives.
fn name_tail(key: &str) -> String {
    let safe = |character: char| match character {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '-' | '_' => character,
        _ => '_',
    };
    let skipped = key.chars().count().saturating_sub(NAME_TAIL);
    key.chars().skip(skipped).map(safe).collect()
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the scope is closed")
}

fn io_error(what: &str, path: &Path, error: io::Error) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::InsufficientDiskSpace,
        _ => ErrorKind::Io,
    };
    Error::new(kind, format!("{what} {}", path.display())).with_source(error)
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn chunks(text: &'static str) -> Vec<Bytes> {
        vec![Bytes::new(), Bytes::from_static(text.as_bytes()), Bytes::new()]
    }

    /// But for the lock file.
    fn files_in(path: &Path) -> usize {
        let entries = fs::read_dir(path).into_iter().flatten();
        entries.filter(|entry| entry.as_ref().unwrap().file_name() != locked::LOCK).count()
    }

    #[test]
    fn a_full_disk_and_a_used_up_quota_have_a_kind_of_their_own() {
        let kind = |kind: io::ErrorKind| io_error("write", Path::new("/f"), kind.into()).kind();
        assert_eq!(kind(io::ErrorKind::StorageFull), ErrorKind::InsufficientDiskSpace);
        assert_eq!(kind(io::ErrorKind::QuotaExceeded), ErrorKind::InsufficientDiskSpace);
        assert_eq!(kind(io::ErrorKind::PermissionDenied), ErrorKind::Io);
    }

    async fn open(tmproot: &TempDir) -> (Arc<Scope>, Arc<Directory>) {
        let scope = Arc::new(Scope::new(tmproot.path().to_owned(), Workers::new()));
        let directory = scope.directory().await.unwrap();
        (scope, directory)
    }

    #[tokio::test]
    async fn a_file_lives_as_long_as_its_lease() {
        let tmproot = tempfile::tempdir().unwrap();
        let (_scope, directory) = open(&tmproot).await;
        let lease = Arc::new(directory.write("dir/k.txt", &chunks("text")).unwrap());
        assert_eq!(lease.read(Ok).await.unwrap(), b"text");
        assert_eq!(lease.size(), 4);
        assert!(lease.path().to_str().unwrap().ends_with("-dir_k.txt"));
        drop(lease);
        assert_eq!(files_in(&directory.path), 0);
    }

    #[tokio::test]
    async fn a_kept_file_stays_until_the_scope_closes() {
        let tmproot = tempfile::tempdir().unwrap();
        let (scope, directory) = open(&tmproot).await;
        let lease = directory.write("k", &chunks("text")).unwrap();
        lease.keep();
        let path = lease.path().to_owned();
        drop(lease);
        assert!(path.exists());
        scope.close_within(CLOSE_LIMIT).await.unwrap();
        assert_eq!(files_in(tmproot.path()), 0);
    }

    #[tokio::test]
    async fn the_directory_goes_with_its_last_handle() {
        let tmproot = tempfile::tempdir().unwrap();
        let (scope, directory) = open(&tmproot).await;
        let lease = directory.write("k", &chunks("text")).unwrap();
        drop((scope, directory));
        assert!(lease.path().exists());
        drop(lease);
        assert_eq!(files_in(tmproot.path()), 0);
    }

    #[tokio::test]
    async fn an_unfinished_file_has_another_name_and_is_removed() {
        let tmproot = tempfile::tempdir().unwrap();
        let (_scope, directory) = open(&tmproot).await;
        let mut part = directory.begin("k").unwrap();
        part.append(&chunks("half")).unwrap();
        assert!(part.lease.path.to_str().unwrap().ends_with(".part"));
        drop(part);
        assert_eq!(files_in(&directory.path), 0);

        let mut part = directory.begin("k").unwrap();
        part.append(&chunks("whole")).unwrap();
        let lease = part.finish().unwrap();
        assert!(!lease.path().to_str().unwrap().ends_with(".part"));
        assert_eq!(fs::read(lease.path()).unwrap(), b"whole");
    }

    #[tokio::test]
    async fn a_closed_scope_makes_no_file() {
        let tmproot = tempfile::tempdir().unwrap();
        let (scope, directory) = open(&tmproot).await;
        let part = directory.begin("k").unwrap();
        scope.close_within(CLOSE_LIMIT).await.unwrap();
        scope.close_within(CLOSE_LIMIT).await.unwrap();
        assert_eq!(directory.write("k", &chunks("text")).unwrap_err().kind(), ErrorKind::Closed);
        assert_eq!(part.finish().unwrap_err().kind(), ErrorKind::Closed);
        assert_eq!(scope.directory().await.unwrap_err().kind(), ErrorKind::Closed);
        assert_eq!(files_in(tmproot.path()), 0);
    }

    #[tokio::test]
    async fn a_close_wins_over_files_that_are_being_finished() {
        for _ in 0..20 {
            let tmproot = tempfile::tempdir().unwrap();
            let (scope, directory) = open(&tmproot).await;
            let parts: Vec<PartFile> = (0..300).map(|_| directory.begin("k").unwrap()).collect();
            let finishing = std::thread::spawn(move || parts.into_iter().map(PartFile::finish).collect::<Vec<_>>());
            let closed = scope.close_within(CLOSE_LIMIT).await;
            drop(finishing.join().unwrap());
            closed.unwrap();
            assert_eq!(files_in(tmproot.path()), 0);
        }
    }

    #[tokio::test]
    async fn persist_moves_a_file_or_copies_a_shared_one() {
        let tmproot = tempfile::tempdir().unwrap();
        let (_scope, directory) = open(&tmproot).await;
        let lease = Arc::new(directory.write("k", &chunks("text")).unwrap());
        let (copied, moved) = (tmproot.path().join("copied"), tmproot.path().join("moved"));
        fs::write(&moved, "older and longer").unwrap();
        Arc::clone(&lease).persist(copied.clone()).await.unwrap();
        assert!(lease.path().exists());
        lease.persist(moved.clone()).await.unwrap();
        assert_eq!((fs::read(copied).unwrap(), fs::read(moved).unwrap()), (b"text".to_vec(), b"text".to_vec()));
        assert_eq!(files_in(&directory.path), 0);
    }

    #[tokio::test]
    async fn an_unusable_tmproot_is_named() {
        let scope = Arc::new(Scope::new("/nowhere/at/all".into(), Workers::new()));
        let error = scope.directory().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io);
        assert!(error.to_string().contains("/nowhere/at/all"), "{error}");
    }

    #[test]
    fn names_are_short_and_safe_for_any_key() {
        for key in ["../../etc/passwd", "a\0b", "🦀".repeat(300).as_str(), "/", "con."] {
            let name = name_tail(key);
            assert!(
                name.len() <= NAME_TAIL && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/'),
                "{name}"
            );
        }
        assert!(name_tail(&format!("{}/data.parquet", "x".repeat(1000))).ends_with("_data.parquet"));
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn only_the_owner_reads_directory_and_files() {
        use std::os::unix::fs::PermissionsExt as _;

        let tmproot = tempfile::tempdir().unwrap();
        let (_scope, directory) = open(&tmproot).await;
        let lease = directory.write("k", &chunks("text")).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&directory.path), mode(lease.path())), (0o700, 0o600));
    }
}
