//! s3flow's embedded S3 server as a process of its own, to try jobs on: objects are in memory, and gone with it.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use s3flow::testing::S3Server;
use scale_out::cli::{complain, print};
use scale_out::trial::{BUCKET, object};

/// An S3 server for trials, on a port of 127.0.0.1 that the system chooses. Its bucket is named `bucket`.
///
/// Prints what its clients need, as lines for a shell, and serves until it is ended.
#[derive(Parser)]
struct Options {
    /// How long each request waits before it is carried out
    #[arg(long, value_name = "MILLISECONDS", default_value = "0")]
    latency: u64,
    /// How many small objects there are below s3://bucket/source/
    #[arg(long, value_name = "COUNT", default_value = "0")]
    objects: usize,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Options { latency, objects } = Options::parse();
    // The log has each request of the last 100,000.
    let server = S3Server::builder().bucket(BUCKET).log(false).latency(Duration::from_millis(latency)).start().await;
    let server = match server {
        Ok(server) => server,
        Err(error) => return complain("server", &error.to_string()),
    };
    for number in 0..objects {
        let (key, bytes) = object(number);
        server.put_object(BUCKET, &key, bytes);
    }
    let variables = [
        ("AWS_ENDPOINT_URL", server.endpoint()),
        ("AWS_ACCESS_KEY_ID", server.access_key_id()),
        ("AWS_SECRET_ACCESS_KEY", server.secret_access_key()),
        ("AWS_REGION", server.region()),
    ];
    for (name, value) in variables {
        if let Err(error) = print(format_args!("export {name}={value}")) {
            return complain("server", &error.chain());
        }
    }
    std::future::pending().await
}
