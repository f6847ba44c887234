//! A part of a prefix, for a worker of its own.

use std::fmt::Write as _;

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use crate::address::{MAX_KEY_BYTES, Root};

/// One of the ranges of keys that [`S3::plan_shards`](crate::S3::plan_shards) divides a prefix into: together they have every key exactly
/// once. It is plain data, to be sent to a worker with any `serde` format, and listed there with
/// [`S3::list_shard`](crate::S3::list_shard).
///
/// The first shard has no [`start_after`](Self::start_after) and the last one no [`end_before`](Self::end_before), so that keys which are
/// stored after the planning are in one shard too.
///
/// What is read is checked: a shard that was edited or cut, or is of another version of this format, is an error of the deserializer
/// that names the field. The check is no signature: whoever can write shards can make them.
///
/// ```
/// # async fn example(s3: s3flow::S3) -> Result<(), Box<dyn std::error::Error>> {
/// use s3flow::Shard;
///
/// for shard in s3.plan_shards("2026", 16).await? {
///     std::fs::write(format!("{}.json", shard.name()), serde_json::to_string(&shard)?)?;
/// }
///
/// // A worker, elsewhere:
/// let shard: Shard = serde_json::from_str(&std::fs::read_to_string("00003-of-00016-1f2e3d4c5b6a7988.json")?)?;
/// let objects = s3.list_shard(&shard).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Shard {
    prefix: String,
    number: usize,
    of: usize,
    start_after: Option<String>,
    end_before: Option<String>,
    check: String,
}

/// A shard as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    version: u32,
    prefix: String,
    number: usize,
    of: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    start_after: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    end_before: Option<String>,
    check: String,
}

const VERSION: u32 = 1;
/// More are not planned.
pub(crate) const MAX_SHARDS: usize = 100_000;

impl Shard {
    pub(crate) fn new(
        prefix: String,
        number: usize,
        of: usize,
        start_after: Option<String>,
        end_before: Option<String>,
    ) -> Self {
        let mut shard = Self { prefix, number, of, start_after, end_before, check: String::new() };
        shard.check = shard.sum();
        shard
    }

    /// The directory that it is a part of, as a URL that ends with `/`: `s3://bucket/dir/`.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Which one it is, in the order of the keys, from 0.
    #[must_use]
    pub fn number(&self) -> usize {
        self.number
    }

    /// How many there are of its plan.
    #[must_use]
    pub fn of(&self) -> usize {
        self.of
    }

    /// The whole key, without the bucket, behind which it begins, in byte order of UTF-8; `None` of the first shard. It need not exist.
    #[must_use]
    pub fn start_after(&self) -> Option<&str> {
        self.start_after.as_deref()
    }

    /// The whole key, without the bucket, before which it ends; `None` of the last shard. It need not exist, and has up to 1,025 bytes.
    #[must_use]
    pub fn end_before(&self) -> Option<&str> {
        self.end_before.as_deref()
    }

    /// A name of letters, digits and `-`, for a file or a key: `00003-of-00016-1f2e3d4c5b6a7988`. The same shard always has the same
    /// one, and shards that differ in anything have different ones; they sort as the shards of one plan do.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{:05}-of-{:05}-{}", self.number, self.of, self.check)
    }

    /// 64 bits of a hash of all fields.
    fn sum(&self) -> String {
        let Self { prefix, number, of, start_after, end_before, check: _ } = self;
        let mut fields = format!("{VERSION}\n{number}\n{of}");
        // With its length before it, no text can be taken for two.
        for text in [Some(prefix), start_after.as_ref(), end_before.as_ref()] {
            let _ = match text {
                Some(text) => write!(fields, "\n{} {text}", text.len()),
                None => write!(fields, "\n-"),
            };
        }
        digest(&SHA256, fields.as_bytes()).as_ref()[..8].iter().fold(String::new(), |mut hexadecimal, byte| {
            let _ = write!(hexadecimal, "{byte:02x}");
            hexadecimal
        })
    }

    /// What is wrong with it, beginning with the field.
    fn problem(&self) -> Option<String> {
        let Self { prefix, number, of, start_after, end_before, check } = self;
        let directory = match Root::Urls.directory(prefix) {
            Ok(directory) if format!("s3://{}/{}", directory.bucket, directory.prefix) == *prefix => directory,
            Ok(_) => return Some(format!("prefix: {prefix:?} does not end with /")),
            Err(problem) => return Some(format!("prefix: {}", problem.0)),
        };
        if *of == 0 || *of > MAX_SHARDS {
            return Some(format!("of: a plan has 1 to {MAX_SHARDS} shards, and not {of}"));
        }
        if number >= of {
            return Some(format!("number: there is no shard {number} of {of}; they are counted from 0"));
        }
        let ends = [
            ("start_after", start_after, *number > 0, MAX_KEY_BYTES),
            ("end_before", end_before, number + 1 < *of, MAX_KEY_BYTES + 1),
        ];
        for (field, end, wanted, most) in ends {
            match end {
                None if wanted => return Some(format!("{field}: missing; only an outermost shard has none")),
                Some(_) if !wanted => return Some(format!("{field}: shard {number} of {of} has none")),
                Some(key) if key.len() > most => {
                    return Some(format!("{field}: {} bytes; at most {most} are possible", key.len()));
                }
                Some(key) if key.is_empty() || !key.starts_with(&directory.prefix) => {
                    return Some(format!("{field}: {key:?} is not below {prefix}"));
                }
                _ => {}
            }
        }
        if let (Some(after), Some(before)) = (start_after, end_before)
            && before <= after
        {
            return Some(format!("end_before: {before:?} is not behind the start_after, {after:?}"));
        }
        (*check != self.sum()).then(|| "check: it does not fit the other fields; one of them was changed".to_owned())
    }
}

impl From<Shard> for Written {
    fn from(shard: Shard) -> Self {
        let Shard { prefix, number, of, start_after, end_before, check } = shard;
        Self { version: VERSION, prefix, number, of, start_after, end_before, check }
    }
}

impl TryFrom<Written> for Shard {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let Written { version, prefix, number, of, start_after, end_before, check } = written;
        if version != VERSION {
            return Err(format!(
                "the shard's version: {version}, and this is version {VERSION}; plan the shards again, or read it with the version of \
                 s3flow that wrote it"
            ));
        }
        let shard = Self { prefix, number, of, start_after, end_before, check };
        match shard.problem() {
            None => Ok(shard),
            Some(problem) => {
                Err(format!("the shard's {problem}; take it again from where it was stored, or plan the shards again"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn shard() -> Shard {
        let (after, before) = (Some("dir/k".to_owned()), Some("dir/q\0".to_owned()));
        Shard::new("s3://bucket/dir/".to_owned(), 3, 16, after, before)
    }

    fn read(value: Value) -> Result<Shard, String> {
        serde_json::from_value(value).map_err(|error| error.to_string())
    }

    #[test]
    fn a_shard_comes_back_as_it_was_written() {
        let whole = Shard::new("s3://bucket/".to_owned(), 0, 1, None, None);
        for shard in [shard(), whole] {
            let text = serde_json::to_string(&shard).unwrap();
            assert_eq!(serde_json::from_str::<Shard>(&text).unwrap(), shard, "{text}");
        }
    }

    #[test]
    fn a_shard_that_was_edited_or_cut_is_refused_by_the_name_of_the_field() {
        let written = serde_json::to_value(shard()).unwrap();
        for (field, value, problem) in [
            ("version", json!(2), "version: 2"),
            ("prefix", json!("s3://bucket/dir"), "prefix: "),
            ("prefix", json!("bucket/dir/"), "prefix: "),
            ("prefix", json!("s3://bucket/other/"), "start_after: \"dir/k\" is not below"),
            ("prefix", json!("s3://another/dir/"), "check: "),
            ("number", json!(16), "number: "),
            ("number", json!(4), "check: "),
            ("of", json!(0), "of: "),
            ("of", json!(100_001), "of: "),
            ("of", json!(17), "check: "),
            ("start_after", json!(null), "start_after: missing"),
            ("start_after", json!(""), "start_after: "),
            ("start_after", json!("dir/kk"), "check: "),
            ("start_after", json!(format!("dir/{}", "k".repeat(1021))), "start_after: 1025 bytes"),
            ("end_before", json!(null), "end_before: missing"),
            ("end_before", json!("dir/k"), "end_before: "),
            ("end_before", json!(format!("dir/{}", "k".repeat(1022))), "end_before: 1026 bytes"),
            ("check", json!("0000000000000000"), "check: "),
            ("more", json!(1), "unknown field `more`"),
        ] {
            let mut edited = written.clone();
            edited[field] = value;
            let error = read(edited).unwrap_err();
            assert!(error.contains(problem), "{field}: {error}");
        }
        for field in ["version", "prefix", "number", "of", "check"] {
            let mut cut = written.clone();
            cut.as_object_mut().unwrap().remove(field);
            let error = read(cut).unwrap_err();
            assert!(error.contains(&format!("missing field `{field}`")), "{error}");
        }
        let text = serde_json::to_string(&shard()).unwrap();
        assert!((0..text.len()).all(|length| serde_json::from_str::<Shard>(&text[..length]).is_err()));
    }

    #[test]
    fn the_names_of_shards_are_stable_and_differ() {
        let shard = shard();
        let name = shard.name();
        assert_eq!(name, shard.clone().name());
        assert!(name.starts_with("00003-of-00016-") && name.len() == 31, "{name}");
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'), "{name}");
        let other =
            Shard::new("s3://bucket/dir/".to_owned(), 3, 16, Some("dir/k".to_owned()), Some("dir/r".to_owned()));
        assert_ne!(name, other.name());
    }
}
