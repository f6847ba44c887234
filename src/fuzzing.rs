//! What must hold whatever bytes come, a function for each parser of foreign text; each panics where it does not hold.
//!
//! `cargo fuzz` looks for bytes that break it, see `tests/fuzz/README.md`; the tests here run what it found, and mutations of
//! that, on a stable compiler. For us alone: the module is there for tests and under `--cfg fuzzing`.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::address::{Address, Directory, MAX_KEY_BYTES, Root};
pub use crate::config::fuzzing::config_file;
use crate::metadata as attributes;
pub use crate::store::fuzzing::{content_range, error_document, headers, key_path, listing, rfc2047, uploads};

/// Roots, keys and directories, from what users write: what is accepted comes back byte for byte.
///
/// The first line is the root, and the rest is the key.
pub fn s3_url(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    is_kept_as_a_url(text);
    is_kept_as_a_directory(&Root::Urls, text);

    let (s3root, key) = text.split_once('\n').unwrap_or((text, text));
    let Ok(root) = Root::parse(s3root) else { return };
    let url = root.url().expect("a root that was parsed has a URL");
    assert_eq!(url, s3root.trim_end_matches('/'), "slashes at a root's end do not matter");
    assert_eq!(Root::parse(url).as_ref(), Ok(&root));
    is_kept_as_a_directory(&root, key);

    let Ok(Address { location, prefix, key: shown }) = root.object(key) else { return };
    let suffix = key.trim_start_matches('/');
    if suffix.is_empty() {
        assert_eq!((location.url().as_str(), prefix, shown.as_str()), (url, None, url));
    } else {
        assert_eq!(location.url(), format!("{url}/{suffix}"));
        assert_eq!((prefix.as_deref(), shown.as_str()), (Some(url), suffix));
    }
    assert_eq!(Root::Urls.object(&location.url()).map(|address| address.location), Ok(location));
}

fn is_kept_as_a_url(text: &str) {
    let Ok(Address { location, prefix, key }) = Root::Urls.object(text) else { return };
    assert_eq!((location.url().as_str(), key.as_str(), prefix), (text, text, None));
    assert_eq!(format!("s3://{}/{}", location.bucket(), location.key()), text);
    assert!((1..=MAX_KEY_BYTES).contains(&location.key().len()));
}

fn is_kept_as_a_directory(root: &Root, text: &str) {
    let Ok(directory) = root.directory(text) else { return };
    let Directory { bucket, prefix, url, namesake } = &directory;
    assert!(prefix.is_empty() || prefix.ends_with('/'), "{prefix:?} matches nothing but what is below it");
    assert!(prefix.len() <= MAX_KEY_BYTES);
    let below = format!("s3://{bucket}/{prefix}");
    assert_eq!(below, if url.ends_with('/') { url.to_string() } else { format!("{url}/") });

    if let Some(namesake) = namesake {
        assert_eq!(format!("{}/", namesake.key()), *prefix);
    }

    let listed = directory.address(&format!("{prefix}dir//k/"));
    assert_eq!((listed.key.as_str(), listed.prefix.as_ref()), ("dir//k/", Some(url)));
    assert_eq!(listed.location.url(), format!("{below}dir//k/"));
    assert!(Arc::ptr_eq(listed.prefix.as_ref().expect("compared above"), url));
}

/// Metadata: what is read is written as it was, in text that a header carries.
pub fn metadata(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Some(read) = attributes::decode(&text) {
        is_kept_as_a_header(&read);
    }
    let any = json!({ text.as_ref(): [text, { "": text }] });
    is_kept_as_a_header(any.as_object().expect("an object"));
}

fn is_kept_as_a_header(metadata: &Map<String, Value>) {
    let encoded = attributes::encode(metadata);
    assert!(encoded.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{encoded:?} is visible ASCII");
    assert!(!encoded.contains("  "), "{encoded:?} has no double space");
    assert!(attributes::counted_bytes(&encoded) > encoded.len());
    assert_eq!(attributes::decode(&encoded).as_ref(), Some(metadata), "{encoded}");
}

#[cfg(test)]
mod tests {
    //! The corpus of `cargo fuzz`, and mutations of it, on a stable compiler.
    //!
    //! `S3FLOW_FUZZ_SECONDS` says for how long (1), `S3FLOW_FUZZ_SEED` which mutations (1). A failure prints its input.

    use std::fs;
    use std::path::Path;
    use std::time::{Duration, Instant};

    use proptest::prelude::RngExt as _;
    use proptest::test_runner::{RngAlgorithm, TestRng};

    macro_rules! targets {
        ($($target:ident),*) => {$(
            mod $target {
                #[test]
                fn the_corpus_and_its_mutations_hold_every_invariant() {
                    super::holds(stringify!($target), crate::fuzzing::$target);
                }
            }
        )*};
    }

    targets!(
        listing,
        uploads,
        error_document,
        headers,
        s3_url,
        content_range,
        rfc2047,
        key_path,
        metadata,
        config_file
    );

    const LONGEST_INPUT: usize = 4096;

    fn holds(target: &str, invariants: fn(&[u8])) {
        let seconds = setting("S3FLOW_FUZZ_SECONDS", 1);
        let seed = setting("S3FLOW_FUZZ_SEED", 1);
        let mut mutations = Mutations::of(target, seed);
        for input in mutations.corpus.clone() {
            run(target, &input, invariants);
        }
        let end = Instant::now() + Duration::from_secs(seconds);
        let mut inputs = 0_u64;
        while Instant::now() < end {
            run(target, &mutations.next(), invariants);
            inputs += 1;
        }
        println!("{target}: {} inputs of the corpus, {inputs} mutations with the seed {seed}", mutations.corpus.len());
    }

    fn setting(name: &str, default: u64) -> u64 {
        std::env::var(name).map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{name} is not a number")))
    }

    fn run(target: &str, input: &[u8], invariants: fn(&[u8])) {
        struct Shown<'a>(&'a str, &'a [u8]);
        impl Drop for Shown<'_> {
            fn drop(&mut self) {
                if std::thread::panicking() {
                    eprintln!("{} does not hold for b\"{}\"", self.0, self.1.escape_ascii());
                }
            }
        }
        let _shown = Shown(target, input);
        invariants(input);
    }

    /// Inputs that are like those of a corpus, the same for the same seed.
    struct Mutations {
        corpus: Vec<Vec<u8>>,
        tokens: Vec<Vec<u8>>,
        random: TestRng,
    }

    impl Mutations {
        fn of(target: &str, seed: u64) -> Self {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&seed.to_le_bytes());
            let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
            let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz");
            if !fuzz.exists() {
                // The published package, which has no other packages within.
                return Self { corpus: vec![Vec::new()], tokens: vec![b"0".to_vec()], random };
            }
            let mut files: Vec<_> =
                fs::read_dir(fuzz.join("corpus").join(target)).unwrap().map(|entry| entry.unwrap().path()).collect();
            files.sort();
            assert!(!files.is_empty(), "{target} has a corpus");
            Self {
                corpus: files.iter().map(|file| fs::read(file).unwrap()).collect(),
                tokens: tokens(&fs::read_to_string(fuzz.join("tokens.dict")).unwrap()),
                random,
            }
        }

        fn next(&mut self) -> Vec<u8> {
            let mut input = self.any_of_corpus();
            for _ in 0..self.random.random_range(1..=6) {
                self.change(&mut input);
            }
            input.truncate(LONGEST_INPUT);
            input
        }

        fn any_of_corpus(&mut self) -> Vec<u8> {
            self.corpus[self.random.random_range(0..self.corpus.len())].clone()
        }

        fn change(&mut self, input: &mut Vec<u8>) {
            let start = self.random.random_range(0..=input.len());
            let end = input.len().min(start + self.random.random_range(0..=16));
            match self.random.random_range(0..8) {
                0 if start < input.len() => input[start] ^= 1 << self.random.random_range(0..8),
                1 => drop(input.splice(start..end, [self.random.random_range(0..=255)])),
                2 => drop(input.splice(start..start, self.any_token())),
                3 => drop(input.splice(start..end, self.any_token())),
                4 => drop(input.drain(start..end)),
                5 => input.extend_from_within(start..end),
                6 => {
                    let other = self.any_of_corpus();
                    let from = self.random.random_range(0..=other.len());
                    input.splice(start.., other[from..].iter().copied());
                }
                _ => {
                    let piece = input[start..end].to_vec();
                    input.splice(start..start, piece);
                }
            }
        }

        fn any_token(&mut self) -> Vec<u8> {
            self.tokens[self.random.random_range(0..self.tokens.len())].clone()
        }
    }

    /// The quoted texts of a dictionary of libFuzzer.
    fn tokens(dictionary: &str) -> Vec<Vec<u8>> {
        dictionary.lines().filter_map(|line| line.strip_prefix('"')?.strip_suffix('"')).map(unescape).collect()
    }

    fn unescape(text: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut rest = text.bytes();
        while let Some(byte) = rest.next() {
            bytes.push(match byte {
                b'\\' => match rest.next().unwrap() {
                    b'x' => {
                        let digits = [rest.next().unwrap(), rest.next().unwrap()];
                        u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
                    }
                    escaped => escaped,
                },
                plain => plain,
            });
        }
        bytes
    }

    #[test]
    fn a_dictionary_gives_its_tokens() {
        assert_eq!(tokens("# words\n\"a\"\n\n\"\\\"\\\\\\xff\"\n"), [b"a".to_vec(), b"\"\\\xff".to_vec()]);
    }

    #[test]
    fn the_same_seed_gives_the_same_mutations() {
        let inputs = |seed| {
            let mut mutations = Mutations::of("listing", seed);
            (0..100).map(|_| mutations.next()).collect::<Vec<_>>()
        };
        assert_eq!(inputs(1), inputs(1));
        assert_ne!(inputs(1), inputs(2));
    }
}
