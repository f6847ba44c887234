//! DeleteObject and DeleteObjects.

use http::StatusCode;
use s3s::dto::Delete;
use s3s::xml::{Deserialize as _, Deserializer};

use super::answer::{Answer, Failure};
use super::receive::Incoming;
use super::service::{Request, Service};
use super::store::Bucket;
use super::xml::{Xml, is_legal};

const MAX_KEYS: usize = 1000;
const MAX_KEY_LENGTH: usize = 1024;

impl Service {
    pub(super) fn delete_object(&self, request: &Request) -> Result<Answer, Failure> {
        self.bucket(request)?.remove(request.call.key());
        Ok(Answer::new(StatusCode::NO_CONTENT))
    }

    pub(super) async fn delete_objects(&self, request: &Request, body: Incoming) -> Result<Answer, Failure> {
        let document = body.document_with_digest(&request.headers).await?;
        let bucket = self.bucket(request)?;
        // A parser of XML sees one line feed for every end of line that is not a character reference.
        let document = String::from_utf8(document.into()).map_err(|_| Failure::malformed_xml())?;
        let document = document.replace("\r\n", "\n").replace('\r', "\n");
        let delete =
            Delete::deserialize(&mut Deserializer::new(document.as_bytes())).map_err(|_| Failure::malformed_xml())?;
        if delete.objects.is_empty() || delete.objects.len() > MAX_KEYS {
            return Err(Failure::malformed_xml());
        }
        if delete.objects.iter().any(|object| !object.key.chars().all(is_legal)) {
            return Err(Failure::malformed_xml());
        }
        let mut xml = Xml::new("DeleteResult");
        for object in &delete.objects {
            match self.delete_one(request, &bucket, &object.key) {
                Ok(()) if delete.quiet == Some(true) => {}
                Ok(()) => {
                    xml.open("Deleted");
                    xml.element("Key", &object.key);
                    xml.close("Deleted");
                }
                Err(failure) => {
                    xml.open("Error");
                    xml.element("Key", &object.key);
                    xml.element("Code", &failure.code);
                    xml.element("Message", &failure.message);
                    xml.close("Error");
                }
            }
        }
        Ok(Answer::xml(StatusCode::OK, xml))
    }

    /// One of many.
    fn delete_one(&self, request: &Request, bucket: &Bucket, key: &str) -> Result<(), Failure> {
        if key.is_empty() {
            return Err(Failure::bad_request("UserKeyMustBeSpecified", "A key must be specified"));
        }
        if key.len() > MAX_KEY_LENGTH {
            return Err(Failure::bad_request("KeyTooLongError", "Your key is too long"));
        }
        self.access.check_key(request.call.bucket(), key)?;
        let fault = self.faults.key_fault(&request.call, key);
        if fault.as_ref().is_none_or(|fault| fault.carried_out) {
            bucket.remove(key);
        }
        fault.map_or(Ok(()), |fault| Err(fault.failure))
    }
}
