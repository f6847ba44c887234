//! What the bytes of a download are compared with.

use std::ops::Range;

use crate::checksum::{Checksum, Composite, Method, StoredChecksum, Verification, Verified};
use crate::error::{Error, ErrorKind, Result};
use crate::store::{ObjectHead, ReadOptions};

/// A part is asked for by a request of its own where the parts have on average as many bytes.
const WORTH_A_REQUEST: u64 = 1024 * 1024;

/// What the first answer says of the bytes.
#[derive(Debug)]
pub(super) enum Check {
    /// Nothing that they can be compared with.
    Nothing,
    Bytes(Checksum),
    /// Of one part, it is told from the bytes alone.
    Composite(Composite),
}

impl Check {
    /// For the bytes of `window`.
    pub(super) fn of(
        verification: Verification,
        options: ReadOptions<'_>,
        head: &ObjectHead,
        window: &Range<u64>,
    ) -> Self {
        if verification == Verification::Off || *window != (0..head.size) {
            return Self::Nothing;
        }
        match &head.checksum {
            Some(StoredChecksum::Bytes(checksum)) => Self::Bytes(checksum.clone()),
            Some(StoredChecksum::Composite(composite)) => Self::Composite(composite.clone()),
            None => {
                // With a key of KMS or of a customer, the ETag is another digest.
                let is_digest =
                    options.customer_key.is_none() && head.encryption.as_deref().is_none_or(|name| name == "AES256");
                let asked_for = is_digest && verification == Verification::ChecksumsAndEtags;
                let etag = head.etag.as_deref().filter(|_| asked_for);
                etag.and_then(Checksum::of_etag).map_or(Self::Nothing, Self::Bytes)
            }
        }
    }

    /// How the checksum of all bytes is computed that is compared in the end.
    pub(super) fn method(&self) -> Option<Method> {
        match self {
            Self::Bytes(checksum) => Some(checksum.by()),
            Self::Composite(composite) if composite.parts() == 1 => Some(Method::Algorithm(composite.algorithm())),
            Self::Nothing | Self::Composite(_) => None,
        }
    }

    /// What can be compared only when it is known where the parts of an object of `size` bytes begin and end.
    pub(super) fn of_parts(&self, size: u64) -> Option<&Composite> {
        match self {
            Self::Composite(composite) if composite.parts() > 1 => {
                Some(composite).filter(|composite| u64::from(composite.parts() - 1) * WORTH_A_REQUEST < size)
            }
            _ => None,
        }
    }

    /// Compares with what [`method`](Self::method) gave of all bytes that came.
    pub(super) fn compare(&self, received: Option<Checksum>) -> Result<Option<Verified>> {
        let Some(received) = received else { return Ok(None) };
        match self {
            Self::Nothing => Ok(None),
            Self::Bytes(wanted) if received == *wanted => Ok(Some(wanted.verified())),
            Self::Bytes(wanted) => {
                Err(damaged(format!("the bytes that came have the checksum {received}, and the object has {wanted}")))
            }
            Self::Composite(wanted) => compare_parts(wanted, &[&received]).map(Some),
        }
    }
}

/// Compares with the checksums of all parts that came, in their order.
pub(super) fn compare_parts(wanted: &Composite, received: &[&Checksum]) -> Result<Verified> {
    let of_all = Composite::of(wanted.algorithm(), received.iter().copied());
    if of_all == *wanted {
        return Ok(Verified::Composite(wanted.algorithm()));
    }
    Err(damaged(format!("the parts that came have the checksum {of_all}, and the object has {wanted}")))
}

pub(super) fn damaged(problem: String) -> Error {
    Error::new(ErrorKind::Integrity, problem).with_retryable(true)
}
