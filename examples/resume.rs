//! Transfers that go on where a process was killed, by a journal.
//!
//! ```text
//! resume get s3://bucket/models /data/models.journal /data/models
//! resume put s3://bucket/models /data/models.journal large.bin /data/large.bin small.bin /data/small.bin
//! ```
//!
//! Kill it at any moment and call it again: it fetches or sends what is missing. In the end it removes the journal.

use std::error::Error;
use std::path::{Path, PathBuf};

use futures::TryStreamExt as _;
use s3flow::{Client, S3};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let client = Client::builder().build()?;
    match arguments[..] {
        ["get", prefix, journal, destination] => {
            let s3 = client.s3().s3root(prefix).build()?;
            get(&s3, Path::new(journal), Path::new(destination)).await
        }
        ["put", root, journal, ref pairs @ ..] if !pairs.is_empty() && pairs.len() % 2 == 0 => {
            let s3 = client.s3().s3root(root).build()?;
            put(&s3, Path::new(journal), pairs).await
        }
        _ => Err("resume get PREFIX JOURNAL DESTINATION, or resume put ROOT JOURNAL KEY FILE …".into()),
    }
}

/// Everything below the root into `destination`, each object at its key.
async fn get(s3: &S3, journal: &Path, destination: &Path) -> Result<(), Box<dyn Error>> {
    let mut objects = s3.get_all().journal(journal);
    while let Some(object) = objects.try_next().await? {
        let path = below(destination, object.key())?;
        std::fs::create_dir_all(path.parent().unwrap_or(destination))?;
        let (url, size) = (object.url().to_owned(), object.size().unwrap_or(0));
        object.persist(&path).await?;
        println!("{url}: {size} bytes at {}", path.display());
    }
    drop(objects);
    std::fs::remove_dir_all(journal)?;
    Ok(())
}

/// Keys are anybody's: `../x` must not leave the directory.
fn below(destination: &Path, key: &str) -> Result<PathBuf, String> {
    let is_name = |segment: &str| !segment.is_empty() && segment != "." && segment != ".." && !segment.contains('\\');
    if !key.split('/').all(is_name) {
        return Err(format!("the key {key:?} is no path below {}", destination.display()));
    }
    Ok(destination.join(key))
}

async fn put(s3: &S3, journal: &Path, pairs: &[&str]) -> Result<(), Box<dyn Error>> {
    let files: Vec<(&str, &str)> = pairs.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
    let mut receipts = s3.put_files(files).journal(journal);
    while let Some(receipt) = receipts.try_next().await? {
        println!("{}: {:?}", receipt.url(), receipt.outcome());
    }
    drop(receipts);
    std::fs::remove_dir_all(journal)?;
    Ok(())
}
