//! What the library promises, a module for each behaviour.
//!
//! The functions of `cases` run on the server of `s3flow::testing` always, and on a real one that `S3FLOW_TEST_ENDPOINT`
//! names; see `real_server`. Everything else needs a look into the server, or faults.

#![allow(clippy::unwrap_used)]

mod shards;
mod shell;
mod support;

mod abandoned;
mod aborts;
mod ambiguity;
mod bad_input;
mod broken_wire;
mod budgets;
mod cancellation;
mod cases;
mod closing;
mod commands;
mod composite;
mod conditions;
mod credentials;
mod damage;
mod deadlines;
mod deletes;
mod directories;
#[cfg(target_os = "linux")]
mod disk;
mod downloads;
mod embedded;
mod environment;
mod examples;
mod fairness;
mod fault_table;
mod faults;
mod flipping_wire;
mod gateway;
mod gateway_load;
mod hostile;
mod http;
mod integrity;
mod interop;
mod journals;
mod killed;
mod limits;
#[cfg(unix)]
mod links;
mod listing;
mod manifests;
mod many_clients;
mod metadata;
mod metaflow_defects;
mod meter;
mod metrics;
mod mutated;
mod mutating_wire;
mod pages;
mod parallel_listing;
mod plain_data;
mod presign;
mod progress;
mod reading;
mod real_server;
mod recursive;
mod reports;
mod resume;
mod retries;
mod scopes;
mod secrets;
mod server;
mod single_flight;
mod snapshots;
mod soak;
mod spans;
mod streams;
mod throttling;
mod transport;
mod troubleshooting;
mod uploads;
mod writing;
