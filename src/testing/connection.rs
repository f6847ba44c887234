//! From a request on a connection to the answer on it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use http::header::DATE;
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use s3s::Body;
use s3s::service::S3Service;

use super::answer::{Answer, Failure, REQUEST_ID};
use super::body::AnswerBody;
use super::call::Call;
use super::content::Content;
use super::fault::{Course, Effects, Faults};
use super::log::{Finish, Log, Ticket};
use super::service::{Passage, Service};
use super::socket::HangUp;
use super::sync::{Connections, Gate};
use super::time::http_date;

/// What all connections of a server share.
pub(super) struct Shared {
    pub(super) service: Arc<Service>,
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
    /// Ends without an answer, after a stall.
    async fn end(mut self, course: Course) -> Closed {
        if let Course::Stall(cleared) = course {
            cleared.wait().await;
        }
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

        if effects.resets() {
            hang_up.with_reset();
        }
        if let Some(bytes) = effects.request_cut() {
            let (read, whole) = take_up_to(body, bytes).await?;
            if !whole {
                return Err(ticket.end(effects.cut_request()).await);
            }
            body = read;
        }
        if let Some(replacement) = effects.replacement(&call) {
            self.service.put_plain(call.bucket(), call.key(), replacement);
        }

        let answer = match effects.instead(&call, self.service.clock.now()) {
            Course::Serve => {
                let ignore_range = effects.ignores_range(&call, &parts.headers);
                let mut request = Request::from_parts(parts, body);
                request.extensions_mut().insert(Passage { call: Arc::clone(&call), ignore_range });
                let answer = self.serve(&call, request).await;
                match effects.afterwards(&call, answer.status, self.service.clock.now()) {
                    Course::Serve => answer,
                    Course::Answer(other) => *other,
                    course => return Err(ticket.end(course).await),
                }
            }
            // A client that is still sending might miss an answer.
            Course::Answer(answer) => {
                take_in(body).await?;
                *answer
            }
            course => {
                take_in(body).await?;
                return Err(ticket.end(course).await);
            }
        };
        let ticket = ticket.0.take().ok_or(Closed)?;
        Ok(self.respond(&call, answer, &effects, hang_up, ticket))
    }

    fn respond(
        &self,
        call: &Call,
        mut answer: Answer,
        effects: &Effects,
        hang_up: Arc<HangUp>,
        ticket: Ticket,
    ) -> Response<AnswerBody> {
        if let Ok(id) = call.request_id().parse() {
            answer.headers.insert(REQUEST_ID, id);
        }
        let clock = &self.service.clock;
        if !clock.is_right() {
            answer.headers.entry(DATE).or_insert_with(|| http_date(clock.now()));
        }
        if call.method == Method::HEAD || answer.status == StatusCode::NOT_MODIFIED {
            answer.body = Content::default();
        }
        effects.change(call, &mut answer, clock.now());
        let delivery = effects.deliver(call, &mut answer);
        let Answer { status, headers, body } = answer;
        ticket.answered(status.as_u16(), (body.len() == 0).then_some(Finish::Sent));
        let mut response = Response::new(AnswerBody::new(&body, delivery, hang_up, ticket));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
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

/// Reads all of a body that has no more bytes than this: `true`. Otherwise gives back what was not read, which is to be held:
/// hyper would read on for a body that was dropped.
async fn take_up_to(mut body: Body, bytes: u64) -> Result<(Body, bool), Closed> {
    let mut taken = BytesMut::new();
    while taken.len() as u64 <= bytes {
        match body.frame().await {
            None => return Ok((taken.freeze().into(), true)),
            Some(Ok(frame)) => taken.extend_from_slice(frame.data_ref().map(|data| &**data).unwrap_or_default()),
            Some(Err(_)) => return Err(Closed),
        }
    }
    Ok((body, false))
}
