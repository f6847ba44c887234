use std::fmt;

use bytes::Bytes;

use super::canned::Canned;
use super::damage::Damage;

/// What happens to a call.
#[derive(Debug, Clone)]
pub(super) enum Action {
    /// The answer is the server's, but for its headers.
    Serve,
    /// The one that happens to a connection, and to no request.
    Refuse,
    /// With these nothing is carried out, unless the fault says so.
    Answer(Canned),
    Close,
    Stall,
    CutRequest {
        bytes: u64,
        then: Cut,
    },
    /// With these the request is carried out.
    ReplaceObject(Replacement),
    IgnoreRange,
    CutAfter {
        bytes: u64,
        then: Cut,
    },
    Trickle {
        bytes_per_second: u64,
    },
    Damage(Damage),
    /// The answer is the server's, after white space.
    Late,
}

/// What happens where a body is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::testing) enum Cut {
    Close,
    Stall,
}

/// The content of an object that takes another's place.
#[derive(Clone)]
pub(super) struct Replacement(pub(super) Bytes);

impl fmt::Debug for Replacement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}
