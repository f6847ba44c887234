//! Whole operations, as a user asks for them, of a server on a thread of this process that has its answers ready.
//!
//! Their figures are of all threads: the client's, those of its file work, and the server's, which does next to nothing.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use s3flow::bench::{Case, Work};
use s3flow::{Client, Credentials, S3};
use tokio::runtime::{Builder, Runtime};

use crate::Result;

pub(crate) const CASES: [Case; 2] =
    [Case::new("info-of-an-object", 200, info), Case::new("get-1kib-into-a-file", 200, get)];

const SIZE: usize = 1024;

fn info() -> Work {
    let (runtime, s3) = scope().expect("a scope on this machine");
    Box::new(move || {
        let object = runtime.block_on(s3.info("key").into_future()).expect("an object");
        assert_eq!(object.size(), Some(SIZE as u64));
    })
}

fn get() -> Work {
    let (runtime, s3) = scope().expect("a scope on this machine");
    Box::new(move || {
        let object = runtime.block_on(s3.get("key").into_future()).expect("an object");
        assert!(object.size() == Some(SIZE as u64) && object.verified().is_some());
    })
}

fn scope() -> Result<(Runtime, S3)> {
    let runtime = Builder::new_current_thread().enable_all().max_blocking_threads(1).build()?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let client = Client::builder()
        .endpoint(format!("http://{}", listener.local_addr()?))
        .region("us-east-1")
        .credentials(Credentials::new("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"))
        .build()?;
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let connection = connection.expect("a connection of this process");
            std::thread::spawn(move || answer(connection).expect("a connection of this process"));
        }
    });
    Ok((runtime, client.s3().s3root("s3://bucket").build()?))
}

/// Answers each request for an object, until the connection ends.
fn answer(mut connection: TcpStream) -> std::io::Result<()> {
    connection.set_nodelay(true)?;
    let head = format!(
        "HTTP/1.1 200 OK\r\nDate: Wed, 25 Nov 2026 12:00:00 GMT\r\nLast-Modified: Tue, 24 Nov 2026 17:50:30 GMT\r\n\
         ETag: \"0f343b0931126a20f133d67c2b018a3b\"\r\nx-amz-checksum-crc64nvme: {CRC64_OF_ZEROS}\r\n\
         x-amz-checksum-type: FULL_OBJECT\r\nContent-Type: binary/octet-stream\r\nContent-Length: {SIZE}\r\n\r\n"
    );
    let whole = [head.as_bytes(), &[0; SIZE]].concat();
    let mut request = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let length = connection.read(&mut piece)?;
        if length == 0 {
            return Ok(());
        }
        request.extend_from_slice(&piece[..length]);
        if request.ends_with(b"\r\n\r\n") {
            connection.write_all(if request.starts_with(b"HEAD ") { head.as_bytes() } else { &whole })?;
            request.clear();
        }
    }
}

/// Of the object, as S3 tells it.
const CRC64_OF_ZEROS: &str = "aRuysJvlSYo=";
