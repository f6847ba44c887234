//! What is wrong is told, by its name, and nothing is overwritten.

use std::time::Duration;

use async_nats::jetstream;
use serde_json::json;

use crate::support::{DESTINATION, Ended, JOB, Nats, Place, SOURCE, in_time};

/// Enough for two shards.
const OBJECTS: usize = 200;

/// The programs try for a second, and no longer.
const SHORT: [&str; 2] = ["--patience", "1"];

async fn place() -> Place {
    Place::new(OBJECTS, Duration::ZERO).await
}

async fn run(place: &Place, program: &str, arguments: &[&str]) -> Ended {
    let mut command = place.command(program);
    command.args(arguments);
    in_time("the program ends", place.start(command).ended()).await
}

const COORDINATOR: &str = env!("CARGO_BIN_EXE_coordinator");
const SHARD: &str = env!("CARGO_BIN_EXE_shard");
const WORKER: &str = env!("CARGO_BIN_EXE_worker");

#[tokio::test]
async fn a_nats_server_that_is_out_of_reach_is_told() {
    let place = place().await;
    let url = "nats://user:password@127.0.0.1:1";
    let told = "NATS: connecting to 127.0.0.1:1: ";
    let coordinator = place.coordinator(url, &SHORT);
    let worker = place.worker(url, &SHORT);
    for (name, program) in [("coordinator", coordinator), ("worker", worker)] {
        let ended = in_time("the program ends", program.ended()).await;
        assert!(ended.complaint().starts_with(&format!("{name}: {told}")), "{ended:?}");
        assert!(ended.errors.contains("; trying again"), "it says what it waits for: {ended:?}");
        assert!(!ended.errors.contains("password"), "{ended:?}");
    }
}

#[tokio::test]
async fn a_job_that_is_no_place_is_refused_before_anybody_is_asked() {
    let place = place().await;
    // Nobody answers there, for which a worker would wait a minute.
    let nats = "nats://127.0.0.1:1";
    for (job, told) in
        [("jobs", "\"jobs/\""), ("s3:///jobs", "\"s3:///jobs/\""), ("http://bucket/jobs/", "\"http://bucket/jobs/\"")]
    {
        let ended = run(&place, WORKER, &["--job", job, "--nats", nats]).await;
        assert_eq!(ended.errors.trim_end(), format!("worker: the job has to be s3://bucket/dir/: {told}"));
        let ended = run(&place, SHARD, &["merge", "--job", job]).await;
        assert_eq!(ended.complaint(), format!("shard: the job has to be s3://bucket/dir/: {told}"));
    }
}

#[tokio::test]
async fn a_worker_without_a_plan_says_so() {
    let place = place().await;
    let Some(nats) = Nats::new(&place).await else { return };
    let ended = in_time("the worker ends", place.worker(&nats.url(), &SHORT).ended()).await;
    assert_eq!(ended.complaint(), format!("worker: there is no plan at {JOB}"));
}

#[tokio::test]
async fn missing_buckets_are_told() {
    let place = place().await;
    let missing = "s3://missing/dir/";
    for (source, destination, job) in
        [(missing, DESTINATION, JOB), (SOURCE, missing, JOB), (SOURCE, DESTINATION, missing)]
    {
        let arguments = ["plan", "--source", source, "--destination", destination, "--job", job];
        let ended = run(&place, SHARD, &arguments).await;
        let told = ended.complaint();
        assert!(told.contains("s3://missing") && told.contains("NoSuchBucket"), "{told}");
    }
    assert_eq!(place.count("s3://bucket/jobs/").await, 0);
}

#[tokio::test]
async fn places_that_hold_one_another_are_refused() {
    let place = place().await;
    for (source, destination, job, told) in [
        (SOURCE, "s3://bucket/source/copy/", JOB, "the source and the destination are not apart"),
        (SOURCE, SOURCE, JOB, "the source and the destination are not apart"),
        ("s3://bucket/", DESTINATION, JOB, "the source and the destination are not apart"),
        (SOURCE, DESTINATION, "s3://bucket/copy/job/", "the destination and the job are not apart"),
        (SOURCE, DESTINATION, "s3://bucket/source/job", "the source and the job are not apart"),
        ("bucket/source", DESTINATION, JOB, "the source has to be s3://bucket/dir/: \"bucket/source/\""),
        (SOURCE, "s3:///copy", JOB, "the destination has to be s3://bucket/dir/: \"s3:///copy/\""),
    ] {
        let arguments = ["plan", "--source", source, "--destination", destination, "--job", job];
        let ended = run(&place, SHARD, &arguments).await;
        assert!(ended.complaint().starts_with(&format!("shard: {told}")), "{ended:?}");
    }
    assert_eq!(place.count("s3://bucket/").await, OBJECTS);
}

#[tokio::test]
async fn wrong_arguments_are_a_message_and_the_status_2() {
    let place = place().await;
    let plan = ["plan", "--source", SOURCE, "--destination", DESTINATION, "--job", JOB, "--shards", "0"];
    for (program, arguments) in [
        (SHARD, &plan[..]),
        (SHARD, &["copy", "--concurrency", "0"]),
        (SHARD, &["nothing"]),
        (WORKER, &["--job", JOB, "--attempts", "0"]),
        (WORKER, &["--job", JOB, "--patience", "-1"]),
        (WORKER, &[]),
        (COORDINATOR, &["--job", JOB]),
    ] {
        let ended = run(&place, program, arguments).await;
        assert_eq!(ended.status.code(), Some(2), "{ended:?}");
        assert!(ended.errors.starts_with("error: "), "{ended:?}");
    }
}

#[tokio::test]
async fn a_destination_that_has_something_is_refused() {
    let place = place().await;
    let there = format!("{DESTINATION}there");
    place.s3.put(&there, "text").await.unwrap();
    let arguments = ["plan", "--source", SOURCE, "--destination", DESTINATION, "--job", JOB];
    let ended = run(&place, SHARD, &arguments).await;
    assert_eq!(ended.complaint(), format!("shard: the destination is not empty: {there} is there"));
}

#[tokio::test]
async fn a_plan_is_made_once_and_another_one_at_its_place_is_refused() {
    let place = place().await;
    let plan = async |destination: &str, shards: &str| {
        let arguments = ["plan", "--source", SOURCE, "--destination", destination, "--job", JOB, "--shards", shards];
        run(&place, SHARD, &arguments).await
    };
    let (first, second) = tokio::join!(plan(DESTINATION, "2"), plan(DESTINATION, "3"));
    assert!(first.status.success() && second.status.success(), "{first:?} {second:?}");
    assert_eq!(first.output, second.output);
    let other = plan("s3://bucket/elsewhere/", "2").await;
    let told = format!("shard: {JOB}plan.jsonl is a plan to copy {SOURCE} to {DESTINATION}");
    assert_eq!(other.complaint(), told);
}

#[tokio::test]
async fn a_damaged_plan_or_outcome_is_told_by_its_line() {
    let place = place().await;
    let url = format!("{JOB}plan.jsonl");
    let arguments = ["plan", "--source", SOURCE, "--destination", DESTINATION, "--job", JOB, "--shards", "2"];
    let planned = run(&place, SHARD, &arguments).await.output;
    let stored = place.s3.get(&url).await.unwrap().text().await.unwrap();
    assert_eq!(stored, planned);
    let lines: Vec<&str> = planned.lines().collect();
    let merge = ["merge", "--job", JOB];
    for (damaged, told) in [
        (format!("{}\n", lines[0]), "line 1 of 1 is shard".to_owned()),
        (format!("{}\n{}\n", lines[1], lines[0]), "line 1 of 2 is shard".to_owned()),
        (planned.replace("\"version\":1,\"job\"", "\"version\":9,\"job\""), "line 1: a task's version: 9".to_owned()),
        (
            planned.replace("s3://bucket/copy/", "s3://other/copy/").replacen("s3://other", "s3://another", 1),
            "line 2".to_owned(),
        ),
        (String::new(), "it has no line".to_owned()),
    ] {
        place.s3.put(&url, damaged).await.unwrap();
        let ended = run(&place, SHARD, &merge).await;
        assert!(ended.complaint().contains(&format!("{url} is damaged: {told}")), "{told}: {ended:?}");
    }
    for (damaged, told) in [
        (planned.replacen("s3://bucket/source/", "s3://bucket/sourcX/", 1), "line 1"),
        (planned.trim_end()[..planned.len() - 10].to_owned(), "line 2"),
    ] {
        place.s3.put(&url, damaged).await.unwrap();
        let ended = run(&place, SHARD, &merge).await;
        assert!(ended.complaint().contains(&url) && ended.complaint().contains(told), "{told}: {ended:?}");
    }

    place.s3.put(&url, planned.as_str()).await.unwrap();
    let outcomes = place.copy_all(&planned).await;
    let outcome = place.s3.get(&outcomes[1]).await.unwrap().text().await.unwrap();
    let second = outcome.lines().nth(1).unwrap().to_owned();
    for (damaged, told) in [
        (outcome.replace(&format!("{second}\n"), ""), "has no line before that of"),
        (outcome.replace(&second, &format!("{second}\n{second}")), "is not there, or has two lines"),
        (outcome.replace("\"etag\":\"", "\"etag\":\"X"), "is another object now"),
        (outcome.replacen("\"size\":", "\"size\":9", 1), "bytes any more"),
        (outcome.replacen("\"size\":", "\"sizes\":", 1), "line 1"),
        (outcome[..outcome.len() - 3].to_owned(), "line"),
    ] {
        place.s3.put(&outcomes[1], damaged).await.unwrap();
        let ended = run(&place, SHARD, &merge).await;
        assert!(ended.complaint().contains(&outcomes[1]) && ended.complaint().contains(told), "{told}: {ended:?}");
        assert!(!place.s3.exists(format!("{JOB}manifest.jsonl")).await.unwrap(), "{told}");
    }
    place.s3.put(&outcomes[1], outcome).await.unwrap();
    place.s3.put(format!("{DESTINATION}zzz"), "").await.unwrap();
    let ended = run(&place, SHARD, &merge).await;
    assert_eq!(ended.complaint(), format!("shard: {DESTINATION}zzz has no line in any outcome"));
    place.s3.delete(format!("{DESTINATION}zzz")).await.unwrap();
    assert!(run(&place, SHARD, &merge).await.status.success());
    place.assert_copied(OBJECTS).await;
}

#[tokio::test]
async fn a_message_that_is_no_shard_of_the_plan_is_refused_and_the_job_gets_done() {
    let place = place().await;
    let Some(nats) = Nats::new(&place).await else { return };
    let coordinator = place.coordinator(&nats.url(), &["--shards", "2"]);
    let queue = in_time("the shards are in the queue", async {
        loop {
            match nats.queue().await {
                Some((name, 2..)) => return name,
                _ => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    })
    .await;
    let plan = place.s3.get(format!("{JOB}plan.jsonl")).await.unwrap().text().await.unwrap();
    let task = plan.lines().next().unwrap();
    let elsewhere = task.replace("s3://bucket/copy/", "s3://bucket/elsewhere/");
    let of_another_job = task.replace(JOB, "s3://bucket/jobs/another/");
    let edited = task.replace(SOURCE, "s3://elsewhere/source/");
    let version = task.replace("\"version\":1,\"job\"", "\"version\":2,\"job\"");
    let wrong = [&task[..task.len() / 2], "", "\u{0}", &elsewhere, &of_another_job, &edited, &version];
    let context = jetstream::new(async_nats::connect(nats.url()).await.unwrap());
    for message in wrong {
        context.publish(queue.clone(), message.to_owned().into()).await.unwrap().await.unwrap();
    }
    let worker = place.worker(&nats.url(), &["--attempts", "1"]);
    in_time("every message is dealt with", async {
        while nats.queue().await.is_some_and(|(_, messages)| messages > 0) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let log = worker.errors();
    in_time("the job is done", async {
        assert_eq!(coordinator.result().await["objects"], OBJECTS);
        let tally = worker.result().await;
        assert_eq!((&tally["shards"], &tally["refused"]), (&json!(2), &json!(wrong.len())), "{tally}: {log}");
    })
    .await;
    place.assert_copied(OBJECTS).await;
    assert_eq!(place.count("s3://bucket/elsewhere/").await + place.count("s3://bucket/jobs/another/").await, 0);
}

#[tokio::test]
async fn a_shard_that_cannot_be_done_is_given_up_by_its_name_and_tried_again_when_the_job_is() {
    let place = place().await;
    let Some(nats) = Nats::new(&place).await else { return };
    let url = nats.url();
    let arguments = ["plan", "--source", SOURCE, "--destination", DESTINATION, "--job", JOB, "--shards", "2"];
    assert!(run(&place, SHARD, &arguments).await.status.success());
    let object = place.s3.list_recursive([SOURCE]).ordered(true).await.unwrap().remove(0);
    let target = object.url().replace(SOURCE, DESTINATION);
    place.s3.put(&target, "another's").await.unwrap();

    let coordinator = place.coordinator(&url, &[]);
    let worker = place.worker(&url, &["--attempts", "1"]);
    let ended = in_time("the coordinator ends", coordinator.ended()).await;
    let told = format!("{target} has other bytes than {}, and stays as it is", object.url());
    let complaint = ended.complaint();
    let given_up =
        format!("coordinator: 1 of 2 shards were given up; {JOB}failed/ has their errors; shard 00000-of-00002-");
    assert!(complaint.starts_with(&given_up), "{complaint}");
    assert!(complaint.ends_with(&told), "{complaint}");
    assert_eq!(in_time("the worker ends", worker.result()).await["failed"], 1);
    assert_eq!(place.s3.get(&target).await.unwrap().text().await.unwrap(), "another's");

    place.s3.delete(&target).await.unwrap();
    let coordinator = place.coordinator(&url, &[]);
    let worker = in_time("the queue is filled", async {
        // A worker that comes before the coordinator has forgotten the failure has nothing to do.
        while place.count(&format!("{JOB}failed/")).await > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        place.worker(&url, &[])
    })
    .await;
    in_time("the job is done", async {
        assert_eq!(coordinator.result().await["objects"], OBJECTS);
        worker.result().await;
    })
    .await;
    place.assert_copied(OBJECTS).await;
}

impl Place {
    /// Carries out all shards of a plan; the URLs of their outcomes.
    async fn copy_all(&self, plan: &str) -> Vec<String> {
        for line in plan.lines() {
            let input = self.directory.path().join("task");
            std::fs::write(&input, line).unwrap();
            let mut command = std::process::Command::new(SHARD);
            command.arg("copy").env_clear().envs(self.environment()).stdin(std::fs::File::open(input).unwrap());
            let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
            assert!(output.status.success(), "{output:?}");
        }
        let outcomes = self.s3.list_recursive([format!("{JOB}outcomes/")]).ordered(true).await.unwrap();
        outcomes.iter().map(|outcome| outcome.url().to_owned()).collect()
    }
}
