//! Keys show up nowhere: not in what is said, not in logs, not in answers, not in any file of a run.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::json;

use crate::process::{Server, client, refused, router_file, wait_for};
use crate::support::in_company;
use crate::upstream::{Manner, Upstream};

/// The distinctive part of all keys of this test.
const MARK: &str = "canaryInTheCoalMine";
const KEYS: [(&str, &str); 2] = [
    ("STABLE_API_KEY", "sk-canaryInTheCoalMine-stable-0123456789"),
    ("CANARY_API_KEY", "hs_canaryInTheCoalMine-canary-0123456789"),
];

/// All files in a folder and its folders.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .flat_map(|path| match path.is_dir() {
            true => files(&path),
            false => vec![path],
        })
        .collect()
}

/// None of these files holds a key. Says how many there were.
fn searched(folder: &Path) -> usize {
    let files = files(folder);
    for file in &files {
        let bytes = std::fs::read(file).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains(MARK), "{}", file.display());
    }
    files.len()
}

/// An upstream that says the key it was given, in its errors and in its headers.
fn talkative() -> (tokio::runtime::Runtime, wiremock::MockServer) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = runtime.block_on(async {
        let server = wiremock::MockServer::start().await;
        let echo = |request: &wiremock::Request| {
            let key = request.headers.get("authorization").unwrap();
            let key = key.to_str().unwrap();
            let bare = key.trim_start_matches("Bearer ");
            let message = format!("Incorrect API key provided: {bare} ({key})");
            wiremock::ResponseTemplate::new(400)
                .insert_header("x-your-key", bare)
                .set_body_json(json!({"error": {"message": message, "code": "bad"}}))
        };
        wiremock::Mock::given(wiremock::matchers::any())
            .respond_with(echo)
            .mount(&server)
            .await;
        server
    });
    (runtime, server)
}

#[test]
fn a_gateway_shows_no_key_whatever_happens() {
    let _company = in_company();
    let folder = tempfile::tempdir().unwrap();
    let (runtime, talkative) = talkative();
    let canary = Server::start(
        &[
            "mock",
            "--model",
            "gpt-4.1-new",
            "--fault",
            "kind: unauthorized",
        ],
        &[],
    );
    let judge =
        "judge: {literal: {window: 60s, min_requests: 3, rollback: {error_rate: \"> 5%\"}}}";
    let base = format!("{}/v1", talkative.uri());
    let router = router_file(folder.path(), &base, &canary.base, judge);
    let log = folder.path().join("inputs.jsonl").display().to_string();
    let state = folder.path().join("state.db").display().to_string();
    let args = ["serve", &router, "--input-log", &log, "--state", &state];
    let gateway = Server::start(&args, &KEYS);
    let url = format!("{}/chat/completions", gateway.base);
    let body = json!({"model": "gpt-4.1", "messages": []}).to_string();
    for _ in 0..4 {
        let request = client().post(&url).header("x-user-tier", "premium");
        let answer = runtime.block_on(request.body(body.clone()).send()).unwrap();
        // The canary refuses its key, and stable refuses the request with all it knows.
        assert_eq!(answer.status(), 400);
        let headers = format!("{:?}", answer.headers());
        let text = runtime.block_on(answer.text()).unwrap();
        assert!(text.contains("Incorrect API key provided"), "{text}");
        assert!(!text.contains(MARK) && !headers.contains(MARK), "{text}");
    }
    wait_for(|| gateway.log().contains("rolled back").then_some(()));
    gateway.signal("TERM");
    let (code, said) = gateway.wait();
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains(MARK), "{said}");
    let files = searched(folder.path());
    assert!(files >= 3, "router file, input log and state: {files}");
}

#[test]
fn a_gateway_that_refuses_to_start_shows_no_key() {
    let _company = in_company();
    let folder = tempfile::tempdir().unwrap();
    let wants_another = Upstream::start(Manner {
        models: (401, format!("{{\"error\": \"{MARK}\"}}")),
        ..Manner::default()
    });
    let base = &wants_another.base;
    let router = router_file(folder.path(), base, base, "");
    for keys in [
        KEYS,
        [("STABLE_API_KEY", "pk-canaryInTheCoalMine-0123"), KEYS[1]],
        [("STABLE_API_KEY", "sk-canaryInTheCoalMine 0123"), KEYS[1]],
    ] {
        let (code, said) = refused(&["serve", &router], &keys);
        assert!(matches!(code, Some(2 | 5)), "{said}");
        assert!(!said.contains(MARK), "{said}");
    }
}

#[test]
fn a_run_shows_no_key_in_anything_it_writes() {
    let _company = in_company();
    let folder = tempfile::tempdir().unwrap();
    let router = router_file(folder.path(), "http://127.0.0.1:9/v1", "https://h/v1", "");
    let scenario = folder.path().join("keys.yaml");
    let text = format!(
        "name: keys\nduration: 1s\nrouter: {router}\ntraffic: {{synthetic: {{arrivals: {{constant: \
         50/s}}, users: {{premium: 50%}}}}}}\nfaults: [{{on: v2, kind: unauthorized}}]\nexpect: \
         [attribution]\n"
    );
    std::fs::write(&scenario, text).unwrap();
    for engine in ["virtual", "live"] {
        let out = folder.path().join(engine);
        let output = Command::new(env!("CARGO_BIN_EXE_graygate"))
            .args(["run", "--engine", engine, "--records", "all", "--out"])
            .args([&out, &scenario])
            .envs(KEYS)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        for bytes in [&output.stdout, &output.stderr] {
            let text = String::from_utf8_lossy(bytes);
            assert!(!text.contains(MARK), "{text}");
        }
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(matches!(output.status.code(), Some(0..=4)), "{said}");
        assert!(searched(&out) >= 8, "{said}");
    }
}
