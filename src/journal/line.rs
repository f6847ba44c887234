//! The lines of a journal: JSON objects, each with a CRC over its own text and all lines before it.
//!
//! So an edit, a line that is missing and one that was moved are found. A journal that ends early is one of an earlier moment.

use serde::{Deserialize, Serialize};

use crate::checksum::{ChecksumAlgorithm, Hasher, Method, Verified};

pub(super) const FORMAT: &str = "s3flow-journal";
pub(super) const VERSION: u32 = 1;

/// What stands before the CRC of a line, and behind it.
const BEFORE: &[u8] = b"{\"crc\":\"";
const BEHIND: &[u8] = b"\",";
/// Of 8 bytes as base64.
const CRC: usize = 12;

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) format: String,
    pub(super) version: u32,
    pub(super) operation: String,
    pub(super) targets: Vec<String>,
}

/// What a line says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Note {
    Head(Head),
    Object(ObjectNote),
    Piece(PieceNote),
    Whole(WholeNote),
    Moved { id: u64, path: String },
    Upload(UploadNote),
    Part(PartNote),
    Stored(StoredNote),
}

/// A download that was begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ObjectNote {
    pub(super) id: u64,
    pub(super) what: What,
    pub(super) file: String,
    pub(super) etag: String,
    /// Of the file.
    pub(super) size: u64,
}

/// Which bytes a download is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct What {
    pub(crate) url: String,
    /// As a `Range` header has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) range: Option<String>,
}

/// Bytes of a file that are written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PieceNote {
    pub(super) id: u64,
    #[serde(flatten)]
    pub(super) piece: Piece,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Piece {
    pub(crate) offset: u64,
    pub(crate) length: u64,
    /// CRC64NVME, as base64.
    pub(crate) sum: String,
}

/// A download that is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct WholeNote {
    pub(super) id: u64,
    pub(super) what: What,
    pub(super) file: String,
    pub(super) etag: String,
    pub(super) size: u64,
    pub(super) sum: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) verified: Option<Verified>,
}

/// Which file goes where.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Way {
    pub(crate) url: String,
    pub(crate) path: String,
}

/// What a put was for: another file, or other headers, are another put.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Content {
    /// Of the file, in bytes.
    pub(crate) size: u64,
    /// Of the file: seconds and nanoseconds since 1970.
    pub(crate) modified: String,
    /// A digest of what is stored with the object.
    pub(crate) headers: String,
}

/// An upload that was begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct UploadNote {
    pub(super) id: u64,
    pub(super) way: Way,
    pub(super) content: Content,
    /// `None`: in one request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) parts: Option<InParts>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) write_id: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct InParts {
    pub(crate) upload_id: String,
    /// In bytes.
    pub(crate) part_size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) checksum: Option<ChecksumAlgorithm>,
}

/// A part that the server has taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PartNote {
    pub(super) id: u64,
    pub(super) number: u32,
    pub(super) etag: String,
    pub(super) sum: String,
}

/// A put that is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredNote {
    pub(super) way: Way,
    pub(super) content: Content,
    pub(super) sum: String,
    pub(super) etag: String,
}

/// The CRC of a line behind those whose last CRC is `before`.
fn crc(before: &str, text: &[u8]) -> String {
    let mut hasher = Hasher::new(Method::Algorithm(ChecksumAlgorithm::Crc64Nvme));
    hasher.update(before.as_bytes());
    hasher.update(text);
    hasher.finish().to_base64()
}

/// A line with its end, and its CRC.
pub(super) fn write(before: &str, note: &Note) -> serde_json::Result<(Vec<u8>, String)> {
    let text = serde_json::to_vec(note)?;
    let text = &text[1..];
    let crc = crc(before, text);
    let mut line = Vec::with_capacity(BEFORE.len() + CRC + BEHIND.len() + text.len() + 1);
    for piece in [BEFORE, crc.as_bytes(), BEHIND, text, b"\n"] {
        line.extend_from_slice(piece);
    }
    Ok((line, crc))
}

/// Whether a line may begin so.
pub(super) fn may_begin_with(cut: &[u8]) -> bool {
    let length = cut.len().min(BEFORE.len());
    cut[..length] == BEFORE[..length]
}

/// The CRC of a line without its end, and what it says; or the field that is wrong, and why.
pub(super) fn read(before: &str, line: &[u8]) -> Result<(String, Vec<u8>), (&'static str, &'static str)> {
    let parts = line.strip_prefix(BEFORE).and_then(|rest| rest.split_at_checked(CRC));
    let parts = parts.and_then(|(crc, rest)| Some((std::str::from_utf8(crc).ok()?, rest.strip_prefix(BEHIND)?)));
    let Some((found, text)) = parts else { return Err(("crc", "the line has no CRC")) };
    if crc(before, text) != found {
        return Err(("crc", "it is not that of the line: this line or those before it were edited"));
    }
    Ok((found.to_owned(), [b"{", text].concat()))
}
