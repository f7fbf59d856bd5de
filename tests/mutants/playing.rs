//! Runs a mutant through a scenario, and says who caught it.

use graygate::id::Seed;
use graygate::runner::{RunOptions, RunOutput};
use graygate::scenario::Scenario;
use graygate::verdict::result::{GateResult, Status, Verdict};

use crate::catalogue::Catch;
use crate::support::run;

/// The verdict on a run with this seed.
pub(crate) fn judged(scenario: &Scenario, seed: Seed, options: &RunOptions) -> Verdict {
    let output: RunOutput = run(&scenario.clone().with_seed(seed), options);
    output.report.verdict
}

/// Did this gate fail, for this reason? Inconclusive is not caught, and neither is invalid.
pub(crate) fn is_caught(verdict: &Verdict, catch: &Catch) -> bool {
    let gate = verdict.gates.iter().find(|g| g.name == catch.gate);
    verdict.status == Status::Fail && gate.is_some_and(|gate| fails_about(gate, catch.about))
}

fn fails_about(gate: &GateResult, about: &str) -> bool {
    let mut failed = gate.checks.iter().filter(|c| c.status == Status::Fail);
    gate.status == Status::Fail && failed.any(|c| c.condition.contains(about))
}

/// The gates that failed.
pub(crate) fn red(verdict: &Verdict) -> Vec<&str> {
    let failed = verdict.gates.iter().filter(|g| g.status == Status::Fail);
    failed.map(|g| g.name.as_str()).collect()
}

/// The checks that did not pass, for whoever reads why something was not caught.
pub(crate) fn open_checks(verdict: &Verdict) -> String {
    let mut lines = vec![format!("the run: {}", verdict.status.name())];
    for gate in &verdict.gates {
        for check in gate.open_checks() {
            let (status, condition, seen) = (check.status.name(), &check.condition, &check.seen);
            lines.push(format!("{} {status}: {condition}: {seen}", gate.name));
        }
    }
    lines.join("\n    ")
}
