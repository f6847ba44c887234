//! A job over many objects on many machines: copies a prefix to another one, and writes a manifest with a checksum of each object.
//!
//! [`Job::plan`] divides the prefix into shards, [`copy_shard`] carries one out, and [`Job::merge`] makes one manifest of the
//! outcomes. All that is known of a job is in S3, so an engine only has to say who does which shard, as often as it likes: here
//! NATS JetStream ([`coordinate`], [`work`]), and Metaflow (`metaflow/copy_flow.py`, which runs the program `shard`).

pub mod cli;
mod coordinator;
mod copy;
mod error;
mod job;
mod merge;
mod patience;
mod queue;
pub mod trial;
mod worker;

pub use self::coordinator::{Coordinate, coordinate};
pub use self::copy::{Copied, Line, copy_shard};
pub use self::error::{Error, Result};
pub use self::job::{Failure, Job, State, Task};
pub use self::merge::Report;
pub use self::queue::Queue;
pub use self::worker::{Tally, Work, work};
