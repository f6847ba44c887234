//! The operations: what is asked for, and what its outcomes mean. Nothing here knows HTTP or files.

mod abandoned;
mod batches;
#[cfg(any(test, s3flow_bench))]
pub(crate) mod bench;
mod copy;
mod delete;
mod exists;
mod get;
mod info;
mod list;
mod listing;
mod many;
mod put;
mod recursive;
mod turns;

pub use self::abandoned::{AbandonedUploads, AbortUpload};
pub use self::copy::{Copy, CopyMany};
pub use self::delete::{Delete, DeleteMany};
pub use self::exists::Exists;
pub use self::get::{Get, GetInput, GetMany};
pub use self::info::{Info, InfoMany};
pub use self::list::{ListPaths, ListRecursive};
pub use self::listing::ListCursor;
pub use self::put::{FileInput, Put, PutInput, PutMany};
pub use self::recursive::GetRecursive;

use crate::error::{Error, ErrorKind};

/// The future that an operation becomes when it is awaited.
type Operation<T> = futures::future::BoxFuture<'static, crate::Result<T>>;

/// A write that the scope's end has ended: what was sent of it may be carried out.
fn closed_meanwhile(error: Error) -> Error {
    let unknown = error.is_outcome_unknown() || error.kind() == ErrorKind::Closed;
    error.with_outcome_unknown(unknown)
}
