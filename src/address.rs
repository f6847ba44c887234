//! From what a user writes to a bucket and a key, and back: pure, byte for byte.

use std::fmt;
use std::sync::Arc;

/// The longest key that S3 takes, in bytes of UTF-8.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html>
pub(crate) const MAX_KEY_BYTES: usize = 1024;

const SCHEME: &str = "s3://";

/// One object: a bucket, and a key that is not empty.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Location {
    bucket: Arc<str>,
    key: Arc<str>,
}

impl Location {
    fn new(bucket: Arc<str>, key: &str) -> Result<Self, InvalidAddress> {
        if key.is_empty() {
            return Err(InvalidAddress(format!("{} names a bucket; a key is needed", url(&bucket, ""))));
        }
        if key.len() > MAX_KEY_BYTES {
            let shown: String = key.chars().take(40).collect();
            return Err(InvalidAddress(format!(
                "the key {shown:?}… has {} bytes; S3 takes {MAX_KEY_BYTES}",
                key.len()
            )));
        }
        Ok(Self { bucket, key: key.into() })
    }

    /// An object that a listing named.
    pub(crate) fn listed(bucket: &Arc<str>, key: &str) -> Self {
        Self { bucket: Arc::clone(bucket), key: key.into() }
    }

    /// The object `name` in the directory of this one; at the bucket's root when the key would be too long.
    pub(crate) fn beside(&self, name: &str) -> Self {
        let directory = self.key.rfind('/').map_or("", |slash| &self.key[..=slash]);
        let directory = if directory.len() + name.len() > MAX_KEY_BYTES { "" } else { directory };
        Self { bucket: Arc::clone(&self.bucket), key: format!("{directory}{name}").into() }
    }

    pub(crate) fn bucket(&self) -> &str {
        &self.bucket
    }

    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    pub(crate) fn url(&self) -> String {
        url(&self.bucket, &self.key)
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url())
    }
}

fn url(bucket: &str, key: &str) -> String {
    format!("{SCHEME}{bucket}/{key}")
}

/// An object and how the user spoke of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) location: Location,
    /// The URL below which the key was given; `None` when the key is a whole URL.
    pub(crate) prefix: Option<Arc<str>>,
    pub(crate) key: String,
}

impl Address {
    /// An object spoken of by its whole URL.
    pub(crate) fn whole(location: Location) -> Self {
        Self { key: location.url(), location, prefix: None }
    }
}

/// A directory to list: every key of `bucket` that begins with `prefix`, which is empty or ends with `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Directory {
    pub(crate) bucket: Arc<str>,
    pub(crate) prefix: String,
    /// The directory as it was asked for, as a URL.
    pub(crate) url: Arc<str>,
    /// The object of exactly the name that was asked for; `None` for a root, and for a name that ends with `/`.
    pub(crate) namesake: Option<Location>,
}

impl Directory {
    /// The address of a key that a listing of this directory showed.
    pub(crate) fn address(&self, key: &str) -> Address {
        Address {
            location: Location::listed(&self.bucket, key),
            prefix: Some(Arc::clone(&self.url)),
            key: key.strip_prefix(&self.prefix).unwrap_or(key).to_owned(),
        }
    }
}

/// What keys are relative to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Root {
    /// Nothing: keys are whole `s3://` URLs.
    Urls,
    /// `s3://bucket/prefix`; the prefix does not end with `/` and may be empty.
    Prefix { bucket: Arc<str>, prefix: String, url: Arc<str> },
}

impl Root {
    /// Reads an `s3root`. Slashes at its end do not matter, as in Metaflow.
    pub(crate) fn parse(s3root: &str) -> Result<Self, InvalidAddress> {
        let Some(path) = s3root.strip_prefix(SCHEME) else {
            return Err(InvalidAddress(format!("the s3root {s3root:?} does not begin with s3://")));
        };
        let url = format!("{SCHEME}{}", path.trim_end_matches('/'));
        let (bucket, prefix) = split(&url).map_err(|problem| problem.of("s3root", s3root))?;
        Ok(Self::Prefix { bucket: bucket.into(), prefix: prefix.to_owned(), url: url.as_str().into() })
    }

    /// The data of a run, below `prefix`, as Metaflow's `S3.__init__` joins them: all slashes before the prefix are dropped,
    /// and one at its end is the separator.
    pub(crate) fn of_run(bucket: &str, prefix: &str, run: RunName<'_>) -> Result<Self, InvalidAddress> {
        if !is_bucket_name(bucket) {
            return Err(InvalidAddress(format!("{bucket:?} is not the name of a bucket")));
        }
        let RunName { flow, id } = run;
        let separator = if prefix.is_empty() || prefix.ends_with('/') { "" } else { "/" };
        let path = format!("{prefix}{separator}{flow}/{id}");
        Self::parse(&url(bucket, path.trim_start_matches('/')))
    }

    pub(crate) fn url(&self) -> Option<&str> {
        match self {
            Self::Urls => None,
            Self::Prefix { url, .. } => Some(url),
        }
    }

    /// The object that `key` means: below the root, or at the root itself when the key is empty.
    pub(crate) fn object(&self, key: &str) -> Result<Address, InvalidAddress> {
        match self {
            Self::Urls => {
                let (bucket, rest) = split(key).map_err(|problem| problem.of("key", key))?;
                Ok(Address { location: Location::new(bucket.into(), rest)?, prefix: None, key: key.to_owned() })
            }
            Self::Prefix { bucket, prefix, url } => {
                let suffix = suffix(key)?;
                let location = Location::new(Arc::clone(bucket), &join(prefix, suffix))?;
                Ok(if suffix.is_empty() {
                    Address::whole(location)
                } else {
                    Address { location, prefix: Some(Arc::clone(url)), key: suffix.to_owned() }
                })
            }
        }
    }

    /// The directory that `prefix` means; empty for the root itself.
    pub(crate) fn directory(&self, prefix: &str) -> Result<Directory, InvalidAddress> {
        let (bucket, path, url, is_root): (Arc<str>, String, Arc<str>, bool) = match self {
            Self::Urls => {
                let (bucket, path) = split(prefix).map_err(|problem| problem.of("prefix", prefix))?;
                (bucket.into(), path.to_owned(), prefix.into(), path.is_empty())
            }
            Self::Prefix { bucket, prefix: root, url } => {
                let suffix = suffix(prefix)?;
                let asked = if suffix.is_empty() { Arc::clone(url) } else { format!("{url}/{suffix}").into() };
                (Arc::clone(bucket), join(root, suffix), asked, suffix.is_empty())
            }
        };
        let namesake = (!is_root && !path.ends_with('/')).then(|| Location::listed(&bucket, &path));
        let mut prefix = path;
        if !prefix.is_empty() && !prefix.ends_with('/') {
            prefix.push('/');
        }
        if prefix.len() > MAX_KEY_BYTES {
            return Err(InvalidAddress(format!("a prefix has {} bytes; S3 takes {MAX_KEY_BYTES}", prefix.len())));
        }
        Ok(Directory { bucket, prefix, url, namesake })
    }
}

/// A run of Metaflow's, `Flow/RunId`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RunName<'a> {
    flow: &'a str,
    id: &'a str,
}

impl<'a> RunName<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Self, InvalidAddress> {
        match text.split('/').collect::<Vec<_>>()[..] {
            [flow, id] if !flow.is_empty() && !id.is_empty() => Ok(Self { flow, id }),
            _ => Err(InvalidAddress(format!("{text:?} is not Flow/RunId"))),
        }
    }

    /// The run of a task, `Flow/RunId/step/task`.
    pub(crate) fn of_task(text: &'a str) -> Result<Self, InvalidAddress> {
        match text.split('/').collect::<Vec<_>>()[..] {
            [flow, id, step, task] if ![flow, id, step, task].contains(&"") => Ok(Self { flow, id }),
            _ => Err(InvalidAddress(format!("{text:?} is not Flow/RunId/step/task"))),
        }
    }
}

/// The bucket and the path of an `s3root`.
pub(crate) fn split_root(s3root: &str) -> Result<(&str, &str), InvalidAddress> {
    split(s3root).map_err(|problem| match problem {
        UrlProblem::NotS3 => InvalidAddress(format!("{s3root:?} does not begin with s3://")),
        UrlProblem::Bucket => InvalidAddress(format!("{s3root:?} has no valid bucket name")),
    })
}

/// A key below a root, without the slashes in front, which Metaflow ignores.
fn suffix(key: &str) -> Result<&str, InvalidAddress> {
    if key.starts_with(SCHEME) {
        return Err(InvalidAddress(format!(
            "{key:?} is a whole URL, and keys are relative to the root; use a scope without s3root or run for whole URLs"
        )));
    }
    Ok(key.trim_start_matches('/'))
}

fn join(prefix: &str, suffix: &str) -> String {
    match (prefix, suffix) {
        ("", only) | (only, "") => only.to_owned(),
        (prefix, suffix) => format!("{prefix}/{suffix}"),
    }
}

/// `s3://bucket/key` into bucket and key, the key as it stands: nothing in it is decoded.
fn split(url: &str) -> Result<(&str, &str), UrlProblem> {
    let rest = url.strip_prefix(SCHEME).ok_or(UrlProblem::NotS3)?;
    let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
    if is_bucket_name(bucket) { Ok((bucket, key)) } else { Err(UrlProblem::Bucket) }
}

fn is_bucket_name(text: &str) -> bool {
    text.len() <= 255
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
}

enum UrlProblem {
    NotS3,
    Bucket,
}

impl UrlProblem {
    fn of(self, what: &str, text: &str) -> InvalidAddress {
        InvalidAddress(match self {
            Self::NotS3 => format!(
                "the {what} {text:?} is not an s3:// URL; without an s3root or a run, keys and prefixes are whole s3:// URLs"
            ),
            Self::Bucket => format!("the {what} {text:?} has no valid bucket name"),
        })
    }
}

/// Why a text is not an address.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct InvalidAddress(pub(crate) String);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn root(s3root: &str) -> Root {
        Root::parse(s3root).unwrap()
    }

    fn location(root: &Root, key: &str) -> (String, String) {
        let address = root.object(key).unwrap();
        (address.location.bucket().to_owned(), address.location.key().to_owned())
    }

    #[test]
    fn a_root_is_joined_with_one_slash() {
        for s3root in ["s3://b/p/q", "s3://b/p/q/", "s3://b/p/q//"] {
            assert_eq!(location(&root(s3root), "k"), ("b".into(), "p/q/k".into()));
            assert_eq!(location(&root(s3root), "//k/"), ("b".into(), "p/q/k/".into()));
            assert_eq!(location(&root(s3root), "a//b"), ("b".into(), "p/q/a//b".into()));
        }
        assert_eq!(location(&root("s3://b"), "k"), ("b".into(), "k".into()));
    }

    #[test]
    fn an_empty_key_is_the_root_itself() {
        let address = root("s3://b/p").object("").unwrap();
        assert_eq!(address.location.key(), "p");
        assert_eq!((address.prefix, address.key.as_str()), (None, "s3://b/p"));
        assert!(root("s3://b").object("").unwrap_err().0.contains("a key is needed"));
    }

    #[test]
    fn a_url_is_taken_as_it_stands() {
        for key in ["a//b", "/lead", "dir/", "a?b#c&d=e;f", "%2F", "../a", " x "] {
            assert_eq!(location(&Root::Urls, &format!("s3://bucket/{key}")), ("bucket".into(), key.into()));
        }
    }

    #[test]
    fn what_is_no_address_is_named() {
        for (root_url, key, problem) in [
            (None, "plain", "not an s3:// URL"),
            (None, "http://b/k", "not an s3:// URL"),
            (None, "", "not an s3:// URL"),
            (None, "s3://", "no valid bucket"),
            (None, "s3:///k", "no valid bucket"),
            (None, "s3://no spaces/k", "no valid bucket"),
            (None, "s3://../k", "no valid bucket"),
            (None, "s3://b", "a key is needed"),
            (None, "s3://b/", "a key is needed"),
            (Some("s3://b/p"), "s3://b/k", "relative to the root"),
        ] {
            let root = root_url.map_or(Root::Urls, root);
            let InvalidAddress(message) = root.object(key).unwrap_err();
            assert!(message.contains(problem), "{key:?}: {message}");
        }
        assert!(Root::parse("b/p").unwrap_err().0.contains("does not begin with s3://"));
        assert!(Root::parse("s3://").unwrap_err().0.contains("no valid bucket"));
    }

    #[test]
    fn a_key_has_at_most_1024_bytes() {
        let url = |length: usize| format!("s3://b/{}", "k".repeat(length));
        assert!(Root::Urls.object(&url(1024)).is_ok());
        assert!(Root::Urls.object(&url(1025)).unwrap_err().0.contains("1025 bytes"));
        assert!(root("s3://b/p").object(&"é".repeat(512)).is_err());
    }

    #[test]
    fn a_prefix_is_a_directory() {
        let prefix = |root: &Root, prefix: &str| root.directory(prefix).unwrap().prefix;
        let rooted = root("s3://b/p");
        assert_eq!(prefix(&rooted, "x"), "p/x/");
        assert_eq!(prefix(&rooted, "x/"), "p/x/");
        assert_eq!(prefix(&rooted, ""), "p/");
        assert_eq!(prefix(&root("s3://b"), ""), "");
        assert_eq!(prefix(&Root::Urls, "s3://b"), "");
        assert_eq!(prefix(&Root::Urls, "s3://b/"), "");
        assert_eq!(prefix(&Root::Urls, "s3://b//"), "/");
        assert_eq!(prefix(&Root::Urls, "s3://b/x"), "x/");
        assert!(Root::Urls.directory("x").is_err());
        assert!(rooted.directory("s3://b/x").is_err());
    }

    #[test]
    fn a_directory_may_have_an_object_of_its_name() {
        let namesake = |root: &Root, prefix: &str| {
            root.directory(prefix).unwrap().namesake.map(|location| location.key().to_owned())
        };
        let rooted = root("s3://b/p");
        assert_eq!(namesake(&rooted, "x/y").as_deref(), Some("p/x/y"));
        assert_eq!(namesake(&root("s3://b"), "/x").as_deref(), Some("x"));
        assert_eq!(namesake(&Root::Urls, "s3://b/x").as_deref(), Some("x"));
        for (root, prefix) in [(&rooted, ""), (&rooted, "x/"), (&Root::Urls, "s3://b"), (&Root::Urls, "s3://b//")] {
            assert_eq!(namesake(root, prefix), None, "{prefix:?}");
        }
    }

    #[test]
    fn a_listed_key_is_told_relative_to_its_prefix() {
        let directory = root("s3://b/p").directory("x").unwrap();
        let address = directory.address("p/x/y//z");
        assert_eq!(address.key, "y//z");
        assert_eq!(address.prefix.as_deref(), Some("s3://b/p/x"));
        assert_eq!(address.location.url(), "s3://b/p/x/y//z");
    }

    proptest! {
        #[test]
        fn keys_of_a_run_keep_its_name_and_their_bytes(
            prefix in "/{0,2}([a-z]{1,5}/){0,3}/{0,1}", flow in "[^/]{1,20}", id in "[^/]{1,20}", key in "[^/]\\PC{0,50}",
        ) {
            prop_assume!(!key.starts_with("s3://"));
            let run = format!("{flow}/{id}");
            let root = Root::of_run("bucket", &prefix, RunName::parse(&run).unwrap()).unwrap();
            let (_, stored) = location(&root, &key);
            let expected = format!("{}{run}/{key}", prefix.trim_start_matches('/'));
            prop_assert_eq!(stored, expected);
        }

        #[test]
        fn url_and_location_are_inverse(key in "\\PC{1,200}") {
            let url = format!("s3://bucket/{key}");
            let address = Root::Urls.object(&url).unwrap();
            prop_assert_eq!(address.location.url(), url);
        }

        #[test]
        fn a_key_below_a_root_keeps_its_bytes(key in "[^/]\\PC{0,200}") {
            prop_assume!(!key.starts_with("s3://"));
            let (_, stored) = location(&root("s3://bucket/some/prefix"), &key);
            prop_assert_eq!(stored, format!("some/prefix/{key}"));
        }

        #[test]
        fn foreign_text_never_panics(text in ".*") {
            let _ = Root::parse(&text).map(|root| (root.object(&text), root.directory(&text)));
            let _ = Root::Urls.object(&text);
            let _ = Root::Urls.directory(&text);
        }
    }
}
