//! The examples that show one thing, as commands.

#[path = "../../examples/custom_faults.rs"]
#[allow(dead_code)]
mod custom_faults;

use crate::shell::{Ran, Shell};

/// On a server of its own.
async fn ran(shell: &Shell, name: &str, arguments: &[&str]) -> Ran {
    let mut command = shell.command(name);
    command.env_remove("AWS_ENDPOINT_URL").args(arguments);
    shell.run(command, "").await
}

#[tokio::test]
async fn presigned_urls_work_as_signed_and_no_longer() {
    let shell = Shell::new().await;
    for arguments in [&[][..], &["--expires-in", "604800"]] {
        let ran = ran(&shell, "presign", arguments).await;
        assert_eq!(
            ran.done().lines().collect::<Vec<_>>(),
            [
                "a PUT as it was signed: 200",
                "a PUT of another type: 403 SignatureDoesNotMatch",
                "a GET as it was signed: 200",
                "a GET of another key: 403 SignatureDoesNotMatch",
                "a GET for longer: 403 SignatureDoesNotMatch",
                "a PUT too late: 403 AccessDenied",
                "a GET too late: 403 AccessDenied",
            ]
        );
    }
    assert_eq!(shell.server.log().len(), 0, "it has a server of its own");
}

#[tokio::test]
async fn every_scenario_of_faults_is_told() {
    let shell = Shell::new().await;
    let ran = ran(&shell, "custom_faults", &[]).await;
    let lines: Vec<&str> = ran.done().lines().collect();
    assert_eq!(lines.len(), 5, "{lines:?}");
    for line in &lines[..4] {
        assert!(line.contains(": Created, then AlreadyExists; the total is 499500; "), "{line}");
    }
    assert!(lines[4].contains(": Changed (") && lines[4].contains("then Created; the total is 1000; "), "{lines:?}");
}

#[tokio::test]
async fn a_step_between_two_of_a_flow_reads_and_writes_for_its_run() {
    let shell = Shell::new().await;
    let ran = ran(&shell, "metaflow_run", &[]).await;
    let told: Vec<&str> = ran.done().lines().filter(|line| line.starts_with("the next step")).collect();
    assert_eq!(
        told,
        [
            r#"the next step reads of a.txt in "de": {"bytes":10,"lines":2}"#,
            r#"the next step reads of b.txt in "fr": {"bytes":13,"lines":3}"#,
        ]
    );

    shell.server.put_object("bucket", "data/Flow/7/dir/text", "1\n2\n");
    shell.server.put_object("bucket", "data/Flow/71/other", "x");
    // A second time as well: what it stored is none of the texts.
    for _ in 0..2 {
        let mut command = shell.command("metaflow_run");
        command.env("METAFLOW_DATATOOLS_S3ROOT", "s3://bucket/data").arg("Flow/7");
        let ran = shell.run(command, "").await;
        let expected =
            ["s3://bucket/data/Flow/7/dir/text has 2 lines", "stored s3://bucket/data/Flow/7/counts/dir/text"];
        assert_eq!(ran.done().lines().collect::<Vec<_>>(), expected);
    }
    let count = shell.server.stored_object("bucket", "data/Flow/7/counts/dir/text").unwrap();
    assert_eq!(count.bytes(), r#"{"bytes":4,"lines":2}"#);
    assert_eq!(count.header("content-type"), Some("application/json"));
    assert_eq!(shell.server.keys("bucket").len(), 3);
}

#[tokio::test]
async fn a_run_without_texts_is_an_error_that_names_the_place() {
    let shell = Shell::new().await;
    let mut command = shell.command("metaflow_run");
    command.env("METAFLOW_DATATOOLS_S3ROOT", "s3://bucket/data").arg("Flow/8");
    let ran = shell.run(command, "").await;
    assert_eq!((ran.code, ran.text()), (Some(1), ""), "{ran:?}");
    assert!(ran.stderr.contains("no text below s3://bucket/data/Flow/8"), "{ran:?}");
}

#[tokio::test]
async fn wrong_arguments_of_the_examples_are_told_with_status_2() {
    let shell = Shell::new().await;
    for (name, arguments, named) in [
        ("presign", &["--expires-in", "0"][..], "0 is not in 1..=604800"),
        ("presign", &["--expires-in", "604801"], "604801 is not in 1..=604800"),
        ("presign", &["--expires-in", "soon"], "soon"),
        ("presign", &["surplus"], "surplus"),
        ("custom_faults", &["surplus"], "surplus"),
        ("metaflow_run", &["Flow/1", "surplus"], "surplus"),
        ("metaflow_run", &["Flow"], "\"Flow\""),
        ("metaflow_run", &["Flow/1/step"], "\"Flow/1/step\""),
        ("metaflow_run", &[""], "\"\""),
        // Without Metaflow's configuration a run has no place.
        ("metaflow_run", &["Flow/1"], "METAFLOW_DATATOOLS_S3ROOT"),
    ] {
        let ran = ran(&shell, name, arguments).await;
        assert_eq!((ran.code, ran.text()), (Some(2), ""), "{name} {arguments:?}: {ran:?}");
        assert!(ran.stderr.contains(named) && !ran.stderr.contains("panicked"), "{name} {arguments:?}: {ran:?}");
    }
    assert_eq!(shell.server.log().len(), 0);
}
