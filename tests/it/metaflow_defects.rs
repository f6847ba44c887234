//! Defects of Metaflow 2.19.39 that are not ours: what it does instead is in `docs/metaflow-parity.md`, observed by
//! `tests/interop/defects`.

use std::collections::BTreeSet;

use s3flow::testing::{Fault, Operation, S3Server};
use s3flow::{ErrorKind, S3GetObject};

use crate::support::{Fixture, count};

#[tokio::test]
async fn a_put_many_into_a_missing_bucket_is_an_error_for_every_object() {
    let fixture = Fixture::new().await;
    let s3 = fixture.scope().s3root("s3://no-such-bucket/x").build().unwrap();
    for overwrite in [true, false] {
        let outcomes =
            futures::StreamExt::collect::<Vec<_>>(s3.put_many([("a", "1"), ("b", "2")]).overwrite(overwrite)).await;
        let kinds: Vec<_> = outcomes.into_iter().map(|outcome| outcome.unwrap_err().kind()).collect();
        assert_eq!(kinds, [ErrorKind::NoSuchBucket; 2]);
    }
    assert_eq!(s3.put_many([("a", "1")]).await.unwrap_err().kind(), ErrorKind::NoSuchBucket);
}

#[tokio::test]
async fn without_overwrite_a_failing_head_is_never_taken_for_an_object_that_is_there() {
    let fixture = Fixture::new().await;
    for (status, code) in [(403, "AccessDenied"), (503, "SlowDown")] {
        fixture.server.clear_faults();
        fixture.server.inject(Fault::status(status, code).operation(Operation::HeadObject).times(usize::MAX));
        let keys = [format!("{status}/a"), format!("{status}/b")];
        let stored = fixture.s3.put_many(keys.iter().map(|key| (key, "v"))).overwrite(false).await.unwrap();
        assert_eq!(stored.len(), 2, "{status}");
        assert!(keys.iter().all(|key| fixture.server.object("bucket", key).is_some()), "{status}");
    }
    // Where the server knows no conditions, and the question is asked for, its failure is an error.
    let fixture = Fixture::of(S3Server::builder().bucket("bucket").conditional_writes(false).start().await.unwrap());
    fixture.server.inject(Fault::status(403, "AccessDenied").operation(Operation::HeadObject).times(usize::MAX));
    let error = fixture.s3.put_many([("c", "v")]).overwrite(false).check_then_put(true).await.unwrap_err();
    assert_eq!((error.kind(), fixture.server.object("bucket", "c")), (ErrorKind::AccessDenied, None));
}

#[tokio::test]
async fn an_unsatisfiable_range_of_many_is_told_at_once_and_asked_for_once() {
    let fixture = Fixture::new().await;
    fixture.server.put_object("bucket", "ten", "0123456789");
    let beyond = S3GetObject::new("ten").offset(100).length(1);
    let error = fixture.s3.get_many([beyond]).await.unwrap_err();
    assert_eq!((error.kind(), error.attempts()), (ErrorKind::InvalidRange, 1));
    assert_eq!(count(&fixture.server.log(), Operation::GetObject), 1);
}

#[tokio::test]
async fn a_missing_bucket_is_an_error_with_return_missing_too() {
    let fixture = Fixture::new().await;
    let s3 = fixture.scope().s3root("s3://no-such-bucket/x").build().unwrap();
    let errors = [
        s3.get("k").return_missing(true).await.unwrap_err(),
        s3.info("k").return_missing(true).await.unwrap_err(),
        s3.get_many(["k"]).return_missing(true).await.unwrap_err(),
        s3.info_many(["k"]).return_missing(true).await.unwrap_err(),
    ];
    assert_eq!(errors.map(|error| error.kind()), [ErrorKind::NoSuchBucket; 4]);
}

#[tokio::test]
async fn question_marks_tabs_and_quotes_belong_to_the_key() {
    let fixture = Fixture::new().await;
    let keys =
        ["a", "a?v=1", "a?v=2", "a\tb", "ab", "a\nb", "\"a\"", "//a", "a/"].map(|key| format!("s3://bucket/{key}"));
    let s3 = fixture.scope().build().unwrap();
    s3.put_many(keys.iter().map(|key| (key, key))).await.unwrap();
    for (key, object) in keys.iter().zip(s3.get_many(&keys).await.unwrap()) {
        assert_eq!(object.text().await.unwrap(), *key);
        assert_eq!((object.key(), s3.info(key).await.unwrap().key()), (key.as_str(), key.as_str()));
    }
    let listed = s3.list_recursive(["s3://bucket"]).await.unwrap();
    let urls: BTreeSet<&str> = listed.iter().map(|object| object.url()).collect();
    assert_eq!(urls, keys.iter().map(String::as_str).collect());
}

#[tokio::test]
async fn keys_of_a_recursive_get_are_of_its_prefix_with_info_and_without() {
    let fixture = Fixture::new().await;
    fixture.server.put_object("bucket", "dir/k", "v");
    for return_info in [false, true] {
        let objects = fixture.s3.get_recursive(["dir"]).return_info(return_info).await.unwrap();
        assert_eq!(objects.len(), 1);
        assert_eq!((objects[0].prefix(), objects[0].key()), (Some("s3://bucket/dir"), "k"), "{return_info}");
        assert_eq!(objects[0].has_info(), return_info);
    }
}
