//! A proxy that understands HTTP, and answers with something else than the server did: structure by structure, from a seed.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

use crate::support::split_mix;

/// Forwards each request as it is, and mutates some of the answers. Ends with the test's runtime, or when it is dropped.
pub(crate) struct MutatingWire {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: AbortHandle,
}

struct Shared {
    upstream: SocketAddr,
    state: Mutex<State>,
}

struct State {
    random: Random,
    /// One answer in so many stays as it is, of twice as many.
    mutating: bool,
    done: Vec<Mutation>,
}

/// Numbers from a seed.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        split_mix(self.0)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    pub(crate) fn one_of<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.below(all.len())]
    }
}

/// What was done to an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mutation {
    what: String,
    /// Whether the bytes of the body, or what says how many they are, may be others than the server sent.
    pub(crate) of_bytes: bool,
}

struct Answer {
    status: String,
    headers: Vec<(Vec<u8>, Vec<u8>)>,
    body: Vec<u8>,
    of_head: bool,
}

/// What is left of an answer on its way.
struct Delivery {
    bytes: Vec<u8>,
    end: End,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    KeepAlive,
    Close,
    Stall,
}

impl MutatingWire {
    /// To `endpoint`, an `http://` URL with an address.
    pub(crate) async fn to(endpoint: &str, seed: u64) -> Self {
        let upstream = endpoint.strip_prefix("http://").unwrap().parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = State { random: Random(seed), mutating: true, done: Vec::new() };
        let shared = Arc::new(Shared { upstream, state: Mutex::new(state) });
        let proxy = Arc::clone(&shared);
        let accepting = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(client, Arc::clone(&proxy)));
            }
        });
        Self { address, shared, accepting: accepting.abort_handle() }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Begins another case, whose answers depend on this seed.
    pub(crate) fn begin(&self, seed: u64) {
        let mut state = self.shared.state.lock().unwrap();
        *state = State { random: Random(seed), mutating: true, done: Vec::new() };
    }

    /// What was done since the case began.
    pub(crate) fn mutations(&self) -> Vec<Mutation> {
        self.shared.state.lock().unwrap().done.clone()
    }
}

impl Drop for MutatingWire {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve(mut client: TcpStream, shared: Arc<Shared>) -> Option<()> {
    client.set_nodelay(true).ok()?;
    let mut server: Option<TcpStream> = None;
    loop {
        let (head, body) = message(&mut client, true).await?;
        let upstream = match &mut server {
            Some(server) => server,
            None => server.insert(TcpStream::connect(shared.upstream).await.ok()?),
        };
        upstream.write_all(&head).await.ok()?;
        upstream.write_all(&body).await.ok()?;
        let of_head = head.starts_with(b"HEAD ");
        let (answer, body) = message(upstream, !of_head).await?;
        let answer = Answer::read(&answer, body, of_head);
        let (delivery, pieces) = {
            let mut state = shared.state.lock().unwrap();
            let delivery = state.deliver(answer);
            // At most a few pieces, cut anywhere.
            let cuts = state.random.below(4);
            (delivery, cuts)
        };
        let Delivery { bytes, end } = delivery;
        for piece in bytes.chunks((bytes.len() / (pieces + 1)).max(1)) {
            client.write_all(piece).await.ok()?;
        }
        match end {
            End::KeepAlive => {}
            End::Close => return None,
            End::Stall => {
                // Until the client lets go.
                let _ = client.read(&mut [0]).await;
                return None;
            }
        }
    }
}

/// Head and body of a message that says how long it is.
async fn message(from: &mut TcpStream, has_body: bool) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(from.read_u8().await.ok()?);
    }
    let text = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let length = text.split("\r\ncontent-length:").nth(1).and_then(|rest| rest.lines().next());
    let length = length.filter(|_| has_body).map_or(0, |length| length.trim().parse().unwrap());
    let mut body = vec![0; length];
    from.read_exact(&mut body).await.ok()?;
    Some((head, body))
}

impl Answer {
    fn read(head: &[u8], body: Vec<u8>, of_head: bool) -> Self {
        let mut lines = head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let status = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
        let headers = lines.filter_map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            Some((line[..colon].to_vec(), line[colon + 1..].trim_ascii().to_vec()))
        });
        Self { status, headers: headers.collect(), body, of_head }
    }

    fn set(&mut self, name: &str, value: impl Into<Vec<u8>>) {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name.as_bytes()));
        self.headers.push((name.into(), value.into()));
    }

    fn head(&self) -> Vec<u8> {
        let mut head = format!("{}\r\n", self.status).into_bytes();
        for (name, value) in &self.headers {
            head.extend([name, &b": "[..], value, b"\r\n"].concat());
        }
        head.extend(b"\r\n");
        head
    }

    /// With a length that is right.
    fn resize(&mut self) {
        if !self.of_head {
            self.set("Content-Length", self.body.len().to_string());
        }
    }
}

impl State {
    fn deliver(&mut self, mut answer: Answer) -> Delivery {
        let mut delivery = None;
        let times = if self.mutating { [0, 0, 1, 1, 2][self.random.below(5)] } else { 0 };
        for _ in 0..times {
            if let Some(cut) = self.mutate(&mut answer) {
                delivery = Some(cut);
                break;
            }
        }
        delivery.unwrap_or_else(|| {
            let mut bytes = answer.head();
            if !answer.of_head {
                bytes.extend(&answer.body);
            }
            Delivery { bytes, end: if times > 0 { End::Close } else { End::KeepAlive } }
        })
    }

    fn note(&mut self, what: impl Into<String>, of_bytes: bool) {
        self.done.push(Mutation { what: what.into(), of_bytes });
    }

    /// Changes the answer, or says how it is delivered in the end.
    fn mutate(&mut self, answer: &mut Answer) -> Option<Delivery> {
        match self.random.below(12) {
            0 => {
                let statuses = [
                    "200 OK",
                    "201 Created",
                    "204 No Content",
                    "206 Partial Content",
                    "301 Moved Permanently",
                    "304 Not Modified",
                    "307 Temporary Redirect",
                    "400 Bad Request",
                    "403 Forbidden",
                    "404 Not Found",
                    "409 Conflict",
                    "412 Precondition Failed",
                    "416 Range Not Satisfiable",
                    "429 Too Many Requests",
                    "500 Internal Server Error",
                    "501 Not Implemented",
                    "503 Slow Down",
                    "599 Odd",
                    "600 ",
                    "99 ",
                    "2000 ",
                    "abc",
                ];
                let status = self.random.one_of(&statuses);
                self.note(format!("status {status}"), true);
                answer.status = format!("HTTP/1.1 {status}");
            }
            1 | 2 => self.header(answer),
            3 => {
                let name = self.random.one_of(&["x-amz-meta-more", "content-range", "retry-after", "location", "etag"]);
                let value: Vec<u8> = match self.random.below(5) {
                    0 => vec![b'a'; 20_000],
                    1 => (128..=255).collect(),
                    2 => b"bytes 0-4/5".to_vec(),
                    3 => b"99999999999999999999".to_vec(),
                    _ => Vec::new(),
                };
                self.note(format!("{name} of {} bytes more", value.len()), true);
                answer.headers.push((name.into(), value));
            }
            4 => {
                let at = self.random.below(answer.body.len());
                self.note(format!("cut at {at}"), true);
                let mut bytes = answer.head();
                bytes.extend(&answer.body[..at.min(answer.body.len())]);
                let end = if self.random.below(4) == 0 { End::Stall } else { End::Close };
                return Some(Delivery { bytes, end });
            }
            5 => {
                let length = self.random.below(answer.body.len() + 1);
                self.note(format!("shortened to {length}"), true);
                answer.body.truncate(length);
                answer.resize();
            }
            6 => {
                let more = 1 + self.random.below(3000);
                self.note(format!("{more} bytes more"), true);
                answer.body.extend(vec![b'<'; more]);
                if self.random.below(2) == 0 {
                    answer.resize();
                }
            }
            7 if !answer.body.is_empty() => {
                let (at, bit) = (self.random.below(answer.body.len()), 1 << self.random.below(8));
                self.note(format!("bit {bit} of byte {at}"), true);
                answer.body[at] ^= bit;
            }
            8 => self.document(answer),
            9 if !answer.of_head => return Some(self.chunked(answer)),
            10 => {
                let early = self.random.one_of(&["100 Continue", "102 Processing", "103 Early Hints"]);
                self.note(early, false);
                answer.status = format!("HTTP/1.1 {early}\r\nx-early: 1\r\n\r\n{}", answer.status);
            }
            _ => {
                let head = answer.head();
                let at = self.random.below(head.len());
                self.note(format!("head cut at {at}"), false);
                let end = if self.random.below(4) == 0 { End::Stall } else { End::Close };
                return Some(Delivery { bytes: head[..at].to_vec(), end });
            }
        }
        None
    }

    fn header(&mut self, answer: &mut Answer) {
        if answer.headers.is_empty() {
            return;
        }
        let at = self.random.below(answer.headers.len());
        let (name, value) = answer.headers[at].clone();
        let named = String::from_utf8_lossy(&name).into_owned();
        match self.random.below(6) {
            0 => {
                answer.headers.remove(at);
                self.note(format!("without {named}"), true);
            }
            1 => {
                answer.headers.push((name, value));
                self.note(format!("{named} twice"), true);
            }
            2 => {
                let other = if self.random.below(2) == 0 { b"1".to_vec() } else { b"nonsense".to_vec() };
                answer.headers.push((name, other));
                self.note(format!("two of {named}"), true);
            }
            3 if !value.is_empty() => {
                let byte = self.random.below(value.len());
                answer.headers[at].1[byte] = b' ' + (self.random.next() % 95) as u8;
                self.note(format!("another {named}"), true);
            }
            4 => {
                answer.headers[at].1.clear();
                self.note(format!("an empty {named}"), true);
            }
            _ => {
                answer.headers[at].1 =
                    self.random.one_of(&["-1", "0", "18446744073709551616", "\u{e9}", "\"", "*"]).into();
                self.note(format!("an odd {named}"), true);
            }
        }
    }

    /// Takes an element out of a document, or puts it there twice or elsewhere.
    fn document(&mut self, answer: &mut Answer) {
        let tags: Vec<usize> = (0..answer.body.len().min(100_000)).filter(|at| answer.body[*at] == b'<').collect();
        if tags.len() < 3 || !answer.body.starts_with(b"<") {
            return;
        }
        let from = self.random.below(tags.len() - 1);
        let to = from + 1 + self.random.below((tags.len() - from - 1).min(4));
        let (start, end) = (tags[from], tags[to]);
        let piece: Vec<u8> = match self.random.below(3) {
            0 => answer.body.drain(start..end).collect(),
            _ => answer.body[start..end].to_vec(),
        };
        let at = tags[self.random.below(from + 1)].min(answer.body.len());
        if self.random.below(2) == 0 {
            answer.body.splice(at..at, piece.iter().copied());
        }
        self.note(format!("elements {from} to {to} elsewhere: {}", String::from_utf8_lossy(&piece)), true);
        answer.resize();
    }

    /// In chunks, which may be damaged.
    fn chunked(&mut self, answer: &mut Answer) -> Delivery {
        answer.headers.retain(|(name, _)| !name.eq_ignore_ascii_case(b"content-length"));
        let keeps_length = self.random.below(3) == 0;
        let length = answer.body.len().to_string();
        if keeps_length {
            answer.set("Content-Length", length);
        }
        answer.set("Transfer-Encoding", "chunked");
        let mut bytes = answer.head();
        let damage = self.random.below(6);
        for chunk in answer.body.chunks(1 + self.random.below(9000)) {
            let size = match damage {
                0 => "zz".to_owned(),
                1 => format!("{:x}", chunk.len() + 1),
                2 => "ffffffffffffffffff".to_owned(),
                _ => format!("{:x}", chunk.len()),
            };
            bytes.extend(format!("{size}\r\n").as_bytes());
            bytes.extend(chunk);
            bytes.extend(b"\r\n");
        }
        if damage != 3 {
            bytes.extend(b"0\r\n\r\n");
        }
        self.note(format!("in chunks, damage {damage}, with its length: {keeps_length}"), true);
        Delivery { bytes, end: End::Close }
    }
}
