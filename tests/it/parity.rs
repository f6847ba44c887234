//! `docs/metaflow-parity.md` is kept to the sources.

use std::collections::BTreeSet;
use std::path::Path;

const PAGE: &str = include_str!("../../docs/metaflow-parity.md");

/// The names of all tests, of the cases for every server, and of the observations of Metaflow.
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
    let defects = std::fs::read_to_string(root.join("tests/interop/defects")).unwrap();
    names.extend(observed(&defects).map(str::to_owned));
    names
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

/// The rows of the page's tables that have a column `test`, and what stands in it.
fn rows() -> Vec<(&'static str, Vec<&'static str>)> {
    let mut rows = Vec::new();
    let mut column = None;
    for line in PAGE.lines() {
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

fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

#[test]
fn every_row_of_the_parity_page_names_tests_that_there_are() {
    let names = names();
    let rows = rows();
    assert!(rows.len() > 100, "{} rows", rows.len());
    for (row, tests) in rows {
        assert!(!tests.is_empty(), "no test in: {row}");
        for test in tests {
            assert!(names.contains(test), "there is no test {test}, of: {row}");
        }
    }
}

#[test]
fn every_observation_of_metaflow_is_on_the_parity_page() {
    let defects = include_str!("../interop/defects");
    let names: Vec<&str> = observed(defects).collect();
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        assert!(PAGE.contains(&format!("`{name}`")), "{name}");
    }
}
