//! The proxy before a real upstream: takes the place of a mock, and asks the model itself only for what no fault
//! makes unnecessary.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderValue, TRANSFER_ENCODING};
use hyper::{Method, Request, StatusCode};
use serde_json::{Map, Value};
use tokio::net::TcpListener;

use crate::fault::inject::{Response, Upstreams};
use crate::id::{RequestKey, VersionId};
use crate::live::clock::Clock;
use crate::live::gateway::Secret;
use crate::live::gateway::upstream::{Coming, HeldReply, Message, UpstreamClient, read_whole};
use crate::live::http::drain::Drain;
use crate::live::http::reply_body::ReplyBody;
use crate::live::http::server::{self, Limits};
use crate::live::http::socket::Socket;
use crate::live::http::{self, Break, Reply};
use crate::live::mock::ledger::{Ledger, Row};
use crate::live::mock::{Seen, native, raw};
use crate::live::outbox::Outbox;
use crate::live::real::caps::{Caps, Place};
use crate::live::real::passing::{Held, Passing};
use crate::live::real::purse::{Reserved, SharedPurse};
use crate::observe::event::What;
use crate::pricing::Price;
use crate::protocol::openai::{Completion, Usage};
use crate::protocol::outcome::Outcome;
use crate::protocol::{chat, headers, normalize, openai, stream};
use crate::time::Timestamp;
use crate::traffic::body::{is_prefilled, max_tokens, prompt_tokens};
use crate::upstream::odd::{Form, Odd};
use crate::upstream::plan::{Act, ResponsePlan};
use crate::upstream::profile::Ask;
use crate::upstream::real::{LIMIT_FIELDS, RealUpstream, Spending};
use crate::upstream::stream::Ending;

/// How long a request with a spent purse waits for the run to end.
const FOR_EVER: Duration = Duration::MAX;

/// What stands before one real upstream.
#[derive(Debug)]
pub struct Proxy {
    /// Whose upstream it is.
    pub version: VersionId,
    /// The key that the gateway must show: nobody else spends this run's money.
    pub door_key: Secret,
    /// The faults.
    pub upstreams: Arc<Upstreams>,
    /// Their time.
    pub clock: Clock,
    /// Who came, and how it ended.
    pub ledger: Ledger,
    /// Asks the upstream.
    pub client: Arc<UpstreamClient>,
    /// On what terms.
    pub terms: RealUpstream,
    /// What its tokens cost.
    pub price: Option<Price>,
    /// How much it is asked at once, and how fast.
    pub caps: Caps,
    /// What may be spent.
    pub purse: SharedPurse,
    /// Where it is told how long requests were held back.
    pub outbox: Outbox,
}

/// A request that was taken.
struct Taken {
    at: Timestamp,
    response: Response,
    row: Row,
    /// As it is sent, and what it may cost at most.
    body: Bytes,
    most: Spending,
    request_id: HeaderValue,
    is_stream: bool,
    wants_usage: bool,
}

/// A wait at the caps: told when it is over, also when whoever waited has left.
struct Wait<'p> {
    proxy: &'p Proxy,
    since: Timestamp,
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        let proxy = self.proxy;
        let now = proxy.clock.now();
        let held_back = What::HeldBack {
            version: proxy.version,
            wait: now.since(self.since),
        };
        proxy.outbox.send(now, held_back);
    }
}

/// Serves a proxy on a listener, until the drain begins.
pub async fn serve(listener: TcpListener, proxy: Arc<Proxy>, drain: Arc<Drain>) {
    server::serve(listener, Limits::default(), drain, |stream| {
        let proxy = proxy.clone();
        let socket = Socket::new(stream);
        let connection = socket.clone();
        let handler = move |request| answer(proxy.clone(), request, connection.clone());
        (socket, handler)
    })
    .await;
}

async fn answer(
    proxy: Arc<Proxy>,
    request: Request<Incoming>,
    connection: Socket,
) -> Result<Reply, Break> {
    let is_chat =
        request.method() == Method::POST && request.uri().path() == "/v1/chat/completions";
    if !is_chat {
        let message = "this proxy passes chat completions on, and nothing else";
        return Ok(http::refuse(404, "not_found", message));
    }
    let (head, body) = request.into_parts();
    let given = http::header(&head.headers, "authorization");
    if given.and_then(|a| a.strip_prefix("Bearer ")) != Some(proxy.door_key.reveal()) {
        let message = "this proxy belongs to a run of graygate";
        return Ok(http::refuse(401, "invalid_api_key", message));
    }
    let body = match http::body::read(body, Limits::default()).await {
        Ok(body) => body,
        Err(unread) => return unread.reply(),
    };
    match proxy.take(&head.headers, &body) {
        Ok(taken) => proxy.play(taken, &connection).await,
        Err(error) => {
            let message = format!("not a JSON object: {error}");
            Ok(http::refuse(400, "invalid_json", message))
        }
    }
}

impl Proxy {
    /// Takes a chat request into the ledger, and finds out what faults make of its answer.
    fn take(&self, head: &HeaderMap, body: &Bytes) -> Result<Taken, serde_json::Error> {
        let seen = Seen::new(|name| http::header(head, name), body);
        let fields: Map<String, Value> = serde_json::from_slice(body)?;
        let at = self.clock.now();
        let row = self.ledger.accept(seen.key, || chat::digest(body));
        let is_stream = chat::wants_stream(&fields);
        let ask = Ask {
            // Every request of a run has its key.
            key: seen.key.unwrap_or(RequestKey(u64::MAX)),
            version: self.version,
            nth: row.ordinal(),
            input_tokens: prompt_tokens(&fields),
            max_tokens: max_tokens(&fields),
            stream: is_stream,
            is_prefilled: is_prefilled(&fields),
            recorded: None,
        };
        let healthy = ResponsePlan::passed_on(is_stream);
        let mut response = self.upstreams.spoil(healthy, &ask, at);
        response.plan.shut_late();
        self.ledger.announce(at, &row, seen.n, &response);
        let (body, most_tokens) = limited(body, &fields, &self.terms);
        let answers = answers(&fields);
        Ok(Taken {
            at,
            response,
            row,
            most: RealUpstream::most(body.len(), answers, most_tokens, self.price.as_ref()),
            body,
            request_id: head
                .get(headers::REQUEST_ID)
                .cloned()
                .unwrap_or(HeaderValue::from_static("graygate")),
            is_stream,
            wants_usage: chat::wants_usage(&fields),
        })
    }

    /// Answers it. When the gateway hangs up, this future is dropped, and with it the request at the upstream.
    async fn play(&self, mut taken: Taken, connection: &Socket) -> Result<Reply, Break> {
        let plan = std::mem::replace(&mut taken.response.plan, ResponsePlan::passed_on(false));
        match plan.act {
            Act::Complete(_) => {
                self.pass(taken, plan.after, Ending::Whole, None, connection)
                    .await
            }
            Act::Stream(stream) => {
                self.pass(taken, plan.after, stream.ending, None, connection)
                    .await
            }
            Act::Odd(odd) if needs_model(odd.form) && !taken.is_stream => {
                let odd = Some(odd.form);
                self.pass(taken, Duration::ZERO, Ending::Whole, odd, connection)
                    .await
            }
            // Nobody is asked.
            _ => {
                let (mut row, times) = (taken.row, (self.clock, taken.at));
                row.spends(plan.usage(), plan.drift());
                native::act(plan, times, written, row, connection).await
            }
        }
    }

    /// Asks the upstream and passes its answer on, so much later, unless it is to be odd or to break.
    async fn pass(
        &self,
        taken: Taken,
        delay: Duration,
        ending: Ending,
        odd: Option<Form>,
        connection: &Socket,
    ) -> Result<Reply, Break> {
        self.clock.sleep_until(taken.at + delay).await;
        let (place, reserved) = self.admit(taken.most).await;
        let message = Message {
            body: taken.body,
            request_id: taken.request_id,
            key: None,
            n: None,
            is_stream: taken.is_stream,
            wants_usage: taken.wants_usage,
        };
        let held = Held {
            row: taken.row,
            reserved,
            wants_usage: taken.wants_usage,
        };
        let (head, coming) = match self.client.send(self.version, message).await {
            Ok(answer) => answer,
            Err(outcome) => return Err(lost(held, outcome, connection)),
        };
        let is_events = stream::is_event_stream(http::header(&head.headers, "content-type"));
        let head = self.client.held(
            self.version,
            HeldReply {
                status: head.status.as_u16(),
                headers: head.headers,
                body: Bytes::new(),
            },
        );
        if taken.is_stream && is_events && (200..300).contains(&head.status) {
            let body = Passing::new((coming, place), ending, held, self.price, connection);
            return Ok(reply(head.status, head.headers, ReplyBody::stream(body)));
        }
        self.whole(
            head,
            (coming, place),
            held,
            (odd, taken.is_stream),
            connection,
        )
        .await
    }

    /// Waits until the caps let a request through, and sets aside what it may use. With a spent purse, nothing
    /// comes back: the run ends.
    async fn admit(&self, most: Spending) -> (Place, Reserved) {
        let wait = Wait {
            proxy: self,
            since: self.clock.now(),
        };
        let place = self.caps.enter().await;
        drop(wait);
        loop {
            match self.purse.reserve(most) {
                Some(reserved) => return (place, reserved),
                None => self.clock.sleep(FOR_EVER).await,
            }
        }
    }

    /// Passes a whole answer on, as it is or in another form.
    async fn whole(
        &self,
        head: HeldReply,
        (coming, place): (Coming, Place),
        held: Held,
        (odd, is_stream): (Option<Form>, bool),
        connection: &Socket,
    ) -> Result<Reply, Break> {
        let body = match read_whole(coming).await {
            Ok(body) => body,
            Err(outcome) => return Err(lost(held, outcome, connection)),
        };
        drop(place);
        let reply_held = self.client.held(self.version, HeldReply { body, ..head });
        let HeldReply {
            status,
            headers,
            body,
        } = reply_held;
        let content_type = http::header(&headers, "content-type");
        let received = normalize::receive(status, content_type, body.clone());
        let Held {
            mut row, reserved, ..
        } = held;
        let total = openai::total_tokens(&body);
        let price = self.price.as_ref();
        let stated = received.usage;
        match stated.and_then(|usage| Spending::stated(usage, total, price)) {
            Some(used) => reserved.used(used),
            // What was refused on its merits was not worked on.
            None if (400..500).contains(&status) => reserved.used(Spending::default()),
            None => drop(reserved),
        }
        let usage = received.usage;
        if let Some(id) = openai::answer_id(&body) {
            row.gives(&id);
        }
        match odd.filter(|_| received.outcome.is_success()) {
            None => {
                row.spends(usage, received.drift);
                row.end(received.outcome.of_whole_answer(is_stream));
                Ok(reply(status, headers, ReplyBody::from(body)))
            }
            Some(form) => {
                let odd = Odd {
                    form,
                    usage: usage.unwrap_or_default(),
                };
                let script = odd.script(&String::from_utf8_lossy(&body));
                let reading = script.reading();
                let stated = match reading.outcome.is_success() {
                    true => reading.usage,
                    false => usage,
                };
                row.spends(stated, reading.drift);
                raw::play(script, Some(reading.outcome), row, connection).await
            }
        }
    }
}

/// No answer came, or none that is whole. The gateway sees its connection reset or closed: which of both is all
/// that a proxy can pass on of it.
fn lost(held: Held, outcome: Outcome, connection: &Socket) -> Break {
    tracing::warn!("a real upstream gave no whole answer: {}", outcome.name());
    connection.arm();
    held.row.end(Outcome::Reset);
    if outcome == Outcome::Connect {
        held.reserved.used(Spending::default());
    }
    Break
}

/// An answer that nobody gave, for faults that spoil one.
fn written(usage: Usage) -> String {
    let answer = Completion {
        id: "chatcmpl".to_owned(),
        model: "m",
        content: "tok",
        usage,
    };
    answer.body()
}

/// Must the model have answered, so that its answer can be made odd?
fn needs_model(form: Form) -> bool {
    !matches!(form, Form::Redirect { .. } | Form::Huge)
}

/// How many answers a request asks for. What is no number may be one to the server: then nobody knows.
fn answers(fields: &Map<String, Value>) -> u64 {
    match fields.get("n") {
        None | Some(Value::Null) => 1,
        Some(n) => n.as_u64().unwrap_or(u64::MAX),
    }
}

/// The body with the limit of its answer, and that limit. Bodies that have a low enough one stay as they are; of
/// the others, nothing else is changed.
fn limited(body: &Bytes, fields: &Map<String, Value>, terms: &RealUpstream) -> (Bytes, u64) {
    let most = u64::from(terms.max_tokens);
    let given = LIMIT_FIELDS
        .into_iter()
        .filter(|name| fields.contains_key(*name));
    let given: Vec<&str> = given.collect();
    let limit = given.iter().map(|name| fields[*name].as_u64()).min();
    match limit {
        Some(Some(limit)) if given.len() == 1 && limit <= most => (body.clone(), limit),
        Some(_) => {
            let mut fields = fields.clone();
            for name in given {
                let lower = fields[name].as_u64().map_or(most, |limit| limit.min(most));
                fields.insert(name.to_owned(), Value::from(lower));
            }
            (Bytes::from(Value::Object(fields).to_string()), most)
        }
        None => {
            // Written in, so that every other byte stays what it was.
            let at = body.iter().position(|byte| *byte == b'{');
            let (start, rest) = body.split_at(at.map_or(0, |at| at + 1));
            let comma = if fields.is_empty() { "" } else { "," };
            let field = format!("\"{}\":{most}{comma}", terms.limit_field);
            (Bytes::from([start, field.as_bytes(), rest].concat()), most)
        }
    }
}

/// A reply with the headers of another one, but for those that are about its connection.
fn reply(status: u16, mut headers: HeaderMap, body: ReplyBody) -> Reply {
    for name in [CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION] {
        headers.remove(name);
    }
    headers.remove("keep-alive");
    let mut reply = Reply::new(body);
    *reply.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    *reply.headers_mut() = headers;
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(body: &str) -> (String, u64) {
        let terms = RealUpstream {
            concurrency: 1,
            rate: None,
            max_tokens: 64,
            limit_field: "max_tokens",
        };
        let fields = serde_json::from_str(body).unwrap();
        let (bytes, most) = limited(&Bytes::from(body.to_owned()), &fields, &terms);
        (String::from_utf8(bytes.to_vec()).unwrap(), most)
    }

    #[test]
    fn who_asks_for_an_odd_number_of_answers_may_get_any() {
        let of = |body: &str| answers(&serde_json::from_str(body).unwrap());
        assert_eq!([of("{}"), of("{\"n\":null}"), of("{\"n\":3}")], [1, 1, 3]);
        assert_eq!([of("{\"n\":\"3\"}"), of("{\"n\":-1}")], [u64::MAX; 2]);
    }

    #[test]
    fn every_request_has_a_limit_and_only_that_is_changed() {
        let body = " {\"temperature\": 0.0, \"model\":\"m\"}";
        let with = " {\"max_tokens\":64,\"temperature\": 0.0, \"model\":\"m\"}";
        assert_eq!(limit(body), (with.to_owned(), 64));
        assert_eq!(limit("{}"), ("{\"max_tokens\":64}".to_owned(), 64));
        for (low, n) in [
            ("{\"max_tokens\": 8}", 8),
            ("{\"max_completion_tokens\": 64}", 64),
        ] {
            assert_eq!(limit(low), (low.to_owned(), n));
        }
        for (high, lower) in [
            ("{\"max_tokens\":65}", "{\"max_tokens\":64}"),
            ("{\"max_tokens\":null}", "{\"max_tokens\":64}"),
            ("{\"max_tokens\":-1}", "{\"max_tokens\":64}"),
            (
                "{\"max_completion_tokens\":1e9}",
                "{\"max_completion_tokens\":64}",
            ),
        ] {
            assert_eq!(limit(high), (lower.to_owned(), 64), "{high}");
        }
    }
}
