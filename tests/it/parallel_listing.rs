//! Large prefixes are listed in several places at a time: every key once, few pages more, bounded, and to be gone on with.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use s3flow::testing::{Fault, LoggedRequest, Operation, S3Server};
use s3flow::{Client, Credentials, ErrorKind, ListCursor, S3, S3Object};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{Fixture, count, in_time, seed, split_mix};

/// A server with these keys, that answers after a while: so a consumer is faster than pages come.
async fn with_keys(page_size: usize, keys: &[String]) -> Fixture {
    let server = S3Server::builder().page_size(page_size).latency(Duration::from_millis(3)).start().await.unwrap();
    for key in keys {
        server.put_object("bucket", key, "");
    }
    Fixture::of(server)
}

fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("d/{number:07}")).collect()
}

fn hexadecimal(count: usize) -> Vec<String> {
    let keys: BTreeSet<String> = (0..count as u64).map(|number| format!("d/{:016x}", split_mix(number))).collect();
    keys.into_iter().collect()
}

fn keys(objects: &[S3Object]) -> Vec<String> {
    objects.iter().map(|object| object.url()["s3://bucket/".len()..].to_owned()).collect()
}

fn pages(fixture: &Fixture) -> usize {
    count(&fixture.server.log(), Operation::ListObjectsV2)
}

fn starts_after(log: &[LoggedRequest]) -> usize {
    log.iter().filter(|request| request.query_value("start-after").is_some()).count()
}

/// Names of many kinds, below `d/`.
fn distributions() -> Vec<(&'static str, Vec<String>)> {
    let mut state = seed();
    let mut random = |below: u64| {
        state = split_mix(state);
        state % below
    };
    let count = 20_000_u64;
    let mut all: Vec<(&str, Vec<String>)> = vec![
        (
            "dates",
            (0..count)
                .map(|n| format!("2026/{:02}/{:02}/{:02}-{n:05}", n / 2000 + 1, n / 80 % 28 + 1, n / 4 % 24))
                .collect(),
        ),
        ("hex", (0..count).map(|n| format!("{:016x}", split_mix(n))).collect()),
        (
            "uuid",
            (0..count)
                .map(|n| {
                    let (one, other) = (split_mix(n), split_mix(n + count));
                    format!(
                        "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
                        one >> 32,
                        one & 0xffff,
                        other >> 52,
                        other & 0xfff,
                        other >> 16
                    )
                })
                .collect(),
        ),
        ("numbers", (0..count).map(|n| format!("{n:012}")).collect()),
        ("plain numbers", (0..count).map(|n| n.to_string()).collect()),
        ("a long prefix in common", (0..count / 4).map(|n| format!("{}{n:06}", "same/".repeat(150))).collect()),
        (
            "skewed",
            (0..count)
                .map(|n| if n % 100 == 0 { format!("{:04x}", n * 7) } else { format!("m/below/{n:08}") })
                .collect(),
        ),
        (
            "unicode",
            (0..count)
                .map(|n| {
                    let letter = |at: u64| char::from_u32(0x400 + at as u32).unwrap();
                    format!("{}{}{}\u{10ffff}{}", letter(n % 250), letter(n / 250), '\u{e000}', n % 3)
                })
                .collect(),
        ),
        (
            "prefixes of one another",
            (1..1000).map(|n| "a".repeat(n)).chain((1..1000).map(|n| format!("{}/b", "a".repeat(n)))).collect(),
        ),
        (
            "control characters",
            (0..count / 4)
                .map(|n| {
                    let byte = |at: u64| char::from_u32(1 + (at % 31) as u32).unwrap();
                    format!("{}{}\u{7f}{}{}", byte(n), byte(n / 31), byte(n / 961), n % 2)
                })
                .collect(),
        ),
        ("of 1,024 bytes", (0..2000_u64).map(|n| format!("{:0>1022}", split_mix(n))).collect()),
    ];
    all.push(("single bytes", (0x20_u8..0x7f).map(|byte| char::from(byte).to_string()).collect()));
    all.push((
        "random lengths",
        (0..count / 2)
            .map(|_| (0..1 + random(9)).map(|_| char::from_u32(0x61 + random(4) as u32).unwrap()).collect())
            .collect(),
    ));
    for (_, keys) in &mut all {
        let sorted: BTreeSet<String> = keys.drain(..).map(|key| format!("d/{key}")).collect();
        keys.extend(sorted);
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_key_comes_once_whatever_the_keys_are() {
    for (name, expected) in distributions() {
        let page_size = (expected.len() / 300).max(2);
        let full = expected.len().div_ceil(page_size);
        let fixture = with_keys(page_size, &expected).await;
        fixture.server.put_object("bucket", "c", "");
        fixture.server.put_object("bucket", "e", "");
        for ordered in [false, true] {
            fixture.server.clear_log();
            let listed: Vec<S3Object> = fixture.s3.list_recursive(["d"]).ordered(ordered).try_collect().await.unwrap();
            let mut listed = keys(&listed);
            if !ordered {
                listed.sort_unstable();
            }
            assert!(listed == expected, "{name}: {} keys in place of {}", listed.len(), expected.len());
            let log = fixture.server.log();
            assert!(log.len() <= full * 5 / 4 + 8, "{name}: {} pages in place of {full}", log.len());
            if full > 50 {
                assert!(starts_after(&log) > 0, "{name}: one page after another");
            }
        }
        assert!(keys(&fixture.s3.list_recursive(["d"]).await.unwrap()) == expected, "{name}");
    }
}

#[tokio::test]
async fn a_prefix_of_one_page_is_one_request() {
    for (objects, most) in [(0, 1), (1, 1), (100, 1), (101, 3), (250, 5)] {
        let fixture = with_keys(100, &numbered(objects)).await;
        assert_eq!(fixture.s3.list_recursive(["d"]).await.unwrap().len(), objects);
        assert!(pages(&fixture) <= most, "{} requests for {objects} objects", pages(&fixture));
    }
}

#[tokio::test]
async fn with_a_concurrency_of_1_pages_come_one_after_another() {
    let fixture = with_keys(10, &numbered(500)).await;
    let listed: Vec<_> = fixture.s3.list_recursive(["d"]).concurrency(1).try_collect().await.unwrap();
    assert!(keys(&listed) == numbered(500));
    assert_eq!((pages(&fixture), starts_after(&fixture.server.log())), (50, 0));
}

#[tokio::test]
async fn the_concurrency_bounds_the_requests_of_all_prefixes_together() {
    let fixture = with_keys(5, &hexadecimal(2000)).await;
    let listing = fixture.s3.list_recursive(["d", "d", "d", "d"]).concurrency(6);
    let mut most = 0;
    let mut listed = 0;
    let mut listing = std::pin::pin!(listing);
    while listing.try_next().await.unwrap().is_some() {
        listed += 1;
        most = most.max(fixture.client.stats().requests_in_flight);
    }
    assert_eq!(listed, 8000);
    assert!((4..=6).contains(&most), "{most} requests at a time");
}

#[tokio::test]
async fn ahead_of_a_consumer_that_stops_only_so_many_pages_come() {
    for (ordered, bound) in [(false, 48), (true, 96)] {
        let fixture = with_keys(10, &hexadecimal(5000)).await;
        let mut listing = fixture.s3.list_recursive(["d"]).ordered(ordered);
        for _ in 0..2000 {
            listing.try_next().await.unwrap().unwrap();
        }
        // Nothing is asked for while nobody polls; what was asked for comes.
        let mut asked = 0;
        while asked < pages(&fixture) {
            asked = pages(&fixture);
            fixture.wait_until(|log| log.iter().all(|request| request.finish().is_some())).await;
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
        }
        assert!(asked <= 200 * 5 / 4 + 8 + bound, "{asked} pages for 2,000 objects");
    }
}

#[tokio::test]
async fn a_listing_that_stopped_anywhere_goes_on_there() {
    let expected = hexadecimal(1500);
    let fixture = with_keys(10, &expected).await;
    let mut state = seed();
    for round in 0..24 {
        let (ordered, later) = (round % 2 == 0, round % 3 == 0);
        state = split_mix(state);
        let stop = if round == 0 { 0 } else { (state % 1501) as usize };
        let mut taken: Vec<S3Object> = Vec::new();
        let mut listing = fixture.s3.list_recursive(["none", "d"]).ordered(ordered);
        while taken.len() < stop {
            taken.push(listing.try_next().await.unwrap().unwrap());
        }
        let text = serde_json::to_string(&listing.cursor().unwrap()).unwrap();
        drop(listing);
        let cursor: ListCursor = serde_json::from_str(&text).unwrap();
        // Twice.
        let mut rest = fixture.s3.list_recursive(["none", "d"]).ordered(later).resume(cursor);
        while taken.len() < (stop + 1500) / 2 {
            taken.push(rest.try_next().await.unwrap().unwrap());
        }
        let rest = fixture.s3.list_recursive(["none", "d"]).resume(rest.cursor().unwrap());
        taken.extend(rest.await.unwrap());
        let mut listed = keys(&taken);
        listed.sort_unstable();
        assert!(listed == expected, "{} keys after a stop at {stop}, ordered {ordered}, {later}", listed.len());
        assert!(taken.iter().all(|object| object.index() == 1));
    }
}

#[tokio::test]
async fn a_cursor_at_the_end_sends_no_request() {
    let fixture = with_keys(10, &numbered(55)).await;
    let mut listing = fixture.s3.list_recursive(["d"]);
    while listing.try_next().await.unwrap().is_some() {}
    let cursor = listing.cursor().unwrap();
    assert!(cursor.is_finished());
    fixture.server.clear_log();
    assert!(fixture.s3.list_recursive(["d"]).resume(cursor).await.unwrap().is_empty());
    assert_eq!(pages(&fixture), 0);
}

#[tokio::test]
async fn a_cursor_of_another_listing_is_refused_by_name_before_any_request() {
    let fixture = with_keys(10, &numbered(5)).await;
    let cursor = fixture.s3.list_recursive(["d"]).cursor().unwrap();
    let written = serde_json::to_value(&cursor).unwrap();
    let mut newer = written.clone();
    newer["version"] = 2.into();
    let mut turned = written;
    turned["prefixes"][0]["ranges"] =
        serde_json::json!([{"start_after": "d/5"}, {"start_after": "d/1", "end_before": "d/2"}]);
    let changed = |value| serde_json::from_value::<ListCursor>(value).unwrap();
    for (prefixes, cursor, names) in [
        (vec!["e"], cursor.clone(), ["s3://bucket/d/", "s3://bucket/e/"]),
        (vec!["d", "e"], cursor, ["1 prefixes", "2 are listed"]),
        (vec!["d"], changed(newer), ["version 2", "version 1"]),
        (vec!["d"], changed(turned), ["s3://bucket/d/", "not in order"]),
    ] {
        let outcomes: Vec<_> = fixture.s3.list_recursive(prefixes).resume(cursor).collect().await;
        let error = outcomes[0].as_ref().unwrap_err();
        assert_eq!((outcomes.len(), error.kind()), (1, ErrorKind::Config));
        assert!(names.iter().all(|name| error.to_string().contains(name)), "{error}");
    }
    assert_eq!(pages(&fixture), 0);
}

#[tokio::test]
async fn a_listing_starts_after_a_key() {
    let fixture = with_keys(10, &numbered(500)).await;
    for (key, left) in [("", 500), ("0000123", 376), ("0000123x", 376), ("1", 0), ("00004", 100)] {
        let listed = fixture.s3.list_recursive(["d"]).start_after(key).await.unwrap();
        assert!(keys(&listed) == numbered(500)[500 - left..], "{key}: {}", listed.len());
    }
    let error = fixture.s3.list_recursive(["d"]).start_after("x".repeat(1023)).await.unwrap_err();
    assert_eq!((error.kind(), error.index()), (ErrorKind::InvalidUrl, Some(0)));
}

#[tokio::test]
async fn a_page_that_fails_ends_its_prefix_with_one_error_and_the_rest_can_be_resumed() {
    let expected = hexadecimal(2000);
    for ordered in [false, true] {
        let fixture = with_keys(10, &expected).await;
        let failing = Fault::status(403, "AccessDenied").operation(Operation::ListObjectsV2).on_call(40);
        fixture.server.inject(failing.times(usize::MAX));
        let mut listing = fixture.s3.list_recursive(["d"]).ordered(ordered);
        let (mut taken, mut errors) = (Vec::new(), Vec::new());
        while let Some(outcome) = listing.next().await {
            match outcome {
                Ok(object) => taken.push(object),
                Err(error) => errors.push((error.kind(), error.index())),
            }
        }
        assert_eq!(errors, [(ErrorKind::AccessDenied, Some(0))]);
        assert!(!ordered || keys(&taken) == expected[..taken.len()]);
        fixture.server.clear_faults();
        taken.extend(fixture.s3.list_recursive(["d"]).resume(listing.cursor().unwrap()).await.unwrap());
        let mut listed = keys(&taken);
        listed.sort_unstable();
        assert!(listed == expected, "{}", listed.len());
    }
}

#[tokio::test]
async fn pages_that_fail_for_a_while_cost_no_key() {
    let expected = hexadecimal(2000);
    let fixture = with_keys(10, &expected).await;
    for call in [2, 5, 20, 33] {
        fixture.server.inject(Fault::status(500, "InternalError").operation(Operation::ListObjectsV2).on_call(call));
    }
    assert!(keys(&fixture.s3.list_recursive(["d"]).await.unwrap()) == expected);
}

#[tokio::test]
async fn where_pages_are_throttled_while_the_prefix_is_cut_no_key_is_lost_and_the_prefix_is_slowed() {
    const ALLOWED: u32 = 200;
    let expected = hexadecimal(2000);
    for ordered in [false, true] {
        let fixture = with_keys(10, &expected).await;
        fixture.server.inject(Fault::status(503, "SlowDown").operation(Operation::ListObjectsV2).beyond(ALLOWED));
        let mut listed = keys(&fixture.s3.list_recursive(["d"]).ordered(ordered).await.unwrap());
        listed.sort_unstable();
        assert!(listed == expected, "{}", listed.len());
        assert!(fixture.server.faults_applied() > 0 && starts_after(&fixture.server.log()) > 1);
        // A client that knew no better would have one refused for each that is taken.
        assert!(fixture.server.faults_applied() * 2 < pages(&fixture), "{}", fixture.server.faults_applied());
    }
}

#[tokio::test]
async fn a_dropped_listing_ends_all_its_requests() {
    let fixture = with_keys(10, &hexadecimal(3000)).await;
    let mut listing = fixture.s3.list_recursive(["d"]);
    for _ in 0..1500 {
        listing.try_next().await.unwrap().unwrap();
    }
    fixture.server.hold();
    // How many requests are held then depends on how fast they were before; the listing has more to ask for than has come.
    let held = async {
        while fixture.client.stats().requests_in_flight == 0 {
            while let Some(object) = listing.try_next().now_or_never() {
                object.unwrap().unwrap();
            }
            tokio::task::yield_now().await;
        }
    };
    in_time("a request is on its way", held).await;
    drop(listing);
    // A held request ends only with its connection.
    fixture.wait_until(|log| log.iter().all(|request| request.finish().is_some())).await;
    fixture.server.release();
    let ended = async {
        while fixture.client.stats().requests_in_flight > 0 {
            tokio::task::yield_now().await;
        }
    };
    in_time("all requests end", ended).await;
}

#[tokio::test]
async fn keys_that_stay_come_once_while_others_come_and_go() {
    let expected = hexadecimal(3000);
    for ordered in [false, true] {
        let fixture = with_keys(10, &expected).await;
        let mut listing = fixture.s3.list_recursive(["d"]).ordered(ordered);
        let mut listed = Vec::new();
        let mut number = 0;
        while let Some(object) = listing.try_next().await.unwrap() {
            listed.push(object);
            number += 1;
            // Keys between the others.
            let other = format!("d/{:016x}x", split_mix(number * 7919 % 3000));
            if number % 2 == 0 {
                fixture.server.put_object("bucket", &other, "");
            } else {
                fixture.server.remove_object("bucket", &other);
            }
        }
        let mut stayed: Vec<String> = keys(&listed).into_iter().filter(|key| !key.ends_with('x')).collect();
        stayed.sort_unstable();
        assert!(stayed == expected, "{}", stayed.len());
    }
}

#[tokio::test]
async fn a_recursive_get_of_many_pages_has_each_object_once() {
    let expected = hexadecimal(600);
    let fixture = with_keys(10, &expected).await;
    let objects = fixture.s3.get_recursive(["d/"]).await.unwrap();
    assert!(keys(&objects) == expected);
}

/// How a server takes `start-after`.
#[derive(Clone, Copy, PartialEq)]
enum Odd {
    Ignores,
    Refuses,
    /// And lists in an order of its own.
    HasItsOrder,
    /// After so many requests.
    Forgets(usize),
}

/// A server that lists these keys, ten to a page, and a scope on it.
async fn odd(keys: Vec<String>, odd: Odd) -> (S3, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (requests, keys) = (Arc::new(AtomicUsize::new(0)), Arc::new(keys));
    let counted = Arc::clone(&requests);
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let (keys, requests) = (Arc::clone(&keys), Arc::clone(&counted));
            tokio::spawn(async move {
                while let Some(head) = head(&mut connection).await {
                    let number = requests.fetch_add(1, Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_millis(2)).await;
                    let answer = odd_page(&head, &keys, odd, number);
                    if connection.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    let client = Client::builder().endpoint(endpoint).credentials(Credentials::new("AKID", "secret"));
    (client.build().unwrap().s3().s3root("s3://bucket").build().unwrap(), requests)
}

async fn head(connection: &mut TcpStream) -> Option<String> {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        text.push(connection.read_u8().await.ok()?);
    }
    Some(String::from_utf8_lossy(&text).into_owned())
}

fn odd_page(head: &str, keys: &[String], odd: Odd, number: usize) -> String {
    let value = |name: &str| {
        let query = head.split(['?', ' ']).find(|part| part.contains("list-type"))?;
        let value = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
        Some(value.replace("%2F", "/"))
    };
    let start_after = value("start-after");
    let heeds = matches!(odd, Odd::Forgets(after) if number < after);
    let from = match (value("continuation-token"), start_after) {
        (Some(token), _) => token.parse().unwrap(),
        (None, Some(_)) if odd == Odd::Refuses => {
            return "HTTP/1.1 501 Not Implemented\r\nContent-Length: 0\r\n\r\n".to_owned();
        }
        (None, Some(after)) if heeds => keys.partition_point(|key| *key <= after),
        _ => 0,
    };
    let to = (from + 10).min(keys.len());
    let more = to < keys.len();
    let mut page = format!("<ListBucketResult><IsTruncated>{more}</IsTruncated>");
    if more {
        page.push_str(&format!("<NextContinuationToken>{to}</NextContinuationToken>"));
    }
    for key in &keys[from..to] {
        page.push_str(&format!("<Contents><Key>{key}</Key><Size>1</Size></Contents>"));
    }
    page.push_str("</ListBucketResult>");
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{page}", page.len())
}

#[tokio::test]
async fn a_server_that_does_not_know_start_after_is_listed_one_page_after_another() {
    for how in [Odd::Ignores, Odd::Refuses] {
        let (s3, requests) = odd(hexadecimal(1000), how).await;
        for ordered in [false, true] {
            let listed: Vec<_> = s3.list_recursive(["d"]).ordered(ordered).try_collect().await.unwrap();
            assert!(keys(&listed) == hexadecimal(1000));
        }
        let requests = requests.load(Ordering::SeqCst);
        assert!((200..=230).contains(&requests), "{requests} requests");
    }
}

#[tokio::test]
async fn a_server_with_an_order_of_its_own_is_listed_in_that_order() {
    // The first pages may be in order.
    for sorted in [0, 25, 300] {
        let mut own = hexadecimal(1000);
        own[sorted..].sort_by_key(|key| key.chars().rev().collect::<String>());
        let (s3, _) = odd(own.clone(), Odd::HasItsOrder).await;
        let mut listing = s3.list_recursive(["d"]);
        let mut listed = Vec::new();
        while let Some(object) = listing.try_next().await.unwrap() {
            listed.push(object);
            if listed.len() == 500 {
                assert_eq!(listing.cursor().unwrap_err().kind(), ErrorKind::Unsupported);
            }
        }
        assert!(keys(&listed) == own);
        assert!(keys(&s3.list_recursive(["d"]).await.unwrap()) == hexadecimal(1000));
    }
}

#[tokio::test]
async fn where_start_after_or_the_order_is_not_that_of_s3_no_shard_is_planned_and_those_of_elsewhere_are_whole() {
    for how in [Odd::Ignores, Odd::HasItsOrder] {
        for count in [8, 300] {
            let mut own = hexadecimal(count);
            if how == Odd::HasItsOrder {
                own.sort_by_key(|key| key.chars().rev().collect::<String>());
            }
            let (s3, _) = odd(own, how).await;
            let error = s3.plan_shards("d", 4).await.unwrap_err();
            assert_eq!((error.kind(), error.operation()), (ErrorKind::Unsupported, Some("plan_shards")), "{error}");

            let manifest = futures::stream::iter(hexadecimal(count));
            let mut listed = Vec::new();
            for shard in s3.plan_shards("d", 4).from_manifest(manifest).await.unwrap() {
                listed.extend(keys(&s3.list_shard(&shard).await.unwrap()));
            }
            assert!(listed == hexadecimal(count), "{} of {count}", listed.len());
        }
    }
}

#[tokio::test]
async fn a_cursor_for_a_server_that_ignores_start_after_leaves_out_what_was_taken() {
    let (s3, _) = odd(hexadecimal(300), Odd::Ignores).await;
    let mut listing = s3.list_recursive(["d"]);
    let mut taken = Vec::new();
    for _ in 0..123 {
        taken.push(listing.try_next().await.unwrap().unwrap());
    }
    taken.extend(s3.list_recursive(["d"]).resume(listing.cursor().unwrap()).await.unwrap());
    assert!(keys(&taken) == hexadecimal(300));
}

#[tokio::test]
async fn a_server_that_forgets_start_after_later_is_an_error_and_no_key_comes_twice() {
    let (s3, _) = odd(hexadecimal(2000), Odd::Forgets(20)).await;
    let mut listing = s3.list_recursive(["d"]);
    let (mut listed, mut error) = (BTreeSet::new(), None);
    while let Some(outcome) = listing.next().await {
        match outcome {
            Ok(object) => assert!(listed.insert(object.url().to_owned()), "{} came twice", object.url()),
            Err(problem) => error = Some(problem),
        }
    }
    assert_eq!(error.unwrap().kind(), ErrorKind::Unsupported);
}
