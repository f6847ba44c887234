//! Every fault at every kind of request, with the outcome that was decided beforehand: what the caller sees, what is stored, how
//! many requests it took, and that nothing stays.
//!
//! A row is a fault that befalls one request, or all of its kind. A column is a request of an operation.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use s3flow::testing::{Fault, Operation, S3Server};
use s3flow::{Error, ErrorKind, PutValue, Result, RetryPolicy, S3GetObject};

use crate::support::{Fixture, count, in_time};

/// Parts of 8 MiB: three of them, either way.
const LARGE: usize = (20 << 20) + 1;
/// Repeated attempts of the clients here.
const RETRIES: usize = 2;
const IDLE: Duration = Duration::from_millis(250);

/// Which request of which operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
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

const COLUMNS: [Column; 15] = [
    GetSmall,
    GetLargeFirst,
    GetLargePart,
    GetRange,
    PutSmall,
    MultipartCreate,
    MultipartPart,
    MultipartComplete,
    PutStreamPart,
    PutAbsent,
    Info,
    ListFirst,
    ListNext,
    DeleteMany,
    Copy,
];

const GETS: &[Column] = &[GetSmall, GetLargeFirst, GetLargePart, GetRange];
const LISTS: &[Column] = &[ListFirst, ListNext];

/// What the caller sees, and how many requests of the column's kind that takes beyond the usual.
#[derive(Debug, Clone, Copy)]
enum Outcome {
    /// The operation does what it is to do.
    Done { more: usize },
    /// An error of this kind, after so many attempts of the request, and nothing is stored.
    Fails(ErrorKind, usize),
    /// An error of this kind, after so many attempts, that says that the write may have been carried out; it was.
    Unknown(ErrorKind, usize),
    /// The fault cannot befall this request.
    No,
}

use Outcome::*;

/// Once: the same request is sent again, and that settles it.
const AGAIN: Outcome = Done { more: 1 };
const UNHARMED: Outcome = Done { more: 0 };

/// Every attempt of the patience fails.
const fn never(kind: ErrorKind) -> Outcome {
    Fails(kind, RETRIES + 1)
}

struct Row {
    name: &'static str,
    fault: fn() -> Fault,
    outcome: Outcome,
    /// Where the outcome is another.
    but: Vec<(&'static [Column], Outcome)>,
}

fn row(name: &'static str, fault: fn() -> Fault, outcome: Outcome) -> Row {
    Row { name, fault, outcome, but: Vec::new() }
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
                let listed = s3.list_recursive(["d"]).await?;
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

async fn fixture() -> Fixture {
    let server = S3Server::builder().bucket("bucket").page_size(2).md5(false).start().await.unwrap();
    let client = server.client_builder().retry_policy(policy()).idle_timeout(IDLE).build().unwrap();
    let fixture = Fixture::with_client(server, client);
    // What is asked once for a bucket is known, and a connection is there.
    fixture.s3.put("known", "").overwrite(false).await.unwrap();
    fixture
}

/// One cell, on a server that has seen others.
async fn check(fixture: &Fixture, row: &Row, column: Column) -> bool {
    let at = format!("{} at {column:?}", row.name);
    let outcome = row.outcome(column);
    if matches!(outcome, No) {
        return false;
    }
    let server = &fixture.server;
    for key in server.keys("bucket") {
        server.remove_object("bucket", &key);
    }
    server.put_object("bucket", "small", "small");
    server.put_object("bucket", "large", large());
    for number in 0..4 {
        server.put_object("bucket", &format!("d/{number}"), "text");
    }
    server.clear_log();
    server.clear_faults();
    server.inject((row.fault)().operation(column.operation()).on_call(column.call()));

    let result = in_time(&at, column.run(fixture)).await;
    server.clear_faults();
    let sent = count(&server.log(), column.operation());
    let (done, attempts) = match (outcome, &result) {
        (Done { more }, Ok(())) => {
            assert_eq!(sent, column.usual() + more, "{at}: requests");
            (true, None)
        }
        (Fails(kind, attempts), Err(error)) => {
            assert!(error.kind() == kind && !error.is_outcome_unknown(), "{at}: {error:?}");
            (false, Some((error, attempts)))
        }
        (Unknown(kind, attempts), Err(error)) => {
            assert!(error.kind() == kind && error.is_outcome_unknown(), "{at}: {error:?}");
            (true, Some((error, attempts)))
        }
        (outcome, result) => panic!("{at}: {result:?} in place of {outcome:?}"),
    };
    if let Some((error, attempts)) = attempts {
        assert_eq!(error.attempts() as usize, attempts, "{at}: {error:?}");
        // The first requests went well, and so did what came beside.
        let before = column.call() - 1;
        assert!((before + attempts..=column.usual() - 1 + attempts).contains(&sent), "{at}: {sent} requests");
        assert_facts(&at, error);
    }
    if let Some((key, value)) = column.written() {
        let there = server.object("bucket", key);
        assert!(there == done.then_some(value), "{at}: {:?} bytes are stored", there.map(|bytes| bytes.len()));
    }
    let clean = || fixture.files() == 0 && server.multipart_uploads("bucket").is_empty();
    let cleaned = async {
        while !clean() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    in_time(&format!("{at}: no file and no upload stays"), cleaned).await;
    true
}

/// An error names its operation and its place.
fn assert_facts(at: &str, error: &Error) {
    assert!(
        error.operation().is_some() && error.url().is_some_and(|url| url.starts_with("s3://bucket")),
        "{at}: {error:?}"
    );
}

async fn check_all(rows: &[Row]) {
    let fixture = fixture().await;
    let mut cells = 0;
    for row in rows {
        for column in COLUMNS {
            cells += usize::from(check(&fixture, row, column).await);
        }
    }
    // What all of them took is given back.
    in_time("an operation after all of them", fixture.s3.put("after", "text").into_future()).await.unwrap();
    eprintln!("fault table: {cells} cells of {} rows and {} columns", rows.len(), COLUMNS.len());
}
