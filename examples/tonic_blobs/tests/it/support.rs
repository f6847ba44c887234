//! The service in this process, on an S3 server in this process, and a caller.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use s3flow::testing::{LoggedRequest, Operation, S3Server};
use s3flow::{Client, RetryPolicy};
use tonic::{Code, Status, Streaming};
use tonic_blobs::proto::blobs_client::BlobsClient;
use tonic_blobs::proto::{Chunk, End, Facts, GetRequest, Head, PutRequest, chunk, put_request};
use tonic_blobs::{Service, listen, serve};

pub(crate) type Caller = BlobsClient<legacy::Client<HttpConnector, tonic::body::Body>>;

pub(crate) const LIMIT: u64 = 64 << 20;

pub(crate) struct Fixture {
    pub(crate) server: S3Server,
    pub(crate) client: Client,
    pub(crate) address: SocketAddr,
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        Self::with_limit(LIMIT).await
    }

    /// Of uploads. Nothing that a test waits for ends by a timeout of the client's.
    pub(crate) async fn with_limit(limit: u64) -> Self {
        let server = S3Server::start().await.unwrap();
        let client = server.client_builder().idle_timeout(Duration::from_secs(3600));
        let client = client.retry_policy(RetryPolicy::none()).build().unwrap();
        let s3 = client.s3().s3root("s3://bucket/root").build().unwrap();
        let incoming = listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = incoming.local_addr().unwrap();
        tokio::spawn(serve(incoming, Service::new(s3, limit), std::future::pending()));
        Self { server, client, address }
    }

    pub(crate) fn caller(&self) -> Caller {
        caller(self.address)
    }

    pub(crate) fn store(&self, key: &str, bytes: impl Into<Bytes>) {
        self.server.put_object("bucket", &format!("root/{key}"), bytes);
    }

    pub(crate) async fn wait_until(&self, condition: impl FnMut(&[LoggedRequest]) -> bool + Send) {
        in_time("the requests come", self.server.wait_until(condition)).await;
    }

    /// Waits until the service has let go of all that it has asked for.
    pub(crate) async fn everything_ends(&self) {
        self.wait_until(|log| log.iter().all(|request| request.finish().is_some())).await;
        self.nothing_is_asked_for().await;
    }

    pub(crate) async fn nothing_is_asked_for(&self) {
        in_time("no request is on its way", async {
            while self.client.stats().requests_in_flight > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.server.keys("bucket").is_empty() && self.server.multipart_uploads("bucket").is_empty()
    }
}

/// One connection, whose streams have a window of 64 KiB: what the service does not get rid of, it has.
pub(crate) fn caller(address: SocketAddr) -> Caller {
    let client = legacy::Client::builder(TokioExecutor::new())
        .http2_only(true)
        .http2_initial_stream_window_size(64 << 10)
        .http2_initial_connection_window_size(16 << 20)
        .build_http();
    BlobsClient::with_origin(client, format!("http://{address}").parse().unwrap())
}

/// More than a busy machine needs.
pub(crate) async fn in_time<T>(what: &str, promise: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(30), promise).await {
        Ok(kept) => kept,
        Err(_) => panic!("within 30 s: {what}"),
    }
}

pub(crate) fn count(log: &[LoggedRequest], operation: Operation) -> usize {
    log.iter().filter(|request| request.operation() == operation).count()
}

pub(crate) fn patterned(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index % 251) as u8).collect()
}

pub(crate) fn whole(key: &str) -> GetRequest {
    GetRequest { key: key.into(), offset: 0, length: None }
}

pub(crate) fn head(key: &str) -> PutRequest {
    let head = Head { key: key.into(), ..Head::default() };
    PutRequest { part: Some(put_request::Part::Head(head)) }
}

pub(crate) fn data(bytes: impl Into<Bytes>) -> PutRequest {
    PutRequest { part: Some(put_request::Part::Data(bytes.into())) }
}

pub(crate) fn end() -> PutRequest {
    PutRequest { part: Some(put_request::Part::End(End {})) }
}

/// Head, bytes in messages of up to 100,000, and the end.
pub(crate) async fn put(caller: &mut Caller, key: &str, bytes: &[u8]) -> Result<String, Status> {
    let chunks = bytes.chunks(100_000).map(|chunk| data(chunk.to_vec()));
    let messages: Vec<_> = [head(key)].into_iter().chain(chunks).chain([end()]).collect();
    Ok(caller.put(stream::iter(messages)).await?.into_inner().etag)
}

pub(crate) async fn get(caller: &mut Caller, request: GetRequest) -> Result<(Facts, Vec<u8>), Status> {
    let mut chunks = caller.get(request).await?.into_inner();
    let facts = first(&mut chunks).await?;
    let mut bytes = Vec::new();
    while let Some(more) = next(&mut chunks).await? {
        bytes.extend_from_slice(&more);
    }
    Ok((facts, bytes))
}

pub(crate) async fn first(chunks: &mut Streaming<Chunk>) -> Result<Facts, Status> {
    match chunks.message().await?.and_then(|chunk| chunk.part) {
        Some(chunk::Part::Facts(facts)) => Ok(facts),
        other => panic!("{other:?} comes first"),
    }
}

pub(crate) async fn next(chunks: &mut Streaming<Chunk>) -> Result<Option<Bytes>, Status> {
    match chunks.message().await?.map(|chunk| chunk.part) {
        Some(Some(chunk::Part::Data(bytes))) => Ok(Some(bytes)),
        Some(other) => panic!("{other:?} comes behind the facts"),
        None => Ok(None),
    }
}

/// The code of an error, which tells nothing of what is behind the service.
pub(crate) fn code<T: std::fmt::Debug>(outcome: Result<T, Status>) -> Code {
    let status = outcome.unwrap_err();
    for inner in ["s3", "bucket", "root", "HTTP", "request id"] {
        assert!(!status.message().contains(inner), "{status:?}");
    }
    assert!(status.details().is_empty(), "{status:?}");
    status.code()
}
