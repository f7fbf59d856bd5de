//! HTTP with callers: OpenAI's `POST /v1/chat/completions` and `GET /v1/models`.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING,
};
use hyper::{Method, Request, Response, StatusCode};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::id::{AttemptId, RequestId, RequestKey, VersionId};
use crate::live::clock;
use crate::live::gateway::GatewayConfig;
use crate::live::gateway::driver::{Arrival, Command, Driver};
use crate::live::gateway::orders::Taker;
use crate::live::gateway::release::{Current, Release};
use crate::live::gateway::streaming::StreamReply;
use crate::live::gateway::unheard::{Unheard, Why};
use crate::live::gateway::upstream::{Attempted, BegunStream, HeldReply, Message};
use crate::live::http::drain::Drain;
use crate::live::http::reply_body::ReplyBody;
use crate::live::http::{self, Break, Reply, body, server};
use crate::protocol::chat::ChatHead;
use crate::protocol::request_id::{self, RequestIds};
use crate::protocol::{gateway, headers, openai};
use crate::router::config::{Features, RouterConfig};
use crate::router::io::{AnswerTraits, ChoiceNote, Failure, Input, RequestFacts, Served};

static VERSION: HeaderName = HeaderName::from_static(headers::VERSION);
static FALLBACK: HeaderName = HeaderName::from_static(headers::FALLBACK);
static ATTEMPTS: HeaderName = HeaderName::from_static(headers::ATTEMPTS);
static REQUEST_ID: HeaderName = HeaderName::from_static(headers::REQUEST_ID);
static OVERRIDE: HeaderName = HeaderName::from_static(headers::OVERRIDE);
/// Headers of an upstream's answer that belong to its connection, or are the gateway's own to say.
static NOT_RELAYED: [HeaderName; 9] = [
    CONNECTION,
    CONTENT_LENGTH,
    TRANSFER_ENCODING,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static(headers::VERSION),
    HeaderName::from_static(headers::FALLBACK),
    HeaderName::from_static(headers::ATTEMPTS),
    HeaderName::from_static(headers::REQUEST_ID),
    HeaderName::from_static(headers::OVERRIDE),
];

/// Decides for a request, by its headers, which version of the configuration it is forced to, if any. For
/// a program that has this gateway inside of it, and knows its callers: whatever a header says is what a caller
/// wrote, so look only at those that your own front door sets.
pub type Forcing = Box<dyn Fn(&RouterConfig, &HeaderMap) -> Option<VersionId> + Send + Sync>;

/// A gateway at work.
pub struct Gateway {
    config: GatewayConfig,
    driver: Arc<Driver>,
    forcing: Option<Forcing>,
    /// What new requests belong to.
    current: Current,
    /// What the core never hears of.
    unheard: Arc<Unheard>,
    /// Ids for requests whose callers give them none.
    ids: RequestIds,
}

impl Gateway {
    /// A gateway whose core is behind `driver`.
    pub fn new(config: GatewayConfig, driver: Arc<Driver>) -> Arc<Self> {
        Self::with_forcing(config, driver, None)
    }

    /// The same, where `forcing` may force versions: the first of all ways to choose one, see
    /// [`RequestFacts::forced_to`].
    pub fn with_forcing(
        config: GatewayConfig,
        driver: Arc<Driver>,
        forcing: Option<Forcing>,
    ) -> Arc<Self> {
        Arc::new(Self {
            current: Current::new(&config),
            unheard: Arc::default(),
            ids: RequestIds::new(id_mark(config.is_harness)),
            config,
            driver,
            forcing,
        })
    }

    /// What is counted of requests that the core never hears of.
    pub fn unheard(&self) -> Arc<Unheard> {
        self.unheard.clone()
    }

    /// Serves callers on a listener, for ever.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) {
        self.serve_until(listener, Arc::default()).await;
    }

    /// The same until `drain` begins: from then on new requests are turned away, and those under way
    /// are finished. Ends early only when the gateway breaks.
    pub async fn serve_until(self: Arc<Self>, listener: TcpListener, drain: Arc<Drain>) {
        let driver = self.driver.clone();
        let callers = server::serve(listener, self.config.limits, drain, |stream| {
            let gateway = self.clone();
            let handler = move |request| {
                let gateway = gateway.clone();
                async move { gateway.answer(request).await }
            };
            (stream, handler)
        });
        // A task of its own, so that callers who connect never delay a timeout. It ends with this one.
        let mut timer = JoinSet::new();
        timer.spawn(async move { driver.keep_time().await });
        tokio::select! {
            () = callers => {}
            // Without timeouts requests would hang: better no gateway than such a one.
            _ = timer.join_next() => {}
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Reply, Break> {
        match (request.method(), request.uri().path()) {
            (&Method::POST, "/v1/chat/completions") => self.chat(request).await,
            (&Method::GET, "/v1/models") => {
                let release = self.release();
                let versions = release.router.versions.values();
                let models = versions.map(|v| v.model.as_str());
                Ok(http::json(200, openai::model_list(models)))
            }
            (_, "/v1/chat/completions" | "/v1/models") => {
                Ok(self.refuse(405, Why::WrongMethod, "wrong method"))
            }
            (_, path) => {
                let message = format!("there is nothing at {path}");
                Ok(self.refuse(404, Why::NotFound, message))
            }
        }
    }

    /// Refuses what the core never hears of.
    fn refuse(&self, status: u16, why: Why, message: impl Into<String>) -> Reply {
        self.unheard.note(why);
        http::refuse(status, why.name(), message)
    }

    /// What new requests belong to.
    fn release(&self) -> Arc<Release> {
        let release = self.current.get();
        match self.driver.revision() == release.revision {
            true => release,
            false => self.current.adopt(&self.driver.adopted(), &self.config),
        }
    }

    /// The version that a request is forced to: by the embedder, or by the harness in a run of its own. To
    /// strangers the harness's header does not exist.
    fn forced(&self, router: &RouterConfig, map: &HeaderMap) -> Option<VersionId> {
        let forcing = self.forcing.as_ref();
        let by_harness = || {
            let name = http::header(map, headers::FORCED).filter(|_| self.config.is_harness);
            router.version_named(name?)
        };
        forcing.and_then(|f| f(router, map)).or_else(by_harness)
    }

    async fn chat(&self, request: Request<Incoming>) -> Result<Reply, Break> {
        let (parts, incoming) = request.into_parts();
        let body = match body::read(incoming, self.config.limits).await {
            Ok(body) => body,
            Err(unread) => {
                self.unheard.note(why_unread(&unread));
                return unread.reply();
            }
        };
        let head = match ChatHead::parse(&body) {
            Ok(head) => head,
            Err(why) => return Ok(self.refuse(400, Why::Invalid, why.to_string())),
        };
        let header = |name: &str| http::header(&parts.headers, name);
        let mut release = self.release();
        let router = &release.router;
        let facts = RequestFacts::collect(router, &head.model, head.user.as_deref(), header);
        let facts = RequestFacts {
            needs: Features {
                streaming: head.stream,
                tools: head.tools,
            },
            forced: self.forced(router, &parts.headers),
            ..facts
        };
        let facts = match &router.overrides {
            None => facts,
            Some(policy) => {
                let has_key = release.choosers.include(header("authorization"));
                facts.with_choice(router, header(&policy.header), has_key)
            }
        };
        let key = header(headers::REQUEST_KEY).filter(|_| self.config.is_harness);
        let key = key.and_then(|k| k.parse().ok()).map(RequestKey);
        let Arrival {
            request,
            orders,
            adopted,
        } = self.driver.arrive(key, facts, release.revision);
        if let Some(adopted) = adopted {
            // It changed this very moment.
            release = self.current.adopt(&adopted, &self.config);
        }
        let id = header(headers::REQUEST_ID).and_then(|id| HeaderValue::from_str(id).ok());
        let task = RequestTask {
            gateway: self,
            release,
            call: Call {
                driver: self.driver.clone(),
                request,
                is_over: false,
            },
            orders,
            id: id.unwrap_or_else(|| made_up_id(&self.ids, request)),
            head,
            body,
            key,
        };
        Ok(task.run().await)
    }
}

/// The core's knowledge that somebody waits. Dropped early, it says that the caller hung up.
pub(super) struct Call {
    pub(super) driver: Arc<Driver>,
    request: RequestId,
    pub(super) is_over: bool,
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.is_over {
            let request = self.request;
            self.driver.input([Input::ClientGone { request }]);
        }
    }
}

/// One request on its way: does what the core orders, tells it what came of it.
struct RequestTask<'g> {
    gateway: &'g Gateway,
    /// What it belongs to, whatever is adopted meanwhile.
    release: Arc<Release>,
    call: Call,
    orders: Taker<Command>,
    id: HeaderValue,
    head: ChatHead,
    body: Bytes,
    key: Option<RequestKey>,
}

/// What the gateway has in hand until the core lets it through.
enum Held {
    /// A whole answer.
    Whole(HeldReply),
    /// The beginning of a stream.
    Begun(AttemptId, Box<BegunStream>),
}

/// The attempt that is out.
type Out = Pin<Box<dyn Future<Output = Attempted> + Send>>;

impl RequestTask<'_> {
    async fn run(mut self) -> Reply {
        let mut out: Option<(AttemptId, Out)> = None;
        let mut held: Option<Held> = None;
        loop {
            let command = tokio::select! {
                // Orders first: a cancelled attempt must not be told of any more.
                biased;
                command = self.orders.recv() => command,
                result = finished(&mut out) => {
                    let (attempt, result) = result;
                    out = None;
                    let result = match result {
                        Attempted::Ended(result) => result,
                        Attempted::Begun(begun) => {
                            held = Some(Held::Begun(attempt, begun));
                            self.call.driver.input([Input::FirstContent { attempt }]);
                            continue;
                        }
                    };
                    held = result.reply.map(Held::Whole);
                    let answer = AnswerTraits {
                        usage: result.usage,
                        is_estimated: false,
                        drift: result.drift,
                    };
                    self.tell(attempt, result.outcome, result.retry_after, answer);
                    continue;
                }
            };
            match command {
                Some(Command::Send { attempt, version }) => {
                    held = None;
                    out = Some((attempt, self.attempt(attempt, version)));
                }
                Some(Command::Cancel(_)) => (out, held) = (None, None),
                Some(Command::Forward(served)) => return self.forward(held, served),
                Some(Command::Fail(failure)) => {
                    self.call.is_over = true;
                    return self.fail(held, &failure);
                }
                // The core always answers; without one there is nothing to wait for.
                None => return http::refuse(500, "internal_error", "the router gave no answer"),
            }
        }
    }

    fn attempt(&self, attempt: AttemptId, version: VersionId) -> Out {
        let config = &self.gateway.config;
        let model = &self.release.router.versions[version].model;
        let body = (config.forward)(&self.body, &self.head, model);
        let message = Message {
            body: Bytes::from(body),
            request_id: self.id.clone(),
            key: self.key,
            n: config.is_harness.then_some(attempt.n),
            is_stream: self.head.stream,
            wants_usage: self.head.usage,
        };
        let upstream = self.release.upstream.clone();
        Box::pin(upstream.attempt(version, message))
    }

    fn tell(
        &self,
        attempt: AttemptId,
        outcome: crate::protocol::outcome::Outcome,
        retry_after: Option<std::time::Duration>,
        answer: AnswerTraits,
    ) {
        let content = outcome
            .is_success()
            .then_some(Input::FirstContent { attempt });
        let end = Input::AttemptEnded {
            attempt,
            outcome,
            retry_after,
            answer,
        };
        let inputs = content.into_iter().chain([end]);
        self.call.driver.input(inputs);
    }

    fn forward(mut self, held: Option<Held>, served: Served) -> Reply {
        let signature = Signature {
            version: Some(served.version),
            fallback: served.fallback,
            attempts: served.attempts,
            choice: served.choice,
        };
        match held {
            Some(Held::Whole(held)) => {
                self.call.is_over = true;
                let mut reply = relay(held);
                self.sign(reply.headers_mut(), signature);
                reply
            }
            Some(Held::Begun(attempt, begun)) => self.stream(attempt, *begun, signature),
            None => {
                self.call.is_over = true;
                http::refuse(500, "internal_error", "the answer got lost")
            }
        }
    }

    fn stream(self, attempt: AttemptId, begun: BegunStream, signature: Signature) -> Reply {
        let BegunStream {
            mut head,
            reader,
            coming,
        } = begun;
        let first = std::mem::take(&mut head.body);
        let mut reply = relay(head);
        self.sign(reply.headers_mut(), signature);
        let begun = (reader, coming, first);
        let asked = (self.body.len(), self.head.usage);
        let body = StreamReply::new(self.call, self.orders, attempt, self.release, begun, asked);
        reply.map(|_| ReplyBody::stream(body))
    }

    fn fail(&self, held: Option<Held>, failure: &Failure) -> Reply {
        let mut reply = match held.filter(|_| failure.relay) {
            Some(Held::Whole(held)) => relay(held),
            Some(Held::Begun(..)) | None => self.compose(failure),
        };
        let signature = Signature {
            version: failure.version,
            fallback: failure.fallback,
            attempts: failure.attempts,
            choice: failure.choice,
        };
        self.sign(reply.headers_mut(), signature);
        reply
    }

    fn compose(&self, failure: &Failure) -> Reply {
        let router = &self.release.router;
        let causes: Vec<_> = failure
            .causes
            .iter()
            .map(|(version, outcome)| (router.name(*version), *outcome))
            .collect();
        let mut reply = http::error(&gateway::failure(failure.outcome, &causes));
        let wait = failure.retry_after;
        if let Some(wait) = wait.filter(|_| reply.status() == StatusCode::TOO_MANY_REQUESTS) {
            let seconds = wait.as_secs_f64().ceil().to_string();
            http::set(reply.headers_mut(), headers::RETRY_AFTER, &seconds);
        }
        reply
    }

    fn sign(&self, map: &mut HeaderMap, signature: Signature) {
        let version = signature.version.map(|v| &self.release.names[v]);
        if let Some(Some(name)) = version {
            map.insert(&VERSION, name.clone());
        }
        let fallback = if signature.fallback { "true" } else { "false" };
        map.insert(&FALLBACK, HeaderValue::from_static(fallback));
        map.insert(&ATTEMPTS, HeaderValue::from(signature.attempts));
        map.insert(&REQUEST_ID, self.id.clone());
        if let Some(choice) = signature.choice {
            map.insert(&OVERRIDE, HeaderValue::from_static(choice.name()));
        }
    }
}

/// What the ids of requests say of their process. A number alone comes again with the next process, and in every
/// instance. A run of the harness says the same every time.
fn id_mark(is_harness: bool) -> u64 {
    match is_harness {
        true => request_id::HARNESS,
        false => clock::process_mark(),
    }
}

/// The id of a request whose caller gave it none.
fn made_up_id(ids: &RequestIds, request: RequestId) -> HeaderValue {
    // Digits and dashes only.
    HeaderValue::from_bytes(&ids.id(request.0)).unwrap_or(HeaderValue::from_static("graygate"))
}

fn why_unread(unread: &body::Unread) -> Why {
    match unread {
        body::Unread::TooLarge(_) => Why::TooLarge,
        body::Unread::TooSlow => Why::TooSlow,
        body::Unread::Broken => Why::BrokenOff,
    }
}

/// What the headers of every answer say, of an error as well.
struct Signature {
    /// Who answered, or was tried last.
    version: Option<VersionId>,
    /// Did stable take over?
    fallback: bool,
    /// Attempts made.
    attempts: u32,
    /// What became of the caller's choice of a version.
    choice: Option<ChoiceNote>,
}

/// The end of the attempt that is out; never, when none is.
async fn finished(out: &mut Option<(AttemptId, Out)>) -> (AttemptId, Attempted) {
    match out {
        Some((attempt, future)) => {
            let result = future.await;
            (*attempt, result)
        }
        None => std::future::pending().await,
    }
}

/// An upstream's answer as it is, but for headers that belong to its connection, and those that are
/// the gateway's own to say.
fn relay(held: HeldReply) -> Reply {
    let mut response = Response::new(ReplyBody::from(held.body));
    *response.status_mut() = StatusCode::from_u16(held.status).unwrap_or(StatusCode::BAD_GATEWAY);
    let mut map = held.headers;
    for own in &NOT_RELAYED {
        map.remove(own);
    }
    *response.headers_mut() = map;
    response
}
