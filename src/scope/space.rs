//! Room on the disk, kept for a file before it is written and as long as it is there.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::Directory;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::{Flow, Held};

/// What the files of a client still need that are being written.
#[derive(Debug, Default)]
pub(crate) struct Promised(AtomicU64);

/// The room of one file; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Space {
    size: u64,
    promised: Arc<Promised>,
    /// Of what was promised.
    unwritten: AtomicU64,
    _quota: Held,
}

/// The file system is not asked about room for less: it says itself, when that is written, that there is none.
const SMALL: u64 = 8 * 1024 * 1024;
/// Others make room without saying so.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

impl Space {
    fn new(size: u64, unwritten: u64, promised: &Arc<Promised>, quota: Held) -> Arc<Self> {
        let promised = Arc::clone(promised);
        Arc::new(Self { size, promised, unwritten: AtomicU64::new(unwritten), _quota: quota })
    }

    /// Without a quota.
    #[cfg(test)]
    pub(super) fn unlimited(size: u64) -> Arc<Self> {
        let promised = Arc::new(Promised(AtomicU64::new(size)));
        let quota = Flow::default().try_disk(size).expect("there is no limit");
        Self::new(size, size, &promised, quota)
    }

    /// In bytes.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// So many bytes are on the disk now.
    pub(super) fn wrote(&self, bytes: u64) {
        // No more than there were: a file that is too long is found out later.
        let kept = |unwritten: u64| Some(unwritten.saturating_sub(bytes));
        if let Ok(before) = self.unwritten.fetch_update(Ordering::Relaxed, Ordering::Relaxed, kept) {
            self.promised.0.fetch_sub(before.min(bytes), Ordering::Relaxed);
        }
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        self.promised.0.fetch_sub(*self.unwritten.get_mut(), Ordering::Relaxed);
    }
}

impl Directory {
    /// Room for a file of `size` bytes; `None` when there is none before another file of the client goes.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InsufficientDiskSpace`] when that would not help.
    pub(crate) async fn try_reserve(&self, flow: &Flow, size: u64) -> Result<Option<Arc<Space>>> {
        self.try_reserve_rest(flow, size, 0).await
    }

    /// As [`try_reserve`](Self::try_reserve), for a file of which so many bytes are on the disk already.
    pub(crate) async fn try_reserve_rest(&self, flow: &Flow, size: u64, there: u64) -> Result<Option<Arc<Space>>> {
        if let Some(quota) = flow.quota_under(size) {
            return Err(full(format!("the object has {size} bytes, and the limit disk_bytes is {quota}")));
        }
        match flow.try_disk(size) {
            Some(quota) => self.promise(flow, size, there, quota).await,
            None => Ok(None),
        }
    }

    /// As [`try_reserve`](Self::try_reserve), but waits for other files to go, for as long as the client's
    /// [`disk_wait`](crate::ClientBuilder::disk_wait).
    pub(crate) async fn reserve(&self, flow: &Flow, size: u64) -> Result<Arc<Space>> {
        self.reserve_rest(flow, size, 0).await
    }

    /// As [`reserve`](Self::reserve), for a file of which so many bytes are on the disk already.
    pub(crate) async fn reserve_rest(&self, flow: &Flow, size: u64, there: u64) -> Result<Arc<Space>> {
        let until = Instant::now().checked_add(flow.disk_wait());
        loop {
            let Some(quota) = flow.disk(size, until).await else {
                let used = flow.on_disk();
                let problem = format!("no room for {size} bytes after {:?}", flow.disk_wait());
                return Err(full(format!("{problem}: the client has {used} bytes on disk; see the limit disk_bytes")));
            };
            if let Some(space) = self.promise(flow, size, there, quota).await? {
                return Ok(space);
            }
            let again = Instant::now() + LOOK_AGAIN;
            if until.is_some_and(|until| until < again) {
                let problem = format!("no room for {size} bytes after {:?}", flow.disk_wait());
                return Err(full(format!("{problem} in {}: the disk is full", self.path.display())));
            }
            // It has no end of its own.
            let _ = timeout_at(again, std::future::pending::<()>()).await;
        }
    }

    async fn promise(&self, flow: &Flow, size: u64, there: u64, quota: Held) -> Result<Option<Arc<Space>>> {
        let needed = size - there;
        if needed < SMALL {
            return Ok(Some(Space::new(size, 0, &self.promised, quota)));
        }
        let path = self.path.clone();
        // Where nobody can say how much room there is, it is found out when it is written to.
        let free = self.run_short(0, move || Ok(free(&path))).await?.unwrap_or(u64::MAX);
        let before = self.promised.0.fetch_add(needed, Ordering::Relaxed);
        if before.saturating_add(needed) <= free {
            return Ok(Some(Space::new(size, needed, &self.promised, quota)));
        }
        self.promised.0.fetch_sub(needed, Ordering::Relaxed);
        let of_others = flow.on_disk().saturating_sub(size);
        if needed <= free.saturating_add(of_others) && of_others > 0 {
            return Ok(None);
        }
        let path = self.path.display();
        Err(full(format!("no room in {path} for an object of {size} bytes: {free} bytes are free")))
    }
}

/// Bytes that this user may write to the file system of `path`.
#[cfg(unix)]
fn free(path: &Path) -> Option<u64> {
    let system = rustix::fs::statvfs(path).ok()?;
    // Some that are made of other things than disks say nothing.
    (system.f_blocks > 0).then(|| system.f_bavail.saturating_mul(system.f_frsize))
}

#[cfg(not(unix))]
fn free(_: &Path) -> Option<u64> {
    None
}

fn full(problem: String) -> Error {
    Error::new(ErrorKind::InsufficientDiskSpace, problem)
}
