//! Faults as they show on the wire.

use s3flow::testing::{Fault, FaultPlan, Finish, Operation};

use super::*;

mod answers;
mod bodies;
mod choice;
mod clock;
mod connections;
mod plans;
mod wire;

/// The statuses of GETs of these keys, one after the other.
async fn statuses(raw: &Raw, keys: impl IntoIterator<Item = &str>) -> Vec<u16> {
    let mut statuses = Vec::new();
    for key in keys {
        statuses.push(raw.get(&format!("/bucket/{key}"), &[]).await.status.as_u16());
    }
    statuses
}

/// A server with these objects.
async fn with_objects(keys: impl IntoIterator<Item = &str>) -> Raw {
    let raw = Raw::new().await;
    keys.into_iter().for_each(|key| raw.server.put_object("bucket", key, "0123456789"));
    raw
}

fn slow_down() -> Fault {
    Fault::status(503, "SlowDown")
}
