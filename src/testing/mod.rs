//! An S3 server for tests.
//!
//! [`S3Server`] is a real HTTP server in this process: a client under test talks to it as it would to S3. It
//! keeps everything in memory, so tests can put objects in place and look at what was stored without HTTP. It
//! logs requests, so they can count them; it holds requests back, so they can see what is in flight; and it
//! goes wrong as it is told to, by the [`Fault`]s that they inject.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use s3flow::testing::{Fault, Operation, S3Server};
//!
//! let server = S3Server::builder().bucket("photos").page_size(7).start().await?;
//! server.put_object("photos", "2026/a b.jpg", vec![0xff; 1024]);
//! server.inject(Fault::status(503, "SlowDown").operation(Operation::GetObject));
//!
//! // … let the code under test fetch it …
//!
//! let gets = server.log().iter().filter(|request| request.operation() == Operation::GetObject).count();
//! assert_eq!(gets, 0);
//! # Ok(()) }
//! ```
//!
//! # What it is not
//!
//! It addresses buckets in the path only, has one user, and knows no versions, ACLs, policies or object
//! locks: such requests are answered with `501 NotImplemented`. Server-side encryption is checked and echoed,
//! but nothing is encrypted.

mod accept;
mod access;
mod answer;
mod body;
mod buckets;
mod builder;
mod call;
mod checksum;
mod clock;
mod conditions;
mod connect;
mod connection;
mod content;
mod delete;
mod encode;
mod encryption;
mod fault;
mod listing;
mod log;
mod multipart;
mod object;
mod operation;
mod pace;
mod range;
mod read;
mod receive;
mod server;
mod service;
mod socket;
mod store;
mod stored;
mod sync;
mod tags;
mod time;
mod upload;
mod write;
mod xml;

pub use self::builder::S3ServerBuilder;
pub use self::fault::{Fault, FaultPlan, InjectedFault};
pub use self::log::{Finish, LoggedRequest};
pub use self::operation::Operation;
pub use self::server::S3Server;
pub use self::stored::StoredObject;
pub use self::upload::StoredUpload;
