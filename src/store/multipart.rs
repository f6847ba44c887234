//! The requests of a multipart upload.
//!
//! Ours, because `object_store`'s carry no headers with parts and completions, which SSE-C and conditions need.
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html>

use bytes::Bytes;
use http::{HeaderMap, Method, header};

use super::failure::{Failure, FailureKind};
use super::headers::{ObjectHeaders, WriteCondition};
use super::xml::{self, Problem, Tag};
use super::{Store, Stored, checksum, keys, text};
use crate::address::Location;
use crate::checksum::{Checksum, ChecksumAlgorithm};

/// An upload that was begun and is neither completed nor aborted.
#[derive(Debug, Clone)]
pub(crate) struct MultipartUpload {
    pub(crate) location: Location,
    pub(crate) id: String,
    pub(crate) headers: ObjectHeaders,
    /// Of its parts and the whole, when the service takes one.
    pub(crate) checksum: Option<ChecksumAlgorithm>,
}

/// A part that the server has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UploadedPart {
    /// From 1.
    pub(crate) number: u32,
    pub(crate) etag: String,
    /// With the length of the part.
    pub(crate) checksum: Option<(Checksum, u64)>,
}

impl Store {
    /// CreateMultipartUpload.
    pub(crate) async fn create_multipart(
        &self,
        location: &Location,
        headers: &ObjectHeaders,
    ) -> Result<MultipartUpload, Failure> {
        let store = self.bucket(location.bucket())?;
        let create = |of_checksum: HeaderMap| {
            let mut request = headers.of_object();
            request.extend(of_checksum);
            self.create_multipart_with(location, headers, request)
        };
        let of_checksum = headers.checksum().map(checksum::of_upload);
        let (upload, taken) = store.with_or_without_checksum(of_checksum, create).await?;
        Ok(MultipartUpload { checksum: headers.checksum().filter(|_| taken), ..upload })
    }

    /// The upload's parts are sent with `headers`, whatever `request` says of the object.
    pub(super) async fn create_multipart_with(
        &self,
        location: &Location,
        headers: &ObjectHeaders,
        request: HeaderMap,
    ) -> Result<MultipartUpload, Failure> {
        let (_, document) = self.send_for(location, Method::POST, "uploads=".to_owned(), request, Bytes::new()).await?;
        let id = element(&document, b"InitiateMultipartUploadResult", b"UploadId")?;
        Ok(MultipartUpload { location: location.clone(), id, headers: headers.clone(), checksum: None })
    }

    /// UploadPart.
    pub(crate) async fn upload_part(
        &self,
        upload: &MultipartUpload,
        number: u32,
        body: Bytes,
        checksum: Option<&Checksum>,
    ) -> Result<UploadedPart, Failure> {
        let query = upload.part_query(number);
        let mut request = upload.headers.of_part();
        request.extend(checksum.map(checksum::of_body).unwrap_or_default());
        let length = body.len() as u64;
        let (headers, _) = self.send_for(&upload.location, Method::PUT, query, request, body).await?;
        let etag = text(&headers, &header::ETAG)
            .ok_or_else(|| Failure::new(FailureKind::Malformed, "the server did not give the ETag of a part"))?;
        Ok(UploadedPart { number, etag, checksum: checksum.map(|checksum| (checksum.clone(), length)) })
    }

    /// CompleteMultipartUpload, with `parts` in the order of their numbers.
    pub(crate) async fn complete_multipart(
        &self,
        upload: &MultipartUpload,
        parts: &[UploadedPart],
        condition: Option<&WriteCondition>,
    ) -> Result<Stored, Failure> {
        let mut headers = upload.headers.of_part();
        headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/xml"));
        if let Some(condition) = condition {
            condition.insert_into(&mut headers)?;
        }
        if let Some(algorithm) = upload.checksum {
            headers.extend(checksum::of_completion(algorithm, whole(parts).as_ref()));
        }
        let body = completion(parts).into();
        let (headers, document) = self.send_for(&upload.location, Method::POST, upload.query(), headers, body).await?;
        let etag = element(&document, b"CompleteMultipartUploadResult", b"ETag")?;
        Ok(Stored { etag: Some(etag), ..Stored::read(&headers) })
    }

    /// AbortMultipartUpload: its parts are removed.
    pub(crate) async fn abort_multipart(&self, upload: &MultipartUpload) -> Result<(), Failure> {
        self.send_for(&upload.location, Method::DELETE, upload.query(), HeaderMap::new(), Bytes::new()).await?;
        Ok(())
    }
}

impl MultipartUpload {
    fn query(&self) -> String {
        format!("uploadId={}", keys::encode_query(&self.id))
    }

    pub(super) fn part_query(&self, number: u32) -> String {
        format!("partNumber={number}&{}", self.query())
    }
}

/// The checksum of the object, where those of its parts tell it.
fn whole(parts: &[UploadedPart]) -> Option<Checksum> {
    let parts: Option<Vec<_>> = parts.iter().map(|part| part.checksum.as_ref()).collect();
    Checksum::of_parts(parts?.into_iter().map(|(checksum, length)| (checksum, *length)))
}

fn completion(parts: &[UploadedPart]) -> String {
    let mut document = String::from(r#"<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">"#);
    for UploadedPart { number, etag, checksum } in parts {
        let etag = quick_xml::escape::escape(etag.as_str());
        let checksum = checksum.as_ref().map(|(checksum, _)| checksum::element(checksum)).unwrap_or_default();
        document.push_str(&format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag>{checksum}</Part>"));
    }
    document.push_str("</CompleteMultipartUpload>");
    document
}

/// The text of a child of the root.
pub(super) fn element(document: &[u8], root: &[u8], name: &[u8]) -> Result<String, Failure> {
    let mut found = None;
    let read = xml::read(document, |depth, tag| -> Result<(), Problem> {
        match (depth, tag) {
            (0, Tag::Open(other)) if other != root => Err("a document that was not asked for"),
            (1, Tag::Close(child, text)) if child == name => {
                found = Some(text.into_owned());
                Ok(())
            }
            _ => Ok(()),
        }
    });
    let malformed = |problem: &str| Failure::new(FailureKind::Malformed, format!("the server answered with {problem}"));
    read.map_err(malformed)?;
    found
        .filter(|text| !text.is_empty())
        .ok_or_else(|| malformed(&format!("a document without {}", String::from_utf8_lossy(name))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_completion_names_its_parts() {
        let part = |number: u32| UploadedPart { number, etag: format!("\"e{number}\""), checksum: None };
        assert_eq!(
            completion(&[part(1), part(2)]),
            "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
             <Part><PartNumber>1</PartNumber><ETag>&quot;e1&quot;</ETag></Part>\
             <Part><PartNumber>2</PartNumber><ETag>&quot;e2&quot;</ETag></Part></CompleteMultipartUpload>"
        );
    }

    #[test]
    fn an_element_is_read_below_the_right_root() {
        let of = |document: &str| element(document.as_bytes(), b"R", b"Id").map_err(|failure| failure.message);
        assert_eq!(of("<?xml version=\"1.0\"?>\n<R xmlns=\"x\"><Id>a&amp;b</Id></R>").unwrap(), "a&b");
        for (document, problem) in [
            ("<R><Id></Id></R>", "without Id"),
            ("<R><Other><Id>x</Id></Other></R>", "without Id"),
            ("<S><Id>x</Id></S>", "not asked for"),
            ("<R><Id>x", "cut off"),
            ("", "cut off"),
        ] {
            assert!(of(document).unwrap_err().contains(problem), "{document}");
        }
    }
}
