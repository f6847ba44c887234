//! The pages of `docs` that name tests are kept to the sources.

use std::collections::BTreeSet;
use std::path::Path;

const PARITY: &str = include_str!("../../docs/metaflow-parity.md");
const SECURITY: &str = include_str!("../../SECURITY.md");
const RELIABILITY: &str = include_str!("../../docs/reliability.md");

/// The names of all tests, of the cases for every server, of the operations that are dropped everywhere (with their module),
/// and of the observations of Metaflow.
fn names() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut names = BTreeSet::new();
    for folder in ["src", "tests/it"] {
        visit(&root.join(folder), &mut names);
    }
    macro_rules! cases {
        ($($module:ident::$case:ident),* $(,)?) => { [$(stringify!($case)),*] };
    }
    names.extend(crate::cases::every_case!(cases).map(str::to_owned));
    names.extend(dropped_everywhere(include_str!("cancellation.rs")));
    let defects = std::fs::read_to_string(root.join("tests/interop/defects")).unwrap();
    names.extend(observed(&defects).map(str::to_owned));
    names
}

/// The operations that the tests of `cancellation` are made of.
fn dropped_everywhere(source: &str) -> impl Iterator<Item = String> {
    let list = source.split("\ndropped_everywhere! {").nth(1).and_then(|rest| rest.split('}').next()).unwrap();
    list.split_whitespace().map(|name| format!("cancellation::{name}"))
}

/// The functions that `tests/interop/defects` runs.
fn observed(script: &str) -> impl Iterator<Item = &str> {
    script.split("@defect\ndef ").skip(1).map(|rest| rest.split('(').next().unwrap())
}

fn visit(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            visit(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            for attribute in ["#[test]", "#[tokio::test"] {
                for rest in text.split(attribute).skip(1) {
                    let name = rest.split("fn ").nth(1).and_then(|rest| rest.split('(').next());
                    names.extend(name.map(str::to_owned));
                }
            }
        }
    }
}

/// The rows of a page's tables that have a column `test`, and what stands in it.
fn rows(page: &str) -> Vec<(&str, Vec<&str>)> {
    let mut rows = Vec::new();
    let mut column = None;
    for line in page.lines() {
        if !line.starts_with('|') {
            column = None;
            continue;
        }
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        match column {
            None => column = cells.iter().position(|cell| *cell == "test").or(Some(usize::MAX)),
            Some(_) if line.starts_with("|-") => {}
            Some(usize::MAX) => {}
            Some(column) => rows.push((line, quoted(cells.get(column).copied().unwrap_or("")))),
        }
    }
    rows
}

fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// Each of the rows, at least so many, names tests, all of which there are.
fn check(page: &str, least: usize) {
    let names = names();
    let rows = rows(page);
    assert!(rows.len() >= least, "{} rows", rows.len());
    for (row, tests) in rows {
        assert!(!tests.is_empty(), "no test in: {row}");
        for test in tests {
            assert!(names.contains(test), "there is no test {test}, of: {row}");
        }
    }
}

#[test]
fn every_row_of_the_parity_page_names_tests_that_there_are() {
    check(PARITY, 100);
}

#[test]
fn every_promise_of_the_reliability_page_names_tests_that_there_are() {
    check(RELIABILITY, 70);
}

#[test]
fn every_rule_of_the_security_page_names_tests_that_there_are() {
    check(SECURITY, 11);
}

/// A test that is told of beside the tables has a name as no function, field or setting has.
#[test]
fn what_looks_like_a_test_on_the_reliability_page_is_one() {
    let names = names();
    let words = |name: &str| name.split('_').count();
    let is_plain = |name: &str| name.chars().all(|character| matches!(character, 'a'..='z' | '0'..='9' | '_'));
    for name in RELIABILITY.lines().flat_map(quoted).filter(|name| is_plain(name) && words(name) > 4) {
        assert!(names.contains(name), "there is no test {name}");
    }
}

#[test]
fn every_observation_of_metaflow_is_on_the_parity_page() {
    let defects = include_str!("../interop/defects");
    let names: Vec<&str> = observed(defects).collect();
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        assert!(PARITY.contains(&format!("`{name}`")), "{name}");
    }
}
