//! Objects addressed by run: both sides with the same configuration file.

use s3flow::S3;
use serde_json::{Value, json};

use super::Interop;
use super::items::Item;
use super::items::items;
use super::peer::{Metaflow, bytes, python};
use super::puts::{Expected, they_see, we_read};
use super::table::{Differences, Direction, Table};

pub(super) async fn cases(interop: &Interop, table: &mut Table) {
    let second = interop.root("other/prefix");
    let bucket = interop.bucket.as_str();
    let run = |overrides: Value| {
        let mut arguments = json!({"run": python("run", "TrainFlow/1234")});
        arguments.as_object_mut().unwrap().extend(overrides.as_object().unwrap().clone());
        interop.peer.s3(arguments)
    };
    let ours = || interop.client.s3().run("TrainFlow/1234");
    let elsewhere = "s3flow-elsewhere";
    interop.peer.boto("create_bucket", json!({"Bucket": elsewhere})).await.unwrap();
    for (case, theirs, ours, root) in [
        ("run", run(json!({})), ours(), interop.root("runs/TrainFlow/1234")),
        (
            "run, prefix",
            run(json!({"prefix": "other/prefix"})),
            ours().prefix("other/prefix"),
            format!("{second}/TrainFlow/1234"),
        ),
        (
            "run, bucket",
            run(json!({"bucket": elsewhere})),
            ours().bucket(elsewhere),
            format!("s3://{elsewhere}/runs/TrainFlow/1234"),
        ),
        (
            "run, bucket, prefix",
            run(json!({"bucket": elsewhere, "prefix": "p"})),
            ours().bucket(elsewhere).prefix("p"),
            format!("s3://{elsewhere}/p/TrainFlow/1234"),
        ),
        (
            "run wins over s3root",
            run(json!({"s3root": format!("s3://{bucket}/not/here")})),
            ours().s3root(format!("s3://{bucket}/not/here")),
            interop.root("runs/TrainFlow/1234"),
        ),
    ] {
        both_ways(table, case, &theirs, &ours.build().unwrap(), &root).await;
    }
}

async fn both_ways(table: &mut Table, case: &str, theirs: &Metaflow<'_>, ours: &S3, root: &str) {
    let all = items();
    let keyed = |key: &'static str| Item { key, metadata: Some(json!({"épo que": 3})), ..all[0].clone() };
    let item = keyed("by Metaflow");
    let put = json!({"key": item.key, "obj": bytes(&item.body), "metadata": item.metadata});
    let url = theirs.call("put", put).await.unwrap();
    let mut differences = Differences::default();
    differences.equal("url", url, json!(format!("{root}/{}", item.key)));
    we_read(&mut differences, ours, &Expected { root, item: &item, encryption: None }).await;
    table.close(Direction::ToRust, format!("S3({case}): put, then get, info"), differences);

    let item = keyed("by s3flow");
    let metadata = item.metadata.clone().unwrap().as_object().unwrap().clone();
    let receipt = ours.put(item.key, &item.body).metadata(metadata).await.unwrap();
    let mut differences = Differences::default();
    differences.equal("url", receipt.url(), format!("{root}/{}", item.key));
    let expected = Expected { root, item: &item, encryption: None };
    for (reader, downloaded) in [("get", true), ("info", false)] {
        if let Some(object) = differences.value(reader, theirs.one(reader, json!({"key": item.key})).await) {
            they_see(&mut differences, reader, &object, &expected, downloaded);
        }
    }
    table.close(Direction::ToPython, format!("S3({case}): put, then get, info"), differences);
}
