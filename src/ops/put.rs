//! `put`, `put_many`, `put_files`, `put_from`.

use std::fmt;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::SystemTime;

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use serde_json::Value;

use super::Operation;
use super::journals::{open, when_open};
use super::many::{Many, awaited_in_order, fan_out, known_length, numbered, progress, settings_of_many};
use super::turns::Turns;
use crate::address::Address;
use crate::blocking::blocking;
use crate::config::checked_part_size;
use crate::encryption::Encryption;
use crate::error::{Error, ErrorKind, Result};
use crate::journal::Journal;
use crate::observe::Subject;
use crate::receipt::{PutOutcome, PutReceipt};
use crate::request::{S3PutObject, Source};
use crate::s3::S3;
use crate::store::{ObjectHeaders, WriteCondition};
use crate::transfer::{self, Outcome, Upload};

/// One upload; await it. Made by [`S3::put`].
///
/// # Errors
///
/// Before any request: [`InvalidUrl`](crate::ErrorKind::InvalidUrl) for the key, and
/// [`InvalidObject`](crate::ErrorKind::InvalidObject) for metadata over 2 KB, a setting that is not a header's value, tags that
/// S3 does not take, a path that is not a file's, or a value longer than S3 takes. [`Io`](crate::ErrorKind::Io) when the value
/// cannot be read, and [`Changed`](crate::ErrorKind::Changed) when a file changed while it was; nothing is stored then.
/// Afterwards: those of [`Get`](super::Get), without the ones of ranges and of the directory.
///
/// An answer that was lost is asked for again, and in the end the object is looked up: what was stored is a success, whatever
/// was answered. Where that cannot be told either (the look fails or is not allowed, the server may still be at it), the error
/// says so: [`is_outcome_unknown`](Error::is_outcome_unknown). An error without it means that nothing of this put is there.
/// Looking takes five seconds at most, and what remains of a multipart upload is removed before the error comes back, which
/// takes ten at most.
///
/// An object that was put with a condition, or in parts, carries the id of that put in its user metadata (`s3flow-write`, 44
/// bytes that [`S3Object::metadata`](crate::S3Object::metadata) does not show); without one, it is known by its ETag and its
/// time. Metadata of more than 2,004 bytes leaves no room for it, and a lost answer may then remain unknown.
///
/// # Cancel safety
///
/// Dropping the future ends its requests. The object is stored whole or not at all; which of the two is not known. With a
/// [journal](Self::journal), what was sent stays for the next call. Else the parts of a multipart upload are removed by a task
/// of the runtime, if it is still there, within ten seconds and as well as the server lets them. An upload that is just being
/// begun is waited for by such a task, as long, and then removed. Only when the server began one and its answer was lost, an
/// upload without parts stays, which nothing tells from another client's.
#[derive(Debug)]
#[must_use = "a put does nothing unless it is awaited"]
pub struct Put {
    s3: S3,
    object: S3PutObject,
    settings: Settings,
    journal: Option<PathBuf>,
}

#[derive(Debug, Clone, Default)]
struct Settings {
    condition: Option<WriteCondition>,
    check_then_put: bool,
    part_size: Option<u64>,
}

impl Settings {
    fn overwrite(&mut self, overwrite: bool) {
        self.condition = (!overwrite).then_some(WriteCondition::Absent);
    }
}

/// Setters that are those of the object.
macro_rules! setters_of_the_object {
    ($($name:ident($value:ident: $type:ty)),* $(,)?) => {$(
        #[doc = concat!("See [`S3PutObject::", stringify!($name), "`].")]
        pub fn $name(mut self, $value: $type) -> Self {
            self.object = self.object.$name($value);
            self
        }
    )*};
}

impl Put {
    pub(crate) fn new(s3: S3, object: S3PutObject) -> Self {
        Self { s3, object, settings: Settings::default(), journal: None }
    }

    /// Goes on where a process was killed, of a value that is a [file](crate::PutValue::file): the directory `path`, which is made if it is
    /// missing (mode 0700), notes what has been sent, in `journal.jsonl`, and the next call with the same journal sends what is missing.
    /// Nothing has to be called before the process ends.
    ///
    /// * A file of over 10 MiB goes in parts of 5 MiB, or of [`part_size`](Self::part_size). The next call asks the server for those that
    ///   it has (ListParts), reads the file, and sends each part that is not there or has other bytes: it compares the checksum that the
    ///   server tells, or the ETag and the CRC64NVME that were noted when it was sent, or an ETag that is an MD5 digest. What a kill
    ///   loses is what was on its way: at most a hundredth of the file, or a part.
    /// * A put that fails or is dropped leaves its parts to the next call, too; it does not abort the upload. If the journal is lost,
    ///   [`S3::abandoned_uploads`] finds them.
    /// * A file that has another size or time than noted is another one: its old upload is aborted, and it is sent from the beginning.
    ///   Other headers, metadata or encryption are so too.
    /// * What was stored is not sent again as long as the object has the same ETag and the file the same size, time and bytes:
    ///   [`PutOutcome::AlreadyStored`], also of what was stored just before the process was killed.
    ///   [`overwrite(false)`](Self::overwrite) and [`if_match`](Self::if_match) mean what they mean without a journal, and their own
    ///   success of an earlier call is no object of another's.
    /// * The journal is locked as long as the put lives: another call with it, of any process, is an [`ErrorKind::Journal`], as one of
    ///   another operation, of another key, of another version of the format, or damaged is. Then nothing was deleted or overwritten.
    ///   The last line without its end is what a kill leaves, and is no damage.
    ///
    /// A value that is no file is [`ErrorKind::InvalidObject`]. [Remove](std::fs::remove_dir_all) the directory when all is done.
    ///
    /// ```
    /// # async fn example(s3: s3flow::S3) -> s3flow::Result<()> {
    /// use s3flow::PutValue;
    ///
    /// let receipt = s3.put("model.bin", PutValue::file("/data/model.bin")).journal("/data/model.journal").await?;
    /// println!("{:?}", receipt.outcome());
    /// std::fs::remove_dir_all("/data/model.journal").ok();
    /// # Ok(())
    /// # }
    /// ```
    pub fn journal(mut self, path: impl Into<PathBuf>) -> Self {
        self.journal = Some(path.into());
        self
    }

    /// Whether an object that is there is replaced. When not, the server decides atomically (`If-None-Match: *`): of several
    /// that race for a key, exactly one stores it, and [`PutReceipt::uploaded`] tells. Default: true.
    ///
    /// Not every service like S3 keeps this condition; garage 2.5 overwrites. So the first such put to a bucket that is not
    /// Amazon's own tries it on an object of its own, `.s3flow-probe-…` beside the key, which it deletes again (empty, it stays
    /// where the credentials do not allow that, and as a version in a bucket that keeps them). When the service ignores the
    /// condition, the put is [`ErrorKind::Unsupported`], unless there is
    /// [`check_then_put`](Self::check_then_put).
    ///
    /// What the server says is looked up before it is believed, which costs a HEAD when the object is there: an answer may have
    /// been lost, or a proxy may have sent the put twice, and then it meets its own success. So
    /// [`PutOutcome::Created`] is said to exactly one of those that race, and [`PutOutcome::AlreadyExists`] when the object
    /// that is there is another's. (If an answer was lost, ours may have been there for a moment, and been replaced.) Who may
    /// not read hears the server's word, and if an answer was lost, an [`ErrorKind::Other`] whose
    /// [outcome is unknown](Error::is_outcome_unknown).
    pub fn overwrite(mut self, overwrite: bool) -> Self {
        self.settings.overwrite(overwrite);
        self
    }

    /// Replaces only the object with this ETag, in its quotes (`If-Match`); any other is [`ErrorKind::Changed`], and none at
    /// all [`ErrorKind::NotFound`]. In place of [`overwrite`](Self::overwrite). What is said there of services that ignore
    /// conditions holds here too, and what is said of looking: an own success is [`PutOutcome::Replaced`].
    ///
    /// To read, change and put again in a loop until it is not [`ErrorKind::Changed`] is safe as long as the
    /// [outcome is known](Error::is_outcome_unknown). When an answer was lost and another writer's object is there, that one may
    /// have been made out of ours.
    pub fn if_match(mut self, etag: impl Into<String>) -> Self {
        self.settings.condition = Some(WriteCondition::Matches(etag.into()));
        self
    }

    /// On a service that ignores conditions of writes: whether to look first, and then put. Another writer in between is
    /// overwritten. Default: false.
    pub fn check_then_put(mut self, check: bool) -> Self {
        self.settings.check_then_put = check;
        self
    }

    /// The size of the parts of a long value, in bytes, 5 MiB to 5 GiB (else [`ErrorKind::Config`]), in place of the scope's;
    /// see [`ClientBuilder::part_size`](crate::ClientBuilder::part_size).
    pub fn part_size(mut self, bytes: u64) -> Self {
        self.settings.part_size = Some(bytes);
        self
    }

    setters_of_the_object! {
        content_type(content_type: impl Into<String>),
        cache_control(directives: impl Into<String>),
        content_disposition(disposition: impl Into<String>),
        content_encoding(encoding: impl Into<String>),
        content_language(language: impl Into<String>),
        expires(time: SystemTime),
        storage_class(class: impl Into<String>),
        tags(tags: impl IntoIterator<Item = (impl Into<String>, impl Into<String>)>),
        metadata(metadata: impl IntoIterator<Item = (impl Into<String>, impl Into<Value>)>),
        encryption(encryption: Encryption),
    }
}

impl Put {
    progress!();

    /// The same with `more` behind its value.
    pub(super) fn with_more(mut self, more: impl Stream<Item = std::io::Result<Bytes>> + Send + 'static) -> Self {
        self.object.value = self.object.value.map(|value| value.with_more(more));
        self
    }
}

impl IntoFuture for Put {
    type Output = Result<PutReceipt>;
    type IntoFuture = Operation<PutReceipt>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { s3, object, settings, journal } = self;
        s3.clone().single(async move {
            let part_size = settings.part_size.map(checked_part_size).transpose();
            part_size.map_err(|error| error.with_operation("put", None))?;
            let prepared = prepare(&s3, object)?;
            let journal = match journal {
                Some(_) if !matches!(prepared.value, Source::File(_)) => {
                    return Err(no_file().with_operation("put", Some(prepared.address.location.url())));
                }
                Some(path) => Some(open(path, vec![prepared.address.location.url()], "put").await?),
                None => None,
            };
            put(&s3, 0, prepared, &settings, journal.as_ref()).await
        })
    }
}

/// A put with everything checked that can be without the network or the disk.
struct Prepared {
    address: Address,
    headers: ObjectHeaders,
    value: Source,
}

fn prepare(s3: &S3, object: S3PutObject) -> Result<Prepared> {
    let S3PutObject { key, value, properties } = object;
    let address = s3
        .root()
        .object(&key)
        .map_err(|invalid| Error::new(ErrorKind::InvalidUrl, invalid.0).with_operation("put", None))?;
    let named = |error: Error| error.with_operation("put", Some(address.location.url()));
    let value = value.ok_or_else(|| named(Error::new(ErrorKind::InvalidObject, "the object has no value")))?.0;
    let headers = ObjectHeaders::new(&properties, s3.encryption()).map_err(named)?;
    let headers = headers.with_checksum(s3.engine().integrity.algorithm);
    Ok(Prepared { address, headers, value })
}

async fn put(
    s3: &S3,
    index: usize,
    prepared: Prepared,
    settings: &Settings,
    journal: Option<&Arc<Journal>>,
) -> Result<PutReceipt> {
    let Prepared { address, headers, value } = prepared;
    let upload = Upload {
        location: &address.location,
        headers: &headers,
        condition: settings.condition.as_ref(),
        check_then_put: settings.check_then_put,
        part_size: settings.part_size.or(s3.part_size()),
    };
    let named = |error: Error| error.with_operation("put", Some(address.location.url()));
    s3.scope().check_open().map_err(named)?;
    let subject = Subject::object("put", &address.location);
    let uploaded = match (journal, value) {
        (None, value) => s3.change(subject, transfer::upload(s3.engine(), upload, value)).await,
        (Some(journal), Source::File(path)) => {
            s3.change(subject, transfer::upload_journaled(s3.engine(), upload, path, journal)).await
        }
        (Some(_), _) => Err(no_file()),
    };
    s3.changed(&address.location);
    let (outcome, stored) = match uploaded {
        Ok(Outcome::Stored(stored)) => (PutOutcome::Stored, Some(stored)),
        Ok(Outcome::Created(stored)) => (PutOutcome::Created, Some(stored)),
        Ok(Outcome::Replaced(stored)) => (PutOutcome::Replaced, Some(stored)),
        Ok(Outcome::AlreadyStored(stored)) => (PutOutcome::AlreadyStored, Some(stored)),
        Ok(Outcome::Exists) => (PutOutcome::AlreadyExists, None),
        Err(error) => return Err(named(error)),
    };
    Ok(PutReceipt::new(index, address, outcome, stored, s3.reported()))
}

fn no_file() -> Error {
    Error::new(ErrorKind::InvalidObject, "a journal is for files, and the value is none")
}

/// Many uploads: a stream of receipts as they complete, or awaited, a `Vec` in the order given. Made by [`S3::put_many`],
/// [`S3::put_files`] and [`S3::put_from`].
///
/// Every input yields one item, with two exceptions: with `overwrite(false)`, those that existed are left out, as in Metaflow,
/// and of a batch that is refused before it begins (below) only what is wrong is told. An error is an item too, and the stream
/// goes on after it. Of several inputs with the same key, each waits for those before it: the last one wins.
///
/// What can be checked without the network is checked first, for the whole of a `put_many` or `put_files` (a key, metadata, a
/// file that is not there): if anything is wrong, nothing is uploaded, and the items are the errors of those inputs. A
/// `put_from`, whose inputs come one by one, checks each before its upload.
///
/// At most [`concurrency`](Self::concurrency) uploads are under way or waiting to be taken. The settings are made before the
/// first poll; later ones have no effect.
///
/// # Errors
///
/// Each item: one of those of [`Put`], with the [index](Error::index) of its input. Awaited, the first one, which cancels the
/// rest. A concurrency of 0, or a part size that S3 does not take, is one [`Config`](crate::ErrorKind::Config) error without
/// an index.
///
/// # Cancellation
///
/// Dropping the stream, or the future, ends its requests. Each object is stored whole or not at all; see [`Put`].
#[must_use = "a put_many does nothing unless it is polled or awaited"]
pub struct PutMany {
    s3: S3,
    many: Many<(usize, Prepared), PutReceipt>,
    settings: Settings,
    journal: Option<PathBuf>,
}

impl PutMany {
    pub(crate) fn of_all(s3: S3, objects: Vec<S3PutObject>) -> Self {
        let (scope, length) = (s3.clone(), objects.len());
        let inputs = futures::stream::once(async move {
            let inputs = prepare_all(scope, objects).await.unwrap_or_else(|error| vec![Err(error)]);
            futures::stream::iter(inputs)
        });
        Self::new(s3, inputs.flatten(), Some(length))
    }

    pub(crate) fn of_stream(s3: S3, objects: impl Stream<Item = Result<S3PutObject>> + Send + 'static) -> Self {
        let scope = s3.clone();
        let length = known_length(&objects);
        let inputs = objects.map(move |object| prepare(&scope, object?));
        Self::new(s3, numbered(inputs), length)
    }

    fn new(
        s3: S3,
        inputs: impl Stream<Item = Result<(usize, Prepared)>> + Send + 'static,
        length: Option<usize>,
    ) -> Self {
        Self { s3, many: Many::new(inputs, length), settings: Settings::default(), journal: None }
    }

    /// Goes on where a process was killed, as [`Put::journal`] does, with all files in one journal. The next call may have more or other
    /// files: each is looked up by its URL and path. A journal is of one root; without an `s3root`, of whole URLs.
    pub fn journal(mut self, path: impl Into<PathBuf>) -> Self {
        self.journal = Some(path.into());
        self
    }

    /// Whether objects that are there are replaced; see [`Put::overwrite`]. Default: true.
    pub fn overwrite(mut self, overwrite: bool) -> Self {
        self.settings.overwrite(overwrite);
        self
    }

    /// See [`Put::check_then_put`]. Default: false.
    pub fn check_then_put(mut self, check: bool) -> Self {
        self.settings.check_then_put = check;
        self
    }

    /// See [`Put::part_size`].
    pub fn part_size(mut self, bytes: u64) -> Self {
        match checked_part_size(bytes) {
            Ok(bytes) => self.settings.part_size = Some(bytes),
            Err(error) => self.many.refuse(error),
        }
        self
    }

    settings_of_many!();
}

/// All inputs, or the errors of those that cannot be put.
async fn prepare_all(s3: S3, objects: Vec<S3PutObject>) -> Result<Vec<Result<(usize, Prepared)>>> {
    blocking(move || {
        let checked = |object| {
            let prepared = prepare(&s3, object)?;
            if let Source::File(path) = &prepared.value {
                let named = |error: Error| error.with_operation("put", Some(prepared.address.location.url()));
                transfer::check_file(path).map_err(named)?;
            }
            Ok(prepared)
        };
        let mut inputs = Vec::with_capacity(objects.len());
        let mut refused = Vec::new();
        for (index, object) in objects.into_iter().enumerate() {
            match checked(object) {
                Ok(prepared) => inputs.push(Ok((index, prepared))),
                Err(error) => refused.push(Err(Error::with_index(error, index))),
            }
        }
        Ok(if refused.is_empty() { inputs } else { refused })
    })
    .await
}

impl Stream for PutMany {
    type Item = Result<PutReceipt>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { s3, many, settings, journal } = self.get_mut();
        loop {
            let next = many.poll_by(cx, s3.counters(), s3.concurrency(), |inputs, concurrency, ordered| {
                let (s3, settings, turns) = (s3.clone(), settings.clone(), Turns::default());
                let targets = s3.s3root().map(str::to_owned).into_iter().collect();
                let opened = journal.take().map(|path| open(path, targets, "put_files"));
                let start = move |journal: Option<Arc<Journal>>| {
                    let counters = Arc::clone(s3.counters());
                    fan_out(&counters, inputs, concurrency, ordered, move |index, prepared: Prepared| {
                        let (s3, settings, journal) = (s3.another_object(), settings.clone(), journal.clone());
                        let mut turn = turns.take(&prepared.address.location);
                        async move {
                            turn.begin().await;
                            put(&s3, index, prepared, &settings, journal.as_ref()).await
                        }
                    })
                };
                match opened {
                    None => start(None),
                    Some(opened) => when_open(opened, move |journal| start(Some(journal))),
                }
            });
            match next {
                Poll::Ready(Some(Ok(receipt))) if !receipt.uploaded() => {}
                other => return other,
            }
        }
    }
}

awaited_in_order!(PutMany: PutReceipt);

impl fmt::Debug for PutMany {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PutMany").field("s3", &self.s3).field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// An item of a stream given to [`S3::put_from`]: what can be made into an [`S3PutObject`], or a `Result` of it.
pub trait PutInput: Send + 'static {
    /// The request, or the error that takes its place.
    ///
    /// # Errors
    ///
    /// The item's own.
    fn into_put(self) -> Result<S3PutObject>;
}

impl<T: Into<S3PutObject> + Send + 'static> PutInput for T {
    fn into_put(self) -> Result<S3PutObject> {
        Ok(self.into())
    }
}

impl<T: Into<S3PutObject> + Send + 'static> PutInput for Result<T, Error> {
    fn into_put(self) -> Result<S3PutObject> {
        self.map(Into::into)
    }
}

/// An input of [`S3::put_files`]: a pair of a key and a path, or an [`S3PutObject::file`] that says more.
pub trait FileInput {
    /// The request.
    fn into_put(self) -> S3PutObject;
}

impl<K: Into<String>, P: Into<PathBuf>> FileInput for (K, P) {
    fn into_put(self) -> S3PutObject {
        S3PutObject::file(self.0, self.1)
    }
}

impl FileInput for S3PutObject {
    fn into_put(self) -> S3PutObject {
        self
    }
}
