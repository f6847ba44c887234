//! An object into a file of a journal: what an earlier process has fetched is verified, and only the rest comes.
//!
//! A HEAD tells how long the object is, so that no request asks for more than a piece: what a connection has read ahead when the
//! process is killed is lost.

use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use super::check::Check;
use super::composite::{check_borders, compare};
use super::parallel::{AT_ONCE, Fetched, Parts, Wish, cut, of_whole};
use super::pieces::Append;
use super::window::first_window;
use super::{Downloaded, IntoFile, STREAM, Wanted, changed, strong};
use crate::address::Location;
use crate::blocking::blocking;
use crate::checksum::{Composite, Hasher, Method, StoredChecksum, Verification, Verified};
use crate::error::{Error, ErrorKind, Result};
use crate::journal::{Facts, Got, Journal, Partial, Piece, What, Whole};
use crate::scope::{Directory, FileWriter, PartFile, Space, Target};
use crate::store::{ObjectHead, ReadOptions};
use crate::transfer::parts::Plan;
use crate::transfer::sums::{self, OWN, unreadable};
use crate::transfer::{Engine, conditional};

/// What a request asks for, at least. A shorter object comes in one.
const PIECE: u64 = 4 * 1024 * 1024;
/// Of an object, at most such a share is on its way, or one piece: it is what a kill loses.
const SHARE_ON_ITS_WAY: u64 = 100;

/// Where it is noted what is written of a download.
#[derive(Debug, Clone)]
pub(super) struct Notes {
    journal: Arc<Journal>,
    id: u64,
}

/// A writer in a place of its own, which notes what it has written if somebody wants that.
pub(super) struct Placed {
    writer: FileWriter,
    notes: Option<Notes>,
    /// In the file, of what comes next.
    offset: u64,
}

impl Placed {
    /// Blocks.
    pub(super) fn open(target: &Arc<Target>, offset: u64, notes: Option<Notes>) -> Result<Self> {
        Ok(Self { writer: target.writer_at(offset)?, notes, offset })
    }
}

impl Append for Placed {
    fn append(&mut self, chunks: &[Bytes]) -> Result<()> {
        self.writer.append(chunks)?;
        let Some(Notes { journal, id }) = &self.notes else { return Ok(()) };
        let mut hasher = Hasher::new(OWN);
        chunks.iter().for_each(|chunk| hasher.update(chunk));
        let length = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        if length > 0 {
            journal.wrote(*id, Piece { offset: self.offset, length, sum: hasher.finish().to_base64() })?;
            self.offset += length;
        }
        Ok(())
    }
}

/// As [`download`](super::download), into a file that `journal` keeps. With what is `known` of
/// the object, one that is there whole needs no request.
///
/// # Errors
///
/// Those of [`download`](super::download). What has come stays.
pub(crate) async fn download_journaled(
    engine: &Engine,
    location: &Location,
    options: ReadOptions<'_>,
    directory: &Arc<Directory>,
    journal: &Arc<Journal>,
    known: Option<ObjectHead>,
) -> Result<Downloaded> {
    let what = What { url: location.url(), range: options.range.map(|range| range.to_string()) };
    let into = IntoFile { wanted: Wanted { engine, location, options }, directory };
    let journaled = Journaled { into, journal, what: &what };
    let mut left = engine.integrity.redownloads;
    loop {
        match journaled.once(known.as_ref()).await {
            Err(error) if error.kind() == ErrorKind::Integrity && left > 0 => {
                left -= 1;
                tracing::warn!(url = location.url(), %error, "downloading anew");
            }
            Err(error) => return Err(conditional::with_found(engine, location, options.customer_key, error).await),
            done => return done,
        }
    }
}

#[derive(Clone, Copy)]
struct Journaled<'a> {
    into: IntoFile<'a>,
    journal: &'a Arc<Journal>,
    what: &'a What,
}

/// A file that is being filled.
struct Filling {
    file: PartFile,
    id: u64,
    etag: String,
    /// What it has already, in its order; offsets are those of the object.
    there: Vec<Fetched>,
}

impl Journaled<'_> {
    async fn once(self, known: Option<&ObjectHead>) -> Result<Downloaded> {
        let options = self.into.wanted.options;
        let got = self.journal.take_got(self.what);
        let (head, is_told) = match known {
            Some(known) if options.range.is_none() && (known.size <= PIECE || is_same(got.as_ref(), known)) => {
                (known.clone(), false)
            }
            _ => (self.into.wanted.head().await?, true),
        };
        let window = first_window(options.range, &head).map_err(|stopped| match stopped {
            super::Stopped::Local(error) => error,
            super::Stopped::Remote(failure) => failure.into_error(1),
        })?;
        let length = window.end - window.start;
        match got {
            Some(Got::Whole(whole)) if whole.size == length && is_current(&whole.etag, &head) => {
                if let Some(downloaded) = self.whole(&head, &window, whole).await? {
                    return Ok(downloaded);
                }
            }
            Some(Got::Partial(partial)) if partial.size == length && is_current(&partial.etag, &head) => {
                let head = if is_told { head.clone() } else { self.into.wanted.head().await? };
                if is_current(&partial.etag, &head)
                    && let Some(downloaded) = self.resume(&head, &window, partial).await?
                {
                    return Ok(downloaded);
                }
            }
            _ => {}
        }
        match head.etag.as_deref().filter(|_| length > PIECE && strong(head.etag.as_deref())) {
            Some(etag) => match self.begin(&head, &window, etag).await? {
                Some(downloaded) => Ok(downloaded),
                None => self.at_once().await,
            },
            None => self.at_once().await,
        }
    }

    /// By the requests of a download without a journal: it is noted when it is there.
    async fn at_once(self) -> Result<Downloaded> {
        let downloaded = Box::pin(self.into.once()).await?;
        let Downloaded { head, file, verified, .. } = &downloaded;
        let (path, journal, what) = (file.path().to_owned(), Arc::clone(self.journal), self.what.clone());
        let (etag, size, verified) = (head.etag.clone().unwrap_or_default(), file.size(), *verified);
        let noted = self.into.directory.run(move || {
            let [sum] = sums::of_file(&path, [OWN])?;
            journal.whole(&what, &path, Facts { etag: &etag, size, sum: &sum.to_base64(), verified })
        });
        file.leave_to(self.journal, noted.await?);
        Ok(downloaded)
    }

    /// What is there whole, if it still is.
    async fn whole(self, head: &ObjectHead, window: &Range<u64>, whole: Whole) -> Result<Option<Downloaded>> {
        let Whole { id, file, etag: _, size, sum, verified, moved } = whole;
        let places: Vec<PathBuf> = moved.into_iter().chain([self.into.directory.path().join(file)]).collect();
        let find = move || {
            let is_it = |path: &PathBuf| {
                fs::metadata(path).is_ok_and(|found| found.is_file() && found.len() == size)
                    && sums::of_file(path, [OWN]).is_ok_and(|[found]| found.to_base64() == sum)
            };
            Ok(places.into_iter().find(is_it))
        };
        let Some(path) = blocking(find).await? else { return Ok(None) };
        let space = self.room(size, size).await?;
        let file = self.into.directory.lease(path, space);
        file.leave_to(self.journal, id);
        let (head, offset, file) = (head.clone(), window.start, Arc::new(file));
        Ok(Some(Downloaded { head, offset, file, verified }))
    }

    async fn resume(self, head: &ObjectHead, window: &Range<u64>, partial: Partial) -> Result<Option<Downloaded>> {
        let (method, from) = (self.method(head, window), window.start);
        let (part, finished) =
            (self.into.directory.path().join(&partial.file), self.into.directory.path().join(partial.finished()));
        let check = move || {
            // Between its two names, the process was killed.
            if !part.exists() && finished.exists() {
                fs::rename(&finished, &part).map_err(|error| unreadable(&finished, error))?;
            }
            let there = if part.exists() { intact(&part, &partial, method, from)? } else { Vec::new() };
            Ok((there, partial))
        };
        let (there, partial) = blocking(check).await?;
        if there.is_empty() {
            return Ok(None);
        }
        let written = there.iter().map(Fetched::length).sum();
        tracing::debug!(url = self.what.url, written, size = partial.size, "going on with a download");
        let space = self.room(partial.size, written).await?;
        let (directory, finished) = (Arc::clone(self.into.directory), partial.finished().to_owned());
        let (id, etag) = (partial.id, partial.etag);
        let reopen = move || directory.reopen(&partial.file, &finished, space, written);
        let file = self.into.directory.run(reopen).await?;
        self.fill(head, window, Filling { file, id, etag, there }).await
    }

    async fn begin(self, head: &ObjectHead, window: &Range<u64>, etag: &str) -> Result<Option<Downloaded>> {
        let length = window.end - window.start;
        let space = self.room(length, 0).await?;
        let (directory, key) = (Arc::clone(self.into.directory), self.into.wanted.location.key().to_owned());
        let (journal, what, noted) = (Arc::clone(self.journal), self.what.clone(), etag.to_owned());
        let begin = move || {
            let mut file = directory.begin(&key, space)?;
            let id = journal.begin_object(&what, file.target().path(), &noted, length)?;
            file.leave();
            Ok(Filling { file, id, etag: noted, there: Vec::new() })
        };
        let filling = self.into.directory.run(begin).await?;
        self.fill(head, window, filling).await
    }

    /// Fetches what is not there; `None` when the server ignores ranges.
    async fn fill(self, head: &ObjectHead, window: &Range<u64>, filling: Filling) -> Result<Option<Downloaded>> {
        let Filling { file, id, etag, there } = filling;
        let engine = self.into.wanted.engine;
        let length = window.end - window.start;
        engine.flow().record().carries(crate::observe::Way::Received, Some(length));
        let (check, method) = (self.check(head, window), self.method(head, window));
        let too_long = || Error::new(ErrorKind::InvalidObject, format!("the object has {length} bytes"));
        let plan = Plan::of(length, PIECE).ok_or_else(too_long)?;
        let piece = plan.length(1).unwrap_or(PIECE);
        let at_once = (length / SHARE_ON_ITS_WAY / piece).clamp(1, AT_ONCE as u64) as usize;
        let notes = Notes { journal: Arc::clone(self.journal), id };
        let parts = Parts {
            into: self.into,
            head,
            from: window.start,
            target: file.target(),
            check: Some(method),
            at_once,
            notes: Some(&notes),
        };
        let wishes: Vec<Wish> = gaps(window, &there).flat_map(|gap| cut(&gap, plan)).map(Wish::Range).collect();
        let mut fetched = there;
        if !wishes.is_empty() {
            let memory = engine.flow().memory(STREAM).await;
            let Some(came) = parts.fetch_all(None, wishes.into_iter(), memory).await? else { return Ok(None) };
            fetched.extend(came);
            fetched.sort_unstable_by_key(|part| part.range.start);
        }
        let of_pieces = of_whole(&fetched);
        let path = file.target().path().to_owned();
        // What the pieces do not tell, the file does.
        let own = of_pieces.clone().filter(|_| method == OWN);
        let wanted = check.method().filter(|wanted| *wanted != method);
        let (own, other) = match (own, wanted) {
            (Some(own), None) => (own, None),
            (own, wanted) => {
                let of = path.clone();
                let read = move || sums::of_file(&of, [OWN, wanted.unwrap_or(OWN)]);
                let [read, other] = blocking(read).await?;
                (own.unwrap_or(read), wanted.map(|_| other))
            }
        };
        let received = if check.method() == Some(method) { of_pieces } else { other };
        let compared = match check.of_parts(head.size) {
            Some(composite) => self.compare_parts(head, composite, &path).await,
            None => check.compare(received),
        };
        let verified = match compared {
            Ok(verified) => verified,
            Err(error) if error.kind() != ErrorKind::Integrity => return Err(error),
            Err(error) => {
                // Its pieces are those that came: to go on with them would end here again.
                let remove = move || fs::remove_file(&path).map_err(|error| unreadable(&path, error));
                self.into.directory.run(remove).await?;
                return Err(error);
            }
        };
        let (journal, what) = (Arc::clone(self.journal), self.what.clone());
        let finish = move || {
            let file = file.finish()?;
            let facts = Facts { etag: &etag, size: length, sum: &own.to_base64(), verified };
            let id = journal.whole(&what, file.path(), facts)?;
            file.leave_to(&journal, id);
            Ok(file)
        };
        let file = Arc::new(self.into.directory.run(finish).await?);
        Ok(Some(Downloaded { head: head.clone(), offset: window.start, file, verified }))
    }

    /// Compares the parts that the object was uploaded in: where they are in the file, the answers to HEAD tell. `None` when they do
    /// not.
    async fn compare_parts(self, head: &ObjectHead, composite: &Composite, path: &Path) -> Result<Option<Verified>> {
        let heads = (1..=composite.parts()).map(|number| self.part(head, number));
        let heads: Vec<Option<Fetched>> = stream::iter(heads).buffered(AT_ONCE).try_collect().await?;
        let Some(mut parts) = heads.into_iter().collect::<Option<Vec<Fetched>>>() else { return Ok(None) };
        check_borders(&parts, &(0..head.size))?;
        let (path, method) = (path.to_owned(), Method::Algorithm(composite.algorithm()));
        let read = move || {
            let mut file = File::open(&path).map_err(|error| unreadable(&path, error))?;
            for part in &mut parts {
                let read = sums::of_bytes(&mut file, part.length(), [method]);
                let ([sum], _) = read.map_err(|error| unreadable(&path, error))?;
                part.checksum = Some(sum);
            }
            Ok(parts)
        };
        compare(composite, &blocking(read).await?).map(Some)
    }

    /// One of the parts that the object was uploaded in; `None` when the service does not tell it.
    async fn part(self, head: &ObjectHead, number: u32) -> Result<Option<Fetched>> {
        let Wanted { engine, location, options } = self.into.wanted;
        let options =
            ReadOptions { if_match: head.etag.as_deref(), checksum: true, part: Some(number), range: None, ..options };
        match engine.request(|store| store.head(location, options)).await {
            Ok(part) => Ok(part.range.map(|range| {
                let stored = part.checksum.and_then(StoredChecksum::of_bytes);
                Fetched { range, checksum: None, stored }
            })),
            Err(error) if error.status() == Some(412) => Err(changed().with_source(error)),
            Err(error) if error.is_retryable() => Err(error),
            Err(error) => {
                tracing::debug!(url = self.what.url, number, %error, "the parts of an object are not told");
                Ok(None)
            }
        }
    }

    fn check(self, head: &ObjectHead, window: &Range<u64>) -> Check {
        let Wanted { engine, options, .. } = self.into.wanted;
        Check::of(engine.integrity.verification, options, head, window)
    }

    /// How the checksums of pieces are computed: they are to tell that of the whole.
    fn method(self, head: &ObjectHead, window: &Range<u64>) -> Method {
        self.check(head, window).method().filter(|method| method.combines()).unwrap_or(OWN)
    }

    async fn room(self, size: u64, there: u64) -> Result<Arc<Space>> {
        let (directory, flow) = (self.into.directory, self.into.wanted.engine.flow());
        match directory.try_reserve_rest(flow, size, there).await? {
            Some(space) => Ok(space),
            None => directory.reserve_rest(flow, size, there).await,
        }
    }
}

impl Wanted<'_> {
    /// What the object is, and its checksum.
    async fn head(self) -> Result<ObjectHead> {
        let Self { engine, location, options } = self;
        let checksum = options.range.is_none() && engine.integrity.verification != Verification::Off;
        let of_whole = ReadOptions { range: None, checksum, ..options };
        let mut retry = engine.retries.start();
        loop {
            let failure = match retry.attempt(engine.store.head(location, of_whole)).await {
                Ok(head) => {
                    conditional::check_asked(options.if_match, head.etag.as_deref())?;
                    return Ok(head);
                }
                Err(failure) => failure,
            };
            if failure.is_precondition_failed() {
                let attempts = retry.attempts();
                let error = conditional::another_object().with_etags(options.if_match, None);
                return Err(error.with_attempts(attempts).with_source(failure.into_error(attempts)));
            }
            match retry.wait(failure).await {
                // The answer to a HEAD has no body that says why.
                Err(error) if matches!(error.status(), Some(400..=404)) => break,
                waited => waited?,
            }
        }
        let (answered, _) = self.answered().await?;
        Ok(answered.incoming.head)
    }
}

/// Whether what was noted is of the object that is there now.
fn is_current(noted: &str, head: &ObjectHead) -> bool {
    strong(head.etag.as_deref()) && head.etag.as_deref() == Some(noted)
}

fn is_same(got: Option<&Got>, head: &ObjectHead) -> bool {
    matches!(got, Some(Got::Whole(whole)) if whole.size == head.size && is_current(&whole.etag, head))
}

/// The bytes of a window that are not there.
fn gaps(window: &Range<u64>, there: &[Fetched]) -> impl Iterator<Item = Range<u64>> {
    let starts = std::iter::once(window.start).chain(there.iter().map(|part| part.range.end));
    let ends = there.iter().map(|part| part.range.start).chain([window.end]).collect::<Vec<_>>();
    starts.zip(ends).map(|(start, end)| start..end).filter(|gap| gap.start < gap.end)
}

/// The pieces of a file that are as they were noted. Blocks.
fn intact(path: &Path, partial: &Partial, method: Method, from: u64) -> Result<Vec<Fetched>> {
    let mut file = File::open(path).map_err(|error| unreadable(path, error))?;
    let mut there = Vec::new();
    for Piece { offset, length, sum } in partial.pieces.values() {
        file.seek(SeekFrom::Start(*offset)).map_err(|error| unreadable(path, error))?;
        let ([own, other], read) =
            sums::of_bytes(&mut file, *length, [OWN, method]).map_err(|error| unreadable(path, error))?;
        if read == *length && own.to_base64() == *sum {
            let range = from + offset..from + offset + length;
            there.push(Fetched { range, checksum: Some(other), stored: None });
        } else {
            tracing::warn!(path = %path.display(), offset, length, "bytes of a journal's file were changed; they come again");
        }
    }
    Ok(there)
}
