//! Every expectation says what it rests on: a figure, how many observations, by which method; an estimate its limits and
//! how sure they are, too; and what has too little evidence, how many more requests would settle it.

use graygate::experiment::Traffic;
use graygate::report::json;
use graygate::runner::RunOutput;
use graygate::scenario::Scenario;
use graygate::verdict::evaluate::FLAKE;
use graygate::verdict::spec::GateSpec;
use serde_json::Value;

use crate::support::{SHIPPED, shipped, virtual_run};

/// A check as `summary.json` has it, with the gate that it is of.
struct Stated {
    place: String,
    gate: String,
    check: Value,
}

impl Stated {
    fn evidence(&self, field: &str) -> &Value {
        &self.check["evidence"][field]
    }

    fn method(&self) -> &str {
        self.evidence("method").as_str().expect("a method")
    }

    fn n(&self) -> u64 {
        self.evidence("n")
            .as_u64()
            .expect("a number of observations")
    }

    fn is(&self, status: &str) -> bool {
        self.check["status"] == status
    }

    fn confidence(&self) -> f64 {
        self.evidence("confidence").as_f64().expect("a confidence")
    }
}

fn stated(output: &RunOutput) -> Vec<Stated> {
    let summary = json::value(&output.report);
    let scenario = summary["scenario"].as_str().expect("a name");
    let gates = summary["gates"].as_array().expect("gates").iter();
    let of = |gate: &Value| {
        let name = gate["name"].as_str().expect("a name").to_owned();
        let checks = gate["checks"].as_array().expect("checks").iter();
        let checks = checks.map(move |check| Stated {
            place: format!("{scenario}: {name}: {}", check["condition"]),
            gate: name.split('#').next().unwrap_or(&name).to_owned(),
            check: check.clone(),
        });
        checks.collect::<Vec<_>>()
    };
    gates.flat_map(of).collect()
}

/// The same with so few requests that little can be shown.
fn cut_to(mut scenario: Scenario, requests: u64) -> Option<Scenario> {
    match &mut scenario.experiment.traffic {
        Traffic::Synthetic(config) => config.requests = Some(requests),
        Traffic::Replay { .. } => return None,
    }
    Some(scenario)
}

fn rests_on_something(stated: &Stated) {
    let Stated { place, check, .. } = stated;
    let has_limits = ["interval", "confidence"].map(|field| !stated.evidence(field).is_null());
    match stated.method() {
        "census" => assert_eq!(has_limits, [false, false], "{place}: {check:#}"),
        "clopper-pearson equivalence" | "exact binomial" if stated.n() > 0 => {
            assert_eq!(has_limits, [true, true], "{place}: {check:#}");
        }
        "clopper-pearson equivalence" => assert!(!stated.is("pass"), "{place}: {check:#}"),
        method => panic!("{place}: {method} is in no document"),
    }
    if stated.n() > 0 && !stated.is("inconclusive") {
        assert!(!stated.evidence("estimate").is_null(), "{place}: {check:#}");
        assert_ne!(stated.evidence("unit"), "", "{place}: {check:#}");
    }
}

#[test]
fn every_check_of_a_shipped_scenario_says_what_it_rests_on() {
    let mut estimates = 0;
    for name in SHIPPED {
        for stated in stated(&virtual_run(&shipped(name))) {
            rests_on_something(&stated);
            estimates += u64::from(stated.method() != "census");
        }
    }
    assert!(estimates > 30, "{estimates}");
}

/// What was never seen in a run, nobody can say the number of; all else that is missing is counted.
#[test]
fn what_has_too_little_evidence_says_how_much_is_missing() {
    let (mut open, mut told) = (0, 0);
    for name in SHIPPED {
        for few in [3, 40] {
            let Some(scenario) = cut_to(shipped(name), few) else {
                continue;
            };
            for stated in stated(&virtual_run(&scenario)) {
                rests_on_something(&stated);
                if !stated.is("inconclusive") {
                    continue;
                }
                let more = stated.check["more_requests"].as_u64();
                open += 1;
                told += u64::from(more.is_some());
                let is_unseen = stated.n() == 0;
                assert!(
                    more.is_some_and(|n| n > 0) || is_unseen,
                    "{}: {:#}",
                    stated.place,
                    stated.check
                );
            }
        }
    }
    assert!(
        open > 200 && told > 100,
        "{open} open, {told} with a number"
    );
}

/// Whatever is an estimate has an equal part of the budget, and the steps of a ramp share that of their gate: who asks for more
/// is not red by chance more often.
#[test]
fn all_estimates_of_a_scenario_share_one_error_budget() {
    let scenario = shipped("ramp-healthy-canary-is-promoted");
    let asked: Vec<GateSpec> = scenario.gates.clone();
    let steps = asked.iter().find_map(|gate| match gate {
        GateSpec::Ramp(spec) => Some(spec.steps.len()),
        _ => None,
    });
    let steps = steps.expect("a gate on the ramp") as f64;
    for times in [1, 2, 5] {
        let mut scenario = scenario.clone();
        scenario.gates = (0..times).flat_map(|_| asked.clone()).collect();
        let gates = scenario.gates.iter().filter(|gate| gate.is_statistical());
        let gates = gates.count() as f64;
        let all = stated(&virtual_run(&scenario));
        let weights = all.iter().filter(|s| s.method() == "exact binomial");
        let budgets: Vec<f64> = weights.map(|s| 1.0 - s.confidence()).collect();
        assert!(budgets.len() >= times, "{budgets:?}");
        for budget in budgets {
            let part = FLAKE / gates / steps;
            assert!((budget / part - 1.0).abs() < 1e-6, "{budget}, not {part}");
        }
    }
}

/// The same of a share that is asked for: a smaller part takes more requests to be red by.
#[test]
fn a_split_beside_others_needs_more_requests() {
    let missing = |others: usize| {
        let mut scenario = shipped("healthy-canary");
        let of_shares = |gate: &&GateSpec| matches!(gate, GateSpec::Split(_));
        let split = scenario.gates.iter().find(of_shares).cloned();
        let split = split.expect("a split");
        scenario.gates.extend(vec![split; others]);
        let all = stated(&virtual_run(
            &cut_to(scenario, 200).expect("made-up traffic"),
        ));
        let first = all.iter().find(|s| s.gate == "split").expect("a split");
        first.check["more_requests"].as_u64().expect("too few")
    };
    let (alone, among_ten) = (missing(0), missing(9));
    assert!(among_ten > alone + alone / 20, "{alone} {among_ten}");
}
