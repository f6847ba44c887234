//! Keys that a provider of the caller's hands out.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use futures::future::BoxFuture;
use s3flow::testing::{Fault, Operation, S3Server};
use s3flow::{CredentialProvider, Credentials, ErrorKind};

use crate::support::{Fixture, in_time, with_causes};

type Handed = Result<Credentials, Box<dyn std::error::Error + Send + Sync>>;

/// Hands out what `next` says for the number of the call, counted from 0.
struct Counting<F> {
    calls: Arc<AtomicUsize>,
    next: F,
}

impl<F: Fn(usize) -> Handed + Send + Sync + 'static> CredentialProvider for Counting<F> {
    fn credentials(&self) -> BoxFuture<'_, Handed> {
        Box::pin(async {
            let call = self.calls.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            (self.next)(call)
        })
    }
}

/// A client whose keys come from `next`, and how often it was asked for one.
async fn provided(next: impl Fn(usize) -> Handed + Send + Sync + 'static) -> (Fixture, Arc<AtomicUsize>) {
    let server = S3Server::builder().bucket("bucket").credentials(ID, SECRET).start().await.unwrap();
    let calls = Arc::new(AtomicUsize::new(0));
    let provider = Counting { calls: Arc::clone(&calls), next };
    let client = server.client_builder().credential_provider(provider).build().unwrap();
    (Fixture::with_client(server, client), calls)
}

const ID: &str = "AKIDPROVIDED";
const SECRET: &str = "provided-secret";

fn key() -> Credentials {
    Credentials::new(ID, SECRET)
}

#[tokio::test]
async fn a_provider_is_asked_once_for_many_requests() {
    let (fixture, calls) = provided(|_| Ok(key())).await;
    assert_eq!(calls.load(Ordering::SeqCst), 0);
    let keys = fixture.put_numbered(50);
    fixture.s3.get_many(&keys).await.unwrap();
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    assert!(fixture.server.log().iter().all(|request| request.status() == Some(200)));
}

#[tokio::test]
async fn a_key_is_renewed_before_it_expires_and_not_with_every_request() {
    let within = |time| move |_| Ok(key().expires_at(SystemTime::now() + time));
    for (expires_in, calls_after) in [(Duration::from_secs(3600), 1), (Duration::from_secs(60), 1)] {
        let (fixture, calls) = provided(within(expires_in)).await;
        let keys = fixture.put_numbered(20);
        fixture.s3.get_many(&keys).await.unwrap();
        assert_eq!(calls.load(Ordering::SeqCst), calls_after, "{expires_in:?}");
    }
    // Even one that has expired already is not asked for again at once.
    let (fixture, calls) = provided(|_| Ok(key().expires_at(SystemTime::UNIX_EPOCH))).await;
    let keys = fixture.put_numbered(20);
    fixture.s3.get_many(&keys).await.unwrap();
    assert!(calls.load(Ordering::SeqCst) <= 3);
}

#[tokio::test]
async fn a_key_that_s3_does_not_accept_any_more_is_renewed() {
    let (fixture, calls) = provided(|call| Ok(key().session_token(format!("token{call}")))).await;
    fixture.server.put_object("bucket", "k", "v");
    fixture.server.inject(Fault::status(400, "ExpiredToken").operation(Operation::GetObject).times(1));
    assert_eq!(in_time("it comes", fixture.s3.get("k").into_future()).await.unwrap().size(), Some(1));
    assert_eq!(calls.load(Ordering::SeqCst), 2);
    let tokens: Vec<_> =
        fixture.server.log().iter().map(|request| request.header("x-amz-security-token").unwrap().to_owned()).collect();
    assert_eq!(tokens, ["token0", "token1"]);
}

#[tokio::test]
async fn a_provider_without_a_key_is_told_with_its_cause_before_anything_is_sent() {
    let (fixture, calls) = provided(|_| Err("the vault is sealed".into())).await;
    let error = fixture.s3.get("k").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(with_causes(&error).contains("the vault is sealed"), "{}", with_causes(&error));
    // Not asked again by everybody who wants something meanwhile.
    for _ in 0..20 {
        fixture.s3.info("k").await.unwrap_err();
    }
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    assert!(fixture.server.log().is_empty());
}

#[tokio::test]
async fn a_key_that_has_not_expired_is_used_on_when_the_provider_fails() {
    let (fixture, calls) = provided(|call| match call {
        // To be renewed after a second.
        0 => Ok(key().expires_at(SystemTime::now() + Duration::from_secs(2))),
        _ => Err("the vault is sealed".into()),
    })
    .await;
    fixture.server.put_object("bucket", "k", "v");
    while calls.load(Ordering::SeqCst) < 2 {
        in_time("it comes", fixture.s3.get("k").into_future()).await.unwrap();
    }
}

#[tokio::test]
async fn an_async_closure_is_a_provider() {
    let server = S3Server::builder().bucket("bucket").credentials(ID, SECRET).start().await.unwrap();
    let client = server.client_builder().credential_provider(|| async { Ok(key()) }).build().unwrap();
    let s3 = client.s3().s3root("s3://bucket").build().unwrap();
    s3.put("k", "v").await.unwrap();
    assert!(!format!("{client:?} {:?}", server.client_builder()).contains(SECRET));
}
