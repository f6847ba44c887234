//! The example of a gateway, by what it answers: as RFC 9110 has it, and beside nginx.

#[path = "../../examples/axum_gateway.rs"]
#[allow(dead_code)]
pub(crate) mod example;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::process::{Child, Command};
use std::time::Duration;

use s3flow::testing::{Fault, Operation};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use self::example::{Gateway, router};
use crate::cases::uploads::patterned;
use crate::http::{Answer, ask};
use crate::support::{Fixture, count, in_time};

const SIZE: usize = 1_000;
const LARGE: usize = 17 << 20;

async fn gateway(limit: u64) -> (Fixture, SocketAddr) {
    let fixture = Fixture::new().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = router(Gateway { s3: fixture.s3.clone(), limit });
    tokio::spawn(async move { axum::serve(listener, router).await });
    (fixture, address)
}

/// What a version of a file says of itself.
struct Version {
    etag: String,
    date: String,
}

struct Case {
    name: String,
    method: &'static str,
    path: &'static str,
    headers: Vec<(String, String)>,
    status: u16,
    /// Which bytes of the file are the body; `None`: not looked at.
    bytes: Option<Range<usize>>,
}

const EARLIER: &str = "Thu, 01 Jan 1998 00:00:00 GMT";
const LATER: &str = "Fri, 01 Jan 2100 00:00:00 GMT";

/// Method by condition by range by state of the object.
fn table(version: &Version) -> Vec<Case> {
    let Version { etag, date } = version;
    let weak = format!("W/{etag}");
    let list = format!("\"x\", {etag}");
    let mut cases = Vec::new();
    let mut case = |method, path, headers: &[(&str, &str)], status, bytes: Option<Range<usize>>| {
        let shown = |value: &str| value.replace(etag, "ETAG").replace(date, "DATE");
        let told: Vec<String> = headers.iter().map(|(name, value)| format!("{name}: {}", shown(value))).collect();
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        cases.push(Case { name: format!("{method} {path} {}", told.join(", ")), method, path, headers, status, bytes });
    };
    let whole = Some(0..SIZE);
    let none = Some(0..0);
    for (method, of_200) in [("GET", whole.clone()), ("HEAD", none.clone())] {
        case(method, "/file.txt", &[], 200, of_200.clone());
        case(method, "/missing", &[], 404, None);
        case(method, "/empty", &[], 200, none.clone());
        // Conditions, each met and not.
        for (name, value, status) in [
            ("if-match", etag.as_str(), 200),
            ("if-match", "*", 200),
            ("if-match", &list, 200),
            ("if-match", "\"x\"", 412),
            ("if-match", &weak, 412),
            ("if-none-match", etag, 304),
            ("if-none-match", "*", 304),
            ("if-none-match", &list, 304),
            ("if-none-match", &weak, 304),
            ("if-none-match", "\"x\"", 200),
            ("if-modified-since", date, 304),
            ("if-modified-since", LATER, 304),
            ("if-modified-since", EARLIER, 200),
            ("if-modified-since", "yesterday", 200),
            ("if-unmodified-since", date, 200),
            ("if-unmodified-since", LATER, 200),
            ("if-unmodified-since", EARLIER, 412),
            ("if-unmodified-since", "yesterday", 200),
        ] {
            let bytes = if status == 200 { of_200.clone() } else { None };
            case(method, "/file.txt", &[(name, value)], status, bytes);
        }
        // Which one counts.
        case(method, "/file.txt", &[("if-none-match", "\"x\""), ("if-modified-since", LATER)], 200, of_200.clone());
        case(method, "/file.txt", &[("if-none-match", etag), ("if-modified-since", EARLIER)], 304, None);
        case(method, "/file.txt", &[("if-match", etag), ("if-unmodified-since", EARLIER)], 200, of_200.clone());
        case(method, "/file.txt", &[("if-match", "\"x\""), ("if-none-match", etag)], 412, None);
        case(method, "/missing", &[("if-none-match", "*")], 404, None);
        case(method, "/missing", &[("if-match", "*")], 404, None);
    }
    for (range, status, bytes) in [
        ("bytes=0-0", 206, Some(0..1)),
        ("bytes=5-9", 206, Some(5..10)),
        ("bytes=990-", 206, Some(990..SIZE)),
        ("bytes=0-", 206, whole.clone()),
        ("bytes=-10", 206, Some(990..SIZE)),
        ("bytes=-5000", 206, whole.clone()),
        ("bytes=990-5000", 206, Some(990..SIZE)),
        ("bytes=1000-", 416, None),
        ("bytes=5000-6000", 416, None),
        ("bytes=-0", 416, None),
        ("bytes=9-5", 200, whole.clone()),
        ("bytes=a-b", 200, whole.clone()),
        ("bytes=", 200, whole.clone()),
        ("items=0-5", 200, whole.clone()),
        ("bytes=0-4,10-14", 200, whole.clone()),
    ] {
        case("GET", "/file.txt", &[("range", range)], status, bytes);
    }
    case("HEAD", "/file.txt", &[("range", "bytes=0-4")], 200, none.clone());
    case("GET", "/empty", &[("range", "bytes=0-4")], 416, None);
    case("GET", "/empty", &[("range", "bytes=-4")], 416, None);
    case("GET", "/missing", &[("range", "bytes=0-4")], 404, None);
    let range = ("range", "bytes=5-9");
    for (value, status) in
        [(etag.as_str(), 206), ("\"x\"", 200), (&weak, 200), (date, 206), (EARLIER, 200), ("yesterday", 200)]
    {
        let bytes = if status == 206 { Some(5..10) } else { whole.clone() };
        case("GET", "/file.txt", &[range, ("if-range", value)], status, bytes);
    }
    case("GET", "/file.txt", &[range, ("if-none-match", etag)], 304, None);
    case("GET", "/file.txt", &[range, ("if-match", "\"x\"")], 412, None);
    case("GET", "/file.txt", &[range, ("if-none-match", "\"x\"")], 206, Some(5..10));
    case("GET", "/file.txt", &[("range", "bytes=5000-"), ("if-none-match", etag)], 304, None);
    case("GET", "/large", &[("range", "bytes=10000000-10000004")], 206, None);
    case("GET", "/large", &[("range", "bytes=-3")], 206, None);
    case("POST", "/file.txt", &[], 405, None);
    case("DELETE", "/file.txt", &[], 405, None);
    cases
}

/// What is wrong with an answer.
fn wrong(case: &Case, answer: &Answer, file: &[u8]) -> Option<String> {
    if answer.status != case.status {
        return Some(format!("{} in place of {}", answer.status, case.status));
    }
    if let Some(bytes) = &case.bytes
        && answer.body != file[bytes.clone()]
    {
        return Some(format!("{} bytes", answer.body.len()));
    }
    let header = |name: &str| answer.headers.get(name).map(String::as_str);
    let length = match (case.method, case.path, case.status) {
        ("HEAD", "/empty", 200) => "0".to_owned(),
        ("HEAD", _, 200) => SIZE.to_string(),
        ("GET", _, 200 | 206) => answer.body.len().to_string(),
        _ => return None,
    };
    if header("content-length") != Some(&length) {
        return Some(format!("a length of {:?}", header("content-length")));
    }
    // Whom a range was given knows that there are ranges.
    let ranges = case.status == 206 || header("accept-ranges") == Some("bytes");
    if !ranges || header("etag").is_none() || header("last-modified").is_none() {
        return Some(format!("the headers {:?}", answer.headers));
    }
    if let (206, Some(bytes)) = (case.status, &case.bytes) {
        let told = format!("bytes {}-{}/{SIZE}", bytes.start, bytes.end - 1);
        if header("content-range") != Some(&told) {
            return Some(format!("{:?}", header("content-range")));
        }
    }
    None
}

async fn version(address: SocketAddr) -> Version {
    let answer = ask(address, "HEAD", "/file.txt", &[], b"").await;
    let header = |name: &str| answer.headers[name].clone();
    Version { etag: header("etag"), date: header("last-modified") }
}

/// What of the table an address does not do.
async fn differences(address: SocketAddr, file: &[u8]) -> (usize, BTreeMap<String, String>) {
    let cases = table(&version(address).await);
    let mut different = BTreeMap::new();
    for case in &cases {
        let answer = ask(address, case.method, case.path, &case.headers, b"").await;
        if let Some(problem) = wrong(case, &answer, file) {
            different.insert(case.name.clone(), problem);
        }
    }
    (cases.len(), different)
}

#[tokio::test]
async fn the_gateway_answers_as_rfc_9110_has_it() {
    let (fixture, address) = gateway(1 << 20).await;
    let file = patterned(SIZE);
    fixture.s3.put("file.txt", file.clone()).content_type("text/plain").await.unwrap();
    fixture.s3.put("empty", "").await.unwrap();
    fixture.s3.put("large", patterned(LARGE)).await.unwrap();
    let (cases, different) = differences(address, &file).await;
    assert!(cases >= 60, "{cases}");
    assert!(different.is_empty(), "{different:#?}");
}

struct Nginx(Child);

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Where nginx 1.22 does something else, and why; in the order of the names.
const NGINX_DIFFERS: &[(&str, &str)] = &[
    ("GET /empty range: bytes=-4", EMPTY),
    ("GET /empty range: bytes=0-4", EMPTY),
    ("GET /file.txt if-match: ETAG, if-unmodified-since: Thu, 01 Jan 1998 00:00:00 GMT", BOTH),
    ("GET /file.txt if-modified-since: Fri, 01 Jan 2100 00:00:00 GMT", EXACT),
    ("GET /file.txt if-none-match: ETAG, if-modified-since: Thu, 01 Jan 1998 00:00:00 GMT", BOTH),
    ("GET /file.txt if-unmodified-since: yesterday", UNREADABLE_DATE),
    (
        "GET /file.txt range: bytes=0-4,10-14",
        "several ranges are multipart/byteranges, which section 14.2 leaves to the server",
    ),
    ("GET /file.txt range: bytes=9-5", UNREADABLE),
    ("GET /file.txt range: bytes=a-b", UNREADABLE),
    ("HEAD /file.txt if-match: ETAG, if-unmodified-since: Thu, 01 Jan 1998 00:00:00 GMT", BOTH),
    ("HEAD /file.txt if-modified-since: Fri, 01 Jan 2100 00:00:00 GMT", EXACT),
    ("HEAD /file.txt if-none-match: ETAG, if-modified-since: Thu, 01 Jan 1998 00:00:00 GMT", BOTH),
    ("HEAD /file.txt if-unmodified-since: yesterday", UNREADABLE_DATE),
    ("HEAD /file.txt range: bytes=0-4", "ranges of a HEAD are heeded, which section 14.2 has for GET alone"),
];
const EMPTY: &str = "of an empty file it gives no ranges; no range of it is there, which is 416 by section 15.5.17";
const BOTH: &str = "it heeds both conditions, of which section 13.2.2 has one count";
const EXACT: &str = "it compares the date for equality, unless `if_modified_since before` says otherwise";
const UNREADABLE_DATE: &str = "a date that it cannot read is one that has passed; section 13.1.4 has it ignored";
const UNREADABLE: &str = "a range that it cannot read is 416; section 14.2 allows to ignore it";

#[cfg(target_os = "linux")]
#[tokio::test]
async fn nginx_answers_the_same_but_where_it_is_said() {
    if Command::new("nginx").arg("-v").output().is_err() {
        println!("nginx is not there; nothing to compare with");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let file = patterned(SIZE);
    std::fs::create_dir(path.join("files")).unwrap();
    for (name, bytes) in [("file.txt", file.clone()), ("empty", Vec::new()), ("large", patterned(LARGE))] {
        std::fs::write(path.join("files").join(name), bytes).unwrap();
    }
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let shown = path.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {shown}/{name};"))
        .concat();
    let config = format!(
        "daemon off; master_process off; pid {shown}/pid; error_log {shown}/error.log; events {{}}
         http {{ access_log off; {temporary} server {{ listen 127.0.0.1:{port}; root {shown}/files; }} }}"
    );
    std::fs::write(path.join("nginx.conf"), config).unwrap();
    let mut command = Command::new("nginx");
    let nginx = command.arg("-e").arg(path.join("error.log")).arg("-c").arg(path.join("nginx.conf")).spawn();
    let _nginx = Nginx(nginx.unwrap());
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let started = async {
        while TcpStream::connect(address).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    in_time("the start of nginx", started).await;
    let (_, different) = differences(address, &file).await;
    let explained: Vec<&str> = NGINX_DIFFERS.iter().map(|(case, _)| *case).collect();
    let found: Vec<&str> = different.keys().map(String::as_str).collect();
    assert_eq!(found, explained, "{different:#?}");
}

#[tokio::test]
async fn a_path_that_is_no_key_is_refused_before_any_request() {
    let (fixture, address) = gateway(1 << 20).await;
    fixture.s3.put("secret", "x").await.unwrap();
    fixture.server.clear_log();
    let long = format!("/{}", "a".repeat(1025));
    for path in [
        "/a/../secret",
        "/..",
        "/a/%2e%2e/secret",
        "/./secret",
        "/a%2Fsecret",
        "/a%2fb",
        "/%00",
        "/a%00b",
        "/%ff",
        &long,
    ] {
        for method in ["GET", "HEAD", "PUT"] {
            let answer = ask(address, method, path, &[], b"").await;
            assert_eq!(answer.status, 400, "{method} {path}");
        }
    }
    assert!(fixture.server.log().is_empty());
    assert_eq!(ask(address, "GET", "/secret", &[], b"").await.body, b"x");
}

#[tokio::test]
async fn keys_come_through_the_gateway_as_they_are() {
    let (fixture, address) = gateway(1 << 20).await;
    for (key, path) in
        [("a b/ü?#.x", "/a%20b/%C3%BC%3F%23.x"), ("a//b", "/a//b"), ("dir/", "/dir/"), ("100%", "/100%25")]
    {
        assert_eq!(ask(address, "PUT", path, &[], b"text").await.status, 201, "{path}");
        assert_eq!(&fixture.server.object("bucket", key).unwrap()[..], b"text", "{key}");
        assert_eq!(ask(address, "GET", path, &[], b"").await.body, b"text");
        assert_eq!(ask(address, "DELETE", path, &[], b"").await.status, 405);
    }
    let page = ask(address, "GET", "/", &[], b"").await;
    let page = String::from_utf8(page.body).unwrap();
    assert!(page.contains("<a href=\"/a%20b/%C3%BC%3F%23.x\">a b/ü?#.x</a> 4"), "{page}");
}

#[tokio::test]
async fn an_upload_stops_at_the_limit_and_stores_nothing() {
    let (fixture, address) = gateway(100_000).await;
    assert_eq!(ask(address, "PUT", "/fits", &[], &patterned(100_000)).await.status, 201);
    // Announced, and not.
    assert_eq!(ask(address, "PUT", "/announced", &[], &patterned(100_001)).await.status, 413);
    let mut chunked = TcpStream::connect(address).await.unwrap();
    let head = "PUT /chunked HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n";
    chunked.write_all(head.as_bytes()).await.unwrap();
    let chunk = [format!("{:x}\r\n", 60_000).into_bytes(), vec![b'x'; 60_000], b"\r\n".to_vec()].concat();
    for _ in 0..2 {
        let _ = chunked.write_all(&chunk).await;
    }
    let mut answer = Vec::new();
    let _ = in_time("the refusal", chunked.read_to_end(&mut answer)).await;
    assert!(answer.starts_with(b"HTTP/1.1 413"), "{}", String::from_utf8_lossy(&answer));
    assert_eq!(fixture.server.keys("bucket"), ["fits"]);
    assert!(fixture.server.multipart_uploads("bucket").is_empty());
}

#[tokio::test]
async fn a_client_that_vanishes_in_the_middle_of_an_upload_leaves_nothing() {
    let (fixture, address) = gateway(1 << 30).await;
    for (sent, announced) in [(5, 10), (20 << 20, 40 << 20)] {
        let mut connection = TcpStream::connect(address).await.unwrap();
        let head = format!("PUT /k HTTP/1.1\r\nhost: x\r\ncontent-length: {announced}\r\n\r\n");
        connection.write_all(head.as_bytes()).await.unwrap();
        connection.write_all(&vec![b'x'; sent]).await.unwrap();
        if sent > 16 << 20 {
            fixture.wait_until(|log| count(log, Operation::UploadPart) > 0).await;
        }
        drop(connection);
    }
    fixture.wait_until(|log| count(log, Operation::AbortMultipartUpload) == 1).await;
    in_time("cleanups", fixture.s3.close()).await.unwrap();
    assert!(fixture.server.keys("bucket").is_empty());
    assert!(fixture.server.multipart_uploads("bucket").is_empty());
}

#[tokio::test]
async fn a_client_that_goes_away_ends_the_requests_for_it() {
    let (fixture, address) = gateway(1).await;
    fixture.s3.put("large", patterned(3 * LARGE)).await.unwrap();
    let mut connection = TcpStream::connect(address).await.unwrap();
    connection.write_all(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut some = vec![0; 2 << 20];
    connection.read_exact(&mut some).await.unwrap();
    drop(connection);
    fixture.wait_until(|log| log.iter().all(|request| request.finish().is_some())).await;
    fixture.connections_end(1).await;
    assert_eq!(fixture.client.stats().requests_in_flight, 0);
}

#[tokio::test]
async fn errors_tell_the_client_no_inner_detail() {
    let (fixture, address) = gateway(1).await;
    for (fault, status) in [
        (Fault::status(403, "AccessDenied"), 403),
        (Fault::status(404, "NoSuchBucket"), 404),
        (Fault::status(501, "NotImplemented"), 502),
    ] {
        fixture.server.inject(fault.operation(Operation::GetObject));
        let answer = ask(address, "GET", "/k", &[], b"").await;
        assert_eq!(answer.status, status);
        let text = String::from_utf8(answer.body).unwrap();
        assert!(!text.contains("bucket") && !text.contains("s3") && text.len() < 40, "{text}");
    }
}

#[tokio::test]
async fn damage_is_an_error_or_breaks_the_body_off() {
    let (fixture, address) = gateway(1).await;
    for (size, status) in [(SIZE, 502), (3 << 20, 200)] {
        fixture.s3.put("k", patterned(size)).await.unwrap();
        fixture.server.inject(Fault::corrupt_byte(7).operation(Operation::GetObject));
        let answer = ask(address, "GET", "/k", &[], b"").await;
        assert_eq!(answer.status, status);
        if status == 200 {
            // The head was on its way already, and the body is too short for it.
            assert_eq!(answer.headers["content-length"], size.to_string());
            assert!(answer.body.len() < size);
        }
    }
}

#[tokio::test]
async fn an_object_that_is_replaced_after_it_was_looked_at_is_looked_at_again() {
    let (fixture, address) = gateway(1).await;
    fixture.s3.put("k", "one").await.unwrap();
    let other = Fault::replace_object("two!").operation(Operation::GetObject);
    fixture.server.inject(other);
    let answer = ask(address, "GET", "/k", &[("if-none-match".into(), "\"x\"".into())], b"").await;
    assert_eq!((answer.status, &answer.body[..]), (200, &b"two!"[..]));
    let named = answer.headers["etag"].clone();
    assert_eq!(fixture.s3.info("k").await.unwrap().etag(), Some(named.as_str()));
}
