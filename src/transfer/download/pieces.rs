//! Bytes on their way into a file, in pieces.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::future::BoxFuture;

use crate::checksum::{Checksum, Hasher, Method};
use crate::error::Result;
use crate::scope::{Directory, PartFile};

/// What comes up to this size is written in one go; more in pieces of about this size.
const PIECE: usize = 1024 * 1024;

/// What is written to.
pub(super) trait Append: Send + 'static {
    /// Blocks.
    fn append(&mut self, chunks: &[Bytes]) -> Result<()>;
}

impl Append for PartFile {
    fn append(&mut self, chunks: &[Bytes]) -> Result<()> {
        self.append(chunks)
    }
}

/// Gathers bytes and writes them off the async threads, while the next ones arrive.
pub(super) struct Pieces<F> {
    directory: Arc<Directory>,
    /// Makes the file, when there is a piece to be written. Blocks.
    open: Arc<dyn Fn() -> Result<F> + Send + Sync>,
    /// Bytes still to come.
    expected: u64,
    hasher: Option<Hasher>,
    gathered: Vec<Bytes>,
    gathered_len: usize,
    /// The file, while nothing is written to it.
    file: Option<F>,
    /// The last write; ends with the file when it is done.
    writing: Option<BoxFuture<'static, Result<F>>>,
}

impl<F: Append> Pieces<F> {
    pub(super) fn new(
        directory: &Arc<Directory>,
        length: u64,
        check: Option<Method>,
        open: impl Fn() -> Result<F> + Send + Sync + 'static,
    ) -> Self {
        Self {
            directory: Arc::clone(directory),
            open: Arc::new(open),
            expected: length,
            hasher: check.map(Hasher::new),
            gathered: Vec::new(),
            gathered_len: 0,
            file: None,
            writing: None,
        }
    }

    /// Bytes still to come.
    pub(super) fn expected(&self) -> u64 {
        self.expected
    }

    /// Of all that has come, if it is checked; once.
    pub(super) fn checksum(&mut self) -> Option<Checksum> {
        self.hasher.take().map(Hasher::finish)
    }

    /// Takes a chunk of what is still to come.
    pub(super) async fn push(&mut self, chunk: Bytes) -> Result<()> {
        self.expected -= chunk.len() as u64;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&chunk);
        }
        self.gathered_len += chunk.len();
        self.gathered.push(chunk);
        // What is left in the end is written together with the closing of the file.
        if self.gathered_len >= PIECE && self.expected > 0 {
            self.flush().await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        self.settle().await?;
        let file = self.file.take();
        let chunks = std::mem::take(&mut self.gathered);
        let length = std::mem::take(&mut self.gathered_len);
        let open = Arc::clone(&self.open);
        self.writing = Some(Box::pin(self.directory.run_short(length as u64, move || {
            let mut file = match file {
                Some(file) => file,
                None => open()?,
            };
            file.append(&chunks)?;
            Ok(file)
        })));
        Ok(())
    }

    /// Waits for the write under way.
    pub(super) async fn settle(&mut self) -> Result<()> {
        poll_fn(|cx| self.poll_settled(cx)).await
    }

    fn poll_settled(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if let Some(writing) = &mut self.writing {
            let written = ready!(writing.as_mut().poll(cx));
            self.writing = None;
            self.file = Some(written?);
        }
        Poll::Ready(Ok(()))
    }

    /// Waits for `other`, and no longer when the write under way fails.
    pub(super) async fn unless_failed<T>(&mut self, other: impl Future<Output = T>) -> Result<T> {
        let mut other = pin!(other);
        poll_fn(|cx| {
            if let Poll::Ready(Err(error)) = self.poll_settled(cx) {
                return Poll::Ready(Err(error));
            }
            other.as_mut().poll(cx).map(Ok)
        })
        .await
    }

    /// Hands what is left to `end`, with the file if one was made before. `end` blocks.
    pub(super) async fn finish<T: Send + 'static>(
        mut self,
        end: impl FnOnce(Option<F>, &[Bytes]) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.settle().await?;
        let Self { directory, gathered, gathered_len, file, .. } = self;
        directory.run_short(gathered_len as u64, move || end(file, &gathered)).await
    }
}

impl Pieces<PartFile> {
    /// Ends when nothing of them is left on the disk.
    pub(super) async fn discard(mut self) {
        // A write that fails has removed the file.
        if self.settle().await.is_ok()
            && let Some(file) = self.file.take()
        {
            discard(&self.directory, file).await;
        }
    }
}

/// Ends when the file is removed.
pub(super) async fn discard(directory: &Directory, file: PartFile) {
    let removed = directory.run(move || {
        file.remove();
        Ok(())
    });
    // When the runtime shuts down, it is dropped.
    let _ = removed.await;
}
