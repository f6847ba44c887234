//! PutObject and CopyObject.

use std::sync::Arc;

use http::header::{ETAG, HeaderValue};
use http::{HeaderMap, StatusCode};

use super::answer::{Answer, Failure};
use super::checksum::Checksum;
use super::conditions::{COPY_SOURCE, Verdict, check_read};
use super::encode::percent_decode;
use super::object::{Attributes, Object, quoted};
use super::receive::{Incoming, Received};
use super::service::{Request, Service};
use super::tags::Tags;
use super::xml::Xml;

impl Service {
    pub(super) async fn put_object(&self, request: &Request, body: Incoming) -> Result<Answer, Failure> {
        let Received { content, digest, checksum } =
            body.content(&request.headers, self.etags, self.keep_content).await?;
        let bucket = self.bucket(request)?;
        let condition = self.write_condition(request)?;
        let attributes = Attributes::of(&request.headers)?;
        let object = Arc::new(Object::new(
            content,
            quoted(&digest),
            attributes,
            Some(checksum.clone()),
            Vec::new(),
            self.clock.moment(),
        ));
        bucket.put(request.call.key(), Arc::clone(&object), &condition)?;
        let mut answer = Answer { headers: object.attributes.encryption.asked_for(), ..Answer::default() };
        insert_etag(&mut answer.headers, &object.etag);
        checksum.add_with_kind(&mut answer.headers);
        Ok(answer)
    }

    pub(super) fn copy_object(&self, request: &Request) -> Result<Answer, Failure> {
        let bucket = self.bucket(request)?;
        let Source { bucket: source_bucket, key: source_key, object: source } = self.source(request)?;
        self.check_copy_size(source.content.len())?;
        let replace = replaces(request, "x-amz-metadata-directive", "Unknown metadata directive.")?;
        let replace_tags = replaces(request, "x-amz-tagging-directive", "Unknown tagging directive.")?;
        let headers = &request.headers;
        let mut attributes = if replace { Attributes::of(headers)? } else { source.attributes.copied(headers)? };
        attributes.tags = if replace_tags { Tags::of(headers)? } else { source.attributes.tags.clone() };
        let onto_itself = source_bucket == request.call.bucket() && source_key == request.call.key();
        if onto_itself
            && !replace
            && !headers
                .keys()
                .any(|name| name.as_str().starts_with("x-amz-server-side-encryption") || name == "x-amz-storage-class")
        {
            return Err(Failure::bad_request(
                "InvalidRequest",
                "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes.",
            ));
        }
        let condition = self.write_condition(request)?;
        // A copy of an object that was uploaded in parts is one piece, with an ETag of its own.
        let (etag, checksum) = match &source.checksum {
            Some(checksum) if source.parts.is_empty() => (source.etag.clone(), checksum.clone()),
            _ => {
                let checksum = Checksum::of(&source.content);
                (quoted(&self.etags.digest(&source.content, &checksum)), checksum)
            }
        };
        let content = source.content.clone();
        let copy = Arc::new(Object::new(content, etag, attributes, Some(checksum), Vec::new(), self.clock.moment()));
        bucket.put(request.call.key(), Arc::clone(&copy), &condition)?;
        let mut xml = Xml::new("CopyObjectResult");
        xml.element("LastModified", &copy.modified.iso);
        xml.element("ETag", &copy.etag);
        if let Some(checksum) = &copy.checksum {
            xml.element("ChecksumType", checksum.kind());
            xml.element(checksum.element(), &checksum.value);
        }
        let mut answer = Answer::xml(StatusCode::OK, xml);
        answer.headers.extend(copy.attributes.encryption.asked_for());
        Ok(answer)
    }

    /// What goes into one copy, or into one part of a longer one.
    pub(super) fn check_copy_size(&self, bytes: u64) -> Result<(), Failure> {
        if bytes <= self.max_copy_size {
            return Ok(());
        }
        let message = format!(
            "The specified copy source is larger than the maximum allowable size for a copy source: {}",
            self.max_copy_size
        );
        Err(Failure::new(StatusCode::BAD_REQUEST, "InvalidRequest", message))
    }

    /// The object that `x-amz-copy-source` names, if its conditions hold.
    pub(super) fn source(&self, request: &Request) -> Result<Source, Failure> {
        let invalid =
            || Failure::invalid_argument("Copy Source must mention the source bucket and key: sourcebucket/sourcekey");
        let header = request.header("x-amz-copy-source").ok_or_else(invalid)?;
        let path = header.split_once("?versionId=").map_or(header, |(path, _)| path);
        let path = percent_decode(path).ok_or_else(invalid)?;
        let (bucket, key) = path.strip_prefix('/').unwrap_or(&path).split_once('/').ok_or_else(invalid)?;
        if bucket.is_empty() || key.is_empty() {
            return Err(invalid());
        }
        self.access.check_key(bucket, key)?;
        let object = self.store.bucket(bucket)?.get(key).ok_or_else(|| Failure::no_such_key(key))?;
        object.attributes.encryption.check_source(&request.headers)?;
        match check_read(COPY_SOURCE, &request.headers, &object) {
            Verdict::Proceed => Ok(Source { bucket: bucket.to_owned(), key: key.to_owned(), object }),
            Verdict::Failed(failure) => Err(failure),
            Verdict::NotModified(condition) => Err(Failure::precondition(condition)),
        }
    }
}

/// Whether a copy gets what the request says instead of what its source has.
fn replaces(request: &Request, directive: &str, unknown: &'static str) -> Result<bool, Failure> {
    match request.header(directive) {
        None | Some("COPY") => Ok(false),
        Some("REPLACE") => Ok(true),
        Some(_) => Err(Failure::invalid_argument(unknown)),
    }
}

/// Where a copy comes from.
#[derive(Debug)]
pub(super) struct Source {
    bucket: String,
    key: String,
    pub(super) object: Arc<Object>,
}

pub(super) fn insert_etag(headers: &mut HeaderMap, etag: &str) {
    if let Ok(etag) = HeaderValue::from_str(etag) {
        headers.insert(ETAG, etag);
    }
}
