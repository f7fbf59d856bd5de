//! Rollbacks of other gateways, by themselves and by order: gateways of this test's own that keep to them, or do not, and what
//! the upstreams' ledgers show of each.

use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::post;
use serde_json::Value;

use crate::external::{Case, said};
use crate::support::alone;

/// What a gateway of this test does with its canary.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Manner {
    /// It closes the canary after so many failures of it, for good.
    ClosesAfter(u64),
    /// It does so, and opens it again after so many requests.
    ReopensAfter(u64, u64),
    /// It closes the canary after so many requests, whatever came of them.
    ClosesForNothing(u64),
    /// It does what it is told.
    Obeys,
    /// It does not, and says why.
    Refuses,
    /// It says that it does, and does not.
    Pretends,
    /// It says that it does, and does so after so many more requests.
    ObeysLate(u64),
    /// It gives every caller the answer of the one before.
    Swaps,
    /// It closes the canary as it should, and sends it once more, much later, what an earlier caller had asked.
    RepeatsAfter(u64),
    /// The same with a question of its own.
    AsksAfter(u64),
    /// It passes on of every tenth answer only what comes before the last word of it.
    Shortens,
    /// It says something else in every tenth answer.
    Rewords,
    /// It takes all the words out of every tenth answer.
    Blanks,
    /// It adds a second choice to every tenth answer.
    Doubles,
    /// It asks the canary, and gives every caller what stable says.
    Dark,
    /// It loses a chunk of every tenth stream, and ends it as if nothing were missing.
    LosesChunks,
    /// It asks the canary for stable's model.
    OtherModel,
    /// It ends every stream that its upstream broke off with `[DONE]`.
    EndsWhatIsCut,
    /// It asks stable where the canary's answer has none of its parts at their places.
    Mends,
    /// It asks for whole answers, and makes streams of them.
    MakesStreams,
    /// It sends more than anybody reads before its first answer.
    Floods,
}

/// A gateway that gives every second request to an open canary.
struct Fake {
    manner: Manner,
    upstreams: [u16; 2],
    client: reqwest::Client,
    is_closed: AtomicBool,
    requests: AtomicU64,
    failures: AtomicU64,
    /// Requests when the canary was closed.
    closed_at: AtomicU64,
    /// Requests when it was told to close it.
    told_at: AtomicU64,
    /// The answer before this one.
    answer_before: Mutex<Option<Bytes>>,
    /// What the first caller asked.
    first: OnceLock<Bytes>,
}

/// How long after its closing a canary is asked again, in requests.
const MUCH_LATER: u64 = 250;
/// A question that nobody of the run asked.
const OWN: &str = r#"{"model": "a", "messages": [{"role": "user", "content": "Are you there?"}]}"#;
/// A secret that the gateway says again.
const TOKEN: &str = "open-sesame-please";

impl Fake {
    /// Serves until the test's process is gone; returns its port.
    fn serve(manner: Manner, upstreams: [u16; 2]) -> u16 {
        // Another one that is installed is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let fake = Arc::new(Self {
            manner,
            upstreams,
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
            is_closed: AtomicBool::new(false),
            requests: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            closed_at: AtomicU64::new(0),
            told_at: AtomicU64::new(u64::MAX),
            answer_before: Mutex::new(None),
            first: OnceLock::new(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(async move {
                let routes = Router::new()
                    .route("/v1/chat/completions", post(chat))
                    .route("/admin/close", post(close))
                    .route("/admin/open", post(open))
                    .with_state(fake);
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                axum::serve(listener, routes).await.unwrap();
            });
        });
        port
    }

    fn close(&self, now: u64) {
        if !self.is_closed.swap(true, Ordering::SeqCst) {
            self.closed_at.store(now, Ordering::SeqCst);
        }
    }

    /// Does this request go to the canary?
    fn goes_to_canary(&self, now: u64) -> bool {
        let closed_for = now.saturating_sub(self.closed_at.load(Ordering::SeqCst));
        let is_open = match (self.manner, self.is_closed.load(Ordering::SeqCst)) {
            (Manner::ReopensAfter(_, length), true) => closed_for > length,
            (_, is_closed) => !is_closed,
        };
        is_open && now.is_multiple_of(2)
    }

    fn saw(&self, now: u64, is_failure: bool) {
        let failures = self
            .failures
            .fetch_add(u64::from(is_failure), Ordering::SeqCst);
        match self.manner {
            Manner::ClosesAfter(n)
            | Manner::ReopensAfter(n, _)
            | Manner::RepeatsAfter(n)
            | Manner::AsksAfter(n)
                if failures >= n =>
            {
                self.close(now);
            }
            Manner::ClosesForNothing(n) if now >= n => self.close(now),
            Manner::ObeysLate(n)
                if now >= n.saturating_add(self.told_at.load(Ordering::SeqCst)) =>
            {
                self.close(now);
            }
            _ => {}
        }
    }
}

impl Fake {
    async fn ask(&self, is_canary: bool, body: Bytes) -> (StatusCode, Bytes) {
        let port = self.upstreams[usize::from(is_canary)];
        let url = format!("http://127.0.0.1:{port}/v1/chat/completions");
        let request = self.client.post(url);
        let request = request.header("content-type", "application/json");
        let mut answer = request.body(body).send().await.expect("an answer");
        let mut whole = Vec::new();
        let end = loop {
            match answer.chunk().await {
                Ok(Some(chunk)) => whole.extend(chunk),
                end => break end,
            }
        };
        if end.is_err() {
            assert!(self.manner == Manner::EndsWhatIsCut, "a body");
            whole.extend(b"data: [DONE]\n\n");
        }
        (answer.status(), whole.into())
    }

    /// What becomes of an answer on its way through a gateway that does not leave it alone.
    fn alters(&self, answer: Bytes) -> Bytes {
        let text = String::from_utf8(answer.to_vec()).unwrap();
        let altered = match self.manner {
            Manner::Shortens => text.replacen(" tok\"", "\"", 1),
            Manner::Rewords => text.replacen("tok tok", "bla bla", 1),
            Manner::LosesChunks => {
                let mut chunks: Vec<&str> = text.split_inclusive("\n\n").collect();
                let with_words = |chunk: &&str| chunk.contains("tok ");
                let lost = chunks.iter().rposition(with_words);
                lost.map(|lost| chunks.remove(lost));
                chunks.concat()
            }
            Manner::Blanks | Manner::Doubles => {
                let mut whole: Value = serde_json::from_str(&text).unwrap();
                let choices = whole["choices"].as_array_mut().unwrap();
                match self.manner {
                    Manner::Blanks => choices[0]["message"]["content"] = Value::Null,
                    _ => choices.push(choices[0].clone()),
                }
                whole.to_string()
            }
            _ => text,
        };
        altered.into()
    }

    /// What it asks a canary that is closed.
    fn haunts(&self, now: u64) -> Option<Bytes> {
        let is_closed = self.is_closed.load(Ordering::SeqCst);
        let is_time = now == self.closed_at.load(Ordering::SeqCst) + MUCH_LATER;
        match self.manner {
            Manner::RepeatsAfter(_) if is_closed && is_time => self.first.get().cloned(),
            Manner::AsksAfter(_) if is_closed && is_time => {
                Some(Bytes::from_static(OWN.as_bytes()))
            }
            _ => None,
        }
    }
}

/// The same question, to be answered at once.
fn as_whole(body: &Bytes) -> Bytes {
    let mut question: Value = serde_json::from_slice(body).unwrap();
    question["stream"] = false.into();
    question.as_object_mut().unwrap().remove("stream_options");
    question.to_string().into()
}

/// The same answer, as a stream.
fn as_stream(answer: &Bytes) -> Bytes {
    let whole: Value = serde_json::from_slice(answer).unwrap();
    let chunk = |choices: Value, usage: &Value| {
        let (id, model) = (&whole["id"], &whole["model"]);
        let chunk = serde_json::json!({"id": id, "object": "chat.completion.chunk", "created": 1,
            "model": model, "choices": choices, "usage": usage});
        format!("data: {chunk}\n\n")
    };
    let text = &whole["choices"][0]["message"]["content"];
    let delta =
        serde_json::json!([{"index": 0, "delta": {"content": text}, "finish_reason": null}]);
    let last = serde_json::json!([{"index": 0, "delta": {}, "finish_reason": "stop"}]);
    let chunks = [
        chunk(delta, &Value::Null),
        chunk(last, &Value::Null),
        chunk(serde_json::json!([]), &whole["usage"]),
    ];
    (chunks.concat() + "data: [DONE]\n\n").into()
}

fn is_whole(answer: &Bytes) -> bool {
    let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
    answer["choices"][0]["message"]["content"].is_string()
}

async fn chat(State(fake): State<Arc<Fake>>, body: Bytes) -> impl IntoResponse {
    let now = fake.requests.fetch_add(1, Ordering::SeqCst);
    fake.first.get_or_init(|| body.clone());
    if let Some(question) = fake.haunts(now) {
        fake.ask(true, question).await;
    }
    let to_canary = fake.goes_to_canary(now);
    let body = match fake.manner {
        Manner::MakesStreams => as_whole(&body),
        _ => body,
    };
    let (status, mut answer) = fake.ask(to_canary, body.clone()).await;
    let is_refused = match fake.manner {
        Manner::Dark => to_canary,
        Manner::Mends => to_canary && !is_whole(&answer),
        _ => false,
    };
    if is_refused {
        (_, answer) = fake.ask(false, body).await;
    }
    if to_canary {
        fake.saw(now, !status.is_success());
    }
    if fake.manner == Manner::Swaps {
        let before = fake.answer_before.lock().unwrap().replace(answer.clone());
        answer = before.unwrap_or(answer);
    }
    if now.is_multiple_of(10) {
        answer = fake.alters(answer);
    }
    if fake.manner == Manner::MakesStreams {
        answer = as_stream(&answer);
    }
    if fake.manner == Manner::Floods && now == 0 {
        // JSON all the same.
        answer = [vec![b' '; 64 << 20].as_slice(), &answer].concat().into();
    }
    let form = match fake.manner {
        Manner::EndsWhatIsCut | Manner::LosesChunks | Manner::MakesStreams => "text/event-stream",
        _ => "application/json",
    };
    (status, [("content-type", form)], answer)
}

async fn close(State(fake): State<Arc<Fake>>, headers: HeaderMap) -> (StatusCode, String) {
    let now = fake.requests.load(Ordering::SeqCst);
    fake.told_at.store(now, Ordering::SeqCst);
    if fake.manner == Manner::Obeys {
        fake.close(now);
    }
    let shown = headers["authorization"].to_str().unwrap().to_owned();
    match fake.manner {
        Manner::Refuses => (StatusCode::FORBIDDEN, format!("not with {shown}")),
        _ => (StatusCode::OK, String::new()),
    }
}

async fn open(State(fake): State<Arc<Fake>>) {
    fake.is_closed.store(false, Ordering::SeqCst);
}

/// Two ports that nobody has.
fn ports() -> [u16; 2] {
    let held = [0, 1].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    held.map(|listener| listener.local_addr().unwrap().port())
}

/// A run of 500 requests in 2.5 s before such a gateway.
fn case(manner: Manner, rest: &str) -> Case {
    let upstreams = ports();
    let port = Fake::serve(manner, upstreams);
    let [v1, v2] = upstreams;
    let model = match manner {
        Manner::OtherModel => "b",
        _ => "a",
    };
    let stream = match manner {
        Manner::EndsWhatIsCut | Manner::LosesChunks | Manner::MakesStreams => "100%",
        _ => "0%",
    };
    let can = match manner {
        Manner::Obeys | Manner::Refuses | Manner::Pretends | Manner::ObeysLate(_) => format!(
            "admin: {{url: \"http://127.0.0.1:{port}\", headers: {{authorization: \"Bearer {TOKEN}\"}}, \
             rollback: {{path: /admin/close}}, set_weights: {{path: /admin/open}}}}"
        ),
        _ => "rolls_back: true".to_owned(),
    };
    Case::of(&format!(
        "name: outside
engine: live
router:
  external:
    url: \"http://127.0.0.1:{port}/v1\"
    {can}
    versions:
      v1: {{role: stable, model: a, weight: 50, port: {v1}}}
      v2: {{role: canary, model: {model}, weight: 50, port: {v2}}}
upstreams: {{v1: {{mock: {{latency: {{constant: 5ms}}}}}}, v2: {{mock: {{like: v1}}}}}}
traffic: {{synthetic: {{arrivals: {{constant: 200/s}}, requests: 500, stream: {stream}}}}}
{rest}
  # No gate here judges how long an answer takes: a busy machine may send late.
  - generator: {{dispatch_delay_p99: \"<= 250ms\", rate_error: \"<= 10%\"}}
"
    ))
}

pub(crate) const BROKEN: &str = "faults: [{on: v2, at: 500ms, kind: server_error}]
expect:
  - rollback: {within: 1s}
  - after_rollback";
const ORDERED: &str = "orders: [{at: 1s, rollback: true}]
expect:
  - rollback: {within: 1s}
  - after_rollback";

pub(crate) fn gate<'s>(summary: &'s Value, name: &str) -> &'s Value {
    let gates = summary["gates"].as_array().unwrap();
    gates.iter().find(|g| g["name"] == name).expect("the gate")
}

/// Runs it; the run, its exit code, and the states of these gates. A run that the machine disturbed is repeated with another
/// gateway, since this one knows what it has seen.
pub(crate) fn judged(
    manner: Manner,
    rest: &str,
    gates: &[&str],
) -> (Case, Option<i32>, Vec<String>) {
    let _alone = alone();
    let mut runs = (0..5).map(|_| {
        let case = case(manner, rest);
        let output = case.run_once();
        (case, output)
    });
    let valid = runs.find(|(_, output)| output.status.code() != Some(4));
    let (case, output) = valid.expect("the machine is overloaded");
    let summary = case.summary();
    let status = |name: &&str| gate(&summary, name)["status"].as_str().unwrap().to_owned();
    let states = gates.iter().map(status).collect();
    println!("{}", said(&output));
    (case, output.status.code(), states)
}

#[test]
fn a_gateway_that_closes_its_canary_passes() {
    let (case, code, states) = judged(
        Manner::ClosesAfter(20),
        BROKEN,
        &["rollback", "after_rollback"],
    );
    assert_eq!(
        (code, states),
        (Some(0), vec!["pass".into(), "pass".into()])
    );
    let summary = case.summary();
    let record = &summary["rollbacks"][0];
    assert_eq!(record["cause"], "closed_in_ledger");
    assert_eq!(record["reason"], Value::Null);
    let checks = gate(&summary, "rollback")["checks"].as_array().unwrap();
    assert!(
        !checks
            .iter()
            .any(|c| c["condition"] == "its record fits the run")
    );
    let events = case.found("events.jsonl");
    assert!(events.contains("\"event\":\"rolled_back\""), "{events}");
    let report = case.found("report.md");
    assert!(
        report.contains("because its upstream got nothing more"),
        "{report}"
    );
}

#[test]
fn a_gateway_that_never_closes_it_fails() {
    let (case, code, states) = judged(
        Manner::ClosesAfter(u64::MAX),
        BROKEN,
        &["rollback", "after_rollback"],
    );
    assert_eq!(code, Some(1));
    assert_eq!(states, ["fail", "inconclusive"]);
    assert_eq!(case.summary()["rollbacks"], Value::Array(Vec::new()));
}

#[test]
fn a_canary_that_comes_back_is_no_rollback() {
    let (_, code, states) = judged(
        Manner::ReopensAfter(20, 160),
        BROKEN,
        &["rollback", "after_rollback"],
    );
    assert_eq!(code, Some(1));
    assert_eq!(states, ["pass", "fail"]);
}

#[test]
fn a_healthy_canary_must_stay_open() {
    let healthy = "expect:\n  - no_rollback\n  - requests: {success: \"100%\"}";
    let (_, code, states) = judged(Manner::ClosesAfter(u64::MAX), healthy, &["no_rollback"]);
    assert_eq!((code, states), (Some(0), vec!["pass".to_owned()]));
    let (_, code, states) = judged(Manner::ClosesForNothing(200), healthy, &["no_rollback"]);
    assert_eq!((code, states), (Some(1), vec!["fail".to_owned()]));
}

#[test]
fn a_gateway_that_obeys_passes_and_its_orders_are_told() {
    let (case, code, states) = judged(
        Manner::Obeys,
        ORDERED,
        &["rollback", "after_rollback", "orders"],
    );
    assert_eq!(code, Some(0));
    assert_eq!(states, ["pass", "pass", "pass"]);
    let events = case.found("events.jsonl");
    let lines = events
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    let lines: Vec<Value> = lines.collect();
    let find = |name: &str| {
        lines
            .iter()
            .find(|l| l["event"] == name)
            .expect("the event")
    };
    let at = find("ordered")["at_s"].as_f64().unwrap();
    assert!((1.0..2.0).contains(&at), "{at}");
    let end = find("order_ended");
    assert_eq!(
        (&end["status"], &end["kind"]),
        (&200.into(), &"rollback".into())
    );
    assert!(end["took_s"].as_f64().unwrap() >= 0.0);
    assert!(case.found("report.md").contains("| 1 | "), "its table");
}

#[test]
fn a_gateway_that_refuses_an_order_fails_and_its_answer_bears_no_key() {
    let (case, code, states) = judged(Manner::Refuses, ORDERED, &["rollback", "orders"]);
    assert_eq!(code, Some(1));
    assert_eq!(states, ["fail", "fail"]);
    let summary = case.summary();
    let seen = gate(&summary, "orders")["checks"][0]["seen"]
        .as_str()
        .unwrap();
    assert!(seen.starts_with("403 after"), "{seen}");
    assert!(seen.ends_with(": not with Bearer ***"), "{seen}");
    for file in ["summary.json", "events.jsonl", "report.md", "junit.xml"] {
        assert!(!case.found(file).contains(TOKEN), "{file}");
    }
}

#[test]
fn a_gateway_that_only_says_that_it_obeys_is_found_out() {
    let (_, code, states) = judged(Manner::Pretends, ORDERED, &["rollback", "orders"]);
    assert_eq!(code, Some(1));
    assert_eq!(states, ["fail", "pass"]);
}

#[test]
fn an_order_that_comes_too_late_is_not_given() {
    let (_, code, states) = judged(
        Manner::Obeys,
        "orders: [{at: 60s, rollback: true}]\nexpect:\n  - no_rollback",
        &["no_rollback", "orders"],
    );
    assert_eq!(code, Some(3));
    assert_eq!(states, ["pass", "inconclusive"]);
}
