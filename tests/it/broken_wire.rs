//! A TCP proxy that breaks connections, and the common cases through it: on the embedded server always, and on a real one when
//! `S3FLOW_TEST_FAULTS` is a seed; see `real_server`.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use s3flow::testing::S3Server;
use s3flow::{Client, ClientBuilder, RetryPolicy};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};

use crate::cases::{self, Place};
use crate::support::{seed, split_mix};

/// Forwards connections to another address, and breaks some of them by seed.
pub(crate) struct BrokenWire {
    address: SocketAddr,
    wire: Arc<Wire>,
    /// Of its own, so that it outlives the runtime of a test.
    runtime: Option<Runtime>,
}

/// Where a wire breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cuts {
    Anywhere,
    /// For servers that take a request whose head is cut off for a whole one, as Python's `http.server` does, and moto on it:
    /// a put without its Content-Length is an empty object there.
    InAnswers,
}

/// A case that finds what it has begun, and no more: a lost answer to CreateMultipartUpload leaves an upload more.
pub(crate) const COUNTS_UPLOADS: &str = "what_nobody_finished_is_found_and_aborted";

struct Wire {
    upstream: SocketAddr,
    cuts: Cuts,
    seed: u64,
    connections: AtomicU64,
    broken: AtomicUsize,
}

/// How one connection ends.
#[derive(Debug, Clone, Copy)]
struct Fate {
    /// After so many bytes, of all that is cut together.
    after: u64,
    how: Break,
}

#[derive(Debug, Clone, Copy)]
enum Break {
    Close,
    Reset,
    /// Nothing moves any more, and nobody says so.
    Stall,
}

impl Fate {
    /// Of four connections, one ends within a head, one within a few objects, and two within a few parts of a large one.
    fn of(seed: u64, connection: u64) -> Self {
        let draw = split_mix(seed ^ split_mix(connection));
        let farthest = [3_000, 300_000, 60 << 20, 60 << 20][draw as usize % 4];
        let how = [Break::Close, Break::Reset, Break::Stall][(draw >> 8) as usize % 3];
        Self { after: (draw >> 16) % farthest, how }
    }
}

impl BrokenWire {
    /// To `endpoint`, an `http://` URL with an address.
    pub(crate) fn to(endpoint: &str, cuts: Cuts, seed: u64) -> Self {
        let upstream = endpoint.strip_prefix("http://").unwrap().parse().unwrap();
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let wire = Arc::new(Wire { upstream, cuts, seed, connections: AtomicU64::new(0), broken: AtomicUsize::new(0) });
        let accepting = Arc::clone(&wire);
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                tokio::spawn(Arc::clone(&accepting).connect(client));
            }
        });
        Self { address, wire, runtime: Some(runtime) }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Connections broken so far.
    pub(crate) fn broken(&self) -> usize {
        self.wire.broken.load(Ordering::SeqCst)
    }
}

impl Drop for BrokenWire {
    fn drop(&mut self) {
        // A test's own runtime must not wait for another.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Wire {
    async fn connect(self: Arc<Self>, mut client: TcpStream) {
        let number = self.connections.fetch_add(1, Ordering::SeqCst);
        let Ok(mut server) = TcpStream::connect(self.upstream).await else { return };
        for stream in [&client, &server] {
            stream.set_nodelay(true).unwrap();
        }
        let Fate { after, how } = Fate::of(self.seed, number);
        // An error is one end that went away, and so does the other.
        if matches!(forward(&mut client, &mut server, after, self.cuts).await, Ok(true)) {
            self.broken.fetch_add(1, Ordering::SeqCst);
            match how {
                Break::Close => {}
                Break::Reset => client.set_zero_linger().unwrap(),
                // Until the client gives up.
                Break::Stall => drain(&mut client).await,
            }
        }
    }
}

/// Forwards both ways until `left` bytes have passed (true), or one end is done.
async fn forward(client: &mut TcpStream, server: &mut TcpStream, left: u64, cuts: Cuts) -> io::Result<bool> {
    let (mut from_client, mut from_server) = (vec![0; 16 << 10], vec![0; 16 << 10]);
    let mut left = left as usize;
    while left > 0 {
        let (from, read) = tokio::select! {
            read = client.read(&mut from_client) => (true, read?),
            read = server.read(&mut from_server) => (false, read?),
        };
        if read == 0 {
            return Ok(false);
        }
        if from && cuts == Cuts::InAnswers {
            server.write_all(&from_client[..read]).await?;
            continue;
        }
        let passed = read.min(left);
        left -= passed;
        if from {
            server.write_all(&from_client[..passed]).await?;
        } else {
            client.write_all(&from_server[..passed]).await?;
        }
    }
    Ok(true)
}

/// Takes what comes until the other end closes.
async fn drain(client: &mut TcpStream) {
    let mut taken = [0; 4096];
    while matches!(client.read(&mut taken).await, Ok(1..)) {}
}

/// A place on the embedded server, and the wire to it.
async fn embedded(case: &str) -> (S3Server, BrokenWire, Place) {
    let server = S3Server::builder().bucket("bucket").start().await.unwrap();
    // Another one for each case, and the same at each run.
    let seed = case.bytes().fold(seed(), |seed, byte| split_mix(seed ^ u64::from(byte)));
    let wire = BrokenWire::to(server.endpoint(), Cuts::Anywhere, seed);
    let client = patient(server.client_builder().endpoint(wire.endpoint()), Duration::from_millis(300));
    let place = Place {
        urls: client.s3().build().unwrap(),
        s3: client.s3().s3root("s3://bucket/place").build().unwrap(),
        bucket: "bucket".to_owned(),
        impossible: Vec::new(),
    };
    (server, wire, place)
}

/// As patient as such a wire needs.
pub(crate) fn patient(builder: ClientBuilder, idle: Duration) -> Client {
    let policy = RetryPolicy::batch().transient_retries(20).budget(None).longest_wait(Duration::from_secs(1));
    builder.use_proxy(false).idle_timeout(idle).retry_policy(policy).build().unwrap()
}

macro_rules! through_a_broken_wire {
    ($($module:ident::$case:ident),* $(,)?) => {$(
        #[tokio::test]
        async fn $case() {
            if stringify!($case) == COUNTS_UPLOADS {
                return;
            }
            let (server, wire, place) = embedded(stringify!($case)).await;
            cases::$module::$case(&place).await;
            // Those whose ids were lost on the way.
            let left = place.urls.abandoned_uploads(["s3://bucket"], Duration::ZERO).abort(true).await.unwrap();
            assert_eq!(server.multipart_uploads("bucket"), Vec::<String>::new(), "beside {left:?}");
            eprintln!("{} connections broke", wire.broken());
        }
    )*};
}
cases::every_case!(through_a_broken_wire);
