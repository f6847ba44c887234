//! An object into a file: in one stream or in parts side by side, resumed from the byte reached, pinned to the version that was
//! begun.
//!
//! The first request asks for all that is wanted, so that a small object is one request and nobody has to ask for a size
//! first. When its headers tell of a large one, its body serves the first part, and other requests fetch the others. When they tell
//! of a checksum of checksums, the object comes by the parts that it was uploaded in.

mod body;
mod check;
mod composite;
mod parallel;
mod pieces;
mod window;

use std::ops::Range;
use std::sync::Arc;

use self::body::receive;
use self::check::Check;
use self::pieces::{Append, Pieces};
use self::window::first_window;
use super::parts::{PART, Plan};
use super::{Engine, Stopped, conditional};
use crate::address::Location;
use crate::checksum::{Method, Verification, Verified};
use crate::error::{Error, ErrorKind, Result};
use crate::limits::Held;
use crate::retry::Retry;
use crate::scope::{Directory, FileLease, PartFile, Space};
use crate::store::{ByteRange, Failure, Incoming, ObjectHead, ReadOptions};

/// A finished download.
#[derive(Debug)]
pub(crate) struct Downloaded {
    /// What the first answer said; `size` is that of the whole object.
    pub(crate) head: ObjectHead,
    /// The first byte of the object that the file holds.
    pub(crate) offset: u64,
    pub(crate) file: FileLease,
    /// What all of its bytes were compared with.
    pub(crate) verified: Option<Verified>,
}

/// What is longer comes in parts.
const LONGEST_STREAM: u64 = 2 * PART;
/// Of memory, one stream may have 1 MiB that is gathered and 1 MiB that is written, and what a connection has read ahead: a chunk
/// of up to 408 KiB beyond each of them, and one that nobody has taken.
const STREAM: u64 = 3 * 1024 * 1024;
/// An attempt that achieved less is one failure more in a row.
const PROGRESS: u64 = 1024 * 1024;

/// What a download is about.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    engine: &'a Engine,
    location: &'a Location,
    options: ReadOptions<'a>,
    directory: &'a Arc<Directory>,
}

/// An answer whose headers are read.
struct Begun<'a> {
    incoming: Incoming,
    /// The bytes of the object that were asked for, cut at its end.
    window: Range<u64>,
    /// What the bytes are to be compared with.
    check: Check,
    retry: Retry<'a>,
    /// For the file.
    space: Arc<Space>,
    /// For the bytes on their way to it.
    memory: Held,
}

/// Downloads an object, or a range of it, into a new file of `directory`.
///
/// # Errors
///
/// [`ErrorKind::Changed`] when the object was replaced between two requests, or has another ETag than the one asked for;
/// [`ErrorKind::InvalidRange`] when the range lies outside of the object; [`ErrorKind::Integrity`] when the bytes are not those
/// of the object's checksum, also after it was downloaded anew.
pub(crate) async fn download(
    engine: &Engine,
    location: &Location,
    options: ReadOptions<'_>,
    directory: &Arc<Directory>,
) -> Result<Downloaded> {
    let wanted = Wanted { engine, location, options, directory };
    let mut left = engine.integrity.redownloads;
    loop {
        match wanted.once().await {
            Err(error) if error.kind() == ErrorKind::Integrity && left > 0 => {
                left -= 1;
                tracing::warn!(url = location.url(), %error, "downloading anew");
            }
            done => return done,
        }
    }
}

impl<'a> Wanted<'a> {
    async fn once(self) -> Result<Downloaded> {
        let Self { engine, options, .. } = self;
        let mut begun = self.begin(engine.retries.start()).await?;
        if let Some(composite) = begun.check.of_parts(begun.incoming.head.size).cloned()
            && strong(begun.incoming.head.etag.as_deref())
        {
            let Begun { incoming: Incoming { head, body }, space, memory, .. } = begun;
            // It holds a connection, and a place among the client's requests.
            drop(body);
            if let Some(downloaded) = Box::pin(composite::download(self, &head, &composite, space, memory)).await? {
                return Ok(downloaded);
            }
            begun = Box::pin(self.begin(engine.retries.start())).await?;
        }
        let Begun { incoming: Incoming { head, .. }, window, check, .. } = &begun;
        let length = window.end - window.start;
        let in_any_order = check.method().is_none_or(Method::combines);
        let divisible = in_any_order && strong(head.etag.as_deref()) && heeds(options.range, head);
        let begun = match Plan::of(length, PART) {
            Some(plan) if length > LONGEST_STREAM && divisible => {
                match Box::pin(parallel::download(self, begun, plan)).await? {
                    Some(downloaded) => return Ok(downloaded),
                    // The server sends everything, whatever it is asked for.
                    None => Box::pin(self.begin(engine.retries.start())).await?,
                }
            }
            _ => begun,
        };
        self.in_one_stream(begun).await
    }

    /// Asks for all of it, until there is an answer.
    async fn begin(self, mut retry: Retry<'a>) -> Result<Begun<'a>> {
        let Self { engine, location, mut options, directory } = self;
        let mut room = None;
        loop {
            engine.store.admit(location).await;
            let mut memory = engine.flow().memory(STREAM).await;
            options.admitted = true;
            // Of a range, S3 knows none.
            options.checksum = options.range.is_none() && engine.integrity.verification != Verification::Off;
            let answer = async {
                let incoming = engine.store.get(location, options).await?;
                let window = first_window(options.range, &incoming.head)?;
                Ok((incoming, window))
            };
            match retry.attempt(answer).await {
                Ok((incoming, window)) => {
                    let length = window.end - window.start;
                    let fits = |room: &Arc<Space>| room.size() == length;
                    let space = match room.take().filter(fits) {
                        Some(space) => Some(space),
                        None => {
                            let reserved = directory.try_reserve(engine.flow(), length).await;
                            reserved.map_err(|error| error.with_attempts(retry.attempts()))?
                        }
                    };
                    let Some(space) = space else {
                        // Nothing is held meanwhile: who makes room may need it.
                        drop((incoming, memory));
                        let reserved = directory.reserve(engine.flow(), length).await;
                        room = Some(reserved.map_err(|error| error.with_attempts(retry.attempts()))?);
                        continue;
                    };
                    memory.shrink(length);
                    let check = Check::of(engine.integrity.verification, options, &incoming.head, &window);
                    return Ok(Begun { incoming, window, check, retry, space, memory });
                }
                Err(Stopped::Remote(failure)) if failure.is_precondition_failed() => {
                    let attempts = retry.attempts();
                    let error = conditional::another_object();
                    return Err(error.with_attempts(attempts).with_source(failure.into_error(attempts)));
                }
                Err(stopped) => {
                    drop(memory);
                    retry.wait(stopped.failure(&retry)?).await?;
                }
            }
        }
    }

    async fn in_one_stream(self, mut begun: Begun<'a>) -> Result<Downloaded> {
        // The farthest that an attempt came, also when the next one begins anew.
        let mut farthest = 0;
        loop {
            let Begun { incoming, window, check, mut retry, space, memory } = begun;
            let head = incoming.head.clone();
            let length = window.end - window.start;
            let mut pieces = self.pieces(&space, check.method());
            if strong(head.etag.as_deref()) {
                let filled = self.fill(&mut pieces, &head, window.end, Some(incoming), &mut retry, WHOLE_WILL_DO).await;
                if let Err(error) = filled {
                    pieces.discard().await;
                    return Err(error);
                }
            } else if let Err(stopped) = retry.go_on(receive(incoming, window.start, &mut pieces)).await {
                // Nothing shows that the rest belongs to the beginning.
                let reached = length - pieces.expected();
                let written = pieces.settle().await;
                pieces.discard().await;
                written.map_err(|error| error.with_attempts(retry.attempts()))?;
                if reached >= farthest + PROGRESS {
                    retry.progressed();
                }
                farthest = farthest.max(reached);
                drop((space, memory));
                retry.wait(stopped.failure(&retry)?).await?;
                begun = Box::pin(self.begin(retry)).await?;
                continue;
            }
            let attempts = retry.attempts();
            let verified = match check.compare(pieces.checksum()) {
                Ok(verified) => verified,
                Err(error) => {
                    pieces.discard().await;
                    return Err(error.with_attempts(attempts));
                }
            };
            let file = self.finish(pieces, space).await.map_err(|error| error.with_attempts(attempts))?;
            return Ok(Downloaded { head, offset: window.start, file, verified });
        }
    }

    fn pieces(self, space: &Arc<Space>, check: Option<Method>) -> Pieces<PartFile> {
        let (directory, key) = (Arc::clone(self.directory), Arc::<str>::from(self.location.key()));
        let (length, space) = (space.size(), Arc::clone(space));
        Pieces::new(self.directory, length, check, move || directory.begin(&key, Arc::clone(&space)))
    }

    async fn finish(self, pieces: Pieces<PartFile>, space: Arc<Space>) -> Result<FileLease> {
        let (directory, key) = (Arc::clone(self.directory), self.location.key().to_owned());
        let file = pieces.finish(move |file, rest| match file {
            None => directory.write(&key, rest, space),
            Some(mut file) => {
                file.append(rest)?;
                file.finish()
            }
        });
        file.await
    }

    /// Takes what `pieces` expect, up to byte `end` of the object: from `first`, and then by requests of its own, each from the
    /// byte reached and for the version of `head`.
    async fn fill<F: Append>(
        self,
        pieces: &mut Pieces<F>,
        head: &ObjectHead,
        end: u64,
        mut first: Option<Incoming>,
        retry: &mut Retry<'_>,
        whole_will_do: bool,
    ) -> Result<Filled> {
        let mut progress = pieces.expected();
        loop {
            let start = end - pieces.expected();
            let attempt = match first.take() {
                Some(incoming) => {
                    retry.go_on(async { receive(incoming, start, pieces).await.map(|()| Filled::Whole) }).await
                }
                None if start == end => return Ok(Filled::Whole),
                None => {
                    let attempt = async {
                        let incoming = self.rest(head, start..end).await?;
                        if incoming.head.range.is_none() && !whole_will_do {
                            return Ok(Filled::RangesIgnored);
                        }
                        receive(incoming, start, pieces).await.map(|()| Filled::Whole)
                    };
                    retry.attempt(Box::pin(attempt)).await
                }
            };
            let failure = match attempt {
                Ok(filled) => return Ok(filled),
                Err(stopped) => stopped.failure(retry)?,
            };
            // What cannot be written need not be fetched.
            pieces.settle().await.map_err(|error| error.with_attempts(retry.attempts()))?;
            if pieces.expected() + PROGRESS <= progress {
                retry.progressed();
                progress = pieces.expected();
            }
            retry.wait(unless_changed(failure, retry)?).await?;
        }
    }

    /// Bytes of the version of `head`.
    async fn rest(self, head: &ObjectHead, range: Range<u64>) -> Result<Incoming, Stopped> {
        let range = ByteRange::Span { start: range.start, end: range.end };
        let if_match = head.etag.as_deref();
        let pinned = ReadOptions { range: Some(range), if_match, ..self.options };
        same_version(head, self.engine.store.get(self.location, pinned).await?)
    }
}

/// How a [`fill`](Wanted::fill) ended.
enum Filled {
    Whole,
    /// The server answered a range with the whole object.
    RangesIgnored,
}

/// For one stream, which skips what comes before its rest; of parts, each would do so.
const WHOLE_WILL_DO: bool = true;

impl Stopped {
    /// What is left to the patience.
    fn failure(self, retry: &Retry<'_>) -> Result<Failure> {
        match self {
            Self::Remote(failure) => Ok(failure),
            Self::Local(error) => Err(error.with_attempts(retry.attempts())),
        }
    }
}

/// Whether nothing shows that the server ignores ranges.
fn heeds(range: Option<ByteRange>, head: &ObjectHead) -> bool {
    range.is_none() || head.range.is_some()
}

/// Whether an ETag stands for bytes: a weak one does not, and `If-Match` never matches it.
/// <https://www.rfc-editor.org/rfc/rfc9110.html#section-8.8.1>
fn strong(etag: Option<&str>) -> bool {
    etag.is_some_and(|etag| !etag.starts_with("W/"))
}

fn same_version(head: &ObjectHead, incoming: Incoming) -> Result<Incoming, Stopped> {
    if incoming.head.etag != head.etag || incoming.head.size != head.size {
        return Err(Stopped::Local(changed()));
    }
    Ok(incoming)
}

/// The failure of a request for a version that is there.
fn unless_changed(failure: Failure, retry: &Retry<'_>) -> Result<Failure> {
    if failure.is_precondition_failed() {
        let attempts = retry.attempts();
        return Err(changed().with_attempts(attempts).with_source(failure.into_error(attempts)));
    }
    Ok(failure)
}

fn changed() -> Error {
    Error::new(ErrorKind::Changed, "the object was replaced while it was read")
}
