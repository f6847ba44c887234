//! Bytes into a file.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::{Space, disk_error, io_error};
use crate::error::{Error, ErrorKind, Result};

/// A file that is being written: where it is, how long it is to be, and how much of it is written.
#[derive(Debug)]
pub(crate) struct Target {
    path: PathBuf,
    space: Arc<Space>,
    /// By all writers together.
    written: AtomicU64,
}

/// Writes on from a place in a file. Of one file there may be several, each with a place of its own.
#[derive(Debug)]
pub(crate) struct FileWriter {
    file: File,
    target: Arc<Target>,
}

impl Target {
    pub(super) fn new(path: PathBuf, space: Arc<Space>) -> Self {
        Self { path, space, written: AtomicU64::new(0) }
    }

    /// Of a file that is there, with so many bytes in their places.
    pub(super) fn resumed(path: PathBuf, space: Arc<Space>, written: u64) -> Self {
        Self { written: AtomicU64::new(written), ..Self::new(path, space) }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// In bytes, when it is whole.
    pub(super) fn size(&self) -> u64 {
        self.space.size()
    }

    pub(super) fn space(&self) -> &Arc<Space> {
        &self.space
    }

    /// A new file of this user's alone. Blocks.
    pub(super) fn create(self: &Arc<Self>) -> Result<FileWriter> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        not_a_link(&mut options);
        let file = options.open(&self.path).map_err(|error| self.failed("make", error))?;
        Ok(FileWriter { file, target: Arc::clone(self) })
    }

    /// Of a file that is there, or has been: then nobody waits for it. Blocks.
    pub(crate) fn writer_at(self: &Arc<Self>, offset: u64) -> Result<FileWriter> {
        let failed = |error| self.failed("open", error);
        let mut options = OpenOptions::new();
        options.write(true);
        not_a_link(&mut options);
        let mut file = options.open(&self.path).map_err(failed)?;
        file.seek(SeekFrom::Start(offset)).map_err(failed)?;
        Ok(FileWriter { file, target: Arc::clone(self) })
    }

    /// What could not be done with the file. Who has to make room can read how much.
    pub(super) fn failed(&self, what: &str, error: io::Error) -> Error {
        let (path, size, written) = (self.path.display(), self.size(), self.written.load(Ordering::Relaxed));
        disk_error(format!("could not {what} {path}: {written} of {size} bytes were written"), error)
    }
}

/// A link in place of the file is an error.
fn not_a_link(options: &mut OpenOptions) {
    #[cfg(unix)]
    {
        let no_follow = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
        std::os::unix::fs::OpenOptionsExt::custom_flags(options, no_follow);
    }
    #[cfg(not(unix))]
    let _ = options;
}

impl FileWriter {
    /// Writes behind what was written before. Blocks.
    pub(crate) fn append(&mut self, chunks: &[Bytes]) -> Result<()> {
        let mut slices: Vec<IoSlice<'_>> = chunks.iter().map(|chunk| IoSlice::new(chunk)).collect();
        let mut rest = &mut slices[..];
        // Skips empty chunks, which a write of 0 bytes could not tell from a full disk.
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            match self.file.write_vectored(rest) {
                Ok(0) => return Err(self.target.failed("write", io::ErrorKind::WriteZero.into())),
                Ok(written) => {
                    self.target.written.fetch_add(written as u64, Ordering::Relaxed);
                    self.target.space.wrote(written as u64);
                    IoSlice::advance_slices(&mut rest, written);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.target.failed("write", error)),
            }
        }
        Ok(())
    }

    /// Cuts off what is behind the last byte that the file is to have. Blocks.
    pub(super) fn cut(&self) -> Result<()> {
        let length = self.file.metadata().map_err(|error| self.target.failed("look at", error))?.len();
        if length > self.target.size() {
            self.file.set_len(self.target.size()).map_err(|error| self.target.failed("cut", error))?;
        }
        Ok(())
    }

    /// Whether all of the file was written, and it is as long as it is to be. Its length alone would not show a hole between
    /// two writers. Blocks.
    pub(super) fn check_whole(&self) -> Result<()> {
        let Target { path, space, written } = &*self.target;
        let size = space.size();
        let metadata = self.file.metadata().map_err(|error| io_error("could not look at", path, error))?;
        let written = written.load(Ordering::Relaxed);
        let problem = if metadata.len() != size {
            format!("{} has {} bytes in place of {size}", path.display(), metadata.len())
        } else if written != size {
            format!("{} is not whole: {written} of {size} bytes were written", path.display())
        } else {
            return Ok(());
        };
        Err(Error::new(ErrorKind::Io, problem))
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    fn target(path: impl Into<PathBuf>, size: u64) -> Arc<Target> {
        Arc::new(Target::new(path.into(), Space::unlimited(size)))
    }

    #[test]
    fn writers_of_one_file_write_in_their_places_and_count_together() {
        let directory = tempfile::tempdir().unwrap();
        let target = target(directory.path().join("f"), 9);
        let mut first = target.create().unwrap();
        target.writer_at(4).unwrap().append(&["5678".into(), Bytes::new()]).unwrap();
        first.append(&["12".into(), Bytes::new(), "34".into()]).unwrap();
        let error = first.check_whole().unwrap_err();
        assert!(
            error.kind() == ErrorKind::Io && error.to_string().ends_with("/f has 8 bytes in place of 9"),
            "{error}"
        );
        first.append(&[Bytes::new()]).unwrap();
        target.writer_at(8).unwrap().append(&["9".into()]).unwrap();
        first.check_whole().unwrap();
        assert_eq!(std::fs::read(target.path()).unwrap(), b"123456789");
        assert!(
            target.failed("rename", io::ErrorKind::NotFound.into()).to_string().ends_with("9 of 9 bytes were written")
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_link_in_place_of_the_file_is_not_written_to() {
        let directory = tempfile::tempdir().unwrap();
        let (path, victim) = (directory.path().join("f"), directory.path().join("victim"));
        std::fs::write(&victim, "kept").unwrap();
        std::os::unix::fs::symlink(&victim, &path).unwrap();
        let target = target(&path, 4);
        for refused in [target.create().map(drop), target.writer_at(0).map(drop)] {
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::Io);
        }
        assert_eq!(std::fs::read(&victim).unwrap(), b"kept");
    }

    #[test]
    fn a_file_of_the_right_length_with_a_hole_is_not_whole() {
        let directory = tempfile::tempdir().unwrap();
        let target = target(directory.path().join("f"), 9);
        let mut first = target.create().unwrap();
        first.append(&["1234".into()]).unwrap();
        target.writer_at(8).unwrap().append(&["9".into()]).unwrap();
        let error = first.check_whole().unwrap_err();
        assert!(error.kind() == ErrorKind::Io, "{error}");
        assert!(error.to_string().ends_with("/f is not whole: 5 of 9 bytes were written"), "{error}");
        first.append(&["5678".into()]).unwrap();
        first.check_whole().unwrap();
    }

    /// The kernel's own errors: of a device that is always full, and of a page that is not there.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_write_that_fails_tells_the_path_the_need_and_the_reason() {
        for (path, kind, reason) in [
            ("/dev/full", ErrorKind::InsufficientDiskSpace, io::ErrorKind::StorageFull),
            ("/proc/self/mem", ErrorKind::Io, io::Error::from_raw_os_error(5).kind()),
        ] {
            let error = target(path, 5 << 30).writer_at(0).unwrap().append(&["12345".into()]).unwrap_err();
            let expected = format!("could not write {path}: 0 of 5368709120 bytes were written");
            assert_eq!((error.kind(), error.to_string()), (kind, expected));
            assert_eq!(error.source().and_then(|source| source.downcast_ref::<io::Error>()).unwrap().kind(), reason);
            assert!(!error.is_retryable());
        }
    }
}
