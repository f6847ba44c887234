//! What must hold of Metaflow's configuration files, whatever bytes stand in them; see [`crate::fuzzing`].

use std::path::PathBuf;

use serde_json::{Map, Value};

use super::client::{encryption_of, policy_of};
use super::endpoint::parse_endpoint;
use super::environment::Environment;
use super::metaflow::ConfigFile;
use super::run::{Run, RunSettings};
use crate::error::ErrorKind;

const PATH: &str = "/home/user/.metaflowconfig/config.json";

/// A configuration file: it is an object or an error that names the file, and each of its settings is used as it stands there, or
/// an error that names it.
pub fn config_file(data: &[u8]) {
    let is_object = serde_json::from_slice::<Map<String, Value>>(data).is_ok();
    let file = match ConfigFile::parse(PathBuf::from(PATH), data) {
        Ok(file) => file,
        Err(error) => {
            assert!(!is_object && error.kind() == ErrorKind::Config && error.to_string().contains(PATH), "{error}");
            return;
        }
    };
    assert!(is_object);
    let environment = Environment::of_file(file);
    let runs = || RunSettings::read(None, &environment)?.root(&Run::Named("Flow/7".to_owned()), None, None).map(drop);
    let endpoint = || match environment.get("METAFLOW_S3_ENDPOINT_URL")? {
        Some(setting) => parse_endpoint(&setting.to_string(), &setting.value).map(drop),
        None => Ok(()),
    };
    let workers = || environment.number::<u32>("METAFLOW_S3_WORKER_COUNT", "a number").map(drop);
    for (outcome, names) in [
        (policy_of(&environment).map(drop), "RETRY_COUNT"),
        (encryption_of(&environment).map(drop), "METAFLOW_S3_SERVER_SIDE_ENCRYPTION"),
        (endpoint(), "METAFLOW_S3_ENDPOINT_URL"),
        (workers(), "METAFLOW_S3_WORKER_COUNT"),
        (runs(), "METAFLOW_DATA"),
    ] {
        if let Err(error) = outcome {
            assert!(matches!(error.kind(), ErrorKind::Config | ErrorKind::InvalidUrl), "{error}");
            assert!(error.to_string().contains(names), "{names} is not in {error}");
        }
    }
}
