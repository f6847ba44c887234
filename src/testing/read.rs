//! GetObject and HeadObject.

use std::ops::Range;

use http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_TYPE, ETAG, EXPIRES, HeaderValue, LAST_MODIFIED,
};
use http::{HeaderMap, StatusCode};

use super::answer::{Answer, Failure};
use super::conditions::{READ, Verdict, check_read};
use super::object::Object;
use super::operation::Operation;
use super::range::{Requested, resolve};
use super::service::{Request, Service};

impl Service {
    pub(super) fn get_object(&self, request: &Request) -> Result<Answer, Failure> {
        let key = request.call.key();
        let object = self.bucket(request)?.get(key).ok_or_else(|| Failure::no_such_key(key))?;
        object.attributes.encryption.check_read(&request.headers)?;
        match check_read(READ, &request.headers, &object) {
            Verdict::Proceed => {}
            Verdict::Failed(failure) => return Err(failure),
            Verdict::NotModified(_) => return Ok(not_modified(&object)),
        }
        let size = object.content.len();
        let part = part(request, &object)?.filter(|_| !request.ignore_range);
        let requested = match &part {
            Some((_, range)) => Requested::Part(range.clone()),
            None if request.ignore_range => Requested::Whole,
            None => resolve(request.header("range"), size),
        };
        let asks_for_checksum = request.header("x-amz-checksum-mode") == Some("ENABLED");
        let mut answer = Answer { headers: object.headers.clone(), ..Answer::default() };
        let range = match requested {
            Requested::Whole => {
                if asks_for_checksum && let Some(checksum) = &object.checksum {
                    checksum.add_with_kind(&mut answer.headers);
                }
                0..size
            }
            Requested::Part(range) => {
                answer.status = StatusCode::PARTIAL_CONTENT;
                // Only a part number can ask for zero bytes, of an empty object.
                if range.is_empty() {
                    answer.status = StatusCode::OK;
                } else {
                    insert(
                        &mut answer.headers,
                        CONTENT_RANGE,
                        &format!("bytes {}-{}/{size}", range.start, range.end - 1),
                    );
                }
                range
            }
            Requested::Unsatisfiable => return Err(unsatisfiable(request, size)),
        };
        if let Some((number, _)) = part
            && !object.parts.is_empty()
        {
            answer.headers.insert("x-amz-mp-parts-count", object.parts.len().into());
            // Of an object with a checksum of all of its bytes, S3 tells none of a part.
            if asks_for_checksum && let Some(checksum) = object.part_checksums.get(number - 1) {
                checksum.add_with_kind(&mut answer.headers);
            }
        }
        override_headers(request, &mut answer.headers);
        // A HEAD has this and no body.
        answer.headers.insert(CONTENT_LENGTH, (range.end - range.start).into());
        if request.call.operation == Operation::GetObject {
            answer.body = object.content.slice(range);
        }
        Ok(answer)
    }
}

/// The part that `partNumber` asks for, and its bytes.
fn part(request: &Request, object: &Object) -> Result<Option<(usize, Range<u64>)>, Failure> {
    let Some(number) = request.call.query("partNumber") else { return Ok(None) };
    if request.headers.contains_key("range") {
        return Err(Failure::bad_request(
            "InvalidRequest",
            "Cannot specify both Range header and partNumber query parameter",
        ));
    }
    let number: usize = match number.parse() {
        Ok(number @ 1..=10_000) => number,
        _ => {
            return Err(Failure::invalid_argument("Part number must be an integer between 1 and 10000, inclusive"));
        }
    };
    let whole = [object.content.len()];
    let parts = if object.parts.is_empty() { &whole } else { object.parts.as_slice() };
    let Some(length) = parts.get(number - 1) else {
        return Err(Failure::new(
            StatusCode::RANGE_NOT_SATISFIABLE,
            "InvalidPartNumber",
            "The requested partnumber is not satisfiable",
        ));
    };
    let start = parts[..number - 1].iter().sum();
    Ok(Some((number, start..start + length)))
}

fn not_modified(object: &Object) -> Answer {
    let mut answer = Answer::new(StatusCode::NOT_MODIFIED);
    for name in [ETAG, LAST_MODIFIED, CACHE_CONTROL, EXPIRES] {
        if let Some(value) = object.headers.get(&name) {
            answer.headers.insert(name, value.clone());
        }
    }
    answer
}

fn unsatisfiable(request: &Request, size: u64) -> Failure {
    let mut failure =
        Failure::new(StatusCode::RANGE_NOT_SATISFIABLE, "InvalidRange", "The requested range is not satisfiable")
            .with("RangeRequested", request.header("range").unwrap_or_default())
            .with("ActualObjectSize", size.to_string());
    if let Ok(range) = HeaderValue::from_str(&format!("bytes */{size}")) {
        failure = failure.header(CONTENT_RANGE, range);
    }
    failure
}

/// A reader may choose some headers of the answer, in the query.
fn override_headers(request: &Request, headers: &mut HeaderMap) {
    if request.call.query.is_empty() {
        return;
    }
    for (parameter, name) in [
        ("response-content-type", CONTENT_TYPE),
        ("response-content-language", CONTENT_LANGUAGE),
        ("response-expires", EXPIRES),
        ("response-cache-control", CACHE_CONTROL),
        ("response-content-disposition", CONTENT_DISPOSITION),
        ("response-content-encoding", CONTENT_ENCODING),
    ] {
        if let Some(value) = request.call.query(parameter) {
            insert(headers, name, value);
        }
    }
}

fn insert(headers: &mut HeaderMap, name: http::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
