//! One request of the load generator: sent, timed, read.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Method, Request, Uri};

use crate::experiment::Experiment;
use crate::id::RequestKey;
use crate::live::clock::Clock;
use crate::live::http;
use crate::live::http::body::MAX_ANSWER;
use crate::live::http::client::{POOL_IDLE, Pool, pool};
use crate::live::http::files;
use crate::live::load::reading::Reading;
use crate::live::mock::ledger::Underway;
use crate::live::mock::{answered_key, events};
use crate::live::outbox::Outbox;
use crate::observe::event::{Answered, Claim, Gaps, Origin, Sent, Streamed, Text, What};
use crate::protocol::drift::Drift;
use crate::protocol::normalize::normalize;
use crate::protocol::openai::{HttpAnswer, Usage};
use crate::protocol::outcome::Outcome;
use crate::protocol::request_id::{HARNESS, RequestIds};
use crate::protocol::{chat, headers, marker, openai, stream};
use crate::traffic::caller::Intent;
use crate::traffic::source::Planned;

/// How requests come to a gateway.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Its chat endpoint.
    pub uri: Uri,
    /// The key that callers show.
    pub key: Option<String>,
    /// Is it none of ours? Then the keys of requests stand wherever it may let them through.
    pub is_external: bool,
}

/// Sends requests to a gateway.
pub struct LoadClient {
    experiment: Arc<Experiment>,
    intents: Vec<Intent>,
    client: Pool,
    asked: Asked,
    clock: Clock,
    outbox: Outbox,
    underway: Underway,
    ids: RequestIds,
    /// Are there no answers but those of mocks?
    is_all_mocked: bool,
}

/// A request that is ready to be sent.
#[derive(Debug)]
pub struct Prepared {
    key: RequestKey,
    digest: Option<u64>,
    request: Request<Full<Bytes>>,
    sent: Sent,
    stream: bool,
    hangs_up: Option<Duration>,
}

/// How a request ended for the client.
struct End {
    outcome: Outcome,
    claim: Claim,
    usage: Option<Usage>,
    origin: Origin,
    streamed: Option<Streamed>,
    /// Of a whole stream.
    gaps: Option<Gaps>,
    drift: Drift,
}

impl End {
    /// An end without any answer.
    fn broken(outcome: Outcome) -> Self {
        Self {
            outcome,
            claim: Claim::default(),
            usage: None,
            origin: Origin::default(),
            streamed: None,
            gaps: None,
            drift: Drift::NONE,
        }
    }
}

impl LoadClient {
    /// A client of the gateway that is `asked`.
    pub fn new(
        experiment: Arc<Experiment>,
        asked: Asked,
        clock: Clock,
        outbox: Outbox,
        underway: Underway,
    ) -> Self {
        Self {
            intents: experiment.intents(),
            is_all_mocked: !experiment.has_real_upstreams(),
            experiment,
            client: pool(POOL_IDLE),
            asked,
            clock,
            outbox,
            underway,
            ids: RequestIds::new(HARNESS),
        }
    }

    /// Makes a request ready to be sent: body, fingerprint and headers take their time.
    pub fn prepare(&self, planned: Planned) -> Prepared {
        let body = self.experiment.bodies.body(planned.prompt, planned.stream);
        let body = match self.asked.is_external {
            true => marker::sign(body, planned.key.0),
            false => body,
        };
        Prepared {
            key: planned.key,
            digest: chat::digest(&body),
            request: self.request(&planned, body),
            sent: self.sent(&planned),
            stream: planned.stream,
            hangs_up: planned.hangs_up,
        }
    }

    /// Sends a request and tells how it went.
    pub async fn send(&self, prepared: Prepared) {
        let Prepared {
            key,
            digest,
            request,
            sent,
            stream,
            hangs_up,
        } = prepared;
        self.underway.note(key, digest);
        let (patience, left) = self.patience(hangs_up);
        self.outbox.send(self.clock.now(), What::Sent(sent));
        let mut reading = Reading::new(self.is_all_mocked);
        let exchange = self.exchange(key, request, stream, &mut reading);
        let answer = tokio::time::timeout(patience, exchange).await;
        let end = answer.unwrap_or_else(|_| End {
            streamed: reading.streamed(),
            ..End::broken(left)
        });
        let answered = Answered {
            key,
            outcome: end.outcome,
            claim: end.claim,
            usage: end.usage,
            origin: end.origin,
            streamed: end.streamed,
            drift: end.drift,
        };
        let now = self.clock.now();
        if let Some(gaps) = end.gaps {
            self.outbox.send(now, What::Gaps(gaps));
        }
        self.outbox.send(now, What::Answered(answered));
        self.underway.forget(key);
    }

    /// How long a caller waits at most, and how it ends for those who leave.
    fn patience(&self, hangs_up: Option<Duration>) -> (Duration, Outcome) {
        let patience = self.experiment.patience();
        match hangs_up.filter(|after| *after < patience) {
            Some(after) => (after, Outcome::ClientGone),
            None => (patience, Outcome::Timeout),
        }
    }

    fn sent(&self, planned: &Planned) -> Sent {
        Sent {
            key: planned.key,
            scheduled_at: planned.at,
            intent: planned.intent(&self.intents),
            caller: planned.caller,
            input_tokens: self.experiment.bodies.input_tokens(planned.prompt),
            stream: planned.stream,
        }
    }

    fn request(&self, planned: &Planned, body: Vec<u8>) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.asked.uri.clone();
        let map = request.headers_mut();
        map.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        http::set(map, headers::REQUEST_KEY, &planned.key.to_string());
        if let Some(key) = &self.asked.key {
            http::set(map, "authorization", &format!("Bearer {key}"));
        }
        if let Ok(id) = HeaderValue::from_bytes(&self.ids.id(planned.key.0)) {
            map.insert(headers::REQUEST_ID, id);
        }
        if let Some(version) = planned.forced {
            http::set(map, headers::FORCED, self.experiment.router.name(version));
        }
        if let Some(caller) = self.experiment.callers.get(planned.caller as usize) {
            if let Some(tier) = &caller.tier {
                http::set(map, headers::USER_TIER, tier);
            }
            if let Some(user) = &caller.user {
                http::set(map, headers::USER_ID, user);
            }
            if let Some(tenant) = &caller.tenant {
                http::set(map, headers::TENANT, tenant);
            }
        }
        request
    }

    async fn exchange(
        &self,
        key: RequestKey,
        request: Request<Full<Bytes>>,
        stream: bool,
        reading: &mut Reading,
    ) -> End {
        let response = match self.client.request(request).await {
            Ok(response) => response,
            Err(error) if error.is_connect() => {
                files::note(&error);
                return End::broken(Outcome::Connect);
            }
            Err(_) => return End::broken(Outcome::Reset),
        };
        let (head, body) = response.into_parts();
        let content_type = http::header(&head.headers, "content-type");
        if stream && head.status.is_success() && stream::is_event_stream(content_type) {
            return self.read_stream(key, &head.headers, body, reading).await;
        }
        let body = match Limited::new(body, MAX_ANSWER).collect().await {
            Ok(body) => body,
            Err(error) if error.is::<LengthLimitError>() => {
                return End::broken(Outcome::Malformed);
            }
            Err(_) => return End::broken(Outcome::Truncated),
        };
        let body = body.to_bytes();
        let reading = openai::read(HttpAnswer {
            status: head.status.as_u16(),
            content_type,
            body: &body,
        });
        let model = reading.model.as_deref();
        let outcome = reading.outcome.of_whole_answer(stream);
        let drift = match outcome.is_success() {
            true => normalize(&body).drift,
            false => Drift::NONE,
        };
        End {
            drift,
            outcome,
            claim: self.claim(&head.headers),
            usage: reading.usage,
            origin: Origin {
                text: self.text(&reading),
                ..self.origin(reading.id.as_deref(), model)
            },
            streamed: None,
            gaps: None,
        }
    }

    async fn read_stream(
        &self,
        key: RequestKey,
        headers: &HeaderMap,
        mut body: Incoming,
        reading: &mut Reading,
    ) -> End {
        let broken = loop {
            match body.frame().await {
                Some(Ok(frame)) => {
                    let data = frame.data_ref().map_or(&[][..], |data| data);
                    reading.take(data, self.clock.now());
                }
                Some(Err(_)) => break Some(Outcome::Truncated),
                None => break None,
            }
        };
        let reader = &reading.reader;
        let outcome = reader.outcome(broken);
        End {
            outcome,
            claim: self.claim(headers),
            usage: reader.usage(),
            origin: self.origin(reader.id(), reader.model()),
            streamed: reading.streamed(),
            gaps: outcome.is_success().then(|| reading.gaps(key)),
            drift: match outcome.is_success() {
                // Every request for a stream asks for its usage.
                true => reader.drift(true),
                false => Drift::NONE,
            },
        }
    }

    /// What became of the text of a mock's answer.
    fn text(&self, answer: &openai::Reading) -> Option<Text> {
        let id = answer.id.as_deref();
        let is_by_a_mock = self.is_all_mocked || id.and_then(answered_key).is_some();
        events::text_of(answer.text.as_deref(), is_by_a_mock)
    }

    /// What an answer with this id by this model says of where it comes from.
    fn origin(&self, id: Option<&str>, model: Option<&str>) -> Origin {
        Origin {
            key: id.and_then(|id| answered_key(id).or_else(|| self.underway.answered(id))),
            version: model.and_then(|m| self.experiment.router.version_of_model(m)),
            text: None,
        }
    }

    fn claim(&self, map: &HeaderMap) -> Claim {
        let version = http::header(map, headers::VERSION);
        Claim {
            version: version.and_then(|name| self.experiment.router.version_named(name)),
            fallback: http::header(map, headers::FALLBACK).and_then(|f| f.parse().ok()),
            attempts: http::header(map, headers::ATTEMPTS).and_then(|a| a.parse().ok()),
        }
    }
}
