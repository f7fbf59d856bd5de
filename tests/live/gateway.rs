//! `graygate serve` in front of `graygate mock`, met by a real HTTP client.

use std::path::Path;
use std::sync::RwLockReadGuard;

use reqwest::{Client, Response};
use serde_json::{Value, json};

use crate::process::{Server, client, router_file, wait_for};
use crate::support::in_company;

const STABLE_KEY: &str = "sk-stable-0123456789abcdef0123456789";
const CANARY_KEY: &str = "sk-canary-0123456789abcdef0123456789";

/// A gateway between a client and two mocks.
struct Stand {
    _folder: tempfile::TempDir,
    gateway: Server,
    mocks: [Server; 2],
    client: Client,
    runtime: tokio::runtime::Runtime,
    _company: RwLockReadGuard<'static, ()>,
}

impl Stand {
    /// `faults` are for stable and canary; `more` goes into the router file.
    fn new(faults: [&[&str]; 2], more: &str) -> Self {
        let company = in_company();
        let folder = tempfile::tempdir().unwrap();
        let mock = |model, faults: &[&str], ledger: &Path| {
            let ledger = ledger.display().to_string();
            let profile = "latency: 5ms, output_tokens: 3";
            let mut args = vec![
                "mock",
                "--model",
                model,
                "--profile",
                profile,
                "--ledger",
                &ledger,
            ];
            faults.iter().for_each(|f| args.extend(["--fault", *f]));
            Server::start(&args, &[])
        };
        let [stable_faults, canary_faults] = faults;
        let mocks = [
            mock("gpt-4.1", stable_faults, &folder.path().join("v1.jsonl")),
            mock(
                "gpt-4.1-new",
                canary_faults,
                &folder.path().join("v2.jsonl"),
            ),
        ];
        let router = router_file(folder.path(), &mocks[0].base, &mocks[1].base, more);
        let keys = [
            ("STABLE_API_KEY", STABLE_KEY),
            ("CANARY_API_KEY", CANARY_KEY),
        ];
        let gateway = Server::start(&["serve", &router], &keys);
        Self {
            gateway,
            mocks,
            client: client(),
            runtime: tokio::runtime::Runtime::new().unwrap(),
            _folder: folder,
            _company: company,
        }
    }

    fn ledger(&self, version: &str) -> String {
        std::fs::read_to_string(self._folder.path().join(version)).unwrap_or_default()
    }

    fn chat(&self, body: &Value, headers: &[(&str, &str)]) -> Answer {
        self.post(body.to_string(), headers)
    }

    fn post(&self, body: String, headers: &[(&str, &str)]) -> Answer {
        let url = format!("{}/chat/completions", self.gateway.base);
        let mut request = self.client.post(url).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.runtime.block_on(async {
            let response = request.send().await.expect("an answer");
            Answer::of(response).await
        })
    }

    fn get(&self, path: &str) -> Answer {
        let url = format!("{}{path}", self.gateway.base);
        self.runtime.block_on(async {
            Answer::of(self.client.get(url).send().await.expect("an answer")).await
        })
    }
}

struct Answer {
    status: u16,
    headers: reqwest::header::HeaderMap,
    body: Value,
}

impl Answer {
    async fn of(response: Response) -> Self {
        Self {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.json().await.expect("JSON"),
        }
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }
}

fn question() -> Value {
    json!({
        "model": "gpt-4.1",
        "messages": [{"role": "user", "content": "hello out there"}],
        "temperature": 0,
        "user": "ann",
    })
}

const PREMIUM: (&str, &str) = ("x-user-tier", "premium");

#[test]
fn an_answer_says_who_gave_it() {
    let stand = Stand::new([&[], &[]], "");
    let answer = stand.chat(&question(), &[("x-request-id", "mine-1")]);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("x-version"), "v1");
    assert_eq!(answer.header("x-fallback"), "false");
    assert_eq!(answer.header("x-attempts"), "1");
    assert_eq!(answer.header("x-request-id"), "mine-1");
    assert_eq!(answer.body["model"], "gpt-4.1");
    assert_eq!(answer.body["usage"]["prompt_tokens"], 3);
    let premium = stand.chat(&question(), &[PREMIUM]);
    assert_eq!(premium.header("x-version"), "v2");
    assert_eq!(premium.body["model"], "gpt-4.1-new");
    assert!(!premium.header("x-request-id").is_empty());
}

#[test]
fn models_are_listed() {
    let stand = Stand::new([&[], &[]], "");
    let models = stand.get("/models");
    let ids: Vec<&str> = models.body["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["gpt-4.1", "gpt-4.1-new"]);
}

#[test]
fn a_failing_canary_is_answered_by_stable() {
    for fault in [
        "kind: unauthorized",
        "kind: reset",
        "kind: model_not_found",
        "kind: server_error",
    ] {
        let stand = Stand::new([&[], &[fault]], "");
        let answer = stand.chat(&question(), &[PREMIUM]);
        assert_eq!(answer.status, 200, "{fault}");
        assert_eq!(answer.header("x-version"), "v1");
        assert_eq!(answer.header("x-fallback"), "true");
        assert_eq!(answer.header("x-attempts"), "2");
    }
}

#[test]
fn a_hanging_canary_is_given_up_after_its_limit() {
    let stand = Stand::new(
        [&[], &["kind: timeout"]],
        "timeouts: {attempt: 200ms, request: 5s}",
    );
    let answer = stand.chat(&question(), &[PREMIUM]);
    assert_eq!((answer.status, answer.header("x-version")), (200, "v1"));
    wait_for(|| {
        stand
            .ledger("v2.jsonl")
            .contains("client_gone")
            .then_some(())
    });
}

#[test]
fn both_failures_are_named_in_one_error() {
    let stand = Stand::new([&["kind: model_not_found"], &["kind: unauthorized"]], "");
    let answer = stand.chat(&question(), &[PREMIUM]);
    assert_eq!(answer.status, 404);
    let error = &answer.body["error"];
    assert_eq!(error["code"], "upstream_model_not_found");
    assert_eq!(
        error["message"],
        "every upstream failed: v2: unauthorized; v1: model_not_found"
    );
    assert_eq!(answer.header("x-version"), "v1", "the last one tried");
    assert_eq!(answer.header("x-fallback"), "true");
    assert_eq!(answer.header("x-attempts"), "2");
}

#[test]
fn a_rate_limit_that_stays_is_passed_on_with_its_wait() {
    let fault = "kind: rate_limited, retry_after: 7s";
    let stand = Stand::new([&[fault], &[]], "retry: {max_retries: 0}");
    let answer = stand.chat(&question(), &[]);
    assert_eq!(answer.status, 429);
    assert_eq!(answer.header("retry-after"), "7");
    assert_eq!(answer.header("x-version"), "v1");
    assert_eq!(answer.header("x-fallback"), "false");
}

#[test]
fn a_deadline_ends_what_retries_would_not() {
    let more = "retry: {max_retries: 9, base: 20ms}\ntimeouts: {attempt: 300ms, request: 500ms}";
    let stand = Stand::new([&["kind: timeout"], &[]], more);
    let answer = stand.chat(&question(), &[]);
    assert_eq!(answer.status, 504);
    let error = &answer.body["error"];
    assert_eq!(error["code"], "deadline_exceeded");
    assert_eq!(error["type"], "upstream_error");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("v1: timeout"), "{message}");
    assert_eq!(answer.header("x-attempts"), "2");
}

#[test]
fn an_upstream_that_is_not_there_is_an_answer_too() {
    let stand = Stand::new([&[], &[]], "retry: {max_retries: 0}");
    let [stable, _canary] = stand.mocks;
    assert_eq!(stable.stop(), Some(0));
    let url = format!("{}/chat/completions", stand.gateway.base);
    let answer = stand.runtime.block_on(async {
        let request = stand.client.post(url).body(question().to_string());
        Answer::of(request.send().await.unwrap()).await
    });
    assert_eq!(answer.status, 502);
    assert_eq!(answer.body["error"]["code"], "upstream_unreachable");
}

#[test]
fn requests_that_make_no_sense_are_refused_in_openais_words() {
    let stand = Stand::new([&[], &[]], "");
    let cases = [
        ("not json".to_owned(), 400, "invalid_request"),
        ("{}".to_owned(), 400, "invalid_request"),
        (r#"{"model": 7}"#.to_owned(), 400, "invalid_request"),
        (
            format!(r#"{{"model":"m","x":"{}"}}"#, "y".repeat(17 << 20)),
            413,
            "request_too_large",
        ),
    ];
    for (body, status, code) in cases {
        let answer = stand.post(body, &[]);
        assert_eq!(answer.status, status);
        assert_eq!(answer.body["error"]["code"], code);
        assert_eq!(answer.body["error"]["type"], "invalid_request_error");
    }
    let streamed = stand.post(r#"{"model":"m","stream":true}"#.to_owned(), &[]);
    let message = streamed.body["error"]["message"].as_str().unwrap();
    assert!(message.contains("\"stream\": false"), "{message}");
    let missing = stand.get("/nowhere");
    assert_eq!(
        (missing.status, &missing.body["error"]["code"]),
        (404, &json!("not_found"))
    );
    let wrong_method = stand.get("/chat/completions");
    assert_eq!(wrong_method.status, 405);
}

#[test]
fn a_caller_who_hangs_up_cancels_the_upstream_request() {
    let stand = Stand::new([&["kind: slow, delay: 20s"], &[]], "");
    let url = format!("{}/chat/completions", stand.gateway.base);
    let request = stand.client.post(url).body(question().to_string()).send();
    let caller = stand.runtime.spawn(request);
    wait_for(|| stand.ledger("v1.jsonl").contains("accepted").then_some(()));
    caller.abort();
    wait_for(|| {
        stand
            .ledger("v1.jsonl")
            .contains("client_gone")
            .then_some(())
    });
}

/// Another gateway as an upstream: what it says of itself is not what this one says.
#[test]
fn an_upstreams_own_word_of_versions_is_not_passed_on() {
    let _company = in_company();
    for (status, outcome) in [(200, "completion"), (400, "refusal")] {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let upstream = runtime.block_on(async {
            let upstream = wiremock::MockServer::start().await;
            let reply = wiremock::ResponseTemplate::new(status)
                .set_body_json(json!({"choices": [{"message": {}}], "mark": outcome}))
                .insert_header("x-version", "theirs")
                .insert_header("x-fallback", "true")
                .insert_header("x-attempts", "9")
                .insert_header("x-request-id", "theirs")
                .insert_header("x-more", "kept");
            wiremock::Mock::given(wiremock::matchers::any())
                .respond_with(reply)
                .mount(&upstream)
                .await;
            upstream
        });
        let base = format!("{}/v1", upstream.uri());
        let router = router_file(folder.path(), &base, &base, "");
        let keys = [
            ("STABLE_API_KEY", STABLE_KEY),
            ("CANARY_API_KEY", CANARY_KEY),
        ];
        let gateway = Server::start(&["serve", &router], &keys);
        let url = format!("{}/chat/completions", gateway.base);
        let request = client().post(url).body(question().to_string());
        let request = request.header("x-request-id", "mine");
        let answer = runtime.block_on(async { Answer::of(request.send().await.unwrap()).await });
        assert_eq!(answer.status, status);
        assert_eq!(answer.body["mark"], outcome);
        let said = ["x-version", "x-fallback", "x-attempts", "x-request-id"];
        let said = said.map(|name| answer.header(name));
        assert_eq!(said, ["v1", "false", "1", "mine"]);
        assert_eq!(answer.header("x-more"), "kept");
    }
}

/// An upstream that answers every request with a body without end; returns its base URL.
fn endless_upstream() -> String {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answer = |mut stream: std::net::TcpStream| -> std::io::Result<()> {
        if stream.read(&mut [0; 4_096])? == 0 {
            return Ok(());
        }
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{\"pad\": \"";
        stream.write_all(head.as_bytes())?;
        let pad = vec![b'x'; 1 << 20];
        loop {
            stream.write_all(&pad)?;
        }
    };
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            // Ends when the other side has had enough.
            let _ = stream.and_then(answer);
        }
    });
    format!("http://{address}/v1")
}

#[test]
fn an_answer_without_end_is_malformed() {
    let _company = in_company();
    let folder = tempfile::tempdir().unwrap();
    let endless = endless_upstream();
    let more = "retry: {max_retries: 0}";
    let router = router_file(folder.path(), &endless, &endless, more);
    let keys = [
        ("STABLE_API_KEY", STABLE_KEY),
        ("CANARY_API_KEY", CANARY_KEY),
    ];
    let gateway = Server::start(&["serve", &router], &keys);
    let url = format!("{}/chat/completions", gateway.base);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let answer = runtime.block_on(async {
        let request = client().post(url).body(question().to_string());
        Answer::of(request.send().await.unwrap()).await
    });
    assert_eq!(answer.status, 502);
    assert_eq!(answer.body["error"]["code"], "upstream_malformed");
}

#[cfg(target_os = "linux")]
#[test]
fn a_connection_takes_one_file_of_the_gateway() {
    use std::io::{Read, Write};
    let stand = Stand::new([&[], &[]], "");
    let before = stand.gateway.open_files();
    let address = stand.gateway.base.trim_start_matches("http://");
    let address = address.trim_end_matches("/v1");
    let callers: Vec<_> = (0..40)
        .map(|_| {
            let mut caller = std::net::TcpStream::connect(address).unwrap();
            caller
                .write_all(b"GET /v1/models HTTP/1.1\r\nhost: here\r\n\r\n")
                .unwrap();
            assert!(caller.read(&mut [0; 64]).unwrap() > 0);
            caller
        })
        .collect();
    let more = stand.gateway.open_files() - before;
    assert!(
        (40..60).contains(&more),
        "{more} files for {}",
        callers.len()
    );
}

/// The key of the harness decides draws: nobody may choose theirs at a gateway in service.
#[test]
fn the_harness_key_of_a_stranger_is_not_passed_on() {
    let stand = Stand::new([&[], &[]], "");
    stand.chat(&question(), &[("x-graygate-key", "5")]);
    wait_for(|| stand.ledger("v1.jsonl").contains("accepted").then_some(()));
    assert!(stand.ledger("v1.jsonl").contains("\"key\":null"));
}

#[test]
fn a_rollback_is_said_aloud_and_no_key_ever_is() {
    let judge =
        "judge: {literal: {window: 60s, min_requests: 5, rollback: {error_rate: \"> 5%\"}}}";
    let stand = Stand::new([&[], &["kind: unauthorized"]], judge);
    for _ in 0..6 {
        assert_eq!(stand.chat(&question(), &[PREMIUM]).status, 200);
    }
    wait_for(|| {
        stand
            .gateway
            .log()
            .contains("rolled back from v2 to v1")
            .then_some(())
    });
    let after = stand.chat(&question(), &[PREMIUM]);
    assert_eq!(
        (after.header("x-version"), after.header("x-fallback")),
        ("v1", "false")
    );
    let log = stand.gateway.log();
    for key in [STABLE_KEY, CANARY_KEY, "0123456789abcdef"] {
        assert!(!log.contains(key), "{log}");
    }
    assert_eq!(stand.gateway.stop(), Some(0));
}
