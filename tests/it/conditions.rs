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
