//! The connections of one runtime, kept for the next request.
//!
//! A connection is driven by the task whose request it carries. So a small answer wakes one task, once, and nothing of it crosses
//! threads; with a task of its own, each request would wake that one, and it the request's. An answer that is long does get
//! one: its bytes come while the ones before are worked on.

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::future::{Either, select};
use http::uri::{Authority, Scheme};
use http::{HeaderValue, Request, Response, Uri, header};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_rustls::MaybeHttpsStream;
use hyper_util::client::legacy::connect::Connection as _;
use object_store::client::HttpRequestBody;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use tower_service::Service as _;

use super::connector::{BoxError, TimedConnector, WatchedStream};
use super::idle::{Patience, Traffic};
use super::paced::Paced;

/// How long an unused connection is kept. A server that closes it first costs a request another attempt.
const KEPT: Duration = Duration::from_secs(15);
/// How often those are looked for that were kept so long.
const SWEPT: Duration = Duration::from_secs(5);
/// A body from this length on comes by a task of its own.
const LONG: u64 = 4 * 1024 * 1024;

type Sent = Paced<HttpRequestBody>;

/// Clones share the connections.
#[derive(Clone)]
pub(super) struct Pool(Arc<Shared>);

struct Shared {
    connector: TimedConnector,
    places: Mutex<HashMap<Address, Place>>,
    /// Told when there is an unused connection.
    kept: Notify,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Address {
    scheme: Scheme,
    authority: Authority,
}

#[derive(Default)]
struct Place {
    /// The one that was used last is taken first.
    unused: Vec<(Connection, Instant)>,
    /// Who makes a connection, and takes one that comes free before it is made.
    waiting: VecDeque<oneshot::Sender<Connection>>,
}

struct Connection {
    sender: SendRequest<Sent>,
    driver: Driver,
    traffic: Traffic,
    proxied: bool,
}

/// What moves the bytes.
enum Driver {
    /// Who uses the connection.
    User(Box<http1::Connection<MaybeHttpsStream<WatchedStream>, Sent>>),
    /// Dropping it ends the task, and with it the connection.
    Task {
        _handle: AbortOnDropHandle<()>,
    },
    Closed,
}

/// Why a request has no answer.
pub(super) enum Unanswered {
    NotConnected(BoxError),
    Broken(hyper::Error),
    /// Nothing moved in the time that the attempt had left.
    Stalled,
}

impl Pool {
    pub(super) fn new(connector: TimedConnector) -> Self {
        Self(Arc::new(Shared { connector, places: Mutex::default(), kept: Notify::new() }))
    }

    /// Closes what is not used for too long. Ends with the runtime.
    pub(super) async fn sweep(self) {
        loop {
            self.0.kept.notified().await;
            while !self.0.close_unused() {
                tokio::time::sleep(SWEPT).await;
            }
        }
    }

    /// Sends a request once. Its answer ends with the headers; who drops it before its body has ended closes the connection.
    pub(super) async fn send(
        &self,
        mut request: Request<Sent>,
        mut patience: Option<&mut Patience>,
    ) -> Result<Response<Answer>, Unanswered> {
        let uri = std::mem::take(request.uri_mut());
        let address = Address::of(&uri)?;
        if !request.headers().contains_key(header::HOST) {
            let host = HeaderValue::from_str(address.authority.as_str());
            request
                .headers_mut()
                .insert(header::HOST, host.map_err(|invalid| Unanswered::NotConnected(invalid.into()))?);
        }
        loop {
            let (mut connection, reused) = match self.unused(&address).await {
                Some(unused) => (unused, true),
                None => {
                    let made = Box::pin(self.wait_or_connect(&address, &uri));
                    let made = match &patience {
                        Some(patience) => patience.wait(made).await.ok_or(Unanswered::Stalled)?,
                        None => made.await,
                    };
                    made.map_err(Unanswered::NotConnected)?
                }
            };
            if let Some(patience) = &mut patience {
                patience.on(connection.traffic.clone());
            }
            // A proxy wants the whole URL in the request line.
            *request.uri_mut() = match uri.path_and_query() {
                Some(target) if !connection.proxied => Uri::from(target.clone()),
                _ => uri.clone(),
            };
            let answered = connection.exchange(request);
            let answered = match &patience {
                Some(patience) => patience.wait(answered).await.ok_or(Unanswered::Stalled)?,
                None => answered.await,
            };
            match answered {
                Ok(answer) => {
                    let lease = Lease { connection, pool: Arc::downgrade(&self.0), address };
                    let mut answer = answer.map(|body| Answer::new(body, lease));
                    if answer.body().is_end_stream() {
                        poll_fn(|cx| {
                            answer.body_mut().end(cx);
                            Poll::Ready(())
                        })
                        .await;
                    }
                    return Ok(answer);
                }
                // The server closed the connection before it was sent anything of this request.
                Err(mut unsent) if reused && unsent.message().is_some() => match unsent.take_message() {
                    Some(message) => request = message,
                    None => return Err(Unanswered::Broken(unsent.into_error())),
                },
                Err(failed) => return Err(Unanswered::Broken(failed.into_error())),
            }
        }
    }

    async fn unused(&self, address: &Address) -> Option<Connection> {
        while let Some(mut unused) = self.0.unused(address) {
            if unused.is_open().await {
                return Some(unused);
            }
        }
        None
    }

    /// A connection that comes free or is made, whichever is there first, and whether it was used before.
    async fn wait_or_connect(&self, address: &Address, uri: &Uri) -> Result<(Connection, bool), BoxError> {
        let (gives, given) = oneshot::channel();
        self.0.wait(address, gives);
        let connecting = Box::pin(connect(self.0.connector.clone(), uri.clone()));
        match select(connecting, given).await {
            Either::Left((connected, _)) => Ok((connected?, false)),
            Either::Right((Ok(given), connecting)) => {
                let (pool, address) = (Arc::downgrade(&self.0), address.clone());
                tokio::spawn(async move {
                    // Nobody waits for it, or for why there is none.
                    if let (Ok(connected), Some(pool)) = (connecting.await, pool.upgrade()) {
                        pool.give_back(address, connected);
                    }
                });
                Ok((given, true))
            }
            // Nobody gives one any more.
            Either::Right((Err(_), connecting)) => Ok((connecting.await?, false)),
        }
    }
}

async fn connect(mut connector: TimedConnector, uri: Uri) -> Result<Connection, BoxError> {
    let io = connector.call(uri).await?;
    let connected = io.connected();
    let mut extras = http::Extensions::new();
    connected.get_extras(&mut extras);
    let traffic = extras.remove().unwrap_or_else(Traffic::new);
    let (sender, driver) = http1::handshake(io).await?;
    let proxied = connected.is_proxied();
    Ok(Connection { sender, driver: Driver::User(Box::new(driver)), traffic, proxied })
}

impl Address {
    fn of(uri: &Uri) -> Result<Self, Unanswered> {
        match (uri.scheme(), uri.authority()) {
            (Some(scheme), Some(authority)) => Ok(Self { scheme: scheme.clone(), authority: authority.clone() }),
            _ => Err(Unanswered::NotConnected(format!("{uri} is not a whole URL").into())),
        }
    }
}

impl Shared {
    fn places(&self) -> MutexGuard<'_, HashMap<Address, Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unused(&self, address: &Address) -> Option<Connection> {
        let mut places = self.places();
        let unused = &mut places.get_mut(address)?.unused;
        let (connection, since) = unused.pop()?;
        if since.elapsed() < KEPT {
            return Some(connection);
        }
        // The others are older.
        let stale = std::mem::take(unused);
        drop(places);
        drop((connection, stale));
        None
    }

    fn wait(&self, address: &Address, gives: oneshot::Sender<Connection>) {
        let mut places = self.places();
        let place = places.entry(address.clone()).or_default();
        place.waiting.retain(|waiting| !waiting.is_closed());
        place.waiting.push_back(gives);
    }

    /// Gives an open connection to who waits for one, or keeps it.
    fn give_back(&self, address: Address, mut connection: Connection) {
        let mut places = self.places();
        let place = places.entry(address).or_default();
        while let Some(waiting) = place.waiting.pop_front() {
            match waiting.send(connection) {
                Ok(()) => return,
                Err(unwanted) => connection = unwanted,
            }
        }
        let first = place.unused.is_empty();
        place.unused.push((connection, Instant::now()));
        if first {
            self.kept.notify_one();
        }
    }

    /// Closes what was kept for too long; whether nothing is kept now.
    fn close_unused(&self) -> bool {
        let mut stale = Vec::new();
        let mut places = self.places();
        for place in places.values_mut() {
            let kept = place.unused.partition_point(|(_, since)| since.elapsed() >= KEPT);
            stale.extend(place.unused.drain(..kept));
            place.waiting.retain(|waiting| !waiting.is_closed());
        }
        places.retain(|_, place| !place.unused.is_empty() || !place.waiting.is_empty());
        let none = places.values().all(|place| place.unused.is_empty());
        drop(places);
        drop(stale);
        none
    }
}

impl Connection {
    /// Whether the server has not closed it, as far as is known here.
    async fn is_open(&mut self) -> bool {
        poll_fn(|cx| {
            self.driver.poll(cx);
            Poll::Ready(())
        })
        .await;
        self.sender.is_ready()
    }

    fn exchange(
        &mut self,
        request: Request<Sent>,
    ) -> impl Future<Output = Result<Response<Incoming>, TrySendError<Request<Sent>>>> {
        let answer = self.sender.try_send_request(request);
        let driver = &mut self.driver;
        async move {
            let mut answer = pin!(answer);
            poll_fn(|cx| {
                driver.poll(cx);
                answer.as_mut().poll(cx)
            })
            .await
        }
    }
}

impl Driver {
    /// Moves what can be moved.
    fn poll(&mut self, cx: &mut Context<'_>) {
        if let Self::User(driver) = self
            && Pin::new(driver).poll(cx).is_ready()
        {
            // Why, whoever waits for an answer or its body is told.
            *self = Self::Closed;
        }
    }

    fn into_task(self) -> Self {
        match self {
            Self::User(driver) => {
                let task = tokio::spawn(async move {
                    // As above.
                    let _ = driver.await;
                });
                Self::Task { _handle: AbortOnDropHandle::new(task) }
            }
            other => other,
        }
    }
}

/// A connection that is in use.
struct Lease {
    connection: Connection,
    pool: Weak<Shared>,
    address: Address,
}

/// The body of an answer. When it has ended, its connection is for others.
pub(super) struct Answer {
    body: Incoming,
    lease: Option<Lease>,
}

impl Answer {
    fn new(body: Incoming, mut lease: Lease) -> Self {
        if body.size_hint().lower() >= LONG {
            lease.connection.driver = lease.connection.driver.into_task();
        }
        Self { body, lease: Some(lease) }
    }

    /// Gives the connection back if it can be used again.
    fn end(&mut self, cx: &mut Context<'_>) {
        let Some(Lease { mut connection, pool, address }) = self.lease.take() else { return };
        if let Driver::Task { .. } = connection.driver {
            tokio::spawn(async move {
                if let (Ok(()), Some(pool)) = (connection.sender.ready().await, pool.upgrade()) {
                    pool.give_back(address, connection);
                }
            });
            return;
        }
        if !connection.sender.is_ready() {
            connection.driver.poll(cx);
        }
        if let Some(pool) = pool.upgrade().filter(|_| connection.sender.is_ready()) {
            pool.give_back(address, connection);
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        let mut frame = Pin::new(&mut this.body).poll_frame(cx);
        if frame.is_pending()
            && let Some(lease) = &mut this.lease
        {
            lease.connection.driver.poll(cx);
            frame = Pin::new(&mut this.body).poll_frame(cx);
        }
        match &frame {
            Poll::Ready(Some(Ok(_))) if this.body.is_end_stream() => this.end(cx),
            Poll::Ready(None) => this.end(cx),
            Poll::Ready(Some(Err(_))) => this.lease = None,
            _ => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use hyper_util::client::proxy::matcher::Matcher;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::super::connector::TransportConfig;
    use super::*;

    struct Peer {
        pool: Pool,
        listener: TcpListener,
        uri: Uri,
        address: Address,
    }

    impl Peer {
        async fn new() -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let place: SocketAddr = listener.local_addr().unwrap();
            let proxies = Arc::new(Matcher::builder().build());
            let pool = Pool::new(TimedConnector::new(&TransportConfig::default(), proxies).unwrap());
            let uri: Uri = format!("http://{place}/k").parse().unwrap();
            let address = Address::of(&uri).ok().unwrap();
            Self { pool, listener, uri, address }
        }

        /// A request and its whole answer on the next connection that is made, or on `connection`.
        async fn exchange(&self, connection: Option<TcpStream>) -> TcpStream {
            let mut request = Request::new(Paced::sent(HttpRequestBody::empty(), None));
            *request.uri_mut() = self.uri.clone();
            let asked = async {
                let mut answer = self.pool.send(request, None).await.ok().unwrap().into_body();
                let frame = poll_fn(|cx| Pin::new(&mut answer).poll_frame(cx)).await.unwrap().unwrap();
                assert_eq!(frame.into_data().unwrap(), "text");
            };
            let answered = async {
                let mut connection = match connection {
                    Some(connection) => connection,
                    None => self.listener.accept().await.unwrap().0,
                };
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(connection.read_u8().await.unwrap());
                }
                connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntext").await.unwrap();
                connection
            };
            tokio::join!(asked, answered).1
        }

        fn kept(&self) -> usize {
            self.pool.0.places().get(&self.address).map_or(0, |place| place.unused.len())
        }
    }

    #[tokio::test]
    async fn a_connection_is_used_again_once_its_answer_is_read() {
        let peer = Peer::new().await;
        let connection = peer.exchange(None).await;
        assert_eq!(peer.kept(), 1);
        // Another one would not be accepted.
        peer.exchange(Some(connection)).await;
        assert_eq!(peer.kept(), 1);
    }

    #[tokio::test]
    async fn a_connection_that_the_server_has_closed_is_not_used() {
        let peer = Peer::new().await;
        drop(peer.exchange(None).await);
        let mut closed = peer.pool.0.unused(&peer.address).unwrap();
        while closed.is_open().await {
            tokio::task::yield_now().await;
        }
        peer.pool.0.give_back(peer.address.clone(), closed);
        peer.exchange(None).await;
    }

    #[tokio::test]
    async fn who_waits_gets_a_connection_that_comes_free_and_who_has_gone_does_not() {
        let peer = Peer::new().await;
        let _connection = peer.exchange(None).await;
        let shared = &peer.pool.0;
        let free = shared.unused(&peer.address).unwrap();
        let (gone, _) = oneshot::channel();
        let (gives, given) = oneshot::channel();
        shared.wait(&peer.address, gone);
        shared.wait(&peer.address, gives);
        shared.give_back(peer.address.clone(), free);
        assert!(given.await.unwrap().is_open().await);
        assert_eq!(peer.kept(), 0);
    }

    #[tokio::test]
    async fn what_is_not_used_for_a_while_is_closed() {
        let peer = Peer::new().await;
        let mut connection = peer.exchange(None).await;
        tokio::time::pause();
        tokio::time::advance(KEPT - Duration::from_millis(1)).await;
        assert!(!peer.pool.0.close_unused());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(peer.pool.0.close_unused());
        tokio::time::resume();
        assert_eq!((peer.kept(), connection.read(&mut [0]).await.unwrap()), (0, 0));
        assert!(peer.pool.0.places().is_empty());
    }

    #[tokio::test]
    async fn an_answer_that_is_dropped_before_its_end_closes_the_connection() {
        let peer = Peer::new().await;
        let mut request = Request::new(Paced::sent(HttpRequestBody::empty(), None));
        *request.uri_mut() = peer.uri.clone();
        let answered = async {
            let mut connection = peer.listener.accept().await.unwrap().0;
            connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nte").await.unwrap();
            connection
        };
        let (answer, mut connection) = tokio::join!(peer.pool.send(request, None), answered);
        drop(answer.ok().unwrap());
        // The request, and then the end.
        connection.read_to_end(&mut Vec::new()).await.unwrap();
        assert_eq!(peer.kept(), 0);
    }
}
