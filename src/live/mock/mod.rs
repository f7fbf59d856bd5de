//! Mock upstreams on their own ports: one [`MockUpstream`] says what happens to each request, two
//! servers play it. [`native`] plays everything; [`wiremock`] plays whole replies, and its responder
//! can be mounted in anybody's tests. [`house`] is several of them on one port, standing alone.

pub mod admin;
pub mod book;
pub mod door;
pub mod events;
pub mod house;
pub mod keys;
pub mod ledger;
pub mod native;
pub mod places;
pub(in crate::live) mod raw;
mod streaming;
pub mod switch;
pub mod veil;
pub mod wiremock;
pub mod wish;

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::fault::inject::{Response, Upstreams};
use crate::id::{RequestKey, VersionId};
use crate::live::clock::Clock;
use crate::live::mock::book::{Book, Line};
use crate::live::mock::events::Events;
use crate::live::mock::keys::KeyCounts;
use crate::live::mock::ledger::{Ledger, Row};
use crate::live::mock::places::{Place, Places, Turn};
use crate::live::mock::switch::Switch;
use crate::protocol::chat::{self, digest};
use crate::protocol::openai::{Completion, Usage};
use crate::protocol::recorded::Answer;
use crate::protocol::{headers, marker};
use crate::time::Timestamp;
use crate::traffic::body::{is_prefilled, max_tokens, prompt_tokens};
use crate::traffic::log::book as recorded;
use crate::upstream::plan::{Act, Refusal, ResponsePlan};
use crate::upstream::profile::Ask;
use crate::upstream::stream::StreamPlan;

/// One model upstream: what it does is a pure function of the request key and the time.
#[derive(Debug)]
pub struct MockUpstream {
    /// Which of the upstreams it is.
    pub version: VersionId,
    /// The model it serves.
    pub model: String,
    /// The key it wants to see; any when absent.
    pub api_key: Option<String>,
    /// How all upstreams behave.
    pub switch: Arc<Switch>,
    /// The time on which faults go on and off.
    pub clock: Clock,
    /// Who came, and how it ended.
    pub ledger: Ledger,
    /// The places that it has, when it does only so much at once.
    pub places: Option<Arc<Places>>,
    /// Where its requests are written down for whoever asks the mock, and under which name; then it does
    /// How requests had been answered when they were recorded, where it is to know.
    book: Option<Arc<recorded::Book>>,
    /// as their headers wish, too.
    alone: Option<(Arc<Book>, Arc<str>)>,
    /// Which keys its requests bear, where somebody wants to know.
    keys: Option<KeyCounts>,
    /// Counts requests without a key of their own, and answers to such.
    anonymous: AtomicU64,
    nameless: AtomicU64,
}

/// A request as a mock sees it.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// The request's key, if one survived the way.
    pub key: Option<RequestKey>,
    /// Did it stand in the header?
    pub has_header: bool,
    /// Which attempt of the request it is, where the gateway says so.
    pub n: Option<u32>,
    /// The `Authorization` header.
    pub authorization: Option<&'a str>,
    /// The error that it asks for.
    pub wish: Option<&'a str>,
    /// The body.
    pub body: &'a [u8],
}

/// A request that was taken: what happens to it, and its line in the ledger.
#[derive(Debug)]
pub struct Taken {
    /// When it was taken.
    pub at: Timestamp,
    /// What happens.
    pub response: Response,
    /// Its line.
    pub row: Row,
    /// The wait for a place, if all are taken. The response counts from its end.
    pub turn: Option<Turn>,
    /// Does whoever asked want a stream to state its tokens?
    pub states_usage: bool,
}

impl Taken {
    /// Waits until the upstream begins on it.
    async fn begun(mut self) -> Self {
        if let Some(turn) = self.turn.take() {
            let (place, since) = turn.wait().await;
            self.row.holds(place);
            let plan = &self.response.plan;
            self.row.spends(plan.usage(), plan.drift());
            self.row.begin(since);
            self.at = since;
        }
        self
    }
}

impl MockUpstream {
    /// An upstream of `version` that serves `model`.
    pub fn new(
        version: VersionId,
        model: String,
        upstreams: Arc<Upstreams>,
        clock: Clock,
        ledger: Ledger,
    ) -> Self {
        Self::under(
            version,
            model,
            Arc::new(Switch::new((*upstreams).clone())),
            clock,
            ledger,
        )
    }

    /// The same, whose faults can be switched.
    pub fn under(
        version: VersionId,
        model: String,
        switch: Arc<Switch>,
        clock: Clock,
        ledger: Ledger,
    ) -> Self {
        let capacity = switch.in_force().upstreams.profiles[version].capacity;
        Self {
            version,
            model,
            api_key: None,
            switch,
            clock,
            ledger,
            alone: None,
            book: None,
            keys: None,
            places: capacity.map(|capacity| Places::new(capacity, clock)),
            anonymous: AtomicU64::new(0),
            nameless: AtomicU64::new(0),
        }
    }

    /// The same upstream, refusing every other key than this one.
    pub fn with_api_key(self, key: String) -> Self {
        Self {
            api_key: Some(key),
            ..self
        }
    }

    /// The same upstream, which can look up how requests had been answered when they were recorded.
    pub fn with_recorded(self, book: Option<Arc<recorded::Book>>) -> Self {
        Self { book, ..self }
    }

    /// The same upstream, which counts the keys that its requests bear.
    pub fn with_keys(self, keys: Option<KeyCounts>) -> Self {
        Self { keys, ..self }
    }

    fn recorded(&self, key: Option<RequestKey>, nth: u32) -> Option<Answer> {
        self.book.as_ref()?.answer(key?, nth)
    }

    /// The same upstream, standing alone: it writes its requests into a book, and returns the errors that they
    /// ask for.
    pub fn standing_alone(self, book: Arc<Book>) -> Self {
        let name = Arc::from(self.model.as_str());
        let alone = Some((book, name));
        Self { alone, ..self }
    }

    /// Takes a chat request. One that is not for this upstream (a wrong key, another model, no chat
    /// request) is refused, and goes into the ledger like any other: it did come here.
    pub fn take(&self, seen: Seen<'_>) -> Taken {
        let at = self.clock.now();
        if let Some(keys) = &self.keys {
            keys.count(seen.has_header, marker::find(seen.body));
        }
        let mut row = self.ledger.accept(seen.key, || digest(seen.body));
        let fields = self.fields(&seen);
        let states_usage = fields.as_ref().is_ok_and(chat::wants_usage);
        let mut response = match fields {
            Ok(fields) => self.respond(&seen, at, row.ordinal(), &fields),
            Err(refusal) => Response {
                plan: ResponsePlan {
                    after: Duration::ZERO,
                    act: Act::Refuse(refusal),
                },
                fault: None,
                is_told: None,
            },
        };
        response.plan.shut_late();
        let turn = self.place(&mut row, &mut response);
        // Nothing is spent on it before its turn.
        let usage = match turn {
            Some(_) => Some(Usage::default()),
            None => response.plan.usage(),
        };
        row.spends(usage, response.plan.drift());
        self.ledger.announce(at, &row, seen.n, &response);
        self.write_down(&mut row, at, &seen, &response);
        if turn.is_none() {
            row.begin(at);
        }
        Taken {
            at,
            response,
            row,
            turn,
            states_usage,
        }
    }

    fn write_down(&self, row: &mut Row, at: Timestamp, seen: &Seen<'_>, response: &Response) {
        let Some((book, model)) = &self.alone else {
            return;
        };
        let line = Line {
            row: 0,
            model: model.clone(),
            key: seen.key,
            r#try: row.ordinal(),
            stream: matches!(response.plan.act, Act::Stream(_)),
            fault: response.fault.and_then(|n| self.switch.name(n)),
            at_s: at.as_secs_f64(),
            began_s: None,
            ended_s: None,
            outcome: None,
            prompt_tokens: None,
            completion_tokens: None,
        };
        row.enter(book, line);
    }

    /// Finds a place for a request, if it needs one, or the wait for it.
    fn place(&self, row: &mut Row, response: &mut Response) -> Option<Turn> {
        let places = self.places.as_ref()?;
        if !response.plan.needs_place() {
            return None;
        }
        match places.enter(response) {
            Place::Has(held) => {
                row.holds(held);
                None
            }
            Place::Waits(turn) => Some(turn),
            Place::Refused => None,
        }
    }

    fn respond(&self, seen: &Seen<'_>, at: Timestamp, nth: u32, fields: &Fields) -> Response {
        let ask = Ask {
            key: seen.key.unwrap_or_else(|| self.next_anonymous()),
            version: self.version,
            nth,
            input_tokens: prompt_tokens(fields),
            max_tokens: max_tokens(fields),
            stream: chat::wants_stream(fields),
            is_prefilled: is_prefilled(fields),
            recorded: self.recorded(seen.key, nth),
        };
        let wish = seen.wish.filter(|_| self.alone.is_some());
        match wish.map(wish::answer) {
            Some(plan) => Response {
                plan,
                fault: None,
                is_told: None,
            },
            None => self.switch.respond(&ask, at),
        }
    }

    /// The fields of a chat request that is for this upstream.
    fn fields(&self, seen: &Seen<'_>) -> Result<Fields, Refusal> {
        self.check_key(seen.authorization)?;
        let fields: Fields = serde_json::from_slice(seen.body)
            .map_err(|e| refusal(400, "invalid_json", format!("not a JSON object: {e}")))?;
        self.check_model(&fields)?;
        Ok(fields)
    }

    fn check_key(&self, authorization: Option<&str>) -> Result<(), Refusal> {
        let given = authorization.and_then(|a| a.strip_prefix("Bearer "));
        let is_wrong = |wanted: &String| given != Some(wanted);
        match self.api_key.as_ref().is_some_and(is_wrong) {
            true => {
                let message = "the mock upstream was given another key than its own";
                Err(refusal(401, "invalid_api_key", message))
            }
            false => Ok(()),
        }
    }

    fn check_model(&self, fields: &Fields) -> Result<(), Refusal> {
        match fields.get("model").and_then(|m| m.as_str()) {
            Some(model) if model == self.model => Ok(()),
            Some(model) => {
                let message = format!("the model `{model}` does not exist");
                Err(refusal(404, "model_not_found", message))
            }
            None => Err(refusal(400, "missing_model", "`model` is missing")),
        }
    }

    /// A key for a request that brings none. Its own half of the numbers keeps it apart from others.
    fn next_anonymous(&self) -> RequestKey {
        let n = self.anonymous.fetch_add(1, Ordering::Relaxed);
        RequestKey(1 << 63 | n)
    }

    /// The body of a completion.
    pub fn completion(&self, key: Option<RequestKey>, usage: Usage) -> String {
        let content = events::text(usage.completion_tokens);
        Completion {
            id: self.answer_id(key),
            model: &self.model,
            content: &content,
            usage,
        }
        .body()
    }
}

impl MockUpstream {
    /// Every answer has an id of its own; that of a request with a key says which.
    fn answer_id(&self, key: Option<RequestKey>) -> String {
        match key {
            Some(key) => format!("{ANSWER_ID}{key}"),
            None => {
                let number = self.nameless.fetch_add(1, Ordering::Relaxed);
                format!("{ANSWER_ID}anonymous-{number}")
            }
        }
    }

    /// The events of a stream.
    pub fn events(&self, key: Option<RequestKey>, plan: &StreamPlan, states_usage: bool) -> Events {
        Events::new(*plan, &self.answer_id(key), &self.model, states_usage)
    }
}

fn refusal(status: u16, code: &'static str, message: impl Into<Cow<'static, str>>) -> Refusal {
    Refusal {
        status,
        kind: "invalid_request_error",
        code,
        message: message.into(),
        wish: None,
    }
}

/// The fields of a JSON object.
type Fields = serde_json::Map<String, serde_json::Value>;

/// What the id of a mock's answer begins with; the key of its request follows.
const ANSWER_ID: &str = "chatcmpl-mock-";

/// The request that a mock's answer with this id belongs to.
pub fn answered_key(id: &str) -> Option<RequestKey> {
    id.strip_prefix(ANSWER_ID)?.parse().ok().map(RequestKey)
}

impl<'a> Seen<'a> {
    /// A request with these headers.
    pub fn new(header: impl Fn(&str) -> Option<&'a str>, body: &'a [u8]) -> Self {
        let in_header = header(headers::REQUEST_KEY).and_then(|k| k.parse().ok());
        // Not every gateway passes headers on.
        let key = in_header.or_else(|| marker::find(body).key());
        Self {
            key: key.map(RequestKey),
            has_header: in_header.is_some(),
            n: header(headers::ATTEMPT).and_then(|n| n.parse().ok()),
            authorization: header("authorization"),
            wish: header(wish::HEADER),
            body,
        }
    }
}
