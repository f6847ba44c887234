//! The clients, in a process and on a thread of their own: HTTP/1.1 on sockets, with next to no work for what comes. The kernel
//! throws the bytes of bodies away, which costs no copy; whether they are the right ones is looked at before.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::AsRawFd as _;
use std::rc::Rc;
use std::time::{Duration, Instant};

use nix::sys::socket::{MsgFlags, recv};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};
use tokio::net::TcpStream;
use tokio::task::LocalSet;

use crate::Result;
use crate::content::key;
use crate::process::print;
use crate::usage::Cpu;

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Size {
    Small,
    Medium,
    Large,
}

impl Size {
    pub(super) const ALL: [Self; 3] = [Self::Small, Self::Medium, Self::Large];

    pub(super) fn bytes(self) -> u64 {
        match self {
            Self::Small => 16 << 10,
            Self::Medium => 1 << 20,
            Self::Large => 16 << 20,
        }
    }

    /// The objects of this size: 4, 64 and 128 MiB in all.
    pub(super) fn numbers(self) -> Range<u64> {
        match self {
            Self::Small => 0..256,
            Self::Medium => 256..320,
            Self::Large => 320..328,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Medium => "medium",
            Self::Large => "large",
        }
    }

    /// Of what a client has uploaded.
    pub(super) fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|size| name.strip_prefix(size.name()).is_some_and(|rest| rest.starts_with('-')))
    }
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Job {
    pub(super) address: SocketAddr,
    pub(super) clients: usize,
    pub(super) seconds: u64,
    /// Of the keys of uploads.
    pub(super) uploads: String,
}

/// What came to its end within the time; errors also later.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Report {
    pub(super) requests: u64,
    /// Of which the client has gone away in the middle.
    pub(super) vanished: u64,
    /// Bytes of bodies.
    pub(super) down: u64,
    pub(super) up: u64,
    pub(super) errors: u64,
    pub(super) first_error: Option<String>,
    /// Of small objects.
    pub(super) get: Took,
    pub(super) put: Took,
    pub(super) cpu: f64,
}

/// Milliseconds: half of the requests took less, and 99 % of them.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Took {
    pub(super) half: f64,
    pub(super) most: f64,
}

impl Took {
    fn of(times: &mut [Duration]) -> Self {
        times.sort_unstable();
        let at = |index: usize| times.get(index).map_or(0.0, |time| time.as_secs_f64() * 1e3);
        Self { half: at(times.len() / 2), most: at(times.len() * 99 / 100) }
    }
}

/// What all clients count.
#[derive(Default)]
struct Counts {
    report: Report,
    gets: Vec<Duration>,
    puts: Vec<Duration>,
}

pub(crate) async fn run(job: Job) -> Result<()> {
    let working = tokio::task::spawn_blocking(move || -> Result<Report> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        LocalSet::new().block_on(&runtime, all(job))
    });
    print(&working.await??)
}

/// How long requests may go on that were begun in time.
const PATIENCE: Duration = Duration::from_secs(60);

async fn all(job: Job) -> Result<Report> {
    let cpu = Cpu::so_far()?;
    let counts = Rc::new(RefCell::new(Counts::default()));
    let job = Rc::new(job);
    let end = Instant::now() + Duration::from_secs(job.seconds);
    let clients: Vec<_> = (0..job.clients)
        .map(|number| {
            let (job, counts) = (Rc::clone(&job), Rc::clone(&counts));
            let client = Client {
                job,
                counts,
                number,
                end,
                random: fastrand::Rng::with_seed(number as u64),
                discarded: vec![0; DISCARDED],
            };
            tokio::task::spawn_local(client.work())
        })
        .collect();
    let ended = tokio::time::timeout_at((end + PATIENCE).into(), futures::future::try_join_all(clients)).await;
    ended.map_err(|_| format!("requests have not ended {PATIENCE:?} later"))??;
    let Counts { report, gets, puts } = &mut *counts.borrow_mut();
    report.get = Took::of(gets);
    report.put = Took::of(puts);
    report.cpu = (Cpu::so_far()? - cpu).total();
    Ok(std::mem::take(report))
}

/// What is thrown away at a time, in bytes. Nothing is written there.
const DISCARDED: usize = 256 * 1024;

/// What is sent, over and over.
static SENT: [u8; 64 * 1024] = [7; 64 * 1024];

struct Client {
    job: Rc<Job>,
    counts: Rc<RefCell<Counts>>,
    number: usize,
    end: Instant,
    random: fastrand::Rng,
    discarded: Vec<u8>,
}

enum Request {
    /// With the first and the last byte of a range.
    Get {
        size: Size,
        range: Option<(u64, u64)>,
    },
    Put {
        size: Size,
    },
}

enum Ended {
    Whole(TcpStream),
    Vanished,
}

impl Client {
    async fn work(mut self) {
        // Of ten clients, one goes away in the middle of each of its requests.
        let vanishes = self.number % 10 == 9;
        let mut connection = None;
        while Instant::now() < self.end {
            let begun = Instant::now();
            let request = self.request();
            let ended = self.exchange(connection.take(), &request, vanishes).await;
            let in_time = Instant::now() < self.end;
            let Counts { report, gets, puts } = &mut *self.counts.borrow_mut();
            match ended {
                Ok(Ended::Whole(kept)) if in_time => {
                    connection = Some(kept);
                    report.requests += 1;
                    match request {
                        Request::Get { size: Size::Small, .. } => gets.push(begun.elapsed()),
                        Request::Put { size: Size::Small } => puts.push(begun.elapsed()),
                        _ => {}
                    }
                }
                Ok(Ended::Vanished) if in_time => report.vanished += 1,
                Ok(_) => {}
                Err(error) => {
                    report.errors += 1;
                    report.first_error.get_or_insert_with(|| error.to_string());
                }
            }
        }
    }

    fn request(&mut self) -> Request {
        let random = &mut self.random;
        let kind = random.u8(..100);
        let mut range = |size: Size, longest: u64| {
            let first = random.u64(..size.bytes() - longest);
            Request::Get { size, range: Some((first, first + random.u64(..longest))) }
        };
        let whole = |size| Request::Get { size, range: None };
        match kind {
            0..45 => whole(Size::Small),
            45..65 => whole(Size::Medium),
            65..69 => whole(Size::Large),
            69..79 => range(Size::Medium, 256 << 10),
            79..89 => range(Size::Large, 1 << 20),
            89..97 => Request::Put { size: Size::Small },
            97..99 => Request::Put { size: Size::Medium },
            _ => Request::Put { size: Size::Large },
        }
    }

    async fn exchange(&mut self, kept: Option<TcpStream>, request: &Request, vanishes: bool) -> Result<Ended> {
        let mut connection = match kept {
            Some(connection) => connection,
            None => {
                let connection = TcpStream::connect(self.job.address).await?;
                connection.set_nodelay(true)?;
                connection
            }
        };
        match *request {
            Request::Get { size, range } => {
                let key = key(self.random.u64(size.numbers()));
                let (range, length, status) = match range {
                    Some((first, last)) => (format!("range: bytes={first}-{last}\r\n"), last - first + 1, 206),
                    None => (String::new(), size.bytes(), 200),
                };
                connection.write_all(format!("GET /{key} HTTP/1.1\r\nhost: x\r\n{range}\r\n").as_bytes()).await?;
                let head = Head::read(&mut connection).await?;
                if (head.status, head.length) != (status, length) {
                    return Err(format!("{} with {} bytes to a GET of {length}", head.status, head.length).into());
                }
                let wanted = if vanishes { self.random.u64(..length) } else { length };
                self.count_down(head.body_read);
                self.discard(&mut connection, wanted.saturating_sub(head.body_read)).await?;
            }
            Request::Put { size } => {
                let (name, length) = (size.name(), size.bytes());
                // 16 names of a size, so that a turn leaves at most 272 MiB.
                let (prefix, number) = (&self.job.uploads, self.number % 16);
                let head =
                    format!("PUT /{prefix}/{name}-{number} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n");
                connection.write_all(head.as_bytes()).await?;
                let mut left = if vanishes { self.random.u64(..length) } else { length };
                while left > 0 {
                    let piece = left.min(SENT.len() as u64);
                    connection.write_all(&SENT[..piece as usize]).await?;
                    self.count_up(piece);
                    left -= piece;
                }
                if !vanishes {
                    let head = Head::read(&mut connection).await?;
                    if !(200..300).contains(&head.status) {
                        return Err(format!("{} to a PUT of {length}", head.status).into());
                    }
                    self.discard(&mut connection, head.length.saturating_sub(head.body_read)).await?;
                }
            }
        }
        Ok(if vanishes { Ended::Vanished } else { Ended::Whole(connection) })
    }

    async fn discard(&mut self, connection: &mut TcpStream, bytes: u64) -> Result<()> {
        let mut left = bytes;
        while left > 0 {
            let most = left.min(DISCARDED as u64) as usize;
            let (socket, buffer) = (connection.as_raw_fd(), &mut self.discarded[..most]);
            let read = connection
                .async_io(Interest::READABLE, || recv(socket, buffer, MsgFlags::MSG_TRUNC).map_err(io::Error::from))
                .await?;
            if read == 0 {
                return Err(format!("a body breaks off {left} bytes before its end").into());
            }
            self.count_down(read as u64);
            left -= read as u64;
        }
        Ok(())
    }

    fn count_down(&self, bytes: u64) {
        if Instant::now() < self.end {
            self.counts.borrow_mut().report.down += bytes;
        }
    }

    fn count_up(&self, bytes: u64) {
        if Instant::now() < self.end {
            self.counts.borrow_mut().report.up += bytes;
        }
    }
}

/// Of an answer.
struct Head {
    status: u16,
    length: u64,
    /// Bytes of the body that were read with it.
    body_read: u64,
}

impl Head {
    async fn read(connection: &mut TcpStream) -> Result<Self> {
        let mut bytes = Vec::with_capacity(1024);
        loop {
            if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                let body_read = (bytes.len() - end - 4) as u64;
                return Self::parse(std::str::from_utf8(&bytes[..end])?, body_read);
            }
            if connection.read_buf(&mut bytes).await? == 0 {
                return Err("a connection is closed before the answer".into());
            }
        }
    }

    fn parse(head: &str, body_read: u64) -> Result<Self> {
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).ok_or("no status")?.parse()?;
        let length = lines
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .ok_or_else(|| format!("an answer {status} without a length"))?;
        Ok(Self { status, length: length.1.trim().parse()?, body_read })
    }
}
