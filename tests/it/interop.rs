//! s3flow and Metaflow itself on the same objects, side by side, with boto3 as a witness.
//!
//! Runs when `S3FLOW_TEST_PEER` names the peer, which `tests/interop/run` does, beside moto. Where Metaflow loses something,
//! the case says what each side sees.

mod encryption;
mod items;
mod keys;
mod listings;
mod peer;
mod puts;
mod reads;
mod runs;
mod steps;
mod table;
mod values;

use s3flow::{Client, S3};
use serde_json::{Value, json};

use self::peer::{Metaflow, Peer};
use self::table::Table;

/// Both sides, and a bucket.
struct Interop {
    peer: Peer,
    client: Client,
    bucket: String,
}

impl Interop {
    /// `None` without a peer.
    fn new() -> Option<Self> {
        let variable = |name: &str| std::env::var(name).ok();
        let script = variable("S3FLOW_TEST_PEER")?;
        let python = variable("S3FLOW_TEST_PEER_PYTHON").expect("the Python that has metaflow");
        // The endpoint is Metaflow's configuration; the keys are of the environment.
        let client = Client::builder().use_proxy(false).build().unwrap();
        let bucket = variable("S3FLOW_TEST_BUCKET").expect("S3FLOW_TEST_BUCKET names a bucket");
        Some(Self { peer: Peer::start(&python, &script), client, bucket })
    }

    fn root(&self, name: &str) -> String {
        format!("s3://{}/{name}", self.bucket)
    }

    fn ours(&self, name: &str) -> S3 {
        self.client.s3().s3root(self.root(name)).build().unwrap()
    }

    fn theirs(&self, name: &str) -> Metaflow<'_> {
        self.peer.at(&self.root(name))
    }

    /// The keys below a prefix, as boto3 sees them, without it.
    async fn stored_below(&self, name: &str) -> Vec<String> {
        let prefix = format!("{name}/");
        let listed = self.peer.boto("list_objects_v2", json!({"Bucket": self.bucket, "Prefix": prefix})).await.unwrap();
        let objects = listed.get("Contents").and_then(Value::as_array).cloned().unwrap_or_default();
        objects.iter().map(|object| object["Key"].as_str().unwrap()[prefix.len()..].to_owned()).collect()
    }

    /// What boto3 sees of one object's head.
    async fn head(&self, name: &str, key: &str) -> Value {
        let key = format!("{name}/{key}");
        self.peer.boto("head_object", json!({"Bucket": self.bucket, "Key": key})).await.unwrap()
    }
}

#[tokio::test]
async fn each_side_reads_what_the_other_wrote() {
    let Some(interop) = Interop::new() else {
        eprintln!("skipped: S3FLOW_TEST_PEER is not set; tests/interop/run sets it");
        return;
    };
    let mut table = Table::default();
    puts::cases(&interop, &mut table).await;
    encryption::cases(&interop, &mut table).await;
    values::cases(&interop, &mut table).await;
    keys::cases(&interop, &mut table).await;
    reads::cases(&interop, &mut table).await;
    listings::cases(&interop, &mut table).await;
    runs::cases(&interop, &mut table).await;
    steps::cases(&interop, &mut table).await;
    table.conclude();
}
