//! `graygate serve` as a process of its own, with upstreams in this one.
#![allow(
    clippy::disallowed_types,
    reason = "a test must give up at some time of the real clock"
)]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::runtime::Runtime;
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

/// Waits until something is there. Half a minute is for machines in trouble.
pub(crate) fn wait_for<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let give_up = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < give_up, "waited in vain");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// Waits until something holds, and lets others go on meanwhile.
pub(crate) async fn until(mut holds: impl FnMut() -> bool) {
    let give_up = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < give_up, "waited in vain");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Two upstreams and whatever else a gateway needs around it.
pub(crate) struct Stand {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) runtime: Runtime,
    stable: MockServer,
    canary: MockServer,
}

impl Stand {
    /// The canary answers with this status.
    pub(crate) fn new(canary: u16) -> Self {
        let runtime = Runtime::new().unwrap();
        let [stable, canary] =
            runtime.block_on(async { [upstream(200).await, upstream(canary).await] });
        Self {
            folder: tempfile::tempdir().unwrap(),
            runtime,
            stable,
            canary,
        }
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.folder.path().join("state.db")
    }

    /// A router file; `more` goes to its end.
    pub(crate) fn router(&self, more: &str) -> String {
        let file = self.folder.path().join("router.yaml");
        let (stable, canary) = (self.stable.uri(), self.canary.uri());
        let split = match more.contains("ramp:") {
            true => "",
            false => "split: {weights: {v1: 100, v2: 0}}",
        };
        let text = format!(
            "versions:
  v1: {{role: stable, model: gpt-4.1, endpoint: \"{stable}/v1\", api_key_env: STABLE_API_KEY}}
  v2: {{role: canary, model: gpt-4.1-new, endpoint: \"{canary}/v1\", api_key_env: CANARY_API_KEY}}
routes:
  - {{when: {{tier: premium}}, to: v2}}
{split}
judge: {{literal: {{window: 60s, min_requests: 3, rollback: {{error_rate: \"> 5%\"}}}}}}
{more}
"
        );
        std::fs::write(&file, text).unwrap();
        file.display().to_string()
    }

    pub(crate) fn serve(&self, router: &str) -> Gateway {
        Gateway::start(router, &self.state(), &[])
    }

    /// A premium caller's question; the version that answered it.
    pub(crate) fn ask(&self, gateway: &Gateway) -> Option<String> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let url = format!("{}/chat/completions", gateway.base);
        let question = json!({"model": "gpt-4.1", "messages": [{"role": "user", "content": "hi"}]});
        let request = reqwest::Client::new()
            .post(url)
            .header("x-user-tier", "premium")
            .body(question.to_string());
        let answer = self.runtime.block_on(async { request.send().await }).ok()?;
        assert_eq!(answer.status(), 200, "stable serves, come what may");
        let version = answer.headers().get("x-version")?.to_str().ok()?;
        Some(version.to_owned())
    }
}

async fn upstream(status: u16) -> MockServer {
    let server = MockServer::start().await;
    let models = json!({"object": "list", "data": [
        {"id": "gpt-4.1", "object": "model"}, {"id": "gpt-4.1-new", "object": "model"},
    ]});
    let answer = json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "finish_reason": "stop",
                     "message": {"role": "assistant", "content": "hello"}}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    });
    let error = json!({"error": {"message": "on purpose", "type": "server_error"}});
    let body = if status == 200 { answer } else { error };
    Mock::given(path("/v1/models"))
        .respond_with(ResponseTemplate::new(200).set_body_json(models))
        .mount(&server)
        .await;
    Mock::given(method("POST"))
        .respond_with(ResponseTemplate::new(status).set_body_json(body))
        .mount(&server)
        .await;
    server
}

/// A gateway. It is killed when dropped, as by `kill -9`.
pub(crate) struct Gateway {
    child: Child,
    /// `http://127.0.0.1:PORT/v1`
    pub(crate) base: String,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Gateway {
    pub(crate) fn start(router: &str, state: &Path, env: &[(&str, &str)]) -> Self {
        // A limit on the size of files is an error for whoever writes, not the end of the process.
        let run = "trap '' XFSZ; exec \"$0\" \"$@\"";
        let mut child = Command::new("sh")
            .args(["-c", run, env!("CARGO_BIN_EXE_graygate"), "serve", router])
            .args([
                "--listen",
                "127.0.0.1:0",
                "--admin",
                "127.0.0.1:0",
                "--state",
            ])
            .arg(state)
            .env("STABLE_API_KEY", "sk-stable-0123456789abcdef0123456789")
            .env("CANARY_API_KEY", "sk-canary-0123456789abcdef0123456789")
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("graygate starts");
        let stderr = child.stderr.take().expect("stderr");
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept = lines.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                kept.lock().unwrap().push(line);
            }
        });
        let base = wait_for(|| {
            let lines = lines.lock().unwrap();
            let ended = child.try_wait().expect("its state");
            assert_eq!(ended, None, "{lines:?}");
            let line = lines.iter().find(|l| l.contains("serving http://"))?;
            let at = line.find("http://")?;
            Some(line[at..].split_whitespace().next()?.to_owned())
        });
        Self { child, base, lines }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn log(&self) -> String {
        self.lines.lock().unwrap().join("\n")
    }

    pub(crate) fn wait_for_log(&self, words: &str) {
        wait_for(|| self.log().contains(words).then_some(()));
    }

    /// `http://127.0.0.1:PORT` of the admin API.
    pub(crate) fn admin(&self) -> String {
        wait_for(|| {
            let log = self.log();
            let line = log.lines().find(|l| l.contains("admin API"))?;
            let at = line.find("http://")?;
            Some(line[at..].split_whitespace().next()?.to_owned())
        })
    }

    /// Asks it to stop, as Ctrl-C does, and waits until it has; returns its exit code and its log.
    pub(crate) fn stop(mut self) -> (Option<i32>, String) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-INT", &pid]).status();
        assert!(sent.is_ok_and(|s| s.success()), "the signal is sent");
        let ended = self.child.wait().expect("it ends");
        // What it said last may still be in the pipe.
        wait_for(|| (Arc::strong_count(&self.lines) == 1).then_some(()));
        (ended.code(), self.log())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
