//! Under which conditions a request wants the object.

use headers::{HeaderMapExt as _, IfMatch, IfModifiedSince, IfNoneMatch, IfRange, IfUnmodifiedSince, LastModified};
use http::HeaderMap;

use super::{etag_of, modified};
use crate::object::S3Object;

/// The conditions of a request; one that cannot be read is none.
pub(super) struct Conditions {
    matches: Option<IfMatch>,
    unmodified: Option<IfUnmodifiedSince>,
    matches_none: Option<IfNoneMatch>,
    modified: Option<IfModifiedSince>,
    range: Option<IfRange>,
    /// There is an `If-Range` that cannot be read: it is of no version.
    unreadable_range: bool,
}

pub(super) enum Verdict {
    Proceed,
    /// 304.
    NotModified,
    /// 412.
    Failed,
}

impl Conditions {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        Self {
            matches: headers.typed_get(),
            unmodified: headers.typed_get(),
            matches_none: headers.typed_get(),
            modified: headers.typed_get(),
            range: headers.typed_get(),
            unreadable_range: headers.typed_try_get::<IfRange>().is_err(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        let Self { matches, unmodified, matches_none, modified, range, unreadable_range } = self;
        matches.is_none()
            && unmodified.is_none()
            && matches_none.is_none()
            && modified.is_none()
            && range.is_none()
            && !unreadable_range
    }

    /// <https://www.rfc-editor.org/rfc/rfc9110.html#section-13.2.2>
    pub(super) fn judge(&self, object: &S3Object) -> Verdict {
        let (etag, time) = (etag_of(object), modified(object));
        let failed = match (&self.matches, &self.unmodified) {
            (Some(condition), _) => !etag.as_ref().is_some_and(|etag| condition.precondition_passes(etag)),
            (None, Some(condition)) => time.is_some_and(|time| !condition.precondition_passes(time)),
            (None, None) => false,
        };
        if failed {
            return Verdict::Failed;
        }
        let not_modified = match (&self.matches_none, &self.modified) {
            (Some(condition), _) => etag.as_ref().is_some_and(|etag| !condition.precondition_passes(etag)),
            (None, Some(condition)) => time.is_some_and(|time| !condition.is_modified(time)),
            (None, None) => false,
        };
        if not_modified { Verdict::NotModified } else { Verdict::Proceed }
    }

    /// Whether the range is one of this version.
    pub(super) fn range_holds(&self, object: &S3Object) -> bool {
        !self.unreadable_range
            && self.range.as_ref().is_none_or(|condition| {
                !condition.is_modified(etag_of(object).as_ref(), modified(object).map(LastModified::from).as_ref())
            })
    }
}
