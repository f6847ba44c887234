//! A TCP proxy that counts what passes.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

/// Forwards connections to a server, with the count of all bytes either way.
pub(crate) struct Meter {
    address: SocketAddr,
    passed: Arc<Passed>,
    /// Of its own, so that it outlives the runtime of a test.
    runtime: Option<Runtime>,
}

struct Passed {
    /// Handed to clients.
    sent: AtomicU64,
    /// Handed to the server.
    received: AtomicU64,
    changed: watch::Sender<()>,
}

impl Meter {
    pub(crate) fn to(endpoint: &str) -> Self {
        let upstream: SocketAddr = endpoint.strip_prefix("http://").unwrap().parse().unwrap();
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let passed =
            Arc::new(Passed { sent: AtomicU64::new(0), received: AtomicU64::new(0), changed: watch::Sender::new(()) });
        let counting = Arc::clone(&passed);
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                tokio::spawn(connect(client, upstream, Arc::clone(&counting)));
            }
        });
        Self { address, passed, runtime: Some(runtime) }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What the server has sent: with what is in the buffers of connections.
    pub(crate) fn sent(&self) -> u64 {
        self.passed.sent.load(Ordering::SeqCst)
    }

    pub(crate) fn received(&self) -> u64 {
        self.passed.received.load(Ordering::SeqCst)
    }

    /// Waits until so many bytes have passed, both ways together.
    pub(crate) async fn wait_for(&self, bytes: u64) {
        let mut changed = self.passed.changed.subscribe();
        while self.sent() + self.received() < bytes {
            changed.changed().await.unwrap();
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn connect(client: TcpStream, upstream: SocketAddr, passed: Arc<Passed>) {
    let Ok(server) = TcpStream::connect(upstream).await else { return };
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    // An error is one end that went away, and so does the other.
    tokio::select! {
        _ = forward(from_client, to_server, &passed, |passed| &passed.received) => {}
        _ = forward(from_server, to_client, &passed, |passed| &passed.sent) => {}
    }
}

async fn forward(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    passed: &Passed,
    counter: impl Fn(&Passed) -> &AtomicU64,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..read]).await?;
        counter(passed).fetch_add(read as u64, Ordering::SeqCst);
        passed.changed.send_replace(());
    }
}
