//! Connections: TLS with a CA of one's own, proxies, reuse.

use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::PrivateKeyDer;
use s3flow::ErrorKind;
use s3flow::testing::S3Server;
use tokio::net::{TcpListener, TcpStream};

use crate::support::{Fixture, with_causes};

/// A TLS front of `server` for `localhost`; its endpoint, and the certificate of the CA that signed for it.
pub(crate) async fn tls_front(server: &S3Server) -> (String, String) {
    tls_front_as(server, of("localhost")).await
}

fn of(host: &str) -> CertificateParams {
    CertificateParams::new([host.to_owned()]).unwrap()
}

/// The same with such a certificate.
async fn tls_front_as(server: &S3Server, certificate: CertificateParams) -> (String, String) {
    let mut ca_params = CertificateParams::new(Vec::<String>::new()).unwrap();
    ca_params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(ca_params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = certificate.signed_by(&key, &ca).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let backend = server.endpoint().trim_start_matches("http://").to_owned();
    tokio::spawn(async move {
        while let Ok((accepted, _)) = listener.accept().await {
            let (acceptor, backend) = (acceptor.clone(), backend.clone());
            tokio::spawn(async move {
                // A client that does not trust us hangs up; there is nothing to forward then.
                if let Ok(mut tls) = acceptor.accept(accepted).await {
                    let mut plain = TcpStream::connect(backend).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut tls, &mut plain).await;
                }
            });
        }
    });
    (format!("https://localhost:{port}"), ca.as_ref().pem())
}

#[tokio::test]
async fn tls_works_with_a_ca_of_ones_own_and_not_without_it() {
    let server = S3Server::start().await.unwrap();
    let (endpoint, ca) = tls_front(&server).await;
    let builder = server.client_builder().endpoint(&endpoint).retries(0);

    let only_ours = builder.clone().tls_roots(s3flow::TlsRoots::None).ca_certificate(ca);
    let trusting = Fixture::with_client(server, only_ours.build().unwrap());
    trusting.s3.put("k", "over TLS").await.unwrap();
    assert_eq!(trusting.s3.get("k").await.unwrap().text().await.unwrap(), "over TLS");
    // The body is protected by TLS and not hashed again.
    let log = trusting.server.log();
    assert_eq!(log[0].header("x-amz-content-sha256"), Some("UNSIGNED-PAYLOAD"));

    let wary = builder.build().unwrap().s3().s3root("s3://bucket").build().unwrap();
    let error = wary.get("k").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Network);
    assert!(with_causes(&error).to_lowercase().contains("certificate"), "{error:?}");
}

#[tokio::test]
async fn a_certificate_that_proves_nothing_gets_no_request() {
    let server = S3Server::start().await.unwrap();
    let (mut expired, mut not_yet) = (of("localhost"), of("localhost"));
    (expired.not_before, expired.not_after) = (date_time_ymd(2001, 1, 1), date_time_ymd(2002, 1, 1));
    (not_yet.not_before, not_yet.not_after) = (date_time_ymd(4000, 1, 1), date_time_ymd(4001, 1, 1));
    let (_, another_ca) = tls_front(&server).await;
    for (certificate, trusted, problem) in [
        (expired, None, "expired"),
        (not_yet, None, "not valid yet"),
        (of("another.example"), None, "not valid for name"),
        (of("localhost"), Some(another_ca), "certificate"),
    ] {
        let (endpoint, ca) = tls_front_as(&server, certificate).await;
        let client = server.client_builder().endpoint(&endpoint).retries(0).tls_roots(s3flow::TlsRoots::None);
        let client = client.ca_certificate(trusted.unwrap_or(ca)).build().unwrap();
        let s3 = client.s3().s3root("s3://bucket").build().unwrap();
        let error = s3.put("k", "text").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Network, "{problem}");
        let text = with_causes(&error).to_lowercase();
        assert!(text.contains(problem) && text.contains("certificate"), "{problem}: {text}");
        assert!(!error.is_outcome_unknown(), "{problem}: nothing was sent");
    }
    assert!(server.log().is_empty());
}

#[tokio::test]
async fn without_tls_the_body_is_part_of_the_signature() {
    let fixture = Fixture::new().await;
    fixture.s3.put("k", "text").await.unwrap();
    fixture.s3.put("large", vec![1; 3 << 20]).await.unwrap();
    for request in fixture.server.log() {
        let hash = request.header("x-amz-content-sha256").unwrap().to_owned();
        assert!(hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{hash}");
    }
}

#[tokio::test]
async fn bodies_are_in_the_signature_or_not_as_the_client_says() {
    let server = S3Server::start().await.unwrap();
    let (tls, ca) = tls_front(&server).await;
    let plain = server.endpoint().to_owned();
    for (endpoint, signed) in [(&plain, false), (&plain, true), (&tls, false), (&tls, true)] {
        let client = server.client_builder().endpoint(endpoint).ca_certificate(ca.clone()).payload_signing(signed);
        let s3 = client.build().unwrap().s3().s3root("s3://bucket").build().unwrap();
        server.clear_log();
        s3.put("small", "text").await.unwrap();
        s3.put("in parts", vec![1; 17 << 20]).await.unwrap();
        assert_eq!(s3.get("small").await.unwrap().text().await.unwrap(), "text");
        s3.delete_many(["small", "in parts"]).await.unwrap();
        let mut bodies = 0;
        for request in
            server.log().iter().filter(|request| request.header("content-length").is_some_and(|it| it != "0"))
        {
            let is_hash = request.header("x-amz-content-sha256").unwrap() != "UNSIGNED-PAYLOAD";
            assert_eq!(is_hash, signed, "{endpoint}, {request:?}");
            bodies += 1;
        }
        assert!(bodies >= 5, "one value, three parts, a completion, the keys to delete: {bodies}");
    }
}

#[tokio::test]
async fn connections_are_reused() {
    let fixture = Fixture::new().await;
    let keys = fixture.put_numbered(200);
    fixture.s3.get_many(keys).concurrency(4).await.unwrap();
    // The pool may open another for each request that begins before the connection of the one before it is back.
    assert!((1..=8).contains(&fixture.server.open_connections()), "{}", fixture.server.open_connections());
}

#[tokio::test]
async fn one_client_serves_many_scopes_and_buckets_over_the_same_connections() {
    let server = S3Server::builder().bucket("bucket").bucket("other").start().await.unwrap();
    let fixture = Fixture::of(server);
    fixture.s3.put("k", "one").await.unwrap();
    fixture.scope().s3root("s3://other").build().unwrap().put("k", "two").await.unwrap();
    assert_eq!(fixture.server.object("other", "k").unwrap(), "two");
    assert_eq!(fixture.server.open_connections(), 1);
}

#[tokio::test]
async fn an_anonymous_client_signs_nothing() {
    let server = S3Server::builder().bucket("bucket").anonymous(true).start().await.unwrap();
    let client =
        s3flow::Client::builder().endpoint(server.endpoint()).anonymous(true).use_proxy(false).build().unwrap();
    let fixture = Fixture::with_client(server, client);
    fixture.s3.put("k", "text").await.unwrap();
    assert_eq!(fixture.s3.get("k").await.unwrap().text().await.unwrap(), "text");
    assert_eq!(fixture.s3.list_recursive([""]).await.unwrap().len(), 1);
    for request in fixture.server.log() {
        assert_eq!((request.header("authorization"), request.header("x-amz-date")), (None, None));
    }
}

#[tokio::test]
async fn a_server_that_is_silent_during_the_tls_handshake_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("https://{}", listener.local_addr().unwrap());
    let fixture = Fixture::new().await;
    let builder = fixture.server.client_builder().endpoint(endpoint).connect_timeout(Duration::from_millis(100));
    let s3 = builder.retries(0).build().unwrap().s3().s3root("s3://bucket").build().unwrap();
    // Far less than the idle timeout, which would end it otherwise.
    let answer = tokio::time::timeout(Duration::from_secs(10), s3.get("k").into_future()).await;
    assert_eq!(answer.expect("the connect timeout ends it").unwrap_err().kind(), ErrorKind::Network);
    drop(listener);
}

#[tokio::test]
async fn timeouts_without_end_are_possible() {
    let server = S3Server::start().await.unwrap();
    let builder = server.client_builder().connect_timeout(Duration::MAX).idle_timeout(Duration::MAX).retries(0);
    let fixture = Fixture::with_client(server, builder.build().unwrap());
    fixture.s3.put("k", "text").await.unwrap();
}

#[test]
fn a_runtime_that_nobody_drives_holds_up_no_other() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let serving = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let fixture = serving.block_on(Fixture::new());
    fixture.put_numbered(1);
    let (idle, busy) = (runtime(), runtime());
    // The connection lives on the first runtime, which stands still afterwards.
    idle.block_on(fixture.s3.get("k0").into_future()).unwrap();
    let get = async { tokio::time::timeout(Duration::from_secs(10), fixture.s3.get("k0").into_future()).await };
    busy.block_on(get).expect("an answer").unwrap();
    idle.block_on(fixture.s3.get("k0").into_future()).unwrap();
    assert_eq!(fixture.server.open_connections(), 2);
}
