//! What a client is asked to do, from its environment, and what it tells; the contract is in `../README.md`.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Instant;

pub type Error = Box<dyn std::error::Error + Send + Sync>;
pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op {
    Idle,
    Get,
    Put,
    List,
    Head,
    Ranges,
    Threes,
}

impl FromStr for Op {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Ok(match name {
            "idle" => Self::Idle,
            "get" => Self::Get,
            "put" => Self::Put,
            "list" => Self::List,
            "head" => Self::Head,
            "ranges" => Self::Ranges,
            "threes" => Self::Threes,
            _ => return Err(format!("BENCH_OP is {name}")),
        })
    }
}

#[derive(Clone, Debug)]
pub struct Job {
    pub op: Op,
    pub endpoint: String,
    pub bucket: String,
    /// Of every key; ends with a `/`.
    pub prefix: String,
    pub count: u64,
    /// Of each object, or of each range, in bytes; 0 where they differ.
    pub size: u64,
    pub concurrency: usize,
    /// Where downloads go, and where the files are that are uploaded.
    pub directory: PathBuf,
    /// Whether this run is checked: downloads have to be `directory/{index:08}` in its end, and listed keys are written down.
    pub verify: bool,
    pub region: String,
    pub access_key_id: String,
    pub secret_access_key: String,
}

impl Job {
    pub fn from_env() -> Result<Self> {
        Ok(Self {
            op: variable("BENCH_OP")?.parse()?,
            endpoint: variable("BENCH_ENDPOINT")?,
            bucket: variable("BENCH_BUCKET")?,
            prefix: variable("BENCH_PREFIX")?,
            count: variable("BENCH_COUNT")?.parse()?,
            size: variable("BENCH_SIZE")?.parse()?,
            concurrency: variable("BENCH_CONCURRENCY")?.parse()?,
            directory: variable("BENCH_DIR")?.into(),
            verify: variable("BENCH_VERIFY")? == "1",
            region: variable("AWS_REGION")?,
            access_key_id: variable("AWS_ACCESS_KEY_ID")?,
            secret_access_key: variable("AWS_SECRET_ACCESS_KEY")?,
        })
    }

    pub fn name(&self, index: u64) -> String {
        format!("{index:08}")
    }

    pub fn key(&self, index: u64) -> String {
        format!("{}{index:08}", self.prefix)
    }

    pub fn file(&self, index: u64) -> PathBuf {
        self.directory.join(self.name(index))
    }

    /// Where the range of this number begins, in an object of 1 GiB: all over it, and none twice.
    pub fn offset(&self, index: u64) -> u64 {
        index * 2_654_435_761 % ((1 << 30) / self.size) * self.size
    }

    /// The batch of this number, for [`Op::Threes`].
    pub fn three(&self, batch: u64) -> [u64; 3] {
        [0, 1, 2].map(|index| (batch * 3 + index) % 10_000)
    }

    /// An error unless it is the size that was asked for.
    pub fn check_size(&self, size: u64) -> Result<()> {
        match self.size == 0 || self.size == size {
            true => Ok(()),
            false => Err(format!("{size} bytes in place of {}", self.size).into()),
        }
    }

    pub fn check_count(&self, count: u64) -> Result<()> {
        match self.count == count {
            true => Ok(()),
            false => Err(format!("{count} items in place of {}", self.count).into()),
        }
    }

    /// For [`Op::List`] in a run that is checked.
    pub fn write_keys(&self, keys: &[String]) -> Result<()> {
        Ok(std::fs::write(self.directory.join("keys"), keys.join("\n"))?)
    }
}

fn variable(name: &str) -> Result<String> {
    std::env::var(name).map_err(|error| format!("{name}: {error}").into())
}

/// The time until the first item of a batch.
pub struct First {
    start: Instant,
    first: Option<f64>,
}

impl First {
    /// The batch is asked for now.
    #[expect(clippy::new_without_default, reason = "it begins to count")]
    pub fn new() -> Self {
        Self { start: Instant::now(), first: None }
    }

    pub fn item(&mut self) {
        self.first.get_or_insert_with(|| self.start.elapsed().as_secs_f64());
    }

    pub fn print(self) {
        if let Some(seconds) = self.first {
            println!("{}", serde_json::json!({ "first": seconds }));
        }
    }
}

/// How long each batch took, in seconds.
pub fn print_batches(batches: &[f64]) {
    println!("{}", serde_json::json!({ "batches": batches }));
}

/// Works in a task of a runtime as `#[tokio::main]` makes it, where a service's handlers run too, and ends the process
/// without running what values do when they are dropped: what a batch has downloaded stays until then.
pub fn run<F>(work: F) -> Result<()>
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async { tokio::spawn(work).await? })?;
    std::process::exit(0);
}
