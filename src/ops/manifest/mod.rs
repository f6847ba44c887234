//! Manifests: objects of JSON lines, read and written line by line.

mod lines;
mod read;
mod write;

pub use self::read::ReadManifest;
pub use self::write::ManifestWriter;

/// The longest line, in bytes: 8 MiB.
const MAX_LINE: usize = 8 * 1024 * 1024;
