//! ListObjectsV2, a page at a time.
//!
//! Ours, because `object_store` fails a whole page for one key that its `Path` cannot carry, drops directory markers and
//! does not ask for `encoding-type=url`, without which XML cannot carry every key.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html>

use std::time::SystemTime;

use super::failure::{Failure, FailureKind};
use super::xml::{self, Problem, Tag};
use super::{dates, keys};

/// Which keys a listing shows.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct ListQuery<'a> {
    /// With this they begin.
    pub(crate) prefix: &'a str,
    /// Whether those with a `/` after the prefix are shown as one common prefix for each name before it.
    pub(crate) next_level: bool,
    /// Only those after this one, in byte order; a continuation token says it too.
    pub(crate) start_after: Option<&'a str>,
    /// A page has at most so many; `None`: as many as the service sends.
    pub(crate) max_keys: Option<u32>,
}

/// One page of a listing.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct ListPage {
    /// In the order of the answer, which is byte order but on directory buckets.
    pub(crate) objects: Vec<ListedObject>,
    /// In the order of the answer; they end with `/`.
    pub(crate) prefixes: Vec<String>,
    /// Asks for the page after this one; `None` at the end.
    pub(crate) next: Option<String>,
}

#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct ListedObject {
    pub(crate) key: String,
    pub(crate) size: u64,
    pub(crate) etag: Option<String>,
    pub(crate) last_modified: Option<SystemTime>,
}

/// The query of a page: encoded, its parameters sorted as the signature wants them.
pub(super) fn query(list: &ListQuery<'_>, token: Option<&str>) -> String {
    let ListQuery { prefix, next_level, start_after, max_keys } = list;
    let mut query = String::new();
    if let Some(token) = token {
        query.push_str("continuation-token=");
        query.push_str(&keys::encode_query(token));
        query.push('&');
    }
    if *next_level {
        query.push_str("delimiter=%2F&");
    }
    query.push_str("encoding-type=url&list-type=2&");
    if let Some(max_keys) = max_keys {
        query.push_str(&format!("max-keys={max_keys}&"));
    }
    query.push_str("prefix=");
    query.push_str(&keys::encode_query(prefix));
    if let Some(key) = start_after {
        query.push_str("&start-after=");
        query.push_str(&keys::encode_query(key));
    }
    query
}

/// Reads the answer to [`query`] with the same `token`.
pub(super) fn parse(body: &[u8], token: Option<&str>) -> Result<ListPage, Failure> {
    let raw = RawPage::read(body).map_err(|problem| malformed(problem.to_owned()))?;
    let decode = |text: String| decoded(raw.url_encoded, text);
    if raw.truncated && raw.next.is_none() {
        return Err(malformed("a listing that is truncated and has no continuation token".to_owned()));
    }
    if raw.truncated && raw.next.as_deref() == token {
        return Err(malformed("a listing whose continuation token leads to itself".to_owned()));
    }
    let objects = raw
        .objects
        .into_iter()
        .map(|object| Ok(ListedObject { key: decode(object.key)?, ..object }))
        .collect::<Result<_, Failure>>()?;
    let prefixes = raw.prefixes.into_iter().map(decode).collect::<Result<_, Failure>>()?;
    Ok(ListPage { objects, prefixes, next: raw.next.filter(|_| raw.truncated) })
}

/// A key or a prefix of a listing.
pub(super) fn decoded(url_encoded: bool, text: String) -> Result<String, Failure> {
    if !url_encoded || !text.contains(['+', '%']) {
        return Ok(text);
    }
    keys::decode_listed(&text)
        .ok_or_else(|| malformed(format!("a listing with the key {text:?}, which is not URL-encoded UTF-8")))
}

fn malformed(problem: String) -> Failure {
    Failure::new(FailureKind::Malformed, format!("the server answered with {problem}"))
}

/// A page whose texts are still encoded.
#[derive(Default)]
struct RawPage {
    objects: Vec<ListedObject>,
    prefixes: Vec<String>,
    truncated: bool,
    next: Option<String>,
    url_encoded: bool,
}

impl RawPage {
    fn read(body: &[u8]) -> Result<Self, Problem> {
        let mut page = Self::default();
        let mut current: Option<ListedObject> = None;
        let mut in_prefixes = false;
        xml::read(body, |depth, tag| {
            match (depth, tag, &mut current) {
                (0, Tag::Open(name), _) if name != b"ListBucketResult" => {
                    return Err("a document that is not a listing");
                }
                (1, Tag::Open(name), _) => {
                    in_prefixes = name == b"CommonPrefixes";
                    if name == b"Contents" {
                        current = Some(ListedObject::default());
                    }
                }
                (1, Tag::Close(b"Contents", _), _) => {
                    let object = current.take().filter(|object| !object.key.is_empty());
                    page.objects.push(object.ok_or("a listing with an object that has no key")?);
                }
                (2, Tag::Close(b"Prefix", text), _) if in_prefixes => {
                    if text.is_empty() {
                        return Err("a listing with a common prefix that is empty");
                    }
                    page.prefixes.push(text.into_owned());
                }
                (1, Tag::Close(b"IsTruncated", text), _) => page.truncated = text == "true",
                (1, Tag::Close(b"NextContinuationToken", text), _) => {
                    page.next = Some(text.into_owned()).filter(|text| !text.is_empty())
                }
                (1, Tag::Close(b"EncodingType", text), _) => page.url_encoded = text == "url",
                (2, Tag::Close(b"Key", text), Some(object)) => object.key = text.into_owned(),
                (2, Tag::Close(b"ETag", text), Some(object)) => object.etag = Some(text.into_owned()),
                (2, Tag::Close(b"Size", text), Some(object)) => {
                    object.size = text.parse().map_err(|_| "a listing with a size that is not a number")?;
                }
                (2, Tag::Close(b"LastModified", text), Some(object)) => {
                    object.last_modified = dates::of_document(&text);
                }
                _ => {}
            }
            Ok(())
        })?;
        Ok(page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(inner: &str) -> Result<ListPage, Failure> {
        parse(format!("<?xml version=\"1.0\"?><ListBucketResult>{inner}</ListBucketResult>").as_bytes(), Some("before"))
    }

    #[test]
    fn a_page_gives_its_objects_and_the_next_token() {
        let page = page(
            "<Name>b</Name><Prefix>x</Prefix><KeyCount>2</KeyCount><IsTruncated>true</IsTruncated>\
             <NextContinuationToken>t&amp;1=</NextContinuationToken><EncodingType>url</EncodingType>\
             <Contents><Key>a+b%2Bc%01</Key><LastModified>2026-11-23T04:05:06.000Z</LastModified>\
             <ETag>&quot;e&quot;</ETag><Size>12</Size><Owner><ID>o</ID></Owner></Contents>\
             <Contents><Key>d/</Key><Size>0</Size></Contents>",
        )
        .unwrap();
        assert_eq!(page.next.as_deref(), Some("t&1="));
        let keys: Vec<_> = page.objects.iter().map(|object| (object.key.as_str(), object.size)).collect();
        assert_eq!(keys, [("a b+c\u{1}", 12), ("d/", 0)]);
        assert_eq!(page.objects[0].etag.as_deref(), Some("\"e\""));
        assert!(page.objects[0].last_modified.is_some());
    }

    #[test]
    fn a_page_gives_its_common_prefixes() {
        let page = page(
            "<Prefix>x%2F</Prefix><Delimiter>%2F</Delimiter><IsTruncated>false</IsTruncated>\
             <EncodingType>url</EncodingType><CommonPrefixes><Prefix>x%2Fa+b%2F</Prefix></CommonPrefixes>\
             <Contents><Key>x%2Fk</Key><Size>1</Size><Owner><Prefix>no</Prefix></Owner></Contents>\
             <CommonPrefixes><Prefix>x%2F%2F</Prefix></CommonPrefixes>",
        )
        .unwrap();
        assert_eq!(page.prefixes, ["x/a b/", "x//"]);
        assert_eq!(page.objects.len(), 1);
    }

    #[test]
    fn a_server_that_ignores_the_encoding_is_read_as_it_writes() {
        let page =
            page("<IsTruncated>false</IsTruncated><Contents><Key>a+b%2B&#x1;</Key><Size>1</Size></Contents>").unwrap();
        assert_eq!(page.objects[0].key, "a+b%2B\u{1}");
        assert_eq!(page.next, None);
    }

    #[test]
    fn a_page_that_would_lose_or_repeat_keys_is_refused() {
        for (inner, problem) in [
            ("<IsTruncated>true</IsTruncated>", "no continuation token"),
            ("<IsTruncated>true</IsTruncated><NextContinuationToken/>", "no continuation token"),
            ("<IsTruncated>true</IsTruncated><NextContinuationToken>before</NextContinuationToken>", "leads to itself"),
            ("<EncodingType>url</EncodingType><Contents><Key>%FF</Key></Contents>", "not URL-encoded"),
            ("<Contents><Key>k</Key><Size>many</Size></Contents>", "not a number"),
            ("<Contents><Size>1</Size></Contents>", "no key"),
            ("<CommonPrefixes><Prefix/></CommonPrefixes>", "is empty"),
            (
                "<EncodingType>url</EncodingType><CommonPrefixes><Prefix>%FF</Prefix></CommonPrefixes>",
                "not URL-encoded",
            ),
            ("<Contents><Key>&lol;</Key></Contents>", "not valid XML"),
        ] {
            let failure = page(inner).unwrap_err();
            assert_eq!(failure.kind, FailureKind::Malformed);
            assert!(failure.message.contains(problem), "{}", failure.message);
        }
        for body in ["<ListBucketResult><Contents><Key>k", "<html></html>", "", "{}"] {
            assert_eq!(parse(body.as_bytes(), None).unwrap_err().kind, FailureKind::Malformed, "{body}");
        }
    }

    #[test]
    fn the_query_is_sorted_and_encoded() {
        let all = ListQuery::default();
        let below = ListQuery { prefix: "a b/+", ..all };
        assert_eq!(query(&below, None), "encoding-type=url&list-type=2&prefix=a%20b%2F%2B");
        assert_eq!(query(&all, Some("t/=")), "continuation-token=t%2F%3D&encoding-type=url&list-type=2&prefix=");
        let next = ListQuery { prefix: "p/", next_level: true, start_after: Some("p/é\0"), max_keys: Some(1) };
        let sorted = "continuation-token=t&delimiter=%2F&encoding-type=url&list-type=2&max-keys=1&prefix=p%2F\
                      &start-after=p%2F%C3%A9%00";
        assert_eq!(query(&next, Some("t")), sorted);
    }
}
