//! Compares the public API of s3flow with `s3flow.txt`, or writes that file. See `tests/public_api/run`.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use public_api::PublicApi;

const LISTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/s3flow.txt");

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let compared = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [json] => listing(json.as_ref()).and_then(|api| compare(&api)),
        [json, "--update"] => listing(json.as_ref()).and_then(|api| Ok(std::fs::write(LISTED, api)?)),
        _ => Err("usage: public_api RUSTDOC_JSON [--update]".into()),
    };
    match compared {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// One line for each public item, but for what every type has from blanket and auto-derived implementations.
fn listing(rustdoc_json: &Path) -> Result<String, Box<dyn Error>> {
    let api: PublicApi = public_api::Builder::from_rustdoc_json(rustdoc_json)
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .omit_auto_derived_impls(true)
        .build()?;
    let items = api.items().map(|item| format!("{item}\n"));
    // Modules of documents are there for documentation alone.
    Ok(items.filter(|item| !item.starts_with("pub mod s3flow::_")).collect())
}

fn compare(api: &str) -> Result<(), Box<dyn Error>> {
    if let Some(line) = api.lines().find(|line| line.contains("object_store")) {
        return Err(format!("object_store is part of the public API: {line}").into());
    }
    let listed = std::fs::read_to_string(LISTED).map_err(|error| format!("{LISTED}: {error}"))?;
    let (mut gone, mut new) = (String::new(), String::new());
    for line in listed.lines().filter(|line| !api.lines().any(|other| other == *line)) {
        gone.push_str(&format!("- {line}\n"));
    }
    for line in api.lines().filter(|line| !listed.lines().any(|other| other == *line)) {
        new.push_str(&format!("+ {line}\n"));
    }
    if gone.is_empty() && new.is_empty() {
        println!("{} public items, as listed", api.lines().count());
        return Ok(());
    }
    Err(format!("{gone}{new}The public API is not the listed one. If that is meant: tests/public_api/run --update")
        .into())
}
