//! Two hundred callers at once, and upstreams that take twenty a second.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "how long real callers wait is what is measured"
)]

use std::path::Path;
use std::time::Instant;

use serde_json::Value;

use crate::process::{KEYS, Server, client, wait_for};
use crate::support::alone;

const CALLERS: usize = 200;
const LIMIT: usize = 20;

/// What a caller got, and when.
struct Got {
    status: u16,
    /// The gateway's own number of the request: the order in which they came.
    number: u64,
    version: Option<String>,
    retry_after: Option<String>,
    code: Value,
    at: Instant,
}

fn mock(model: &str, ledger: &Path) -> Server {
    let ledger = ledger.display().to_string();
    let profile = "latency: 5ms, output_tokens: 3";
    let args = [
        "mock",
        "--model",
        model,
        "--profile",
        profile,
        "--ledger",
        &ledger,
    ];
    Server::start(&args, &[])
}

/// The guard is wide: other tests' processes may hold an attempt up on its way.
fn router(folder: &Path, mocks: &[Server; 2]) -> String {
    let path = folder.join("router.yaml");
    let limit = "rate_limit: {requests: 20, window: 1s, max_wait: 3s, guard: 250ms}";
    let [stable, canary] = mocks.each_ref().map(|mock| &mock.base);
    let text = format!(
        "versions:
  v1: {{role: stable, model: gpt-4.1, endpoint: \"{stable}\", api_key_env: STABLE_API_KEY, {limit}}}
  v2: {{role: canary, model: gpt-4.1-new, endpoint: \"{canary}\", api_key_env: CANARY_API_KEY, {limit}}}
split: {{weights: {{v1: 50, v2: 50}}}}
judge: off
"
    );
    std::fs::write(&path, text).expect("a router file");
    path.display().to_string()
}

async fn ask(client: reqwest::Client, url: String) -> Got {
    let request = client.post(url).body(r#"{"model": "gpt-4.1"}"#);
    let response = request.send().await.expect("an answer");
    let header = |name: &str| {
        let value = response.headers().get(name)?;
        Some(value.to_str().expect("text").to_owned())
    };
    let id = header("x-request-id").expect("an id");
    let number = id.rsplit_once('-').map(|(_, n)| u64::from_str_radix(n, 16));
    let number = number.and_then(Result::ok);
    let (version, retry_after) = (header("x-version"), header("retry-after"));
    let status = response.status().as_u16();
    let body: Value = response.json().await.expect("JSON");
    Got {
        status,
        number: number.expect("the gateway's own id"),
        version,
        retry_after,
        code: body["error"]["code"].clone(),
        at: Instant::now(),
    }
}

fn everybody(base: &str) -> Vec<Got> {
    let (client, url) = (client(), format!("{base}/chat/completions"));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let asking = (0..CALLERS).map(|_| tokio::spawn(ask(client.clone(), url.clone())));
        let asking: Vec<_> = asking.collect();
        let mut got = Vec::new();
        for one in asking {
            got.push(one.await.expect("a caller"));
        }
        got
    })
}

/// When an upstream took its requests, in seconds.
fn taken(ledger: &Path) -> Vec<f64> {
    let text = std::fs::read_to_string(ledger).expect("a ledger");
    let rows = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("a row"));
    let accepted = rows.filter(|row| row["event"] == "accepted");
    accepted
        .map(|row| row["at_s"].as_f64().expect("a time"))
        .collect()
}

/// Those who were served by a version.
fn of<'g>(got: &'g [Got], version: &str) -> impl Iterator<Item = &'g Got> {
    got.iter()
        .filter(move |g| g.status == 200 && g.version.as_deref() == Some(version))
}

/// First in, first out: of one version's answers, each twenty came before the next twenty.
fn assert_in_order(got: &[Got], version: &str) {
    let mut served: Vec<_> = of(got, version).collect();
    served.sort_by_key(|g| g.at);
    let waves: Vec<Vec<u64>> = served
        .chunks(LIMIT)
        .map(|wave| wave.iter().map(|g| g.number).collect())
        .collect();
    assert!(
        waves.len() >= 3,
        "at once, after one window, after two: {waves:?}"
    );
    for pair in waves.windows(2) {
        assert!(pair[0].iter().max() < pair[1].iter().min(), "{waves:?}");
    }
}

#[test]
fn two_hundred_callers_at_once_never_break_the_upstreams_limit() {
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let ledgers = ["v1.jsonl", "v2.jsonl"].map(|name| folder.path().join(name));
    let mocks = [
        mock("gpt-4.1", &ledgers[0]),
        mock("gpt-4.1-new", &ledgers[1]),
    ];
    let gateway = Server::start(&["serve", &router(folder.path(), &mocks)], &KEYS);
    let got = everybody(&gateway.base);

    for (ledger, version) in ledgers.iter().zip(["v1", "v2"]) {
        let served = of(&got, version).count();
        // The file is written behind the answers.
        let taken = wait_for(|| Some(taken(ledger)).filter(|taken| taken.len() >= served));
        assert_eq!(taken.len(), served, "each answer was asked for once");
        for (i, at) in taken.iter().enumerate() {
            let within = taken[i..].iter().filter(|t| **t - at < 1.0).count();
            assert!(
                within <= LIMIT,
                "{within} within a second from {at} on: {taken:?}"
            );
        }
        assert_in_order(&got, version);
    }
    let turned_away = got.iter().filter(|g| g.status != 200);
    assert!(
        turned_away.count() > 0,
        "four times twenty to each is the most"
    );
    for turned_away in got.iter().filter(|g| g.status != 200) {
        assert_eq!(turned_away.status, 429);
        assert_eq!(turned_away.code, "gateway_rate_limited");
        // A slot is kept for a window and its guard: 1.25 s.
        let wait = turned_away.retry_after.as_deref();
        assert!(matches!(wait, Some("1" | "2")), "{wait:?}");
        assert_eq!(turned_away.version, None, "no version was asked");
    }
}
