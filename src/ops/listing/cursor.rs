//! Where a listing begins, and where it was.

use serde::{Deserialize, Serialize};

use super::range::KeyRange;
use crate::address::{Directory, MAX_KEY_BYTES, Root};
use crate::error::{Error, ErrorKind, Result};
use crate::shard::Shard;

/// How far a [`ListRecursive`](crate::ListRecursive) has come: everything of it that was not taken yet. It is plain data, to be
/// stored with any `serde` format, and given to [`ListRecursive::resume`](crate::ListRecursive::resume) by another process later.
///
/// It has a name for each prefix, and for what is left of it two keys for each stretch that is being listed: one in order, and up to some 50
/// otherwise.
///
/// ```
/// # async fn example(s3: s3flow::S3) -> Result<(), Box<dyn std::error::Error>> {
/// use futures::TryStreamExt;
///
/// let mut listing = s3.list_recursive(["2025", "2026"]);
/// for _ in 0..100_000 {
///     let Some(object) = listing.try_next().await? else { break };
///     println!("{}", object.url());
/// }
/// std::fs::write("cursor.json", serde_json::to_string(&listing.cursor()?)?)?;
///
/// // Later, elsewhere:
/// let cursor = serde_json::from_str(&std::fs::read_to_string("cursor.json")?)?;
/// let mut rest = s3.list_recursive(["2025", "2026"]).resume(cursor);
/// while let Some(object) = rest.try_next().await? {
///     println!("{}", object.url());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListCursor {
    version: u32,
    /// The name of the shard that is listed, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shard: Option<String>,
    prefixes: Vec<Left>,
}

/// What is left of a prefix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Left {
    /// A URL; what was asked for, when that is none.
    prefix: String,
    ranges: Vec<KeyRange>,
}

const VERSION: u32 = 1;

impl ListCursor {
    pub(in crate::ops) fn new(shard: Option<&Shard>, left: impl IntoIterator<Item = (String, Vec<KeyRange>)>) -> Self {
        let prefixes = left.into_iter().map(|(prefix, ranges)| Left { prefix, ranges }).collect();
        Self { version: VERSION, shard: shard.map(Shard::name), prefixes }
    }

    /// Whether nothing is left: a listing from here on has no objects, and sends no requests.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.prefixes.iter().all(|left| left.ranges.is_empty())
    }

    /// Whether it is one of these prefixes or of this shard, and whole.
    fn check(&self, root: &Root, shard: Option<&Shard>, prefixes: &[String]) -> Result<()> {
        let Self { version, shard: of, prefixes: left } = self;
        let refused = |problem: String| Err(Error::new(ErrorKind::Config, format!("the cursor {problem}")));
        if *version != VERSION {
            return refused(format!("is of version {version}, and this is version {VERSION}"));
        }
        match (of, shard.map(Shard::name)) {
            (Some(of), None) => return refused(format!("is of the shard {of}, and no shard is listed")),
            (None, Some(listed)) => return refused(format!("is of no shard, and the shard {listed} is listed")),
            (Some(of), Some(listed)) if *of != listed => {
                return refused(format!("is of the shard {of}, and the shard {listed} is listed"));
            }
            _ => {}
        }
        if left.len() != prefixes.len() {
            return refused(format!("is of {} prefixes, and {} are listed", left.len(), prefixes.len()));
        }
        for (Left { prefix, ranges }, listed) in left.iter().zip(prefixes) {
            let listed = located(root, listed);
            if *prefix != listed {
                return refused(format!("is of {prefix}, and {listed} is listed"));
            }
            let keys = ranges.iter().flat_map(|range| [&range.start_after, &range.end_before]).flatten();
            // An end may be a key of that length and a byte.
            if let Some(key) = keys.clone().find(|key| key.len() > MAX_KEY_BYTES + 1) {
                return refused(format!("has a key of {} bytes; S3 takes {MAX_KEY_BYTES}", key.len()));
            }
            let apart = ranges.windows(2).all(|pair| match (&pair[0].end_before, &pair[1].start_after) {
                (Some(before), Some(after)) => before.trim_end_matches('\0') <= after.as_str(),
                _ => false,
            });
            if !apart || ranges.iter().any(KeyRange::is_empty) {
                return refused(format!("of {prefix} has ranges that are not in order"));
            }
        }
        Ok(())
    }
}

/// Where a listing begins.
#[derive(Debug, Clone, Default)]
pub(in crate::ops) enum Begin {
    #[default]
    Beginning,
    /// After this key, relative to each prefix.
    After(String),
    Cursor(ListCursor),
}

/// What of some prefixes is listed.
#[derive(Debug, Clone, Default)]
pub(in crate::ops) struct Extent {
    pub(in crate::ops) begin: Begin,
    /// Nothing beyond it.
    pub(in crate::ops) shard: Option<Shard>,
}

impl Extent {
    /// Whether these prefixes can be listed so.
    pub(in crate::ops) fn check(&self, root: &Root, prefixes: &[String]) -> Result<()> {
        match &self.begin {
            Begin::Cursor(cursor) => cursor.check(root, self.shard.as_ref(), prefixes),
            Begin::Beginning | Begin::After(_) => Ok(()),
        }
    }

    pub(in crate::ops) fn everything(&self) -> Vec<KeyRange> {
        vec![self.shard.as_ref().map(KeyRange::of).unwrap_or_default()]
    }

    /// What is wanted of a prefix, by its number.
    pub(in crate::ops) fn ranges(&self, number: usize, directory: &Directory) -> Result<Vec<KeyRange>> {
        let ranges = match &self.begin {
            Begin::Beginning => return Ok(self.everything()),
            Begin::After(key) => {
                let key = format!("{}{key}", directory.prefix);
                if key.len() > MAX_KEY_BYTES {
                    let problem = format!("the key to start after has {} bytes; S3 takes {MAX_KEY_BYTES}", key.len());
                    return Err(Error::new(ErrorKind::InvalidUrl, problem));
                }
                vec![KeyRange { start_after: Some(key), end_before: None }]
            }
            Begin::Cursor(cursor) => cursor.prefixes.get(number).map(|left| left.ranges.clone()).unwrap_or_default(),
        };
        let Some(shard) = self.shard.as_ref().map(KeyRange::of) else { return Ok(ranges) };
        Ok(ranges.iter().map(|range| range.within(&shard)).filter(|range| !range.is_empty()).collect())
    }
}

/// The URL of the directory that a prefix means; without a directory, the prefix.
pub(in crate::ops) fn located(root: &Root, prefix: &str) -> String {
    root.directory(prefix)
        .map_or_else(|_| prefix.to_owned(), |directory| format!("s3://{}/{}", directory.bucket, directory.prefix))
}
