//! The baseline: the figures of an earlier state, which is a file of the repository or of a moment.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::count::Counted;
use crate::environment::Environment;

/// A change by more is to be seen: of its baseline.
const TOLERANCE: f64 = 0.1;

#[derive(Serialize, Deserialize)]
pub(crate) struct Baseline {
    environment: Environment,
    /// Of one call of each case's work.
    instructions: BTreeMap<String, u64>,
}

impl Baseline {
    pub(crate) fn of(environment: Environment, counted: &[Counted]) -> Self {
        let instructions = counted.iter().map(|one| (one.name.to_owned(), one.least())).collect();
        Self { environment, instructions }
    }

    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()).into())
    }

    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        println!("{} cases written to {}", self.instructions.len(), path.display());
        Ok(())
    }

    /// Prints the figures beside these, and fails when one has grown, or has nothing to be compared with. When `all` cases
    /// were counted, each of these must be one of them.
    pub(crate) fn compare(&self, environment: &Environment, counted: &[Counted], all: bool) -> Result<()> {
        let differences = environment.differences(&self.environment);
        println!("| case | instructions | baseline | change |\n|---|---|---|---|");
        let (mut wrong, mut better) = (Vec::new(), Vec::new());
        for one in counted {
            let (name, now) = (one.name, one.least());
            let Some(&before) = self.instructions.get(name) else {
                println!("| {name} | {} | | |", grouped(now));
                wrong.push(format!("{name} is not in the baseline"));
                continue;
            };
            let change = now as f64 / before as f64 - 1.0;
            let figures = format!("{} | {}", grouped(now), grouped(before));
            if !differences.is_empty() {
                println!("| {name} | {figures} | NOT COMPARED |");
                continue;
            }
            println!("| {name} | {figures} | {:+.1} % |", 100.0 * change);
            if change > TOLERANCE {
                let grown = format!("{name} takes {} instructions, {:+.1} %", grouped(now), 100.0 * change);
                wrong.push(format!("{grown}; the baseline is {}", grouped(before)));
            } else if change < -TOLERANCE {
                better.push(name);
            }
        }
        let gone = self.instructions.keys().filter(|name| all && counted.iter().all(|one| one.name != **name));
        wrong.extend(gone.map(|name| format!("{name} is in the baseline and no case")));
        if !differences.is_empty() {
            println!("\nNOT COMPARED: the baseline was counted elsewhere, and the same code has other figures here");
            differences.iter().for_each(|difference| println!("    {difference}"));
            println!("To count a commit here and compare with that: benches/micro/run --against COMMIT");
        }
        if !better.is_empty() {
            println!("\nFewer by more than {:.0} %: {}", 100.0 * TOLERANCE, better.join(", "));
            println!("To keep that: benches/micro/run --update");
        }
        match wrong.is_empty() {
            true => Ok(()),
            false => Err(format!("{}. When it is meant: benches/micro/run --update", wrong.join("; ")).into()),
        }
    }
}

pub(crate) fn print_spread(counted: &[Counted]) {
    println!("| case | least | most | apart |\n|---|---|---|---|");
    for one in counted {
        let (least, most) = (one.least(), one.most());
        let apart = 100.0 * (most as f64 / least as f64 - 1.0);
        println!("| {} | {} | {} | {apart:.3} % |", one.name, grouped(least), grouped(most));
    }
    println!();
}

/// `12,345`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
