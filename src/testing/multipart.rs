//! Multipart uploads.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Range;

use http::{HeaderMap, StatusCode};
use s3s::dto::CompletedMultipartUpload;
use s3s::xml::{Deserialize as _, Deserializer};

use super::answer::{Answer, Failure};
use super::checksum::Plan;
use super::encode::url_encode;
use super::object::Attributes;
use super::receive::{Incoming, Received};
use super::service::{Request, Service};
use super::store::{Part, Upload};
use super::write::insert_etag;
use super::xml::Xml;

impl Service {
    pub(super) fn create_multipart_upload(&self, request: &Request) -> Result<Answer, Failure> {
        let bucket = self.bucket(request)?;
        let attributes = Attributes::of(&request.headers)?;
        let plan = Plan::of(&request.headers)?;
        let encryption = attributes.encryption.asked_for();
        let id = self.store.upload_id();
        let key = request.call.key();
        let upload =
            Upload { key: key.to_owned(), initiated: self.clock.moment(), attributes, plan, parts: BTreeMap::new() };
        bucket.create_upload(id.clone(), upload);
        let mut xml = Xml::new("InitiateMultipartUploadResult");
        xml.element("Bucket", request.call.bucket());
        xml.element("Key", key);
        xml.element("UploadId", &id);
        let mut answer = Answer::xml(StatusCode::OK, xml);
        answer.headers.extend(encryption);
        plan.add_to(&mut answer.headers);
        Ok(answer)
    }

    pub(super) async fn upload_part(&self, request: &Request, body: Incoming) -> Result<Answer, Failure> {
        let Received { content, digest, checksum } =
            body.content(&request.headers, self.etags, self.keep_content).await?;
        let part = Part::new(content, digest, checksum.clone(), self.clock.moment());
        let etag = part.etag();
        let mut answer = self.put_part(request, part)?;
        insert_etag(&mut answer.headers, &etag);
        checksum.add_to(&mut answer.headers);
        Ok(answer)
    }

    pub(super) fn upload_part_copy(&self, request: &Request) -> Result<Answer, Failure> {
        let source = self.source(request)?.object;
        let size = source.content.len();
        let range = match request.header("x-amz-copy-source-range") {
            None => 0..size,
            Some(range) => copy_range(range, size)?,
        };
        self.check_copy_size(range.end - range.start)?;
        let part = Part::copied(source.content.slice(range), self.etags, self.clock.moment());
        let mut xml = Xml::new("CopyPartResult");
        xml.element("LastModified", &part.modified.iso);
        xml.element("ETag", &part.etag());
        let kept = self.put_part(request, part)?;
        let mut answer = Answer::xml(StatusCode::OK, xml);
        answer.headers.extend(kept.headers);
        Ok(answer)
    }

    /// Keeps a part. The answer has the headers that tell how it is encrypted.
    fn put_part(&self, request: &Request, part: Part) -> Result<Answer, Failure> {
        let bucket = self.bucket(request)?;
        let (key, id) = (request.call.key(), upload_id(request));
        let number = match request.call.query("partNumber").and_then(|number| number.parse().ok()) {
            Some(number @ 1..=10_000) => number,
            _ => {
                return Err(Failure::invalid_argument("Part number must be an integer between 1 and 10000, inclusive"));
            }
        };
        let encryption = bucket.upload_encryption(key, id)?;
        encryption.check_part(&request.headers)?;
        bucket.put_part(key, id, number, part)?;
        Ok(Answer { headers: encryption.headers, ..Answer::default() })
    }

    pub(super) async fn complete_multipart_upload(&self, request: &Request, body: Incoming) -> Result<Answer, Failure> {
        // A checksum in its headers is the object's and not the document's.
        let of_document = request.headers.iter().filter(|(name, _)| !name.as_str().starts_with("x-amz-checksum-"));
        let of_document: HeaderMap = of_document.map(|(name, value)| (name.clone(), value.clone())).collect();
        let document = body.document(&of_document).await?;
        let bucket = self.bucket(request)?;
        let condition = self.complete_condition(request)?;
        let malformed = |_| Failure::malformed_xml();
        let completed = CompletedMultipartUpload::deserialize(&mut Deserializer::new(&document)).map_err(malformed)?;
        let mut parts = Vec::new();
        for part in completed.parts.unwrap_or_default() {
            match (part.part_number.map(u16::try_from), part.e_tag) {
                (Some(Ok(number)), Some(etag)) => parts.push((number, etag.into_value())),
                _ => return Err(Failure::malformed_xml()),
            }
        }
        let key = request.call.key();
        let object =
            bucket.complete(key, upload_id(request), &parts, &condition, &request.headers, self.clock.moment())?;
        let mut xml = Xml::new("CompleteMultipartUploadResult");
        let location = format!("{}/{}/{}", self.endpoint, request.call.bucket(), url_encode(key).replace('+', "%20"));
        xml.element("Location", &location);
        xml.element("Bucket", request.call.bucket());
        xml.element("Key", key);
        xml.element("ETag", &object.etag);
        if let Some(checksum) = &object.checksum {
            xml.element(checksum.element(), &checksum.value);
            xml.element("ChecksumType", checksum.kind());
        }
        let mut answer = Answer::xml(StatusCode::OK, xml);
        answer.headers.extend(object.attributes.encryption.headers.clone());
        Ok(answer)
    }

    pub(super) fn abort_multipart_upload(&self, request: &Request) -> Result<Answer, Failure> {
        self.bucket(request)?.abort(request.call.key(), upload_id(request))?;
        Ok(Answer::new(StatusCode::NO_CONTENT))
    }

    pub(super) fn list_parts(&self, request: &Request) -> Result<Answer, Failure> {
        let (key, id) = (request.call.key(), upload_id(request));
        let upload = self.bucket(request)?.upload(key, id)?;
        let number = |name| match request.call.query(name) {
            None => Ok(None),
            Some(value) => value
                .parse::<u16>()
                .map(Some)
                .map_err(|_| Failure::invalid_argument("Provided parameter is not an integer")),
        };
        let max_parts = usize::from(number("max-parts")?.unwrap_or(1000)).min(self.page_size);
        let marker = number("part-number-marker")?.unwrap_or(0);
        let mut xml = Xml::new("ListPartsResult");
        xml.element("Bucket", request.call.bucket());
        xml.element("Key", key);
        xml.element("UploadId", id);
        xml.element("StorageClass", upload.attributes.storage_class());
        xml.number("PartNumberMarker", marker.into());
        xml.number("MaxParts", max_parts as u64);
        let rest = upload.parts.range(marker.saturating_add(1)..);
        let listed: Vec<_> = rest.clone().take(max_parts).collect();
        let truncated = rest.count() > listed.len();
        if let Some((last, _)) = listed.last().filter(|_| truncated) {
            xml.number("NextPartNumberMarker", u64::from(**last));
        }
        xml.element("IsTruncated", if truncated { "true" } else { "false" });
        for (number, part) in listed {
            xml.open("Part");
            xml.number("PartNumber", u64::from(*number));
            xml.element("LastModified", &part.modified.iso);
            xml.element("ETag", &part.etag());
            xml.number("Size", part.content.len());
            xml.element(part.checksum.element(), &part.checksum.value);
            xml.close("Part");
        }
        Ok(Answer::xml(StatusCode::OK, xml))
    }

    pub(super) fn list_multipart_uploads(&self, request: &Request) -> Result<Answer, Failure> {
        let bucket = self.bucket(request)?;
        let query = |name| request.call.query(name).unwrap_or_default();
        let encode = query("encoding-type") == "url";
        let encoded = |text: &str| if encode { url_encode(text) } else { text.to_owned() };
        let max_uploads = match query("max-uploads") {
            "" => self.page_size,
            number => number.parse::<u32>().map(|number| (number as usize).min(self.page_size)).map_err(|_| {
                Failure::invalid_argument("Provided max-uploads not an integer or within integer range")
            })?,
        };
        let (prefix, key_marker) = (query("prefix"), query("key-marker"));
        // Alone, an upload-id-marker means nothing.
        let id_marker = if key_marker.is_empty() { "" } else { query("upload-id-marker") };
        let is_after = |id: &str, key: &str| match key.cmp(key_marker) {
            Ordering::Greater => true,
            Ordering::Equal => !id_marker.is_empty() && id > id_marker,
            Ordering::Less => false,
        };
        let mut uploads = bucket.uploads();
        uploads.retain(|(id, upload)| upload.key.starts_with(prefix) && is_after(id, &upload.key));
        let truncated = uploads.len() > max_uploads && max_uploads > 0;
        uploads.truncate(max_uploads);

        let mut xml = Xml::new("ListMultipartUploadsResult");
        xml.element("Bucket", request.call.bucket());
        xml.element("KeyMarker", &encoded(key_marker));
        xml.element("UploadIdMarker", id_marker);
        if let Some((id, upload)) = uploads.last().filter(|_| truncated) {
            xml.element("NextKeyMarker", &encoded(&upload.key));
            xml.element("NextUploadIdMarker", id);
        }
        if encode {
            xml.element("EncodingType", "url");
        }
        xml.element("Prefix", &encoded(prefix));
        xml.number("MaxUploads", max_uploads as u64);
        xml.element("IsTruncated", if truncated { "true" } else { "false" });
        for (id, upload) in uploads {
            xml.open("Upload");
            xml.element("Key", &encoded(&upload.key));
            xml.element("UploadId", &id);
            xml.element("StorageClass", upload.attributes.storage_class());
            xml.element("Initiated", &upload.initiated.iso);
            xml.close("Upload");
        }
        Ok(Answer::xml(StatusCode::OK, xml))
    }
}

fn upload_id(request: &Request) -> &str {
    request.call.query("uploadId").unwrap_or_default()
}

/// Unlike the range of a GET, this one must be well-formed and lie inside.
fn copy_range(range: &str, size: u64) -> Result<Range<u64>, Failure> {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u64>().ok());
    let bounds = range.strip_prefix("bytes=").and_then(|range| range.split_once('-'));
    let bounds = bounds.and_then(|(first, last)| Some((digits(first)??, digits(last)??)));
    match bounds {
        Some((first, last)) if first <= last && last < size => Ok(first..last + 1),
        Some((first, last)) if first <= last => {
            let message = format!("Range specified is not valid for source object of size: {size}");
            Err(Failure::new(StatusCode::BAD_REQUEST, "InvalidArgument", message))
        }
        _ => Err(Failure::invalid_argument(
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_of_a_copied_part_lies_inside_of_its_source() {
        assert_eq!(copy_range("bytes=0-9", 10).unwrap(), 0..10);
        assert_eq!(copy_range("bytes=3-3", 10).unwrap(), 3..4);
        for range in ["bytes=0-10", "bytes=0-19", "bytes=10-10", "bytes=0-99999999999999999999"] {
            assert!(copy_range(range, 10).is_err(), "{range}");
        }
        for range in ["bytes=3-", "bytes=-3", "bytes=4-3", "bytes=+1-2", "1-2", "bytes=1-2,4-5", ""] {
            assert!(copy_range(range, 10).is_err(), "{range}");
        }
        assert!(copy_range("bytes=0-0", 0).is_err());
    }
}
