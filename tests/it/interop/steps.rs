//! `examples/metaflow_run.rs` as a step between two of Python.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::process::Command;

use super::Interop;
use super::peer::{bytes, python, said};
use super::table::{Direction, Table};
use crate::shell::example;

const RUN: &str = "TextFlow/77";

pub(super) async fn cases(interop: &Interop, table: &mut Table) {
    let theirs = interop.peer.s3(json!({"run": python("run", RUN)}));
    let every_byte: Vec<u8> = (0..=255).collect();
    let texts: [(&str, &[u8], Option<Value>, usize); 4] = [
        ("a.txt", "eins\nzwei\n".as_bytes(), Some(json!({"language": "de"})), 2),
        ("dir one/ü.txt", "un\ndeux\ntrois".as_bytes(), Some(json!({"名": ["é", 1, 2.5, null, {"a": []}]})), 3),
        ("bytes.bin", &every_byte, None, 2),
        ("empty", b"", Some(json!({"empty": true})), 0),
    ];
    let stored = texts.iter().map(|(key, value, metadata, _)| {
        python("put", json!({"key": key, "value": bytes(value), "metadata": metadata}))
    });
    theirs.call("put_many", json!({"key_objs": stored.collect::<Vec<_>>()})).await.unwrap();

    // The environment is Metaflow's, and so is the configuration.
    let mut step = Command::new(example("metaflow_run"));
    let step = step.arg(RUN).stdin(Stdio::null()).kill_on_drop(true).output().await.unwrap();
    let told = String::from_utf8_lossy(&step.stdout).into_owned();
    table.case(Direction::ToRust, "a step in Rust: get_all of a run that Python stored", |case| {
        case.equal("errors", String::from_utf8_lossy(&step.stderr), "");
        case.equal("status", step.status.code(), Some(0));
        for (key, _, _, lines) in &texts {
            let line = format!("{}/{key} has {lines} lines", interop.root(&format!("runs/{RUN}")));
            case.equal(&line, told.lines().any(|told| told == line), true);
        }
    });

    let read = theirs.many("get_all", json!({"return_info": true})).await.unwrap();
    table.case(Direction::ToPython, "a step in Rust: what it stored, by get_all(return_info=True)", |case| {
        case.equal("objects", read.len(), 2 * texts.len());
        for (key, value, metadata, lines) in &texts {
            let count = json!({"bytes": value.len(), "lines": lines}).to_string();
            for (key, value) in [((*key).to_owned(), *value), (format!("counts/{key}"), count.as_bytes())] {
                let found = read.iter().find(|object| object.key == key);
                let Some(object) = case.value("get_all", found.ok_or(&key)) else { continue };
                case.equal(&key, object.blob.as_ref(), Some(&said(value)));
                case.equal(&format!("metadata of {key}"), object.metadata.as_ref(), metadata.as_ref());
            }
        }
    });
}
