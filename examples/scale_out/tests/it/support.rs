//! A place to run a job at: an S3 server and a NATS server in processes of their own, and everything else that a test starts.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crc_fast::CrcAlgorithm;
use futures::TryStreamExt as _;
use rustix::process::{Pid, Signal, kill_process};
use s3flow::{Client, Credentials, S3};
use scale_out::Line;
use scale_out::trial::{BUCKET, object};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};

pub(crate) const SOURCE: &str = "s3://bucket/source/";
pub(crate) const DESTINATION: &str = "s3://bucket/copy/";
pub(crate) const JOB: &str = "s3://bucket/jobs/copy/";

/// A process that is killed with its handle.
pub(crate) struct Running {
    child: Child,
    output: BufReader<ChildStdout>,
    /// What it says on standard error.
    log: PathBuf,
}

/// What a process has left.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) output: String,
    pub(crate) errors: String,
}

impl Running {
    fn start(mut command: Command, log: PathBuf) -> Self {
        let errors = std::fs::File::create(&log).unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, output, log }
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).await.unwrap();
        line
    }

    pub(crate) fn errors(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        // Not waited for yet, so the id is its own.
        kill_process(Pid::from_raw(self.child.id().unwrap() as i32).unwrap(), signal).unwrap();
    }

    /// By SIGKILL: nothing of it runs any more.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    pub(crate) async fn ended(mut self) -> Ended {
        let mut output = String::new();
        self.output.read_to_string(&mut output).await.unwrap();
        let status = self.child.wait().await.unwrap();
        Ended { status, output, errors: self.errors() }
    }

    /// The result of a program that did what it should.
    pub(crate) async fn result(self) -> Value {
        let Ended { status, output, errors } = self.ended().await;
        assert!(status.success(), "{status}: {errors}");
        serde_json::from_str(output.lines().last().unwrap()).unwrap()
    }
}

impl Ended {
    /// The one line that a program ends with when it fails.
    pub(crate) fn complaint(&self) -> &str {
        assert_eq!(self.status.code(), Some(1), "{self:?}");
        assert_eq!(self.output, "");
        self.errors.lines().last().unwrap()
    }
}

/// An S3 server with objects, a scope on it, and a directory for everything.
pub(crate) struct Place {
    pub(crate) directory: TempDir,
    _server: Running,
    environment: Vec<(String, String)>,
    pub(crate) s3: S3,
    started: AtomicUsize,
}

impl Place {
    pub(crate) async fn new(objects: usize, latency: Duration) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_server"));
        command.env_clear().args(["--objects", &objects.to_string(), "--latency", &latency.as_millis().to_string()]);
        let mut server = Running::start(command, directory.path().join("server"));
        let mut environment = Vec::new();
        for _ in 0..4 {
            let line = server.line().await;
            let (name, value) = line.trim_end().strip_prefix("export ").and_then(|line| line.split_once('=')).unwrap();
            environment.push((name.to_owned(), value.to_owned()));
        }
        let [endpoint, id, secret, region] = [0, 1, 2, 3].map(|index: usize| environment[index].1.clone());
        let client = Client::builder().endpoint(endpoint).region(region).credentials(Credentials::new(id, secret));
        let s3 = client.use_proxy(false).build().unwrap().s3().build().unwrap();
        Self { directory, _server: server, environment, s3, started: AtomicUsize::new(0) }
    }

    pub(crate) fn environment(&self) -> impl Iterator<Item = (&str, &str)> {
        self.environment.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// With nothing of who runs the tests but the S3 server.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().envs(self.environment());
        command
    }

    pub(crate) fn start(&self, command: Command) -> Running {
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        Running::start(command, self.directory.path().join(format!("{number}.log")))
    }

    pub(crate) fn coordinator(&self, nats: &str, more: &[&str]) -> Running {
        let mut command = self.command(env!("CARGO_BIN_EXE_coordinator"));
        command.args(["--source", SOURCE, "--destination", DESTINATION, "--job", JOB, "--nats", nats]).args(more);
        self.start(command)
    }

    pub(crate) fn worker(&self, nats: &str, more: &[&str]) -> Running {
        let mut command = self.command(env!("CARGO_BIN_EXE_worker"));
        command.args(["--job", JOB, "--nats", nats]).args(more);
        self.start(command)
    }

    /// How many objects are below a prefix.
    pub(crate) async fn count(&self, prefix: &str) -> usize {
        self.s3.list_recursive([prefix]).try_fold(0, |count, _| async move { Ok(count + 1) }).await.unwrap()
    }

    /// Polls until a prefix has so many objects.
    pub(crate) async fn reaches(&self, prefix: &str, count: usize) {
        in_time(&format!("{prefix} has {count} objects"), async {
            while self.count(prefix).await < count {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }

    /// Polls until there is an object.
    pub(crate) async fn has(&self, url: &str) {
        in_time(&format!("{url} is there"), async {
            while !self.s3.exists(url).await.unwrap() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }

    /// Every object has one line in the manifest and one in the outcomes, and its copy the same bytes.
    pub(crate) async fn assert_copied(&self, objects: usize) {
        let mut expected: Vec<_> = (0..objects).map(object).collect();
        expected.sort();
        let mut lines = self.s3.read_manifest::<Line>(format!("{JOB}manifest.jsonl")).await.unwrap();
        assert_eq!(lines.len(), objects);
        for ((key, bytes), line) in expected.iter().zip(&lines) {
            let crc = crc_fast::checksum(CrcAlgorithm::Crc64Nvme, bytes);
            assert_eq!(line.source, format!("s3://{BUCKET}/{key}"));
            assert_eq!(line.destination, line.source.replace("/source/", "/copy/"));
            assert_eq!((line.size, &line.crc64nvme), (bytes.len() as u64, &STANDARD.encode(crc.to_be_bytes())));
        }
        let copies = self.s3.get_many(lines.iter().map(|line| line.destination.as_str())).concurrency(256);
        let mut copies = copies.ordered(true);
        for ((_, bytes), line) in expected.iter().zip(&lines) {
            let copy = copies.try_next().await.unwrap().unwrap();
            assert_eq!(copy.url(), line.destination);
            assert_eq!(copy.etag(), Some(line.etag.as_str()));
            assert_eq!(copy.blob().await.unwrap(), bytes.as_slice(), "{}", copy.url());
        }
        let outcomes = self.s3.list_recursive([format!("{JOB}outcomes/")]).await.unwrap();
        let mut told = Vec::new();
        for outcome in outcomes {
            told.extend(self.s3.read_manifest::<Line>(outcome.url()).await.unwrap());
        }
        for lines in [&mut lines, &mut told] {
            lines.sort_by(|one, other| one.source.cmp(&other.source));
        }
        assert!(told == lines, "the outcomes have {} lines, and the manifest others", told.len());
    }
}

/// A NATS server with JetStream, whose files outlive it.
pub(crate) struct Nats {
    program: PathBuf,
    files: PathBuf,
    port: u16,
    running: Option<Running>,
}

impl Nats {
    /// `None`, and said so, where Debian's package nats-server is not installed.
    pub(crate) async fn new(place: &Place) -> Option<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut candidates = std::env::split_paths(&path).map(|directory| directory.join("nats-server"));
        let Some(program) = candidates.find(|program| program.is_file()) else {
            not_run("nats-server is not installed");
            return None;
        };
        let mut nats = Self { program, files: place.directory.path().join("nats"), port: 0, running: None };
        nats.start().await;
        Some(nats)
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// At first on a port that the system chooses, and then on the same.
    pub(crate) async fn start(&mut self) {
        in_time("the NATS server is ready", async {
            while !self.try_start().await {
                // Another process may have the port for a moment.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        })
        .await;
    }

    async fn try_start(&mut self) -> bool {
        let mut command = Command::new(&self.program);
        let port = if self.port == 0 { "-1".to_owned() } else { self.port.to_string() };
        command.args(["-js", "-a", "127.0.0.1", "-p", &port, "-sd"]).arg(&self.files);
        let mut running = Running::start(command, self.files.with_extension("log"));
        loop {
            let log = running.errors();
            if log.contains("Server is ready") {
                let listening = "Listening for client connections on 127.0.0.1:";
                let port = log.split_once(listening).unwrap().1;
                self.port = port.lines().next().unwrap().trim().parse().unwrap();
                self.running = Some(running);
                return true;
            }
            if running.has_ended() {
                assert!(log.contains("address already in use"), "{log}");
                return false;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) async fn kill(&mut self) {
        self.running.take().unwrap().kill().await;
    }

    /// As when the disk of the machine is lost.
    pub(crate) fn lose_files(&self) {
        std::fs::remove_dir_all(&self.files).unwrap();
    }

    /// The name of the only queue, and how many messages it has.
    pub(crate) async fn queue(&self) -> Option<(String, u64)> {
        let context = async_nats::jetstream::new(async_nats::connect(self.url()).await.unwrap());
        let info = context.streams().try_next().await.unwrap()?;
        Some((info.config.name, info.state.messages))
    }
}

/// Past what is captured of a test that passes.
pub(crate) fn not_run(because: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "NOT RUN: {because}");
}

/// More than a busy machine needs.
pub(crate) async fn in_time<T>(what: &str, promise: impl Future<Output = T>) -> T {
    within(Duration::from_secs(120), what, promise).await
}

pub(crate) async fn within<T>(limit: Duration, what: &str, promise: impl Future<Output = T>) -> T {
    match tokio::time::timeout(limit, promise).await {
        Ok(kept) => kept,
        Err(_) => panic!("within {limit:?}: {what}"),
    }
}

/// What a path of a test is as an argument.
pub(crate) fn argument(path: &Path) -> &str {
    path.to_str().unwrap()
}
