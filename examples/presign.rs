//! Signed URLs: whoever has one stores or reads one object for a while, and knows no credentials.
//!
//! ```text
//! cargo run --example presign                       # on an S3 server inside this process
//! cargo run --example presign -- --expires-in 3600
//! ```

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use clap::Parser;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use s3flow::testing::S3Server;

type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

/// Signs a PUT and a GET, sends both without credentials, and shows what is refused.
#[derive(Parser)]
struct Options {
    /// For how many seconds the URLs may be used
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=604_800))]
    expires_in: u32,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "presign: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(Options { expires_in }: Options) -> Result<()> {
    const REPORT: &str = "day,total\nMonday,7\n";
    let server = S3Server::start().await?;
    let s3 = server.client_builder().build()?.s3().s3root("s3://bucket").build()?;
    let time = Duration::from_secs(expires_in.into());

    // What is signed is all that the URL is good for: this key, this type, so many bytes.
    let upload = s3.presign_put("report.csv").content_type("text/csv").content_length(REPORT.len() as u64);
    let upload = upload.expires_in(time).await?;
    let download = s3.presign_get("report.csv").content_disposition("attachment; filename=\"report.csv\"");
    let download = download.expires_in(time).await?;

    let visitor = Visitor(Client::builder(TokioExecutor::new()).build_http());
    let put = visitor.send(upload.method(), upload.url(), upload.headers(), REPORT).await?;
    put.is("a PUT as it was signed", StatusCode::OK)?;
    let mut as_html = upload.headers().clone();
    as_html.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
    let put = visitor.send(upload.method(), upload.url(), &as_html, REPORT).await?;
    put.is("a PUT of another type", StatusCode::FORBIDDEN)?;

    let get = visitor.send(download.method(), download.url(), download.headers(), "").await?;
    get.is("a GET as it was signed", StatusCode::OK)?;
    let told = (get.header("content-type"), get.header("content-disposition"));
    if get.body != REPORT || told != (Some("text/csv"), Some("attachment; filename=\"report.csv\"")) {
        return Err(format!("{:?} with {told:?} came back", get.body).into());
    }
    for (what, url) in [
        ("a GET of another key", download.url().replacen("report.csv", "secret.csv", 1)),
        ("a GET for longer", download.url().replacen("X-Amz-Expires=", "X-Amz-Expires=9", 1)),
    ] {
        let get = visitor.send(download.method(), &url, download.headers(), "").await?;
        get.is(what, StatusCode::FORBIDDEN)?;
    }

    // In place of a wait.
    server.set_clock_offset(i64::from(expires_in) + 1);
    for (what, request, body) in [("a PUT too late", &upload, REPORT), ("a GET too late", &download, "")] {
        let answer = visitor.send(request.method(), request.url(), request.headers(), body).await?;
        answer.is(what, StatusCode::FORBIDDEN)?;
    }
    s3.close().await?;
    Ok(())
}

/// Somebody with a plain HTTP client.
struct Visitor(Client<HttpConnector, Full<Bytes>>);

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Visitor {
    async fn send(&self, method: &Method, url: &str, headers: &HeaderMap, body: &'static str) -> Result<Answer> {
        let mut request = Request::builder().method(method).uri(url).body(Full::from(body))?;
        *request.headers_mut() = headers.clone();
        let (head, body) = self.0.request(request).await?.into_parts();
        Ok(Answer { status: head.status, headers: head.headers, body: body.collect().await?.to_bytes() })
    }
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Tells what came of a request, which is an error when that was to be something else.
    fn is(&self, what: &str, expected: StatusCode) -> Result<()> {
        let text = String::from_utf8_lossy(&self.body);
        let code = text.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
        let code = code.map(|(code, _)| format!(" {code}")).unwrap_or_default();
        let status = self.status.as_u16();
        if self.status != expected {
            return Err(format!("{what}: {status}{code} in place of {}", expected.as_u16()).into());
        }
        Ok(writeln!(std::io::stdout(), "{what}: {status}{code}")?)
    }
}
