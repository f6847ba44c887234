//! Every fault at every kind of request, with the outcome that was decided beforehand: what the caller sees, what is stored, how
//! many requests it took, and that nothing stays.
//!
//! A row is a fault that befalls one request, or all of its kind. A column is a request of an operation.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _};
use s3flow::testing::{Fault, Operation, S3Server};
use s3flow::{ErrorKind, PutValue, Result, RetryPolicy, S3GetObject, TlsRoots};

use crate::support::{Fixture, count, in_time};

/// Parts of 8 MiB: three of them, either way.
const LARGE: usize = (20 << 20) + 1;
/// Repeated attempts of the clients here.
const RETRIES: usize = 2;
const IDLE: Duration = Duration::from_millis(250);

macro_rules! columns {
    ($($(#[$doc:meta])* $column:ident,)*) => {
        /// Which request of which operation.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        enum Column {
            $($(#[$doc])* $column,)*
        }

        const COLUMNS: &[Column] = &[$(Column::$column),*];
    };
}

columns! {
    GetSmall,
    /// Whose headers say that it is large.
    GetLargeFirst,
    GetLargePart,
    GetRange,
    PutSmall,
    MultipartCreate,
    MultipartPart,
    MultipartComplete,
    /// A part of a value that cannot be read twice.
    PutStreamPart,
    PutAbsent,
    Info,
    ListFirst,
    ListNext,
    DeleteMany,
    Copy,
}

use Column::*;

const GETS: &[Column] = &[GetSmall, GetLargeFirst, GetLargePart, GetRange];
const LISTS: &[Column] = &[ListFirst, ListNext];
const PARTS: &[Column] = &[MultipartPart, PutStreamPart];
/// Those that change what is stored.
const WRITES: &[Column] = &[PutSmall, PutAbsent, MultipartComplete, Copy, DeleteMany];
/// Those whose answer is a document.
const DOCUMENTS: &[Column] = &[MultipartCreate, MultipartComplete, ListFirst, ListNext, DeleteMany, Copy];

/// What the caller sees, and how many requests of the column's kind that takes beyond the usual.
#[derive(Debug, Clone, Copy)]
enum Outcome {
    /// The operation does what it is to do.
    Done {
        more: usize,
    },
    /// An error of this kind, after so many attempts of the request, and nothing is stored.
    Fails(ErrorKind, usize),
    /// An error of this kind, after so many attempts, that says that the write may have been carried out.
    Unknown(ErrorKind, usize, Write),
    /// As `Done` and `Fails`, and so many uploads stay whose ids nobody was told: for `abandoned_uploads`.
    DoneLeaving {
        more: usize,
        uploads: usize,
    },
    FailsLeaving(ErrorKind, usize, usize),
    /// The fault cannot befall this request.
    No,
}

use Outcome::*;

/// What has become of a write that nobody can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Write {
    CarriedOut,
    Not,
}

/// Once: the same request is sent again, and that settles it.
const AGAIN: Outcome = Done { more: 1 };
const UNHARMED: Outcome = Done { more: 0 };

/// Every attempt of the patience fails.
const fn never(kind: ErrorKind) -> Outcome {
    Fails(kind, RETRIES + 1)
}

struct Row {
    name: &'static str,
    fault: Box<dyn Fn(&S3Server) -> Fault + Send + Sync>,
    outcome: Outcome,
    /// Where the outcome is another.
    but: Vec<(&'static [Column], Outcome)>,
}

/// A fault that befalls one request.
fn once(name: &'static str, fault: impl Fn(&S3Server) -> Fault + Send + Sync + 'static, outcome: Outcome) -> Row {
    Row { name, fault: Box::new(fault), outcome, but: Vec::new() }
}

/// A fault that befalls all requests of the kind, from the column's on.
fn always(name: &'static str, fault: impl Fn(&S3Server) -> Fault + Send + Sync + 'static, outcome: Outcome) -> Row {
    once(name, move |server| fault(server).times(usize::MAX), outcome)
}

impl Row {
    fn but(mut self, columns: &'static [Column], outcome: Outcome) -> Self {
        self.but.push((columns, outcome));
        self
    }

    fn outcome(&self, column: Column) -> Outcome {
        let other = self.but.iter().rev().find(|(columns, _)| columns.contains(&column));
        other.map_or(self.outcome, |(_, outcome)| *outcome)
    }
}

impl Column {
    fn operation(self) -> Operation {
        match self {
            GetSmall | GetLargeFirst | GetLargePart | GetRange => Operation::GetObject,
            PutSmall | PutAbsent => Operation::PutObject,
            MultipartCreate => Operation::CreateMultipartUpload,
            MultipartPart | PutStreamPart => Operation::UploadPart,
            MultipartComplete => Operation::CompleteMultipartUpload,
            Info => Operation::HeadObject,
            ListFirst | ListNext => Operation::ListObjectsV2,
            DeleteMany => Operation::DeleteObjects,
            Copy => Operation::CopyObject,
        }
    }

    /// Which of the requests of its kind it is.
    fn call(self) -> usize {
        match self {
            GetLargePart | MultipartPart | PutStreamPart | ListNext => 2,
            _ => 1,
        }
    }

    /// How many requests of its kind the operation sends when nothing goes wrong.
    fn usual(self) -> usize {
        match self {
            GetLargeFirst | GetLargePart | MultipartPart | PutStreamPart => 3,
            ListFirst | ListNext => 2,
            _ => 1,
        }
    }

    /// What is there before, and what has to be there when the operation is done.
    fn written(self) -> Option<(&'static str, Bytes)> {
        match self {
            PutSmall | PutAbsent => Some(("new", "text".into())),
            Copy => Some(("new", "small".into())),
            MultipartCreate | MultipartPart | MultipartComplete | PutStreamPart => Some(("new", large())),
            _ => None,
        }
    }

    async fn run(self, fixture: &Fixture) -> Result<()> {
        let s3 = &fixture.s3;
        match self {
            GetSmall => assert_eq!(s3.get("small").await?.text().await?, "small"),
            GetLargeFirst | GetLargePart => assert!(s3.get("large").await?.blob().await? == large()),
            GetRange => {
                let object = s3.get(S3GetObject::new("large").offset(5).length(100_000)).await?;
                assert!(object.blob().await? == large()[5..100_005]);
            }
            PutSmall => drop(s3.put("new", "text").await?),
            MultipartCreate | MultipartPart | MultipartComplete => drop(s3.put("new", large()).await?),
            PutStreamPart => {
                let chunks: Vec<Bytes> = large().chunks(1 << 20).map(Bytes::copy_from_slice).collect();
                let value = PutValue::stream(futures::stream::iter(chunks).map(Ok::<_, std::io::Error>));
                drop(s3.put("new", value).await?);
            }
            PutAbsent => assert!(s3.put("new", "text").overwrite(false).await?.uploaded()),
            Info => assert_eq!(s3.info("small").await?.size(), Some(5)),
            ListFirst | ListNext => {
                // One page after another, so that the number of requests is known.
                let listed = s3.list_recursive(["d"]).concurrency(1).await?;
                assert_eq!(listed.iter().map(|object| object.key()).collect::<Vec<_>>(), ["0", "1", "2", "3"]);
            }
            DeleteMany => assert_eq!(s3.delete_many(["d/0", "d/1"]).await?.len(), 2),
            Copy => drop(s3.copy("small", "new").await?),
        }
        Ok(())
    }
}

/// Bytes that differ from part to part.
fn large() -> Bytes {
    static LARGE_BYTES: std::sync::OnceLock<Bytes> = std::sync::OnceLock::new();
    LARGE_BYTES.get_or_init(|| crate::cases::uploads::patterned(LARGE).into()).clone()
}

fn policy() -> RetryPolicy {
    RetryPolicy::default()
        .transient_retries(RETRIES as u32)
        .throttled_retries(RETRIES as u32)
        .first_wait(Duration::from_millis(1))
        .longest_wait(Duration::from_millis(2))
        .throttled_floor(Duration::ZERO)
        .longest_retry_after(Duration::from_millis(5))
}

/// A server and a client that have seen nothing yet but what is asked once for a bucket.
async fn fixture(column: Column) -> Fixture {
    let server = S3Server::builder().bucket("bucket").page_size(2).start().await.unwrap();
    let builder = server.client_builder().tls_roots(TlsRoots::None).retry_policy(policy()).idle_timeout(IDLE);
    let client = builder.build().unwrap();
    let fixture = Fixture::with_client(server, client);
    if column == PutAbsent {
        fixture.s3.put("known", "").overwrite(false).await.unwrap();
    }
    let server = &fixture.server;
    server.put_object("bucket", "small", "small");
    server.put_object("bucket", "large", large());
    for number in 0..4 {
        server.put_object("bucket", &format!("d/{number}"), "text");
    }
    server.clear_log();
    fixture
}

/// One cell; false when there is none.
async fn check(row: &Row, column: Column) -> bool {
    let at = format!("{} at {column:?}", row.name);
    let outcome = row.outcome(column);
    if matches!(outcome, No) {
        return false;
    }
    let fixture = &fixture(column).await;
    let server = &fixture.server;
    server.inject((row.fault)(server).operation(column.operation()).on_call(column.call()));

    let result = in_time(&at, column.run(fixture)).await;
    let log = server.log();
    server.clear_faults();
    let sent = count(&log, column.operation());
    let (stored, failed, uploads) = match (outcome, &result) {
        (Done { more }, Ok(())) | (DoneLeaving { more, .. }, Ok(())) => {
            assert_eq!(sent, column.usual() + more, "{at}: requests: {log:#?}");
            (true, None, if let DoneLeaving { uploads, .. } = outcome { uploads } else { 0 })
        }
        (Fails(kind, attempts), Err(error)) => (false, Some((error, kind, attempts, false)), 0),
        (FailsLeaving(kind, attempts, uploads), Err(error)) => (false, Some((error, kind, attempts, false)), uploads),
        (Unknown(kind, attempts, write), Err(error)) => {
            (write == Write::CarriedOut, Some((error, kind, attempts, true)), 0)
        }
        (outcome, result) => panic!("{at}: {result:?} in place of {outcome:?}"),
    };
    if let Some((error, kind, attempts, unknown)) = failed {
        assert_eq!((error.kind(), error.is_outcome_unknown()), (kind, unknown), "{at}: {error:?}");
        assert_eq!(error.attempts() as usize, attempts, "{at}: {error:?}");
        // Those before it went well, and others beside it may have failed as often.
        let before = column.call() - 1;
        let most = before + (column.usual() - before) * attempts.max(1);
        assert!((before + attempts..=most).contains(&sent), "{at}: {sent} requests");
        let place = error.url().is_some_and(|url| url.starts_with("s3://bucket"));
        assert!(place && error.operation().is_some(), "{at}: {error:?}");
    }
    if let Some((key, value)) = column.written() {
        let there = server.object("bucket", key);
        assert!(there == stored.then_some(value), "{at}: {:?} bytes are stored", there.map(|bytes| bytes.len()));
    }
    if column == DeleteMany {
        let gone = server.object("bucket", "d/0").is_none() && server.object("bucket", "d/1").is_none();
        assert_eq!(gone, stored, "{at}: {:?}", server.keys("bucket"));
    }
    let cleaned = async {
        while fixture.files() > 0 || server.multipart_uploads("bucket").len() > uploads {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    in_time(&format!("{at}: no file and no upload stays"), cleaned).await;
    if uploads > 0 {
        let aborted = fixture.s3.abandoned_uploads([""], Duration::ZERO).abort(true).await.unwrap();
        assert_eq!(aborted.len(), uploads, "{at}");
        assert_eq!(server.multipart_uploads("bucket"), Vec::<String>::new(), "{at}");
    }
    // What it took is given back: a client that was worn out would wait here.
    let key = if GETS.contains(&column) { "large" } else { "small" };
    in_time(&at, fixture.s3.get(key).into_future()).await.unwrap();
    true
}

async fn check_all(rows: &[Row]) {
    let (mut cells, mut wrong) = (0, 0);
    for row in rows {
        for &column in COLUMNS {
            // The others are of interest too; each panic has been printed.
            match AssertUnwindSafe(check(row, column)).catch_unwind().await {
                Ok(checked) => cells += usize::from(checked),
                Err(_) => wrong += 1,
            }
        }
    }
    assert_eq!(wrong, 0, "cells are not as decided");
    eprintln!("fault table: {cells} cells of {} faults at {} requests", rows.len(), COLUMNS.len());
}

#[tokio::test]
async fn answers_that_say_what_is_wrong() {
    use ErrorKind::{AccessDenied, InvalidRange, NoSuchBucket, NotFound, Other, Throttled, Unsupported};

    let status = |status, code: &'static str| Fault::status(status, code);
    check_all(&[
        once("500", move |_| status(500, "InternalError"), AGAIN),
        once("500, carried out", move |_| status(500, "InternalError").carried_out(), AGAIN)
            .but(&[MultipartCreate], DoneLeaving { more: 1, uploads: 1 }),
        always("500 always", move |_| status(500, "InternalError"), never(Other))
            .but(&[DeleteMany], Unknown(Other, RETRIES + 1, Write::Not)),
        once("503", move |_| status(503, "ServiceUnavailable"), AGAIN),
        once("503 SlowDown, Retry-After", move |_| status(503, "SlowDown").retry_after(1), AGAIN),
        always("503 SlowDown always", move |_| status(503, "SlowDown"), never(Throttled)),
        once("429", move |_| status(429, "TooManyRequests"), AGAIN),
        // A HEAD has no code.
        once("400 RequestTimeout", move |_| status(400, "RequestTimeout"), AGAIN).but(&[Info], Fails(Other, 1)),
        once("400 ExpiredToken", move |_| status(400, "ExpiredToken"), Fails(AccessDenied, 1))
            .but(&[Info], Fails(Other, 1)),
        once("403 RequestTimeTooSkewed, Date 10 minutes off", |_| Fault::clock_skew(600), AGAIN),
        once("403 AccessDenied", move |_| status(403, "AccessDenied"), Fails(AccessDenied, 1)),
        once("403 SignatureDoesNotMatch", move |_| status(403, "SignatureDoesNotMatch"), Fails(AccessDenied, 1)),
        once("404 NoSuchBucket", move |_| status(404, "NoSuchBucket"), Fails(NoSuchBucket, 1))
            .but(&[Info], Fails(NotFound, 1)),
        once("409 ConditionalRequestConflict", move |_| status(409, "ConditionalRequestConflict"), AGAIN)
            .but(&[Info], Fails(Other, 1)),
        once("412 after its own success", |_| Fault::precondition_failed_after_success(), No)
            .but(&[PutAbsent], UNHARMED),
        once("416", move |_| status(416, "InvalidRange"), No).but(GETS, Fails(InvalidRange, 1)),
        once("501", move |_| status(501, "NotImplemented"), Fails(Unsupported, 1))
            .but(&[DeleteMany], UNHARMED)
            .but(&[PutSmall, MultipartCreate], AGAIN),
        once("301 to another place", |server| Fault::redirect(301, Some(server.endpoint()), None), AGAIN),
        once("307 to another place", |server| Fault::redirect(307, Some(server.endpoint()), None), AGAIN),
    ])
    .await;
}

#[tokio::test]
async fn answers_that_are_none_of_s3() {
    use ErrorKind::{Other, Unsupported};

    check_all(&[
        once("502 in HTML", |_| Fault::html(502), AGAIN),
        always("502 in HTML always", |_| Fault::html(502), never(Other))
            .but(WRITES, Unknown(Other, RETRIES + 1, Write::Not)),
        once("200 in HTML", |_| Fault::html(200), Fails(Unsupported, 1))
            .but(WRITES, Unknown(Unsupported, 1, Write::Not)),
        once("200 with an error", |_| Fault::error_in_200("InternalError"), AGAIN)
            .but(GETS, Fails(Unsupported, 1))
            .but(&[Info], Fails(Unsupported, 1)),
        once(
            "200 with an error after white space",
            |_| Fault::error_in_200("InternalError").after_whitespace(Duration::from_millis(600)),
            No,
        )
        .but(&[MultipartComplete, Copy, DeleteMany, MultipartCreate], AGAIN),
        once("white space before a success", |_| Fault::whitespace(Duration::from_millis(600)), No)
            .but(DOCUMENTS, UNHARMED),
        once("garbage in place of XML", |_| Fault::garbage_xml(), UNHARMED)
            .but(LISTS, Fails(Unsupported, 1))
            .but(&[MultipartCreate], FailsLeaving(Unsupported, 1, 1))
            .but(&[DeleteMany], Unknown(Unsupported, 1, Write::CarriedOut)),
        once("XML cut off", |_| Fault::cut_xml(60), UNHARMED)
            .but(LISTS, Fails(Unsupported, 1))
            .but(&[MultipartCreate], FailsLeaving(Unsupported, 1, 1))
            .but(&[DeleteMany], Unknown(Unsupported, 1, Write::CarriedOut)),
        once("a page token cut off", |_| Fault::truncated_token(), No).but(&[ListFirst], Fails(Other, 1)),
        once("a page token missing", |_| Fault::missing_token(), No).but(&[ListFirst], Fails(Unsupported, 1)),
        once("wrong Content-Range", |_| Fault::wrong_content_range(), No)
            .but(&[GetLargePart, GetRange], Fails(Unsupported, 1)),
        once("200 to a range", |_| Fault::ignore_range(), No).but(&[GetRange], UNHARMED).but(&[GetLargePart], AGAIN),
        once("a body that is too short", |_| Fault::short_body(3), No).but(&[GetLargePart, GetRange], AGAIN),
        once("bytes too many", |_| Fault::extra_bytes(10), No).but(&[GetLargePart, GetRange], UNHARMED),
        once("replaced between two parts", |_| Fault::replace_object("another"), No)
            .but(&[GetLargePart], Fails(ErrorKind::Changed, 1)),
    ])
    .await;
}

#[tokio::test]
async fn connections_that_break() {
    use ErrorKind::{Network, Timeout};

    const SETTLED: Outcome = Done { more: RETRIES };
    check_all(&[
        once("closed before the answer", |_| Fault::close_before_answer(), AGAIN),
        once("reset before the answer", |_| Fault::close_before_answer().reset(), AGAIN),
        always("closed before the answer always", |_| Fault::close_before_answer(), never(Network))
            .but(WRITES, Unknown(Network, RETRIES + 1, Write::Not)),
        once("carried out, and the answer lost", |_| Fault::lose_answer(), AGAIN)
            .but(&[MultipartCreate], DoneLeaving { more: 1, uploads: 1 }),
        always("carried out, and the answer lost always", |_| Fault::lose_answer(), never(Network))
            .but(WRITES, SETTLED)
            .but(&[DeleteMany], Unknown(Network, RETRIES + 1, Write::CarriedOut))
            .but(&[MultipartCreate], FailsLeaving(Network, RETRIES + 1, RETRIES + 1)),
        once("closed in the body", |_| Fault::close_after(3), UNHARMED)
            .but(GETS, AGAIN)
            .but(DOCUMENTS, AGAIN)
            .but(&[MultipartCreate], DoneLeaving { more: 1, uploads: 1 }),
        once("reset in the body", |_| Fault::close_after(3).reset(), UNHARMED)
            .but(GETS, AGAIN)
            .but(DOCUMENTS, AGAIN)
            .but(&[MultipartCreate], DoneLeaving { more: 1, uploads: 1 }),
        once("stalled before the answer", |_| Fault::stall(), AGAIN),
        always("stalled before the answer always", |_| Fault::stall(), never(Timeout))
            .but(WRITES, Unknown(Timeout, RETRIES + 1, Write::Not)),
        once("stalled in the body", |_| Fault::stall_after(3), UNHARMED)
            .but(GETS, AGAIN)
            .but(DOCUMENTS, AGAIN)
            .but(&[MultipartCreate], DoneLeaving { more: 1, uploads: 1 }),
        once("closed in the request", |_| Fault::close_after_request(2), No)
            .but(PARTS, AGAIN)
            .but(&[PutSmall, PutAbsent], AGAIN),
        once("stalled in the request", |_| Fault::stall_after_request(2), No)
            .but(PARTS, AGAIN)
            .but(&[PutSmall, PutAbsent], AGAIN),
        once("a few bytes a second", |_| Fault::trickle(20), No).but(&[GetSmall], UNHARMED),
    ])
    .await;
}
