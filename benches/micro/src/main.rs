//! Instructions that s3flow's hot pieces take, counted by valgrind and compared with a baseline. The command is `run` beside this
//! crate; `benches/README.md` says how it works.

mod baseline;
mod count;
mod environment;
mod whole;

use std::error::Error;
use std::path::PathBuf;

use clap::{Parser, Subcommand};
use s3flow::bench::{CASES, Case};

use self::baseline::Baseline;
use self::environment::Environment;

type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

#[derive(Parser)]
#[command(about, args_conflicts_with_subcommands = true)]
struct Arguments {
    /// The cases to count; without any, all.
    #[arg(conflicts_with = "update")]
    cases: Vec<String>,
    #[arg(long, default_value = "benches/micro/baseline.json")]
    baseline: PathBuf,
    /// Write the baseline in place of comparing with it.
    #[arg(long)]
    update: bool,
    /// Count each case so often, and say how far the figures are apart.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,
    #[command(subcommand)]
    role: Option<Role>,
}

/// What valgrind runs, and what a profiler may.
#[derive(Subcommand)]
enum Role {
    /// Do the work of a case: once, and then so often.
    Case { name: String, times: u32 },
    /// Print the features of the processor as they are seen.
    Features,
}

fn main() -> Result<()> {
    let Arguments { cases, baseline, update, repeat, role } = Arguments::parse();
    match role {
        Some(Role::Case { name, times }) => return work(case(&name)?, times),
        Some(Role::Features) => {
            println!("{}", environment::features().join(" "));
            return Ok(());
        }
        None => {}
    }
    let chosen = match cases.is_empty() {
        true => all(),
        false => cases.iter().map(|name| case(name)).collect::<Result<_>>()?,
    };
    let environment = Environment::here()?;
    let counted = count::all(&chosen, repeat)?;
    if repeat > 1 {
        baseline::print_spread(&counted);
    }
    if update {
        return Baseline::of(environment, &counted).write(&baseline);
    }
    Baseline::read(&baseline)?.compare(&environment, &counted, cases.is_empty())
}

fn all() -> Vec<Case> {
    CASES.into_iter().chain(whole::CASES).collect()
}

fn case(name: &str) -> Result<Case> {
    let names = || all().iter().map(|case| case.name).collect::<Vec<_>>().join(", ");
    all()
        .into_iter()
        .find(|case| case.name == name)
        .ok_or_else(|| format!("no case {name:?}; there are: {}", names()).into())
}

/// The first time may make what the later ones find.
fn work(case: Case, times: u32) -> Result<()> {
    let mut work = (case.prepare)();
    work();
    for _ in 0..times {
        work();
    }
    Ok(())
}
