//! Transfers with a journal: processes that are killed lose little, and what they left is verified.

use std::fs;
use std::process::Stdio;

use bytes::Bytes;
use s3flow::testing::{LoggedRequest, Operation};

use crate::meter::Meter;
use crate::shell::Shell;
use crate::support::{count, seed, split_mix};

/// What is moved, how often its process is killed, and how many bytes may pass in all, in hundredths of it.
#[derive(Debug, Clone, Copy)]
struct Trial {
    bytes: u64,
    kills: u64,
    most: u64,
}

const SMALL: Trial = Trial { bytes: 96 << 20, kills: 6, most: 140 };
const FULL: Trial = Trial { bytes: 2 << 30, kills: 20, most: 120 };

/// Bytes that are nowhere the same.
pub(crate) fn content(length: u64) -> Bytes {
    (0..length / 8).flat_map(|at| split_mix(at).to_le_bytes()).collect()
}

/// Calls the example until it is done; after how many bytes of all each process was killed.
async fn killed(shell: &Shell, meter: &Meter, trial: Trial, arguments: &[&str]) -> Vec<u64> {
    let mut after = Vec::new();
    for number in 0.. {
        let before = meter.sent() + meter.received();
        let mut command = shell.command("resume");
        command.env("AWS_ENDPOINT_URL", meter.endpoint()).args(arguments).stdout(Stdio::null());
        let mut child = command.spawn().unwrap();
        if number >= trial.kills {
            assert!(child.wait().await.unwrap().success());
            return after;
        }
        // So far that the last process has something to do.
        let far = split_mix(seed() ^ split_mix(number)) % (2 * trial.bytes / (trial.kills + 2));
        tokio::select! {
            () = meter.wait_for(before + far) => child.kill().await.unwrap(),
            ended = child.wait() => {
                assert!(ended.unwrap().success());
                return after;
            }
        }
        after.push(meter.sent() + meter.received() - before);
    }
    unreachable!("a process that is not killed ends")
}

fn tell(what: &str, trial: Trial, moved: u64, after: &[u64]) {
    let Trial { bytes, most, .. } = trial;
    let (mib, hundredths) = (moved >> 20, moved * 100 / bytes);
    eprintln!(
        "{what} of {} MiB, {} kills: {mib} MiB moved, {hundredths} %; killed after {after:?}",
        bytes >> 20,
        after.len()
    );
    assert_eq!(after.len() as u64, trial.kills);
    assert!(hundredths <= most, "{hundredths} % of the object were moved");
}

async fn download(trial: Trial) {
    let shell = Shell::new().await;
    let content: Bytes = content(trial.bytes);
    shell.server.put_object("bucket", "dir/large", content.clone());
    shell.server.put_object("bucket", "dir/small", "small");
    let meter = Meter::to(shell.server.endpoint());
    let after = killed(&shell, &meter, trial, &["get", "s3://bucket/dir", "journal", "out"]).await;
    let out = shell.work.path().join("out");
    assert!(fs::read(out.join("large")).unwrap() == content);
    assert_eq!(fs::read(out.join("small")).unwrap(), b"small");
    assert!(!shell.work.path().join("journal").exists());
    tell("download", trial, meter.sent(), &after);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_that_is_killed_again_and_again_moves_little_more_than_its_object() {
    download(SMALL).await;
}

/// `cargo test --release --test it resume:: -- --ignored --nocapture`
#[ignore = "takes minutes and 8 GiB"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_of_2_gib_that_is_killed_20_times_moves_a_fifth_more_at_most() {
    download(FULL).await;
}

async fn upload(trial: Trial) {
    let shell = Shell::new().await;
    shell.server.create_bucket("bucket");
    let content = content(trial.bytes);
    let (large, small) = (shell.write("large", &content), shell.write("small", "small"));
    let meter = Meter::to(shell.server.endpoint());
    let pairs = ["small", small.as_str(), "large", large.as_str()];
    let arguments: Vec<&str> = ["put", "s3://bucket/dir", "journal"].into_iter().chain(pairs).collect();
    let after = killed(&shell, &meter, trial, &arguments).await;
    assert!(shell.server.object("bucket", "dir/large").unwrap() == content);
    assert_eq!(shell.server.object("bucket", "dir/small").unwrap(), "small");
    // What was begun and killed before it was noted has no parts.
    let answered = |request: &LoggedRequest| request.status() == Some(200);
    let begun: Vec<_> = shell.server.log().into_iter().filter(answered).collect();
    assert_eq!(count(&begun, Operation::CreateMultipartUpload), 1 + shell.server.multipart_uploads("bucket").len());
    assert!(!shell.work.path().join("journal").exists());
    tell("upload", trial, meter.received(), &after);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_is_killed_again_and_again_moves_little_more_than_its_file() {
    upload(SMALL).await;
}

/// `cargo test --release --test it resume:: -- --ignored --nocapture`
#[ignore = "takes minutes and 8 GiB"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_of_2_gib_that_is_killed_20_times_moves_a_fifth_more_at_most() {
    upload(FULL).await;
}
