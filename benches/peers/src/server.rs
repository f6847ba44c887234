//! The server, in a process of its own.

use std::time::Duration;

use s3flow::Credentials;
use s3flow::testing::{Fault, S3Server};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt as _;

use crate::Result;
use crate::content::{BUCKET, Content, key};
use crate::process::print;

#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Objects {
    pub(crate) objects: u64,
    pub(crate) size: u64,
}

/// Where the server is, and who may ask.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Target {
    pub(crate) endpoint: String,
    pub(crate) bucket: String,
    pub(crate) region: String,
    pub(crate) access_key_id: String,
    pub(crate) secret_access_key: String,
}

impl Target {
    pub(crate) fn credentials(&self) -> Credentials {
        Credentials::new(&self.access_key_id, &self.secret_access_key)
    }

    /// The service that the environment names, if it names one.
    pub(crate) fn of_environment() -> Result<Option<Self>> {
        let Ok(endpoint) = std::env::var("S3FLOW_TEST_ENDPOINT") else { return Ok(None) };
        let variable = |name: &str| std::env::var(name).map_err(|error| format!("{name}: {error}"));
        Ok(Some(Self {
            endpoint,
            bucket: variable("S3FLOW_TEST_BUCKET")?,
            region: variable("AWS_REGION")?,
            access_key_id: variable("AWS_ACCESS_KEY_ID")?,
            secret_access_key: variable("AWS_SECRET_ACCESS_KEY")?,
        }))
    }
}

pub(crate) async fn serve(Objects { objects, size }: Objects) -> Result<()> {
    // What is uploaded is large, and nobody reads it.
    let server = S3Server::builder().bucket(BUCKET).log(false).discard_content(objects == 0).md5(objects > 0);
    // Signatures are checked where there are any.
    let server = server.anonymous(true).start().await?;
    for index in 0..objects {
        server.put_object(BUCKET, &key(index), Content::whole(index, size)?);
    }
    until_told(&server).await
}

/// A large and a small object, on a line that is as fast as it is said.
pub(crate) async fn serve_slowly((size, latency, bytes_per_second): (u64, Duration, u64)) -> Result<()> {
    let server = S3Server::builder().bucket(BUCKET).log(false).latency(latency).start().await?;
    server.put_object(BUCKET, &key(0), Content::whole(0, size)?);
    server.put_object(BUCKET, &key(1), Content::whole(1, 1024)?);
    server.inject(Fault::trickle(bytes_per_second).key(key(0)).times(usize::MAX));
    until_told(&server).await
}

pub(crate) async fn until_told(server: &S3Server) -> Result<()> {
    print(&Target {
        endpoint: server.endpoint().to_owned(),
        bucket: BUCKET.to_owned(),
        region: server.region().to_owned(),
        access_key_id: server.access_key_id().to_owned(),
        secret_access_key: server.secret_access_key().to_owned(),
    })?;
    tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
    Ok(())
}

/// Prints the URL of an object of 1 KiB that anybody may get.
pub(crate) async fn serve_anyone() -> Result<()> {
    let server = S3Server::builder().bucket(BUCKET).anonymous(true).log(false).start().await?;
    server.put_object(BUCKET, &key(0), Content::whole(0, 1024)?);
    print(&format!("{}/{BUCKET}/{}", server.endpoint(), key(0)))?;
    tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
    Ok(())
}
