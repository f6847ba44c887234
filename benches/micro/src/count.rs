//! Counting: a case runs in processes of its own below callgrind, which counts what all of their threads execute.
//!
//! Each case runs twice: its work done once, and done so many times more. The difference is that of the work alone: neither
//! the start of the process nor what is made for the first time is in it, and no symbol must be found.

use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use s3flow::bench::Case;

use crate::Result;

/// Instructions of one call of the work, in each of the repetitions.
pub(crate) struct Counted {
    pub(crate) name: &'static str,
    pub(crate) figures: Vec<u64>,
}

impl Counted {
    /// What the others took more was not the case's own.
    pub(crate) fn least(&self) -> u64 {
        self.figures.iter().copied().min().unwrap_or_default()
    }

    pub(crate) fn most(&self) -> u64 {
        self.figures.iter().copied().max().unwrap_or_default()
    }
}

/// Counts cases side by side: it does not change the figures.
pub(crate) fn all(cases: &[Case], repeat: u32) -> Result<Vec<Counted>> {
    let directory = tempfile::tempdir()?;
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let worker = || -> Result<()> {
        while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            let figures = (0..repeat).map(|_| one(*case, directory.path())).collect::<Result<_>>()?;
            done.lock().map_err(|_| "another worker panicked")?.push(Counted { name: case.name, figures });
        }
        Ok(())
    };
    let workers = std::thread::available_parallelism()?.get();
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..workers).map(|_| scope.spawn(worker)).collect();
        running.into_iter().try_for_each(|worker| worker.join().map_err(|_| "a worker panicked")?)
    })?;
    let mut counted = done.into_inner().map_err(|_| "a worker panicked")?;
    counted.sort_by_key(|one| cases.iter().position(|case| case.name == one.name));
    Ok(counted)
}

fn one(case: Case, directory: &Path) -> Result<u64> {
    let Case { name, times, .. } = case;
    let before = executed(name, 0, directory)?;
    let after = executed(name, times, directory)?;
    let more = after.checked_sub(before).ok_or_else(|| format!("{name} took less when it was done more often"))?;
    Ok((more + u64::from(times) / 2) / u64::from(times))
}

/// Instructions of a whole process.
fn executed(name: &str, times: u32, directory: &Path) -> Result<u64> {
    let counts = directory.join(format!("{name}.{times}"));
    let mut command = valgrind("callgrind")?;
    command.arg(format!("--callgrind-out-file={}", counts.display()));
    let output = command.arg(std::env::current_exe()?).args(["case", name, &times.to_string()]).output()?;
    if !output.status.success() {
        return Err(format!("{name} failed:\n{}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let counts = std::fs::read_to_string(counts)?;
    let totals = counts.lines().find_map(|line| line.strip_prefix("totals: ")).ok_or("callgrind wrote no totals")?;
    Ok(totals.trim().parse()?)
}

/// With no more of the environment than it needs: the variables of proxies and of AWS would change what a client does.
pub(crate) fn valgrind(tool: &str) -> Result<Command> {
    let mut command = Command::new("valgrind");
    command.env_clear().env("PATH", std::env::var_os("PATH").ok_or("PATH is not set")?);
    command.args(["--quiet", &format!("--tool={tool}")]);
    Ok(command)
}
