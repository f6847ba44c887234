//! The command lines of the examples, run as processes.

use std::process::Stdio;
use std::time::Duration;

use s3flow::testing::{Fault, Operation};
use serde_json::Value;
use tokio::process::Command;

use crate::shell::{Shell, json_lines, names};

/// What S3 takes for a key and file systems, URLs and shells trip over.
const ODD_KEYS: [&str; 11] = [
    "a//b",
    "dir/",
    "./a",
    "../up",
    "sp ace+plus%41",
    "grüße/😀",
    "q?x=1&y#z",
    "line\nbreak",
    "\u{1}",
    "-dash",
    "tab\t\"quote\"",
];

#[tokio::test]
async fn quickstart_verifies_every_byte_on_a_server_of_its_own() {
    let shell = Shell::new().await;
    for (objects, size) in [("40", "64KiB"), ("3", "5000"), ("2", "0"), ("0", "1MiB")] {
        let mut command = shell.command("quickstart");
        command.env_remove("AWS_ENDPOINT_URL").args(["--objects", objects, "--size", size, "--concurrency", "4"]);
        let ran = shell.run(command, "").await;
        let last = ran.done().lines().last().unwrap();
        assert!(last.starts_with(&format!("{objects} objects, ")) && last.ends_with("every byte verified"), "{last}");
        for count in ["stored", "listed", "fetched"] {
            assert!(ran.text().contains(&format!("{count} {objects} objects")), "{ran:?}");
        }
    }
    assert_eq!(shell.server.log().len(), 0, "it has a server of its own");
}

#[tokio::test]
async fn quickstart_leaves_what_others_stored_alone() {
    let shell = Shell::new().await;
    shell.server.put_object("bucket", "try/other", "other");
    for _ in 0..2 {
        let mut command = shell.command("quickstart");
        command.args(["--endpoint", shell.server.endpoint(), "--s3root", "s3://bucket/try"]);
        command.args(["--objects", "5", "--size", "4KiB"]);
        shell.run(command, "").await.done();
    }
    assert_eq!(shell.server.object("bucket", "try/other").as_deref(), Some(&b"other"[..]));
    assert_eq!(shell.server.keys("bucket").len(), 11, "each run stores below a prefix of its own");
}

#[tokio::test]
async fn quickstart_fails_when_a_byte_is_wrong() {
    let shell = Shell::new().await;
    // Nothing is fetched before the object is another one.
    shell.server.inject(Fault::status(503, "SlowDown").operation(Operation::GetObject).times(usize::MAX));
    let mut command = shell.command("quickstart");
    command.args(["--s3root", "s3://bucket", "--objects", "1", "--size", "100"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let replace = async {
        shell.server.wait_until(|log| log.iter().any(|request| request.operation() == Operation::GetObject)).await;
        let key = shell.server.keys("bucket").remove(0);
        let mut contents = shell.server.object("bucket", &key).unwrap().to_vec();
        contents[42] ^= 1;
        shell.server.put_object("bucket", &key, contents);
        shell.server.clear_faults();
    };
    let ran = shell.ended(child, replace).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("differs from what was stored at byte 42"), "{ran:?}");
    assert!(!ran.text().contains("verified"), "{ran:?}");
}

#[tokio::test]
async fn quickstart_fails_when_an_object_cannot_be_stored() {
    let shell = Shell::new().await;
    let mut command = shell.command("quickstart");
    command.args(["--s3root", "s3://missing-bucket", "--objects", "3"]);
    let ran = shell.run(command, "").await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("NoSuchBucket") && ran.stderr.contains("s3://missing-bucket/"), "{ran:?}");
}

#[tokio::test]
async fn an_endpoint_of_quickstart_needs_an_s3root() {
    let shell = Shell::new().await;
    let mut command = shell.command("quickstart");
    command.args(["--endpoint", shell.server.endpoint()]);
    let ran = shell.run(command, "").await;
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("--s3root"), "{ran:?}");
    assert_eq!(shell.server.log().len(), 0);
}

#[tokio::test]
async fn what_put_stores_is_listed_told_and_fetched_under_the_same_key() {
    let shell = Shell::new().await;
    let files: Vec<String> = (0..ODD_KEYS.len()).map(|n| shell.write(&n.to_string(), format!("<{n}>"))).collect();
    let pairs = ODD_KEYS.iter().zip(&files).flat_map(|(key, file)| [*key, file.as_str()]);
    let stored = shell.rooted(["put", "--"].into_iter().chain(pairs)).await;
    assert_eq!(stored.done().lines().count(), ODD_KEYS.len());
    assert!(ODD_KEYS.iter().all(|key| shell.server.object("bucket", &format!("root/{key}")).is_some()));

    let listed = shell.rooted(["ls", "--json"]).await;
    listed.done();
    let mut keys: Vec<String> = listed.json().iter().map(|line| line["key"].as_str().unwrap().to_owned()).collect();
    let mut expected = ODD_KEYS.map(str::to_owned);
    keys.sort();
    expected.sort();
    assert_eq!(keys, expected);

    let told = shell.rooted(["info", "--json", "--"].into_iter().chain(ODD_KEYS)).await;
    told.done();
    for (line, (key, n)) in told.json().iter().zip(ODD_KEYS.into_iter().zip(0..)) {
        assert_eq!((&line["key"], &line["size"]), (&key.into(), &format!("<{n}>").len().into()));
    }

    // To stdout in the order asked for.
    let fetched = shell.rooted(["get", "--"].into_iter().chain(ODD_KEYS.into_iter().rev())).await;
    let contents: String = (0..ODD_KEYS.len()).rev().map(|n| format!("<{n}>")).collect();
    assert_eq!(fetched.done(), contents);
}

#[tokio::test]
async fn without_a_root_keys_are_urls() {
    let shell = Shell::new().await;
    let file = shell.write("file", "text");
    shell.run(shell.s3op(["put", "s3://bucket/a/b", &file]), "").await.done();
    let listed = shell.run(shell.s3op(["ls", "s3://bucket"]), "").await;
    assert!(listed.done().trim_end().ends_with(" s3://bucket/a/b"), "{listed:?}");
    assert_eq!(shell.run(shell.s3op(["get", "s3://bucket/a/b"]), "").await.done(), "text");
    shell.run(shell.s3op(["get", "s3://bucket/a/b", "--out", "out"]), "").await.done();
    assert_eq!(std::fs::read(shell.work.path().join("out/bucket/a/b")).unwrap(), b"text");
}

#[tokio::test]
async fn a_run_is_listed_whole_without_a_prefix() {
    let shell = Shell::new().await;
    shell.server.put_object("bucket", "data/Flow/7/a", "x");
    shell.server.put_object("bucket", "data/Flow/71/b", "x");
    let mut command = shell.s3op(["--run", "Flow/7", "ls"]);
    command.env("METAFLOW_DATATOOLS_S3ROOT", "s3://bucket/data");
    let listed = shell.run(command, "").await;
    assert!(listed.done().ends_with(" a\n") && listed.text().lines().count() == 1, "{listed:?}");
}

#[tokio::test]
async fn a_listing_has_a_line_for_each_key_whatever_the_key() {
    let shell = Shell::new().await;
    shell.server.put_object("bucket", "root/line\nbreak\u{1b}[31m", "1");
    shell.server.put_object("bucket", "root/prefix/x", "22");
    shell.server.put_object("bucket", "root/prefixed", "333");
    let all = shell.rooted(["ls"]).await;
    let keys: Vec<&str> = all.done().lines().map(|line| line.split_once("Z ").unwrap().1).collect();
    assert_eq!(keys, ["line\\nbreak\\u{1b}[31m", "prefix/x", "prefixed"]);
    let below = shell.rooted(["ls", "prefix"]).await;
    assert!(below.done().starts_with("           2 20") && below.text().ends_with("Z prefix/x\n"), "{below:?}");
}

#[tokio::test]
async fn put_sends_content_type_and_metadata_and_info_tells_them() {
    let shell = Shell::new().await;
    let options = ["--content-type", "text/csv", "--metadata", "owner=me", "--metadata", "note=a=b"];
    let command = shell.s3op(["put", "s3://bucket/k", "-"].into_iter().chain(options));
    shell.run(command, "from stdin").await.done();
    assert_eq!(shell.server.object("bucket", "k").as_deref(), Some(&b"from stdin"[..]));
    let told = shell.run(shell.s3op(["info", "s3://bucket/k", "--json"]), "").await;
    told.done();
    let [line] = &told.json()[..] else { panic!("{told:?}") };
    assert_eq!(line["content_type"], "text/csv");
    assert_eq!(line["metadata"], serde_json::json!({ "owner": "me", "note": "a=b" }));
    let told = shell.run(shell.s3op(["info", "s3://bucket/k"]), "").await;
    assert!(told.done().contains(r#"text/csv s3://bucket/k {"note":"a=b","owner":"me"}"#), "{told:?}");
}

#[tokio::test]
async fn no_overwrite_leaves_what_exists() {
    let shell = Shell::new().await;
    shell.server.put_object("bucket", "root/old", "old");
    let file = shell.write("file", "new");
    let ran = shell.rooted(["put", "old", &file, "new", &file, "--no-overwrite", "--json"]).await;
    ran.done();
    let uploaded: Vec<(Value, Value)> =
        ran.json().iter().map(|line| (line["key"].clone(), line["uploaded"].clone())).collect();
    assert_eq!(uploaded, [("old".into(), false.into()), ("new".into(), true.into())]);
    assert_eq!(shell.server.object("bucket", "root/old").as_deref(), Some(&b"old"[..]));
    assert_eq!(shell.server.object("bucket", "root/new").as_deref(), Some(&b"new"[..]));
}

#[tokio::test]
async fn ranges_are_fetched() {
    let shell = Shell::new().await;
    shell.server.put_object("bucket", "root/k", "0123456789");
    for (range, expected) in [
        (&["--offset", "7"][..], "789"),
        (&["--offset", "2", "--length", "3"], "234"),
        (&["--length", "4"], "0123"),
        (&["--length", "-4"], "6789"),
        (&["--length=-4"], "6789"),
    ] {
        let ran = shell.rooted(["get", "k"].into_iter().chain(range.iter().copied())).await;
        assert_eq!(ran.done(), expected, "{range:?}");
    }
    let ran = shell.rooted(["get", "k", "--offset", "2", "--length", "3", "--json", "--out", "out"]).await;
    ran.done();
    let line = &ran.json()[0];
    assert_eq!((&line["offset"], &line["size"], &line["total_size"]), (&2.into(), &3.into(), &10.into()));
}

#[tokio::test]
async fn keys_from_reads_keys_after_those_of_the_command_line() {
    let shell = Shell::new().await;
    for key in ["a", "b", "c d"] {
        shell.server.put_object("bucket", &format!("root/{key}"), format!("<{key}>"));
    }
    let keys = shell.write("keys", "c d\n\nb");
    let ran = shell.rooted(["get", "a", "--keys-from", &keys]).await;
    assert_eq!(ran.done(), "<a><c d><b>");

    let from_stdin = |command| shell.s3op(["--s3root", "s3://bucket/root", "--keys-from", "-", command, "--json"]);
    let ran = shell.run(from_stdin("info"), "b\na\n").await;
    ran.done();
    assert_eq!(ran.json().iter().map(|line| line["key"].clone()).collect::<Vec<_>>(), ["b", "a"]);
    let ran = shell.run(from_stdin("ls"), "none\n").await;
    assert_eq!(ran.done(), "");

    let file = shell.write("file", "new");
    let ran = shell.run(from_stdin("put"), &format!("x\t{file}\nno tab\ny\t{file}\n")).await;
    assert_eq!((ran.code, ran.json().len()), (Some(1), 2), "{ran:?}");
    assert!(ran.stderr.contains("line 2"), "{ran:?}");
    assert!(["root/x", "root/y"].iter().all(|key| shell.server.object("bucket", key).is_some()));

    let pairs = shell.write("pairs", "first\t-\nsecond\t-\n");
    let ran = shell.run(shell.s3op(["--s3root", "s3://bucket/root", "put", "--keys-from", &pairs]), "stdin").await;
    assert_eq!((ran.code, ran.text()), (Some(1), "stored s3://bucket/root/first\n"), "{ran:?}");
    assert_eq!(shell.server.object("bucket", "root/first").as_deref(), Some(&b"stdin"[..]));
}

#[tokio::test]
async fn out_writes_each_object_at_its_key() {
    let shell = Shell::new().await;
    shell.server.put_object("bucket", "root/a", "A");
    shell.server.put_object("bucket", "root/dir/sub/b c", "B");
    let ran = shell.rooted(["get", "a", "dir/sub/b c", "missing", "--out", "out", "--return-missing", "--json"]).await;
    ran.done();
    let lines = ran.json();
    assert_eq!(lines.iter().map(|line| line["exists"].clone()).collect::<Vec<_>>(), [true, true, false]);
    let out = shell.work.path().join("out");
    for (line, contents) in lines.iter().zip(["A", "B"]) {
        let path = line["path"].as_str().unwrap();
        assert_eq!(std::fs::read_to_string(shell.work.path().join(path)).unwrap(), contents);
    }
    assert_eq!(names(&out), ["a", "dir"]);
    assert_eq!(names(&out.join("dir/sub")), ["b c"]);
}

#[tokio::test]
async fn a_key_that_leads_out_of_out_is_refused_and_leaves_nothing() {
    let shell = Shell::new().await;
    let refused = ["../up", "a/../../up", "/absolute", "a//b", "dir/", ".", "./a", "a/..", "..", ""];
    for key in refused {
        shell.server.put_object("bucket", &format!("root/{key}"), "bad");
    }
    for key in refused {
        let ran = shell.rooted(["get", "--out", "out", "--json", "--", key]).await;
        assert_eq!((ran.code, ran.text()), (Some(1), ""), "{key:?}");
        let [error] = &json_lines(&ran.stderr)[..] else { panic!("{ran:?}") };
        assert_eq!(error["key"], key);
        assert!(error["error"].as_str().unwrap().contains(&format!("{key:?} is refused")), "{ran:?}");
        assert_eq!(names(shell.work.path()), Vec::<String>::new(), "{key:?}");
    }
    for url in ["s3://../up", "s3://bucket/../../up", "s3:///up"] {
        let ran = shell.run(shell.s3op(["get", "--out", "out", url]), "").await;
        assert_eq!((ran.code, ran.stderr.contains(url)), (Some(1), true), "{ran:?}");
        assert_eq!(names(shell.work.path()), Vec::<String>::new(), "{url:?}");
    }
    assert_eq!(shell.server.log().len(), 0, "refused before any request");
}

#[tokio::test]
async fn a_run_goes_on_after_a_failed_item() {
    let shell = Shell::new().await;
    shell.server.put_object("bucket", "root/a", "A");
    shell.server.put_object("bucket", "root/denied", "D");
    shell.server.put_object("bucket", "root/z", "Z");
    shell.server.deny("bucket", "root/denied");
    let ran = shell.rooted(["get", "a", "denied", "missing", "z"]).await;
    assert_eq!((ran.code, ran.text()), (Some(1), "AZ"));
    let lines: Vec<&str> = ran.stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{ran:?}");
    assert!(lines[0].contains("s3://bucket/root/denied") && lines[1].contains("s3://bucket/root/missing"), "{ran:?}");

    let ran = shell.rooted(["info", "missing", "a", "--json"]).await;
    assert_eq!((ran.code, ran.json().len()), (Some(1), 1));
    let error = &json_lines(&ran.stderr)[0];
    assert_eq!((&error["kind"], &error["key"]), (&"NotFound".into(), &"missing".into()));

    let file = shell.write("file", "new");
    let ran = shell.rooted(["put", "x", "no-such-file", "y", &file]).await;
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("no-such-file"), "{ran:?}");
    assert!(shell.server.object("bucket", "root/y").is_some());

    // A directory in the way of one object's file.
    std::fs::create_dir_all(shell.work.path().join("out/a/sub")).unwrap();
    let ran = shell.rooted(["get", "a", "z", "--out", "out"]).await;
    assert_eq!((ran.code, ran.text()), (Some(1), "z -> out/z (1 bytes)\n"), "{ran:?}");
    assert!(ran.stderr.contains("out/a"), "{ran:?}");
}

#[tokio::test]
async fn return_missing_is_no_failure() {
    let shell = Shell::new().await;
    shell.server.put_object("bucket", "root/a", "A");
    let ran = shell.rooted(["get", "missing", "a", "--return-missing"]).await;
    assert_eq!((ran.code, ran.text()), (Some(0), "A"));
    assert_eq!(ran.stderr, "s3op: missing s3://bucket/root/missing\n");
    let ran = shell.rooted(["info", "missing", "--return-missing", "--json"]).await;
    assert_eq!(ran.done(), "{\"exists\":false,\"key\":\"missing\",\"url\":\"s3://bucket/root/missing\"}\n");
}

#[tokio::test]
async fn a_reader_that_has_seen_enough_ends_a_run_quietly() {
    let shell = Shell::new().await;
    shell.server.put_object("bucket", "root/k", vec![7; 1 << 20]);
    for arguments in [&["ls"][..], &["get", "k"], &["info", "k"], &["get", "k", "--keys-from", "-"]] {
        let mut command = shell.s3op(["--s3root", "s3://bucket/root"].into_iter().chain(arguments.iter().copied()));
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // Open, so that more keys could come: the end must not wait for them.
        let stdin = child.stdin.take();
        drop(child.stdout.take());
        let ran = shell.ended(child, std::future::ready(())).await;
        drop(stdin);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{arguments:?}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn an_interrupted_run_leaves_no_file() {
    let shell = Shell::new().await;
    shell.server.put_object("bucket", "root/k", "text");
    shell.server.hold();
    let mut command = shell.s3op(["--s3root", "s3://bucket/root", "get", "k"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = child.id().unwrap().to_string();
    let interrupt = async {
        shell.server.wait_until(|log| !log.is_empty()).await;
        assert_eq!(names(shell.temp.path()).len(), 1, "a scope is at work");
        assert!(Command::new("sh").args(["-c", "kill -INT \"$0\"", &pid]).status().await.unwrap().success());
    };
    let ran = shell.ended(child, interrupt).await;
    assert_eq!((ran.code, ran.text()), (Some(130), ""), "{ran:?}");
}

/// A command line that cannot work, and what it must say.
struct Bad<'a> {
    arguments: &'a [&'a str],
    environment: &'a [(&'a str, &'a str)],
    code: i32,
    named: &'a [&'a str],
}

#[tokio::test]
async fn bad_input_is_named_and_leaves_nothing() {
    let shell = Shell::new().await;
    shell.server.put_object("bucket", "k", "text");
    let long = "k".repeat(1025);
    let case = |arguments, code, named| Bad { arguments, environment: &[], code, named };
    for bad in [
        case(&["get", "http://host/k"], 1, &["http://host/k", "s3://"]),
        case(&["ls", "http://host/k"], 1, &["http://host/k", "s3://"]),
        case(&["get", "k"], 1, &["\"k\"", "s3://"]),
        case(&["get", ""], 1, &["\"\"", "s3://"]),
        case(&["get", "", "--s3root", "s3://bucket"], 1, &["s3://bucket/", "a key is needed"]),
        case(&["get", &long, "--s3root", "s3://bucket"], 1, &["kkkk", "1025 bytes", "1024"]),
        case(&["get", "s3://", "s3:///k", "s3://b@d/k"], 1, &["\"s3://\"", "\"s3:///k\"", "\"s3://b@d/k\""]),
        case(&["get", "s3://bucket/k", "--length", "0"], 1, &["s3://bucket/k", "length of a range is 0"]),
        case(&["get", "s3://bucket/k", "--offset", "4"], 1, &["s3://bucket/k", "HTTP 416"]),
        case(&["get", "s3://bucket/none"], 1, &["s3://bucket/none", "HTTP 404"]),
        case(&["get", "s3://no-such-bucket/k"], 1, &["s3://no-such-bucket/k", "NoSuchBucket"]),
        case(&["get", "s3://no-such-bucket/k", "--return-missing"], 1, &["s3://no-such-bucket/k", "NoSuchBucket"]),
        case(&["info", "s3://no-such-bucket/k"], 1, &["s3://no-such-bucket/k", "bucket does not exist"]),
        case(&["ls", "s3://no-such-bucket"], 1, &["s3://no-such-bucket", "NoSuchBucket"]),
        case(&["put", "s3://bucket/x", "/no/such/file"], 1, &["/no/such/file"]),
        case(&["put", "s3://bucket/x", "-", "s3://bucket/y", "-"], 2, &["stdin"]),
        case(&["put", "s3://bucket/x", "-", "--keys-from", "-"], 2, &["stdin"]),
        case(&["ls", "--s3root", "bucket/x"], 2, &["\"bucket/x\"", "s3://"]),
        case(&["ls", "--s3root", "s3://"], 2, &["the s3root \"s3://\""]),
        case(&["get", "s3://bucket/k", "--concurrency", "0"], 2, &["concurrency is 0"]),
        case(&["get", "s3://bucket/k", "--concurrency", "many"], 2, &["--concurrency", "many"]),
        case(&["get", "s3://bucket/k", "--endpoint", "nowhere"], 2, &["nowhere", "http://"]),
        case(&["get", "s3://bucket/k", "--endpoint", "http://me:hunter2@host"], 2, &["password"]),
        case(&["get", "--keys-from", "no-such-file"], 2, &["no-such-file"]),
        case(&["get"], 2, &["KEY"]),
        case(&["ls"], 2, &["KEY"]),
        case(&["put", "s3://bucket/x"], 2, &["FILE"]),
        case(&["put", "s3://bucket/x", "-", "s3://bucket/y"], 2, &["FILE"]),
        case(&["put", "s3://bucket/x", "-", "--metadata", "alone"], 2, &["--metadata", "NAME=VALUE"]),
        case(&["get", "s3://bucket/k", "--json"], 2, &["--out"]),
        case(&["frobnicate"], 2, &["frobnicate"]),
        Bad {
            arguments: &["get", "s3://bucket/k"],
            environment: &[("AWS_ACCESS_KEY_ID", ""), ("AWS_SECRET_ACCESS_KEY", "")],
            code: 2,
            named: &["s3://bucket/k", "no AWS credentials", "AWS_ACCESS_KEY_ID"],
        },
        Bad {
            arguments: &["get", "s3://bucket/k"],
            environment: &[("AWS_SECRET_ACCESS_KEY", "")],
            code: 2,
            named: &["AWS_SECRET_ACCESS_KEY"],
        },
        Bad {
            arguments: &["get", "s3://bucket/k"],
            environment: &[("AWS_ACCESS_KEY_ID", "")],
            code: 2,
            named: &["AWS_ACCESS_KEY_ID"],
        },
        Bad {
            arguments: &["get", "s3://bucket/k"],
            environment: &[("METAFLOW_S3_WORKER_COUNT", "0")],
            code: 2,
            named: &["METAFLOW_S3_WORKER_COUNT is \"0\""],
        },
    ] {
        let Bad { arguments, environment, code, named } = bad;
        let mut command = shell.s3op(arguments.iter().copied());
        for (name, value) in environment {
            if value.is_empty() {
                command.env_remove(name)
            } else {
                command.env(name, value)
            };
        }
        let ran = shell.run(command, "").await;
        assert_eq!(ran.code, Some(code), "{arguments:?}: {ran:?}");
        assert_eq!(ran.text(), "", "{arguments:?}");
        for name in named {
            assert!(ran.stderr.contains(name), "{arguments:?}: {name:?} is not named: {ran:?}");
        }
        assert!(!ran.stderr.contains("panicked") && !ran.stderr.contains("hunter2"), "{arguments:?}: {ran:?}");
    }
    assert_eq!(names(shell.work.path()), Vec::<String>::new());
    assert_eq!(shell.server.keys("bucket"), ["k"]);
}

#[tokio::test]
async fn an_endpoint_that_nobody_answers_at_is_told_within_seconds() {
    let shell = Shell::new().await;
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let start = std::time::Instant::now();
    for arguments in [&["get", "s3://bucket/k", "--out", "out"][..], &["ls", "s3://bucket"]] {
        let ran = shell.run(shell.s3op(arguments.iter().copied().chain(["--endpoint", &closed, "--json"])), "").await;
        assert_eq!((ran.code, ran.text()), (Some(1), ""), "{ran:?}");
        let [error] = &json_lines(&ran.stderr)[..] else { panic!("{ran:?}") };
        assert_eq!((&error["kind"], &error["retryable"]), (&"Network".into(), &true.into()));
        assert_eq!(error["url"], arguments[1]);
        assert!(error["error"].as_str().unwrap().to_lowercase().contains("connection refused"), "{error}");
    }
    // The waits between the attempts are 3 s at most in each run; the rest is for slow machines.
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    assert_eq!(names(shell.work.path()), Vec::<String>::new());
}

#[tokio::test]
async fn a_wrong_secret_is_told_with_the_code_of_s3_and_is_not_shown() {
    let shell = Shell::new().await;
    shell.server.put_object("bucket", "k", "text");
    for arguments in [&["get", "s3://bucket/k"][..], &["ls", "s3://bucket"], &["put", "s3://bucket/x", "-"]] {
        let command = || {
            let mut command = shell.s3op(arguments.iter().copied());
            command.env("AWS_SECRET_ACCESS_KEY", "hunter2/hunter2");
            command
        };
        let ran = shell.run(command(), "").await;
        assert_eq!((ran.code, ran.text()), (Some(1), ""), "{arguments:?}: {ran:?}");
        assert!(ran.stderr.contains("SignatureDoesNotMatch") && ran.stderr.contains("request id "), "{ran:?}");
        assert!(!ran.stderr.contains("hunter2"), "{ran:?}");

        let mut command = command();
        command.args(["--json", "--out", "out"].iter().take(if arguments[0] == "get" { 3 } else { 1 }));
        let ran = shell.run(command, "").await;
        let [error] = &json_lines(&ran.stderr)[..] else { panic!("{ran:?}") };
        assert_eq!((&error["kind"], &error["status"]), (&"AccessDenied".into(), &403.into()));
        assert_eq!((&error["code"], error["request_id"].is_string()), (&"SignatureDoesNotMatch".into(), true));
        assert!(!ran.stderr.contains("hunter2"), "{ran:?}");
    }
    assert_eq!(shell.server.keys("bucket"), ["k"]);
}

#[tokio::test]
async fn help_shows_examples() {
    let shell = Shell::new().await;
    for (name, arguments) in [
        ("quickstart", &["--help"][..]),
        ("s3op", &["--help"]),
        ("s3op", &["help", "get"]),
        ("s3op", &["put", "--help"]),
        ("s3op", &["ls", "--help"]),
        ("s3op", &["info", "--help"]),
    ] {
        let mut command = shell.command(name);
        command.args(arguments);
        let ran = shell.run(command, "").await;
        assert!(ran.done().contains("Usage:"), "{ran:?}");
        assert_eq!(ran.text().contains("Examples:"), name == "s3op", "{ran:?}");
    }
}

#[tokio::test]
async fn the_pipeline_counts_every_word_and_leaves_no_file() {
    let shell = Shell::new().await;
    for (objects, counted) in [("0", "0 words in 0 texts"), ("230", "10335 words in 230 texts")] {
        let mut command = shell.command("pipeline");
        command.args(["--objects", objects]);
        let ran = shell.run(command, "").await;
        assert!(ran.done().starts_with(counted), "{ran:?}");
        assert_eq!(std::fs::read_dir(shell.temp.path()).unwrap().count(), 0);
    }
    let mut command = shell.command("pipeline");
    command.args(["--objects", "many"]);
    assert_eq!(shell.run(command, "").await.code, Some(2));
}

#[tokio::test]
async fn the_gateway_says_why_it_does_not_start() {
    let shell = Shell::new().await;
    let mut command = shell.command("axum_gateway");
    command.args(["--s3root", "no-url", "--listen", "127.0.0.1:0"]);
    let ran = shell.run(command, "").await;
    assert!(ran.code == Some(1) && ran.stderr.contains("no-url"), "{ran:?}");
    let mut command = shell.command("axum_gateway");
    command.args(["--endpoint", "http://127.0.0.1:1"]);
    assert_eq!(shell.run(command, "").await.code, Some(2), "an endpoint needs an s3root");
}
