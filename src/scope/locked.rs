//! A directory that is removed when its owner ends, and shows whether its owner lives.
//!
//! The file `.lock` in it is locked for as long as the owner's process lives: the kernel releases the lock whatever way the
//! process ends. Children do not hold it, for the standard library opens files with `O_CLOEXEC`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::is_full;

/// Dropping it removes it with all that is in it.
#[derive(Debug)]
pub(super) struct LockedDir {
    path: PathBuf,
    removed: bool,
    /// `None` where files cannot be locked: then nobody takes the owner for dead.
    lock: Option<File>,
}

/// Six random characters follow, as `tempfile` makes them.
pub(super) const PREFIX: &str = "s3flow.";
pub(super) const LOCK: &str = ".lock";
const LOCK_IN_THE_MAKING: &str = ".lock.new";

impl LockedDir {
    /// Makes a directory of its own in `tmproot`. Blocks.
    pub(super) fn make(tmproot: &Path) -> io::Result<Self> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(PREFIX);
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
        let directory = builder.tempdir_in(tmproot)?;
        let lock = match lock(directory.path()) {
            Ok(lock) => Some(lock),
            // There may be room later on, and the directory would never be taken for a dead one.
            Err(error) if is_full(&error) => return Err(error),
            Err(error) => {
                let path = directory.path().display();
                tracing::debug!(%path, %error, "would stay if the process were killed: no lock");
                None
            }
        };
        Ok(Self { path: directory.keep(), removed: false, lock })
    }

    /// One that is another's, and stays.
    pub(super) fn of_another(path: &Path) -> Self {
        Self { path: path.to_owned(), removed: true, lock: None }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes it; again, what an earlier attempt left. Blocks.
    pub(super) fn remove(&mut self) -> io::Result<()> {
        if !self.removed {
            remove(&self.path, None)?;
            self.removed = true;
            self.lock = None;
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

/// Locks a new directory. The lock file gets its name when it is locked already: who finds it unlocked knows that the owner
/// is dead, and not merely late.
fn lock(directory: &Path) -> io::Result<File> {
    let in_the_making = directory.join(LOCK_IN_THE_MAKING);
    let locked = || {
        let machine = machine()?;
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&in_the_making)?;
        file.try_lock()?;
        file.write_all(&machine)?;
        fs::rename(&in_the_making, directory.join(LOCK))?;
        Ok(file)
    };
    locked().inspect_err(|_| {
        let _ = fs::remove_file(&in_the_making);
    })
}

/// What tells this machine, since it was started, from others: locks of a network file system may be known on one machine
/// only, and a directory whose owner lives on another one looks unlocked here.
pub(super) fn machine() -> io::Result<Vec<u8>> {
    if cfg!(target_os = "linux") {
        fs::read("/proc/sys/kernel/random/boot_id")
    } else if cfg!(unix) {
        Ok(Vec::new())
    } else {
        // Nothing is swept there.
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Removes a directory, the lock file last: what is half removed when the process is killed can be told from what is in use.
/// After `deadline` it stops between two files, with [`TimedOut`](io::ErrorKind::TimedOut).
pub(super) fn remove(directory: &Path, deadline: Option<Instant>) -> io::Result<()> {
    unless_gone(remove_all_but_the_lock(directory, deadline))?;
    unless_gone(fs::remove_dir_all(directory))
}

fn remove_all_but_the_lock(directory: &Path, deadline: Option<Instant>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let entry = entry?;
        if entry.file_name() == LOCK {
            continue;
        }
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let path = entry.path();
        unless_gone(if is_directory { fs::remove_dir_all(path) } else { fs::remove_file(path) })?;
    }
    Ok(())
}

fn unless_gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

#[cfg(test)]
impl LockedDir {
    /// Ends as a process does that is killed: the lock is released, and nothing is removed.
    pub(super) fn die(mut self) -> PathBuf {
        self.removed = true;
        self.path.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::TryLockError;

    use super::*;

    #[test]
    fn the_lock_is_held_until_the_owner_ends() {
        let tmproot = tempfile::tempdir().unwrap();
        let directory = LockedDir::make(tmproot.path()).unwrap();
        let lock = File::open(directory.path().join(LOCK)).unwrap();
        assert!(matches!(lock.try_lock(), Err(TryLockError::WouldBlock)));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "the lock file has one name");
        directory.die();
        lock.try_lock().unwrap();
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn children_do_not_hold_the_lock() {
        let tmproot = tempfile::tempdir().unwrap();
        let directory = LockedDir::make(tmproot.path()).unwrap();
        let lock = File::open(directory.path().join(LOCK)).unwrap();
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        directory.die();
        // Of a child that another test starts, it is held between fork and exec.
        let patience = Instant::now() + std::time::Duration::from_secs(20);
        let released = loop {
            match lock.try_lock() {
                Err(fs::TryLockError::WouldBlock) if Instant::now() < patience => std::thread::yield_now(),
                tried => break tried,
            }
        };
        child.kill().unwrap();
        child.wait().unwrap();
        released.unwrap();
    }

    #[test]
    fn the_lock_file_is_the_last_that_goes() {
        let tmproot = tempfile::tempdir().unwrap();
        let directory = LockedDir::make(tmproot.path()).unwrap().die();
        for number in 0..50 {
            fs::write(directory.join(number.to_string()), "x").unwrap();
        }
        fs::create_dir(directory.join("within")).unwrap();
        fs::write(directory.join("within/x"), "x").unwrap();
        let late = remove(&directory, Some(Instant::now())).unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
        remove_all_but_the_lock(&directory, None).unwrap();
        let left: Vec<_> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, [LOCK]);
        remove(&directory, None).unwrap();
        remove(&directory, None).unwrap();
        assert!(!directory.exists());
    }

    #[test]
    fn a_directory_that_cannot_be_locked_can_be_used() {
        let tmproot = tempfile::tempdir().unwrap();
        let path = tmproot.path().join("s3flow.aaaaaa");
        fs::create_dir(&path).unwrap();
        // In the way of the lock file.
        fs::create_dir(path.join(LOCK_IN_THE_MAKING)).unwrap();
        lock(&path).unwrap_err();
        assert!(!path.join(LOCK).exists());
    }
}
