//! graygate's own mock server: plays everything, resets and silence included.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Method, Request};
use tokio::net::TcpListener;

use crate::id::RequestKey;
use crate::live::clock::{self, Clock};
use crate::live::http::drain::Drain;
use crate::live::http::server::{self, Limits};
use crate::live::http::socket::Socket;
use crate::live::http::{self, Break, Reply};
use crate::live::mock::ledger::Row;
use crate::live::mock::{MockUpstream, Seen, Taken, raw, streaming};
use crate::protocol::openai::{Usage, model_list};
use crate::protocol::outcome::Outcome;
use crate::time::Timestamp;
use crate::upstream::plan::{Act, ResponsePlan};

/// Serves an upstream on a listener, until the drain begins.
pub async fn serve(listener: TcpListener, upstream: Arc<MockUpstream>, drain: Arc<Drain>) {
    server::serve(listener, Limits::default(), drain, |stream| {
        let upstream = upstream.clone();
        let socket = Socket::new(stream);
        let connection = socket.clone();
        let handler = move |request| answer(upstream.clone(), request, connection.clone());
        (socket, handler)
    })
    .await;
}

async fn answer(
    upstream: Arc<MockUpstream>,
    request: Request<Incoming>,
    connection: Socket,
) -> Result<Reply, Break> {
    let names = std::iter::once(upstream.model.as_str());
    respond(names, |_| Some(&*upstream), request, &connection).await
}

/// What a server of models with these `names` answers; `find` knows which of them a body is for.
pub(super) async fn respond<'u>(
    names: impl Iterator<Item = &'u str>,
    find: impl FnOnce(&[u8]) -> Option<&'u MockUpstream>,
    request: Request<Incoming>,
    connection: &Socket,
) -> Result<Reply, Break> {
    match (request.method(), request.uri().path()) {
        (&Method::POST, "/v1/chat/completions") => chat(find, request, connection).await,
        (&Method::GET, "/v1/models") => Ok(http::json(200, model_list(names))),
        (_, "/v1/chat/completions") => Ok(http::refuse(405, "method_not_allowed", "POST it")),
        (_, path) => {
            let message = format!("there is nothing at {path}");
            Ok(http::refuse(404, "not_found", message))
        }
    }
}

async fn chat<'u>(
    find: impl FnOnce(&[u8]) -> Option<&'u MockUpstream>,
    request: Request<Incoming>,
    connection: &Socket,
) -> Result<Reply, Break> {
    let (head, body) = request.into_parts();
    let body = match http::body::read(body, Limits::default()).await {
        Ok(body) => body,
        Err(unread) => return unread.reply(),
    };
    let upstream = find(&body).ok_or(Break)?;
    let seen = Seen::new(|name| http::header(&head.headers, name), &body);
    let taken = upstream.take(seen);
    play(upstream, seen.key, taken, connection).await
}

/// Plays the plan. When the other side hangs up, this future is dropped, and with it the row.
async fn play(
    upstream: &MockUpstream,
    key: Option<RequestKey>,
    taken: Taken,
    connection: &Socket,
) -> Result<Reply, Break> {
    let Taken {
        at,
        response,
        row,
        states_usage,
        ..
    } = taken.begun().await;
    let plan = response.plan;
    if let Act::Stream(stream) = &plan.act {
        let events = upstream.events(key, stream, states_usage);
        let outcome = plan.outcome();
        let times = (upstream.clock, at, plan.after);
        return Ok(streaming::reply(events, times, outcome, row, connection));
    }
    let completion = |usage| upstream.completion(key, usage);
    act(plan, (upstream.clock, at), completion, row, connection).await
}

/// Does what the plan of a request says that was taken at this time, when it is due; streams are not for here.
/// `completion` writes the answer that should have been given. When the other side hangs up, this future is
/// dropped, and with it the row.
pub(in crate::live) async fn act(
    plan: ResponsePlan,
    (clock, taken): (Clock, Timestamp),
    completion: impl Fn(Usage) -> String,
    row: Row,
    connection: &Socket,
) -> Result<Reply, Break> {
    clock
        .sleep_exactly_until(taken + plan.until_first_byte())
        .await;
    let outcome = plan.outcome();
    let reply = match plan.act {
        Act::Stream(_) => Err(Break),
        Act::Complete(usage) => Ok(http::json(200, completion(usage))),
        Act::Refuse(refusal) => {
            let mut reply = http::json(refusal.status, refusal.body());
            if let Some((name, value)) = refusal.wish.and_then(|w| w.header(clock::unix_now())) {
                http::set(reply.headers_mut(), name, &value);
            }
            Ok(reply)
        }
        Act::Odd(odd) => {
            let script = odd.script(&completion(odd.usage));
            return raw::play(script, outcome, row, connection).await;
        }
        Act::Reset => {
            connection.arm();
            Err(Break)
        }
        // Nobody came this far to whom the door was shut.
        Act::Close | Act::Unreachable => Err(Break),
        Act::Silence => std::future::pending().await,
    };
    row.end(outcome.unwrap_or(Outcome::ClientGone));
    reply
}
