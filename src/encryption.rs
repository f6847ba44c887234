//! Server-side encryption, as plain data.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use crate::error::{Error, ErrorKind, Result};

/// How S3 encrypts an object that it stores.
///
/// Metaflow's `encryption` strings, `"AES256"` and `"aws:kms"`, can be parsed into it, and `"aws:kms:dsse"` too. With serde it
/// is such a string, or a map `{"algorithm": "aws:kms", "key_id": …, "context": {…}}`. A [`Customer`](Self::Customer) key
/// cannot be serialised: it would be written down in plain text.
///
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/serv-side-encryption.html>
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Encryption {
    /// SSE-S3: keys that S3 manages.
    Aes256,
    /// SSE-KMS: a key in AWS KMS; the account's own for S3 with [`KmsKey::default`].
    AwsKms(KmsKey),
    /// DSSE-KMS: two layers of encryption with a key in AWS KMS.
    AwsKmsDsse(KmsKey),
    /// SSE-C: a key that S3 uses and forgets. Every later read needs it: a scope with this encryption sends it with its reads
    /// too, and [`S3GetObject::customer_key`](crate::S3GetObject::customer_key) sets it for one.
    Customer(CustomerKey),
}

/// A key in AWS KMS, and what it is used for.
///
/// ```
/// use s3flow::{Encryption, KmsKey};
///
/// let encryption = Encryption::AwsKms(KmsKey::new("alias/reports").context([("team", "finance")]));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct KmsKey {
    pub(crate) id: Option<String>,
    pub(crate) context: BTreeMap<String, String>,
}

impl KmsKey {
    /// The key with this id, ARN or alias. Without one, `KmsKey::default()`, it is the account's own key for S3.
    pub fn new(id: impl Into<String>) -> Self {
        Self { id: Some(id.into()), context: BTreeMap::new() }
    }

    /// The encryption context: pairs that KMS binds to the data key, checks on decryption and logs. Not secret.
    #[must_use]
    pub fn context<K: Into<String>, V: Into<String>>(mut self, pairs: impl IntoIterator<Item = (K, V)>) -> Self {
        self.context = pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        self
    }
}

/// A 256-bit key of the user's own, for SSE-C. `Debug` does not show it.
///
/// It travels in headers: over plain HTTP, requests with it are refused, except to the own machine and not by a proxy.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CustomerKey([u8; 32]);

impl CustomerKey {
    /// From the 32 bytes of an AES-256 key.
    #[must_use]
    pub const fn new(key: [u8; 32]) -> Self {
        Self(key)
    }

    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for CustomerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CustomerKey(******)")
    }
}

impl Encryption {
    /// The key that reads need too.
    pub(crate) fn customer_key(&self) -> Option<&CustomerKey> {
        match self {
            Self::Customer(key) => Some(key),
            _ => None,
        }
    }

    /// As `x-amz-server-side-encryption` names it; the encryption with a customer's key has other headers.
    pub(crate) fn algorithm(&self) -> Option<(&'static str, Option<&KmsKey>)> {
        match self {
            Self::Aes256 => Some(("AES256", None)),
            Self::AwsKms(key) => Some(("aws:kms", Some(key))),
            Self::AwsKmsDsse(key) => Some(("aws:kms:dsse", Some(key))),
            Self::Customer(_) => None,
        }
    }
}

impl std::str::FromStr for Encryption {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "AES256" => Ok(Self::Aes256),
            "aws:kms" => Ok(Self::AwsKms(KmsKey::default())),
            "aws:kms:dsse" => Ok(Self::AwsKmsDsse(KmsKey::default())),
            _ => Err(Error::new(
                ErrorKind::Config,
                format!("the encryption {text:?} is none of \"AES256\", \"aws:kms\" and \"aws:kms:dsse\""),
            )),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Name(String),
    Key(WrittenKey),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenKey {
    algorithm: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key_id: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    context: BTreeMap<String, String>,
}

impl Serialize for Encryption {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let Some((algorithm, key)) = self.algorithm() else {
            return Err(ser::Error::custom("a customer's encryption key is secret, and is not serialised"));
        };
        let algorithm = algorithm.to_owned();
        let written = match key.filter(|key| **key != KmsKey::default()) {
            None => Written::Name(algorithm),
            Some(KmsKey { id, context }) => {
                Written::Key(WrittenKey { algorithm, key_id: id.clone(), context: context.clone() })
            }
        };
        written.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Encryption {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let (name, key) = match Written::deserialize(deserializer)? {
            Written::Name(name) => (name, None),
            Written::Key(WrittenKey { algorithm, key_id, context }) => {
                (algorithm, Some(KmsKey { id: key_id, context }))
            }
        };
        let encryption: Self = name.parse().map_err(de::Error::custom)?;
        match (encryption, key) {
            (encryption, None) => Ok(encryption),
            (Self::AwsKms(_), Some(key)) => Ok(Self::AwsKms(key)),
            (Self::AwsKmsDsse(_), Some(key)) => Ok(Self::AwsKmsDsse(key)),
            (encryption, Some(key)) if key == KmsKey::default() => Ok(encryption),
            (_, Some(_)) => Err(de::Error::custom(format!("the encryption {name:?} has no key"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encryption_is_written_and_read_again() {
        let key = KmsKey::new("alias/k").context([("a", "b")]);
        for (encryption, json) in [
            (Encryption::Aes256, r#""AES256""#),
            (Encryption::AwsKms(KmsKey::default()), r#""aws:kms""#),
            (Encryption::AwsKmsDsse(KmsKey::default()), r#""aws:kms:dsse""#),
            (Encryption::AwsKms(key), r#"{"algorithm":"aws:kms","key_id":"alias/k","context":{"a":"b"}}"#),
        ] {
            assert_eq!(serde_json::to_string(&encryption).unwrap(), json);
            assert_eq!(serde_json::from_str::<Encryption>(json).unwrap(), encryption);
        }
        for wrong in [r#""rot13""#, r#"{"algorithm":"AES256","key_id":"k"}"#, r#"{"algorithm":"aws:kms","kye":"k"}"#] {
            assert!(serde_json::from_str::<Encryption>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_key_of_a_customer_is_neither_shown_nor_written() {
        let encryption = Encryption::Customer(CustomerKey::new(*b"secret!!secret!!secret!!secret!!"));
        assert_eq!(format!("{encryption:?}"), "Customer(CustomerKey(******))");
        assert!(!serde_json::to_string(&encryption).unwrap_err().to_string().contains("secret!!"));
    }
}
