//! An object to copy, as plain data.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use super::S3GetObject;
use super::written::Target;

/// An object to copy inside the server, and where to: an input of [`copy_many`](crate::S3::copy_many) and
/// [`copy_from`](crate::S3::copy_from). A pair of a source and a destination becomes one.
///
/// With serde it is one map: the source's `key` or `url`, its `if_match` if that is set, and the `destination`. So a line of a
/// [manifest](crate::S3::read_manifest) is
///
/// ```
/// use s3flow::S3CopyObject;
///
/// let line = r#"{"url":"s3://bucket/a","if_match":"\"0cc175b9c0f1b6a831c399e269772661\"","destination":"s3://archive/a"}"#;
/// let copy: S3CopyObject = serde_json::from_str(line)?;
/// assert_eq!(copy.destination(), "s3://archive/a");
/// assert_eq!(serde_json::to_string(&copy)?, line);
/// # Ok::<(), serde_json::Error>(())
/// ```
///
/// A source with a range, or with a customer's key, cannot be serialised.
#[derive(Debug, Clone, PartialEq)]
#[must_use = "an S3CopyObject says what to copy; give it to copy_many or copy_from"]
pub struct S3CopyObject {
    pub(crate) source: S3GetObject,
    pub(crate) destination: String,
}

impl S3CopyObject {
    /// A copy of `source` at the key `destination`, which is relative to the root of the scope that copies, if it has one.
    pub fn new(source: impl Into<S3GetObject>, destination: impl Into<String>) -> Self {
        Self { source: source.into(), destination: destination.into() }
    }

    /// What is copied.
    pub fn source(&self) -> &S3GetObject {
        &self.source
    }

    /// The key of the copy, as it was given.
    #[must_use]
    pub fn destination(&self) -> &str {
        &self.destination
    }
}

impl<S: Into<S3GetObject>, D: Into<String>> From<(S, D)> for S3CopyObject {
    fn from((source, destination): (S, D)) -> Self {
        Self::new(source, destination)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    if_match: Option<String>,
    destination: String,
}

impl Serialize for S3CopyObject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { source, destination } = self;
        if source.is_ranged() {
            return Err(ser::Error::custom("a copy is of a whole object"));
        }
        let Target { key, url } = source.written_target()?;
        Written { key, url, if_match: source.if_match.clone(), destination: destination.clone() }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for S3CopyObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Written { key, url, if_match, destination } = Written::deserialize(deserializer)?;
        if destination.is_empty() {
            return Err(de::Error::custom("the destination is empty"));
        }
        let source = Target { key, url }.into_request()?;
        Ok(Self { source: S3GetObject { if_match, ..source }, destination })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<S3CopyObject, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn a_copy_is_read_as_it_was_written() {
        for json in
            [r#"{"key":"a","destination":"b"}"#, r#"{"url":"s3://b/a b","if_match":"\"e\"","destination":"s3://c/d"}"#]
        {
            assert_eq!(serde_json::to_string(&read(json).unwrap()).unwrap(), json);
        }
    }

    #[test]
    fn what_is_not_a_copy_is_refused() {
        for (json, problem) in [
            (r#"{"key":"a"}"#, "missing field `destination`"),
            (r#"{"destination":"b"}"#, "missing field `key`"),
            (r#"{"key":"a","destination":""}"#, "the destination is empty"),
            (r#"{"key":"a","destination":"b","length":1}"#, "unknown field `length`"),
            (r#"{"key":"a","url":"s3://b/a","destination":"b"}"#, "both a key and a url"),
            (r#"{"url":"a","destination":"b"}"#, "not an s3:// URL"),
        ] {
            let error = read(json).unwrap_err().to_string();
            assert!(error.contains(problem), "{json}: {error}");
        }
        let ranged = S3CopyObject::new(S3GetObject::new("a").offset(1), "b");
        assert!(serde_json::to_string(&ranged).unwrap_err().to_string().contains("whole object"));
    }
}
