//! What a prefix means, against a model on random trees.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::btree_set;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use s3flow::testing::S3Server;
use s3flow::{S3, S3Object};

use crate::support::Fixture;

/// What the keys of a bucket look like from a prefix.
struct Model<'a> {
    keys: &'a BTreeSet<String>,
    prefix: &'a str,
}

impl Model<'_> {
    fn directory(&self) -> String {
        if self.prefix.is_empty() || self.prefix.ends_with('/') {
            self.prefix.to_owned()
        } else {
            format!("{}/", self.prefix)
        }
    }

    fn below(&self) -> Vec<String> {
        self.keys.iter().filter(|key| key.starts_with(&self.directory())).cloned().collect()
    }

    fn with_namesake(&self) -> Vec<String> {
        let mut keys = self.below();
        if self.keys.contains(self.prefix) && !self.prefix.ends_with('/') {
            keys.insert(0, self.prefix.to_owned());
        }
        keys
    }

    /// With whether each exists.
    fn next_level(&self) -> BTreeMap<String, bool> {
        let directory = self.directory();
        let level = self.below().into_iter().map(|key| match key[directory.len()..].find('/') {
            Some(slash) => (key[..directory.len() + slash + 1].to_owned(), false),
            None => (key, true),
        });
        level.collect()
    }
}

fn keys(objects: &[S3Object], bucket: &str) -> Vec<String> {
    objects.iter().map(|object| object.url()[format!("s3://{bucket}/").len()..].to_owned()).collect()
}

async fn check(s3: &S3, bucket: &str, model: &Model<'_>) {
    let url = format!("s3://{bucket}/{}", model.prefix);
    assert_eq!(keys(&s3.list_recursive([&url]).await.unwrap(), bucket), model.below(), "list_recursive {url}");
    assert_eq!(keys(&s3.get_recursive([&url]).await.unwrap(), bucket), model.with_namesake(), "get_recursive {url}");
    let paths = s3.list_paths([&url]).await.unwrap();
    let exist = paths.iter().map(S3Object::exists);
    let level: Vec<(String, bool)> = keys(&paths, bucket).into_iter().zip(exist).collect();
    assert_eq!(level, model.next_level().into_iter().collect::<Vec<_>>(), "list_paths {url}");
    for object in &paths {
        let relative = &object.url()[format!("s3://{bucket}/{}", model.directory()).len()..];
        assert_eq!((object.key(), object.prefix()), (relative, Some(url.as_str())));
    }
}

#[test]
fn a_prefix_is_a_directory_in_any_tree_and_pages_of_any_size() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let fixtures: Vec<Fixture> = [1, 2, 3, 1000]
        .map(|page_size| {
            runtime.block_on(async { Fixture::of(S3Server::builder().page_size(page_size).start().await.unwrap()) })
        })
        .into();
    let mut runner = TestRunner::new(ProptestConfig { cases: 60, failure_persistence: None, ..Default::default() });
    let number = std::cell::Cell::new(0_usize);
    let tree = (btree_set("[ab/-]{1,6}", 0..12), btree_set("[ab/-]{0,4}", 1..4));
    let outcome = runner.run(&tree, |(keys, prefixes)| {
        number.set(number.get() + 1);
        let fixture = &fixtures[number.get() % fixtures.len()];
        let bucket = format!("tree{}", number.get());
        fixture.server.create_bucket(&bucket);
        for key in &keys {
            fixture.server.put_object(&bucket, key, "x");
        }
        let s3 = fixture.scope().build().unwrap();
        runtime.block_on(async {
            for prefix in &prefixes {
                check(&s3, &bucket, &Model { keys: &keys, prefix }).await;
            }
            // A file can be named as well as a directory.
            for key in &keys {
                check(&s3, &bucket, &Model { keys: &keys, prefix: key }).await;
            }
        });
        Ok(())
    });
    outcome.unwrap();
}
