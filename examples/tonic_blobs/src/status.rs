//! What the caller hears of an error.

use std::error::Error as _;

use s3flow::{Error, ErrorKind};
use tonic::{Code, Status};

/// The code that says what to do, and its meaning as the message. What happened is for the log.
pub(crate) fn status(error: Error) -> Status {
    // What the caller's own stream has ended with comes back as it was.
    if let Some(own) = error.source().and_then(|source| source.downcast_ref::<Status>()) {
        return Status::new(own.code(), own.message());
    }
    let code = code(&error);
    tracing::info!(%error, ?code, "a call fails");
    Status::new(code, code.description())
}

fn code(error: &Error) -> Code {
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::NoSuchBucket => Code::NotFound,
        ErrorKind::AccessDenied => Code::PermissionDenied,
        ErrorKind::InvalidRange => Code::OutOfRange,
        ErrorKind::InvalidObject if error.is_too_long() => Code::ResourceExhausted,
        ErrorKind::InvalidUrl | ErrorKind::InvalidObject => Code::InvalidArgument,
        ErrorKind::Throttled | ErrorKind::InsufficientDiskSpace => Code::ResourceExhausted,
        ErrorKind::Timeout => Code::DeadlineExceeded,
        ErrorKind::Network | ErrorKind::Closed => Code::Unavailable,
        // It was replaced while it was read: the whole call may be made again.
        ErrorKind::Changed => Code::Aborted,
        ErrorKind::Integrity => Code::DataLoss,
        _ => Code::Internal,
    }
}
