//! Ranges, missing keys and buckets, and text: the same objects, read by both.

use s3flow::{ErrorKind, S3GetObject};
use serde_json::{Value, json};

use super::Interop;
use super::peer::{TheirRange, bytes, python, said};
use super::table::{Direction, Table};

const TEN: &str = "0123456789";

pub(super) async fn cases(interop: &Interop, table: &mut Table) {
    ranges(interop, table).await;
    ranges_that_differ(interop, table).await;
    missing(interop, table).await;
    without_info(interop, table).await;
    text(interop, table).await;
}

fn asked(offset: Option<u64>, length: Option<i64>) -> (S3GetObject, Value) {
    let mut object = S3GetObject::new("ten");
    if let Some(offset) = offset {
        object = object.offset(offset);
    }
    if let Some(length) = length {
        object = object.length(length);
    }
    (object, python("get", json!({"key": "ten", "offset": offset, "length": length})))
}

async fn ranges(interop: &Interop, table: &mut Table) {
    let (theirs, ours) = (interop.theirs("ranges"), interop.ours("ranges"));
    theirs.call("put", json!({"key": "ten", "obj": TEN, "metadata": {"k": "v"}})).await.unwrap();
    let ranges = [
        (Some(2), Some(3), 2..5),
        (Some(0), Some(1), 0..1),
        (None, Some(4), 0..4),
        (Some(7), None, 7..10),
        (Some(8), Some(100), 8..10),
        (None, Some(-3), 7..10),
        (None, Some(-100), 0..10),
    ];
    let requests = ranges.clone().map(|(offset, length, _)| asked(offset, length));
    let their_requests: Vec<Value> = requests.iter().map(|(_, theirs)| theirs.clone()).collect();
    let their_many = theirs.many("get_many", json!({"keys": their_requests})).await.unwrap();
    let our_many = ours.get_many(requests.iter().map(|(ours, _)| ours.clone())).await.unwrap();
    for ((((offset, length, bytes), (our, their)), their_object), our_object) in
        ranges.into_iter().zip(requests).zip(their_many).zip(our_many)
    {
        let text = &TEN[bytes.clone()];
        let their_single = theirs.one("get", json!({"key": their})).await;
        let our_single = ours.get(our).await;
        let mut texts = Vec::new();
        for object in our_single.iter().chain([&our_object]) {
            texts.push(object.text().await.unwrap());
        }
        let name = |number: Option<i64>| number.map_or_else(|| "none".to_owned(), |number| number.to_string());
        let case =
            format!("range: offset {}, length {}: get, get_many", name(offset.map(u64::cast_signed)), name(length));
        table.case(Direction::Both, case, |case| {
            let (start, count) = (bytes.start as u64, bytes.len() as u64);
            case.equal("ours", texts, vec![text, text]);
            for object in our_single.iter().chain([&our_object]) {
                let range =
                    object.range_info().map(|range| (range.total_size, range.request_offset, range.request_length));
                case.equal("range_info", range, Some((10, start, count)));
                case.equal("size", object.size(), Some(count));
                case.equal("metadata", object.metadata(), json!({"k": "v"}).as_object());
            }
            for object in [case.value("get", their_single), Some(their_object)].into_iter().flatten() {
                case.equal("theirs", object.text.as_deref(), Some(text));
                let range = TheirRange { total_size: 10, request_offset: start, request_length: count };
                case.equal("their range_info", object.range_info, Some(range));
                case.equal("their size", object.size, Some(count));
            }
        });
    }
}

async fn ranges_that_differ(interop: &Interop, table: &mut Table) {
    let (theirs, ours) = (interop.theirs("ranges"), interop.ours("ranges"));
    let (our, their) = asked(Some(2), Some(-3));
    let their_object = theirs.one("get", json!({"key": their})).await;
    let our_text = ours.get(our).await.unwrap().text().await.unwrap();
    table.case(
        Direction::Both,
        "range: offset 2, length -3: Metaflow gets the last 3 bytes, s3flow from 2 to the end",
        |case| {
            case.equal("s3flow", our_text, "23456789");
            if let Some(object) = case.value("get", their_object) {
                case.equal("Metaflow", object.text.as_deref(), Some("789"));
            }
        },
    );
    let (our, their) = asked(Some(10), Some(1));
    let their_object = theirs.one("get", json!({"key": their})).await;
    let our_object = ours.get(our).await;
    table.case(Direction::Both, "range: behind the end: refused by get", |case| {
        case.equal(
            "Metaflow",
            their_object.map_err(|raised| raised.class).err().as_deref(),
            Some("MetaflowS3InvalidRange"),
        );
        case.equal("s3flow", our_object.map_err(|error| error.kind()).err(), Some(ErrorKind::InvalidRange));
    });
    ours.put("empty", "").await.unwrap();
    let their = python("get", json!({"key": "empty", "offset": 0, "length": 1}));
    let their_object = theirs.one("get", json!({"key": their})).await;
    let our_object = ours.get(S3GetObject::new("empty").length(1)).await;
    table.case(Direction::Both, "range: of an empty object: refused by get", |case| {
        case.equal(
            "Metaflow",
            their_object.map_err(|raised| raised.class).err().as_deref(),
            Some("MetaflowS3InvalidRange"),
        );
        case.equal("s3flow", our_object.map_err(|error| error.kind()).err(), Some(ErrorKind::InvalidRange));
    });
}

async fn missing(interop: &Interop, table: &mut Table) {
    let (theirs, ours) = (interop.theirs("missing"), interop.ours("missing"));
    ours.put("there", "v").await.unwrap();
    for method in ["get", "info"] {
        let raised = theirs.one(method, json!({"key": "gone"})).await;
        let missing = theirs.one(method, json!({"key": "gone", "return_missing": true})).await;
        let (error, object) = if method == "get" {
            (ours.get("gone").await, ours.get("gone").return_missing(true).await)
        } else {
            (ours.info("gone").await, ours.info("gone").return_missing(true).await)
        };
        let url = interop.root("missing/gone");
        table.case(Direction::Both, format!("{method} of a missing key"), |case| {
            let raised = raised.err().map(|raised| (raised.class, raised.text));
            case.equal("Metaflow", raised, Some(("MetaflowS3NotFound".to_owned(), url.clone())));
            let error = error.err().map(|error| (error.kind(), error.url().map(str::to_owned)));
            case.equal("s3flow", error, Some((ErrorKind::NotFound, Some(url.clone()))));
        });
        table.case(Direction::Both, format!("{method} of a missing key, return_missing"), |case| {
            if let Some(theirs) = case.value("Metaflow", missing) {
                case.equal("Metaflow", (theirs.exists, theirs.size, theirs.has_info), (false, None, false));
                case.equal("Metaflow", (theirs.url, theirs.key.as_str()), (url.clone(), "gone"));
            }
            if let Some(ours) = case.value("s3flow", object) {
                case.equal("s3flow", (ours.exists(), ours.size(), ours.has_info()), (false, None, false));
                case.equal("s3flow", (ours.url(), ours.key()), (url.as_str(), "gone"));
            }
        });
    }

    let keys = ["gone", "there", "gone", "there"];
    for method in ["get_many", "info_many"] {
        let raised = theirs.many(method, json!({"keys": keys})).await;
        let objects = theirs.many(method, json!({"keys": keys, "return_missing": true})).await;
        let (error, ours) = if method == "get_many" {
            (ours.get_many(keys).await, ours.get_many(keys).return_missing(true).await)
        } else {
            (ours.info_many(keys).await, ours.info_many(keys).return_missing(true).await)
        };
        table.case(Direction::Both, format!("{method} with missing keys"), |case| {
            case.equal("Metaflow", raised.map_err(|raised| raised.class).err().as_deref(), Some("MetaflowS3NotFound"));
            case.equal("s3flow", error.map_err(|error| error.kind()).err(), Some(ErrorKind::NotFound));
        });
        table.case(Direction::Both, format!("{method} with missing keys, each twice, return_missing"), |case| {
            let expected = keys.map(|key| (key.to_owned(), key == "there")).to_vec();
            if let Some(theirs) = case.value("Metaflow", objects) {
                case.equal(
                    "Metaflow",
                    theirs.into_iter().map(|theirs| (theirs.key, theirs.exists)).collect::<Vec<_>>(),
                    expected.clone(),
                );
            }
            if let Some(ours) = case.value("s3flow", ours) {
                case.equal(
                    "s3flow",
                    ours.iter().map(|ours| (ours.key().to_owned(), ours.exists())).collect::<Vec<_>>(),
                    expected,
                );
            }
        });
    }
}

async fn without_info(interop: &Interop, table: &mut Table) {
    let (theirs, ours) = (interop.theirs("missing"), interop.ours("missing"));
    let single = theirs.one("get", json!({"key": "there", "return_info": false})).await.unwrap();
    let many = theirs.many("get_many", json!({"keys": ["there"], "return_info": false})).await.unwrap();
    let our_single = ours.get("there").return_info(false).await.unwrap();
    let our_many = ours.get_many(["there"]).return_info(false).await.unwrap();
    table.case(Direction::Both, "return_info=False: get, get_many", |case| {
        for object in [&single].into_iter().chain(&many) {
            case.equal(
                "Metaflow",
                (object.has_info, object.content_type.as_deref(), object.last_modified),
                (false, None, None),
            );
            case.equal("Metaflow", object.text.as_deref(), Some("v"));
        }
        for object in [&our_single].into_iter().chain(&our_many) {
            case.equal("s3flow", (object.has_info(), object.content_type(), object.range_info()), (false, None, None));
            case.equal("s3flow", object.size(), Some(1));
        }
    });
}

async fn text(interop: &Interop, table: &mut Table) {
    let (theirs, ours) = (interop.theirs("text"), interop.ours("text"));
    let value = b"ab\xffcd";
    theirs.call("put", json!({"key": "latin", "obj": bytes(value)})).await.unwrap();
    let object = theirs.one("get", json!({"key": "latin"})).await;
    let got = ours.get("latin").await.unwrap();
    let (text, blob) = (got.text().await, got.blob().await);
    table.case(
        Direction::Both,
        "text that is not UTF-8: Metaflow replaces, s3flow's text() is an error, blob() is not",
        |case| {
            if let Some(object) = case.value("get", object) {
                case.equal("Metaflow", object.text.as_deref(), Some("ab\u{fffd}cd"));
                case.equal("Metaflow's blob", object.blob, Some(said(value)));
            }
            case.equal("s3flow", text.map_err(|error| error.kind()), Err(ErrorKind::InvalidObject));
            case.equal("s3flow's blob", blob.map_err(|error| error.to_string()).as_deref(), Ok(value.as_slice()));
        },
    );
}
