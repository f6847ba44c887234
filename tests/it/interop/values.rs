//! Values of other kinds, large ones, metadata that is not JSON, and puts without overwriting.

use s3flow::{PutValue, S3PutObject};
use serde_json::{Value, json};

use super::Interop;
use super::peer::{bytes, python, said};
use super::table::{Differences, Direction, Table};

pub(super) async fn cases(interop: &Interop, table: &mut Table) {
    kinds(interop, table).await;
    large(interop, table).await;
    not_json(interop, table).await;
    without_overwriting(interop, table).await;
}

/// What a value can be made of on each side.
async fn kinds(interop: &Interop, table: &mut Table) {
    let (theirs, ours) = (interop.theirs("kinds"), interop.ours("kinds"));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "tëxt").unwrap();
    let text = json!("tëxt");
    let reader = match bytes("tëxt".as_bytes()) {
        Value::Object(tagged) => python("reader", tagged["$bytes"].clone()),
        _ => unreachable!("a tagged value"),
    };
    let file_value = python("file", file.path().to_str().unwrap());
    for (kind, value) in [("str", &text), ("BytesIO", &reader), ("open file", &file_value)] {
        theirs.call("put", json!({"key": kind, "obj": value})).await.unwrap();
    }
    let pairs = [("str", &text), ("BytesIO", &reader)];
    let pairs = pairs.map(|(kind, value)| python("tuple", vec![json!(format!("many/{kind}")), value.clone()]));
    theirs.call("put_many", json!({"key_objs": pairs})).await.unwrap();
    let pair = python("tuple", vec![json!("files/path"), json!(file.path())]);
    theirs.call("put_files", json!({"key_paths": [pair]})).await.unwrap();
    for (key, case) in [
        ("str", "put of a str"),
        ("BytesIO", "put of a BytesIO"),
        ("open file", "put of an open file"),
        ("many/str", "put_many of a tuple with a str"),
        ("many/BytesIO", "put_many of a tuple with a BytesIO"),
        ("files/path", "put_files of a tuple"),
    ] {
        let mut differences = Differences::default();
        let object = ours.get(key).await.unwrap();
        differences.equal("text", object.text().await.unwrap(), "tëxt");
        table.close(Direction::ToRust, format!("{case}, then get"), differences);
    }

    let chunks = || futures::stream::iter(["të", "xt"].map(Ok::<_, std::io::Error>));
    ours.put("Vec<u8>", "tëxt".as_bytes().to_vec()).await.unwrap();
    ours.put("AsyncRead", PutValue::reader("tëxt".as_bytes())).await.unwrap();
    ours.put("Stream", PutValue::stream(chunks())).await.unwrap();
    ours.put("Path", file.path()).await.unwrap();
    ours.put_files([("put_files of a pair", file.path())]).await.unwrap();
    ours.put_many([("put_many of a pair", "tëxt")]).await.unwrap();
    for key in ["Vec<u8>", "AsyncRead", "Stream", "Path", "put_files of a pair", "put_many of a pair"] {
        let object = theirs.one("get", json!({"key": key})).await;
        table.case(Direction::ToPython, format!("{key}, then get"), |case| {
            if let Some(object) = case.value("get", object) {
                case.equal("text", object.text.as_deref(), Some("tëxt"));
                case.equal("url", object.url, format!("{}/{key}", interop.root("kinds")));
            }
        });
    }
}

/// 20 MiB, which both sides store in parts.
async fn large(interop: &Interop, table: &mut Table) {
    let (theirs, ours) = (interop.theirs("large"), interop.ours("large"));
    let mut number = 1_u32;
    let value: Vec<u8> = std::iter::repeat_with(|| {
        number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        number.to_be_bytes()[0]
    })
    .take(20 << 20)
    .collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &value).unwrap();

    let open = python("file", file.path().to_str().unwrap());
    theirs.call("put", json!({"key": "put", "obj": open, "metadata": {"k": "é"}})).await.unwrap();
    let object = python("put", json!({"key": "put_files", "path": file.path(), "metadata": {"k": "é"}}));
    theirs.call("put_files", json!({"key_paths": [object]})).await.unwrap();
    for key in ["put", "put_files"] {
        let parts = interop.head("large", key).await["ETag"].as_str().unwrap().to_owned();
        let object = ours.get(key).await.unwrap();
        let blob = object.blob().await.unwrap();
        table.case(Direction::ToRust, format!("{key} of 20 MiB in parts, then get"), |case| {
            case.equal("in parts", parts.contains('-'), true);
            case.equal("the same bytes", blob == value, true);
            case.equal("metadata", object.metadata(), json!({"k": "é"}).as_object());
            case.equal("ETag", object.etag(), Some(parts.as_str()));
        });
    }

    ours.put("bytes", &value).metadata([("k", "é")]).await.unwrap();
    let reader = tokio::fs::File::open(file.path()).await.unwrap();
    ours.put("reader", PutValue::reader(reader)).metadata([("k", "é")]).await.unwrap();
    ours.put_files([S3PutObject::file("file", file.path()).metadata([("k", "é")])]).await.unwrap();
    let keys = ["bytes", "reader", "file"];
    let many = theirs.many("get_many", json!({"keys": keys})).await.unwrap();
    for (key, got) in keys.into_iter().zip(many) {
        let parts = interop.head("large", key).await["ETag"].as_str().unwrap().to_owned();
        let single = theirs.one("get", json!({"key": key})).await;
        table.case(Direction::ToPython, format!("20 MiB of {key} in parts, then get, get_many"), |case| {
            case.equal("in parts", parts.contains('-'), true);
            for object in [Some(got), case.value("get", single)].into_iter().flatten() {
                case.equal("bytes", object.blob, Some(said(&value)));
                case.equal("metadata", object.metadata, Some(json!({"k": "é"})));
            }
        });
    }
}

/// Metadata that Python writes or meets and that is no JSON.
async fn not_json(interop: &Interop, table: &mut Table) {
    let (theirs, ours) = (interop.theirs("not-json"), interop.ours("not-json"));
    let metadata = json!({"x": python("float", "nan")});
    theirs.call("put", json!({"key": "nan", "obj": "v", "metadata": metadata})).await.unwrap();
    let head = interop.head("not-json", "nan").await;
    let object = ours.get("nan").await.unwrap();
    let text = object.text().await.unwrap();
    table.case(Direction::ToRust, "metadata with NaN, which is no JSON: s3flow reads the object without it", |case| {
        case.equal("header", head["Metadata"]["metaflow-user-attributes"].clone(), json!("{\"x\": NaN}"));
        case.equal("metadata", object.metadata(), None);
        case.equal("text", text, "v");
    });

    let foreign = json!({
        "Bucket": interop.bucket, "Key": "not-json/foreign", "Body": "v",
        "Metadata": {"metaflow-user-attributes": "no JSON", "other": "x"},
    });
    interop.peer.boto("put_object", foreign).await.unwrap();
    let object = ours.get("foreign").await.unwrap();
    let text = object.text().await.unwrap();
    let raised = theirs.one("get", json!({"key": "foreign"})).await;
    table.case(Direction::Both, "metadata that is not JSON: Metaflow's get raises, s3flow's has no metadata", |case| {
        case.equal(
            "Metaflow",
            raised.map(|object| object.url).map_err(|raised| raised.class),
            Err("JSONDecodeError".to_owned()),
        );
        case.equal("metadata", object.metadata(), None);
        case.equal("text", text, "v");
    });

    let foreign = json!({
        "Bucket": interop.bucket, "Key": "not-json/other", "Body": "v", "Metadata": {"other": "x"},
    });
    interop.peer.boto("put_object", foreign).await.unwrap();
    let object = ours.info("other").await.unwrap();
    let info = theirs.one("info", json!({"key": "other"})).await;
    table.case(Direction::Both, "metadata of others: none for both", |case| {
        case.equal("metadata", object.metadata(), None);
        if let Some(info) = case.value("info", info) {
            case.equal("Metaflow", info.metadata, None);
        }
    });
}

async fn without_overwriting(interop: &Interop, table: &mut Table) {
    let (theirs, ours) = (interop.theirs("overwrite"), interop.ours("overwrite"));
    for key in ["theirs/put", "theirs/put_many"] {
        theirs.call("put", json!({"key": key, "obj": "Metaflow"})).await.unwrap();
    }
    let kept = ours.put("theirs/put", "s3flow").overwrite(false).await.unwrap();
    let text = ours.get("theirs/put").await.unwrap().text().await.unwrap();
    table.case(Direction::ToRust, "put(overwrite=False) of s3flow keeps what Metaflow stored", |case| {
        case.equal("uploaded", kept.uploaded(), false);
        case.equal("text", text, "Metaflow");
    });
    let stored = ours.put_many([("theirs/put_many", "s3flow"), ("new", "s3flow")]).overwrite(false).await.unwrap();
    let urls: Vec<String> = stored.iter().map(|receipt| receipt.key().to_owned()).collect();
    let text = ours.get("theirs/put_many").await.unwrap().text().await.unwrap();
    table.case(Direction::ToRust, "put_many(overwrite=False) of s3flow keeps what Metaflow stored", |case| {
        case.equal("stored", urls, vec!["new"]);
        case.equal("text", text, "Metaflow");
    });

    for key in ["ours/put", "ours/put_many"] {
        ours.put(key, "s3flow").await.unwrap();
    }
    let returned = theirs.call("put", json!({"key": "ours/put", "obj": "Metaflow", "overwrite": false})).await.unwrap();
    let object = theirs.one("get", json!({"key": "ours/put"})).await.unwrap();
    table.case(Direction::ToPython, "put(overwrite=False) of Metaflow keeps what s3flow stored", |case| {
        case.equal("returned", returned, json!(interop.root("overwrite/ours/put")));
        case.equal("text", object.text.as_deref(), Some("s3flow"));
    });
    let pairs = ["ours/put_many", "newer"].map(|key| python("tuple", vec![json!(key), json!("Metaflow")]));
    let returned = theirs.call("put_many", json!({"key_objs": pairs, "overwrite": false})).await.unwrap();
    let object = theirs.one("get", json!({"key": "ours/put_many"})).await.unwrap();
    table.case(Direction::ToPython, "put_many(overwrite=False) of Metaflow keeps what s3flow stored", |case| {
        case.equal("returned", returned, json!([["newer", interop.root("overwrite/newer")]]));
        case.equal("text", object.text.as_deref(), Some("s3flow"));
    });

    theirs.call("put", json!({"key": "both", "obj": "Metaflow"})).await.unwrap();
    ours.put("both", "s3flow").await.unwrap();
    let object = theirs.one("get", json!({"key": "both"})).await.unwrap();
    table.case(Direction::ToPython, "a put of s3flow replaces what Metaflow stored", |case| {
        case.equal("text", object.text.as_deref(), Some("s3flow"));
    });
    theirs.call("put", json!({"key": "both", "obj": "Metaflow"})).await.unwrap();
    let text = ours.get("both").await.unwrap().text().await.unwrap();
    table.case(Direction::ToRust, "a put of Metaflow replaces what s3flow stored", |case| {
        case.equal("text", text, "Metaflow");
    });
}
