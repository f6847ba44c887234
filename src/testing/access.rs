//! Who may do what.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use http::{HeaderMap, StatusCode};
use s3s::auth::{Credentials, S3Auth, SecretKey};
use s3s::{S3Error, S3ErrorCode, S3Result};

use super::answer::Failure;
use super::call::Call;
use super::clock::Clock;
use super::sync::lock;

/// The keys of the server's one user, for the verification of signatures.
#[derive(Clone)]
pub(super) struct User {
    pub(super) access_key_id: String,
    pub(super) secret_access_key: String,
}

impl S3Auth for User {
    fn get_secret_key<'s, 'a, 'f>(
        &'s self,
        access_key: &'a str,
    ) -> Pin<Box<dyn Future<Output = S3Result<SecretKey>> + Send + 'f>>
    where
        's: 'f,
        'a: 'f,
        Self: 'f,
    {
        let key = if access_key == self.access_key_id {
            Ok(SecretKey::from(self.secret_access_key.as_str()))
        } else {
            Err(S3Error::with_message(
                S3ErrorCode::InvalidAccessKeyId,
                "The AWS Access Key Id you provided does not exist in our records.",
            ))
        };
        Box::pin(std::future::ready(key))
    }
}

/// What is decided after a signature was found correct, or missing.
#[derive(Debug)]
pub(super) struct Access {
    pub(super) anonymous: bool,
    pub(super) region: String,
    clock: Clock,
    /// Saves requests the lock while nothing is denied.
    any_denied: AtomicBool,
    denied: Mutex<BTreeSet<(String, String)>>,
}

impl Access {
    pub(super) fn new(anonymous: bool, region: String, clock: Clock) -> Self {
        Self { anonymous, region, clock, any_denied: AtomicBool::new(false), denied: Mutex::default() }
    }

    pub(super) fn deny(&self, bucket: &str, key: &str) {
        lock(&self.denied).insert((bucket.to_owned(), key.to_owned()));
        self.any_denied.store(true, Ordering::SeqCst);
    }

    /// Whether this key answers at all.
    pub(super) fn check_key(&self, bucket: &str, key: &str) -> Result<(), Failure> {
        if self.any_denied.load(Ordering::SeqCst) && lock(&self.denied).contains(&(bucket.to_owned(), key.to_owned())) {
            return Err(Failure::access_denied());
        }
        Ok(())
    }

    /// Checks what a correct signature leaves open: that there is one, that it is for this region and of this time, and that it
    /// covers every header that S3 acts upon.
    pub(super) fn check(
        &self,
        call: &Call,
        headers: &HeaderMap,
        credentials: Option<&Credentials>,
        region: Option<&str>,
    ) -> Result<(), Failure> {
        if credentials.is_none() {
            return if self.anonymous { Ok(()) } else { Err(Failure::access_denied()) };
        }
        self.clock.check(call, headers)?;
        // A signature of version 2 names neither.
        let Some(region) = region else { return Ok(()) };
        if region != self.region {
            let message = format!(
                "The authorization header is malformed; the region '{region}' is wrong; expecting '{}'",
                self.region
            );
            return Err(Failure::new(StatusCode::BAD_REQUEST, "AuthorizationHeaderMalformed", message)
                .with("Region", self.region.as_str()));
        }
        let presigned = call.query("X-Amz-SignedHeaders");
        let signed = match presigned {
            Some(signed) => signed,
            None => signed_headers(headers).unwrap_or_default(),
        };
        let unsigned = headers.keys().map(http::HeaderName::as_str).find(|name| {
            let matters = *name == "host"
                || name.starts_with("x-amz-") && !(presigned.is_some() && *name == "x-amz-content-sha256");
            matters && !signed.split(';').any(|signed| signed.eq_ignore_ascii_case(name))
        });
        match unsigned {
            None => Ok(()),
            Some(name) => Err(Failure::new(
                StatusCode::FORBIDDEN,
                "AccessDenied",
                "There were headers present in the request which were not signed",
            )
            .with("HeadersNotSigned", name)),
        }
    }
}

fn signed_headers(headers: &HeaderMap) -> Option<&str> {
    let authorization = headers.get(http::header::AUTHORIZATION)?.to_str().ok()?;
    let (_, rest) = authorization.split_once("SignedHeaders=")?;
    Some(rest.split(',').next().unwrap_or(rest).trim())
}
