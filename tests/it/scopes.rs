//! The scope owns its files: how long they live, where they are, what is left.

use std::path::PathBuf;

use s3flow::testing::Fault;
use s3flow::{ErrorKind, S3Object};

use crate::cases::objects::odd_keys;
use crate::support::Fixture;

#[tokio::test]
async fn a_file_goes_with_the_last_clone_of_its_object() {
    let fixture = Fixture::new().await;
    fixture.put_numbered(1);
    let object = fixture.s3.get("k0").await.unwrap();
    let clone = object.clone();
    drop(object);
    assert_eq!((fixture.files(), clone.text().await.unwrap().as_str()), (1, "k0"));
    drop(clone);
    assert_eq!(fixture.files(), 0);
}

#[tokio::test]
async fn a_file_outlives_the_scopes_handles_but_not_close() {
    let fixture = Fixture::new().await;
    fixture.put_numbered(1);
    let s3 = fixture.scope().s3root("s3://bucket").build().unwrap();
    let object = s3.get("k0").await.unwrap();
    drop(s3);
    assert_eq!(object.text().await.unwrap(), "k0");
    drop(object);
    assert_eq!(std::fs::read_dir(fixture.tmproot.path()).unwrap().count(), 0);

    let object = fixture.s3.get("k0").await.unwrap();
    object.keep();
    let clone = fixture.s3.clone();
    fixture.s3.close().await.unwrap();
    assert_eq!(std::fs::read_dir(fixture.tmproot.path()).unwrap().count(), 0);
    assert_eq!(object.text().await.unwrap_err().kind(), ErrorKind::Io);
    clone.close().await.unwrap();
}

#[tokio::test]
async fn after_close_every_operation_is_closed_and_sends_nothing() {
    let fixture = Fixture::new().await;
    fixture.s3.close().await.unwrap();
    for error in [
        fixture.s3.get("k").await.unwrap_err(),
        fixture.s3.get_many(["k"]).await.unwrap_err(),
        fixture.s3.put("k", "v").await.unwrap_err(),
        fixture.s3.put_many([("k", "v")]).await.unwrap_err(),
        fixture.s3.info("k").await.unwrap_err(),
        fixture.s3.list_recursive([""]).await.unwrap_err(),
        fixture.s3.list_paths([""]).await.unwrap_err(),
        fixture.s3.get_recursive(["k"]).await.unwrap_err(),
        fixture.s3.get_all().await.unwrap_err(),
        fixture.s3.info_many(["k"]).await.unwrap_err(),
        fixture.s3.exists("k").await.unwrap_err(),
        fixture.s3.copy("k", "l").await.unwrap_err(),
        fixture.s3.copy_many([("k", "l")]).await.unwrap_err(),
        fixture.s3.delete("k").await.unwrap_err(),
        fixture.s3.delete_many(["k", "l"]).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
    }
    assert!(fixture.server.log().is_empty());
}

#[tokio::test]
async fn close_ends_operations_under_way() {
    let fixture = Fixture::new().await;
    fixture.server.put_object("bucket", "k", vec![1; 4 << 20]);
    fixture.server.inject(Fault::stall_after(2 << 20));
    let get = tokio::spawn(fixture.s3.get("k").into_future());
    fixture.wait_until(|log| log.len() == 1).await;
    fixture.s3.close().await.unwrap();
    assert_eq!(get.await.unwrap().unwrap_err().kind(), ErrorKind::Closed);
    fixture.connections_end(0).await;
    assert_eq!(fixture.files(), 0);
}

#[tokio::test]
async fn a_kept_file_stays_and_a_persisted_one_moves() {
    let fixture = Fixture::new().await;
    fixture.put_numbered(2);
    let object = fixture.s3.get("k0").await.unwrap();
    object.keep();
    let path: PathBuf = object.path().unwrap().into();
    drop(object);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "k0");

    let elsewhere = tempfile::tempdir().unwrap();
    let destination = elsewhere.path().join("result");
    fixture.s3.get("k1").await.unwrap().persist(&destination).await.unwrap();
    assert_eq!(fixture.files(), 1);
    fixture.s3.close().await.unwrap();
    assert_eq!((path.exists(), std::fs::read_to_string(&destination).unwrap().as_str()), (false, "k1"));

    let error = fixture.scope().s3root("s3://bucket").build().unwrap();
    let error = error.get("k1").await.unwrap().persist(elsewhere.path().join("no/such/dir")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.to_string().contains("no/such/dir"), "{error}");
}

#[tokio::test]
async fn unusual_keys_get_safe_file_names_in_the_scopes_directory() {
    let fixture = Fixture::new().await;
    let urls = fixture.scope().build().unwrap();
    let mut objects = Vec::new();
    for key in odd_keys() {
        fixture.server.put_object("bucket", &key, key.clone());
        objects.push(urls.get(format!("s3://bucket/{key}")).await.unwrap());
    }
    let directory = objects[0].path().unwrap().parent().unwrap().to_owned();
    assert_eq!(directory.parent(), Some(fixture.tmproot.path()));
    for object in &objects {
        let path = object.path().unwrap();
        assert_eq!(path.parent(), Some(directory.as_path()));
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(name.len() <= 255 && name.bytes().all(|byte| byte.is_ascii_graphic()), "{name}");
    }
    let mut paths: Vec<_> = objects.iter().map(S3Object::path).collect();
    paths.sort();
    paths.dedup();
    assert_eq!(paths.len(), objects.len());
}

#[tokio::test]
async fn nothing_is_made_on_disk_before_a_download() {
    let fixture = Fixture::new().await;
    fixture.s3.put("k", "v").await.unwrap();
    fixture.s3.info("k").await.unwrap();
    fixture.s3.list_recursive([""]).await.unwrap();
    assert_eq!(std::fs::read_dir(fixture.tmproot.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_listed_object_has_no_file() {
    let fixture = Fixture::new().await;
    fixture.put_numbered(1);
    let listed = fixture.s3.list_recursive([""]).await.unwrap();
    assert_eq!(listed[0].path(), None);
    assert_eq!(listed[0].blob().await.unwrap_err().kind(), ErrorKind::InvalidObject);
    assert_eq!(listed[0].clone().persist("/nowhere").await.unwrap_err().kind(), ErrorKind::InvalidObject);
}

/// On a runtime of one thread: while a file that is a pipe waits for its writer, the thread has time to become that writer.
#[cfg(unix)]
#[tokio::test]
async fn blob_and_text_do_not_block_the_runtime() {
    let fixture = Fixture::new().await;
    fixture.put_numbered(1);
    let object = fixture.s3.get("k0").await.unwrap();
    let path = object.path().unwrap().to_owned();
    std::fs::remove_file(&path).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    for read_text in [false, true] {
        let object = object.clone();
        let reading = tokio::spawn(async move {
            if read_text { object.text().await.map(String::into_bytes) } else { object.blob().await }
        });
        // A reader that blocks this thread is let go by another one, too late.
        let (went_on, writer) = std::sync::mpsc::channel::<()>();
        let pipe = path.clone();
        let writer = std::thread::spawn(move || {
            let in_time = writer.recv_timeout(std::time::Duration::from_secs(20)).is_ok();
            std::fs::write(pipe, "text").unwrap();
            in_time
        });
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        went_on.send(()).ok();
        assert_eq!(reading.await.unwrap().unwrap(), b"text");
        assert!(writer.join().unwrap(), "the runtime waited for a file");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn directories_and_files_are_for_nobody_else_and_no_key_leaves_them() {
    use std::os::unix::fs::PermissionsExt as _;

    let fixture = Fixture::new().await;
    for (key, length) in [("../../escape", 10), ("/etc/passwd", 10), ("a/../..", 10), ("large/..", 17 << 20)] {
        fixture.server.put_object("bucket", key, vec![7; length]);
        let urls = fixture.scope().build().unwrap();
        let object = urls.get(format!("s3://bucket/{key}")).await.unwrap();
        let path = object.path().unwrap();
        let directory = path.parent().unwrap();
        assert_eq!(directory.parent().unwrap(), fixture.tmproot.path(), "{key}");
        assert_eq!(path.canonicalize().unwrap(), directory.canonicalize().unwrap().join(path.file_name().unwrap()));
        let mode = |path: &std::path::Path| std::fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(directory), mode(path)), (0o700, 0o600), "{key}");
    }
}
