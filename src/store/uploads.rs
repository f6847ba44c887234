//! ListMultipartUploads, a page at a time.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListMultipartUploads.html>

use std::borrow::Cow;
use std::time::SystemTime;

use chrono::DateTime;
use http::header;

use super::failure::{Failure, FailureKind};
use super::multipart::MultipartUpload;
use super::xml::{self, Problem, Tag};
use super::{ObjectHeaders, Store, dates, keys, listing, text};
use crate::address::Location;

/// One page of the uploads that are neither completed nor aborted.
#[derive(Debug)]
pub(crate) struct UploadsPage {
    /// In the order of the answer: by key, then by age.
    pub(crate) uploads: Vec<ListedUpload>,
    /// Asks for the page after this one; `None` at the end.
    pub(crate) next: Option<UploadMarker>,
    /// What time it was on the server.
    pub(crate) date: SystemTime,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListedUpload {
    pub(crate) key: String,
    pub(crate) id: String,
    pub(crate) initiated: SystemTime,
    pub(crate) storage_class: Option<String>,
}

/// The last upload of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UploadMarker {
    pub(super) key: String,
    /// Not empty; `None`: all uploads of the key.
    pub(super) id: Option<String>,
}

impl Store {
    /// One page of ListMultipartUploads, after `marker`: uploads to keys that begin with `prefix`.
    pub(crate) async fn list_uploads(
        &self,
        bucket: &str,
        prefix: &str,
        marker: Option<&UploadMarker>,
    ) -> Result<UploadsPage, Failure> {
        let _memory = self.flow().memory(super::PAGE).await;
        let (headers, document) = self.ask(bucket, query(prefix, marker), prefix).await?;
        let (uploads, next) = parse(&document, marker)?;
        let date = text(&headers, &header::DATE).and_then(|date| DateTime::parse_from_rfc2822(&date).ok());
        let date = date.ok_or_else(|| malformed("a listing without a valid Date"))?;
        Ok(UploadsPage { uploads, next, date: date.into() })
    }

    /// AbortMultipartUpload. An upload that is gone is no failure.
    pub(crate) async fn abort_listed(&self, location: &Location, id: &str) -> Result<(), Failure> {
        let upload = MultipartUpload {
            location: location.clone(),
            id: id.to_owned(),
            headers: ObjectHeaders::default(),
            checksum: None,
        };
        match self.abort_multipart(&upload).await {
            Err(failure) if failure.is_no_such_upload() => Ok(()),
            aborted => aborted,
        }
    }
}

/// Encoded, its parameters sorted as the signature wants them.
fn query(prefix: &str, marker: Option<&UploadMarker>) -> String {
    let mut query = "encoding-type=url&".to_owned();
    if let Some(UploadMarker { key, .. }) = marker {
        query.push_str(&format!("key-marker={}&", keys::encode_query(key)));
    }
    query.push_str(&format!("prefix={}&", keys::encode_query(prefix)));
    if let Some(UploadMarker { id: Some(id), .. }) = marker {
        query.push_str(&format!("upload-id-marker={}&", keys::encode_query(id)));
    }
    query.push_str("uploads=");
    query
}

/// Reads the answer to [`query`] with the same `marker`.
pub(super) fn parse(
    body: &[u8],
    marker: Option<&UploadMarker>,
) -> Result<(Vec<ListedUpload>, Option<UploadMarker>), Failure> {
    let RawPage { uploads, truncated, next_key, next_id, url_encoded } = RawPage::read(body).map_err(malformed)?;
    let decode = |text| listing::decoded(url_encoded, text);
    let next = match next_key.filter(|_| truncated) {
        Some(key) => Some(UploadMarker { key: decode(key)?, id: next_id }),
        None if truncated => return Err(malformed("a listing that is truncated and does not say where it goes on")),
        None => None,
    };
    if next.is_some() && next.as_ref() == marker {
        return Err(malformed("a listing whose next page is itself"));
    }
    let uploads = uploads.into_iter().map(|upload| Ok(ListedUpload { key: decode(upload.key)?, ..upload }));
    Ok((uploads.collect::<Result<_, Failure>>()?, next))
}

fn malformed(problem: &str) -> Failure {
    Failure::new(FailureKind::Malformed, format!("the server answered with {problem}"))
}

/// A page whose keys are still encoded.
#[derive(Default)]
struct RawPage {
    uploads: Vec<ListedUpload>,
    truncated: bool,
    next_key: Option<String>,
    next_id: Option<String>,
    url_encoded: bool,
}

/// An upload while it is read.
#[derive(Default)]
struct Entry {
    key: Option<String>,
    id: Option<String>,
    initiated: Option<SystemTime>,
    storage_class: Option<String>,
}

impl RawPage {
    fn read(body: &[u8]) -> Result<Self, Problem> {
        let mut page = Self::default();
        let mut current: Option<Entry> = None;
        xml::read(body, |depth, tag| {
            match (depth, tag, &mut current) {
                (0, Tag::Open(name), _) if name != b"ListMultipartUploadsResult" => {
                    return Err("a document that is no listing of uploads");
                }
                (1, Tag::Open(b"Upload"), _) => current = Some(Entry::default()),
                (1, Tag::Close(b"Upload", _), _) => {
                    let Entry { key, id, initiated, storage_class } = current.take().unwrap_or_default();
                    page.uploads.push(ListedUpload {
                        key: key.ok_or("a listing with an upload that has no key")?,
                        id: id.ok_or("a listing with an upload that has no id")?,
                        initiated: initiated.ok_or("a listing with an upload that has no date")?,
                        storage_class,
                    });
                }
                (1, Tag::Close(b"IsTruncated", text), _) => page.truncated = text == "true",
                (1, Tag::Close(b"NextKeyMarker", text), _) => page.next_key = not_empty(text),
                (1, Tag::Close(b"NextUploadIdMarker", text), _) => page.next_id = not_empty(text),
                (1, Tag::Close(b"EncodingType", text), _) => page.url_encoded = text == "url",
                (2, Tag::Close(b"Key", text), Some(entry)) => entry.key = not_empty(text),
                (2, Tag::Close(b"UploadId", text), Some(entry)) => entry.id = not_empty(text),
                (2, Tag::Close(b"StorageClass", text), Some(entry)) => entry.storage_class = not_empty(text),
                (2, Tag::Close(b"Initiated", text), Some(entry)) => {
                    entry.initiated = dates::of_document(&text);
                }
                _ => {}
            }
            Ok(())
        })?;
        Ok(page)
    }
}

fn not_empty(text: Cow<'_, str>) -> Option<String> {
    Some(text.into_owned()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    type Page = (Vec<ListedUpload>, Option<UploadMarker>);

    fn marker(key: &str, id: Option<&str>) -> UploadMarker {
        UploadMarker { key: key.to_owned(), id: id.map(str::to_owned) }
    }

    fn page(inner: &str) -> Result<Page, Failure> {
        let document =
            format!("<?xml version=\"1.0\"?><ListMultipartUploadsResult>{inner}</ListMultipartUploadsResult>");
        parse(document.as_bytes(), Some(&marker("a b", Some("before"))))
    }

    #[test]
    fn a_page_gives_its_uploads_and_where_the_next_one_begins() {
        let (uploads, next) = page(
            "<Bucket>b</Bucket><KeyMarker/><UploadIdMarker/><NextKeyMarker>a+%2B</NextKeyMarker>\
             <NextUploadIdMarker>i&amp;+</NextUploadIdMarker><EncodingType>url</EncodingType><MaxUploads>2</MaxUploads>\
             <IsTruncated>true</IsTruncated><Upload><Key>a+b%01</Key><UploadId>i/1+</UploadId>\
             <Initiator><ID>x</ID><UploadId>y</UploadId></Initiator><StorageClass>STANDARD</StorageClass>\
             <Initiated>1970-01-01T00:00:02.000Z</Initiated></Upload>\
             <Upload><Key>a+%2B</Key><UploadId>i&amp;+</UploadId><Initiated>1970-01-01T01:00:00+01:00</Initiated></Upload>",
        )
        .unwrap();
        let epoch = SystemTime::UNIX_EPOCH;
        let told: Vec<_> = uploads.iter().map(|upload| (upload.key.as_str(), upload.id.as_str())).collect();
        assert_eq!(told, [("a b\u{1}", "i/1+"), ("a +", "i&+")]);
        assert_eq!((uploads[0].initiated, uploads[1].initiated), (epoch + Duration::from_secs(2), epoch));
        assert_eq!((uploads[0].storage_class.as_deref(), &uploads[1].storage_class), (Some("STANDARD"), &None));
        assert_eq!(next, Some(marker("a +", Some("i&+"))));
    }

    #[test]
    fn a_page_that_ends_has_no_next_one_whatever_markers_it_carries() {
        assert_eq!(page("<NextKeyMarker>k</NextKeyMarker><IsTruncated>false</IsTruncated>").unwrap(), (vec![], None));
        assert_eq!(page("").unwrap(), (vec![], None));
        let not_encoded = "<NextKeyMarker>a+b</NextKeyMarker><NextUploadIdMarker/><IsTruncated>true</IsTruncated>";
        assert_eq!(page(not_encoded).unwrap().1, Some(marker("a+b", None)));
    }

    #[test]
    fn a_page_that_would_lose_or_repeat_uploads_is_refused() {
        let upload = |inner: &str| format!("<EncodingType>url</EncodingType><Upload>{inner}</Upload>");
        let date = "<Initiated>2026-11-23T04:05:06.000Z</Initiated>";
        for (inner, problem) in [
            ("<IsTruncated>true</IsTruncated>".to_owned(), "where it goes on"),
            (
                "<IsTruncated>true</IsTruncated><NextKeyMarker>a b</NextKeyMarker>\
                 <NextUploadIdMarker>before</NextUploadIdMarker>"
                    .to_owned(),
                "next page is itself",
            ),
            (upload(&format!("<UploadId>i</UploadId>{date}")), "no key"),
            (upload(&format!("<Key>k</Key>{date}")), "no id"),
            (upload("<Key>k</Key><UploadId>i</UploadId>"), "no date"),
            (upload("<Key>k</Key><UploadId>i</UploadId><Initiated>yesterday</Initiated>"), "no date"),
            (upload(&format!("<Key>%FF</Key><UploadId>i</UploadId>{date}")), "not URL-encoded"),
        ] {
            let failure = page(&inner).unwrap_err();
            assert_eq!(failure.kind, FailureKind::Malformed);
            assert!(failure.message.contains(problem), "{}", failure.message);
        }
        for body in ["<ListBucketResult/>", "<ListMultipartUploadsResult><Upload>", "", "<html></html>"] {
            assert_eq!(parse(body.as_bytes(), None).unwrap_err().kind, FailureKind::Malformed, "{body}");
        }
    }

    #[test]
    fn the_query_is_sorted_and_encoded() {
        assert_eq!(query("", None), "encoding-type=url&prefix=&uploads=");
        let after = query("a b/+", Some(&marker("k/=", Some("i+"))));
        assert_eq!(after, "encoding-type=url&key-marker=k%2F%3D&prefix=a%20b%2F%2B&upload-id-marker=i%2B&uploads=");
        assert_eq!(query("", Some(&marker("k", None))), "encoding-type=url&key-marker=k&prefix=&uploads=");
    }
}
