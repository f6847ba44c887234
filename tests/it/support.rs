//! A server and a client for it.

use s3flow::testing::S3Server;
use s3flow::{Client, Credentials, S3};

/// A server with an empty bucket `bucket`, and a scope at its root that downloads into a directory of its own.
pub(crate) struct Fixture {
    pub(crate) server: S3Server,
    pub(crate) s3: S3,
    pub(crate) tmproot: tempfile::TempDir,
}

pub(crate) const BUCKET: &str = "bucket";

impl Fixture {
    pub(crate) async fn new() -> Self {
        Self::with_server(S3Server::start().await.unwrap())
    }

    pub(crate) fn with_server(server: S3Server) -> Self {
        let tmproot = tempfile::tempdir().unwrap();
        let s3 = client(&server).s3().s3root("s3://bucket").tmproot(tmproot.path()).build().unwrap();
        Self { server, s3, tmproot }
    }

    /// Another scope of the same client and tmproot, without a root.
    pub(crate) fn urls(&self) -> S3 {
        client(&self.server).s3().tmproot(self.tmproot.path()).build().unwrap()
    }

    /// How many files the scopes have on disk.
    pub(crate) fn files(&self) -> usize {
        files_below(self.tmproot.path())
    }
}

pub(crate) fn client(server: &S3Server) -> Client {
    client_builder(server).build().unwrap()
}

pub(crate) fn client_builder(server: &S3Server) -> s3flow::ClientBuilder {
    Client::builder()
        .endpoint(server.endpoint())
        .region(server.region())
        .credentials(Credentials::new(server.access_key_id(), server.secret_access_key()))
        .use_proxy(false)
}

fn files_below(directory: &std::path::Path) -> usize {
    let Ok(entries) = std::fs::read_dir(directory) else { return 0 };
    entries
        .map(|entry| match entry {
            Ok(entry) if entry.path().is_dir() => files_below(&entry.path()),
            // An entry that went away while it was looked at.
            Err(_) => 0,
            Ok(_) => 1,
        })
        .sum()
}
