//! What goes over a connection, byte by byte.

use std::io;

use s3flow::testing::S3Server;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A connection to a server.
pub(super) struct Wire {
    stream: TcpStream,
    /// A reset that was heard of while sending: the socket tells it once.
    reset: bool,
    pub(super) received: Vec<u8>,
}

/// How a connection ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    Fin,
    Reset,
}

impl Wire {
    pub(super) async fn connect(server: &S3Server) -> Self {
        let stream = TcpStream::connect(server.endpoint().trim_start_matches("http://")).await.unwrap();
        Self { stream, reset: false, received: Vec::new() }
    }

    /// Sends a request without a body, after which the server closes the connection.
    pub(super) async fn get(server: &S3Server, path: &str) -> Self {
        Self::request(server, "GET", path, "").await
    }

    pub(super) async fn request(server: &S3Server, method: &str, path: &str, headers: &str) -> Self {
        let mut wire = Self::connect(server).await;
        wire.send(&format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n")).await;
        wire
    }

    pub(super) async fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// Sends what the server may not want to hear.
    pub(super) async fn try_send(&mut self, text: &str) {
        let sent = self.stream.write_all(text.as_bytes()).await;
        self.reset = sent.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset);
    }

    /// Takes in everything until the connection ends.
    pub(super) async fn end(&mut self) -> End {
        loop {
            if let Some(end) = self.next().await {
                return end;
            }
        }
    }

    /// Takes in everything until this is the end of it.
    pub(super) async fn until(&mut self, end: &str) {
        while !self.received.ends_with(end.as_bytes()) {
            assert_eq!(self.next().await, None, "{end:?} did not come: {:?}", self.text());
        }
    }

    /// Takes in what comes next; `None` unless it is the end.
    async fn next(&mut self) -> Option<End> {
        let mut buffer = vec![0; 64 * 1024];
        match self.stream.read(&mut buffer).await {
            Ok(0) if self.reset => Some(End::Reset),
            Ok(0) => Some(End::Fin),
            Ok(read) => {
                self.received.extend_from_slice(&buffer[..read]);
                None
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Some(End::Reset),
            Err(error) => panic!("{error}"),
        }
    }

    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.received).unwrap()
    }

    pub(super) fn head(&self) -> &str {
        self.text().split_once("\r\n\r\n").unwrap().0
    }

    pub(super) fn body(&self) -> &str {
        self.text().split_once("\r\n\r\n").unwrap().1
    }

    /// The texts of the chunks of a chunked body.
    pub(super) fn chunks(&self) -> Vec<&str> {
        let mut chunks = Vec::new();
        let mut rest = self.body();
        while let Some((length, after)) = rest.split_once("\r\n") {
            let length = usize::from_str_radix(length, 16).unwrap();
            chunks.push(&after[..length]);
            rest = &after[length + 2..];
        }
        assert_eq!(chunks.pop(), Some(""), "the last chunk is empty");
        chunks
    }
}
