//! No text that the library makes shows a secret.

use std::io::Write as _;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures::StreamExt as _;
use s3flow::testing::{Fault, S3Server};
use s3flow::{Client, Credentials, CustomerKey, Error, Limits, PutValue, S3, S3GetObject, S3PutObject};
use tokio::process::Command;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::prelude::*;

use crate::support::{Fixture, in_time};

const SECRETS: [&str; 2] = ["hunter2secret", "hunter3token"];

#[track_caller]
fn assert_silent(what: &str, text: &str) {
    for secret in SECRETS {
        assert!(!text.contains(secret), "{what} shows {secret}: {text}");
    }
}

fn with_causes(error: &Error) -> String {
    let mut text = format!("{error} {error:?} {error:#?}");
    let mut cause = std::error::Error::source(error);
    while let Some(current) = cause {
        text.push_str(&format!(" {current} {current:?}"));
        cause = current.source();
    }
    text
}

#[tokio::test]
async fn debug_and_display_of_everything_show_no_secret() {
    let server = S3Server::builder().bucket("bucket").credentials("AKID", SECRETS[0]).start().await.unwrap();
    let credentials = Credentials::new("AKID", SECRETS[0]).session_token(SECRETS[1]);
    assert_silent("Credentials", &format!("{credentials:?}"));
    let builder = server.client_builder().credentials(credentials).retries(0);
    assert_silent("ClientBuilder", &format!("{builder:?}"));
    let fixture = Fixture::with_client(server, builder.build().unwrap());
    fixture.put_numbered(1);
    let s3 = &fixture.s3;
    assert_silent("Client", &format!("{:#?}", fixture.client));
    assert_silent("S3", &format!("{s3:#?}"));
    assert_silent(
        "operations",
        &format!("{:?}{:?}{:?}{:?}", s3.get("k"), s3.get_many(["k"]), s3.put("k", "v"), s3.info("k")),
    );
    assert_silent("more operations", &format!("{:?}{:?}", s3.put_many([("k", "v")]), s3.list_recursive([""])));
    assert_silent("an object", &format!("{:?}", s3.get("k0").await.unwrap()));
    for fault in [
        Fault::status(403, "SignatureDoesNotMatch"),
        Fault::status(500, "InternalError"),
        Fault::html(400),
        Fault::close_before_answer(),
        Fault::redirect(301, None, None),
    ] {
        fixture.server.inject(fault);
        assert_silent("an error", &with_causes(&s3.get("k0").await.unwrap_err()));
    }
    assert_silent("the server's log", &format!("{:?}", fixture.server.log()));
}

/// Set in the process whose output is looked at.
const LOOKED_AT: &str = "S3FLOW_TEST_SECRETS";
/// What it knows and is not to tell: the secret key of the environment, its session token, a proxy's password, and a customer's key.
const SECRET_KEY: &str = "wJalrXUtnFEMI/K7MDENG/hunter4secret";
const TOKEN: &str = "hunter5token+/=";
const PASSWORD: &str = "hunter6proxy";
const CUSTOMER: [u8; 32] = *b"hunter7 is thirty-two bytes long";

/// In every form in which it may be on its way.
fn forms(secret: &[u8]) -> Vec<String> {
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let percent: String = secret
        .iter()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(*byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect();
    let list = secret.iter().map(u8::to_string).collect::<Vec<_>>().join(", ");
    let mut forms = vec![BASE64_STANDARD.encode(secret), hex.to_uppercase(), hex, percent, list];
    forms.extend(String::from_utf8(secret.to_vec()));
    forms
}

/// All that a program could print: every event of every crate at its finest, every value and every error in each of its forms, and
/// what a panic shows. The process prints it, and this one looks at what it has printed.
#[tokio::test]
async fn nothing_that_a_process_prints_has_a_secret_in_it() {
    if std::env::var_os(LOOKED_AT).is_some() {
        return print_all().await;
    }
    let mut process = Command::new(std::env::current_exe().unwrap());
    process
        .args(["--exact", "secrets::nothing_that_a_process_prints_has_a_secret_in_it", "--nocapture"])
        .env(LOOKED_AT, "1")
        .env("AWS_ACCESS_KEY_ID", "AKID")
        .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
        .env("AWS_SESSION_TOKEN", TOKEN)
        // Nobody listens there.
        .env("HTTP_PROXY", format!("http://user:{PASSWORD}@127.0.0.1:1"))
        .env("NO_PROXY", "127.0.0.1")
        .env("RUST_BACKTRACE", "full")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let printed = in_time("the process ends", process.output()).await.unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&printed.stdout), String::from_utf8_lossy(&printed.stderr));
    let panic = text.find("panicked at").map(|at| text[at..].chars().take(2000).collect::<String>());
    assert!(printed.status.success() && text.contains("1 passed"), "{}: {panic:?}", printed.status);
    // It has printed what it should.
    for shown in ["TRACE", "trying again", "panicked at", "S3Object", "CustomerKey", "127.0.0.1:1", "[hidden]"] {
        assert!(text.contains(shown), "{shown} is not in what was printed");
    }
    let basic = BASE64_STANDARD.encode(format!("user:{PASSWORD}"));
    let secrets = [SECRET_KEY.as_bytes(), TOKEN.as_bytes(), PASSWORD.as_bytes(), basic.as_bytes(), &CUSTOMER];
    for form in secrets.into_iter().flat_map(forms) {
        let line = text.lines().find(|line| line.contains(&form));
        assert_eq!(line, None, "it shows {form}");
    }
    let signed = text.lines().find(|line| line.contains("Signature=") && !line.contains("Signature=[hidden]"));
    assert_eq!(signed, None, "it shows a signature");
}

fn show(what: &str, value: &(impl std::fmt::Debug + ?Sized)) {
    println!("{what}: {value:?} {value:#?}");
}

fn show_error(what: &str, error: &Error) {
    println!("{what}: {}", with_causes(error));
}

async fn print_all() {
    // The server in this process knows all of it, and tells what it was asked.
    let of_the_client = Targets::new().with_default(LevelFilter::TRACE).with_target("s3s", LevelFilter::OFF);
    tracing_subscriber::registry().with(tracing_subscriber::fmt::layer().with_filter(of_the_client)).init();
    let server = S3Server::builder().bucket("bucket").credentials("AKID", SECRET_KEY).start().await.unwrap();
    // All from the environment, but for the address.
    let builder = || Client::builder().endpoint(server.endpoint()).region(server.region()).retries(1);
    let builder = || builder().idle_timeout(Duration::from_millis(500)).limits(Limits::default().requests_in_flight(8));
    show("the builder", &builder());
    let tmproot = tempfile::tempdir().unwrap();
    let client = builder().build().unwrap();
    let s3 = client.s3().s3root("s3://bucket").tmproot(tmproot.path()).build().unwrap();
    show("the handles", &(&client, &s3));
    everything(&server, &s3).await;

    // By the proxy, which nobody is at.
    let proxied = Client::builder().endpoint("http://s3.example").retries(1).build().unwrap();
    let proxied_s3 = proxied.s3().s3root("s3://bucket").tmproot(tmproot.path()).build().unwrap();
    show("the proxied handles", &(&proxied, &proxied_s3));
    show_error("by a proxy", &proxied_s3.get("k").await.unwrap_err());
    let keyed = S3GetObject::new("k").customer_key(CustomerKey::new(CUSTOMER));
    show_error("a key by a proxy", &proxied_s3.get(keyed).await.unwrap_err());
    std::io::stdout().flush().unwrap();
}

async fn everything(server: &S3Server, s3: &S3) {
    let customer = || CustomerKey::new(CUSTOMER);
    show("a key", &customer());
    let put = || S3PutObject::new("k", "text").encryption(s3flow::Encryption::Customer(customer()));
    let get = || S3GetObject::new("k").customer_key(customer());
    show("requests", &(put(), get(), s3.get(get()), s3.put_many([put()]), s3.info(get())));
    show("a receipt", &s3.put_many([put()]).await.unwrap());
    let object = s3.get(get()).await.unwrap();
    show("an object", &object);
    show("more", &(s3.info(get()).await, s3.list_recursive([""]).await, s3.copy(get(), "copy").await));
    show("a stream", &s3.get_many([get(), S3GetObject::new("none")]).collect::<Vec<_>>().await);
    s3.put("large", PutValue::from(vec![7; 17 << 20])).await.unwrap();
    show("a delete", &s3.delete_many(["large"]).await.unwrap());
    // What a request has said, in answers that say it again.
    let key = BASE64_STANDARD.encode(CUSTOMER);
    let authorization =
        "AWS4-HMAC-SHA256 Credential=AKID/20260101/us-east-1/s3/aws4_request, Signature=0123456789abcdef";
    for (status, code) in [
        (403, "SignatureDoesNotMatch".to_owned()),
        (403, format!("Token {TOKEN}")),
        (400, format!("Key {key}")),
        (500, "InternalError".to_owned()),
        (503, "SlowDown".to_owned()),
        (412, authorization.to_owned()),
    ] {
        server.inject(Fault::status(status, &code).times(usize::MAX));
        show_error("an answer", &s3.get(get()).await.unwrap_err());
        server.clear_faults();
    }
    for fault in [
        Fault::html(400),
        Fault::close_before_answer(),
        Fault::close_after(2),
        Fault::stall(),
        Fault::redirect(307, Some("https://s3.evil.example/?X-Amz-Signature=0123456789abcdef"), None),
        Fault::without_header("etag"),
        Fault::corrupt_byte(1),
        Fault::garbage_xml(),
    ] {
        server.inject(fault.times(10));
        println!("{:?}", s3.get(get()).await.err().map(|error| with_causes(&error)));
        println!("{:?}", s3.list_paths([""]).await.err().map(|error| with_causes(&error)));
        println!("{:?}", s3.put_many([put()]).await.err().map(|error| with_causes(&error)));
        server.clear_faults();
    }
    show("the statistics", &s3.stats());
    let (shown, handle) = (s3.get(get()), s3.clone());
    let panicked = tokio::spawn(async move { panic!("{shown:?} {handle:?}") }).await;
    println!("{:?}", panicked.map(|(): ()| ()).unwrap_err());
}
