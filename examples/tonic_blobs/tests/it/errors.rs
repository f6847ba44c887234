//! What an error tells the caller.

use s3flow::testing::{Fault, Operation};
use tonic::Code;
use tonic_blobs::proto::ListRequest;

use crate::support::{Fixture, code, get, patterned, put, whole};

#[tokio::test]
async fn errors_are_codes_without_inner_detail() {
    let fixture = Fixture::new().await;
    let mut caller = fixture.caller();
    assert_eq!(code(get(&mut caller, whole("missing")).await), Code::NotFound);
    assert_eq!(code(get(&mut caller, whole("")).await), Code::InvalidArgument);
    fixture.store("k", "text");
    for (fault, expected) in [
        (Fault::status(404, "NoSuchBucket"), Code::NotFound),
        (Fault::status(403, "AccessDenied"), Code::PermissionDenied),
        (Fault::status(403, "SignatureDoesNotMatch"), Code::PermissionDenied),
        (Fault::status(503, "SlowDown"), Code::ResourceExhausted),
        (Fault::status(500, "InternalError"), Code::Internal),
        (Fault::status(501, "NotImplemented"), Code::Internal),
        (Fault::close_before_answer(), Code::Unavailable),
    ] {
        let shown = format!("{fault:?}");
        for operation in [Operation::GetObject, Operation::PutObject, Operation::ListObjectsV2] {
            fixture.server.inject(fault.clone().operation(operation).times(usize::MAX));
            let outcome = match operation {
                Operation::GetObject => get(&mut caller, whole("k")).await.map(drop),
                Operation::PutObject => put(&mut caller, "new", b"text").await.map(drop),
                _ => {
                    let mut entries = caller.list(ListRequest::default()).await.unwrap().into_inner();
                    entries.message().await.map(drop)
                }
            };
            assert_eq!(code(outcome), expected, "{operation:?} {shown}");
            fixture.server.clear_faults();
        }
    }
}

#[tokio::test]
async fn a_damaged_or_replaced_object_is_never_whole() {
    let fixture = Fixture::new().await;
    let mut caller = fixture.caller();
    let bytes = patterned(20 << 20);
    let s3 = fixture.client.s3().s3root("s3://bucket/root").build().unwrap();
    s3.put("k", bytes.clone()).await.unwrap();
    fixture.server.inject(Fault::corrupt_byte(7).operation(Operation::GetObject));
    assert_eq!(code(get(&mut caller, whole("k")).await), Code::DataLoss);
    fixture.server.clear_faults();
    fixture.server.inject(Fault::replace_object("other").operation(Operation::GetObject).on_call(2));
    assert_eq!(code(get(&mut caller, whole("k")).await), Code::Aborted);
}
