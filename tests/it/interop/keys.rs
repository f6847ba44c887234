//! Keys that Metaflow changes: what each side sees. Keys that it does not change are items of `puts`.

use s3flow::{ErrorKind, S3Object};
use serde_json::json;

use super::Interop;
use super::peer::{Raised, Theirs, python};
use super::table::{Direction, Table};

pub(super) async fn cases(interop: &Interop, table: &mut Table) {
    question_mark(interop, table).await;
    slashes_in_front(interop, table).await;
    quote_in_front(interop, table).await;
    tabs(interop, table).await;
    whole_urls(interop, table).await;
}

fn class(outcome: &Result<Theirs, Raised>) -> Option<&str> {
    outcome.as_ref().err().map(|raised| raised.class.as_str())
}

fn kind(outcome: &s3flow::Result<S3Object>) -> Option<ErrorKind> {
    outcome.as_ref().err().map(s3flow::Error::kind)
}

/// Metaflow takes what follows a `?` for a query, and drops it.
async fn question_mark(interop: &Interop, table: &mut Table) {
    let (theirs, ours) = (interop.theirs("question/theirs"), interop.ours("question/theirs"));
    let returned = theirs.call("put", json!({"key": "put?v=1", "obj": "v"})).await.unwrap();
    let pair = python("tuple", vec![json!("many?v=1"), json!("v")]);
    theirs.call("put_many", json!({"key_objs": [pair]})).await.unwrap();
    let stored = interop.stored_below("question/theirs").await;
    let exact = ours.get("put?v=1").await;
    let cut = ours.get("put").await.unwrap().text().await.unwrap();
    table.case(Direction::ToRust, "key with ?: Metaflow stores what is before it, and s3flow finds that", |case| {
        case.equal("returned", returned, json!(interop.root("question/theirs/put?v=1")));
        case.equal("boto3", stored, vec!["many", "put"]);
        case.equal("get(\"put?v=1\")", kind(&exact), Some(ErrorKind::NotFound));
        case.equal("get(\"put\")", cut, "v");
    });

    let (theirs, ours) = (interop.theirs("question/ours"), interop.ours("question/ours"));
    ours.put("put?v=1", "v").await.unwrap();
    let stored = interop.stored_below("question/ours").await;
    let got = theirs.one("get", json!({"key": "put?v=1"})).await;
    let listed = theirs.many("list_recursive", json!({})).await.unwrap();
    table.case(
        Direction::ToPython,
        "key with ?: s3flow stores it exactly; Metaflow lists it and cannot get it",
        |case| {
            case.equal("boto3", stored, vec!["put?v=1"]);
            case.equal("get", class(&got), Some("MetaflowS3NotFound"));
            case.equal("listed", listed.iter().map(|object| object.key.as_str()).collect::<Vec<_>>(), vec!["put?v=1"]);
        },
    );
}

async fn slashes_in_front(interop: &Interop, table: &mut Table) {
    let (theirs, ours) = (interop.theirs("lead"), interop.ours("lead"));
    theirs.call("put", json!({"key": "//theirs", "obj": "v"})).await.unwrap();
    ours.put("//ours", "v").await.unwrap();
    let stored = interop.stored_below("lead").await;
    let of_ours = ours.get("//theirs").await.unwrap();
    let of_theirs = theirs.one("get", json!({"key": "//ours"})).await;
    table.case(Direction::Both, "suffix with slashes in front: both leave them out", |case| {
        case.equal("boto3", stored, vec!["ours", "theirs"]);
        case.equal("ours", of_ours.key(), "theirs");
        if let Some(object) = case.value("get", of_theirs) {
            case.equal("theirs", object.key, "ours");
        }
    });

    let url = format!("s3://{}//lead-of-url", interop.bucket);
    let (theirs, ours) = (interop.peer.s3(json!({})), interop.client.s3().build().unwrap());
    theirs.call("put", json!({"key": url, "obj": "v"})).await.unwrap();
    let found = ours.info(&url).await;
    let stripped = ours.info(format!("s3://{}/lead-of-url", interop.bucket)).await;
    table.case(Direction::ToRust, "URL of a key with a slash in front: Metaflow stores it without the slash", |case| {
        case.equal("with", kind(&found), Some(ErrorKind::NotFound));
        case.equal("without", kind(&stripped), None);
    });

    let url = format!("s3://{}//lead-of-ours", interop.bucket);
    ours.put(&url, "v").await.unwrap();
    let head = interop.peer.boto("head_object", json!({"Bucket": interop.bucket, "Key": "/lead-of-ours"})).await;
    let got = theirs.one("get", json!({"key": url})).await;
    table.case(
        Direction::ToPython,
        "URL of a key with a slash in front: s3flow stores it so; Metaflow cannot get it",
        |case| {
            case.value("boto3", head);
            case.equal("get", class(&got), Some("MetaflowS3NotFound"));
        },
    );
}

/// Metaflow's `info` strips quotes, and its `get` does not.
async fn quote_in_front(interop: &Interop, table: &mut Table) {
    let url = format!("s3://{}/\"quoted\"", interop.bucket);
    let (theirs, ours) = (interop.peer.s3(json!({})), interop.client.s3().build().unwrap());
    theirs.call("put", json!({"key": url, "obj": "v"})).await.unwrap();
    let (got, info) = (theirs.one("get", json!({"key": url})).await, theirs.one("info", json!({"key": url})).await);
    let of_ours = ours.info(&url).await;
    table.case(
        Direction::Both,
        "key with a quote in front: Metaflow gets it and has no info of it; s3flow has both",
        |case| {
            case.equal("get", class(&got), None);
            case.equal("info", class(&info), Some("MetaflowS3NotFound"));
            case.equal("ours", kind(&of_ours), None);
        },
    );
}

/// Metaflow drops tabs and line feeds of URLs.
async fn tabs(interop: &Interop, table: &mut Table) {
    let theirs = interop.theirs("tabs");
    let returned = theirs.call("put", json!({"key": "t\tb", "obj": "v"})).await.unwrap();
    let stored = interop.stored_below("tabs").await;
    let found = interop.ours("tabs").info("tb").await;
    table.case(Direction::ToRust, "key with a tab: Metaflow stores it without, and s3flow finds that", |case| {
        case.equal("returned", returned, json!(interop.root("tabs/t\tb")));
        case.equal("boto3", stored, vec!["tb"]);
        case.equal("info(\"tb\")", kind(&found), None);
    });
}

async fn whole_urls(interop: &Interop, table: &mut Table) {
    let (theirs, ours) = (interop.peer.s3(json!({})), interop.client.s3().build().unwrap());
    let (by_them, by_us) = (interop.root("urls/a b/#1"), interop.root("urls/é+%2F"));
    theirs.call("put", json!({"key": by_them, "obj": "v"})).await.unwrap();
    let object = ours.get(&by_them).await.unwrap();
    table.case(Direction::ToRust, "S3() with whole URLs: put, then get", |case| {
        case.equal("key", object.key(), by_them.as_str());
        case.equal("prefix", object.prefix(), None);
    });
    ours.put(&by_us, "v").await.unwrap();
    let object = theirs.one("get", json!({"key": by_us})).await;
    table.case(Direction::ToPython, "S3() with whole URLs: put, then get", |case| {
        if let Some(object) = case.value("get", object) {
            case.equal("key", object.key, by_us);
            case.equal("prefix", object.prefix, None);
        }
    });
    let (theirs_error, ours_error) = (theirs.one("get", json!({"key": "k"})).await, ours.get("k").await);
    table.case(Direction::Both, "S3() with a suffix: refused", |case| {
        case.equal("Metaflow", class(&theirs_error), Some("MetaflowS3URLException"));
        case.equal("s3flow", kind(&ours_error), Some(ErrorKind::InvalidUrl));
    });
    let url = interop.root("urls/k");
    let theirs_error = interop.theirs("urls").one("get", json!({"key": url})).await;
    let ours_error = interop.ours("urls").get(&url).await;
    table.case(Direction::Both, "S3(s3root=…) with a whole URL: refused", |case| {
        case.equal("Metaflow", class(&theirs_error), Some("MetaflowS3URLException"));
        case.equal("s3flow", kind(&ours_error), Some(ErrorKind::InvalidUrl));
    });
    let root = interop.root("urls/root object");
    let (theirs, ours) = (interop.peer.at(&root), interop.client.s3().s3root(&root).build().unwrap());
    theirs.call("put", json!({"key": "", "obj": "v"})).await.unwrap();
    let (got, object) = (ours.get("").await.unwrap(), theirs.one("get", json!({})).await);
    table.case(Direction::Both, "the empty key is the root", |case| {
        case.equal("ours", (got.url(), got.key(), got.prefix()), (root.as_str(), root.as_str(), None));
        if let Some(object) = case.value("get", object) {
            case.equal("theirs", (object.url, object.key, object.prefix), (root.clone(), root.clone(), None));
        }
    });
}
