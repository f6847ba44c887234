//! Connections that close or stall.

use super::wire::{End, Wire};
use super::*;

#[tokio::test]
async fn a_refused_connection_is_reset_before_a_request_is_read() {
    let raw = with_objects(["k"]).await;
    // What is not known of a connection does not matter.
    let refused = raw.server.inject(Fault::refuse().on_call(2).times(2).operation(Operation::PutObject).key("x"));
    let mut ends = Vec::new();
    for _ in 0..4 {
        let mut wire = Wire::connect(&raw.server).await;
        // The reset may be there before the request is.
        wire.try_send("GET /bucket/k HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
        ends.push((wire.end().await, wire.received.is_empty()));
    }
    assert_eq!(ends, [(End::Fin, false), (End::Reset, true), (End::Reset, true), (End::Fin, false)]);
    assert_eq!((refused.applied(), raw.server.log().len()), (2, 2));
}

#[tokio::test]
async fn requests_on_an_open_connection_are_not_refused() {
    let raw = with_objects(["k"]).await;
    assert_eq!(statuses(&raw, ["k"]).await, [200]);
    raw.server.inject(Fault::refuse().times(usize::MAX));
    assert_eq!(statuses(&raw, ["k", "k"]).await, [200, 200]);
    assert_eq!(Wire::connect(&raw.server).await.end().await, End::Reset);
}

#[tokio::test]
async fn a_plan_refuses_connections_at_its_rate() {
    let raw = with_objects(["k"]).await;
    let injected = raw.server.inject(FaultPlan::random(3, 0.5, [Fault::refuse()]));
    let mut refused = 0;
    for _ in 0..100 {
        let mut wire = Wire::connect(&raw.server).await;
        wire.try_send("GET /bucket/k HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
        refused += usize::from(wire.end().await == End::Reset);
    }
    assert!((35..65).contains(&refused), "{refused}");
    assert_eq!(injected.applied(), refused);
}

#[tokio::test]
async fn closed_before_the_answer_nothing_is_carried_out() {
    let raw = Raw::new().await;
    for (fault, end) in [(Fault::close_before_answer(), End::Fin), (Fault::close_before_answer().reset(), End::Reset)] {
        raw.server.inject(fault);
        let mut wire = Wire::request(&raw.server, "PUT", "/bucket/k", "content-length: 4\r\n").await;
        wire.send("text").await;
        assert_eq!((wire.end().await, wire.text()), (end, ""));
        assert_eq!(raw.server.keys("bucket"), [""; 0]);
    }
}

#[tokio::test]
async fn a_lost_answer_is_that_of_a_write_that_took_place() {
    let raw = with_objects(["source", "gone"]).await;
    let (id, _) = raw.create("/bucket/parts", &[]).await;
    let part = raw.put(&format!("/bucket/parts?partNumber=1&uploadId={id}"), &[], "part").await;
    let etag = part.header("etag").unwrap();
    let document = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part></CompleteMultipartUpload>"
    );
    let lost = raw.server.inject(Fault::lose_answer().times(usize::MAX));
    for (method, path, header, body) in [
        ("PUT", "/bucket/put", "", "text"),
        ("PUT", "/bucket/copy", "x-amz-copy-source: bucket/source\r\n", ""),
        ("DELETE", "/bucket/gone", "", ""),
        ("POST", &*format!("/bucket/parts?uploadId={id}"), "", &document),
    ] {
        let headers = format!("{header}content-length: {}\r\n", body.len());
        let mut wire = Wire::request(&raw.server, method, path, &headers).await;
        wire.send(body).await;
        assert_eq!((wire.end().await, wire.text()), (End::Fin, ""), "{method} {path}");
    }
    assert_eq!(raw.server.keys("bucket"), ["copy", "parts", "put", "source"]);
    assert_eq!(raw.server.object("bucket", "parts").unwrap(), "part");
    assert_eq!((lost.applied(), raw.server.uploads("bucket").len()), (4, 0));
}

#[tokio::test]
async fn closed_within_the_body_the_length_is_the_real_one() {
    let raw = with_objects(["k"]).await;
    for bytes in [0, 3, 9] {
        raw.server.inject(Fault::close_after(bytes));
        let mut wire = Wire::get(&raw.server, "/bucket/k").await;
        assert_eq!(wire.end().await, End::Fin);
        assert!(wire.head().contains("\r\ncontent-length: 10\r\n"), "{}", wire.head());
        assert_eq!(wire.body(), &"0123456789"[..bytes as usize]);
    }
    raw.server.inject(Fault::close_after(3).reset());
    assert_eq!(Wire::get(&raw.server, "/bucket/k").await.end().await, End::Reset);
}

#[tokio::test]
async fn a_request_is_cut_within_its_body_and_not_behind_it() {
    let raw = Raw::new().await;
    let cut = raw.server.inject(Fault::close_after_request(5).times(2));
    let put = "content-length: 1000000\r\n";
    let mut wire = Wire::request(&raw.server, "PUT", "/bucket/k", put).await;
    wire.send("012345").await;
    assert_eq!((wire.end().await, wire.text()), (End::Fin, ""));
    assert_eq!((cut.applied(), raw.server.keys("bucket").len()), (1, 0));
    // All of it was read.
    assert_eq!(raw.put("/bucket/k", &[], "01234").await.status, 200);
    assert_eq!((cut.applied(), raw.server.object("bucket", "k").unwrap()), (1, "01234".into()));

    raw.server.inject(Fault::close_after_request(0).reset());
    let mut wire = Wire::request(&raw.server, "PUT", "/bucket/k", put).await;
    wire.send("0").await;
    assert_eq!(wire.end().await, End::Reset);
}

#[tokio::test]
async fn a_stall_lasts_until_the_faults_are_cleared() {
    for (fault, sent) in [
        (Fault::stall(), ""),
        (Fault::stall().carried_out(), ""),
        (Fault::stall_after_request(2), ""),
        (Fault::stall_after(0), "\r\n\r\n"),
        (Fault::stall_after(4), "\r\n\r\n0123"),
    ] {
        let raw = with_objects(["k"]).await;
        let reads = sent.is_empty();
        let stalled = raw.server.inject(fault.clone());
        let mut wire = match reads {
            true => Wire::request(&raw.server, "PUT", "/bucket/new", "content-length: 3\r\n").await,
            false => Wire::get(&raw.server, "/bucket/k").await,
        };
        if reads {
            wire.send("new").await;
        }
        wire.until(sent).await;
        raw.server.wait_until(|log| log.len() == 1).await;
        while stalled.applied() == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!((raw.server.open_connections(), raw.server.log()[0].finish()), (1, None));
        raw.server.clear_faults();
        wire.end().await;
        assert!(wire.text().ends_with(sent), "{fault:?}: {}", wire.text());
        raw.server.wait_for_connections(|open| open == 0).await;
        raw.server.wait_until(|log| log[0].finish() == Some(Finish::Cut)).await;
        let stored = raw.server.object("bucket", "new").is_some();
        assert_eq!(stored, format!("{fault:?}").contains("carried_out: true"));
    }
}
