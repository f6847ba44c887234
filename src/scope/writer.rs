//! Bytes into a file.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::io_error;
use crate::error::Result;

/// Writes on from a place in a file. Of one file there may be several, each with a place of its own.
#[derive(Debug)]
pub(crate) struct FileWriter {
    file: File,
    path: PathBuf,
    written: u64,
}

impl FileWriter {
    /// A new file of this user's alone. Blocks.
    pub(super) fn create(path: &Path) -> Result<Self> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(path).map_err(|error| io_error("could not make", path, error))?;
        Ok(Self { file, path: path.to_owned(), written: 0 })
    }

    /// From byte `offset` of a file that is there, or has been: then nobody waits for it. Blocks.
    pub(crate) fn open_at(path: &Path, offset: u64) -> Result<Self> {
        let failed = |error| io_error("could not open", path, error);
        let mut file = OpenOptions::new().write(true).open(path).map_err(failed)?;
        file.seek(SeekFrom::Start(offset)).map_err(failed)?;
        Ok(Self { file, path: path.to_owned(), written: 0 })
    }

    /// Writes behind what was written before. Blocks.
    pub(crate) fn append(&mut self, chunks: &[Bytes]) -> Result<()> {
        let mut slices: Vec<IoSlice<'_>> = chunks.iter().map(|chunk| IoSlice::new(chunk)).collect();
        let mut rest = &mut slices[..];
        // Skips empty chunks, which a write of 0 bytes could not tell from a full disk.
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            match self.file.write_vectored(rest) {
                Ok(0) => return Err(io_error("could not write", &self.path, io::ErrorKind::WriteZero.into())),
                Ok(written) => {
                    self.written += written as u64;
                    IoSlice::advance_slices(&mut rest, written);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(io_error("could not write", &self.path, error)),
            }
        }
        Ok(())
    }

    /// Bytes that this writer has written.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Bytes that the file has, whoever wrote them. Blocks.
    pub(super) fn file_len(&self) -> Result<u64> {
        self.file
            .metadata()
            .map(|metadata| metadata.len())
            .map_err(|error| io_error("could not look at", &self.path, error))
    }
}
