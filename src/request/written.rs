//! An [`S3GetObject`] as text, and back.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use super::{S3GetObject, Target as Asked};
use crate::address::Root;

/// Which object is meant: one of the two.
pub(super) struct Target {
    /// Relative to the root of the scope that reads it.
    pub(super) key: Option<String>,
    pub(super) url: Option<String>,
}

impl Target {
    pub(super) fn into_request<E: de::Error>(self) -> Result<S3GetObject, E> {
        match (self.key, self.url) {
            (Some(key), None) => Ok(S3GetObject::new(key)),
            (None, Some(url)) => {
                Ok(S3GetObject::exact(Root::Urls.object(&url).map_err(|invalid| E::custom(invalid.0))?))
            }
            (Some(_), Some(_)) => Err(E::custom("both a key and a url")),
            (None, None) => Err(E::missing_field("key")),
        }
    }
}

impl S3GetObject {
    pub(super) fn written_target<E: ser::Error>(&self) -> Result<Target, E> {
        if self.customer_key.is_some() {
            return Err(E::custom("a customer's encryption key is secret, and is not serialised"));
        }
        Ok(match &self.target {
            Asked::Key(key) => Target { key: Some(key.clone()), url: None },
            Asked::Exact(address) => Target { key: None, url: Some(address.location.url()) },
        })
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
    offset: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    length: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    if_match: Option<String>,
}

impl Serialize for S3GetObject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Target { key, url } = self.written_target()?;
        let Self { offset, length, if_match, .. } = self;
        Written { key, url, offset: *offset, length: *length, if_match: if_match.clone() }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for S3GetObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Written { key, url, offset, length, if_match } = Written::deserialize(deserializer)?;
        let object = Target { key, url }.into_request()?;
        Ok(Self { offset, length, if_match, ..object })
    }
}

#[cfg(test)]
mod tests {
    use proptest::option;
    use proptest::prelude::*;

    use super::*;
    use crate::address::Location;

    fn written(object: &S3GetObject) -> String {
        serde_json::to_string(object).unwrap()
    }

    fn read(json: &str) -> Result<S3GetObject, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn what_is_set_is_written_and_nothing_else() {
        assert_eq!(written(&S3GetObject::new("k")), r#"{"key":"k"}"#);
        let all = S3GetObject::new("k").offset(1).length(-2).if_match("\"e\"");
        assert_eq!(written(&all), r#"{"key":"k","offset":1,"length":-2,"if_match":"\"e\""}"#);
        let exact = S3GetObject::exact(Root::parse("s3://b/p").unwrap().object("a b").unwrap());
        assert_eq!(written(&exact), r#"{"url":"s3://b/p/a b"}"#);
    }

    #[test]
    fn what_is_not_such_a_request_is_refused() {
        for (json, problem) in [
            (r#"{"key":"k","size":1}"#, "unknown field `size`"),
            (r#"{"offset":1}"#, "missing field `key`"),
            (r#"{"key":"k","url":"s3://b/k"}"#, "both a key and a url"),
            (r#"{"url":"k"}"#, "not an s3:// URL"),
            (r#"{"url":"s3://b"}"#, "a key is needed"),
            (r#"{"key":"k","offset":-1}"#, "u64"),
            (r#"{"key":"k","length":"all"}"#, "i64"),
        ] {
            let error = read(json).unwrap_err().to_string();
            assert!(error.contains(problem), "{json}: {error}");
        }
    }

    #[test]
    fn a_customers_key_is_not_written_down() {
        let object = S3GetObject::new("k").customer_key(crate::CustomerKey::new([7; 32]));
        assert!(serde_json::to_string(&object).unwrap_err().to_string().contains("secret"));
    }

    proptest! {
        #[test]
        fn a_request_is_read_as_it_was_written(
            key in ".*",
            offset in option::of(any::<u64>()),
            length in option::of(any::<i64>()),
            if_match in option::of(".*"),
        ) {
            let object = S3GetObject { offset, length, if_match, ..S3GetObject::new(key) };
            prop_assert_eq!(read(&written(&object)).unwrap(), object);
        }

        #[test]
        fn an_exact_request_means_the_same_object_whatever_the_root(key in ".{1,200}", root in "[a-z]{1,5}") {
            let other_root = Root::parse(&format!("s3://other/{root}")).unwrap();
            let location = Location::listed(&"bucket".into(), &key);
            let directory = Root::parse("s3://bucket").unwrap().directory("").unwrap();
            let object = S3GetObject::exact(directory.address(&key));
            let read = read(&written(&object)).unwrap();
            prop_assert_eq!(&read.address(&other_root).unwrap().location, &location);
            prop_assert_eq!(&read.address(&Root::Urls).unwrap().location, &location);
        }
    }
}
