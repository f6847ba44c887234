//! Uploads that are dropped at one moment or another leave nothing on the server.

use std::time::Duration;

use s3flow::testing::{Fault, Operation, S3Server};

use crate::cases::uploads::{LARGE, patterned};
use crate::support::{Fixture, count};

fn assert_nothing_stays(fixture: &Fixture) {
    assert_eq!(fixture.server.keys("bucket"), Vec::<String>::new());
    assert_eq!(fixture.server.multipart_uploads("bucket"), Vec::<String>::new());
}

#[tokio::test]
async fn a_dropped_upload_is_aborted() {
    let fixture = Fixture::new().await;
    fixture.server.inject(Fault::stall().operation(Operation::UploadPart).times(100));
    let put = tokio::spawn(fixture.s3.put("k", vec![1; LARGE]).into_future());
    fixture.wait_until(|log| count(log, Operation::UploadPart) == 3).await;
    assert_eq!(fixture.server.multipart_uploads("bucket").len(), 1);
    put.abort();
    fixture
        .wait_until(|log| {
            let aborts = log.iter().filter(|request| request.operation() == Operation::AbortMultipartUpload);
            aborts.filter(|request| request.status().is_some()).count() == 1
        })
        .await;
    assert_nothing_stays(&fixture);
}

#[tokio::test]
async fn an_upload_that_is_dropped_while_it_begins_is_aborted() {
    let server = S3Server::builder().bucket("bucket").max_copy_size(64 << 20).latency(Duration::from_millis(200));
    let fixture = Fixture::of(server.start().await.unwrap());
    fixture.server.put_object("bucket", "source", patterned((64 << 20) + 1));
    let put = fixture.s3.put("k", vec![1; LARGE]).into_future();
    let copy = fixture.s3.copy("source", "k").into_future();
    for (what, write) in [("put", put), ("copy", copy)] {
        let write = tokio::spawn(write);
        fixture.wait_until(|log| count(log, Operation::CreateMultipartUpload) == 1).await;
        // The upload is not there yet.
        assert_eq!(fixture.server.multipart_uploads("bucket"), Vec::<String>::new(), "{what}");
        write.abort();
        assert!(write.await.unwrap_err().is_cancelled(), "{what}");
        fixture
            .wait_until(|log| {
                let mut aborts = log.iter().filter(|request| request.operation() == Operation::AbortMultipartUpload);
                aborts.any(|request| request.status() == Some(204))
            })
            .await;
        assert_eq!(fixture.server.multipart_uploads("bucket"), Vec::<String>::new(), "{what}");
        let log = fixture.server.log();
        assert_eq!(count(&log, Operation::UploadPart) + count(&log, Operation::UploadPartCopy), 0, "{what}");
        fixture.server.clear_log();
    }
}

#[test]
fn an_upload_dropped_outside_of_its_runtime_is_aborted_when_the_runtime_goes_on() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let fixture = runtime.block_on(Fixture::new());
    fixture.server.inject(Fault::stall().operation(Operation::UploadPart).times(100));
    let mut put = fixture.s3.put("k", vec![1; LARGE]).into_future();
    runtime.block_on(async {
        tokio::select! {
            outcome = &mut put => panic!("{outcome:?}"),
            () = fixture.wait_until(|log| count(log, Operation::UploadPart) == 3) => {}
        }
    });
    drop(put);
    runtime.block_on(fixture.wait_until(|log| {
        log.iter().any(|request| request.operation() == Operation::AbortMultipartUpload && request.status().is_some())
    }));
    assert_nothing_stays(&fixture);
}
