//! The calls.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use s3flow::{PutValue, S3, S3GetObject, S3Object};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};

use crate::deadline::Deadline;
use crate::proto::blobs_server::{Blobs, BlobsServer};
use crate::proto::{Chunk, Entry, Facts, GetRequest, Head, ListRequest, PutRequest, Receipt, chunk, put_request};
use crate::status::status;

/// Of a message, in bytes: what a reader that takes nothing makes the service hold is one for each buffer on the way.
const PIECE: usize = 64 * 1024;

/// The longest message of an upload, in bytes. It is in memory as a whole before it is handed on.
const LONGEST_MESSAGE: usize = 1024 * 1024;

/// How often a caller that sends nothing has to show that it is there.
const KEEPALIVE: Duration = Duration::from_secs(20);

/// Objects of one scope.
#[derive(Debug, Clone)]
pub struct Service {
    s3: S3,
    /// Of uploads, in bytes.
    limit: u64,
}

impl Service {
    /// Keys are below the root of `s3`; an upload has at most `limit` bytes.
    pub fn new(s3: S3, limit: u64) -> Self {
        Self { s3, limit }
    }
}

/// Answers calls until `end`, and then those that are under way.
///
/// # Errors
///
/// When connections can no longer be accepted.
pub async fn serve(
    incoming: TcpIncoming,
    service: Service,
    end: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error> {
    let service = BlobsServer::new(service).max_decoding_message_size(LONGEST_MESSAGE);
    let mut server = Server::builder().http2_keepalive_interval(Some(KEEPALIVE));
    server.add_service(service).serve_with_incoming_shutdown(incoming, end).await
}

/// A listener; port 0 is any that is free.
///
/// # Errors
///
/// When the address cannot be had.
pub fn listen(address: SocketAddr) -> std::io::Result<TcpIncoming> {
    Ok(TcpIncoming::bind(address)?.with_nodelay(Some(true)))
}

#[tonic::async_trait]
impl Blobs for Service {
    type GetStream = ReceiverStream<Result<Chunk, Status>>;
    type ListStream = ReceiverStream<Result<Entry, Status>>;

    async fn get(&self, request: Request<GetRequest>) -> Result<Response<Self::GetStream>, Status> {
        let deadline = Deadline::of(request.metadata())?;
        let object = wanted(request.into_inner())?;
        let mut bytes = self.s3.with_timeout(deadline.left()).get(object).stream();
        let facts = facts(bytes.object().await.map_err(status)?);
        let data = bytes.map_err(status).map_ok(pieces).try_flatten().map_ok(chunk::Part::Data);
        let parts = stream::iter([Ok(chunk::Part::Facts(facts))]).chain(data);
        Ok(Response::new(deadline.limit_stream(parts.map_ok(|part| Chunk { part: Some(part) }))))
    }

    async fn put(&self, request: Request<Streaming<PutRequest>>) -> Result<Response<Receipt>, Status> {
        let deadline = Deadline::of(request.metadata())?;
        let mut messages = request.into_inner();
        let Some(PutRequest { part: Some(put_request::Part::Head(head)) }) = deadline.limit(messages.message()).await?
        else {
            return Err(Status::invalid_argument("the first message is no head"));
        };
        let Head { key, content_type, metadata } = head;
        let key = checked(key)?;
        let value = PutValue::stream_up_to(contents(messages), self.limit);
        let mut put = self.s3.with_timeout(deadline.left()).put(key, value).metadata(metadata);
        if !content_type.is_empty() {
            put = put.content_type(content_type);
        }
        let receipt = put.await.map_err(status)?;
        Ok(Response::new(Receipt { etag: receipt.etag().unwrap_or_default().to_owned() }))
    }

    async fn list(&self, request: Request<ListRequest>) -> Result<Response<Self::ListStream>, Status> {
        let deadline = Deadline::of(request.metadata())?;
        let objects = self.s3.with_timeout(deadline.left()).list_recursive([request.into_inner().prefix]);
        let root = self.s3.s3root().map_or_else(String::new, |root| format!("{root}/"));
        // A key of theirs is relative to the prefix; the one to get it by, to the root.
        let entries = objects.map_err(status).map_ok(move |object| Entry {
            key: object.url().strip_prefix(&root).unwrap_or(object.url()).to_owned(),
            size: object.size().unwrap_or(0),
        });
        Ok(Response::new(deadline.limit_stream(entries)))
    }
}

/// To s3flow, an empty key is the root itself, and slashes in front are none.
fn checked(key: String) -> Result<String, Status> {
    if key.is_empty() || key.starts_with('/') {
        return Err(Status::invalid_argument("that is no key"));
    }
    Ok(key)
}

fn wanted(GetRequest { key, offset, length }: GetRequest) -> Result<S3GetObject, Status> {
    let object = S3GetObject::new(checked(key)?);
    Ok(match (offset, length) {
        (0, None) => object,
        (offset, None) => object.offset(offset),
        (offset, Some(length)) => {
            let length = i64::try_from(length).map_err(|_| Status::out_of_range("the length is over 2^63"))?;
            object.offset(offset).length(length)
        }
    })
}

fn facts(object: &S3Object) -> Facts {
    Facts {
        size: object.size().unwrap_or(0),
        etag: object.etag().unwrap_or_default().to_owned(),
        content_type: object.content_type().unwrap_or_default().to_owned(),
    }
}

fn pieces(mut bytes: Bytes) -> impl Stream<Item = Result<Bytes, Status>> {
    stream::iter(std::iter::from_fn(move || {
        let piece = bytes.split_to(bytes.len().min(PIECE));
        (!piece.is_empty()).then_some(Ok(piece))
    }))
}

/// The bytes behind the head, up to the end: a client that cancels its call ends the stream of its messages as one that has
/// sent them all.
fn contents(messages: Streaming<PutRequest>) -> impl Stream<Item = Result<Bytes, Status>> {
    stream::try_unfold(messages, async |mut messages| match messages.message().await? {
        Some(PutRequest { part: Some(put_request::Part::Data(bytes)) }) => Ok(Some((bytes, messages))),
        Some(PutRequest { part: Some(put_request::Part::End(_)) }) => Ok(None),
        Some(_) => Err(Status::invalid_argument("a message behind the head is neither data nor the end")),
        None => Err(Status::cancelled("the messages stop before the end")),
    })
}
