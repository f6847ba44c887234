//! Pages of a bucket's keys.

use std::ops::Bound;
use std::sync::Arc;

use super::encode::{hex, hex_decode};
use super::object::Object;
use super::store::{Bucket, Step};

/// A page to list.
#[derive(Debug, Default)]
pub(super) struct Query<'a> {
    pub(super) prefix: &'a str,
    /// Not empty.
    pub(super) delimiter: Option<&'a str>,
    pub(super) after: Position,
    pub(super) max_keys: usize,
}

/// Where a page begins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Position {
    #[default]
    Start,
    AfterKey(String),
    /// After all keys that begin with this.
    AfterPrefix(String),
}

/// A page of keys and common prefixes, in byte order.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) objects: Vec<(String, Arc<Object>)>,
    pub(super) prefixes: Vec<String>,
    /// Where the next page begins, when there is one.
    pub(super) next: Option<Position>,
}

pub(super) fn page(bucket: &Bucket, query: &Query<'_>) -> Page {
    let mut page = Page::default();
    if query.max_keys == 0 {
        return page;
    }
    let past_prefix;
    let from = match &query.after {
        Position::AfterKey(key) if key.as_str() >= query.prefix => Bound::Excluded(key.as_str()),
        Position::AfterPrefix(prefix) => match successor(prefix) {
            Some(key) if key.as_str() >= query.prefix => {
                past_prefix = key;
                Bound::Included(past_prefix.as_str())
            }
            Some(_) => Bound::Included(query.prefix),
            None => return page,
        },
        Position::AfterKey(_) | Position::Start => Bound::Included(query.prefix),
    };
    let mut last = Position::Start;
    bucket.walk(from, |key, object| {
        let Some(rest) = key.strip_prefix(query.prefix) else { return Step::Stop };
        if page.objects.len() + page.prefixes.len() == query.max_keys {
            page.next = Some(std::mem::take(&mut last));
            return Step::Stop;
        }
        let end = query.delimiter.and_then(|delimiter| Some(rest.find(delimiter)? + delimiter.len()));
        let Some(end) = end else {
            page.objects.push((key.to_owned(), Arc::clone(object)));
            last = Position::AfterKey(key.to_owned());
            return Step::Next;
        };
        let prefix = &key[..query.prefix.len() + end];
        page.prefixes.push(prefix.to_owned());
        last = Position::AfterPrefix(prefix.to_owned());
        successor(prefix).map_or(Step::Stop, Step::SkipTo)
    });
    page
}

/// The first text after all texts that begin with `prefix`. Code points sort like their UTF-8.
fn successor(prefix: &str) -> Option<String> {
    let mut chars: Vec<char> = prefix.chars().collect();
    while let Some(last) = chars.pop() {
        let next = match last {
            '\u{d7ff}' => Some('\u{e000}'),
            other => char::from_u32(u32::from(other) + 1),
        };
        if let Some(next) = next {
            chars.push(next);
            return Some(chars.into_iter().collect());
        }
    }
    None
}

impl Position {
    /// An opaque token, with characters that clients must encode in a query.
    pub(super) fn token(&self) -> String {
        match self {
            Self::Start => "s/+=".to_owned(),
            Self::AfterKey(key) => format!("k/{}+=", hex(key.as_bytes())),
            Self::AfterPrefix(prefix) => format!("p/{}+=", hex(prefix.as_bytes())),
        }
    }

    pub(super) fn from_token(token: &str) -> Option<Self> {
        let (kind, text) = token.strip_suffix("+=")?.split_once('/')?;
        let text = String::from_utf8(hex_decode(text)?).ok()?;
        match kind {
            "s" => Some(Self::Start),
            "k" => Some(Self::AfterKey(text)),
            "p" => Some(Self::AfterPrefix(text)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::testing::conditions::WriteCondition;
    use crate::testing::content::Content;
    use crate::testing::object::Etags;
    use crate::testing::store::Store;
    use crate::testing::time::Moment;

    fn now() -> Moment {
        Moment::at(SystemTime::now())
    }

    fn bucket(keys: &[&str]) -> Arc<Bucket> {
        let store = Store::default();
        store.create_bucket("bucket", now());
        let bucket = store.bucket("bucket").unwrap();
        for key in keys {
            bucket
                .put(key, Arc::new(Object::plain(Content::default(), Etags::Md5, now())), &WriteCondition::None)
                .unwrap();
        }
        bucket
    }

    /// Lists in pages of one size; objects and prefixes in one list, prefixes marked with `*`.
    fn list(bucket: &Bucket, prefix: &str, delimiter: Option<&str>, max_keys: usize) -> Vec<String> {
        let mut listed = Vec::new();
        let mut after = Position::Start;
        loop {
            let page = page(bucket, &Query { prefix, delimiter, after, max_keys });
            let size = page.objects.len() + page.prefixes.len();
            assert!(size <= max_keys);
            listed.extend(page.objects.into_iter().map(|(key, _)| key));
            listed.extend(page.prefixes.into_iter().map(|prefix| format!("{prefix}*")));
            let Some(next) = page.next else { return listed };
            assert_eq!(size, max_keys, "only the last page may be short");
            after = Position::from_token(&next.token()).unwrap();
        }
    }

    #[test]
    fn pages_of_any_size_hold_every_key_and_prefix_once() {
        let keys = ["a", "a/", "a//b", "a/b", "a/c/d", "ab", "ab/c", "b", "é/x", "\u{10ffff}/y", "\u{10ffff}z"];
        let bucket = bucket(&keys);
        for size in 1..15 {
            let mut flat = keys.map(str::to_owned).to_vec();
            flat.sort();
            assert_eq!(list(&bucket, "", None, size), flat);
            let mut top = list(&bucket, "", Some("/"), size);
            top.sort();
            assert_eq!(top, ["a", "a/*", "ab", "ab/*", "b", "é/*", "\u{10ffff}/*", "\u{10ffff}z"]);
            let mut below = list(&bucket, "a/", Some("/"), size);
            below.sort();
            assert_eq!(below, ["a/", "a//*", "a/b", "a/c/*"]);
        }
    }

    #[test]
    fn a_page_that_is_just_full_is_the_last() {
        let bucket = bucket(&["a", "b"]);
        assert_eq!(page(&bucket, &Query { max_keys: 2, ..Query::default() }).next, None);
        assert!(page(&bucket, &Query { max_keys: 1, ..Query::default() }).next.is_some());
    }

    #[test]
    fn keys_after_another_may_lie_below_a_prefix_that_begins_before_it() {
        let bucket = bucket(&["a/b", "a/c", "b"]);
        let after = Position::AfterKey("a/b".to_owned());
        let page = page(&bucket, &Query { delimiter: Some("/"), after, max_keys: 9, ..Query::default() });
        assert_eq!(page.prefixes, ["a/"]);
        assert_eq!(page.objects.len(), 1);
    }

    #[test]
    fn tokens_of_others_are_refused() {
        for token in ["", "k/61", "x/61+=", "k/6+=", "k/ff+="] {
            assert_eq!(Position::from_token(token), None, "{token}");
        }
    }
}
