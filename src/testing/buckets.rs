//! Listings of objects, and what concerns buckets themselves.

use http::StatusCode;
use http::header::{HeaderName, HeaderValue, LOCATION};

use super::answer::{Answer, Failure};
use super::encode::url_encode;
use super::listing::{Page, Position, Query, page};
use super::operation::Operation;
use super::service::{Request, Service};
use super::xml::Xml;

const BUCKET_REGION: HeaderName = HeaderName::from_static("x-amz-bucket-region");

impl Service {
    /// Both versions of the listing: they differ in how they name where to go on.
    pub(super) fn list_objects(&self, request: &Request) -> Result<Answer, Failure> {
        let bucket = self.bucket(request)?;
        let call = &request.call;
        let v2 = call.operation == Operation::ListObjectsV2;
        let max_keys = match call.query("max-keys") {
            None | Some("") => self.page_size,
            Some(number) => number
                .parse::<u32>()
                .map_err(|_| {
                    Failure::invalid_argument("Provided max-keys not an integer or within integer range")
                        .with("ArgumentName", "max-keys")
                        .with("ArgumentValue", number)
                })
                .map(|number| (number as usize).min(self.page_size))?,
        };
        let encode = match call.query("encoding-type") {
            None | Some("") => false,
            Some("url") => true,
            Some(_) => {
                return Err(Failure::invalid_argument("Invalid Encoding Method specified in Request")
                    .with("ArgumentName", "encoding-type"));
            }
        };
        let encoded = |text: &str| if encode { url_encode(text) } else { text.to_owned() };
        let prefix = call.query("prefix").unwrap_or_default();
        let delimiter = call.query("delimiter").filter(|delimiter| !delimiter.is_empty());
        let token = call.query("continuation-token").filter(|_| v2);
        let start_after = call.query(if v2 { "start-after" } else { "marker" }).filter(|key| !key.is_empty());
        let after = match (token, start_after) {
            (Some(token), _) => Position::from_token(token).ok_or_else(|| {
                Failure::invalid_argument("The continuation token provided is incorrect")
                    .with("ArgumentName", "continuation-token")
            })?,
            // The marker of version 1 may be a common prefix of the page before.
            (None, Some(key)) if !v2 && delimiter.is_some_and(|delimiter| key.ends_with(delimiter)) => {
                Position::AfterPrefix(key.to_owned())
            }
            (None, Some(key)) => Position::AfterKey(key.to_owned()),
            (None, None) => Position::Start,
        };
        let Page { objects, prefixes, next } = page(&bucket, &Query { prefix, delimiter, after, max_keys });

        let mut xml = Xml::new("ListBucketResult");
        xml.reserve(512 + objects.len() * 320);
        xml.element("Name", call.bucket());
        xml.element("Prefix", &encoded(prefix));
        if !v2 {
            xml.element("Marker", &encoded(start_after.unwrap_or_default()));
        }
        xml.number("MaxKeys", max_keys as u64);
        if let Some(delimiter) = delimiter {
            xml.element("Delimiter", &encoded(delimiter));
        }
        if encode {
            xml.element("EncodingType", "url");
        }
        if v2 {
            xml.number("KeyCount", (objects.len() + prefixes.len()) as u64);
            if let Some(token) = token {
                xml.element("ContinuationToken", token);
            }
            if let Some(start_after) = start_after {
                xml.element("StartAfter", &encoded(start_after));
            }
        }
        xml.element("IsTruncated", if next.is_some() { "true" } else { "false" });
        match &next {
            Some(next) if v2 => xml.element("NextContinuationToken", &next.token()),
            Some(Position::AfterKey(marker) | Position::AfterPrefix(marker)) if delimiter.is_some() => {
                xml.element("NextMarker", &encoded(marker));
            }
            _ => {}
        }
        let owner = !v2 || call.query("fetch-owner") == Some("true");
        for (key, object) in &objects {
            xml.open("Contents");
            xml.element("Key", &encoded(key));
            xml.element("LastModified", &object.modified.iso);
            xml.element("ETag", &object.etag);
            if let Some(checksum) = &object.checksum {
                xml.element("ChecksumAlgorithm", checksum.algorithm());
                xml.element("ChecksumType", checksum.kind());
            }
            xml.number("Size", object.content.len());
            if owner {
                write_owner(&mut xml);
            }
            xml.element("StorageClass", object.attributes.storage_class());
            xml.close("Contents");
        }
        for prefix in &prefixes {
            xml.open("CommonPrefixes");
            xml.element("Prefix", &encoded(prefix));
            xml.close("CommonPrefixes");
        }
        let mut answer = Answer::xml(StatusCode::OK, xml);
        self.tell_region(&mut answer);
        Ok(answer)
    }

    pub(super) fn list_buckets(&self) -> Answer {
        let mut xml = Xml::new("ListAllMyBucketsResult");
        write_owner(&mut xml);
        xml.open("Buckets");
        for (name, created) in self.store.names() {
            xml.open("Bucket");
            xml.element("Name", &name);
            xml.element("CreationDate", &created.iso);
            xml.close("Bucket");
        }
        xml.close("Buckets");
        Answer::xml(StatusCode::OK, xml)
    }

    pub(super) fn head_bucket(&self, request: &Request) -> Result<Answer, Failure> {
        self.bucket(request)?;
        let mut answer = Answer::new(StatusCode::OK);
        self.tell_region(&mut answer);
        Ok(answer)
    }

    pub(super) fn create_bucket(&self, request: &Request) -> Result<Answer, Failure> {
        let bucket = request.call.bucket();
        if !self.store.create_bucket(bucket, self.clock.moment()) {
            return Err(Failure::new(
                StatusCode::CONFLICT,
                "BucketAlreadyOwnedByYou",
                "Your previous request to create the named bucket succeeded and you already own it.",
            )
            .with("BucketName", bucket));
        }
        let mut answer = Answer::new(StatusCode::OK);
        if let Ok(location) = HeaderValue::from_str(&format!("/{bucket}")) {
            answer.headers.insert(LOCATION, location);
        }
        Ok(answer)
    }

    pub(super) fn delete_bucket(&self, request: &Request) -> Result<Answer, Failure> {
        self.store.delete_bucket(request.call.bucket())?;
        Ok(Answer::new(StatusCode::NO_CONTENT))
    }

    pub(super) fn get_bucket_location(&self, request: &Request) -> Result<Answer, Failure> {
        self.bucket(request)?;
        let mut xml = Xml::new("LocationConstraint");
        // The oldest region has no name here.
        if self.access.region != "us-east-1" {
            xml.text(&self.access.region);
        }
        Ok(Answer::xml(StatusCode::OK, xml))
    }

    fn tell_region(&self, answer: &mut Answer) {
        if let Ok(region) = HeaderValue::from_str(&self.access.region) {
            answer.headers.insert(BUCKET_REGION, region);
        }
    }
}

fn write_owner(xml: &mut Xml) {
    xml.open("Owner");
    xml.element("ID", "s3flow");
    xml.element("DisplayName", "s3flow");
    xml.close("Owner");
}
