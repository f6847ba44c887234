//! How long a client goes on with a service that does not do what it should: every way to be dead ends, and nothing that gets
//! on is ended.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use chrono::{NaiveDateTime, TimeDelta, Utc};
use futures::StreamExt as _;
use s3flow::testing::{Fault, Operation, S3Server};
use s3flow::{Client, ClientBuilder, Error, ErrorKind, RetryBudget, RetryPolicy, S3};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::support::{Fixture, count, in_time};

/// A client for `endpoint` and a scope of it.
fn scope_at(endpoint: &str, change: impl FnOnce(ClientBuilder) -> ClientBuilder) -> S3 {
    let builder =
        Client::builder().endpoint(endpoint).credentials(s3flow::Credentials::new("AKID", "secret")).use_proxy(false);
    change(builder).build().unwrap().s3().s3root("s3://bucket").build().unwrap()
}

/// A server that does `serve` with each connection, which has a number; its endpoint.
fn serving<F>(mut serve: impl FnMut(usize, TcpStream) -> F + Send + 'static) -> String
where
    F: Future<Output = std::io::Result<()>> + Send + 'static,
{
    let socket = TcpSocket::new_v4().unwrap();
    // What is not read is not to be held by the kernel.
    socket.set_recv_buffer_size(64 * 1024).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(100).unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        for number in 0.. {
            let Ok((connection, _)) = listener.accept().await else { break };
            // A client that hangs up is not the server's affair.
            tokio::spawn(serve(number, connection));
        }
    });
    endpoint
}

/// The head of a request, as text.
async fn head(connection: &mut TcpStream) -> std::io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(connection.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).to_ascii_lowercase())
}

fn content_length(head: &str) -> usize {
    let (_, rest) = head.split_once("content-length: ").unwrap();
    rest.split_once('\r').unwrap().0.parse().unwrap()
}

/// The error of a get, and how long it took.
async fn failing_get(s3: &S3) -> (Error, Duration) {
    let start = Instant::now();
    let error = in_time("the operation ends", s3.get("k").into_future()).await.unwrap_err();
    (error, start.elapsed())
}

const MILLIS: fn(u64) -> Duration = Duration::from_millis;

#[tokio::test]
async fn an_endpoint_that_accepts_and_never_answers_ends_at_the_deadline() {
    let endpoint = serving(|_, connection| async move {
        let _open = connection;
        std::future::pending().await
    });
    // As 30 s and 45 s: the first attempt by the idle timeout, the second by what is left. And in one go.
    for (idle_timeout, attempts) in [(MILLIS(800), 2), (Duration::from_secs(3600), 1)] {
        let policy = RetryPolicy::default().deadline(MILLIS(1200));
        let s3 = scope_at(&endpoint, |builder| builder.idle_timeout(idle_timeout).retry_policy(policy));
        let (error, took) = failing_get(&s3).await;
        assert_eq!((error.kind(), error.attempts()), (ErrorKind::Timeout, attempts), "{took:?}: {error}");
        assert!(error.is_retryable() && error.to_string().contains("deadline of 1.2s"), "{error}");
        assert!((1150..1600).contains(&took.as_millis()), "{took:?}");
    }
}

#[tokio::test]
async fn a_long_value_waits_for_an_endpoint_that_never_answers_no_longer_than_a_short_one() {
    let endpoint = serving(|_, connection| async move {
        let _open = connection;
        std::future::pending().await
    });
    let policy = RetryPolicy::default().deadline(MILLIS(1200));
    let s3 = scope_at(&endpoint, |builder| builder.idle_timeout(MILLIS(800)).retry_policy(policy));
    let start = Instant::now();
    let put = s3.put("k", vec![0; 17 << 20]).into_future();
    let error = in_time("the operation ends", put).await.unwrap_err();
    assert_eq!((error.kind(), error.attempts()), (ErrorKind::Timeout, 2), "{error}");
    assert!((1150..2500).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
}

#[tokio::test]
async fn an_endpoint_that_stops_in_the_body_ends_at_the_deadline() {
    let endpoint = serving(|_, mut connection| async move {
        head(&mut connection).await?;
        connection.write_all(b"HTTP/1.1 200 OK\r\nETag: \"e\"\r\nContent-Length: 100\r\n\r\nbegun").await?;
        std::future::pending().await
    });
    let policy = RetryPolicy::default().deadline(MILLIS(1200));
    let s3 = scope_at(&endpoint, |builder| builder.idle_timeout(MILLIS(1000)).retry_policy(policy));
    let (error, took) = failing_get(&s3).await;
    assert_eq!((error.kind(), error.attempts()), (ErrorKind::Timeout, 2), "{error}");
    assert!((1150..1800).contains(&took.as_millis()), "{took:?}");
}

#[tokio::test]
async fn an_endpoint_that_refuses_connections_is_reported_within_seconds() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let (error, took) = failing_get(&scope_at(&endpoint, |builder| builder)).await;
    assert_eq!((error.kind(), error.attempts()), (ErrorKind::Network, 4), "{error}");
    assert!(took < Duration::from_secs(3), "{took:?}");
}

/// An address at which connections are neither accepted nor refused, and what keeps it so.
async fn dropping_packets() -> (SocketAddr, impl Sized) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    // Once the queue is full, the kernel drops what comes.
    while let Ok(connected) = tokio::time::timeout(MILLIS(200), TcpStream::connect(address)).await {
        waiting.push(connected.unwrap());
        assert!(waiting.len() < 100, "the queue fills");
    }
    (address, (listener, waiting))
}

#[tokio::test]
async fn an_endpoint_that_drops_packets_is_reported_after_the_connect_timeouts() {
    let (address, _full) = dropping_packets().await;
    let endpoint = format!("http://{address}");
    let s3 = scope_at(&endpoint, |builder| builder.connect_timeout(MILLIS(100)));
    let (error, took) = failing_get(&s3).await;
    assert_eq!((error.kind(), error.attempts()), (ErrorKind::Network, 4), "{error}");
    assert!(took < Duration::from_secs(3), "{took:?}");
    // A connect timeout beyond the deadline does not matter.
    let policy = RetryPolicy::default().deadline(MILLIS(600));
    let s3 = scope_at(&endpoint, |builder| builder.connect_timeout(Duration::from_secs(3600)).retry_policy(policy));
    let (error, took) = failing_get(&s3).await;
    assert_eq!((error.kind(), error.attempts()), (ErrorKind::Timeout, 1), "{error}");
    assert!((550..1000).contains(&took.as_millis()), "{took:?}");
}

#[tokio::test]
async fn an_endpoint_that_answers_503_for_ever_ends_before_the_deadline() {
    let server = S3Server::start().await.unwrap();
    let policy = RetryPolicy::default().deadline(MILLIS(2500));
    let client = server.client_builder().retry_policy(policy).build().unwrap();
    let fixture = Fixture::with_client(server, client);
    fixture.server.inject(Fault::status(503, "SlowDown").times(usize::MAX));
    let (error, took) = failing_get(&fixture.s3).await;
    assert_eq!((error.kind(), error.code()), (ErrorKind::Throttled, Some("SlowDown")));
    assert!(error.to_string().contains("deadline of 2.5s"), "{error}");
    assert!((2..=4).contains(&error.attempts()), "{error}");
    assert!((600..2600).contains(&took.as_millis()), "{took:?}");
    // What is asked for counts too: a wait that leads beyond the deadline is not begun.
    fixture.server.clear_faults();
    fixture.server.inject(Fault::status(503, "SlowDown").retry_after(3));
    let (error, took) = failing_get(&fixture.s3).await;
    assert_eq!((error.kind(), error.attempts()), (ErrorKind::Throttled, 1));
    assert!(took < MILLIS(1000), "{took:?}");
}

/// Reads a body, no faster than `chunk` in 10 ms.
async fn read_slowly(connection: &mut TcpStream, length: usize, chunk: usize) -> std::io::Result<()> {
    let mut buffer = vec![0; chunk];
    let mut missing = length;
    while missing > 0 {
        let wanted = chunk.min(missing);
        connection.read_exact(&mut buffer[..wanted]).await?;
        missing -= wanted;
        tokio::time::sleep(MILLIS(10)).await;
    }
    Ok(())
}

#[tokio::test]
async fn a_slow_upload_is_neither_ended_nor_charged_for_its_time() {
    let endpoint = serving(|number, mut connection| async move {
        let length = content_length(&head(&mut connection).await?);
        read_slowly(&mut connection, length, 64 * 1024).await?;
        let answer: &[u8] = match number {
            0 => b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            _ => b"HTTP/1.1 200 OK\r\nETag: \"e\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        };
        connection.write_all(answer).await
    });
    let policy = RetryPolicy::default().deadline(MILLIS(2000));
    let s3 = scope_at(&endpoint, |builder| builder.retry_policy(policy));
    let start = Instant::now();
    in_time("the upload ends", s3.put("k", vec![7; 16 << 20]).into_future()).await.unwrap();
    // Each of the two attempts.
    assert!(start.elapsed() > MILLIS(2 * 2000), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_slow_download_is_not_ended() {
    let endpoint = serving(|_, mut connection| async move {
        head(&mut connection).await?;
        connection.write_all(b"HTTP/1.1 200 OK\r\nETag: \"e\"\r\nContent-Length: 10\r\n\r\n").await?;
        for _ in 0..10 {
            tokio::time::sleep(MILLIS(100)).await;
            connection.write_all(b"x").await?;
        }
        Ok(())
    });
    let policy = RetryPolicy::default().deadline(MILLIS(500));
    let s3 = scope_at(&endpoint, |builder| builder.retry_policy(policy));
    let object = in_time("the download ends", s3.get("k").into_future()).await.unwrap();
    assert_eq!(object.text().await.unwrap(), "xxxxxxxxxx");
}

/// Sends a request for each of so many keys, 64 at a time; the errors.
async fn ask_for(s3: &S3, keys: usize) -> Vec<Error> {
    let asked = futures::stream::iter(0..keys).map(|number| s3.info(format!("k{number}")).into_future());
    asked.buffer_unordered(64).filter_map(|info| std::future::ready(info.err())).collect().await
}

#[tokio::test]
async fn a_dead_endpoint_gets_no_multiple_of_the_load() {
    const OPERATIONS: usize = 10_000;
    let server = S3Server::start().await.unwrap();
    let budget = RetryBudget::default();
    let policy = RetryPolicy::default().first_wait(MILLIS(1)).longest_wait(MILLIS(10)).budget(budget);
    let client = server.client_builder().retry_policy(policy).build().unwrap();
    let fixture = Fixture::with_client(server, client);
    fixture.server.inject(Fault::status(500, "InternalError").times(usize::MAX));
    let start = Instant::now();
    let errors = ask_for(&fixture.s3, OPERATIONS).await;
    // 500 to begin with, and 10 in each second.
    let budgeted = 500 + 10 * start.elapsed().as_secs() as usize + 10;
    assert_eq!(errors.len(), OPERATIONS);
    let requests = fixture.server.log().len();
    assert!((OPERATIONS + 500..=OPERATIONS + budgeted).contains(&requests), "{requests} requests");
    let refused = errors.iter().filter(|error| error.to_string().contains("retry budget is used up")).count();
    assert!(refused > OPERATIONS * 9 / 10 && errors.iter().all(Error::is_retryable), "{refused} by the budget");
    // All scopes of a client share it.
    let other = fixture.scope().s3root("s3://bucket/other").build().unwrap();
    assert!(ask_for(&other, 20).await.iter().any(|error| error.to_string().contains("used up")));
    // When it is well again, what succeeds fills it.
    fixture.server.clear_faults();
    fixture.put_numbered(200);
    assert_eq!(ask_for(&fixture.s3, 200).await.len(), 0);
    fixture.server.inject(Fault::status(500, "InternalError").times(300));
    assert_eq!(ask_for(&fixture.s3, 100).await.len(), 0);
}

#[tokio::test]
async fn what_is_permanent_is_asked_for_once_by_every_operation() {
    for (status, code) in [
        (400, "InvalidArgument"),
        (400, "InvalidToken"),
        (400, "ExpiredToken"),
        (401, "Unauthorized"),
        (403, "AccessDenied"),
        (403, "InvalidAccessKeyId"),
        (403, "SignatureDoesNotMatch"),
        (403, "RequestTimeTooSkewed"),
        (404, "NoSuchKey"),
        (404, "NoSuchBucket"),
        (405, "MethodNotAllowed"),
        (411, "MissingContentLength"),
        (412, "PreconditionFailed"),
        (416, "InvalidRange"),
        (501, "NotImplemented"),
        (505, "HTTPVersionNotSupported"),
    ] {
        for operation in [
            Operation::GetObject,
            Operation::PutObject,
            Operation::HeadObject,
            Operation::DeleteObject,
            Operation::ListObjectsV2,
            Operation::CopyObject,
        ] {
            let fixture = Fixture::new().await;
            fixture.server.put_object("bucket", "k", "text");
            fixture.server.inject(Fault::status(status, code).operation(operation).times(usize::MAX));
            let s3 = &fixture.s3;
            let _ = match operation {
                Operation::GetObject => s3.get("k").await.map(drop),
                Operation::PutObject => s3.put("k", "x").await.map(drop),
                Operation::HeadObject => s3.info("k").await.map(drop),
                Operation::DeleteObject => s3.delete("k").await.map(drop),
                Operation::ListObjectsV2 => s3.list_paths([""]).await.map(drop),
                _ => s3.copy("k", "copy").await.map(drop),
            };
            let requests = count(&fixture.server.log(), operation);
            // It may have been the checksum that was refused.
            let without_checksum =
                operation == Operation::PutObject && matches!(code, "InvalidArgument" | "NotImplemented");
            assert_eq!(requests, 1 + usize::from(without_checksum), "{status} {code} to {operation:?}");
        }
    }
}

/// How many requests a service saw, and how many of these it refused for their time.
#[derive(Default)]
struct Seen {
    requests: AtomicUsize,
    refused: AtomicUsize,
}

/// A service whose clock is ahead of ours.
fn with_another_clock(ahead: TimeDelta) -> (String, Arc<Seen>) {
    let seen = Arc::new(Seen::default());
    let shared = Arc::clone(&seen);
    let endpoint = serving(move |_, mut connection| {
        let seen = Arc::clone(&shared);
        async move {
            let head = head(&mut connection).await?;
            seen.requests.fetch_add(1, Ordering::SeqCst);
            let now = Utc::now() + ahead;
            let (_, signed) = head.split_once("x-amz-date: ").unwrap();
            let signed = NaiveDateTime::parse_from_str(&signed[..16], "%Y%m%dt%H%M%Sz").unwrap().and_utc();
            let accepted = (now - signed).abs() < TimeDelta::minutes(15);
            let (status, body) = match (accepted, head.starts_with("head")) {
                (true, _) => ("200 OK", ""),
                (false, true) => ("403 Forbidden", ""),
                (false, false) => ("403 Forbidden", "<Error><Code>RequestTimeTooSkewed</Code></Error>"),
            };
            seen.refused.fetch_add(usize::from(!accepted), Ordering::SeqCst);
            let (date, length) = (now.to_rfc2822(), body.len());
            let answer = format!(
                "HTTP/1.1 {status}\r\nDate: {date}\r\nETag: \"e\"\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            );
            connection.write_all(answer.as_bytes()).await
        }
    });
    (endpoint, seen)
}

#[tokio::test]
async fn the_servers_clock_is_learnt_and_kept() {
    for ahead in [TimeDelta::hours(1), TimeDelta::hours(-30)] {
        for head in [false, true] {
            let (endpoint, seen) = with_another_clock(ahead);
            // It is no retry.
            let s3 = scope_at(&endpoint, |builder| builder.retry_policy(RetryPolicy::none()));
            for _ in 0..3 {
                if head { s3.info("k").await.map(drop) } else { s3.get("k").await.map(drop) }.unwrap();
            }
            assert_eq!(seen.refused.load(Ordering::SeqCst), 1, "{ahead} {head}");
            assert_eq!(seen.requests.load(Ordering::SeqCst), 4, "{ahead} {head}");
        }
    }
}

#[tokio::test]
async fn a_date_that_does_not_help_is_tried_once_and_not_kept() {
    // Its Date is wrong, and so the time of every signature.
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&requests);
    let endpoint = serving(move |number, mut connection| {
        counted.fetch_add(1, Ordering::SeqCst);
        async move {
            let head = head(&mut connection).await?;
            let today = head.contains(&format!("x-amz-date: {}", Utc::now().format("%Y%m%d")));
            let (status, code) = match number {
                0 => ("403 Forbidden", "SignatureDoesNotMatch"),
                _ if today => ("200 OK", ""),
                _ => ("403 Forbidden", "RequestTimeTooSkewed"),
            };
            let body = if code.is_empty() { String::new() } else { format!("<Error><Code>{code}</Code></Error>") };
            let date = "Wed, 21 Oct 2015 07:28:00 GMT";
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 {status}\r\nDate: {date}\r\nETag: \"e\"\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            );
            connection.write_all(answer.as_bytes()).await
        }
    });
    let s3 = scope_at(&endpoint, |builder| builder);
    let error = s3.get("k").await.unwrap_err();
    assert_eq!(
        (error.kind(), error.code(), error.attempts()),
        (ErrorKind::AccessDenied, Some("SignatureDoesNotMatch"), 1)
    );
    assert_eq!(requests.load(Ordering::SeqCst), 2);
    s3.get("k").await.unwrap();
    assert_eq!(requests.load(Ordering::SeqCst), 3);
}
