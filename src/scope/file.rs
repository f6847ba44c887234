//! The files of a scope, while they are written and when they are whole.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, PoisonError};

use bytes::Bytes;

use super::writer::{FileWriter, Target};
use super::{Directory, Space, closed, disk_error, io_error};
use crate::blocking::blocking;
use crate::error::Result;
use crate::journal::Journal;

/// A finished file. Dropping it removes the file, unless it was kept or a journal has it.
#[derive(Debug)]
pub(crate) struct FileLease {
    path: PathBuf,
    space: Arc<Space>,
    owned: AtomicBool,
    directory: Arc<Directory>,
    /// Whose it is then, and by which number.
    journal: OnceLock<(Arc<Journal>, u64)>,
}

/// A file that is being written, under a name that no object shows. Dropping it removes the file; when a write fails, the
/// file is removed before that is reported.
#[derive(Debug)]
pub(crate) struct PartFile {
    writer: FileWriter,
    lease: FileLease,
    target: Arc<Target>,
    finished: PathBuf,
}

/// Above it, the space of a removed file takes long enough to free that an async thread must not do it.
const REMOVED_INLINE: u64 = 8 * 1024 * 1024;

impl PartFile {
    /// A new file that gets the name `finished` in the end. Blocks.
    pub(super) fn create(directory: &Arc<Directory>, target: Target, finished: PathBuf) -> Result<Self> {
        let target = Arc::new(target);
        let writer = target.create()?;
        let lease = FileLease {
            path: target.path().to_owned(),
            space: Arc::clone(target.space()),
            owned: AtomicBool::new(true),
            directory: Arc::clone(directory),
            journal: OnceLock::new(),
        };
        Ok(Self { writer, lease, target, finished })
    }

    /// One that is there already, and stays when it is dropped. Blocks.
    pub(super) fn reopen(directory: &Arc<Directory>, target: Target, finished: PathBuf) -> Result<Self> {
        let target = Arc::new(target);
        let writer = target.writer_at(0)?;
        writer.cut()?;
        let lease = FileLease::of_another(directory, target.path().to_owned(), Arc::clone(target.space()));
        Ok(Self { writer, lease, target, finished })
    }

    /// Leaves the file where it is when this is dropped.
    pub(crate) fn leave(&mut self) {
        *self.lease.owned.get_mut() = false;
    }

    /// Writes at the end. Blocks.
    pub(crate) fn append(&mut self, chunks: &[Bytes]) -> Result<()> {
        self.writer.append(chunks).inspect_err(|_| self.lease.remove())
    }

    /// For writers of its parts.
    pub(crate) fn target(&self) -> &Arc<Target> {
        &self.target
    }

    /// Gives the file its own name when it is whole. Blocks.
    ///
    /// Nothing is synced: the file ends with the process or before it, so that no loss of power can leave half of one to be
    /// read, and a sync would cost a wait for the disk for each file. File systems reserve the space when they take the bytes;
    /// one over a network may fail later, and then the file reads as it was left.
    pub(crate) fn finish(mut self) -> Result<FileLease> {
        match self.check_and_rename() {
            Ok(()) => Ok(self.lease),
            Err(error) => {
                self.remove();
                Err(error)
            }
        }
    }

    fn check_and_rename(&mut self) -> Result<()> {
        let Self { writer, lease, target, finished } = self;
        writer.check_whole()?;
        if lease.path == *finished {
            return Ok(());
        }
        // A name that appears while the directory is being removed would keep it from going.
        let temp = lease.directory.temp.read().unwrap_or_else(PoisonError::into_inner);
        if temp.is_none() {
            return Err(closed());
        }
        fs::rename(&lease.path, &*finished).map_err(|error| target.failed("rename", error))?;
        lease.path.clone_from(finished);
        Ok(())
    }

    /// Removes the file now; dropping it may do so a moment later. Blocks.
    pub(crate) fn remove(mut self) {
        self.lease.remove();
    }
}

impl FileLease {
    pub(super) fn of_another(directory: &Arc<Directory>, path: PathBuf, space: Arc<Space>) -> Self {
        let (owned, directory) = (AtomicBool::new(false), Arc::clone(directory));
        Self { path, space, owned, directory, journal: OnceLock::new() }
    }

    /// Leaves the file to a journal, which has a note of this number about it.
    pub(crate) fn leave_to(&self, journal: &Arc<Journal>, id: u64) {
        self.owned.store(false, Ordering::Relaxed);
        self.journal.get_or_init(|| (Arc::clone(journal), id));
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// In bytes.
    pub(crate) fn size(&self) -> u64 {
        self.space.size()
    }

    /// Leaves the file to the scope.
    pub(crate) fn keep(&self) {
        if self.owned.swap(false, Ordering::Relaxed) {
            let mut kept = self.directory.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.push(Arc::clone(&self.space));
        }
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
            let is_noted = self.journal.get().is_some();
            if let Some((journal, id)) = self.journal.get() {
                // Before it is moved: who is killed in between finds it in one of the two places.
                let destination = std::path::absolute(&destination)
                    .map_err(|error| io_error("could not look at", &destination, error))?;
                journal.moved(*id, &destination)?;
            }
            let failed = |lease: &Self, error| {
                let (source, size) = (lease.path.display(), lease.size());
                disk_error(
                    format!("could not persist the {size} bytes of {source} to {}", destination.display()),
                    error,
                )
            };
            match Arc::try_unwrap(self) {
                Ok(only) => match fs::rename(&only.path, &destination) {
                    Ok(()) => {
                        only.owned.store(false, Ordering::Relaxed);
                        Ok(())
                    }
                    Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                        copy(&only.path, &destination).map_err(|error| failed(&only, error))?;
                        if is_noted {
                            fs::remove_file(&only.path).map_err(|error| failed(&only, error))?;
                        }
                        Ok(())
                    }
                    Err(error) => Err(failed(&only, error)),
                },
                Err(shared) => copy(&shared.path, &destination).map_err(|error| failed(&shared, error)),
            }
        })
        .await
    }

    /// A failure leaves the file to the directory's end, which removes it again.
    fn remove(&mut self) {
        if std::mem::replace(self.owned.get_mut(), false) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Drop for FileLease {
    fn drop(&mut self) {
        if !*self.owned.get_mut() {
            return;
        }
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) if self.size() > REMOVED_INLINE => {
                let path = std::mem::take(&mut self.path);
                let (directory, space) = (Arc::clone(&self.directory), Arc::clone(&self.space));
                runtime.spawn_blocking(move || {
                    let _ = fs::remove_file(path);
                    drop((directory, space));
                });
            }
            _ => self.remove(),
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
