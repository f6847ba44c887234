//! Settings: from builders, from the environment and Metaflow's configuration files, or by default; checked before anything
//! happens.

#[cfg(feature = "aws-config")]
mod aws_config;
mod client;
mod endpoint;
mod environment;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod metaflow;
mod run;
mod scope;

pub use self::client::ClientBuilder;
pub(crate) use self::run::RunSettings;
pub use self::scope::S3Builder;
use crate::error::{Error, ErrorKind, Result};
use crate::transfer::{MAX_PART, MIN_PART};

/// A concurrency of 0 would wait for ever.
pub(crate) fn checked_concurrency(concurrency: usize) -> Result<usize> {
    if concurrency == 0 {
        return Err(Error::new(ErrorKind::Config, "the concurrency is 0; at least 1 is needed"));
    }
    Ok(concurrency)
}

/// S3 takes no other parts.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>
pub(crate) fn checked_part_size(bytes: u64) -> Result<u64> {
    if !(MIN_PART..=MAX_PART).contains(&bytes) {
        let problem = format!("the part_size is {bytes} bytes; a part has 5 MiB to 5 GiB");
        return Err(Error::new(ErrorKind::Config, problem));
    }
    Ok(bytes)
}
