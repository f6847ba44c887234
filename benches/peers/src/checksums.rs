//! What checksums cost: one large file up, one large object down, with and without.

use std::path::PathBuf;

use s3flow::{ChecksumAlgorithm, Client, PutValue, Verification, Verified};
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::content::{key, show_size};
use crate::footprint;
use crate::process::{Role, ask, print};
use crate::server::{Objects, Target};
use crate::table::{median, spread};
use crate::usage::{Spent, Stopwatch, bytes_read};

#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Job {
    target: Target,
    /// A signature over plain HTTP has a SHA-256 digest of the body, which costs more than any CRC and would hide it.
    signed: bool,
    checksum: Option<ChecksumAlgorithm>,
    /// What is uploaded; without it, there is a download.
    file: Option<PathBuf>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Report {
    spent: Spent,
    /// By the system calls that read files.
    read: u64,
}

pub(crate) async fn transfer(job: Job) -> Result<()> {
    print(&tokio::spawn(measure(job)).await??)
}

async fn measure(Job { target, signed, checksum, file }: Job) -> Result<Report> {
    let verification = if checksum.is_some() { Verification::Checksums } else { Verification::Off };
    let client = Client::builder()
        .endpoint(&target.endpoint)
        .region(&target.region)
        .tmproot(std::env::temp_dir())
        .checksum(checksum)
        .verification(verification);
    let client = if signed { client.credentials(target.credentials()) } else { client.anonymous(true) };
    let s3 = client.build()?.s3().s3root(format!("s3://{}", target.bucket)).build()?;
    // Makes the pool and the like.
    s3.put("small", "x").await?;
    let (watch, before) = (Stopwatch::start()?, bytes_read()?);
    if let Some(file) = file {
        s3.put(key(1), PutValue::file(file)).await?;
        return Ok(Report { spent: watch.stop()?, read: bytes_read()? - before });
    }
    let object = s3.get(key(0)).await?;
    let report = Report { spent: watch.stop()?, read: bytes_read()? - before };
    if object.verified() != checksum.map(Verified::Checksum) {
        return Err(format!("compared with {:?}", object.verified()).into());
    }
    drop(object);
    s3.close().await?;
    Ok(report)
}

pub(crate) fn compare(size: u64, repeat: usize, algorithms: &[ChecksumAlgorithm]) -> Result<()> {
    if size == 0 || repeat == 0 {
        return Err("there must be bytes and repetitions".into());
    }
    let files = std::env::temp_dir();
    let file = tempfile::NamedTempFile::new()?;
    footprint::write(file.path(), size)?;
    let up = Some(file.path().to_owned());
    println!(
        "{} with s3flow; files below {}; medians of {repeat} runs (least to most)\n",
        show_size(size),
        files.display()
    );
    println!(
        "| transfer | checksum | CPU, s | of it user | system | wall, s | CPU, without = 1 | read from files, MiB |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for (name, file, signed, stored) in [
        ("a file up", up.clone(), false, Objects { objects: 0, size: 0 }),
        ("a file up, signed over plain HTTP", up, true, Objects { objects: 0, size: 0 }),
        ("an object down", None, false, Objects { objects: 1, size }),
    ] {
        let (target, server) = ask::<Target>(Role::Server, &stored)?;
        // What is stored by the server itself has S3's own.
        let algorithms = if file.is_some() { algorithms } else { &[ChecksumAlgorithm::Crc64Nvme] };
        let checksums: Vec<_> = [None].into_iter().chain(algorithms.iter().copied().map(Some)).collect();
        let mut reports: Vec<Vec<Report>> = checksums.iter().map(|_| Vec::new()).collect();
        // The first round warms up.
        for round in 0..=repeat {
            for (checksum, reports) in checksums.iter().zip(&mut reports) {
                let job = Job { target: target.clone(), signed, checksum: *checksum, file: file.clone() };
                let (report, _) = ask::<Report>(Role::Checksummed, &job)?;
                reports.extend((round > 0).then_some(report));
            }
        }
        drop(server);
        let cpu = |reports: &[Report]| median(reports, |report| report.spent.cpu.total());
        for (checksum, runs) in checksums.iter().zip(&reports) {
            println!(
                "| {name} | {} | {} | {:.2} | {:.2} | {:.2} | {:.3} | {:.0} |",
                checksum.map_or_else(|| "none".to_owned(), |algorithm| algorithm.to_string()),
                spread(runs, |report| report.spent.cpu.total()),
                median(runs, |report| report.spent.cpu.user),
                median(runs, |report| report.spent.cpu.system),
                median(runs, |report| report.spent.wall),
                cpu(runs) / cpu(&reports[0]),
                median(runs, |report| report.read as f64 / f64::from(1 << 20)),
            );
        }
    }
    Ok(())
}

pub(crate) fn parse_algorithm(text: &str) -> Result<ChecksumAlgorithm, String> {
    use ChecksumAlgorithm::{Crc32, Crc32c, Crc64Nvme, Sha1, Sha256};

    let known = [Crc64Nvme, Crc32, Crc32c, Sha1, Sha256];
    let named = known.into_iter().find(|algorithm| algorithm.to_string().eq_ignore_ascii_case(text));
    named.ok_or_else(|| format!("{text:?} is not one of CRC64NVME, CRC32, CRC32C, SHA1, SHA256"))
}
