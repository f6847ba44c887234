//! The journals of operations.

use std::path::PathBuf;
use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream::BoxStream;

use crate::error::Result;
use crate::journal::{Job, Journal};
use crate::object::S3Object;
use crate::s3::S3;
use crate::scope::Directory;
use crate::store::ObjectHead;

/// Where the files of gets go, and are noted. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Journaled {
    pub(super) journal: Arc<Journal>,
    pub(super) directory: Arc<Directory>,
}

impl Journaled {
    pub(super) async fn open(s3: &S3, path: PathBuf, targets: Vec<String>, operation: &'static str) -> Result<Self> {
        s3.scope().check_open()?;
        let journal = open(path, targets, operation).await?;
        let directory = s3.scope().directory_of(&journal);
        Ok(Self { journal, directory })
    }
}

pub(super) async fn open(path: PathBuf, targets: Vec<String>, operation: &'static str) -> Result<Arc<Journal>> {
    let opened = Journal::open(path, Job { operation, targets }).await;
    opened.map_err(|error| error.with_operation(operation, None))
}

/// What `start` makes of the journal when it is open; its error, when it cannot be.
pub(super) fn when_open<J: Send + 'static, T: Send + 'static>(
    journal: impl Future<Output = Result<J>> + Send + 'static,
    start: impl FnOnce(J) -> BoxStream<'static, Result<T>> + Send + 'static,
) -> BoxStream<'static, Result<T>> {
    let opened = futures::stream::once(async move {
        match journal.await {
            Ok(journal) => start(journal),
            Err(error) => futures::stream::iter([Err(error)]).boxed(),
        }
    });
    opened.flatten().boxed()
}

/// What a listing has told of an object.
pub(super) fn known(object: &S3Object) -> Option<ObjectHead> {
    Some(ObjectHead::listed(object.size()?, object.etag(), object.last_modified()))
}
