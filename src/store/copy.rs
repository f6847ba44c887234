//! Copies inside the server.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html>

use std::ops::Range;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, header};

use super::failure::{Failure, FailureKind};
use super::headers::{self, ObjectHeaders, SOURCE_CUSTOMER_KEY};
use super::multipart::{MultipartUpload, UploadedPart, element};
use super::xml::{self, Tag};
use super::{ReadOptions, Store, Stored, keys};
use crate::address::Location;
use crate::encryption::CustomerKey;

const SOURCE: HeaderName = HeaderName::from_static("x-amz-copy-source");
const SOURCE_IF_MATCH: HeaderName = HeaderName::from_static("x-amz-copy-source-if-match");
const SOURCE_RANGE: HeaderName = HeaderName::from_static("x-amz-copy-source-range");
const TAGGING_COUNT: &str = "x-amz-tagging-count";

/// The object that a copy is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CopySource<'a> {
    pub(crate) location: &'a Location,
    /// Fails with 412 when the source's ETag is another.
    pub(crate) if_match: Option<&'a str>,
    pub(crate) customer_key: Option<&'a CustomerKey>,
}

impl Store {
    /// CopyObject: bytes, properties, metadata and tags; `headers` say what is different.
    pub(crate) async fn copy(
        &self,
        source: CopySource<'_>,
        destination: &Location,
        headers: &ObjectHeaders,
    ) -> Result<Stored, Failure> {
        let request = headers.over(source.to_headers()?);
        let (answer, document) = self.send_for(destination, Method::PUT, String::new(), request, Bytes::new()).await?;
        let etag = element(&document, b"CopyObjectResult", b"ETag")?;
        Ok(Stored { etag: Some(etag), ..Stored::read(&answer) })
    }

    /// Begins a copy by parts, which S3 wants over 5 GiB: an upload that has the source's properties, metadata
    /// and tags.
    pub(crate) async fn create_multipart_copy(
        &self,
        source: CopySource<'_>,
        destination: &Location,
        headers: &ObjectHeaders,
    ) -> Result<MultipartUpload, Failure> {
        let options =
            ReadOptions { if_match: source.if_match, customer_key: source.customer_key, ..ReadOptions::default() };
        let (described, _) =
            self.send_for(source.location, Method::HEAD, String::new(), options.to_headers()?, Bytes::new()).await?;
        let mut kept = properties(&described);
        if described.contains_key(TAGGING_COUNT) {
            let (_, document) = self
                .send_for(source.location, Method::GET, "tagging=".to_owned(), HeaderMap::new(), Bytes::new())
                .await?;
            kept.insert(headers::TAGGING, super::value(&headers::TAGGING, &tagging(&document)?)?);
        }
        let (headers, request) = headers.and_over(kept);
        self.create_multipart_with(destination, &headers, request).await
    }

    /// UploadPartCopy.
    pub(crate) async fn copy_part(
        &self,
        upload: &MultipartUpload,
        number: u32,
        source: CopySource<'_>,
        range: Range<u64>,
    ) -> Result<UploadedPart, Failure> {
        let mut request = source.to_headers()?;
        request.extend(upload.headers.of_part());
        let bytes = format!("bytes={}-{}", range.start, range.end - 1);
        request.insert(SOURCE_RANGE, super::value(&SOURCE_RANGE, &bytes)?);
        let query = upload.part_query(number);
        let (_, document) = self.send_for(&upload.location, Method::PUT, query, request, Bytes::new()).await?;
        Ok(UploadedPart { number, etag: element(&document, b"CopyPartResult", b"ETag")?, checksum: None })
    }
}

impl CopySource<'_> {
    fn to_headers(self) -> Result<HeaderMap, Failure> {
        let Self { location, if_match, customer_key } = self;
        let mut request =
            customer_key.map_or_else(HeaderMap::new, |key| headers::customer_key(&SOURCE_CUSTOMER_KEY, key));
        let path = format!("{}/{}", keys::encode_path(location.bucket()), keys::encode_path(location.key()));
        request.insert(SOURCE, super::value(&SOURCE, &path)?);
        if let Some(etag) = if_match {
            request.insert(SOURCE_IF_MATCH, super::value(&SOURCE_IF_MATCH, etag)?);
        }
        Ok(request)
    }
}

/// What CopyObject would keep, out of the answer to a HEAD.
fn properties(described: &HeaderMap) -> HeaderMap {
    let kept = [
        header::CONTENT_TYPE,
        header::CACHE_CONTROL,
        header::CONTENT_DISPOSITION,
        header::CONTENT_ENCODING,
        header::CONTENT_LANGUAGE,
        header::EXPIRES,
    ];
    described
        .iter()
        .filter(|(name, _)| kept.contains(name) || headers::is_user_metadata(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// From the answer to GetObjectTagging to the value of `x-amz-tagging`.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObjectTagging.html>
fn tagging(document: &[u8]) -> Result<String, Failure> {
    let mut tags = Vec::new();
    let mut name = String::new();
    xml::read(document, |depth, tag| {
        match (depth, tag) {
            (0, Tag::Open(root)) if root != b"Tagging" => return Err("a document that is not a set of tags"),
            (3, Tag::Close(b"Key", text)) => name = text.into_owned(),
            (3, Tag::Close(b"Value", text)) => {
                tags.push(format!("{}={}", keys::encode_query(&name), keys::encode_query(&text)));
            }
            _ => {}
        }
        Ok(())
    })
    .map_err(|problem| Failure::new(FailureKind::Malformed, format!("the server answered with {problem}")))?;
    Ok(tags.join("&"))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn tags_are_written_again_as_they_were_read() {
        let document = "<Tagging><TagSet><Tag><Key>a b</Key><Value>1&amp;2</Value></Tag>\
                        <Tag><Key>empty</Key><Value></Value></Tag></TagSet></Tagging>";
        assert_eq!(tagging(document.as_bytes()).unwrap(), "a%20b=1%262&empty=");
        assert!(tagging(b"<Other/>").is_err());
    }

    #[test]
    fn what_belongs_to_the_object_is_kept_and_nothing_else() {
        let described = HeaderMap::from_iter(
            [
                ("content-type", "t"),
                ("x-amz-meta-a", "1"),
                ("x-amz-meta-s3flow-write", "of the source"),
                ("etag", "\"e\""),
                ("content-length", "5"),
                ("x-amz-id-2", "x"),
            ]
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))),
        );
        let mut kept: Vec<String> = properties(&described).keys().map(|name| name.to_string()).collect();
        kept.sort();
        assert_eq!(kept, ["content-type", "x-amz-meta-a"]);
    }
}
