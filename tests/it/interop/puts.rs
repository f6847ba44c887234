//! Every item, stored with each method of one side and read with each of the other.

use std::path::PathBuf;
use std::time::SystemTime;

use s3flow::{S3, S3Object, S3PutObject};
use serde_json::{Value, json};

use super::Interop;
use super::items::{Item, items};
use super::peer::{TheirRange, Theirs, bytes, python, said};
use super::table::{Differences, Direction, Table};

pub(super) async fn cases(interop: &Interop, table: &mut Table) {
    let files = tempfile::tempdir().unwrap();
    let items: Vec<(Item, PathBuf)> = items()
        .into_iter()
        .enumerate()
        .map(|(number, item)| {
            let path = files.path().join(number.to_string());
            std::fs::write(&path, &item.body).unwrap();
            (item, path)
        })
        .collect();
    for method in ["put", "put_many", "put_files"] {
        they_put(interop, table, method, &items).await;
    }
    for method in ["put", "put_many", "put_files", "put_from"] {
        we_put(interop, table, method, &items).await;
    }
}

/// What an object is expected to be, for whoever reads it.
pub(super) struct Expected<'a> {
    pub(super) root: &'a str,
    pub(super) item: &'a Item,
    pub(super) encryption: Option<&'a str>,
}

async fn they_put(interop: &Interop, table: &mut Table, method: &str, items: &[(Item, PathBuf)]) {
    let name = format!("theirs-{method}");
    let (root, theirs, ours) = (interop.root(&name), interop.theirs(&name), interop.ours(&name));
    let mut stored = Differences::default();
    let urls: Vec<String> = items.iter().map(|(item, _)| format!("{root}/{}", item.key)).collect();
    if method == "put" {
        for ((item, _), url) in items.iter().zip(&urls) {
            let arguments = json!({
                "key": item.key, "obj": bytes(&item.body), "content_type": item.content_type, "metadata": item.metadata,
            });
            stored.equal("returned", theirs.call("put", arguments).await.unwrap(), json!(url));
        }
    } else {
        let objects = items.iter().map(|(item, path)| {
            let (field, value) =
                if method == "put_many" { ("value", bytes(&item.body)) } else { ("path", json!(path)) };
            let mut object = json!({
                "key": item.key, "content_type": item.content_type, "metadata": item.metadata,
            });
            object[field] = value;
            python("put", object)
        });
        let argument = if method == "put_many" { "key_objs" } else { "key_paths" };
        let returned = theirs.call(method, json!({argument: objects.collect::<Vec<_>>()})).await.unwrap();
        let pairs: Vec<Value> = items.iter().zip(&urls).map(|((item, _), url)| json!([item.key, url])).collect();
        stored.equal("returned", returned, Value::from(pairs));
    }
    sorted_keys(&mut stored, interop.stored_below(&name).await, items);
    table.close(Direction::ToRust, format!("{method}: every object under its key"), stored);

    let keys: Vec<&str> = items.iter().map(|(item, _)| item.key).collect();
    let many = ours.get_many(&keys).await.unwrap();
    for ((item, _), of_many) in items.iter().zip(&many) {
        let expected = Expected { root: &root, item, encryption: None };
        let mut differences = Differences::default();
        we_see(&mut differences, "get_many", of_many, &expected, true).await;
        we_read(&mut differences, &ours, &expected).await;
        table.close(Direction::ToRust, format!("{method}, then get, get_many, info: {}", item.name), differences);
    }
}

async fn we_put(interop: &Interop, table: &mut Table, method: &str, items: &[(Item, PathBuf)]) {
    let name = format!("ours-{method}");
    let (root, theirs, ours) = (interop.root(&name), interop.theirs(&name), interop.ours(&name));
    let objects = items.iter().map(|(item, path)| {
        let object = if method == "put_files" {
            S3PutObject::file(item.key, path)
        } else {
            S3PutObject::new(item.key, &item.body)
        };
        let object = match item.content_type {
            Some(content_type) => object.content_type(content_type),
            None => object,
        };
        match &item.metadata {
            Some(metadata) => object.metadata(metadata.as_object().unwrap().clone()),
            None => object,
        }
    });
    let receipts = match method {
        "put" => {
            let mut receipts = Vec::new();
            for (item, _) in items {
                let mut put = ours.put(item.key, &item.body);
                if let Some(content_type) = item.content_type {
                    put = put.content_type(content_type);
                }
                if let Some(metadata) = &item.metadata {
                    put = put.metadata(metadata.as_object().unwrap().clone());
                }
                receipts.push(put.await.unwrap());
            }
            receipts
        }
        "put_many" => ours.put_many(objects).await.unwrap(),
        "put_files" => ours.put_files(objects).await.unwrap(),
        _ => ours.put_from(futures::stream::iter(objects.collect::<Vec<_>>())).await.unwrap(),
    };
    let mut stored = Differences::default();
    for ((item, _), receipt) in items.iter().zip(&receipts) {
        stored.equal("url", receipt.url(), format!("{root}/{}", item.key));
        stored.equal("key", receipt.key(), item.key);
    }
    sorted_keys(&mut stored, interop.stored_below(&name).await, items);
    table.close(Direction::ToPython, format!("{method}: every object under its key"), stored);

    let keys: Vec<&str> = items.iter().map(|(item, _)| item.key).collect();
    let many = theirs.many("get_many", json!({"keys": keys})).await.unwrap();
    let infos = theirs.many("info_many", json!({"keys": keys})).await.unwrap();
    for (((item, _), of_many), of_infos) in items.iter().zip(&many).zip(&infos) {
        let expected = Expected { root: &root, item, encryption: None };
        let mut differences = Differences::default();
        they_see(&mut differences, "get_many", of_many, &expected, true);
        they_see(&mut differences, "info_many", of_infos, &expected, false);
        for (reader, downloaded) in [("get", true), ("info", false)] {
            if let Some(object) = differences.value(reader, theirs.one(reader, json!({"key": item.key})).await) {
                they_see(&mut differences, reader, &object, &expected, downloaded);
            }
        }
        // What Metaflow decodes, boto3 sees as it is in the header.
        let head = interop.head(&name, item.key).await;
        let stored = head["Metadata"].get("metaflow-user-attributes").map(|text| text.as_str().unwrap());
        differences.equal("ASCII", stored.is_none_or(str::is_ascii), true);
        let read = stored.map(|text| serde_json::from_str::<Value>(text).unwrap());
        differences.equal("the header", read, item.metadata.clone());
        let case = format!("{method}, then get, get_many, info, info_many: {}", item.name);
        table.close(Direction::ToPython, case, differences);
    }
}

fn sorted_keys(differences: &mut Differences, mut stored: Vec<String>, items: &[(Item, PathBuf)]) {
    let mut expected: Vec<&str> = items.iter().map(|(item, _)| item.key).collect();
    expected.sort_unstable();
    stored.sort_unstable();
    differences.equal("stored keys", stored, expected);
}

/// Reads one object with `get` and `info`.
pub(super) async fn we_read(differences: &mut Differences, ours: &S3, expected: &Expected<'_>) {
    if let Some(object) = differences.value("get", ours.get(expected.item.key).await) {
        we_see(differences, "get", &object, expected, true).await;
    }
    if let Some(object) = differences.value("info", ours.info(expected.item.key).await) {
        we_see(differences, "info", &object, expected, false).await;
    }
}

/// Every property of an object of ours.
pub(super) async fn we_see(
    differences: &mut Differences,
    reader: &str,
    object: &S3Object,
    expected: &Expected<'_>,
    downloaded: bool,
) {
    let Expected { root, item, encryption } = expected;
    let mut equal = |property: &str, seen: Value, expected: Value| {
        differences.equal(&format!("{reader}: {property}"), seen, expected);
    };
    let size = item.body.len();
    equal("exists", json!(object.exists()), json!(true));
    equal("downloaded", json!(object.downloaded()), json!(downloaded));
    equal("url", json!(object.url()), json!(format!("{root}/{}", item.key)));
    equal("prefix", json!(object.prefix()), json!(root));
    equal("key", json!(object.key()), json!(item.key));
    equal("size", json!(object.size()), json!(size));
    equal("has_info", json!(object.has_info()), json!(true));
    equal("metadata", json!(object.metadata()), json!(item.metadata));
    equal("content_type", json!(object.content_type()), json!(item.content_type.unwrap_or("binary/octet-stream")));
    equal("encryption", json!(object.encryption()), json!(encryption));
    let range = object.range_info().map(|range| (range.total_size, range.request_offset, range.request_length));
    equal("range_info", json!(range), json!((size, 0, size)));
    let age = object.last_modified().map(|time| SystemTime::now().duration_since(time).unwrap_or_default());
    equal("last_modified", json!(age.is_some_and(|age| age.as_secs() < 3600)), json!(true));
    if downloaded {
        let blob = object.blob().await.map_err(|error| error.to_string());
        differences.equal(&format!("{reader}: blob"), blob.as_ref(), Ok(&item.body));
    }
}

/// Every property of an object of Metaflow's.
pub(super) fn they_see(
    differences: &mut Differences,
    reader: &str,
    object: &Theirs,
    expected: &Expected<'_>,
    downloaded: bool,
) {
    let Expected { root, item, encryption } = expected;
    let mut equal = |property: &str, seen: Value, expected: Value| {
        differences.equal(&format!("{reader}: {property}"), seen, expected);
    };
    let size = item.body.len() as u64;
    equal("exists", json!(object.exists), json!(true));
    equal("downloaded", json!(object.downloaded), json!(downloaded));
    equal("url", json!(object.url), json!(format!("{root}/{}", item.key)));
    equal("prefix", json!(object.prefix), json!(root));
    // Metaflow's keys lose the slashes at their ends.
    equal("key", json!(object.key), json!(item.key.trim_end_matches('/')));
    equal("size", json!(object.size), json!(size));
    equal("has_info", json!(object.has_info), json!(true));
    equal("metadata", json!(object.metadata), json!(item.metadata));
    equal("content_type", json!(object.content_type), json!(item.content_type.unwrap_or("binary/octet-stream")));
    equal("encryption", json!(object.encryption), json!(encryption));
    equal("last_modified", json!(object.last_modified.is_some_and(|time| time > 1e9)), json!(true));
    equal("blob", json!(object.blob), json!(downloaded.then(|| said(&item.body))));
    // Metaflow's infos have no range.
    let range = downloaded.then_some(TheirRange { total_size: size, request_offset: 0, request_length: size });
    differences.equal(&format!("{reader}: range_info"), &object.range_info, &range);
}
