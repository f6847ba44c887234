/// The keys that a fault is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Keys {
    Exact(String),
    Prefix(String),
    Glob(String),
}

impl Keys {
    pub(super) fn contains(&self, key: &str) -> bool {
        match self {
            Self::Exact(exact) => exact == key,
            Self::Prefix(prefix) => key.starts_with(prefix),
            Self::Glob(glob) => glob_matches(glob, key),
        }
    }
}

/// `*` stands for any characters, slashes included, and `?` for one.
fn glob_matches(glob: &str, key: &str) -> bool {
    let (mut glob, mut key) = (glob.chars(), key.chars());
    // What follows the last star, and the rest of the key when the star took the least so far.
    let mut last_star = None;
    loop {
        let rest = key.clone();
        match (glob.next(), key.next()) {
            (None, None) => return true,
            (Some('*'), _) => {
                last_star = Some((glob.clone(), rest.clone()));
                key = rest;
            }
            (Some('?'), Some(_)) => {}
            (Some(wanted), Some(found)) if wanted == found => {}
            _ => {
                // The last star takes one more: an earlier one could not do better.
                let Some((after_star, rest)) = &mut last_star else { return false };
                if rest.next().is_none() {
                    return false;
                }
                (glob, key) = (after_star.clone(), rest.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_any_characters_and_a_question_mark_is_one() {
        for (glob, key, matches) in [
            ("", "", true),
            ("", "a", false),
            ("a", "", false),
            ("*", "", true),
            ("*", "a/b", true),
            ("a?c", "abc", true),
            ("a?c", "aéc", true),
            ("a?c", "ac", false),
            ("logs/*.txt", "logs/2026/a.txt", true),
            ("logs/*.txt", "logs/a.txt.gz", false),
            ("logs/*.txt", "logs/a.txt/b.txt", true),
            ("*ab*ab", "ab-ab-ab", true),
            ("*aab", "aaab", true),
            ("a*b*c", "a-c-b", false),
            ("a**", "a", true),
        ] {
            assert_eq!(glob_matches(glob, key), matches, "{glob:?} {key:?}");
        }
    }
}
