//! Callers that go away in the middle.

use futures::{StreamExt as _, stream};
use s3flow::testing::{Finish, Operation};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Code;

use crate::support::{Fixture, caller, code, count, data, first, head, in_time, next, patterned, whole};

#[tokio::test]
async fn a_caller_that_goes_away_ends_the_requests_for_it() {
    let fixture = Fixture::new().await;
    fixture.store("k", patterned(48 << 20));
    let mut caller = fixture.caller();
    // Before bytes are read ahead, and after that.
    for least in [1, 4 << 20] {
        let mut chunks = caller.get(whole("k")).await.unwrap().into_inner();
        first(&mut chunks).await.unwrap();
        let mut came = 0;
        while came < least {
            came += next(&mut chunks).await.unwrap().unwrap().len();
        }
        drop(chunks);
        fixture.wait_until(|log| log.iter().any(|request| request.finish() == Some(Finish::ClientGone))).await;
        fixture.everything_ends().await;
        fixture.server.clear_log();
    }
}

#[tokio::test]
async fn messages_that_stop_before_the_end_store_nothing() {
    let fixture = Fixture::new().await;
    let outcome = fixture.caller().put(stream::iter([head("k"), data("half")])).await;
    assert_eq!(code(outcome), Code::Cancelled);
    assert!(fixture.is_empty() && fixture.server.log().is_empty());
}

#[tokio::test]
async fn a_call_that_is_cancelled_in_the_middle_of_a_short_put_stores_nothing() {
    let fixture = Fixture::new().await;
    for _ in 0..20 {
        let mut caller = fixture.caller();
        let (sender, messages) = mpsc::unbounded_channel();
        let messages = UnboundedReceiverStream::new(messages);
        let call = tokio::spawn(async move { caller.put(messages).await });
        for message in [head("k"), data("half")] {
            sender.send(message).unwrap();
        }
        // A call of its own: when it is answered, the service has what was sent before it.
        code(fixture.caller().get(whole("missing")).await.map(drop));
        call.abort();
        assert!(call.await.unwrap_err().is_cancelled());
    }
    in_time("cleanups", fixture.client.close()).await.unwrap();
    assert!(fixture.is_empty());
    assert_eq!(count(&fixture.server.log(), Operation::PutObject), 0);
}

#[tokio::test]
async fn a_caller_that_vanishes_in_the_middle_of_a_long_put_leaves_no_object_and_no_upload() {
    let fixture = Fixture::new().await;
    let messages =
        || stream::iter([head("k")]).chain(stream::iter(vec![data(vec![7; 1_000_000]); 20])).chain(stream::pending());
    // The call is cancelled; then its connection is closed without a word.
    let mut caller_here = fixture.caller();
    let call = tokio::spawn(async move { caller_here.put(messages()).await });
    fixture.wait_until(|log| count(log, Operation::UploadPart) > 0).await;
    call.abort();
    fixture.wait_until(|log| count(log, Operation::AbortMultipartUpload) == 1).await;
    fixture.server.clear_log();

    let elsewhere = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let address = fixture.address;
    elsewhere.spawn(async move { caller(address).put(messages()).await });
    fixture.wait_until(|log| count(log, Operation::UploadPart) > 0).await;
    elsewhere.shutdown_background();
    fixture.wait_until(|log| count(log, Operation::AbortMultipartUpload) == 1).await;

    in_time("cleanups", fixture.client.close()).await.unwrap();
    assert!(fixture.is_empty());
}
