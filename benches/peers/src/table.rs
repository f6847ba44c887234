//! The parent: who runs when, and what is printed.

use crate::Result;
use crate::clients::{self, Kind};
use crate::content::show_size;
use crate::footprint;
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
    let what = format!("one GET of {}; files below {}", show_size(size), std::env::temp_dir().display());
    footprint(&what, &Objects { objects: 1, size }, Role::OneLarge, size)
}

pub(crate) fn one_stream(size: u64) -> Result<()> {
    let what = format!("one PUT of a stream of {}", show_size(size));
    footprint(&what, &Objects { objects: 0, size: 0 }, Role::OneStream, size)
}

pub(crate) fn info_many(objects: u64) -> Result<()> {
    footprint(&format!("info_from of {objects} keys"), &Objects { objects, size: 8 }, Role::InfoMany, objects)
}

/// What a large transfer may take in memory, either way.
const MOST_ABOVE_IDLE: u64 = 96 << 20;

pub(crate) fn there_and_back(size: u64) -> Result<()> {
    let (target, _server) = match Target::of_environment()? {
        Some(target) => (target, None),
        None => {
            let (target, server) = ask(Role::Server, &Objects { objects: 1, size: 8 })?;
            (target, Some(server))
        }
    };
    println!("{} there and back, with s3flow; files below {}\n", show_size(size), std::env::temp_dir().display());
    println!("| | idle RSS, MiB | peak RSS, MiB | above idle, MiB | CPU, s | wall, s |");
    println!("|---|---|---|---|---|---|");
    let mut over = Vec::new();
    for (what, role) in [
        ("up, from a file", Role::OneFile),
        ("down, every byte checked", Role::OneLarge),
        ("up, from a stream of unknown length", Role::OneStream),
        ("down, every byte checked", Role::OneLarge),
    ] {
        let job = footprint::Job { target: target.clone(), amount: size };
        let (footprint::Report { idle, peak, spent }, _) = ask::<footprint::Report>(role, &job)?;
        let above = peak.saturating_sub(idle);
        println!(
            "| {what} | {:.1} | {:.1} | {:.1} | {:.2} | {:.2} |",
            mebibytes(idle),
            mebibytes(peak),
            mebibytes(above),
            spent.cpu.total(),
            spent.wall
        );
        if above > MOST_ABOVE_IDLE {
            over.push(what);
        }
    }
    if over.is_empty() {
        Ok(())
    } else {
        Err(format!("over {} MiB: {}", MOST_ABOVE_IDLE >> 20, over.join("; ")).into())
    }
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn footprint(what: &str, stored: &Objects, role: Role, amount: u64) -> Result<()> {
    let (target, server) = ask::<Target>(Role::Server, stored)?;
    let (report, _) = ask::<footprint::Report>(role, &footprint::Job { target, amount })?;
    drop(server);
    let footprint::Report { idle, peak, spent } = report;
    println!("{what}, with s3flow\n");
    println!("| idle RSS, MiB | peak RSS, MiB | above idle, MiB | CPU, s | wall, s |");
    println!("|---|---|---|---|---|");
    println!(
        "| {:.1} | {:.1} | {:.1} | {:.2} | {:.2} |",
        mebibytes(idle),
        mebibytes(peak),
        mebibytes(peak.saturating_sub(idle)),
        spent.cpu.total(),
        spent.wall
    );
    Ok(())
}

fn sorted<T>(reports: &[T], figure: impl Fn(&T) -> f64) -> Vec<f64> {
    let mut figures: Vec<f64> = reports.iter().map(figure).collect();
    figures.sort_by(f64::total_cmp);
    figures
}

pub(crate) fn median<T>(reports: &[T], figure: impl Fn(&T) -> f64) -> f64 {
    let figures = sorted(reports, figure);
    let middle = figures.len() / 2;
    if figures.len() % 2 == 1 { figures[middle] } else { (figures[middle - 1] + figures[middle]) / 2.0 }
}

pub(crate) fn spread<T>(reports: &[T], figure: impl Fn(&T) -> f64) -> String {
    let figures = sorted(reports, &figure);
    format!("{:.2} ({:.2} to {:.2})", median(reports, figure), figures[0], figures[figures.len() - 1])
}
