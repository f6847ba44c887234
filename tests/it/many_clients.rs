//! Processes that know nothing of each other share what a service takes.

use std::process::Stdio;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use s3flow::testing::{Fault, LoggedRequest};
use s3flow::{Client, RetryPolicy};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use crate::shell::Shell;

/// What the service takes below `shared/`, in a second.
const ALLOWED: u32 = 400;
const PROCESSES: usize = 8;
const WARM_UP: Duration = Duration::from_secs(15);
const MEASURED: Duration = Duration::from_secs(15);
/// Names the object that a process gets.
const KEY: &str = "S3FLOW_SHARED_KEY";

/// A process that gets its object again and again, until it is killed: this binary with the test below.
fn process(shell: &Shell, key: &str) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--nocapture", "--exact", "--ignored", "many_clients::one_of_the_processes"])
        .env(KEY, key)
        .env("AWS_ACCESS_KEY_ID", shell.server.access_key_id())
        .env("AWS_SECRET_ACCESS_KEY", shell.server.secret_access_key())
        .env("AWS_REGION", shell.server.region())
        .env("AWS_ENDPOINT_URL", shell.server.endpoint())
        .env("METAFLOW_TEMPDIR", shell.temp.path())
        .stdout(Stdio::null())
        .kill_on_drop(true);
    command.spawn().unwrap()
}

#[tokio::test]
#[ignore = "has no end: another test runs it in processes of their own"]
async fn one_of_the_processes() {
    let key = std::env::var(KEY).unwrap();
    let policy = RetryPolicy::default().budget(None);
    let client = Client::builder().retry_policy(policy).build().unwrap();
    let s3 = client.s3().s3root("s3://bucket").build().unwrap();
    let mut objects = s3.get_from(stream::repeat(key)).concurrency(64);
    while let Some(object) = objects.next().await {
        object.unwrap();
    }
}

/// How many requests for a key were answered with this status.
fn answered(log: &[LoggedRequest], key: &str, status: u16) -> usize {
    log.iter().filter(|request| request.key() == Some(key) && request.status() == Some(status)).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_processes_get_what_a_service_takes_and_none_less_than_half_of_its_share() {
    let shell = Shell::new().await;
    let keys: Vec<String> = (0..PROCESSES).map(|number| format!("shared/{number}")).collect();
    for key in &keys {
        shell.server.put_object("bucket", key, "text");
    }
    shell.server.inject(Fault::status(503, "SlowDown").key_prefix("shared/").beyond(ALLOWED));
    let mut processes: Vec<Child> = keys.iter().map(|key| process(&shell, key)).collect();
    sleep(WARM_UP).await;
    shell.server.clear_log();
    let begun = Instant::now();
    sleep(MEASURED).await;
    let (log, took) = (shell.server.log(), begun.elapsed());
    for process in &mut processes {
        assert_eq!(process.try_wait().unwrap(), None, "it has work to do");
        process.kill().await.unwrap();
    }

    let taken: Vec<usize> = keys.iter().map(|key| answered(&log, key, 200)).collect();
    let refused: usize = keys.iter().map(|key| answered(&log, key, 503)).sum();
    let together: usize = taken.iter().sum();
    let allowed = f64::from(ALLOWED) * took.as_secs_f64();
    println!(
        "of {allowed:.0} requests that the service takes, {PROCESSES} processes had {together}: {taken:?}; {:.1} % of those that were \
         sent were refused",
        100.0 * refused as f64 / (together + refused) as f64
    );
    assert!(together as f64 >= 0.85 * allowed, "{together} of {allowed}");
    let share = together / PROCESSES;
    assert!(taken.iter().all(|taken| 2 * taken >= share), "{taken:?}");
    assert!(10 * refused < together, "{refused} refused, {together} taken");
}
