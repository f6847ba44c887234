//! An object into another one, inside the server.

use std::sync::Arc;

use super::multipart::Assembly;
use super::parts::Plan;
use super::{Engine, Stopped};
use crate::address::Location;
use crate::error::{Error, ErrorKind, Result};
use crate::store::{CopySource, MultipartUpload, ObjectHeaders, ReadOptions, Store, Stored};

/// Of a copy by parts, one of them: nothing of it passes through here.
const COPY_PART: u64 = 64 * 1024 * 1024;
const PARTS_AT_ONCE: usize = 8;

/// Copies `source` with its properties, metadata and tags, but for what `headers` say.
///
/// One request, unless the server refuses it, as S3 does over 5 GiB: then by parts, pinned to one ETag.
pub(crate) async fn copy(
    engine: &Engine,
    source: CopySource<'_>,
    destination: &Location,
    headers: &ObjectHeaders,
) -> Result<Stored> {
    let refused = match engine.request(|store| store.copy(source, destination, headers)).await {
        Ok(stored) => return Ok(stored),
        Err(error) if may_be_too_large(&error) => error,
        Err(error) => return Err(error),
    };
    let options = ReadOptions { range: None, if_match: source.if_match, customer_key: source.customer_key };
    // Whatever was wrong, it was not its length; or nobody may know that.
    let head = match engine.request(|store| store.head(source.location, options)).await {
        Ok(head) if head.size > COPY_PART => head,
        Ok(_) | Err(_) => return Err(refused),
    };
    let plan = Plan::of(head.size, COPY_PART)
        .ok_or_else(|| Error::new(ErrorKind::InvalidObject, format!("{} bytes cannot be copied", head.size)))?;
    let etag = source.if_match.map(str::to_owned).or(head.etag);
    let source = CopySource { if_match: etag.as_deref(), ..source };
    let begun = engine.request(|store| store.create_multipart_copy(source, destination, headers)).await?;
    let mut assembly = Assembly::new(engine, begun);
    let handed_over = hand_over(&mut assembly, plan, source, head.size).await;
    match assembly.end(handed_over, None).await {
        Ok(stored) => Ok(stored),
        Err(Stopped::Local(error)) => Err(error),
        Err(Stopped::Remote(failure)) => Err(failure.into_error(1)),
    }
}

async fn hand_over(assembly: &mut Assembly, plan: Plan, source: CopySource<'_>, size: u64) -> Result<()> {
    let (location, customer_key) = (source.location.clone(), source.customer_key.cloned());
    let if_match = source.if_match.map(str::to_owned);
    let pinned = Arc::new((location, if_match, customer_key));
    let mut start = 0;
    for number in 1.. {
        let Some(length) = plan.length(number).filter(|_| start < size) else { break };
        let range = start..(start + length).min(size);
        start = range.end;
        let pinned = Arc::clone(&pinned);
        let send = move |store: Store, upload: Arc<MultipartUpload>| {
            let (pinned, range) = (Arc::clone(&pinned), range.clone());
            async move {
                let (location, if_match, customer_key) = &*pinned;
                let source =
                    CopySource { location, if_match: if_match.as_deref(), customer_key: customer_key.as_ref() };
                store.copy_part(&upload, number, source, range).await
            }
        };
        assembly.send(PARTS_AT_ONCE, send).await?;
    }
    Ok(())
}

fn may_be_too_large(error: &Error) -> bool {
    matches!(error.code(), Some("InvalidRequest" | "EntityTooLarge" | "InvalidArgument"))
}
