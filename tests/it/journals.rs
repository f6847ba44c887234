//! What journals promise, looked at from inside of the process; `resume` kills.

use std::error::Error as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use bytes::Bytes;
use futures::TryStreamExt as _;
use s3flow::testing::{Fault, Operation, S3Server};
use s3flow::{ErrorKind, JournalProblem, PutOutcome, PutValue, S3, S3Object, S3PutObject, Verification};

use crate::meter::Meter;
use crate::resume::content;
use crate::shell::{Shell, names};
use crate::support::{Fixture, count};

const MIB: u64 = 1 << 20;
/// Of a download with a journal.
const PIECE: u64 = 4 * MIB;

struct Journaled {
    fixture: Fixture,
    work: tempfile::TempDir,
    journal: PathBuf,
}

impl Journaled {
    async fn new() -> Self {
        let work = tempfile::tempdir().unwrap();
        Self { fixture: Fixture::new().await, journal: work.path().join("journal"), work }
    }

    fn server(&self) -> &S3Server {
        &self.fixture.server
    }

    fn s3(&self) -> &S3 {
        &self.fixture.s3
    }

    /// Ends the next call at its request of this number.
    fn deny(&self, operation: Operation, on_call: usize) {
        self.server().inject(Fault::status(403, "AccessDenied").operation(operation).on_call(on_call));
    }

    async fn get(&self) -> s3flow::Result<S3Object> {
        self.server().clear_log();
        self.s3().get("large").journal(&self.journal).await
    }

    /// An object of 16 MiB, of which so many pieces have come when the call fails.
    async fn interrupted(&self, pieces: usize) -> Bytes {
        let content = content(16 * MIB);
        self.server().put_object("bucket", "large", content.clone());
        self.deny(Operation::GetObject, pieces + 1);
        let error = self.get().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AccessDenied, "{error}");
        self.server().clear_faults();
        content
    }

    fn files(&self) -> PathBuf {
        self.journal.join("files")
    }

    /// The only file of the journal.
    fn file(&self) -> PathBuf {
        let names = names(&self.files());
        assert_eq!(names.len(), 1, "{names:?}");
        self.files().join(&names[0])
    }

    fn count(&self, operation: Operation) -> usize {
        count(&self.server().log(), operation)
    }

    /// The bytes that the requests since the last call asked for.
    fn asked_for(&self) -> u64 {
        let length = |range: &str| {
            let (first, last) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
            last.parse::<u64>().unwrap() + 1 - first.parse::<u64>().unwrap()
        };
        self.server().log().iter().filter_map(|request| request.header("range").map(length)).sum()
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.work.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    async fn put(&self, path: &Path) -> s3flow::Result<s3flow::PutReceipt> {
        self.server().clear_log();
        self.s3().put("sent", PutValue::file(path)).journal(&self.journal).await
    }
}

fn edit(path: &Path, at: u64) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at as usize] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn copy_directory(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for name in names(from) {
        let (from, to) = (from.join(&name), to.join(&name));
        if from.is_dir() { copy_directory(&from, &to) } else { fs::copy(&from, &to).map(drop).unwrap() }
    }
}

#[tokio::test]
async fn what_is_whole_is_verified_and_not_fetched_again_and_stays() {
    let test = Journaled::new().await;
    test.server().put_object("bucket", "large", "text");
    let first = test.get().await.unwrap();
    assert!(first.path().unwrap().starts_with(&test.journal));
    drop(first);
    let again = test.get().await.unwrap();
    assert_eq!((test.count(Operation::GetObject), test.count(Operation::HeadObject)), (0, 1));
    assert_eq!((again.text().await.unwrap().as_str(), again.verified().is_some()), ("text", true));
    assert!(again.has_info() && again.etag().is_some());
    drop(again);
    test.s3().close().await.unwrap();
    assert_eq!(fs::read(test.file()).unwrap(), b"text");
    // One byte of the file is another: it is fetched anew.
    edit(&test.file(), 2);
    let s3 = test.fixture.scope().s3root("s3://bucket").build().unwrap();
    let object = s3.get("large").journal(&test.journal).await.unwrap();
    assert_eq!(object.text().await.unwrap(), "text");
}

#[tokio::test]
async fn only_what_is_missing_is_fetched() {
    let test = Journaled::new().await;
    let content = test.interrupted(2).await;
    let object = test.get().await.unwrap();
    assert_eq!(test.asked_for(), 2 * PIECE);
    assert!(
        test.server()
            .log()
            .iter()
            .all(|request| { request.operation() != Operation::GetObject || request.header("if-match").is_some() })
    );
    assert!(object.blob().await.unwrap() == content && object.verified().is_some());
    assert_eq!(object.report().unwrap().bytes_received, 2 * PIECE);
}

#[tokio::test]
async fn a_byte_that_was_edited_is_found_and_its_piece_alone_fetched_again() {
    let test = Journaled::new().await;
    let content = test.interrupted(3).await;
    edit(&test.file(), 5 * MIB + 5);
    let object = test.get().await.unwrap();
    let asked_for = test.asked_for();
    assert!((PIECE + MIB..PIECE + 2 * MIB).contains(&asked_for), "{asked_for}");
    assert!(object.blob().await.unwrap() == content);
}

#[tokio::test]
async fn a_file_that_was_cut_lengthened_or_removed_is_fetched_as_far_as_it_is_missing() {
    for (length, least) in [(Some(6 * MIB), 10 * MIB), (Some(20 * MIB), PIECE), (None, 16 * MIB)] {
        let test = Journaled::new().await;
        let content = test.interrupted(3).await;
        match length {
            Some(length) => fs::File::options().write(true).open(test.file()).unwrap().set_len(length).unwrap(),
            None => fs::remove_file(test.file()).unwrap(),
        }
        let object = test.get().await.unwrap();
        let asked_for = test.asked_for();
        assert!((least..least + 2 * MIB).contains(&asked_for), "{length:?}: {asked_for}");
        assert!(object.blob().await.unwrap() == content);
        assert_eq!(names(&test.files()).len(), 1);
    }
}

#[tokio::test]
async fn a_process_that_was_killed_between_the_names_of_a_file_goes_on() {
    let test = Journaled::new().await;
    let content = test.interrupted(3).await;
    let part = test.file();
    fs::rename(&part, part.with_extension("")).unwrap();
    let object = test.get().await.unwrap();
    assert_eq!(test.asked_for(), PIECE);
    assert!(object.blob().await.unwrap() == content);
}

#[tokio::test]
async fn an_object_that_was_replaced_is_fetched_anew() {
    let test = Journaled::new().await;
    for pieces in [2, 4] {
        if pieces == 2 {
            test.interrupted(2).await;
        } else {
            drop(test.get().await.unwrap());
        }
        let new = content(16 * MIB + 8 * pieces as u64).slice(8 * pieces..);
        test.server().put_object("bucket", "large", new.clone());
        let object = test.get().await.unwrap();
        assert_eq!(test.asked_for(), 16 * MIB);
        assert!(object.blob().await.unwrap() == new);
    }
    // With a condition, it is as without a journal.
    let error = test.s3().get("large").if_match("\"other\"").journal(&test.journal).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Changed, "{error}");
}

#[tokio::test]
async fn damaged_bytes_are_not_gone_on_with() {
    let test = Journaled::new().await;
    let content = content(16 * MIB);
    test.server().put_object("bucket", "large", content.clone());
    let client = test.server().client_builder().redownloads(0).build().unwrap();
    let s3 = client.s3().s3root("s3://bucket").build().unwrap();
    test.server().inject(Fault::corrupt_byte(7).operation(Operation::GetObject).on_call(2));
    let error = s3.get("large").journal(&test.journal).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Integrity, "{error}");
    let object = test.get().await.unwrap();
    assert!(object.blob().await.unwrap() == content);
}

#[tokio::test]
async fn every_kind_of_checksum_is_verified_after_a_resume() {
    use s3flow::{ChecksumAlgorithm, Verified};
    for algorithm in [None, Some(ChecksumAlgorithm::Crc32c), Some(ChecksumAlgorithm::Sha256)] {
        let test = Journaled::new().await;
        let client = test.server().client_builder().checksum(algorithm);
        let client = client.verification(Verification::ChecksumsAndEtags).part_size(64 * MIB).build().unwrap();
        let s3 = client.s3().s3root("s3://bucket").build().unwrap();
        let content = content(16 * MIB);
        s3.put("large", content.clone()).await.unwrap();
        let untold = || {
            if algorithm.is_none() {
                let fault = Fault::without_header("x-amz-checksum-crc64nvme").operation(Operation::HeadObject);
                test.server().inject(fault.times(usize::MAX));
            }
        };
        untold();
        test.deny(Operation::GetObject, 3);
        s3.get("large").journal(&test.journal).await.unwrap_err();
        test.server().clear_faults();
        test.server().clear_log();
        untold();
        let object = s3.get("large").journal(&test.journal).await.unwrap();
        assert_eq!(test.asked_for(), 2 * PIECE);
        let verified = algorithm.map_or(Verified::Etag, Verified::Checksum);
        assert_eq!(object.verified(), Some(verified));
        assert!(object.blob().await.unwrap() == content);
    }
}

#[tokio::test]
async fn a_checksum_of_checksums_is_verified_after_a_resume() {
    use s3flow::{ChecksumAlgorithm, Verified};
    let test = Journaled::new().await;
    let client = test.server().client_builder().checksum(ChecksumAlgorithm::Sha256).redownloads(0).build().unwrap();
    let s3 = client.s3().s3root("s3://bucket").build().unwrap();
    let content = content(22 * MIB);
    s3.put("large", content.clone()).await.unwrap();
    let get = || s3.get("large").journal(&test.journal);
    test.deny(Operation::GetObject, 3);
    get().await.unwrap_err();
    test.server().clear_faults();
    test.server().inject(Fault::corrupt_byte(7).operation(Operation::GetObject).on_call(2));
    let error = get().await.unwrap_err();
    assert!(error.kind() == ErrorKind::Integrity && error.to_string().contains("part 2 of 3"), "{error}");
    let object = get().await.unwrap();
    assert_eq!(object.verified(), Some(Verified::Composite(ChecksumAlgorithm::Sha256)));
    assert!(object.blob().await.unwrap() == content);
}

#[tokio::test]
async fn a_range_has_a_place_of_its_own_in_a_journal() {
    let test = Journaled::new().await;
    let content = test.interrupted(1).await;
    let ranged = || s3flow::S3GetObject::new("large").offset(MIB).length(10 * MIB as i64);
    test.deny(Operation::GetObject, 2);
    test.s3().get(ranged()).journal(&test.journal).await.unwrap_err();
    test.server().clear_faults();
    test.server().clear_log();
    let object = test.s3().get(ranged()).journal(&test.journal).await.unwrap();
    assert_eq!(test.asked_for(), 6 * MIB);
    assert!(object.blob().await.unwrap() == content[MIB as usize..11 * MIB as usize]);
    drop(object);
    assert!(test.get().await.unwrap().blob().await.unwrap() == content);
    assert_eq!(test.asked_for(), 12 * MIB);
}

#[tokio::test]
async fn what_was_persisted_is_found_where_it_went() {
    let test = Journaled::new().await;
    for key in ["dir/a", "dir/b", "dir/c"] {
        test.server().put_object("bucket", key, key);
    }
    let out = |key: &str| test.work.path().join(key.replace('/', "-"));
    let all = async || {
        test.server().clear_log();
        let objects = test.s3().get_recursive(["dir"]).journal(&test.journal).await.unwrap();
        assert_eq!(test.count(Operation::HeadObject), 0, "the listing tells the ETags");
        (objects, test.count(Operation::GetObject))
    };
    let (objects, fetched) = all().await;
    assert_eq!(fetched, 3);
    let before = objects[0].path().unwrap().to_owned();
    for object in objects {
        let key = object.url().strip_prefix("s3://bucket/").unwrap().to_owned();
        if key != "dir/c" {
            object.persist(out(&key)).await.unwrap();
        }
    }
    let (objects, fetched) = all().await;
    assert_eq!(fetched, 0);
    let places: Vec<_> = objects.iter().map(|object| object.path().unwrap().to_owned()).collect();
    assert_eq!(places[..2], [out("dir/a"), out("dir/b")]);
    assert!(places[2].starts_with(&test.journal));
    // Where it is already, it stays.
    for object in objects {
        let path = object.path().unwrap().to_owned();
        object.persist(path).await.unwrap();
    }
    // Killed between the note and the move; damaged since; removed since.
    fs::rename(out("dir/a"), &before).unwrap();
    edit(&out("dir/b"), 1);
    fs::remove_file(&places[2]).unwrap();
    let (objects, fetched) = all().await;
    assert_eq!((fetched, objects[0].path()), (2, Some(before.as_path())));
    for object in objects {
        assert_eq!(format!("s3://bucket/{}", object.text().await.unwrap()), object.url());
    }
    assert_eq!(fs::read(out("dir/b")).unwrap(), b"dhr/b", "what is another's now is left alone");
}

#[tokio::test]
async fn a_journal_is_used_by_one_call_at_a_time_of_any_process() {
    let shell = Shell::new().await;
    shell.server.put_object("bucket", "dir/large", content(16 * MIB));
    shell.server.inject(Fault::stall_after(MIB).operation(Operation::GetObject).times(usize::MAX));
    let meter = Meter::to(shell.server.endpoint());
    let mut command = shell.command("resume");
    command.env("AWS_ENDPOINT_URL", meter.endpoint()).args(["get", "s3://bucket/dir", "journal", "out"]);
    let mut child = command.stdout(Stdio::null()).spawn().unwrap();
    meter.wait_for(MIB).await;
    let client = shell.server.client_builder().build().unwrap();
    let s3 = client.s3().s3root("s3://bucket/dir").build().unwrap();
    let journal = shell.work.path().join("journal");
    let error = s3.get_all().journal(&journal).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Journal, "{error}");
    let problem = error.source().and_then(|source| source.downcast_ref::<JournalProblem>()).unwrap();
    assert!(problem.is_in_use(), "{problem}");
    child.kill().await.unwrap();
    shell.server.clear_faults();
    let objects = s3.get_all().journal(&journal).await.unwrap();
    assert_eq!(objects[0].size(), Some(16 * MIB));
    // As long as an object of it is held.
    assert_eq!(s3.get_all().journal(&journal).await.unwrap_err().kind(), ErrorKind::Journal);
}

#[tokio::test]
async fn a_foreign_or_damaged_journal_is_refused_before_any_request_and_left_alone() {
    let test = Journaled::new().await;
    test.interrupted(2).await;
    let file = test.write("file", "text");
    test.server().clear_log();
    let journal = &test.journal;
    let (s3, root) = (test.s3(), test.fixture.scope().s3root("s3://bucket/elsewhere").build().unwrap());
    let errors = [
        (s3.get("other").journal(journal).await.unwrap_err(), "targets"),
        (root.get("large").journal(journal).await.unwrap_err(), "targets"),
        (s3.get_recursive(["large"]).journal(journal).await.unwrap_err(), "operation"),
        (s3.put("large", PutValue::file(&file)).journal(journal).await.unwrap_err(), "operation"),
        (s3.put_files([("large", &file)]).journal(journal).await.unwrap_err(), "operation"),
    ];
    for (error, field) in &errors {
        let problem = error.source().and_then(|source| source.downcast_ref::<JournalProblem>()).unwrap();
        assert_eq!((error.kind(), problem.line(), problem.field()), (ErrorKind::Journal, Some(1), Some(*field)));
        assert!(error.to_string().contains("journal.jsonl, line 1, field"), "{error}");
    }
    let lines = journal.join("journal.jsonl");
    edit(&lines, 300);
    let before = (fs::read(&lines).unwrap(), fs::read(test.file()).unwrap());
    let error = s3.get("large").journal(journal).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Journal && error.to_string().contains("field crc"), "{error}");
    assert!((fs::read(&lines).unwrap(), fs::read(test.file()).unwrap()) == before);
    assert_eq!(test.server().log().len(), 0);
}

#[tokio::test]
async fn only_the_parts_that_are_missing_are_sent() {
    let test = Journaled::new().await;
    let content = content(22 * MIB);
    let path = test.write("file", &content);
    test.deny(Operation::UploadPart, 4);
    let error = test.put(&path).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AccessDenied, "{error}");
    test.server().clear_faults();
    assert_eq!(test.server().multipart_uploads("bucket"), ["sent"], "it is left to the next call");
    let receipt = test.put(&path).await.unwrap();
    assert_eq!(receipt.outcome(), PutOutcome::Stored);
    assert_eq!((test.count(Operation::ListParts), test.count(Operation::UploadPart)), (1, 2));
    assert!(test.server().object("bucket", "sent").unwrap() == content);
    let again = test.put(&path).await.unwrap();
    assert_eq!((again.outcome(), again.uploaded(), again.etag()), (PutOutcome::AlreadyStored, true, receipt.etag()));
    assert_eq!(test.count(Operation::HeadObject), test.server().log().len());
}

#[tokio::test]
async fn parts_are_listed_by_pages_and_trusted_without_checksums_too() {
    for algorithm in [None, Some(s3flow::ChecksumAlgorithm::Sha256)] {
        let server = S3Server::builder().bucket("bucket").page_size(2).start().await.unwrap();
        let client = server.client_builder().checksum(algorithm).build().unwrap();
        let test = Journaled { fixture: Fixture::with_client(server, client), ..Journaled::new().await };
        let content = content(32 * MIB);
        let path = test.write("file", &content);
        test.deny(Operation::UploadPart, 6);
        test.put(&path).await.unwrap_err();
        test.server().clear_faults();
        test.put(&path).await.unwrap();
        assert_eq!((test.count(Operation::ListParts), test.count(Operation::UploadPart)), (3, 2));
        assert!(test.server().object("bucket", "sent").unwrap() == content);
    }
}

#[tokio::test]
async fn a_part_whose_answer_was_lost_is_known_by_what_the_server_tells() {
    let test = Journaled::new().await;
    let content = content(22 * MIB);
    let path = test.write("file", &content);
    let snapshot = test.work.path().join("snapshot");
    test.deny(Operation::UploadPart, 1);
    test.put(&path).await.unwrap_err();
    copy_directory(&test.journal, &snapshot);
    test.server().clear_faults();
    test.deny(Operation::UploadPart, 4);
    test.put(&path).await.unwrap_err();
    test.server().clear_faults();
    // Three parts have arrived, of which the journal knows nothing.
    fs::remove_dir_all(&test.journal).unwrap();
    fs::rename(&snapshot, &test.journal).unwrap();
    test.put(&path).await.unwrap();
    assert_eq!(test.count(Operation::UploadPart), 2);
    assert!(test.server().object("bucket", "sent").unwrap() == content);
}

#[tokio::test]
async fn a_file_that_changed_is_sent_from_the_beginning_and_its_old_upload_aborted() {
    let test = Journaled::new().await;
    let path = test.write("file", content(22 * MIB));
    test.deny(Operation::UploadPart, 3);
    test.put(&path).await.unwrap_err();
    test.server().clear_faults();
    let new = content(23 * MIB);
    fs::write(&path, &new).unwrap();
    test.put(&path).await.unwrap();
    assert_eq!((test.count(Operation::AbortMultipartUpload), test.count(Operation::UploadPart)), (1, 5));
    assert!(test.server().object("bucket", "sent").unwrap() == new);
    assert!(test.server().multipart_uploads("bucket").is_empty());
    // So it is with other metadata, and with an object that somebody has replaced.
    let put = || S3PutObject::file("sent", &path).content_type("text/plain");
    let receipts = test.s3().put_files([put()]).journal(test.work.path().join("other")).await.unwrap();
    assert_eq!(receipts[0].outcome(), PutOutcome::Stored);
    test.server().put_object("bucket", "sent", "another's");
    assert_eq!(test.put(&path).await.unwrap().outcome(), PutOutcome::Stored);
    assert!(test.server().object("bucket", "sent").unwrap() == new);
}

#[tokio::test]
async fn bytes_that_changed_behind_the_same_size_and_time_are_found() {
    let test = Journaled::new().await;
    let old = content(22 * MIB);
    let path = test.write("file", &old);
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    test.deny(Operation::UploadPart, 4);
    test.put(&path).await.unwrap_err();
    test.server().clear_faults();
    edit(&path, 7 * MIB);
    fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
    test.put(&path).await.unwrap();
    assert_eq!(test.count(Operation::UploadPart), 3, "the part that is another, and those that were missing");
    assert!(test.server().object("bucket", "sent").unwrap() == fs::read(&path).unwrap());
}

#[tokio::test]
async fn what_was_stored_just_before_the_kill_is_known_for_ones_own() {
    for (size, overwrite) in [(22 * MIB, true), (22 * MIB, false), (100, false)] {
        let test = Journaled::new().await;
        let path = test.write("file", content(size));
        let put = async || {
            test.server().clear_log();
            test.s3().put("sent", PutValue::file(&path)).overwrite(overwrite).journal(&test.journal).await.unwrap()
        };
        let receipt = put().await;
        assert_eq!(receipt.outcome(), if overwrite { PutOutcome::Stored } else { PutOutcome::Created });
        // The last line is that it is stored: without it, the process was killed before.
        let lines = test.journal.join("journal.jsonl");
        let text = fs::read_to_string(&lines).unwrap();
        let cut = text.trim_end().rfind('\n').unwrap() + 1;
        assert!(text[cut..].contains("\"stored\""), "{text}");
        fs::write(&lines, &text[..cut]).unwrap();
        for _ in 0..2 {
            let again = put().await;
            assert_eq!((again.outcome(), again.etag()), (PutOutcome::AlreadyStored, receipt.etag()));
            assert_eq!(test.count(Operation::UploadPart) + test.count(Operation::PutObject), 0);
        }
    }
}

#[tokio::test]
async fn conditions_mean_with_a_journal_what_they_mean_without() {
    let test = Journaled::new().await;
    test.server().put_object("bucket", "sent", "another's");
    let path = test.write("file", content(22 * MIB));
    let put = || test.s3().put("sent", PutValue::file(&path)).journal(&test.journal);
    assert_eq!(put().overwrite(false).await.unwrap().outcome(), PutOutcome::AlreadyExists);
    assert_eq!(put().if_match("\"other\"").await.unwrap_err().kind(), ErrorKind::Changed);
    assert_eq!(test.server().object("bucket", "sent").unwrap(), "another's");
    assert!(test.server().multipart_uploads("bucket").is_empty(), "nobody goes on with that");
    let etag = test.s3().info("sent").await.unwrap().etag().unwrap().to_owned();
    assert_eq!(put().if_match(&etag).await.unwrap().outcome(), PutOutcome::Replaced);
    assert_eq!(put().if_match(&etag).await.unwrap().outcome(), PutOutcome::AlreadyStored);
}

#[tokio::test]
async fn many_files_are_sent_once_and_new_ones_with_them() {
    let test = Journaled::new().await;
    let files: Vec<(String, PathBuf)> =
        (0..20).map(|number| (format!("k{number}"), test.write(&format!("f{number}"), number.to_string()))).collect();
    let put = async |files: &[(String, PathBuf)]| {
        test.server().clear_log();
        test.s3().put_files(files.to_vec()).journal(&test.journal).await.unwrap()
    };
    assert!(put(&files[..15]).await.iter().all(|receipt| receipt.outcome() == PutOutcome::Stored));
    fs::write(&files[3].1, "changed").unwrap();
    let outcomes: Vec<_> = put(&files).await.iter().map(|receipt| receipt.outcome()).collect();
    let expected = |number| if number == 3 || number >= 15 { PutOutcome::Stored } else { PutOutcome::AlreadyStored };
    assert_eq!(outcomes, (0..20).map(expected).collect::<Vec<_>>());
    assert_eq!(test.count(Operation::PutObject), 6);
    assert_eq!(test.server().object("bucket", "k3").unwrap(), "changed");
}

#[tokio::test]
async fn a_put_that_was_dropped_leaves_its_parts_to_the_next_call() {
    let test = Journaled::new().await;
    let content = content(22 * MIB);
    let path = test.write("file", &content);
    test.server().inject(Fault::stall().operation(Operation::UploadPart).on_call(3));
    let put = tokio::spawn(test.s3().put("sent", PutValue::file(&path)).journal(&test.journal).into_future());
    test.fixture.wait_until(|log| count(log, Operation::UploadPart) == 3).await;
    put.abort();
    assert!(put.await.unwrap_err().is_cancelled());
    test.server().clear_faults();
    assert_eq!(test.server().multipart_uploads("bucket"), ["sent"]);
    let found = test.s3().abandoned_uploads([""], std::time::Duration::ZERO).await.unwrap();
    assert_eq!(found.len(), 1, "it is found if the journal is lost");
    test.put(&path).await.unwrap();
    assert_eq!(test.count(Operation::UploadPart), 3);
    assert!(test.server().object("bucket", "sent").unwrap() == content);
}

#[tokio::test]
async fn a_value_that_is_no_file_has_no_journal() {
    let test = Journaled::new().await;
    let error = test.s3().put("k", "text").journal(&test.journal).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidObject, "{error}");
    assert!(!test.journal.exists());
    assert_eq!(test.server().log().len(), 0);
}

#[tokio::test]
async fn what_is_read_without_a_file_refuses_a_journal() {
    let test = Journaled::new().await;
    let get = || test.s3().get("k").journal(&test.journal);
    let method = http::Method::GET;
    let errors = [
        get().bytes().await.unwrap_err(),
        get().stream().try_next().await.unwrap_err(),
        get().stream().object().await.unwrap_err(),
        get().respond(&method, &http::HeaderMap::new()).await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!((error.kind(), error.operation()), (ErrorKind::Config, Some("get")), "{error}");
    }
    assert!(!test.journal.exists());
    assert_eq!(test.server().log().len(), 0);
}

#[tokio::test]
async fn a_journal_that_cannot_be_made_is_named() {
    let test = Journaled::new().await;
    let file = test.write("file", "x");
    let error = test.s3().get_all().journal(file.join("journal")).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Io && error.to_string().contains("file/journal"), "{error}");
    assert_eq!(test.server().log().len(), 0);
}
