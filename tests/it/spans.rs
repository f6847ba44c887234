//! What `tracing` is told of operations and of their attempts.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use futures::TryStreamExt as _;
use s3flow::testing::{Fault, Operation};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;

use crate::support::{Fixture, in_time, poll_once};

/// All spans and events of a thread.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Collected>>);

#[derive(Default)]
struct Collected {
    spans: Vec<Seen>,
    /// With the level of each.
    events: Vec<(Level, String)>,
}

#[derive(Clone)]
struct Seen {
    id: u64,
    parent: Option<u64>,
    name: &'static str,
    level: Level,
    fields: BTreeMap<&'static str, String>,
    closed: bool,
}

impl Seen {
    fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }
}

struct Fields<'a>(&'a mut BTreeMap<&'static str, String>);

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Collector {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        // Not those of the server in this process.
        if !attributes.metadata().target().starts_with("s3flow::observe") {
            return;
        }
        let mut fields = BTreeMap::new();
        attributes.record(&mut Fields(&mut fields));
        let parent = context.span(id).and_then(|span| span.parent()).map(|parent| parent.id().into_u64());
        let (name, level) = (attributes.metadata().name(), *attributes.metadata().level());
        self.0.lock().unwrap().spans.push(Seen { id: id.into_u64(), parent, name, level, fields, closed: false });
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, _: Context<'_, S>) {
        let mut collected = self.0.lock().unwrap();
        if let Some(span) = collected.spans.iter_mut().rfind(|span| span.id == id.into_u64()) {
            values.record(&mut Fields(&mut span.fields));
        }
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if !event.metadata().target().starts_with("s3flow") {
            return;
        }
        let mut fields = BTreeMap::new();
        event.record(&mut Fields(&mut fields));
        self.0.lock().unwrap().events.push((*event.metadata().level(), format!("{fields:?}")));
    }

    fn on_close(&self, id: Id, _: Context<'_, S>) {
        let mut collected = self.0.lock().unwrap();
        if let Some(span) = collected.spans.iter_mut().rfind(|span| span.id == id.into_u64()) {
            span.closed = true;
        }
    }
}

impl Collector {
    /// From now on, of this thread, on which a test has all of its tasks.
    fn listen() -> (Self, tracing::subscriber::DefaultGuard) {
        let collector = Self::default();
        let guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(collector.clone()));
        (collector, guard)
    }

    fn named(&self, name: &str) -> Vec<Seen> {
        self.0.lock().unwrap().spans.iter().filter(|span| span.name == name).cloned().collect()
    }
}

#[tokio::test]
async fn an_operation_is_a_span_and_each_of_its_attempts_one_below_it() {
    let fixture = Fixture::new().await;
    fixture.server.put_object("bucket", "a/b", vec![7; 1000]);
    fixture.server.inject(Fault::status(503, "SlowDown").operation(Operation::GetObject).times(1));
    let (collector, _guard) = Collector::listen();
    // A span ends with its operation, however long the object is kept.
    let _object = fixture.s3.get("a/b").await.unwrap();

    let [operation] = &collector.named("operation")[..] else { panic!("one operation") };
    assert_eq!((operation.field("operation"), operation.field("bucket")), ("get", "bucket"));
    assert_eq!((operation.field("outcome"), operation.field("requests")), ("ok", "2"));
    assert_eq!(operation.field("retries"), "1");
    assert!(operation.field("wait_ms").parse::<u64>().unwrap() > 0);
    let [first, second] = &collector.named("attempt")[..] else { panic!("two attempts") };
    let ids: Vec<_> = [first, second].map(|attempt| attempt.field("request_id").to_owned()).into();
    for (attempt, number, status) in [(first, "1", "503"), (second, "2", "200")] {
        assert_eq!((attempt.field("attempt"), attempt.field("status")), (number, status));
        assert_eq!((attempt.parent, attempt.field("method")), (Some(operation.id), "GET"));
        assert!(!attempt.field("answered_ms").is_empty() && !attempt.field("wait_ms").is_empty());
    }
    assert_eq!(second.field("bytes"), "1000");
    assert!(ids.iter().all(|id| !id.is_empty()) && ids[0] != ids[1], "{ids:?}");
    assert!(collector.0.lock().unwrap().spans.iter().all(|span| span.closed && span.level == Level::DEBUG));
}

#[tokio::test]
async fn parts_of_a_large_object_are_attempts_of_their_operation() {
    let fixture = Fixture::new().await;
    let (collector, _guard) = Collector::listen();
    fixture.s3.put("large", vec![1_u8; 20 << 20]).await.unwrap();
    drop(fixture.s3.get("large").await.unwrap());
    let operations = collector.named("operation");
    let names: Vec<_> = operations.iter().map(|span| span.field("operation")).collect();
    assert_eq!(names, ["put", "get"]);
    let attempts = collector.named("attempt");
    for operation in &operations {
        let of_it = attempts.iter().filter(|attempt| attempt.parent == Some(operation.id)).count();
        assert_eq!(of_it.to_string(), operation.field("requests"));
        assert!(of_it >= 3, "{of_it}");
    }
    // What the first request had read ahead comes again.
    for (operation, field) in operations.iter().zip(["bytes_sent", "bytes_received"]) {
        let bytes: u64 = operation.field(field).parse().unwrap();
        assert!((20 << 20..24 << 20).contains(&bytes), "{bytes}");
    }
}

#[tokio::test]
async fn objects_of_a_batch_are_below_the_span_of_who_asks_for_it() {
    use tracing::Instrument as _;

    let fixture = Fixture::new().await;
    let keys = fixture.put_numbered(5);
    let (collector, _guard) = Collector::listen();
    // Each page, and each piece of what is opened, is an operation too.
    let mut opened = fixture.s3.open("k0").await.unwrap();
    tokio::io::AsyncReadExt::read_to_end(&mut opened, &mut Vec::new()).await.unwrap();
    let names: Vec<_> = collector.named("operation").iter().map(|span| span.field("operation").to_owned()).collect();
    assert_eq!(names, ["info", "get"]);
    for attempt in collector.named("attempt") {
        let parent = collector.named("operation").into_iter().find(|span| Some(span.id) == attempt.parent).unwrap();
        assert_eq!((parent.field("requests"), parent.closed), ("1", true));
    }

    let (collector, _guard) = Collector::listen();
    let request = tracing::info_span!("request");
    let id = request.id().map(|id| id.into_u64());
    let all = async {
        fixture.s3.get_many(&keys).try_for_each(|_| async { Ok(()) }).await?;
        fixture.s3.put_many(keys.iter().map(|key| (key.clone(), "new"))).await?;
        fixture.s3.list_recursive([""]).await?;
        fixture.s3.delete_many(&keys).await
    };
    all.instrument(request).await.unwrap();
    let operations = collector.named("operation");
    assert!(operations.iter().all(|span| span.parent == id));
    let count = |name: &str| operations.iter().filter(|span| span.field("operation") == name).count();
    assert_eq!((count("get"), count("put"), count("list_recursive"), count("delete")), (5, 5, 1, 1));
}

#[tokio::test]
async fn a_key_is_shown_by_its_hash_unless_it_is_asked_for() {
    let fixture = Fixture::new().await;
    let (collector, _guard) = Collector::listen();
    fixture.s3.info("abc").return_missing(true).await.unwrap();
    let client = fixture.server.client_builder().keys_in_spans(true).build().unwrap();
    client.s3().s3root("s3://bucket").build().unwrap().info("abc").return_missing(true).await.unwrap();
    let [hidden, shown] = &collector.named("operation")[..] else { panic!("two operations") };
    // printf %s abc | sha256sum | cut -c1-32
    assert_eq!((hidden.field("key"), hidden.field("key_hash")), ("", "ba7816bf8f01cfea414140de5dae2223"));
    assert_eq!((shown.field("key"), shown.field("key_hash")), ("abc", ""));
    let collected = collector.0.lock().unwrap();
    let of_attempts = collected.spans.iter().filter(|span| span.name == "attempt");
    assert!(of_attempts.flat_map(|span| span.fields.values()).all(|value| !value.contains("abc")));
}

#[tokio::test]
async fn what_goes_well_says_nothing_above_debug() {
    let fixture = Fixture::new().await;
    let keys = fixture.put_numbered(20);
    fixture.server.inject(Fault::status(500, "InternalError").operation(Operation::GetObject).times(3));
    let (collector, _guard) = Collector::listen();
    fixture.s3.get_many(&keys).await.unwrap();
    fixture.s3.put("large", vec![1_u8; 20 << 20]).await.unwrap();
    fixture.s3.get("large").bytes().await.unwrap();
    fixture.s3.copy("large", "copy").await.unwrap();
    fixture.s3.close().await.unwrap();
    let collected = collector.0.lock().unwrap();
    let loud: Vec<_> = collected.events.iter().filter(|(level, _)| *level < Level::DEBUG).collect();
    assert!(loud.is_empty(), "{loud:?}");
    assert!(collected.spans.iter().all(|span| span.level >= Level::DEBUG));
}

#[tokio::test]
async fn an_operation_that_is_dropped_or_fails_says_so() {
    let fixture = Fixture::new().await;
    fixture.server.put_object("bucket", "k", "v");
    let (collector, _guard) = Collector::listen();
    fixture.s3.get("missing").await.unwrap_err();
    fixture.server.hold();
    let mut stream = fixture.s3.get("k").stream();
    assert!(poll_once(&mut stream).await.is_pending());
    in_time("the request comes", fixture.server.wait_until(|log| log.len() == 2)).await;
    drop(stream);
    fixture.server.release();
    let outcomes: Vec<_> = collector.named("operation").iter().map(|span| span.field("outcome").to_owned()).collect();
    assert_eq!(outcomes, ["NotFound", "cancelled"]);
    let [answered, given_up] = &collector.named("attempt")[..] else { panic!("two attempts") };
    assert_eq!((answered.field("status"), given_up.field("status")), ("404", ""));
    assert!(given_up.closed);
}
