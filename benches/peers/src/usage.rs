//! What this process has used so far.

use std::ops::Sub;
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use serde::{Deserialize, Serialize};

use crate::Result;

/// CPU seconds, of all threads.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Cpu {
    pub(crate) user: f64,
    pub(crate) system: f64,
}

impl Cpu {
    pub(crate) fn so_far() -> Result<Self> {
        let seconds = |time: TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
        let usage = getrusage(UsageWho::RUSAGE_SELF)?;
        Ok(Self { user: seconds(usage.user_time()), system: seconds(usage.system_time()) })
    }

    pub(crate) fn total(self) -> f64 {
        self.user + self.system
    }
}

impl Sub for Cpu {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self { user: self.user - earlier.user, system: self.system - earlier.system }
    }
}

/// CPU and wall time between two moments.
pub(crate) struct Stopwatch {
    cpu: Cpu,
    wall: Instant,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Spent {
    pub(crate) cpu: Cpu,
    /// Seconds.
    pub(crate) wall: f64,
}

impl Stopwatch {
    pub(crate) fn start() -> Result<Self> {
        Ok(Self { cpu: Cpu::so_far()?, wall: Instant::now() })
    }

    pub(crate) fn stop(self) -> Result<Spent> {
        Ok(Spent { cpu: Cpu::so_far()? - self.cpu, wall: self.wall.elapsed().as_secs_f64() })
    }
}

/// A size in bytes from `/proc/self/status`: `VmRSS`, or `VmHWM`, its peak.
pub(crate) fn memory(name: &str) -> Result<u64> {
    memory_of(std::process::id(), name)
}

/// The same of another process.
pub(crate) fn memory_of(process: u32, name: &str) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).ok_or("no such line")?;
    let kibibytes: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kibibytes * 1024)
}

/// CPU seconds of another process.
pub(crate) fn cpu_of(process: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let (_, fields) = stat.rsplit_once(") ").ok_or("no name")?;
    let ticks = fields.split(' ').skip(11).take(2).map(str::parse::<u64>).sum::<Result<u64, _>>()?;
    // The kernel shows them in hundredths to every program.
    Ok(ticks as f64 / 100.0)
}

/// Bytes that `read` and its like have given so far, of all threads; what comes from a socket by `recv` is not counted.
pub(crate) fn bytes_read() -> Result<u64> {
    let counts = std::fs::read_to_string("/proc/self/io")?;
    let count = counts.lines().find_map(|line| line.strip_prefix("rchar: ")).ok_or("no such line")?;
    Ok(count.trim().parse()?)
}
