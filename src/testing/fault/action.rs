use super::canned::Canned;

/// What happens to a call.
#[derive(Debug, Clone)]
pub(super) enum Action {
    /// The answer is the server's, but for its headers.
    Serve,
    /// Nothing is carried out.
    Answer(Canned),
    Close,
    Stall,
    /// With these the request is carried out.
    LoseAnswer,
    IgnoreRange,
    CutAfter {
        bytes: u64,
        then: Cut,
    },
}

/// What happens where a body is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::testing) enum Cut {
    Close,
    Stall,
}
