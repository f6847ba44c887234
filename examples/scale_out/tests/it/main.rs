//! What the job promises, on real processes: coordinators, workers, a NATS server and an S3 server, which are killed.

#![allow(clippy::unwrap_used)]

mod support;

mod kills;
mod late;
mod metaflow;
mod scaling;
mod wrong_input;
