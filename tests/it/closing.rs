//! The end of a scope: what is under way ends, what was begun is cleaned up, and whoever closes is told.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use s3flow::testing::{Operation, S3Server};
use s3flow::{ErrorKind, PutReceipt, PutValue, Result, S3};
use tokio::task::JoinHandle;

use crate::support::{Fixture, count, in_time};

/// A put whose upload has begun and whose value never ends.
async fn endless_put(fixture: &Fixture, s3: &S3, key: &str) -> JoinHandle<Result<PutReceipt>> {
    let before = count(&fixture.server.log(), Operation::UploadPart);
    let part = futures::stream::iter([Ok::<_, std::io::Error>(Bytes::from(vec![1; 9 << 20]))]);
    let value = PutValue::stream(part.chain(futures::stream::pending()));
    let put = tokio::spawn(s3.put(key, value).into_future());
    fixture.wait_until(|log| count(log, Operation::UploadPart) > before).await;
    put
}

#[tokio::test]
async fn after_a_close_no_upload_is_left() {
    let fixture = Fixture::new().await;
    for aborted in 1..=5 {
        let s3 = fixture.scope().s3root("s3://bucket").build().unwrap();
        let puts = [endless_put(&fixture, &s3, "a").await, endless_put(&fixture, &s3, "b").await];
        s3.close().await.unwrap();
        assert_eq!(fixture.server.multipart_uploads("bucket"), Vec::<String>::new());
        assert_eq!(count(&fixture.server.log(), Operation::AbortMultipartUpload), 2 * aborted);
        for put in puts {
            assert_eq!(put.await.unwrap().unwrap_err().kind(), ErrorKind::Closed);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_close_no_upload_is_left_on_several_threads_either() {
    let fixture = Fixture::new().await;
    for _ in 0..10 {
        let s3 = fixture.scope().s3root("s3://bucket").build().unwrap();
        let _put = endless_put(&fixture, &s3, "a").await;
        s3.close().await.unwrap();
        assert_eq!(fixture.server.multipart_uploads("bucket"), Vec::<String>::new());
    }
}

#[tokio::test]
async fn an_abort_that_is_not_answered_in_time_is_told_and_goes_on() {
    let fixture = Fixture::new().await;
    fixture.server.put_object("bucket", "k", "x");
    let _object = fixture.s3.get("k").await.unwrap();
    let _put = endless_put(&fixture, &fixture.s3, "a").await;
    fixture.server.hold();
    let error = fixture.s3.close_within(Duration::from_millis(50)).await.unwrap_err();
    assert_eq!((error.kind(), error.operation()), (ErrorKind::Timeout, Some("close")));
    assert!(error.to_string().contains("1 cleanup was under way after 50ms, and goes on"), "{error}");
    assert_eq!(std::fs::read_dir(fixture.tmproot.path()).unwrap().count(), 0);
    assert_eq!(fixture.server.multipart_uploads("bucket"), ["a"]);

    fixture.server.release();
    let clone = fixture.s3.clone();
    in_time("both closes end", async { tokio::try_join!(clone.close(), fixture.s3.close()) }).await.unwrap();
    assert_eq!(fixture.server.multipart_uploads("bucket"), Vec::<String>::new());
}

#[tokio::test]
async fn a_close_that_is_given_up_still_ends_what_is_under_way() {
    let fixture = Fixture::of(S3Server::start().await.unwrap());
    fixture.server.create_bucket("bucket");
    let put = endless_put(&fixture, &fixture.s3, "a").await;
    fixture.server.hold();
    tokio::select! {
        biased;
        closed = fixture.s3.close() => panic!("a held abort was answered: {closed:?}"),
        () = fixture.wait_until(|log| count(log, Operation::AbortMultipartUpload) == 1) => {}
    }
    assert_eq!(put.await.unwrap().unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(fixture.s3.info("k").await.unwrap_err().kind(), ErrorKind::Closed);
    fixture.server.release();
    fixture.s3.close().await.unwrap();
    assert_eq!(fixture.server.multipart_uploads("bucket"), Vec::<String>::new());
}

#[tokio::test]
async fn a_directory_that_cannot_be_removed_is_named_and_closing_again_tries_again() {
    let fixture = Fixture::new().await;
    fixture.put_numbered(1);
    let object = fixture.s3.get("k0").await.unwrap();
    // A mount point, an open file on Windows: what resists here is a path that is no directory any more.
    let directory = object.path().unwrap().parent().unwrap().to_owned();
    let aside = fixture.tmproot.path().join("aside");
    std::fs::rename(&directory, &aside).unwrap();
    std::fs::write(&directory, "in the way").unwrap();
    let error = fixture.s3.close().await.unwrap_err();
    assert_eq!((error.kind(), error.operation()), (ErrorKind::Io, Some("close")));
    assert!(error.to_string().contains(directory.to_str().unwrap()), "{error}");

    std::fs::remove_file(&directory).unwrap();
    std::fs::rename(&aside, &directory).unwrap();
    fixture.s3.close().await.unwrap();
    assert!(!directory.exists());
}
