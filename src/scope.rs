//! The temporary directory of a scope: file names, and who keeps which file alive. Knows files and nothing of S3.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::{Either, ready};
use tokio_util::future::FutureExt as _;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::blocking::{InPlace, Workers, blocking};
use crate::error::{Error, ErrorKind, Result};
use crate::journal::Journal;

mod close;
mod file;
mod locked;
mod scopes;
mod space;
#[cfg(unix)]
mod sweep;
mod writer;

pub(crate) use self::close::CLOSE_LIMIT;
pub(crate) use self::file::{FileLease, PartFile};
use self::locked::LockedDir;
pub(crate) use self::scopes::Scopes;
pub(crate) use self::space::{Promised, Space};
pub(crate) use self::writer::{FileWriter, Target};

/// Where the files of a scope go. The directory is made at the first use.
pub(crate) struct Scope {
    tmproot: PathBuf,
    workers: Arc<Workers>,
    promised: Arc<Promised>,
    /// Never locked for longer than it takes to look.
    directory: RwLock<Option<Arc<Directory>>>,
    closed: CancellationToken,
    /// Cancelled when the client takes no more operations.
    draining: CancellationToken,
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
    in_place: InPlace,
    promised: Arc<Promised>,
    /// Of files that stay until the directory goes.
    kept: Mutex<Vec<Arc<Space>>>,
}

const PART_SUFFIX: &str = ".part";
/// Far under the 255 bytes of a file name, with room for the number and the suffix.
const NAME_TAIL: usize = 128;

impl Scope {
    pub(crate) fn new(tmproot: PathBuf, workers: Arc<Workers>, promised: Arc<Promised>) -> Self {
        Self {
            tmproot,
            workers,
            promised,
            directory: RwLock::new(None),
            closed: CancellationToken::new(),
            draining: CancellationToken::new(),
            running: TaskTracker::new(),
            aborts: TaskTracker::new(),
            leaving: Mutex::new(None),
        }
    }

    /// The same, closed too when `token` is cancelled.
    pub(crate) fn ended_by(self, token: &CancellationToken) -> Self {
        Self { closed: token.child_token(), ..self }
    }

    /// The same, with no operation that is begun after `token` is cancelled.
    pub(crate) fn drained_by(self, token: CancellationToken) -> Self {
        Self { draining: token, ..self }
    }

    /// The tasks that clean up after dropped operations.
    pub(crate) fn aborts(&self) -> &TaskTracker {
        &self.aborts
    }

    pub(crate) fn check_open(&self) -> Result<()> {
        if self.closed.is_cancelled() { Err(closed()) } else { Ok(()) }
    }

    /// Runs `operation` unless and until the scope is closed.
    ///
    /// An operation is some KiB of state. It is on the heap, so that it is moved there once and not into each of the futures
    /// and tasks around it.
    pub(crate) fn unless_closed<T>(
        &self,
        operation: impl Future<Output = Result<T>>,
    ) -> impl Future<Output = Result<T>> {
        let end = if self.draining.is_cancelled() { &self.draining } else { &self.closed };
        let running = self.running.track_future(operation.with_cancellation_token(end));
        running.map(|done| done.unwrap_or_else(|| Err(closed())))
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
            let directory = Arc::new(Directory::make(&scope)?);
            *scope.directory.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&directory));
            #[cfg(unix)]
            sweep::begin(&directory.path);
            Ok(directory)
        })
        .await
    }

    /// The directory of a journal's files, which stay when the scope ends.
    pub(crate) fn directory_of(&self, journal: &Journal) -> Arc<Directory> {
        let path = journal.files();
        Arc::new(Directory {
            temp: RwLock::new(Some(LockedDir::of_another(&path))),
            path,
            next: AtomicU64::new(journal.first_free()),
            workers: Arc::clone(&self.workers),
            in_place: InPlace::default(),
            promised: Arc::clone(&self.promised),
            kept: Mutex::default(),
        })
    }

    fn made(&self) -> Option<Arc<Directory>> {
        self.directory.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tmproot, closed, .. } = self;
        f.debug_struct("Scope")
            .field("tmproot", tmproot)
            .field("closed", &closed.is_cancelled())
            .finish_non_exhaustive()
    }
}

impl Directory {
    fn make(scope: &Scope) -> Result<Self> {
        let Scope { tmproot, workers, promised, .. } = scope;
        let temp = LockedDir::make(tmproot)
            .map_err(|error| io_error("could not make a directory in the tmproot", tmproot, error))?;
        Ok(Self {
            path: temp.path().to_owned(),
            temp: RwLock::new(Some(temp)),
            next: AtomicU64::new(0),
            workers: Arc::clone(workers),
            in_place: InPlace::default(),
            promised: Arc::clone(promised),
            kept: Mutex::default(),
        })
    }

    /// Does work with the files of this directory, off the async threads.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> impl Future<Output = Result<T>> + Send + 'static {
        self.workers.run(work)
    }

    /// As [`run`](Self::run), of work that moves so many bytes: at once, if they are few and the file system is quick.
    pub(crate) fn run_short<T: Send + 'static>(
        &self,
        bytes: u64,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> impl Future<Output = Result<T>> + Send + 'static {
        match self.in_place.run(bytes, work) {
            Ok(done) => Either::Left(ready(done)),
            Err(work) => Either::Right(self.run(work)),
        }
    }

    /// Writes a whole file into its room. Blocks.
    ///
    /// It has its own name from the beginning: what is in memory as a whole is written in one go, no object shows the path
    /// before, and another name for so short a time would make a small file a third more expensive.
    pub(crate) fn write(self: &Arc<Self>, key: &str, chunks: &[Bytes], space: Arc<Space>) -> Result<FileLease> {
        let mut file = self.create(key, "", space)?;
        file.append(chunks)?;
        file.finish()
    }

    /// Begins a file that is written piece by piece into its room. Blocks.
    pub(crate) fn begin(self: &Arc<Self>, key: &str, space: Arc<Space>) -> Result<PartFile> {
        self.create(key, PART_SUFFIX, space)
    }

    /// Goes on with a file that was begun, of which so many bytes are written. Blocks.
    pub(crate) fn reopen(
        self: &Arc<Self>,
        name: &str,
        finished: &str,
        space: Arc<Space>,
        written: u64,
    ) -> Result<PartFile> {
        let target = Target::resumed(self.path.join(name), space, written);
        PartFile::reopen(self, target, self.path.join(finished))
    }

    /// A file that is whole, here or elsewhere, and stays.
    pub(crate) fn lease(self: &Arc<Self>, path: PathBuf, space: Arc<Space>) -> FileLease {
        FileLease::of_another(self, path, space)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn create(self: &Arc<Self>, key: &str, suffix: &str, space: Arc<Space>) -> Result<PartFile> {
        let temp = self.temp.read().unwrap_or_else(PoisonError::into_inner);
        if temp.is_none() {
            return Err(closed());
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let name = format!("{number:x}-{}", name_tail(key));
        let target = Target::new(self.path.join(format!("{name}{suffix}")), space);
        PartFile::create(self, target, self.path.join(name))
    }
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
    disk_error(format!("{what} {}", path.display()), error)
}

fn disk_error(problem: String, error: io::Error) -> Error {
    let kind = if is_full(&error) { ErrorKind::InsufficientDiskSpace } else { ErrorKind::Io };
    Error::new(kind, problem).with_source(error)
}

/// Whether the disk, or the user's share of it, is used up.
fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    fn chunks(text: &'static str) -> Vec<Bytes> {
        vec![Bytes::new(), Bytes::from_static(text.as_bytes()), Bytes::new()]
    }

    /// Without a quota.
    fn room(size: u64) -> Arc<Space> {
        Space::unlimited(size)
    }

    /// But for the lock file.
    fn files_in(path: &Path) -> usize {
        let entries = fs::read_dir(path).into_iter().flatten();
        entries.filter(|entry| entry.as_ref().unwrap().file_name() != locked::LOCK).count()
    }

    #[test]
    fn a_full_disk_and_a_used_up_quota_have_a_kind_of_their_own() {
        let kind = |error: io::Error| io_error("write", Path::new("/f"), error).kind();
        for full in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded] {
            assert_eq!(kind(full.into()), ErrorKind::InsufficientDiskSpace);
        }
        for other in [io::ErrorKind::ReadOnlyFilesystem, io::ErrorKind::FileTooLarge, io::ErrorKind::NotFound] {
            assert_eq!(kind(other.into()), ErrorKind::Io);
        }
        // EDQUOT, ENOSPC; EIO, EFBIG, EROFS.
        if cfg!(target_os = "linux") {
            assert_eq!(
                [122, 28].map(|code| kind(io::Error::from_raw_os_error(code))),
                [ErrorKind::InsufficientDiskSpace; 2]
            );
            assert_eq!([5, 27, 30].map(|code| kind(io::Error::from_raw_os_error(code))), [ErrorKind::Io; 3]);
        }
    }

    async fn open(tmproot: &TempDir) -> (Arc<Scope>, Arc<Directory>) {
        let scope = Arc::new(Scope::new(tmproot.path().to_owned(), Workers::new(), Arc::default()));
        let directory = scope.directory().await.unwrap();
        (scope, directory)
    }

    #[tokio::test]
    async fn a_file_lives_as_long_as_its_lease() {
        let tmproot = tempfile::tempdir().unwrap();
        let (_scope, directory) = open(&tmproot).await;
        let lease = Arc::new(directory.write("dir/k.txt", &chunks("text"), room(4)).unwrap());
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
        let lease = directory.write("k", &chunks("text"), room(4)).unwrap();
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
        let lease = directory.write("k", &chunks("text"), room(4)).unwrap();
        drop((scope, directory));
        assert!(lease.path().exists());
        drop(lease);
        assert_eq!(files_in(tmproot.path()), 0);
    }

    #[tokio::test]
    async fn an_unfinished_file_has_another_name_and_is_removed() {
        let tmproot = tempfile::tempdir().unwrap();
        let (_scope, directory) = open(&tmproot).await;
        let mut part = directory.begin("k", room(8)).unwrap();
        part.append(&chunks("half")).unwrap();
        assert!(part.target().path().to_str().unwrap().ends_with(".part"));
        drop(part);
        assert_eq!(files_in(&directory.path), 0);

        let mut part = directory.begin("k", room(5)).unwrap();
        part.append(&chunks("whole")).unwrap();
        let lease = part.finish().unwrap();
        assert!(!lease.path().to_str().unwrap().ends_with(".part"));
        assert_eq!(fs::read(lease.path()).unwrap(), b"whole");
    }

    #[tokio::test]
    async fn a_file_that_is_too_short_or_too_long_gets_no_name_and_is_removed() {
        let tmproot = tempfile::tempdir().unwrap();
        let (_scope, directory) = open(&tmproot).await;
        // The long one would be removed by another thread, some time later, if it were only dropped.
        for (size, problem) in
            [(5, "has 4 bytes in place of 5"), (3, "place of 3"), (1 << 40, "place of 1099511627776")]
        {
            let mut part = directory.begin("k", room(size)).unwrap();
            part.append(&chunks("text")).unwrap();
            let error = part.finish().unwrap_err();
            assert!(error.kind() == ErrorKind::Io && error.to_string().contains(problem), "{error}");
            assert_eq!(files_in(&directory.path), 0);
        }
    }

    #[tokio::test]
    async fn a_directory_that_somebody_removed_takes_no_file_and_lets_go_of_those_it_had() {
        let tmproot = tempfile::tempdir().unwrap();
        let (scope, directory) = open(&tmproot).await;
        let mut part = directory.begin("k", room(4)).unwrap();
        part.append(&chunks("text")).unwrap();
        let lease = directory.write("k", &chunks("text"), room(4)).unwrap();
        fs::remove_dir_all(&directory.path).unwrap();
        let written = directory.write("k", &chunks("text"), room(4)).unwrap_err();
        let begun = directory.begin("k", room(7)).unwrap_err();
        let opened = part.target().writer_at(2).unwrap_err();
        let finished = part.finish().unwrap_err();
        for (error, problem) in [
            (written, "-k: 0 of 4 bytes were written"),
            (begun, "-k.part: 0 of 7 bytes were written"),
            (opened, "could not open"),
            (finished, "could not rename"),
        ] {
            let text = error.to_string();
            assert_eq!(error.kind(), ErrorKind::Io, "{text}");
            assert!(text.contains(problem) && text.contains(directory.path.to_str().unwrap()), "{text}");
        }
        drop(lease);
        drop(directory);
        scope.close_within(CLOSE_LIMIT).await.unwrap();
        assert_eq!(files_in(tmproot.path()), 0);
    }

    #[tokio::test]
    async fn a_closed_scope_makes_no_file() {
        let tmproot = tempfile::tempdir().unwrap();
        let (scope, directory) = open(&tmproot).await;
        let part = directory.begin("k", room(0)).unwrap();
        scope.close_within(CLOSE_LIMIT).await.unwrap();
        scope.close_within(CLOSE_LIMIT).await.unwrap();
        assert_eq!(directory.write("k", &chunks("text"), room(4)).unwrap_err().kind(), ErrorKind::Closed);
        assert_eq!(part.finish().unwrap_err().kind(), ErrorKind::Closed);
        assert_eq!(scope.directory().await.unwrap_err().kind(), ErrorKind::Closed);
        assert_eq!(files_in(tmproot.path()), 0);
    }

    #[tokio::test]
    async fn a_close_wins_over_files_that_are_being_finished() {
        for _ in 0..20 {
            let tmproot = tempfile::tempdir().unwrap();
            let (scope, directory) = open(&tmproot).await;
            let parts: Vec<PartFile> = (0..300).map(|_| directory.begin("k", room(0)).unwrap()).collect();
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
        let lease = Arc::new(directory.write("k", &chunks("text"), room(4)).unwrap());
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
        let scope = Arc::new(Scope::new("/nowhere/at/all".into(), Workers::new(), Arc::default()));
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
        let lease = directory.write("k", &chunks("text"), room(4)).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&directory.path), mode(lease.path())), (0o700, 0o600));
    }
}
