//! Answers, before they become HTTP responses.

use std::borrow::Cow;

use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};

use super::call::Call;
use super::content::Content;
use super::xml::Xml;

/// An answer whose body is not on its way yet.
#[derive(Debug, Clone, Default)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Content,
}

impl Answer {
    pub(super) fn new(status: StatusCode) -> Self {
        Self { status, ..Self::default() }
    }

    pub(super) fn xml(status: StatusCode, document: Xml) -> Self {
        let mut answer = Self { body: document.finish().into(), ..Self::new(status) };
        answer.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
        answer
    }
}

pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-amz-request-id");

/// A failure as S3 reports it: a status and an XML document with a code.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    pub(super) status: StatusCode,
    pub(super) code: Cow<'static, str>,
    pub(super) message: Cow<'static, str>,
    details: Vec<(&'static str, String)>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Failure {
    pub(super) fn new(
        status: StatusCode,
        code: impl Into<Cow<'static, str>>,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { status, code: code.into(), message: message.into(), details: Vec::new(), headers: Vec::new() }
    }

    pub(super) fn bad_request(code: &'static str, message: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    pub(super) fn invalid_argument(message: &'static str) -> Self {
        Self::bad_request("InvalidArgument", message)
    }

    pub(super) fn access_denied() -> Self {
        Self::new(StatusCode::FORBIDDEN, "AccessDenied", "Access Denied")
    }

    pub(super) fn no_such_bucket(bucket: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NoSuchBucket", "The specified bucket does not exist")
            .with("BucketName", bucket)
    }

    pub(super) fn no_such_key(key: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NoSuchKey", "The specified key does not exist.").with("Key", key)
    }

    pub(super) fn no_such_upload(id: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "NoSuchUpload",
            "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.",
        )
        .with("UploadId", id)
    }

    pub(super) fn precondition(condition: &'static str) -> Self {
        Self::new(
            StatusCode::PRECONDITION_FAILED,
            "PreconditionFailed",
            "At least one of the pre-conditions you specified did not hold",
        )
        .with("Condition", condition)
    }

    pub(super) fn malformed_xml() -> Self {
        Self::bad_request(
            "MalformedXML",
            "The XML you provided was not well-formed or did not validate against our published schema",
        )
    }

    pub(super) fn not_implemented() -> Self {
        Self::new(
            StatusCode::NOT_IMPLEMENTED,
            "NotImplemented",
            "A header or query you provided requested a function that is not implemented.",
        )
    }

    /// Adds an element to the document.
    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.details.push((name, value.into()));
        self
    }

    pub(super) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    pub(super) fn into_answer(self, call: &Call) -> Answer {
        let mut xml = Xml::plain("Error");
        xml.element("Code", &self.code);
        xml.element("Message", &self.message);
        for (name, value) in &self.details {
            xml.element(name, value);
        }
        xml.element("Resource", call.path());
        xml.element("RequestId", &call.request_id());
        let mut answer = Answer::xml(self.status, xml);
        for (name, value) in self.headers {
            answer.headers.insert(name, value);
        }
        answer
    }

    /// The failure in an error document that was written elsewhere.
    pub(super) fn from_document(status: StatusCode, document: &str) -> Self {
        let field = |name: &str| {
            let (_, rest) = document.split_once(&format!("<{name}>"))?;
            Some(rest.split_once(&format!("</{name}>"))?.0.to_owned())
        };
        let code = field("Code").unwrap_or_else(|| "InternalError".to_owned());
        let message = match code.as_str() {
            "SignatureDoesNotMatch" => {
                "The request signature we calculated does not match the signature you provided. Check your key and signing method.".into()
            }
            "KeyTooLongError" => "Your key is too long".into(),
            "InvalidBucketName" => "The specified bucket is not valid.".into(),
            "InvalidURI" => "Couldn't parse the specified URI.".into(),
            _ => Cow::from(field("Message").map_or_else(|| code.clone(), |text| unescape(&text))),
        };
        Self::new(status, code, message)
    }
}

fn unescape(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&apos;", "'").replace("&amp;", "&")
}
