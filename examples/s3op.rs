//! Get, put, list and ask about many S3 objects from a shell. `s3op --help` tells how.
//!
//! ```text
//! s3op --s3root s3://bucket/data ls 2026
//! s3op --s3root s3://bucket/data get 2026/a.csv --out /tmp/data
//! ```

use std::collections::HashMap;
use std::error::Error;
use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write as _};
use std::path::{Component, Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use clap::error::ErrorKind as UsageError;
use clap::{Args, CommandFactory as _, Parser, Subcommand};
use futures::stream::{self, BoxStream};
use futures::{FutureExt as _, Stream, StreamExt as _};
use s3flow::{Client, ErrorKind, PutReceipt, PutValue, S3, S3GetObject, S3Object};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader, BufWriter, Stdout};

/// Get, put, list and ask about many S3 objects at once.
///
/// Keys are relative to --s3root or to the data of a --run; without either they are whole s3://bucket/key URLs. They are used
/// byte for byte.
///
/// Credentials, region and other settings come from the environment: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION,
/// METAFLOW_TEMPDIR and so on; what is Metaflow's also from its configuration files.
#[derive(Parser)]
#[command(name = "s3op", version, after_long_help = AFTER_HELP)]
struct Cli {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Examples:
  s3op get s3://bucket/a s3://bucket/b > both
  s3op --s3root s3://bucket/data ls 2026
  s3op --s3root s3://bucket/data ls 2026 --json | jq -r .key | s3op --s3root s3://bucket/data get --keys-from - --out .
  s3op --s3root s3://bucket/data put report.csv /tmp/report.csv --content-type text/csv

Exit status:
  0  everything was done
  1  at least one item failed; each has a line on stderr, and the others were done
  2  wrong usage, or settings or credentials that cannot be used";

#[derive(Args)]
struct Options {
    /// What keys are relative to: s3://bucket or s3://bucket/prefix
    #[arg(long, global = true, value_name = "URL")]
    s3root: Option<String>,
    /// What keys are relative to: the data of a Metaflow run, Flow/RunId
    #[arg(long, global = true, value_name = "FLOW/RUN", conflicts_with = "s3root")]
    run: Option<String>,
    /// The URL of an S3 service other than AWS's, such as http://127.0.0.1:9000
    #[arg(long, global = true, value_name = "URL")]
    endpoint: Option<String>,
    /// How many objects are under way at a time [default: METAFLOW_S3_WORKER_COUNT, or 64]
    #[arg(long, global = true, value_name = "N")]
    concurrency: Option<usize>,
    /// Read keys from this file after those of the command line, one a line; - is stdin
    ///
    /// A line ends with a line feed, and everything before it is the key. Empty lines are skipped. For put, a line is the
    /// key, a tab and the file.
    #[arg(long, global = true, value_name = "FILE")]
    keys_from: Option<PathBuf>,
    /// Print one JSON object for each item on stdout, and for each error on stderr
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Fetch objects, to stdout in the order asked for, or into a directory
    #[command(after_long_help = "\
Examples:
  s3op get s3://bucket/log.txt --length -4096             the last 4096 bytes
  s3op --s3root s3://bucket/data get a b/c --out /tmp/x   /tmp/x/a and /tmp/x/b/c")]
    Get(Get),
    /// Store files
    #[command(after_long_help = "\
A file is read while it is stored, and must not change meanwhile.

Examples:
  s3op put s3://bucket/a.csv a.csv --content-type text/csv --metadata owner=me
  date | s3op put s3://bucket/today -
  printf 'a.csv\\t/tmp/a.csv\\n' | s3op --s3root s3://bucket/data put --keys-from - --no-overwrite")]
    Put(Put),
    /// List every object below prefixes: size, date and key
    #[command(after_long_help = "\
A prefix is a directory: 2026 lists 2026/x and not 2026-old/x. The keys printed can be given to get and info.

Examples:
  s3op ls s3://bucket/data
  s3op --s3root s3://bucket/data ls 2025 2026 --json")]
    Ls(Ls),
    /// Tell size, date, content type and metadata of objects without fetching them
    #[command(after_long_help = "\
Examples:
  s3op info s3://bucket/a.csv
  s3op --s3root s3://bucket/data info a b --return-missing --json")]
    Info(Info),
}

#[derive(Args)]
struct Get {
    /// What to fetch
    #[arg(value_name = "KEY")]
    keys: Vec<String>,
    /// Write each object below this directory, at its key; for a whole URL, at its bucket and key
    ///
    /// Directories are made as needed, and files are replaced. A key that is no path below the directory (absolute, or with
    /// a segment that is empty, . or ..) is refused.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Start at this byte, counted from 0
    #[arg(long, value_name = "BYTES")]
    offset: Option<u64>,
    /// Fetch so many bytes; negative: the last so many, or with --offset, all to the end
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true)]
    length: Option<i64>,
    /// A missing object is no failure
    #[arg(long)]
    return_missing: bool,
}

#[derive(Args)]
struct Put {
    /// Where to store, and what; - is stdin
    #[arg(value_names = ["KEY", "FILE"], num_args = 2..)]
    pairs: Vec<OsString>,
    /// Leave objects that exist as they are
    #[arg(long)]
    no_overwrite: bool,
    /// The MIME type of what is stored
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// User metadata of what is stored; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_metadata)]
    metadata: Vec<(String, String)>,
}

#[derive(Args)]
struct Ls {
    /// What to list; nothing, with --s3root or --run, is the root itself
    #[arg(value_name = "PREFIX")]
    prefixes: Vec<String>,
}

#[derive(Args)]
struct Info {
    /// What to ask about
    #[arg(value_name = "KEY")]
    keys: Vec<String>,
    /// A missing object is no failure
    #[arg(long)]
    return_missing: bool,
}

fn parse_metadata(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("NAME=VALUE is needed".to_owned()),
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Err(error) = check_usage(&cli) {
        error.exit();
    }
    let errors = Errors { json: cli.options.json, any: AtomicBool::new(false) };
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return errors.end(&Problem::Local(format!("the runtime does not start: {error}"))),
    };
    let code = runtime.block_on(run(cli, Arc::new(errors)));
    // A thread may be waiting for a line of stdin that never comes; dropping the runtime would wait with it.
    runtime.shutdown_background();
    code
}

/// What cannot be said to clap, because global options may stand before or after the command.
fn check_usage(cli: &Cli) -> Result<(), clap::Error> {
    let error = |kind, text: &str| Err(Cli::command().error(kind, text));
    let Options { s3root, run, keys_from, json, .. } = &cli.options;
    let nothing = match &cli.command {
        Command::Get(get) => get.keys.is_empty(),
        Command::Info(info) => info.keys.is_empty(),
        Command::Ls(ls) => ls.prefixes.is_empty() && s3root.is_none() && run.is_none(),
        Command::Put(put) if put.pairs.len() % 2 != 0 => {
            return error(UsageError::WrongNumberOfValues, "put needs a FILE for each KEY");
        }
        Command::Put(put) => {
            let listed = usize::from(keys_from.as_deref() == Some(Path::new("-")));
            if put.pairs.chunks(2).filter(|pair| pair[1] == "-").count() + listed > 1 {
                return error(UsageError::ArgumentConflict, "stdin (-) is named twice and can be read once");
            }
            put.pairs.is_empty()
        }
    };
    if nothing && keys_from.is_none() {
        return error(
            UsageError::MissingRequiredArgument,
            "nothing to do: name a KEY (for ls a PREFIX, --s3root or --run), or use --keys-from",
        );
    }
    if *json && matches!(&cli.command, Command::Get(get) if get.out.is_none()) {
        return error(
            UsageError::MissingRequiredArgument,
            "get --json needs --out: stdout cannot have contents and JSON",
        );
    }
    Ok(())
}

async fn run(cli: Cli, errors: Arc<Errors>) -> ExitCode {
    let s3 = match connect(&cli.options) {
        Ok(s3) => s3,
        Err(error) => {
            errors.report(None, &Problem::S3(error));
            return ExitCode::from(2);
        }
    };
    let ended = tokio::select! {
        // In this order, so that the signal is caught before the first request.
        biased;
        Ok(()) = tokio::signal::ctrl_c() => Err(End::Interrupted),
        ended = carry_out(&s3, cli, Arc::clone(&errors)) => ended,
    };
    // Nobody else removes the files that were under way.
    if let Err(error) = s3.close().await {
        errors.report(None, &Problem::S3(error));
    }
    match ended {
        Ok(()) => errors.code(),
        // Whoever reads has seen enough, as `head` has.
        Err(End::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => errors.code(),
        Err(End::Output(error)) => errors.end(&Problem::Local(format!("stdout: {error}"))),
        Err(End::Config) => ExitCode::from(2),
        Err(End::Interrupted) => ExitCode::from(130),
    }
}

fn connect(options: &Options) -> s3flow::Result<S3> {
    let mut client = Client::builder();
    if let Some(endpoint) = &options.endpoint {
        client = client.endpoint(endpoint);
    }
    if let Some(concurrency) = options.concurrency {
        client = client.concurrency(concurrency);
    }
    let mut s3 = client.build()?.s3();
    if let Some(s3root) = &options.s3root {
        s3 = s3.s3root(s3root);
    }
    if let Some(run) = &options.run {
        s3 = s3.run(run);
    }
    s3.build()
}

async fn carry_out(s3: &S3, cli: Cli, errors: Arc<Errors>) -> Result<(), End> {
    let Cli { options, command } = cli;
    let named = options.keys_from.as_deref().map(|path| path.display().to_string()).unwrap_or_default();
    let inputs = match Inputs::open(options.keys_from, Arc::clone(&errors)).await {
        Ok(inputs) => inputs,
        Err(error) => {
            errors.report(None, &Problem::Local(format!("--keys-from {named}: {error}")));
            return Err(End::Config);
        }
    };
    let mut output = Output::new(options.json, errors);
    let ended = match command {
        Command::Get(asked) => get(s3, asked, inputs, &mut output).await,
        Command::Put(asked) => put(s3, asked, inputs, &mut output).await,
        Command::Ls(asked) => ls(s3, asked, inputs, &mut output).await,
        Command::Info(asked) => info(s3, asked, inputs, &mut output).await,
    };
    output.flush().await?;
    ended
}

async fn get(s3: &S3, asked: Get, inputs: Inputs, output: &mut Output) -> Result<(), End> {
    let Get { keys, out, offset, length, return_missing } = asked;
    // The keys under way, for errors, which tell by their index which input they belong to.
    let under_way = Arc::new(Mutex::new(HashMap::new()));

    let wanted = {
        let (under_way, errors, into_files) = (Arc::clone(&under_way), Arc::clone(&output.errors), out.is_some());
        let mut index = 0;
        inputs.keys(keys).filter_map(move |key| {
            let refused = if into_files { relative_path(&key).err() } else { None };
            let request = match refused {
                Some(reason) => {
                    let text = format!("the key {key:?} is refused: {reason}, so it is no path below --out");
                    errors.report(Some(&key), &Problem::Local(text));
                    None
                }
                None => {
                    let mut request = S3GetObject::new(key.clone());
                    if let Some(offset) = offset {
                        request = request.offset(offset);
                    }
                    if let Some(length) = length {
                        request = request.length(length);
                    }
                    locked(&under_way).insert(index, key);
                    index += 1;
                    Some(request)
                }
            };
            std::future::ready(request)
        })
    };

    let mut objects = s3.get_from(wanted).return_missing(return_missing).ordered(true);
    while let Some(fetched) = output.next(&mut objects).await? {
        let index = fetched.as_ref().map_or_else(s3flow::Error::index, |object| Some(object.index()));
        let key = index.and_then(|index| locked(&under_way).remove(&index)).unwrap_or_default();
        let object = match fetched {
            Ok(object) => object,
            Err(error) => {
                output.failed(&key, error)?;
                continue;
            }
        };
        match &out {
            _ if !object.exists() => output.missing(&key, &object, out.is_some()).await?,
            None => output.contents(&key, &object).await?,
            Some(directory) => {
                let mut described = json_of(&key, &object);
                let size = object.size().unwrap_or(0);
                match write_below(directory, &key, object).await {
                    Ok(path) => {
                        described["path"] = path.to_string_lossy().into();
                        let line = format!("{} -> {} ({size} bytes)", shown(&key), shown(&path.to_string_lossy()));
                        output.line(line, || described).await?;
                    }
                    Err(problem) => output.errors.report(Some(&key), &problem),
                }
            }
        }
    }
    Ok(())
}

async fn put(s3: &S3, mut asked: Put, inputs: Inputs, output: &mut Output) -> Result<(), End> {
    let stdin = Arc::clone(&inputs.stdin);
    let pairs = inputs.pairs(std::mem::take(&mut asked.pairs));
    let asked = Arc::new(asked);
    let receipts = pairs.map(|(key, file)| {
        let (s3, asked) = (s3.clone(), Arc::clone(&asked));
        // Decided here and not in the task, so that the first line that names it has it.
        let taken = file == Path::new("-") && stdin.swap(true, Ordering::Relaxed);
        tokio::spawn(async move {
            let stored = put_one(&s3, &key, &file, taken, &asked).await;
            (key, stored)
        })
    });
    let mut receipts = receipts.buffered(s3.concurrency());
    while let Some(stored) = output.next(&mut receipts).await? {
        match stored {
            Ok((key, Ok(receipt))) => {
                let what = if receipt.uploaded() { "stored" } else { "exists" };
                let json = || {
                    json!({
                        "key": key,
                        "url": receipt.url(),
                        "uploaded": receipt.uploaded(),
                        "etag": receipt.etag(),
                        "version_id": receipt.version_id(),
                    })
                };
                output.line(format!("{what} {}", shown(receipt.url())), json).await?;
            }
            Ok((key, Err(Problem::S3(error)))) => output.failed(&key, error)?,
            Ok((key, Err(problem))) => output.errors.report(Some(&key), &problem),
            Err(error) => output.errors.report(None, &Problem::Local(format!("put: {error}"))),
        }
    }
    Ok(())
}

async fn put_one(s3: &S3, key: &str, file: &Path, taken: bool, asked: &Put) -> Result<PutReceipt, Problem> {
    let value = value(file, taken).map_err(|problem| Problem::Local(format!("put {key:?}: {problem}")))?;
    let mut put = s3.put(key, value).overwrite(!asked.no_overwrite);
    if let Some(content_type) = &asked.content_type {
        put = put.content_type(content_type);
    }
    if !asked.metadata.is_empty() {
        put = put.metadata(asked.metadata.iter().cloned());
    }
    put.await.map_err(Problem::S3)
}

async fn ls(s3: &S3, asked: Ls, inputs: Inputs, output: &mut Output) -> Result<(), End> {
    let Ls { mut prefixes } = asked;
    if prefixes.is_empty() && inputs.file.is_none() {
        prefixes.push(String::new());
    }
    let root = s3.s3root().map(|root| format!("{root}/")).unwrap_or_default();
    // A listing takes its prefixes whole; a file of them is listed as it is read.
    let mut chunks = inputs.keys(prefixes).ready_chunks(256);
    while let Some(prefixes) = output.next(&mut chunks).await? {
        let mut listing = s3.list_recursive(prefixes.clone()).ordered(true);
        while let Some(listed) = output.next(&mut listing).await? {
            match listed {
                Ok(object) => {
                    // What get and info take, whichever prefix the object was found below.
                    let key = object.url().strip_prefix(&root).unwrap_or(object.url());
                    let (size, date) = (object.size().unwrap_or(0), date(object.last_modified()).unwrap_or_default());
                    let json = || {
                        json!({
                            "key": key,
                            "url": object.url(),
                            "size": size,
                            "etag": object.etag(),
                            "last_modified": date,
                        })
                    };
                    output.line(format!("{size:>12} {date:20} {}", shown(key)), json).await?;
                }
                Err(error) => {
                    let prefix = error.index().and_then(|index| prefixes.get(index)).cloned().unwrap_or_default();
                    output.failed(&prefix, error)?;
                }
            }
        }
    }
    Ok(())
}

async fn info(s3: &S3, asked: Info, inputs: Inputs, output: &mut Output) -> Result<(), End> {
    let Info { keys, return_missing } = asked;
    let answers = inputs.keys(keys).map(|key| {
        let info = s3.info(key.clone()).return_missing(return_missing);
        // A task of its own goes on while a slow reader of stdout holds this stream up.
        tokio::spawn(async move { (key, info.await) })
    });
    let mut answers = answers.buffered(s3.concurrency());
    while let Some(answer) = output.next(&mut answers).await? {
        match answer {
            Ok((key, Ok(object))) if !object.exists() => output.missing(&key, &object, true).await?,
            Ok((key, Ok(object))) => {
                let mut line = format!(
                    "{:>12} {:20} {} {}",
                    object.size().unwrap_or(0),
                    date(object.last_modified()).unwrap_or_default(),
                    object.content_type().unwrap_or("-"),
                    shown(&key)
                );
                if let Some(metadata) = object.metadata() {
                    line.push_str(&format!(" {}", json!(metadata)));
                }
                output.line(line, || json_of(&key, &object)).await?;
            }
            Ok((key, Err(error))) => output.failed(&key, error)?,
            Err(error) => output.errors.report(None, &Problem::Local(format!("info: {error}"))),
        }
    }
    Ok(())
}

/// What ends a run before its last item.
enum End {
    /// Nobody takes the output.
    Output(io::Error),
    /// No item can succeed. It was reported.
    Config,
    Interrupted,
}

/// What goes wrong with one item.
enum Problem {
    S3(s3flow::Error),
    Local(String),
}

impl fmt::Display for Problem {
    /// The error and its causes: an error of the library speaks of its own layer.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(text) => f.write_str(text),
            Self::S3(error) => {
                let mut text = error.to_string();
                let mut cause = error.source();
                while let Some(error) = cause {
                    // Some layers below repeat the text of their cause.
                    let below = error.to_string();
                    if !text.contains(&below) {
                        text = format!("{text}: {below}");
                    }
                    cause = error.source();
                }
                f.write_str(&text)
            }
        }
    }
}

/// Where errors go: a line on stderr each, and into the exit status.
struct Errors {
    json: bool,
    any: AtomicBool,
}

impl Errors {
    fn report(&self, key: Option<&str>, problem: &Problem) {
        self.any.store(true, Ordering::Relaxed);
        let line = match problem {
            _ if !self.json => format!("s3op: {}", shown(&problem.to_string())),
            Problem::Local(text) => json!({ "error": text, "kind": "Local", "key": key }).to_string(),
            Problem::S3(error) => json!({
                "error": problem.to_string(),
                "kind": format!("{:?}", error.kind()),
                "key": key,
                "operation": error.operation(),
                "url": error.url(),
                "status": error.status(),
                "code": error.code(),
                "request_id": error.request_id(),
                "attempts": error.attempts(),
                "retryable": error.is_retryable(),
            })
            .to_string(),
        };
        // When stderr is closed, there is nobody to tell; the exit status does.
        let _ = writeln!(io::stderr(), "{line}");
    }

    fn end(&self, problem: &Problem) -> ExitCode {
        self.report(None, problem);
        self.code()
    }

    fn code(&self) -> ExitCode {
        if self.any.load(Ordering::Relaxed) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}

/// Where results go.
struct Output {
    json: bool,
    errors: Arc<Errors>,
    stdout: BufWriter<Stdout>,
}

impl Output {
    fn new(json: bool, errors: Arc<Errors>) -> Self {
        Self { json, errors, stdout: BufWriter::with_capacity(1 << 16, tokio::io::stdout()) }
    }

    /// The next of some items. What was written so far goes out first when that takes time.
    async fn next<S>(&mut self, items: &mut S) -> Result<Option<S::Item>, End>
    where
        S: Stream<Item: Send> + Unpin + Send,
    {
        if let Some(ready) = items.next().now_or_never() {
            return Ok(ready);
        }
        self.flush().await?;
        Ok(items.next().await)
    }

    async fn flush(&mut self) -> Result<(), End> {
        self.stdout.flush().await.map_err(End::Output)
    }

    /// One item on one line.
    async fn line(&mut self, text: String, json: impl FnOnce() -> Value + Send) -> Result<(), End> {
        let mut line = if self.json { json().to_string() } else { text };
        line.push('\n');
        self.stdout.write_all(line.as_bytes()).await.map_err(End::Output)
    }

    /// The run goes on, unless no item can fare better.
    fn failed(&mut self, key: &str, error: s3flow::Error) -> Result<(), End> {
        let kind = error.kind();
        self.errors.report(Some(key), &Problem::S3(error));
        if kind == ErrorKind::Config { Err(End::Config) } else { Ok(()) }
    }

    /// Asked for with `--return-missing`: no error. Not on stdout when that has contents.
    async fn missing(&mut self, key: &str, object: &S3Object, on_stdout: bool) -> Result<(), End> {
        let line = format!("missing {}", shown(object.url()));
        if on_stdout {
            return self.line(line, || json_of(key, object)).await;
        }
        let _ = writeln!(io::stderr(), "s3op: {line}");
        Ok(())
    }

    async fn contents(&mut self, key: &str, object: &S3Object) -> Result<(), End> {
        let unreadable = |error: io::Error| Problem::Local(format!("{}: the local copy: {error}", object.url()));
        let Some(path) = object.path() else { return Ok(()) };
        let mut file = match tokio::fs::File::open(path).await {
            Ok(file) => file,
            Err(error) => {
                self.errors.report(Some(key), &unreadable(error));
                return Ok(());
            }
        };
        let mut buffer = vec![0; 1 << 18];
        // Not `tokio::io::copy`, which does not tell whether reading or writing failed.
        loop {
            match file.read(&mut buffer).await {
                Ok(0) => return Ok(()),
                Ok(read) => self.stdout.write_all(&buffer[..read]).await.map_err(End::Output)?,
                Err(error) => {
                    self.errors.report(Some(key), &unreadable(error));
                    return Ok(());
                }
            }
        }
    }
}

fn json_of(key: &str, object: &S3Object) -> Value {
    if !object.exists() {
        return json!({ "key": key, "url": object.url(), "exists": false });
    }
    json!({
        "key": key,
        "url": object.url(),
        "exists": true,
        "size": object.size(),
        "etag": object.etag(),
        "last_modified": date(object.last_modified()),
        "version_id": object.version_id(),
        "content_type": object.content_type(),
        "metadata": object.metadata(),
        "encryption": object.encryption(),
        "total_size": object.range_info().map(|range| range.total_size),
        "offset": object.range_info().map(|range| range.request_offset),
    })
}

/// In UTC.
fn date(time: Option<SystemTime>) -> Option<String> {
    let time = chrono::DateTime::<chrono::Utc>::from(time?);
    Some(time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true))
}

/// One line, whatever the text: control characters are escaped.
fn shown(text: &str) -> String {
    let escaped = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(escaped).collect()
}

/// The keys of the command line and of `--keys-from`.
struct Inputs {
    file: Option<BufReader<Box<dyn AsyncRead + Send + Unpin>>>,
    errors: Arc<Errors>,
    /// Whether somebody reads stdin; it can be read once.
    stdin: Arc<AtomicBool>,
}

impl Inputs {
    async fn open(keys_from: Option<PathBuf>, errors: Arc<Errors>) -> io::Result<Self> {
        let from_stdin = keys_from.as_deref() == Some(Path::new("-"));
        let file: Option<Box<dyn AsyncRead + Send + Unpin>> = match keys_from {
            None => None,
            Some(_) if from_stdin => Some(Box::new(tokio::io::stdin())),
            Some(path) => Some(Box::new(tokio::fs::File::open(path).await?)),
        };
        Ok(Self { file: file.map(BufReader::new), errors, stdin: Arc::new(AtomicBool::new(from_stdin)) })
    }

    fn keys(self, arguments: Vec<String>) -> impl Stream<Item = String> + Send + 'static {
        stream::iter(arguments).chain(self.lines().map(|(_, line)| line))
    }

    fn pairs(self, arguments: Vec<OsString>) -> impl Stream<Item = (String, PathBuf)> + Send + 'static {
        let mut arguments = arguments.into_iter();
        let from_arguments = std::iter::from_fn(move || Some((arguments.next()?, arguments.next()?)));
        let errors = Arc::clone(&self.errors);
        let from_arguments = stream::iter(from_arguments).filter_map(move |(key, file)| {
            let key = key
                .into_string()
                .map_err(|key| errors.report(None, &Problem::Local(format!("the key {key:?} is not UTF-8"))));
            std::future::ready(key.ok().map(|key| (key, PathBuf::from(file))))
        });
        let errors = Arc::clone(&self.errors);
        let from_lines = self.lines().filter_map(move |(number, line)| {
            let pair = line.split_once('\t').map(|(key, file)| (key.to_owned(), PathBuf::from(file)));
            if pair.is_none() {
                errors
                    .report(None, &Problem::Local(format!("--keys-from, line {number}: no tab between key and file")));
            }
            std::future::ready(pair)
        });
        from_arguments.chain(from_lines)
    }

    /// The lines of `--keys-from` that are not empty, with their numbers, as they are asked for.
    fn lines(self) -> BoxStream<'static, (u64, String)> {
        let Self { file: Some(file), errors, .. } = self else { return stream::empty().boxed() };
        let lines = stream::unfold((file, 0, errors), |(mut file, mut number, errors)| async move {
            loop {
                number += 1;
                let mut line = Vec::new();
                match file.read_until(b'\n', &mut line).await {
                    Ok(0) => return None,
                    Ok(_) => {}
                    Err(error) => {
                        errors.report(None, &Problem::Local(format!("--keys-from, line {number}: {error}")));
                        return None;
                    }
                }
                if line.last() == Some(&b'\n') {
                    line.pop();
                }
                match String::from_utf8(line) {
                    Ok(line) if line.is_empty() => {}
                    Ok(line) => return Some(((number, line), (file, number, errors))),
                    Err(_) => errors.report(None, &Problem::Local(format!("--keys-from, line {number}: not UTF-8"))),
                }
            }
        });
        lines.boxed()
    }
}

/// A file, or stdin unless that is taken; read while it is stored, however long it is.
fn value(file: &Path, taken: bool) -> Result<PutValue, Problem> {
    match file.to_str() {
        Some("-") if taken => Err(Problem::Local("stdin (-) can be read once".to_owned())),
        Some("-") => Ok(PutValue::reader(tokio::io::stdin())),
        _ => Ok(PutValue::file(file)),
    }
}

/// Moves the local copy to its place below `directory`.
async fn write_below(directory: &Path, key: &str, object: S3Object) -> Result<PathBuf, Problem> {
    let path = match relative_path(key) {
        Ok(relative) => directory.join(relative),
        Err(reason) => return Err(Problem::Local(format!("the key {key:?} is refused: {reason}"))),
    };
    if let Some(parent) = path.parent() {
        let made = tokio::fs::create_dir_all(parent).await;
        made.map_err(|error| Problem::Local(format!("{}: {}: {error}", object.url(), parent.display())))?;
    }
    object.persist(&path).await.map_err(Problem::S3)?;
    Ok(path)
}

/// Where a key goes below `--out`: each segment of it is one plain name, so that it cannot lead out.
fn relative_path(key: &str) -> Result<PathBuf, &'static str> {
    let path = key.strip_prefix("s3://").unwrap_or(key);
    if path.starts_with('/') {
        return Err("it is absolute");
    }
    path.split('/')
        .map(|segment| {
            let mut components = Path::new(segment).components();
            match (segment, components.next(), components.next()) {
                ("", ..) => Err("a segment is empty"),
                ("." | "..", ..) => Err("a segment is . or .."),
                (_, Some(Component::Normal(name)), None) if name == segment && !segment.contains('\0') => Ok(name),
                _ => Err("a segment is no file name"),
            }
        })
        .collect::<Result<PathBuf, _>>()
}

/// Nothing panics while it holds the lock.
fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
