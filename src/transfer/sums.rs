//! Checksums of files. All of it blocks.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use crate::checksum::{Checksum, ChecksumAlgorithm, Hasher, Method};
use crate::error::{Error, ErrorKind, Result};

/// The algorithm of a journal's own sums.
pub(super) const OWN: Method = Method::Algorithm(ChecksumAlgorithm::Crc64Nvme);
/// A file is read so much at a time.
const READ: usize = 256 * 1024;

/// Of a whole file.
pub(super) fn of_file<const N: usize>(path: &Path, by: [Method; N]) -> Result<[Checksum; N]> {
    let read = File::open(path).and_then(|mut file| of_bytes(&mut file, u64::MAX, by));
    read.map(|(sums, _)| sums).map_err(|error| unreadable(path, error))
}

/// Of up to `length` bytes from where a file stands, and how many there were.
pub(super) fn of_bytes<const N: usize>(
    file: &mut File,
    length: u64,
    by: [Method; N],
) -> io::Result<([Checksum; N], u64)> {
    let mut hashers = by.map(Hasher::new);
    let mut buffer = vec![0; READ];
    let mut done = 0;
    while done < length {
        let most = (length - done).min(READ as u64) as usize;
        match file.read(&mut buffer[..most]) {
            Ok(0) => break,
            Ok(read) => {
                hashers.iter_mut().for_each(|hasher| hasher.update(&buffer[..read]));
                done += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok((hashers.map(Hasher::finish), done))
}

pub(super) fn unreadable(path: &Path, error: io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("could not read {}", path.display())).with_source(error)
}
