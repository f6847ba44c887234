//! A gateway: objects over HTTP, with ranges and conditions, uploads with a limit, and a page that lists them and stores files.
//!
//! ```text
//! cargo run --example axum_gateway                      # on an S3 server that it starts inside this process
//! cargo run --example axum_gateway -- --s3root s3://bucket/prefix --endpoint http://127.0.0.1:9000
//! curl -r 0-99 http://127.0.0.1:8080/readme.txt
//! curl -T file http://127.0.0.1:8080/dir/file
//! ```

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use clap::Parser;
use futures::TryStreamExt as _;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use s3flow::serve::UploadBody;
use s3flow::testing::S3Server;
use s3flow::{Client, S3};

type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

/// Objects over HTTP.
#[derive(Parser)]
struct Options {
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// The URL of an S3 service
    #[arg(long, value_name = "URL", requires = "s3root")]
    endpoint: Option<String>,
    /// What is served, as s3://bucket/prefix
    #[arg(long, value_name = "URL")]
    s3root: Option<String>,
    /// The longest upload, in bytes
    #[arg(long, default_value_t = 1 << 30)]
    limit: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "axum_gateway: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<()> {
    let mut client = Client::builder();
    let mut s3root = options.s3root;
    // Kept to the end: with it, the server goes.
    let server = match &s3root {
        Some(_) => {
            client = options.endpoint.into_iter().fold(client, |client, url| client.endpoint(url));
            None
        }
        None => {
            let server = S3Server::builder().bucket("bucket").start().await?;
            client = server.client_builder();
            s3root = Some("s3://bucket".to_owned());
            Some(server)
        }
    };
    let s3 = client.build()?.s3().s3root(s3root.unwrap_or_default()).build()?;
    if server.is_some() {
        // Without a type, a browser would save it in place of showing it.
        s3.put("readme.txt", "Objects over HTTP.\n".repeat(100)).content_type("text/plain").await?;
    }
    let listener = tokio::net::TcpListener::bind(options.listen).await?;
    println!("http://{}", listener.local_addr()?);
    let end = async {
        let _ = tokio::signal::ctrl_c().await;
    };
    axum::serve(listener, router(Gateway { s3: s3.clone(), limit: options.limit })).with_graceful_shutdown(end).await?;
    s3.close().await?;
    Ok(())
}

/// What the handlers share.
#[derive(Clone)]
pub(crate) struct Gateway {
    pub(crate) s3: S3,
    /// Of uploads, in bytes.
    pub(crate) limit: u64,
}

pub(crate) fn router(gateway: Gateway) -> Router {
    Router::new().route("/", get(listing)).fallback(object).with_state(gateway)
}

/// Any path but `/` is that of an object.
async fn object(State(gateway): State<Gateway>, request: Request) -> Response {
    let Some(key) = key_of(request.uri().path()) else {
        return (StatusCode::BAD_REQUEST, "that is no key").into_response();
    };
    let done = match *request.method() {
        Method::PUT => put(&gateway, key, request).await,
        _ => get_or_head(&gateway, key, request.into_parts().0).await,
    };
    done.unwrap_or_else(IntoResponse::into_response)
}

async fn get_or_head(gateway: &Gateway, key: String, request: Parts) -> s3flow::Result<Response> {
    let mut answer = gateway.s3.get(key).respond(&request.method, &request.headers);
    if request.uri.query() == Some("download") {
        answer = answer.header(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    }
    answer.await.map(IntoResponse::into_response)
}

async fn put(gateway: &Gateway, key: String, request: Request) -> s3flow::Result<Response> {
    let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let content_type = content_type.unwrap_or("application/octet-stream").to_owned();
    let body = UploadBody::new(request.into_body());
    let receipt = gateway.s3.put(key, body.into_value(gateway.limit)).content_type(content_type).await?;
    Ok((StatusCode::CREATED, receipt.etag().unwrap_or_default().to_owned()).into_response())
}

/// Stores the files that are chosen, one after another.
const UPLOADS: &str = r#"<p><input type=file multiple> <output></output>
<script>
const told = document.querySelector("output");
document.querySelector("input").onchange = async ({target}) => {
    try {
        for (const file of target.files) {
            told.value = `${file.name} …`;
            const answer = await fetch("/" + encodeURIComponent(file.name), {method: "PUT", body: file});
            if (!answer.ok) throw `${file.name}: ${answer.status} ${await answer.text()}`;
        }
        location.reload();
    } catch (error) {
        told.value = error;
    }
};
</script>
"#;

/// The first of the objects, as a page.
async fn listing(State(gateway): State<Gateway>) -> s3flow::Result<Html<String>> {
    const MOST: usize = 1_000;
    let mut page = String::from("<!doctype html><meta charset=utf-8><title>Objects</title><h1>Objects</h1><ul>");
    let mut objects = gateway.s3.list_recursive([""]).ordered(true);
    for _ in 0..MOST {
        let Some(object) = objects.try_next().await? else { break };
        let size = object.size().unwrap_or(0);
        page.push_str(&format!("<li><a href=\"/{}\">{}</a> {size}", encoded(object.key()), escaped(object.key())));
    }
    page.push_str("</ul>");
    page.push_str(UPLOADS);
    Ok(Html(page))
}

/// The key that a path means; `None` when a browser, or a proxy on the way, could take it for another one.
fn key_of(path: &str) -> Option<String> {
    const LONGEST: usize = 1024;
    let mut segments = Vec::new();
    for segment in path.strip_prefix('/')?.split('/') {
        let segment = percent_decode_str(segment).decode_utf8().ok()?;
        if matches!(&*segment, "." | "..") || segment.contains(['/', '\0']) {
            return None;
        }
        segments.push(segment);
    }
    Some(segments.join("/")).filter(|key| !key.is_empty() && key.len() <= LONGEST)
}

fn encoded(key: &str) -> String {
    const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    key.split('/').map(|segment| utf8_percent_encode(segment, ESCAPED).to_string()).collect::<Vec<_>>().join("/")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}
