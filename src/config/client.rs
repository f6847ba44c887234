//! The builder of a client.

use std::path::PathBuf;
use std::time::Duration;

use super::checked_concurrency;
use super::credentials::Credentials;
use super::endpoint::parse_endpoint;
use super::environment::{Environment, flag};
use crate::blocking::Workers;
use crate::encryption::Encryption;
use crate::error::{Error, ErrorKind, Result};
use crate::retry::RetryPolicy;
use crate::s3::{Client, ClientParts};
use crate::store::{CredentialSource, Store, StoreConfig, TlsRoots, TransportConfig};

/// Metaflow's `S3_WORKER_COUNT`.
const DEFAULT_CONCURRENCY: usize = 64;
const DEFAULT_REGION: &str = "us-east-1";

/// Makes a [`Client`].
///
/// What is not set here comes from the environment, what is not there from Metaflow's configuration files, and what is nowhere
/// has a default. Building reads the environment, those files and the platform's TLS roots, on this thread, and sends nothing.
///
/// | setting | environment | default |
/// |---|---|---|
/// | [`endpoint`](Self::endpoint) | `METAFLOW_S3_ENDPOINT_URL`, `AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL` | AWS |
/// | [`region`](Self::region) | `AWS_REGION`, `AWS_DEFAULT_REGION` | `us-east-1`; corrected by what S3 answers |
/// | [`credentials`](Self::credentials) | `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`; web identity, ECS, EKS; the instance's role | none |
/// | [`anonymous`](Self::anonymous) | `AWS_SKIP_SIGNATURE` | false |
/// | [`virtual_host_style`](Self::virtual_host_style) | `AWS_VIRTUAL_HOSTED_STYLE_REQUEST` | AWS: true; an endpoint: false |
/// | [`concurrency`](Self::concurrency) | `METAFLOW_S3_WORKER_COUNT` | 64 |
/// | [`encryption`](Self::encryption) | `METAFLOW_S3_SERVER_SIDE_ENCRYPTION` | the bucket's |
/// | [`tmproot`](Self::tmproot) | `METAFLOW_TEMPDIR` | the system's temporary directory |
/// | [`retries`](Self::retries) | `METAFLOW_S3_RETRY_COUNT` | 7 |
/// | [`connect_timeout`](Self::connect_timeout) | | 5 s |
/// | [`idle_timeout`](Self::idle_timeout) | | 30 s |
/// | [`tls_roots`](Self::tls_roots) | `SSL_CERT_FILE`, `SSL_CERT_DIR` | the platform's |
/// | [`ca_certificate`](Self::ca_certificate) | `METAFLOW_S3_VERIFY_CERTIFICATE`: the path of a bundle. It cannot switch verification off | none |
/// | [`use_proxy`](Self::use_proxy) | `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY` | true |
///
/// The variables that begin with `METAFLOW_` may stand in Metaflow's configuration files too, which are JSON objects with the
/// variables' names. They are asked in the order in which Metaflow asks them (`from_conf` in its `metaflow_config_funcs.py`):
/// the environment; `.metaflow/config.json` of the project, which is the nearest one of the current directory and those above
/// it; `config.json` in the directory `METAFLOW_HOME` (`~/.metaflowconfig`), or `config_PROFILE.json` with `METAFLOW_PROFILE`.
/// A value that is empty or `null` is none.
///
/// ```
/// # fn main() -> s3flow::Result<()> {
/// use s3flow::{Client, Credentials};
///
/// let client = Client::builder()
///     .endpoint("http://127.0.0.1:9000")
///     .credentials(Credentials::new("AKID", "secret"))
///     .build()?;
/// let s3 = client.s3().s3root("s3://bucket/prefix").build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
#[must_use = "a builder does nothing before build()"]
pub struct ClientBuilder {
    endpoint: Option<String>,
    region: Option<String>,
    credentials: Option<Credentials>,
    anonymous: Option<bool>,
    virtual_host_style: Option<bool>,
    concurrency: Option<usize>,
    encryption: Option<Encryption>,
    tmproot: Option<PathBuf>,
    retries: Option<u32>,
    connect_timeout: Option<Duration>,
    idle_timeout: Option<Duration>,
    tls_roots: TlsRoots,
    ca_certificates: Vec<Vec<u8>>,
    use_proxy: Option<bool>,
}

impl ClientBuilder {
    /// The URL of an S3 service other than AWS's: `http://` or `https://`, a host, and perhaps a port and a path.
    pub fn endpoint(mut self, url: impl Into<String>) -> Self {
        self.endpoint = Some(url.into());
        self
    }

    /// The region that requests are signed for. On AWS, a bucket's own region is learnt from its first answer.
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.region = Some(region.into());
        self
    }

    /// Signs with this key, whatever the environment says.
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = Some(credentials);
        self
    }

    /// Sends requests without a signature, as public buckets allow.
    pub fn anonymous(mut self, anonymous: bool) -> Self {
        self.anonymous = Some(anonymous);
        self
    }

    /// Whether the bucket is part of the host name (`bucket.host/key`) or of the path (`host/bucket/key`) at an
    /// [`endpoint`](Self::endpoint). On AWS it is part of the host name, unless it contains a dot.
    pub fn virtual_host_style(mut self, in_host: bool) -> Self {
        self.virtual_host_style = Some(in_host);
        self
    }

    /// How many objects a many-operation has in flight or waiting to be taken; the default of every scope.
    pub fn concurrency(mut self, objects: usize) -> Self {
        self.concurrency = Some(objects);
        self
    }

    /// The server-side encryption of what is stored; the default of every scope.
    pub fn encryption(mut self, encryption: Encryption) -> Self {
        self.encryption = Some(encryption);
        self
    }

    /// The directory in which scopes make their temporary directories; the default of every scope.
    pub fn tmproot(mut self, directory: impl Into<PathBuf>) -> Self {
        self.tmproot = Some(directory.into());
        self
    }

    /// How often a request is sent again after failures that may pass. When nothing answers at all: at most three times.
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = Some(retries);
        self
    }

    /// The limit for making a connection: name lookup, TCP, proxy and TLS together.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = Some(limit);
        self
    }

    /// How long a request may wait without a byte moving. There is no limit to how long a request may take while bytes move.
    pub fn idle_timeout(mut self, limit: Duration) -> Self {
        self.idle_timeout = Some(limit);
        self
    }

    /// Which certificate authorities are trusted.
    pub fn tls_roots(mut self, roots: TlsRoots) -> Self {
        self.tls_roots = roots;
        self
    }

    /// Trusts these PEM certificates beside the [`tls_roots`](Self::tls_roots). May be called several times.
    pub fn ca_certificate(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.ca_certificates.push(pem.into());
        self
    }

    /// Whether the proxy variables of the environment are followed. A proxy is one of `http://`; any other is an error of
    /// the connection.
    pub fn use_proxy(mut self, follow: bool) -> Self {
        self.use_proxy = Some(follow);
        self
    }

    /// Checks the settings and makes the client.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`], naming the setting, the variable, or the file and its field that cannot be used.
    pub fn build(self) -> Result<Client> {
        self.build_in(&Environment::of_process()?)
    }

    pub(super) fn build_in(self, environment: &Environment) -> Result<Client> {
        let endpoint = match self.endpoint {
            Some(url) => Some(parse_endpoint("the endpoint", &url)?),
            None => environment
                .first(&["METAFLOW_S3_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"])?
                .map(|setting| parse_endpoint(&setting.to_string(), &setting.value))
                .transpose()?,
        };
        let anonymous = environment.flag(self.anonymous, "AWS_SKIP_SIGNATURE")?;
        let credentials = match self.credentials {
            Some(Credentials { access_key_id, secret_access_key, session_token }) => {
                CredentialSource::Static { access_key_id, secret_access_key, session_token }
            }
            None if anonymous => CredentialSource::Anonymous,
            None => CredentialSource::Environment(environment.aws()),
        };
        for (name, limit) in [("connect_timeout", self.connect_timeout), ("idle_timeout", self.idle_timeout)] {
            if limit.is_some_and(|limit| limit.is_zero()) {
                return Err(Error::new(ErrorKind::Config, format!("the {name} is 0; no request could end")));
            }
        }
        let mut ca_certificates = self.ca_certificates;
        ca_certificates.extend(certificates_of_metaflow(environment)?);
        let defaults = TransportConfig::default();
        let transport = TransportConfig {
            roots: self.tls_roots,
            ca_certificates,
            proxy_from_env: self.use_proxy.unwrap_or(defaults.proxy_from_env),
            connect_timeout: self.connect_timeout.unwrap_or(defaults.connect_timeout),
            idle_timeout: self.idle_timeout.unwrap_or(defaults.idle_timeout),
        };
        let region = match (self.region, environment.first(&["AWS_REGION", "AWS_DEFAULT_REGION"])?) {
            (Some(region), _) => region,
            (None, Some(setting)) => setting.value.into_owned(),
            (None, None) => DEFAULT_REGION.to_owned(),
        };
        let store = StoreConfig {
            endpoint,
            region,
            virtual_host_style: environment.flag(self.virtual_host_style, "AWS_VIRTUAL_HOSTED_STYLE_REQUEST")?,
            credentials,
            transport,
        };
        let encryption = match (self.encryption, environment.get("METAFLOW_S3_SERVER_SIDE_ENCRYPTION")?) {
            (Some(encryption), _) => Some(encryption),
            (None, Some(setting)) => Some(
                setting
                    .value
                    .parse::<Encryption>()
                    .map_err(|error| setting.invalid("which is no encryption").with_source(error))?,
            ),
            (None, None) => None,
        };
        let retries = environment.or(self.retries, "METAFLOW_S3_RETRY_COUNT", RetryPolicy::default().retries)?;
        Ok(Client::from_parts(ClientParts {
            store: Store::new(store).map_err(|problem| Error::new(ErrorKind::Config, problem))?,
            retry: RetryPolicy { retries },
            concurrency: checked_concurrency(environment.or(
                self.concurrency,
                "METAFLOW_S3_WORKER_COUNT",
                DEFAULT_CONCURRENCY,
            )?)?,
            encryption,
            tmproot: match (self.tmproot, environment.get("METAFLOW_TEMPDIR")?) {
                (Some(tmproot), _) => tmproot,
                (None, Some(setting)) => PathBuf::from(&*setting.value),
                (None, None) => std::env::temp_dir(),
            },
            workers: Workers::new(),
        }))
    }
}

/// The bundle that Metaflow's client would trust.
fn certificates_of_metaflow(environment: &Environment) -> Result<Option<Vec<u8>>> {
    let Some(setting) = environment.get("METAFLOW_S3_VERIFY_CERTIFICATE")? else { return Ok(None) };
    match flag(&setting.value) {
        Some(true) => Ok(None),
        Some(false) => Err(setting.invalid("and certificates are always verified; give the path of a bundle to trust")),
        None => match std::fs::read(&*setting.value) {
            Ok(bundle) => Ok(Some(bundle)),
            Err(error) => Err(setting.invalid("which could not be read").with_source(error)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::environment::tests::environment;
    use super::*;

    fn built(variables: &[(&str, &str)]) -> Result<Client> {
        Client::builder().build_in(&environment(variables))
    }

    #[test]
    fn a_builder_wins_over_the_environment_and_that_over_the_default() {
        let client = built(&[]).unwrap();
        assert_eq!(client.parts().concurrency, 64);
        let variables =
            [("METAFLOW_S3_WORKER_COUNT", "4"), ("METAFLOW_TEMPDIR", "/somewhere"), ("METAFLOW_S3_RETRY_COUNT", "2")];
        let client = built(&variables).unwrap();
        assert_eq!((client.parts().concurrency, client.parts().retry.retries), (4, 2));
        assert_eq!(client.parts().tmproot, PathBuf::from("/somewhere"));
        let client = Client::builder().concurrency(5).build_in(&environment(&variables)).unwrap();
        assert_eq!(client.parts().concurrency, 5);
    }

    #[test]
    fn the_encryption_of_the_environment_is_that_of_every_scope() {
        let encryption = |variables| built(variables).unwrap().parts().encryption.clone();
        assert_eq!(encryption(&[]), None);
        assert_eq!(encryption(&[("METAFLOW_S3_SERVER_SIDE_ENCRYPTION", "AES256")]), Some(Encryption::Aes256));
        let client = Client::builder().encryption(Encryption::Aes256);
        let client = client.build_in(&environment(&[("METAFLOW_S3_SERVER_SIDE_ENCRYPTION", "aws:kms")])).unwrap();
        assert_eq!(client.parts().encryption, Some(Encryption::Aes256));
    }

    #[test]
    fn a_timeout_of_nothing_is_refused() {
        for builder in
            [Client::builder().idle_timeout(Duration::ZERO), Client::builder().connect_timeout(Duration::ZERO)]
        {
            let error = builder.build_in(&environment(&[])).unwrap_err();
            assert!(error.kind() == ErrorKind::Config && error.to_string().contains("timeout"), "{error}");
        }
    }

    #[test]
    fn the_endpoint_of_metaflow_wins_over_the_one_of_aws() {
        let client = built(&[
            ("AWS_ENDPOINT_URL", "http://c"),
            ("AWS_ENDPOINT_URL_S3", "http://b"),
            ("METAFLOW_S3_ENDPOINT_URL", "http://a"),
        ])
        .unwrap();
        assert!(format!("{client:?}").contains("authority: a,"), "{client:?}");
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        for (variables, named) in [
            (&[("METAFLOW_S3_WORKER_COUNT", "many")][..], "METAFLOW_S3_WORKER_COUNT"),
            (&[("METAFLOW_S3_WORKER_COUNT", "0")], "concurrency is 0"),
            (&[("METAFLOW_S3_ENDPOINT_URL", "nowhere")], "METAFLOW_S3_ENDPOINT_URL"),
            (&[("AWS_ENDPOINT_URL", "ftp://host")], "http:// or https://"),
            (&[("METAFLOW_S3_SERVER_SIDE_ENCRYPTION", "rot13")], "rot13"),
            (&[("AWS_ACCESS_KEY_ID", "AKID")], "AWS_SECRET_ACCESS_KEY"),
            (&[("METAFLOW_S3_VERIFY_CERTIFICATE", "False")], "always verified"),
            (&[("METAFLOW_S3_VERIFY_CERTIFICATE", "/no/such/bundle")], "/no/such/bundle"),
        ] {
            let error = built(variables).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains(named), "{error}");
        }
    }

    #[test]
    fn a_ca_that_is_not_a_certificate_is_refused() {
        for pem in ["", "not PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            let error = Client::builder().ca_certificate(pem).build_in(&environment(&[])).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains("certificate"), "{error}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let credentials = Credentials::new("AKID", "hunter2").session_token("hunter3");
        let builder = Client::builder().credentials(credentials);
        let from_environment = built(&[("AWS_ACCESS_KEY_ID", "AKID"), ("AWS_SECRET_ACCESS_KEY", "hunter4")]).unwrap();
        for shown in [
            format!("{builder:?}"),
            format!("{:?}", builder.build_in(&environment(&[])).unwrap()),
            format!("{from_environment:?}"),
        ] {
            assert!(!shown.contains("hunter"), "{shown}");
        }
    }
}
