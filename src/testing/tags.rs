//! Tags of objects: their limits, and the operations on them alone.

use http::{HeaderMap, StatusCode};
use s3s::dto::Tagging;
use s3s::xml::{Deserialize as _, Deserializer};

use super::answer::{Answer, Failure};
use super::encode::parse_query;
use super::receive::Incoming;
use super::service::{Request, Service};
use super::xml::Xml;

const MAX_TAGS: usize = 10;
const MAX_KEY: usize = 128;
const MAX_VALUE: usize = 256;

/// The tags of an object, in the order given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Tags(Vec<(String, String)>);

impl Tags {
    /// Those of the header `x-amz-tagging`.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Failure> {
        let Some(header) = headers.get("x-amz-tagging") else { return Ok(Self::default()) };
        let malformed = || {
            Failure::invalid_argument(
                "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates.",
            )
        };
        let tags = parse_query(header.to_str().map_err(|_| malformed())?);
        if has_duplicates(&tags) {
            return Err(malformed());
        }
        Self::checked(tags)
    }

    fn checked(tags: Vec<(String, String)>) -> Result<Self, Failure> {
        if tags.len() > MAX_TAGS {
            return Err(Failure::bad_request("BadRequest", "Object tags cannot be greater than 10"));
        }
        if has_duplicates(&tags) {
            return Err(Failure::bad_request("InvalidTag", "Cannot provide multiple Tags with the same key"));
        }
        for (key, value) in &tags {
            if key.is_empty() || !is_legal(key, MAX_KEY) {
                return Err(Failure::bad_request("InvalidTag", "The TagKey you have provided is invalid")
                    .with("TagKey", key.as_str()));
            }
            if key.starts_with("aws:") {
                return Err(Failure::bad_request("InvalidTag", "System tags cannot be added/updated by requester")
                    .with("TagKey", key.as_str()));
            }
            if !is_legal(value, MAX_VALUE) {
                return Err(Failure::bad_request("InvalidTag", "The TagValue you have provided is invalid")
                    .with("TagKey", key.as_str())
                    .with("TagValue", value.as_str()));
            }
        }
        Ok(Self(tags))
    }

    pub(super) fn as_slice(&self) -> &[(String, String)] {
        &self.0
    }
}

fn has_duplicates(tags: &[(String, String)]) -> bool {
    tags.iter().enumerate().any(|(index, (key, _))| tags[..index].iter().any(|(earlier, _)| earlier == key))
}

fn is_legal(text: &str, longest: usize) -> bool {
    text.chars().count() <= longest
        && text.chars().all(|c| c.is_alphanumeric() || c.is_whitespace() || "+-=._:/@".contains(c))
}

impl Service {
    pub(super) fn get_object_tagging(&self, request: &Request) -> Result<Answer, Failure> {
        let key = request.call.key();
        let object = self.bucket(request)?.get(key).ok_or_else(|| Failure::no_such_key(key))?;
        let mut xml = Xml::new("Tagging");
        xml.open("TagSet");
        for (key, value) in object.attributes.tags.as_slice() {
            xml.open("Tag");
            xml.element("Key", key);
            xml.element("Value", value);
            xml.close("Tag");
        }
        xml.close("TagSet");
        Ok(Answer::xml(StatusCode::OK, xml))
    }

    pub(super) async fn put_object_tagging(&self, request: &Request, body: Incoming) -> Result<Answer, Failure> {
        let document = body.document_with_digest(&request.headers).await?;
        let malformed = |_| Failure::malformed_xml();
        let tagging = Tagging::deserialize(&mut Deserializer::new(&document)).map_err(malformed)?;
        let tags = tagging.tag_set.into_iter().map(|tag| Some((tag.key?, tag.value?)));
        let tags = tags.collect::<Option<Vec<_>>>().ok_or_else(Failure::malformed_xml)?;
        self.bucket(request)?.tag(request.call.key(), Tags::checked(tags)?)?;
        Ok(Answer::new(StatusCode::OK))
    }

    pub(super) fn delete_object_tagging(&self, request: &Request) -> Result<Answer, Failure> {
        self.bucket(request)?.tag(request.call.key(), Tags::default())?;
        Ok(Answer::new(StatusCode::NO_CONTENT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(header: &str) -> Result<Tags, String> {
        let headers = [(http::HeaderName::from_static("x-amz-tagging"), header.parse().unwrap())].into_iter().collect();
        Tags::of(&headers).map_err(|failure| failure.code.into_owned())
    }

    #[test]
    fn the_header_is_a_query_of_tags() {
        let tags = code("project=a%20b+c&empty=&bare&caf%C3%A9=%2B-%3D._:/@").unwrap();
        let expected = [("project", "a b c"), ("empty", ""), ("bare", ""), ("café", "+-=._:/@")];
        assert_eq!(tags.as_slice(), expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
        assert_eq!(code(""), Ok(Tags::default()));
    }

    #[test]
    fn tags_at_the_limits_of_s3_pass_and_beyond_them_they_do_not() {
        let numbered = |count: usize| (0..count).map(|n| format!("k{n}=v")).collect::<Vec<_>>().join("&");
        assert_eq!(code(&numbered(10)).unwrap().as_slice().len(), 10);
        assert_eq!(code(&numbered(11)).unwrap_err(), "BadRequest");
        // Characters count, not bytes.
        let (key, value) = ("%C3%A9".repeat(128), "%C3%A9".repeat(256));
        assert!(code(&format!("{key}={value}")).is_ok());
        for header in [
            format!("{key}x=v"),
            format!("k={value}x"),
            "=v".to_owned(),
            "aws:k=v".to_owned(),
            "k%21=v".to_owned(),
            "k=%22".to_owned(),
            "k=%FF".to_owned(),
        ] {
            assert_eq!(code(&header).unwrap_err(), "InvalidTag", "{header}");
        }
        assert_eq!(code("k=1&k=2").unwrap_err(), "InvalidArgument");
    }
}
