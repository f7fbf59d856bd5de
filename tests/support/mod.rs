//! Loading and running shipped scenarios. Shared by several test binaries, none of which uses all.
#![allow(
    dead_code,
    reason = "shared by several test binaries, none of which uses all of it"
)]

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use graygate::id::{RequestKey, Seed};
use graygate::observe::event::{RunEvent, Sink};
use graygate::observe::join::Join;
use graygate::observe::meta::Engine;
use graygate::observe::story::Story;
use graygate::runner::{self, RunOptions, RunOutput};
use graygate::scenario::recorded::LogRequest;
use graygate::scenario::replay::ReplayRequest;
use graygate::scenario::{self, Scenario, compile};
use graygate::traffic::replay::Speed;
use graygate::verdict::result::{GateResult, Status};

pub(crate) const SHIPPED: [&str; 63] = [
    "anonymous-callers-are-split",
    "canary-401-falls-back-and-rolls-back",
    "canary-401-with-a-shared-key",
    "canary-at-zero-gets-nothing",
    "canary-timeouts",
    "cost-of-a-failing-canary",
    "drifting-canary-keeps-the-contract",
    "each-failure-falls-back",
    "errors-just-above-threshold",
    "errors-just-below-threshold",
    "failed-step-is-the-last",
    "failing-stable-keeps-its-canary",
    "fallback-masks-dead-canary",
    "forced-requests-are-no-evidence",
    "growing-canary-moves-nobody-back",
    "healed-canary-is-kept",
    "healthy-canary",
    "impatient-callers-are-no-failures",
    "in-flight-attempts-are-recalled",
    "judged-steps-lead-to-promotion",
    "missing-model-mid-run",
    "no-data-holds-the-ramp",
    "premium-users-first",
    "ramp-breaks-at-full",
    "ramp-breaks-at-initial",
    "ramp-breaks-at-majority",
    "ramp-breaks-at-minority",
    "ramp-healthy-canary-is-promoted",
    "rate-limit-storm",
    "rate-limited-canary",
    "refused-requests-are-nobodys-failure",
    "replay-azure-sample",
    "retry-storm-stays-in-budget",
    "rollback-is-final",
    "rollback-is-told-once",
    "s01-429-with-retry-after",
    "s02-persistent-429",
    "s03-500-once",
    "s04-503",
    "s05-tcp-reset",
    "s06-silence",
    "s07-slow-first-token",
    "s08-stream-cut",
    "s09-stream-stall",
    "s10-malformed-chunk",
    "s11-missing-done",
    "s12-context-length",
    "s13-content-filter",
    "s14-prefilled-answer",
    "s15-flapping-canary",
    "s16-accounting-of-a-failover",
    "server-errors-above-threshold",
    "server-errors-below-threshold",
    "sessions-stay-through-the-rush",
    "shared-outage-keeps-its-canary",
    "slow-canary-rolled-back-by-p99",
    "split-proven-at-scale",
    "stable-lost-its-model",
    "sticky-users-leave-a-closed-canary",
    "sticky-users-stay",
    "streams-break-and-stall",
    "stress-test-20-requests",
    "weights-below-one-count",
];

/// The shipped scenarios that are short enough to be run live as well.
pub(crate) const ALSO_LIVE: [&str; 5] = [
    "healthy-canary",
    "replay-azure-sample",
    "retry-storm-stays-in-budget",
    "server-errors-above-threshold",
    "stress-test-20-requests",
];

pub(crate) fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

pub(crate) fn shipped(name: &str) -> Scenario {
    load(&project(&format!("scenarios/{name}.yaml")))
}

pub(crate) fn load(path: &Path) -> Scenario {
    match compile::file(path) {
        Ok((scenario, warnings)) => {
            assert!(warnings.list.is_empty(), "{warnings}");
            scenario
        }
        Err(problems) => panic!("{problems}"),
    }
}

/// A scenario written in a test, with paths relative to `scenarios/`.
pub(crate) fn written(name: &str, text: &str) -> Scenario {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(format!("{name}.yaml"));
    let root = project("fixtures").display().to_string();
    std::fs::write(&path, text.replace("../fixtures", &root)).expect("a file");
    match compile::file(&path) {
        Ok((scenario, _)) => scenario,
        Err(problems) => panic!("{problems}"),
    }
}

/// Collects the stories of a run.
#[derive(Default)]
pub(crate) struct Stories {
    join: Join,
    pub(crate) all: Vec<Story>,
}

impl Sink for Stories {
    fn event(&mut self, event: &RunEvent) {
        self.all.extend(self.join.event(event).story);
    }
}

impl Stories {
    /// The stories in the order of their keys.
    pub(crate) fn sorted(mut self) -> Vec<Story> {
        self.all.extend(self.join.finish());
        self.all.sort_by_key(|s| s.key);
        self.all
    }
}

/// Whoever wants the report alone.
struct Nobody;

impl Sink for Nobody {
    fn event(&mut self, _: &RunEvent) {}
}

pub(crate) fn run(scenario: &Scenario, options: &RunOptions) -> RunOutput {
    run_with(scenario, options, &mut Nobody)
}

pub(crate) fn run_with(
    scenario: &Scenario,
    options: &RunOptions,
    observer: &mut (dyn Sink + Send),
) -> RunOutput {
    let cancel = Arc::new(AtomicBool::new(false));
    runner::run(scenario, options, observer, &cancel).expect("the scenario runs")
}

pub(crate) fn virtual_run(scenario: &Scenario) -> RunOutput {
    run(scenario, &RunOptions::new(Engine::Virtual))
}

/// Tests that measure time keep all others away.
static LIVE: RwLock<()> = RwLock::new(());

/// Nobody else runs meanwhile: for whoever measures time.
pub(crate) fn alone() -> RwLockWriteGuard<'static, ()> {
    LIVE.write().unwrap_or_else(PoisonError::into_inner)
}

/// Nobody measures time meanwhile: for whoever only keeps the machine busy. Once a test, since two of
/// these in one thread may wait for each other.
pub(crate) fn in_company() -> RwLockReadGuard<'static, ()> {
    LIVE.read().unwrap_or_else(PoisonError::into_inner)
}

/// A live run. One that the machine disturbed is invalid and repeated, up to five times; a failed
/// one never.
pub(crate) fn live_run(scenario: &Scenario) -> (RunOutput, Vec<Story>) {
    let _alone = alone();
    for attempt in 1..=5 {
        let mut stories = Stories::default();
        let output = run_with(scenario, &RunOptions::new(Engine::Live), &mut stories);
        if output.report.verdict.status != Status::Invalid {
            return (output, stories.sorted());
        }
        eprintln!("live run {attempt} of {} was invalid", scenario.name);
    }
    panic!(
        "five invalid live runs of {}: is the machine overloaded?",
        scenario.name
    )
}

pub(crate) fn assert_passes(output: &RunOutput) {
    let verdict = &output.report.verdict;
    let open: Vec<&GateResult> = verdict
        .gates
        .iter()
        .filter(|g| g.status != Status::Pass)
        .collect();
    assert!(
        open.is_empty() && verdict.status == Status::Pass,
        "{open:#?}"
    );
}

pub(crate) fn gate<'o>(output: &'o RunOutput, name: &str) -> &'o GateResult {
    let gates = &output.report.verdict.gates;
    let found = gates.iter().find(|g| g.name == name);
    found.unwrap_or_else(|| panic!("no gate {name}"))
}

/// A recorded log through the 10 % router.
pub(crate) fn replay(path: PathBuf, speed: Speed) -> Scenario {
    let request = ReplayRequest {
        log: LogRequest {
            speed,
            ..LogRequest::whole(path)
        },
        router: project("fixtures/routers/gray-10.yaml"),
        expect: None,
        faults: Vec::new(),
        profile: None,
        canary_profile: None,
        is_stable_recorded: false,
        canary_log: None,
        seed: Seed(1),
    };
    match scenario::replay::compile(&request) {
        Ok((scenario, _)) => scenario,
        Err(problems) => panic!("{problems}"),
    }
}

/// One of the real traces beside the project; none, said aloud, where that folder is absent.
pub(crate) fn trace(name: &str) -> Option<PathBuf> {
    let path = project("../shared/traces").join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!("SKIPPED: {} is not on this machine", path.display());
    None
}

pub(crate) fn with_seed(name: &str, seed: u64) -> Scenario {
    shipped(name).with_seed(Seed(seed))
}

pub(crate) fn keys(stories: &[Story]) -> Vec<RequestKey> {
    stories.iter().map(|s| s.key).collect()
}
