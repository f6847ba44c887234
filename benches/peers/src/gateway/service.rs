//! The gateway, in a process of its own: the example, and what it has at a moment.

use std::net::{Ipv4Addr, SocketAddr};

use s3flow::{Client, Credentials, Limits, RetryPolicy};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket};

use self::example::{Gateway, router};
use crate::Result;
use crate::bounded::files;
use crate::content::BUCKET;
use crate::process::print;

#[path = "../../../../examples/axum_gateway.rs"]
#[allow(dead_code)]
mod example;

#[derive(Serialize, Deserialize)]
pub(crate) struct Job {
    pub(super) store: SocketAddr,
    /// Bytes that its transfers may have.
    pub(super) memory: u64,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) address: SocketAddr,
    /// Who connects here is told what is in use.
    pub(super) uses: SocketAddr,
}

/// What must come back to what it was.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Use {
    pub(super) descriptors: usize,
    pub(super) tasks: usize,
    /// Below the scope's directory.
    pub(super) files: usize,
    pub(super) requests: u64,
    pub(super) memory: u64,
}

impl Use {
    pub(super) fn is_within(&self, idle: &Self) -> bool {
        let Self { descriptors, tasks, files, requests, memory } = *self;
        descriptors <= idle.descriptors
            && tasks <= idle.tasks
            && files <= idle.files
            && requests <= idle.requests
            && memory <= idle.memory
    }
}

pub(crate) async fn serve(Job { store, memory }: Job) -> Result<()> {
    let client = Client::builder()
        .endpoint(format!("http://{store}"))
        .region("us-east-1")
        .credentials(Credentials::new("key", "secret"))
        .retry_policy(RetryPolicy::service())
        .limits(Limits::default().memory_bytes(memory))
        .build()?;
    let tmproot = tempfile::tempdir()?;
    let s3 = client.s3().s3root(format!("s3://{BUCKET}")).tmproot(tmproot.path()).build()?;
    // All clients come at once; nginx has the same place for them.
    let socket = TcpSocket::new_v4()?;
    // What waits for memory is not read meanwhile. Without a bound, the kernel's memory for TCP runs out in the unread bytes of hundreds of
    // uploads: it drops segments then, and senders wait twice as long after each.
    socket.set_recv_buffer_size(256 * 1024)?;
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    let listener = socket.listen(4096)?;
    let asked = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    print(&Place { address: listener.local_addr()?, uses: asked.local_addr()? })?;
    let router = router(Gateway { s3, limit: 1 << 30 });
    let serving = async { Ok(axum::serve(listener, router).await?) };
    let telling = async {
        loop {
            let (mut connection, _) = asked.accept().await?;
            let stats = client.stats();
            let told = Use {
                descriptors: std::fs::read_dir("/proc/self/fd")?.count(),
                tasks: tokio::runtime::Handle::current().metrics().num_alive_tasks(),
                files: files(tmproot.path()),
                requests: stats.requests_in_flight,
                memory: stats.memory_bytes,
            };
            connection.write_all(&serde_json::to_vec(&told)?).await?;
        }
    };
    let mut input = tokio::io::stdin();
    let mut nothing = Vec::new();
    tokio::select! {
        ended = serving => ended,
        ended = telling => ended,
        ended = input.read_to_end(&mut nothing) => Ok(ended.map(drop)?),
    }
}
