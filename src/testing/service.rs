//! The S3 operations, behind the signature check of `s3s`.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::{Extensions, HeaderMap, Method, StatusCode, Uri};
use s3s::route::S3Route;
use s3s::{Body, S3, S3Request, S3Response, S3Result};

use super::access::Access;
use super::answer::{Answer, Failure};
use super::call::Call;
use super::clock::Clock;
use super::conditions::WriteCondition;
use super::content::Content;
use super::fault::Faults;
use super::object::{Etags, Object};
use super::operation::Operation;
use super::receive::Incoming;
use super::store::{Bucket, Store};

/// Everything that an operation acts upon.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) store: Arc<Store>,
    pub(super) access: Arc<Access>,
    pub(super) faults: Arc<Faults>,
    pub(super) clock: Clock,
    pub(super) page_size: usize,
    pub(super) etags: Etags,
    pub(super) keep_content: bool,
    pub(super) max_copy_size: u64,
    pub(super) conditional_writes: bool,
    pub(super) conditional_completes: bool,
    /// `http://127.0.0.1:PORT`
    pub(super) endpoint: String,
}

/// A request whose signature is correct, or that has none.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) call: Arc<Call>,
    /// A fault wants the whole object whatever the range.
    pub(super) ignore_range: bool,
    pub(super) headers: HeaderMap,
}

/// What the connection tells the service about a request, past `s3s`.
#[derive(Debug, Clone)]
pub(super) struct Passage {
    pub(super) call: Arc<Call>,
    pub(super) ignore_range: bool,
}

impl Service {
    async fn answer(&self, request: S3Request<Body>) -> Answer {
        let S3Request { input: body, headers, mut extensions, credentials, region, trailing_headers, .. } = request;
        let Some(Passage { call, ignore_range }) = extensions.remove() else {
            // Every connection puts one there.
            return Answer::new(StatusCode::INTERNAL_SERVER_ERROR);
        };
        let region = region.as_ref().map(|region| region.as_str());
        let result = match self.access.check(&call, &headers, credentials.as_ref(), region) {
            Ok(()) => {
                let request = Request { call: Arc::clone(&call), ignore_range, headers };
                self.run(&request, Incoming { body, trailers: trailing_headers }).await
            }
            Err(failure) => Err(failure),
        };
        result.unwrap_or_else(|failure| failure.into_answer(&call))
    }

    async fn run(&self, request: &Request, body: Incoming) -> Result<Answer, Failure> {
        if let Some(key) = &request.call.key {
            self.access.check_key(request.call.bucket(), key)?;
        }
        match request.call.operation {
            Operation::GetObject | Operation::HeadObject => self.get_object(request),
            Operation::PutObject => self.put_object(request, body).await,
            Operation::CopyObject => self.copy_object(request),
            Operation::DeleteObject => self.delete_object(request),
            Operation::DeleteObjects => self.delete_objects(request, body).await,
            Operation::GetObjectTagging => self.get_object_tagging(request),
            Operation::PutObjectTagging => self.put_object_tagging(request, body).await,
            Operation::DeleteObjectTagging => self.delete_object_tagging(request),
            Operation::ListObjects | Operation::ListObjectsV2 => self.list_objects(request),
            Operation::CreateMultipartUpload => self.create_multipart_upload(request),
            Operation::UploadPart => self.upload_part(request, body).await,
            Operation::UploadPartCopy => self.upload_part_copy(request),
            Operation::CompleteMultipartUpload => self.complete_multipart_upload(request, body).await,
            Operation::AbortMultipartUpload => self.abort_multipart_upload(request),
            Operation::ListParts => self.list_parts(request),
            Operation::ListMultipartUploads => self.list_multipart_uploads(request),
            Operation::ListBuckets => Ok(self.list_buckets()),
            Operation::HeadBucket => self.head_bucket(request),
            Operation::CreateBucket => self.create_bucket(request),
            Operation::DeleteBucket => self.delete_bucket(request),
            Operation::GetBucketLocation => self.get_bucket_location(request),
            Operation::Other => Err(Failure::not_implemented()),
        }
    }

    /// Stores an object without a request, in a bucket that is there then.
    pub(super) fn put_plain(&self, bucket: &str, key: &str, body: Bytes) {
        self.store.create_bucket(bucket, self.clock.moment());
        let object = Object::plain(Content::from(body), self.etags, self.clock.moment());
        if let Some(bucket) = self.store.find(bucket) {
            // Without a condition, nothing can refuse it.
            let _ = bucket.put(key, Arc::new(object), &WriteCondition::None);
        }
    }

    pub(super) fn bucket(&self, request: &Request) -> Result<Arc<Bucket>, Failure> {
        self.store.bucket(request.call.bucket())
    }

    /// The condition of a PutObject or CopyObject.
    pub(super) fn write_condition(&self, request: &Request) -> Result<WriteCondition, Failure> {
        if self.conditional_writes { WriteCondition::of(&request.headers) } else { Ok(WriteCondition::None) }
    }

    /// The condition of a CompleteMultipartUpload.
    pub(super) fn complete_condition(&self, request: &Request) -> Result<WriteCondition, Failure> {
        if self.conditional_completes { WriteCondition::of(&request.headers) } else { Ok(WriteCondition::None) }
    }
}

impl Request {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// The door through which requests come from `s3s`.
///
/// `s3s` verifies signatures and decodes signed and chunked bodies. The serialization around its
/// own operations would refuse ranges that S3 ignores, break listings that hold control characters,
/// and leave errors without a request id. So every request takes the custom route, after the
/// signature check.
#[derive(Debug)]
pub(super) struct Door(pub(super) Arc<Service>);

impl S3 for Door {}

impl S3Route for Door {
    fn is_match(&self, _: &Method, _: &Uri, _: &HeaderMap, _: &mut Extensions) -> bool {
        true
    }

    fn check_access<'s, 'r, 'f>(
        &'s self,
        _: &'r mut S3Request<Body>,
    ) -> Pin<Box<dyn Future<Output = S3Result<()>> + Send + 'f>>
    where
        's: 'f,
        'r: 'f,
        Self: 'f,
    {
        // `Access::check` does it, where its failures get a request id.
        Box::pin(std::future::ready(Ok(())))
    }

    fn call<'s, 'f>(
        &'s self,
        request: S3Request<Body>,
    ) -> Pin<Box<dyn Future<Output = S3Result<S3Response<Body>>> + Send + 'f>>
    where
        's: 'f,
        Self: 'f,
    {
        Box::pin(async move {
            let mut response = S3Response::new(Body::empty());
            response.extensions.insert(self.0.answer(request).await);
            Ok(response)
        })
    }
}
