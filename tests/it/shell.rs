//! The examples as processes, in an environment of their own.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use s3flow::testing::S3Server;
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};

/// A server with a bucket `bucket`, a directory to work in, and one for the temporary files of the processes.
pub(crate) struct Shell {
    pub(crate) server: S3Server,
    pub(crate) work: tempfile::TempDir,
    pub(crate) temp: tempfile::TempDir,
}

/// How a process ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Ran {
    #[track_caller]
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }

    /// The text of a run in which nothing failed.
    #[track_caller]
    pub(crate) fn done(&self) -> &str {
        assert_eq!((self.code, self.stderr.as_str()), (Some(0), ""), "{self:?}");
        self.text()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Vec<Value> {
        json_lines(self.text())
    }
}

#[track_caller]
pub(crate) fn json_lines(text: &str) -> Vec<Value> {
    let parse = |line| match serde_json::from_str::<Value>(line) {
        Ok(value @ Value::Object(_)) => value,
        other => panic!("{line:?} is no JSON object: {other:?}"),
    };
    text.lines().map(parse).collect()
}

/// The built example beside this test's binary.
pub(crate) fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let built = test.parent().and_then(Path::parent).unwrap().join("examples").join(name);
    let built = built.with_extension(std::env::consts::EXE_EXTENSION);
    assert!(built.is_file(), "{} is not built; `cargo test` and `cargo build --examples` build it", built.display());
    built
}

impl Shell {
    pub(crate) async fn new() -> Self {
        let server = S3Server::start().await.unwrap();
        Self { server, work: tempfile::tempdir().unwrap(), temp: tempfile::tempdir().unwrap() }
    }

    /// With nothing in its environment but what is needed; in the directory to work in.
    pub(crate) fn command(&self, name: &str) -> Command {
        let mut command = Command::new(example(name));
        command
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .env("HOME", self.work.path())
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_ACCESS_KEY_ID", self.server.access_key_id())
            .env("AWS_SECRET_ACCESS_KEY", self.server.secret_access_key())
            .env("AWS_REGION", self.server.region())
            .env("AWS_ENDPOINT_URL", self.server.endpoint())
            .env("METAFLOW_TEMPDIR", self.temp.path())
            .current_dir(self.work.path())
            .kill_on_drop(true);
        command
    }

    pub(crate) fn s3op<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = self.command("s3op");
        command.args(arguments);
        command
    }

    /// Below `s3://bucket/root`.
    pub(crate) async fn rooted<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Ran {
        self.run(self.s3op(["--s3root", "s3://bucket/root"].into_iter().chain(arguments)), "").await
    }

    /// To its end. Whatever it did, nothing of it is left in the temporary directory.
    pub(crate) async fn run(&self, mut command: Command, stdin: &str) -> Ran {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut pipe = child.stdin.take().unwrap();
        let feed = async move {
            // A process that reads no stdin may be gone already.
            let _ = pipe.write_all(stdin.as_bytes()).await;
        };
        self.ended(child, feed).await
    }

    pub(crate) async fn ended(&self, child: Child, meanwhile: impl Future<Output = ()>) -> Ran {
        let both = async { tokio::join!(child.wait_with_output(), meanwhile).0 };
        let output = tokio::time::timeout(Duration::from_secs(60), both).await.expect("the process hangs").unwrap();
        assert_eq!(names(self.temp.path()), Vec::<String>::new(), "left in the temporary directory");
        Ran { code: output.status.code(), stdout: output.stdout, stderr: String::from_utf8(output.stderr).unwrap() }
    }

    pub(crate) fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> String {
        let path = self.work.path().join(name);
        std::fs::write(&path, contents).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

/// What a directory holds, sorted.
pub(crate) fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
