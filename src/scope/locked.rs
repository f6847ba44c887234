//! A directory that is removed when its owner ends.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Dropping it removes it with all that is in it.
#[derive(Debug)]
pub(super) struct LockedDir {
    path: PathBuf,
    removed: bool,
}

const PREFIX: &str = "s3flow.";

impl LockedDir {
    /// Makes a directory of its own in `tmproot`. Blocks.
    pub(super) fn make(tmproot: &Path) -> io::Result<Self> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(PREFIX);
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
        Ok(Self { path: builder.tempdir_in(tmproot)?.keep(), removed: false })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes it; again, what an earlier attempt left. Blocks.
    pub(super) fn remove(&mut self) -> io::Result<()> {
        if !self.removed {
            remove(&self.path)?;
            self.removed = true;
        }
        Ok(())
    }
}

impl Drop for LockedDir {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            tracing::warn!(path = %self.path.display(), %error, "a temporary directory was not removed");
        }
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
