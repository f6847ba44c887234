//! The builder of a scope.

use std::path::PathBuf;

use super::checked_concurrency;
use super::environment::Environment;
use crate::address::{InvalidAddress, Root, RunName, split_root};
use crate::encryption::Encryption;
use crate::error::{Error, ErrorKind, Result};
use crate::s3::{Client, S3};

/// Makes an [`S3`]: says what keys are relative to, and where downloads go.
///
/// ```
/// # fn main() -> s3flow::Result<()> {
/// use s3flow::S3;
///
/// // keys are suffixes of a prefix
/// let s3 = S3::builder().s3root("s3://bucket/some/prefix").build()?;
/// // keys are suffixes of what belongs to a run: s3://bucket/metaflow/data/TrainFlow/1234/
/// let s3 = S3::builder().run("TrainFlow/1234").bucket("bucket").prefix("metaflow/data").build()?;
/// // keys are whole s3:// URLs
/// let s3 = S3::builder().build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
#[must_use = "a builder does nothing before build()"]
pub struct S3Builder {
    client: Option<Client>,
    s3root: Option<String>,
    run: Option<Run>,
    bucket: Option<String>,
    prefix: Option<String>,
    tmproot: Option<PathBuf>,
    encryption: Option<Encryption>,
    concurrency: Option<usize>,
}

/// Which run's data keys are relative to.
#[derive(Debug, Clone)]
enum Run {
    Named(String),
    /// The one that this process is a part of.
    Current,
}

const PATHSPEC: &str = "MF_PATHSPEC";

impl S3Builder {
    /// Uses the connections, the credentials and the limits of `client`. Without it, the scope gets a client of its own,
    /// from the environment.
    pub fn client(mut self, client: Client) -> Self {
        self.client = Some(client);
        self
    }

    /// The prefix that keys are relative to: `s3://bucket` or `s3://bucket/prefix`. A `/` at its end does not matter.
    /// Without it, keys are whole `s3://` URLs.
    pub fn s3root(mut self, url: impl Into<String>) -> Self {
        self.s3root = Some(url.into());
        self
    }

    /// Keys are relative to the data of a Metaflow run, `Flow/RunId`: to `DATATOOLS_S3ROOT/Flow/RunId`, as with Python's
    /// `S3(run=…)`. Wins over [`s3root`](Self::s3root).
    ///
    /// `DATATOOLS_S3ROOT` is Metaflow's: `METAFLOW_DATATOOLS_S3ROOT`, or `METAFLOW_DATASTORE_SYSROOT_S3` and below it
    /// `METAFLOW_DATATOOLS_SUFFIX` (`data`), from the environment or Metaflow's configuration files; see
    /// [`ClientBuilder`](crate::ClientBuilder).
    pub fn run(mut self, run: impl Into<String>) -> Self {
        self.run = Some(Run::Named(run.into()));
        self
    }

    /// As [`run`](Self::run), for the run that this process was started by: Metaflow tells it in `MF_PATHSPEC`
    /// (`flow/run/step/task`).
    pub fn run_from_env(mut self) -> Self {
        self.run = Some(Run::Current);
        self
    }

    /// A bucket in place of that of `DATATOOLS_S3ROOT`; only with a [run](Self::run).
    pub fn bucket(mut self, bucket: impl Into<String>) -> Self {
        self.bucket = Some(bucket.into());
        self
    }

    /// A prefix in place of that of `DATATOOLS_S3ROOT`; only with a [run](Self::run).
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = Some(prefix.into());
        self
    }

    /// The directory in which the scope makes its temporary directory, at its first download.
    pub fn tmproot(mut self, directory: impl Into<PathBuf>) -> Self {
        self.tmproot = Some(directory.into());
        self
    }

    /// The server-side encryption of what this scope stores.
    pub fn encryption(mut self, encryption: Encryption) -> Self {
        self.encryption = Some(encryption);
        self
    }

    /// How many objects a many-operation of this scope has in flight or waiting to be taken.
    pub fn concurrency(mut self, objects: usize) -> Self {
        self.concurrency = Some(objects);
        self
    }

    /// Checks the settings and makes the scope. Nothing is sent, and no directory is made.
    ///
    /// The environment and Metaflow's configuration files are read for a [run](Self::run), and for the client when none was
    /// given: a few small files, on this thread.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidUrl`] for an `s3root`, a run or a `DATATOOLS_S3ROOT` that is not an address, naming where it stands;
    /// [`ErrorKind::Config`] for anything else that cannot be used, or is needed and not set.
    pub fn build(self) -> Result<S3> {
        if self.client.is_some() && self.run.is_none() {
            return self.build_in(&Environment::default());
        }
        self.build_in(&Environment::of_process()?)
    }

    fn build_in(self, environment: &Environment) -> Result<S3> {
        let root = self.root(environment)?;
        let client = match self.client {
            Some(client) => client,
            None => Client::builder().build_in(environment)?,
        };
        let parts = client.parts();
        let tmproot = self.tmproot.unwrap_or_else(|| parts.tmproot.clone());
        let encryption = self.encryption.or_else(|| parts.encryption.clone());
        let concurrency = checked_concurrency(self.concurrency.unwrap_or(parts.concurrency))?;
        Ok(S3::from_parts(client, root, tmproot, encryption, concurrency))
    }

    fn root(&self, environment: &Environment) -> Result<Root> {
        let Self { s3root, run, bucket, prefix, .. } = self;
        let invalid = |InvalidAddress(problem)| Error::new(ErrorKind::InvalidUrl, problem);
        let Some(run) = run else {
            if let Some(name) =
                [("bucket", bucket), ("prefix", prefix)].iter().find_map(|(n, set)| set.as_ref().map(|_| n))
            {
                return Err(Error::new(ErrorKind::Config, format!("the {name} is set without a run; use s3root")));
            }
            return s3root.as_deref().map_or(Ok(Root::Urls), |url| Root::parse(url).map_err(invalid));
        };
        let (what, run) = match run {
            Run::Named(run) => ("the run", RunName::parse(run)),
            Run::Current => {
                let problem = format!("{PATHSPEC} is not set; Metaflow sets it for its tasks");
                let pathspec = environment.variable(PATHSPEC).ok_or_else(|| Error::new(ErrorKind::Config, problem))?;
                (PATHSPEC, RunName::of_task(pathspec))
            }
        };
        let run = run.map_err(|InvalidAddress(problem)| invalid(InvalidAddress(format!("{what} {problem}"))))?;
        let (bucket, prefix) = match (bucket, prefix) {
            // Then there is nothing that it could say.
            (Some(bucket), Some(prefix)) => (bucket.clone(), prefix.clone()),
            _ => {
                let (place, url) = environment.datatools_s3root()?;
                let named = |InvalidAddress(problem)| Error::new(ErrorKind::InvalidUrl, format!("{place}: {problem}"));
                let (of_the_root, path) = split_root(&url).map_err(named)?;
                (bucket.clone().unwrap_or(of_the_root), prefix.clone().unwrap_or(path))
            }
        };
        Root::of_run(&bucket, &prefix, run).map_err(invalid)
    }
}

#[cfg(test)]
mod tests {
    use super::super::environment::tests::environment;
    use super::*;

    const ROOT: (&str, &str) = ("METAFLOW_DATATOOLS_S3ROOT", "s3://b/some/data");

    fn s3root(builder: S3Builder, variables: &[(&str, &str)]) -> Result<String> {
        builder.build_in(&environment(variables)).map(|s3| s3.s3root().unwrap_or("none").to_owned())
    }

    #[test]
    fn a_run_is_below_the_root_of_the_datatools() {
        let run = || S3::builder().run("Flow/7");
        for (builder, variables, root) in [
            (run(), &[ROOT][..], "s3://b/some/data/Flow/7"),
            (run(), &[("METAFLOW_DATATOOLS_S3ROOT", "s3://b/some/data/")], "s3://b/some/data/Flow/7"),
            (run(), &[("METAFLOW_DATATOOLS_S3ROOT", "s3://b")], "s3://b/Flow/7"),
            (run(), &[("METAFLOW_DATASTORE_SYSROOT_S3", "s3://b/mf")], "s3://b/mf/data/Flow/7"),
            (run().bucket("c"), &[ROOT], "s3://c/some/data/Flow/7"),
            (run().prefix("/p/q/"), &[ROOT], "s3://b/p/q/Flow/7"),
            (run().prefix(""), &[ROOT], "s3://b/Flow/7"),
            (run().bucket("c").prefix("p"), &[], "s3://c/p/Flow/7"),
            // It wins, as in Metaflow.
            (run().s3root("s3://other"), &[ROOT], "s3://b/some/data/Flow/7"),
            (S3::builder().run_from_env(), &[ROOT, (PATHSPEC, "Flow/7/train/12")], "s3://b/some/data/Flow/7"),
            (S3::builder().s3root("s3://other"), &[ROOT], "s3://other"),
            (S3::builder(), &[ROOT, (PATHSPEC, "Flow/7/train/12")], "none"),
        ] {
            assert_eq!(s3root(builder.clone(), variables).unwrap(), root, "{builder:?}");
        }
    }

    #[test]
    fn what_is_no_run_is_named() {
        for run in ["", "Flow", "Flow/", "/7", "Flow/7/step", "s3://b/Flow/7", "/Flow/7", "Flow/7/"] {
            let error = s3root(S3::builder().run(run), &[ROOT]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidUrl, "{run}");
            assert!(error.to_string().contains(&format!("the run {run:?}")), "{error}");
        }
        for pathspec in ["Flow/7", "Flow/7/step", "Flow/7/step/12/more", "Flow//step/12"] {
            let error = s3root(S3::builder().run_from_env(), &[ROOT, (PATHSPEC, pathspec)]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidUrl, "{pathspec}");
            assert!(error.to_string().contains(PATHSPEC), "{error}");
        }
    }

    #[test]
    fn what_a_run_needs_and_what_needs_a_run_is_named() {
        for (builder, variables, kind, named) in [
            (S3::builder().run("Flow/7"), &[][..], ErrorKind::Config, "METAFLOW_DATATOOLS_S3ROOT"),
            (S3::builder().run_from_env(), &[ROOT], ErrorKind::Config, PATHSPEC),
            (S3::builder().bucket("b"), &[ROOT], ErrorKind::Config, "the bucket is set without a run"),
            (S3::builder().s3root("s3://b").prefix("p"), &[ROOT], ErrorKind::Config, "the prefix"),
            (
                S3::builder().run("Flow/7"),
                &[("METAFLOW_DATATOOLS_S3ROOT", "/local/path")],
                ErrorKind::InvalidUrl,
                "METAFLOW_DATATOOLS_S3ROOT",
            ),
            (S3::builder().run("Flow/7").bucket("no spaces"), &[ROOT], ErrorKind::InvalidUrl, "no spaces"),
        ] {
            let error = s3root(builder.clone(), variables).unwrap_err();
            assert_eq!(error.kind(), kind, "{builder:?}: {error}");
            assert!(error.to_string().contains(named), "{error}");
        }
    }
}
