//! A gRPC service: objects of S3 as streams, uploads with a limit, listings. See `proto/blobs.proto`.
//!
//! ```text
//! cargo run --manifest-path examples/tonic_blobs/Cargo.toml                               # a short round trip
//! cargo run --manifest-path examples/tonic_blobs/Cargo.toml -- --serve 127.0.0.1:50051    # until it is interrupted
//! grpcurl -plaintext -proto examples/tonic_blobs/proto/blobs.proto -d '{"prefix": ""}' 127.0.0.1:50051 blobs.v1.Blobs/List
//! ```
//!
//! It serves what `AWS_ENDPOINT_URL` (`AWS_ENDPOINT_URL_S3`, `METAFLOW_S3_ENDPOINT_URL`) and `--s3root` name. Without an
//! endpoint, and for the round trip, there is an S3 server inside this process.

use std::io::{IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use clap::Parser;
use futures::stream;
use s3flow::testing::S3Server;
use s3flow::{Client, Limits, RetryPolicy, S3};
use tonic::{Request, Status};
use tonic_blobs::proto::blobs_client::BlobsClient;
use tonic_blobs::proto::{Chunk, End, GetRequest, Head, ListRequest, PutRequest, chunk, put_request};
use tonic_blobs::{Service, listen, serve};

type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

/// How long calls may go on after an interruption.
const GRACE: Duration = Duration::from_secs(5);

/// Objects of S3 over gRPC: a short round trip, or a service.
#[derive(Parser)]
#[command(name = "tonic_blobs")]
struct Options {
    /// Serves on this address until it is interrupted
    #[arg(long, value_name = "ADDRESS")]
    serve: Option<SocketAddr>,
    /// What is served, as s3://bucket/prefix
    #[arg(long, value_name = "URL", default_value = "s3://bucket", requires = "serve")]
    s3root: String,
    /// The longest upload, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 30)]
    limit: u64,
    /// The memory of all transfers together, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 256 << 20)]
    memory: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    let is_terminal = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(is_terminal).init();
    match run(Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "tonic_blobs: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<()> {
    // Kept to the end: with it, the server goes.
    let server = match options.serve {
        Some(_) if names_an_endpoint() => None,
        _ => Some(S3Server::start().await?),
    };
    let client = server.as_ref().map_or_else(Client::builder, S3Server::client_builder);
    let limits = Limits::default().memory_bytes(options.memory);
    let client = client.retry_policy(RetryPolicy::service()).limits(limits).build()?;
    let s3 = client.s3().s3root(options.s3root).build()?;
    match options.serve {
        Some(address) => serve_on(address, s3, options.limit).await?,
        None => round_trip(s3, options.limit).await?,
    }
    client.close().await?;
    Ok(())
}

fn names_an_endpoint() -> bool {
    ["METAFLOW_S3_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]
        .iter()
        .any(|name| std::env::var_os(name).is_some_and(|url| !url.is_empty()))
}

async fn serve_on(address: SocketAddr, s3: S3, limit: u64) -> Result<()> {
    let incoming = listen(address)?;
    println!("http://{}", incoming.local_addr()?);
    let interrupted = async || {
        let _ = tokio::signal::ctrl_c().await;
    };
    tokio::select! {
        ended = serve(incoming, Service::new(s3, limit), interrupted()) => Ok(ended?),
        () = async { interrupted().await; tokio::time::sleep(GRACE).await } => Ok(()),
    }
}

/// Puts, gets and lists as a client of the service does.
async fn round_trip(s3: S3, limit: u64) -> Result<()> {
    let incoming = listen(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let address = format!("http://{}", incoming.local_addr()?);
    let (ended, end) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(serve(incoming, Service::new(s3, limit), async {
        let _ = end.await;
    }));
    let mut blobs = BlobsClient::connect(address.clone()).await?;
    println!("the service is at {address}");

    let piece = Bytes::from(b"Objects over gRPC.\n".repeat(1_000));
    let head = Head { key: "dir/text".into(), content_type: "text/plain".into(), metadata: [].into() };
    let data = std::iter::repeat_n(piece.clone(), 100).map(put_request::Part::Data);
    let parts = [put_request::Part::Head(head)].into_iter().chain(data).chain([put_request::Part::End(End {})]);
    let messages = stream::iter(parts.map(|part| PutRequest { part: Some(part) }));
    let receipt = blobs.put(messages).await?.into_inner();
    println!("put  dir/text: stored, ETag {}", receipt.etag);

    let mut whole = Request::new(GetRequest { key: "dir/text".into(), offset: 0, length: None });
    whole.set_timeout(Duration::from_secs(10));
    let (told, bytes) = received(blobs.get(whole).await?.into_inner()).await?;
    println!("get  dir/text: {told}; {} bytes came", bytes.len());
    if bytes != piece.repeat(100) {
        return Err("other bytes came back".into());
    }
    let range = GetRequest { key: "dir/text".into(), offset: 13, length: Some(4) };
    let (_, bytes) = received(blobs.get(range).await?.into_inner()).await?;
    println!("get  dir/text, 4 bytes from 13: {:?}", String::from_utf8_lossy(&bytes));

    let mut entries = blobs.list(ListRequest { prefix: "dir".into() }).await?.into_inner();
    while let Some(entry) = entries.message().await? {
        println!("list dir: {} of {} bytes", entry.key, entry.size);
    }
    match blobs.get(GetRequest { key: "missing".into(), offset: 0, length: None }).await {
        Ok(_) => return Err("there is an object that nobody has put".into()),
        Err(status) => println!("get  missing: {:?}", status.code()),
    }
    // The connection of the client is one that the service would wait for.
    drop(blobs);
    let _ = ended.send(());
    serving.await??;
    Ok(())
}

/// The facts as a text, and all bytes.
async fn received(mut chunks: tonic::Streaming<Chunk>) -> Result<(String, Vec<u8>), Status> {
    let (mut told, mut bytes) = (String::new(), Vec::new());
    while let Some(chunk) = chunks.message().await? {
        match chunk.part {
            Some(chunk::Part::Facts(facts)) => told = format!("{} bytes of {}", facts.size, facts.content_type),
            Some(chunk::Part::Data(data)) => bytes.extend_from_slice(&data),
            None => {}
        }
    }
    Ok((told, bytes))
}
