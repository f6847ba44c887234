//! Objects of S3 over gRPC: [`Service`] is what `proto/blobs.proto` says, and [`serve`] a server of it.

mod deadline;
mod service;
mod status;

/// What `build.rs` makes of `proto/blobs.proto`.
pub mod proto {
    tonic::include_proto!("blobs.v1");
}

pub use self::service::{Service, listen, serve};
