//! A file into an object, with a journal: what an earlier process has sent is asked for and compared, and only the rest is sent.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::conditional::{self, Settled, Write};
use super::multipart::{Assembly, PartNotes};
use super::parts::{MIN_PART, Plan};
use super::single::single;
use super::source::{Part, Reading};
use super::sums::{self, OWN};
use super::upload::{Outcome, Upload, create, too_long};
use super::{Engine, Stopped, with_id};
use crate::blocking::blocking;
use crate::checksum::{Checksum, ChecksumAlgorithm, Hasher, Method};
use crate::error::Result;
use crate::journal::{self, Content, InParts, Journal, Sent, Stored as Noted, Uploading, Way};
use crate::observe;
use crate::request::Source;
use crate::store::{
    ListedPart, MultipartUpload, ObjectHead, ObjectHeaders, ReadOptions, Store, Stored, UploadedPart, WriteCondition,
    WriteId,
};

/// Of a value, at most such a share is on its way, or one part: it is what a kill loses.
const SHARE_ON_ITS_WAY: u64 = 100;
/// A longer file goes in parts.
const LONGEST_SINGLE: u64 = 2 * MIN_PART;

/// As [`upload`](super::upload), of a file, which goes on with what the journal has of it. What has arrived stays on the server
/// when this fails or is dropped.
///
/// # Errors
///
/// Those of [`upload`](super::upload).
pub(crate) async fn upload_journaled(
    engine: &Engine,
    upload: Upload<'_>,
    path: PathBuf,
    journal: &Arc<Journal>,
) -> Result<Outcome> {
    let absolute = std::path::absolute(&path).map_err(|error| sums::unreadable(&path, error))?;
    let way = Way { url: upload.location.url(), path: journal::text(&absolute)? };
    let mut reading = Reading::begin(Source::File(path), engine.flow(), &engine.in_place).await?;
    let size = reading.size().unwrap_or(0);
    let content = Content { size, modified: time(reading.modified()), headers: upload.headers.digest() };
    let put = Put { engine, upload, path: &absolute, journal, way: &way, content: &content };
    let begun = match journal.take_sent(&way) {
        Some(Sent::Stored(stored)) => {
            if let Some(stored) = put.still_there(stored).await? {
                return Ok(Outcome::AlreadyStored(stored));
            }
            None
        }
        Some(Sent::Uploading(uploading)) => match put.go_on(uploading).await? {
            GoOn::Done(stored) => return Ok(Outcome::AlreadyStored(stored)),
            GoOn::With(begun) => Some(*begun),
            GoOn::Anew => None,
        },
        None => None,
    };
    put.send(&mut reading, begun).await
}

#[derive(Clone, Copy)]
struct Put<'a> {
    engine: &'a Engine,
    upload: Upload<'a>,
    path: &'a Path,
    journal: &'a Arc<Journal>,
    way: &'a Way,
    content: &'a Content,
}

/// What can be done about an upload that was begun.
enum GoOn {
    /// It was completed.
    Done(Stored),
    With(Box<Begun>),
    Anew,
}

/// An upload that the server has, with what is there of it.
struct Begun {
    upload: MultipartUpload,
    id: u64,
    part_size: u64,
    listed: BTreeMap<u32, ListedPart>,
    /// ETag and sum of the parts whose answers have come.
    noted: BTreeMap<u32, (String, String)>,
}

impl Put<'_> {
    /// What the server says of the object that an earlier call has stored, if that is still there and of this file.
    async fn still_there(self, noted: Noted) -> Result<Option<Stored>> {
        let Noted { content, etag, sum } = noted;
        if content != *self.content {
            return Ok(None);
        }
        let Some(head) = self.look().await?.filter(|head| head.etag.as_ref() == Some(&etag)) else { return Ok(None) };
        let path = self.path.to_owned();
        let [found] = blocking(move || sums::of_file(&path, [OWN])).await?;
        Ok((found.to_base64() == sum).then(|| stored(head)))
    }

    async fn go_on(self, uploading: Uploading) -> Result<GoOn> {
        let Uploading { id, content, in_parts, write_id, parts: noted } = uploading;
        let headers = match write_id.as_deref().map(WriteId::parse) {
            Some(Some(id)) => self.upload.headers.with_write_id(id),
            _ => self.upload.headers.clone(),
        };
        let upload = in_parts.map(|InParts { upload_id, part_size, checksum }| {
            let (location, headers) = (self.upload.location.clone(), headers.clone());
            (MultipartUpload { location, id: upload_id, headers, checksum }, part_size)
        });
        if content != *self.content {
            if let Some((upload, _)) = upload {
                super::multipart::abort(self.engine, &upload).await;
            }
            return Ok(GoOn::Anew);
        }
        if let Some((upload, part_size)) = upload
            && let Some(listed) = self.list(&upload).await?
        {
            tracing::debug!(url = self.way.url, parts = listed.len(), "going on with an upload");
            return Ok(GoOn::With(Box::new(Begun { upload, id, part_size, listed, noted })));
        }
        // It is gone, or was one request: completed, or not.
        let ours = |head: &ObjectHead| head.write_id.is_some() && head.write_id == write_id;
        let Some(head) = self.look().await?.filter(ours) else { return Ok(GoOn::Anew) };
        let path = self.path.to_owned();
        let [sum] = blocking(move || sums::of_file(&path, [OWN])).await?;
        self.note(head.etag.as_deref(), &sum).await?;
        Ok(GoOn::Done(stored(head)))
    }

    /// The parts that are there; `None` when the upload is not.
    async fn list(self, upload: &MultipartUpload) -> Result<Option<BTreeMap<u32, ListedPart>>> {
        let mut listed = BTreeMap::new();
        let mut marker = None;
        loop {
            let (parts, next) = match self.engine.request(|store| store.list_parts(upload, marker)).await {
                Ok(page) => page,
                Err(error) if error.code() == Some("NoSuchUpload") || error.is_not_found() => return Ok(None),
                Err(error) => return Err(error),
            };
            listed.extend(parts.into_iter().map(|part| (part.number, part)));
            if next.is_none() {
                return Ok(Some(listed));
            }
            marker = next;
        }
    }

    /// The object that is there, if that can be told.
    async fn look(self) -> Result<Option<ObjectHead>> {
        let options = ReadOptions { customer_key: self.upload.headers.customer_key(), ..ReadOptions::default() };
        match self.engine.request(|store| store.head(self.upload.location, options)).await {
            Ok(head) => Ok(Some(head)),
            Err(error) if error.is_not_found() => Ok(None),
            // Who may write need not be allowed to read, nor have the key of the object that is there.
            Err(error) if matches!(error.status(), Some(400 | 403)) && !error.is_retryable() => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn send(self, reading: &mut Reading, begun: Option<Begun>) -> Result<Outcome> {
        let Self { engine, content, .. } = self;
        let smallest = begun.as_ref().map(|begun| begun.part_size).or(self.upload.part_size).unwrap_or(MIN_PART);
        let in_parts = begun.is_some() || content.size > self.upload.part_size.unwrap_or(0).max(LONGEST_SINGLE);
        engine.flow().record().carries(observe::Way::Sent, Some(content.size));
        let write = if in_parts { Write::Complete } else { Write::Put };
        let upload = match conditional::settle(engine, self.upload, write).await? {
            Settled::Proceed(upload) => upload,
            Settled::Exists => return Ok(Outcome::Exists),
        };
        if !in_parts {
            return Self { upload, ..self }.send_at_once(reading).await;
        }
        let plan = Plan::of(content.size, smallest).ok_or_else(|| too_long(&format!("{} bytes", content.size)))?;
        if begun.is_none()
            && upload.condition == Some(&WriteCondition::Absent)
            && conditional::exists(engine, upload).await?
        {
            return Ok(Outcome::Exists);
        }
        let put = Self { upload, ..self };
        let mut begun = begun;
        let mut retry = engine.retries.start();
        loop {
            match put.send_in_parts(reading, plan, begun.take()).await {
                Ok(outcome) => return Ok(outcome),
                Err(Stopped::Local(error)) => return Err(error),
                // A conflict with another write: to be sent again from the beginning.
                Err(Stopped::Remote(failure)) => {
                    reading.rewind().await?;
                    retry.wait(failure).await?;
                }
            }
        }
    }

    async fn send_at_once(self, reading: &mut Reading) -> Result<Outcome> {
        let value = reading.whole(self.content.size, self.upload.headers.checksum()).await?;
        let sum = own(&value).await?;
        // Only who wants to know whether it was the first has to know later that it was this one.
        let is_conditional = self.upload.condition.is_some();
        let headers = if is_conditional { with_id(self.upload.headers) } else { self.upload.headers.clone() };
        if is_conditional {
            self.begin(None, &headers).await?;
        }
        let outcome = single(self.engine, Upload { headers: &headers, ..self.upload }, value).await?;
        self.note_outcome(outcome, &sum).await
    }

    async fn send_in_parts(self, reading: &mut Reading, plan: Plan, begun: Option<Begun>) -> Result<Outcome, Stopped> {
        let part_size = plan.length(1).unwrap_or(MIN_PART);
        let (mut assembly, listed, noted) = match begun {
            Some(Begun { upload, id, listed, noted, .. }) => {
                (Assembly::resumed(self.engine, upload, PartNotes::new(self.journal, id)), listed, noted)
            }
            None => {
                let headers = with_id(self.upload.headers);
                let mut assembly = Assembly::begin(self.engine, create(self.upload.location, &headers)).await?;
                let (upload_id, checksum) = (assembly.id().to_owned(), assembly.checksum());
                let id = self.begin(Some(InParts { upload_id, part_size, checksum }), &headers).await?;
                assembly.noted(PartNotes::new(self.journal, id));
                (assembly, BTreeMap::new(), BTreeMap::new())
            }
        };
        let handed_over = self.hand_over(&mut assembly, plan, reading, &listed, &noted).await;
        let (handed_over, sum) = match handed_over {
            Ok(sum) => (Ok(()), sum),
            Err(error) => (Err(error), None),
        };
        let outcome = assembly.end(handed_over, self.upload.condition).await?;
        match sum {
            Some(sum) => Ok(self.note_outcome(outcome, &sum).await?),
            None => Ok(outcome),
        }
    }

    /// Reads the parts, and hands over those that the server does not have as they are; the sum of all.
    async fn hand_over(
        self,
        assembly: &mut Assembly,
        plan: Plan,
        reading: &mut Reading,
        listed: &BTreeMap<u32, ListedPart>,
        noted: &BTreeMap<u32, (String, String)>,
    ) -> Result<Option<Checksum>> {
        let algorithm = assembly.checksum();
        let part_size = plan.length(1).unwrap_or(MIN_PART);
        let at_once = (self.content.size / SHARE_ON_ITS_WAY / part_size).clamp(1, plan.at_once(1) as u64) as usize;
        let mut of_parts = Vec::new();
        for number in 1.. {
            let length = plan.length(number);
            let part = assembly.meanwhile(reading.next(length.unwrap_or(1), algorithm.or(OWN_ALGORITHM))).await?;
            if part.bytes.is_empty() {
                break;
            }
            if length.is_none() {
                return Err(too_long(&format!("more than {} bytes", plan.capacity())));
            }
            let (sum, checksum) = (own(&part).await?, part.checksum(algorithm).await?);
            let length = part.bytes.len() as u64;
            of_parts.push((sum.clone(), length));
            if let Some(there) = listed.get(&number)
                && is_there(there, noted.get(&number), &part, &sum, checksum.as_ref()).await?
            {
                let checksum = checksum.map(|checksum| (checksum, length));
                assembly.has(UploadedPart { number, etag: there.etag.clone(), checksum });
                continue;
            }
            let body = part.bytes;
            let send = move |store: Store, upload: Arc<MultipartUpload>| {
                let (body, checksum) = (body.clone(), checksum.clone());
                async move { store.upload_part(&upload, number, body, checksum.as_ref()).await }
            };
            assembly.send_noted(at_once, Some(sum.to_base64()), send).await?;
        }
        reading.finish().await?;
        Ok(Checksum::of_parts(of_parts.iter().map(|(sum, length)| (sum, *length))))
    }

    /// Notes that an upload begins.
    async fn begin(self, in_parts: Option<InParts>, headers: &ObjectHeaders) -> Result<u64> {
        let (journal, way, content) = (Arc::clone(self.journal), self.way.clone(), self.content.clone());
        let write_id = headers.write_id().map(|id| id.as_str().to_owned());
        blocking(move || journal.begin_upload(&way, &content, in_parts, write_id.as_deref())).await
    }

    async fn note_outcome(self, outcome: Outcome, sum: &Checksum) -> Result<Outcome> {
        if let Outcome::Stored(stored) | Outcome::Created(stored) | Outcome::Replaced(stored) = &outcome {
            self.note(stored.etag.as_deref(), sum).await?;
        }
        Ok(outcome)
    }

    async fn note(self, etag: Option<&str>, sum: &Checksum) -> Result<()> {
        let Some(etag) = etag.map(str::to_owned) else { return Ok(()) };
        let (journal, way, content, sum) =
            (Arc::clone(self.journal), self.way.clone(), self.content.clone(), sum.to_base64());
        blocking(move || journal.stored(&way, &content, &etag, &sum)).await
    }
}

/// Whether a part that the server has is this one: by the checksum that it tells; by what was noted when it was sent; or by an ETag
/// that is a digest, where the answer to it was lost.
async fn is_there(
    there: &ListedPart,
    noted: Option<&(String, String)>,
    part: &Part,
    sum: &Checksum,
    checksum: Option<&Checksum>,
) -> Result<bool> {
    if there.size != part.bytes.len() as u64 {
        return Ok(false);
    }
    if let (Some(told), Some(checksum)) = (&there.checksum, checksum) {
        return Ok(told == checksum);
    }
    if noted.is_some_and(|(etag, noted)| *etag == there.etag && *noted == sum.to_base64()) {
        return Ok(true);
    }
    let Some(digest) = Checksum::of_etag(&quoted(&there.etag)) else { return Ok(false) };
    let bytes = part.bytes.clone();
    let hash = move || {
        let mut hasher = Hasher::new(Method::Md5);
        hasher.update(&bytes);
        Ok(hasher.finish())
    };
    Ok(blocking(hash).await? == digest)
}

/// Not every service quotes the ETags of its listings.
fn quoted(etag: &str) -> String {
    format!("\"{}\"", etag.trim_matches('"'))
}

const OWN_ALGORITHM: Option<ChecksumAlgorithm> = Some(ChecksumAlgorithm::Crc64Nvme);

/// What the journal notes of bytes.
async fn own(part: &Part) -> Result<Checksum> {
    part.checksum(OWN_ALGORITHM).await.map(|sum| sum.unwrap_or_else(|| unreachable!("an algorithm was given")))
}

fn stored(head: ObjectHead) -> Stored {
    Stored { etag: head.etag, version_id: head.version_id }
}

/// Seconds and nanoseconds since 1970; empty where files have no times.
fn time(modified: Option<SystemTime>) -> String {
    let since = modified.map(|time| match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => format!("{}.{:09}", since.as_secs(), since.subsec_nanos()),
        Err(before) => format!("-{}.{:09}", before.duration().as_secs(), before.duration().subsec_nanos()),
    });
    since.unwrap_or_default()
}
