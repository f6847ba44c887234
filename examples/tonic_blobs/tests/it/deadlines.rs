//! The caller's deadline, as far as the S3 server.

use std::time::{Duration, Instant};

use futures::{StreamExt as _, stream};
use s3flow::testing::{Fault, Finish, Operation};
use tonic::{Code, Request};
use tonic_blobs::proto::ListRequest;

use crate::support::{Fixture, code, count, data, first, head, in_time, next, patterned, whole};

const SHORT: Duration = Duration::from_secs(2);

fn within<T>(limit: Duration, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(limit);
    request
}

#[tokio::test]
async fn a_deadline_before_the_answer_ends_the_request_to_s3() {
    let fixture = Fixture::new().await;
    let mut caller = fixture.caller();
    fixture.store("k", "text");
    fixture.server.hold();
    let begun = Instant::now();
    let outcome = in_time("the end of a get", caller.get(within(SHORT, whole("k")))).await;
    assert_eq!(code(outcome), Code::DeadlineExceeded);
    assert!(begun.elapsed() < 5 * SHORT);
    let mut entries = caller.list(within(SHORT, ListRequest::default())).await.unwrap().into_inner();
    assert_eq!(code(in_time("the end of a list", entries.message()).await), Code::DeadlineExceeded);
    fixture.wait_until(|log| log.len() == 2).await;
    in_time("the client lets go", fixture.server.wait_for_connections(|open| open == 0)).await;
    fixture.nothing_is_asked_for().await;
}

#[tokio::test]
async fn a_deadline_ends_a_get_whose_reader_takes_nothing() {
    let fixture = Fixture::new().await;
    fixture.store("k", patterned(48 << 20));
    let mut chunks = fixture.caller().get(within(SHORT, whole("k"))).await.unwrap().into_inner();
    first(&mut chunks).await.unwrap();
    let taken = next(&mut chunks).await.unwrap().unwrap();
    assert!(fixture.server.log().iter().any(|request| request.finish().is_none()), "it waits for the reader");
    fixture.wait_until(|log| log.iter().any(|request| request.finish() == Some(Finish::ClientGone))).await;
    fixture.everything_ends().await;
    // What was on its way still comes, and then the reason.
    let mut came = taken.len();
    let outcome = loop {
        match next(&mut chunks).await {
            Ok(Some(bytes)) => came += bytes.len(),
            outcome => break outcome,
        }
    };
    assert_eq!(code(outcome), Code::DeadlineExceeded);
    assert!(came < 8 << 20, "{came}");
}

#[tokio::test]
async fn a_deadline_ends_a_put_and_leaves_no_parts() {
    let fixture = Fixture::new().await;
    let mut caller = fixture.caller();
    // The server takes nothing more, or the client sends nothing more.
    fixture.server.inject(Fault::stall_after_request(1).operation(Operation::UploadPart).times(usize::MAX));
    let large = stream::iter([head("k")]).chain(stream::iter(vec![data(vec![7; 1_000_000]); 20]));
    let outcome = in_time("the end of a put", caller.put(within(SHORT, large.chain(stream::pending())))).await;
    assert_eq!(code(outcome), Code::DeadlineExceeded);
    for messages in [vec![], vec![head("k")], vec![head("k"), data("text")]] {
        let messages = stream::iter(messages).chain(stream::pending());
        let outcome = in_time("the end of a put", caller.put(within(SHORT, messages))).await;
        assert_eq!(code(outcome), Code::DeadlineExceeded);
    }
    fixture.wait_until(|log| count(log, Operation::AbortMultipartUpload) == 1).await;
    in_time("cleanups", fixture.client.close()).await.unwrap();
    assert!(fixture.is_empty());
}

#[tokio::test]
async fn a_deadline_that_is_not_reached_changes_nothing_and_one_that_cannot_be_read_is_refused() {
    let fixture = Fixture::new().await;
    let mut caller = fixture.caller();
    fixture.store("k", "text");
    let mut chunks = caller.get(within(Duration::from_secs(3600), whole("k"))).await.unwrap().into_inner();
    first(&mut chunks).await.unwrap();
    assert_eq!(next(&mut chunks).await.unwrap().unwrap(), "text");
    assert!(next(&mut chunks).await.unwrap().is_none());
    let mut request = Request::new(whole("k"));
    request.metadata_mut().insert("grpc-timeout", "soon".parse().unwrap());
    assert_eq!(code(caller.get(request).await), Code::InvalidArgument);
}
