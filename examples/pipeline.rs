//! Lists, fetches, transforms and puts back, each object on its way as soon as it can be, and never more than a few at a time.
//!
//! ```text
//! cargo run --release --example pipeline                    # 20,000 objects on an S3 server inside this process
//! cargo run --release --example pipeline -- --objects 500
//! ```

use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use indicatif::{ProgressBar, ProgressStyle};
use s3flow::testing::S3Server;
use s3flow::{Progress, S3, S3Object};

type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

/// Counts the words of many texts, and stores each count beside its text.
#[derive(Parser)]
struct Options {
    /// How many texts
    #[arg(long, default_value_t = 20_000)]
    objects: usize,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "pipeline: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(Options { objects }: Options) -> Result<()> {
    let server = S3Server::builder().bucket("bucket").log(false).start().await?;
    let s3 = server.client_builder().build()?.s3().s3root("s3://bucket").build()?;
    let texts = stream::iter((0..objects).map(|n| (format!("texts/{n:06}.txt"), "word ".repeat(n % 100))));
    s3.put_from(texts).try_for_each(|_| async { Ok(()) }).await?;

    let begun = Instant::now();
    let (stored, words) = count_words(&s3, objects as u64).await?;
    let expected = (0..objects).map(|n| n % 100).sum::<usize>();
    if (stored, words) != (objects, expected) {
        return Err(format!("{words} words in {stored} texts, in place of {expected} in {objects}").into());
    }
    let rate = stored as f64 / begun.elapsed().as_secs_f64();
    writeln!(std::io::stdout(), "{words} words in {stored} texts, {rate:.0} texts/s")?;
    s3.close().await?;
    Ok(())
}

/// How many texts there were, and how many words in them.
async fn count_words(s3: &S3, expected: u64) -> Result<(usize, usize)> {
    // Nothing here waits for the end of the step before it: the listing runs while the first objects are fetched, and these while
    // the first counts are stored. A slow step holds up those before it, so that neither disk nor memory fills.
    let texts = s3.get_from(s3.list_recursive(["texts"]));
    let counted = texts.map_ok(count).try_buffer_unordered(16);
    let mut stored = s3.put_from(counted);
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} {per_sec}")?;
    let shown = tokio::spawn(show(stored.progress(), ProgressBar::new(expected).with_style(style)));
    let mut texts = 0;
    while stored.try_next().await?.is_some() {
        texts += 1;
    }
    shown.await?;

    let counts = s3.get_from(s3.list_recursive(["counts"]));
    let words = counts.try_fold(0, |sum, count| async move {
        let count: usize = count.text().await?.parse().map_err(s3flow::Error::other)?;
        Ok(sum + count)
    });
    Ok((texts, words.await?))
}

/// Shows how far an operation has come, until it has ended.
async fn show(progress: Progress, bar: ProgressBar) {
    let mut updates = progress.updates(Duration::from_millis(100));
    while let Some(now) = updates.next().await {
        if let Some(total) = now.items_total {
            bar.set_length(total);
        }
        bar.set_position(now.items);
    }
    bar.finish_and_clear();
}

/// The key and the value of a text's count. The text's file goes with `text`, at the end.
async fn count(text: S3Object) -> s3flow::Result<(String, String)> {
    let words = text.text().await?.split_whitespace().count();
    Ok((format!("counts/{}", text.key()), words.to_string()))
}
