//! Who signs: given credentials, nobody, or the chain of the environment, which `object_store` walks.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, AwsCredential, AwsCredentialProvider};
use object_store::client::{HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService};
use object_store::{ClientOptions, CredentialProvider, RetryConfig};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::failure::{Failure, FailureKind, Retryability};
use super::transport::Transport;

/// Where credentials come from.
#[derive(Clone)]
pub(crate) enum CredentialSource {
    /// Requests are not signed.
    Anonymous,
    Static {
        access_key_id: String,
        secret_access_key: String,
        session_token: Option<String>,
    },
    /// The variables whose names begin with `AWS_`.
    Environment(BTreeMap<String, String>),
}

impl fmt::Debug for CredentialSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Anonymous => "Anonymous",
            Self::Static { .. } => "Static(******)",
            Self::Environment(_) => "Environment(******)",
        })
    }
}

/// The credentials of a client, for all of its buckets.
pub(super) enum Credentials {
    Anonymous,
    Static(Arc<AwsCredential>),
    Chain(Chain),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(******)")
    }
}

/// Credentials that expire and are fetched again.
pub(super) struct Chain {
    provider: AwsCredentialProvider,
    /// One fetch at a time, and after a failed one none for a while: a thousand requests must not queue for a thousand
    /// timeouts.
    last_failure: Mutex<Option<(Instant, Failure)>>,
}

const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
const FAILURE_KEPT: Duration = Duration::from_secs(5);

const NOT_FOUND: &str = "no AWS credentials found: neither AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, nor a web identity, \
                         container or instance role; for public buckets, build the client with anonymous(true)";

impl Credentials {
    /// # Errors
    ///
    /// A text that names the variables which contradict each other.
    pub(super) fn new(source: CredentialSource, transport: &Transport) -> Result<Self, String> {
        let variables = match source {
            CredentialSource::Anonymous => return Ok(Self::Anonymous),
            CredentialSource::Static { access_key_id, secret_access_key, session_token } => {
                return Ok(Self::Static(Arc::new(AwsCredential {
                    key_id: access_key_id,
                    secret_key: secret_access_key,
                    token: session_token,
                })));
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
            return Ok(Self::Chain(Chain::new(Arc::new(Nobody))));
        }

        let mut builder = AmazonS3Builder::new();
        for (name, value) in variables.iter().filter(|(_, value)| !value.is_empty()) {
            if let Ok(key) = name.to_ascii_lowercase().parse()
                && says_who_signs(&key)
            {
                builder = builder.with_config(key, value);
            }
        }
        let store = builder
            .with_bucket_name("credentials")
            .with_retry(RetryConfig { max_retries: 1, retry_timeout: FETCH_TIMEOUT, ..RetryConfig::default() })
            .with_http_connector(Unsigned(transport.clone()))
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self::Chain(Chain::new(Arc::clone(store.credentials()))))
    }

    /// The credentials for one attempt; `None` when requests are not signed.
    pub(super) async fn current(&self) -> Result<Option<Arc<AwsCredential>>, Failure> {
        match self {
            Self::Anonymous => Ok(None),
            Self::Static(credential) => Ok(Some(Arc::clone(credential))),
            Self::Chain(chain) => chain.fetch().await.map(Some),
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
    fn new(provider: AwsCredentialProvider) -> Self {
        Self { provider, last_failure: Mutex::new(None) }
    }

    async fn fetch(&self) -> Result<Arc<AwsCredential>, Failure> {
        let mut last_failure = self.last_failure.lock().await;
        if let Some((at, failure)) = last_failure.as_ref()
            && at.elapsed() < FAILURE_KEPT
        {
            return Err(failure.clone());
        }
        let fetched = tokio::time::timeout(FETCH_TIMEOUT, self.provider.get_credential()).await;
        let failure = match fetched {
            Ok(Ok(credential)) => {
                *last_failure = None;
                return Ok(credential);
            }
            Ok(Err(error)) => match Failure::answered(&error) {
                Some(overloaded) => {
                    let message = format!("the provider of the AWS credentials answered: {}", overloaded.message);
                    return Err(Failure { message, ..overloaded });
                }
                None => Failure::new(FailureKind::Credentials, NOT_FOUND).with_source(error),
            },
            Err(elapsed) => Failure::new(FailureKind::Credentials, NOT_FOUND).with_source(elapsed),
        };
        *last_failure = Some((Instant::now(), failure.clone()));
        Err(failure)
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
        let response = self.0.send(request).await.map_err(Failure::into_http)?;
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

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::store::transport::TransportConfig;

    #[tokio::test]
    async fn a_provider_that_is_overloaded_may_be_asked_again() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(connection.read_u8().await.unwrap());
                }
                let answer = b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                connection.write_all(answer).await.unwrap();
            }
        });
        let mut token = tempfile::NamedTempFile::new().unwrap();
        token.write_all(b"token").unwrap();
        let variables = BTreeMap::from([
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI".to_owned(), format!("http://{address}/credentials")),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE".to_owned(), token.path().to_str().unwrap().to_owned()),
        ]);
        let config = TransportConfig { proxy_from_env: false, ..TransportConfig::default() };
        let transport = Transport::new(&config).unwrap();
        let credentials = Credentials::new(CredentialSource::Environment(variables), &transport).unwrap();
        let failure = credentials.current().await.expect_err("no credentials");
        // A 503 of the provider ends every request under way as a wrong setting would.
        assert_eq!(failure.retryability(), Retryability::Throttled, "{failure:?}");
    }
}
