//! Processes that are killed: nothing of them stays.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use s3flow::S3;
use s3flow::testing::{Fault, Operation};
use tokio::process::Child;

use crate::cases::uploads::patterned;
use crate::shell::{Shell, names};
use crate::support::{count, in_time, seed, split_mix};

/// A scope of this process in the tmproot of the others.
fn scope(shell: &Shell) -> S3 {
    let client = shell.server.client_builder().build().unwrap();
    client.s3().s3root("s3://bucket").tmproot(shell.temp.path()).build().unwrap()
}

/// Waits for something on the disk.
async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    in_time(what, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

async fn kill(mut child: Child) {
    // SIGKILL: nothing of the process runs any more.
    child.kill().await.unwrap();
}

/// A process that downloads an object of 4 MiB and has the half of it; with the directory that it downloads into.
async fn half_downloaded(shell: &Shell) -> (Child, PathBuf) {
    let before = names(shell.temp.path());
    let child = shell.s3op(["--s3root", "s3://bucket", "get", "k", "--out", "out"]).spawn().unwrap();
    let mut directory = None;
    let has_half = || {
        let new = names(shell.temp.path()).into_iter().find(|name| !before.contains(name));
        directory = new.map(|name| shell.temp.path().join(name));
        let files = directory.iter().filter_map(|directory| std::fs::read_dir(directory).ok()).flatten().flatten();
        files.filter_map(|file| file.metadata().ok()).any(|file| file.len() >= 1 << 20)
    };
    until("half a file is there", has_half).await;
    (child, directory.unwrap())
}

#[tokio::test]
async fn the_directory_of_a_killed_download_is_removed_by_the_next_scope_and_those_of_the_living_stay() {
    let shell = Shell::new().await;
    shell.server.put_object("bucket", "k", vec![1; 4 << 20]);
    shell.server.put_object("bucket", "small", "x");
    shell.server.inject(Fault::stall_after(2 << 20).operation(Operation::GetObject).key("k").times(usize::MAX));
    let kept = scope(&shell);
    let held = kept.get("small").await.unwrap();
    for _ in 0..3 {
        let (living, of_the_living) = half_downloaded(&shell).await;
        let (killed, of_the_killed) = half_downloaded(&shell).await;
        kill(killed).await;
        assert!(of_the_killed.exists(), "a killed process removes nothing");

        // This process has swept this tmproot lately; a new one has not.
        let next = shell.s3op(["--s3root", "s3://bucket", "get", "k", "--out", "out"]).spawn().unwrap();
        until("the directory of the killed process is gone", || !of_the_killed.exists()).await;
        assert!(of_the_living.exists());
        assert_eq!(held.text().await.unwrap(), "x");
        for process in [living, next] {
            kill(process).await;
        }
    }
    // What the last ones left: of processes that are dead, and of a scope that was forgotten, but not by its process.
    let directory = held.path().unwrap().parent().unwrap().to_owned();
    std::mem::forget((held, kept));
    let (last, of_the_last) = half_downloaded(&shell).await;
    until("what the others left is gone", || names(shell.temp.path()).len() == 2).await;
    assert!(directory.exists() && of_the_last.exists());
    kill(last).await;
}

#[tokio::test]
async fn an_upload_of_a_killed_process_is_found_and_aborted_and_no_object_is_there() {
    let shell = Shell::new().await;
    shell.server.create_bucket("bucket");
    let file = shell.write("large", vec![1; 40 << 20]);
    shell.server.hold();
    let child = shell.s3op(["--s3root", "s3://bucket", "put", "dir/large", &file]).spawn().unwrap();
    let arrived = async |operation| {
        in_time("the request comes", shell.server.wait_until(|log| count(log, operation) > 0)).await;
    };
    arrived(Operation::CreateMultipartUpload).await;
    shell.server.release();
    shell.server.hold();
    arrived(Operation::UploadPart).await;
    kill(child).await;
    shell.server.release();

    let s3 = scope(&shell);
    assert!(s3.abandoned_uploads(["dir"], Duration::from_secs(3600)).await.unwrap().is_empty());
    let found = s3.abandoned_uploads(["dir"], Duration::ZERO).await.unwrap();
    assert_eq!(found.iter().map(|upload| upload.url()).collect::<Vec<_>>(), ["s3://bucket/dir/large"]);
    s3.abandoned_uploads(["dir"], Duration::ZERO).abort(true).await.unwrap();
    assert_eq!(shell.server.multipart_uploads("bucket"), Vec::<String>::new());
    assert!(!s3.exists("dir/large").await.unwrap());
}

/// What `S3FLOW_KILLS` and `S3FLOW_KILL_BYTES` say: how many processes are killed, and how long the objects are.
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

/// Of which object the bytes are that a key or a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holds {
    Nothing,
    Old,
    New,
}

#[derive(Debug, Default)]
struct Kills {
    downloads: usize,
    uploads: usize,
    swept: usize,
    aborted: usize,
    whole: usize,
}

/// The full run takes minutes: `S3FLOW_KILLS=50 S3FLOW_KILL_BYTES=1073741824 cargo test --test it killed:: -- --nocapture`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_that_is_killed_anywhere_leaves_all_of_an_object_or_none() {
    let (kills, length) = (setting("S3FLOW_KILLS", 4), setting("S3FLOW_KILL_BYTES", 24 << 20));
    let shell = Shell::new().await;
    let s3 = scope(&shell);
    let new: Bytes = patterned(length as usize).into();
    let file = shell.write("new", &new);
    let out = shell.work.path().join("out/big");
    shell.server.put_object("bucket", "big", new.clone());
    shell.server.put_object("bucket", "small", "x");
    let holds = |bytes: Option<&[u8]>| match bytes {
        None => Holds::Nothing,
        Some(b"old") => Holds::Old,
        Some(bytes) if bytes == new => Holds::New,
        Some(bytes) => panic!("{} bytes that are neither object", bytes.len()),
    };
    let mut told = Kills::default();
    for round in 0..kills {
        shell.server.put_object("bucket", "target", "old");
        shell.server.clear_log();
        let downloads = round % 2 == 0;
        let mut child = if downloads {
            shell.s3op(["--s3root", "s3://bucket", "get", "big", "--out", "out"])
        } else {
            shell.s3op(["--s3root", "s3://bucket", "put", "target", &file])
        }
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
        // With those that begin and complete an upload.
        let requests = length.div_ceil(8 << 20) + 2;
        let after = split_mix(seed() ^ split_mix(round)) % requests;
        let far = shell
            .server
            .wait_until(|log| log.iter().filter(|request| request.finish().is_some()).count() as u64 >= after);
        tokio::select! {
            () = far => child.kill().await.unwrap(),
            // Before so many requests were answered: then it is whole.
            ended = child.wait() => assert!(ended.unwrap().success()),
        }

        let stored = shell.server.object("bucket", "target");
        let stored = holds(stored.as_deref());
        assert_ne!(stored, Holds::Nothing);
        let fetched = std::fs::read(&out).ok();
        let fetched = holds(fetched.as_deref());
        assert_ne!(fetched, Holds::Old);
        told.whole += usize::from(if downloads { fetched == Holds::New } else { stored == Holds::New });
        let _ = std::fs::remove_file(&out);

        // A new process sweeps at its first download, as far as it gets before it ends.
        told.swept += names(shell.temp.path()).len();
        let sweep = async {
            while !names(shell.temp.path()).is_empty() {
                let mut next = shell.s3op(["--s3root", "s3://bucket", "get", "small"]);
                assert!(next.stdout(std::process::Stdio::null()).status().await.unwrap().success());
            }
        };
        in_time("no directory is left", sweep).await;
        let begun = shell.server.multipart_uploads("bucket").len();
        let aborted = s3.abandoned_uploads([""], Duration::ZERO).abort(true).await.unwrap();
        assert_eq!(aborted.len(), begun);
        assert_eq!(shell.server.multipart_uploads("bucket"), Vec::<String>::new());
        told.aborted += begun;
        if downloads { told.downloads += 1 } else { told.uploads += 1 }
    }
    let Kills { downloads, uploads, swept, aborted, whole } = told;
    eprintln!(
        "killed: {downloads} downloads and {uploads} uploads of {length} bytes; {swept} directories swept, {aborted} uploads \
         aborted, {whole} objects whole before, 0 half"
    );
}
