//! Credentials, region and endpoint as AWS's tools have them: profiles, SSO, processes, roles.

use aws_config::{BehaviorVersion, ConfigLoader, SdkConfig};
use aws_credential_types::provider::{ProvideCredentials as _, SharedCredentialsProvider};
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::{Builder, tls};
use futures::future::BoxFuture;

use super::ClientBuilder;
use crate::credentials::{CredentialProvider, Credentials};

impl ClientBuilder {
    /// Takes credentials, region and endpoint from where the AWS CLI takes them, as the [`aws_config`] crate does: the environment, the
    /// profile of `AWS_PROFILE` in `~/.aws/config` and `~/.aws/credentials` (static keys, `role_arn` with `source_profile` or
    /// `credential_source`, `credential_process`, `sso_session`), web identity, the container's role, the instance's role. Files are read now, and
    /// credentials are fetched when the first request needs them.
    ///
    /// What is found is set as if by the setters of this builder, so that setters after this win. Metaflow's settings of an endpoint
    /// do not count for it.
    ///
    /// ```no_run
    /// # async fn example() -> s3flow::Result<()> {
    /// let client = s3flow::Client::builder().aws_config().await.build()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Safe: nothing is changed.
    pub async fn aws_config(self) -> Self {
        self.sdk_config(&loader().load().await)
    }

    /// As [`aws_config`](Self::aws_config), with this profile in place of that of `AWS_PROFILE`.
    ///
    /// ```no_run
    /// # async fn example() -> s3flow::Result<()> {
    /// let client = s3flow::Client::builder().aws_profile("research").await.build()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Safe: nothing is changed.
    pub async fn aws_profile(self, name: impl Into<String>) -> Self {
        self.sdk_config(&loader().profile_name(name).load().await)
    }

    /// Takes credentials, region and endpoint of a configuration that the caller's own [`aws_config`] has loaded, with a role to assume or for
    /// clients of the SDK beside this one. What it does not say is left as it is.
    ///
    /// ```no_run
    /// # async fn example() -> s3flow::Result<()> {
    /// let config = aws_config::from_env().region("eu-north-1").load().await;
    /// let client = s3flow::Client::builder().sdk_config(&config).build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn sdk_config(mut self, config: &SdkConfig) -> Self {
        if let Some(provider) = config.credentials_provider() {
            self = self.credential_provider(Sdk(provider));
        }
        if let Some(region) = config.region() {
            self = self.region(region.as_ref());
        }
        if let Some(url) = config.endpoint_url() {
            self = self.endpoint(url);
        }
        self
    }
}

fn loader() -> ConfigLoader {
    // Its own default would bring a second library of cryptography.
    let https = Builder::new().tls_provider(tls::Provider::Rustls(CryptoMode::Ring)).build_https();
    aws_config::defaults(BehaviorVersion::latest()).http_client(https)
}

struct Sdk(SharedCredentialsProvider);

impl CredentialProvider for Sdk {
    fn credentials(&self) -> BoxFuture<'_, Result<Credentials, Box<dyn std::error::Error + Send + Sync>>> {
        Box::pin(async {
            let key = self.0.provide_credentials().await?;
            let mut credentials = Credentials::new(key.access_key_id(), key.secret_access_key());
            if let Some(token) = key.session_token() {
                credentials = credentials.session_token(token);
            }
            Ok(match key.expiry() {
                Some(time) => credentials.expires_at(time),
                None => credentials,
            })
        })
    }
}

#[cfg(test)]
// The types in place of these are of a crate that is none of ours.
#[allow(deprecated)]
mod tests {
    use std::io::Write as _;

    use aws_config::profile::profile_file::{ProfileFileKind, ProfileFiles};
    use tempfile::NamedTempFile;

    use super::*;
    use crate::Client;
    use crate::config::environment::tests::environment;
    use crate::error::ErrorKind;

    /// What `aws_config` makes of such a file, for the profile `work`.
    async fn loaded(file: &str) -> (SdkConfig, NamedTempFile) {
        let mut written = NamedTempFile::new().unwrap();
        written.write_all(file.as_bytes()).unwrap();
        let files = ProfileFiles::builder().with_file(ProfileFileKind::Config, written.path()).build();
        let config = loader().profile_files(files).profile_name("work").load().await;
        (config, written)
    }

    #[tokio::test]
    async fn a_profile_says_who_signs_and_where() {
        let (config, _file) = loaded(
            "[profile work]\nregion = eu-north-1\nendpoint_url = http://127.0.0.1:9000\n\
             aws_access_key_id = AKID\naws_secret_access_key = secret\n",
        )
        .await;
        let client = Client::builder().sdk_config(&config).build_in(&environment(&[])).unwrap();
        let shown = format!("{client:?}");
        assert!(shown.contains("eu-north-1") && shown.contains("127.0.0.1:9000"), "{shown}");
        assert!(!shown.contains("AKID") && !shown.contains("secret"), "{shown}");
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_process_hands_out_the_key() {
        let (config, _file) = loaded(
            "[profile work]\ncredential_process = echo '{\"Version\": 1, \"AccessKeyId\": \"AKID\", \
             \"SecretAccessKey\": \"secret\", \"SessionToken\": \"token\", \"Expiration\": \"2099-01-01T00:00:00Z\"}'\n",
        ).await;
        let provider = Sdk(config.credentials_provider().unwrap());
        let key = provider.credentials().await.unwrap();
        let expected = Credentials::new("AKID", "secret").session_token("token");
        let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(4_070_908_800);
        assert!(key == expected.expires_at(at));
    }

    #[tokio::test]
    async fn a_profile_without_a_key_is_told_with_its_cause() {
        let (config, _file) =
            loaded("[profile work]\nrole_arn = arn:aws:iam::123456789012:role/r\nsource_profile = nowhere\n").await;
        let client = Client::builder().sdk_config(&config).endpoint("http://127.0.0.1:9");
        let client = client.build_in(&environment(&[])).unwrap();
        let error = client.s3().s3root("s3://b").build().unwrap().get("k").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        let mut causes = String::new();
        let mut cause = std::error::Error::source(&error);
        while let Some(current) = cause {
            causes.push_str(&format!("{current}: "));
            cause = current.source();
        }
        assert!(causes.contains("nowhere"), "{causes}");
    }
}
