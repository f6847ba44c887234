use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;

use super::encryption::{SSE, SSE_KEY};
use super::object::Object;

/// An object as an [`S3Server`](super::S3Server) holds it, with all that is stored about it.
///
/// It is a snapshot: what becomes of the object later does not show. The bytes are shared with the server.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use s3flow::testing::S3Server;
///
/// let server = S3Server::start().await?;
/// let s3 = server.client_builder().build()?.s3().s3root("s3://bucket").build()?;
/// s3.put("page", "<p>").content_type("text/html").await?;
///
/// let stored = server.stored_object("bucket", "page").ok_or("not stored")?;
/// assert_eq!(stored.size(), 3);
/// assert_eq!(stored.header("content-type"), Some("text/html"));
/// assert_eq!(stored.storage_class(), "STANDARD");
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct StoredObject(pub(super) Arc<Object>);

impl StoredObject {
    /// The number of bytes.
    pub fn size(&self) -> u64 {
        self.0.content.len()
    }

    /// The bytes. An object that was uploaded in parts is copied together for it.
    pub fn bytes(&self) -> Bytes {
        self.0.content.to_bytes()
    }

    /// The ETag, in quotes as S3 shows it.
    pub fn etag(&self) -> &str {
        &self.0.etag
    }

    /// The sizes of the parts that it was uploaded in; empty for an object that came in one piece.
    pub fn parts(&self) -> &[u64] {
        &self.0.parts
    }

    /// The headers that every GET and HEAD of it answers with.
    pub fn headers(&self) -> &HeaderMap {
        &self.0.headers
    }

    /// One of the [`headers`](Self::headers), if it is there and readable as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.0.headers.get(name)?.to_str().ok()
    }

    /// The storage class; `STANDARD` when none was asked for, which no header tells.
    pub fn storage_class(&self) -> &str {
        self.0.attributes.storage_class()
    }

    /// The tags, in the order they were given.
    pub fn tags(&self) -> &[(String, String)] {
        self.0.attributes.tags.as_slice()
    }

    /// The server-side encryption that was asked for: `AES256`, `aws:kms` or `aws:kms:dsse`. `None` without any, and
    /// with a customer's key.
    pub fn encryption(&self) -> Option<&str> {
        self.header(SSE.as_str())
    }

    /// The id of the KMS key that was asked for.
    pub fn kms_key_id(&self) -> Option<&str> {
        self.header(SSE_KEY.as_str())
    }

    /// The encryption context as it was sent: JSON in Base64. S3 tells it to no reader.
    pub fn encryption_context(&self) -> Option<&str> {
        self.0.attributes.encryption.context.as_ref()?.to_str().ok()
    }

    /// The MD5 of the customer's key, in Base64, when the object needs one to be read.
    pub fn customer_key_md5(&self) -> Option<&str> {
        self.header("x-amz-server-side-encryption-customer-key-md5")
    }
}

impl fmt::Debug for StoredObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredObject")
            .field("size", &self.size())
            .field("headers", self.headers())
            .field("tags", &self.tags())
            .field("parts", &self.parts())
            .finish_non_exhaustive()
    }
}
