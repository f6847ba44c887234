//! The directory of a zip file and one of its members, read through `s3.open()` by the `zip` crate.

use std::io::{Read as _, Write as _};

use s3flow::testing::{Operation, S3Server};
use tokio_util::io::SyncIoBridge;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

const MEMBERS: usize = 200;
const MEMBER: usize = 1 << 20;

fn member(index: usize) -> Vec<u8> {
    (0..MEMBER).map(|at| (at.wrapping_mul(31) ^ (at >> 8) ^ index) as u8).collect()
}

/// 200 MiB.
fn archive() -> Vec<u8> {
    let mut writer = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for index in 0..MEMBERS {
        writer.start_file(format!("dir/{index:03}.bin"), stored).unwrap();
        writer.write_all(&member(index)).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_of_a_zip_file_is_one_request_and_a_member_at_most_two() {
    let server = S3Server::builder().bucket("bucket").md5(false).start().await.unwrap();
    server.put_object("bucket", "archive.zip", archive());
    let s3 = server.client_builder().build().unwrap().s3().s3root("s3://bucket").build().unwrap();
    let file = SyncIoBridge::new(s3.open("archive.zip").await.unwrap());
    let gets = || server.log().iter().filter(|request| request.operation() == Operation::GetObject).count();
    let mut archive = tokio::task::block_in_place(|| ZipArchive::new(file)).unwrap();
    assert_eq!(gets(), 1);
    assert_eq!(archive.len(), MEMBERS);
    let found = tokio::task::block_in_place(|| {
        let mut found = Vec::new();
        archive.by_name("dir/123.bin").unwrap().read_to_end(&mut found).unwrap();
        found
    });
    assert!(found == member(123));
    assert!(gets() <= 3, "{}", gets());
}
