//! The live gateway's input log, given to a fresh router, repeats its actions and events byte for
//! byte: in the library, and through the files of `graygate serve`.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use graygate::experiment::Experiment;
use graygate::fault::kind::FaultKind;
use graygate::fault::schedule::Fault;
use graygate::id::Seed;
use graygate::live::gateway::input_log::{LogHeader, LoggedCall, Said, listen, replay};
use graygate::observe::meta::Engine;
use graygate::protocol::outcome::Outcome;
use graygate::router::core::{Core, Footprint};
use graygate::router::gray::GrayRouter;
use graygate::router::io::{Action, Event, Input};
use graygate::runner::{self, RunOptions};
use graygate::scenario::Scenario;
use graygate::time::Timestamp;
use serde_json::json;

use crate::process::{KEYS, Server, client, router_file, wait_for};
use crate::support::{Stories, alone, in_company, shipped};

/// Keeps the calls of a core, and what it said to each.
struct Recording {
    inner: GrayRouter,
    said: std::collections::VecDeque<Said>,
    kept: Arc<Mutex<Vec<(LoggedCall, Said)>>>,
}

impl Recording {
    fn keep(&mut self, now: Timestamp, input: Option<Input>) {
        let said = listen(&mut self.inner);
        let call = LoggedCall { now, input };
        self.kept.lock().unwrap().push((call, said.clone()));
        self.said.push_back(said);
    }
}

impl Core for Recording {
    fn handle(&mut self, now: Timestamp, input: Input) {
        self.inner.handle(now, input.clone());
        self.keep(now, Some(input));
    }
    fn handle_timeout(&mut self, now: Timestamp) {
        self.inner.handle_timeout(now);
        self.keep(now, None);
    }
    fn poll_action(&mut self) -> Option<Action> {
        self.said
            .iter_mut()
            .find_map(|s| (!s.actions.is_empty()).then(|| s.actions.remove(0)))
    }
    fn poll_event(&mut self) -> Option<Event> {
        let event = self
            .said
            .iter_mut()
            .find_map(|s| (!s.events.is_empty()).then(|| s.events.remove(0)));
        if event.is_none() {
            self.said.clear();
        }
        event
    }
    fn poll_timeout(&self) -> Option<Timestamp> {
        self.inner.poll_timeout()
    }
    fn footprint(&self) -> Footprint {
        self.inner.footprint()
    }
}

fn fresh(experiment: &Experiment) -> GrayRouter {
    GrayRouter::new(experiment.router.clone(), experiment.seed, Timestamp::ZERO)
}

/// The same scenario where a few requests find an upstream that never answers.
fn with_timeouts(mut scenario: Scenario) -> Scenario {
    let experiment = &mut scenario.experiment;
    let router = Arc::make_mut(&mut experiment.router);
    router.timeouts.attempt = Duration::from_millis(400);
    let silence = Fault {
        share: 0.02,
        ..Fault::always(FaultKind::Timeout, vec![router.stable, router.canary])
    };
    experiment.upstreams.faults.push(silence);
    scenario
}

#[test]
fn a_fresh_router_repeats_a_live_run_byte_for_byte() {
    let _alone = alone();
    let scenario = with_timeouts(shipped("server-errors-above-threshold"));
    let kept = Arc::new(Mutex::new(Vec::new()));
    let keep = kept.clone();
    let options = RunOptions {
        core: Some(Arc::new(move |experiment| {
            Box::new(Recording {
                inner: fresh(experiment),
                said: Default::default(),
                kept: keep.clone(),
            })
        })),
        ..RunOptions::new(Engine::Live)
    };
    let cancel = Arc::new(AtomicBool::new(false));
    runner::run(&scenario, &options, &mut Stories::default(), &cancel).unwrap();

    let kept = kept.lock().unwrap();
    let (calls, live): (Vec<LoggedCall>, Vec<Said>) = kept.iter().cloned().unzip();
    assert!(calls.len() > 3_000, "{} calls", calls.len());
    let ran_out = |e: &Event| {
        matches!(
            e,
            Event::AttemptEnded {
                outcome: Outcome::Timeout,
                ..
            }
        )
    };
    let timeouts = kept
        .iter()
        .filter(|(call, said)| call.input.is_none() && said.events.iter().any(ran_out));
    assert!(timeouts.count() >= 5, "timeouts are calls, too");
    // Over the wire and back, as from a file.
    let text: Vec<String> = calls
        .iter()
        .map(|c| serde_json::to_string(c).unwrap())
        .collect();
    let calls: Vec<LoggedCall> = text
        .iter()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    let again = replay(&mut fresh(&scenario.experiment), &calls);
    let bytes = |said: &[Said]| serde_json::to_vec(said).unwrap();
    assert!(
        bytes(&live) == bytes(&again),
        "the replay says something else"
    );
    let rolled_back = |s: &Said| s.events.iter().any(|e| matches!(e, Event::RolledBack(_)));
    assert_eq!(again.iter().filter(|s| rolled_back(s)).count(), 1);
}

#[test]
fn the_log_of_a_served_gateway_repeats_its_rollback() {
    let _company = in_company();
    let folder = tempfile::tempdir().unwrap();
    let mock = |model: &str, fault: &[&str]| {
        let mut args = vec!["mock", "--model", model, "--profile", "latency: 2ms"];
        args.extend(fault);
        Server::start(&args, &[])
    };
    let stable = mock("gpt-4.1", &[]);
    let canary = mock("gpt-4.1-new", &["--fault", "kind: server_error"]);
    let judge =
        "judge: {literal: {window: 60s, min_requests: 5, rollback: {error_rate: \"> 5%\"}}}";
    let router = router_file(folder.path(), &stable.base, &canary.base, judge);
    let log = folder.path().join("inputs.jsonl");
    let log_arg = log.display().to_string();
    let args = ["serve", &router, "--seed", "77", "--input-log", &log_arg];
    let gateway = Server::start(&args, &KEYS);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let client = client();
    let url = format!("{}/chat/completions", gateway.base);
    for _ in 0..8 {
        let body = json!({"model": "gpt-4.1", "messages": []}).to_string();
        let request = client
            .post(&url)
            .header("x-user-tier", "premium")
            .body(body);
        let status = runtime.block_on(async { request.send().await.unwrap().status() });
        assert_eq!(status, 200);
    }
    wait_for(|| gateway.log().contains("rolled back").then_some(()));
    assert_eq!(gateway.stop(), Some(0));

    let text = std::fs::read_to_string(&log).unwrap();
    let mut lines = text.lines();
    let header: LogHeader = serde_json::from_str(lines.next().unwrap()).unwrap();
    assert_eq!(header.seed, Seed(77));
    let calls: Vec<LoggedCall> = lines.map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(
        *header.beginning.file,
        router_config(std::path::Path::new(&router))
    );
    let mut core = header.beginning.core(header.seed);
    let said = replay(&mut core, &calls);
    let events = said.iter().flat_map(|s| &s.events);
    assert_eq!(
        events.filter(|e| matches!(e, Event::RolledBack(_))).count(),
        1
    );
}

/// A log that cannot be written must not disturb what it is a log of.
#[cfg(target_os = "linux")]
#[test]
fn a_gateway_goes_on_without_its_log() {
    let _company = in_company();
    let folder = tempfile::tempdir().unwrap();
    let mock = Server::start(&["mock", "--profile", "latency: 2ms"], &[]);
    let more = "retry: {max_retries: 0}";
    let router = router_file(folder.path(), &mock.base, &mock.base, more);
    let gateway = Server::start(&["serve", &router, "--input-log", "/dev/full"], &KEYS);
    wait_for(|| {
        gateway
            .log()
            .contains("input log is incomplete")
            .then_some(())
    });
    let body = json!({"model": "gpt-4.1", "messages": []}).to_string();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for _ in 0..5 {
        let url = format!("{}/chat/completions", gateway.base);
        let request = client().post(url).body(body.clone());
        let status = runtime.block_on(async { request.send().await.unwrap().status() });
        assert_eq!(status, 200);
    }
    assert_eq!(gateway.log().matches("input log").count(), 1);
    assert_eq!(gateway.stop(), Some(0));
}

fn router_config(path: &std::path::Path) -> graygate::router::config::RouterConfig {
    let problems = graygate::config::diagnostic::Problems::default();
    let loader = graygate::scenario::load::Loader::default();
    graygate::scenario::compile::router_from_file(&problems, path, &loader).expect("a router file")
}
