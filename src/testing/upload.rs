use std::time::SystemTime;

use super::store::Upload;

/// A multipart upload that is neither completed nor aborted, as an [`S3Server`](super::S3Server) holds it.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use s3flow::testing::S3Server;
///
/// let server = S3Server::start().await?;
/// // … uploads that fail, are dropped, or end …
/// assert!(server.uploads("bucket").is_empty(), "nothing was left behind");
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct StoredUpload {
    id: String,
    key: String,
    initiated: SystemTime,
    parts: Vec<(u16, u64)>,
}

impl StoredUpload {
    pub(super) fn new(id: String, upload: &Upload) -> Self {
        Self {
            id,
            key: upload.key.clone(),
            initiated: upload.initiated.time(),
            parts: upload.parts.iter().map(|(number, part)| (*number, part.content.len())).collect(),
        }
    }

    /// The upload id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The key that the object would have.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// When it began, in whole seconds by the server's clock.
    pub fn initiated(&self) -> SystemTime {
        self.initiated
    }

    /// The parts so far: number and size in bytes, by number.
    pub fn parts(&self) -> &[(u16, u64)] {
        &self.parts
    }
}
