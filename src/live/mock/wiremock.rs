//! The same mock upstream behind the wiremock library: whole replies, errors and delays.
//!
//! [`FaultyChat`] is a [`wiremock::Respond`]: mount it in your own `cargo test` to get a chat
//! upstream that fails the way a scenario says. wiremock cannot reset a connection, and it does not
//! notice when the other side hangs up: its ledger lines tell what it was about to do.

use std::sync::Arc;
use std::time::Duration;

use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

use crate::fault::inject::Upstreams;
use crate::fault::kind::FaultKind;
use crate::fault::schedule::Fault;
use crate::id::{PerVersion, RequestKey, Seed, VersionId};
use crate::live::clock::{self, Clock};
use crate::live::mock::ledger::{Ledger, Underway};
use crate::live::mock::{MockUpstream, Seen, Taken};
use crate::live::outbox::outbox;
use crate::protocol::openai::model_list;
use crate::protocol::outcome::Outcome;
use crate::time::{Timestamp, seconds};
use crate::upstream::odd::{Odd, Script};
use crate::upstream::plan::Act;
use crate::upstream::profile::{Distribution, Profile, Timing};

/// Longer than anybody waits: how wiremock is silent.
const FOR_EVER: Duration = Duration::from_secs(86_400);

/// Starts a wiremock server on a listener, with nothing on it.
pub async fn open(listener: std::net::TcpListener) -> MockServer {
    MockServer::builder()
        .listener(listener)
        .disable_request_recording()
        .start()
        .await
}

/// Plays an upstream on a server.
pub async fn play(server: &MockServer, upstream: Arc<MockUpstream>) {
    let models = model_list([upstream.model.as_str()]);
    let models = ResponseTemplate::new(200).set_body_raw(models, "application/json");
    Mock::given(method("GET"))
        .and(path("/v1/models"))
        .respond_with(models)
        .mount(server)
        .await;
    Mock::given(method("POST"))
        .and(path("/v1/chat/completions"))
        .respond_with(FaultyChat { upstream })
        .mount(server)
        .await;
}

/// A chat upstream that fails on purpose, as a [`wiremock::Respond`].
///
/// ```
/// use std::time::Duration;
/// use graygate::fault::kind::FaultKind;
/// use graygate::live::mock::wiremock::FaultyChat;
/// use wiremock::{Mock, MockServer, matchers::method};
///
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// let server = MockServer::start().await;
/// let chat = FaultyChat::new("gpt-4.1")
///     .latency(Duration::from_millis(5))
///     .fault(FaultKind::RateLimited { retry_after: Some(Duration::from_secs(1).into()) }, 0.3);
/// Mock::given(method("POST")).respond_with(chat).mount(&server).await;
/// # });
/// ```
#[derive(Clone, Debug)]
pub struct FaultyChat {
    upstream: Arc<MockUpstream>,
}

impl FaultyChat {
    /// An upstream that serves `model` in 20 ms, without faults, with seed 1.
    pub fn new(model: &str) -> Self {
        let profile = Profile::of(Timing::Whole(Distribution::Constant(0.02)));
        let upstreams = Upstreams {
            seed: Seed(1),
            profiles: PerVersion::from_fn(1, |_| profile.clone()),
            faults: Vec::new(),
        };
        Self::of(model.to_owned(), upstreams)
    }

    fn of(model: String, upstreams: Upstreams) -> Self {
        let clock = Clock::starting_now();
        // Nobody reads this ledger; it only counts tries.
        let (outbox, _) = outbox();
        let ledger = Ledger::new(VersionId(0), clock, outbox, Underway::default());
        let upstream = MockUpstream::new(VersionId(0), model, Arc::new(upstreams), clock, ledger);
        Self {
            upstream: Arc::new(upstream),
        }
    }

    fn with(self, change: impl FnOnce(&mut Upstreams)) -> Self {
        let mut upstreams = self.upstream.switch.in_force().upstreams.clone();
        change(&mut upstreams);
        Self::of(self.upstream.model.clone(), upstreams)
    }

    /// Takes this long for every answer.
    pub fn latency(self, latency: Duration) -> Self {
        self.with(|upstreams| {
            let profile = &mut upstreams.profiles[VersionId(0)];
            profile.timing = Timing::Whole(Distribution::Constant(latency.as_secs_f64()));
        })
    }

    /// Takes a lognormally distributed time with this median and 99th percentile. The median must be
    /// above zero and the percentile no less; otherwise the latency is always the median.
    pub fn lognormal_latency(self, median: Duration, p99: Duration) -> Self {
        let is_valid = !median.is_zero() && p99 >= median;
        self.with(|upstreams| {
            let (median, p99) = (median.as_secs_f64(), p99.as_secs_f64());
            upstreams.profiles[VersionId(0)].timing = Timing::Whole(match is_valid {
                true => Distribution::lognormal(median, p99),
                false => Distribution::Constant(median),
            });
        })
    }

    /// Fails this share (0 to 1) of the requests in this way. What is more than
    /// a whole reply ([`FaultKind::is_whole_reply`]), a reset for one, wiremock cannot do: it is played
    /// as a 500.
    pub fn fault(self, kind: FaultKind, share: f64) -> Self {
        self.with(|upstreams| {
            upstreams.faults.push(Fault {
                share,
                ..Fault::always(kind, vec![VersionId(0)])
            });
        })
    }

    /// Draws with another seed. Requests are told apart by the header `x-graygate-key`; those without
    /// one are numbered as they come. A key that comes again is another try of its request, with draws
    /// of its own, as long as it is among the newest 100,000.
    pub fn seed(self, seed: u64) -> Self {
        self.with(|upstreams| upstreams.seed = Seed(seed))
    }
}

impl Respond for FaultyChat {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let header = |name: &str| request.headers.get(name)?.to_str().ok();
        let seen = Seen::new(header, &request.body);
        let taken = self.upstream.take(seen);
        template(&self.upstream, seen.key, taken)
    }
}

fn template(upstream: &MockUpstream, key: Option<RequestKey>, taken: Taken) -> ResponseTemplate {
    let Taken {
        at,
        response,
        row,
        states_usage: taken_usage,
        // Never: what has a capacity is not played by wiremock.
        turn: _,
    } = taken;
    let plan = response.plan;
    let (reply, after) = match &plan.act {
        Act::Complete(usage) => {
            let body = upstream.completion(key, *usage);
            let reply = ResponseTemplate::new(200).set_body_raw(body, "application/json");
            (reply, plan.after)
        }
        // All at once, when it is over: wiremock knows no streams.
        Act::Stream(stream) => match plan.length() {
            Some(length) => {
                let body = upstream.events(key, stream, taken_usage).concat(plan.after);
                let reply = ResponseTemplate::new(200).set_body_raw(body, "text/event-stream");
                (reply, length)
            }
            None => (ResponseTemplate::new(500), FOR_EVER),
        },
        Act::Refuse(refusal) => {
            let body = refusal.body();
            let mut reply =
                ResponseTemplate::new(refusal.status).set_body_raw(body, "application/json");
            if let Some((name, value)) = refusal
                .wish
                .and_then(|w| w.header(clock::unix_now() + plan.after))
            {
                reply = reply.insert_header(name, value);
            }
            (reply, plan.after)
        }
        Act::Odd(odd) if Odd::is_whole_reply(odd.form) => {
            let script = odd.script(&upstream.completion(key, odd.usage));
            (odd_reply(script), plan.after)
        }
        Act::Odd(_) | Act::Reset | Act::Close | Act::Unreachable => {
            (ResponseTemplate::new(500), plan.after)
        }
        Act::Silence => (ResponseTemplate::new(500), FOR_EVER),
    };
    match &plan.act {
        // Whoever asked will hang up; wiremock will not notice.
        Act::Silence => row.end_at(at, Outcome::ClientGone),
        Act::Stream(_) => match (plan.length(), plan.outcome()) {
            (Some(length), Some(outcome)) => row.end_at(at + length, outcome),
            _ => row.end_at(at, Outcome::ClientGone),
        },
        Act::Odd(odd) if Odd::is_whole_reply(odd.form) => {
            let outcome = plan.outcome().unwrap_or(Outcome::Malformed);
            row.end_at(at + plan.after, outcome);
        }
        // What is really sent instead of what wiremock cannot do.
        Act::Odd(_) | Act::Reset | Act::Close | Act::Unreachable => {
            row.end_at(at + plan.after, Outcome::ServerError);
        }
        Act::Complete(_) | Act::Refuse(_) => {
            let outcome = plan.outcome().unwrap_or(Outcome::Malformed);
            row.end_at(at + plan.after, outcome);
        }
    }
    reply.set_delay(remaining(upstream, at, after))
}

/// What is left of a delay that began at `at`.
fn remaining(upstream: &MockUpstream, at: Timestamp, delay: Duration) -> Duration {
    let spent = upstream.clock.now().since(at);
    delay.saturating_sub(spent).min(seconds(86_400.0))
}

fn odd_reply(script: Script) -> ResponseTemplate {
    let reply = ResponseTemplate::new(script.status);
    match script.location {
        Some(location) => reply.insert_header("location", location),
        None => reply,
    }
    .set_body_raw(script.body, script.content_type)
}
