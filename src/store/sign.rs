//! AWS Signature Version 4 in a request's headers.
//!
//! Ours, because the path must be signed exactly as it is sent (a signer that resolves `.` and `..` signs another key), and
//! because it is on the way of every request: the derived key is kept for its day and region, so that one costs one HMAC.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Datelike as _, Timelike as _, Utc};
use http::header::{AUTHORIZATION, CONTENT_LENGTH, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use ring::{digest, hmac};

use super::keys::encode_query;

pub(super) const CONTENT_SHA256: HeaderName = HeaderName::from_static("x-amz-content-sha256");
const DATE: HeaderName = HeaderName::from_static("x-amz-date");
const SECURITY_TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");

/// Who signs.
#[derive(Clone, Copy)]
pub(super) struct SigningKeys<'a> {
    pub(super) access_key_id: &'a str,
    pub(super) secret_access_key: &'a str,
    pub(super) session_token: Option<&'a str>,
}

/// What is signed beside the headers. `path` and `query` are encoded as they will be sent, the query's parameters sorted.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) method: &'a Method,
    pub(super) path: &'a str,
    pub(super) query: &'a str,
    pub(super) region: &'a str,
    pub(super) service: &'a str,
}

/// Signs requests and keeps the last derived key.
#[derive(Default)]
pub(super) struct Signer {
    derived: Mutex<Option<Arc<DerivedKey>>>,
}

struct DerivedKey {
    secret_access_key: String,
    scope: String,
    key: hmac::Key,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signer(******)")
    }
}

/// A header that cannot be part of a signature: its value is not visible text.
#[derive(Debug)]
pub(super) struct Unsignable(pub(super) String);

impl Signer {
    /// Adds `x-amz-date`, the session token and `Authorization` to `headers`, which hold `host`, [`CONTENT_SHA256`] and
    /// everything else that is to be signed.
    pub(super) fn sign(
        &self,
        keys: SigningKeys<'_>,
        target: Target<'_>,
        headers: &mut HeaderMap,
        now: DateTime<Utc>,
    ) -> Result<(), Unsignable> {
        let timestamp = timestamp(now);
        headers.insert(DATE, visible(DATE, timestamp.clone())?);
        if let Some(token) = keys.session_token {
            let mut token = visible(SECURITY_TOKEN, token.to_owned())?;
            token.set_sensitive(true);
            headers.insert(SECURITY_TOKEN, token);
        }

        // Proxies rewrite these two, so no AWS client signs them.
        let signed = |name: &HeaderName| *name != USER_AGENT && *name != CONTENT_LENGTH && *name != AUTHORIZATION;
        let names = signed_names(headers, signed);
        let payload = headers.get(CONTENT_SHA256).and_then(|value| value.to_str().ok()).unwrap_or(EMPTY_SHA256);
        let canonical = canonical_request(target, headers, &names, payload)?;
        let derived = self.derived_key(keys.secret_access_key, &timestamp[..8], target.region, target.service);
        let signature = derived.signature(&timestamp, &canonical);
        let signed_headers = names.join(";");
        let mut authorization = String::with_capacity(192 + keys.access_key_id.len() + signed_headers.len());
        for part in [
            "AWS4-HMAC-SHA256 Credential=",
            keys.access_key_id,
            "/",
            &derived.scope,
            ", SignedHeaders=",
            &signed_headers,
            ", Signature=",
        ] {
            authorization.push_str(part);
        }
        push_hex(&mut authorization, signature.as_ref());
        let mut authorization = visible(AUTHORIZATION, authorization)?;
        authorization.set_sensitive(true);
        headers.insert(AUTHORIZATION, authorization);
        Ok(())
    }

    /// The query of a request that whoever has it may send until `expires` from `now`, with these `headers`, among them `host`, and
    /// any body.
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html>
    pub(super) fn presign(
        &self,
        keys: SigningKeys<'_>,
        target: Target<'_>,
        headers: &HeaderMap,
        now: DateTime<Utc>,
        expires: Duration,
    ) -> Result<String, Unsignable> {
        let timestamp = timestamp(now);
        let derived = self.derived_key(keys.secret_access_key, &timestamp[..8], target.region, target.service);
        let names = signed_names(headers, |_| true);
        let credential = format!("{}/{}", keys.access_key_id, derived.scope);
        let mut query: Vec<String> =
            target.query.split('&').filter(|pair| !pair.is_empty()).map(str::to_owned).collect();
        for (name, value) in [
            ("X-Amz-Algorithm", Some("AWS4-HMAC-SHA256")),
            ("X-Amz-Credential", Some(credential.as_str())),
            ("X-Amz-Date", Some(timestamp.as_str())),
            ("X-Amz-Expires", Some(expires.as_secs().to_string().as_str())),
            ("X-Amz-Security-Token", keys.session_token),
            ("X-Amz-SignedHeaders", Some(names.join(";").as_str())),
        ] {
            query.extend(value.map(|value| format!("{name}={}", encode_query(value))));
        }
        query.sort_unstable();
        let mut query = query.join("&");
        let canonical = canonical_request(Target { query: &query, ..target }, headers, &names, UNSIGNED_PAYLOAD)?;
        query.push_str("&X-Amz-Signature=");
        push_hex(&mut query, derived.signature(&timestamp, &canonical).as_ref());
        Ok(query)
    }

    fn derived_key(&self, secret_access_key: &str, day: &str, region: &str, service: &str) -> Arc<DerivedKey> {
        let parts = [day, region, service, "aws4_request"];
        let mut kept = self.derived.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(derived) = kept.as_ref()
            && derived.scope.split('/').eq(parts)
            && derived.secret_access_key == secret_access_key
        {
            return Arc::clone(derived);
        }
        let mut key = format!("AWS4{secret_access_key}").into_bytes();
        for part in parts {
            let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), part.as_bytes());
            key = tag.as_ref().to_vec();
        }
        let derived = Arc::new(DerivedKey {
            secret_access_key: secret_access_key.to_owned(),
            scope: parts.join("/"),
            key: hmac::Key::new(hmac::HMAC_SHA256, &key),
        });
        *kept = Some(Arc::clone(&derived));
        derived
    }
}

/// `YYYYMMDDTHHMMSSZ`. The general formatter takes as long as the signature itself.
fn timestamp(time: DateTime<Utc>) -> String {
    let mut text = String::with_capacity(16);
    let year = time.year().unsigned_abs();
    let mut push = |number: u32, before: &str| {
        text.push_str(before);
        text.push(digit(number / 10));
        text.push(digit(number));
    };
    push(year / 100, "");
    push(year, "");
    push(time.month(), "");
    push(time.day(), "");
    push(time.hour(), "T");
    push(time.minute(), "");
    push(time.second(), "");
    text.push('Z');
    text
}

/// The last one of a number.
fn digit(number: u32) -> char {
    char::from(DIGITS[(number % 10) as usize])
}

impl DerivedKey {
    fn signature(&self, timestamp: &str, canonical: &str) -> hmac::Tag {
        let mut to_sign = String::with_capacity(192);
        for line in ["AWS4-HMAC-SHA256", timestamp, &self.scope] {
            to_sign.push_str(line);
            to_sign.push('\n');
        }
        push_hex(&mut to_sign, digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
        hmac::sign(&self.key, to_sign.as_bytes())
    }
}

/// Those of the headers that are signed, sorted.
fn signed_names(headers: &HeaderMap, signed: impl Fn(&HeaderName) -> bool) -> Vec<&str> {
    let mut names: Vec<&str> = headers.keys().filter(|name| signed(name)).map(HeaderName::as_str).collect();
    names.sort_unstable();
    names
}

fn canonical_request(
    target: Target<'_>,
    headers: &HeaderMap,
    names: &[&str],
    payload: &str,
) -> Result<String, Unsignable> {
    let mut canonical = String::with_capacity(1024);
    for part in [target.method.as_str(), target.path, target.query] {
        canonical.push_str(part);
        canonical.push('\n');
    }
    for name in names {
        canonical.push_str(name);
        let mut separator = ':';
        for value in headers.get_all(*name) {
            canonical.push(separator);
            separator = ',';
            let text = std::str::from_utf8(value.as_bytes()).map_err(|_| Unsignable((*name).to_owned()))?;
            push_trimmed(&mut canonical, text);
        }
        canonical.push('\n');
    }
    canonical.push('\n');
    for (position, name) in names.iter().enumerate() {
        canonical.push_str(if position > 0 { ";" } else { "" });
        canonical.push_str(name);
    }
    canonical.push('\n');
    canonical.push_str(payload);
    Ok(canonical)
}

/// In place of a body's SHA-256, where it is not in the signature.
pub(super) const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";
/// SHA-256 of no bytes, in hexadecimal.
pub(super) const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// The lowercase hexadecimal SHA-256 of a body, which S3 wants in `x-amz-content-sha256`.
pub(super) fn payload_hash<'a>(body: impl IntoIterator<Item = &'a Bytes>) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    for chunk in body {
        context.update(chunk);
    }
    let mut text = String::with_capacity(64);
    push_hex(&mut text, context.finish().as_ref());
    text
}

/// SigV4's "trimall": no space at the ends, one between words.
fn push_trimmed(canonical: &mut String, value: &str) {
    if !value.contains([' ', '\t']) {
        canonical.push_str(value);
        return;
    }
    for (position, word) in value.split([' ', '\t']).filter(|word| !word.is_empty()).enumerate() {
        if position > 0 {
            canonical.push(' ');
        }
        canonical.push_str(word);
    }
}

fn visible(name: HeaderName, value: String) -> Result<HeaderValue, Unsignable> {
    HeaderValue::try_from(value).map_err(|_| Unsignable(name.as_str().to_owned()))
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

#[cfg(test)]
mod tests {
    use http::header::HOST;

    use super::*;

    /// The credentials of all of AWS's published examples.
    const KEYS: SigningKeys<'static> = SigningKeys {
        access_key_id: "AKIAIOSFODNN7EXAMPLE",
        secret_access_key: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        session_token: None,
    };

    /// Signs one of the examples of
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>: bucket `examplebucket`, region
    /// us-east-1, Fri, 24 May 2013 00:00:00 GMT. Returns the `Authorization` header.
    fn s3_example(
        method: &Method,
        path: &str,
        query: &str,
        body: &'static [u8],
        extra: &[(&'static str, &'static str)],
    ) -> String {
        let now = DateTime::parse_from_rfc3339("2013-05-24T00:00:00Z").unwrap().to_utc();
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_static("examplebucket.s3.amazonaws.com"));
        let hash = payload_hash([&Bytes::from_static(body)]);
        headers.insert(CONTENT_SHA256, HeaderValue::from_str(&hash).unwrap());
        for (name, value) in extra {
            headers.insert(*name, HeaderValue::from_static(value));
        }
        let target = Target { method, path, query, region: "us-east-1", service: "s3" };
        Signer::default().sign(KEYS, target, &mut headers, now).unwrap();
        headers[AUTHORIZATION].to_str().unwrap().to_owned()
    }

    #[track_caller]
    fn assert_signature(authorization: &str, signed_headers: &str, signature: &str) {
        assert_eq!(
            authorization,
            format!(
                "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, \
                 SignedHeaders={signed_headers}, Signature={signature}"
            )
        );
    }

    #[test]
    fn aws_example_get_object() {
        let authorization = s3_example(&Method::GET, "/test.txt", "", b"", &[("range", "bytes=0-9")]);
        assert_signature(
            &authorization,
            "host;range;x-amz-content-sha256;x-amz-date",
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        );
    }

    #[test]
    fn aws_example_put_object() {
        let authorization = s3_example(
            &Method::PUT,
            "/test%24file.text",
            "",
            b"Welcome to Amazon S3.",
            &[("date", "Fri, 24 May 2013 00:00:00 GMT"), ("x-amz-storage-class", "REDUCED_REDUNDANCY")],
        );
        assert_signature(
            &authorization,
            "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        );
    }

    #[test]
    fn aws_example_get_bucket_lifecycle() {
        let authorization = s3_example(&Method::GET, "/", "lifecycle=", b"", &[]);
        assert_signature(
            &authorization,
            "host;x-amz-content-sha256;x-amz-date",
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        );
    }

    #[test]
    fn aws_example_list_objects() {
        let authorization = s3_example(&Method::GET, "/", "max-keys=2&prefix=J", b"", &[]);
        assert_signature(
            &authorization,
            "host;x-amz-content-sha256;x-amz-date",
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        );
    }

    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html>
    #[test]
    fn aws_example_presigned_get_object() {
        let now = DateTime::parse_from_rfc3339("2013-05-24T00:00:00Z").unwrap().to_utc();
        let headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static("examplebucket.s3.amazonaws.com"))]);
        let (method, path, query) = (&Method::GET, "/test.txt", "");
        let target = Target { method, path, query, region: "us-east-1", service: "s3" };
        let signed = Signer::default().presign(KEYS, target, &headers, now, Duration::from_secs(86_400)).unwrap();
        assert_eq!(
            signed,
            "X-Amz-Algorithm=AWS4-HMAC-SHA256\
             &X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request\
             &X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host\
             &X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
        );
    }

    #[test]
    fn the_kept_key_is_not_used_for_another_secret_day_or_region() {
        let signer = Signer::default();
        let first = signer.derived_key("secret", "20130524", "us-east-1", "s3");
        assert_eq!(first.scope, "20130524/us-east-1/s3/aws4_request");
        for (secret, day, region) in [
            ("secret", "20130525", "us-east-1"),
            ("secret", "20130524", "eu-west-1"),
            ("other", "20130524", "us-east-1"),
        ] {
            assert!(!Arc::ptr_eq(&first, &signer.derived_key(secret, day, region, "s3")));
        }
        let again = signer.derived_key("secret", "20130524", "us-east-1", "s3");
        assert!(Arc::ptr_eq(&again, &signer.derived_key("secret", "20130524", "us-east-1", "s3")));
    }

    #[test]
    fn a_timestamp_has_the_digits_that_a_formatter_writes() {
        for seconds in [0, 951_782_400, 1_369_353_600, 1_795_000_000, 253_402_300_799] {
            let time = DateTime::from_timestamp(seconds, 0).unwrap();
            assert_eq!(timestamp(time), time.format("%Y%m%dT%H%M%SZ").to_string());
        }
    }

    #[test]
    fn values_are_trimmed_as_the_rules_say() {
        let mut canonical = String::new();
        push_trimmed(&mut canonical, "  a   b \t c ");
        assert_eq!(canonical, "a b c");
    }

    #[test]
    fn debug_shows_no_secret() {
        let signer = Signer::default();
        signer.derived_key("hunter2", "20130524", "us-east-1", "s3");
        assert!(!format!("{signer:?}").contains("hunter2"));
    }
}
