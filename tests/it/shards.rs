//! A prefix divided among workers: every key in one shard, few requests, and shards that are gone on with or refused.

use futures::{StreamExt as _, TryStreamExt as _};
use s3flow::testing::{Fault, Operation, S3Server};
use s3flow::{ErrorKind, ListCursor, S3, S3Object, Shard};

use crate::support::{Fixture, count, split_mix};

async fn with_keys(page_size: usize, keys: &[String]) -> Fixture {
    let server = S3Server::builder().page_size(page_size).start().await.unwrap();
    for key in keys {
        server.put_object("bucket", key, "");
    }
    Fixture::of(server)
}

fn hexadecimal(count: u64) -> Vec<String> {
    let mut keys: Vec<String> = (0..count).map(|number| format!("d/{:016x}", split_mix(number))).collect();
    keys.sort_unstable();
    keys
}

fn keys(objects: &[S3Object]) -> Vec<String> {
    objects.iter().map(|object| object.url()["s3://bucket/".len()..].to_owned()).collect()
}

fn pages(fixture: &Fixture) -> usize {
    count(&fixture.server.log(), Operation::ListObjectsV2)
}

async fn listed(s3: &S3, shards: &[Shard]) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    for shard in shards {
        all.push(keys(&s3.list_shard(shard).await.unwrap()));
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shards_have_every_key_once_and_about_equally_many_by_few_requests() {
    let expected = hexadecimal(20_000);
    let fixture = with_keys(20, &expected).await;
    let shards = fixture.s3.plan_shards("d", 16).await.unwrap();
    assert!(pages(&fixture) <= 9, "{} requests for 1,000 pages", pages(&fixture));
    assert_eq!(shards.len(), 16);
    let parts = listed(&fixture.s3, &shards).await;
    assert!(parts.concat() == expected);
    let largest = parts.iter().map(Vec::len).max().unwrap();
    assert!(largest * 16 <= 20_000 * 3 / 2, "{largest} of 20,000");
    let mut names: Vec<String> = shards.iter().map(Shard::name).collect();
    names.dedup();
    assert!(names.len() == 16 && names.is_sorted());
}

#[tokio::test]
async fn keys_that_are_stored_after_the_planning_are_in_one_shard() {
    let mut expected = hexadecimal(500);
    let fixture = with_keys(50, &expected).await;
    let shards = fixture.s3.plan_shards("d", 7).await.unwrap();
    for shard in &shards {
        // Beside every cut.
        for key in [shard.start_after(), shard.end_before()].into_iter().flatten() {
            for key in [key.to_owned(), format!("{key}!"), format!("{key}\u{10ffff}")] {
                fixture.server.put_object("bucket", &key, "");
                expected.push(key);
            }
        }
    }
    for key in ["d/", "d/ ", "d/\u{10ffff}"] {
        fixture.server.put_object("bucket", key, "");
        expected.push(key.to_owned());
    }
    expected.sort_unstable();
    expected.dedup();
    let parts = listed(&fixture.s3, &shards).await.concat();
    assert!(parts == expected, "{} of {}", parts.len(), expected.len());
}

#[tokio::test]
async fn few_keys_have_few_shards_and_none_have_one() {
    let fixture = with_keys(10, &hexadecimal(3)).await;
    assert_eq!(fixture.s3.plan_shards("d", 16).await.unwrap().len(), 3);
    for prefix in ["none", "d/"] {
        let shards = fixture.s3.plan_shards(prefix, 1).await.unwrap();
        assert_eq!((shards.len(), shards[0].start_after(), shards[0].end_before()), (1, None, None));
    }
    assert_eq!(fixture.s3.plan_shards("none", 16).await.unwrap().len(), 1);
    let whole = fixture.s3.plan_shards("", 2).await.unwrap();
    assert_eq!((whole[0].prefix(), listed(&fixture.s3, &whole).await.concat().len()), ("s3://bucket/", 3));
}

#[tokio::test]
async fn a_shard_is_gone_on_with_by_a_cursor_of_its_own_alone() {
    let expected = hexadecimal(1000);
    let fixture = with_keys(10, &expected).await;
    let shards = fixture.s3.plan_shards("d", 4).await.unwrap();
    let of_second = keys(&fixture.s3.list_shard(&shards[1]).await.unwrap());
    for stop in [0, 1, 99, of_second.len()] {
        let mut listing = fixture.s3.list_shard(&shards[1]);
        let mut taken = Vec::new();
        while taken.len() < stop {
            taken.push(listing.try_next().await.unwrap().unwrap());
        }
        let cursor: ListCursor =
            serde_json::from_str(&serde_json::to_string(&listing.cursor().unwrap()).unwrap()).unwrap();
        let rest = fixture.s3.list_shard(&shards[1]).ordered(true).resume(cursor.clone());
        taken.extend(rest.await.unwrap());
        let mut taken = keys(&taken);
        taken.sort_unstable();
        assert!(taken == of_second, "after {stop}: {} of {}", taken.len(), of_second.len());

        fixture.server.clear_log();
        let whole = fixture.s3.list_recursive(["d"]).cursor().unwrap();
        for (listing, says) in [
            (fixture.s3.list_shard(&shards[2]).resume(cursor.clone()), shards[2].name()),
            (fixture.s3.list_recursive(["d"]).resume(cursor), "no shard is listed".to_owned()),
            (fixture.s3.list_shard(&shards[1]).resume(whole), "is of no shard".to_owned()),
        ] {
            let error = listing.await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains(&says), "{error}");
        }
        assert_eq!(pages(&fixture), 0);
    }
    let after = of_second[10]["d/".len()..].to_owned();
    let rest = keys(&fixture.s3.list_shard(&shards[1]).start_after(after).await.unwrap());
    assert!(rest == of_second[11..]);
    assert!(keys(&fixture.s3.list_shard(&shards[1]).start_after("").await.unwrap()) == of_second);
}

#[tokio::test]
async fn a_shard_is_listed_in_any_scope_that_has_its_prefix_and_refused_elsewhere() {
    let fixture = with_keys(10, &hexadecimal(100)).await;
    let shards = fixture.s3.plan_shards("d", 3).await.unwrap();
    let below = fixture.scope().s3root("s3://bucket/d").build().unwrap();
    let urls = fixture.scope().build().unwrap();
    for scope in [&below, &urls] {
        assert!(listed(scope, &shards).await.concat() == hexadecimal(100));
    }
    fixture.server.clear_log();
    for root in ["s3://bucket/d/e", "s3://bucket/dd", "s3://other", "s3://bucke"] {
        let scope = fixture.scope().s3root(root).build().unwrap();
        let outcomes: Vec<_> = scope.list_shard(&shards[0]).collect().await;
        let error = outcomes[0].as_ref().unwrap_err();
        assert_eq!((outcomes.len(), error.kind()), (1, ErrorKind::Config));
        assert!(error.to_string().contains("s3://bucket/d/") && error.to_string().contains(root), "{error}");
    }
    assert_eq!(pages(&fixture), 0);
}

#[tokio::test]
async fn a_shard_can_be_compared_with_what_it_was() {
    let fixture = with_keys(10, &hexadecimal(100)).await;
    let shards = fixture.s3.plan_shards("d", 3).await.unwrap();
    let below = fixture.scope().s3root("s3://bucket/d").build().unwrap();
    let was = fixture.s3.list_shard(&shards[1]).await.unwrap();
    below.list_shard(&shards[1]).verify_unchanged(&was).await.unwrap();
    // Of another shard, it is no difference.
    let elsewhere = fixture.s3.list_shard(&shards[0]).await.unwrap();
    fixture.s3.delete(&elsewhere[0]).await.unwrap();
    below.list_shard(&shards[1]).verify_unchanged(&was).await.unwrap();
    fixture.s3.delete(&was[0]).await.unwrap();
    let error = below.list_shard(&shards[1]).verify_unchanged(&was).await.unwrap_err();
    assert_eq!((error.kind(), error.url()), (ErrorKind::Changed, Some(was[0].url())));
}

#[tokio::test]
async fn errors_of_a_shard_s_pages_name_its_listing() {
    let fixture = with_keys(10, &hexadecimal(100)).await;
    let shards = fixture.s3.plan_shards("d", 3).await.unwrap();
    fixture.server.inject(Fault::status(403, "AccessDenied").operation(Operation::ListObjectsV2));
    let error = fixture.s3.list_shard(&shards[1]).await.unwrap_err();
    assert_eq!((error.kind(), error.operation()), (ErrorKind::AccessDenied, Some("list_shard")));
}

#[tokio::test]
async fn what_cannot_be_planned_is_refused_before_any_request() {
    let fixture = with_keys(10, &hexadecimal(5)).await;
    for (plan, kind, says) in [
        (fixture.s3.plan_shards("d", 0), ErrorKind::Config, "not into 0"),
        (fixture.s3.plan_shards("d", 100_001), ErrorKind::Config, "not into 100001"),
        (fixture.s3.plan_shards("d", 2).probes(0), ErrorKind::Config, "one probe"),
        (fixture.s3.plan_shards("s3://bucket/d", 2), ErrorKind::InvalidUrl, "relative to the root"),
    ] {
        let error = plan.await.unwrap_err();
        assert_eq!((error.kind(), error.operation()), (kind, Some("plan_shards")));
        assert!(error.to_string().contains(says), "{error}");
    }
    assert_eq!(pages(&fixture), 0);
}

#[tokio::test]
async fn a_manifest_plans_without_a_request_and_what_is_not_below_the_prefix_is_named() {
    let expected = hexadecimal(1000);
    let fixture = with_keys(100, &expected).await;
    let manifest = futures::stream::iter(expected.clone().into_iter().rev());
    let shards = fixture.s3.plan_shards("d", 8).from_manifest(manifest).await.unwrap();
    assert_eq!(pages(&fixture), 0);
    let parts = listed(&fixture.s3, &shards).await;
    assert!(parts.iter().all(|part| part.len() == 125) && parts.concat() == expected);

    let outside = futures::stream::iter(["d/1", "d/2", "e/1"]);
    let error = fixture.s3.plan_shards("d", 8).from_manifest(outside).await.unwrap_err();
    assert_eq!((error.kind(), error.index(), error.url()), (ErrorKind::InvalidUrl, Some(2), Some("s3://bucket/e/1")));
    assert!(error.to_string().contains("not below s3://bucket/d"), "{error}");
    let broken = futures::stream::iter([Ok("d/1"), Err(s3flow::Error::other(std::io::Error::other("cut")))]);
    let error = fixture.s3.plan_shards("d", 8).from_manifest(broken).await.unwrap_err();
    assert_eq!((error.kind(), error.index()), (ErrorKind::Other, Some(1)));
}

/// `cargo nextest run --release --run-ignored only shards::the_cost -- --nocapture`, or the same by `cargo test`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures"]
async fn the_cost_of_planning_a_million_keys_beside_a_full_listing() {
    let expected = hexadecimal(1_000_000);
    let fixture = with_keys(1000, &expected).await;
    let begun = std::time::Instant::now();
    let shards = fixture.s3.plan_shards("d", 16).await.unwrap();
    println!("planned in {:?} by {} requests", begun.elapsed(), pages(&fixture));
    fixture.server.clear_log();
    let begun = std::time::Instant::now();
    let whole = fixture.s3.list_recursive(["d"]).try_fold(0, |count, _| async move { Ok(count + 1) }).await.unwrap();
    println!("{whole} keys listed in {:?} by {} requests", begun.elapsed(), pages(&fixture));
    let mut sizes = Vec::new();
    for shard in &shards {
        let keys = fixture.s3.list_shard(shard).try_fold(0_usize, |count, _| async move { Ok(count + 1) });
        sizes.push(keys.await.unwrap());
    }
    let largest = *sizes.iter().max().unwrap();
    println!("shards of {sizes:?}: the largest is {:.2} of the mean", largest as f64 * 16.0 / 1e6);
    assert_eq!(sizes.iter().sum::<usize>(), 1_000_000);
    assert!(largest as f64 * 16.0 <= 1.5e6);
}
