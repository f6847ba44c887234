//! What must hold of the parsers of answers and of the escape of keys, whatever bytes come; see [`crate::fuzzing`].

use std::time::SystemTime;

use chrono::{DateTime, Datelike as _, SecondsFormat, Utc};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use percent_encoding::percent_decode_str;

use super::failure::{Failure, FailureKind};
use super::listing::{self as listings, ListPage, ListedObject};
use super::uploads::{self as pages, ListedUpload, UploadMarker};
use super::wire::ResponseHead;
use super::{ObjectHead, content_range as ranges, keys, rfc2047 as words};

/// Pages of ListObjectsV2: one that is read says no more than it holds, and comes back when it is written anew.
pub fn listing(data: &[u8]) {
    let Ok(page) = listings::parse(data, None) else { return };
    let mut read = page.next.as_ref().map_or(0, String::len);
    for ListedObject { key, etag, .. } in &page.objects {
        assert!(!key.is_empty());
        read += key.len() + etag.as_ref().map_or(0, String::len);
    }
    assert!(read <= data.len(), "{} bytes became {read}", data.len());
    if page.objects.iter().filter_map(|object| object.last_modified).all(has_year_of_four_digits) {
        assert_eq!(listings::parse(page_document(&page).as_bytes(), None).ok().as_ref(), Some(&page));
    }
    if let Some(next) = &page.next {
        assert!(!next.is_empty(), "an empty token asks for the first page");
        assert!(listings::parse(data, Some(next)).is_err(), "a token that leads to itself never ends");
    }
}

/// Others, which an offset may lead to, cannot be written.
fn has_year_of_four_digits(time: SystemTime) -> bool {
    (0..=9999).contains(&DateTime::<Utc>::from(time).year())
}

fn page_document(page: &ListPage) -> String {
    let ListPage { objects, prefixes, next } = page;
    let mut document = "<ListBucketResult><EncodingType>url</EncodingType>".to_owned();
    for ListedObject { key, size, etag, last_modified } in objects {
        document.push_str("<Contents>");
        document.push_str(&element("Key", &keys::encode_query(key).replace("%20", "+")));
        document.push_str(&element("Size", &size.to_string()));
        if let Some(etag) = etag {
            document.push_str(&element("ETag", etag));
        }
        if let Some(time) = last_modified {
            let time = DateTime::<Utc>::from(*time).to_rfc3339_opts(SecondsFormat::Nanos, true);
            document.push_str(&element("LastModified", &time));
        }
        document.push_str("</Contents>");
    }
    for prefix in prefixes {
        let prefix = element("Prefix", &keys::encode_query(prefix).replace("%20", "+"));
        document.push_str(&format!("<CommonPrefixes>{prefix}</CommonPrefixes>"));
    }
    if let Some(next) = next {
        document.push_str("<IsTruncated>true</IsTruncated>");
        document.push_str(&element("NextContinuationToken", next));
    }
    document.push_str("</ListBucketResult>");
    document
}

/// Pages of ListMultipartUploads: as those of ListObjectsV2, and no upload is without a key, an id or a date.
pub fn uploads(data: &[u8]) {
    let Ok((uploads, next)) = pages::parse(data, None) else { return };
    let mut read = next.as_ref().map_or(0, |next| next.key.len() + next.id.as_ref().map_or(0, String::len));
    for ListedUpload { key, id, storage_class, .. } in &uploads {
        assert!(!key.is_empty() && !id.is_empty() && storage_class.as_deref() != Some(""));
        read += key.len() + id.len() + storage_class.as_ref().map_or(0, String::len);
    }
    assert!(read <= data.len(), "{} bytes became {read}", data.len());
    if uploads.iter().map(|upload| upload.initiated).all(has_year_of_four_digits) {
        let written = uploads_document(&uploads, next.as_ref());
        assert_eq!(pages::parse(written.as_bytes(), None).ok(), Some((uploads, next.clone())));
    }
    if let Some(next) = &next {
        assert!(next.id.as_deref() != Some(""));
        assert!(pages::parse(data, Some(next)).is_err(), "a marker that leads to itself never ends");
    }
}

fn uploads_document(uploads: &[ListedUpload], next: Option<&UploadMarker>) -> String {
    let encoded = |name: &str, key: &str| element(name, &keys::encode_query(key).replace("%20", "+"));
    let mut document = "<ListMultipartUploadsResult><EncodingType>url</EncodingType>".to_owned();
    for ListedUpload { key, id, initiated, storage_class } in uploads {
        let time = DateTime::<Utc>::from(*initiated).to_rfc3339_opts(SecondsFormat::Nanos, true);
        document.push_str("<Upload>");
        document.push_str(&encoded("Key", key));
        document.push_str(&element("UploadId", id));
        document.push_str(&element("Initiated", &time));
        document.extend(storage_class.as_deref().map(|class| element("StorageClass", class)));
        document.push_str("</Upload>");
    }
    if let Some(UploadMarker { key, id }) = next {
        document.push_str("<IsTruncated>true</IsTruncated>");
        document.push_str(&encoded("NextKeyMarker", key));
        document.extend(id.as_deref().map(|id| element("NextUploadIdMarker", id)));
    }
    document.push_str("</ListMultipartUploadsResult>");
    document
}

fn element(name: &str, text: &str) -> String {
    format!("<{name}>{}</{name}>", quick_xml::escape::escape(text))
}

/// Error documents: there is always something to tell, and what is cut off never tells anything else.
pub fn error_document(data: &[u8]) {
    let status = StatusCode::INTERNAL_SERVER_ERROR;
    let answered = |body: &[u8]| Failure::from_answer(status, &HeaderMap::new(), body);
    let nothing = "Internal Server Error";

    let failure = answered(data);
    let Failure { kind, code, message, request_id, .. } = &failure;
    assert_eq!((*kind, failure.status), (FailureKind::Answer, Some(status)));
    assert!(!message.is_empty() && code.as_deref() != Some("") && request_id.as_deref() != Some(""));
    if Failure::from_error_in_success(StatusCode::OK, &HeaderMap::new(), data).is_none() {
        assert_eq!((code, message.as_str(), request_id), (&None, nothing, &None));
    }
    let texts = [code.as_deref(), request_id.as_deref(), Some(message.as_str()).filter(|text| *text != nothing)];
    assert!(texts.iter().flatten().map(|text| text.len()).sum::<usize>() <= data.len());

    let mut document = "<Error>".to_owned();
    for (name, text) in [("Code", code.as_deref()), ("Message", Some(message)), ("RequestId", request_id.as_deref())] {
        document.extend(text.map(|text| element(name, text)));
    }
    document.push_str("</Error>");
    let again = answered(document.as_bytes());
    assert_eq!((&again.code, &again.message, &again.request_id), (code, message, request_id));

    let cut = answered(&document.as_bytes()[..data.len() % document.len()]);
    assert!(cut.code.is_none() || cut.code == *code);
    assert!(cut.message == nothing || cut.message == *message);
    assert!(failure.clone().into_error(1).to_string().starts_with(message.as_str()));
}

/// Status and headers of an answer: what is read of an object is not at odds with itself, and an error can be told and judged.
///
/// The first line is the status, and each other one a header.
pub fn headers(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let status = lines.next().and_then(|status| StatusCode::from_bytes(status).ok()).unwrap_or(StatusCode::OK);
    let headers: HeaderMap = lines
        .filter_map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let name = HeaderName::from_bytes(&line[..colon]).ok()?;
            Some((name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?))
        })
        .collect();
    let response = ResponseHead { status, headers };
    for of_a_part in [false, true] {
        let Ok(head) = ObjectHead::read(&response, of_a_part) else { continue };
        let ObjectHead { size, range, etag, .. } = &head;
        assert_eq!(range.is_some() || *size == 0, status == StatusCode::PARTIAL_CONTENT || *size == 0);
        assert!(range.as_ref().is_none_or(|range| range.start < range.end && range.end <= *size));
        assert!(etag.is_some() || response.headers.contains_key(header::LAST_MODIFIED));
    }
    let failure = Failure::from_answer(status, &response.headers, b"");
    assert!(!failure.message.is_empty());
    let wait = failure.retry_after;
    let _ = (failure.retryability(), failure.is_conflict(), failure.is_precondition_failed());
    assert!(failure.into_error(1).status() == Some(status.as_u16()));
    assert!(wait.is_none() || response.headers.contains_key(header::RETRY_AFTER));
}

/// `Content-Range`: a range that is read lies within its object, and is written as it was.
pub fn content_range(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match ranges::parse(&text) {
        Some((Some(range), size)) => {
            assert!(range.start < range.end && range.end <= size);
            let written = format!("bytes {}-{}/{size}", range.start, range.end - 1);
            assert_eq!(ranges::parse(&written), Some((Some(range), size)));
            assert_eq!(without_leading_zeros(text.trim()), written);
        }
        Some((None, size)) => assert_eq!(size, 0),
        None => {}
    }
}

fn without_leading_zeros(text: &str) -> String {
    text.split_inclusive([' ', '-', '/'])
        .map(|number| {
            let significant = number.trim_start_matches('0');
            if significant.starts_with(|first: char| first.is_ascii_alphanumeric()) {
                significant.to_owned()
            } else {
                format!("0{significant}")
            }
        })
        .collect()
}

/// Encoded words: what is not made of them stays as it is, and every text comes back from S3.
pub fn rfc2047(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let decoded = words::decode(&text);
    // A byte of base64 is six bits, and one of ISO 8859-1 at most two bytes.
    assert!(decoded.len() <= 2 * text.len());
    if decoded != text {
        assert!(text.split_ascii_whitespace().all(|word| word.starts_with("=?") && word.ends_with("?=")), "{text:?}");
    }
    let bytes = usize::from(data.first().copied().unwrap_or_default());
    for quoted in [false, true] {
        let value = words::encode(&words::as_s3_reads(&text), quoted, bytes);
        assert!(value.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
        assert_eq!(words::decode(&value), text, "{value}");
    }
}

/// Keys: each comes through `object_store` to the wire as it is, and a path that `object_store` did not make is no key.
pub fn key_path(data: &[u8]) {
    let Ok(key) = std::str::from_utf8(data) else { return };
    let path = keys::encode_path(keys::to_path(key).as_ref());
    let wire = keys::from_url_path(&path).expect("what was escaped can be undone");
    assert_eq!(wire, keys::encode_path(key), "{path}");
    assert_eq!(percent_decode_str(&wire).decode_utf8().as_deref(), Ok(key));
    assert_eq!(keys::decode_listed(&keys::encode_query(key).replace("%20", "+")).as_deref(), Some(key));

    if let Some(wire) = keys::from_url_path(key)
        && wire != key
    {
        let meant = percent_decode_str(&wire).decode_utf8().expect("a key is UTF-8");
        assert_eq!(keys::encode_path(&meant), wire);
    }
    let query = keys::canonical_query(key);
    assert_eq!(keys::canonical_query(&query), query);
}
