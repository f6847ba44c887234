//! The operations: what is asked for, and what its outcomes mean. Nothing here knows HTTP or files.

mod abandoned;
mod batches;
#[cfg(any(test, s3flow_bench))]
pub(crate) mod bench;
mod copy;
mod delete;
mod exists;
mod flights;
mod get;
mod info;
mod journals;
mod list;
mod listing;
mod manifest;
mod many;
mod open;
mod presign;
mod put;
mod recursive;
mod shards;
mod stream;
mod turns;
mod unchanged;
mod writer;

pub use self::abandoned::{AbandonedUploads, AbortUpload};
pub use self::copy::{Copy, CopyInput, CopyMany};
pub use self::delete::{Delete, DeleteMany};
pub use self::exists::Exists;
pub(crate) use self::flights::Flights;
#[cfg(feature = "serve")]
pub(crate) use self::get::Settings as GetSettings;
pub use self::get::{Get, GetInput, GetMany};
pub use self::info::{Info, InfoMany};
pub use self::list::{ListPaths, ListRecursive};
pub use self::listing::ListCursor;
pub use self::manifest::{ManifestWriter, ReadManifest};
pub use self::open::{ObjectReader, Open};
pub use self::presign::{PresignGet, PresignPut};
pub use self::put::{FileInput, Put, PutInput, PutMany};
pub use self::recursive::GetRecursive;
pub use self::shards::PlanShards;
pub use self::stream::{GetReader, GetStream};
pub use self::unchanged::VerifyUnchanged;
pub use self::writer::PutWriter;

/// The future that an operation becomes when it is awaited.
pub(crate) type Operation<T> = futures::future::BoxFuture<'static, crate::Result<T>>;
