//! What there is to be waited for, and why a request is sent again.

/// What somebody waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    Place,
    Rate,
    /// For the turn of a body's bytes.
    Bytes,
    /// A prefix from which the service takes fewer requests.
    Prefix,
    Memory,
    Disk,
    /// Until a request is sent again.
    Retry,
}

impl Wait {
    pub(crate) const ALL: [Self; 7] =
        [Self::Place, Self::Rate, Self::Bytes, Self::Prefix, Self::Memory, Self::Disk, Self::Retry];

    /// As a metric has it.
    #[cfg(feature = "metrics")]
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Place => "requests_in_flight",
            Self::Rate => "requests_per_second",
            Self::Bytes => "bytes_per_second",
            Self::Prefix => "slowed_prefix",
            Self::Memory => "memory",
            Self::Disk => "disk",
            Self::Retry => "retries",
        }
    }
}

/// Why a request is sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    Transient,
    Throttled,
    Unreachable,
}

impl Cause {
    pub(crate) const ALL: [Self; 3] = [Self::Transient, Self::Throttled, Self::Unreachable];

    /// As a metric has it.
    #[cfg(feature = "metrics")]
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Throttled => "throttled",
            Self::Unreachable => "unreachable",
        }
    }
}

/// Which way a body goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Sent,
    Received,
}

impl Way {
    /// As a metric has it.
    #[cfg(feature = "metrics")]
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Received => "received",
        }
    }
}
