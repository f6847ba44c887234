//! What s3flow costs the process that uses it. The commands and their figures are in `benches/README.md`.
//!
//! The server and every client are processes of their own, started from this one: what a client reports is its own.

mod bounded;
mod checksums;
mod clients;
mod content;
mod flat;
mod footprint;
mod gateway;
mod growth;
mod items;
mod plot;
mod process;
mod server;
mod table;
mod usage;

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};
use s3flow::ChecksumAlgorithm;

use self::checksums::parse_algorithm;
use self::content::parse_size;
use self::process::Role;

type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

#[derive(Parser)]
#[command(about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// CPU and wall time of many GETs: s3flow, object_store into files, object_store without files.
    GetMany {
        #[arg(long, default_value_t = 10_000)]
        objects: u64,
        /// Of each object: bytes, or with KiB, MiB or GiB.
        #[arg(long, default_value = "1KiB", value_parser = parse_size)]
        size: u64,
        #[arg(long, default_value_t = 64)]
        concurrency: usize,
        /// Runs of each client that count; they take turns, after one run each that checks every byte.
        #[arg(long, default_value_t = 5)]
        repeat: usize,
    },
    /// Memory, CPU and wall time of one GET of a large object with s3flow.
    OneLarge {
        #[arg(long, default_value = "1GiB", value_parser = parse_size)]
        size: u64,
    },
    /// Memory, CPU and wall time of one PUT of a stream that does not say how long it is.
    OneStream {
        #[arg(long, default_value = "3GiB", value_parser = parse_size)]
        size: u64,
    },
    /// Memory, CPU and wall time of one large object: up from a file, up from a stream, and down again, byte for byte. On the
    /// service that S3FLOW_TEST_ENDPOINT names, as `tests/servers/garage` sets it, or on the server of the tests. Fails
    /// over 96 MiB.
    ThereAndBack {
        #[arg(long, default_value = "5GiB", value_parser = parse_size)]
        size: u64,
    },
    /// Memory, CPU and wall time of an info_from of many keys.
    InfoMany {
        #[arg(long, default_value_t = 100_000)]
        objects: u64,
    },
    /// CPU of one large file up and one large object down, with and without checksums.
    Checksums {
        #[arg(long, default_value = "1GiB", value_parser = parse_size)]
        size: u64,
        /// Runs of each that count; they take turns, after one that warms up.
        #[arg(long, default_value_t = 7)]
        repeat: usize,
        /// Of uploads; downloads have CRC64NVME.
        #[arg(long, default_value = "CRC64NVME", value_delimiter = ',', value_parser = parse_algorithm)]
        algorithms: Vec<ChecksumAlgorithm>,
    },
    /// Memory and disk of many large gets at once, with a limit for each. Fails when one is not kept: 64 MiB over the memory, or
    /// anything over the disk.
    Budgets {
        #[arg(long, default_value_t = 1000)]
        gets: usize,
        #[arg(long, default_value = "100MiB", value_parser = parse_size)]
        size: u64,
        #[arg(long, default_value = "256MiB", value_parser = parse_size)]
        memory: u64,
        #[arg(long, default_value = "2GiB", value_parser = parse_size)]
        disk: u64,
    },
    /// How long single gets of 1 KiB take alone, and beside a batch of 10 GiB, without and with limits of the client.
    Beside {
        /// Of the server, until it answers.
        #[arg(long, default_value_t = 20)]
        latency_ms: u64,
        /// Bytes in a second, on all connections of the batch together.
        #[arg(long, default_value = "400MiB", value_parser = parse_size)]
        line: u64,
        #[arg(long, default_value = "8MiB", value_parser = parse_size)]
        size: u64,
        #[arg(long, default_value_t = 300)]
        gets: usize,
        #[arg(long, default_value_t = 3)]
        repeat: usize,
    },
    /// Bytes in a second over 10 s, with a limit, and after another was set. Fails when one is missed by more than 5 %.
    Paces {
        #[arg(long, default_value = "50MiB", value_parser = parse_size)]
        first: u64,
        #[arg(long, default_value = "10MiB", value_parser = parse_size)]
        then: u64,
    },
    /// One client for many operations: memory, descriptors, tasks and files. Fails when one has grown by more than 5 % since the
    /// first 5,000.
    LongRun {
        #[arg(long, default_value_t = 200_000)]
        operations: usize,
    },
    /// CPU for an item of one long stream, and memory, from its beginning to its end. Fails when the last items take over 1.15
    /// times the CPU of the first, or 1.1 times the memory.
    ManyItems {
        #[arg(long, default_value_t = 1_000_000)]
        items: u64,
        /// Of 1 KiB, into files, in place of infos.
        #[arg(long)]
        get: bool,
    },
    /// How cost grows with the number of objects, with their size, and with how many are on their way at a time.
    Growth {
        /// Objects of the largest batch; the others are smaller powers of ten.
        #[arg(long, default_value_t = 1_000_000)]
        objects: u64,
        /// Of the largest object, which the server and the client's temporary directory each hold.
        #[arg(long, default_value = "4GiB", value_parser = parse_size)]
        size: u64,
        /// Where a plot of it is written to, as SVG.
        #[arg(long)]
        plot: Option<PathBuf>,
    },
    /// The listing of one flat prefix: one page after another, as found, and in order.
    ListFlat {
        #[arg(long, default_value_t = 1_000_000)]
        objects: u64,
        /// Of the server, until it answers.
        #[arg(long, default_value_t = 20)]
        latency_ms: u64,
    },
    /// The gateway of examples/axum_gateway.rs beside nginx as a proxy, in turns: throughput, CPU and memory under many clients, some
    /// of which go away in the middle. Fails when anything is left, when the memory is over its budget, and when less goes through than 0.8
    /// of what goes through nginx.
    Gateway {
        #[arg(long, default_value_t = 1_000)]
        clients: usize,
        /// Of each turn.
        #[arg(long, default_value_t = 60)]
        seconds: u64,
        /// Turns of each.
        #[arg(long, default_value_t = 2)]
        rounds: usize,
        /// That the gateway's transfers may have.
        #[arg(long, default_value = "512MiB", value_parser = parse_size)]
        memory: u64,
    },
    /// The server of the tests, for a load generator: unsigned requests are allowed, one object of 1 KiB, until stdin ends.
    Serve,
    /// What the processes that this one starts do.
    #[command(hide = true)]
    Role { role: Role },
}

fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::GetMany { objects, size, concurrency, repeat } => table::get_many(objects, size, concurrency, repeat),
        Command::OneLarge { size } => table::one_large(size),
        Command::OneStream { size } => table::one_stream(size),
        Command::ThereAndBack { size } => table::there_and_back(size),
        Command::InfoMany { objects } => table::info_many(objects),
        Command::Checksums { size, repeat, algorithms } => checksums::compare(size, repeat, &algorithms),
        Command::Budgets { gets, size, memory, disk } => bounded::budgets(gets, size, memory, disk),
        Command::Beside { latency_ms, line, size, gets, repeat } => {
            bounded::compare_beside(Duration::from_millis(latency_ms), line, size, gets, repeat)
        }
        Command::Paces { first, then } => bounded::paces(first, then),
        Command::LongRun { operations } => bounded::long_run(operations),
        Command::ManyItems { items, get } => items::many_items(items, get),
        Command::Growth { objects, size, plot } => growth::compare(objects, size, plot.as_deref()),
        Command::ListFlat { objects, latency_ms } => flat::compare(objects, Duration::from_millis(latency_ms)),
        Command::Gateway { clients, seconds, rounds, memory } => gateway::compare(clients, seconds, rounds, memory),
        Command::Serve => process::run(server::serve_anyone()),
        Command::Role { role: Role::GrowthServer } => process::answer(growth::serve),
        Command::Role { role: Role::Growth } => process::answer(growth::get),
        Command::Role { role: Role::FlatServer } => process::answer(flat::serve),
        Command::Role { role: Role::ListFlat } => process::answer(flat::list),
        Command::Role { role: Role::Server } => process::answer(server::serve),
        Command::Role { role: Role::SlowServer } => process::answer(server::serve_slowly),
        Command::Role { role: Role::Budgets } => process::answer(bounded::keep_budgets),
        Command::Role { role: Role::Beside } => process::answer(bounded::beside),
        Command::Role { role: Role::Pace } => process::answer(bounded::keep_pace),
        Command::Role { role: Role::Soak } => process::answer(bounded::soak),
        Command::Role { role: Role::ManyItems } => process::answer(items::stream),
        Command::Role { role: Role::Gateway } => process::answer(gateway::serve),
        Command::Role { role: Role::Load } => process::answer(gateway::run),
        Command::Role { role: Role::GetMany } => process::answer(clients::get_many),
        Command::Role { role: Role::OneLarge } => process::answer(footprint::get_one),
        Command::Role { role: Role::OneFile } => process::answer(footprint::put_file),
        Command::Role { role: Role::OneStream } => process::answer(footprint::put_stream),
        Command::Role { role: Role::Checksummed } => process::answer(checksums::transfer),
        Command::Role { role: Role::InfoMany } => process::answer(footprint::info_many),
    }
}
