//! The parent: who runs when, and what is printed.

use crate::Result;
use crate::clients::{self, Kind};
use crate::content::show_size;
use crate::large;
use crate::process::{Role, ask};
use crate::server::{Objects, Target};

const CLIENTS: [(Kind, &str); 3] = [
    (Kind::S3flow, "s3flow get_many, files"),
    (Kind::ObjectStoreFiles, "object_store, files"),
    (Kind::ObjectStoreMemory, "object_store, no files"),
];

pub(crate) fn get_many(objects: u64, size: u64, concurrency: usize, repeat: usize) -> Result<()> {
    if objects == 0 || concurrency == 0 || repeat == 0 {
        return Err("there must be objects, a concurrency and repetitions".into());
    }
    let objects = Objects { objects, size };
    let (target, server) = ask::<Target>(Role::Server, &objects)?;
    let run = |kind, check| -> Result<clients::Report> {
        let job = clients::Job { kind, target: target.clone(), objects: objects.clone(), concurrency, check };
        Ok(ask(Role::GetMany, &job)?.0)
    };
    for (kind, _) in CLIENTS {
        run(kind, true)?;
    }
    let mut reports = CLIENTS.map(|_| Vec::with_capacity(repeat));
    for _ in 0..repeat {
        for ((kind, _), reports) in CLIENTS.iter().zip(&mut reports) {
            reports.push(run(*kind, false)?);
        }
    }
    drop(server);

    let (count, size) = (objects.objects, show_size(size));
    let files = std::env::temp_dir();
    println!("{count} GETs of {size}, {concurrency} at a time; files below {}", files.display());
    println!("medians of {repeat} runs (least to most), in seconds\n");
    println!("| client | CPU | of it user | system | wall | CPU of setup | CPU, s3flow = 1 |");
    println!("|---|---|---|---|---|---|---|");
    let cpu = |reports: &[clients::Report]| median(reports, |report| report.gets.cpu.total());
    let reference = cpu(&reports[0]);
    for ((_, name), reports) in CLIENTS.iter().zip(&reports) {
        println!(
            "| {name} | {} | {:.2} | {:.2} | {} | {:.3} | {:.2} |",
            spread(reports, |report| report.gets.cpu.total()),
            median(reports, |report| report.gets.cpu.user),
            median(reports, |report| report.gets.cpu.system),
            spread(reports, |report| report.gets.wall),
            median(reports, |report| report.setup.total()),
            cpu(reports) / reference,
        );
    }
    Ok(())
}

pub(crate) fn one_large(size: u64) -> Result<()> {
    let (target, server) = ask::<Target>(Role::Server, &Objects { objects: 1, size })?;
    let (report, _) = ask::<large::Report>(Role::OneLarge, &large::Job { target, size })?;
    drop(server);
    let large::Report { idle, peak, get } = report;
    let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!("one GET of {} with s3flow; files below {}\n", show_size(size), std::env::temp_dir().display());
    println!("| idle RSS, MiB | peak RSS, MiB | above idle, MiB | CPU, s | wall, s |");
    println!("|---|---|---|---|---|");
    println!(
        "| {:.1} | {:.1} | {:.1} | {:.2} | {:.2} |",
        mebibytes(idle),
        mebibytes(peak),
        mebibytes(peak.saturating_sub(idle)),
        get.cpu.total(),
        get.wall
    );
    Ok(())
}

fn sorted<T>(reports: &[T], figure: impl Fn(&T) -> f64) -> Vec<f64> {
    let mut figures: Vec<f64> = reports.iter().map(figure).collect();
    figures.sort_by(f64::total_cmp);
    figures
}

fn median<T>(reports: &[T], figure: impl Fn(&T) -> f64) -> f64 {
    let figures = sorted(reports, figure);
    let middle = figures.len() / 2;
    if figures.len() % 2 == 1 { figures[middle] } else { (figures[middle - 1] + figures[middle]) / 2.0 }
}

fn spread<T>(reports: &[T], figure: impl Fn(&T) -> f64) -> String {
    let figures = sorted(reports, &figure);
    format!("{:.2} ({:.2} to {:.2})", median(reports, figure), figures[0], figures[figures.len() - 1])
}
