//! The builder of a client.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::endpoint::parse_endpoint;
use super::environment::{Environment, flag};
use super::metaflow::read_small;
use super::run::RunSettings;
use super::{checked_concurrency, checked_part_size};
use crate::blocking::Workers;
use crate::checksum::{ChecksumAlgorithm, Integrity, Verification};
use crate::client::{Client, ClientParts};
use crate::credentials::{CredentialProvider, Credentials, SharedProvider};
use crate::encryption::Encryption;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::{Ceilings, Limits};
use crate::retry::{METAFLOW_RETRY_COUNT, METAFLOW_TRANSIENT_RETRY_COUNT, Retries, RetryPolicy};
use crate::scope::Scopes;
use crate::store::{CaCertificates, CredentialSource, Store, StoreConfig, TlsRoots, TransportConfig};
use crate::transfer::{EXTRA_PAGES, EXTRA_PARTS};

/// Metaflow's `S3_WORKER_COUNT`.
const DEFAULT_CONCURRENCY: usize = 64;
/// What was damaged on its way comes whole the next time; what is damaged where it is stored never does.
const REDOWNLOADS: u32 = 1;
const DEFAULT_REGION: &str = "us-east-1";

/// Who signs, as it was given.
#[derive(Debug, Clone)]
enum Signer {
    Key(Credentials),
    Provider(SharedProvider),
}

/// Makes a [`Client`].
///
/// What is not set here comes from the environment or from [Metaflow's files](#metaflows-configuration-files), and what is
/// nowhere has a default. Where several variables are named, the first that is set decides. Building reads the environment,
/// those files (of at most 1 MiB each) and the platform's TLS roots, on this thread, and sends nothing.
///
/// | setting | environment | default |
/// |---|---|---|
/// | [`endpoint`](Self::endpoint) | `METAFLOW_S3_ENDPOINT_URL`, `AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL` | AWS |
/// | [`region`](Self::region) | `AWS_REGION`, `AWS_DEFAULT_REGION` | `us-east-1`; corrected by what S3 answers |
/// | [`credentials`](Self::credentials), [`credential_provider`](Self::credential_provider) | `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`; web identity, ECS, EKS; the instance's role | none |
/// | [`anonymous`](Self::anonymous) | `AWS_SKIP_SIGNATURE` | false |
/// | [`payload_signing`](Self::payload_signing) | | over plain HTTP: true; over TLS: false |
/// | [`keys_in_spans`](Self::keys_in_spans) | | false |
/// | [`virtual_host_style`](Self::virtual_host_style) | `AWS_VIRTUAL_HOSTED_STYLE_REQUEST` | AWS: true; an endpoint: false |
/// | [`concurrency`](Self::concurrency) | `METAFLOW_S3_WORKER_COUNT` | 64 |
/// | [`encryption`](Self::encryption) | `METAFLOW_S3_SERVER_SIDE_ENCRYPTION` | the bucket's |
/// | [`tmproot`](Self::tmproot) | `METAFLOW_TEMPDIR` | the system's temporary directory |
/// | [`datatools_s3root`](Self::datatools_s3root) | `METAFLOW_DATATOOLS_S3ROOT`, `METAFLOW_DATASTORE_SYSROOT_S3` | none |
/// | [`retry_policy`](Self::retry_policy) | `METAFLOW_S3_RETRY_COUNT`, `METAFLOW_S3_TRANSIENT_RETRY_COUNT`: the numbers of [`RetryPolicy::metaflow`] | 7, 20 |
/// | [`retries`](Self::retries) | | the policy's |
/// | [`part_size`](Self::part_size) | | 8 MiB, growing with the value |
/// | [`checksum`](Self::checksum) | `AWS_REQUEST_CHECKSUM_CALCULATION` | CRC64NVME |
/// | [`verification`](Self::verification) | `AWS_RESPONSE_CHECKSUM_VALIDATION` | checksums |
/// | [`redownloads`](Self::redownloads) | | 1 |
/// | [`limits`](Self::limits) | | none |
/// | [`disk_wait`](Self::disk_wait) | | 30 s |
/// | [`connect_timeout`](Self::connect_timeout) | | 5 s |
/// | [`idle_timeout`](Self::idle_timeout) | | 30 s |
/// | [`tls_roots`](Self::tls_roots) | `METAFLOW_S3_VERIFY_CERTIFICATE`; `SSL_CERT_FILE`, `SSL_CERT_DIR` | the platform's |
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
///
/// # Credentials
///
/// The first of these that is there:
///
/// 1. what the builder was given last: [`credentials`](Self::credentials), a [`credential_provider`](Self::credential_provider), or with the
///    feature `aws-config`, what AWS's tools find in profiles, with SSO, from a process, or by assuming a role;
/// 2. none, for an [`anonymous`](Self::anonymous) client;
/// 3. `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, with `AWS_SESSION_TOKEN`;
/// 4. the role of `AWS_ROLE_ARN` for the token in `AWS_WEB_IDENTITY_TOKEN_FILE`, as in EKS;
/// 5. that of the container: `AWS_CONTAINER_CREDENTIALS_RELATIVE_URI` (ECS), or `AWS_CONTAINER_CREDENTIALS_FULL_URI` with
///    `AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE` (EKS);
/// 6. that of the instance, by its metadata service, unless `AWS_EC2_METADATA_DISABLED` is `true`.
///
/// They are fetched when the first request needs them, and again before they expire or when S3 does not accept them any more.
///
/// # Metaflow's configuration files
///
/// A variable that begins with `METAFLOW_` may stand in a file instead: a JSON object whose fields have the variables' names,
/// and texts or numbers as values. The first of these places that has it decides, as in Metaflow (`from_conf` in its
/// `metaflow_config_funcs.py`):
///
/// 1. the builder;
/// 2. the environment;
/// 3. the project's file: `.metaflow/config.json`, of the nearest `.metaflow` in the current directory or above it;
/// 4. the user's file: `config.json` in the directory `METAFLOW_HOME` (`~/.metaflowconfig`), or `config_PROFILE.json` there
///    with `METAFLOW_PROFILE`, which has to exist then.
///
/// A variable that is empty, and a field that is empty or `null`, is not set and hides what the places below it say: with
/// `METAFLOW_S3_ENDPOINT_URL=` a program goes to AWS, whatever Metaflow's files say. (Metaflow ends with an exception where a
/// number is empty; here the default holds. An empty `METAFLOW_HOME` is the default one.)
///
/// The project's file is found from the current directory, so a program that starts in a directory which others can write
/// to, or below one, follows what they say. Start services elsewhere, or set what matters in the builder.
#[derive(Debug, Clone, Default)]
#[must_use = "a builder does nothing before build()"]
pub struct ClientBuilder {
    endpoint: Option<String>,
    region: Option<String>,
    signer: Option<Signer>,
    anonymous: Option<bool>,
    payload_signing: Option<bool>,
    keys_in_spans: bool,
    virtual_host_style: Option<bool>,
    concurrency: Option<usize>,
    encryption: Option<Encryption>,
    tmproot: Option<PathBuf>,
    retry_policy: Option<RetryPolicy>,
    retries: Option<u32>,
    part_size: Option<u64>,
    checksum: Option<Option<ChecksumAlgorithm>>,
    verification: Option<Verification>,
    redownloads: Option<u32>,
    limits: Limits,
    disk_wait: Option<Duration>,
    connect_timeout: Option<Duration>,
    idle_timeout: Option<Duration>,
    tls_roots: Option<TlsRoots>,
    datatools_s3root: Option<String>,
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
        self.signer = Some(Signer::Key(credentials));
        self
    }

    /// Signs with the keys that this hands out, whatever the environment says: see [`CredentialProvider`].
    pub fn credential_provider(mut self, provider: impl CredentialProvider) -> Self {
        self.signer = Some(Signer::Provider(SharedProvider::new(provider)));
        self
    }

    /// Sends requests without a signature, as public buckets allow.
    pub fn anonymous(mut self, anonymous: bool) -> Self {
        self.anonymous = Some(anonymous);
        self
    }

    /// Whether the SHA-256 of a request's body is part of its signature, as boto3's `payload_signing_enabled` has it.
    ///
    /// By default it is over plain HTTP, where nothing else keeps somebody on the way from putting other bytes under a signed
    /// request. `false` leaves it out there too, for a network that is trusted: bodies are not read once more to be hashed, which is
    /// half of what an upload costs, and a [`checksum`](Self::checksum) still finds bytes that were damaged. Over TLS it is left
    /// out by default, and `true` is for services that refuse requests without it.
    pub fn payload_signing(mut self, signed: bool) -> Self {
        self.payload_signing = Some(signed);
        self
    }

    /// Whether the `tracing` spans of operations show keys and prefixes, which may tell of people, in place of the first half of their
    /// SHA-256, by which they can be found. Default: false. Warnings and errors name URLs in any case.
    pub fn keys_in_spans(mut self, shown: bool) -> Self {
        self.keys_in_spans = shown;
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

    /// How often, how long and after which waits a request is sent again. Metaflow's variables are not looked at then.
    pub fn retry_policy(mut self, policy: RetryPolicy) -> Self {
        self.retry_policy = Some(policy);
        self
    }

    /// How often a request is sent again, after transient failures and when throttled: short for a
    /// [`retry_policy`](Self::retry_policy) with these numbers. When nothing answers at all: not more often than it says.
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = Some(retries);
        self
    }

    /// The size of the parts in which long values are stored, in bytes, 5 MiB to 5 GiB; the default of every scope.
    ///
    /// Without it, parts have 8 MiB, or more where 10,000 of them could not hold the value; those of a stream, whose length is
    /// not known, grow as it gets longer. With it, all parts of a value but the last have this size, as some services want it
    /// (Cloudflare's R2), those of a stream too: it may have 10,000 of them, which is 48.8 TiB in parts of 5 GiB. Of a file or
    /// of bytes, whose length is known, parts are larger than this where they have to be. A value that is no longer than a part
    /// is one request, as is any of known length up to 16 MiB. Of a file or a stream, two parts are in memory, or 48 MiB when that is more.
    pub fn part_size(mut self, bytes: u64) -> Self {
        self.part_size = Some(bytes);
        self
    }

    /// The checksum that is sent with each value and stored with its object; `None` for none. The server refuses bytes that it
    /// does not fit, and they are sent again. Of a value in parts, each part has one, and the whole has one that is made of them.
    /// A service that does not take checksums gets none.
    ///
    /// When this is not called, `AWS_REQUEST_CHECKSUM_CALCULATION` may be `when_required`, for none, or `when_supported`, as in
    /// [AWS's SDKs](https://docs.aws.amazon.com/sdkref/latest/guide/feature-dataintegrity.html).
    ///
    /// ```
    /// # fn main() -> s3flow::Result<()> {
    /// use s3flow::{ChecksumAlgorithm, Client};
    ///
    /// let client = Client::builder().checksum(ChecksumAlgorithm::Sha256).build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn checksum(mut self, algorithm: impl Into<Option<ChecksumAlgorithm>>) -> Self {
        self.checksum = Some(algorithm.into());
        self
    }

    /// What downloads are compared with; [`S3Object::verified`](crate::S3Object::verified) tells what one was.
    ///
    /// When this is not called, `AWS_RESPONSE_CHECKSUM_VALIDATION` may be `when_required`, for nothing, or `when_supported`.
    pub fn verification(mut self, verification: Verification) -> Self {
        self.verification = Some(verification);
        self
    }

    /// How often a download begins anew when its bytes are not those of the object's checksum, before it is an
    /// [`Integrity`](ErrorKind::Integrity) error.
    pub fn redownloads(mut self, times: u32) -> Self {
        self.redownloads = Some(times);
        self
    }

    /// What all scopes of the client may use together. They may be set again while transfers run, by
    /// [`Client::set_limits`]. Default: no limits.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// For how long a download waits for room on the disk: below [`Limits::disk_bytes`], or in the file system, while other files
    /// of the client are there that may go. Then, or at once when there are none, it is
    /// [`InsufficientDiskSpace`](ErrorKind::InsufficientDiskSpace). With [`Duration::ZERO`] it never waits. A download that waits
    /// holds neither a connection nor memory.
    pub fn disk_wait(mut self, limit: Duration) -> Self {
        self.disk_wait = Some(limit);
        self
    }

    /// The limit for making a connection: name lookup, TCP, proxy and TLS together.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = Some(limit);
        self
    }

    /// How long a request may wait without a byte moving. There is no limit to how long a request may take while bytes move.
    /// What is left until the [deadline](RetryPolicy::deadline) of its operation may be shorter, as it is for the second of two
    /// requests that get no answer: for a service that is silent for longer over a copy, raise both.
    pub fn idle_timeout(mut self, limit: Duration) -> Self {
        self.idle_timeout = Some(limit);
        self
    }

    /// Which certificate authorities are trusted.
    ///
    /// When this is not called, `METAFLOW_S3_VERIFY_CERTIFICATE` may name a file of PEM certificates, and they are trusted in
    /// place of the platform's, as in Metaflow. When it says `false`, building fails: certificates are always verified.
    pub fn tls_roots(mut self, roots: TlsRoots) -> Self {
        self.tls_roots = Some(roots);
        self
    }

    /// Trusts these PEM certificates beside the [`tls_roots`](Self::tls_roots). May be called several times.
    pub fn ca_certificate(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.ca_certificates.push(pem.into());
        self
    }

    /// Metaflow's `DATATOOLS_S3ROOT`, the `s3://` URL below which each [run](crate::S3Builder::run) has its data. Nothing else
    /// needs it, and it is checked when a scope is built for a run.
    ///
    /// When this is not called, it is `METAFLOW_DATATOOLS_S3ROOT`; else `METAFLOW_DATATOOLS_SUFFIX` (`data`; when it is empty,
    /// nothing) below `METAFLOW_DATASTORE_SYSROOT_S3`.
    ///
    /// ```no_run
    /// # fn main() -> s3flow::Result<()> {
    /// let client = s3flow::Client::builder().datatools_s3root("s3://bucket/metaflow/data").build()?;
    /// let s3 = client.s3().run("TrainFlow/1234").build()?;
    /// assert_eq!(s3.s3root(), Some("s3://bucket/metaflow/data/TrainFlow/1234"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn datatools_s3root(mut self, url: impl Into<String>) -> Self {
        self.datatools_s3root = Some(url.into());
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
        let credentials = match self.signer {
            Some(Signer::Key(key)) => CredentialSource::Static(key),
            Some(Signer::Provider(provider)) => CredentialSource::Provider(provider),
            None if anonymous => CredentialSource::Anonymous,
            None => CredentialSource::Environment(environment.aws()),
        };
        for (name, limit) in [("connect_timeout", self.connect_timeout), ("idle_timeout", self.idle_timeout)] {
            if limit.is_some_and(|limit| limit.is_zero()) {
                return Err(Error::new(ErrorKind::Config, format!("the {name} is 0; no request could end")));
            }
        }
        let (roots, of_metaflow) = match self.tls_roots {
            Some(roots) => (roots, None),
            None => roots_of(environment)?,
        };
        let given = |pem| CaCertificates { place: "a ca_certificate".to_owned(), pem };
        let ca_certificates = self.ca_certificates.into_iter().map(given).chain(of_metaflow).collect();
        let defaults = TransportConfig::default();
        let transport = TransportConfig {
            roots,
            ca_certificates,
            proxy_from_env: self.use_proxy.unwrap_or(defaults.proxy_from_env),
            connect_timeout: self.connect_timeout.unwrap_or(defaults.connect_timeout),
            idle_timeout: self.idle_timeout.unwrap_or(defaults.idle_timeout),
        };
        let region = match self.region {
            Some(region) => region,
            None => environment
                .first(&["AWS_REGION", "AWS_DEFAULT_REGION"])?
                .map_or_else(|| DEFAULT_REGION.to_owned(), |setting| setting.value.into_owned()),
        };
        let store = StoreConfig {
            endpoint,
            region,
            virtual_host_style: environment.flag(self.virtual_host_style, "AWS_VIRTUAL_HOSTED_STYLE_REQUEST")?,
            credentials,
            payload_signing: self.payload_signing,
            transport,
        };
        let ceilings = Arc::new(Ceilings::new(self.limits)?.with_disk_wait(self.disk_wait));
        let encryption = match self.encryption {
            Some(encryption) => Some(encryption),
            None => encryption_of(environment)?,
        };
        let concurrency = match self.concurrency {
            Some(objects) => checked_concurrency(objects)?,
            None => environment
                .number("METAFLOW_S3_WORKER_COUNT", "a whole number of at least 1")?
                .map_or(DEFAULT_CONCURRENCY, NonZeroUsize::get),
        };
        let policy = match (self.retry_policy, self.retries) {
            (None, None) => policy_of(environment)?,
            (policy, None) => policy.unwrap_or_default(),
            (policy, Some(retries)) => policy.unwrap_or_default().retries(retries),
        };
        policy.check().map_err(|problem| Error::new(ErrorKind::Config, format!("the retry_policy's {problem}")))?;
        let integrity = Integrity {
            algorithm: match self.checksum {
                Some(algorithm) => algorithm,
                None => checksums(environment, "AWS_REQUEST_CHECKSUM_CALCULATION")?.then(ChecksumAlgorithm::default),
            },
            verification: match self.verification {
                Some(verification) => verification,
                None if checksums(environment, "AWS_RESPONSE_CHECKSUM_VALIDATION")? => Verification::default(),
                None => Verification::Off,
            },
            redownloads: self.redownloads.unwrap_or(REDOWNLOADS),
        };
        let tmproot = match self.tmproot {
            Some(directory) => directory,
            None => environment
                .get("METAFLOW_TEMPDIR")?
                .map_or_else(std::env::temp_dir, |setting| PathBuf::from(setting.value.as_ref())),
        };
        Ok(Client::from_parts(ClientParts {
            store: Store::new(store).map_err(|problem| Error::new(ErrorKind::Config, problem))?,
            ceilings,
            promised: Arc::default(),
            scopes: Scopes::default(),
            retries: Retries::new(policy),
            concurrency,
            part_size: self.part_size.map(checked_part_size).transpose()?,
            encryption,
            tmproot,
            runs: RunSettings::read(self.datatools_s3root, environment)?,
            workers: Workers::new(),
            in_place: Arc::default(),
            extra_parts: Arc::new(Semaphore::new(EXTRA_PARTS)),
            extra_pages: Arc::new(Semaphore::new(EXTRA_PAGES)),
            integrity,
            keys_in_spans: self.keys_in_spans,
        }))
    }
}

/// Whether AWS's variables ask for checksums where nothing requires them.
fn checksums(environment: &Environment, name: &'static str) -> Result<bool> {
    let Some(setting) = environment.first(&[name])? else { return Ok(true) };
    match setting.value.to_ascii_lowercase().as_str() {
        "when_supported" => Ok(true),
        "when_required" => Ok(false),
        _ => Err(setting.invalid("which is neither when_supported nor when_required")),
    }
}

pub(super) fn policy_of(environment: &Environment) -> Result<RetryPolicy> {
    let count = |name, default| {
        environment.number(name, "a whole number of at least 0").map(|count: Option<u32>| count.unwrap_or(default))
    };
    Ok(RetryPolicy::metaflow(
        count("METAFLOW_S3_RETRY_COUNT", METAFLOW_RETRY_COUNT)?,
        count("METAFLOW_S3_TRANSIENT_RETRY_COUNT", METAFLOW_TRANSIENT_RETRY_COUNT)?,
    ))
}

pub(super) fn encryption_of(environment: &Environment) -> Result<Option<Encryption>> {
    let Some(setting) = environment.get("METAFLOW_S3_SERVER_SIDE_ENCRYPTION")? else { return Ok(None) };
    setting.value.parse().map(Some).map_err(|error| setting.invalid("which is no encryption").with_source(error))
}

/// The roots without a setting of the builder. A bundle that Metaflow's configuration names is in place of the platform's, as
/// boto3 has it for `verify`.
fn roots_of(environment: &Environment) -> Result<(TlsRoots, Option<CaCertificates>)> {
    let Some(setting) = environment.get("METAFLOW_S3_VERIFY_CERTIFICATE")? else {
        return Ok((TlsRoots::default(), None));
    };
    match flag(&setting.value) {
        Some(true) => Ok((TlsRoots::default(), None)),
        Some(false) => Err(setting.invalid(
            "and certificates are always verified; name a file with the certificates to trust, or set tls_roots",
        )),
        None => {
            let unreadable = |error| setting.invalid("a file that could not be read").with_source(error);
            let pem = read_small(Path::new(setting.value.as_ref())).map_err(unreadable)?;
            let place = format!("{}, the file named by {setting},", setting.value);
            Ok((TlsRoots::None, Some(CaCertificates { place, pem })))
        }
    }
}

#[cfg(test)]
mod tests;
