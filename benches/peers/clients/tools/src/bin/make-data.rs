//! Makes objects with seeded random bytes: `make-data DIRECTORY SIZE...`, files `00000000`, `00000001` and so on.
//!
//! A size is a number of bytes, or `COUNTxBYTES`. Prints for each file its name and its CRC64NVME as S3 writes it in
//! `x-amz-checksum-crc64nvme`.

use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crc_fast::{CrcAlgorithm, Digest};

const PIECE: usize = 1 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().ok_or("no directory")?;
    std::fs::create_dir_all(&directory)?;
    let mut lines = BufWriter::new(std::io::stdout().lock());
    let mut index = 0u64;
    for size in arguments {
        let (count, size) = size.split_once('x').unwrap_or(("1", &size));
        let size = size.parse()?;
        for _ in 0..count.parse::<u64>()? {
            let name = format!("{index:08}");
            let checksum = write(&Path::new(&directory).join(&name), index, size)?;
            writeln!(lines, "{name} {}", STANDARD.encode(checksum.to_be_bytes()))?;
            index += 1;
        }
    }
    Ok(lines.flush()?)
}

/// The seed is the index, so no two objects have the same bytes, nor two pieces of one.
fn write(path: &Path, seed: u64, size: u64) -> Result<u64, Box<dyn Error>> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut digest = Digest::new(CrcAlgorithm::Crc64Nvme);
    let mut file = File::create(path)?;
    let mut piece = vec![0; PIECE];
    let mut left = size;
    while left > 0 {
        let length = left.min(PIECE as u64);
        let piece = &mut piece[..length as usize];
        random.fill(piece);
        digest.update(piece);
        file.write_all(piece)?;
        left -= length;
    }
    Ok(digest.finalize())
}
