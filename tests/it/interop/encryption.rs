//! Server-side encryption, asked for by one side and reported by the other.

use s3flow::{Encryption, KmsKey, S3PutObject};
use serde_json::{Value, json};

use super::Interop;
use super::items::{Item, items};
use super::peer::{Theirs, bytes, python};
use super::puts::{Expected, they_see, we_read};
use super::table::{Differences, Direction, Table};

pub(super) async fn cases(interop: &Interop, table: &mut Table) {
    let item = &items()[4];
    for (text, encryption) in [("AES256", Encryption::Aes256), ("aws:kms", Encryption::AwsKms(KmsKey::default()))] {
        they_encrypt(interop, table, text, item).await;
        we_encrypt(interop, table, text, encryption, item).await;
    }
    of_one_object(interop, table).await;
    with_a_key(interop, table).await;
}

fn renamed(item: &Item, key: &'static str) -> Item {
    Item { key, ..item.clone() }
}

async fn they_encrypt(interop: &Interop, table: &mut Table, text: &str, item: &Item) {
    let name = format!("encrypted-theirs-{text}");
    let (root, ours) = (interop.root(&name), interop.ours(&name));
    let theirs = interop.peer.s3(json!({"s3root": root, "encryption": text}));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &item.body).unwrap();
    let object = |key: &str, field: &str, value: Value| {
        let mut object = json!({"key": key, "metadata": item.metadata});
        object[field] = value;
        json!([python("put", object)])
    };
    let put = json!({"key": "put", "obj": bytes(&item.body), "metadata": item.metadata});
    theirs.call("put", put).await.unwrap();
    let many = object("put_many", "value", bytes(&item.body));
    theirs.call("put_many", json!({"key_objs": many})).await.unwrap();
    let files = object("put_files", "path", json!(file.path()));
    theirs.call("put_files", json!({"key_paths": files})).await.unwrap();
    for method in ["put", "put_many", "put_files"] {
        let item = renamed(item, method);
        let mut differences = Differences::default();
        we_read(&mut differences, &ours, &Expected { root: &root, item: &item, encryption: Some(text) }).await;
        table.close(Direction::ToRust, format!("S3(encryption={text:?}).{method}, then get, info"), differences);
    }
}

async fn we_encrypt(interop: &Interop, table: &mut Table, text: &str, encryption: Encryption, item: &Item) {
    let name = format!("encrypted-ours-{text}");
    let (root, theirs, plain) = (interop.root(&name), interop.theirs(&name), interop.ours(&name));
    let scope = interop.client.s3().s3root(&root).encryption(encryption.clone()).build().unwrap();
    let metadata = || item.metadata.clone().unwrap().as_object().unwrap().clone();
    scope.put("of the scope", &item.body).metadata(metadata()).await.unwrap();
    plain.put("of the put", &item.body).metadata(metadata()).encryption(encryption.clone()).await.unwrap();
    let object = S3PutObject::new("of the object", &item.body).metadata(metadata()).encryption(encryption);
    plain.put_many([object]).await.unwrap();
    let keys = ["of the scope", "of the put", "of the object"];
    let many = theirs.many("get_many", json!({"keys": keys})).await.unwrap();
    let infos = theirs.many("info_many", json!({"keys": keys})).await.unwrap();
    for ((key, got), info) in keys.into_iter().zip(&many).zip(&infos) {
        let item = renamed(item, key);
        let expected = Expected { root: &root, item: &item, encryption: Some(text) };
        let mut differences = Differences::default();
        they_see(&mut differences, "get_many", got, &expected, true);
        they_see(&mut differences, "info_many", info, &expected, false);
        let single: Theirs = theirs.one("get", json!({"key": key})).await.unwrap();
        they_see(&mut differences, "get", &single, &expected, true);
        differences.equal("boto3", interop.head(&name, key).await["ServerSideEncryption"].clone(), json!(text));
        table.close(Direction::ToPython, format!("{text} {key}, then get, get_many, info_many"), differences);
    }
}

/// Metaflow ignores the encryption of an `S3PutObject`.
async fn of_one_object(interop: &Interop, table: &mut Table) {
    let (theirs, ours) = (interop.theirs("encrypted-one"), interop.ours("encrypted-one"));
    let object = python("put", json!({"key": "theirs", "value": "v", "encryption": "AES256"}));
    theirs.call("put_many", json!({"key_objs": [object]})).await.unwrap();
    ours.put_many([S3PutObject::new("ours", "v").encryption(Encryption::Aes256)]).await.unwrap();
    let (of_theirs, of_ours) = (ours.info("theirs").await.unwrap(), ours.info("ours").await.unwrap());
    table.case(
        Direction::ToRust,
        "S3PutObject(encryption=\"AES256\"): Metaflow stores it without, s3flow with",
        |case| {
            case.equal("Metaflow's", of_theirs.encryption(), None);
            case.equal("ours", of_ours.encryption(), Some("AES256"));
        },
    );
}

/// What Metaflow cannot ask for, it reads.
async fn with_a_key(interop: &Interop, table: &mut Table) {
    let (theirs, ours) = (interop.theirs("encrypted-key"), interop.ours("encrypted-key"));
    let id = "arn:aws:kms:us-east-1:123456789012:key/00000000-0000-4000-8000-000000000000";
    ours.put("k", "v").encryption(Encryption::AwsKms(KmsKey::new(id))).await.unwrap();
    let head = interop.head("encrypted-key", "k").await;
    let object = theirs.one("get", json!({"key": "k"})).await;
    table.case(Direction::ToPython, "aws:kms with a key of one's own, then get", |case| {
        case.equal("boto3", head["SSEKMSKeyId"].clone(), json!(id));
        if let Some(object) = case.value("get", object) {
            case.equal("encryption", object.encryption.as_deref(), Some("aws:kms"));
            case.equal("text", object.text.as_deref(), Some("v"));
        }
    });
}
