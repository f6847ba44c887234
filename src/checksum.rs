//! Checksums of objects: pure.

mod combine;

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use crc_fast::CrcAlgorithm;
use md5::{Digest as _, Md5};
use ring::digest;
use serde::{Deserialize, Serialize};

use self::combine::Remainders;

/// S3 takes no more in one object.
const MAX_PARTS: u32 = 10_000;

/// How S3 computes the checksum that is stored with an object.
///
/// The CRCs are of the whole object, however it was uploaded, if the uploader did not ask for something else. The SHA ones of an
/// object that was uploaded in parts are of the checksums of its parts.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html>
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ChecksumAlgorithm {
    /// S3's own default.
    #[default]
    Crc64Nvme,
    /// That of gzip and zip.
    Crc32,
    /// Castagnoli's, that of iSCSI.
    Crc32c,
    /// For those who have to: it is slower than a CRC, and no protection against intent.
    Sha1,
    /// A cryptographic digest, at a cost of CPU that shows.
    Sha256,
}

impl fmt::Display for ChecksumAlgorithm {
    /// As S3 names it: `CRC64NVME`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Crc64Nvme => "CRC64NVME",
            Self::Crc32 => "CRC32",
            Self::Crc32c => "CRC32C",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
        })
    }
}

/// What the bytes of a download were compared with, all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Verified {
    /// The checksum that is stored with the object.
    Checksum(ChecksumAlgorithm),
    /// The checksum of the checksums of the parts that the object was uploaded in: each part's was computed from its bytes.
    Composite(ChecksumAlgorithm),
    /// The object's ETag, which is an MD5 digest of its bytes.
    Etag,
}

impl fmt::Display for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Checksum(algorithm) => algorithm.fmt(f),
            Self::Composite(algorithm) => write!(f, "{algorithm} of the parts"),
            Self::Etag => f.write_str("MD5"),
        }
    }
}

/// How a checksum is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Algorithm(ChecksumAlgorithm),
    /// Of ETags.
    Md5,
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Algorithm(algorithm) => algorithm.fmt(f),
            Self::Md5 => f.write_str("MD5"),
        }
    }
}

/// What downloads are compared with, where the server has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Verification {
    /// Nothing but their length.
    Off,
    /// The checksum that is stored with the object. An object with one of the checksums of its parts comes by the parts that it was
    /// uploaded in, up to eight at a time.
    #[default]
    Checksums,
    /// Where there is no checksum, the ETag of an object that was stored in one request, when it has the form of an MD5 digest and
    /// the object is not encrypted with a key of KMS or of a customer. Such an object of over 16 MiB comes in one stream. Not for
    /// services whose ETags look like digests and are none.
    ChecksumsAndEtags,
}

/// How the bytes of a client's transfers are checked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Integrity {
    /// Of what is uploaded.
    pub(crate) algorithm: Option<ChecksumAlgorithm>,
    pub(crate) verification: Verification,
    /// How often a download begins anew when its bytes are not those of the object.
    pub(crate) redownloads: u32,
}

/// A checksum of some bytes.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Checksum {
    by: Method,
    /// As it is sent, before base64.
    digest: Box<[u8]>,
}

impl fmt::Debug for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Checksum {
    /// With its algorithm: `CRC32C yZRlqg==`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.by, self.to_base64())
    }
}

impl Checksum {
    /// As headers carry it; `None` for what is no checksum of this algorithm, such as the checksum of checksums `…=-3`.
    pub(crate) fn parse(algorithm: ChecksumAlgorithm, base64: &str) -> Option<Self> {
        let by = Method::Algorithm(algorithm);
        let digest = BASE64_STANDARD.decode(base64).ok().filter(|digest| digest.len() == by.digest_len())?;
        Some(Self { by, digest: digest.into() })
    }

    /// That of an ETag, quoted, when it has the form of a digest.
    pub(crate) fn of_etag(etag: &str) -> Option<Self> {
        let hex = etag.strip_prefix('"')?.strip_suffix('"')?;
        if hex.len() != 2 * Method::Md5.digest_len() || !hex.is_ascii() {
            return None;
        }
        let digest: Option<Vec<u8>> =
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).ok()).collect();
        Some(Self { by: Method::Md5, digest: digest?.into() })
    }

    pub(crate) fn of(algorithm: ChecksumAlgorithm, bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new(Method::Algorithm(algorithm));
        hasher.update(bytes);
        hasher.finish()
    }

    /// What a download is said to be compared with that was compared with this one.
    pub(crate) fn verified(&self) -> Verified {
        match self.by {
            Method::Algorithm(algorithm) => Verified::Checksum(algorithm),
            Method::Md5 => Verified::Etag,
        }
    }

    pub(crate) fn by(&self) -> Method {
        self.by
    }

    pub(crate) fn to_base64(&self) -> String {
        BASE64_STANDARD.encode(&self.digest)
    }

    /// Of these bytes with the `length` bytes of `next` behind them; `None` where that cannot be told from the two.
    fn followed_by(&self, next: &Self, length: u64) -> Option<Self> {
        let (_, remainders) = self.by.crc().filter(|_| self.by == next.by)?;
        let crc = remainders.combine(self.crc(), next.crc(), length);
        Some(Self { by: self.by, digest: self.by.crc_digest(crc) })
    }

    /// Of the bytes whose parts have these, with their lengths, in their order; `None` where that cannot be told.
    pub(crate) fn of_parts<'a>(parts: impl IntoIterator<Item = (&'a Self, u64)>) -> Option<Self> {
        let mut parts = parts.into_iter();
        let (first, _) = parts.next()?;
        parts.try_fold(first.clone(), |whole, (part, length)| whole.followed_by(part, length))
    }

    fn crc(&self) -> u64 {
        self.digest.iter().fold(0, |crc, byte| crc << 8 | u64::from(*byte))
    }
}

/// A checksum of the checksums of an object's parts, before base64, one after another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Composite {
    algorithm: ChecksumAlgorithm,
    /// Of all that the parts' checksums are.
    checksum: Checksum,
    parts: u32,
}

impl fmt::Display for Composite {
    /// With its algorithm, and as headers carry it: `CRC32C yZRlqg==-3`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.checksum, self.parts)
    }
}

impl Composite {
    /// As headers carry it, with the number of parts; `None` for anything else.
    pub(crate) fn parse(algorithm: ChecksumAlgorithm, text: &str) -> Option<Self> {
        let (base64, parts) = text.rsplit_once('-')?;
        let parts = parts.parse().ok().filter(|count| (1..=MAX_PARTS).contains(count))?;
        Some(Self { algorithm, checksum: Checksum::parse(algorithm, base64)?, parts })
    }

    /// Of the checksums of all parts, in their order.
    pub(crate) fn of<'a>(algorithm: ChecksumAlgorithm, parts: impl IntoIterator<Item = &'a Checksum>) -> Self {
        let mut hasher = Hasher::new(Method::Algorithm(algorithm));
        let parts = parts.into_iter().map(|part| hasher.update(&part.digest)).fold(0, |count, ()| count + 1);
        Self { algorithm, checksum: hasher.finish(), parts }
    }

    pub(crate) fn algorithm(&self) -> ChecksumAlgorithm {
        self.algorithm
    }

    /// How many parts the object was uploaded in.
    pub(crate) fn parts(&self) -> u32 {
        self.parts
    }
}

/// What an answer says of the bytes of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StoredChecksum {
    /// Of all of its bytes, or of all bytes of the part that was asked for.
    Bytes(Checksum),
    Composite(Composite),
}

impl StoredChecksum {
    pub(crate) fn of_bytes(self) -> Option<Checksum> {
        match self {
            Self::Bytes(checksum) => Some(checksum),
            Self::Composite(_) => None,
        }
    }
}

impl ChecksumAlgorithm {
    /// Whether a checksum of the whole can be told from those of its parts.
    pub(crate) fn combines(self) -> bool {
        Method::Algorithm(self).combines()
    }
}

impl Method {
    pub(crate) fn combines(self) -> bool {
        self.crc().is_some()
    }

    fn crc(self) -> Option<(CrcAlgorithm, Remainders)> {
        match self {
            Self::Algorithm(ChecksumAlgorithm::Crc64Nvme) => Some((CrcAlgorithm::Crc64Nvme, Remainders::CRC64_NVME)),
            Self::Algorithm(ChecksumAlgorithm::Crc32) => Some((CrcAlgorithm::Crc32IsoHdlc, Remainders::CRC32)),
            Self::Algorithm(ChecksumAlgorithm::Crc32c) => Some((CrcAlgorithm::Crc32Iscsi, Remainders::CRC32C)),
            Self::Algorithm(ChecksumAlgorithm::Sha1 | ChecksumAlgorithm::Sha256) | Self::Md5 => None,
        }
    }

    fn digest_len(self) -> usize {
        match self {
            Self::Algorithm(ChecksumAlgorithm::Crc64Nvme) => 8,
            Self::Algorithm(ChecksumAlgorithm::Crc32 | ChecksumAlgorithm::Crc32c) => 4,
            Self::Algorithm(ChecksumAlgorithm::Sha1) => 20,
            Self::Algorithm(ChecksumAlgorithm::Sha256) => 32,
            Self::Md5 => 16,
        }
    }

    fn crc_digest(self, crc: u64) -> Box<[u8]> {
        let bytes = crc.to_be_bytes();
        bytes[bytes.len() - self.digest_len()..].into()
    }
}

/// A checksum in the making.
pub(crate) struct Hasher {
    by: Method,
    state: State,
}

enum State {
    Crc(crc_fast::Digest),
    Sha(digest::Context),
    Md5(Md5),
}

impl Hasher {
    pub(crate) fn new(by: Method) -> Self {
        let state = match (by, by.crc()) {
            (_, Some((algorithm, _))) => State::Crc(crc_fast::Digest::new(algorithm)),
            (Method::Algorithm(ChecksumAlgorithm::Sha1), _) => {
                State::Sha(digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY))
            }
            (Method::Algorithm(_), _) => State::Sha(digest::Context::new(&digest::SHA256)),
            (Method::Md5, _) => State::Md5(Md5::new()),
        };
        Self { by, state }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::Crc(digest) => digest.update(bytes),
            State::Sha(context) => context.update(bytes),
            State::Md5(digest) => digest.update(bytes),
        }
    }

    pub(crate) fn finish(self) -> Checksum {
        let digest = match self.state {
            State::Crc(digest) => self.by.crc_digest(digest.finalize()),
            State::Sha(context) => context.finish().as_ref().into(),
            State::Md5(digest) => digest.finalize().as_slice().into(),
        };
        Checksum { by: self.by, digest }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: [ChecksumAlgorithm; 5] = [
        ChecksumAlgorithm::Crc64Nvme,
        ChecksumAlgorithm::Crc32,
        ChecksumAlgorithm::Crc32c,
        ChecksumAlgorithm::Sha1,
        ChecksumAlgorithm::Sha256,
    ];

    /// The check values of the catalogue of CRCs (<https://reveng.sourceforge.io/crc-catalogue/>), and `shasum`'s.
    #[test]
    fn checksums_are_those_that_everybody_computes() {
        let hex = |algorithm| {
            let Checksum { digest, .. } = Checksum::of(algorithm, b"123456789");
            digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
        };
        assert_eq!(hex(ChecksumAlgorithm::Crc64Nvme), "ae8b14860a799888");
        assert_eq!(hex(ChecksumAlgorithm::Crc32), "cbf43926");
        assert_eq!(hex(ChecksumAlgorithm::Crc32c), "e3069283");
        assert_eq!(hex(ChecksumAlgorithm::Sha1), "f7c3bc1d808e04732adf679965ccc34ca7ae3441");
        assert_eq!(hex(ChecksumAlgorithm::Sha256), "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225");
        let mut md5 = Hasher::new(Method::Md5);
        md5.update(b"123456789");
        assert_eq!(Some(md5.finish()), Checksum::of_etag("\"25f9e794323b453885f5181f1b624d0b\""));
    }

    #[test]
    fn what_is_no_checksum_of_the_whole_is_not_taken_for_one() {
        for algorithm in ALL {
            let text = Checksum::of(algorithm, b"bytes").to_base64();
            assert_eq!(Checksum::parse(algorithm, &text), Some(Checksum::of(algorithm, b"bytes")));
            for other in [format!("{text}-2"), format!("{text}AAAA"), String::new(), "?".repeat(text.len())] {
                assert_eq!(Checksum::parse(algorithm, &other), None, "{other}");
            }
        }
        for etag in [
            "",
            "\"\"",
            "25f9e794323b453885f5181f1b624d0b",
            "\"25f9e794323b453885f5181f1b624d0b-2\"",
            "\"é5f9e794323b453885f5181f1b624d0\"",
            "W/\"25f9e794323b453885f5181f1b624d0b\"",
        ] {
            assert_eq!(Checksum::of_etag(etag), None, "{etag}");
        }
    }

    #[test]
    fn a_checksum_of_checksums_is_told_from_those_of_the_parts() {
        for algorithm in ALL {
            let parts = [b"first".as_slice(), b"second", b""].map(|part| Checksum::of(algorithm, part));
            let composite = Composite::of(algorithm, &parts);
            let digests: Vec<u8> = parts.iter().flat_map(|part| part.digest.iter().copied()).collect();
            let text = format!("{}-3", Checksum::of(algorithm, &digests).to_base64());
            assert_eq!(Composite::parse(algorithm, &text), Some(composite.clone()));
            assert_eq!(composite.to_string(), format!("{algorithm} {text}"));
            assert_ne!(Composite::of(algorithm, &parts[..2]), composite);
            assert_ne!(Composite::of(algorithm, [&parts[1], &parts[0], &parts[2]]), composite, "swapped");
            let whole = text.trim_end_matches("-3");
            for other in [whole, "-3", "", &format!("{whole}-0"), &format!("{whole}-10001"), &format!("{whole}-x")] {
                assert_eq!(Composite::parse(algorithm, other), None, "{other}");
            }
        }
    }

    proptest! {
        #[test]
        fn the_crc_of_the_whole_is_told_from_those_of_its_parts(
            bytes in proptest::collection::vec(any::<u8>(), 1..500),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..5),
        ) {
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).chain([0, bytes.len()]).collect();
            at.sort_unstable();
            for algorithm in ALL {
                let parts: Vec<_> = at
                    .windows(2)
                    .map(|cut| (Checksum::of(algorithm, &bytes[cut[0]..cut[1]]), (cut[1] - cut[0]) as u64))
                    .collect();
                let whole = Checksum::of_parts(parts.iter().map(|(checksum, length)| (checksum, *length)));
                if algorithm.combines() {
                    prop_assert_eq!(whole, Some(Checksum::of(algorithm, &bytes)));
                } else if parts.len() > 1 {
                    prop_assert_eq!(whole, None);
                }
            }
        }
    }
}
