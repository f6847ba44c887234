//! S3's verbs, one request each, on `object_store` with a wire of ours below it.
//!
//! The only module that names `object_store`. It knows nothing of files, of retries, or of what a missing object means to
//! the caller.

#[cfg(any(test, s3flow_bench))]
pub(crate) mod bench;
mod checksum;
mod clock;
mod connector;
mod content_range;
mod copy;
mod credentials;
mod dates;
mod delete;
mod failure;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod headers;
mod idle;
mod keys;
mod listing;
mod multipart;
mod paced;
mod part;
mod parts;
mod pool;
mod presign;
mod rfc2047;
mod route;
mod sign;
mod transport;
mod uploads;
mod wire;
mod xml;

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::SystemTime;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::client::{HttpClient, HttpConnector, HttpRequestBody};
use object_store::{ClientOptions, GetOptions, ObjectStore, PutOptions, PutPayload, RetryConfig};
use percent_encoding::percent_decode_str;
use tokio::sync::OnceCell;

use self::clock::Clock;
pub use self::connector::TlsRoots;
pub(crate) use self::connector::{CaCertificates, TransportConfig};
pub(crate) use self::copy::CopySource;
pub(crate) use self::credentials::CredentialSource;
use self::credentials::Credentials;
pub(crate) use self::delete::{Deleted, MAX_DELETE_KEYS, is_exact_in_xml};
pub(crate) use self::failure::{Failure, FailureKind, Retryability};
use self::headers::{ATTRIBUTES, ENCRYPTION, WRITE_ID};
pub(crate) use self::headers::{ObjectHeaders, ReadOptions, WriteCondition, WriteId};
pub(crate) use self::idle::{Attempted, Unread, within};
pub(crate) use self::listing::{ListPage, ListQuery, ListedObject};
pub(crate) use self::multipart::{MultipartUpload, UploadedPart};
pub(crate) use self::parts::ListedPart;
pub(crate) use self::presign::Presigned;
pub(crate) use self::route::Endpoint;
use self::sign::Signer;
use self::transport::Transport;
pub(crate) use self::uploads::{ListedUpload, UploadMarker, UploadsPage};
use self::wire::{Addition, Bucket, BucketService, ResponseHead, Wire, with_addition};
use crate::address::Location;
use crate::checksum::{Checksum, StoredChecksum};
use crate::limits::{Flow, SlowedPrefix, Slowing};

/// How a store is reached.
#[derive(Debug)]
pub(crate) struct StoreConfig {
    /// `None`: AWS.
    pub(crate) endpoint: Option<Endpoint>,
    pub(crate) region: String,
    pub(crate) virtual_host_style: bool,
    pub(crate) credentials: CredentialSource,
    /// `None`: where TLS does not protect them.
    pub(crate) payload_signing: Option<bool>,
    pub(crate) transport: TransportConfig,
}

/// All buckets of one service, over one pool of connections and one provider of credentials. Clones share them.
#[derive(Clone)]
pub(crate) struct Store {
    wire: Arc<Wire>,
    buckets: Arc<RwLock<HashMap<String, Arc<BucketStore>>>>,
    /// For whom this one sends its requests.
    flow: Flow,
}

struct BucketStore {
    bucket: Arc<Bucket>,
    objects: AmazonS3,
    write_conditions: Arc<WriteConditions>,
    lacks_delete_objects: AtomicBool,
    /// Whether the service takes checksums, once that was seen.
    takes_checksums: OnceLock<bool>,
    lacks_part_reads: AtomicBool,
}

/// Which conditions of writes the service of a bucket was found to keep. What the places stand for is the finder's business.
pub(crate) type WriteConditions = [OnceCell<bool>; 4];

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { wire, buckets: _, flow: _ } = self;
        f.debug_struct("Store").field("endpoint", &wire.endpoint).field("region", &wire.region).finish_non_exhaustive()
    }
}

/// Bytes of an object, as a `Range` header asks for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
    /// The server's time when it answered.
    pub(crate) date: Option<SystemTime>,
    pub(crate) content_type: Option<String>,
    /// `None` of an object without any.
    pub(crate) kept: Option<Box<KeptHeaders>>,
    /// The user metadata entry that Metaflow uses, as it was sent.
    pub(crate) attributes: Option<String>,
    pub(crate) encryption: Option<String>,
    pub(crate) version_id: Option<String>,
    /// Of the write that stored it, if it was one of ours with an id.
    pub(crate) write_id: Option<String>,
    /// Of the whole object or of the part, when it was asked for.
    pub(crate) checksum: Option<StoredChecksum>,
}

/// Headers that are stored with an object for those who fetch it over HTTP.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct KeptHeaders {
    pub(crate) cache_control: Option<String>,
    pub(crate) content_disposition: Option<String>,
    pub(crate) content_encoding: Option<String>,
    pub(crate) content_language: Option<String>,
}

/// What the answer to a put says of the new object.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stored {
    pub(crate) etag: Option<String>,
    pub(crate) version_id: Option<String>,
}

/// An object on its way.
pub(crate) struct Incoming {
    pub(crate) head: ObjectHead,
    pub(crate) body: BoxStream<'static, Result<Bytes, Failure>>,
}

const VERSION_ID: HeaderName = HeaderName::from_static("x-amz-version-id");
/// An ordinary one, and what is read from it.
const PAGE: u64 = 1024 * 1024;
/// A thousand keys of 1,024 bytes, encoded, are under 4 MiB.
const MAX_LIST_BODY: usize = 32 * 1024 * 1024;

impl Store {
    /// # Errors
    ///
    /// A text that says which part of the configuration cannot be used.
    pub(crate) fn new(config: StoreConfig) -> Result<Self, String> {
        let StoreConfig { endpoint, region, virtual_host_style, credentials, payload_signing, transport } = config;
        let transport = Transport::new(&transport)?;
        let credentials = Credentials::new(credentials, &transport)?;
        let signer = Signer::default();
        let (clock, slowing) = (Clock::default(), Slowing::default());
        let wire = Wire {
            transport,
            credentials,
            signer,
            payload_signing,
            clock,
            endpoint,
            region,
            virtual_host_style,
            slowing,
        };
        Ok(Self { wire: Arc::new(wire), buckets: Arc::default(), flow: Flow::default() })
    }

    /// The same store, used by `flow`.
    pub(crate) fn with_flow(&self, flow: Flow) -> Self {
        Self { flow, ..self.clone() }
    }

    pub(crate) fn flow(&self) -> &Flow {
        &self.flow
    }

    /// Where the service was found to take fewer requests than it was sent.
    pub(crate) fn slowed_prefixes(&self) -> Vec<SlowedPrefix> {
        let mut slowed = self.wire.slowing.prefixes();
        for SlowedPrefix { prefix, .. } in &mut slowed {
            *prefix = percent_decode_str(prefix).decode_utf8_lossy().into_owned();
        }
        slowed
    }

    /// Waits until a request for this object may be sent, where the service takes only so many of them: for one that is
    /// [`admitted`](ReadOptions::admitted) then. What is held while a request waits by itself, others may need.
    pub(crate) async fn admit(&self, location: &Location) {
        let key_path = || keys::encode_path(location.key());
        self.wire.slowing.wait(&self.flow, location.bucket(), key_path).await;
    }

    /// GetObject.
    pub(crate) async fn get(&self, location: &Location, options: ReadOptions<'_>) -> Result<Incoming, Failure> {
        let (head, body) = self.read(location, options, false).await?;
        Ok(Incoming { head, body })
    }

    /// HeadObject. Without a body to say more, a missing bucket looks like a missing key: see [`bucket_exists`](Self::bucket_exists).
    pub(crate) async fn head(&self, location: &Location, options: ReadOptions<'_>) -> Result<ObjectHead, Failure> {
        self.read(location, options, true).await.map(|(head, _)| head)
    }

    async fn read(
        &self,
        location: &Location,
        options: ReadOptions<'_>,
        head: bool,
    ) -> Result<(ObjectHead, BoxStream<'static, Result<Bytes, Failure>>), Failure> {
        let store = self.bucket(location.bucket())?;
        let request = GetOptions { head, ..GetOptions::default() };
        let (headers, query, flow) = (options.to_headers()?, options.query(), self.flow.clone());
        let addition = Addition { headers, query, flow, admitted: options.admitted, given_out: options.given_out };
        let path = keys::to_path(location.key());
        let (result, response) = with_addition(addition, store.objects.get_opts(&path, request)).await;
        let result = result.map_err(Failure::from_store)?;
        let response = answered(response)?;
        Ok((
            ObjectHead::read(&response, options.part.is_some())?,
            result.into_stream().map_err(Failure::from_store).boxed(),
        ))
    }

    /// PutObject, with a `checksum` of the body unless the service takes none.
    pub(crate) async fn put(
        &self,
        location: &Location,
        object: &ObjectHeaders,
        condition: Option<&WriteCondition>,
        body: Bytes,
        checksum: Option<&Checksum>,
    ) -> Result<Stored, Failure> {
        let store = self.bucket(location.bucket())?;
        let mut headers = object.of_object();
        if let Some(condition) = condition {
            condition.insert_into(&mut headers)?;
        }
        let put = |of_checksum: HeaderMap| {
            let mut headers = headers.clone();
            headers.extend(of_checksum);
            store.put(location, Addition { headers, flow: self.flow.clone(), ..Addition::default() }, body.clone())
        };
        store.with_or_without_checksum(checksum.map(checksum::of_body), put).await.map(|(stored, _)| stored)
    }

    /// Whether this is S3 itself, and not a service that is like it.
    pub(crate) fn is_aws(&self) -> bool {
        self.wire.endpoint.is_none()
    }

    pub(crate) fn write_conditions(&self, bucket: &str) -> Result<Arc<WriteConditions>, Failure> {
        Ok(Arc::clone(&self.bucket(bucket)?.write_conditions))
    }

    /// HeadBucket; skipped when an earlier answer has shown that the bucket is there.
    pub(crate) async fn bucket_exists(&self, bucket: &str) -> Result<bool, Failure> {
        let store = self.bucket(bucket)?;
        if store.bucket.is_seen() {
            return Ok(true);
        }
        match self.wire.send(&store.bucket, self.bucket_request(Method::HEAD, String::new(), "")).await {
            Ok(_) => Ok(true),
            Err(failure) if failure.has_status(StatusCode::NOT_FOUND) => Ok(false),
            // Who may read an object need not be allowed to ask for its bucket.
            Err(failure) if failure.has_status(StatusCode::FORBIDDEN) => Ok(true),
            Err(failure) => Err(failure),
        }
    }

    /// One page of ListObjectsV2, from where `token` continues.
    pub(crate) async fn list(
        &self,
        bucket: &str,
        query: ListQuery<'_>,
        token: Option<&str>,
    ) -> Result<ListPage, Failure> {
        let _memory = self.flow.memory(PAGE).await;
        let (_, document) = self.ask(bucket, listing::query(&query, token), query.prefix).await?;
        listing::parse(&document, token)
    }

    /// Headers and document of a page that a bucket is asked for, about keys with a prefix.
    async fn ask(&self, bucket: &str, query: String, prefix: &str) -> Result<(HeaderMap, Bytes), Failure> {
        let store = self.bucket(bucket)?;
        let response = self.wire.send(&store.bucket, self.bucket_request(Method::GET, query, prefix)).await?;
        let (parts, body) = response.into_parts();
        let (document, whole) = wire::read(body, MAX_LIST_BODY).await?;
        if !whole {
            return Err(Failure::new(FailureKind::Malformed, "the server answered with a page of over 32 MiB"));
        }
        match Failure::from_error_in_success(parts.status, &parts.headers, &document) {
            Some(failure) => Err(failure),
            None => Ok((parts.headers, document)),
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
        let store = Arc::new(BucketStore {
            bucket,
            objects,
            write_conditions: Arc::default(),
            lacks_delete_objects: AtomicBool::new(false),
            takes_checksums: OnceLock::new(),
            lacks_part_reads: AtomicBool::new(false),
        });
        let mut buckets = self.buckets.write().unwrap_or_else(PoisonError::into_inner);
        Ok(Arc::clone(buckets.entry(name.to_owned()).or_insert(store)))
    }
}

impl BucketStore {
    async fn put(&self, location: &Location, addition: Addition, body: Bytes) -> Result<Stored, Failure> {
        let path = keys::to_path(location.key());
        let put = self.objects.put_opts(&path, PutPayload::from_bytes(body), PutOptions::default());
        let (result, response) = with_addition(addition, put).await;
        result.map_err(Failure::from_store)?;
        let ResponseHead { headers, .. } = answered(response)?;
        let stored = Stored::read(&headers);
        if stored.etag.is_none() {
            // A page that something in between shows with a 200 is no sign that anything is stored.
            let problem = "an answer without ETag to a put is not one of S3";
            return Err(Failure::new(FailureKind::Malformed, problem));
        }
        Ok(stored)
    }

    /// Sends what may carry these headers of a checksum, and without them when the service does not take them: then for all
    /// that follows. Tells whether they were taken. A service that has taken one is not doubted again.
    async fn with_or_without_checksum<T, F>(
        &self,
        of_checksum: Option<HeaderMap>,
        send: impl Fn(HeaderMap) -> F,
    ) -> Result<(T, bool), Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let taken = self.takes_checksums.get().copied();
        let Some(of_checksum) = of_checksum.filter(|_| taken != Some(false)) else {
            return Ok((send(HeaderMap::new()).await?, false));
        };
        match send(of_checksum).await {
            Err(refused) if taken.is_none() && checksum::may_be_unknown(&refused) => {
                let done = send(HeaderMap::new()).await.map_err(|_| refused.clone())?;
                let taken = *self.takes_checksums.get_or_init(|| false);
                tracing::debug!(%refused, taken, "stored without a checksum");
                Ok((done, false))
            }
            done => {
                let done = done?;
                self.takes_checksums.get_or_init(|| true);
                Ok((done, true))
            }
        }
    }
}

/// A request for an object that `object_store` has no name for.
impl Store {
    /// Headers and body of the answer.
    async fn send_for(
        &self,
        location: &Location,
        method: Method,
        query: String,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<(HeaderMap, Bytes), Failure> {
        let store = self.bucket(location.bucket())?;
        let key_path = keys::encode_path(location.key()).into();
        let request = wire::Request {
            method,
            key_path,
            query: query.into(),
            headers,
            body: body.into(),
            prefix: "".into(),
            flow: self.flow.clone(),
            admitted: false,
            given_out: false,
        };
        let (parts, body) = self.wire.send(&store.bucket, request).await?.into_parts();
        // Of a write, the wire has read it already, within a limit.
        let (document, _) = wire::read(body, wire::MAX_RESULT_BODY).await?;
        Ok((parts.headers, document))
    }

    /// A request to the bucket as a whole, about keys with a prefix.
    fn bucket_request(&self, method: Method, query: String, prefix: &str) -> wire::Request<'static> {
        wire::Request {
            method,
            key_path: "".into(),
            query: query.into(),
            headers: HeaderMap::new(),
            body: HttpRequestBody::empty(),
            prefix: keys::encode_path(prefix).into(),
            flow: self.flow.clone(),
            admitted: false,
            given_out: false,
        }
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

impl Stored {
    fn read(headers: &HeaderMap) -> Self {
        Self { etag: text(headers, &header::ETAG), version_id: text(headers, &VERSION_ID) }
    }
}

impl KeptHeaders {
    fn read(headers: &HeaderMap) -> Option<Box<Self>> {
        let kept = Self {
            cache_control: text(headers, &header::CACHE_CONTROL),
            content_disposition: text(headers, &header::CONTENT_DISPOSITION),
            content_encoding: text(headers, &header::CONTENT_ENCODING),
            content_language: text(headers, &header::CONTENT_LANGUAGE),
        };
        Some(kept).filter(|kept| *kept != Self::default()).map(Box::new)
    }
}

impl ObjectHead {
    /// Of an object that a listing has shown.
    pub(crate) fn listed(size: u64, etag: Option<&str>, last_modified: Option<SystemTime>) -> Self {
        Self {
            size,
            range: None,
            etag: etag.map(str::to_owned),
            last_modified,
            date: None,
            content_type: None,
            kept: None,
            attributes: None,
            encryption: None,
            version_id: None,
            write_id: None,
            checksum: None,
        }
    }

    fn read(response: &ResponseHead, part: bool) -> Result<Self, Failure> {
        let ResponseHead { status, headers } = response;
        let malformed = |problem| Failure::new(FailureKind::Malformed, problem);
        // S3 sends both. A page that something in between shows with a 200 must not become the object.
        if !headers.contains_key(header::ETAG) && !headers.contains_key(header::LAST_MODIFIED) {
            return Err(malformed("an answer without ETag and Last-Modified is not one of S3"));
        }
        let (size, range) = if *status == StatusCode::PARTIAL_CONTENT {
            let (range, size) = text(headers, &header::CONTENT_RANGE)
                .as_deref()
                .and_then(content_range::parse)
                .ok_or_else(|| malformed("a partial answer without a valid Content-Range"))?;
            (size, range)
        } else {
            // Of a body in chunks it is not the length, though a proxy may have left it there.
            let size = text(headers, &header::CONTENT_LENGTH)
                .filter(|_| !headers.contains_key(header::TRANSFER_ENCODING))
                .and_then(|length| length.parse().ok())
                .ok_or_else(|| malformed("the server did not say how long the object is"))?;
            (size, None)
        };
        Ok(Self {
            size,
            range,
            etag: text(headers, &header::ETAG),
            last_modified: time(headers, &header::LAST_MODIFIED),
            date: time(headers, &header::DATE),
            content_type: text(headers, &header::CONTENT_TYPE),
            kept: KeptHeaders::read(headers),
            attributes: text(headers, &ATTRIBUTES).map(|value| rfc2047::decode(&value).into_owned()),
            encryption: text(headers, &ENCRYPTION),
            version_id: text(headers, &VERSION_ID),
            write_id: text(headers, &WRITE_ID),
            checksum: checksum::of_answer(headers, part),
        })
    }
}

/// A header as text. One that is not UTF-8 must not fail the request that it came with.
fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

fn time(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    dates::of_header(headers.get(name)?.to_str().ok()?)
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
