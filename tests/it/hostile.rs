//! A server that sends more than anybody could want, or what would grow when it is read: every operation ends with an error, and
//! has read little of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use s3flow::{Client, Credentials, Error, ErrorKind, S3};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{in_time, with_causes};

const GIB: u64 = 1 << 30;
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// What is answered to every request: a beginning, this again and again up to a length, and an end.
#[derive(Clone)]
struct Flood {
    head: String,
    beginning: String,
    again: String,
    length: u64,
    end: String,
}

impl Flood {
    fn body(status: &str, beginning: &str, again: &str, length: u64, end: &str) -> Self {
        let length = length / again.len() as u64 * again.len() as u64;
        let whole = beginning.len() as u64 + length + end.len() as u64;
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {whole}\r\nETag: \"x\"\r\n\r\n");
        Self { head, beginning: beginning.to_owned(), again: again.to_owned(), length, end: end.to_owned() }
    }

    async fn answer(&self, connection: &mut TcpStream, sent: &AtomicU64) -> std::io::Result<()> {
        connection.write_all(self.head.as_bytes()).await?;
        connection.write_all(self.beginning.as_bytes()).await?;
        let piece = self.again.repeat((64 * KIB as usize / self.again.len()).max(1));
        let mut left = self.length;
        while left > 0 {
            let part = &piece.as_bytes()[..piece.len().min(left as usize)];
            connection.write_all(part).await?;
            sent.fetch_add(part.len() as u64, Ordering::SeqCst);
            left -= part.len() as u64;
        }
        connection.write_all(self.end.as_bytes()).await
    }
}

/// A scope on a server that answers so, and how much of it was sent.
struct Hostile {
    s3: S3,
    sent: Arc<AtomicU64>,
    requests: Arc<AtomicU64>,
    _tmproot: tempfile::TempDir,
}

impl Hostile {
    async fn new(flood: Flood) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sent, requests) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (counted, asked) = (Arc::clone(&sent), Arc::clone(&requests));
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                let (flood, sent, requests) = (flood.clone(), Arc::clone(&counted), Arc::clone(&asked));
                tokio::spawn(async move {
                    while head(&mut connection).await.is_some() {
                        requests.fetch_add(1, Ordering::SeqCst);
                        if flood.answer(&mut connection, &sent).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        let tmproot = tempfile::tempdir().unwrap();
        let client = Client::builder()
            .endpoint(format!("http://{address}"))
            .credentials(Credentials::new("AKID", "secret"))
            .tmproot(tmproot.path())
            .retries(1)
            .idle_timeout(Duration::from_secs(5))
            .build()
            .unwrap();
        let s3 = client.s3().s3root("s3://bucket").build().unwrap();
        Self { s3, sent, requests, _tmproot: tmproot }
    }

    /// Every operation fails, and takes at most so much for each of its requests, with what sockets hold.
    async fn fails(&self, kind: impl Fn(&Error), most: u64) {
        let s3 = &self.s3;
        for name in ["get", "info", "list", "recursive", "put", "delete", "delete many", "copy", "uploads"] {
            let failed = in_time(name, async {
                match name {
                    "get" => s3.get("k").await.map(drop),
                    "info" => s3.info("k").await.map(drop),
                    "list" => s3.list_paths([""]).await.map(drop),
                    "recursive" => s3.list_recursive([""]).await.map(drop),
                    "put" => s3.put("k", "text").await.map(drop),
                    "delete" => s3.delete("k").await.map(drop),
                    "delete many" => s3.delete_many(["k", "l"]).await.map(drop),
                    "copy" => s3.copy("k", "l").await.map(drop),
                    _ => s3.abandoned_uploads([""], Duration::ZERO).await.map(drop),
                }
            })
            .await;
            let error = failed.expect_err(name);
            kind(&error);
            assert!(with_causes(&error).len() < 70_000, "{name}: a text of {} bytes", with_causes(&error).len());
        }
        let (sent, requests) = (self.sent.load(Ordering::SeqCst), self.requests.load(Ordering::SeqCst));
        // Sockets hold up to 36 MiB on its way, at both ends.
        assert!(sent <= requests * (most + 36 * MIB), "{sent} bytes were taken in {requests} requests");
        assert!(requests <= 9 * 3, "{requests} requests");
    }
}

/// Reads the head of a request, and its short body.
async fn head(connection: &mut TcpStream) -> Option<()> {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        text.push(connection.read_u8().await.ok()?);
    }
    let text = String::from_utf8_lossy(&text).to_lowercase();
    let length =
        text.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |text| text.parse().unwrap());
    connection.read_exact(&mut vec![0; length]).await.ok()?;
    Some(())
}

#[tokio::test]
async fn an_error_of_a_gibibyte_is_read_no_further_than_an_error_is_long() {
    let (begin, end) = ("<Error><Code>Odd</Code><Message>", "</Message></Error>");
    let hostile = Hostile::new(Flood::body("403 Forbidden", begin, "x", GIB, end)).await;
    hostile.fails(|error| assert_eq!(error.status(), Some(403), "{error}"), 64 * KIB).await;
}

#[tokio::test]
async fn a_page_or_a_result_of_a_gibibyte_is_an_error() {
    let key = "<Contents><Key>k</Key><Size>1</Size></Contents>";
    let begin = "<ListBucketResult><IsTruncated>false</IsTruncated>";
    let hostile = Hostile::new(Flood::body("200 OK", begin, key, GIB, "</ListBucketResult>")).await;
    let s3 = &hostile.s3;
    for (name, error) in [
        ("list", in_time("list", async { s3.list_recursive([""]).await.map(drop) }).await),
        ("delete many", in_time("delete many", async { s3.delete_many(["k", "l"]).await.map(drop) }).await),
        ("copy", in_time("copy", async { s3.copy("k", "l").await.map(drop) }).await),
    ] {
        let error = error.expect_err(name);
        assert!(error.kind() == ErrorKind::Unsupported && error.to_string().contains("MiB"), "{name}: {error}");
    }
    assert!(hostile.sent.load(Ordering::SeqCst) < 256 * MIB);
}

#[tokio::test]
async fn entities_that_grow_are_not_expanded() {
    let mut document = String::from("<!DOCTYPE lolz [<!ENTITY l0 \"lol\">");
    for level in 1..=9 {
        let ten = format!("&l{};", level - 1).repeat(10);
        document.push_str(&format!("<!ENTITY l{level} \"{ten}\">"));
    }
    document.push_str("]>");
    for (status, document) in [
        ("200 OK", format!("{document}<ListBucketResult><Contents><Key>&l9;</Key></Contents></ListBucketResult>")),
        ("403 Forbidden", format!("{document}<Error><Code>A</Code><Message>&l9;</Message></Error>")),
    ] {
        let hostile = Hostile::new(Flood::body(status, &document, " ", 1, "")).await;
        let error = in_time("it ends", async { hostile.s3.list_recursive([""]).await.map(drop) }).await.unwrap_err();
        assert!(!with_causes(&error).contains("lollol"), "{error}");
    }
}

#[tokio::test]
async fn a_document_of_a_million_levels_is_read_without_a_stack() {
    let hostile = Hostile::new(Flood::body("403 Forbidden", "", "<a>", 12 * MIB, "")).await;
    hostile.fails(|error| assert_eq!(error.status(), Some(403), "{error}"), 12 * MIB).await;
    let hostile = Hostile::new(Flood::body("200 OK", "", "<a>", 12 * MIB, "")).await;
    let error = in_time("it ends", async { hostile.s3.list_recursive([""]).await.map(drop) }).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
}

#[tokio::test]
async fn headers_without_an_end_are_cut_off() {
    for line in ["x-amz-meta-more: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n", "x"] {
        let head = "HTTP/1.1 200 OK\r\nETag: \"x\"\r\nx-amz-meta-a: b".to_owned();
        let (beginning, end) = ("\r\n".to_owned(), "\r\n\r\n".to_owned());
        let flood = Flood { head, beginning, again: line.to_owned(), length: GIB, end };
        let hostile = Hostile::new(flood).await;
        hostile.fails(|error| assert!(error.to_string().contains("does not speak HTTP"), "{error}"), MIB).await;
    }
}

#[tokio::test]
async fn pages_that_lead_in_a_circle_end() {
    let page = "<ListBucketResult><Contents><Key>k</Key><Size>1</Size><ETag>x</ETag>\
                <LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>\
                <IsTruncated>true</IsTruncated><NextContinuationToken>again</NextContinuationToken></ListBucketResult>";
    let hostile = Hostile::new(Flood::body("200 OK", page, " ", 1, "")).await;
    let error = in_time("it ends", async { hostile.s3.list_recursive([""]).await.map(drop) }).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(error.to_string().contains("token"), "{error}");
}
