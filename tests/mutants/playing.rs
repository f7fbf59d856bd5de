//! Runs a mutant through a scenario, and says who caught it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use graygate::id::Seed;
use graygate::runner::{RunOptions, RunOutput};
use graygate::scenario::Scenario;
use graygate::verdict::result::{GateResult, Status, Verdict};

use rayon::prelude::*;

use crate::catalogue::{Catch, Mutant, all};
use crate::support::{run, shipped};

/// The verdict on a run with this seed.
pub(crate) fn judged(scenario: &Scenario, seed: Seed, options: &RunOptions) -> Verdict {
    let output: RunOutput = run(&scenario.clone().with_seed(seed), options);
    output.report.verdict
}

/// The verdict on a run with the scenario's own seed.
pub(crate) fn judged_as_shipped(name: &str, options: &RunOptions) -> Verdict {
    let scenario = shipped(name);
    judged(&scenario, scenario.experiment.seed, options)
}

/// Every mutant in every scenario that must catch it, with the scenario's own seed. Several tests ask for these.
pub(crate) fn named() -> &'static BTreeMap<(&'static str, &'static str), Verdict> {
    static NAMED: LazyLock<BTreeMap<(&str, &str), Verdict>> = LazyLock::new(|| {
        let mutants = all();
        let runs = mutants.iter().flat_map(|mutant| {
            let names = mutant.scenarios().into_iter();
            names.map(move |name| (mutant, name))
        });
        let runs: Vec<(&Mutant, &'static str)> = runs.collect();
        let judge = |(mutant, name): (&Mutant, &'static str)| {
            (
                (mutant.id, name),
                judged_as_shipped(name, &mutant.options()),
            )
        };
        runs.into_par_iter().map(judge).collect()
    });
    &NAMED
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
