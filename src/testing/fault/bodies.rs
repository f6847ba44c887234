//! Bodies that are not what they should be.

use std::time::Duration;

use bytes::Bytes;

use super::Fault;
use super::action::{Action, Replacement};
use super::damage::Damage;

impl Fault {
    /// Answers a ranged GET or HEAD, or one of a part, with `200 OK` and the whole object, as HTTP allows.
    pub fn ignore_range() -> Self {
        Self::new(Action::IgnoreRange)
    }

    /// Sends the real answer to a range, with a `Content-Range` whose positions are one too high. Does nothing to an
    /// answer without `Content-Range`.
    pub fn wrong_content_range() -> Self {
        Self::new(Action::Damage(Damage::ContentRange))
    }

    /// Sends the first `bytes` bytes of the body, as if that were all: `Content-Length` says so too. Does nothing to a body
    /// that is not longer than that. [`close_after`](Self::close_after) is the one that keeps the real `Content-Length`.
    pub fn short_body(bytes: u64) -> Self {
        Self::new(Action::Damage(Damage::Short { bytes }))
    }

    /// Sends this many more bytes, each a `+`, after the real body, as if they belonged to it: `Content-Length` counts them.
    /// Does nothing to answers without a body by their nature: of HEAD, 204 and 304.
    pub fn extra_bytes(bytes: u64) -> Self {
        Self::new(Action::Damage(Damage::Extra { bytes }))
    }

    /// Sends the real body with every bit of the byte at this offset inverted. Does nothing to a body without such a byte.
    pub fn corrupt_byte(offset: u64) -> Self {
        Self::new(Action::Damage(Damage::Invert { offset }))
    }

    /// Sends the real status and headers with a document that is not XML, though it says so. Does nothing to answers that
    /// are no XML document; objects are none, whatever they hold.
    pub fn garbage_xml() -> Self {
        Self::new(Action::Damage(Damage::Garbage))
    }

    /// Sends the first `bytes` bytes of the XML document as if that were all: `Content-Length` says so too. Does nothing to a
    /// document that is not longer than that, and to answers that are no XML document.
    pub fn cut_xml(bytes: u64) -> Self {
        Self::new(Action::Damage(Damage::CutDocument { bytes }))
    }

    /// Sends the page of a ListObjectsV2 with the second half of its `NextContinuationToken` missing: the server answers a
    /// request with such a token with `400 InvalidArgument`. Does nothing to the last page.
    pub fn truncated_token() -> Self {
        Self::new(Action::Damage(Damage::CutToken))
    }

    /// Sends the page of a listing, of objects, uploads or parts, that says it is not the last, without what says where to
    /// go on. Does nothing to the last page.
    pub fn missing_token() -> Self {
        Self::new(Action::Damage(Damage::NoToken))
    }

    /// Sends the real body at this pace: the first bytes at once, then ten times a second, or byte by byte when that is less
    /// often.
    ///
    /// # Panics
    ///
    /// When `bytes_per_second` is 0. [`stall_after`](Self::stall_after) is for that.
    pub fn trickle(bytes_per_second: u64) -> Self {
        assert!(bytes_per_second > 0, "a body that trickles moves");
        Self::new(Action::Trickle { bytes_per_second })
    }

    /// Sends the real answer after white space, as S3 does while it completes a large upload or copies a large object; see
    /// [`after_whitespace`](Self::after_whitespace).
    pub fn whitespace(duration: Duration) -> Self {
        Self::new(Action::Late).after_whitespace(duration)
    }

    /// Sends `200 OK` and the XML declaration at once, then white space for this long, and then the document, which may
    /// be [an error](Self::error_in_200). Nobody knows the length, so it comes in chunks.
    ///
    /// The white space is a space each second, or each tenth of the duration when that is shorter. Does nothing to answers
    /// with another status, and to those that are no XML document.
    pub fn after_whitespace(mut self, duration: Duration) -> Self {
        self.whitespace = Some(duration);
        if let Action::Serve = self.action {
            self.action = Action::Late;
        }
        self
    }

    /// Puts this object in place of the one that the request names, and then carries the request out. The new
    /// object has no metadata, as one of [`put_object`](crate::testing::S3Server::put_object). Does nothing to requests that
    /// name no object.
    ///
    /// At the second of several ranged GETs, the object changes under a download:
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
    /// use s3flow::testing::{Fault, Operation, S3Server};
    ///
    /// let server = S3Server::start().await?;
    /// server.put_object("bucket", "k", vec![b'a'; 1 << 20]);
    /// server.inject(Fault::replace_object(vec![b'b'; 1 << 20]).operation(Operation::GetObject).on_call(2));
    /// # Ok(()) }
    /// ```
    pub fn replace_object(body: impl Into<Bytes>) -> Self {
        Self::new(Action::ReplaceObject(Replacement(body.into())))
    }
}
