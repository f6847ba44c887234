// Before the README, whose own definitions of these links are for files: the first one counts.
//! [parity]: crate::_metaflow_parity
//! [reliability]: crate::_reliability
//! [design]: crate::_design
//! [performance]: crate::_performance
//! [migration]: crate::_migration
//! [observability]: crate::_observability
//! [scale_out]: crate::_scale_out
//! [getting_started]: crate::_getting_started
//! [guide]: crate::_guide
//! [troubleshooting]: crate::_troubleshooting
#![cfg_attr(feature = "testing", doc = "[testing]: crate::_testing")]
#![doc = include_str!("../README.md")]
// Labels what needs a feature; docs.rs has the compiler that knows it.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod abandoned;
mod address;
#[cfg(any(test, s3flow_bench))]
#[doc(hidden)]
pub mod bench;
mod blocking;
mod checksum;
mod client;
mod config;
mod credentials;
mod encryption;
mod error;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod journal;
mod limits;
mod manifest;
mod metadata;
mod object;
mod observe;
mod ops;
mod presigned;
mod properties;
mod receipt;
mod request;
mod retry;
mod s3;
mod scope;
#[cfg(feature = "serve")]
pub mod serve;
mod shard;
mod store;
#[cfg(feature = "testing")]
pub mod testing;
mod transfer;

pub use crate::abandoned::AbandonedUpload;
pub use crate::checksum::{ChecksumAlgorithm, Verification, Verified};
pub use crate::client::Client;
pub use crate::config::{ClientBuilder, S3Builder};
pub use crate::credentials::{CredentialProvider, Credentials};
pub use crate::encryption::{CustomerKey, Encryption, KmsKey};
pub use crate::error::{Error, ErrorKind, Result};
pub use crate::journal::JournalProblem;
pub use crate::limits::{Limits, SlowedPrefix, Stats, Waiting};
pub use crate::manifest::{Difference, EntryInput, ManifestEntry};
pub use crate::object::{RangeInfo, S3Object};
#[cfg(feature = "metrics")]
pub use crate::observe::describe_metrics;
pub use crate::observe::{Progress, ProgressSnapshot, ProgressUpdates, Report, RetryCounts, Waits};
pub use crate::ops::{
    AbandonedUploads, AbortUpload, Copy, CopyInput, CopyMany, Delete, DeleteMany, Exists, FileInput, Get, GetInput,
    GetMany, GetReader, GetRecursive, GetStream, Info, InfoMany, ListCursor, ListPaths, ListRecursive, ManifestWriter,
    ObjectReader, Open, PlanShards, PresignGet, PresignPut, Put, PutInput, PutMany, PutWriter, ReadManifest,
    VerifyUnchanged,
};
pub use crate::presigned::PresignedRequest;
pub use crate::receipt::{DeleteReceipt, PutOutcome, PutReceipt};
pub use crate::request::{PutValue, S3CopyObject, S3GetObject, S3PutObject};
pub use crate::retry::{RetryBudget, RetryPolicy};
pub use crate::s3::S3;
pub use crate::shard::Shard;
pub use crate::store::TlsRoots;

#[cfg(doc)]
#[doc = include_str!("../docs/design.md")]
pub mod _design {}

#[cfg(any(doc, doctest))]
#[doc = include_str!("../docs/metaflow-parity.md")]
pub mod _metaflow_parity {}

#[cfg(doc)]
#[doc = include_str!("../docs/performance.md")]
pub mod _performance {}

#[cfg(all(doc, feature = "serve"))]
#[doc = include_str!("../docs/services.md")]
pub mod _services {}

#[cfg(any(doc, doctest))]
#[doc = include_str!("../docs/scale-out.md")]
pub mod _scale_out {}

#[cfg(any(doc, doctest))]
#[doc = include_str!("../docs/observability.md")]
pub mod _observability {}

#[cfg(any(doc, doctest))]
#[doc = include_str!("../docs/migration.md")]
pub mod _migration {}

// The links are in front for the same reason as those of the README.
#[cfg(any(doc, doctest))]
/// [getting_started]: crate::_getting_started
/// [troubleshooting]: crate::_troubleshooting
/// [reading]: crate::_troubleshooting#reading-an-error
/// [meaning]: crate::_reliability#what-an-error-means
#[cfg_attr(feature = "serve", doc = "[services]: crate::_services")]
#[doc = include_str!("../docs/guide.md")]
pub mod _guide {}

#[cfg(any(doc, doctest))]
#[doc = include_str!("../docs/troubleshooting.md")]
pub mod _troubleshooting {}

#[cfg(any(doc, doctest))]
/// [guide]: crate::_guide
/// [troubleshooting]: crate::_troubleshooting
/// [migration]: crate::_migration
/// [reliability]: crate::_reliability
#[cfg_attr(feature = "testing", doc = "[testing]: crate::_testing")]
#[cfg_attr(feature = "serve", doc = "[services]: crate::_services")]
#[doc = include_str!("../docs/getting-started.md")]
pub mod _getting_started {}

#[cfg(all(any(doc, doctest), feature = "testing"))]
#[doc = include_str!("../docs/testing.md")]
pub mod _testing {}

#[cfg(any(doc, doctest))]
#[doc = include_str!("../docs/reliability.md")]
pub mod _reliability {}

/// What users rely on when they move these types into tasks, axum bodies and tonic responses.
const _: () = {
    const fn send<T: Send + 'static>() {}
    const fn send_sync<T: Send + Sync + 'static>() {}
    const fn handle<T: Clone + Send + Sync + Unpin + 'static>() {}

    handle::<Client>();
    handle::<Limits>();
    handle::<S3>();
    handle::<Credentials>();
    handle::<PresignedRequest>();
    handle::<S3Object>();
    handle::<Progress>();
    handle::<Report>();
    handle::<PutReceipt>();
    handle::<DeleteReceipt>();
    handle::<ListCursor>();
    handle::<JournalProblem>();
    handle::<Shard>();
    handle::<AbandonedUpload>();
    handle::<ClientBuilder>();
    handle::<RetryPolicy>();
    handle::<S3Builder>();
    handle::<S3GetObject>();
    handle::<S3CopyObject>();
    handle::<ManifestEntry>();
    handle::<Difference>();
    send::<S3PutObject>();
    send::<Copy>();
    send::<CopyMany>();
    send_sync::<Error>();
    send::<AbandonedUploads>();
    send::<AbortUpload>();
    send::<Delete>();
    send::<DeleteMany>();
    send::<Get>();
    send::<GetMany>();
    send::<GetReader>();
    send::<GetStream>();
    send::<GetRecursive>();
    send::<Exists>();
    send::<Info>();
    send::<InfoMany>();
    send::<ListPaths>();
    send::<ListRecursive>();
    send::<ManifestWriter>();
    send::<ReadManifest<S3GetObject>>();
    send::<ObjectReader>();
    send::<Open>();
    send::<PlanShards>();
    send::<PresignGet>();
    send::<PresignPut>();
    send::<Put>();
    send::<PutMany>();
    send::<PutWriter>();
    send::<VerifyUnchanged>();
};
