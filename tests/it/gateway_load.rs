//! The gateway under many clients, of which some go away in the middle. How much goes through it: `benches/README.md`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use s3flow::testing::S3Server;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;

use crate::cases::uploads::patterned;
use crate::gateway::example::{Gateway, router};
use crate::http::ask;
use crate::support::{Fixture, in_time, seed, split_mix};

const CLIENTS: u64 = 100;
/// Of each client.
const REQUESTS: u64 = 5;
/// The last is uploaded in parts.
const SIZES: [usize; 3] = [16 << 10, 1 << 20, 17 << 20];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_left_of_many_clients_of_which_a_tenth_vanishes_in_the_middle() {
    let fixture = Fixture::of(S3Server::builder().bucket("bucket").md5(false).start().await.unwrap());
    let bytes = Arc::new(patterned(SIZES[2]));
    for size in SIZES {
        fixture.server.put_object("bucket", &format!("data/{size}"), bytes[..size].to_vec());
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = router(Gateway { s3: fixture.s3.clone(), limit: 1 << 30 });
    let serving = tokio::spawn(async move { axum::serve(listener, router).await });

    let clients: Vec<_> =
        (0..CLIENTS).map(|number| tokio::spawn(client(address, number, Arc::clone(&bytes)))).collect();
    for client in clients {
        client.await.unwrap();
    }

    // While it goes on serving.
    until("the requests for those that have gone end", || {
        let stats = fixture.client.stats();
        stats.requests_in_flight == 0 && stats.memory_bytes == 0
    })
    .await;
    until("the uploads are aborted", || fixture.server.multipart_uploads("bucket").is_empty()).await;
    assert_eq!((fixture.files(), fixture.client.stats().disk_bytes), (0, 0));
    for key in fixture.server.keys("bucket") {
        let size: usize = key.rsplit_once('/').unwrap().1.parse().unwrap();
        assert!(fixture.server.object("bucket", &key).unwrap() == bytes[..size], "{key}");
    }
    assert_eq!(ask(address, "GET", "/data/16384", &[], b"").await.body, bytes[..16384]);

    // Unused connections are kept for 15 s; one that was forgotten, for ever.
    let closed = fixture.server.wait_for_connections(|open| open == 0);
    tokio::time::timeout(Duration::from_secs(40), closed).await.expect("a connection to the S3 server is left");

    // But for the task that closes unused connections.
    serving.abort();
    drop(fixture);
    until("tasks end", || Handle::current().metrics().num_alive_tasks() <= 1).await;
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let polls = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    in_time(what, polls).await;
}

async fn client(address: SocketAddr, number: u64, bytes: Arc<Vec<u8>>) {
    let mut state = seed() ^ (number << 32);
    let mut random = |below: usize| {
        state = split_mix(state);
        usize::try_from(state % below as u64).unwrap()
    };
    let vanishes = number % 10 == 9;
    for request in 0..REQUESTS {
        // Most are short.
        let size = SIZES[[0, 0, 0, 0, 1, 1, 1, 2][random(8)]];
        let uploads = random(4) == 0;
        if vanishes {
            vanish(address, uploads.then_some(&bytes[..]), size, random(size), &format!("vanished/{number}")).await;
        } else if uploads {
            let path = format!("/stored/{number}/{request}/{size}");
            assert_eq!(ask(address, "PUT", &path, &[], &bytes[..size]).await.status, 201, "{path}");
        } else {
            let (path, first, length) = (format!("/data/{size}"), random(size), random(1 << 20) + 1);
            let (range, part, status) = match random(3) {
                0 => {
                    let last = (first + length).min(size) - 1;
                    (vec![("range".to_owned(), format!("bytes={first}-{last}"))], &bytes[first..=last], 206)
                }
                _ => (Vec::new(), &bytes[..size], 200),
            };
            let answer = ask(address, "GET", &path, &range, b"").await;
            assert_eq!(answer.status, status, "{path} {range:?}");
            assert!(answer.body == part, "{path} {range:?}: {} bytes", answer.body.len());
        }
    }
}

/// Sends, or takes, so many bytes of a body, and closes the connection.
async fn vanish(address: SocketAddr, upload: Option<&[u8]>, size: usize, after: usize, key: &str) {
    let mut connection = TcpStream::connect(address).await.unwrap();
    match upload {
        Some(bytes) => {
            let head = format!("PUT /{key}/{size} HTTP/1.1\r\nhost: x\r\ncontent-length: {size}\r\n\r\n");
            connection.write_all(head.as_bytes()).await.unwrap();
            in_time("an upload goes on", connection.write_all(&bytes[..after])).await.unwrap();
        }
        None => {
            let head = format!("GET /data/{size} HTTP/1.1\r\nhost: x\r\n\r\n");
            connection.write_all(head.as_bytes()).await.unwrap();
            in_time("a download goes on", connection.read_exact(&mut vec![0; after])).await.unwrap();
        }
    }
}
