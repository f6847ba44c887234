//! The program.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Output, Stdio};

use s3flow::testing::S3Server;

use crate::support::{caller, first, get, in_time, put, whole};

/// Without the S3 service, the proxies and the configuration of who runs the tests.
fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tonic_blobs"));
    command.env_clear().stdin(Stdio::null());
    command
}

/// Serving, until it is dropped.
pub(crate) struct Program {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Program {
    pub(crate) fn serve(server: &S3Server, arguments: &[&str]) -> Self {
        let mut command = program();
        command
            .env("AWS_ENDPOINT_URL", server.endpoint())
            .env("AWS_ACCESS_KEY_ID", server.access_key_id())
            .env("AWS_SECRET_ACCESS_KEY", server.secret_access_key())
            .env("AWS_REGION", server.region());
        Self::start(command, arguments)
    }

    fn start(mut command: Command, arguments: &[&str]) -> Self {
        command.args(["--serve", "127.0.0.1:0"]).args(arguments).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("http://").unwrap().parse().unwrap();
        Self { child, address }
    }

    /// A size in bytes from its `/proc/…/status`.
    pub(crate) fn memory(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// In the ticks of the kernel.
    pub(crate) fn processor_time(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        fields.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
    }
}

#[tokio::test]
async fn an_interrupted_program_ends_although_a_reader_takes_nothing() {
    let server = S3Server::start().await.unwrap();
    server.put_object("bucket", "k", vec![7; 20 << 20]);
    let mut program = Program::serve(&server, &[]);
    let mut chunks = caller(program.address).get(whole("k")).await.unwrap().into_inner();
    first(&mut chunks).await.unwrap();
    let interrupt = Command::new("kill").args(["-INT", &program.child.id().to_string()]).status().unwrap();
    assert!(interrupt.success());
    let ended = in_time("the program ends", tokio::task::spawn_blocking(move || program.child.wait().unwrap()));
    assert!(ended.await.unwrap().success());
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn output(arguments: &[&str]) -> Output {
    program().args(arguments).output().unwrap()
}

#[test]
fn the_program_makes_a_round_trip_and_ends() {
    let output = output(&[]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    for told in ["put  dir/text", "1900000 bytes came", "\"gRPC\"", "list dir: dir/text of 1900000 bytes", "NotFound"] {
        assert!(text.contains(told), "{told}: {text}");
    }
}

#[test]
fn wrong_arguments_are_a_message_and_the_status_2() {
    for arguments in [
        &["--serve"][..],
        &["--serve", "nowhere"],
        &["--limit", "-1"],
        &["--s3root", "s3://b"],
        &["--unknown"],
        &["argument"],
    ] {
        let output = output(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.starts_with("error: ") && text.contains("--help"), "{text}");
    }
}

#[test]
fn settings_that_cannot_be_used_are_a_message_and_the_status_1() {
    for arguments in
        [&["--serve", "127.0.0.1:0", "--s3root", "nonsense"][..], &["--memory", "1"], &["--serve", "192.0.2.1:1"]]
    {
        let output = output(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.starts_with("tonic_blobs: ") && text.lines().count() == 1, "{text}");
    }
}

#[tokio::test]
async fn the_program_serves_what_the_environment_names_or_a_server_of_its_own() {
    let server = S3Server::start().await.unwrap();
    let with_environment = Program::serve(&server, &["--s3root", "s3://bucket/root"]);
    put(&mut caller(with_environment.address), "k", b"text").await.unwrap();
    assert_eq!(server.keys("bucket"), ["root/k"]);
    let alone = Program::start(program(), &[]);
    put(&mut caller(alone.address), "k", b"other").await.unwrap();
    assert_eq!(get(&mut caller(alone.address), whole("k")).await.unwrap().1, b"other");
    assert_eq!(get(&mut caller(with_environment.address), whole("k")).await.unwrap().1, b"text");
}
