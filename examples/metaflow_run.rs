//! Beside a Metaflow flow: reads what a Python step stored for a run, and stores what the next step reads.
//!
//! ```text
//! cargo run --example metaflow_run                  # plays both sides on an S3 server inside this process
//! cargo run --example metaflow_run -- TextFlow/1234
//! ```
//!
//! Around it, in Python:
//!
//! ```text
//! with S3(run=self) as s3:
//!     s3.put_many([S3PutObject(key="a.txt", value=text, metadata={"language": "de"})])
//! …
//! with S3(run=run) as s3:
//!     for count in s3.get_recursive(["counts"], return_info=True):
//!         print(count.key, count.metadata["language"], json.loads(count.blob)["lines"])
//! ```
//!
//! For a run that is named, the place is Metaflow's own: `METAFLOW_DATATOOLS_S3ROOT` and `METAFLOW_S3_ENDPOINT_URL` of the
//! environment or of `~/.metaflowconfig/config.json`, with the credentials of `AWS_*`.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser;
use s3flow::testing::S3Server;
use s3flow::{S3, S3PutObject};
use serde_json::json;

type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

/// What this step stores is below it.
const COUNTS: &str = "counts/";

/// Counts the lines of each text that a run has, and stores each count for the next step.
#[derive(Parser)]
struct Options {
    /// Whose texts; without it, both steps around this one are played
    #[arg(value_name = "Flow/RunId")]
    run: Option<String>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let failed = |status, error| {
        let _ = writeln!(std::io::stderr(), "metaflow_run: {error}");
        ExitCode::from(status)
    };
    let done = match Options::parse().run {
        Some(run) => match S3::builder().run(run).build() {
            Ok(s3) => count_lines(&s3).await,
            Err(error) => return failed(2, error.into()),
        },
        None => both_sides().await,
    };
    done.map_or_else(|error| failed(1, error), |()| ExitCode::SUCCESS)
}

/// The step.
async fn count_lines(s3: &S3) -> Result<()> {
    let mut counts = Vec::new();
    for text in s3.get_all().return_info(true).await? {
        if text.key().starts_with(COUNTS) {
            // The step ran before.
            continue;
        }
        let lines = text.blob().await?.split_inclusive(|byte| *byte == b'\n').count();
        say(format_args!("{} has {lines} lines", text.url()))?;
        let count = json!({ "lines": lines, "bytes": text.size() }).to_string();
        let count = S3PutObject::new(format!("{COUNTS}{}", text.key()), count).content_type("application/json");
        // JSON of any kind, as Python wrote it.
        counts.push(text.metadata().cloned().into_iter().fold(count, S3PutObject::metadata));
    }
    if counts.is_empty() {
        return Err(format!("there is no text below {}", s3.s3root().unwrap_or_default()).into());
    }
    for receipt in s3.put_many(counts).await? {
        say(format_args!("stored {}", receipt.url()))?;
    }
    s3.close().await?;
    Ok(())
}

async fn both_sides() -> Result<()> {
    let server = S3Server::start().await?;
    let client = server.client_builder().build()?;
    let scope = || client.s3().run("TextFlow/1234").bucket("bucket").prefix("metaflow/data").build();

    let before = scope()?;
    let text = |key, value, language| S3PutObject::new(key, value).metadata([("language", language)]);
    before.put_many([text("a.txt", "eins\nzwei\n", "de"), text("b.txt", "un\ndeux\ntrois", "fr")]).await?;
    before.close().await?;

    count_lines(&scope()?).await?;

    let next = scope()?;
    for count in next.get_recursive([COUNTS]).return_info(true).await? {
        let language = count.metadata().and_then(|metadata| metadata.get("language")).cloned().unwrap_or_default();
        say(format_args!("the next step reads of {} in {language}: {}", count.key(), count.text().await?))?;
    }
    next.close().await?;
    Ok(())
}

/// `println!` would panic when nobody reads any more.
fn say(line: std::fmt::Arguments<'_>) -> Result<()> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}
