//! Processes of this program: a line of JSON says what to do, a line of JSON is the answer.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};

use clap::ValueEnum;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Result;

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Role {
    Server,
    GetMany,
    OneLarge,
    OneFile,
    OneStream,
    InfoMany,
    Checksummed,
    SlowServer,
    GrowthServer,
    Growth,
    FlatServer,
    ListFlat,
    Budgets,
    Beside,
    Soak,
    ManyItems,
    Pace,
    Gateway,
    Load,
}

/// Both clients follow the proxies of the environment; here they would be part of what is measured.
const PROXIES: [&str; 8] =
    ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy"];

/// A process that has answered. It ends when its input does.
pub(crate) struct Running {
    child: Child,
    input: Option<ChildStdin>,
}

/// Starts a process and waits for its answer.
pub(crate) fn ask<T: DeserializeOwned>(role: Role, job: &impl Serialize) -> Result<(T, Running)> {
    let name = role.to_possible_value().ok_or("a role without a name")?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["role", name.get_name()]).stdin(Stdio::piped()).stdout(Stdio::piped());
    for proxy in PROXIES {
        command.env_remove(proxy);
    }
    let mut child = command.spawn()?;
    let (input, output) = (child.stdin.take(), child.stdout.take().ok_or("no stdout")?);
    let mut running = Running { child, input };
    let mut line = serde_json::to_string(job)?;
    line.push('\n');
    running.input.as_mut().ok_or("no stdin")?.write_all(line.as_bytes())?;
    let mut answer = String::new();
    BufReader::new(output).read_line(&mut answer)?;
    if answer.is_empty() {
        return Err(format!("the process {} failed", name.get_name()).into());
    }
    Ok((serde_json::from_str(&answer)?, running))
}

impl Running {
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The end of its input ends a server; a client is ending by itself.
        self.input = None;
        let _ = self.child.wait();
    }
}

/// What a started process does: reads its job, and works on it on a runtime as `#[tokio::main]` makes it.
pub(crate) fn answer<J, F>(work: F) -> Result<()>
where
    J: DeserializeOwned,
    F: AsyncFnOnce(J) -> Result<()>,
{
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    let job = serde_json::from_str(&line)?;
    run(work(job))
}

pub(crate) fn run(work: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work)
}

pub(crate) fn print(answer: &impl Serialize) -> Result<()> {
    let mut line = serde_json::to_string(answer)?;
    line.push('\n');
    let mut output = std::io::stdout().lock();
    output.write_all(line.as_bytes())?;
    Ok(output.flush()?)
}
