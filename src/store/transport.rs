//! Requests to a host and their answers: which connection, and what went wrong on it. Knows HTTP and nothing of S3.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use http::uri::Authority;
use http::{Uri, header};
use http_body_util::BodyExt as _;
use hyper_util::client::proxy::matcher::Matcher;
use object_store::client::{HttpRequest, HttpResponse, HttpResponseBody};
use tokio::runtime::{self, Handle};
use tokio_util::task::AbortOnDropHandle;

use super::connector::{TimedConnector, TransportConfig};
use super::failure::{Failure, FailureKind};
use super::idle::{LimitedBody, Patience, stalled};
use super::paced::Paced;
use super::pool::{Pool, Unanswered};
use crate::limits::Flow;

/// A pool of connections for each runtime: a connection moves only while its own runtime is driven.
#[derive(Clone)]
pub(super) struct Transport {
    connector: TimedConnector,
    pools: Arc<RwLock<HashMap<runtime::Id, RuntimePool>>>,
    proxies: Arc<Matcher>,
    idle_timeout: Duration,
}

struct RuntimePool {
    pool: Pool,
    /// A task that ends with its runtime.
    alive: AbortOnDropHandle<()>,
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").finish_non_exhaustive()
    }
}

impl Transport {
    /// # Errors
    ///
    /// A text that says what is wrong with `config.ca_certificates`.
    pub(super) fn new(config: &TransportConfig) -> Result<Self, String> {
        let proxies = if config.proxy_from_env { Matcher::from_env() } else { Matcher::builder().build() };
        Self::with_proxies(config, proxies)
    }

    pub(super) fn with_proxies(config: &TransportConfig, proxies: Matcher) -> Result<Self, String> {
        let proxies = Arc::new(proxies);
        let connector = TimedConnector::new(config, Arc::clone(&proxies))?;
        Ok(Self { connector, pools: Arc::default(), proxies, idle_timeout: config.idle_timeout })
    }

    /// Whether a proxy is between here and `uri`.
    pub(super) fn is_proxied(&self, uri: &Uri) -> bool {
        self.proxies.intercept(uri).is_some()
    }

    /// The pool of the runtime that polls.
    fn pool(&self) -> Pool {
        let runtime = Handle::current().id();
        if let Some(known) = self.pools.read().unwrap_or_else(PoisonError::into_inner).get(&runtime) {
            return known.pool.clone();
        }
        let pool = Pool::new(self.connector.clone());
        let alive = AbortOnDropHandle::new(tokio::spawn(pool.clone().sweep()));
        let mut pools = self.pools.write().unwrap_or_else(PoisonError::into_inner);
        pools.retain(|_, pool| !pool.alive.is_finished());
        pools.entry(runtime).or_insert(RuntimePool { pool, alive }).pool.clone()
    }

    /// Sends one request once, its body at the pace of `flow`. Ends with the headers of the answer, whatever its status.
    pub(super) async fn send(&self, mut request: HttpRequest, flow: Option<&Flow>) -> Result<HttpResponse, Failure> {
        // For https the tunnel authenticates; a plain request does it itself.
        if request.uri().scheme_str() == Some("http") {
            let proxy = self.proxies.intercept(request.uri());
            if let Some(credentials) = proxy.as_ref().and_then(|proxy| proxy.basic_auth()) {
                request.headers_mut().insert(header::PROXY_AUTHORIZATION, credentials.clone());
            }
        }
        let host = request.uri().authority().cloned();
        let mut patience = Patience::begin();
        let sent = request.map(|body| Paced::sent(body, flow.cloned()));
        let response = self.pool().send(sent, patience.as_mut()).await.map_err(|unanswered| match unanswered {
            Unanswered::NotConnected(error) => classify(&*error, host.as_ref()).with_source(io::Error::other(error)),
            Unanswered::Broken(error) => classify(&error, None).with_source(error),
            Unanswered::Stalled => stalled(),
        })?;
        let limit = patience.and_then(|patience| patience.limit(self.idle_timeout));
        Ok(response.map(|body| {
            let body = body.map_err(|error| classify(&error, None).with_source(error).into_http());
            match limit {
                Some(limit) => HttpResponseBody::new(LimitedBody::new(body, limit)),
                None => HttpResponseBody::new(body),
            }
        }))
    }
}

/// The kind of a failure below HTTP, from the types in its chain of sources. `connecting` is the host that was not reached.
fn classify(error: &(dyn StdError + 'static), connecting: Option<&Authority>) -> Failure {
    let mut timed_out = false;
    let mut unreadable = false;
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(current) = cause {
        timed_out |= current.downcast_ref::<io::Error>().is_some_and(|io| io.kind() == io::ErrorKind::TimedOut);
        unreadable |= current.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse);
        cause = current.source();
    }
    match (connecting, timed_out, unreadable) {
        (Some(host), ..) => Failure::new(FailureKind::Connect, format!("could not connect to {host}")),
        (None, true, _) => Failure::new(FailureKind::Timeout, "nothing moved on the connection for too long"),
        (None, _, true) => Failure::new(FailureKind::Malformed, "the server does not speak HTTP"),
        (None, ..) => Failure::new(FailureKind::Interrupted, "the connection was interrupted"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runtime_that_is_gone_leaves_no_pool() {
        let transport = Transport::new(&TransportConfig::default()).unwrap();
        for _ in 0..10 {
            let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async { drop((transport.pool(), transport.pool())) });
            assert_eq!(transport.pools.read().unwrap().len(), 1);
        }
    }
}
