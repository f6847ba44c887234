//! What goes wrong, at which calls, and how it is brought about.

mod action;
mod answers;
mod bodies;
mod canned;
mod chance;
mod choice;
mod cleared;
mod connections;
mod damage;
mod effects;
mod pattern;
mod plan;
mod rules;
mod schedule;
mod target;

use std::time::Duration;

use http::HeaderName;
use http::header::HeaderValue;

pub use self::plan::FaultPlan;
pub use self::rules::InjectedFault;

pub(super) use self::effects::{Course, Delivery, Effects, Ending, Pace};
pub(super) use self::rules::Faults;

use self::action::Action;
use self::schedule::Schedule;
use self::target::Target;

/// Something that goes wrong at chosen calls.
///
/// A fault says what happens, and its setters say to which calls: those of an
/// [operation](Fault::operation) and of a [key](Fault::key), from the [n-th such call](Fault::on_call)
/// on, a [number of times](Fault::times). Without any setter it happens once, to the next request of
/// any kind. Nothing is left to chance: what happens at a [rate](Fault::rate) is drawn from a seed, and the same calls in
/// the same order meet the same faults again. A [`FaultPlan`] draws from several.
///
/// | what goes wrong | |
/// |---|---|
/// | a connection | [`refuse`](Fault::refuse) |
/// | a request on its way | [`close_after_request`](Fault::close_after_request), [`stall_after_request`](Fault::stall_after_request) |
/// | the answer is missing | [`close_before_answer`](Fault::close_before_answer), [`lose_answer`](Fault::lose_answer), [`stall`](Fault::stall) |
/// | another answer | [`status`](Fault::status), [`clock_skew`](Fault::clock_skew), [`error_in_200`](Fault::error_in_200), [`html`](Fault::html), [`redirect`](Fault::redirect), [`precondition_failed_after_success`](Fault::precondition_failed_after_success) |
/// | headers | [`with_header`](Fault::with_header), [`without_header`](Fault::without_header), [`retry_after`](Fault::retry_after), [`wrong_content_range`](Fault::wrong_content_range) |
/// | the answer comes late, slowly or in part | [`whitespace`](Fault::whitespace), [`trickle`](Fault::trickle), [`stall_after`](Fault::stall_after), [`close_after`](Fault::close_after) |
/// | a body looks whole and is not | [`short_body`](Fault::short_body), [`extra_bytes`](Fault::extra_bytes), [`corrupt_byte`](Fault::corrupt_byte), [`garbage_xml`](Fault::garbage_xml), [`cut_xml`](Fault::cut_xml), [`truncated_token`](Fault::truncated_token), [`missing_token`](Fault::missing_token) |
/// | another object | [`ignore_range`](Fault::ignore_range), [`replace_object`](Fault::replace_object) |
///
/// [`carried_out`](Fault::carried_out), [`after_whitespace`](Fault::after_whitespace) and [`reset`](Fault::reset) say how.
///
/// Every injected fault counts every call that it matches, from the moment it is injected. When several
/// bite at the same call, the one injected first decides what happens to it, and the header changes of all of them
/// apply.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
/// use s3flow::testing::{Fault, Operation, S3Server};
///
/// let server = S3Server::start().await?;
/// // The second and third GET of `a` are told to slow down.
/// let slow_down = server.inject(
///     Fault::status(503, "SlowDown")
///         .retry_after(1)
///         .operation(Operation::GetObject)
///         .key("a")
///         .on_call(2)
///         .times(2),
/// );
/// // Every object arrives without its ETag.
/// server.inject(Fault::without_header("ETag").operation(Operation::GetObject).times(usize::MAX));
/// // A tenth of all writes below `logs/` take place without an answer.
/// let writes = [Operation::PutObject, Operation::CompleteMultipartUpload];
/// server.inject(Fault::lose_answer().operations(writes).key_prefix("logs/").rate(0.1, 42));
///
/// // … the code under test …
///
/// // A test that proves something made sure that the fault happened.
/// assert_eq!(slow_down.applied(), 0);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
#[must_use = "a fault does nothing until it is given to `S3Server::inject`"]
pub struct Fault {
    action: Action,
    edits: Vec<HeaderEdit>,
    carried_out: bool,
    reset: bool,
    whitespace: Option<Duration>,
    target: Target,
    schedule: Schedule,
}

/// A change of one header of the answer.
#[derive(Debug, Clone)]
enum HeaderEdit {
    Set(HeaderName, HeaderValue),
    Remove(HeaderName),
    /// The HTTP date so long after the answer.
    Date(HeaderName, Duration),
}

impl Fault {
    fn new(action: Action) -> Self {
        Self {
            action,
            edits: Vec::new(),
            carried_out: false,
            reset: false,
            whitespace: None,
            target: Target::default(),
            schedule: Schedule::default(),
        }
    }
}
