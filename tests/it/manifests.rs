//! Manifests: read with flat memory, written whole by one writer, and damage is told before anybody works on.

use std::io::Write as _;

use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use s3flow::testing::{Fault, Operation};
use s3flow::{Error, ErrorKind, ManifestEntry, PutOutcome, ReadManifest, S3CopyObject, S3GetObject};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::support::{Fixture, count, in_time, with_causes};

const MIB: usize = 1 << 20;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Line {
    n: u64,
}

/// What came before the error, and that it was the last item.
async fn until_error<T: serde::de::DeserializeOwned>(mut lines: ReadManifest<T>) -> (usize, Error) {
    let mut read = 0;
    in_time("the manifest is read", async {
        loop {
            match lines.next().await {
                Some(Ok(_)) => read += 1,
                Some(Err(error)) => {
                    assert!(lines.next().await.is_none());
                    return (read, error);
                }
                None => panic!("no error after {read} lines"),
            }
        }
    })
    .await
}

#[tokio::test]
async fn what_other_tools_write_as_json_lines_is_read() {
    let fixture = Fixture::new().await;
    for (text, expected) in [
        ("", vec![]),
        ("\n\n", vec![]),
        ("{\"n\":1}", vec![1]),
        ("{\"n\":1}\n{\"n\":2}\n", vec![1, 2]),
        ("{\"n\":1}\r\n\r\n{\"n\":2}\r\n", vec![1, 2]),
        (" { \"n\" : 1 } \n\t\n\n{\"n\":2}", vec![1, 2]),
        ("\u{feff}{\"n\":1}\n", vec![1]),
    ] {
        fixture.server.put_object("bucket", "m", text);
        let lines = fixture.s3.read_manifest::<Line>("m").await.unwrap();
        assert_eq!(lines.iter().map(|line| line.n).collect::<Vec<_>>(), expected, "{text:?}");
    }
}

#[tokio::test]
async fn a_damaged_line_is_named_with_its_field_and_nothing_comes_after_it() {
    let fixture = Fixture::new().await;
    let good = "{\"key\":\"a\"}\n";
    let gzip = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xab\x56\xca\n\x00".as_slice();
    for (bytes, place, problem) in [
        // Cut.
        (format!("{good}{{\"key\":\"b").into_bytes(), "line 2, column 9", "EOF while parsing a string"),
        (format!("{good}{{\"key\":\"b\"").into_bytes(), "line 2, column 10", "EOF while parsing an object"),
        // Edited.
        (format!("{good}\n{{\"kye\":\"b\"}}\n{good}").into_bytes(), "line 3, column 6", "unknown field `kye`"),
        (format!("{good}{{\"offset\":1}}\n{good}").into_bytes(), "line 2", "missing field `key`"),
        (format!("{good}{{\"key\":\"b\",\"offset\":\"1\"}}\n").into_bytes(), "line 2, column 23", "expected u64"),
        (format!("{good}{good}{{\"url\":\"b\"}}\n").into_bytes(), "line 3", "not an s3:// URL"),
        (
            format!("{good}{{\"key\":\"a\"}}{{\"key\":\"b\"}}\n").into_bytes(),
            "line 2, column 12",
            "trailing characters",
        ),
        (format!("{good}\u{feff}{good}").into_bytes(), "line 2, column 1", "expected value"),
        // Of another format.
        (b"key,size\na,1\n".to_vec(), "line 1, column 1", "expected value"),
        (b"[\n{\"key\":\"a\"}\n]\n".to_vec(), "line 1, column 1", "EOF while parsing"),
        (b"<html></html>".to_vec(), "line 1, column 1", "expected value"),
        (gzip.to_vec(), "line 1, column 1", "expected value"),
        ([good.as_bytes(), b"{\"key\":\"\xff\"}\n"].concat(), "line 2, column 9", "invalid unicode"),
        (vec![0; 1000], "line 1, column 1", "expected value"),
    ] {
        fixture.server.put_object("bucket", "dir/m", bytes.clone());
        let (read, error) = until_error(fixture.s3.read_manifest::<S3GetObject>("dir/m")).await;
        assert_eq!((error.kind(), error.url()), (ErrorKind::InvalidObject, Some("s3://bucket/dir/m")));
        assert_eq!(read, bytes.split(|byte| *byte == b'\n').take_while(|line| *line == good.trim().as_bytes()).count());
        let text = error.to_string();
        assert!(text.starts_with(&format!("read_manifest s3://bucket/dir/m: {place}: ")), "{text}");
        assert!(text.contains(problem) && !text.contains("at line"), "{text}");
    }
    // Of a value, no more is shown than helps.
    let long = format!("{{\"n\":\"{}\"}}\n", "🦀".repeat(MIB));
    fixture.server.put_object("bucket", "m", long);
    let (_, error) = until_error(fixture.s3.read_manifest::<Line>("m")).await;
    assert!(error.to_string().contains("invalid type: string") && error.to_string().len() < 2000);
}

#[tokio::test]
async fn a_line_of_100_mib_is_refused_at_8_and_the_download_ends() {
    let fixture = Fixture::new().await;
    let mut bytes = b"{\"n\":1}\n{\"n\":".to_vec();
    bytes.resize(100 * MIB, b'1');
    fixture.server.put_object("bucket", "m", bytes);
    let mut lines = fixture.s3.read_manifest::<Line>("m");
    assert_eq!(lines.try_next().await.unwrap(), Some(Line { n: 1 }));
    let error = lines.try_next().await.unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (ErrorKind::InvalidObject, "read_manifest s3://bucket/m: line 2 is longer than 8 MiB")
    );
    assert!(lines.next().await.is_none());
    // While the stream is still held.
    fixture.connections_end(0).await;
}

#[tokio::test]
async fn a_manifest_that_cannot_be_read_is_an_error_that_names_it() {
    let fixture = Fixture::new().await;
    let (read, error) = until_error(fixture.s3.read_manifest::<Line>("dir/m")).await;
    assert_eq!((read, error.kind(), error.url()), (0, ErrorKind::NotFound, Some("s3://bucket/dir/m")));
    assert_eq!(error.operation(), Some("read_manifest"));
    let (_, error) = until_error(fixture.s3.read_manifest::<Line>("s3://bucket/m")).await;
    assert_eq!((error.kind(), error.operation()), (ErrorKind::InvalidUrl, Some("read_manifest")));
    let requests = fixture.server.log().len();
    let (_, error) = until_error(fixture.s3.read_manifest::<Line>(S3GetObject::new("m").offset(1))).await;
    assert_eq!((error.kind(), error.url()), (ErrorKind::InvalidRange, Some("s3://bucket/m")));
    assert_eq!(fixture.server.log().len(), requests);

    fixture.server.put_object("bucket", "damaged", "{\"n\":1}\n");
    fixture.server.corrupt_object("bucket", "damaged", 5);
    let (read, error) = until_error(fixture.s3.read_manifest::<Line>("damaged")).await;
    assert_eq!((read, error.kind()), (0, ErrorKind::Integrity));
    // As the object of a chain of operations.
    let missing = fixture.s3.read_manifest::<S3GetObject>("missing");
    let error = fixture.s3.delete_from(missing).await.unwrap_err();
    assert_eq!((error.kind(), error.url()), (ErrorKind::NotFound, Some("s3://bucket/missing")));
}

#[tokio::test]
async fn a_manifest_that_is_replaced_while_it_is_read_is_changed_and_never_a_mixture() {
    let fixture = Fixture::new().await;
    let manifest = |first: u64| {
        let mut text = Vec::new();
        for n in 0..3_000_000 {
            writeln!(text, "{{\"n\":{}}}", first + n).unwrap();
        }
        text
    };
    fixture.server.put_object("bucket", "m", manifest(1_000_000));
    let mut lines = fixture.s3.read_manifest::<Line>("m");
    let etag = lines.object().await.unwrap().etag().unwrap().to_owned();
    fixture.server.put_object("bucket", "m", manifest(5_000_000));
    let mut expected = 1_000_000;
    let error = loop {
        match lines.try_next().await {
            Ok(Some(line)) => {
                assert_eq!(line.n, expected);
                expected += 1;
            }
            Ok(None) => panic!("no error after {expected}"),
            Err(error) => break error,
        }
    };
    assert_eq!((error.kind(), error.url()), (ErrorKind::Changed, Some("s3://bucket/m")));
    assert!(lines.next().await.is_none());
    // Read again as the one that it was, it is refused at once.
    let again = fixture.s3.read_manifest::<Line>(S3GetObject::new("m").if_match(etag));
    assert_eq!(until_error(again).await.1.kind(), ErrorKind::Changed);
}

#[tokio::test]
async fn a_manifest_goes_on_where_its_connection_broke() {
    let fixture = Fixture::new().await;
    let mut manifest = fixture.s3.write_manifest("m");
    for n in 0..200_000 {
        manifest.write(&Line { n }).await.unwrap();
    }
    manifest.finish().await.unwrap();
    fixture.server.inject(Fault::close_after(100_001).operation(Operation::GetObject).times(3));
    let lines = fixture.s3.read_manifest::<Line>("m").await.unwrap();
    assert!(lines.into_iter().map(|line| line.n).eq(0..200_000));
    assert_eq!(count(&fixture.server.log(), Operation::GetObject), 4);
}

#[tokio::test]
async fn what_reads_a_manifest_reads_it_no_further_than_it_needs() {
    let fixture = Fixture::new().await;
    let mut text = Vec::new();
    for n in 0..2_000_000 {
        writeln!(text, "{{\"key\":\"a key that is not there {n}\"}}").unwrap();
    }
    fixture.server.put_object("bucket", "m", text);
    let manifest = fixture.s3.read_manifest::<S3GetObject>("m");
    let progress = manifest.progress();
    let mut objects = fixture.s3.get_from(manifest).return_missing(true).concurrency(4);
    for _ in 0..10 {
        objects.try_next().await.unwrap().unwrap();
    }
    let gets = count(&fixture.server.log(), Operation::GetObject);
    assert!(gets <= 10 + 4 + 1 + 5, "{gets}");
    assert!(progress.snapshot().bytes < 20 * MIB as u64, "{:?}", progress.snapshot());
}

#[tokio::test]
async fn what_was_deleted_before_the_damage_is_gone_and_what_is_behind_it_stays() {
    let fixture = Fixture::new().await;
    fixture.put_numbered(3);
    fixture.server.put_object("bucket", "m", "{\"key\":\"k0\"}\n{\"key\":\"k1\",\"size\":1}\n{\"key\":\"k2\"}\n");
    let outcomes: Vec<_> = fixture.s3.delete_from(fixture.s3.read_manifest::<S3GetObject>("m")).collect().await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    let error = outcomes.iter().find_map(|outcome| outcome.as_ref().err()).unwrap();
    assert_eq!((error.kind(), error.index()), (ErrorKind::InvalidObject, Some(1)));
    assert!(with_causes(error).contains("line 2, column 18: unknown field `size`"), "{}", with_causes(error));
    assert_eq!(fixture.server.keys("bucket"), ["k1", "k2", "m"]);
}

#[tokio::test]
async fn a_line_is_one_line_whatever_is_in_it() {
    let fixture = Fixture::new().await;
    let mut manifest = fixture.s3.write_manifest("m");
    manifest.write("a\nb\r\u{2028}").await.unwrap();
    let pretty = RawValue::from_string("{\n  \"n\": 1,\r\n  \"text\": \"\\n\"\n}".to_owned()).unwrap();
    manifest.write(&pretty).await.unwrap();
    manifest.write(&json!({"n": 2})).await.unwrap();
    manifest.finish().await.unwrap();
    let stored = fixture.server.object("bucket", "m").unwrap();
    assert_eq!(stored.iter().filter(|byte| **byte == b'\n').count(), 3);
    let lines = fixture.s3.read_manifest::<Value>("m").await.unwrap();
    assert_eq!(lines, [json!("a\nb\r\u{2028}"), json!({"n": 1, "text": "\n"}), json!({"n": 2})]);
}

#[tokio::test]
async fn a_line_that_cannot_be_written_leaves_the_manifest_as_it_was() {
    let fixture = Fixture::new().await;
    let secret = S3GetObject::new("k").customer_key(s3flow::CustomerKey::new([7; 32]));
    let mut manifest = fixture.s3.write_manifest("dir/m");
    manifest.write(&Line { n: 1 }).await.unwrap();
    let error = manifest.write(&(1, &secret)).await.unwrap_err();
    assert_eq!((error.kind(), error.url()), (ErrorKind::InvalidObject, Some("s3://bucket/dir/m")));
    assert!(with_causes(&error).contains("the line cannot be serialised: a customer's encryption key"), "{error}");
    let error = manifest.write(&"x".repeat(8 * MIB)).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "write_manifest s3://bucket/dir/m: the line has 8388610 bytes; a line has up to 8 MiB"
    );
    manifest.write(&"x".repeat(8 * MIB - 2)).await.unwrap();
    manifest.finish().await.unwrap();
    let lines = fixture.s3.read_manifest::<Value>("dir/m").await.unwrap();
    assert_eq!((lines.len(), &lines[0]), (2, &json!({"n": 1})));
}

#[tokio::test]
async fn a_write_that_is_dropped_has_written_nothing() {
    let fixture = Fixture::new().await;
    let mut manifest = fixture.s3.write_manifest("m");
    let (line, mut written, mut dropped) = ("x".repeat(100_000), Vec::new(), 0);
    let attempts = async {
        for number in 0.. {
            match manifest.write(&(number, &line)).now_or_never() {
                Some(done) => written.push(done.map(|()| number).unwrap()),
                None => {
                    dropped += 1;
                    tokio::task::yield_now().await;
                }
            }
            if written.len() > 200 && dropped > 10 {
                break;
            }
        }
    };
    in_time("writes are taken and dropped", attempts).await;
    manifest.finish().await.unwrap();
    let lines = fixture.s3.read_manifest::<(u64, String)>("m").await.unwrap();
    assert!(lines.iter().map(|(number, _)| number).eq(&written));
    assert!(lines.iter().all(|(_, read)| *read == line));
}

#[tokio::test]
async fn without_finish_nothing_is_stored_and_without_lines_an_empty_object() {
    let fixture = Fixture::new().await;
    for lines in [0, 1, 3_000_000] {
        let mut manifest = fixture.s3.write_manifest("m");
        for n in 0..lines {
            manifest.write(&Line { n }).await.unwrap();
        }
        drop(manifest);
    }
    assert!(fixture.server.keys("bucket").is_empty());
    let receipt = fixture.s3.write_manifest("m").overwrite(false).finish().await.unwrap();
    assert_eq!(receipt.outcome(), PutOutcome::Created);
    assert_eq!(fixture.server.object("bucket", "m").unwrap().len(), 0);
    assert!(fixture.s3.read_manifest::<Line>("m").await.unwrap().is_empty());
    in_time("cleanups", fixture.s3.close()).await.unwrap();
    assert!(fixture.server.multipart_uploads("bucket").is_empty());
}

#[tokio::test]
async fn an_upload_that_fails_fails_the_lines_and_says_why() {
    let fixture = Fixture::new().await;
    fixture.server.inject(Fault::status(403, "AccessDenied").operation(Operation::CreateMultipartUpload));
    let mut manifest = fixture.s3.write_manifest("m");
    let failed = in_time("the lines", async {
        loop {
            if let Err(error) = manifest.write(&"x".repeat(100_000)).await {
                return error;
            }
        }
    });
    let failed = failed.await;
    assert_eq!((failed.kind(), failed.operation()), (ErrorKind::AccessDenied, Some("write_manifest")), "{failed}");
    for error in [manifest.write(&1).await.unwrap_err(), manifest.finish().await.unwrap_err()] {
        assert_eq!((error.kind(), error.code()), (ErrorKind::AccessDenied, Some("AccessDenied")));
    }
    let nowhere = fixture.s3.write_manifest("s3://bucket/m").finish().await.unwrap_err();
    assert_eq!((nowhere.kind(), nowhere.operation()), (ErrorKind::InvalidUrl, Some("write_manifest")));
}

#[tokio::test]
async fn a_large_outcome_has_one_writer_too_and_the_others_leave_no_parts() {
    let fixture = Fixture::new().await;
    let write = |writer: u64| {
        let s3 = fixture.s3.clone();
        async move {
            let mut outcome = s3.write_manifest("outcome").overwrite(false);
            for _ in 0..200 {
                outcome.write(&(writer, "x".repeat(100_000))).await.unwrap();
            }
            outcome.finish().await.unwrap().outcome()
        }
    };
    let outcomes = futures::future::join_all((0..3).map(write)).await;
    let winner = outcomes.iter().position(|outcome| *outcome == PutOutcome::Created).unwrap();
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == PutOutcome::AlreadyExists).count(), 2);
    let etag = fixture.s3.info("outcome").await.unwrap().etag().unwrap().to_owned();
    assert_eq!(write(9).await, PutOutcome::AlreadyExists);
    assert_eq!(fixture.s3.info("outcome").await.unwrap().etag(), Some(etag.as_str()));
    let lines = fixture.s3.read_manifest::<(u64, String)>("outcome").await.unwrap();
    assert!(lines.len() == 200 && lines.iter().all(|(writer, _)| *writer == winner as u64));
    assert!(fixture.server.multipart_uploads("bucket").is_empty());
}

#[tokio::test]
async fn a_serialised_listing_is_a_manifest_too() {
    let fixture = Fixture::new().await;
    fixture.put_numbered(3);
    let listed = fixture.s3.list_recursive([""]).await.unwrap();
    let mut manifest = fixture.s3.write_manifest("m");
    for object in &listed {
        manifest.write(object).await.unwrap();
    }
    manifest.finish().await.unwrap();
    let entries = fixture.s3.read_manifest::<ManifestEntry>("m").await.unwrap();
    assert_eq!(entries, listed.iter().map(ManifestEntry::from).collect::<Vec<_>>());
    let copies = fixture.s3.read_manifest::<ManifestEntry>("m").map(|entry| {
        let entry = entry?;
        Ok::<_, Error>((entry.pinned()?, format!("copy/{}", entry.key())))
    });
    fixture.s3.copy_from(copies).await.unwrap();
    assert_eq!(fixture.s3.list_recursive(["copy"]).await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_copy_of_a_manifest_has_an_outcome_for_each_line() {
    let fixture = Fixture::new().await;
    fixture.put_numbered(2);
    let inputs = [S3CopyObject::new("k0", "c0"), ("missing", "c1").into(), ("k1", "c1").into()];
    let mut manifest = fixture.s3.write_manifest("m");
    for input in &inputs {
        manifest.write(input).await.unwrap();
    }
    manifest.finish().await.unwrap();
    let copies = fixture.s3.copy_from(fixture.s3.read_manifest::<S3CopyObject>("m")).ordered(true);
    let outcomes: Vec<_> = copies.collect().await;
    assert_eq!(outcomes.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
    assert_eq!(&fixture.server.object("bucket", "c1").unwrap()[..], b"k1");
    let receipts = fixture.s3.copy_many(inputs.into_iter().step_by(2)).await.unwrap();
    assert_eq!(receipts.len(), 2);
}

/// A line of 64 bytes with its number.
fn numbered_line(number: u64) -> String {
    format!("{{\"url\":\"s3://bucket/some/prefix/{number:012}\",\"size\":{:09}}}\n", 100_000_000 + number)
}

/// A manifest of so many lines that no server has to hold: what is asked for is made. Gives the endpoint.
#[cfg(target_os = "linux")]
async fn endless_manifest(lines: u64) -> String {
    use axum::http::{HeaderMap, StatusCode, header};
    use axum::response::IntoResponse as _;

    let width = numbered_line(0).len() as u64;
    let length = lines * width;
    let answer = move |headers: HeaderMap| async move {
        let range = headers.get(header::RANGE).and_then(|range| {
            let (start, end) = range.to_str().ok()?.strip_prefix("bytes=")?.split_once('-')?;
            Some(start.parse().ok()?..end.parse::<u64>().map_or(length, |last| last + 1))
        });
        let status = if range.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
        let whole: std::ops::Range<u64> = range.unwrap_or(0..length);
        let content_range = format!("bytes {}-{}/{length}", whole.start, whole.end - 1);
        let headers = [
            (header::ETAG, "\"made\"".to_owned()),
            (header::CONTENT_LENGTH, (whole.end - whole.start).to_string()),
            (header::CONTENT_RANGE, content_range),
        ];
        let pieces = futures::stream::unfold(whole.start, move |at| async move {
            let first = at / width;
            let last = (first + 1000).min(whole.end.div_ceil(width));
            let text: String = (first..last).map(numbered_line).collect();
            let piece = &text[(at - first * width) as usize..text.len().min((whole.end - first * width) as usize)];
            (at < whole.end).then(|| (Ok::<_, Error>(piece.to_owned()), at + piece.len() as u64))
        });
        let last = if status == StatusCode::OK { 2 } else { 3 };
        let headers = axum::response::AppendHeaders(headers.into_iter().take(last).collect::<Vec<_>>());
        (status, headers, axum::body::Body::from_stream(pieces)).into_response()
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(answer)).await });
    endpoint
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "half a minute; prints lines in a second"]
async fn ten_million_lines_are_read_with_flat_memory() {
    const LINES: u64 = 10_000_000;
    let resident = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
    };
    let endpoint = endless_manifest(LINES).await;
    let client = s3flow::Client::builder().endpoint(endpoint).credentials(s3flow::Credentials::new("key", "secret"));
    let s3 = client.use_proxy(false).build().unwrap().s3().s3root("s3://bucket").build().unwrap();
    // What every process needs once.
    let mut entries = s3.read_manifest::<ManifestEntry>("m");
    for _ in 0..1_000_000 {
        entries.try_next().await.unwrap().unwrap();
    }
    drop(entries);
    let (before, mut most, mut number) = (resident(), 0, 0);
    let begun = std::time::Instant::now();
    let mut entries = s3.read_manifest::<ManifestEntry>("m");
    while let Some(entry) = entries.try_next().await.unwrap() {
        assert_eq!(entry.size(), Some(100_000_000 + number));
        number += 1;
        if number % 100_000 == 0 {
            most = most.max(resident());
        }
    }
    let elapsed = begun.elapsed();
    assert_eq!(number, LINES);
    eprintln!(
        "{LINES} lines in {elapsed:.1?}: {:.0} lines in a second; {before} MiB resident before, {most} at most",
        LINES as f64 / elapsed.as_secs_f64()
    );
    assert!(most < before + 80, "{before} MiB before, {most} MiB at most");
}
