//! Settings: from builders, from the environment, or by default; checked before anything happens.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::address::Root;
use crate::blocking::Workers;
use crate::encryption::Encryption;
use crate::error::{Error, ErrorKind, Result};
use crate::retry::RetryPolicy;
use crate::s3::{Client, ClientParts, S3};
use crate::store::{CredentialSource, Endpoint, Store, StoreConfig, TlsRoots, TransportConfig};

/// Metaflow's `S3_WORKER_COUNT`.
const DEFAULT_CONCURRENCY: usize = 64;
const DEFAULT_REGION: &str = "us-east-1";

/// Makes a [`Client`].
///
/// What is not set here comes from the environment, and what is not there either has a default. Building reads the
/// environment and the platform's TLS roots, and sends nothing.
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
/// | [`use_proxy`](Self::use_proxy) | `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY` | true |
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

/// An access key. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    access_key_id: String,
    secret_access_key: String,
    session_token: Option<String>,
}

impl Credentials {
    /// A long-term key, or the first two parts of a temporary one.
    pub fn new(access_key_id: impl Into<String>, secret_access_key: impl Into<String>) -> Self {
        Self { access_key_id: access_key_id.into(), secret_access_key: secret_access_key.into(), session_token: None }
    }

    /// The third part of a temporary key.
    #[must_use]
    pub fn session_token(mut self, token: impl Into<String>) -> Self {
        self.session_token = Some(token.into());
        self
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials(******)")
    }
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
    /// [`ErrorKind::Config`], naming the setting or the variable that cannot be used.
    pub fn build(self) -> Result<Client> {
        self.build_in(&Environment::of_process())
    }

    fn build_in(self, environment: &Environment) -> Result<Client> {
        let endpoint = match self.endpoint {
            Some(url) => Some(parse_endpoint("the endpoint", &url)?),
            None => environment
                .first(&["METAFLOW_S3_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"])
                .map(|(name, url)| parse_endpoint(name, url))
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
        let defaults = TransportConfig::default();
        let transport = TransportConfig {
            roots: self.tls_roots,
            ca_certificates: self.ca_certificates,
            proxy_from_env: self.use_proxy.unwrap_or(defaults.proxy_from_env),
            connect_timeout: self.connect_timeout.unwrap_or(defaults.connect_timeout),
            idle_timeout: self.idle_timeout.unwrap_or(defaults.idle_timeout),
        };
        let region = match (self.region, environment.first(&["AWS_REGION", "AWS_DEFAULT_REGION"])) {
            (Some(region), _) => region,
            (None, Some((_, region))) => region.to_owned(),
            (None, None) => DEFAULT_REGION.to_owned(),
        };
        let store = StoreConfig {
            endpoint,
            region,
            virtual_host_style: environment.flag(self.virtual_host_style, "AWS_VIRTUAL_HOSTED_STYLE_REQUEST")?,
            credentials,
            transport,
        };
        let encryption = match (self.encryption, environment.get("METAFLOW_S3_SERVER_SIDE_ENCRYPTION")) {
            (Some(encryption), _) => Some(encryption),
            (None, Some(name)) => Some(name.parse::<Encryption>()?),
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
            tmproot: self
                .tmproot
                .or_else(|| environment.get("METAFLOW_TEMPDIR").map(PathBuf::from))
                .unwrap_or_else(std::env::temp_dir),
            workers: Workers::new(),
        }))
    }
}

/// Makes an [`S3`]: says what keys are relative to, and where downloads go.
///
/// ```
/// # fn main() -> s3flow::Result<()> {
/// use s3flow::S3;
///
/// // keys are suffixes of a prefix
/// let s3 = S3::builder().s3root("s3://bucket/some/prefix").build()?;
/// // keys are whole s3:// URLs
/// let s3 = S3::builder().build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
#[must_use = "a builder does nothing before build()"]
pub struct S3Builder {
    client: Option<Client>,
    s3root: Option<String>,
    tmproot: Option<PathBuf>,
    encryption: Option<Encryption>,
    concurrency: Option<usize>,
}

impl S3Builder {
    /// Uses the connections, the credentials and the limits of `client`. Without it, the scope gets a client of its own,
    /// from the environment.
    pub fn client(mut self, client: Client) -> Self {
        self.client = Some(client);
        self
    }

    /// The prefix that keys are relative to: `s3://bucket` or `s3://bucket/prefix`. A `/` at its end does not matter.
    /// Without it, keys are whole `s3://` URLs.
    pub fn s3root(mut self, url: impl Into<String>) -> Self {
        self.s3root = Some(url.into());
        self
    }

    /// The directory in which the scope makes its temporary directory, at its first download.
    pub fn tmproot(mut self, directory: impl Into<PathBuf>) -> Self {
        self.tmproot = Some(directory.into());
        self
    }

    /// The server-side encryption of what this scope stores.
    pub fn encryption(mut self, encryption: Encryption) -> Self {
        self.encryption = Some(encryption);
        self
    }

    /// How many objects a many-operation of this scope has in flight or waiting to be taken.
    pub fn concurrency(mut self, objects: usize) -> Self {
        self.concurrency = Some(objects);
        self
    }

    /// Checks the settings and makes the scope. Nothing is sent, and no directory is made.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidUrl`] for an `s3root` that is not an `s3://` URL; [`ErrorKind::Config`] for anything else that
    /// cannot be used.
    pub fn build(self) -> Result<S3> {
        let client = match self.client {
            Some(client) => client,
            None => Client::new()?,
        };
        let root = match self.s3root {
            None => Root::Urls,
            Some(url) => Root::parse(&url).map_err(|invalid| Error::new(ErrorKind::InvalidUrl, invalid.0))?,
        };
        let parts = client.parts();
        let tmproot = self.tmproot.unwrap_or_else(|| parts.tmproot.clone());
        let encryption = self.encryption.or_else(|| parts.encryption.clone());
        let concurrency = checked_concurrency(self.concurrency.unwrap_or(parts.concurrency))?;
        Ok(S3::from_parts(client, root, tmproot, encryption, concurrency))
    }
}

/// A concurrency of 0 would wait for ever.
pub(crate) fn checked_concurrency(concurrency: usize) -> Result<usize> {
    if concurrency == 0 {
        return Err(Error::new(ErrorKind::Config, "the concurrency is 0; at least 1 is needed"));
    }
    Ok(concurrency)
}

fn parse_endpoint(name: &str, url: &str) -> Result<Endpoint> {
    let invalid = |problem: &str| Error::new(ErrorKind::Config, format!("{name} {problem}"));
    // Not shown: it may hold a password.
    if url.contains('@') {
        return Err(invalid("contains a user name or password; give credentials to the builder or the environment"));
    }
    let parsed: http::Uri = url.trim().parse().map_err(|_| invalid(&format!("{url:?} is not a URL")))?;
    let parts = parsed.into_parts();
    let scheme = parts
        .scheme
        .filter(|scheme| matches!(scheme.as_str(), "http" | "https"))
        .ok_or_else(|| invalid(&format!("{url:?} does not begin with http:// or https://")))?;
    let authority = parts.authority.ok_or_else(|| invalid(&format!("{url:?} has no host")))?;
    let path = parts.path_and_query.ok_or_else(|| invalid(&format!("{url:?} is not a URL")))?;
    if path.query().is_some() {
        return Err(invalid(&format!("{url:?} has a query")));
    }
    Ok(Endpoint { scheme, authority, base: path.path().trim_end_matches('/').to_owned() })
}

/// The variables that matter, read once.
struct Environment(BTreeMap<String, String>);

impl Environment {
    fn of_process() -> Self {
        let relevant = |name: &String| name.starts_with("AWS_") || name.starts_with("METAFLOW_");
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self(std::env::vars_os().filter_map(text).filter(|(name, _)| relevant(name)).collect())
    }

    /// A variable that is set and not empty.
    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn first<'a>(&'a self, names: &[&'a str]) -> Option<(&'a str, &'a str)> {
        names.iter().find_map(|name| Some((*name, self.get(name)?)))
    }

    /// The setting of a builder, else the variable, else the default.
    fn or<T: FromStr>(&self, setting: Option<T>, name: &str, default: T) -> Result<T> {
        match (setting, self.get(name)) {
            (Some(setting), _) => Ok(setting),
            (None, None) => Ok(default),
            (None, Some(text)) => text.parse().map_err(|_| {
                let expected = std::any::type_name::<T>();
                Error::new(ErrorKind::Config, format!("{name} is {text:?}, which is not a {expected}"))
            }),
        }
    }

    /// The setting of a builder, else the variable in any of the usual spellings, else false.
    fn flag(&self, setting: Option<bool>, name: &str) -> Result<bool> {
        let Some(text) = self.get(name).filter(|_| setting.is_none()) else { return Ok(setting.unwrap_or(false)) };
        match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Ok(true),
            "false" | "0" | "no" | "off" => Ok(false),
            _ => Err(Error::new(ErrorKind::Config, format!("{name} is {text:?}, which is neither true nor false"))),
        }
    }

    fn aws(&self) -> BTreeMap<String, String> {
        self.0
            .iter()
            .filter(|(name, _)| name.starts_with("AWS_"))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        Environment(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

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
    fn flags_have_the_usual_spellings() {
        let environment = environment(&[("ON", "True"), ("ONE", "1"), ("OFF", "no"), ("ODD", "maybe")]);
        assert!(environment.flag(None, "ON").unwrap() && environment.flag(None, "ONE").unwrap());
        assert!(!environment.flag(None, "OFF").unwrap() && !environment.flag(None, "UNSET").unwrap());
        assert!(!environment.flag(Some(false), "ON").unwrap());
        assert!(environment.flag(None, "ODD").unwrap_err().to_string().contains("ODD"));
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
        ] {
            let error = built(variables).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains(named), "{error}");
        }
    }

    #[test]
    fn an_endpoint_is_a_url_of_http() {
        for wrong in ["", "localhost:9000", "http://", "http://host?x=y", "http://h st", "s3://bucket"] {
            assert_eq!(parse_endpoint("the endpoint", wrong).unwrap_err().kind(), ErrorKind::Config, "{wrong}");
        }
        let endpoint = parse_endpoint("the endpoint", "https://host:9000/base/").unwrap();
        assert_eq!((endpoint.authority.as_str(), endpoint.base.as_str()), ("host:9000", "/base"));
        let error = parse_endpoint("the endpoint", "http://user:hunter2@host").unwrap_err();
        assert!(!error.to_string().contains("hunter2"));
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
