//! Why a journal cannot be used.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind};

/// Why a journal cannot be used: the [source](std::error::Error::source) of an [`ErrorKind::Journal`]. Nothing was deleted or
/// overwritten.
///
/// ```
/// # fn example(error: s3flow::Error) {
/// use std::error::Error as _;
///
/// let problem = error.source().and_then(|source| source.downcast_ref::<s3flow::JournalProblem>());
/// if problem.is_some_and(|problem| problem.is_in_use()) {
///     println!("another process is at it");
/// }
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalProblem {
    path: PathBuf,
    /// The line, counted from 1, and its field.
    place: Option<(usize, String)>,
    in_use: bool,
    problem: String,
}

impl JournalProblem {
    pub(super) fn new(path: &Path, problem: impl Into<String>) -> Self {
        Self { path: path.to_owned(), place: None, in_use: false, problem: problem.into() }
    }

    pub(super) fn in_use(path: &Path) -> Self {
        let problem = "it is in use: a transfer with this journal goes on, or one of its objects is held";
        Self { in_use: true, ..Self::new(path, problem) }
    }

    /// Lines count from 1.
    pub(super) fn at(self, line: usize, field: impl Into<String>) -> Self {
        Self { place: Some((line, field.into())), ..self }
    }

    pub(super) fn into_error(self) -> Error {
        Error::new(ErrorKind::Journal, self.to_string()).with_source(self)
    }

    /// The file, or the directory of the journal.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The line of the file, counted from 1.
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        self.place.as_ref().map(|(line, _)| *line)
    }

    /// The field of the line.
    #[must_use]
    pub fn field(&self) -> Option<&str> {
        self.place.as_ref().map(|(_, field)| field.as_str())
    }

    /// Whether another transfer uses the journal: in this process or in another one that lives.
    #[must_use]
    pub fn is_in_use(&self) -> bool {
        self.in_use
    }
}

impl fmt::Display for JournalProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, place, in_use: _, problem } = self;
        match place {
            Some((line, field)) => write!(f, "the journal {}, line {line}, field {field}: {problem}", path.display()),
            None => write!(f, "the journal {}: {problem}", path.display()),
        }
    }
}

impl std::error::Error for JournalProblem {}
