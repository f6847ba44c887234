//! Who signs: a key, or what hands out keys.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use futures::future::BoxFuture;

/// An access key. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub(crate) access_key_id: String,
    pub(crate) secret_access_key: String,
    pub(crate) session_token: Option<String>,
    pub(crate) expires_at: Option<SystemTime>,
}

impl Credentials {
    /// A long-term key, or the first two parts of a temporary one.
    pub fn new(access_key_id: impl Into<String>, secret_access_key: impl Into<String>) -> Self {
        let (access_key_id, secret_access_key) = (access_key_id.into(), secret_access_key.into());
        Self { access_key_id, secret_access_key, session_token: None, expires_at: None }
    }

    /// The third part of a temporary key.
    #[must_use]
    pub fn session_token(mut self, token: impl Into<String>) -> Self {
        self.session_token = Some(token.into());
        self
    }

    /// When a temporary key expires. A [`CredentialProvider`] is asked for another one five minutes before, or when half of the time
    /// is over that it has left; of a key that is given to a [builder](crate::ClientBuilder::credentials) it does not matter.
    #[must_use]
    pub fn expires_at(mut self, time: SystemTime) -> Self {
        self.expires_at = Some(time);
        self
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(******)")
    }
}

/// Hands out keys, such as those of a vault or of a broker of one's own; given to
/// [`ClientBuilder::credential_provider`](crate::ClientBuilder::credential_provider). An async closure is one.
///
/// It is asked before the first request, before a key expires, and when S3 does not accept it any more; by one request at a time, while
/// others wait. What it hands out is kept until then. It has 30 s to answer. After an error, a key that has not expired is used on, and without
/// one every operation is [`ErrorKind::Config`](crate::ErrorKind::Config) with that error as its source, for 5 s, after which
/// it is asked again.
///
/// ```
/// # async fn ask_the_vault() -> std::io::Result<(&'static str, &'static str, &'static str)> { Ok(("id", "secret", "token")) }
/// # fn main() -> s3flow::Result<()> {
/// use std::time::{Duration, SystemTime};
///
/// use s3flow::{Client, Credentials};
///
/// let client = Client::builder()
///     .credential_provider(|| async {
///         let (id, secret, token) = ask_the_vault().await?;
///         let an_hour = Duration::from_secs(3600);
///         Ok(Credentials::new(id, secret).session_token(token).expires_at(SystemTime::now() + an_hour))
///     })
///     .build()?;
/// # Ok(())
/// # }
/// ```
pub trait CredentialProvider: Send + Sync + 'static {
    /// A key that is valid now.
    ///
    /// # Errors
    ///
    /// Whatever keeps it from having one. The text of its error may be logged and shown, so it is not to tell a secret.
    fn credentials(&self) -> BoxFuture<'_, Result<Credentials, Box<dyn std::error::Error + Send + Sync>>>;
}

impl<F, Fut> CredentialProvider for F
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Credentials, Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    fn credentials(&self) -> BoxFuture<'_, Result<Credentials, Box<dyn std::error::Error + Send + Sync>>> {
        Box::pin(self())
    }
}

/// A provider that several share, and of which nothing can be shown.
#[derive(Clone)]
pub(crate) struct SharedProvider(Arc<dyn CredentialProvider>);

impl SharedProvider {
    pub(crate) fn new(provider: impl CredentialProvider) -> Self {
        Self(Arc::new(provider))
    }

    pub(crate) fn get(&self) -> &dyn CredentialProvider {
        &*self.0
    }
}

impl fmt::Debug for SharedProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CredentialProvider")
    }
}
