//! Conditional writes that the server answers late, oddly, or not at all: who won is never told wrongly.

use s3flow::testing::{Fault, Operation};

use crate::cases::uploads::{LARGE, patterned};
use crate::support::Fixture;

#[tokio::test]
async fn a_completion_that_meets_itself_is_not_taken_for_another_writer() {
    let fixture = Fixture::new().await;
    fixture.server.inject(Fault::lose_answer().operation(Operation::CompleteMultipartUpload).key("k"));
    let meets_itself = Fault::status(409, "ConditionalRequestConflict").operation(Operation::CompleteMultipartUpload);
    fixture.server.inject(meets_itself.key("k").on_call(2));
    assert!(fixture.s3.put("k", patterned(LARGE)).overwrite(false).await.unwrap().uploaded());
    assert!(fixture.server.object("bucket", "k").unwrap() == patterned(LARGE));
}
