//! Tests of your own code under faults: a function that publishes a report exactly once, and what becomes of it when answers
//! are lost, requests are throttled, a body breaks off, or its input is replaced while it reads.
//!
//! ```text
//! cargo run --example custom_faults     # every scenario, and what happened
//! cargo test custom_faults              # the tests at the end of this file
//! ```

use std::fmt;
use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser;
use s3flow::testing::{Fault, Operation, S3Server};
use s3flow::{PutOutcome, S3};

type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

/// The code under test: adds up what was sold on a day and publishes the total, unless somebody did so before.
async fn publish(s3: &S3, day: &str) -> s3flow::Result<PutOutcome> {
    let sales = s3.get(format!("sales/{day}.csv")).await?.text().await?;
    let mut total = 0;
    for line in sales.lines() {
        let amount = line.rsplit(',').next().unwrap_or_default();
        total += amount.parse::<u64>().map_err(s3flow::Error::other)?;
    }
    let receipt = s3.put(format!("totals/{day}"), total.to_string()).overwrite(false).await?;
    Ok(receipt.outcome())
}

/// Publishes each scenario's report twice, and tells what happened.
#[derive(Parser)]
struct Options {}

#[tokio::main]
async fn main() -> ExitCode {
    let Options {} = Options::parse();
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "custom_faults: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    let scenarios = [
        ("nothing goes wrong", vec![]),
        ("the answer to the PUT is lost", vec![lost_answer()]),
        ("reads and writes are throttled", throttling()),
        ("the body breaks off", vec![broken_body()]),
        ("the sales are replaced in between", replaced_in_between()),
    ];
    for (name, faults) in scenarios {
        let seen = publish_under(faults).await?;
        writeln!(std::io::stdout(), "{name}: {seen}")?;
    }
    Ok(())
}

fn lost_answer() -> Fault {
    Fault::lose_answer().operation(Operation::PutObject)
}

fn throttling() -> Vec<Fault> {
    let slow_down = |operation| Fault::status(503, "SlowDown").operation(operation).times(2);
    vec![slow_down(Operation::GetObject), slow_down(Operation::PutObject)]
}

fn broken_body() -> Fault {
    Fault::close_after(5_000).operation(Operation::GetObject)
}

/// The request for the rest of the broken body finds other sales.
fn replaced_in_between() -> Vec<Fault> {
    let other = sales(|_| 1);
    vec![broken_body(), Fault::replace_object(other).operation(Operation::GetObject).on_call(2)]
}

const DAY: &str = "2026-11-26";

/// A thousand sales.
fn sales(amount: impl Fn(u32) -> u32) -> String {
    (0..1_000).map(|n| format!("item {n},{}\n", amount(n))).collect()
}

/// What came of a scenario.
#[derive(Debug)]
struct Seen {
    first: s3flow::Result<PutOutcome>,
    /// Of the same call once more.
    second: s3flow::Result<PutOutcome>,
    published: Option<String>,
    /// Requests that met a fault.
    faults: usize,
    requests: usize,
}

/// Each scenario has a server of its own, so that all of them can run at a time.
async fn publish_under(faults: Vec<Fault>) -> Result<Seen> {
    let server = S3Server::start().await?;
    server.put_object("bucket", &format!("sales/{DAY}.csv"), sales(|n| n));
    for fault in faults {
        server.inject(fault);
    }
    let s3 = server.client_builder().build()?.s3().s3root("s3://bucket").build()?;
    let first = publish(&s3, DAY).await;
    let second = publish(&s3, DAY).await;
    s3.close().await?;
    let published = server.object("bucket", &format!("totals/{DAY}"));
    let published = published.map(|text| String::from_utf8_lossy(&text).into_owned());
    Ok(Seen { first, second, published, faults: server.faults_applied(), requests: server.log().len() })
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first, second, published, faults, requests } = self;
        let told = |outcome: &s3flow::Result<PutOutcome>| match outcome {
            Ok(outcome) => format!("{outcome:?}"),
            Err(error) => format!("{:?} ({error})", error.kind()),
        };
        let published = published.as_deref().unwrap_or("nothing");
        write!(f, "{}, then {}; the total is {published}; ", told(first), told(second))?;
        write!(f, "{faults} of {requests} requests met a fault")
    }
}

#[cfg(test)]
mod tests {
    use s3flow::ErrorKind;

    use super::*;

    /// Of 0 to 999.
    const TOTAL: &str = "499500";

    #[track_caller]
    fn assert_published_once(seen: &Seen) {
        assert_eq!(seen.first.as_ref().unwrap(), &PutOutcome::Created, "{seen}");
        assert_eq!(seen.second.as_ref().unwrap(), &PutOutcome::AlreadyExists, "{seen}");
        assert_eq!(seen.published.as_deref(), Some(TOTAL), "{seen}");
    }

    #[tokio::test]
    async fn a_report_is_published_once() {
        assert_published_once(&publish_under(vec![]).await.unwrap());
    }

    #[tokio::test]
    async fn a_report_whose_answer_was_lost_is_known_to_be_ours() {
        let seen = publish_under(vec![lost_answer()]).await.unwrap();
        assert_published_once(&seen);
        assert_eq!(seen.faults, 1, "{seen}");
    }

    #[tokio::test]
    async fn throttling_costs_time_alone() {
        let seen = publish_under(throttling()).await.unwrap();
        assert_published_once(&seen);
        assert_eq!(seen.faults, 4, "{seen}");
    }

    #[tokio::test]
    async fn no_sale_is_lost_with_a_connection() {
        let seen = publish_under(vec![broken_body()]).await.unwrap();
        assert_published_once(&seen);
        assert_eq!(seen.faults, 1, "{seen}");
    }

    #[tokio::test]
    async fn sales_that_are_replaced_meanwhile_are_never_mixed() {
        let seen = publish_under(replaced_in_between()).await.unwrap();
        assert_eq!(seen.first.as_ref().unwrap_err().kind(), ErrorKind::Changed, "{seen}");
        assert_eq!(seen.second.as_ref().unwrap(), &PutOutcome::Created, "{seen}");
        assert_eq!(seen.published.as_deref(), Some("1000"), "{seen}");
    }
}
