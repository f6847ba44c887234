//! Answers that are not what the server made of them.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderValue};
use http::{Method, StatusCode};

use crate::testing::answer::Answer;
use crate::testing::call::Call;
use crate::testing::content::Content;
use crate::testing::operation::Operation;

/// What is done to an answer whose length is then made to fit.
#[derive(Debug, Clone)]
pub(super) enum Damage {
    ContentRange,
    Short { bytes: u64 },
    Extra { bytes: u64 },
    Invert { offset: u64 },
    Garbage,
    CutDocument { bytes: u64 },
    CutToken,
    NoToken,
}

/// What listings say about where to go on.
const MARKERS: [&str; 5] =
    ["NextContinuationToken", "NextMarker", "NextKeyMarker", "NextUploadIdMarker", "NextPartNumberMarker"];

const GARBAGE: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult><Contents><<&; \u{fffd}</Owner>";

impl Damage {
    /// `false` when there is nothing that it could be done to.
    pub(super) fn apply(&self, call: &Call, answer: &mut Answer) -> bool {
        if let Self::ContentRange = self {
            return shift_range(answer);
        }
        let Some(body) = self.damaged(call, answer) else { return false };
        if answer.headers.contains_key(CONTENT_LENGTH) {
            answer.headers.insert(CONTENT_LENGTH, body.len().into());
        }
        answer.body = body;
        true
    }

    fn damaged(&self, call: &Call, answer: &Answer) -> Option<Content> {
        let body = &answer.body;
        match *self {
            Self::ContentRange => None,
            Self::Short { bytes } => (bytes < body.len()).then(|| body.slice(0..bytes)),
            Self::Extra { bytes } => {
                let extra = Bytes::from(vec![b'+'; usize::try_from(bytes).ok()?]);
                (bytes > 0 && may_have_body(call, answer)).then(|| Content::concat([body, &extra.into()]))
            }
            Self::Invert { offset } => body.inverted(offset),
            Self::Garbage => is_document(call, answer).then(|| GARBAGE.to_owned().into()),
            Self::CutDocument { bytes } => {
                (is_document(call, answer) && bytes < body.len()).then(|| body.slice(0..bytes))
            }
            Self::CutToken => {
                let listing = document(call, answer)?;
                let (start, end) = text_of(&listing, MARKERS[0])?;
                let half = start + (end - start) / 2;
                Some([&listing[..half], &listing[end..]].concat().into())
            }
            Self::NoToken => {
                let mut listing = document(call, answer)?;
                let length = listing.len();
                for name in MARKERS {
                    if let Some((start, end)) = text_of(&listing, name) {
                        listing.replace_range(start - name.len() - 2..end + name.len() + 3, "");
                    }
                }
                (listing.len() < length).then(|| listing.into())
            }
        }
    }
}

/// Every position is one too high.
fn shift_range(answer: &mut Answer) -> bool {
    let shifted = answer.headers.get(CONTENT_RANGE).and_then(|range| {
        let (range, size) = range.to_str().ok()?.strip_prefix("bytes ")?.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
        HeaderValue::from_str(&format!("bytes {}-{}/{size}", first + 1, last + 1)).ok()
    });
    let Some(shifted) = shifted else { return false };
    answer.headers.insert(CONTENT_RANGE, shifted);
    true
}

fn may_have_body(call: &Call, answer: &Answer) -> bool {
    call.method != Method::HEAD && ![StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&answer.status)
}

/// Whether the body is the server's own XML, and not an object that happens to be XML.
pub(super) fn is_document(call: &Call, answer: &Answer) -> bool {
    let xml = answer.headers.get(CONTENT_TYPE).is_some_and(|kind| kind == "application/xml");
    let object = call.operation == Operation::GetObject && answer.status.is_success();
    xml && !object && answer.body.len() > 0
}

fn document(call: &Call, answer: &Answer) -> Option<String> {
    is_document(call, answer).then(|| String::from_utf8(answer.body.to_bytes().into()).ok())?
}

/// Where the text of the first element of this name begins and ends.
fn text_of(document: &str, name: &str) -> Option<(usize, usize)> {
    let start = document.find(&format!("<{name}>"))? + name.len() + 2;
    let end = start + document[start..].find(&format!("</{name}>"))?;
    Some((start, end))
}
