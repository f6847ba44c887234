//! Metaflow's configuration files: which they are, and what stands in them.
//!
//! As in `init_config` and `init_local_config` of Metaflow's `metaflow_config_funcs.py`.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::error::{Error, ErrorKind, Result};

/// Far more than a configuration or a bundle of certificates has, and little enough to be read by mistake.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// What decides which files are read.
#[derive(Debug, Default)]
pub(super) struct Places<'a> {
    /// `METAFLOW_HOME`, when it is not empty.
    pub(super) metaflow_home: Option<&'a str>,
    /// `METAFLOW_PROFILE`, when it is not empty.
    pub(super) profile: Option<&'a str>,
    /// The user's home.
    pub(super) home: Option<PathBuf>,
    /// The directory that the process is in.
    pub(super) directory: Option<PathBuf>,
}

/// The files that are there.
#[derive(Debug, Default)]
pub(super) struct ConfigFiles {
    /// In the order in which they are asked.
    found: Vec<ConfigFile>,
    /// Where the user's configuration is, or would be.
    user_file: Option<PathBuf>,
}

#[derive(Debug)]
pub(super) struct ConfigFile {
    path: PathBuf,
    values: Map<String, Value>,
}

impl ConfigFiles {
    /// One file of the user's.
    #[cfg(any(test, fuzzing))]
    pub(super) fn of(file: ConfigFile) -> Self {
        Self { user_file: Some(file.path.clone()), found: vec![file] }
    }

    /// # Errors
    ///
    /// [`ErrorKind::Config`], naming a file that cannot be used, or the variable that names one which is not there.
    pub(super) fn read(places: Places<'_>) -> Result<Self> {
        let Places { metaflow_home, profile, home, directory } = places;
        let project_file = directory.as_deref().and_then(project_directory).map(|found| found.join("config.json"));
        let user_file = match metaflow_home {
            Some(path) => Some(expand(path, home.as_deref())?),
            None => home.map(|home| home.join(".metaflowconfig")),
        }
        .map(|directory| {
            directory.join(profile.map_or("config.json".to_owned(), |profile| format!("config_{profile}.json")))
        });
        let mut found = Vec::new();
        if let Some(path) = project_file {
            found.extend(ConfigFile::read(path)?);
        }
        let of_the_user = user_file.clone().map(ConfigFile::read).transpose()?.flatten();
        if let (Some(profile), None) = (profile, &of_the_user) {
            let place = user_file.map_or("home directory".to_owned(), |path| path.display().to_string());
            return Err(Error::new(
                ErrorKind::Config,
                format!("METAFLOW_PROFILE is {profile:?}, and there is no {place}"),
            ));
        }
        found.extend(of_the_user);
        Ok(Self { found, user_file })
    }

    /// What the first file that has `name` says, also when that is `null`.
    pub(super) fn get(&self, name: &str) -> Option<(&Path, &Value)> {
        self.found.iter().find_map(|file| Some((file.path.as_path(), file.values.get(name)?)))
    }

    /// Where the user's configuration is, or would be.
    pub(super) fn user_file(&self) -> Option<&Path> {
        self.user_file.as_deref()
    }
}

impl ConfigFile {
    /// `None` when there is no such file.
    fn read(path: PathBuf) -> Result<Option<Self>> {
        // As `os.path.exists`: what cannot be looked at, such as another user's home in a container, is not there.
        if fs::metadata(&path).is_err() {
            return Ok(None);
        }
        match read_small(&path) {
            Ok(text) => Self::parse(path, &text).map(Some),
            Err(error) => Err(invalid(&path, "could not be read").with_source(error)),
        }
    }

    pub(super) fn parse(path: PathBuf, text: &[u8]) -> Result<Self> {
        match serde_json::from_slice(text) {
            Ok(Value::Object(values)) => Ok(Self { path, values }),
            Ok(_) => Err(invalid(&path, "is not a JSON object")),
            Err(error) => {
                let problem = format!("is not valid JSON, in line {}", error.line());
                Err(invalid(&path, &problem).with_source(error))
            }
        }
    }
}

fn invalid(path: &Path, problem: &str) -> Error {
    Error::new(ErrorKind::Config, format!("{} {problem}", path.display()))
}

/// A whole regular file of at most 1 MiB.
pub(super) fn read_small(path: &Path) -> io::Result<Vec<u8>> {
    // A pipe would be waited for.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let mut contents = Vec::new();
    File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut contents)?;
    if contents.len() as u64 > MAX_FILE_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it has more than {MAX_FILE_BYTES} bytes")));
    }
    Ok(contents)
}

/// `~` is the user's home, as in Metaflow.
fn expand(path: &str, home: Option<&Path>) -> Result<PathBuf> {
    let Some(rest) = path.strip_prefix('~') else { return Ok(PathBuf::from(path)) };
    match home {
        Some(home) if rest.is_empty() || rest.starts_with('/') => Ok(home.join(rest.trim_start_matches('/'))),
        Some(_) => Err(unexpanded(path, "only ~ itself is expanded, not the home of another user")),
        None => Err(unexpanded(path, "and this process has no home directory")),
    }
}

fn unexpanded(path: &str, problem: &str) -> Error {
    Error::new(ErrorKind::Config, format!("METAFLOW_HOME is {path:?}; {problem}"))
}

/// The `.metaflow` of the project that `directory` is in: the nearest one, upwards, whether it has a file or not.
fn project_directory(directory: &Path) -> Option<PathBuf> {
    directory.ancestors().map(|ancestor| ancestor.join(".metaflow")).find(|candidate| candidate.is_dir())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A home with configurations, and a project below it.
    pub(in crate::config) struct Machine(tempfile::TempDir);

    impl Machine {
        pub(in crate::config) fn new(files: &[(&str, &str)]) -> Self {
            let machine = Self(tempfile::tempdir().unwrap());
            fs::create_dir_all(machine.path("project/deep/down")).unwrap();
            for (path, text) in files {
                let path = machine.path(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            machine
        }

        pub(in crate::config) fn path(&self, path: &str) -> PathBuf {
            self.0.path().join(path)
        }

        /// Of a process in a directory of the project.
        pub(in crate::config) fn places(&self) -> Places<'static> {
            let (home, directory) = (self.0.path().to_owned(), self.path("project/deep/down"));
            Places { home: Some(home), directory: Some(directory), ..Places::default() }
        }
    }

    /// What `METAFLOW_A` says.
    fn found(places: Places<'_>) -> Option<String> {
        ConfigFiles::read(places).unwrap().get("METAFLOW_A").map(|(_, value)| value.as_str().unwrap().to_owned())
    }

    fn says(value: &str) -> String {
        serde_json::json!({ "METAFLOW_A": value }).to_string()
    }

    #[test]
    fn a_profile_and_another_home_name_another_file() {
        let machine = Machine::new(&[
            (".metaflowconfig/config.json", &says("default")),
            (".metaflowconfig/config_test.json", &says("profile")),
            ("elsewhere/config.json", &says("elsewhere")),
            ("elsewhere/config_test.json", &says("both")),
        ]);
        let elsewhere = machine.path("elsewhere");
        for (metaflow_home, profile, file) in [
            (None, None, "default"),
            (None, Some("test"), "profile"),
            (elsewhere.to_str(), None, "elsewhere"),
            (Some("~/elsewhere"), None, "elsewhere"),
            (Some("~/elsewhere"), Some("test"), "both"),
        ] {
            let places = Places { metaflow_home, profile, ..machine.places() };
            assert_eq!(found(places).as_deref(), Some(file), "{metaflow_home:?} {profile:?}");
        }
    }

    #[test]
    fn a_profile_that_is_not_there_is_named_with_its_file() {
        let machine = Machine::new(&[(".metaflowconfig/config.json", "{}")]);
        let error = ConfigFiles::read(Places { profile: Some("none"), ..machine.places() }).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        let file = machine.path(".metaflowconfig/config_none.json");
        assert!(
            error.to_string().contains(&format!("METAFLOW_PROFILE is \"none\", and there is no {}", file.display()))
        );
        let homeless = ConfigFiles::read(Places { profile: Some("none"), ..Places::default() }).unwrap_err();
        assert!(homeless.to_string().contains("METAFLOW_PROFILE"), "{homeless}");
    }

    #[test]
    fn the_projects_file_is_that_of_the_nearest_directory_upwards() {
        let user = (".metaflowconfig/config.json", says("user"));
        let project = ("project/.metaflow/config.json", says("project"));
        let machine = Machine::new(&[(user.0, &user.1), (project.0, &project.1)]);
        assert_eq!(found(machine.places()).as_deref(), Some("project"));
        // The nearest one is the project's, also without a file.
        fs::create_dir(machine.path("project/deep/.metaflow")).unwrap();
        assert_eq!(found(machine.places()).as_deref(), Some("user"));
        assert_eq!(found(Places { directory: None, ..machine.places() }).as_deref(), Some("user"));
    }

    #[test]
    fn what_is_not_there_says_nothing() {
        assert_eq!(found(Machine::new(&[]).places()), None);
        assert_eq!(found(Places::default()), None);
        // Its place is taken by a file, which `os.path.exists` takes for absent too.
        assert_eq!(found(Machine::new(&[(".metaflowconfig", "a file")]).places()), None);
        let machine = Machine::new(&[]);
        assert_eq!(found(Places { metaflow_home: Some("/no/such/place"), ..machine.places() }), None);
    }

    #[test]
    fn a_broken_file_is_named_without_what_it_says() {
        let huge = format!("{{\"METAFLOW_A\": \"{}\"}}", "x".repeat(1024 * 1024));
        for (text, problem) in [
            ("{\n\"METAFLOW_A\": \"hunter2", "not valid JSON, in line 2"),
            ("{\"METAFLOW_A\": hunter2}", "not valid JSON"),
            ("[\"hunter2\"]", "not a JSON object"),
            ("\"hunter2\"", "not a JSON object"),
            ("", "not valid JSON"),
            (&huge, "could not be read"),
        ] {
            for file in [".metaflowconfig/config.json", "project/.metaflow/config.json"] {
                let machine = Machine::new(&[(file, text)]);
                let error = ConfigFiles::read(machine.places()).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Config);
                assert!(error.to_string().contains(machine.path(file).to_str().unwrap()), "{error}");
                assert!(error.to_string().contains(problem), "{error}");
                assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
            }
        }
    }

    #[test]
    fn what_is_no_regular_file_is_refused_and_not_waited_for() {
        let machine = Machine::new(&[(".metaflowconfig/config.json/inside", "")]);
        let error = ConfigFiles::read(machine.places()).unwrap_err();
        assert!(format!("{error:?}").contains("not a regular file"), "{error:?}");
    }

    #[test]
    fn only_ones_own_home_is_expanded() {
        let machine = Machine::new(&[]);
        let error = ConfigFiles::read(Places { metaflow_home: Some("~other/x"), ..machine.places() }).unwrap_err();
        assert!(error.kind() == ErrorKind::Config && error.to_string().contains("METAFLOW_HOME"), "{error}");
        let error = ConfigFiles::read(Places { metaflow_home: Some("~/x"), ..Places::default() }).unwrap_err();
        assert!(error.kind() == ErrorKind::Config && error.to_string().contains("METAFLOW_HOME"), "{error}");
        assert_eq!(expand("/a/~b", None).unwrap(), PathBuf::from("/a/~b"));
    }
}
