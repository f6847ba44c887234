//! An object to put.

use std::path::PathBuf;
use std::time::SystemTime;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{Map, Value};

use super::value::{PutValue, Source};
use crate::encryption::Encryption;
use crate::properties::{Properties, http_date};

/// An object to put: a key, a value, and what is stored with it.
///
/// Made from a pair `(key, value)`, by [`new`](Self::new) to say more, or by [`file`](Self::file).
///
/// ```
/// use s3flow::S3PutObject;
///
/// let object = S3PutObject::new("report.html", "<h1>42</h1>")
///     .content_type("text/html")
///     .metadata([("owner", "me")]);
/// ```
///
/// With serde it is written without its value, unless that is a file: a map with `key`, perhaps `path`, and the settings under
/// the names of the methods. One that is read without a `path` needs a [`value`](Self::value) before it can be put.
#[derive(Debug)]
#[must_use = "an S3PutObject says what to put; give it to put_many"]
pub struct S3PutObject {
    pub(crate) key: String,
    /// `None` only of one that was read by serde.
    pub(crate) value: Option<PutValue>,
    pub(crate) properties: Properties,
}

impl S3PutObject {
    /// `value` at `key`.
    pub fn new(key: impl Into<String>, value: impl Into<PutValue>) -> Self {
        Self { key: key.into(), value: Some(value.into()), properties: Properties::default() }
    }

    /// The contents of the file `path` at `key`; see [`PutValue::file`].
    pub fn file(key: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        Self::new(key, PutValue::file(path))
    }

    /// The bytes to store, in place of those that there were.
    pub fn value(mut self, value: impl Into<PutValue>) -> Self {
        self.value = Some(value.into());
        self
    }

    /// The MIME type. Without it, S3 reports `binary/octet-stream`.
    pub fn content_type(mut self, content_type: impl Into<String>) -> Self {
        self.properties.content_type = Some(content_type.into());
        self
    }

    /// `Cache-Control`: how long the object may be kept by who fetches it over HTTP.
    pub fn cache_control(mut self, directives: impl Into<String>) -> Self {
        self.properties.cache_control = Some(directives.into());
        self
    }

    /// `Content-Disposition`: for example the name under which a browser saves the object.
    pub fn content_disposition(mut self, disposition: impl Into<String>) -> Self {
        self.properties.content_disposition = Some(disposition.into());
        self
    }

    /// `Content-Encoding`: what was done to the bytes, such as `gzip`. Nothing is encoded or decoded here.
    pub fn content_encoding(mut self, encoding: impl Into<String>) -> Self {
        self.properties.content_encoding = Some(encoding.into());
        self
    }

    /// `Content-Language`.
    pub fn content_language(mut self, language: impl Into<String>) -> Self {
        self.properties.content_language = Some(language.into());
        self
    }

    /// `Expires`: when the object is stale for who fetches it over HTTP, to the second; at the latest at the end of the year
    /// 9999, the last that HTTP can write. S3 does not remove it then.
    pub fn expires(mut self, time: SystemTime) -> Self {
        self.properties.expires = Some(http_date(time));
        self
    }

    /// The storage class, as S3 names it: `STANDARD_IA`, `GLACIER_IR`, …
    /// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-class-intro.html>
    pub fn storage_class(mut self, class: impl Into<String>) -> Self {
        self.properties.storage_class = Some(class.into());
        self
    }

    /// Tags, at most 10: names of up to 128 characters, values of up to 256.
    /// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-tagging.html>
    pub fn tags<K: Into<String>, V: Into<String>>(mut self, tags: impl IntoIterator<Item = (K, V)>) -> Self {
        self.properties.tags = tags.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        self
    }

    /// User metadata: names, and anything that JSON can say. Stored as Metaflow stores it, so that Python reads it; at most
    /// 2 KB in all. For values of several types, or the metadata of another object:
    ///
    /// ```
    /// # use s3flow::{S3Object, S3PutObject};
    /// # fn example(object: S3Object) {
    /// use serde_json::json;
    ///
    /// let mixed = S3PutObject::new("k", "v").metadata([("epoch", json!(3)), ("owner", json!("me"))]);
    /// let copied = S3PutObject::new("k", "v").metadata(object.metadata().cloned().unwrap_or_default());
    /// # }
    /// ```
    pub fn metadata<K, V>(mut self, metadata: impl IntoIterator<Item = (K, V)>) -> Self
    where
        K: Into<String>,
        V: Into<Value>,
    {
        self.properties.metadata =
            Some(metadata.into_iter().map(|(name, value)| (name.into(), value.into())).collect());
        self
    }

    /// Server-side encryption of this object, in place of the scope's.
    pub fn encryption(mut self, encryption: Encryption) -> Self {
        self.properties.encryption = Some(encryption);
        self
    }
}

impl<K: Into<String>, V: Into<PutValue>> From<(K, V)> for S3PutObject {
    fn from((key, value): (K, V)) -> Self {
        Self::new(key, value)
    }
}

#[derive(Serialize)]
struct Write<'a> {
    key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a PathBuf>,
    #[serde(flatten)]
    properties: &'a Properties,
}

#[derive(Deserialize)]
struct Read {
    key: String,
    #[serde(default)]
    path: Option<PathBuf>,
    /// As a value of its own, which refuses what it does not know: serde does not, next to `flatten`.
    #[serde(flatten)]
    properties: Map<String, Value>,
}

impl Serialize for S3PutObject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { key, value, properties } = self;
        let path = match value {
            Some(PutValue(Source::File(path))) => Some(path),
            _ => None,
        };
        Write { key, path, properties }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for S3PutObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Read { key, path, properties } = Read::deserialize(deserializer)?;
        let properties = serde_json::from_value(Value::Object(properties)).map_err(de::Error::custom)?;
        Ok(Self { key, value: path.map(PutValue::file), properties })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::encryption::KmsKey;

    #[test]
    fn an_object_of_a_file_is_written_and_read_again() {
        let object = S3PutObject::file("k", "/data/x.csv")
            .content_type("text/csv")
            .cache_control("no-store")
            .expires(SystemTime::UNIX_EPOCH + Duration::from_secs(1))
            .tags([("a", "b")])
            .metadata([("n", 1)])
            .encryption(Encryption::AwsKms(KmsKey::new("id")));
        let written = serde_json::to_value(&object).unwrap();
        assert_eq!(
            written,
            json!({
                "key": "k", "path": "/data/x.csv", "content_type": "text/csv", "cache_control": "no-store",
                "expires": "Thu, 01 Jan 1970 00:00:01 GMT", "tags": [["a", "b"]], "metadata": {"n": 1},
                "encryption": {"algorithm": "aws:kms", "key_id": "id"},
            })
        );
        let read: S3PutObject = serde_json::from_value(written).unwrap();
        assert_eq!((&read.key, &read.properties), (&object.key, &object.properties));
        assert_eq!(format!("{:?}", read.value), "Some(PutValue(/data/x.csv))");
    }

    #[test]
    fn the_value_in_memory_is_not_written() {
        let written = serde_json::to_value(S3PutObject::new("k", "secret")).unwrap();
        assert_eq!(written, json!({"key": "k"}));
        assert!(serde_json::from_value::<S3PutObject>(written).unwrap().value.is_none());
        let misspelt = serde_json::from_value::<S3PutObject>(json!({"key": "k", "content-type": "text/html"}));
        assert!(misspelt.unwrap_err().to_string().contains("content-type"));
    }
}
