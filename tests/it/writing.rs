//! Values that are written: stored whole by `finish`, and not at all without.

use s3flow::testing::{Fault, Operation, S3Server};
use s3flow::{ErrorKind, PutOutcome, PutValue};
use tokio::io::AsyncWriteExt as _;

use crate::cases::uploads::patterned;
use crate::support::{Fixture, count, in_time};

const MIB: usize = 1 << 20;

#[tokio::test]
async fn what_was_written_is_stored_by_finish() {
    let fixture = Fixture::new().await;
    for length in [0, 1, 64 * 1024, 3 * MIB, 17 * MIB + 1] {
        let bytes = patterned(length);
        let mut writer = fixture.s3.put("k", "").content_type("text/x").metadata([("owner", "me")]).writer();
        for chunk in bytes.chunks(100_001) {
            writer.write_all(chunk).await.unwrap();
        }
        writer.flush().await.unwrap();
        let receipt = writer.finish().await.unwrap();
        let object = fixture.s3.get("k").await.unwrap();
        assert!(object.blob().await.unwrap() == bytes, "{length}");
        assert_eq!((object.etag(), object.content_type()), (receipt.etag(), Some("text/x")));
        assert_eq!(object.metadata().unwrap()["owner"], "me");
    }
    assert!(fixture.server.multipart_uploads("bucket").is_empty());
}

#[tokio::test]
async fn a_value_that_was_given_comes_first() {
    let fixture = Fixture::new().await;
    let file = fixture.tmproot.path().join("file");
    std::fs::write(&file, "head ").unwrap();
    let stream = PutValue::stream(futures::stream::iter(["he", "ad "].map(Ok::<_, std::io::Error>)));
    for value in [PutValue::from("head "), PutValue::file(&file), stream] {
        let mut writer = fixture.s3.put("k", value).writer();
        writer.write_all(b"tail").await.unwrap();
        writer.finish().await.unwrap();
        assert_eq!(&fixture.server.object("bucket", "k").unwrap()[..], b"head tail");
    }
}

#[tokio::test]
async fn without_finish_nothing_is_stored_and_no_upload_stays() {
    for length in [0, 5, 20 * MIB] {
        let fixture = Fixture::new().await;
        let mut writer = fixture.s3.put("k", "").writer();
        writer.write_all(&patterned(length)).await.unwrap();
        // Not the same as to finish.
        writer.shutdown().await.unwrap();
        if length > 16 * MIB {
            fixture.wait_until(|log| count(log, Operation::UploadPart) > 0).await;
        }
        drop(writer);
        in_time("cleanups", fixture.s3.close()).await.unwrap();
        assert!(fixture.server.keys("bucket").is_empty(), "{length}");
        assert!(fixture.server.multipart_uploads("bucket").is_empty(), "{length}");
    }
}

#[tokio::test]
async fn an_upload_that_fails_fails_the_writes_and_finish_tells_why() {
    let fixture = Fixture::of(S3Server::builder().bucket("bucket").md5(false).start().await.unwrap());
    fixture.server.inject(Fault::status(403, "AccessDenied").operation(Operation::UploadPart).times(usize::MAX));
    let mut writer = fixture.s3.put("k", "").writer();
    let chunk = patterned(MIB);
    let failed = in_time("the writes", async {
        loop {
            if let Err(error) = writer.write_all(&chunk).await {
                return error;
            }
        }
    });
    let failed = failed.await;
    assert_eq!(failed.kind(), std::io::ErrorKind::PermissionDenied);
    assert!(failed.to_string().contains("s3://bucket/k"), "{failed}");
    assert!(writer.write_all(b"more").await.is_err());
    let error = writer.finish().await.unwrap_err();
    assert_eq!((error.kind(), error.url()), (ErrorKind::AccessDenied, Some("s3://bucket/k")));
    // A value that never gets that far is told by finish alone.
    fixture.server.inject(Fault::status(403, "AccessDenied").operation(Operation::PutObject));
    let mut writer = fixture.s3.put("k", "").writer();
    writer.write_all(b"text").await.unwrap();
    assert_eq!(writer.finish().await.unwrap_err().kind(), ErrorKind::AccessDenied);
    let urls = fixture.client.s3().build().unwrap();
    assert_eq!(urls.put("no url", "").writer().finish().await.unwrap_err().kind(), ErrorKind::InvalidUrl);
}

#[tokio::test]
async fn conditions_hold_for_what_is_written_too() {
    let fixture = Fixture::new().await;
    for (length, expected) in
        [(4, PutOutcome::Created), (4, PutOutcome::AlreadyExists), (40 * MIB, PutOutcome::AlreadyExists)]
    {
        let mut writer = fixture.s3.put("k", "").overwrite(false).writer();
        writer.write_all(&patterned(length)).await.unwrap();
        assert_eq!(writer.finish().await.unwrap().outcome(), expected);
        assert_eq!(&fixture.server.object("bucket", "k").unwrap()[..], patterned(4));
    }
}
