//! Real upstreams behind the harness's proxy. What stands for the real server is `graygate mock` as a process of
//! its own, which knows nothing of the run that asks it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;

use graygate::live::gateway::{Endpoint, Secret};
use graygate::live::real::RealEndpoints;
use graygate::observe::meta::Engine;
use graygate::observe::story::Story;
use graygate::runner::{RunOptions, RunOutput};
use graygate::scenario::Scenario;
use graygate::upstream::stream::Breakage;
use graygate::verdict::result::Status;
use serde_json::Value;
use tempfile::TempDir;

use crate::conformance::{FAULTS, fates, virtual_stories};
use crate::conformance_streams::stream_fate;
use crate::process::{Server, client};
use crate::support::{Stories, alone, gate, in_company, keys, run_with, written};

/// A key that nothing may repeat.
const KEY: (&str, &str) = ("REAL_API_KEY", "sk-canaryInTheCoalMine-real-0123456789");

/// A server of two models, each of which takes 8 ms for five tokens.
fn server() -> Server {
    let profile = "first_token: 4ms, tokens_per_second: 1000, output_tokens: 5";
    let models = ["--model", "a", "--model", "b"];
    let args = ["mock", "--profile", profile];
    Server::start(&[&args[..], &models[..]].concat(), &[])
}

/// What the server wrote down of its requests.
fn ledger(server: &Server) -> Vec<Value> {
    let url = format!("http://{}/admin/ledger", server.address());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let text = runtime.block_on(async {
        let answer = client().get(url).send().await.expect("a ledger");
        answer.text().await.expect("its text")
    });
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.collect()
}

/// A scenario file beside which nothing else lies.
struct Case {
    folder: TempDir,
}

impl Case {
    fn new(base: &str, more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            "
name: real
engine: live
seed: 3
router:
  versions:
    v1: {{role: stable, model: a, endpoint: \"{base}\", api_key_env: REAL_API_KEY, price: {{flat: $1}}}}
    v2: {{role: canary, model: b, endpoint: \"{base}\", api_key_env: REAL_API_KEY, price: {{flat: $1}}}}
  split: {{weights: {{v1: 50, v2: 50}}}}
  judge: off
{more}
"
        );
        std::fs::write(folder.path().join("real.yaml"), text).unwrap();
        Self { folder }
    }

    /// `graygate run` on it, with these arguments and the key.
    fn run(&self, args: &[&str]) -> Output {
        self.run_with_key(args, KEY.1)
    }

    /// `graygate run --allow-real` until the machine does not disturb it, and what the server then wrote down.
    fn valid_run(&self, server: &Server) -> (Output, Vec<Value>) {
        for _ in 0..5 {
            let _ = std::fs::remove_dir_all(self.folder.path().join("reports"));
            let before = ledger(server).len();
            let output = self.run(&["--allow-real"]);
            if output.status.code() != Some(4) {
                return (output, ledger(server).split_off(before));
            }
        }
        panic!("five invalid runs: is the machine overloaded?");
    }

    fn run_with_key(&self, args: &[&str], key: &str) -> Output {
        let _company = in_company();
        Command::new(env!("CARGO_BIN_EXE_graygate"))
            .args(["run", "real.yaml", "--junit", "junit.xml"])
            .args(args)
            .current_dir(self.folder.path())
            .env(KEY.0, key)
            .stdin(Stdio::null())
            .output()
            .expect("graygate runs")
    }

    fn summary(&self) -> Value {
        let file = self.found("summary.json");
        serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
    }

    fn junit(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("junit.xml")).unwrap()
    }

    /// A file of its one run.
    fn found(&self, name: &str) -> PathBuf {
        let runs = self.folder.path().join("reports/real");
        let mut runs = std::fs::read_dir(runs).unwrap();
        runs.next().unwrap().unwrap().path().join(name)
    }
}

fn said(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    String::from_utf8_lossy(out).into_owned() + &String::from_utf8_lossy(err)
}

const TRAFFIC: &str = "
upstreams: {v1: real, v2: {real: {max_tokens: 16}}}
traffic: {synthetic: {arrivals: {closed: 2}, requests: 60, stream: 40%}}
";

#[test]
fn a_real_server_is_asked_through_the_router_and_the_report_says_so() {
    let server = server();
    let more = "budget: {money: $1.00, tokens: 100000}
expect: [attribution, stream, contract, requests: {success: \"100%\"}, cost: {total: \"<= $0.01\"}]";
    let case = Case::new(&server.base, &format!("{TRAFFIC}{more}"));
    let (output, rows) = case.valid_run(&server);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(rows.len(), 60);
    let summary = case.summary();
    assert_eq!(summary["versions"]["v1"]["upstream"], "real");
    // The server and the run counted the same tokens, and the purse paid for them alone.
    let sum = |field: &str| rows.iter().map(|r| r[field].as_u64().unwrap()).sum::<u64>();
    let tokens = sum("prompt_tokens") + sum("completion_tokens");
    let events = std::fs::read_to_string(case.found("events.jsonl")).unwrap();
    let purse = events.lines().find(|line| line.contains("\"purse\""));
    let purse: Value = serde_json::from_str(purse.expect("its last word")).unwrap();
    assert_eq!(purse["spent"]["tokens"], tokens);
    assert_eq!(purse["spent"]["money"], tokens * 1_000);
    assert_eq!(purse["under_way"]["tokens"], 0);
    assert!(purse["refused"].is_null());
}

#[test]
fn nothing_is_sent_that_nobody_allowed() {
    let server = server();
    let more = "budget: {tokens: 100000}\nexpect: [attribution]";
    let case = Case::new(&server.base, &format!("{TRAFFIC}{more}"));
    let output = case.run(&[]);
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    assert!(said(&output).contains("skipped: real.yaml: it sends requests to http://127.0.0.1"));
    assert!(said(&output).contains("--allow-real"));
    assert!(
        case.junit().contains("<skipped message="),
        "{}",
        case.junit()
    );
    assert_eq!(case.run(&["--require-all"]).status.code(), Some(5));
    let output = case.run(&["--allow-real", "--engine", "virtual"]);
    assert!(said(&output).contains("virtual time has none"));
    let output = case.run(&["--format", "json"]);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json[0]["status"], "skipped");
    let output = case.run_with_key(&["--allow-real"], "");
    assert!(said(&output).contains("the variable REAL_API_KEY is not set"));
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(ledger(&server).len(), 0);
}

#[test]
fn a_budget_stops_the_run_before_it_is_passed() {
    let server = server();
    for (budget, most_tokens) in [("tokens: 1200", 1_200), ("money: $0.0012", 1_200)] {
        let more = format!("budget: {{{budget}}}\nexpect: [requests: {{success: \"100%\"}}]");
        let traffic = TRAFFIC.replace("requests: 60", "requests: 200");
        let case = Case::new(&server.base, &format!("{traffic}{more}"));
        let (output, rows) = case.valid_run(&server);
        assert_eq!(output.status.code(), Some(3), "{}", said(&output));
        assert!(said(&output).contains("it did not:"), "{}", said(&output));
        assert!((4..200).contains(&rows.len()), "{}", rows.len());
        let tokens = |row: &Value| {
            let of = |field: &str| row[field].as_u64().unwrap_or(0);
            of("prompt_tokens") + of("completion_tokens")
        };
        let spent: u64 = rows.iter().map(tokens).sum();
        assert!(spent <= most_tokens, "{spent}");
        let summary = case.summary();
        let gates = summary["gates"].as_array().unwrap();
        let budget = gates.iter().find(|gate| gate["name"] == "budget").unwrap();
        assert_eq!(budget["status"], "inconclusive");
        assert_eq!(summary["interrupted"], false);
    }
}

#[test]
fn caps_hold_and_what_they_hold_back_makes_a_run_invalid() {
    let server = server();
    let more = "
upstreams: {v1: {real: {rate: 20/s}}, v2: {real: {concurrency: 1}}}
traffic: {synthetic: {arrivals: {closed: 8}, requests: 60}}
budget: {tokens: 100000}
expect: [requests: {success: \"100%\"}]";
    let case = Case::new(&server.base, more);
    let output = case.run(&["--allow-real"]);
    assert_eq!(output.status.code(), Some(4), "{}", said(&output));
    assert!(said(&output).contains("more than the caps let through"));
    let rows = ledger(&server);
    let of = |model: &'static str| rows.iter().filter(move |row| row["model"] == model);
    let times = |model, field: &str| {
        let all = of(model).map(|row| row[field].as_f64().unwrap());
        all.collect::<Vec<f64>>()
    };
    // Evenly spaced when they were sent; on their way they may come up to each other.
    let begun = times("a", "at_s");
    let took = begun[begun.len() - 1] - begun[0];
    let least = 0.050 * (begun.len() - 1) as f64 - 0.040;
    assert!(took >= least, "{} requests in {took} s", begun.len());
    let (begun, ended) = (times("b", "at_s"), times("b", "ended_s"));
    let mut pairs = ended.iter().zip(&begun[1..]);
    assert!(pairs.all(|(end, next)| end <= next), "two at once");
}

#[test]
fn an_upstream_that_is_not_there_is_told_before_anything_is_sent() {
    let more = "budget: {tokens: 100000}\nexpect: [attribution]";
    let nobody = Case::new("http://127.0.0.1:9/v1", &format!("{TRAFFIC}{more}"));
    let output = nobody.run(&["--allow-real"]);
    assert_eq!(output.status.code(), Some(5), "{}", said(&output));
    assert!(said(&output).contains("cannot reach the upstream of `v1`"));
    let others = Server::start(&["mock", "--model", "c"], &[]);
    let wrong = Case::new(&others.base, &format!("{TRAFFIC}{more}"));
    let output = wrong.run(&["--allow-real"]);
    assert_eq!(output.status.code(), Some(5), "{}", said(&output));
    assert!(said(&output).contains("does not serve the model `a`: it lists c"));
    assert_eq!(ledger(&others).len(), 0);
}

/// A server that refuses keys and repeats them: the run does not.
#[test]
fn a_key_shows_up_nowhere() {
    use wiremock::matchers::{method, path};
    use wiremock::{Mock, MockServer, ResponseTemplate};
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let seen: &'static Mutex<Vec<String>> = Box::leak(Box::default());
    let server = runtime.block_on(async {
        let server = MockServer::start().await;
        let talkative = |request: &wiremock::Request| {
            let key = request.headers["authorization"].to_str().unwrap();
            seen.lock().unwrap().push(key.to_owned());
            let body = format!("{{\"error\": {{\"message\": \"not {key}\"}}}}");
            ResponseTemplate::new(401)
                .insert_header("x-echo", key)
                .set_body_raw(body, "application/json")
        };
        let chat = Mock::given(method("POST")).and(path("/v1/chat/completions"));
        chat.respond_with(talkative).mount(&server).await;
        server
    });
    let more = "budget: {tokens: 100000}\nexpect: [attribution]";
    let case = Case::new(&format!("{}/v1", server.uri()), &format!("{TRAFFIC}{more}"));
    let output = case.run(&["--allow-real"]);
    let bearer = format!("Bearer {}", KEY.1);
    let seen = seen.lock().unwrap();
    assert!(seen.len() == 60 && seen.iter().all(|key| *key == bearer));
    assert!(!said(&output).contains("canaryInTheCoalMine"));
    assert!(read_all(case.folder.path()) > 10);
}

/// Reads every file below a folder, and finds no key.
fn read_all(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).unwrap();
    let counts = entries.map(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return read_all(&path);
        }
        let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
        assert!(!text.contains("canaryInTheCoalMine"), "{}", path.display());
        1
    });
    counts.sum()
}

/// The same scenario twice: with mocks for virtual time, and with a real server.
fn twice(server: &Server, stream: &str, faults: &[String]) -> [Scenario; 2] {
    let base = &server.base;
    let faults: String = faults
        .iter()
        .map(|fault| format!("  - {{on: v2, {fault}}}\n"))
        .collect();
    let text = |upstream: &str, more: &str| {
        format!(
            "
name: conformance
seed: 12
duration: 1200ms
{more}
router:
  versions:
    v1: {{role: stable, model: a, endpoint: \"{base}\", api_key_env: A}}
    v2: {{role: canary, model: b, endpoint: \"{base}\", api_key_env: B}}
  split: {{weights: {{v1: 50, v2: 50}}}}
  retry: {{max_retries: 1, base: 30ms}}
  timeouts: {{idle: 400ms, attempt: 1s, request: 5s}}
  fallback: after_retries
  judge: off
upstreams: {{v1: {upstream}, v2: {upstream}}}
traffic:
  synthetic: {{arrivals: {{constant: 100/s}}, stream: {stream}}}
faults:
{faults}expect:
  - attribution
  - generator: {{dispatch_delay_p99: \"<= 100ms\", rate_error: \"<= 10%\"}}
"
        )
    };
    let mock = "{mock: {first_token: 4ms, tokens_per_second: 1000, output_tokens: 5}}";
    let budget = "engine: live\nbudget: {tokens: 1000000}";
    [
        written("conformance", &text(mock, "")),
        written("conformance", &text("{real: {concurrency: 1000}}", budget)),
    ]
}

fn real_run(scenario: &Scenario, server: &Server) -> (RunOutput, Vec<Story>) {
    let _alone = alone();
    let endpoint = Endpoint {
        base: server.base.clone(),
        api_key: Some(Secret::new(KEY.1.to_owned())),
    };
    let real: RealEndpoints = [Some(endpoint.clone()), Some(endpoint)]
        .into_iter()
        .collect();
    let options = RunOptions {
        real: Some(real),
        ..RunOptions::new(Engine::Live)
    };
    for _ in 0..5 {
        let mut stories = Stories::default();
        let output = run_with(scenario, &options, &mut stories);
        if output.report.verdict.status != Status::Invalid {
            return (output, stories.sorted());
        }
    }
    panic!("five invalid runs: is the machine overloaded?");
}

/// Whatever the proxy puts into the answers of a real server has the outcome that it has at a mock, request
/// by request, and `attribution` finds nothing wrong.
#[test]
fn every_fault_before_a_real_server_is_the_same_as_at_a_mock() {
    let server = server();
    let more = [
        "kind: slow_body, share: 30%, over: 80ms",
        "kind: huge_body, share: 30%",
    ];
    let all: Vec<&str> = FAULTS.into_iter().chain(more).collect();
    for group in all.chunks(5) {
        let faults: Vec<String> = group.iter().map(|fault| (*fault).to_owned()).collect();
        let [mocked, real] = twice(&server, "0%", &faults);
        let (_, simulated) = virtual_stories(&mocked);
        let (output, live) = real_run(&real, &server);
        assert_eq!(keys(&simulated), keys(&live));
        for (a, b) in fates(&simulated).iter().zip(&fates(&live)) {
            assert_eq!(a, b, "{group:?}");
        }
        assert_eq!(gate(&output, "attribution").status, Status::Pass);
        let hit = live.iter().flat_map(|s| &s.attempts);
        assert!(hit.filter(|a| a.fault.is_some()).count() >= 30, "{group:?}");
    }
}

#[test]
fn every_fault_of_streams_before_a_real_server_is_the_same_as_at_a_mock() {
    let server = server();
    for after in ["0", "role", "2", "9"] {
        let faults =
            Breakage::ALL.map(|how| format!("kind: {}, after: {after}, share: 20%", how.name()));
        for group in faults.chunks(5) {
            let [mocked, real] = twice(&server, "100%", group);
            let (_, simulated) = virtual_stories(&mocked);
            let (output, live) = real_run(&real, &server);
            assert_eq!(keys(&simulated), keys(&live));
            for (a, b) in simulated.iter().zip(&live) {
                // How many tokens the text amounts to is known of mocks alone.
                let of = |story| {
                    let (end, streamed) = stream_fate(story);
                    (end, streamed.map(|(tokens, _)| tokens))
                };
                assert_eq!(of(a), of(b), "{group:?}, request {}", a.key);
            }
            for (a, b) in fates(&simulated).iter().zip(&fates(&live)) {
                assert_eq!(a, b, "{group:?}");
            }
            assert_eq!(gate(&output, "attribution").status, Status::Pass);
        }
    }
}

/// Whoever gives up while a cap holds them back was held back all the same: what came of it is not the server's doing.
#[test]
fn attempts_that_give_up_at_a_cap_make_a_run_invalid() {
    let server = server();
    let more = "
upstreams: {v1: real, v2: {real: {rate: 1/h}}}
traffic: {synthetic: {arrivals: {closed: 4}, requests: 40}}
budget: {tokens: 100000}
expect: [fallback]";
    let case = Case::new(
        &server.base,
        &more.replace("upstreams:", "duration: 20s\nupstreams:"),
    );
    let file = case.folder.path().join("real.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let text = text.replace("  judge: off", "  timeouts: {attempt: 300ms}\n  judge: off");
    std::fs::write(&file, text).unwrap();
    let output = case.run(&["--allow-real"]);
    assert_eq!(output.status.code(), Some(4), "{}", said(&output));
    assert!(said(&output).contains("more than the caps let through"));
}

/// A server whose every answer is this stream, in one piece.
fn streaming(events: &str) -> (tokio::runtime::Runtime, wiremock::MockServer) {
    use wiremock::matchers::method;
    use wiremock::{Mock, MockServer, ResponseTemplate};
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = runtime.block_on(async {
        let server = MockServer::start().await;
        let reply = ResponseTemplate::new(200).set_body_raw(events, "text/event-stream");
        Mock::given(method("POST"))
            .respond_with(reply)
            .mount(&server)
            .await;
        server
    });
    (runtime, server)
}

fn event(content: &str, more: &str) -> String {
    let choice = format!("{{\"index\":0,\"delta\":{{\"content\":\"{content}\"}}{more}}}");
    format!(
        "data: {{\"id\":\"c\",\"model\":\"m\",\"choices\":[{choice}],\"usage\":{{\"prompt_tokens\":3,\
         \"completion_tokens\":1,\"total_tokens\":4}}}}\n\n"
    )
}

/// Some servers state what they have used so far with every chunk: of a stream that breaks, that is not what it cost.
#[test]
fn a_broken_stream_is_paid_in_full_whatever_it_stated_so_far() {
    let events = [
        event("a", ""),
        event("b", ""),
        event("c", ",\"finish_reason\":\"stop\""),
    ];
    let (_runtime, server) = streaming(&(events.concat() + "data: [DONE]\n\n"));
    let more = "
upstreams: {v1: {real: {max_tokens: 50}}, v2: {real: {max_tokens: 50}}}
traffic: {synthetic: {arrivals: {closed: 1}, requests: 40, stream: 100%}}
faults: [{on: [v1, v2], kind: stream_cut, after: 2}]
budget: {tokens: 3000}
expect: [requests: {success: \"0%\"}]";
    let case = Case::new(&format!("{}/v1", server.uri()), more);
    let output = case.run(&["--allow-real"]);
    assert!(said(&output).contains("it did not:"), "{}", said(&output));
    assert_ne!(output.status.code(), Some(0), "{}", said(&output));
}

/// An event that is too large to be read is malformed for everybody who reads it.
#[test]
fn an_event_larger_than_anybody_reads_is_malformed_for_all() {
    let huge = event(&"x".repeat(5 << 20), "");
    let (_runtime, server) = streaming(&(event("a", "") + &huge + "data: [DONE]\n\n"));
    let more = "
upstreams: {v1: real, v2: real}
traffic: {synthetic: {arrivals: {closed: 1}, requests: 6, stream: 100%}}
budget: {tokens: 1000000}
expect: [attribution, requests: {success: \"0%\"}]";
    let case = Case::new(&format!("{}/v1", server.uri()), more);
    let output = case.run(&["--allow-real"]);
    assert!(
        said(&output).contains("0 of 12 outcomes differ"),
        "{}",
        said(&output)
    );
}
