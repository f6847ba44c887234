//! One of the parts that an object was uploaded in.

use std::sync::atomic::Ordering;

use http::StatusCode;

use super::{Failure, Incoming, ReadOptions, Store, checksum};
use crate::address::Location;

impl Store {
    /// GetObject of one of the parts that the object was uploaded in, with its range in the head; `None` when the service knows
    /// no such part, or nothing of parts.
    pub(crate) async fn get_part(
        &self,
        location: &Location,
        options: ReadOptions<'_>,
        number: u32,
    ) -> Result<Option<Incoming>, Failure> {
        let store = self.bucket(location.bucket())?;
        if store.lacks_part_reads.load(Ordering::Relaxed) {
            return Ok(None);
        }
        match self.get(location, ReadOptions { range: None, part: Some(number), ..options }).await {
            Ok(incoming) if incoming.head.range.is_some() => Ok(Some(incoming)),
            Err(failure) if failure.has_status(StatusCode::RANGE_NOT_SATISFIABLE) => Ok(None),
            Err(failure) if !checksum::may_be_unknown(&failure) => Err(failure),
            // The whole object in place of a part, or a refusal.
            _ => {
                store.lacks_part_reads.store(true, Ordering::Relaxed);
                Ok(None)
            }
        }
    }
}
