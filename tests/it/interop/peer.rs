//! Metaflow and boto3 in a process of their own: `tests/interop/peer.py`.

use std::process::Stdio;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use md5::{Digest as _, Md5};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::Mutex;

/// The peer; calls take their turns.
pub(super) struct Peer {
    pipes: Mutex<Pipes>,
    /// Killed with this.
    _process: Child,
}

struct Pipes {
    requests: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

/// A Python exception.
#[derive(Debug, Deserialize)]
pub(super) struct Raised {
    #[serde(rename = "error")]
    pub(super) class: String,
    pub(super) text: String,
}

/// What Metaflow says of an object: every property of its `S3Object`.
#[derive(Debug, Deserialize)]
pub(super) struct Theirs {
    pub(super) exists: bool,
    pub(super) downloaded: bool,
    pub(super) url: String,
    pub(super) prefix: Option<String>,
    pub(super) key: String,
    pub(super) blob: Option<Value>,
    pub(super) text: Option<String>,
    pub(super) size: Option<u64>,
    pub(super) has_info: bool,
    pub(super) metadata: Option<Value>,
    pub(super) content_type: Option<String>,
    pub(super) encryption: Option<String>,
    pub(super) range_info: Option<TheirRange>,
    pub(super) last_modified: Option<f64>,
}

#[derive(Debug, Deserialize, PartialEq)]
pub(super) struct TheirRange {
    pub(super) total_size: u64,
    pub(super) request_offset: u64,
    pub(super) request_length: u64,
}

impl Peer {
    pub(super) fn start(python: &str, script: &str) -> Self {
        let mut process = Command::new(python)
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{python} does not start: {error}"));
        let requests = process.stdin.take().unwrap();
        let answers = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { pipes: Mutex::new(Pipes { requests, answers }), _process: process }
    }

    async fn ask(&self, request: Value) -> Result<Value, Raised> {
        let mut pipes = self.pipes.lock().await;
        pipes.requests.write_all(format!("{request}\n").as_bytes()).await.unwrap();
        let line =
            pipes.answers.next_line().await.unwrap().expect("the peer answers; its errors are on standard error");
        match serde_json::from_str(&line).unwrap() {
            Value::Object(mut answer) if answer.contains_key("ok") => Ok(answer.remove("ok").unwrap()),
            raised => Err(serde_json::from_value(raised).unwrap()),
        }
    }

    /// A method of boto3's client.
    pub(super) async fn boto(&self, method: &str, arguments: Value) -> Result<Value, Raised> {
        self.ask(json!({"boto": method, "args": arguments})).await
    }

    /// `metaflow.S3(**arguments)`.
    pub(super) fn s3(&self, arguments: Value) -> Metaflow<'_> {
        Metaflow { peer: self, arguments }
    }

    /// `metaflow.S3(s3root=root)`.
    pub(super) fn at(&self, root: &str) -> Metaflow<'_> {
        self.s3(json!({"s3root": root}))
    }
}

/// One `metaflow.S3`, made for each call.
#[derive(Clone)]
pub(super) struct Metaflow<'a> {
    peer: &'a Peer,
    arguments: Value,
}

impl Metaflow<'_> {
    /// A method, with its arguments by name.
    pub(super) async fn call(&self, method: &str, arguments: Value) -> Result<Value, Raised> {
        self.peer.ask(json!({"call": method, "s3": self.arguments, "args": arguments})).await
    }

    /// A method that returns an object.
    pub(super) async fn one(&self, method: &str, arguments: Value) -> Result<Theirs, Raised> {
        Ok(serde_json::from_value(self.call(method, arguments).await?).unwrap())
    }

    /// A method that returns a list of objects.
    pub(super) async fn many(&self, method: &str, arguments: Value) -> Result<Vec<Theirs>, Raised> {
        Ok(serde_json::from_value(self.call(method, arguments).await?).unwrap())
    }
}

/// A Python `bytes`.
pub(super) fn bytes(bytes: &[u8]) -> Value {
    json!({"$bytes": BASE64_STANDARD.encode(bytes)})
}

/// What the peer says of these bytes: themselves, or of many, their digest.
pub(super) fn said(bytes: &[u8]) -> Value {
    if bytes.len() <= 65_536 {
        self::bytes(bytes)
    } else {
        let digest: String = Md5::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        json!({"$md5": digest, "length": bytes.len()})
    }
}

/// A Python object that JSON has not, by its kind; see `peer.py`.
pub(super) fn python(kind: &str, value: impl Into<Value>) -> Value {
    let mut tagged = Map::new();
    tagged.insert(format!("${kind}"), value.into());
    Value::Object(tagged)
}
