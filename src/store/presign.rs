//! URLs that whoever has them may use for a while.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderValue, Method, header};

use super::headers::carries_a_key;
use super::{Failure, FailureKind, KeptHeaders, ObjectHeaders, ReadOptions, Store, WriteCondition, keys};
use crate::address::Location;

/// A signed URL, and what has to be sent with it.
#[derive(Debug)]
pub(crate) struct Presigned {
    pub(crate) method: Method,
    pub(crate) url: String,
    pub(crate) headers: HeaderMap,
    pub(crate) expires: SystemTime,
}

impl Store {
    /// GetObject, whose answer has these headers in place of the object's own.
    pub(crate) async fn presign_get(
        &self,
        location: &Location,
        options: ReadOptions<'_>,
        content_type: Option<&str>,
        answer: &KeptHeaders,
        expires: Duration,
    ) -> Result<Presigned, Failure> {
        let KeptHeaders { cache_control, content_disposition, content_encoding, content_language } = answer;
        // Sorted, as a canonical query is.
        let query: Vec<String> = [
            ("response-cache-control", cache_control.as_deref()),
            ("response-content-disposition", content_disposition.as_deref()),
            ("response-content-encoding", content_encoding.as_deref()),
            ("response-content-language", content_language.as_deref()),
            ("response-content-type", content_type),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some(format!("{name}={}", keys::encode_query(value?))))
        .collect();
        self.presign(location, Method::GET, &query.join("&"), options.to_headers()?, expires).await
    }

    /// PutObject.
    pub(crate) async fn presign_put(
        &self,
        location: &Location,
        object: &ObjectHeaders,
        length: Option<u64>,
        condition: Option<&WriteCondition>,
        expires: Duration,
    ) -> Result<Presigned, Failure> {
        let mut headers = object.of_object();
        headers.extend(length.map(|length| (header::CONTENT_LENGTH, HeaderValue::from(length))));
        if let Some(condition) = condition {
            condition.insert_into(&mut headers)?;
        }
        self.presign(location, Method::PUT, "", headers, expires).await
    }

    async fn presign(
        &self,
        location: &Location,
        method: Method,
        query: &str,
        headers: HeaderMap,
        expires: Duration,
    ) -> Result<Presigned, Failure> {
        if carries_a_key(&headers) {
            let problem = "a customer's encryption key would have to be given to whoever has the URL";
            return Err(Failure::new(FailureKind::Insecure, problem));
        }
        let store = self.bucket(location.bucket())?;
        let key_path = keys::encode_path(location.key());
        let signed = self.wire.presigned(&store.bucket, &method, &key_path, query, &headers, expires);
        let (url, from) = signed.await?;
        Ok(Presigned { method, url, headers, expires: SystemTime::from(from) + expires })
    }
}
