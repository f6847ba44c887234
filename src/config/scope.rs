//! The builder of a scope.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::run::Run;
use super::{checked_concurrency, checked_part_size};
use crate::address::Root;
use crate::client::Client;
use crate::encryption::Encryption;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::{Ceilings, Flow, Limits};
use crate::s3::{S3, Settings};

/// Makes an [`S3`]: says what keys are relative to, and where downloads go.
///
/// ```no_run
/// # fn main() -> s3flow::Result<()> {
/// use s3flow::S3;
///
/// // keys are suffixes of a prefix
/// let s3 = S3::builder().s3root("s3://bucket/some/prefix").build()?;
/// // keys are suffixes of what belongs to a run: DATATOOLS_S3ROOT/TrainFlow/1234
/// let s3 = S3::builder().run("TrainFlow/1234").build()?;
/// // s3://bucket/metaflow/data/TrainFlow/1234, whatever DATATOOLS_S3ROOT is
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
    part_size: Option<u64>,
    limits: Limits,
    weight: Option<NonZeroU32>,
    timeout: Option<Duration>,
    single_flight: bool,
    token: Option<CancellationToken>,
}

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
    /// `S3(run=…)`. Wins over [`s3root`](Self::s3root), as there.
    ///
    /// `DATATOOLS_S3ROOT` is the client's: see [`datatools_s3root`](crate::ClientBuilder::datatools_s3root).
    pub fn run(mut self, run: impl Into<String>) -> Self {
        self.run = Some(Run::Named(run.into()));
        self
    }

    /// As [`run`](Self::run), for the run whose task started this process: the one of `MF_PATHSPEC` (`flow/run/step/task`)
    /// when the client was built.
    ///
    /// Metaflow sets it (`export_mflog_env_vars` in its `mflog`) for tasks on AWS Batch, Kubernetes, Argo Workflows, Step
    /// Functions and Airflow. A task of a local run has to give it to the processes that it starts:
    /// `subprocess.run([…], env={**os.environ, "MF_PATHSPEC": current.pathspec})`.
    pub fn run_from_env(mut self) -> Self {
        self.run = Some(Run::Current);
        self
    }

    /// A bucket in place of that of `DATATOOLS_S3ROOT`; only with a [run](Self::run). An empty one counts as not given, as in
    /// Metaflow.
    ///
    /// With a bucket and a [`prefix`](Self::prefix), no `DATATOOLS_S3ROOT` is needed. (Metaflow wants one even then.)
    pub fn bucket(mut self, bucket: impl Into<String>) -> Self {
        self.bucket = Some(bucket.into());
        self
    }

    /// A prefix in place of that of `DATATOOLS_S3ROOT`; only with a [run](Self::run). An empty one counts as not given, as in
    /// Metaflow; `/` is the root of the bucket.
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

    /// The size of the parts in which this scope stores long values; see
    /// [`ClientBuilder::part_size`](crate::ClientBuilder::part_size).
    pub fn part_size(mut self, bytes: u64) -> Self {
        self.part_size = Some(bytes);
        self
    }

    /// Whether gets of the same object (the same key, range and `if_match`) that are under way at the same time share one download and its
    /// file, as in a service that many ask for the same at once. Default: false.
    ///
    /// Each get has an [`S3Object`](crate::S3Object) of its own; the file goes with the last of them. A get that joins sends no request, and gets the
    /// object as it was after the first one began: what somebody else has stored since then is not seen. What this scope has stored or
    /// deleted is. Gets without a file ([`stream`](crate::Get::stream) and the like) and with a customer's key share nothing.
    ///
    /// ```
    /// # async fn example(client: s3flow::Client) -> s3flow::Result<()> {
    /// let models = client.s3().s3root("s3://bucket/models").single_flight(true).build()?;
    /// let (one, other) = tokio::try_join!(models.get("a.bin").into_future(), models.get("a.bin").into_future())?;
    /// assert_eq!(one.path(), other.path());
    /// # Ok(())
    /// # }
    /// ```
    pub fn single_flight(mut self, shared: bool) -> Self {
        self.single_flight = shared;
        self
    }

    /// What this scope may use, beside the limits of its client. They may be set again by [`S3::set_limits`].
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The share of this scope where several wait for a limit of their client: so many times that of a scope whose weight is 1,
    /// the default.
    ///
    /// ```
    /// # fn main() -> s3flow::Result<()> {
    /// use std::num::NonZeroU32;
    ///
    /// let client = s3flow::Client::builder().limits(s3flow::Limits::default().requests_in_flight(64)).build()?;
    /// let requests = client.s3().weight(NonZeroU32::new(10).unwrap()).build()?;
    /// let backup = client.s3().build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn weight(mut self, weight: NonZeroU32) -> Self {
        self.weight = Some(weight);
        self
    }

    /// How long an operation on one object may take; see [`S3::with_timeout`]. Default: as long as the
    /// [retry policy](crate::RetryPolicy) lets it.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// Ends the operations of the scope when `token` is cancelled, with [`ErrorKind::Closed`], as [`S3::close`] does. Its files stay until
    /// the scope is closed or dropped.
    ///
    /// ```
    /// # fn main() -> s3flow::Result<()> {
    /// use tokio_util::sync::CancellationToken;
    ///
    /// let shutdown = CancellationToken::new();
    /// let s3 = s3flow::S3::builder().s3root("s3://bucket").cancellation_token(shutdown.clone()).build()?;
    /// shutdown.cancel(); // from anywhere
    /// # Ok(())
    /// # }
    /// ```
    pub fn cancellation_token(mut self, token: CancellationToken) -> Self {
        self.token = Some(token);
        self
    }

    /// Checks the settings and makes the scope. Nothing is sent, and no directory is made. With a [client](Self::client),
    /// nothing is read either; without one, what [`ClientBuilder::build`](crate::ClientBuilder::build) reads.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidUrl`] for an `s3root`, a run, a bucket or a `DATATOOLS_S3ROOT` that is not an address, naming where
    /// it stands; [`ErrorKind::Config`] for anything else that cannot be used, or is needed and not set.
    pub fn build(self) -> Result<S3> {
        let Self {
            client,
            s3root,
            run,
            bucket,
            prefix,
            tmproot,
            encryption,
            concurrency,
            part_size,
            limits,
            weight,
            timeout,
            single_flight,
            token,
        } = self;
        let client = match client {
            Some(client) => client,
            None => Client::new()?,
        };
        let parts = client.parts();
        let root = match (run, s3root) {
            (Some(run), _) => parts.runs.root(&run, bucket.as_deref(), prefix.as_deref())?,
            (None, _) if bucket.is_some() => return Err(without_a_run("bucket")),
            (None, _) if prefix.is_some() => return Err(without_a_run("prefix")),
            (None, Some(url)) => Root::parse(&url).map_err(|invalid| Error::new(ErrorKind::InvalidUrl, invalid.0))?,
            (None, None) => Root::Urls,
        };
        let tmproot = tmproot.unwrap_or_else(|| parts.tmproot.clone());
        let encryption = encryption.or_else(|| parts.encryption.clone());
        let concurrency = checked_concurrency(concurrency.unwrap_or(parts.concurrency))?;
        let part_size = part_size.map(checked_part_size).transpose()?.or(parts.part_size);
        let limits = Arc::new(Ceilings::new(limits)?);
        let flow = Flow::of_scope(&client.parts().ceilings, limits, weight.unwrap_or(NonZeroU32::MIN));
        Ok(S3::from_parts(
            client,
            flow,
            tmproot,
            Settings { root, encryption, concurrency, part_size, timeout, single_flight, token },
        ))
    }
}

fn without_a_run(setting: &str) -> Error {
    Error::new(ErrorKind::Config, format!("the {setting} is set without a run; without one, s3root says both"))
}

#[cfg(test)]
mod tests {
    use super::super::environment::tests::environment;
    use super::super::run::PATHSPEC;
    use super::*;

    const ROOT: (&str, &str) = ("METAFLOW_DATATOOLS_S3ROOT", "s3://b/some/data");

    fn s3root(builder: S3Builder, variables: &[(&str, &str)]) -> Result<String> {
        let client = Client::builder().build_in(&environment(variables))?;
        builder.client(client).build().map(|s3| s3.s3root().unwrap_or("none").to_owned())
    }

    /// What `S3.__init__` of Metaflow 2.19.39 makes of the same settings; without a root it refuses bucket and prefix too.
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
            (run(), &[("METAFLOW_DATATOOLS_S3ROOT", "s3://b//p")], "s3://b/p/Flow/7"),
            (run(), &[("METAFLOW_DATATOOLS_S3ROOT", "s3://b/p//")], "s3://b/p//Flow/7"),
            (run().prefix("//q//"), &[ROOT], "s3://b/q//Flow/7"),
            (run().prefix("/"), &[ROOT], "s3://b/Flow/7"),
            (run().bucket("").prefix(""), &[ROOT], "s3://b/some/data/Flow/7"),
            (run().bucket("c").prefix("p"), &[], "s3://c/p/Flow/7"),
            (run().bucket("c").prefix("p"), &[("METAFLOW_DATATOOLS_S3ROOT", "/local/path")], "s3://c/p/Flow/7"),
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
            (
                S3::builder().run("Flow/7").bucket("no spaces"),
                &[ROOT],
                ErrorKind::InvalidUrl,
                "the bucket \"no spaces\"",
            ),
            (S3::builder().run("Flow/7").bucket("c/"), &[ROOT], ErrorKind::InvalidUrl, "the bucket \"c/\""),
            (S3::builder().run("Flow/7").bucket("s3://c"), &[ROOT], ErrorKind::InvalidUrl, "the bucket \"s3://c\""),
            (S3::builder().prefix(""), &[ROOT], ErrorKind::Config, "the prefix is set without a run"),
        ] {
            let error = s3root(builder.clone(), variables).unwrap_err();
            assert_eq!(error.kind(), kind, "{builder:?}: {error}");
            assert!(error.to_string().contains(named), "{error}");
        }
    }
}
