//! An object into a file: in one stream or in parts side by side, resumed from the byte reached, pinned to the version that was
//! begun.
//!
//! The first request asks for all that is wanted, so that a small object is one request and nobody has to ask for a size
//! first. When its headers tell of a large one, its body serves the first part, and other requests fetch the others. When they tell
//! of a checksum of checksums, the object comes by the parts that it was uploaded in.

mod body;
mod check;
mod composite;
mod journaled;
mod parallel;
mod pieces;
mod reading;
mod window;

use std::ops::Range;
use std::sync::Arc;

pub(crate) use self::journaled::download_journaled;
pub(crate) use self::reading::{Opened, Outlet, read};

use self::body::receive;
use self::check::Check;
use self::pieces::{Append, Pieces};
use self::window::first_window;
use super::parts::{PART, Plan};
use super::{Engine, Stopped, conditional};
use crate::address::Location;
use crate::checksum::{Composite, Method, Verification, Verified};
use crate::error::{Error, ErrorKind, Result};
use crate::limits::Held;
use crate::observe::Way;
use crate::retry::Retry;
use crate::scope::{Directory, FileLease, PartFile, Space};
use crate::store::{ByteRange, Failure, Incoming, ObjectHead, ReadOptions};

/// A finished download.
#[derive(Debug, Clone)]
pub(crate) struct Downloaded {
    /// What the first answer said; `size` is that of the whole object.
    pub(crate) head: ObjectHead,
    /// The first byte of the object that the file holds.
    pub(crate) offset: u64,
    pub(crate) file: Arc<FileLease>,
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
}

/// An answer whose headers are read.
struct Answered {
    incoming: Incoming,
    /// The bytes of the object that were asked for, cut at its end.
    window: Range<u64>,
    /// What the bytes are to be compared with.
    check: Check,
}

/// A download whose bytes go into a file.
#[derive(Clone, Copy)]
struct IntoFile<'a> {
    wanted: Wanted<'a>,
    directory: &'a Arc<Directory>,
}

/// An answer whose bytes have room.
struct Begun<'a> {
    answered: Answered,
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
    let into_file = IntoFile { wanted: Wanted { engine, location, options }, directory };
    let mut left = engine.integrity.redownloads;
    loop {
        match into_file.once().await {
            Err(error) if error.kind() == ErrorKind::Integrity && left > 0 => {
                left -= 1;
                tracing::warn!(url = location.url(), %error, "downloading anew");
            }
            Err(error) => return Err(conditional::with_found(engine, location, options.customer_key, error).await),
            done => return done,
        }
    }
}

impl<'a> IntoFile<'a> {
    async fn once(self) -> Result<Downloaded> {
        let Wanted { engine, options, .. } = self.wanted;
        let mut begun = self.begin(engine.retries.start()).await?;
        if let Some(composite) = begun.answered.composite().cloned() {
            let Begun { answered, space, memory, .. } = begun;
            let Incoming { head, body } = answered.incoming;
            // It holds a connection, and a place among the client's requests.
            drop(body);
            if let Some(downloaded) = Box::pin(composite::download(self, &head, &composite, space, memory)).await? {
                return Ok(downloaded);
            }
            begun = Box::pin(self.begin(engine.retries.start())).await?;
        }
        let in_any_order = begun.answered.check.method().is_none_or(Method::combines);
        let begun = match begun.answered.parts(options) {
            Some(plan) if in_any_order => {
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

    /// Asks for all of it, until there is an answer and room for it.
    async fn begin(self, mut retry: Retry<'a>) -> Result<Begun<'a>> {
        let Self { wanted, directory } = self;
        let flow = wanted.engine.flow();
        let mut room = None;
        loop {
            wanted.engine.store.admit(wanted.location).await;
            let mut memory = flow.memory(STREAM).await;
            let answered = match wanted.ask(&mut retry).await? {
                Ok(answered) => answered,
                Err(failure) => {
                    drop(memory);
                    retry.wait(failure).await?;
                    continue;
                }
            };
            let length = answered.length();
            let fits = |room: &Arc<Space>| room.size() == length;
            let space = match room.take().filter(fits) {
                Some(space) => Some(space),
                None => {
                    let reserved = directory.try_reserve(flow, length).await;
                    reserved.map_err(|error| error.with_attempts(retry.attempts()))?
                }
            };
            let Some(space) = space else {
                // Nothing is held meanwhile: who makes room may need it.
                drop((answered, memory));
                let reserved = directory.reserve(flow, length).await;
                room = Some(reserved.map_err(|error| error.with_attempts(retry.attempts()))?);
                continue;
            };
            memory.shrink(length);
            return Ok(Begun { answered, retry, space, memory });
        }
    }

    async fn in_one_stream(self, mut begun: Begun<'a>) -> Result<Downloaded> {
        // The farthest that an attempt came, also when the next one begins anew.
        let mut farthest = 0;
        loop {
            let Begun { answered, mut retry, space, memory } = begun;
            let length = answered.length();
            let Answered { incoming, window, check } = answered;
            let head = incoming.head.clone();
            let mut pieces = self.pieces(&space, check.method());
            if strong(head.etag.as_deref()) {
                let (wanted, first) = (self.wanted, Some(incoming));
                let filled = wanted.fill(&mut pieces, &head, window.end, first, &mut retry, WHOLE_WILL_DO).await;
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
            return Ok(Downloaded { head, offset: window.start, file: Arc::new(file), verified });
        }
    }

    fn pieces(self, space: &Arc<Space>, check: Option<Method>) -> Pieces<PartFile> {
        let (directory, key) = (Arc::clone(self.directory), Arc::<str>::from(self.wanted.location.key()));
        let (length, space) = (space.size(), Arc::clone(space));
        Pieces::new(self.directory, length, check, move || directory.begin(&key, Arc::clone(&space)))
    }

    async fn finish(self, pieces: Pieces<PartFile>, space: Arc<Space>) -> Result<FileLease> {
        let (directory, key) = (Arc::clone(self.directory), self.wanted.location.key().to_owned());
        let file = pieces.finish(move |file, rest| match file {
            None => directory.write(&key, rest, space),
            Some(mut file) => {
                file.append(rest)?;
                file.finish()
            }
        });
        file.await
    }
}

impl Wanted<'_> {
    /// Asks for all of it once, when it is [admitted](crate::store::Store::admit). A failure is one to wait for.
    async fn ask(mut self, retry: &mut Retry<'_>) -> Result<Result<Answered, Failure>> {
        let Self { engine, location, options } = &mut self;
        let verification = engine.integrity.verification;
        options.admitted = true;
        // Of a range, S3 knows none.
        options.checksum = options.range.is_none() && verification != Verification::Off;
        let answer = async {
            let incoming = engine.store.get(location, *options).await?;
            conditional::check_asked(options.if_match, incoming.head.etag.as_deref())?;
            let window = first_window(options.range, &incoming.head)?;
            Ok((incoming, window))
        };
        match retry.attempt(answer).await {
            Ok((incoming, window)) => {
                let check = Check::of(verification, *options, &incoming.head, &window);
                engine.flow().record().carries(Way::Received, Some(window.end - window.start));
                Ok(Ok(Answered { incoming, window, check }))
            }
            Err(Stopped::Remote(failure)) if failure.is_precondition_failed() => {
                let attempts = retry.attempts();
                let error = conditional::another_object().with_etags(options.if_match, None);
                Err(error.with_attempts(attempts).with_source(failure.into_error(attempts)))
            }
            Err(stopped) => stopped.failure(retry).map(Err),
        }
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
            retry.wait(unless_changed(failure, head, retry)?).await?;
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

impl Answered {
    fn length(&self) -> u64 {
        self.window.end - self.window.start
    }

    /// Whose parts have to be known, if the version can be pinned.
    fn composite(&self) -> Option<&Composite> {
        let head = &self.incoming.head;
        self.check.of_parts(head.size).filter(|_| strong(head.etag.as_deref()))
    }

    /// In which parts it comes, when it is worth it and the version can be pinned.
    fn parts(&self, asked: ReadOptions<'_>) -> Option<Plan> {
        let head = &self.incoming.head;
        let divisible = strong(head.etag.as_deref()) && heeds(asked.range, head);
        Plan::of(self.length(), PART).filter(|_| self.length() > LONGEST_STREAM && divisible)
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
        return Err(Stopped::Local(changed().with_etags(head.etag.as_deref(), incoming.head.etag)));
    }
    Ok(incoming)
}

/// The failure of a request for the version of `head`, if that is there.
fn unless_changed(failure: Failure, head: &ObjectHead, retry: &Retry<'_>) -> Result<Failure> {
    if failure.is_precondition_failed() {
        let attempts = retry.attempts();
        let error = changed().with_etags(head.etag.as_deref(), None);
        return Err(error.with_attempts(attempts).with_source(failure.into_error(attempts)));
    }
    Ok(failure)
}

fn changed() -> Error {
    Error::new(ErrorKind::Changed, "the object was replaced while it was read")
}
