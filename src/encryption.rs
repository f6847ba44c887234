//! Server-side encryption, as plain data.

use crate::error::{Error, ErrorKind, Result};

/// How S3 encrypts an object that it stores.
///
/// Metaflow's `encryption` strings, `"AES256"` and `"aws:kms"`, can be parsed into it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Encryption {
    /// SSE-S3: keys that S3 manages.
    Aes256,
    /// SSE-KMS: a key in AWS KMS; the account's default key without an id.
    AwsKms {
        /// Id, ARN or alias of the key.
        key_id: Option<String>,
    },
}

impl std::str::FromStr for Encryption {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "AES256" => Ok(Self::Aes256),
            "aws:kms" => Ok(Self::AwsKms { key_id: None }),
            _ => Err(Error::new(
                ErrorKind::Config,
                format!("the encryption {text:?} is neither \"AES256\" nor \"aws:kms\""),
            )),
        }
    }
}
