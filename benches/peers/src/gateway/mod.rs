//! The gateway of `examples/axum_gateway.rs` under load, beside nginx as a proxy in front of the same S3 service: how much goes
//! through, what it takes, and whether anything is left.

mod load;
mod nginx;
mod service;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

pub(crate) use self::load::run;
use self::load::{Report, Size};
use self::nginx::Nginx;
pub(crate) use self::service::serve;
use self::service::{Place, Use};
use crate::Result;
use crate::content::{Content, key, show_size};
use crate::process::{Role, ask};
use crate::usage::{cpu_of, memory_of};

/// Of a client: what a download has in buffers on its way to a reader that is slower than S3.
const OF_A_CLIENT: u64 = 3 << 20;

/// Of what goes through nginx, in bytes and in requests.
const LEAST_SHARE: f64 = 0.8;

/// Unused connections to the S3 service are kept for 15 s.
const SETTLED: Duration = Duration::from_secs(40);

struct Proxy {
    name: &'static str,
    address: SocketAddr,
    processes: Vec<u32>,
    reports: Vec<Report>,
}

pub(crate) fn compare(clients: usize, seconds: u64, rounds: usize, memory: u64) -> Result<()> {
    if clients == 0 || seconds == 0 || rounds == 0 {
        return Err("there must be clients, seconds and rounds".into());
    }
    // A client is a descriptor here, and two in a proxy.
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    if most < 3 * clients as u64 + 100 {
        return Err(format!("{clients} clients need more than {most} descriptors (ulimit -Hn)").into());
    }
    let store = Nginx::store()?;
    let nginx = Nginx::proxy(&store)?;
    let (Place { address, uses }, gateway) =
        ask::<Place>(Role::Gateway, &service::Job { store: store.address, memory })?;
    let started = in_use(uses)?;
    for address in [nginx.address, address] {
        check(address)?;
    }
    // Tasks that are made once are made by now.
    let idle = settled(uses, &Use { tasks: usize::MAX, ..started })?;
    let idle_memory = memory_of(gateway.id(), "VmRSS")?;

    println!(
        "{clients} clients, {seconds} s, one of ten clients going away in the middle of each request; {} of memory for the gateway's \
         transfers\n",
        show_size(memory)
    );
    println!(
        "| proxy | round | MiB/s down | MiB/s up | requests/s | vanished/s | GET of 16 KiB: half took, 99 %, ms | PUT | CPU of the proxy, s | of the \
         clients, s | peak, MiB |\n|---|---|---|---|---|---|---|---|---|---|---|"
    );
    let mut proxies = [
        Proxy { name: "nginx", address: nginx.address, processes: nginx.processes()?, reports: Vec::new() },
        Proxy { name: "gateway", address, processes: vec![gateway.id()], reports: Vec::new() },
    ];
    let mut left = idle;
    for round in 1..=rounds {
        for proxy in &mut proxies {
            proxy.run(round, clients, seconds)?;
        }
        left = settled(uses, &idle)?;
    }
    let (begun, ended) = store.uploads()?;
    let peak = memory_of(gateway.id(), "VmHWM")?.saturating_sub(idle_memory);
    let budget = memory + clients as u64 * OF_A_CLIENT;
    let share = |count: fn(&Report) -> u64| {
        let [nginx, gateway] = [0, 1].map(|proxy| proxies[proxy].reports.iter().map(count).sum::<u64>() as f64);
        gateway / nginx
    };
    let (bytes, requests) = (share(|report| report.down + report.up), share(|report| report.requests));
    println!("\nThe gateway, idle before: {idle:?}; afterwards: {left:?}.");
    println!("Uploads in parts: {begun} begun, {ended} completed or aborted.");
    println!("Memory above idle: {:.0} MiB, of {:.0} MiB.", mebibytes(peak), mebibytes(budget));
    println!(
        "Through the gateway, of what goes through nginx: {bytes:.2} of the bytes, {requests:.2} of the requests."
    );
    let error = proxies.iter().flat_map(|proxy| &proxy.reports).find_map(|report| report.first_error.as_ref());
    let torn = store.torn()?;
    match error {
        Some(error) => Err(format!("a request fails: {error}").into()),
        None if !torn.is_empty() => Err(format!("stored in part: {torn:?}").into()),
        None if begun != ended => Err("uploads in parts are left".into()),
        None if peak > budget => Err("the memory is over its budget".into()),
        None if bytes.min(requests) < LEAST_SHARE => {
            Err(format!("less than {LEAST_SHARE} of what goes through nginx").into())
        }
        None => Ok(()),
    }
}

impl Proxy {
    fn run(&mut self, round: usize, clients: usize, seconds: u64) -> Result<()> {
        let cpu = || self.processes.iter().map(|id| cpu_of(*id)).sum::<Result<f64>>();
        let before = cpu()?;
        let job =
            load::Job { address: self.address, clients, seconds, uploads: format!("uploads/{}/{round}", self.name) };
        let (report, _) = ask::<Report>(Role::Load, &job)?;
        let spent = cpu()? - before;
        let peak = self.processes.iter().map(|id| memory_of(*id, "VmHWM")).sum::<Result<u64>>()?;
        let a_second = |count: u64| count as f64 / seconds as f64;
        println!(
            "| {} | {round} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0}, {:.0} | {:.0}, {:.0} | {spent:.1} | {:.1} | {:.0} |",
            self.name,
            a_second(report.down) / f64::from(1 << 20),
            a_second(report.up) / f64::from(1 << 20),
            a_second(report.requests),
            a_second(report.vanished),
            report.get.half,
            report.get.most,
            report.put.half,
            report.put.most,
            report.cpu,
            mebibytes(peak),
        );
        if report.errors > 0 {
            println!("{} errors, the first: {:?}", report.errors, report.first_error);
        }
        self.reports.push(report);
        Ok(())
    }
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn in_use(uses: SocketAddr) -> Result<Use> {
    let mut told = String::new();
    TcpStream::connect(uses)?.read_to_string(&mut told)?;
    Ok(serde_json::from_str(&told)?)
}

/// Waits until no more is in use than then.
fn settled(uses: SocketAddr, idle: &Use) -> Result<Use> {
    let deadline = Instant::now() + SETTLED;
    loop {
        let now = in_use(uses)?;
        if now.is_within(idle) {
            return Ok(now);
        }
        if Instant::now() > deadline {
            return Err(format!("{SETTLED:?} later, there is left {now:?}, where there was {idle:?}").into());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Every byte of an object of each size, whole and in a range, and the length of what is uploaded.
fn check(address: SocketAddr) -> Result<()> {
    for size in Size::ALL {
        let number = size.numbers().start;
        let bytes = Content::whole(number, size.bytes())?;
        for (range, expected) in [("", &bytes[..]), ("range: bytes=1000-9999\r\n", &bytes[1000..10_000])] {
            let mut connection = TcpStream::connect(address)?;
            let head = format!("GET /{} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{range}\r\n", key(number));
            connection.write_all(head.as_bytes())?;
            let mut answer = Vec::new();
            connection.read_to_end(&mut answer)?;
            let body = answer.windows(4).position(|window| window == b"\r\n\r\n").map(|end| &answer[end + 4..]);
            if body != Some(expected) {
                return Err(format!("other bytes come through {address}").into());
            }
        }
    }
    Ok(())
}
