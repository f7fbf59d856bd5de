//! Attempts at the versions' upstreams: what is sent, and what an answer means.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::http::response::Parts;
use hyper::{Method, Request, Uri};

use crate::id::{PerVersion, RequestKey, VersionId};
use crate::live::gateway::connections::{self, Connections, Lost, TooLarge};
use crate::live::gateway::{Endpoint, Secret};
use crate::live::http::body::MAX_ANSWER;
use crate::live::http::client::{POOL_IDLE, SecurePool, Trust, secure_pool};
use crate::live::{clock, http};
use crate::protocol::drift::Drift;
use crate::protocol::openai::Usage;
use crate::protocol::outcome::Outcome;
use crate::protocol::retry_after::Hints;
use crate::protocol::stream::{self, News, StreamReader};
use crate::protocol::{headers, normalize};
use crate::router::config::RouterConfig;

static VERSION: HeaderName = HeaderName::from_static(headers::VERSION);
static REQUEST_ID: HeaderName = HeaderName::from_static(headers::REQUEST_ID);

/// The client of all upstreams.
#[derive(Debug)]
pub struct UpstreamClient {
    client: SecurePool,
    targets: PerVersion<Target>,
}

#[derive(Clone, Debug)]
struct Target {
    name: Option<HeaderValue>,
    /// None when the configured address is no URL.
    uri: Option<Uri>,
    authorization: Option<HeaderValue>,
    api_key: Option<Secret>,
    /// None when it speaks more than plain HTTP.
    connections: Option<Connections>,
}

/// How an attempt ended.
#[derive(Debug)]
pub struct AttemptResult {
    /// How.
    pub outcome: Outcome,
    /// The wait that the upstream asked for.
    pub retry_after: Option<Duration>,
    /// How the answer differs from the OpenAI shape.
    pub drift: Drift,
    /// The tokens, when the answer states them.
    pub usage: Option<Usage>,
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
    /// Its body, in the OpenAI shape if it is a success.
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
    /// Does it ask for a stream?
    pub is_stream: bool,
    /// And for the tokens at its end?
    pub wants_usage: bool,
}

impl UpstreamClient {
    /// A client for the upstreams of a configuration.
    pub fn new(router: &RouterConfig, endpoints: &PerVersion<Endpoint>, trust: &Trust) -> Self {
        let connect = router.timeouts.connect;
        let targets = endpoints
            .iter()
            .map(|(version, endpoint)| Target::new(router.name(version), endpoint, connect));
        Self {
            client: secure_pool(POOL_IDLE, connect, trust),
            targets: targets.collect(),
        }
    }

    /// Sends one attempt and waits for its whole answer, or for the first token where a stream was asked
    /// for. Cancelled by dropping.
    pub async fn attempt(self: Arc<Self>, version: VersionId, message: Message) -> Attempted {
        let (is_stream, wants_usage) = (message.is_stream, message.wants_usage);
        let (head, body) = match self.send(version, message).await {
            Ok(answer) => answer,
            Err(outcome) => return Attempted::lost(outcome),
        };
        let is_events = stream::is_event_stream(http::header(&head.headers, "content-type"));
        if is_stream && is_events && head.status.is_success() {
            return self.targets[version].begin(head, body, wants_usage).await;
        }
        match self.collect(version, head, body).await {
            Ok(result) => match result.outcome.of_whole_answer(is_stream) {
                outcome if outcome == result.outcome => Attempted::Ended(result),
                outcome => Attempted::lost(outcome),
            },
            Err(outcome) => Attempted::lost(outcome),
        }
    }

    /// Sends a request and waits for the head of the answer: over a connection of the version's own, or
    /// by the client that speaks everything else.
    ///
    /// # Errors
    /// How the attempt ended, when no head came.
    pub async fn send(
        &self,
        version: VersionId,
        message: Message,
    ) -> Result<(Parts, Coming), Outcome> {
        let request = self.targets[version].request(message);
        let request = request.ok_or(Outcome::Connect)?;
        if let Some(connections) = &self.targets[version].connections {
            let answer = connections.begin(request).await;
            let (head, coming) = answer.map_err(|lost| lost_outcome(&lost))?;
            return Ok((head, Coming::Own(coming)));
        }
        let response = self.client.request(request).await;
        let (head, body) = response.map_err(|e| transport_outcome(&e))?.into_parts();
        Ok((head, Coming::Pooled(body)))
    }

    /// An answer as others may see it: without the version's key.
    pub fn held(&self, version: VersionId, reply: HeldReply) -> HeldReply {
        self.targets[version].held(reply)
    }

    async fn collect(
        &self,
        version: VersionId,
        head: Parts,
        body: Coming,
    ) -> Result<AttemptResult, Outcome> {
        let body = read_whole(body).await?;
        let status = head.status.as_u16();
        let received =
            normalize::receive(status, http::header(&head.headers, "content-type"), body);
        // A body that is an answer is not read once more for a wish that no answer has.
        let retry_after = match received.outcome.is_success() {
            true => None,
            false => wait_asked_for(&head.headers, &received.body),
        };
        Ok(AttemptResult {
            outcome: received.outcome,
            retry_after,
            drift: received.drift,
            usage: received.usage,
            reply: Some(self.targets[version].held(HeldReply {
                status,
                headers: head.headers,
                body: received.body,
            })),
        })
    }
}

/// Reads the whole body of an answer.
///
/// # Errors
/// How the attempt ended, when it does not come whole, or is larger than any answer.
pub async fn read_whole(body: Coming) -> Result<Bytes, Outcome> {
    // What is announced as too large is not read first.
    if body.size_hint().lower() > MAX_ANSWER as u64 {
        return Err(Outcome::Malformed);
    }
    let body = Limited::new(body, MAX_ANSWER).collect().await;
    Ok(body.map_err(|e| body_outcome(e.as_ref()))?.to_bytes())
}

/// What came of an attempt.
#[derive(Debug)]
pub enum Attempted {
    /// It is over.
    Ended(AttemptResult),
    /// The first token of its stream is there.
    Begun(Box<BegunStream>),
}

impl Attempted {
    fn lost(outcome: Outcome) -> Self {
        Self::Ended(AttemptResult::without_reply(outcome))
    }
}

/// A stream of which nothing has been given to the caller yet.
#[derive(Debug)]
pub struct BegunStream {
    /// Its head.
    pub head: HeldReply,
    /// What reads it.
    pub reader: StreamReader,
    /// What is still to come.
    pub coming: Coming,
}

/// The body of an answer on its way.
#[derive(Debug)]
pub enum Coming {
    /// Over a connection of the version's own.
    Own(connections::Coming),
    /// From the client that speaks everything else.
    Pooled(Incoming),
}

impl Body for Coming {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Own(body) => Pin::new(body).poll_frame(context),
            Self::Pooled(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(body) => body.size_hint(),
            Self::Pooled(body) => body.size_hint(),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(body) => body.is_end_stream(),
            Self::Pooled(body) => body.is_end_stream(),
        }
    }
}

impl AttemptResult {
    fn without_reply(outcome: Outcome) -> Self {
        Self {
            outcome,
            retry_after: None,
            drift: Drift::NONE,
            usage: None,
            reply: None,
        }
    }
}

impl Target {
    fn new(name: &str, endpoint: &Endpoint, connect: Duration) -> Self {
        let bearer = endpoint.api_key.as_ref().and_then(|key| {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", key.reveal())).ok()?;
            value.set_sensitive(true);
            Some(value)
        });
        let uri = format!("{}/chat/completions", endpoint.base).parse().ok();
        let plain = |uri| Connections::new(uri, POOL_IDLE, connect);
        Self {
            name: HeaderValue::from_str(name).ok(),
            connections: uri.as_ref().and_then(plain),
            uri,
            authorization: bearer,
            api_key: endpoint.api_key.clone(),
        }
    }

    /// An answer as callers may see it. The words of a completion are nobody's to change.
    fn held(&self, mut reply: HeldReply) -> HeldReply {
        let Some(key) = &self.api_key else {
            return reply;
        };
        cut_headers(&mut reply.headers, key);
        let is_error = reply.status >= 400;
        if let Some(safe) = is_error.then(|| key.cut_from(&reply.body)).flatten() {
            reply.body = Bytes::from(safe);
        }
        reply
    }

    /// Reads a stream up to its first token. Until then nothing is passed on, so that a failure can be
    /// made good by another attempt.
    async fn begin(&self, head: Parts, mut coming: Coming, wants_usage: bool) -> Attempted {
        let mut reader = StreamReader::default();
        let mut held = BytesMut::new();
        let is_begun = loop {
            match reader.take() {
                Some((raw, news)) => {
                    held.extend_from_slice(&reader.shaped().unwrap_or(raw));
                    if let News::Content(_) = news {
                        break true;
                    }
                }
                None if reader.is_over() => break false,
                None => match coming.frame().await {
                    Some(Ok(frame)) => reader.push(frame.data_ref().map_or(&[][..], |data| data)),
                    Some(Err(error)) => {
                        return Attempted::lost(stream_outcome(&reader, Some(&error)));
                    }
                    None => return Attempted::lost(stream_outcome(&reader, None)),
                },
            }
        };
        let head = self.held(HeldReply {
            status: head.status.as_u16(),
            headers: head.headers,
            body: held.freeze(),
        });
        if is_begun {
            return Attempted::Begun(Box::new(BegunStream {
                head,
                reader,
                coming,
            }));
        }
        // It ended without a token, in good order or not.
        let outcome = reader.outcome(None);
        Attempted::Ended(AttemptResult {
            outcome,
            retry_after: None,
            drift: reader.drift(wants_usage),
            usage: reader.usage(),
            reply: outcome.is_success().then_some(head),
        })
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

/// How long the upstream of a failed attempt asks to wait.
fn wait_asked_for(map: &HeaderMap, body: &[u8]) -> Option<Duration> {
    let hints = Hints {
        retry_after_ms: http::header(map, headers::RETRY_AFTER_MS),
        retry_after: http::header(map, headers::RETRY_AFTER),
        body,
    };
    hints.wait(Some(clock::unix_now()))
}

/// The same headers, where a value without the key takes the place of one with it.
fn cut_headers(headers: &mut HeaderMap, key: &Secret) {
    for value in headers.values_mut() {
        let cut = key.cut_from(value.as_bytes());
        if let Some(safe) = cut.and_then(|cut| HeaderValue::from_bytes(&cut).ok()) {
            *value = safe;
        }
    }
}

/// How a stream ended whose connection did.
pub fn stream_outcome(reader: &StreamReader, error: Option<&hyper::Error>) -> Outcome {
    reader.outcome(error.map(|error| body_outcome(error)))
}

fn lost_outcome(lost: &Lost) -> Outcome {
    match lost {
        Lost::Connect(error) => connect_outcome(error.as_ref()),
        Lost::Head(error) => head_outcome(Some(error)),
        Lost::Body(error) => body_outcome(error.as_ref()),
    }
}

fn transport_outcome(error: &hyper_util::client::legacy::Error) -> Outcome {
    if error.is_connect() {
        return connect_outcome(error);
    }
    let cause = error
        .source()
        .and_then(|e| e.downcast_ref::<hyper::Error>());
    head_outcome(cause)
}

fn connect_outcome(error: &(dyn Error + 'static)) -> Outcome {
    match root_io(error) {
        Some(io::ErrorKind::TimedOut) => Outcome::Timeout,
        _ => Outcome::Connect,
    }
}

fn head_outcome(cause: Option<&hyper::Error>) -> Outcome {
    match cause {
        // Bytes that are no HTTP.
        Some(error) if error.is_parse() => Outcome::Malformed,
        _ => Outcome::Reset,
    }
}

/// A body that does not end in reason, or ended too early. A reset counts as such wherever it happens,
/// and whether it is one of the connection or of a stream of HTTP/2.
fn body_outcome(error: &(dyn Error + 'static)) -> Outcome {
    if error.is::<LengthLimitError>() || error.is::<TooLarge>() {
        return Outcome::Malformed;
    }
    let is_http1 = error.source().is_none_or(|e| e.is::<io::Error>());
    match root_io(error) {
        Some(io::ErrorKind::ConnectionReset) => Outcome::Reset,
        _ if is_http1 => Outcome::Truncated,
        _ => Outcome::Reset,
    }
}

/// What the system said, when an error goes back to that.
fn root_io(error: &(dyn Error + 'static)) -> Option<io::ErrorKind> {
    let mut found = None;
    let mut cause = Some(error);
    while let Some(error) = cause {
        found = error.downcast_ref().map(io::Error::kind).or(found);
        cause = error.source();
    }
    found
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::live::http::client::Trust;

    /// How a request ends for which no connection can be had.
    async fn outcome(uri: String, limit: Duration) -> Outcome {
        let pool = secure_pool(POOL_IDLE, limit, &Trust::nobody());
        let error = pool.get(uri.parse().unwrap()).await.unwrap_err();
        transport_outcome(&error)
    }

    #[tokio::test]
    async fn a_connection_that_takes_too_long_is_a_timeout_and_none_at_all_is_not() {
        // It listens, and never speaks TLS.
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = silent.local_addr().unwrap();
        let limit = Duration::from_millis(20);
        let late = outcome(format!("https://{address}/"), limit).await;
        assert_eq!(late, Outcome::Timeout);
        drop(silent);
        let limit = Duration::from_secs(30);
        let refused = outcome(format!("http://{address}/"), limit).await;
        assert_eq!(refused, Outcome::Connect);
    }
}
