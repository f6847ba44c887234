//! Addressing by run: what a client knows of it beside the builder of a scope.

use super::environment::Environment;
use crate::address::{InvalidAddress, Root, RunName, split_root};
use crate::error::{Error, ErrorKind, Result};

pub(super) const PATHSPEC: &str = "MF_PATHSPEC";
const S3ROOT: &str = "METAFLOW_DATATOOLS_S3ROOT";
const SYSROOT: &str = "METAFLOW_DATASTORE_SYSROOT_S3";
const SUFFIX: &str = "METAFLOW_DATATOOLS_SUFFIX";

/// Metaflow's default of [`SUFFIX`].
const DEFAULT_SUFFIX: &str = "data";

/// Which run's data keys are relative to.
#[derive(Debug, Clone)]
pub(super) enum Run {
    Named(String),
    /// The one whose task started this process.
    Current,
}

/// What a run is resolved with. A client keeps it, so that its scopes read no files. It is checked when a run needs it.
#[derive(Debug)]
pub(crate) struct RunSettings {
    datatools: DatatoolsRoot,
    /// `MF_PATHSPEC`.
    pathspec: Option<String>,
}

/// Metaflow's `DATATOOLS_S3ROOT`.
#[derive(Debug)]
enum DatatoolsRoot {
    Set {
        /// The setting, variable or field that says it.
        place: String,
        url: String,
    },
    Unset {
        /// That it was looked for, and where.
        looked: String,
    },
}

impl RunSettings {
    /// The setting of a builder, else what `metaflow_config.py` makes of the environment and Metaflow's files.
    pub(super) fn read(datatools_s3root: Option<String>, environment: &Environment) -> Result<Self> {
        let datatools = match datatools_s3root {
            Some(url) => DatatoolsRoot::Set { place: "the datatools_s3root".to_owned(), url },
            None => DatatoolsRoot::read(environment)?,
        };
        Ok(Self { datatools, pathspec: environment.variable(PATHSPEC).map(str::to_owned) })
    }

    /// The root of a run, as in `S3.__init__` of Metaflow. An empty bucket or prefix counts as not given, as there.
    pub(super) fn root(&self, run: &Run, bucket: Option<&str>, prefix: Option<&str>) -> Result<Root> {
        let invalid = |place: &str, InvalidAddress(problem): InvalidAddress| {
            Error::new(ErrorKind::InvalidUrl, format!("{place} {problem}"))
        };
        let run = match run {
            Run::Named(run) => RunName::parse(run).map_err(|problem| invalid("the run", problem))?,
            Run::Current => RunName::of_task(self.pathspec()?).map_err(|problem| invalid(PATHSPEC, problem))?,
        };
        let given = |part: Option<&str>| part.filter(|part| !part.is_empty()).map(str::to_owned);
        let (bucket, prefix) = match (given(bucket), given(prefix)) {
            // The root has nothing to add. Metaflow wants one nevertheless.
            (Some(bucket), Some(prefix)) => (bucket, prefix),
            (bucket, prefix) => {
                let (place, url) = self.datatools.get()?;
                let (of_the_root, path) = split_root(url).map_err(|problem| invalid(&format!("{place}:"), problem))?;
                (bucket.unwrap_or_else(|| of_the_root.to_owned()), prefix.unwrap_or_else(|| path.to_owned()))
            }
        };
        Root::of_run(&bucket, &prefix, run).map_err(|problem| invalid("the bucket", problem))
    }

    fn pathspec(&self) -> Result<&str> {
        self.pathspec.as_deref().ok_or_else(|| {
            let problem =
                "is not set; Metaflow sets it for tasks in containers, and for others it is `current.pathspec`";
            Error::new(ErrorKind::Config, format!("{PATHSPEC} {problem}"))
        })
    }
}

impl DatatoolsRoot {
    fn read(environment: &Environment) -> Result<Self> {
        if let Some(root) = environment.get(S3ROOT)? {
            return Ok(Self::Set { place: root.to_string(), url: root.value.into_owned() });
        }
        let Some(sysroot) = environment.get(SYSROOT)? else {
            let file = environment.user_file().map(|file| format!(" or in {}", file.display())).unwrap_or_default();
            return Ok(Self::Unset {
                looked: format!("neither {S3ROOT} nor {SYSROOT} is set in the environment{file}"),
            });
        };
        // An empty one is none here, and not the default.
        let suffix = environment.get_even_if_empty(SUFFIX)?;
        if let Some(suffix) = suffix.as_ref().filter(|suffix| suffix.value.starts_with('/')) {
            // `os.path.join` would drop the root for it.
            return Err(suffix.invalid(format_args!("which begins with a slash, and it is relative to {SYSROOT}")));
        }
        let suffix = suffix.map_or(DEFAULT_SUFFIX.into(), |suffix| suffix.value);
        let slash = if sysroot.value.ends_with('/') { "" } else { "/" };
        Ok(Self::Set { place: sysroot.to_string(), url: format!("{}{slash}{suffix}", sysroot.value) })
    }

    fn get(&self) -> Result<(&str, &str)> {
        match self {
            Self::Set { place, url } => Ok((place, url)),
            Self::Unset { looked } => Err(Error::new(
                ErrorKind::Config,
                format!("the run has no root: {looked}, and the scope has no bucket and prefix of its own"),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::environment::tests::{PROJECT, USER, environment, on};
    use super::super::metaflow::tests::Machine;
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> Result<RunSettings> {
        RunSettings::read(None, &environment(variables))
    }

    fn root(variables: &[(&str, &str)]) -> String {
        let DatatoolsRoot::Set { url, .. } = settings(variables).unwrap().datatools else { panic!("unset") };
        url
    }

    /// What `metaflow_config.py` of Metaflow 2.19.39 makes of the same settings.
    #[test]
    fn the_root_of_the_datatools_is_set_or_below_that_of_the_datastore() {
        let sysroot = (SYSROOT, "s3://b/metaflow");
        assert_eq!(root(&[sysroot]), "s3://b/metaflow/data");
        assert_eq!(root(&[(SYSROOT, "s3://b/p/")]), "s3://b/p/data");
        assert_eq!(root(&[(SYSROOT, "s3://b/p//")]), "s3://b/p//data");
        assert_eq!(root(&[sysroot, (SUFFIX, "x/y")]), "s3://b/metaflow/x/y");
        assert_eq!(root(&[sysroot, (SUFFIX, "")]), "s3://b/metaflow/");
        assert_eq!(root(&[sysroot, (S3ROOT, "s3://c/d")]), "s3://c/d");
        let error = settings(&[sysroot, (SUFFIX, "/x")]).unwrap_err();
        assert!(error.kind() == ErrorKind::Config && error.to_string().contains(SUFFIX), "{error}");
    }

    #[test]
    fn the_root_comes_from_the_builder_the_environment_the_project_or_the_user() {
        let of = |builder: Option<&str>, variables: &[(&str, &str)], machine: &Machine| {
            let settings = RunSettings::read(builder.map(str::to_owned), &on(machine, variables)).unwrap();
            settings.root(&Run::Named("Flow/7".into()), None, None).map(|root| root.url().unwrap().to_owned())
        };
        let user = (USER, r#"{"METAFLOW_DATATOOLS_S3ROOT": "s3://user/u"}"#);
        let both = Machine::new(&[user, (PROJECT, r#"{"METAFLOW_DATATOOLS_S3ROOT": "s3://project/p"}"#)]);
        let variable = [(S3ROOT, "s3://environment/e")];
        assert_eq!(of(Some("s3://builder/b"), &variable, &both).unwrap(), "s3://builder/b/Flow/7");
        assert_eq!(of(None, &variable, &both).unwrap(), "s3://environment/e/Flow/7");
        assert_eq!(of(None, &[], &both).unwrap(), "s3://project/p/Flow/7");
        assert_eq!(of(None, &[], &Machine::new(&[user])).unwrap(), "s3://user/u/Flow/7");
        // A root of the datatools in a file is more than one of the datastore in the environment.
        assert_eq!(of(None, &[(SYSROOT, "s3://s")], &both).unwrap(), "s3://project/p/Flow/7");
        let none = Machine::new(&[]);
        let error = of(None, &[], &none).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        for named in [S3ROOT, SYSROOT, none.path(USER).to_str().unwrap()] {
            assert!(error.to_string().contains(named), "{error}");
        }
        for (url, file) in [("http://h/p", USER), ("s3://", PROJECT)] {
            let machine = Machine::new(&[(file, &serde_json::json!({ S3ROOT: url }).to_string())]);
            let error = of(None, &[], &machine).unwrap_err();
            let place = format!("{S3ROOT} in {}", machine.path(file).display());
            assert!(error.kind() == ErrorKind::InvalidUrl && error.to_string().contains(&place), "{error}");
        }
    }
}
