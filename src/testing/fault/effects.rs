use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, RANGE};
use http::{HeaderMap, StatusCode};

use super::action::{Action, Cut, Replacement};
use super::cleared::Cleared;
use super::damage::is_document;
use super::rules::Tally;
use super::{Fault, HeaderEdit};
use crate::testing::answer::Answer;
use crate::testing::call::Call;
use crate::testing::time::http_date;

/// What faults do to one request.
#[derive(Debug, Default)]
pub(in crate::testing) struct Effects {
    decided: Option<Decided>,
    edits: Vec<HeaderEdit>,
    /// Of the faults that only change headers.
    editors: Vec<Tally>,
    /// Rules before this number have counted the request.
    pub(super) known: u64,
}

/// What the first fault that bites does.
#[derive(Debug)]
struct Decided {
    action: Action,
    carried_out: bool,
    reset: bool,
    whitespace: Option<Duration>,
    tally: Tally,
    cleared: Cleared,
}

/// What becomes of a request in place of being answered.
#[derive(Debug)]
pub(in crate::testing) enum Course {
    Serve,
    Answer(Box<Answer>),
    Close,
    Stall(Cleared),
}

/// How a body travels.
#[derive(Debug, Default)]
pub(in crate::testing) struct Delivery {
    pub(in crate::testing) cut: Option<(u64, Ending)>,
    pub(in crate::testing) pace: Option<Pace>,
    pub(in crate::testing) hides_length: bool,
}

/// What happens where a body is cut.
#[derive(Debug)]
pub(in crate::testing) enum Ending {
    Close,
    Stall(Cleared),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::testing) enum Pace {
    Trickle { bytes_per_second: u64 },
    Whitespace { duration: Duration },
}

impl Effects {
    pub(super) fn add(&mut self, fault: &Fault, tally: &Tally, cleared: &Cleared) {
        let Fault { action, edits, carried_out, reset, whitespace, target: _, schedule: _ } = fault;
        self.edits.extend_from_slice(edits);
        match action {
            Action::Serve => self.editors.push(tally.clone()),
            _ if self.decided.is_none() => {
                self.decided = Some(Decided {
                    action: action.clone(),
                    carried_out: *carried_out,
                    reset: *reset,
                    whitespace: *whitespace,
                    tally: tally.clone(),
                    cleared: cleared.clone(),
                });
            }
            _ => {}
        }
    }

    fn action(&self) -> Option<&Action> {
        self.decided.as_ref().map(|decided| &decided.action)
    }

    /// Whether connections that are closed are reset.
    pub(in crate::testing) fn resets(&self) -> bool {
        self.decided.as_ref().is_some_and(|decided| decided.reset)
    }

    /// How much of the body of the request is read before it is cut, if it is longer.
    pub(in crate::testing) fn request_cut(&self) -> Option<u64> {
        match self.action() {
            Some(Action::CutRequest { bytes, .. }) => Some(*bytes),
            _ => None,
        }
    }

    /// What becomes of a request whose body was cut.
    pub(in crate::testing) fn cut_request(&self) -> Course {
        let Some(decided) = &self.decided else { return Course::Serve };
        decided.tally.applied();
        match decided.action {
            Action::CutRequest { then: Cut::Stall, .. } => Course::Stall(decided.cleared.clone()),
            _ => Course::Close,
        }
    }

    /// The object to be put where this request's is.
    pub(in crate::testing) fn replacement(&self, call: &Call) -> Option<Bytes> {
        let decided = self.decided.as_ref().filter(|_| call.key.is_some())?;
        let Action::ReplaceObject(Replacement(body)) = &decided.action else { return None };
        decided.tally.applied();
        Some(body.clone())
    }

    /// Whether the range or part that a request asks for is to be ignored.
    pub(in crate::testing) fn ignores_range(&self, call: &Call, headers: &HeaderMap) -> bool {
        let Some(Decided { action: Action::IgnoreRange, tally, .. }) = &self.decided else { return false };
        if headers.contains_key(RANGE) || call.query("partNumber").is_some() {
            tally.applied();
        }
        true
    }

    /// What becomes of a request that is not carried out.
    pub(in crate::testing) fn instead(&self, call: &Call, now: SystemTime) -> Course {
        match &self.decided {
            Some(decided) if !decided.carried_out => decided.course(call, now),
            _ => Course::Serve,
        }
    }

    /// What becomes of a request that was carried out, and answered with this status. Only success is kept from
    /// the client by another answer.
    pub(in crate::testing) fn afterwards(&self, call: &Call, status: StatusCode, now: SystemTime) -> Course {
        match &self.decided {
            Some(decided @ Decided { action: Action::Close | Action::Stall, carried_out: true, .. }) => {
                decided.course(call, now)
            }
            Some(decided) if decided.carried_out && status.is_success() => decided.course(call, now),
            _ => Course::Serve,
        }
    }

    /// Changes the answer, whoever made it.
    pub(in crate::testing) fn change(&self, call: &Call, answer: &mut Answer, now: SystemTime) {
        if let Some(Decided { action: Action::Damage(damage), tally, .. }) = &self.decided
            && damage.apply(call, answer)
        {
            tally.applied();
        }
        self.editors.iter().for_each(Tally::applied);
        for edit in &self.edits {
            edit.apply(answer, now);
        }
    }

    /// How the body of the changed answer travels.
    pub(in crate::testing) fn deliver(&self, call: &Call, answer: &mut Answer) -> Delivery {
        let hides_length =
            self.edits.iter().any(|edit| matches!(edit, HeaderEdit::Remove(name) if *name == CONTENT_LENGTH));
        let Some(decided) = &self.decided else { return Delivery { hides_length, ..Delivery::default() } };
        let length = answer.body.len();
        let mut delivery = Delivery { hides_length, ..Delivery::default() };
        match decided.action {
            Action::CutAfter { bytes, then } if bytes < length => {
                delivery.cut = Some((bytes, decided.ending(then)));
                decided.tally.applied();
            }
            Action::Trickle { bytes_per_second } if length > 0 => {
                delivery.pace = Some(Pace::Trickle { bytes_per_second });
                decided.tally.applied();
            }
            _ => {}
        }
        if let Some(duration) = decided.whitespace
            && answer.status == StatusCode::OK
            && is_document(call, answer)
        {
            delivery.pace = Some(Pace::Whitespace { duration });
            delivery.hides_length = true;
            answer.headers.remove(CONTENT_LENGTH);
            if let Action::Late = decided.action {
                decided.tally.applied();
            }
        }
        delivery
    }
}

impl Decided {
    fn course(&self, call: &Call, now: SystemTime) -> Course {
        let course = match &self.action {
            Action::Answer(canned) => Course::Answer(Box::new(canned.answer(call, now))),
            Action::Close => Course::Close,
            Action::Stall => Course::Stall(self.cleared.clone()),
            _ => return Course::Serve,
        };
        self.tally.applied();
        course
    }

    fn ending(&self, cut: Cut) -> Ending {
        match cut {
            Cut::Close => Ending::Close,
            Cut::Stall => Ending::Stall(self.cleared.clone()),
        }
    }
}

impl HeaderEdit {
    fn apply(&self, answer: &mut Answer, now: SystemTime) {
        match self {
            Self::Set(name, value) => answer.headers.insert(name, value.clone()),
            Self::Remove(name) => answer.headers.remove(name),
            Self::Date(name, from_now) => answer.headers.insert(name, http_date(now + *from_now)),
        };
    }
}
