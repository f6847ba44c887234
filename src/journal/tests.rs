use std::collections::HashMap;
use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::checksum::ChecksumAlgorithm;

fn job(operation: &'static str, target: &str) -> Job {
    Job { operation, targets: vec![target.to_owned()] }
}

fn open(directory: &Path) -> Result<Journal> {
    Journal::open_blocking(directory, &job("get", "s3://b/dir"))
}

fn problem(error: &Error) -> &JournalProblem {
    use std::error::Error as _;
    assert_eq!(error.kind(), ErrorKind::Journal, "{error}");
    error.source().and_then(|source| source.downcast_ref()).unwrap()
}

fn what(key: &str) -> What {
    What { url: format!("s3://b/dir/{key}"), range: None }
}

fn way(key: &str) -> Way {
    Way { url: format!("s3://b/dir/{key}"), path: format!("/data/{key}") }
}

fn content() -> Content {
    Content { size: 30, modified: "1.5".to_owned(), headers: "digest".to_owned() }
}

fn piece(offset: u64, length: u64) -> Piece {
    Piece { offset, length, sum: format!("sum of {offset}") }
}

/// Some of every note.
fn write_some(journal: &Journal) {
    let id = journal.begin_object(&what("large"), Path::new("/j/files/0-large.part"), "\"e\"", 30).unwrap();
    journal.wrote(id, piece(0, 10)).unwrap();
    journal.wrote(id, piece(20, 10)).unwrap();
    journal.wrote(id, piece(5, 6)).unwrap();
    let facts = Facts { etag: "\"f\"", size: 3, sum: "sum", verified: Some(Verified::Etag) };
    let whole = journal.whole(&what("small\n\"ü"), Path::new("1-small"), facts).unwrap();
    journal.moved(whole, Path::new("/data/small")).unwrap();
    let in_parts = InParts { upload_id: "upload".to_owned(), part_size: 10, checksum: Some(ChecksumAlgorithm::Crc32c) };
    let id = journal.begin_upload(&way("sent"), &content(), Some(in_parts), Some("write")).unwrap();
    journal.took(id, 2, "\"p\"", "sum of a part").unwrap();
    journal.begin_upload(&way("single"), &content(), None, None).unwrap();
    journal.stored(&way("done"), &content(), "\"d\"", "sum").unwrap();
}

type State = (HashMap<What, Got>, HashMap<Way, Sent>);

fn state(journal: &Journal) -> State {
    let book = journal.lock();
    (book.got.clone(), book.sent.clone())
}

/// The bytes of a journal with some notes, and what it says after each of its lines.
fn written() -> &'static (Vec<u8>, Vec<State>) {
    static WRITTEN: LazyLock<(Vec<u8>, Vec<State>)> = LazyLock::new(write_and_read);
    &WRITTEN
}

fn write_and_read() -> (Vec<u8>, Vec<State>) {
    let directory = tempfile::tempdir().unwrap();
    write_some(&open(directory.path()).unwrap());
    let bytes = fs::read(directory.path().join(LINES)).unwrap();
    let ends: Vec<usize> = (1..=bytes.len()).filter(|end| bytes[end - 1] == b'\n').collect();
    let after = |end: &usize| {
        let directory = with(&bytes[..*end]);
        state(&open(directory.path()).unwrap())
    };
    let states = ends.iter().map(after).collect();
    (bytes, states)
}

/// A directory with these lines.
fn with(lines: &[u8]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join(LINES), lines).unwrap();
    directory
}

#[test]
fn what_is_noted_is_there_when_it_is_opened_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("made/here");
    let journal = open(&path).unwrap();
    write_some(&journal);
    drop(journal);
    for name in ["0-large.part", "1-small", "2-orphan.part", "not ours"] {
        fs::write(path.join(FILES).join(name), "x").unwrap();
    }
    let journal = open(&path).unwrap();
    let mut left = names(&path.join(FILES)).unwrap();
    left.sort();
    assert_eq!(left, ["0-large.part", "1-small", "not ours"]);
    assert_eq!(journal.first_free(), 3);
    let Some(Got::Partial(partial)) = journal.take_got(&what("large")) else { panic!() };
    assert_eq!(journal.take_got(&what("large")), None, "who takes it has it");
    assert_eq!((partial.size, partial.etag.as_str(), partial.finished()), (30, "\"e\"", "0-large"));
    assert_eq!(partial.pieces.into_values().collect::<Vec<_>>(), [piece(5, 6), piece(20, 10)], "the later one counts");
    let Some(Got::Whole(whole)) = journal.take_got(&what("small\n\"ü")) else { panic!() };
    assert_eq!((whole.moved.as_deref(), whole.verified), (Some(Path::new("/data/small")), Some(Verified::Etag)));
    let Some(Sent::Uploading(uploading)) = journal.take_sent(&way("sent")) else { panic!() };
    assert_eq!(uploading.in_parts.unwrap().part_size, 10);
    assert_eq!(uploading.parts[&2], ("\"p\"".to_owned(), "sum of a part".to_owned()));
    let Some(Sent::Stored(stored)) = journal.take_sent(&way("done")) else { panic!() };
    assert_eq!((stored.content, stored.etag.as_str()), (content(), "\"d\""));
    // What is begun anew has ids that nothing else has.
    assert!(journal.begin_object(&what("large"), Path::new("3-large.part"), "\"g\"", 1).unwrap() > uploading.id);
}

#[cfg(unix)]
#[test]
fn only_the_owner_reads_a_journal() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    drop(open(&path).unwrap());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(
        [&path, &path.join(FILES), &path.join(LINES), &path.join(LOCK)].map(|path| mode(path)),
        [0o700, 0o700, 0o600, 0o600]
    );
}

#[test]
fn a_journal_in_use_is_refused_until_it_is_let_go() {
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path()).unwrap();
    let error = open(directory.path()).unwrap_err();
    assert!(problem(&error).is_in_use() && problem(&error).path() == directory.path(), "{error}");
    drop(journal);
    open(directory.path()).unwrap();
}

#[test]
fn a_journal_of_another_job_is_refused_and_left_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    write_some(&open(directory.path()).unwrap());
    let bytes = fs::read(directory.path().join(LINES)).unwrap();
    fs::write(directory.path().join(FILES).join("7-orphan"), "x").unwrap();
    for (other, field, told) in [
        (job("put_files", "s3://b/dir"), "operation", "it is of \"get\", and not of put_files"),
        (job("get", "s3://b/other"), "targets", "it is for [\"s3://b/dir\"], and not for [\"s3://b/other\"]"),
    ] {
        let error = Journal::open_blocking(directory.path(), &other).unwrap_err();
        let problem = problem(&error);
        assert_eq!((problem.line(), problem.field(), problem.is_in_use()), (Some(1), Some(field), false));
        assert!(error.to_string().contains(told) && error.to_string().contains(LINES), "{error}");
    }
    assert_eq!(fs::read(directory.path().join(LINES)).unwrap(), bytes);
    assert!(directory.path().join(FILES).join("7-orphan").exists());
}

#[test]
fn a_journal_of_another_version_or_format_is_refused() {
    for (format, version, field) in [(line::FORMAT, 2, "version"), ("other", 1, "format")] {
        let head = Head {
            format: format.to_owned(),
            version,
            operation: "get".to_owned(),
            targets: vec!["s3://b/dir".to_owned()],
        };
        let directory = with(&line::write("", &Note::Head(head)).unwrap().0);
        let error = open(directory.path()).unwrap_err();
        assert_eq!((problem(&error).line(), problem(&error).field()), (Some(1), Some(field)), "{error}");
    }
}

#[test]
fn a_directory_of_something_else_is_no_journal() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("thesis.tex"), "x").unwrap();
    let error = open(directory.path()).unwrap_err();
    assert!(problem(&error).to_string().contains("\"thesis.tex\""), "{error}");
    assert_eq!(names(directory.path()).unwrap(), ["thesis.tex"]);
    // The lines are gone, and what they were about is not.
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join(FILES)).unwrap();
    fs::write(directory.path().join(FILES).join("0-x"), "x").unwrap();
    let error = open(directory.path()).unwrap_err();
    assert_eq!((problem(&error).line(), problem(&error).field()), (Some(1), Some("head")));
    assert!(directory.path().join(FILES).join("0-x").exists());
}

#[test]
fn what_no_journal_of_ours_says_is_refused_where_it_stands() {
    let head = Head {
        format: line::FORMAT.to_owned(),
        version: line::VERSION,
        operation: "get".to_owned(),
        targets: vec!["s3://b/dir".to_owned()],
    };
    let object =
        |file: &str| ObjectNote { id: 1, what: what("k"), file: file.to_owned(), etag: "\"e\"".to_owned(), size: 10 };
    for (notes, line, field) in [
        (vec![Note::Head(head.clone())], 2, "head"),
        (vec![Note::Piece(PieceNote { id: 9, piece: piece(0, 1) })], 2, "id"),
        (vec![Note::Object(object("../../etc/passwd"))], 2, "file"),
        (vec![Note::Object(object("x")), Note::Piece(PieceNote { id: 1, piece: piece(5, 6) })], 3, "length"),
        (vec![Note::Object(object("x")), Note::Piece(PieceNote { id: 1, piece: piece(5, u64::MAX) })], 3, "length"),
    ] {
        let mut lines = Vec::new();
        let mut crc = String::new();
        for note in [Note::Head(head.clone())].iter().chain(&notes) {
            let (written, next) = line::write(&crc, note).unwrap();
            lines.extend(written);
            crc = next;
        }
        let directory = with(&lines);
        let error = open(directory.path()).unwrap_err();
        assert_eq!((problem(&error).line(), problem(&error).field()), (Some(line), Some(field)), "{error}");
        assert_eq!(fs::read(directory.path().join(LINES)).unwrap(), lines);
    }
}

#[test]
fn a_line_that_is_missing_or_moved_is_found() {
    let (bytes, _) = written();
    let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    for at in 1..lines.len() - 1 {
        let mut without = lines.clone();
        without.remove(at);
        let mut swapped = lines.clone();
        swapped.swap(at, at + 1);
        for damaged in [without.concat(), swapped.concat()] {
            let directory = with(&damaged);
            let error = open(directory.path()).unwrap_err();
            assert_eq!((problem(&error).line(), problem(&error).field()), (Some(at + 1), Some("crc")));
            assert_eq!(fs::read(directory.path().join(LINES)).unwrap(), damaged);
        }
    }
}

#[test]
fn after_a_cut_anywhere_a_journal_is_one_of_an_earlier_moment_and_goes_on() {
    let (bytes, states) = written();
    for end in 0..=bytes.len() {
        let directory = with(&bytes[..end]);
        let journal = open(directory.path()).unwrap();
        let lines = bytes[..end].iter().filter(|byte| **byte == b'\n').count();
        let expected = lines.checked_sub(1).map_or_else(Default::default, |last| states[last].clone());
        assert_eq!(state(&journal), expected, "cut after {end} bytes");
        write_some(&journal);
        drop(journal);
        open(directory.path()).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn an_edit_of_any_byte_is_found_or_is_a_cut(at in any::<prop::sample::Index>(), change in 1..=255_u8) {
        let (bytes, states) = written();
        let mut bytes = bytes.clone();
        let at = at.index(bytes.len());
        bytes[at] ^= change;
        let directory = with(&bytes);
        match open(directory.path()) {
            Err(error) => {
                let problem = problem(&error);
                prop_assert!(problem.line().is_some() && problem.field().is_some());
                prop_assert_eq!(fs::read(directory.path().join(LINES)).unwrap(), bytes);
            }
            // Of the last line's end: then that line is taken for one that was cut.
            Ok(journal) => {
                prop_assert_eq!(at, bytes.len() - 1);
                prop_assert_eq!(&state(&journal), &states[states.len() - 2]);
            }
        }
    }

    #[test]
    fn foreign_bytes_are_refused_or_a_cut_first_line(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let directory = with(&bytes);
        match open(directory.path()) {
            Err(error) => prop_assert_eq!(problem(&error).line(), Some(1)),
            Ok(_) => {
                let is_cut = line::may_begin_with(&bytes) && bytes.len() < 20;
                prop_assert!(is_cut, "{:?}", bytes);
            }
        }
    }
}
