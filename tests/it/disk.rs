//! Disks that are full, read-only or gone: one request, one error that tells the need, nothing left, and the scope goes on.
//!
//! A small disk is a file system in memory that a process has for itself, in namespaces of its own: the test runs itself again
//! there. Where that is not permitted, the test says so and proves nothing.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use futures::StreamExt as _;
use s3flow::testing::{Fault, Finish, LoggedRequest, Operation, S3Server};
use s3flow::{Error, ErrorKind, RetryPolicy, S3, S3Object};
use tokio::process::Command;

use crate::shell::names;
use crate::support::{Fixture, count, files_below, in_time, with_causes};

/// Set in the process that has the disk: where it is.
const DISK: &str = "S3FLOW_TEST_DISK";
const DISK_SIZE: u64 = 8 << 20;
const MOUNT: &str = r#"mount -t tmpfs -o size=8m tmpfs "$S3FLOW_TEST_DISK""#;
const MOUNT_LARGE: &str = r#"mount -t tmpfs -o size=64m tmpfs "$S3FLOW_TEST_DISK""#;
/// In blocks of 512 bytes. With the signal ignored, a write beyond is an error.
const LIMIT: &str = "trap '' XFSZ && ulimit -f 2048";
const FILE_LIMIT: u64 = 1 << 20;
const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// The directory to work in, in the process that has made it so by the commands of `prepare`; `None` in the process that has
/// started that one for this test, when it has passed there.
///
/// The test is the one that `here` is a closure of: the name of its type has the test's.
async fn prepared<F: Fn()>(_here: F, prepare: &str) -> Option<PathBuf> {
    if let Some(disk) = std::env::var_os(DISK) {
        return Some(disk.into());
    }
    let directory = tempfile::tempdir().unwrap();
    let unshared = |command: &str, arguments: &[&str]| {
        let mut unshare = Command::new("unshare");
        unshare.args(["--map-root-user", "--mount", "sh", "-c", command, "sh"]).args(arguments);
        unshare.env(DISK, directory.path()).kill_on_drop(true).stdin(Stdio::null());
        unshare
    };
    let refused = match unshared(MOUNT, &[]).output().await {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Some(error.to_string()),
    };
    if let Some(reason) = refused {
        eprintln!("not tested, for no disk can be mounted here: {reason}");
        return None;
    }
    let itself = std::env::current_exe().unwrap();
    let name = std::any::type_name::<F>().replace("::{{closure}}", "");
    let name = name.strip_prefix("it::").unwrap();
    let arguments = [itself.to_str().unwrap(), "--exact", name, "--nocapture"];
    let ran = unshared(&format!(r#"{prepare} && exec "$@""#), &arguments).output();
    let ran = tokio::time::timeout(Duration::from_secs(60), ran).await.expect("the process hangs").unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success() && stdout.contains("1 passed"), "{}\n{stdout}\n{stderr}", ran.status);
    None
}

/// A scope on the small disk.
struct Small {
    fixture: Fixture,
    s3: S3,
    disk: PathBuf,
}

impl Small {
    async fn new(disk: PathBuf) -> Self {
        Self::of(disk, Fixture::new().await)
    }

    fn of(disk: PathBuf, fixture: Fixture) -> Self {
        fixture.server.put_object("bucket", "small", "small");
        let s3 = fixture.client.s3().s3root("s3://bucket").tmproot(&disk).build().unwrap();
        Self { fixture, s3, disk }
    }

    fn put(&self, key: &str, size: usize) {
        self.fixture.server.put_object("bucket", key, vec![7; size]);
    }

    /// Makes the directory of the scope.
    async fn used(&self) {
        self.get_small().await;
        self.fixture.server.clear_log();
    }

    async fn get_small(&self) {
        assert_eq!(self.s3.get("small").await.unwrap().text().await.unwrap(), "small");
    }

    async fn fails(&self, key: &str) -> Error {
        in_time("a get that cannot be written ends", self.s3.get(key).into_future()).await.unwrap_err()
    }

    fn filler(&self) -> PathBuf {
        self.disk.join("filler")
    }

    /// Leaves so many bytes at most.
    fn fill(&self, free: u64) {
        std::fs::write(self.filler(), vec![1; (DISK_SIZE - free) as usize]).unwrap_or_else(|error| {
            // What else is there takes a few pages.
            assert_eq!((free, error.kind()), (0, std::io::ErrorKind::StorageFull), "{error}");
        });
    }

    fn make_room(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }

    fn files(&self) -> usize {
        files_below(&self.disk) - usize::from(self.filler().exists())
    }

    /// By another mount in front of it: one with files that are open for writing, as the lock file of a scope is, stays as it is.
    async fn make_read_only(&self) {
        self.shell(r#"mount --bind "$1" "$1" && mount -o remount,bind,ro "$1""#).await;
    }

    async fn make_writable(&self) {
        self.shell(r#"umount "$1""#).await;
    }

    async fn shell(&self, command: &str) {
        let ran = Command::new("sh").args(["-c", command, "sh"]).arg(&self.disk).status().await;
        assert!(ran.unwrap().success(), "{command}");
    }

    fn gets(&self) -> usize {
        count(&self.fixture.server.log(), Operation::GetObject)
    }

    /// Nothing is left of an operation: no file, and no request under way.
    async fn nothing_left(&self) {
        assert_eq!(self.files(), 0);
        let ended = |log: &[LoggedRequest]| log.iter().all(|request| request.finish().is_some());
        self.fixture.wait_until(ended).await;
    }
}

/// How many bytes of those needed were written, as the error of one request tells it.
#[track_caller]
fn written(error: &Error, need: usize, directory: &Path) -> usize {
    let text = error.to_string();
    assert!(!error.is_retryable(), "{text}");
    assert!(text.contains(&format!("could not write {}/", directory.display())), "{text}");
    let (before, _) = text.split_once(&format!(" of {need} bytes were written")).expect(&text);
    let (_, written) = before.rsplit_once(": ").expect(&text);
    let written = written.parse().unwrap();
    assert!(written < need, "{text}");
    written
}

#[track_caller]
fn assert_full(error: &Error) {
    let text = with_causes(error);
    assert_eq!(error.kind(), ErrorKind::InsufficientDiskSpace, "{text}");
    assert!(text.contains("No space left on device"), "{text}");
}

/// Found out before anything is written.
#[track_caller]
fn assert_no_room(error: &Error, need: usize) {
    let text = with_causes(error);
    assert_eq!(error.kind(), ErrorKind::InsufficientDiskSpace, "{text}");
    assert!(text.contains("no room in ") && text.contains(&format!("of {need} bytes")), "{text}");
}

#[tokio::test]
async fn a_small_object_on_a_full_disk_is_one_request_and_no_file_and_fits_when_there_is_room() {
    let Some(disk) = prepared(|| (), MOUNT).await else { return };
    let small = Small::new(disk).await;
    small.put("k", 100 * KIB);
    small.used().await;
    // Room for half of it, and then for nothing of it.
    small.fill(48 * KIB as u64);
    let error = small.fails("k").await;
    assert_full(&error);
    assert!(written(&error, 100 * KIB, &small.disk) > 0);
    assert_eq!((error.attempts(), small.gets()), (1, 1));
    small.nothing_left().await;
    small.make_room();

    small.fill(0);
    let error = small.fails("k").await;
    assert_full(&error);
    assert_eq!(written(&error, 100 * KIB, &small.disk), 0);
    assert_eq!(small.gets(), 2);
    small.nothing_left().await;
    small.make_room();
    assert_eq!(small.s3.get("k").await.unwrap().blob().await.unwrap(), vec![7; 100 * KIB]);
    small.s3.close().await.unwrap();
    assert_eq!(names(&small.disk), Vec::<String>::new());
}

#[tokio::test]
async fn one_stream_that_fills_the_disk_ends_and_is_not_tried_again() {
    let Some(disk) = prepared(|| (), MOUNT).await else { return };
    let small = Small::new(disk).await;
    small.put("k", 7 * MIB);
    small.used().await;
    small.fill(4 << 20);
    for tries in 1..=3 {
        let error = small.fails("k").await;
        assert_full(&error);
        let written = written(&error, 7 * MIB, &small.disk);
        assert!(written > 3 * MIB && written < 4 * MIB, "{error}");
        assert_eq!((error.attempts(), small.gets()), (1, tries));
        small.nothing_left().await;
    }
    small.get_small().await;
}

#[tokio::test]
async fn what_the_disk_has_no_room_for_is_refused_before_a_byte_is_written() {
    let Some(disk) = prepared(|| (), MOUNT).await else { return };
    let small = Small::new(disk).await;
    for (tries, (key, size)) in [("one stream", 12 * MIB), ("by parts", 20 * MIB)].into_iter().enumerate() {
        small.put(key, size);
        let error = small.fails(key).await;
        assert_no_room(&error, size);
        assert!(error.to_string().contains(small.disk.to_str().unwrap()) && !error.is_retryable(), "{error}");
        assert_eq!((error.attempts(), small.gets()), (1, tries + 1));
        small.nothing_left().await;
    }
    small.get_small().await;
}

/// Two of a batch, of which one fits: the other waits until the first one is gone.
#[tokio::test]
async fn what_is_promised_to_one_download_is_not_promised_to_another() {
    let Some(disk) = prepared(|| (), MOUNT_LARGE).await else { return };
    let small = Small::new(disk).await;
    small.put("k", 40 * MIB);
    let mut gets = small.s3.get_many(["k"; 3]);
    for _ in 0..3 {
        let object = in_time("one comes", gets.next()).await.unwrap().unwrap();
        assert_eq!((object.size(), small.files()), (Some(40 << 20), 1));
        assert_eq!(small.fixture.client.stats().disk_bytes >> 20, 40);
    }
    assert!(gets.next().await.is_none());
}

/// The write that fails is noticed while nothing comes, and before the rest is asked for.
#[tokio::test]
async fn a_full_disk_ends_a_transfer_that_waits_for_the_network() {
    let Some(disk) = prepared(|| (), MOUNT).await else { return };
    let small = Small::new(disk).await;
    small.put("k", 4 * MIB);
    small.used().await;
    small.fill(512 * KIB as u64);
    let half = 3 * MIB as u64 / 2;
    for (tries, fault) in [(1, Fault::stall_after(half)), (2, Fault::close_after(half))] {
        let fault = small.fixture.server.inject(fault.key("k").operation(Operation::GetObject));
        let error = small.fails("k").await;
        assert_full(&error);
        written(&error, 4 * MIB, &small.disk);
        assert_eq!((fault.applied(), small.gets()), (1, tries), "{error}");
        small.nothing_left().await;
    }
}

/// The only thread for files is busy, so that the body ends long before the first piece of it fails to be written.
#[test]
fn the_rest_of_a_body_is_not_asked_for_before_it_is_known_that_the_beginning_was_written() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let Some(disk) = prepared(|| (), MOUNT).await else { return };
        let server = S3Server::start().await.unwrap();
        let policy = RetryPolicy::default().first_wait(Duration::from_millis(1)).longest_wait(Duration::from_millis(1));
        let client = server.client_builder().retry_policy(policy).build().unwrap();
        let small = Small::of(disk, Fixture::with_client(server, client));
        small.put("k", 4 * MIB);
        small.used().await;
        small.fill(512 * KIB as u64);
        // Without an ETag, the whole object would be asked for again.
        for with_etag in [true, false] {
            small.fixture.server.clear_log();
            if !with_etag {
                small.fixture.server.inject(Fault::without_header("ETag").key("k"));
            }
            small.fixture.server.inject(Fault::close_after(3 * MIB as u64 / 2).key("k"));
            let (go_on, busy) = std::sync::mpsc::channel::<()>();
            let busy = tokio::task::spawn_blocking(move || busy.recv());
            let get = tokio::spawn(small.s3.get("k").into_future());
            small.fixture.wait_until(|log| log.iter().any(|request| request.finish() == Some(Finish::Cut))).await;
            let second = small.fixture.server.wait_until(|log| log.len() > 1);
            let asked_again = tokio::time::timeout(Duration::from_millis(500), second).await.is_ok();
            go_on.send(()).unwrap();
            busy.await.unwrap().unwrap();
            let error = in_time("the get ends", get).await.unwrap().unwrap_err();
            assert_full(&error);
            assert_eq!((asked_again, small.gets(), error.attempts()), (false, 1, 1), "{error}");
            small.nothing_left().await;
        }
    });
}

#[tokio::test]
async fn parts_that_cannot_be_written_end_together_and_give_their_permits_back() {
    let Some(disk) = prepared(|| (), LIMIT).await else { return };
    let small = Small::new(disk).await;
    small.put("k", 64 * MIB);
    small.used().await;
    // More often than the 24 permits of a client last for the 7 parts beyond the first.
    for _ in 0..5 {
        small.fixture.server.clear_log();
        let error = small.fails("k").await;
        assert_eq!(error.kind(), ErrorKind::Io, "{error}");
        assert!(written(&error, 64 * MIB, &small.disk) as u64 <= FILE_LIMIT, "{error}");
        small.nothing_left().await;
        let log = small.fixture.server.log();
        let mut ranges: Vec<_> = log.iter().map(|request| request.header("range")).collect();
        ranges.sort_unstable();
        ranges.dedup();
        assert!(ranges.len() == log.len() && log.len() <= 8, "a part was asked for again: {ranges:?}");
    }
    small.get_small().await;

    small.fixture.server.clear_log();
    small.fixture.server.inject(Fault::stall_after(1).key("k").times(usize::MAX));
    let get = tokio::spawn(small.fixture.s3.get("k").into_future());
    small.fixture.wait_until(|log| log.len() == 8).await;
    get.abort();
    assert!(get.await.unwrap_err().is_cancelled());
}

#[tokio::test]
async fn the_others_of_a_batch_go_on_when_one_object_does_not_fit() {
    let Some(disk) = prepared(|| (), MOUNT).await else { return };
    let small = Small::new(disk).await;
    small.put("large", 20 * MIB);
    small.put("medium", 12 * MIB);
    small.put("fits", 2 * MIB);
    let keys = ["small", "large", "fits", "medium", "small", "fits"];
    // Side by side, whoever writes while the disk is full would fail.
    let outcomes: Vec<_> = small.s3.get_many(keys).concurrency(1).ordered(true).collect().await;
    for (key, outcome) in keys.into_iter().zip(&outcomes) {
        match outcome {
            Ok(object) => assert_eq!(object.blob().await.unwrap(), small.fixture.server.object("bucket", key).unwrap()),
            Err(error) => assert_no_room(error, small.fixture.server.object("bucket", key).unwrap().len()),
        }
    }
    let failed: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()?.index()).collect();
    assert_eq!((failed, small.files()), (vec![1, 3], 4));
    drop(outcomes);
    small.nothing_left().await;

    let error = small.s3.get_many(keys).concurrency(1).await.unwrap_err();
    assert_no_room(&error, 20 * MIB);
    small.nothing_left().await;
}

#[tokio::test]
async fn a_tmproot_without_room_for_a_directory_is_found_out_before_anything_is_sent() {
    let Some(disk) = prepared(|| (), MOUNT).await else { return };
    let small = Small::new(disk).await;
    small.fill(0);
    for _ in 0..3 {
        let error = small.fails("small").await;
        assert_full(&error);
        assert!(error.to_string().contains(small.disk.to_str().unwrap()), "{error}");
        assert_eq!(names(&small.disk), ["filler"]);
    }
    assert_eq!(small.gets(), 0);
    small.make_room();
    small.get_small().await;
}

#[tokio::test]
async fn a_read_only_disk_is_an_io_error_until_it_can_be_written_again() {
    let Some(disk) = prepared(|| (), MOUNT_LARGE).await else { return };
    let small = Small::new(disk).await;
    let (one_stream, by_parts) = (12 * MIB, 20 * MIB);
    small.put("one stream", one_stream);
    small.put("by parts", by_parts);
    let assert_read_only = |error: &Error, path: &str| {
        let text = with_causes(error);
        assert_eq!(error.kind(), ErrorKind::Io, "{text}");
        assert!(text.contains("Read-only file system") && text.contains(path) && !error.is_retryable(), "{text}");
    };
    let root = small.disk.to_str().unwrap();
    small.make_read_only().await;
    assert_read_only(&small.fails("small").await, root);
    assert_eq!(small.gets(), 0);

    small.make_writable().await;
    let held = small.s3.get("small").await.unwrap();
    small.make_read_only().await;
    for (key, need) in [("small", 5), ("one stream", one_stream), ("by parts", by_parts)] {
        small.fixture.server.clear_log();
        let error = small.fails(key).await;
        assert_read_only(&error, &format!("could not make {root}/"));
        assert!(error.to_string().contains(&format!(": 0 of {need} bytes were written")), "{error}");
        assert_eq!((error.attempts(), small.gets(), small.files()), (1, 1, 1));
    }
    // A file that cannot be removed is left to the end of the scope.
    assert_eq!(held.text().await.unwrap(), "small");
    drop(held);
    assert_eq!(small.files(), 1);
    assert_read_only(&small.s3.clone().close().await.unwrap_err(), root);
    small.make_writable().await;
    small.s3.close().await.unwrap();
    assert_eq!(names(&small.disk), Vec::<String>::new());
}

#[tokio::test]
async fn a_file_longer_than_the_process_may_write_is_an_io_error() {
    let Some(disk) = prepared(|| (), LIMIT).await else { return };
    let small = Small::new(disk).await;
    for (key, size) in [("one piece", 1 << 20 | 1), ("one stream", 4 << 20), ("by parts", 20 << 20)] {
        small.put(key, size);
        small.fixture.server.clear_log();
        let error = small.fails(key).await;
        assert_eq!(error.kind(), ErrorKind::Io, "{error}");
        assert!(with_causes(&error).contains("File too large"), "{}", with_causes(&error));
        assert!(written(&error, size, &small.disk) as u64 <= FILE_LIMIT);
        assert!(small.gets() <= size.div_ceil(8 << 20), "{error}");
        small.nothing_left().await;
    }
    small.put("as long as may be", FILE_LIMIT as usize);
    small.s3.get("as long as may be").await.unwrap();
    small.get_small().await;
}

#[tokio::test]
async fn what_does_not_fit_where_it_is_persisted_leaves_the_destination_as_it_was() {
    let Some(disk) = prepared(|| (), MOUNT).await else { return };
    let small = Small::new(disk).await;
    small.put("k", 4 * MIB);
    small.fill(1 << 20);
    let destination = small.disk.join("destination");
    std::fs::write(&destination, "older").unwrap();
    let before = names(&small.disk);
    let get = async || small.fixture.s3.get("k").await.unwrap();
    let assert_refused = |error: &Error| {
        assert_full(error);
        let text = error.to_string();
        assert!(text.contains("persist s3://bucket/k: could not persist the 4194304 bytes of "), "{text}");
        assert!(text.ends_with(destination.to_str().unwrap()), "{text}");
        assert_eq!((std::fs::read(&destination).unwrap(), names(&small.disk)), (b"older".into(), before.clone()));
    };
    let object = get().await;
    assert_refused(&object.clone().persist(&destination).await.unwrap_err());
    assert_eq!(object.blob().await.unwrap().len(), 4 * MIB);
    assert_refused(&object.persist(&destination).await.unwrap_err());
    assert_eq!(small.fixture.files(), 0);

    small.make_room();
    get().await.persist(&destination).await.unwrap();
    assert_eq!(std::fs::read(&destination).unwrap(), vec![7; 4 * MIB]);
    assert_eq!((small.fixture.files(), names(&small.disk)), (0, vec!["destination".to_owned()]));
}

/// The directory of the scope, which is used.
async fn directory_of(fixture: &Fixture) -> PathBuf {
    let object = fixture.s3.get("small").await.unwrap();
    let directory = object.path().unwrap().parent().unwrap().to_owned();
    fixture.server.clear_log();
    directory
}

#[tokio::test]
async fn a_directory_that_somebody_removed_is_an_io_error_of_every_get_and_none_of_other_operations() {
    let fixture = Fixture::new().await;
    fixture.server.put_object("bucket", "small", "small");
    fixture.server.put_object("bucket", "one stream", vec![7; 12 * MIB]);
    fixture.server.put_object("bucket", "by parts", vec![7; 20 * MIB]);
    let directory = directory_of(&fixture).await;
    let held = fixture.s3.get("small").await.unwrap();
    std::fs::remove_dir_all(&directory).unwrap();
    for (key, need) in [("small", 5), ("one stream", 12 * MIB), ("by parts", 20 * MIB)] {
        fixture.server.clear_log();
        let error = fixture.s3.get(key).await.unwrap_err();
        let text = error.to_string();
        assert!(error.kind() == ErrorKind::Io && !error.is_retryable(), "{text}");
        assert!(text.contains(&format!("could not make {}/", directory.display())), "{text}");
        assert!(text.contains(&format!(": 0 of {need} bytes were written")), "{text}");
        assert_eq!((error.attempts(), count(&fixture.server.log(), Operation::GetObject)), (1, 1));
    }
    let path = held.path().unwrap().to_str().unwrap().to_owned();
    let destination = fixture.tmproot.path().join("destination");
    for (operation, error) in [
        ("blob", held.blob().await.unwrap_err()),
        ("text", held.text().await.unwrap_err()),
        ("persist", held.clone().persist(&destination).await.unwrap_err()),
        ("persist", held.persist(&destination).await.unwrap_err()),
    ] {
        let text = error.to_string();
        assert!(error.kind() == ErrorKind::Io && text.contains(&path), "{text}");
        assert!(text.starts_with(&format!("{operation} s3://bucket/small: ")), "{text}");
    }
    fixture.s3.put("k", "v").await.unwrap();
    assert_eq!(fixture.s3.info("k").await.unwrap().size(), Some(1));
    fixture.s3.close().await.unwrap();
    assert_eq!(names(fixture.tmproot.path()), Vec::<String>::new());
}

#[tokio::test]
async fn a_directory_that_is_removed_during_a_download_leaves_no_object_that_looks_whole() {
    let fixture = Fixture::new().await;
    fixture.server.put_object("bucket", "small", "small");
    fixture.server.put_object("bucket", "k", vec![7; 4 * MIB]);
    let directory = directory_of(&fixture).await;
    fixture.server.inject(Fault::close_after(3 * MIB as u64 / 2).key("k"));
    fixture.server.hold();
    let get = tokio::spawn(fixture.s3.get("k").into_future());
    fixture.wait_until(|log| log.len() == 1).await;
    fixture.server.release();
    fixture.server.hold();
    // The rest is asked for when the first piece is on the disk.
    fixture.wait_until(|log| log.len() == 2).await;
    assert_eq!(fixture.files(), 1);
    std::fs::remove_dir_all(&directory).unwrap();
    fixture.server.release();
    let error = in_time("the get ends", get).await.unwrap().unwrap_err();
    let text = error.to_string();
    assert!(error.kind() == ErrorKind::Io && text.contains(directory.to_str().unwrap()), "{text}");
    assert_eq!(fixture.server.log().len(), 2);
}

#[cfg(unix)]
#[tokio::test]
async fn a_directory_that_is_removed_while_parts_are_written_leaves_no_object_that_looks_whole() {
    use std::os::unix::fs::MetadataExt as _;

    let fixture = Fixture::new().await;
    fixture.server.put_object("bucket", "small", "small");
    fixture.server.put_object("bucket", "k", vec![7; 24 * MIB]);
    let directory = directory_of(&fixture).await;
    for part in [8, 16] {
        fixture.server.inject(Fault::close_after(7 * MIB as u64).key("k").first_byte(part * MIB as u64));
    }
    fixture.server.hold();
    let get = tokio::spawn(fixture.s3.get("k").into_future());
    // The first part, the two others, and the rest of each of these, which stays out.
    for arrived in [1, 3] {
        fixture.wait_until(|log| log.len() == arrived).await;
        fixture.server.release();
        fixture.server.hold();
    }
    fixture.wait_until(|log| log.len() == 5).await;
    let names = names(&directory);
    let name = names.iter().find(|name| name.ends_with(".part")).unwrap();
    let written = || std::fs::metadata(directory.join(name)).unwrap().blocks() * 512;
    in_time("all parts are opened and written to", async {
        while written() < 18 * MIB as u64 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    std::fs::remove_dir_all(&directory).unwrap();
    fixture.server.release();
    let error = in_time("the get ends", get).await.unwrap().unwrap_err();
    let text = error.to_string();
    assert!(error.kind() == ErrorKind::Io && text.contains("could not rename"), "{text}");
    assert!(text.contains(": 25165824 of 25165824 bytes were written") && error.attempts() == 1, "{text}");
    assert_eq!(fixture.server.log().len(), 5);
}

#[tokio::test]
async fn a_tmproot_that_is_missing_is_named_before_anything_is_sent_and_used_once_it_is_there() {
    let fixture = Fixture::new().await;
    fixture.put_numbered(1);
    let tmproot = fixture.tmproot.path().join("missing");
    let s3 = fixture.client.s3().s3root("s3://bucket").tmproot(&tmproot).build().unwrap();
    let error = s3.get("k0").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.to_string().contains(tmproot.to_str().unwrap()), "{error}");
    assert!(fixture.server.log().is_empty());
    std::fs::create_dir(&tmproot).unwrap();
    let object: S3Object = s3.get("k0").await.unwrap();
    assert_eq!(object.text().await.unwrap(), "k0");
}
