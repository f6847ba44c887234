//! Server-side encryption, in name only: nothing is encrypted, but everything is echoed and checked.

use std::collections::BTreeMap;

use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};
use s3s::crypto::{Checksum as _, Md5};

use super::answer::Failure;
use super::encode::{base64, base64_decode};

/// How an object is encrypted, or an upload whose parts will be one.
#[derive(Debug, Clone, Default)]
pub(super) struct Encryption {
    /// What every answer reports.
    pub(super) headers: HeaderMap,
    /// S3 reports it where it was sent, and to no reader.
    pub(super) context: Option<HeaderValue>,
    /// The MD5 of the customer's key, which reads must present.
    customer_key: Option<HeaderValue>,
}

pub(super) const SSE: HeaderName = HeaderName::from_static("x-amz-server-side-encryption");
pub(super) const SSE_KEY: HeaderName = HeaderName::from_static("x-amz-server-side-encryption-aws-kms-key-id");
const SSE_CONTEXT: HeaderName = HeaderName::from_static("x-amz-server-side-encryption-context");
const SSE_BUCKET_KEY: HeaderName = HeaderName::from_static("x-amz-server-side-encryption-bucket-key-enabled");

/// The three headers that carry a customer's key.
#[derive(Debug, Clone, Copy)]
struct Names {
    algorithm: &'static str,
    key: &'static str,
    key_md5: &'static str,
}

/// For the object, or part, that is written or read.
const CUSTOMER: Names = Names {
    algorithm: "x-amz-server-side-encryption-customer-algorithm",
    key: "x-amz-server-side-encryption-customer-key",
    key_md5: "x-amz-server-side-encryption-customer-key-md5",
};

/// For the object that is copied from.
const SOURCE: Names = Names {
    algorithm: "x-amz-copy-source-server-side-encryption-customer-algorithm",
    key: "x-amz-copy-source-server-side-encryption-customer-key",
    key_md5: "x-amz-copy-source-server-side-encryption-customer-key-md5",
};

impl Encryption {
    /// What the headers of a PUT, a CreateMultipartUpload or a copy ask for.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Failure> {
        let mut encryption = Self::default();
        let kms = match headers.get(SSE).map(HeaderValue::as_bytes) {
            Some(b"aws:kms" | b"aws:kms:dsse") => true,
            Some(b"AES256") | None => false,
            Some(_) => {
                return Err(Failure::bad_request(
                    "InvalidEncryptionAlgorithmError",
                    "The Encryption request you specified is not valid. Supported value: AES256, aws:kms, aws:kms:dsse.",
                ));
            }
        };
        if !kms && (headers.contains_key(SSE_KEY) || headers.contains_key(SSE_CONTEXT)) {
            return Err(Failure::invalid_argument(
                "Server Side Encryption with AWS KMS managed key requires HTTP header x-amz-server-side-encryption : aws:kms",
            ));
        }
        encryption.context = context(headers)?;
        for name in [SSE, SSE_KEY, SSE_BUCKET_KEY] {
            if let Some(value) = headers.get(&name) {
                encryption.headers.insert(name, value.clone());
            }
        }
        if let Some(key) = customer_key(CUSTOMER, headers)? {
            if headers.contains_key(SSE) {
                return Err(Failure::invalid_argument(
                    "Server Side Encryption with Customer provided key is incompatible with the encryption method specified",
                ));
            }
            encryption.headers.insert(CUSTOMER.algorithm, HeaderValue::from_static("AES256"));
            encryption.headers.insert(CUSTOMER.key_md5, key.clone());
            encryption.customer_key = Some(key);
        }
        Ok(encryption)
    }

    /// What the answer to the request that asked for it reports.
    pub(super) fn asked_for(&self) -> HeaderMap {
        let mut headers = self.headers.clone();
        if let Some(context) = &self.context {
            headers.insert(SSE_CONTEXT, context.clone());
        }
        headers
    }

    /// Whether a read presents what it needs, and nothing that belongs to writes.
    pub(super) fn check_read(&self, headers: &HeaderMap) -> Result<(), Failure> {
        forbid(headers)?;
        self.check_key(customer_key(CUSTOMER, headers)?.as_ref())
    }

    /// Whether a copy presents the key of its source.
    pub(super) fn check_source(&self, headers: &HeaderMap) -> Result<(), Failure> {
        self.check_key(customer_key(SOURCE, headers)?.as_ref())
    }

    /// Whether a part comes with the key that its upload was created with.
    pub(super) fn check_part(&self, headers: &HeaderMap) -> Result<(), Failure> {
        forbid(headers)?;
        match (&self.customer_key, customer_key(CUSTOMER, headers)?) {
            (None, None) => Ok(()),
            (Some(key), Some(presented)) if *key == presented => Ok(()),
            (Some(_), None) => Err(Failure::bad_request(
                "InvalidRequest",
                "The multipart upload initiate requested encryption. Subsequent part requests must include the appropriate encryption parameters.",
            )),
            (None, Some(_)) => Err(Failure::bad_request(
                "InvalidRequest",
                "The multipart upload initiate did not request encryption. Please resend the request without sending encryption parameters.",
            )),
            (Some(_), Some(_)) => Err(Failure::bad_request(
                "InvalidRequest",
                "The provided encryption parameters did not match the ones used originally.",
            )),
        }
    }

    fn check_key(&self, presented: Option<&HeaderValue>) -> Result<(), Failure> {
        match (&self.customer_key, presented) {
            (None, None) => Ok(()),
            (Some(_), None) => Err(Failure::bad_request(
                "InvalidRequest",
                "The object was stored using a form of Server Side Encryption. The correct parameters must be provided to retrieve the object.",
            )),
            (None, Some(_)) => Err(Failure::bad_request(
                "InvalidRequest",
                "The encryption parameters are not applicable to this object.",
            )),
            (Some(key), Some(presented)) if key == presented => Ok(()),
            (Some(_), Some(_)) => Err(Failure::access_denied()),
        }
    }
}

/// These headers are for PUT and CreateMultipartUpload only.
fn forbid(headers: &HeaderMap) -> Result<(), Failure> {
    match [SSE, SSE_KEY, SSE_CONTEXT].iter().find_map(|name| Some((name, headers.get(name)?))) {
        None => Ok(()),
        Some((name, value)) => {
            let message = format!("{name} header is not supported for this operation.");
            Err(Failure::new(StatusCode::BAD_REQUEST, "InvalidArgument", message)
                .with("ArgumentName", name.as_str())
                .with("ArgumentValue", String::from_utf8_lossy(value.as_bytes())))
        }
    }
}

/// The encryption context, if it is one.
fn context(headers: &HeaderMap) -> Result<Option<HeaderValue>, Failure> {
    let Some(value) = headers.get(SSE_CONTEXT) else { return Ok(None) };
    let json = value.to_str().ok().and_then(base64_decode);
    match json.and_then(|json| serde_json::from_slice::<BTreeMap<String, String>>(&json).ok()) {
        Some(_) => Ok(Some(value.clone())),
        None => Err(Failure::invalid_argument(
            "The header 'x-amz-server-side-encryption-context' shall be Base64-encoded UTF-8 string holding JSON which represents a string-string map",
        )),
    }
}

/// The MD5 of the customer's key, after a look at the three headers that belong together.
fn customer_key(names: Names, headers: &HeaderMap) -> Result<Option<HeaderValue>, Failure> {
    let all = (headers.get(names.algorithm), headers.get(names.key), headers.get(names.key_md5));
    let (algorithm, key, key_md5) = match all {
        (None, None, None) => return Ok(None),
        (Some(algorithm), Some(key), Some(key_md5)) => (algorithm, key, key_md5),
        _ => {
            return Err(Failure::invalid_argument(
                "Requests specifying Server Side Encryption with Customer provided keys must provide an appropriate secret key.",
            ));
        }
    };
    if algorithm != "AES256" {
        return Err(Failure::bad_request(
            "InvalidEncryptionAlgorithmError",
            "The Encryption request you specified is not valid. Supported value: AES256.",
        ));
    }
    let key = key.to_str().ok().and_then(base64_decode).filter(|key| key.len() == 32);
    let Some(key) = key else {
        return Err(Failure::invalid_argument("The secret key was invalid for the specified algorithm."));
    };
    if base64(&Md5::checksum(&key)).as_bytes() != key_md5.as_bytes() {
        return Err(Failure::invalid_argument(
            "The calculated MD5 hash of the key did not match the hash that was provided.",
        ));
    }
    Ok(Some(key_md5.clone()))
}
