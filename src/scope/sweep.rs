//! The directories of processes that were killed: found by the next scope in the same tmproot, and removed.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::locked::{self, LOCK, PREFIX, machine};

/// A tmproot is swept no more often than this: scopes may come by the thousand.
const INTERVAL: Duration = Duration::from_secs(600);
/// A sweep ends after this, wherever it is, and the next one goes on: there may be terabytes to remove.
const LIMIT: Duration = Duration::from_secs(10);

/// When this process last swept which tmproot.
static LAST: Mutex<Vec<(PathBuf, Instant)>> = Mutex::new(Vec::new());

/// Sweeps the tmproot of a new directory, unless that was done lately. Returns at once: the sweep has a thread of its own, which
/// neither downloads nor the end of a runtime wait for.
pub(super) fn begin(own: &Path) {
    let Some(tmproot) = own.parent().map(Path::to_owned) else { return };
    if !is_due(&mut LAST.lock().unwrap_or_else(PoisonError::into_inner), &tmproot, Instant::now()) {
        return;
    }
    let own = own.to_owned();
    let swept = std::thread::Builder::new().name("s3flow-sweep".to_owned()).spawn(move || {
        let user = fs::symlink_metadata(own).map(|own| own.uid());
        if let Err(error) = user.and_then(|user| sweep(&tmproot, user, Instant::now() + LIMIT)) {
            tracing::debug!(tmproot = %tmproot.display(), %error, "not swept");
        }
    });
    if let Err(error) = swept {
        tracing::debug!(%error, "no thread to sweep with");
    }
}

/// Whether it is time for `tmproot`, which counts as swept then.
fn is_due(last: &mut Vec<(PathBuf, Instant)>, tmproot: &Path, now: Instant) -> bool {
    last.retain(|(_, swept)| now.duration_since(*swept) < INTERVAL);
    let due = last.iter().all(|(known, _)| known != tmproot);
    if due {
        last.push((tmproot.to_owned(), now));
    }
    due
}

/// Removes the directories in `tmproot` that belonged to processes of `user`. Blocks. A failure with one of them does not keep
/// the others.
fn sweep(tmproot: &Path, user: u32, deadline: Instant) -> io::Result<()> {
    for entry in fs::read_dir(tmproot)? {
        if Instant::now() >= deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let entry = entry?;
        if !entry.file_name().to_str().is_some_and(is_ours) {
            continue;
        }
        // Of the entry itself: a symbolic link is not followed.
        if !entry.metadata().is_ok_and(|metadata| metadata.is_dir() && metadata.uid() == user) {
            continue;
        }
        let directory = entry.path();
        let removed = lock_of_the_dead(&directory).and_then(|lock| match lock {
            Some(_lock) => locked::remove(&directory, Some(deadline)).map(|()| true),
            None => Ok(false),
        });
        match removed {
            Ok(true) => tracing::info!(path = %directory.display(), "removed what a killed process left"),
            Ok(false) => {}
            Err(error) => tracing::debug!(path = %directory.display(), %error, "left what may be a killed process's"),
        }
    }
    Ok(())
}

/// Whether a name is one that a scope gives to its directory.
fn is_ours(name: &str) -> bool {
    name.strip_prefix(PREFIX)
        .is_some_and(|random| random.len() == 6 && random.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// The lock of a directory whose owner is dead, held now; `None` when the owner lives, or nothing shows that it is dead.
///
/// While it is held, nobody else removes the directory: other sweepers cannot lock it.
fn lock_of_the_dead(directory: &Path) -> io::Result<Option<File>> {
    let path = directory.join(LOCK);
    match fs::symlink_metadata(&path) {
        Ok(metadata) if metadata.is_file() => {}
        Ok(_) => return Ok(None),
        // Of a version without locks, just being made, or just being removed.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    }
    // NFS wants a file open for writing to lock it for oneself.
    let mut lock = OpenOptions::new().read(true).write(true).open(&path)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let mut owner = Vec::new();
    lock.by_ref().take(1024).read_to_end(&mut owner)?;
    Ok((owner == machine()? && is_at(&lock, &path)?).then_some(lock))
}

/// Whether a file that was opened at `path` is there still: another sweeper may have removed the directory since, and another
/// scope may have made it again.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let (file, there) = (file.metadata()?, fs::symlink_metadata(path)?);
    Ok((file.dev(), file.ino()) == (there.dev(), there.ino()))
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::process::{Child, Command, Stdio};

    use tempfile::TempDir;

    use super::*;
    use crate::scope::locked::LockedDir;

    fn far() -> Instant {
        Instant::now() + Duration::from_secs(600)
    }

    fn user(tmproot: &TempDir) -> u32 {
        fs::metadata(tmproot.path()).unwrap().uid()
    }

    fn names(tmproot: &TempDir) -> Vec<String> {
        let entries = fs::read_dir(tmproot.path()).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// What a killed process leaves: downloads, whole and half.
    fn dead(tmproot: &TempDir) -> PathBuf {
        let path = LockedDir::make(tmproot.path()).unwrap().die();
        fs::write(path.join("0-model.bin"), "whole").unwrap();
        fs::write(path.join("1-model.bin.part"), "half").unwrap();
        path
    }

    #[test]
    fn the_directories_of_the_dead_go_and_those_of_the_living_stay() {
        let tmproot = tempfile::tempdir().unwrap();
        let living = LockedDir::make(tmproot.path()).unwrap();
        fs::write(living.path().join("0-k"), "x").unwrap();
        for _ in 0..3 {
            dead(&tmproot);
        }
        sweep(tmproot.path(), user(&tmproot), far()).unwrap();
        assert_eq!(names(&tmproot), [living.path().file_name().unwrap().to_str().unwrap()]);
        assert_eq!(fs::read_to_string(living.path().join("0-k")).unwrap(), "x");
        drop(living);
        assert_eq!(names(&tmproot), Vec::<String>::new());
    }

    #[test]
    fn what_is_not_surely_of_a_dead_scope_stays() {
        let (tmproot, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let at = |name: &str| tmproot.path().join(name);
        // A directory of a version without locks; one that is just being made; one whose lock is no file.
        for name in ["s3flow.aaaaaa", "s3flow.bbbbbb", "s3flow.cccccc"] {
            fs::create_dir(at(name)).unwrap();
        }
        fs::write(at("s3flow.bbbbbb/.lock.new"), machine().unwrap()).unwrap();
        fs::create_dir(at("s3flow.cccccc/.lock")).unwrap();
        // Other names.
        for name in ["s3flow.ddddddd", "s3flow.eeeee", "s3flow.ff-fff", "other.aaaaaa", "s3flowaaaaaaa"] {
            fs::rename(dead(&tmproot), at(name)).unwrap();
        }
        // Neither a link nor a file is a directory.
        let target = dead(&elsewhere);
        std::os::unix::fs::symlink(&target, at("s3flow.gggggg")).unwrap();
        fs::write(at("s3flow.hhhhhh"), "x").unwrap();
        // Of another machine, and of one that nothing tells.
        for owner in ["11111111-2222-3333-4444-555555555555\n", ""] {
            fs::write(dead(&tmproot).join(LOCK), owner).unwrap();
        }
        let before = names(&tmproot);
        assert_eq!(before.len(), 12);
        sweep(tmproot.path(), user(&tmproot), far()).unwrap();
        assert_eq!(names(&tmproot), before);
        assert_eq!(fs::read_dir(target).unwrap().count(), 3);
    }

    #[test]
    fn what_belongs_to_another_user_stays() {
        let tmproot = tempfile::tempdir().unwrap();
        let path = dead(&tmproot);
        sweep(tmproot.path(), user(&tmproot) + 1, far()).unwrap();
        assert!(path.exists());
    }

    #[test]
    fn a_sweep_ends_in_time_and_the_next_one_goes_on() {
        let tmproot = tempfile::tempdir().unwrap();
        let path = dead(&tmproot);
        let late = sweep(tmproot.path(), user(&tmproot), Instant::now()).unwrap_err();
        assert_eq!((late.kind(), path.exists()), (io::ErrorKind::TimedOut, true));
        // As one that stopped within the directory leaves it.
        fs::remove_file(path.join("0-model.bin")).unwrap();
        sweep(tmproot.path(), user(&tmproot), far()).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn of_two_sweepers_one_removes_a_directory_and_the_other_does_not_take_its_successor_for_it() {
        let tmproot = tempfile::tempdir().unwrap();
        let path = dead(&tmproot);
        let opened = File::open(path.join(LOCK)).unwrap();
        let first = lock_of_the_dead(&path).unwrap().unwrap();
        assert!(lock_of_the_dead(&path).unwrap().is_none(), "two hold the lock");
        assert!(is_at(&opened, &path.join(LOCK)).unwrap());
        locked::remove(&path, None).unwrap();
        drop(first);
        opened.try_lock().unwrap();
        assert_eq!(is_at(&opened, &path.join(LOCK)).unwrap_err().kind(), io::ErrorKind::NotFound);
        fs::rename(dead(&tmproot), &path).unwrap();
        assert!(!is_at(&opened, &path.join(LOCK)).unwrap());
        assert!(lock_of_the_dead(&path).unwrap().is_some());
    }

    #[test]
    fn a_tmproot_is_due_once_in_a_while() {
        let (mut last, now) = (Vec::new(), Instant::now());
        let mut due = |path: &str, after: Duration| is_due(&mut last, Path::new(path), now + after);
        assert!(due("/a", Duration::ZERO) && !due("/a", Duration::ZERO) && due("/b", Duration::from_secs(1)));
        assert!(!due("/a", INTERVAL - Duration::from_secs(1)) && due("/a", INTERVAL));
        assert!(!due("/b", INTERVAL) && due("/b", INTERVAL + Duration::from_secs(1)));
        for number in 0..1000 {
            due(&number.to_string(), 2 * INTERVAL);
        }
        is_due(&mut last, Path::new("/a"), now + 4 * INTERVAL);
        assert_eq!(last.len(), 1, "what is long ago is forgotten");
    }

    #[tokio::test]
    async fn the_first_use_of_a_scope_sweeps_its_tmproot() {
        use std::sync::Arc;

        let tmproot = tempfile::tempdir().unwrap();
        let path = dead(&tmproot);
        let workers = crate::blocking::Workers::new();
        let scope = Arc::new(super::super::Scope::new(tmproot.path().to_owned(), workers, Arc::default()));
        scope.directory().await.unwrap();
        let swept = async {
            while path.exists() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), swept).await.expect("what a dead process left is removed");
        assert_eq!(names(&tmproot).len(), 1);
    }

    const STRESSED: &str = "S3FLOW_SWEEP_STRESS";

    /// What each process of the stress does, started by the test below: threads that make, use, sweep and end at once.
    #[test]
    fn a_process_of_the_stress() {
        let Ok(tmproot) = std::env::var(STRESSED) else { return };
        let tmproot = Path::new(&tmproot);
        let user = fs::metadata(tmproot).unwrap().uid();
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for round in 0..100 {
                        let own = LockedDir::make(tmproot).unwrap();
                        let file = own.path().join("0-k");
                        fs::write(&file, "x").unwrap();
                        sweep(tmproot, user, far()).unwrap();
                        assert!(file.exists() && own.path().join(LOCK).exists(), "swept while in use");
                        let path = own.path().to_owned();
                        if round % 2 == 0 {
                            drop(own);
                            assert!(!path.exists());
                        } else {
                            own.die();
                        }
                    }
                });
            }
        });
    }

    /// As the one above, until it is killed.
    #[test]
    fn a_victim_of_the_stress() {
        let Ok(tmproot) = std::env::var(STRESSED) else { return };
        let own = LockedDir::make(Path::new(&tmproot)).unwrap();
        fs::write(own.path().join("0-k"), vec![0; 1 << 20]).unwrap();
        println!("at {}", own.path().display());
        std::io::stdout().flush().unwrap();
        loop {
            std::thread::park();
        }
    }

    fn stressed(tmproot: &TempDir, test: &str) -> Child {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args([&format!("scope::sweep::tests::{test}"), "--exact", "--nocapture"]);
        command.env(STRESSED, tmproot.path()).stdout(Stdio::piped()).spawn().unwrap()
    }

    #[test]
    fn processes_and_threads_that_make_and_sweep_at_once_take_nothing_from_the_living() {
        let tmproot = tempfile::tempdir().unwrap();
        let processes: Vec<Child> = (0..4).map(|_| stressed(&tmproot, "a_process_of_the_stress")).collect();
        for _ in 0..10 {
            let mut victim = stressed(&tmproot, "a_victim_of_the_stress");
            let mut lines = BufReader::new(victim.stdout.take().unwrap()).lines();
            let path = lines.find_map(|line| line.unwrap().strip_prefix("at ").map(PathBuf::from)).unwrap();
            assert!(path.join("0-k").exists(), "swept while in use");
            victim.kill().unwrap();
            victim.wait().unwrap();
        }
        for mut process in processes {
            assert!(process.wait().unwrap().success());
        }
        sweep(tmproot.path(), user(&tmproot), far()).unwrap();
        assert_eq!(names(&tmproot), Vec::<String>::new());
    }
}
