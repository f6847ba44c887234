//! Connections that close or stall.

use super::Fault;
use super::action::{Action, Cut};

impl Fault {
    /// Resets a new connection as soon as it is made, before a byte of a request is read.
    ///
    /// It counts connections, and not requests: [`on_call(n)`](Self::on_call), [`times`](Self::times) and
    /// [`rate`](Self::rate) are about the connections that clients open, and operations and keys do not matter, for
    /// they are not known yet. A client that has an idle connection opens no new one.
    pub fn refuse() -> Self {
        Self::new(Action::Refuse)
    }

    /// Reads the request and closes the connection. The request is not carried out.
    pub fn close_before_answer() -> Self {
        Self::new(Action::Close)
    }

    /// Reads this many bytes of the body of the request and closes the connection. The request is not carried out. Does
    /// nothing to a request whose body is not longer than that.
    ///
    /// Signatures and framing of an `aws-chunked` body count as bytes of it. The server's buffers may have taken more from
    /// the connection.
    pub fn close_after_request(bytes: u64) -> Self {
        Self::new(Action::CutRequest { bytes, then: Cut::Close })
    }

    /// Reads this many bytes of the body of the request and no more, with the connection left open. The request is not carried
    /// out. Does nothing to a request whose body is not longer than that.
    ///
    /// A server that does not read cannot see that the client went away: the connection stays among the
    /// [open ones](crate::testing::S3Server::open_connections) until the server is dropped, or
    /// [`clear_faults`](crate::testing::S3Server::clear_faults) closes it.
    pub fn stall_after_request(bytes: u64) -> Self {
        Self::new(Action::CutRequest { bytes, then: Cut::Stall })
    }

    /// Carries the request out and closes the connection instead of answering: the client cannot know that
    /// its write took place.
    pub fn lose_answer() -> Self {
        Self::close_before_answer().carried_out()
    }

    /// Sends the real answer with the real `Content-Length`, and closes the connection after `bytes` bytes of its
    /// body. Does nothing to a body that is not longer than that.
    pub fn close_after(bytes: u64) -> Self {
        Self::new(Action::CutAfter { bytes, then: Cut::Close })
    }

    /// Reads the request and never answers, until the client goes away, the faults are
    /// [cleared](crate::testing::S3Server::clear_faults) or the server is dropped. The request is not carried out.
    pub fn stall() -> Self {
        Self::new(Action::Stall)
    }

    /// Sends the real answer and stops after `bytes` bytes of its body, with the connection left open; it ends as that of
    /// [`stall`](Self::stall). Does nothing to a body that is not longer than that.
    pub fn stall_after(bytes: u64) -> Self {
        Self::new(Action::CutAfter { bytes, then: Cut::Stall })
    }

    /// Closes the connection, where the fault does so, with a reset (RST) instead of an end (FIN). What is still on its way to
    /// the client may be lost.
    pub fn reset(mut self) -> Self {
        self.reset = true;
        self
    }
}
