//! Settings beside the builders: the variables of the process, and what Metaflow's files say in their place. Read once.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde_json::Value;

use super::metaflow::{ConfigFiles, Places};
use crate::error::{Error, ErrorKind, Result};

/// What can be set beside the builders.
#[derive(Default)]
pub(super) struct Environment {
    variables: BTreeMap<String, String>,
    files: ConfigFiles,
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
        Self::read(std::env::vars_os(), std::env::home_dir(), std::env::current_dir().ok())
    }

    /// From variables, the user's home, and the directory that the process is in. Reads Metaflow's files.
    fn read(
        variables: impl IntoIterator<Item = (OsString, OsString)>,
        home: Option<PathBuf>,
        directory: Option<PathBuf>,
    ) -> Result<Self> {
        let text = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
        let variables = variables.into_iter().filter_map(text).filter(|(name, _)| is_relevant(name)).collect();
        let mut environment = Self { variables, files: ConfigFiles::default() };
        environment.files = ConfigFiles::read(Places {
            metaflow_home: environment.variable("METAFLOW_HOME"),
            profile: environment.variable("METAFLOW_PROFILE"),
            home,
            directory,
        })?;
        Ok(environment)
    }

    /// Without variables.
    #[cfg(any(test, fuzzing))]
    pub(super) fn of_file(file: super::metaflow::ConfigFile) -> Self {
        Self { variables: BTreeMap::new(), files: ConfigFiles::of(file) }
    }

    /// A variable that is set and not empty.
    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// A variable; one of Metaflow's may stand in a file too. The first place that has it decides, as in `from_conf` of
    /// Metaflow's `metaflow_config_funcs.py`: `null` there is not set, and nothing is looked for further down.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] when what stands in a file is neither text nor a number.
    pub(super) fn get_even_if_empty<'a>(&'a self, name: &'a str) -> Result<Option<Setting<'a>>> {
        if let Some(value) = self.variables.get(name) {
            return Ok(Some(Setting { name, value: value.into(), file: None }));
        }
        let in_a_file = if name.starts_with("METAFLOW_") { self.files.get(name) } else { None };
        let Some((file, value)) = in_a_file else { return Ok(None) };
        let value = match value {
            Value::Null => return Ok(None),
            Value::String(text) => Cow::Borrowed(text.as_str()),
            Value::Number(_) | Value::Bool(_) => Cow::Owned(value.to_string()),
            Value::Array(_) | Value::Object(_) => {
                let problem = format!("{name} in {} is neither text nor a number", file.display());
                return Err(Error::new(ErrorKind::Config, problem));
            }
        };
        Ok(Some(Setting { name, value, file: Some(file) }))
    }

    /// As [`get_even_if_empty`](Self::get_even_if_empty); what is empty is not set.
    pub(super) fn get<'a>(&'a self, name: &'a str) -> Result<Option<Setting<'a>>> {
        Ok(self.get_even_if_empty(name)?.filter(|setting| !setting.value.is_empty()))
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

    /// A number; `expected` says which.
    pub(super) fn number<T: FromStr>(&self, name: &str, expected: &str) -> Result<Option<T>> {
        let Some(setting) = self.get(name)? else { return Ok(None) };
        // Python's `int` does not mind spaces around it.
        let number =
            setting.value.trim().parse().map_err(|_| setting.invalid(format_args!("which is not {expected}")))?;
        Ok(Some(number))
    }

    /// The setting of a builder, else the variable in any of the usual spellings, else false.
    pub(super) fn flag(&self, setting: Option<bool>, name: &str) -> Result<bool> {
        if let Some(setting) = setting {
            return Ok(setting);
        }
        let Some(text) = self.get(name)? else { return Ok(false) };
        flag(&text.value).ok_or_else(|| text.invalid("which is neither true nor false"))
    }

    /// Where the user's configuration of Metaflow is, or would be.
    pub(super) fn user_file(&self) -> Option<&Path> {
        self.files.user_file()
    }

    /// The variables of AWS.
    pub(super) fn aws(&self) -> BTreeMap<String, String> {
        let variables = self.variables.iter().filter(|(name, _)| name.starts_with("AWS_"));
        variables.map(|(name, value)| (name.clone(), value.clone())).collect()
    }
}

fn is_relevant(name: &str) -> bool {
    name.starts_with("AWS_") || name.starts_with("METAFLOW_") || name == super::run::PATHSPEC
}

/// In any of the usual spellings.
pub(super) fn flag(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::metaflow::tests::Machine;
    use super::*;

    pub(in crate::config) const USER: &str = ".metaflowconfig/config.json";
    pub(in crate::config) const PROJECT: &str = "project/.metaflow/config.json";

    /// Of these variables and no file.
    pub(in crate::config) fn environment(variables: &[(&str, &str)]) -> Environment {
        Environment::read(owned(variables), None, None).unwrap()
    }

    /// Of these variables and the files of a machine.
    pub(in crate::config) fn on(machine: &Machine, variables: &[(&str, &str)]) -> Environment {
        let Places { home, directory, .. } = machine.places();
        Environment::read(owned(variables), home, directory).unwrap()
    }

    fn owned(variables: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
        variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    }

    fn value(environment: &Environment, name: &str) -> Option<String> {
        environment.get(name).unwrap().map(|setting| setting.value.into_owned())
    }

    #[test]
    fn the_environment_wins_over_the_project_and_that_over_the_user() {
        let machine = Machine::new(&[
            (USER, r#"{"METAFLOW_A": "user", "METAFLOW_B": "user", "METAFLOW_C": "user"}"#),
            (PROJECT, r#"{"METAFLOW_A": "project", "METAFLOW_B": "project"}"#),
        ]);
        let environment = on(&machine, &[("METAFLOW_A", "environment")]);
        assert_eq!(value(&environment, "METAFLOW_A").as_deref(), Some("environment"));
        assert_eq!(value(&environment, "METAFLOW_B").as_deref(), Some("project"));
        assert_eq!(value(&environment, "METAFLOW_C").as_deref(), Some("user"));
        assert_eq!(value(&environment, "METAFLOW_D"), None);
    }

    #[test]
    fn what_is_empty_or_null_hides_what_lies_below() {
        let machine = Machine::new(&[
            (USER, r#"{"METAFLOW_A": "user", "METAFLOW_B": "user", "METAFLOW_C": "user"}"#),
            (PROJECT, r#"{"METAFLOW_B": "", "METAFLOW_C": null}"#),
        ]);
        let environment = on(&machine, &[("METAFLOW_A", "")]);
        for name in ["METAFLOW_A", "METAFLOW_B", "METAFLOW_C"] {
            assert_eq!(value(&environment, name), None, "{name}");
        }
    }

    #[test]
    fn the_variables_of_the_environment_choose_the_file() {
        let machine = Machine::new(&[
            (USER, r#"{"METAFLOW_A": "default"}"#),
            (".metaflowconfig/config_test.json", r#"{"METAFLOW_A": "profile"}"#),
            ("elsewhere/config.json", r#"{"METAFLOW_A": "elsewhere"}"#),
        ]);
        for (variable, file) in [
            (("METAFLOW_PROFILE", "test"), "profile"),
            (("METAFLOW_PROFILE", ""), "default"),
            (("METAFLOW_HOME", "~/elsewhere"), "elsewhere"),
            (("METAFLOW_HOME", ""), "default"),
        ] {
            assert_eq!(value(&on(&machine, &[variable]), "METAFLOW_A").as_deref(), Some(file), "{variable:?}");
        }
    }

    #[test]
    fn values_of_a_file_are_texts_or_numbers_of_metaflows_variables() {
        let json = r#"{"METAFLOW_N": 7, "METAFLOW_T": " 8 ", "METAFLOW_B": true, "METAFLOW_F": 1.5,
                       "METAFLOW_L": [1], "METAFLOW_O": {"hunter2": 1}, "METAFLOW_W": "many", "AWS_REGION": "nowhere"}"#;
        let machine = Machine::new(&[(USER, json)]);
        let environment = on(&machine, &[]);
        let number = |name| environment.number::<u32>(name, "a whole number");
        assert_eq!((number("METAFLOW_N").unwrap(), number("METAFLOW_T").unwrap()), (Some(7), Some(8)));
        assert!(environment.flag(None, "METAFLOW_B").unwrap());
        assert_eq!(value(&environment, "AWS_REGION"), None);
        for (error, name) in [
            (environment.get("METAFLOW_L").unwrap_err(), "METAFLOW_L"),
            (environment.get("METAFLOW_O").unwrap_err(), "METAFLOW_O"),
            (number("METAFLOW_W").unwrap_err(), "METAFLOW_W"),
            (number("METAFLOW_F").unwrap_err(), "METAFLOW_F"),
            (environment.flag(None, "METAFLOW_W").unwrap_err(), "METAFLOW_W"),
        ] {
            assert_eq!(error.kind(), ErrorKind::Config);
            let place = format!("{name} in {}", machine.path(USER).display());
            assert!(error.to_string().contains(&place) && !error.to_string().contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn flags_have_the_usual_spellings() {
        let environment = environment(&[("AWS_ON", "True"), ("AWS_ONE", "1"), ("AWS_OFF", "no"), ("AWS_ODD", "maybe")]);
        assert!(environment.flag(None, "AWS_ON").unwrap() && environment.flag(None, "AWS_ONE").unwrap());
        assert!(!environment.flag(None, "AWS_OFF").unwrap() && !environment.flag(None, "AWS_UNSET").unwrap());
        assert!(!environment.flag(Some(false), "AWS_ON").unwrap());
        assert!(environment.flag(None, "AWS_ODD").unwrap_err().to_string().contains("AWS_ODD"));
    }

    #[test]
    fn nothing_but_the_variables_of_aws_and_metaflow_is_kept() {
        let variables = [("AWS_REGION", "a"), ("METAFLOW_A", "b"), ("MF_PATHSPEC", "c"), ("PATH", "d")];
        assert_eq!(
            environment(&variables).variables.into_keys().collect::<Vec<_>>(),
            ["AWS_REGION", "METAFLOW_A", "MF_PATHSPEC"]
        );
    }
}
