//! Conditional requests.

use http::HeaderMap;

use super::answer::Failure;
use super::object::Object;

/// The four headers of a conditional read, by the names that the request uses for them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Names {
    if_match: &'static str,
    if_none_match: &'static str,
    if_modified_since: &'static str,
    if_unmodified_since: &'static str,
}

/// Of the object that is read.
pub(super) const READ: Names = Names {
    if_match: "if-match",
    if_none_match: "if-none-match",
    if_modified_since: "if-modified-since",
    if_unmodified_since: "if-unmodified-since",
};

/// Of the object that is copied from.
pub(super) const COPY_SOURCE: Names = Names {
    if_match: "x-amz-copy-source-if-match",
    if_none_match: "x-amz-copy-source-if-none-match",
    if_modified_since: "x-amz-copy-source-if-modified-since",
    if_unmodified_since: "x-amz-copy-source-if-unmodified-since",
};

/// What the conditions of a read say about an object.
#[derive(Debug)]
pub(super) enum Verdict {
    Proceed,
    /// 304 for reads, 412 for copies.
    NotModified(&'static str),
    Failed(Failure),
}

pub(super) fn check_read(names: Names, headers: &HeaderMap, object: &Object) -> Verdict {
    let value = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    // A condition on the ETag makes its companion on the time irrelevant.
    if let Some(list) = value(names.if_match) {
        if !matches_etag(list, &object.etag) {
            return Verdict::Failed(Failure::precondition("If-Match"));
        }
    } else if value(names.if_unmodified_since).and_then(|date| object.modified.is_after(date)) == Some(true) {
        return Verdict::Failed(Failure::precondition("If-Unmodified-Since"));
    }
    if let Some(list) = value(names.if_none_match) {
        if matches_etag(list, &object.etag) {
            return Verdict::NotModified("If-None-Match");
        }
    } else if value(names.if_modified_since).and_then(|date| object.modified.is_after(date)) == Some(false) {
        return Verdict::NotModified("If-Modified-Since");
    }
    Verdict::Proceed
}

/// The condition of a write, decided under the lock that the write takes.
#[derive(Debug, Clone, Default)]
pub(super) enum WriteCondition {
    #[default]
    None,
    Absent,
    Matches(String),
}

impl WriteCondition {
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Failure> {
        let value = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        match (value("if-match"), value("if-none-match")) {
            (None, None) => Ok(Self::None),
            (None, Some("*")) => Ok(Self::Absent),
            (Some(etags), None) => Ok(Self::Matches(etags.to_owned())),
            _ => Err(Failure::not_implemented()),
        }
    }

    pub(super) fn check(&self, key: &str, current: Option<&Object>) -> Result<(), Failure> {
        match (self, current) {
            (Self::None, _) | (Self::Absent, None) => Ok(()),
            (Self::Absent, Some(_)) => Err(Failure::precondition("If-None-Match")),
            (Self::Matches(_), None) => Err(Failure::no_such_key(key)),
            (Self::Matches(etags), Some(object)) if matches_etag(etags, &object.etag) => Ok(()),
            (Self::Matches(_), Some(_)) => Err(Failure::precondition("If-Match")),
        }
    }
}

/// Whether a list of entity tags, quoted or not, names this one, which is quoted.
fn matches_etag(list: &str, etag: &str) -> bool {
    let etag = etag.trim_matches('"');
    list.split(',').map(str::trim).any(|candidate| {
        candidate == "*" || candidate.strip_prefix("W/").unwrap_or(candidate).trim_matches('"') == etag
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entity_tags_match_quoted_or_bare_alone_or_in_a_list() {
        for list in ["\"abc\"", "abc", "*", "\"x\", \"abc\"", "W/\"abc\""] {
            assert!(matches_etag(list, "\"abc\""), "{list}");
        }
        for list in ["\"abcd\"", "", "\"x\",\"y\""] {
            assert!(!matches_etag(list, "\"abc\""), "{list}");
        }
    }
}
