//! DeleteObject and DeleteObjects.
//!
//! Ours, because `object_store` deletes many by `Path`s, which cannot carry every key, and takes no notice of versions.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html>

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use md5::{Digest as _, Md5};

use super::failure::{Failure, FailureKind};
use super::xml::{self, Problem, Tag};
use super::{Store, VERSION_ID, text, value, wire};
use crate::address::Location;

/// How many keys one DeleteObjects takes.
pub(crate) const MAX_DELETE_KEYS: usize = 1000;

const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");
const DELETE_MARKER: HeaderName = HeaderName::from_static("x-amz-delete-marker");

/// What an answer says of a deleted object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Deleted {
    /// Of the delete marker, or of the version that was removed.
    pub(crate) version_id: Option<String>,
    pub(crate) delete_marker: bool,
}

impl Store {
    /// DeleteObject. A missing key is no failure.
    pub(crate) async fn delete(&self, location: &Location) -> Result<Deleted, Failure> {
        match self.send_for(location, Method::DELETE, String::new(), HeaderMap::new(), Bytes::new()).await {
            Ok((headers, _)) => Ok(Deleted {
                version_id: text(&headers, &VERSION_ID),
                delete_marker: text(&headers, &DELETE_MARKER).as_deref() == Some("true"),
            }),
            // S3 does not say so, other servers do.
            Err(failure) if failure.is_code("NoSuchKey") => Ok(Deleted::default()),
            Err(failure) => Err(failure),
        }
    }

    /// DeleteObjects: up to [`MAX_DELETE_KEYS`] keys of one bucket, each of them once, and all of them
    /// [exact in XML](is_exact_in_xml). An outcome for each, in their order.
    pub(crate) async fn delete_objects(
        &self,
        bucket: &str,
        keys: &[&str],
    ) -> Result<Vec<Result<Deleted, Failure>>, Failure> {
        let store = self.bucket(bucket)?;
        let document = document(keys);
        // S3 asks for a digest, and this one every server knows.
        let digest = BASE64_STANDARD.encode(Md5::digest(&document));
        let headers = HeaderMap::from_iter([
            (header::CONTENT_TYPE, HeaderValue::from_static("application/xml")),
            (CONTENT_MD5, value(&CONTENT_MD5, &digest)?),
        ]);
        let prefix = super::keys::encode_path(keys.first().copied().unwrap_or_default());
        let request = wire::Request {
            method: Method::POST,
            key_path: "".into(),
            query: "delete=".into(),
            headers,
            body: Bytes::from(document).into(),
            prefix: prefix.as_str().into(),
            flow: self.flow.clone(),
            admitted: false,
            given_out: false,
        };
        match self.wire.send(&store.bucket, request).await {
            Ok(response) => {
                let (parts, body) = response.into_parts();
                let (document, _) = wire::read(body, usize::MAX).await?;
                outcomes(&document, &parts.headers, keys)
            }
            Err(failure) => {
                if is_unknown(&failure) {
                    store.lacks_delete_objects.store(true, Ordering::Relaxed);
                }
                Err(failure)
            }
        }
    }

    /// Whether an answer has shown that the service does not know DeleteObjects.
    pub(crate) fn lacks_delete_objects(&self, bucket: &str) -> bool {
        self.bucket(bucket).is_ok_and(|store| store.lacks_delete_objects.load(Ordering::Relaxed))
    }
}

fn is_unknown(failure: &Failure) -> bool {
    failure.has_status(StatusCode::NOT_IMPLEMENTED) || failure.has_status(StatusCode::METHOD_NOT_ALLOWED)
}

/// Whether every server reads this key out of a document as it is, so that no other key can be deleted in its place.
///
/// XML 1.0 has no control characters but three, a parser makes a line feed of a carriage return, and some strip white space.
pub(crate) fn is_exact_in_xml(key: &str) -> bool {
    !key.starts_with(char::is_whitespace)
        && !key.ends_with(char::is_whitespace)
        && !key.contains(|c: char| c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}'))
}

fn document(keys: &[&str]) -> String {
    let mut document = String::with_capacity(128 + keys.iter().map(|key| key.len() + 32).sum::<usize>());
    document.push_str("<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
    for key in keys {
        document.push_str("<Object><Key>");
        document.push_str(&quick_xml::escape::escape(*key));
        document.push_str("</Key></Object>");
    }
    document.push_str("</Delete>");
    document
}

/// What the answer says of each of `keys`.
fn outcomes(document: &[u8], headers: &HeaderMap, keys: &[&str]) -> Result<Vec<Result<Deleted, Failure>>, Failure> {
    let malformed = |problem| Failure::new(FailureKind::Malformed, format!("the server answered with {problem}"));
    let mut told = read(document, headers).map_err(malformed)?;
    let outcome = |key: &&str| {
        told.remove(*key).unwrap_or_else(|| {
            let message = "the server did not say what became of this key";
            Err(Failure::new(FailureKind::Malformed, message))
        })
    };
    Ok(keys.iter().map(outcome).collect())
}

/// An entry of the answer while it is read.
#[derive(Default)]
struct Entry {
    key: String,
    deleted: Deleted,
    code: Option<String>,
    message: String,
}

impl Entry {
    fn into_failure(self, headers: &HeaderMap) -> Failure {
        let Self { key: _, deleted: _, code, message } = self;
        Failure { code, ..Failure::from_part(headers, message) }
    }
}

fn read(document: &[u8], headers: &HeaderMap) -> Result<HashMap<String, Result<Deleted, Failure>>, Problem> {
    let mut told = HashMap::new();
    let mut entry = Entry::default();
    xml::read(document, |depth, tag| {
        match (depth, tag) {
            (0, Tag::Open(root)) if root != b"DeleteResult" => return Err("a document that is not a DeleteResult"),
            (1, Tag::Open(_)) => entry = Entry::default(),
            (2, Tag::Close(b"Key", text)) => entry.key = text.into_owned(),
            (2, Tag::Close(b"Code", text)) => entry.code = Some(text.into_owned()),
            (2, Tag::Close(b"Message", text)) => entry.message = text.into_owned(),
            (2, Tag::Close(b"DeleteMarker", text)) => entry.deleted.delete_marker = text == "true",
            (2, Tag::Close(b"DeleteMarkerVersionId", text)) => entry.deleted.version_id = Some(text.into_owned()),
            (2, Tag::Close(b"VersionId", text)) => {
                entry.deleted.version_id.get_or_insert_with(|| text.into_owned());
            }
            (1, Tag::Close(b"Deleted", _)) => {
                let Entry { key, deleted, .. } = std::mem::take(&mut entry);
                told.insert(key, Ok(deleted));
            }
            (1, Tag::Close(b"Error", _)) => {
                let entry = std::mem::take(&mut entry);
                let key = entry.key.clone();
                let outcome = match entry.code.as_deref() {
                    Some("NoSuchKey") => Ok(Deleted::default()),
                    _ => Err(entry.into_failure(headers)),
                };
                told.insert(key, outcome);
            }
            _ => {}
        }
        Ok(())
    })?;
    Ok(told)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::error::ErrorKind;
    use crate::store::Retryability;

    fn parse(entries: &str, keys: &[&str]) -> Vec<Result<Deleted, Failure>> {
        let document =
            format!("<?xml version=\"1.0\"?><DeleteResult xmlns=\"http://s3.amazonaws.com/\">{entries}</DeleteResult>");
        let headers =
            HeaderMap::from_iter([(HeaderName::from_static("x-amz-request-id"), HeaderValue::from_static("R1"))]);
        outcomes(document.as_bytes(), &headers, keys).unwrap()
    }

    #[test]
    fn each_key_gets_what_is_said_of_it_in_any_order() {
        let told = parse(
            "<Error><Key>b&amp;</Key><Code>AccessDenied</Code><Message>no</Message></Error>\
             <Deleted><Key>a</Key><DeleteMarker>true</DeleteMarker>\
             <DeleteMarkerVersionId>v2</DeleteMarkerVersionId><VersionId>v1</VersionId></Deleted>\
             <Error><Key>gone</Key><Code>NoSuchKey</Code></Error>\
             <Error><Key>busy</Key><Code>SlowDown</Code></Error>\
             <Deleted><Key>c</Key><VersionId>v3</VersionId></Deleted>",
            &["a", "b&", "c", "gone", "busy", "untold"],
        );
        let deleted =
            |version: Option<&str>, delete_marker| Deleted { version_id: version.map(str::to_owned), delete_marker };
        assert_eq!(*told[0].as_ref().unwrap(), deleted(Some("v2"), true));
        assert_eq!(*told[2].as_ref().unwrap(), deleted(Some("v3"), false));
        assert_eq!(*told[3].as_ref().unwrap(), deleted(None, false));
        assert_eq!(told[4].as_ref().unwrap_err().retryability(), Retryability::Throttled);

        let denied = told[1].clone().unwrap_err().into_error(1);
        assert_eq!((denied.kind(), denied.code()), (ErrorKind::AccessDenied, Some("AccessDenied")));
        assert_eq!((denied.status(), denied.request_id()), (None, Some("R1")));
        assert_eq!(denied.to_string(), "no (AccessDenied; request id R1)");
        assert_eq!(told[5].as_ref().unwrap_err().kind, FailureKind::Malformed);
    }

    #[test]
    fn what_is_no_delete_result_is_malformed() {
        for document in ["", "<html></html>", "<DeleteResult><Deleted>", "<Error><Code>x</Code></Error>"] {
            let failure = outcomes(document.as_bytes(), &HeaderMap::new(), &["a"]).unwrap_err();
            assert_eq!(failure.kind, FailureKind::Malformed, "{document}");
        }
    }

    #[test]
    fn keys_that_some_parser_would_change_are_not_exact() {
        for key in ["a", "a b", "<&>\"'", "%20+", "é/🦀", "]]>", "&#10;", "a\u{fffd}"] {
            assert!(is_exact_in_xml(key), "{key:?}");
        }
        for key in
            [" a", "a ", "\u{a0}a", "a\rb", "a\nb", "a\tb", "\u{1}", "a\u{7f}", "a\u{85}b", "a\u{fffe}", "\u{ffff}"]
        {
            assert!(!is_exact_in_xml(key), "{key:?}");
        }
    }

    proptest! {
        #[test]
        fn a_parser_reads_the_keys_that_were_written(keys in proptest::collection::vec("\\PC{1,40}", 0..5)) {
            let written: Vec<&str> = keys.iter().map(String::as_str).filter(|key| is_exact_in_xml(key)).collect();
            let mut read = Vec::new();
            xml::read(document(&written).as_bytes(), |_, tag| {
                if let Tag::Close(b"Key", key) = tag {
                    read.push(key.into_owned());
                }
                Ok(())
            }).unwrap();
            prop_assert_eq!(read, written);
        }

        #[test]
        fn foreign_bytes_never_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = outcomes(&body, &HeaderMap::new(), &["a"]);
        }
    }
}
