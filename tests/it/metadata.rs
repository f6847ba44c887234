//! Metadata as other tools write it and as S3 gives it back.

use s3flow::testing::{Fault, S3Server};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::Fixture;

const ENTRY: &str = "x-amz-meta-metaflow-user-attributes";

async fn fixture() -> Fixture {
    Fixture::of(S3Server::builder().bucket("bucket").anonymous(true).start().await.unwrap())
}

/// Sends a request of so many header lines, as another tool would, and gives the answer as it is.
async fn exchange(server: &S3Server, method: &str, headers: &str, body: &str) -> String {
    let address = server.endpoint().trim_start_matches("http://").to_owned();
    let mut connection = TcpStream::connect(&address).await.unwrap();
    let length = body.len();
    let request = format!(
        "{method} /bucket/k HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
    );
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn utf8_that_another_tool_put_is_read_although_s3_gives_it_back_encoded() {
    let fixture = fixture().await;
    let metadata = json!({"propriétaire": "Zoë 🦀", "ville": "東京"});
    let put = exchange(&fixture.server, "PUT", &format!("{ENTRY}: {metadata}\r\n"), "text").await;
    assert!(put.starts_with("HTTP/1.1 200"), "{put}");
    let head = exchange(&fixture.server, "HEAD", "", "").await;
    assert!(head.contains(&format!("{ENTRY}: =?UTF-8?B?")), "{head}");

    for object in [fixture.s3.get("k").await.unwrap(), fixture.s3.info("k").await.unwrap()] {
        assert_eq!(object.metadata(), metadata.as_object());
    }
}

#[tokio::test]
async fn encoded_words_of_every_kind_are_read() {
    let fixture = fixture().await;
    fixture.server.put_object("bucket", "k", "text");
    for value in [
        r#"{"city": "Zürich"}"#,
        "=?UTF-8?Q?=7B=22city=22:_=22Z=C3=BCrich=22=7D?=",
        "=?UTF-8?Q?=7B=22city=22:_=22Z?= =?UTF-8?Q?=C3=BCrich=22=7D?=",
        "=?ISO-8859-1?Q?=7B=22city=22:_=22Z=FCrich=22=7D?=",
    ] {
        fixture.server.inject(Fault::with_header(ENTRY, value));
        let object = fixture.s3.get("k").await.unwrap();
        assert_eq!(object.metadata(), json!({"city": "Zürich"}).as_object(), "{value}");
    }
}

#[tokio::test]
async fn a_text_about_encoded_words_is_not_decoded() {
    let fixture = fixture().await;
    let metadata = json!({"note": "é is =?UTF-8?Q?=C3=A9?= there"});
    let object = s3flow::S3PutObject::new("k", "text").metadata(metadata.as_object().unwrap().clone());
    fixture.s3.put_many([object]).await.unwrap();
    assert_eq!(fixture.s3.info("k").await.unwrap().metadata(), metadata.as_object());
}

#[tokio::test]
async fn metadata_that_is_no_json_does_not_fail_the_get() {
    let fixture = fixture().await;
    fixture.server.put_object("bucket", "k", "text");
    for value in [&b"not json"[..], b"[1]", b"=?UTF-8?B?bm90IGpzb24=?=", b"=?UTF-8?B?!?=", b"{\"a\": \"\xe9\"", b"\xff"]
    {
        fixture.server.inject(Fault::with_header(ENTRY, value));
        let object = fixture.s3.get("k").await.unwrap();
        assert_eq!(object.text().await.unwrap(), "text");
        assert!(object.has_info());
        assert_eq!(object.metadata(), None, "{}", value.escape_ascii());
    }
}
