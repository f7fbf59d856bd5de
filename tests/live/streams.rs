//! Streams through `graygate serve`, read byte by byte.
#![allow(
    clippy::disallowed_types,
    reason = "a limit of time must be measured with the real clock"
)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use reqwest::Response;
use serde_json::json;

use crate::process::{KEYS, Server, client, router_file, wait_for};
use crate::support::in_company;

/// Long enough for any machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A gateway, and a client of it.
pub(crate) struct Stand {
    gateway: Server,
    _mocks: Vec<Server>,
    folder: tempfile::TempDir,
    client: reqwest::Client,
    runtime: tokio::runtime::Runtime,
}

impl Stand {
    /// A gateway before these two upstreams.
    pub(crate) fn before(
        folder: tempfile::TempDir,
        bases: [&str; 2],
        mocks: Vec<Server>,
        more: &str,
    ) -> Self {
        let router = router_file(folder.path(), bases[0], bases[1], more);
        Self {
            gateway: Server::start(&["serve", &router], &KEYS),
            _mocks: mocks,
            folder,
            client: client(),
            runtime: tokio::runtime::Runtime::new().unwrap(),
        }
    }

    /// A gateway before two mocks that write so many tokens a second, the canary with this fault.
    fn with_mocks(speed: u32, fault: &str, more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let profile = format!("first_token: 20ms, tokens_per_second: {speed}, output_tokens: 8");
        let mock = |model: &str, ledger: &str, fault: &[&str]| {
            let ledger = folder.path().join(ledger).display().to_string();
            let mut args = vec!["mock", "--model", model, "--profile", &profile];
            args.extend(["--ledger", &ledger]);
            args.extend(fault);
            Server::start(&args, &[])
        };
        let fault: &[&str] = if fault.is_empty() {
            &[]
        } else {
            &["--fault", fault]
        };
        let mocks = vec![
            mock("gpt-4.1", "v1.jsonl", &[]),
            mock("gpt-4.1-new", "v2.jsonl", fault),
        ];
        let bases = [mocks[0].base.clone(), mocks[1].base.clone()];
        Self::before(folder, [&bases[0], &bases[1]], mocks, more)
    }

    /// Asks the canary for a stream.
    pub(crate) fn ask(&self) -> Stream<'_> {
        let url = format!("{}/chat/completions", self.gateway.base);
        let messages = json!([{"role": "user", "content": "hello"}]);
        let body = json!({"model": "gpt-4.1", "stream": true, "messages": messages});
        let request = self.client.post(url).header("x-user-tier", "premium");
        let response = self
            .runtime
            .block_on(request.body(body.to_string()).send())
            .expect("an answer");
        assert_eq!(response.status(), 200);
        Stream {
            response,
            runtime: &self.runtime,
            read: String::new(),
        }
    }

    fn ledger(&self, file: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(file)).unwrap_or_default()
    }
}

/// A stream as its client reads it.
pub(crate) struct Stream<'s> {
    response: Response,
    runtime: &'s tokio::runtime::Runtime,
    read: String,
}

impl Stream<'_> {
    fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }

    /// Reads more; false at the end.
    fn more(&mut self) -> bool {
        let chunk = async { tokio::time::timeout(PATIENCE, self.response.chunk()).await };
        let chunk = self.runtime.block_on(chunk);
        let chunk = chunk.expect("something comes").expect("a good end");
        let text = chunk.as_ref().map(|bytes| String::from_utf8_lossy(bytes));
        self.read.extend(text);
        chunk.is_some()
    }

    /// Reads until this is there.
    pub(crate) fn until(&mut self, text: &str) {
        while !self.read.contains(text) {
            assert!(self.more(), "it ended before {text:?}: {}", self.read);
        }
    }

    pub(crate) fn rest(mut self) -> String {
        while self.more() {}
        self.read
    }

    /// Tokens so far.
    fn tokens(&self) -> usize {
        tokens(&self.read)
    }
}

fn tokens(text: &str) -> usize {
    text.matches("tok ").count()
}

/// An upstream that does with every chat request what `script` says.
pub(crate) fn upstream(script: impl Fn(&mut TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let base = format!("http://{}/v1", listener.local_addr().expect("its address"));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            match read_request(&mut stream) {
                Some(head) if head.starts_with("POST") => script(&mut stream),
                Some(_) => list_models(&mut stream),
                None => {}
            }
        }
    });
    base
}

/// Reads a request with its body; gives its head.
fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut text = String::new();
    let mut buffer = [0; 4_096];
    loop {
        let n = stream.read(&mut buffer).ok().filter(|n| *n > 0)?;
        text += &String::from_utf8_lossy(&buffer[..n]);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let head = head.to_ascii_lowercase();
        let length = head.split("content-length: ").nth(1);
        let length = length.and_then(|rest| rest.lines().next()?.trim().parse().ok());
        if body.len() >= length.unwrap_or(0) {
            return Some(text.clone());
        }
    }
}

fn list_models(stream: &mut TcpStream) {
    let models = r#"{"object":"list","data":[{"id":"gpt-4.1"},{"id":"gpt-4.1-new"}]}"#;
    let length = models.len();
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close";
    let _ = write!(stream, "{head}\r\ncontent-length: {length}\r\n\r\n{models}");
}

pub(crate) const HEAD: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";

/// The beginning of a stream up to its first token, with what clients rarely see.
pub(crate) const BEGINNING: &str = ": hello\n\n\
    data: {\"id\":\"c1\",\"model\":\"gpt-4.1-new\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\"}}]}\n\n\
    data: {\"id\":\"c1\",\"model\":\"gpt-4.1-new\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hé\"}}]}\n\n";

/// Its rest: odd but right, with tool calls, comments, fields that nobody knows, and other line ends.
const REST: &str = ": still here\n\n\
    id: 7\r\nretry: 10\r\ndata:{\"id\":\"c1\",\"model\":\"gpt-4.1-new\",\"vendor\":[1, 2],\"choices\":[{\"index\":0,\"delta\":\
    {\"tool_calls\":[{\"index\":0,\"id\":\"call_1\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"a\\\"\"}}]}}]}\r\n\r\n\
    data: {\"id\":\"c1\",\"model\":\"gpt-4.1-new\",\"choices\":[{\"index\":0,\"delta\":\
    {\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\": 1}\"}}]}}]}\n\n\
    data: {\"id\":\"c1\",\"model\":\"gpt-4.1-new\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"tool_calls\"}]}\n\n\
    data: [DONE]\n\n";

/// The upstream does not go on before the client has its first token: nothing is held back.
#[test]
fn a_stream_passes_event_by_event_and_byte_for_byte() {
    let _company = in_company();
    let (tell, told): (Sender<()>, Receiver<()>) = channel();
    let told = Mutex::new(told);
    let base = upstream(move |stream| {
        stream
            .write_all((HEAD.to_owned() + BEGINNING).as_bytes())
            .unwrap();
        let has_it = told.lock().unwrap().recv_timeout(PATIENCE);
        has_it.expect("the client has the first token before the last one is sent");
        stream.write_all(REST.as_bytes()).unwrap();
    });
    let folder = tempfile::tempdir().unwrap();
    let stand = Stand::before(folder, [&base, &base], Vec::new(), "");
    let mut stream = stand.ask();
    stream.until("Hé");
    tell.send(()).unwrap();
    assert_eq!(stream.header("x-version"), Some("v2"));
    assert_eq!(stream.header("content-type"), Some("text/event-stream"));
    assert_eq!(stream.rest(), format!("{BEGINNING}{REST}"));
}

/// The upstream is still writing when its reader leaves, and knows at once.
#[test]
fn a_caller_who_leaves_ends_the_upstreams_stream() {
    let _company = in_company();
    let (tell, told) = channel();
    let base = upstream(move |stream| {
        stream
            .write_all((HEAD.to_owned() + BEGINNING).as_bytes())
            .unwrap();
        let mut rest = [0; 16];
        let _ = stream.set_read_timeout(Some(PATIENCE));
        let gone = match stream.read(&mut rest) {
            Ok(n) => n == 0,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        };
        let _ = tell.send(gone);
    });
    let folder = tempfile::tempdir().unwrap();
    let stand = Stand::before(folder, [&base, &base], Vec::new(), "");
    let mut stream = stand.ask();
    stream.until("Hé");
    drop(stream);
    assert_eq!(told.recv_timeout(PATIENCE), Ok(true));

    let stand = Stand::with_mocks(100, "kind: stream_stall, after: 2", "");
    let mut stream = stand.ask();
    stream.until("tok ");
    drop(stream);
    wait_for(|| {
        stand
            .ledger("v2.jsonl")
            .contains("client_gone")
            .then_some(())
    });
}

#[test]
fn what_breaks_before_its_first_token_is_answered_by_stable_and_nobody_sees_it() {
    let _company = in_company();
    for kind in ["stream_cut", "stream_reset", "stream_error", "stream_close"] {
        let stand = Stand::with_mocks(200, &format!("kind: {kind}, after: 0"), "");
        let stream = stand.ask();
        assert_eq!(stream.header("x-version"), Some("v1"), "{kind}");
        assert_eq!(stream.header("x-fallback"), Some("true"), "{kind}");
        assert_eq!(stream.header("x-attempts"), Some("2"), "{kind}");
        let read = stream.rest();
        assert_eq!(tokens(&read), 8, "{kind}: {read}");
        assert!(read.ends_with("data: [DONE]\n\n"), "{kind}: {read}");
        assert!(!read.contains("error"), "{kind}: {read}");
    }
}

#[test]
fn what_breaks_after_its_first_token_ends_with_an_error_and_without_done() {
    let _company = in_company();
    for (kind, code) in [
        ("stream_cut", "upstream_truncated"),
        ("stream_no_done", "upstream_truncated"),
        ("stream_mid_character", "upstream_truncated"),
        ("stream_error", "upstream_stream_error"),
        ("stream_malformed", "upstream_malformed"),
    ] {
        let stand = Stand::with_mocks(200, &format!("kind: {kind}, after: 3"), "");
        let stream = stand.ask();
        assert_eq!(stream.header("x-version"), Some("v2"), "{kind}");
        assert_eq!(stream.header("x-fallback"), Some("false"), "{kind}");
        let read = stream.rest();
        let expected = if kind == "stream_no_done" { 8 } else { 3 };
        assert_eq!(tokens(&read), expected, "{kind}: {read}");
        assert!(!read.contains("[DONE]"), "{kind}: {read}");
        let last = read.trim_end().rsplit("\n\n").next().unwrap_or_default();
        let error = last.strip_prefix("data: ").expect("an event");
        let error: serde_json::Value = serde_json::from_str(error).expect("JSON");
        assert_eq!(error["error"]["code"], code, "{kind}: {read}");
        assert_eq!(stand.ledger("v1.jsonl"), "", "{kind}: stable was asked");
    }
}

pub(crate) const LIMITS: &str =
    "timeouts: {first_token: 700ms, idle: 700ms, attempt: 20s, request: 40s}";
const LIMIT: Duration = Duration::from_millis(700);

/// They come when they are due, and not before; and much sooner than the limit of the whole attempt.
#[test]
fn limits_on_the_first_token_and_on_silence_are_kept() {
    let _company = in_company();
    let stand = Stand::with_mocks(100, "kind: stream_stall, after: 0", LIMITS);
    let start = Instant::now();
    let stream = stand.ask();
    let first = start.elapsed();
    assert!(first >= LIMIT, "{first:?}");
    assert!(first < Duration::from_secs(10), "{first:?}");
    assert_eq!(stream.header("x-fallback"), Some("true"));
    assert!(stream.rest().ends_with("data: [DONE]\n\n"));

    let stand = Stand::with_mocks(100, "kind: stream_stall, after: 3", LIMITS);
    let start = Instant::now();
    let mut stream = stand.ask();
    while stream.tokens() < 3 {
        assert!(stream.more());
    }
    let read = stream.rest();
    let all = start.elapsed();
    assert!(all >= LIMIT, "{all:?}");
    assert!(all < Duration::from_secs(10), "{all:?}");
    assert!(read.contains("upstream_timeout"), "{read}");
    assert!(!read.contains("[DONE]"), "{read}");
}

/// A slow stream is longer than each of its limits, and keeps to them.
#[test]
fn a_slow_stream_keeps_to_its_limits() {
    let _company = in_company();
    let stand = Stand::with_mocks(6, "", LIMITS);
    let read = stand.ask().rest();
    assert_eq!(tokens(&read), 8, "{read}");
    assert!(read.ends_with("data: [DONE]\n\n"), "{read}");
}
