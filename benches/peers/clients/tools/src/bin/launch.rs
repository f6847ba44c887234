//! Runs a program and tells what it took: `launch REPORT PROGRAM [ARGUMENT...]`.
//!
//! The report is a line of JSON: wall, user and system time in seconds, the peak of the resident memory in bytes, and the exit
//! status. It is that of the program and of all of its children that were waited for; the peak is that of the largest process.
//!
//! A process starts with the peak of the one that it was forked from. That is why a small program does this and not
//! the harness, whose interpreter is larger than some clients.

use std::error::Error;
use std::process::{Command, ExitCode};
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let report = arguments.next().ok_or("no path of a report")?;
    let program = arguments.next().ok_or("no program")?;

    let start = Instant::now();
    let status = Command::new(program).args(arguments).status()?;
    let wall = start.elapsed().as_secs_f64();

    let seconds = |time: TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let line = serde_json::json!({
        "wall": wall,
        "user": seconds(usage.user_time()),
        "system": seconds(usage.system_time()),
        "rss": usage.max_rss() * 1024,
        "status": status.code(),
    });
    std::fs::write(report, line.to_string())?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
