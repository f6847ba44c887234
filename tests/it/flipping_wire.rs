//! A TCP proxy that flips bits in the bodies of HTTP messages, as a broken memory or switch on the way does whose own checksum
//! fits again.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

use crate::support::split_mix;

/// Forwards connections to another address. Ends with the test's runtime, or when it is dropped.
pub(crate) struct FlippingWire {
    address: SocketAddr,
    flips: Arc<Flips>,
    accepting: AbortHandle,
}

/// Of which messages a bit is flipped.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flip {
    /// How their head begins: `PUT ` are uploads, `HTTP/1.1 206` are parts of objects.
    pub(crate) head: &'static str,
    /// How many of them, from the next one on.
    pub(crate) times: usize,
    pub(crate) seed: u64,
}

struct Flips {
    upstream: SocketAddr,
    next: Mutex<Option<Flip>>,
    flipped: AtomicUsize,
}

impl FlippingWire {
    /// To `endpoint`, an `http://` URL with an address. As it is, nothing is flipped.
    pub(crate) async fn to(endpoint: &str) -> Self {
        let upstream = endpoint.strip_prefix("http://").unwrap().parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let flips = Arc::new(Flips { upstream, next: Mutex::new(None), flipped: AtomicUsize::new(0) });
        let shared = Arc::clone(&flips);
        let accepting = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                tokio::spawn(connect(client, Arc::clone(&shared)));
            }
        });
        Self { address, flips, accepting: accepting.abort_handle() }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn flip(&self, flip: impl Into<Option<Flip>>) {
        *self.flips.next.lock().unwrap() = flip.into();
    }

    /// Bits flipped since this was last asked.
    pub(crate) fn flipped(&self) -> usize {
        self.flips.flipped.swap(0, Ordering::SeqCst)
    }
}

impl Drop for FlippingWire {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn connect(client: TcpStream, flips: Arc<Flips>) {
    let Ok(server) = TcpStream::connect(flips.upstream).await else { return };
    for stream in [&client, &server] {
        stream.set_nodelay(true).unwrap();
    }
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    // One end that went away takes the other with it.
    tokio::select! {
        _ = forward(from_client, to_server, &flips) => {}
        _ = forward(from_server, to_client, &flips) => {}
    }
}

async fn forward(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, flips: &Flips) -> io::Result<()> {
    let mut buffer = vec![0; 256 << 10];
    let mut messages = Messages::default();
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        messages.pass(&mut buffer[..read], flips);
        to.write_all(&buffer[..read]).await?;
    }
}

/// Where in its messages one direction of a connection is.
#[derive(Default)]
struct Messages {
    head: Vec<u8>,
    /// Bytes of the body still to come.
    left: usize,
    /// So many of them before the one that is flipped, and the bit.
    flip: Option<(usize, u8)>,
}

impl Messages {
    fn pass(&mut self, mut bytes: &mut [u8], flips: &Flips) {
        while !bytes.is_empty() {
            if self.left == 0 {
                self.head.push(bytes[0]);
                bytes = &mut bytes[1..];
                if self.head.ends_with(b"\r\n\r\n") {
                    let head = String::from_utf8(std::mem::take(&mut self.head)).unwrap().to_ascii_lowercase();
                    assert!(!head.contains("\r\ntransfer-encoding:"), "only lengths are understood here: {head}");
                    let length = head.split("\r\ncontent-length:").nth(1).and_then(|rest| rest.lines().next());
                    self.left = length.map_or(0, |length| length.trim().parse().unwrap());
                    self.flip = flips.of_body(&head, self.left);
                }
                continue;
            }
            let (body, rest) = bytes.split_at_mut(self.left.min(bytes.len()));
            self.left -= body.len();
            self.flip = match self.flip.take() {
                Some((at, bit)) if at < body.len() => {
                    body[at] ^= bit;
                    flips.flipped.fetch_add(1, Ordering::SeqCst);
                    None
                }
                later => later.map(|(at, bit)| (at - body.len(), bit)),
            };
            bytes = rest;
        }
    }
}

impl Flips {
    /// Where a body is to be flipped, and in which bit.
    fn of_body(&self, head: &str, length: usize) -> Option<(usize, u8)> {
        let mut next = self.next.lock().unwrap();
        let flip = next.as_mut().filter(|flip| flip.times > 0 && head.starts_with(&flip.head.to_ascii_lowercase()))?;
        if length == 0 {
            return None;
        }
        flip.times -= 1;
        flip.seed = split_mix(flip.seed);
        Some(((flip.seed >> 3) as usize % length, 1 << (flip.seed % 8)))
    }
}
