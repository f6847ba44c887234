//! The variables of the process and the files of Metaflow, read once.
//!
//! A variable of Metaflow's is looked for in the environment, then in the configuration of the project, then in the user's: in
//! the order of `from_conf` in Metaflow's `metaflow_config_funcs.py`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde_json::{Map, Value};

use crate::error::{Error, ErrorKind, Result};

/// Far more than any configuration, and little enough to be read by mistake.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// What can be set beside the builders.
#[derive(Default)]
pub(super) struct Environment {
    variables: BTreeMap<String, String>,
    /// In the order in which they are asked.
    files: Vec<ConfigFile>,
    /// The user's configuration, whether it is there or not.
    user_file: PathBuf,
}

struct ConfigFile {
    path: PathBuf,
    values: Map<String, Value>,
}

/// A value and where it stands.
#[derive(Debug)]
pub(super) struct Setting<'a> {
    pub(super) name: &'a str,
    pub(super) value: Cow<'a, str>,
    file: Option<&'a Path>,
}

impl fmt::Display for Setting<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.file {
            Some(file) => write!(f, "{} in {}", self.name, file.display()),
            None => f.write_str(self.name),
        }
    }
}

impl Setting<'_> {
    pub(super) fn invalid(&self, problem: impl fmt::Display) -> Error {
        Error::new(ErrorKind::Config, format!("{self} is {:?}, {problem}", self.value))
    }
}

impl Environment {
    /// # Errors
    ///
    /// [`ErrorKind::Config`], naming a file that cannot be used.
    pub(super) fn of_process() -> Result<Self> {
        let text = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
        let variables = std::env::vars_os().filter_map(text).filter(|(name, _)| is_relevant(name)).collect();
        Self::read(variables, std::env::home_dir(), std::env::current_dir().ok())
    }

    /// From variables, the user's home, and the directory that the process is in. Reads Metaflow's files.
    pub(super) fn read(
        variables: BTreeMap<String, String>,
        home: Option<PathBuf>,
        directory: Option<PathBuf>,
    ) -> Result<Self> {
        let mut environment = Self { variables, ..Self::default() };
        let profile = environment.variable("METAFLOW_PROFILE").map(str::to_owned);
        let user_directory = match environment.variable("METAFLOW_HOME") {
            Some(directory) => expand(directory, home.as_deref()),
            None => home.unwrap_or_default().join(".metaflowconfig"),
        };
        let user_file = profile.as_ref().map_or("config.json".to_owned(), |profile| format!("config_{profile}.json"));
        environment.user_file = user_directory.join(user_file);

        let project_file = directory.as_deref().and_then(project_directory).map(|found| found.join("config.json"));
        if let Some(path) = project_file {
            environment.files.extend(ConfigFile::read(&path)?);
        }
        match ConfigFile::read(&environment.user_file)? {
            Some(file) => environment.files.push(file),
            None => {
                if let Some(profile) = profile {
                    let path = environment.user_file.display();
                    let problem = format!("METAFLOW_PROFILE is {profile:?}, and there is no {path}");
                    return Err(Error::new(ErrorKind::Config, problem));
                }
            }
        }
        Ok(environment)
    }

    /// A variable that is set and not empty.
    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// A variable; one of Metaflow's may stand in a file too. What is empty or `null` is not set.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] when what stands in a file is neither text nor a number.
    pub(super) fn get<'a>(&'a self, name: &'a str) -> Result<Option<Setting<'a>>> {
        if let Some(value) = self.variable(name) {
            return Ok(Some(Setting { name, value: value.into(), file: None }));
        }
        if !name.starts_with("METAFLOW_") {
            return Ok(None);
        }
        for ConfigFile { path, values } in &self.files {
            let value = match values.get(name) {
                None | Some(Value::Null) => continue,
                Some(Value::String(text)) if text.is_empty() => continue,
                Some(Value::String(text)) => Cow::Borrowed(text.as_str()),
                Some(value @ (Value::Number(_) | Value::Bool(_))) => Cow::Owned(value.to_string()),
                Some(Value::Array(_) | Value::Object(_)) => {
                    let problem = format!("{name} in {} is neither text nor a number", path.display());
                    return Err(Error::new(ErrorKind::Config, problem));
                }
            };
            return Ok(Some(Setting { name, value, file: Some(path) }));
        }
        Ok(None)
    }

    /// The first of these that is set.
    pub(super) fn first<'a>(&'a self, names: &[&'a str]) -> Result<Option<Setting<'a>>> {
        for name in names {
            if let Some(setting) = self.get(name)? {
                return Ok(Some(setting));
            }
        }
        Ok(None)
    }

    /// The setting of a builder, else the variable, else the default.
    pub(super) fn or<T: FromStr>(&self, setting: Option<T>, name: &str, default: T) -> Result<T> {
        match (setting, self.get(name)?) {
            (Some(setting), _) => Ok(setting),
            (None, None) => Ok(default),
            (None, Some(text)) => text
                .value
                .parse()
                .map_err(|_| text.invalid(format_args!("which is not a {}", std::any::type_name::<T>()))),
        }
    }

    /// The setting of a builder, else the variable in any of the usual spellings, else false.
    pub(super) fn flag(&self, setting: Option<bool>, name: &str) -> Result<bool> {
        match (setting, self.get(name)?) {
            (Some(setting), _) => Ok(setting),
            (None, None) => Ok(false),
            (None, Some(text)) => flag(&text.value).ok_or_else(|| text.invalid("which is neither true nor false")),
        }
    }

    /// Metaflow's `DATATOOLS_S3ROOT`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] when it is set nowhere.
    pub(super) fn datatools_s3root(&self) -> Result<(String, String)> {
        if let Some(root) = self.get("METAFLOW_DATATOOLS_S3ROOT")? {
            return Ok((root.to_string(), root.value.into_owned()));
        }
        let Some(root) = self.get("METAFLOW_DATASTORE_SYSROOT_S3")? else {
            let problem = format!(
                "a run needs METAFLOW_DATATOOLS_S3ROOT or METAFLOW_DATASTORE_SYSROOT_S3, in the environment or in {}",
                self.user_file.display()
            );
            return Err(Error::new(ErrorKind::Config, problem));
        };
        let suffix = self.or(None, "METAFLOW_DATATOOLS_SUFFIX", "data".to_owned())?;
        let slash = if root.value.ends_with('/') { "" } else { "/" };
        Ok((root.to_string(), format!("{}{slash}{suffix}", root.value)))
    }

    /// The variables of AWS.
    pub(super) fn aws(&self) -> BTreeMap<String, String> {
        let variables = self.variables.iter().filter(|(name, _)| name.starts_with("AWS_"));
        variables.map(|(name, value)| (name.clone(), value.clone())).collect()
    }
}

fn is_relevant(name: &str) -> bool {
    name.starts_with("AWS_") || name.starts_with("METAFLOW_") || name == "MF_PATHSPEC"
}

/// In any of the usual spellings.
pub(super) fn flag(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// `~` is the user's home, as in Metaflow.
fn expand(path: &str, home: Option<&Path>) -> PathBuf {
    match (path.strip_prefix('~'), home) {
        (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => home.join(rest.trim_start_matches('/')),
        _ => PathBuf::from(path),
    }
}

/// The `.metaflow` of the project that `directory` is in: the nearest one, upwards.
fn project_directory(directory: &Path) -> Option<PathBuf> {
    directory.ancestors().map(|ancestor| ancestor.join(".metaflow")).find(|candidate| candidate.is_dir())
}

impl ConfigFile {
    /// `None` when there is no such file.
    fn read(path: &Path) -> Result<Option<Self>> {
        use std::io::Read as _;

        let invalid = |problem: String| Error::new(ErrorKind::Config, format!("{} {problem}", path.display()));
        let file = match std::fs::File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(invalid("could not be read".to_owned()).with_source(error)),
        };
        let mut text = Vec::new();
        file.take(MAX_FILE_BYTES + 1)
            .read_to_end(&mut text)
            .map_err(|error| invalid("could not be read".to_owned()).with_source(error))?;
        if text.len() as u64 > MAX_FILE_BYTES {
            return Err(invalid("is longer than a configuration can be".to_owned()));
        }
        match serde_json::from_slice(&text) {
            Ok(Value::Object(values)) => Ok(Some(Self { path: path.to_owned(), values })),
            Ok(_) => Err(invalid("is not a JSON object".to_owned())),
            Err(error) => Err(invalid(format!("is not valid JSON, in line {}", error.line())).with_source(error)),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Of these variables and no file.
    pub(in crate::config) fn environment(variables: &[(&str, &str)]) -> Environment {
        Environment { variables: owned(variables), ..Environment::default() }
    }

    fn owned(variables: &[(&str, &str)]) -> BTreeMap<String, String> {
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    /// A home with configurations, and a project below it.
    struct Machine(tempfile::TempDir);

    impl Machine {
        fn new(files: &[(&str, &str)]) -> Self {
            let machine = Self(tempfile::tempdir().unwrap());
            std::fs::create_dir_all(machine.path("project/deep/down")).unwrap();
            for (path, text) in files {
                let path = machine.path(path);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, text).unwrap();
            }
            machine
        }

        fn path(&self, path: &str) -> PathBuf {
            self.0.path().join(path)
        }

        fn environment(&self, variables: &[(&str, &str)]) -> Result<Environment> {
            Environment::read(owned(variables), Some(self.0.path().to_owned()), Some(self.path("project/deep/down")))
        }
    }

    fn value(environment: &Environment, name: &str) -> Option<String> {
        environment.get(name).unwrap().map(|setting| setting.value.into_owned())
    }

    #[test]
    fn the_environment_wins_over_the_project_and_that_over_the_user() {
        let machine = Machine::new(&[
            (".metaflowconfig/config.json", r#"{"METAFLOW_A": "user", "METAFLOW_B": "user", "METAFLOW_C": "user"}"#),
            ("project/.metaflow/config.json", r#"{"METAFLOW_A": "project", "METAFLOW_B": "project"}"#),
        ]);
        let environment = machine.environment(&[("METAFLOW_A", "environment")]).unwrap();
        assert_eq!(value(&environment, "METAFLOW_A").as_deref(), Some("environment"));
        assert_eq!(value(&environment, "METAFLOW_B").as_deref(), Some("project"));
        assert_eq!(value(&environment, "METAFLOW_C").as_deref(), Some("user"));
        assert_eq!(value(&environment, "METAFLOW_D"), None);
    }

    #[test]
    fn a_profile_and_another_home_name_another_file() {
        let machine = Machine::new(&[
            (".metaflowconfig/config.json", r#"{"METAFLOW_A": "default"}"#),
            (".metaflowconfig/config_test.json", r#"{"METAFLOW_A": "profile"}"#),
            ("elsewhere/config.json", r#"{"METAFLOW_A": "elsewhere"}"#),
        ]);
        let elsewhere = machine.path("elsewhere");
        for (variables, found) in [
            (&[][..], "default"),
            (&[("METAFLOW_PROFILE", "test")], "profile"),
            (&[("METAFLOW_PROFILE", "")], "default"),
            (&[("METAFLOW_HOME", elsewhere.to_str().unwrap())], "elsewhere"),
            (&[("METAFLOW_HOME", "~/elsewhere")], "elsewhere"),
        ] {
            let environment = machine.environment(variables).unwrap();
            assert_eq!(value(&environment, "METAFLOW_A").as_deref(), Some(found), "{variables:?}");
        }
        let error = machine.environment(&[("METAFLOW_PROFILE", "none")]).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("config_none.json") && error.to_string().contains("METAFLOW_PROFILE"));
    }

    #[test]
    fn no_file_is_no_setting_and_a_broken_one_is_named() {
        assert!(Machine::new(&[]).environment(&[]).unwrap().files.is_empty());
        for (text, problem) in
            [("{\n\"METAFLOW_A\": ", "line 2"), ("[1]", "not a JSON object"), ("\u{0}", "valid JSON")]
        {
            for file in [".metaflowconfig/config.json", "project/.metaflow/config.json"] {
                let machine = Machine::new(&[(file, text)]);
                let error = machine.environment(&[]).err().unwrap();
                assert_eq!(error.kind(), ErrorKind::Config);
                assert!(error.to_string().contains(machine.path(file).to_str().unwrap()), "{error}");
                assert!(error.to_string().contains(problem), "{error}");
            }
        }
    }

    #[test]
    fn values_of_a_file_are_texts_or_numbers() {
        let json = r#"{"METAFLOW_N": 7, "METAFLOW_B": true, "METAFLOW_NULL": null, "METAFLOW_E": "",
                       "METAFLOW_L": [1], "METAFLOW_W": "many", "AWS_REGION": "nowhere"}"#;
        let machine = Machine::new(&[(".metaflowconfig/config.json", json)]);
        let environment = machine.environment(&[]).unwrap();
        assert_eq!(environment.or(None, "METAFLOW_N", 0).unwrap(), 7);
        assert!(environment.flag(None, "METAFLOW_B").unwrap());
        for unset in ["METAFLOW_NULL", "METAFLOW_E", "AWS_REGION"] {
            assert_eq!(value(&environment, unset), None, "{unset}");
        }
        for error in [
            environment.get("METAFLOW_L").unwrap_err(),
            environment.or(None, "METAFLOW_W", 0).unwrap_err(),
            environment.flag(None, "METAFLOW_W").unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Config);
            let text = error.to_string();
            assert!(text.contains("config.json") && text.contains("METAFLOW_"), "{text}");
        }
    }

    #[test]
    fn the_root_of_the_datatools_is_set_or_below_that_of_the_datastore() {
        let root = |variables: &[(&str, &str)]| environment(variables).datatools_s3root().map(|(_, root)| root);
        let sysroot = ("METAFLOW_DATASTORE_SYSROOT_S3", "s3://b/metaflow");
        assert_eq!(root(&[sysroot]).unwrap(), "s3://b/metaflow/data");
        assert_eq!(root(&[("METAFLOW_DATASTORE_SYSROOT_S3", "s3://b/")]).unwrap(), "s3://b/data");
        assert_eq!(root(&[sysroot, ("METAFLOW_DATATOOLS_SUFFIX", "x")]).unwrap(), "s3://b/metaflow/x");
        assert_eq!(root(&[sysroot, ("METAFLOW_DATATOOLS_S3ROOT", "s3://c/d")]).unwrap(), "s3://c/d");
        let error = root(&[]).unwrap_err();
        assert!(
            error.kind() == ErrorKind::Config && error.to_string().contains("METAFLOW_DATATOOLS_S3ROOT"),
            "{error}"
        );
    }

    #[test]
    fn flags_have_the_usual_spellings() {
        let environment = environment(&[("ON", "True"), ("ONE", "1"), ("OFF", "no"), ("ODD", "maybe")]);
        assert!(environment.flag(None, "ON").unwrap() && environment.flag(None, "ONE").unwrap());
        assert!(!environment.flag(None, "OFF").unwrap() && !environment.flag(None, "UNSET").unwrap());
        assert!(!environment.flag(Some(false), "ON").unwrap());
        assert!(environment.flag(None, "ODD").unwrap_err().to_string().contains("ODD"));
    }
}
