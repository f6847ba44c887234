//! HTTP as it is on the wire, for answers that no client library is to interpret.

use std::collections::HashMap;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::in_time;

/// An answer, its headers' names in lower case.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
}

/// One request on a connection of its own.
pub(crate) async fn ask(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(String, String)],
    body: &[u8],
) -> Answer {
    ask_as(address, &address.to_string(), method, path, headers, body).await
}

async fn ask_as(
    address: SocketAddr,
    host: &str,
    method: &str,
    path: &str,
    headers: &[(String, String)],
    body: &[u8],
) -> Answer {
    let mut connection = TcpStream::connect(address).await.unwrap();
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        head.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    connection.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
    // Who refuses a body may have gone before all of it was written.
    let _ = connection.write_all(body).await;
    let mut answer = Vec::new();
    let _ = in_time("an answer", connection.read_to_end(&mut answer)).await;
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers =
        lines.map(|line| line.split_once(": ").unwrap()).map(|(name, value)| (name.to_lowercase(), value.into()));
    Answer { status, headers: headers.collect(), body: answer[end + 4..].to_vec() }
}

/// A request by a whole URL of plain HTTP.
pub(crate) async fn ask_url(method: &str, url: &str, headers: &http::HeaderMap, body: &[u8]) -> Answer {
    let (place, path) = url.strip_prefix("http://").and_then(|rest| rest.split_once('/')).expect("a URL with a path");
    let address = tokio::net::lookup_host(place).await.unwrap().next().unwrap();
    // The length is told by the body itself.
    let told = headers.iter().filter(|(name, _)| *name != "content-length");
    let headers: Vec<_> = told.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
    let mut answer = ask_as(address, place, method, &format!("/{path}"), &headers, body).await;
    if answer.headers.get("transfer-encoding").is_some_and(|value| value == "chunked") {
        answer.body = unchunked(&answer.body);
    }
    answer
}

fn unchunked(mut body: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(end) = body.windows(2).position(|bytes| bytes == b"\r\n") {
        let length = usize::from_str_radix(std::str::from_utf8(&body[..end]).unwrap(), 16).unwrap();
        whole.extend_from_slice(&body[end + 2..end + 2 + length]);
        body = &body[end + 2 + length + 2..];
    }
    whole
}
