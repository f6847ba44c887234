//! Connections that close or stall.

use super::Fault;
use super::action::{Action, Cut};

impl Fault {
    /// Reads the request and closes the connection. The request is not carried out.
    pub fn close_before_answer() -> Self {
        Self::new(Action::Close)
    }

    /// Carries the request out and closes the connection instead of answering: the client cannot know that
    /// its write took place.
    pub fn lose_answer() -> Self {
        Self::new(Action::LoseAnswer)
    }

    /// Sends the real answer with the real `Content-Length`, and closes the connection after `bytes` bytes of its
    /// body. Does nothing to a body that is not longer than that.
    pub fn close_after(bytes: u64) -> Self {
        Self::new(Action::CutAfter { bytes, then: Cut::Close })
    }

    /// Reads the request and never answers, until the client goes away or the server is dropped. The request
    /// is not carried out.
    pub fn stall() -> Self {
        Self::new(Action::Stall)
    }

    /// Sends the real answer and stops after `bytes` bytes of its body, with the connection left open. Does
    /// nothing to a body that is not longer than that.
    pub fn stall_after(bytes: u64) -> Self {
        Self::new(Action::CutAfter { bytes, then: Cut::Stall })
    }

    /// Answers a ranged GET or HEAD with `200 OK` and the whole object, as HTTP allows.
    pub fn ignore_range() -> Self {
        Self::new(Action::IgnoreRange)
    }
}
