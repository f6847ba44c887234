//! Conditional writes that the server answers late, oddly, or not at all: who won is never told wrongly.

use s3flow::ErrorKind;
use s3flow::testing::{Fault, Operation};

use crate::cases::uploads::{LARGE, patterned};
use crate::support::{Fixture, count};

#[tokio::test]
async fn a_completion_that_meets_itself_is_not_taken_for_another_writer() {
    let fixture = Fixture::new().await;
    fixture.server.inject(Fault::lose_answer().operation(Operation::CompleteMultipartUpload).key("k"));
    let meets_itself = Fault::status(409, "ConditionalRequestConflict").operation(Operation::CompleteMultipartUpload);
    fixture.server.inject(meets_itself.key("k").on_call(2));
    assert!(fixture.s3.put("k", patterned(LARGE)).overwrite(false).await.unwrap().uploaded());
    assert!(fixture.server.object("bucket", "k").unwrap() == patterned(LARGE));
}

#[tokio::test]
async fn a_condition_that_fails_after_the_headers_of_the_answer_is_one_that_fails() {
    let fixture = Fixture::new().await;
    let late = |code: &str| Fault::error_in_200(code).operation(Operation::CompleteMultipartUpload).key("k");
    fixture.server.inject(late("PreconditionFailed"));
    assert!(!fixture.s3.put("k", vec![1; LARGE]).overwrite(false).await.unwrap().uploaded());
    fixture.server.inject(late("PreconditionFailed"));
    let error = fixture.s3.put("k", vec![1; LARGE]).if_match("\"e\"").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Changed, "{error}");

    fixture.server.clear_log();
    fixture.server.inject(late("ConditionalRequestConflict"));
    assert!(fixture.s3.put("k", vec![1; LARGE]).overwrite(false).await.unwrap().uploaded());
    assert_eq!(count(&fixture.server.log(), Operation::CreateMultipartUpload), 2);
    assert!(fixture.server.multipart_uploads("bucket").is_empty());
}

#[tokio::test]
async fn who_may_write_and_not_read_puts_long_values_without_overwrite_too() {
    let fixture = Fixture::new().await;
    // S3 does not tell those who may not list that a key is missing; an object with another customer's key is a 400.
    for status in [403, 400] {
        let key = format!("k{status}");
        fixture.server.inject(Fault::status(status, "").operation(Operation::HeadObject).times(10));
        assert!(fixture.s3.put(&key, vec![1; LARGE]).overwrite(false).await.unwrap().uploaded(), "{status}");
        assert!(!fixture.s3.put(&key, vec![2; LARGE]).overwrite(false).await.unwrap().uploaded(), "{status}");
        assert_eq!(fixture.server.object("bucket", &key).unwrap()[0], 1);
        fixture.server.clear_faults();
    }
}

#[tokio::test]
async fn a_server_that_refuses_conditions_is_one_that_does_not_keep_them() {
    for (status, code) in [(400, "InvalidArgument"), (501, "NotImplemented")] {
        let fixture = Fixture::new().await;
        let refused = |operation| Fault::status(status, code).operation(operation);
        // The second put of the trial is the one with the condition.
        fixture.server.inject(refused(Operation::PutObject).on_call(2));
        fixture.server.inject(refused(Operation::CompleteMultipartUpload));
        for (key, value) in [("small", vec![1]), ("large", vec![1; LARGE])] {
            let error = fixture.s3.put(key, value.clone()).overwrite(false).await.unwrap_err();
            assert_eq!((error.kind(), error.code()), (ErrorKind::Unsupported, None), "{error}");
            let put = fixture.s3.put(key, value).overwrite(false).check_then_put(true);
            assert!(put.await.unwrap().uploaded(), "{status} {key}");
        }
        assert_eq!(fixture.server.keys("bucket"), ["large", "small"]);
    }
}

#[tokio::test]
async fn credentials_that_expire_during_a_trial_say_nothing_of_conditions() {
    let fixture = Fixture::new().await;
    fixture.server.inject(Fault::status(400, "ExpiredToken").operation(Operation::PutObject).on_call(2));
    let error = fixture.s3.put("k", "x").overwrite(false).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AccessDenied, "{error}");
    assert!(fixture.s3.put("k", "x").overwrite(false).await.unwrap().uploaded());
}
