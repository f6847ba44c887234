//! The same job as a Metaflow flow. Runs when `S3FLOW_TEST_PEER_PYTHON` names a Python that has metaflow, which `tests/interop/run` of
//! s3flow does.

use std::path::Path;
use std::time::Duration;

use crate::support::{DESTINATION, JOB, Place, SOURCE, argument, not_run, within};

#[tokio::test]
async fn a_flow_copies_every_object_once_and_its_second_run_changes_nothing() {
    let Some(python) = std::env::var_os("S3FLOW_TEST_PEER_PYTHON") else {
        return not_run("there is no Python with metaflow; tests/interop/run has one");
    };
    let place = Place::new(500, Duration::ZERO).await;
    let home = place.directory.path();
    let flow = Path::new(env!("CARGO_MANIFEST_DIR")).join("metaflow/copy_flow.py");
    let run = async |shards: &str| {
        let mut command = place.command(&python);
        command.current_dir(home).env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", home).env("METAFLOW_HOME", home).env("METAFLOW_USER", "test");
        command.args([argument(&flow), "--no-pylint", "run", "--program", env!("CARGO_BIN_EXE_shard")]);
        command.args(["--source", SOURCE, "--destination", DESTINATION, "--job", JOB, "--shards", shards]);
        let ended = within(Duration::from_secs(300), "the flow ends", place.start(command).ended()).await;
        assert!(ended.status.success(), "{ended:?}");
        ended.output
    };
    let output = run("4").await;
    let told = format!("500 objects of {} bytes: {JOB}manifest.jsonl", bytes(500));
    assert!(output.contains(&told), "{output}");
    place.assert_copied(500).await;
    // Its plan is the first one's.
    let output = run("7").await;
    assert!(output.contains(&told) && output.matches("Task finished successfully").count() == 3 + 4, "{output}");
    place.assert_copied(500).await;
}

fn bytes(objects: usize) -> usize {
    (0..objects).map(|number| scale_out::trial::object(number).1.len()).sum()
}
