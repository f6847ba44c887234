//! The outcome of every case, and the table of them.

use std::fmt::{self, Write as _};
use std::io::Write as _;

/// Who wrote and who read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    ToRust,
    ToPython,
    /// The same objects, read by both.
    Both,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::ToRust => "Metaflow -> s3flow",
            Self::ToPython => "s3flow -> Metaflow",
            Self::Both => "both read the same",
        })
    }
}

#[derive(Default)]
pub(super) struct Table {
    rows: Vec<Row>,
}

struct Row {
    direction: Direction,
    case: String,
    outcome: Result<(), String>,
}

/// What was wrong in a case.
#[derive(Default)]
pub(super) struct Differences(Vec<String>);

impl Differences {
    pub(super) fn equal<T: fmt::Debug + PartialEq<U>, U: fmt::Debug>(&mut self, what: &str, seen: T, expected: U) {
        if seen != expected {
            self.0.push(format!("{what}: {} instead of {}", short(&seen), short(&expected)));
        }
    }

    /// The value, or that there was an error instead.
    pub(super) fn value<T, E: fmt::Debug>(&mut self, what: &str, outcome: Result<T, E>) -> Option<T> {
        outcome.map_err(|error| self.0.push(format!("{what}: {error:?}"))).ok()
    }
}

fn short(value: &impl fmt::Debug) -> String {
    let text = format!("{value:?}");
    if text.chars().count() > 200 { format!("{}…", text.chars().take(200).collect::<String>()) } else { text }
}

impl Table {
    pub(super) fn case(&mut self, direction: Direction, case: impl Into<String>, check: impl FnOnce(&mut Differences)) {
        let mut differences = Differences::default();
        check(&mut differences);
        self.close(direction, case, differences);
    }

    pub(super) fn close(&mut self, direction: Direction, case: impl Into<String>, differences: Differences) {
        let outcome = if differences.0.is_empty() { Ok(()) } else { Err(differences.0.join("; ")) };
        self.rows.push(Row { direction, case: case.into(), outcome });
    }

    /// Prints the table, also of a test that passes, and panics when a case failed.
    pub(super) fn conclude(self) {
        let mut text = String::new();
        for (number, Row { direction, case, outcome }) in (1..).zip(&self.rows) {
            let result =
                outcome.as_ref().map_or_else(|differences| format!("FAILED: {differences}"), |()| "ok".to_owned());
            writeln!(text, "{number:>4}  {direction:<18}  {case:<80}  {result}").unwrap();
        }
        let passed = self.rows.iter().filter(|row| row.outcome.is_ok()).count();
        writeln!(text, "interop: {passed} of {} cases passed", self.rows.len()).unwrap();
        // Not by print!, which a passing test keeps to itself.
        std::io::stderr().write_all(text.as_bytes()).unwrap();
        assert!(self.rows.len() >= 200, "cases are missing");
        assert_eq!(passed, self.rows.len(), "interop cases failed; see the table");
    }
}
