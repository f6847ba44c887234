//! No text that the library makes shows a secret.

use s3flow::testing::{Fault, S3Server};
use s3flow::{Credentials, Error};

use crate::support::Fixture;

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
