use http::HeaderMap;
use http::header::{CONTENT_LENGTH, RANGE};

use super::action::{Action, Cut};
use super::rules::Tally;
use super::{Fault, HeaderEdit};
use crate::testing::answer::Answer;
use crate::testing::call::Call;

/// What faults do to one request.
#[derive(Debug, Default)]
pub(in crate::testing) struct Effects {
    decided: Option<(Action, Tally)>,
    edits: Vec<HeaderEdit>,
    /// Of the faults that only change headers.
    editors: Vec<Tally>,
    /// Rules before this number have counted the request.
    pub(super) known: u64,
}

/// What is to be done with a request.
#[derive(Debug)]
pub(in crate::testing) enum Course {
    Serve,
    Answer(Box<Answer>),
    Close,
    Stall,
}

impl Effects {
    pub(super) fn add(&mut self, fault: &Fault, tally: &Tally) {
        self.edits.extend_from_slice(&fault.edits);
        match fault.action {
            Action::Serve => self.editors.push(tally.clone()),
            _ if self.decided.is_none() => self.decided = Some((fault.action.clone(), tally.clone())),
            _ => {}
        }
    }

    fn action(&self) -> Option<&Action> {
        self.decided.as_ref().map(|(action, _)| action)
    }

    fn applied(&self) {
        if let Some((_, tally)) = &self.decided {
            tally.applied();
        }
    }

    pub(in crate::testing) fn course(&self, call: &Call) -> Course {
        let course = match self.action() {
            Some(Action::Answer(canned)) => Course::Answer(Box::new(canned.answer(call))),
            Some(Action::Close) => Course::Close,
            Some(Action::Stall) => Course::Stall,
            _ => return Course::Serve,
        };
        self.applied();
        course
    }

    pub(in crate::testing) fn loses_answer(&self) -> bool {
        let loses = matches!(self.action(), Some(Action::LoseAnswer));
        if loses {
            self.applied();
        }
        loses
    }

    /// Whether the range of a request with these headers is to be ignored.
    pub(in crate::testing) fn ignores_range(&self, headers: &HeaderMap) -> bool {
        let ignores = matches!(self.action(), Some(Action::IgnoreRange));
        if ignores && headers.contains_key(RANGE) {
            self.applied();
        }
        ignores
    }

    /// Where a body of this length is cut.
    pub(in crate::testing) fn cut(&self, length: u64) -> Option<(u64, Cut)> {
        match self.action() {
            Some(Action::CutAfter { bytes, then }) if *bytes < length => {
                self.applied();
                Some((*bytes, *then))
            }
            _ => None,
        }
    }

    /// Whether the length of the body is to be kept from the client.
    pub(in crate::testing) fn hides_length(&self) -> bool {
        self.edits.iter().any(|edit| matches!(edit, HeaderEdit::Remove(name) if *name == CONTENT_LENGTH))
    }

    /// Changes the headers of the answer, whoever made it.
    pub(in crate::testing) fn edit(&self, answer: &mut Answer) {
        self.editors.iter().for_each(Tally::applied);
        for edit in &self.edits {
            match edit {
                HeaderEdit::Set(name, value) => answer.headers.insert(name, value.clone()),
                HeaderEdit::Remove(name) => answer.headers.remove(name),
            };
        }
    }
}
