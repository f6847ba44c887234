//! A value in one request.

use bytes::Bytes;
use md5::{Digest as _, Md5};

use super::Engine;
use super::doubt::Attempts;
use super::source::Part;
use super::upload::{Outcome, Upload};
use crate::blocking::blocking;
use crate::error::Result;

pub(super) async fn single(engine: &Engine, upload: Upload<'_>, value: Part) -> Result<Outcome> {
    let Upload { location, headers, condition, .. } = upload;
    let mut attempts = Attempts::begin(engine, location, headers, condition);
    let checksum = value.checksum(headers.checksum()).await?;
    let body = value.bytes;
    let mut retry = engine.retries.start();
    loop {
        let put = engine.store.put(location, headers, condition, body.clone(), checksum.as_ref());
        let failure = match retry.attempt(put).await {
            Ok(stored) => return Ok(attempts.stored(stored)),
            Err(failure) => failure,
        };
        attempts.failed(&failure);
        if let Err(error) = retry.wait(failure).await {
            return attempts.conclude(error, etag(body)).await;
        }
    }
}

/// The ETag of an object of these bytes, where it is their digest.
async fn etag(body: Bytes) -> Option<String> {
    blocking(move || Ok(format!("\"{}\"", hex(&Md5::digest(&body))))).await.ok()
}

pub(super) fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
