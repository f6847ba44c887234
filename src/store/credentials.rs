//! Who signs: given credentials, a provider of the caller's, nobody, or the chain of the environment, which `object_store` walks.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::{Duration, SystemTime};

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, AwsCredential, AwsCredentialProvider};
use object_store::client::{HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService};
use object_store::{ClientOptions, CredentialProvider, RetryConfig};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::failure::{Failure, FailureKind, Retryability};
use super::transport::Transport;
use crate::credentials::{Credentials as Key, SharedProvider};

/// Where credentials come from.
#[derive(Clone)]
pub(crate) enum CredentialSource {
    /// Requests are not signed.
    Anonymous,
    Static(Key),
    Provider(SharedProvider),
    /// The variables whose names begin with `AWS_`.
    Environment(BTreeMap<String, String>),
}

impl fmt::Debug for CredentialSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Anonymous => "Anonymous",
            Self::Static(_) => "Static(******)",
            Self::Provider(_) => "Provider",
            Self::Environment(_) => "Environment(******)",
        })
    }
}

/// The credentials of a client, for all of its buckets.
pub(super) enum Credentials {
    Anonymous,
    Static(Arc<AwsCredential>),
    Chain(Box<Chain>),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(******)")
    }
}

/// Credentials that expire and are fetched again.
pub(super) struct Chain {
    /// What it means that there are none.
    problem: &'static str,
    /// How long the provider may take.
    patience: Duration,
    /// A provider that has fetched nothing yet: none can be told to let go of what it has.
    new_provider: Box<dyn Fn() -> object_store::Result<AwsCredentialProvider> + Send + Sync>,
    /// One fetch at a time: a thousand requests must not queue for a thousand timeouts.
    state: Mutex<State>,
}

struct State {
    provider: AwsCredentialProvider,
    /// What was handed out last, and when.
    last: Option<(Arc<AwsCredential>, Instant)>,
    /// After it, nothing is fetched for a while.
    last_failure: Option<(Instant, Failure)>,
    /// What S3 did not accept and the provider had nothing else for.
    rejected: Option<(Instant, Arc<AwsCredential>)>,
}

const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// Of a provider of the caller's, which may start a process or ask a person's browser.
const PATIENCE: Duration = Duration::from_secs(30);
/// What expires in so long is renewed.
const RENEWED_BEFORE: Duration = Duration::from_secs(300);
/// How long nothing is fetched again after a fetch that was of no use.
const FETCH_PAUSE: Duration = Duration::from_secs(5);
/// What the providers of `object_store` hand out is valid for so long at least, or has just been fetched.
const STILL_VALID: Duration = Duration::from_secs(300);

const NOT_FOUND: &str = "no AWS credentials found: neither AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, nor a web identity, \
                         container or instance role; for public buckets, build the client with anonymous(true)";

const NOT_PROVIDED: &str = "the client's credential provider has no key";

impl Credentials {
    /// # Errors
    ///
    /// A text that names the variables which contradict each other.
    pub(super) fn new(source: CredentialSource, transport: &Transport) -> Result<Self, String> {
        let variables = match source {
            CredentialSource::Anonymous => return Ok(Self::Anonymous),
            CredentialSource::Static(key) => return Ok(Self::Static(Arc::new(of_key(key)))),
            CredentialSource::Provider(provider) => {
                let chain = Chain::new(NOT_PROVIDED, PATIENCE, move || Ok(Arc::new(Kept::of(provider.clone()))))?;
                return Ok(Self::Chain(Box::new(chain)));
            }
            CredentialSource::Environment(variables) => variables,
        };
        let get = |name: &str| variables.get(name).filter(|value| !value.is_empty()).cloned();
        match (get("AWS_ACCESS_KEY_ID"), get("AWS_SECRET_ACCESS_KEY")) {
            (Some(key_id), Some(secret_key)) => {
                let token = get("AWS_SESSION_TOKEN");
                return Ok(Self::Static(Arc::new(AwsCredential { key_id, secret_key, token })));
            }
            (None, None) => {}
            _ => {
                let problem =
                    "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are needed together; only one of them is set";
                return Err(problem.to_owned());
            }
        }
        let other_role = [
            "AWS_WEB_IDENTITY_TOKEN_FILE",
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        ]
        .into_iter()
        .any(|name| get(name).is_some());
        let instance_role_disabled =
            get("AWS_EC2_METADATA_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        if instance_role_disabled && !other_role {
            return Ok(Self::Chain(Box::new(Chain::new(NOT_FOUND, FETCH_TIMEOUT, || Ok(Arc::new(Nobody)))?)));
        }

        let mut builder = AmazonS3Builder::new();
        for (name, value) in variables.iter().filter(|(_, value)| !value.is_empty()) {
            if let Ok(key) = name.to_ascii_lowercase().parse()
                && says_who_signs(&key)
            {
                builder = builder.with_config(key, value);
            }
        }
        let builder = builder
            .with_bucket_name("credentials")
            .with_retry(RetryConfig { max_retries: 1, retry_timeout: FETCH_TIMEOUT, ..RetryConfig::default() })
            .with_http_connector(Unsigned(transport.clone()));
        let chain =
            Chain::new(NOT_FOUND, FETCH_TIMEOUT, move || Ok(Arc::clone(builder.clone().build()?.credentials())))?;
        Ok(Self::Chain(Box::new(chain)))
    }

    /// The credentials for one attempt; `None` when requests are not signed.
    pub(super) async fn current(&self) -> Result<Option<Arc<AwsCredential>>, Failure> {
        match self {
            Self::Anonymous => Ok(None),
            Self::Static(credential) => Ok(Some(Arc::clone(credential))),
            Self::Chain(chain) => chain.fetch().await.map(Some),
        }
    }

    /// Asks for others than `rejected`, which S3 does not accept any more; whether there are.
    ///
    /// # Errors
    ///
    /// When the provider does not answer.
    pub(super) async fn renew(&self, rejected: &Arc<AwsCredential>) -> Result<bool, Failure> {
        match self {
            Self::Anonymous | Self::Static(_) => Ok(false),
            Self::Chain(chain) => chain.renew(rejected).await,
        }
    }
}

/// Whether a variable says whose role is taken. Where requests go, and how, is ours to read.
fn says_who_signs(key: &AmazonS3ConfigKey) -> bool {
    use AmazonS3ConfigKey as Key;
    matches!(
        key,
        Key::WebIdentityTokenFile
            | Key::RoleArn
            | Key::RoleSessionName
            | Key::StsEndpoint
            | Key::ContainerCredentialsRelativeUri
            | Key::ContainerCredentialsFullUri
            | Key::ContainerAuthorizationTokenFile
            | Key::MetadataEndpoint
            | Key::ImdsV1Fallback
            | Key::Region
            | Key::DefaultRegion
    )
}

impl Chain {
    fn new(
        problem: &'static str,
        patience: Duration,
        new_provider: impl Fn() -> object_store::Result<AwsCredentialProvider> + Send + Sync + 'static,
    ) -> Result<Self, String> {
        let provider = new_provider().map_err(|error| error.to_string())?;
        let state = State { provider, last: None, last_failure: None, rejected: None };
        Ok(Self { problem, patience, new_provider: Box::new(new_provider), state: Mutex::new(state) })
    }

    async fn fetch(&self) -> Result<Arc<AwsCredential>, Failure> {
        let mut state = self.state.lock().await;
        if let Some(failure) = state.recent_failure() {
            return state.still_valid().ok_or_else(|| failure.clone());
        }
        match self.ask(&state.provider).await {
            Ok(credential) => {
                state.last = Some((Arc::clone(&credential), Instant::now()));
                state.last_failure = None;
                Ok(credential)
            }
            Err(failure) => {
                let still_valid = state.still_valid();
                // A provider that is overloaded has its waits from the one retry loop, when somebody waits for it.
                if still_valid.is_some() || failure.kind != FailureKind::Answer {
                    tracing::warn!(%failure, fallback = still_valid.is_some(), "credentials were not refreshed");
                    state.last_failure = Some((Instant::now(), failure.clone()));
                }
                still_valid.ok_or(failure)
            }
        }
    }

    async fn renew(&self, rejected: &Arc<AwsCredential>) -> Result<bool, Failure> {
        let mut state = self.state.lock().await;
        if state.last.as_ref().is_some_and(|(last, _)| !same(last, rejected)) {
            return Ok(true);
        }
        if let Some(failure) = state.recent_failure() {
            return Err(failure.clone());
        }
        if state.rejected.as_ref().is_some_and(|(at, known)| at.elapsed() < FETCH_PAUSE && same(known, rejected)) {
            return Ok(false);
        }
        let provider = (self.new_provider)().map_err(Failure::from_store)?;
        match self.ask(&provider).await {
            Ok(fresh) => {
                let others = !same(&fresh, rejected);
                state.rejected = (!others).then(|| (Instant::now(), Arc::clone(rejected)));
                state.provider = provider;
                state.last = Some((fresh, Instant::now()));
                Ok(others)
            }
            Err(failure) => {
                if failure.kind != FailureKind::Answer {
                    state.last_failure = Some((Instant::now(), failure.clone()));
                }
                Err(failure)
            }
        }
    }
}

impl Chain {
    async fn ask(&self, provider: &AwsCredentialProvider) -> Result<Arc<AwsCredential>, Failure> {
        match tokio::time::timeout(self.patience, provider.get_credential()).await {
            Ok(Ok(credential)) => Ok(credential),
            Ok(Err(error)) => Err(match Failure::answered(&error) {
                Some(overloaded) => {
                    let message = format!("the provider of the AWS credentials answered: {}", overloaded.message);
                    Failure { message, ..overloaded }
                }
                None => Failure::new(FailureKind::Credentials, self.problem).with_source(error),
            }),
            Err(elapsed) => Err(Failure::new(FailureKind::Credentials, self.problem).with_source(elapsed)),
        }
    }
}

impl State {
    fn recent_failure(&self) -> Option<&Failure> {
        self.last_failure.as_ref().filter(|(at, _)| at.elapsed() < FETCH_PAUSE).map(|(_, failure)| failure)
    }

    /// What can be used when there is nothing newer.
    fn still_valid(&self) -> Option<Arc<AwsCredential>> {
        self.last.as_ref().filter(|(_, at)| at.elapsed() < STILL_VALID).map(|(last, _)| Arc::clone(last))
    }
}

fn same(one: &AwsCredential, other: &AwsCredential) -> bool {
    one.key_id == other.key_id && one.token == other.token
}

fn of_key(key: Key) -> AwsCredential {
    let Key { access_key_id, secret_access_key, session_token, expires_at: _ } = key;
    AwsCredential { key_id: access_key_id, secret_key: secret_access_key, token: session_token }
}

/// A provider of the caller's, and the key that it handed out.
struct Kept {
    provider: SharedProvider,
    key: StdMutex<Option<KeptKey>>,
}

#[derive(Clone)]
struct KeptKey {
    credential: Arc<AwsCredential>,
    expires_at: Option<SystemTime>,
    renewed_at: Option<SystemTime>,
}

impl Kept {
    fn of(provider: SharedProvider) -> Self {
        Self { provider, key: StdMutex::new(None) }
    }

    fn keep(&self, key: KeptKey) -> Arc<AwsCredential> {
        let credential = Arc::clone(&key.credential);
        *self.key.lock().unwrap_or_else(PoisonError::into_inner) = Some(key);
        credential
    }
}

impl KeptKey {
    fn new(key: Key, now: SystemTime) -> Self {
        let expires_at = key.expires_at;
        let renewed_at = expires_at.map(|expires_at| {
            let left = expires_at.duration_since(now).unwrap_or_default();
            // A provider with a cache of its own may hand out the same until it expires.
            now + left.saturating_sub(RENEWED_BEFORE).max(left / 2).max(Duration::from_secs(1))
        });
        Self { credential: Arc::new(of_key(key)), expires_at, renewed_at }
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kept(******)")
    }
}

#[async_trait::async_trait]
impl CredentialProvider for Kept {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let kept = self.key.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let now = SystemTime::now();
        let is_before = |time: Option<SystemTime>| time.is_none_or(|time| now < time);
        if let Some(key) = kept.as_ref().filter(|key| is_before(key.renewed_at)) {
            return Ok(Arc::clone(&key.credential));
        }
        match (self.provider.get().credentials().await, kept) {
            (Ok(key), _) => Ok(self.keep(KeptKey::new(key, now))),
            (Err(error), Some(key)) if is_before(key.expires_at) => {
                tracing::warn!(%error, "credentials were not renewed; they are still valid");
                Ok(self.keep(KeptKey { renewed_at: Some(now + FETCH_PAUSE), ..key }))
            }
            (Err(source), _) => Err(object_store::Error::Generic { store: "S3", source }),
        }
    }
}

/// The end of a chain in which nothing is configured.
#[derive(Debug)]
struct Nobody;

#[async_trait::async_trait]
impl CredentialProvider for Nobody {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        Err(object_store::Error::Generic {
            store: "S3",
            source: "the instance role is disabled by AWS_EC2_METADATA_DISABLED".into(),
        })
    }
}

/// The transport as it is, for the services that hand out credentials.
#[derive(Debug, Clone)]
struct Unsigned(Transport);

impl HttpConnector for Unsigned {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait::async_trait]
impl HttpService for Unsigned {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let response = self.0.send(request, None).await.map_err(Failure::into_http)?;
        let failure = Failure::from_answer(response.status(), response.headers(), &[]);
        match failure.retryability() {
            // Such answers may pass: the one retry loop is ours.
            Retryability::Transient | Retryability::Throttled => Err(failure.into_http()),
            Retryability::Permanent | Retryability::Unreachable => Ok(response),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use bytes::Bytes;
    use chrono::{TimeDelta, Utc};
    use tempfile::NamedTempFile;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::address::Location;
    use crate::store::connector::TransportConfig;
    use crate::store::{Endpoint, ObjectHeaders, Store, StoreConfig};

    /// A service that answers by the head of a request and its number, counted from 0; its address.
    async fn serve(answer: impl Fn(&str, usize) -> String + Send + 'static) -> std::net::SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            for number in 0.. {
                let (mut connection, _) = listener.accept().await.unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(connection.read_u8().await.unwrap());
                }
                let answer = answer(&String::from_utf8_lossy(&head), number);
                connection.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        address
    }

    fn answer(status: &str, body: &str) -> String {
        format!("HTTP/1.1 {status}\r\nETag: \"e\"\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
    }

    /// The provider's answer with credentials that are valid for so long.
    fn keys(key_id: &str, valid: TimeDelta) -> String {
        let expiration = (Utc::now() + valid).to_rfc3339();
        answer(
            "200 OK",
            &format!(
                r#"{{"AccessKeyId":"{key_id}","SecretAccessKey":"secret","Token":"token-{key_id}","Expiration":"{expiration}"}}"#
            ),
        )
    }

    /// As in a container whose credentials are at `address`; the file is the token for asking.
    fn container(address: std::net::SocketAddr) -> (CredentialSource, NamedTempFile) {
        let mut token = NamedTempFile::new().unwrap();
        token.write_all(b"token").unwrap();
        let variables = BTreeMap::from([
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI".to_owned(), format!("http://{address}/credentials")),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE".to_owned(), token.path().to_str().unwrap().to_owned()),
        ]);
        (CredentialSource::Environment(variables), token)
    }

    fn direct() -> TransportConfig {
        TransportConfig { proxy_from_env: false, ..TransportConfig::default() }
    }

    /// Those of a container, and the file that they need.
    fn credentials(address: std::net::SocketAddr) -> (Credentials, NamedTempFile) {
        let (source, token) = container(address);
        (Credentials::new(source, &Transport::new(&direct()).unwrap()).unwrap(), token)
    }

    async fn current(credentials: &Credentials) -> Arc<AwsCredential> {
        credentials.current().await.unwrap().unwrap()
    }

    #[tokio::test]
    async fn a_provider_that_is_overloaded_may_be_asked_again() {
        let (credentials, _token) = credentials(serve(|_, _| answer("503 Slow Down", "")).await);
        let failure = credentials.current().await.expect_err("no credentials");
        // A 503 of the provider ends every request under way as a wrong setting would.
        assert_eq!(failure.retryability(), Retryability::Throttled, "{failure:?}");
    }

    #[tokio::test]
    async fn credentials_that_are_still_valid_outlast_a_provider_that_fails() {
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        let address = serve(move |_, number| {
            counted.store(number + 1, Ordering::SeqCst);
            // So near to their end that they are to be replaced.
            if number == 0 { keys("A", TimeDelta::seconds(250)) } else { answer("500 Internal Server Error", "") }
        });
        let (credentials, _token) = credentials(address.await);
        while asked.load(Ordering::SeqCst) < 2 {
            assert_eq!(current(&credentials).await.key_id, "A");
            tokio::task::yield_now().await;
        }
        for _ in 0..100 {
            assert_eq!(current(&credentials).await.key_id, "A");
        }
        assert_eq!(asked.load(Ordering::SeqCst), 2, "a provider that fails is left alone for a while");
        tokio::time::pause();
        tokio::time::advance(STILL_VALID).await;
        credentials.current().await.expect_err("credentials that have expired");
    }

    #[tokio::test]
    async fn many_requests_whose_credentials_expired_ask_once_for_others() {
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        let address = serve(move |_, number| {
            counted.store(number + 1, Ordering::SeqCst);
            keys(if number == 0 { "A" } else { "B" }, TimeDelta::hours(1))
        });
        let (credentials, _token) = credentials(address.await);
        let expired = current(&credentials).await;
        let renewed = futures::future::join_all((0..50).map(|_| credentials.renew(&expired))).await;
        assert!(renewed.into_iter().all(Result::unwrap));
        assert_eq!(current(&credentials).await.key_id, "B");
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_provider_that_has_nothing_else_is_not_asked_by_every_request() {
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        let address = serve(move |_, number| {
            counted.store(number + 1, Ordering::SeqCst);
            keys("A", TimeDelta::hours(1))
        });
        let (credentials, _token) = credentials(address.await);
        let rejected = current(&credentials).await;
        for _ in 0..50 {
            assert!(!credentials.renew(&rejected).await.unwrap());
        }
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_request_with_credentials_that_expired_is_sent_again_with_fresh_ones() {
        for (code, body) in [
            ("ExpiredToken", "<Error><Code>ExpiredToken</Code></Error>"),
            ("TokenRefreshRequired", "<Error><Code>TokenRefreshRequired</Code></Error>"),
            // As a HEAD has it.
            ("", ""),
        ] {
            let provided = Arc::new(AtomicUsize::new(0));
            let (counted, sent) = (Arc::clone(&provided), Arc::new(AtomicUsize::new(0)));
            let counted_sent = Arc::clone(&sent);
            let address = serve(move |head, _| {
                if head.starts_with("GET /credentials") {
                    let before = counted.fetch_add(1, Ordering::SeqCst);
                    return keys(if before == 0 { "OLD" } else { "NEW" }, TimeDelta::hours(1));
                }
                counted_sent.fetch_add(1, Ordering::SeqCst);
                let expired = head.contains("Credential=OLD/");
                // The token of the credentials that sign.
                assert!(head.contains(if expired { "token-OLD" } else { "token-NEW" }), "{head}");
                if expired { answer("400 Bad Request", body) } else { answer("200 OK", "") }
            })
            .await;
            let (source, _token) = container(address);
            let store = Store::new(StoreConfig {
                endpoint: Some(Endpoint {
                    scheme: http::uri::Scheme::HTTP,
                    authority: address.to_string().parse().unwrap(),
                    base: String::new(),
                }),
                region: "us-east-1".to_owned(),
                virtual_host_style: false,
                credentials: source,
                payload_signing: None,
                transport: direct(),
            })
            .unwrap();
            let location = Location::listed(&Arc::from("bucket"), "k");
            for requests in [2, 3] {
                if code.is_empty() {
                    store.head(&location, Default::default()).await.unwrap();
                } else {
                    store
                        .put(&location, &ObjectHeaders::default(), None, Bytes::from_static(b"x"), None)
                        .await
                        .unwrap();
                }
                assert_eq!(sent.load(Ordering::SeqCst), requests, "{code}");
            }
            assert_eq!(provided.load(Ordering::SeqCst), 2, "{code}");
        }
    }
}
