//! One request, as far as it is known before anything is checked.

use http::request::Parts;
use http::{HeaderMap, Method};

use super::encode::{parse_query, percent_decode};
use super::operation::Operation;

/// A request without its body.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) id: u64,
    pub(super) method: Method,
    pub(super) bucket: Option<String>,
    pub(super) key: Option<String>,
    pub(super) query: Vec<(String, String)>,
    pub(super) operation: Operation,
    /// Empty when requests are not logged.
    pub(super) headers: HeaderMap,
    path_and_query: String,
}

impl Call {
    pub(super) fn new(id: u64, request: &Parts, keep_headers: bool) -> Self {
        let path = request.uri.path();
        let decoded = percent_decode(path);
        let path = decoded.as_deref().and_then(|path| path.strip_prefix('/')).unwrap_or_default();
        // Nothing is normalised: the key is every byte after the first slash.
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        let owned = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let (bucket, key) = (owned(bucket), owned(key));
        let query = request.uri.query().map(parse_query).unwrap_or_default();
        let operation = Operation::of(&request.method, bucket.as_deref(), key.as_deref(), &query, &request.headers);
        Self {
            id,
            method: request.method.clone(),
            bucket,
            key,
            query,
            operation,
            headers: if keep_headers { request.headers.clone() } else { HeaderMap::new() },
            path_and_query: request.uri.path_and_query().map(|path| path.as_str().to_owned()).unwrap_or_default(),
        }
    }

    pub(super) fn bucket(&self) -> &str {
        self.bucket.as_deref().unwrap_or_default()
    }

    pub(super) fn key(&self) -> &str {
        self.key.as_deref().unwrap_or_default()
    }

    /// The first value of a query parameter.
    pub(super) fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The path as sent.
    pub(super) fn path(&self) -> &str {
        self.path_and_query.split('?').next().unwrap_or_default()
    }

    /// The path and query as sent.
    pub(super) fn path_and_query(&self) -> &str {
        &self.path_and_query
    }

    pub(super) fn request_id(&self) -> String {
        format!("{:016X}", self.id)
    }
}
