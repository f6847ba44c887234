//! Settings: from builders, from the environment and Metaflow's configuration files, or by default; checked before anything
//! happens.

mod client;
mod credentials;
mod endpoint;
mod environment;
mod scope;

pub use self::client::ClientBuilder;
pub use self::credentials::Credentials;
pub use self::scope::S3Builder;
use crate::error::{Error, ErrorKind, Result};

/// A concurrency of 0 would wait for ever.
pub(crate) fn checked_concurrency(concurrency: usize) -> Result<usize> {
    if concurrency == 0 {
        return Err(Error::new(ErrorKind::Config, "the concurrency is 0; at least 1 is needed"));
    }
    Ok(concurrency)
}
