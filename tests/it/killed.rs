//! Processes that are killed: nothing of them stays.

use std::path::PathBuf;
use std::time::Duration;

use s3flow::S3;
use s3flow::testing::{Fault, Operation};
use tokio::process::Child;

use crate::shell::{Shell, names};
use crate::support::{count, in_time};

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
