//! PutObject, CopyObject, DeleteObject and DeleteObjects.

use std::sync::Arc;

use http::header::{ETAG, HeaderValue};
use http::{HeaderMap, StatusCode};
use s3s::dto::Delete;
use s3s::xml::{Deserialize as _, Deserializer};

use super::answer::{Answer, Failure};
use super::checksum::Checksum;
use super::conditions::{COPY_SOURCE, Verdict, WriteCondition, check_read};
use super::encode::percent_decode;
use super::object::{Attributes, Object, quoted};
use super::receive::{Incoming, Received};
use super::service::{Request, Service};
use super::xml::Xml;

impl Service {
    pub(super) async fn put_object(&self, request: &Request, body: Incoming) -> Result<Answer, Failure> {
        let Received { content, digest, checksum } = body.content(&request.headers, self.etags).await?;
        let bucket = self.bucket(request)?;
        let condition = WriteCondition::of(&request.headers)?;
        let attributes = Attributes::of(&request.headers)?;
        let object = Arc::new(Object::new(content, quoted(&digest), attributes, Some(checksum), Vec::new()));
        bucket.put(request.call.key(), Arc::clone(&object), &condition)?;
        let mut answer = Answer { headers: object.attributes.encryption.headers.clone(), ..Answer::default() };
        insert_etag(&mut answer.headers, &object.etag);
        if let Some(checksum) = &object.checksum {
            checksum.add_with_kind(&mut answer.headers);
        }
        Ok(answer)
    }

    pub(super) fn copy_object(&self, request: &Request) -> Result<Answer, Failure> {
        let bucket = self.bucket(request)?;
        let Source { bucket: source_bucket, key: source_key, object: source } = self.source(request)?;
        let replace = match request.header("x-amz-metadata-directive") {
            None | Some("COPY") => false,
            Some("REPLACE") => true,
            Some(_) => return Err(Failure::invalid_argument("Unknown metadata directive.")),
        };
        let headers = &request.headers;
        let attributes = if replace { Attributes::of(headers)? } else { source.attributes.copied(headers)? };
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
        let condition = WriteCondition::of(headers)?;
        // A copy of an object that was uploaded in parts is one piece, with an ETag of its own.
        let (etag, checksum) = match &source.checksum {
            Some(checksum) if source.parts.is_empty() => (source.etag.clone(), checksum.clone()),
            _ => {
                let checksum = Checksum::of(&source.content);
                (quoted(&self.etags.digest(&source.content, &checksum)), checksum)
            }
        };
        let content = source.content.clone();
        let copy = Arc::new(Object::new(content, etag, attributes, Some(checksum), Vec::new()));
        bucket.put(request.call.key(), Arc::clone(&copy), &condition)?;
        let mut xml = Xml::new("CopyObjectResult");
        xml.element("LastModified", &copy.modified.iso);
        xml.element("ETag", &copy.etag);
        if let Some(checksum) = &copy.checksum {
            xml.element("ChecksumType", checksum.kind());
            xml.element(checksum.element(), &checksum.value);
        }
        let mut answer = Answer::xml(StatusCode::OK, xml);
        answer.headers.extend(copy.attributes.encryption.headers.clone());
        Ok(answer)
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

    pub(super) fn delete_object(&self, request: &Request) -> Result<Answer, Failure> {
        self.bucket(request)?.remove(request.call.key());
        Ok(Answer::new(StatusCode::NO_CONTENT))
    }

    pub(super) async fn delete_objects(&self, request: &Request, body: Incoming) -> Result<Answer, Failure> {
        let document = body.document(&request.headers).await?;
        let bucket = self.bucket(request)?;
        let has_digest = |headers: &HeaderMap| {
            headers.contains_key("content-md5")
                || headers.contains_key("x-amz-trailer")
                || headers.keys().any(|name| name.as_str().starts_with("x-amz-checksum-"))
        };
        if !has_digest(&request.headers) {
            return Err(Failure::bad_request(
                "InvalidRequest",
                "Missing required header for this request: Content-MD5",
            ));
        }
        let delete = Delete::deserialize(&mut Deserializer::new(&document)).map_err(|_| Failure::malformed_xml())?;
        if delete.objects.is_empty() || delete.objects.len() > 1000 {
            return Err(Failure::malformed_xml());
        }
        let mut xml = Xml::new("DeleteResult");
        for object in &delete.objects {
            match self.access.check_key(request.call.bucket(), &object.key) {
                Ok(()) => {
                    bucket.remove(&object.key);
                    if delete.quiet != Some(true) {
                        xml.open("Deleted");
                        xml.element("Key", &object.key);
                        xml.close("Deleted");
                    }
                }
                Err(failure) => {
                    xml.open("Error");
                    xml.element("Key", &object.key);
                    xml.element("Code", &failure.code);
                    xml.element("Message", "Access Denied");
                    xml.close("Error");
                }
            }
        }
        Ok(Answer::xml(StatusCode::OK, xml))
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
