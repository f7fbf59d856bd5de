//! Attempts at the versions' upstreams: what is sent, and what an answer means.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::http::response::Parts;
use hyper::{Method, Request, Uri};

use crate::id::{PerVersion, RequestKey, VersionId};
use crate::live::gateway::connections::{Connections, Lost};
use crate::live::gateway::{Endpoint, GatewayConfig};
use crate::live::http;
use crate::protocol::openai::HttpAnswer;
use crate::protocol::outcome::Outcome;
use crate::protocol::{headers, openai, retry_after};

static VERSION: HeaderName = HeaderName::from_static(headers::VERSION);
static REQUEST_ID: HeaderName = HeaderName::from_static(headers::REQUEST_ID);

/// The client of all upstreams.
#[derive(Debug)]
pub struct UpstreamClient {
    client: http::Pool,
    targets: PerVersion<Target>,
}

#[derive(Clone, Debug)]
struct Target {
    name: Option<HeaderValue>,
    /// None when the configured address is no URL.
    uri: Option<Uri>,
    authorization: Option<HeaderValue>,
    /// None when it speaks more than plain HTTP.
    connections: Option<Connections>,
}

/// Is anybody there? Opens a connection to an endpoint and closes it again.
///
/// # Errors
/// When no connection can be had within five seconds.
pub async fn probe(endpoint: &Endpoint) -> io::Result<()> {
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidInput, what);
    let uri: Uri = endpoint.base.parse().map_err(|_| invalid("not a URL"))?;
    let host = uri.host().ok_or_else(|| invalid("no host in the URL"))?;
    // An IPv6 address stands in brackets in a URL.
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let address = (host, uri.port_u16().unwrap_or(80));
    let connect = tokio::net::TcpStream::connect(address);
    match tokio::time::timeout(PROBE_TIME, connect).await {
        Ok(connected) => connected.map(drop),
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// Largest answer of an upstream that is read: far more than any chat completion.
const MAX_ANSWER: usize = 64 << 20;
/// Time to find out whether an upstream is there.
const PROBE_TIME: Duration = Duration::from_secs(5);

/// How an attempt ended.
#[derive(Debug)]
pub struct AttemptResult {
    /// How.
    pub outcome: Outcome,
    /// The wait that the upstream asked for.
    pub retry_after: Option<Duration>,
    /// The whole answer, when there is one.
    pub reply: Option<HeldReply>,
}

/// An answer that is held until the core lets it through.
#[derive(Debug)]
pub struct HeldReply {
    /// HTTP status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// What is sent with an attempt.
#[derive(Clone, Debug)]
pub struct Message {
    /// The body, already for the version's model.
    pub body: Bytes,
    /// The caller's id of the request.
    pub request_id: HeaderValue,
    /// The traffic's key, in a run of the harness.
    pub key: Option<RequestKey>,
    /// Which attempt of the request it is, in a run of the harness.
    pub n: Option<u32>,
}

impl UpstreamClient {
    /// A client for the endpoints of a gateway.
    pub fn new(config: &GatewayConfig) -> Self {
        let targets = config
            .endpoints
            .iter()
            .map(|(version, endpoint)| Target::new(config.router.name(version), endpoint));
        Self {
            client: http::pool(http::POOL_IDLE),
            targets: targets.collect(),
        }
    }

    /// Sends one attempt and waits for its whole answer. Cancelled by dropping.
    pub async fn attempt(self: Arc<Self>, version: VersionId, message: Message) -> AttemptResult {
        let Some(request) = self.targets[version].request(message) else {
            return AttemptResult::without_reply(Outcome::Connect);
        };
        let (head, body) = match self.exchange(version, request).await {
            Ok(answer) => answer,
            Err(outcome) => return AttemptResult::without_reply(outcome),
        };
        let status = head.status.as_u16();
        let header = |name| http::header(&head.headers, name);
        AttemptResult {
            outcome: openai::read(HttpAnswer {
                status,
                content_type: header("content-type"),
                body: &body,
            })
            .outcome,
            retry_after: retry_after::parse(
                header(headers::RETRY_AFTER),
                header(headers::RETRY_AFTER_MS),
            ),
            reply: Some(HeldReply {
                status,
                headers: head.headers,
                body,
            }),
        }
    }
}

impl UpstreamClient {
    /// Sends a request and waits for the whole answer: over a connection of the version's own, or by
    /// the client that speaks everything else.
    async fn exchange(
        &self,
        version: VersionId,
        request: Request<Full<Bytes>>,
    ) -> Result<(Parts, Bytes), Outcome> {
        if let Some(connections) = &self.targets[version].connections {
            let answer = connections.exchange(request, MAX_ANSWER).await;
            return answer.map_err(|lost| lost_outcome(&lost));
        }
        let response = self.client.request(request).await;
        let (head, body) = response.map_err(|e| transport_outcome(&e))?.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await;
        let body = body.map_err(|e| body_outcome(e.as_ref()))?;
        Ok((head, body.to_bytes()))
    }
}

impl AttemptResult {
    fn without_reply(outcome: Outcome) -> Self {
        Self {
            outcome,
            retry_after: None,
            reply: None,
        }
    }
}

impl Target {
    fn new(name: &str, endpoint: &Endpoint) -> Self {
        let bearer = endpoint.api_key.as_ref().and_then(|key| {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", key.reveal())).ok()?;
            value.set_sensitive(true);
            Some(value)
        });
        let uri = format!("{}/chat/completions", endpoint.base).parse().ok();
        let plain = |uri| Connections::new(uri, http::POOL_IDLE);
        Self {
            name: HeaderValue::from_str(name).ok(),
            connections: uri.as_ref().and_then(plain),
            uri,
            authorization: bearer,
        }
    }

    fn request(&self, message: Message) -> Option<Request<Full<Bytes>>> {
        let mut request = Request::new(Full::new(message.body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone()?;
        let map = request.headers_mut();
        map.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(bearer) = &self.authorization {
            map.insert(AUTHORIZATION, bearer.clone());
        }
        if let Some(name) = &self.name {
            map.insert(&VERSION, name.clone());
        }
        map.insert(&REQUEST_ID, message.request_id);
        if let Some(key) = message.key {
            http::set(map, headers::REQUEST_KEY, &key.to_string());
        }
        if let Some(n) = message.n {
            http::set(map, headers::ATTEMPT, &n.to_string());
        }
        Some(request)
    }
}

fn lost_outcome(lost: &Lost) -> Outcome {
    match lost {
        Lost::Connect(_) => Outcome::Connect,
        Lost::Head(error) => head_outcome(Some(error)),
        Lost::Body(error) => body_outcome(error.as_ref()),
    }
}

fn transport_outcome(error: &hyper_util::client::legacy::Error) -> Outcome {
    if error.is_connect() {
        return Outcome::Connect;
    }
    let cause = error
        .source()
        .and_then(|e| e.downcast_ref::<hyper::Error>());
    head_outcome(cause)
}

fn head_outcome(cause: Option<&hyper::Error>) -> Outcome {
    match cause {
        // Bytes that are no HTTP.
        Some(error) if error.is_parse() => Outcome::Malformed,
        _ => Outcome::Reset,
    }
}

/// A body that does not end in reason, or ended too early. A reset counts as such wherever it happens.
fn body_outcome(error: &(dyn Error + 'static)) -> Outcome {
    if error.is::<LengthLimitError>() {
        return Outcome::Malformed;
    }
    let is_reset = |e: &std::io::Error| e.kind() == std::io::ErrorKind::ConnectionReset;
    let io = error
        .source()
        .and_then(|e| e.downcast_ref::<std::io::Error>());
    match io {
        Some(error) if is_reset(error) => Outcome::Reset,
        _ => Outcome::Truncated,
    }
}
