//! Pinned gets and listings that are compared: nothing that changed goes unnoticed, and nothing is invented.

use futures::{StreamExt as _, TryStreamExt as _};
use s3flow::testing::{Fault, Operation, S3Server};
use s3flow::{Client, Credentials, Difference, Error, ErrorKind, ManifestEntry, S3, S3GetObject};
use serde_json::json;

use crate::support::{Fixture, count, in_time, seed, split_mix};

async fn in_pages_of(page_size: usize, keys: &[&str]) -> Fixture {
    let server = S3Server::builder().bucket("bucket").page_size(page_size).start().await.unwrap();
    for key in keys {
        server.put_object("bucket", key, (*key).to_owned());
    }
    Fixture::of(server)
}

fn entry(key: &str, etag: Option<&str>, size: u64) -> ManifestEntry {
    let entry = json!({"url": format!("s3://bucket/{key}"), "etag": etag, "size": size});
    serde_json::from_value(entry).unwrap()
}

/// A scope on a server that answers every request with a listing of these keys and ETags.
async fn that_lists(objects: &[(&str, Option<&str>)]) -> S3 {
    let mut page = "<ListBucketResult><IsTruncated>false</IsTruncated>".to_owned();
    for (key, etag) in objects {
        let etag = etag.map_or(String::new(), |etag| format!("<ETag>{etag}</ETag>"));
        page += &format!(
            "<Contents><Key>{key}</Key><Size>1</Size><LastModified>2026-01-01T00:00:00.000Z</LastModified>{etag}</Contents>"
        );
    }
    page += "</ListBucketResult>";
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(move || async { page })).await });
    let client = Client::builder()
        .endpoint(format!("http://{address}"))
        .credentials(Credentials::new("key", "secret"))
        .use_proxy(false)
        .build()
        .unwrap();
    client.s3().s3root("s3://bucket").build().unwrap()
}

#[tokio::test]
async fn every_request_of_a_pinned_get_names_the_etag_that_was_listed() {
    let fixture = in_pages_of(1000, &["a", "b"]).await;
    let large = vec![7; 40 << 20];
    fixture.server.put_object("bucket", "large", large.clone());
    let objects = fixture.s3.get_all().pinned().await.unwrap();
    assert!(objects[2].blob().await.unwrap() == large);
    let log = fixture.server.log();
    let gets: Vec<_> = log.iter().filter(|request| request.operation() == Operation::GetObject).collect();
    assert!(gets.len() > 3);
    for get in gets {
        let listed = objects.iter().find(|object| Some(object.key()) == get.key()).unwrap();
        assert_eq!(get.header("if-match"), listed.etag());
    }
    // Otherwise not.
    let fixture = in_pages_of(1000, &["a"]).await;
    fixture.s3.get_all().await.unwrap();
    assert_eq!(fixture.server.log().last().unwrap().header("if-match"), None);
}

#[tokio::test]
async fn an_object_that_is_replaced_while_it_is_fetched_is_changed_with_both_etags() {
    let fixture = Fixture::new().await;
    fixture.server.put_object("bucket", "large", vec![1; 40 << 20]);
    let before = fixture.s3.info("large").await.unwrap().etag().unwrap().to_owned();
    fixture.server.inject(Fault::replace_object(vec![2; 40 << 20]).operation(Operation::GetObject).on_call(3));
    let error = fixture.s3.get_all().pinned().await.unwrap_err();
    let after = fixture.s3.info("large").await.unwrap().etag().unwrap().to_owned();
    assert_eq!((error.kind(), error.expected_etag()), (ErrorKind::Changed, Some(&*before)), "{error}");
    assert_eq!(error.found_etag(), Some(&*after), "{error}");
    assert_ne!(before, after);
}

#[tokio::test]
async fn a_server_that_ignores_if_match_is_found_out_by_its_answer() {
    let fixture = in_pages_of(1000, &["k"]).await;
    let listed = fixture.s3.info("k").await.unwrap().etag().unwrap().to_owned();
    let fault = || Fault::with_header("etag", "\"other\"").operations([Operation::GetObject, Operation::HeadObject]);
    fixture.server.inject(fault().times(5));
    let pinned = S3GetObject::new("k").if_match(&listed);
    let errors = [
        fixture.s3.get_all().pinned().await.unwrap_err(),
        fixture.s3.get(pinned.clone()).await.unwrap_err(),
        fixture.s3.get(pinned.clone()).stream().try_next().await.unwrap_err(),
        fixture.s3.info(pinned.clone()).await.unwrap_err(),
        fixture.s3.open(pinned.clone()).await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!((error.kind(), error.expected_etag()), (ErrorKind::Changed, Some(&*listed)), "{error}");
        assert_eq!(error.found_etag(), Some("\"other\""));
    }
    fixture.server.inject(Fault::without_header("etag").operation(Operation::GetObject));
    assert_eq!(fixture.s3.get(pinned.clone()).await.unwrap_err().kind(), ErrorKind::Unsupported);
    // A proxy that compresses makes an ETag weak; any ETag will do for a star; and quotes may be left out.
    fixture.server.inject(Fault::with_header("etag", format!("W/{listed}")).operation(Operation::GetObject));
    fixture.s3.get(pinned).await.unwrap();
    for etag in ["*", &format!("\"x\", {listed}")] {
        fixture.s3.get(S3GetObject::new("k").if_match(etag)).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_there_instead_is_told_only_if_it_can_be_seen() {
    let fixture = in_pages_of(1000, &["k"]).await;
    let request = S3GetObject::new("k").if_match("\"other\"");
    fixture.server.inject(Fault::status(403, "AccessDenied").operation(Operation::HeadObject));
    let error = fixture.s3.get(request.clone()).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.expected_etag(), error.found_etag()),
        (ErrorKind::Changed, Some("\"other\""), None)
    );
    assert_eq!((error.status(), error.attempts()), (None, 1));
    // A copy of it tells too.
    let error = fixture.s3.copy(request, "copy").await.unwrap_err();
    assert_eq!((error.kind(), error.expected_etag()), (ErrorKind::Changed, Some("\"other\"")));
    assert_eq!(error.found_etag(), fixture.s3.info("k").await.unwrap().etag());
}

#[tokio::test]
async fn without_a_strong_etag_nothing_is_pinned_and_nothing_fetched() {
    for etag in [None, Some("W/\"weak\"")] {
        let s3 = that_lists(&[("k", etag)]).await;
        let error = in_time("an answer", async { s3.get_all().pinned().await }).await.unwrap_err();
        assert_eq!((error.kind(), error.url()), (ErrorKind::Unsupported, Some("s3://bucket/k")), "{error}");
        assert_eq!((error.operation(), error.index()), (Some("get_recursive"), Some(0)));
    }
}

#[tokio::test]
async fn any_two_states_of_a_bucket_differ_by_what_was_done_between_them() {
    let mut state = seed();
    let mut draw = |below: u64| {
        state = split_mix(state);
        state % below
    };
    for round in 0..30 {
        let fixture = in_pages_of(1 + draw(7) as usize, &[]).await;
        let Fixture { server, s3, .. } = &fixture;
        let prefixes = ["b/", "a", "c"];
        let mut keys: Vec<String> = Vec::new();
        for _ in 0..draw(60) {
            keys.push(format!(
                "{}/{}{}",
                ["a", "b", "c", "d"][draw(4) as usize],
                ["", "x/", "é"][draw(3) as usize],
                draw(20)
            ));
        }
        keys.sort();
        keys.dedup();
        for key in &keys {
            server.put_object("bucket", key, "before");
        }
        let listed = s3.list_recursive(prefixes).await.unwrap();
        let mut expected = Vec::new();
        for key in keys {
            let is_listed = !key.starts_with('d');
            match draw(5) {
                0 => {
                    s3.put(&key, "after").await.unwrap();
                    expected.extend(is_listed.then_some(("changed", key)));
                }
                1 => {
                    s3.delete(&key).await.unwrap();
                    expected.extend(is_listed.then_some(("removed", key)));
                }
                2 => {
                    let key = format!("{key}+");
                    s3.put(&key, "new").await.unwrap();
                    expected.extend(is_listed.then_some(("added", key)));
                }
                _ => {}
            }
        }
        let differences: Vec<Difference> =
            s3.list_recursive(prefixes).verify_unchanged(&listed).try_collect().await.unwrap();
        let mut found: Vec<(&str, String)> = Vec::new();
        for difference in &differences {
            let what = match difference {
                Difference::Changed { .. } => "changed",
                Difference::Removed { .. } => "removed",
                Difference::Added { .. } => "added",
                other => panic!("{other:?}"),
            };
            found.push((what, difference.url()["s3://bucket/".len()..].to_owned()));
        }
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "round {round} of seed {}", seed());
        let outcome = s3.list_recursive(prefixes).verify_unchanged(listed).await;
        assert_eq!(outcome.is_ok(), expected.is_empty());
    }
}

#[tokio::test]
async fn a_comparison_is_one_request_for_a_page_and_reads_no_further_than_it_is_taken() {
    let keys: Vec<String> = (0..5000).map(|number| format!("in/{number:05}")).collect();
    let fixture = in_pages_of(1000, &keys.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let listed = fixture.s3.list_recursive(["in"]).await.unwrap();
    fixture.server.clear_log();
    fixture.s3.list_recursive(["in"]).concurrency(1).verify_unchanged(&listed).await.unwrap();
    assert_eq!(count(&fixture.server.log(), Operation::ListObjectsV2), 5);
    fixture.server.clear_log();
    let nothing = futures::stream::pending::<ManifestEntry>();
    let mut differences = fixture.s3.list_recursive(["in"]).concurrency(1).verify_unchanged_from(nothing);
    assert!(crate::support::poll_once(&mut differences).await.is_pending());
    fixture.wait_until(|log| count(log, Operation::ListObjectsV2) >= 1).await;
    assert!(crate::support::poll_once(&mut differences).await.is_pending());
    assert!(count(&fixture.server.log(), Operation::ListObjectsV2) <= 2);
}

#[tokio::test]
async fn an_input_that_is_no_listing_of_these_prefixes_is_refused() {
    let fixture = in_pages_of(1000, &["a/1", "a/2", "b/1"]).await;
    let s3 = &fixture.s3;
    let [a1, a2, b1] = ["a/1", "a/2", "b/1"].map(|key| entry(key, None, 3));
    for (earlier, at) in [
        (vec![&a2, &a1, &b1], "s3://bucket/a/1"),
        (vec![&a1, &a1, &a2, &b1], "s3://bucket/a/1"),
        (vec![&b1, &a1, &a2], "s3://bucket/a/1"),
        (vec![&a1, &a2, &b1, &entry("c/1", None, 3)], "s3://bucket/c/1"),
        (vec![&entry("a", None, 3)], "s3://bucket/a"),
    ] {
        let earlier: Vec<ManifestEntry> = earlier.into_iter().cloned().collect();
        let outcomes: Vec<_> = s3.list_recursive(["a", "b"]).verify_unchanged(earlier).collect().await;
        let error = outcomes.last().unwrap().as_ref().unwrap_err();
        assert_eq!((error.kind(), error.url()), (ErrorKind::InvalidObject, Some(at)), "{error}");
        assert_eq!(error.operation(), Some("verify_unchanged"));
    }
    s3.list_recursive(["a", "b"]).verify_unchanged([a1.clone(), a2.clone(), b1.clone()]).await.unwrap();
    s3.list_recursive(["b", "a"]).verify_unchanged([b1.clone(), a1.clone(), a2.clone()]).await.unwrap();
    // A prefix twice, and one within another.
    let twice = [a1.clone(), a2.clone(), a1.clone(), a2.clone()];
    s3.list_recursive(["a", "a"]).verify_unchanged(twice).await.unwrap();
    s3.list_recursive(["", "b"]).verify_unchanged([a1, a2, b1.clone(), b1]).await.unwrap();
}

#[tokio::test]
async fn an_error_ends_a_comparison_and_nothing_is_taken_for_removed() {
    let fixture = in_pages_of(2, &["a/1", "a/2", "a/3", "a/4", "a/5"]).await;
    let s3 = &fixture.s3;
    let listed = s3.list_recursive(["a"]).await.unwrap();
    fixture.server.inject(Fault::status(403, "AccessDenied").operation(Operation::ListObjectsV2).on_call(2));
    let outcomes: Vec<_> = s3.list_recursive(["a"]).concurrency(1).verify_unchanged(&listed).collect().await;
    assert_eq!(outcomes.len(), 1);
    assert_eq!(outcomes[0].as_ref().unwrap_err().kind(), ErrorKind::AccessDenied);
    let input = futures::stream::iter([Ok(ManifestEntry::from(&listed[0])), Err(Error::other("lost"))]);
    let outcomes: Vec<_> = s3.list_recursive(["a"]).verify_unchanged_from(input).collect().await;
    assert_eq!(outcomes.len(), 1);
    assert_eq!(outcomes[0].as_ref().unwrap_err().kind(), ErrorKind::Other);
    let refused = s3.list_recursive(["s3://bucket/a"]).verify_unchanged(&listed).await.unwrap_err();
    assert_eq!((refused.kind(), refused.operation()), (ErrorKind::InvalidUrl, Some("verify_unchanged")));
    let refused = s3.list_recursive(["a"]).concurrency(0).verify_unchanged(&listed).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Config);

    let s3 = that_lists(&[("b", Some("x")), ("a", Some("x"))]).await;
    let outcomes: Vec<_> = s3.list_recursive([""]).verify_unchanged([entry("b", None, 1)]).collect().await;
    let error = outcomes.last().unwrap().as_ref().unwrap_err();
    assert_eq!((error.kind(), error.url()), (ErrorKind::Unsupported, Some("s3://bucket/a")), "{error}");
}

#[tokio::test]
async fn what_an_entry_does_not_tell_is_not_compared() {
    let s3 = that_lists(&[("k", Some("&quot;x&quot;"))]).await;
    let entry = |facts: serde_json::Value| {
        let mut entry = json!({"url": "s3://bucket/k"});
        entry.as_object_mut().unwrap().extend(facts.as_object().unwrap().clone());
        serde_json::from_value::<ManifestEntry>(entry).unwrap()
    };
    for (facts, same) in [
        (json!({}), true),
        (json!({"size": 1}), true),
        (json!({"size": 2}), false),
        (json!({"etag": "\"x\"", "last_modified": "2020-01-01T00:00:00Z"}), true),
        (json!({"etag": "\"y\"", "size": 1}), false),
        (json!({"etag": "\"x\"", "size": 2}), false),
        (json!({"size": 1, "last_modified": "2026-01-01T00:00:00Z"}), true),
        (json!({"size": 1, "last_modified": "2020-01-01T00:00:00Z"}), false),
    ] {
        let outcome = s3.list_recursive([""]).verify_unchanged([entry(facts.clone())]).await;
        assert_eq!(outcome.is_ok(), same, "{facts}");
    }
}

#[test]
fn a_difference_is_a_line_of_a_manifest_too() {
    let (earlier, now) = (entry("k", Some("\"a\""), 1), entry("k", Some("\"b\""), 2));
    for (difference, json) in [
        (
            Difference::Changed { earlier: earlier.clone(), now: now.clone() },
            json!({"difference": "changed", "earlier": earlier, "now": now}),
        ),
        (Difference::Removed { earlier: earlier.clone() }, json!({"difference": "removed", "earlier": earlier})),
        (Difference::Added { now: now.clone() }, json!({"difference": "added", "now": now})),
    ] {
        assert_eq!(serde_json::to_value(&difference).unwrap(), json);
        assert_eq!(serde_json::from_value::<Difference>(json).unwrap(), difference);
    }
}
