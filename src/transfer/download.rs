//! An object into a file: resumed from the byte reached, pinned to the version that was begun.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::future::BoxFuture;

use super::{Engine, Stopped, conditional};
use crate::address::Location;
use crate::error::{Error, ErrorKind, Result};
use crate::scope::{Directory, FileLease, PartFile};
use crate::store::{ByteRange, Failure, FailureKind, Incoming, ObjectHead, ReadOptions, Store};

/// A finished download.
#[derive(Debug)]
pub(crate) struct Downloaded {
    /// What the first answer said; `size` is that of the whole object.
    pub(crate) head: ObjectHead,
    /// The first byte of the object that the file holds.
    pub(crate) offset: u64,
    pub(crate) file: FileLease,
}

/// An object of up to this size is written in one go; a larger one in pieces of about this size.
const PIECE: usize = 1024 * 1024;
/// An attempt that achieved less is one failure more in a row.
const PROGRESS: u64 = 1024 * 1024;

/// Downloads an object, or a range of it, into a new file of `directory`.
///
/// # Errors
///
/// [`ErrorKind::Changed`] when the object was replaced between two attempts, or has another ETag than the one asked for;
/// [`ErrorKind::InvalidRange`] when the range lies outside of the object.
pub(crate) async fn download(
    engine: &Engine,
    location: &Location,
    options: ReadOptions<'_>,
    directory: &Arc<Directory>,
) -> Result<Downloaded> {
    let mut retry = engine.retries.start();
    let mut progress: Option<Progress> = None;
    // The farthest that an attempt came, also when the next one begins anew.
    let mut farthest = 0;
    loop {
        match retry.attempt(attempt(&engine.store, location, options, directory, &mut progress)).await {
            Ok(()) => break,
            Err(Stopped::Local(error)) => return Err(error.with_attempts(retry.attempts())),
            Err(Stopped::Remote(failure)) => {
                let reached = progress.as_ref().map_or(0, |progress| progress.received);
                if reached >= farthest + PROGRESS {
                    retry.progressed();
                }
                farthest = farthest.max(reached);
                if failure.is_precondition_failed() {
                    let attempts = retry.attempts();
                    let error = if progress.is_some() { changed() } else { conditional::another_object() };
                    return Err(error.with_attempts(attempts).with_source(failure.into_error(attempts)));
                }
                retry.wait(failure).await?;
            }
        }
    }
    let attempts = retry.attempts();
    let Some(Progress { head, wanted, sink, .. }) = progress else {
        return Err(Failure::new(FailureKind::Malformed, "a download without an answer").into_error(attempts));
    };
    let file = sink.finish().await.map_err(|error| error.with_attempts(attempts))?;
    Ok(Downloaded { head, offset: wanted.start, file })
}

/// What the attempts so far have achieved.
struct Progress {
    head: ObjectHead,
    /// The bytes of the object that were asked for, cut at its end.
    wanted: Range<u64>,
    received: u64,
    sink: Sink,
}

/// One request, and its body as far as it comes.
async fn attempt(
    store: &Store,
    location: &Location,
    options: ReadOptions<'_>,
    directory: &Arc<Directory>,
    progress: &mut Option<Progress>,
) -> Result<(), Stopped> {
    // Without a strong ETag nothing shows that the rest belongs to the beginning.
    if progress.as_ref().is_some_and(|progress| !strong(progress.head.etag.as_deref())) {
        *progress = None;
    }
    let (incoming, current) = match progress {
        None => {
            let incoming = store.get(location, options).await?;
            let wanted = first_window(options.range, &incoming.head)?;
            let length = wanted.end - wanted.start;
            let sink = Sink::new(directory, location.key(), length);
            let first = Progress { head: incoming.head.clone(), wanted, received: 0, sink };
            (incoming, progress.insert(first))
        }
        Some(current) => {
            let start = current.wanted.start + current.received;
            if start == current.wanted.end {
                return Ok(());
            }
            let rest = ByteRange::Span { start, end: current.wanted.end };
            let pinned = ReadOptions { range: Some(rest), if_match: current.head.etag.as_deref(), ..options };
            let incoming = store.get(location, pinned).await?;
            if incoming.head.etag != current.head.etag || incoming.head.size != current.head.size {
                return Err(Stopped::Local(changed()));
            }
            (incoming, current)
        }
    };
    receive(incoming, current).await
}

/// Whether an ETag stands for bytes: a weak one does not, and `If-Match` never matches it.
/// <https://www.rfc-editor.org/rfc/rfc9110.html#section-8.8.1>
fn strong(etag: Option<&str>) -> bool {
    etag.is_some_and(|etag| !etag.starts_with("W/"))
}

/// The bytes that the first answer settles on.
fn first_window(range: Option<ByteRange>, head: &ObjectHead) -> Result<Range<u64>, Stopped> {
    let size = head.size;
    let Some(wanted) = window(range, size) else {
        let message = format!(
            "the range {} lies outside of the object's {size} bytes",
            range.map_or(String::new(), |range| range.to_string())
        );
        return Err(Stopped::Local(Error::new(ErrorKind::InvalidRange, message)));
    };
    match &head.range {
        Some(answered) if *answered != wanted => Err(Failure::new(
            FailureKind::Malformed,
            format!("the server answered with the bytes {answered:?} when asked for {wanted:?}"),
        )
        .into()),
        _ => Ok(wanted),
    }
}

/// The bytes of an object of `size` bytes that a range means; `None` when it lies outside.
fn window(range: Option<ByteRange>, size: u64) -> Option<Range<u64>> {
    let (start, end) = match range {
        None => return Some(0..size),
        Some(ByteRange::From(start)) => (start, size),
        Some(ByteRange::Span { start, end }) => (start, end.min(size)),
        Some(ByteRange::Last(length)) => (size.saturating_sub(length), size),
    };
    (start < end).then_some(start..end)
}

/// Takes from the body what is wanted and not there yet. A server that ignored the range sends bytes before it.
async fn receive(incoming: Incoming, current: &mut Progress) -> Result<(), Stopped> {
    let Incoming { head, mut body } = incoming;
    let next = current.wanted.start + current.received;
    let answered_from = head.range.map_or(0, |range| range.start);
    let mut skip = next.checked_sub(answered_from).ok_or_else(|| {
        Failure::new(
            FailureKind::Malformed,
            format!("the server answered from byte {answered_from} when asked from {next}"),
        )
    })?;
    let mut missing = current.wanted.end - next;
    while missing > 0 {
        let Some(chunk) = body.next().await else {
            return Err(Failure::new(FailureKind::Interrupted, format!("the body ended {missing} bytes early")).into());
        };
        let mut chunk = chunk?;
        let skipped = skip.min(chunk.len() as u64);
        skip -= skipped;
        // Both fit: they are at most the length of a chunk.
        let _ = chunk.split_to(skipped as usize);
        chunk.truncate(missing.min(chunk.len() as u64) as usize);
        missing -= chunk.len() as u64;
        current.received += chunk.len() as u64;
        current.sink.push(chunk).await.map_err(Stopped::Local)?;
    }
    Ok(())
}

fn changed() -> Error {
    Error::new(ErrorKind::Changed, "the object was replaced while it was read")
}

/// Gathers the bytes of an object and writes them off the async threads, while the next ones arrive.
struct Sink {
    directory: Arc<Directory>,
    key: Arc<str>,
    /// Bytes still to come.
    expected: u64,
    gathered: Vec<Bytes>,
    gathered_len: usize,
    /// The last write; ends with the file when it is done.
    writing: Option<BoxFuture<'static, Result<PartFile>>>,
}

impl Sink {
    fn new(directory: &Arc<Directory>, key: &str, length: u64) -> Self {
        Self {
            directory: Arc::clone(directory),
            key: key.into(),
            expected: length,
            gathered: Vec::new(),
            gathered_len: 0,
            writing: None,
        }
    }

    async fn push(&mut self, chunk: Bytes) -> Result<()> {
        self.expected -= chunk.len() as u64;
        self.gathered_len += chunk.len();
        self.gathered.push(chunk);
        // What is left in the end is written together with the closing of the file.
        if self.gathered_len >= PIECE && self.expected > 0 {
            self.flush().await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        let part = self.settle().await?;
        let chunks = std::mem::take(&mut self.gathered);
        self.gathered_len = 0;
        let directory = Arc::clone(&self.directory);
        let key = Arc::clone(&self.key);
        self.writing = Some(Box::pin(self.directory.run(move || {
            let mut part = match part {
                Some(part) => part,
                None => directory.begin(&key)?,
            };
            part.append(&chunks)?;
            Ok(part)
        })));
        Ok(())
    }

    /// Waits for the write under way.
    async fn settle(&mut self) -> Result<Option<PartFile>> {
        match self.writing.take() {
            None => Ok(None),
            Some(writing) => writing.await.map(Some),
        }
    }

    async fn finish(mut self) -> Result<FileLease> {
        let part = self.settle().await?;
        let Self { directory, key, gathered, .. } = self;
        let written = Arc::clone(&directory).run(move || match part {
            None => directory.write(&key, &gathered),
            Some(mut part) => {
                part.append(&gathered)?;
                part.finish()
            }
        });
        written.await
    }
}

#[cfg(test)]
mod tests {
    use proptest::option;
    use proptest::prelude::*;

    use super::*;
    use crate::request::S3GetObject;

    #[test]
    fn a_range_is_cut_at_the_end_of_the_object() {
        assert_eq!(window(None, 0), Some(0..0));
        assert_eq!(window(None, 5), Some(0..5));
        assert_eq!(window(Some(ByteRange::From(2)), 5), Some(2..5));
        assert_eq!(window(Some(ByteRange::From(5)), 5), None);
        assert_eq!(window(Some(ByteRange::Span { start: 1, end: 9 }), 5), Some(1..5));
        assert_eq!(window(Some(ByteRange::Span { start: 5, end: 9 }), 5), None);
        assert_eq!(window(Some(ByteRange::Last(2)), 5), Some(3..5));
        assert_eq!(window(Some(ByteRange::Last(9)), 5), Some(0..5));
        assert_eq!(window(Some(ByteRange::Last(9)), 0), None);
    }

    /// What Python's slices give; nothing where the range is an error.
    fn sliced(bytes: &[u8], offset: Option<u64>, length: Option<i64>) -> Option<Vec<u8>> {
        let from = |start: u64| bytes.iter().copied().skip(start as usize);
        let sliced: Vec<u8> = match (offset, length) {
            (None, None) => return Some(bytes.to_vec()),
            (_, Some(0)) => return None,
            (None, Some(length @ ..0)) => {
                from(bytes.len().saturating_sub(length.unsigned_abs() as usize) as u64).collect()
            }
            (Some(offset), None | Some(..0)) => from(offset).collect(),
            (offset, Some(length)) => from(offset.unwrap_or(0)).take(length as usize).collect(),
        };
        Some(sliced).filter(|sliced| !sliced.is_empty())
    }

    proptest! {
        #[test]
        fn a_range_is_a_slice_of_the_object(
            size in 0..20_usize,
            offset in option::of(prop_oneof![0..25_u64, any::<u64>()]),
            length in option::of(prop_oneof![-25..25_i64, any::<i64>()]),
        ) {
            let bytes: Vec<u8> = (0..size as u8).collect();
            let mut request = S3GetObject::new("k");
            if let Some(offset) = offset {
                request = request.offset(offset);
            }
            if let Some(length) = length {
                request = request.length(length);
            }
            let window = match request.read_options(None) {
                Ok(options) => window(options.range, size as u64),
                Err(error) => {
                    prop_assert_eq!(error.kind(), ErrorKind::InvalidRange);
                    None
                }
            };
            let fetched = window.map(|window| bytes[window.start as usize..window.end as usize].to_vec());
            prop_assert_eq!(fetched, sliced(&bytes, offset, length));
        }
    }
}
