//! Makes objects with seeded random bytes: `make-data DIRECTORY SIZE...`, files `00000000`, `00000001` and so on.
//!
//! A size is a number of bytes, or `COUNTxBYTES`. Prints for each file its name, its CRC64NVME as S3 writes it in
//! `x-amz-checksum-crc64nvme`, and its MD5 in hexadecimal, S3's ETag of what was stored by one request.

use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crc_fast::{CrcAlgorithm, Digest};
use md5::{Digest as _, Md5};

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
            let (crc, md5) = write(&Path::new(&directory).join(&name), index, size)?;
            writeln!(lines, "{name} {} {md5}", STANDARD.encode(crc.to_be_bytes()))?;
            index += 1;
        }
    }
    Ok(lines.flush()?)
}

/// The seed is the index, so no two objects have the same bytes, nor two pieces of one.
fn write(path: &Path, seed: u64, size: u64) -> Result<(u64, String), Box<dyn Error>> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut crc = Digest::new(CrcAlgorithm::Crc64Nvme);
    let mut md5 = Md5::new();
    let mut file = File::create(path)?;
    let mut piece = vec![0; PIECE];
    let mut left = size;
    while left > 0 {
        let length = left.min(PIECE as u64);
        let piece = &mut piece[..length as usize];
        random.fill(piece);
        crc.update(piece);
        md5.update(&*piece);
        file.write_all(piece)?;
        left -= length;
    }
    Ok((crc.finalize(), md5.finalize().iter().map(|byte| format!("{byte:02x}")).collect()))
}
