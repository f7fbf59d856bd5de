//! `graygate mock` as people start it: models, errors on request, faults that are switched, its ledger.

use std::path::Path;
use std::time::Duration;

use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

use crate::process::{Server, client, refused, wait_for};
use crate::support::in_company;

/// A mock and a client of it.
struct Stand {
    mock: Server,
    client: Client,
    runtime: tokio::runtime::Runtime,
}

impl Stand {
    fn new(args: &[&str]) -> Self {
        let all: Vec<&str> = std::iter::once("mock")
            .chain(args.iter().copied())
            .collect();
        Self {
            mock: Server::start(&all, &[]),
            client: client(),
            runtime: tokio::runtime::Runtime::new().unwrap(),
        }
    }

    fn admin(&self, path: &str) -> String {
        format!("http://{}/admin/{path}", self.mock.address())
    }

    fn send(&self, request: RequestBuilder) -> (StatusCode, String, Option<String>) {
        self.runtime.block_on(async {
            let response: Response = request.send().await.expect("an answer");
            let header = response.headers().get("x-ledger-forgotten");
            let forgotten = header.map(|v| v.to_str().unwrap().to_owned());
            let status = response.status();
            (status, response.text().await.expect("a text"), forgotten)
        })
    }

    fn json(&self, request: RequestBuilder) -> (u16, Value) {
        let (status, text, _) = self.send(request);
        let value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
        (status.as_u16(), value)
    }

    fn chat(&self, model: &str) -> RequestBuilder {
        let url = format!("{}/chat/completions", self.mock.base);
        let body = json!({"model": model, "messages": [{"role": "user", "content": "one two"}]});
        self.client.post(url).body(body.to_string())
    }

    fn ledger(&self) -> Vec<Value> {
        let (status, text, _) = self.send(self.client.get(self.admin("ledger")));
        assert_eq!(status, 200, "{text}");
        let lines = text.lines();
        lines
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect()
    }
}

#[test]
fn several_models_have_a_profile_each() {
    let _company = in_company();
    let stand = Stand::new(&[
        "--model",
        "small",
        "--profile",
        "latency: 2ms, output_tokens: 3",
        "--model",
        "large",
        "--profile",
        "latency: 3ms, output_tokens: 7",
    ]);
    let (_, list) = stand.json(stand.client.get(format!("{}/models", stand.mock.base)));
    let names: Vec<_> = list["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| &m["id"])
        .collect();
    assert_eq!(names, ["small", "large"]);
    for (model, tokens) in [("small", 3), ("large", 7)] {
        let (status, answer) = stand.json(stand.chat(model));
        assert_eq!(status, 200);
        assert_eq!(answer["model"], model);
        assert_eq!(answer["usage"]["completion_tokens"], tokens);
    }
    let (status, answer) = stand.json(stand.chat("middling"));
    assert_eq!(
        (status, &answer["error"]["code"]),
        (404, &json!("model_not_found"))
    );
    // Streams, too.
    let body = json!({"model": "large", "stream": true, "messages": []}).to_string();
    let url = format!("{}/chat/completions", stand.mock.base);
    let (status, text, _) = stand.send(stand.client.post(url).body(body));
    assert_eq!(status, 200);
    assert_eq!(text.matches("\"content\":\"tok").count(), 7);
    assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
    assert_eq!(stand.mock.stop(), Some(0));
}

#[test]
fn a_file_describes_models_their_faults_and_their_seed() {
    let _company = in_company();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("trace.csv"),
        "ttft_ms,tokens\n1,4\n2,4\n",
    )
    .unwrap();
    let file = folder.path().join("models.yaml");
    let text = "
seed: 9
models:
  small: {latency: {empirical: trace.csv#ttft_ms}, output_tokens: {empirical: trace.csv#tokens}}
  twin: {like: small, latency_factor: 2}
faults:
  - {kind: unauthorized, on: twin}
";
    std::fs::write(&file, text).unwrap();
    let file = file.display().to_string();
    let stand = Stand::new(&["--models", &file]);
    let (_, answer) = stand.json(stand.chat("small"));
    assert_eq!(answer["usage"]["completion_tokens"], 4);
    let (status, _) = stand.json(stand.chat("twin"));
    assert_eq!(status, 401);
    // The same file with a mistake in every part of it.
    let bad = text
        .replace("#tokens", "#tokenz")
        .replace("on: twin", "on: twim")
        .replace("seed: 9", "sed: 9");
    std::fs::write(&file, bad).unwrap();
    let (code, said) = refused(&["mock", "--models", &file], &[]);
    assert_eq!(code, Some(2), "{said}");
    for part in [
        "models.yaml:2:1",
        "did you mean `seed`?",
        "it has no column `tokenz`",
        "did you mean `tokens`?",
        "models.yaml:4:79",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn a_request_gets_the_error_that_it_asks_for() {
    let _company = in_company();
    let stand = Stand::new(&["--profile", "latency: 2ms"]);
    for (wish, status, code) in [
        ("429", 429, "rate_limit_exceeded"),
        ("503", 503, "overloaded"),
        ("418", 418, "invalid_request"),
        ("many", 400, "invalid_request"),
    ] {
        let (got, answer) = stand.json(stand.chat("gpt-4.1").header("X-Return-Error", wish));
        assert_eq!(
            (got, &answer["error"]["code"]),
            (status, &json!(code)),
            "{wish}"
        );
    }
    let (status, _) = stand.json(stand.chat("gpt-4.1"));
    assert_eq!(status, 200, "only the request that asks for it");
}

#[test]
fn faults_are_replaced_shown_and_cleared_while_it_serves() {
    let _company = in_company();
    let stand = Stand::new(&[
        "--model",
        "a",
        "--model",
        "b",
        "--profile",
        "latency: 2ms",
        "--fault",
        "kind: unauthorized",
    ]);
    let status = |model: &str| stand.json(stand.chat(model)).0;
    assert_eq!([status("a"), status("b")], [401, 401]);
    let post = |body: &str| {
        stand.json(
            stand
                .client
                .post(stand.admin("faults"))
                .body(body.to_owned()),
        )
    };
    let (code, shown) = post("[{kind: server_error, status: 503, on: b}, {kind: reset, at: 1h}]");
    assert_eq!(code, 200, "{shown}");
    assert_eq!([status("a"), status("b")], [200, 503]);
    let (_, shown) = stand.json(stand.client.get(stand.admin("faults")));
    assert_eq!(shown["faults"][0]["kind"], "server_error");
    assert_eq!(shown["faults"][0]["on"], json!(["b"]));
    assert_eq!(shown["faults"][0]["is_on"], true);
    // Times count from now: later than from the start of the mock, which is not old.
    let from = shown["faults"][1]["from_s"].as_f64().unwrap();
    assert!(from > 3_600.0 && from < 3_660.0, "{from}");
    assert_eq!(shown["faults"][1]["is_on"], false);
    // What cannot be read changes nothing, and says where and why.
    for (body, part) in [
        ("[{kind: imaginary}]", "`imaginary` is not a kind of fault"),
        ("- kind: reset\n  shar: 5%\n", "the body:2:3"),
        ("", "DELETE clears"),
        ("[{kind: reset, on: c}]", "one of `a`, `b`"),
        ("[", "the body:2:1"),
    ] {
        let (code, answer) = post(body);
        let message = answer["error"]["message"].as_str().unwrap();
        assert_eq!(
            (code, &answer["error"]["code"]),
            (400, &json!("invalid_faults"))
        );
        assert!(message.contains(part), "{body}: {message}");
    }
    assert_eq!(status("b"), 503, "the old list is in force");
    let (code, shown) = stand.json(stand.client.delete(stand.admin("faults")));
    assert_eq!((code, &shown["faults"]), (200, &json!([])));
    assert_eq!([status("a"), status("b")], [200, 200]);
    // The ledger knows the faults by name that are not in force any more.
    let faults: Vec<_> = stand
        .ledger()
        .iter()
        .map(|row| row["fault"].clone())
        .collect();
    let auth = json!("unauthorized");
    let server = json!("server_error");
    assert_eq!(
        faults[..5],
        [auth.clone(), auth, Value::Null, server.clone(), server]
    );
}

#[test]
fn the_admin_side_is_for_nobody_else() {
    let _company = in_company();
    let stand = Stand::new(&[]);
    let page = stand
        .client
        .get(stand.admin("faults"))
        .header("origin", "http://evil.example");
    assert_eq!(stand.json(page).0, 403);
    let put = stand.client.put(stand.admin("faults"));
    let (code, answer) = stand.json(put);
    assert_eq!(code, 405);
    assert!(
        answer["error"]["message"]
            .as_str()
            .unwrap()
            .contains("GET, POST and DELETE")
    );
    let (code, answer) = stand.json(stand.client.get(stand.admin("fault")));
    assert_eq!(code, 404);
    assert!(
        answer["error"]["message"]
            .as_str()
            .unwrap()
            .contains("/admin/faults")
    );
}

#[test]
fn the_ledger_has_the_newest_requests_and_says_what_it_forgot() {
    let _company = in_company();
    let stand = Stand::new(&[
        "--profile",
        "latency: 2ms, output_tokens: 3",
        "--ledger-rows",
        "3",
    ]);
    assert!(stand.ledger().is_empty());
    for key in 0..5 {
        let request = stand
            .chat("gpt-4.1")
            .header("x-graygate-key", key.to_string());
        assert_eq!(stand.json(request).0, 200);
    }
    let (_, _, forgotten) = stand.send(stand.client.get(stand.admin("ledger")));
    assert_eq!(forgotten.as_deref(), Some("2"));
    let rows = stand.ledger();
    assert_eq!(rows[0], json!({"forgotten": 2}));
    let keys: Vec<_> = rows[1..]
        .iter()
        .map(|row| row["key"].as_u64().unwrap())
        .collect();
    assert_eq!(keys, [2, 3, 4]);
    assert_eq!(rows[1]["outcome"], "success");
    assert_eq!(rows[1]["completion_tokens"], 3);
    let (status, table, _) = stand.send(stand.client.get(stand.admin("ledger?format=csv")));
    assert_eq!(status, 200);
    let lines: Vec<_> = table.lines().collect();
    assert!(lines[0].starts_with("row,model,key,try,"), "{table}");
    assert!(lines[1].starts_with("2,gpt-4.1,2,0,false,,"), "{table}");
    assert_eq!(lines.len(), 4);
    let (code, _) = stand.json(stand.client.get(stand.admin("ledger?format=xml")));
    assert_eq!(code, 400);
}

/// One place and a queue of one: the second waits, the third is told so; whoever hangs up leaves the queue.
#[test]
fn a_queue_fills_is_left_and_moves_on() {
    let _company = in_company();
    let profile =
        "latency: 1h, capacity: {concurrent: 1, queue: 1, when_full: 429, retry_after: 7s}";
    let stand = Stand::new(&["--profile", profile]);
    let rows = |count: usize| {
        wait_for(|| Some(stand.ledger()).filter(|rows| rows.len() == count));
    };
    let hang = |request: RequestBuilder| stand.runtime.spawn(request.send());
    let first = hang(stand.chat("gpt-4.1"));
    rows(1);
    let second = hang(stand.chat("gpt-4.1"));
    rows(2);
    let full = stand
        .runtime
        .block_on(stand.chat("gpt-4.1").send())
        .unwrap();
    assert_eq!(full.status(), 429);
    assert_eq!(full.headers()["retry-after"], "7");
    // The one that waits hangs up: there is room for another.
    second.abort();
    wait_for(|| (stand.ledger()[1]["outcome"] == "client_gone").then_some(()));
    let fourth = hang(stand.chat("gpt-4.1"));
    rows(4);
    assert_eq!(stand.ledger()[3]["began_s"], Value::Null);
    // The one that is worked on hangs up: it is the other's turn.
    first.abort();
    wait_for(|| stand.ledger()[3]["began_s"].is_number().then_some(()));
    let ledger = stand.ledger();
    assert_eq!(ledger[1]["completion_tokens"], 0, "it never began");
    assert_eq!(ledger[0]["completion_tokens"], 128, "it was worked on");
    fourth.abort();
}

#[test]
fn wrong_arguments_are_explained_before_anything_starts() {
    let missing = Path::new("no-such-models.yaml").display().to_string();
    for (args, parts) in [
        (
            vec!["--model", "a", "--model", "a"],
            vec!["`a` is there twice"],
        ),
        (
            vec![
                "--model",
                "a",
                "--model",
                "b",
                "--model",
                "c",
                "--profile",
                "latency: 1ms",
                "--profile",
                "latency: 1ms",
            ],
            vec!["2 profiles for 3 models"],
        ),
        (vec!["--models", &missing], vec!["cannot read the file"]),
        (
            vec!["--models", &missing, "--model", "a"],
            vec!["cannot be used with"],
        ),
        (
            vec!["--profile", "latency: {gamma: {mean: 5ms, cv: 11}}"],
            vec!["--profile:1:35", "standard deviation / mean"],
        ),
        (
            vec!["--profile", "latency: {weibul: {mean: 5ms, cv: 1}}"],
            vec!["did you mean `weibull`?"],
        ),
        (
            vec!["--profile", "latency: {empirical: trace.csv}"],
            vec!["names no column", "FILE.csv#COLUMN"],
        ),
        (
            vec!["--profile", "latency: {empirical: no-such.csv#a}"],
            vec![
                "--profile:1:23",
                "cannot read the file",
                "graygate was started in",
            ],
        ),
        (
            vec![
                "--profile",
                "latency: 1ms, capacity: {concurrent: 0, queue: 5, when_full: 500}",
            ],
            vec!["1 to 4294967295", "`500` is not a status"],
        ),
        (
            vec![
                "--profile",
                "latency: 1ms, warm_up: {for: 30s, factor: 0.5}, slow_drip: {share: 5}",
            ],
            vec![
                "a factor of 1 or more",
                "`5` is not a share",
                "`factor` is missing",
            ],
        ),
        (
            vec![
                "--profile",
                "first_token: {base: 5ms}, tokens_per_second: 0",
            ],
            vec!["`per_input_token` is missing", "`0` is not a factor"],
        ),
        (
            vec!["--profile", "latency: 1ms, server: native"],
            vec!["unknown key `server`"],
        ),
    ] {
        let all: Vec<&str> = std::iter::once("mock")
            .chain(args.iter().copied())
            .collect();
        let (code, said) = refused(&all, &[]);
        assert_eq!(code, Some(2), "{args:?}: {said}");
        for part in parts {
            assert!(said.contains(part), "{args:?}: {part}: {said}");
        }
    }
}

/// A first token that takes longer the longer the prompt is, and an upstream that is slow at first.
#[test]
fn a_long_prompt_waits_longer_for_its_first_token() {
    let _company = in_company();
    let profile = "first_token: {base: 1ms, per_input_token: 1ms}, tokens_per_second: 100000, output_tokens: 1";
    let stand = Stand::new(&["--profile", profile]);
    let ask = |words: usize| {
        let content = "word ".repeat(words);
        let body = json!({"model": "gpt-4.1", "messages": [{"role": "user", "content": content}]});
        let url = format!("{}/chat/completions", stand.mock.base);
        let (status, _) = stand.json(stand.client.post(url).body(body.to_string()));
        assert_eq!(status, 200);
        let ledger = stand.ledger();
        let row = ledger.last().unwrap();
        let took = row["ended_s"].as_f64().unwrap() - row["at_s"].as_f64().unwrap();
        Duration::from_secs_f64(took)
    };
    assert!(ask(400) >= Duration::from_millis(400));
    // Only a lower bound is a matter of the plan; this one leaves the machine a lot of time.
    assert!(ask(1) < Duration::from_millis(350));
}

/// Thousands of callers at once need thousands of files as it is: a connection takes one, not two.
#[cfg(target_os = "linux")]
#[test]
fn a_connection_takes_one_file() {
    use std::io::{Read, Write};
    const CALLERS: usize = 40;
    let _company = in_company();
    let stand = Stand::new(&["--profile", "latency: 1ms, output_tokens: 1"]);
    let body = r#"{"model": "gpt-4.1", "messages": []}"#;
    let length = body.len();
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: mock\r\ncontent-length:";
    let request = format!("{head} {length}\r\n\r\n{body}");
    let call = || {
        let mut caller = std::net::TcpStream::connect(stand.mock.address()).expect("a connection");
        caller.write_all(request.as_bytes()).expect("it is sent");
        // Whoever is answered was accepted.
        let mut answer = [0; 15];
        caller.read_exact(&mut answer).expect("an answer");
        assert_eq!(&answer, b"HTTP/1.1 200 OK");
        caller
    };
    let first = call();
    let before = stand.mock.open_files();
    let callers: Vec<_> = (0..CALLERS).map(|_| call()).collect();
    assert_eq!(stand.mock.open_files() - before, callers.len());
    drop(first);
}
