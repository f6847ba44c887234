//! S3's verbs, one request each, on `object_store` with a wire of ours below it.
//!
//! The only module that names `object_store`. It knows nothing of files, of retries, or of what a missing object means to
//! the caller.

mod content_range;
mod credentials;
mod failure;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod keys;
mod listing;
mod rfc2047;
mod sign;
mod transport;
mod wire;
mod xml;

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use bytes::Bytes;
use chrono::DateTime;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::client::{HttpClient, HttpConnector, HttpRequestBody};
use object_store::{ClientOptions, GetOptions, ObjectStore, PutOptions, PutPayload, RetryConfig};

pub(crate) use self::credentials::CredentialSource;
use self::credentials::Credentials;
pub(crate) use self::failure::{Failure, FailureKind, Retryability};
pub(crate) use self::listing::{ListPage, ListedObject};
use self::sign::Signer;
pub use self::transport::TlsRoots;
use self::transport::Transport;
pub(crate) use self::transport::TransportConfig;
pub(crate) use self::wire::Endpoint;
use self::wire::{Bucket, BucketService, RequestHeaders, ResponseHead, Wire};
use crate::address::Location;
use crate::encryption::Encryption;
use crate::metadata;

/// How a store is reached.
#[derive(Debug)]
pub(crate) struct StoreConfig {
    /// `None`: AWS.
    pub(crate) endpoint: Option<Endpoint>,
    pub(crate) region: String,
    pub(crate) virtual_host_style: bool,
    pub(crate) credentials: CredentialSource,
    pub(crate) transport: TransportConfig,
}

/// All buckets of one service, over one pool of connections and one provider of credentials.
pub(crate) struct Store {
    wire: Arc<Wire>,
    buckets: RwLock<HashMap<String, Arc<BucketStore>>>,
}

struct BucketStore {
    bucket: Arc<Bucket>,
    objects: AmazonS3,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { wire, buckets: _ } = self;
        f.debug_struct("Store").field("endpoint", &wire.endpoint).field("region", &wire.region).finish_non_exhaustive()
    }
}

/// Bytes of an object, as a `Range` header asks for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ByteRange {
    /// From here to the end.
    From(u64),
    /// `start..end`; cut at the object's end.
    Span { start: u64, end: u64 },
    /// The last bytes.
    Last(u64),
}

/// What an answer says of an object.
#[derive(Debug, Clone)]
pub(crate) struct ObjectHead {
    /// Of the whole object, in bytes.
    pub(crate) size: u64,
    /// The bytes of the object that the body carries, when the answer is partial.
    pub(crate) range: Option<Range<u64>>,
    pub(crate) etag: Option<String>,
    pub(crate) last_modified: Option<SystemTime>,
    pub(crate) content_type: Option<String>,
    /// The user metadata entry that Metaflow uses, as it was sent.
    pub(crate) attributes: Option<String>,
    pub(crate) encryption: Option<String>,
    pub(crate) version_id: Option<String>,
}

/// What the answer to a put says of the new object.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) etag: Option<String>,
    pub(crate) version_id: Option<String>,
}

/// What a put says of its object.
#[derive(Debug, Clone, Default)]
pub(crate) struct PutHeaders<'a> {
    pub(crate) content_type: Option<&'a str>,
    pub(crate) attributes: Option<&'a str>,
    pub(crate) encryption: Option<&'a Encryption>,
    /// Fails with 412 when the key exists.
    pub(crate) if_absent: bool,
}

/// An object on its way.
pub(crate) struct Incoming {
    pub(crate) head: ObjectHead,
    pub(crate) body: BoxStream<'static, Result<Bytes, Failure>>,
}

const ATTRIBUTES_HEADER: HeaderName = HeaderName::from_static(metadata::HEADER);
const ENCRYPTION_HEADER: HeaderName = HeaderName::from_static("x-amz-server-side-encryption");
const KMS_KEY_HEADER: HeaderName = HeaderName::from_static("x-amz-server-side-encryption-aws-kms-key-id");
const VERSION_HEADER: &str = "x-amz-version-id";
/// A thousand keys of 1,024 bytes, encoded, are under 4 MiB.
const MAX_LIST_BODY: usize = 32 * 1024 * 1024;

impl Store {
    /// # Errors
    ///
    /// A text that says which part of the configuration cannot be used.
    pub(crate) fn new(config: StoreConfig) -> Result<Self, String> {
        let StoreConfig { endpoint, region, virtual_host_style, credentials, transport } = config;
        let transport = Transport::new(&transport)?;
        let credentials = Credentials::new(credentials, &transport)?;
        let wire = Wire { transport, credentials, signer: Signer::default(), endpoint, region, virtual_host_style };
        Ok(Self { wire: Arc::new(wire), buckets: RwLock::default() })
    }

    /// GetObject. With `if_match`, fails with 412 when the object's ETag is another.
    pub(crate) async fn get(
        &self,
        location: &Location,
        range: Option<ByteRange>,
        if_match: Option<&str>,
    ) -> Result<Incoming, Failure> {
        let mut headers = HeaderMap::new();
        if let Some(range) = range {
            headers.insert(header::RANGE, value(&header::RANGE, &range.to_string())?);
        }
        if let Some(etag) = if_match {
            headers.insert(header::IF_MATCH, value(&header::IF_MATCH, etag)?);
        }
        let (head, body) = self.read(location, headers, false).await?;
        Ok(Incoming { head, body })
    }

    /// HeadObject. Without a body to say more, a missing bucket looks like a missing key: see [`bucket_exists`](Self::bucket_exists).
    pub(crate) async fn head(&self, location: &Location) -> Result<ObjectHead, Failure> {
        self.read(location, HeaderMap::new(), true).await.map(|(head, _)| head)
    }

    async fn read(
        &self,
        location: &Location,
        headers: HeaderMap,
        head: bool,
    ) -> Result<(ObjectHead, BoxStream<'static, Result<Bytes, Failure>>), Failure> {
        let store = self.bucket(location.bucket())?;
        let mut options = GetOptions { head, ..GetOptions::default() };
        options.extensions.insert(RequestHeaders(headers));
        let mut result =
            store.objects.get_opts(&keys::to_path(location.key()), options).await.map_err(Failure::from_store)?;
        let response = answered(result.extensions.remove())?;
        Ok((ObjectHead::read(&response)?, result.into_stream().map_err(Failure::from_store).boxed()))
    }

    /// PutObject.
    pub(crate) async fn put(&self, location: &Location, put: &PutHeaders<'_>, body: Bytes) -> Result<Stored, Failure> {
        let store = self.bucket(location.bucket())?;
        let mut options = PutOptions::default();
        options.extensions.insert(RequestHeaders(put.to_headers()?));
        let mut result = store
            .objects
            .put_opts(&keys::to_path(location.key()), PutPayload::from_bytes(body), options)
            .await
            .map_err(Failure::from_store)?;
        let ResponseHead { headers, .. } = answered(result.extensions.remove())?;
        Ok(Stored { etag: text(&headers, header::ETAG.as_str()), version_id: text(&headers, VERSION_HEADER) })
    }

    /// HeadBucket; skipped when an earlier answer has shown that the bucket is there.
    pub(crate) async fn bucket_exists(&self, bucket: &str) -> Result<bool, Failure> {
        let store = self.bucket(bucket)?;
        if store.bucket.is_seen() {
            return Ok(true);
        }
        match self.wire.send(&store.bucket, bucket_request(Method::HEAD, String::new())).await {
            Ok(_) => Ok(true),
            Err(failure) if failure.has_status(StatusCode::NOT_FOUND) => Ok(false),
            // Who may read an object need not be allowed to ask for its bucket.
            Err(failure) if failure.has_status(StatusCode::FORBIDDEN) => Ok(true),
            Err(failure) => Err(failure),
        }
    }

    /// One page of ListObjectsV2: the keys that begin with `prefix`, from where `token` continues.
    pub(crate) async fn list(&self, bucket: &str, prefix: &str, token: Option<&str>) -> Result<ListPage, Failure> {
        let store = self.bucket(bucket)?;
        let request = bucket_request(Method::GET, listing::query(prefix, token));
        let response = self.wire.send(&store.bucket, request).await?;
        let (parts, body) = response.into_parts();
        let (document, whole) = wire::read(body, MAX_LIST_BODY).await?;
        if !whole {
            return Err(Failure::new(FailureKind::Malformed, "the server answered with a page of over 32 MiB"));
        }
        match Failure::from_error_in_success(parts.status, &parts.headers, &document) {
            Some(failure) => Err(failure),
            None => listing::parse(&document, token),
        }
    }

    fn bucket(&self, name: &str) -> Result<Arc<BucketStore>, Failure> {
        if let Some(known) = self.buckets.read().unwrap_or_else(PoisonError::into_inner).get(name) {
            return Ok(Arc::clone(known));
        }
        let bucket = Arc::new(Bucket::new(name, &self.wire)?);
        let service = BucketService { wire: Arc::clone(&self.wire), bucket: Arc::clone(&bucket) };
        let objects = AmazonS3Builder::new()
            .with_bucket_name(name)
            // The service below replaces the address; this one is never looked up.
            .with_endpoint("http://s3.invalid")
            .with_virtual_hosted_style_request(true)
            .with_skip_signature(true)
            .with_retry(RetryConfig { max_retries: 0, ..RetryConfig::default() })
            .with_http_connector(Connector(HttpClient::new(service)))
            .build()
            .map_err(Failure::from_store)?;
        let store = Arc::new(BucketStore { bucket, objects });
        let mut buckets = self.buckets.write().unwrap_or_else(PoisonError::into_inner);
        Ok(Arc::clone(buckets.entry(name.to_owned()).or_insert(store)))
    }
}

fn bucket_request(method: Method, query: String) -> wire::Request<'static> {
    wire::Request {
        method,
        key_path: "".into(),
        query: query.into(),
        headers: HeaderMap::new(),
        body: HttpRequestBody::empty(),
    }
}

fn answered(head: Option<ResponseHead>) -> Result<ResponseHead, Failure> {
    head.ok_or_else(|| Failure::new(FailureKind::Malformed, "the answer lost its headers"))
}

/// A header's value; the name says which one cannot be sent.
fn value(name: &HeaderName, text: &str) -> Result<HeaderValue, Failure> {
    HeaderValue::from_str(text)
        .map_err(|_| Failure::new(FailureKind::Request, format!("{text:?} cannot be the value of the header {name}")))
}

impl fmt::Display for ByteRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::From(start) => write!(f, "bytes={start}-"),
            Self::Span { start, end } => write!(f, "bytes={start}-{}", end - 1),
            Self::Last(length) => write!(f, "bytes=-{length}"),
        }
    }
}

impl PutHeaders<'_> {
    fn to_headers(&self) -> Result<HeaderMap, Failure> {
        let Self { content_type, attributes, encryption, if_absent } = self;
        let mut headers = HeaderMap::new();
        if let Some(content_type) = content_type {
            headers.insert(header::CONTENT_TYPE, value(&header::CONTENT_TYPE, content_type)?);
        }
        if let Some(attributes) = attributes {
            headers.insert(ATTRIBUTES_HEADER, value(&ATTRIBUTES_HEADER, attributes)?);
        }
        match encryption {
            None => {}
            Some(Encryption::Aes256) => {
                headers.insert(ENCRYPTION_HEADER, HeaderValue::from_static("AES256"));
            }
            Some(Encryption::AwsKms { key_id }) => {
                headers.insert(ENCRYPTION_HEADER, HeaderValue::from_static("aws:kms"));
                if let Some(key_id) = key_id {
                    headers.insert(KMS_KEY_HEADER, value(&KMS_KEY_HEADER, key_id)?);
                }
            }
        }
        if *if_absent {
            headers.insert(header::IF_NONE_MATCH, HeaderValue::from_static("*"));
        }
        Ok(headers)
    }
}

impl ObjectHead {
    fn read(response: &ResponseHead) -> Result<Self, Failure> {
        let ResponseHead { status, headers } = response;
        let malformed = |problem| Failure::new(FailureKind::Malformed, problem);
        let (size, range) = if *status == StatusCode::PARTIAL_CONTENT {
            let (range, size) = text(headers, header::CONTENT_RANGE.as_str())
                .as_deref()
                .and_then(content_range::parse)
                .ok_or_else(|| malformed("a partial answer without a valid Content-Range"))?;
            (size, range)
        } else {
            // Of a body in chunks it is not the length, though a proxy may have left it there.
            let size = text(headers, header::CONTENT_LENGTH.as_str())
                .filter(|_| !headers.contains_key(header::TRANSFER_ENCODING))
                .and_then(|length| length.parse().ok())
                .ok_or_else(|| malformed("the server did not say how long the object is"))?;
            (size, None)
        };
        Ok(Self {
            size,
            range,
            etag: text(headers, header::ETAG.as_str()),
            last_modified: text(headers, header::LAST_MODIFIED.as_str())
                .and_then(|date| DateTime::parse_from_rfc2822(&date).ok())
                .map(SystemTime::from),
            content_type: text(headers, header::CONTENT_TYPE.as_str()),
            attributes: text(headers, ATTRIBUTES_HEADER.as_str()).map(|value| rfc2047::decode(&value).into_owned()),
            encryption: text(headers, ENCRYPTION_HEADER.as_str()),
            version_id: text(headers, VERSION_HEADER),
        })
    }
}

/// A header as text. One that is not UTF-8 must not fail the request that it came with.
fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// The connector of a bucket: the client is there already.
#[derive(Debug)]
struct Connector(HttpClient);

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(self.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_written_as_http_wants_them() {
        assert_eq!(ByteRange::From(3).to_string(), "bytes=3-");
        assert_eq!(ByteRange::Span { start: 3, end: 5 }.to_string(), "bytes=3-4");
        assert_eq!(ByteRange::Last(7).to_string(), "bytes=-7");
    }
}
