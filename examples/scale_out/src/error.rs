//! What a job fails with.

use std::error::Error as StdError;
use std::fmt;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Its message is this crate's; what it came from is its source.
#[derive(Debug)]
pub enum Error {
    /// Of S3.
    Store(s3flow::Error),
    /// Of NATS.
    Queue { doing: String, source: Box<dyn StdError + Send + Sync> },
    /// What was given is wrong, or what was found is not as it has to be.
    Refused(String),
}

impl Error {
    pub(crate) fn queue(doing: impl Into<String>, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Queue { doing: doing.into(), source: source.into() }
    }

    pub(crate) fn refused(message: impl Into<String>) -> Self {
        Self::Refused(message.into())
    }

    /// With its causes, on one line.
    pub fn chain(&self) -> String {
        let causes = std::iter::successors(self.source(), |error: &&(dyn StdError + 'static)| (*error).source());
        causes.fold(self.to_string(), |told, cause| format!("{told}: {cause}"))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error) => error.fmt(f),
            Self::Queue { doing, .. } => write!(f, "NATS: {doing}"),
            Self::Refused(message) => f.write_str(message),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Store(error) => error.source(),
            Self::Queue { source, .. } => Some(&**source),
            Self::Refused(_) => None,
        }
    }
}

impl From<s3flow::Error> for Error {
    fn from(error: s3flow::Error) -> Self {
        Self::Store(error)
    }
}
