//! Accepting connections.

use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::connection::Shared;
use super::socket::{HangUp, Socket, reset};

/// Runs until it is aborted; its connections end with it.
pub(super) async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                // Here, where connections come one after the other.
                Ok((stream, _)) if shared.faults.refuse() => reset(&stream),
                Ok((stream, _)) => {
                    connections.spawn(connect(stream, Arc::clone(&shared)));
                }
                // Out of file descriptors, most likely: some come back when connections end.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connect(stream: TcpStream, shared: Arc<Shared>) {
    let _open = shared.connections.enter();
    // Without it, answers in two segments wait for the client's delayed acknowledgement.
    let _ = stream.set_nodelay(true);
    let hang_up = Arc::new(HangUp::default());
    let socket = Socket::new(stream, Arc::clone(&hang_up));
    let service = service_fn(move |request| Arc::clone(&shared).handle(Arc::clone(&hang_up), request));
    // An error here is a client that left, or a fault.
    let _ = http1::Builder::new().serve_connection(socket, service).await;
}
