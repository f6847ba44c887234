//! From a request on a connection to the answer on it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use s3s::Body;
use s3s::service::S3Service;

use super::answer::{Answer, Failure, REQUEST_ID};
use super::body::{AnswerBody, HangUp};
use super::call::Call;
use super::content::Content;
use super::fault::{Course, Effects, Faults};
use super::log::{Finish, Log, Ticket};
use super::service::Passage;
use super::sync::{Connections, Gate};

/// What all connections of a server share.
pub(super) struct Shared {
    pub(super) log: Arc<Log>,
    pub(super) gate: Gate,
    pub(super) faults: Arc<Faults>,
    pub(super) connections: Arc<Connections>,
    pub(super) latency: Duration,
    /// Verifies signatures and calls the service behind.
    pub(super) s3: S3Service,
    pub(super) requests: AtomicU64,
}

/// The connection is to be closed without an answer.
#[derive(Debug)]
pub(super) struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("closed without an answer")
    }
}

impl std::error::Error for Closed {}

/// Tells the log that the client left, unless the request comes to an answer.
struct Unanswered(Option<Ticket>);

impl Unanswered {
    fn close(mut self) -> Closed {
        if let Some(ticket) = self.0.take() {
            ticket.finished(Finish::Cut);
        }
        Closed
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        if let Some(ticket) = &self.0 {
            ticket.finished(Finish::ClientGone);
        }
    }
}

impl Shared {
    pub(super) async fn handle(
        self: Arc<Self>,
        hang_up: Arc<HangUp>,
        request: Request<Incoming>,
    ) -> Result<Response<AnswerBody>, Closed> {
        let (parts, incoming) = request.into_parts();
        let id = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        let call = Arc::new(Call::new(id, &parts, self.log.is_enabled()));
        let mut effects = Effects::default();
        self.faults.apply(&call, &parts.headers, &mut effects);
        let held = self.gate.arrive();
        let mut ticket = Unanswered(Some(self.log.arrived(&call)));

        let mut body = Body::from(incoming);
        if let Some(held) = held {
            // With the body out of the way, hyper notices when the client leaves.
            body = take_in(body).await?;
            held.released().await;
            self.faults.apply(&call, &parts.headers, &mut effects);
        }
        if !self.latency.is_zero() {
            tokio::time::sleep(self.latency).await;
        }

        let answer = match effects.course(&call) {
            Course::Serve => {
                let ignore_range = effects.ignores_range(&parts.headers);
                let mut request = Request::from_parts(parts, body);
                request.extensions_mut().insert(Passage { call: Arc::clone(&call), ignore_range });
                self.serve(&call, request).await
            }
            Course::Answer(answer) => {
                // A client that is still sending might miss the answer.
                take_in(body).await?;
                *answer
            }
            Course::Close => {
                take_in(body).await?;
                return Err(ticket.close());
            }
            Course::Stall => {
                take_in(body).await?;
                std::future::pending().await
            }
        };
        if effects.loses_answer() {
            return Err(ticket.close());
        }
        let ticket = ticket.0.take().ok_or(Closed)?;
        Ok(respond(&call, answer, &effects, hang_up, ticket))
    }

    async fn serve(&self, call: &Call, request: Request<Body>) -> Answer {
        let Ok(mut response) = self.s3.call(request).await else {
            return internal_error(call);
        };
        if let Some(answer) = response.extensions_mut().remove::<Answer>() {
            return answer;
        }
        // A request that s3s itself refused: its documents lack what S3's have.
        let status = response.status();
        match response.into_body().bytes() {
            Some(document) => Failure::from_document(status, &String::from_utf8_lossy(&document)).into_answer(call),
            None => internal_error(call),
        }
    }
}

fn internal_error(call: &Call) -> Answer {
    let message = "We encountered an internal error. Please try again.";
    Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", message).into_answer(call)
}

/// Reads a body to its end.
async fn take_in(body: Body) -> Result<Body, Closed> {
    match body.collect().await {
        Ok(body) => Ok(body.to_bytes().into()),
        Err(_) => Err(Closed),
    }
}

fn respond(
    call: &Call,
    mut answer: Answer,
    effects: &Effects,
    hang_up: Arc<HangUp>,
    ticket: Ticket,
) -> Response<AnswerBody> {
    if let Ok(id) = call.request_id().parse() {
        answer.headers.insert(REQUEST_ID, id);
    }
    effects.edit(&mut answer);
    let Answer { status, headers, mut body } = answer;
    if call.method == Method::HEAD || status == StatusCode::NOT_MODIFIED {
        body = Content::default();
    }
    let cut = effects.cut(body.len());
    ticket.answered(status.as_u16(), (body.len() == 0).then_some(Finish::Sent));
    let mut response = Response::new(AnswerBody::new(&body, cut, hang_up, ticket).hide_length(effects.hides_length()));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
