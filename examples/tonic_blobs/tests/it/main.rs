//! What the service promises, as its callers and the S3 server behind it see it.

#![allow(clippy::unwrap_used)]

mod support;

mod deadlines;
mod errors;
mod memory;
mod objects;
mod program;
mod vanishing;
