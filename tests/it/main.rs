//! What the library promises, a module for each behaviour, on the server of `s3flow::testing`.
//!
//! The cases in `cases` also run on a server named by `S3FLOW_TEST_ENDPOINT`; see `real_server`.

#![allow(clippy::unwrap_used)]

mod support;

mod addressing;
