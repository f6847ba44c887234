//! The operations: what is asked for, and what its outcomes mean. Nothing here knows HTTP or files.

mod batches;
mod copy;
mod delete;
mod get;
mod info;
mod list;
mod many;
mod put;
mod turns;

pub use self::copy::{Copy, CopyMany};
pub use self::delete::{Delete, DeleteMany};
pub use self::get::{Get, GetInput, GetMany};
pub use self::info::Info;
pub use self::list::ListRecursive;
pub use self::put::{FileInput, Put, PutInput, PutMany};

/// The future that an operation becomes when it is awaited.
type Operation<T> = futures::future::BoxFuture<'static, crate::Result<T>>;
