//! The parts that a multipart upload has.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListParts.html>

use http::Method;
use object_store::client::HttpRequestBody;

use super::failure::{Failure, FailureKind};
use super::xml::{self, Problem, Tag};
use super::{MAX_LIST_BODY, MultipartUpload, PAGE, Store, keys, wire};
use crate::checksum::{Checksum, ChecksumAlgorithm};

/// A part that the server has, as a listing tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListedPart {
    pub(crate) number: u32,
    pub(crate) etag: String,
    /// In bytes.
    pub(crate) size: u64,
    /// By the upload's algorithm, where the service tells it.
    pub(crate) checksum: Option<Checksum>,
}

impl Store {
    /// One page of ListParts, after the part `marker`, and the marker of the next page.
    pub(crate) async fn list_parts(
        &self,
        upload: &MultipartUpload,
        marker: Option<u32>,
    ) -> Result<(Vec<ListedPart>, Option<u32>), Failure> {
        let _memory = self.flow().memory(PAGE).await;
        let store = self.bucket(upload.location.bucket())?;
        let marked = marker.map_or_else(String::new, |marker| format!("part-number-marker={marker}&"));
        let request = wire::Request {
            method: Method::GET,
            key_path: keys::encode_path(upload.location.key()).into(),
            query: format!("{marked}uploadId={}", keys::encode_query(&upload.id)).into(),
            headers: upload.headers.of_part(),
            body: HttpRequestBody::empty(),
            prefix: "".into(),
            flow: self.flow().clone(),
            admitted: false,
            given_out: false,
        };
        let (parts, body) = self.wire.send(&store.bucket, request).await?.into_parts();
        let (document, whole) = wire::read(body, MAX_LIST_BODY).await?;
        if !whole {
            return Err(malformed("a listing of parts of over 32 MiB"));
        }
        match Failure::from_error_in_success(parts.status, &parts.headers, &document) {
            Some(failure) => Err(failure),
            None => parse(&document, upload.checksum, marker),
        }
    }
}

/// S3's own, and moto's.
const ROOTS: [&[u8]; 2] = [b"ListPartsResult", b"ListPartsResponse"];

/// Reads the answer to a question for what comes after `marker`.
fn parse(
    document: &[u8],
    algorithm: Option<ChecksumAlgorithm>,
    marker: Option<u32>,
) -> Result<(Vec<ListedPart>, Option<u32>), Failure> {
    let checksum_element = algorithm.map(|algorithm| format!("Checksum{algorithm}"));
    let (mut listed, mut truncated, mut next) = (Vec::new(), false, None);
    let mut current = Entry::default();
    let read = xml::read(document, |depth, tag| -> Result<(), Problem> {
        match (depth, tag) {
            (0, Tag::Open(name)) if !ROOTS.contains(&name) => return Err("a document that is no listing of parts"),
            (1, Tag::Open(b"Part")) => current = Entry::default(),
            (1, Tag::Close(b"Part", _)) => listed.push(std::mem::take(&mut current).whole()?),
            (1, Tag::Close(b"IsTruncated", text)) => truncated = text == "true",
            (1, Tag::Close(b"NextPartNumberMarker", text)) => next = text.parse().ok(),
            (2, Tag::Close(b"PartNumber", text)) => current.number = text.parse().ok(),
            (2, Tag::Close(b"ETag", text)) => current.etag = Some(text.into_owned()).filter(|etag| !etag.is_empty()),
            (2, Tag::Close(b"Size", text)) => current.size = text.parse().ok(),
            (2, Tag::Close(name, text))
                if checksum_element.as_ref().is_some_and(|wanted| wanted.as_bytes() == name) =>
            {
                current.checksum = algorithm.and_then(|algorithm| Checksum::parse(algorithm, &text));
            }
            _ => {}
        }
        Ok(())
    });
    read.map_err(malformed)?;
    let next: Option<u32> = next.filter(|_| truncated);
    if truncated && next.is_none_or(|next| next <= marker.unwrap_or(0)) {
        return Err(malformed("a listing of parts that does not say where it goes on"));
    }
    Ok((listed, next))
}

/// A part while it is read.
#[derive(Default)]
struct Entry {
    number: Option<u32>,
    etag: Option<String>,
    size: Option<u64>,
    checksum: Option<Checksum>,
}

impl Entry {
    fn whole(self) -> Result<ListedPart, Problem> {
        let Self { number, etag, size, checksum } = self;
        let (Some(number), Some(etag), Some(size)) = (number, etag, size) else {
            return Err("a part without number, ETag or size");
        };
        Ok(ListedPart { number, etag, size, checksum })
    }
}

fn malformed(problem: &str) -> Failure {
    Failure::new(FailureKind::Malformed, format!("the server answered with {problem}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(inner: &str, marker: Option<u32>) -> Result<(Vec<ListedPart>, Option<u32>), String> {
        let document = format!("<?xml version=\"1.0\"?><ListPartsResult xmlns=\"x\">{inner}</ListPartsResult>");
        parse(document.as_bytes(), Some(ChecksumAlgorithm::Crc32c), marker).map_err(|failure| failure.message)
    }

    #[test]
    fn a_page_gives_its_parts_and_where_the_next_one_begins() {
        let (parts, next) = page(
            "<PartNumberMarker>1</PartNumberMarker><NextPartNumberMarker>3</NextPartNumberMarker>\
             <IsTruncated>true</IsTruncated><Part><PartNumber>2</PartNumber><ETag>&quot;e&quot;</ETag><Size>5</Size>\
             <ChecksumCRC32C>yZRlqg==</ChecksumCRC32C></Part>\
             <Part><ETag>\"f\"</ETag><PartNumber>3</PartNumber><Size>6</Size><ChecksumCRC32>yZRlqg==</ChecksumCRC32></Part>",
            Some(1),
        )
        .unwrap();
        let checksum = Checksum::parse(ChecksumAlgorithm::Crc32c, "yZRlqg==");
        let part = |number, etag: &str, size, checksum| ListedPart { number, etag: etag.to_owned(), size, checksum };
        assert_eq!(parts, [part(2, "\"e\"", 5, checksum), part(3, "\"f\"", 6, None)]);
        assert_eq!(next, Some(3));
        assert_eq!(page("<NextPartNumberMarker>3</NextPartNumberMarker>", None), Ok((vec![], None)));
    }

    #[test]
    fn a_page_that_would_lose_or_repeat_parts_is_refused() {
        for (inner, problem) in [
            ("<IsTruncated>true</IsTruncated>", "where it goes on"),
            ("<IsTruncated>true</IsTruncated><NextPartNumberMarker>7</NextPartNumberMarker>", "where it goes on"),
            ("<Part><ETag>e</ETag><Size>5</Size></Part>", "without number"),
            ("<Part><PartNumber>1</PartNumber><ETag></ETag><Size>5</Size></Part>", "without number"),
            ("<Part><PartNumber>1</PartNumber><ETag>e</ETag><Size>-5</Size></Part>", "without number"),
            ("<Part>", "not valid XML"),
        ] {
            assert!(page(inner, Some(7)).unwrap_err().contains(problem), "{inner}");
        }
        for body in ["<ListBucketResult/>", "", "<html></html>"] {
            assert_eq!(parse(body.as_bytes(), None, None).unwrap_err().kind, FailureKind::Malformed, "{body}");
        }
    }
}
