//! Answers that are not the server's, and headers that are not its own.

use std::time::Duration;

use http::StatusCode;
use http::header::{HeaderName, HeaderValue, RETRY_AFTER};

use super::action::Action;
use super::canned::Canned;
use super::{Fault, HeaderEdit};

impl Fault {
    /// Answers with this HTTP status and an S3 error document with this code, `503` and `SlowDown` for
    /// example. The request is not carried out. A HEAD is answered without a document, as by S3.
    ///
    /// # Panics
    ///
    /// When `status` is not a valid HTTP status.
    pub fn status(status: u16, code: impl Into<String>) -> Self {
        Self::answer(Canned::Status { status: status_code(status), code: code.into() })
    }

    /// Answers `200 OK` with an error document as its body, as S3 does when CompleteMultipartUpload or
    /// CopyObject fail late. The request is not carried out.
    pub fn error_in_200(code: impl Into<String>) -> Self {
        Self::answer(Canned::ErrorIn200 { code: code.into() })
    }

    /// Answers `403 RequestTimeTooSkewed`, with a `Date` this many seconds after the real one, or before it when negative: as a
    /// server would whose clock is off, or that of the client. The request is not carried out.
    ///
    /// [`S3Server::set_clock_offset`](crate::testing::S3Server::set_clock_offset) moves the clock of the server itself: it
    /// then carries out what is signed for the time that it believes in.
    pub fn clock_skew(seconds: i64) -> Self {
        Self::answer(Canned::ClockSkew { seconds })
    }

    /// Carries the request out and answers `412 PreconditionFailed`: what a conditional write sees whose first
    /// answer was lost, and that was repeated on its way. A request that fails by itself is answered as ever.
    pub fn precondition_failed_after_success() -> Self {
        Self::status(412, "PreconditionFailed").carried_out()
    }

    /// Carries the request out first, where this fault would not. One that answers in place of the server
    /// then hides a success; a request that fails by itself is answered as ever.
    ///
    /// `Fault::status(500, "InternalError").carried_out()` stores the object and denies it;
    /// `Fault::close_before_answer().carried_out()` is [`lose_answer`](Self::lose_answer). It does not matter to
    /// faults that carry the request out anyway, nor to [`refuse`](Self::refuse) and those that cut requests.
    pub fn carried_out(mut self) -> Self {
        self.carried_out = true;
        self
    }

    /// Answers with this HTTP status and an HTML page, as a proxy or load balancer in between would.
    ///
    /// # Panics
    ///
    /// When `status` is not a valid HTTP status.
    pub fn html(status: u16) -> Self {
        Self::answer(Canned::Html { status: status_code(status) })
    }

    /// Answers with a redirect: `PermanentRedirect` for 301, `TemporaryRedirect` for anything else.
    ///
    /// `location` is an endpoint like `http://127.0.0.1:4567`; the path and query of the request are appended to
    /// it in the `Location` header. `region` goes into `x-amz-bucket-region`. S3 may send either without the
    /// other.
    ///
    /// # Panics
    ///
    /// When `status` is not a valid HTTP status.
    pub fn redirect(status: u16, location: Option<&str>, region: Option<&str>) -> Self {
        Self::answer(Canned::Redirect {
            status: status_code(status),
            location: location.map(str::to_owned),
            region: region.map(str::to_owned),
        })
    }

    /// Sends the real answer without this header. Without `Content-Length`, the body is sent in
    /// chunks.
    ///
    /// # Panics
    ///
    /// When `name` is not a valid header name.
    pub fn without_header(name: &str) -> Self {
        Self::new(Action::Serve).edit(HeaderEdit::Remove(header_name(name)))
    }

    /// Sends the real answer with this header, replacing what was there. The value may hold any bytes that HTTP
    /// can carry, those above 127 included.
    ///
    /// # Panics
    ///
    /// When `name` is not a valid header name, or `value` holds control characters.
    pub fn with_header(name: &str, value: impl AsRef<[u8]>) -> Self {
        let value = HeaderValue::from_bytes(value.as_ref()).expect("a valid header value");
        Self::new(Action::Serve).edit(HeaderEdit::Set(header_name(name), value))
    }

    /// Adds `Retry-After` with this number of seconds to the answer.
    pub fn retry_after(self, seconds: u64) -> Self {
        self.edit(HeaderEdit::Set(RETRY_AFTER, seconds.into()))
    }

    /// Adds `Retry-After` with an HTTP date to the answer: the time of the answer and this many seconds.
    pub fn retry_after_date(self, seconds: u64) -> Self {
        self.edit(HeaderEdit::Date(RETRY_AFTER, Duration::from_secs(seconds)))
    }

    fn answer(canned: Canned) -> Self {
        Self::new(Action::Answer(canned))
    }

    fn edit(mut self, edit: HeaderEdit) -> Self {
        self.edits.push(edit);
        self
    }
}

fn status_code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).expect("a valid HTTP status")
}

fn header_name(name: &str) -> HeaderName {
    HeaderName::from_bytes(name.as_bytes()).expect("a valid header name")
}
