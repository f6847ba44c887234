//! File work, off the async threads.
//!
//! A task for each piece of work would wake a thread for each small file, and let dozens of threads contend for the lock of
//! one directory. So work goes to a few [`Workers`] that take it from a queue; work that may take long gets a blocking thread
//! of its own. Even a queue costs more than a small file does, so the shortest work is done in [place](InPlace), as long as the
//! file system is quick.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::future::{Either, ready};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinError;

use crate::error::{Error, ErrorKind, Result};

/// Runs `work` on a thread of its own. It begins at once, and ends also when the future is dropped.
pub(crate) fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> impl Future<Output = Result<T>> + Send + 'static {
    let task = tokio::task::spawn_blocking(work);
    async move { task.await.unwrap_or_else(|error| Err(joined(error))) }
}

/// Why a task of ours has no result: its panic goes on here, and only a runtime that shuts down cancels it.
pub(crate) fn joined(error: JoinError) -> Error {
    match error.try_into_panic() {
        Ok(panic) => resume_unwind(panic),
        Err(cancelled) => shutting_down().with_source(cancelled),
    }
}

fn shutting_down() -> Error {
    Error::new(ErrorKind::Closed, "the runtime is shutting down")
}

/// Whether short work with the files of one place may be done by the thread that wants it done.
///
/// It is done so as long as it is quick. When it was not, the next jobs are for [`Workers`], twice as many each time, until one
/// in place is quick again: of a file system that answers slowly, an async thread meets one answer in thousands.
#[derive(Debug, Default)]
pub(crate) struct InPlace {
    /// Jobs that are for workers before one is done in place again.
    skipped: AtomicU32,
    /// How many they were the last time.
    penalty: AtomicU32,
}

/// So many bytes are copied from or to the page cache in a tenth of a millisecond.
const SHORT: u64 = 256 * 1024;
/// Short work takes some ten microseconds. Of a task that takes longer than this, a runtime's other tasks would notice.
const QUICK: Duration = Duration::from_millis(1);
const LEAST_PENALTY: u32 = 16;
const GREATEST_PENALTY: u32 = 4096;

impl InPlace {
    /// Does `work`, which moves so many bytes, or gives it back when it is for workers.
    pub(crate) fn run<T, W: FnOnce() -> T>(&self, bytes: u64, work: W) -> Result<T, W> {
        let skip = |left: u32| left.checked_sub(1);
        if bytes > SHORT || self.skipped.fetch_update(Ordering::Relaxed, Ordering::Relaxed, skip).is_ok() {
            return Err(work);
        }
        let begun = Instant::now();
        let done = work();
        self.took(begun.elapsed());
        Ok(done)
    }

    /// Does `work` in place, or as [`blocking`] does.
    pub(crate) fn run_or_block<T: Send + 'static>(
        &self,
        bytes: u64,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> impl Future<Output = Result<T>> + Send + 'static {
        match self.run(bytes, work) {
            Ok(done) => Either::Left(ready(done)),
            Err(work) => Either::Right(blocking(work)),
        }
    }

    fn took(&self, time: Duration) {
        if time <= QUICK {
            self.penalty.store(0, Ordering::Relaxed);
            return;
        }
        let penalty = (2 * self.penalty.load(Ordering::Relaxed)).clamp(LEAST_PENALTY, GREATEST_PENALTY);
        self.penalty.store(penalty, Ordering::Relaxed);
        self.skipped.store(penalty, Ordering::Relaxed);
    }
}

/// A few blocking threads that share a queue of short work. They belong to the runtimes that submit it, and are given back
/// when there is nothing to do.
#[derive(Debug)]
pub(crate) struct Workers {
    limit: usize,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    jobs: VecDeque<Job>,
    running: usize,
}

struct Job {
    work: Box<dyn FnOnce() + Send>,
    /// Where the work was submitted.
    runtime: Handle,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Job")
    }
}

/// More threads than this contend more than they achieve.
const MOST_WORKERS: usize = 16;
/// After so many jobs a worker starts over, on the runtime of the next one: a runtime that shuts down waits for its blocking
/// threads, and must not wait for the work of another.
const TURN: usize = 256;

impl Workers {
    pub(crate) fn new() -> Arc<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Arc::new(Self { limit: (2 * cores).min(MOST_WORKERS), queue: Mutex::default() })
    }

    /// Runs `work` after what was submitted before. It is run also when the future is dropped.
    pub(crate) fn run<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> impl Future<Output = Result<T>> + Send + 'static {
        let (done, result) = oneshot::channel();
        let work = Box::new(move || {
            // Nobody may wait for it any more; then it is dropped here, with the file that it may hold.
            let _ = done.send(catch_unwind(AssertUnwindSafe(work)));
        });
        let mut queue = self.lock();
        queue.jobs.push_back(Job { work, runtime: Handle::current() });
        if queue.running < self.limit {
            self.start(queue);
        }
        async move {
            match result.await {
                Ok(Ok(result)) => result,
                Ok(Err(panic)) => resume_unwind(panic),
                Err(_) => Err(shutting_down()),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a worker on the runtime of the next job, if there is one.
    fn start(self: &Arc<Self>, mut queue: MutexGuard<'_, Queue>) {
        let Some(next) = queue.jobs.front() else { return };
        let runtime = next.runtime.clone();
        queue.running += 1;
        drop(queue);
        let worker = Worker { workers: Arc::clone(self), runtime: runtime.clone(), ran: false };
        runtime.spawn_blocking(move || worker.work());
    }
}

/// One of the threads; dropping it makes place for another.
struct Worker {
    workers: Arc<Workers>,
    runtime: Handle,
    ran: bool,
}

impl Worker {
    fn work(mut self) {
        self.ran = true;
        for _ in 0..TURN {
            let Some(job) = self.workers.lock().jobs.pop_front() else { return };
            (job.work)();
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let mut refused = Vec::new();
        let mut queue = self.workers.lock();
        queue.running -= 1;
        if !self.ran {
            // The runtime shuts down and takes no work any more; neither does it wait for the results.
            let (of_this_runtime, others) =
                std::mem::take(&mut queue.jobs).into_iter().partition(|job| job.runtime.id() == self.runtime.id());
            refused = of_this_runtime;
            queue.jobs = others.into();
        }
        self.workers.start(queue);
        // After the lock is gone: what a job holds may submit work when it is dropped.
        drop::<Vec<Job>>(refused);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::sync::mpsc;

    use tokio::runtime::{Builder, Runtime};

    use super::*;

    fn runtime() -> Runtime {
        Builder::new_current_thread().build().unwrap()
    }

    fn idle(workers: &Workers) -> bool {
        let queue = workers.lock();
        queue.running == 0 && queue.jobs.is_empty()
    }

    #[test]
    fn what_is_slow_is_left_to_workers_and_tried_in_place_ever_more_seldom() {
        let place = InPlace::default();
        // How many jobs go to workers until the next one is done in place.
        let skipped = || (0..).find(|_| place.run(0, || ()).is_ok()).unwrap();
        assert_eq!(skipped(), 0);
        assert!(place.run(SHORT, || ()).is_ok() && place.run(SHORT + 1, || ()).is_err());
        let mut expected = LEAST_PENALTY;
        for _ in 0..20 {
            // What is done in place to find out that it is slow; then the job that tells.
            place.took(QUICK + Duration::from_nanos(1));
            let (mut left, penalty) = (0, place.penalty.load(Ordering::Relaxed));
            while place.run(0, || ()).is_err() {
                left += 1;
            }
            assert_eq!(left, expected);
            place.penalty.store(penalty, Ordering::Relaxed);
            expected = (2 * expected).min(GREATEST_PENALTY);
        }
        place.took(QUICK);
        assert_eq!((skipped(), place.penalty.load(Ordering::Relaxed)), (0, 0));
    }

    #[test]
    fn every_job_is_run_by_at_most_so_many_threads() {
        let workers = Arc::new(Workers { limit: 3, queue: Mutex::default() });
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let results = runtime().block_on(async {
            let jobs = (0..2000).map(|number| {
                let (running, most) = (Arc::clone(&running), Arc::clone(&most));
                workers.run(move || {
                    most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    running.fetch_sub(1, Ordering::SeqCst);
                    Ok(number)
                })
            });
            futures::future::try_join_all(jobs).await.unwrap()
        });
        assert_eq!(results, (0..2000).collect::<Vec<_>>());
        assert!((1..=3).contains(&most.load(Ordering::SeqCst)));
        // The runtime's end has waited for its threads.
        assert!(idle(&workers));
    }

    #[test]
    fn a_job_runs_although_nobody_waits() {
        let workers = Workers::new();
        let (sent, received) = mpsc::channel();
        runtime().block_on(async {
            drop(workers.run(move || {
                sent.send(()).unwrap();
                Ok(())
            }));
        });
        received.recv().unwrap();
    }

    #[test]
    fn a_panic_reaches_who_waits_and_the_workers_go_on() {
        let workers = Arc::new(Workers { limit: 1, queue: Mutex::default() });
        runtime().block_on(async {
            let panicking = tokio::spawn(workers.run(|| -> Result<()> { panic!("on purpose") }));
            let after = workers.run(|| Ok(7));
            assert!(panicking.await.unwrap_err().is_panic());
            assert_eq!(after.await.unwrap(), 7);
        });
        assert!(idle(&workers));
    }

    #[test]
    fn a_runtime_that_is_gone_takes_its_own_jobs_along_and_no_others() {
        // With no workers allowed, jobs wait until one is started by hand.
        let workers = Arc::new(Workers { limit: 0, queue: Mutex::default() });
        let (gone, alive) = (runtime(), runtime());
        let handle = gone.handle().clone();
        drop(gone);
        let submit = |runtime: &Handle, number: u32| {
            let _entered = runtime.enter();
            workers.run(move || Ok(number))
        };
        let refused = [submit(&handle, 1), submit(&handle, 2)];
        let carried_out = submit(alive.handle(), 3);
        workers.start(workers.lock());
        for result in refused {
            assert_eq!(alive.block_on(result).unwrap_err().kind(), ErrorKind::Closed);
        }
        assert_eq!(alive.block_on(carried_out).unwrap(), 3);
        drop(alive);
        assert!(idle(&workers));
    }
}
