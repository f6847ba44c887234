//! `docs/troubleshooting.md` has every message of the library, and no other.
//!
//! A message is a literal with words in it, wherever it becomes an error: a text is often made in one place and its error in
//! another. So every such literal of the sources counts, but for those for programmers and those that are named here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use s3flow::testing::{Fault, Operation};
use s3flow::{Client, Error, Limits, RetryPolicy, S3, S3GetObject};

use crate::support::Fixture;

const PAGE: &str = include_str!("../../docs/troubleshooting.md");

/// What stands for anything, in the page and in literals.
const HOLE: &str = "…";

/// Literals with words that nobody meets as an error or a warning.
const NO_MESSAGES: [&str; 15] = [
    // Documents, headers and signatures.
    "<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">",
    "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">",
    "AWS4-HMAC-SHA256 Credential=",
    ", SignedHeaders=",
    ", Signature=",
    "%a, %d %b %Y %H:%M:%S GMT",
    "GET, HEAD",
    "bytes ",
    "bytes …-…/…",
    "bytes */…",
    " GMT",
    // What is no error.
    "a document that is not an error",
    "PutValue(… bytes)",
    "… of the parts",
    " at line ",
];

/// Calls whose texts are for programmers, for collectors, or for a log that is on only while somebody looks for something.
const FOR_PROGRAMMERS: [&str; 9] = [
    "describe_counter",
    "describe_gauge",
    "describe_histogram",
    "trace",
    "debug",
    "info",
    "panic",
    "unreachable",
    "expect",
];

#[test]
fn the_page_has_every_message_and_no_other() {
    let literals = literals_of_the_library();
    let messages = messages_of(PAGE);

    let mut known = BTreeMap::new();
    let invented: Vec<_> = messages.iter().filter(|message| !is_made_of(message, &literals, &mut known)).collect();
    assert!(invented.is_empty(), "not in the sources, and in docs/troubleshooting.md: {invented:#?}");

    let unused: Vec<_> = NO_MESSAGES.iter().filter(|text| !literals.contains(**text)).collect();
    assert!(unused.is_empty(), "not in the sources any more: {unused:#?}");
    let has_words = |text: &&String| {
        let fixed = text.replace(HOLE, "");
        fixed.contains(' ') && fixed.chars().filter(|c| c.is_ascii_alphabetic()).count() > 1
    };
    let told = |text: &String| messages.iter().any(|message| contains(message, text));
    let missing: Vec<_> =
        literals.iter().filter(has_words).filter(|text| !NO_MESSAGES.contains(&text.as_str()) && !told(text)).collect();
    assert!(missing.is_empty(), "not in docs/troubleshooting.md: {missing:#?}");
}

#[tokio::test]
async fn a_message_stands_under_the_kind_of_its_error() {
    let errors = errors_of_many_kinds().await;
    let kinds: BTreeSet<String> = errors.iter().map(|error| error.kind().to_string()).collect();
    // All but `NotFound`, `AccessDenied` and `Throttled`, where the server has the word.
    assert_eq!(kinds.len(), 15, "{kinds:?}");
    for error in errors {
        let heading = format!("\n## {}\n", error.kind());
        let section = PAGE.split(&heading).nth(1).and_then(|rest| rest.split("\n## ").next());
        let told =
            messages_of(section.expect(&heading)).into_iter().any(|message| contains(&error.to_string(), message));
        assert!(told, "not under {}: {error}", error.kind());
    }
}

/// A directory with a file in it.
fn directory_of_another(tmproot: &Path) -> std::path::PathBuf {
    let directory = tmproot.join("thesis");
    std::fs::create_dir(&directory).unwrap();
    std::fs::write(directory.join("thesis.tex"), "text").unwrap();
    directory
}

async fn errors_of_many_kinds() -> Vec<Error> {
    let fixture = Fixture::new().await;
    let Fixture { server, s3, client, tmproot } = &fixture;
    server.put_object("bucket", "k", "text");
    server.put_object("bucket", "binary", vec![0xff; 100]);
    server.put_object("bucket", "damaged", "text");
    server.corrupt_object("bucket", "damaged", 0);
    let etag = "\"another\"";
    let small = client.s3().s3root("s3://bucket").limits(Limits::default().disk_bytes(10)).build().unwrap();
    let closed = client.s3().s3root("s3://bucket").build().unwrap();
    closed.close().await.unwrap();
    let impatient = server.client_builder().retry_policy(RetryPolicy::none());
    let nowhere = impatient.endpoint("http://127.0.0.1:1").build().unwrap().s3().s3root("s3://bucket").build().unwrap();

    let mut errors = vec![
        s3.get("").await.unwrap_err(),
        s3.get("k".repeat(2000)).await.unwrap_err(),
        s3.get("s3://bucket/k").await.unwrap_err(),
        client.s3().build().unwrap().get("k").await.unwrap_err(),
        client.s3().build().unwrap().info("s3://missing/k").await.unwrap_err(),
        S3::builder().s3root("bucket").build().unwrap_err(),
        s3.get(S3GetObject::new("k").length(0)).await.unwrap_err(),
        s3.copy(S3GetObject::new("k").length(1), "copy").await.unwrap_err(),
        s3.get("binary").await.unwrap().text().await.unwrap_err(),
        s3.info("k").await.unwrap().blob().await.unwrap_err(),
        s3.put("k", tmproot.path()).await.unwrap_err(),
        s3.put("k", tmproot.path().join("missing")).await.unwrap_err(),
        s3.put("k", "").metadata([("name", "x".repeat(3000))]).await.unwrap_err(),
        s3.put("k", "").if_match(etag).await.unwrap_err(),
        s3.delete(S3GetObject::new("k").if_match(etag)).await.unwrap_err(),
        s3.get("k").await.unwrap().persist(tmproot.path()).await.unwrap_err(),
        s3.get("damaged").await.unwrap_err(),
        s3.presign_get("k").expires_in(Duration::ZERO).await.unwrap_err(),
        small.get("binary").await.unwrap_err(),
        closed.get("k").await.unwrap_err(),
        nowhere.get("k").await.unwrap_err(),
        Client::builder().concurrency(0).build().unwrap_err(),
        Client::builder().endpoint("localhost:9000").build().unwrap_err(),
        Client::builder().limits(Limits::default().memory_bytes(1)).build().unwrap_err(),
        s3.get_all().journal(directory_of_another(tmproot.path())).await.unwrap_err(),
        Error::other("of the caller"),
    ];
    server.inject(Fault::html(200).operation(Operation::GetObject));
    server.inject(Fault::garbage_xml().operation(Operation::ListObjectsV2));
    errors.push(s3.get("k").await.unwrap_err());
    errors.push(s3.list_paths([""]).await.unwrap_err());
    server.hold();
    errors.push(s3.with_timeout(Duration::from_millis(1)).get("k").await.unwrap_err());
    server.release();
    errors
}

/// What stands in the first column of each table that has messages.
fn messages_of(page: &str) -> Vec<&str> {
    let mut messages = Vec::new();
    let mut in_messages = false;
    for line in page.lines() {
        let cell = line.strip_prefix("| ").and_then(|row| row.split(" |").next());
        match cell {
            Some("message") => in_messages = true,
            Some(cell) if in_messages => {
                let with_ticks = cell.strip_prefix("`` ").and_then(|cell| cell.strip_suffix(" ``"));
                messages.push(with_ticks.unwrap_or(cell.trim_matches('`')));
            }
            _ => in_messages &= line.starts_with('|'),
        }
    }
    messages
}

/// Whether `text` is a literal whose holes are filled with numbers, with other literals, or not at all.
fn is_made_of(text: &str, literals: &BTreeSet<String>, known: &mut BTreeMap<String, bool>) -> bool {
    if text == HOLE || text.bytes().all(|byte| byte.is_ascii_digit()) {
        return true;
    }
    if let Some(known) = known.get(text) {
        return *known;
    }
    let is = literals.iter().any(|literal| {
        let pieces: Vec<&str> = literal.split(HOLE).collect();
        // A literal of holes alone is anything.
        pieces.concat() != "" && fits(text, &pieces, literals, known)
    });
    known.insert(text.to_owned(), is);
    is
}

fn fits(text: &str, pieces: &[&str], literals: &BTreeSet<String>, known: &mut BTreeMap<String, bool>) -> bool {
    let Some(rest) = text.strip_prefix(pieces[0]) else { return false };
    let [_, next, ..] = pieces else { return rest.is_empty() };
    rest.match_indices(next)
        .any(|(end, _)| fits(&rest[end..], &pieces[1..], literals, known) && is_made_of(&rest[..end], literals, known))
}

/// Whether `literal` is somewhere in a message, with anything in its holes.
fn contains(message: &str, literal: &str) -> bool {
    let mut rest = Some(message);
    literal.split(HOLE).all(|piece| {
        rest = rest.and_then(|rest| rest.split_once(piece)).map(|(_, behind)| behind);
        rest.is_some()
    })
}

fn literals_of_the_library() -> BTreeSet<String> {
    let mut literals = BTreeSet::new();
    visit(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut literals);
    literals
}

fn visit(folder: &Path, literals: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && name != "testing" {
            visit(&path, literals);
        } else if name.ends_with(".rs") && !["bench.rs", "fuzzing.rs", "simulation.rs", "tests.rs"].contains(&name) {
            let source = std::fs::read_to_string(&path).unwrap();
            let mut scanner = Scanner { rest: &source, literals };
            while scanner.token(true).is_some() {}
        }
    }
}

/// Reads the literals of a source, but for those of attributes, of tests and of what is for programmers.
struct Scanner<'a> {
    rest: &'a str,
    literals: &'a mut BTreeSet<String>,
}

impl<'a> Scanner<'a> {
    /// Takes a token, and what belongs to it; gives its first character.
    fn token(&mut self, wanted: bool) -> Option<char> {
        let (source, first) = (self.rest, self.rest.chars().next()?);
        if source.starts_with("//") {
            self.take(source.find('\n').unwrap_or(source.len()));
        } else if source.starts_with("#[") || source.starts_with("#![") {
            self.take(source.find('[')?);
            self.group(false);
            let attribute = &source[..source.len() - self.rest.len()];
            if attribute.starts_with("#[cfg(") && attribute.contains("test") {
                while !matches!(self.rest.chars().next(), None | Some('{' | ';')) {
                    self.token(false);
                }
                self.group(false);
            }
        } else if source.starts_with("r\"") || source.starts_with("r#") {
            let hashes = source[1..].split('"').next()?;
            let start = hashes.len() + 2;
            let length = source[start..].find(&format!("\"{hashes}"))?;
            self.take(start + length + 1 + hashes.len());
            self.literal(&source[start..start + length], wanted);
        } else if first == '"' {
            let mut escaped = false;
            let length = source[1..].find(|c| {
                let ends = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                ends
            })?;
            self.take(length + 2);
            self.literal(&unescaped(&source[1..=length]), wanted);
        } else if first == '\'' {
            // Else it is a lifetime.
            let start = if source.starts_with(r"'\") { 3 } else { 1 + source[1..].chars().next()?.len_utf8() };
            let length = source[start..].find('\'').filter(|length| *length == 0 || start == 3);
            self.take(length.map_or(1, |length| start + length + 1));
        } else if first.is_alphabetic() || first == '_' {
            let word = source.split(|c: char| !c.is_alphanumeric() && c != '_').next()?;
            self.take(word.len());
            if FOR_PROGRAMMERS.contains(&word) && self.rest.trim_start_matches('!').starts_with('(') {
                self.group(false);
            }
        } else {
            self.take(first.len_utf8());
        }
        Some(first)
    }

    /// Takes tokens until all brackets are closed that are opened from here on.
    fn group(&mut self, wanted: bool) {
        let mut depth = 0;
        while let Some(first) = self.token(wanted) {
            match first {
                '(' | '[' | '{' => depth += 1,
                ')' | ']' | '}' => depth -= 1,
                ';' => {}
                _ => continue,
            }
            if depth == 0 {
                return;
            }
        }
    }

    fn take(&mut self, bytes: usize) {
        self.rest = &self.rest[bytes..];
    }

    fn literal(&mut self, text: &str, wanted: bool) {
        if wanted {
            self.literals.insert(with_holes(text));
        }
    }
}

/// A literal as it is compiled, as far as messages have escapes.
fn unescaped(source: &str) -> String {
    let lines: Vec<&str> = source.split("\\\n").collect();
    let rest = lines[1..].iter().map(|line| line.trim_start());
    lines[..1].iter().copied().chain(rest).collect::<String>().replace("\\\"", "\"")
}

/// A format with holes in place of what is filled in.
fn with_holes(format: &str) -> String {
    let mut text = String::new();
    let mut rest = format;
    while let Some((before, behind)) = rest.split_once('{') {
        text.push_str(before);
        text.push_str(HOLE);
        rest = behind.split_once('}').map_or("", |(_, behind)| behind);
    }
    text + rest
}
