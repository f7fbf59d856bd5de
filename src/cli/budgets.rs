//! Is the budget of a rollback what a correct router needs? `graygate validate` says so: by formula, or from
//! many seeds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::cli::exit;
use crate::cli::output::{data, error};
use crate::cli::repeat::Ticker;
use crate::observe::meta::Engine;
use crate::report::runs::{Figure, Runs};
use crate::runner::RunOptions;
use crate::runner::repeat::{self, Repetition};
use crate::scenario::Scenario;
use crate::scenario::budgets::{self, Wait};
use crate::stats::allowance::{Allowance, Rounding};
use crate::stats::proportion::clopper_pearson;
use crate::stats::quantile::Quantile;
use crate::time::{Human, nanos};
use crate::verdict::evaluate::FLAKE;
use crate::verdict::result::{grouped, percent};
use crate::verdict::spec::{GateSpec, RollbackSpec};

/// The confidence of what seeds show.
const CONFIDENCE: f64 = 0.95;

/// How many seeds are run for it.
pub(super) struct Seeds {
    pub(super) runs: u64,
    pub(super) jobs: Option<usize>,
    pub(super) cancel: Arc<AtomicBool>,
}

/// Says it of every budget of a scenario, on stdout, and gives the exit code.
pub(super) fn tell(scenario: &Scenario, seeds: Option<&Seeds>) -> u8 {
    let gates = scenario.gates.iter().filter_map(|gate| match gate {
        // What another gateway needs, no seed of ours can show.
        GateSpec::Rollback(spec)
            if spec.in_ledgers.is_none() && budgets::limits(spec) != (None, None) =>
        {
            Some(spec)
        }
        _ => None,
    });
    let gates: Vec<&RollbackSpec> = gates.collect();
    for spec in &gates {
        let wait = budgets::wait(&scenario.experiment, spec.since);
        lines(scenario, spec, wait, seeds.is_some());
    }
    match seeds.filter(|_| !gates.is_empty()) {
        Some(seeds) => {
            not_measured(scenario, &gates);
            from_seeds(scenario, seeds)
        }
        None => exit::PASS,
    }
}

/// Seeds are measured from the trouble of the first `rollback` gate on.
fn not_measured(scenario: &Scenario, gates: &[&RollbackSpec]) {
    let mut all = scenario.gates.iter();
    let first = all.find_map(|gate| match gate {
        GateSpec::Rollback(spec) => Some(spec),
        _ => None,
    });
    let is_other = |spec: &&&RollbackSpec| first.is_none_or(|first| !std::ptr::eq(**spec, first));
    for spec in gates.iter().filter(is_other) {
        let told = shown(budgets::limits(spec));
        line(&format!(
            "budget {told}; not held against seeds: they tell of the first `rollback` gate alone"
        ));
    }
}

fn shown((within, requests): (Option<Duration>, Option<u64>)) -> String {
    let budget = [within.map(time), requests.map(count)];
    budget.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn line(text: &str) {
    data(&format!("  rollback: {text}\n"));
}

fn lines(scenario: &Scenario, spec: &RollbackSpec, wait: Option<Wait>, has_seeds: bool) {
    let (within, requests) = budgets::limits(spec);
    let Some(wait) = wait else {
        if !has_seeds {
            line(&format!(
                "budget {}; no formula tells what this scenario needs: --runs 30000 does",
                shown((within, requests))
            ));
        }
        return;
    };
    let flake = budgets::flake_per_limit(&scenario.gates, 0);
    let slack = budgets::slack(scenario.engine);
    if let Some(within) = within {
        let at = |tail| wait.time(tail).map_or("?".to_owned(), time);
        let red = wait.later_than(within);
        let suggested = wait
            .allowed_time(flake, slack)
            .map(|a| nanoseconds(a.suggested));
        by_formula(&time(within), at, red, suggested);
    }
    if let Some(most) = requests {
        let at = |tail| wait.requests(tail).map_or("?".to_owned(), grouped);
        let red = wait.more_than(most);
        let suggested = wait
            .allowed_requests(flake, slack)
            .map(|a| grouped(a.suggested));
        by_formula(&count(most), at, red, suggested);
    }
}

fn by_formula(budget: &str, at: impl Fn(f64) -> String, red: f64, suggested: Option<String>) {
    line(&format!(
        "budget {budget}; this scenario: median {}, 99.99 % quantile {}; red in {} of 10,000 seeds even for a \
         correct router; suggested: {}",
        at(0.5),
        at(FLAKE),
        of_ten_thousand(red),
        suggested.unwrap_or_else(|| "none".to_owned()),
    ));
}

fn from_seeds(scenario: &Scenario, seeds: &Seeds) -> u8 {
    let repetition = Repetition {
        runs: seeds.runs,
        jobs: seeds.jobs,
        max_red: 0,
        options: RunOptions::new(Engine::Virtual),
    };
    let ticker = Ticker::new(&scenario.name, seeds.runs, false);
    let outcome = repeat::repeat(scenario, &repetition, &|n| ticker.tick(n), &seeds.cancel);
    ticker.finish();
    match outcome {
        Ok(runs) => measured(scenario, &runs),
        Err(failure) => {
            error(format_args!("{}: {failure}", scenario.path.display()));
            return exit::BROKEN;
        }
    }
    match seeds.cancel.load(Ordering::Relaxed) {
        true => exit::INTERRUPTED,
        false => exit::PASS,
    }
}

fn measured(scenario: &Scenario, runs: &Runs) {
    let figures = runs.figures();
    let of = |key: &str| figures.iter().find(|figure| figure.key == key);
    let limits = [
        ("detection", runs.budget.within.map(nanos)),
        ("exposed_requests", runs.budget.canary_requests),
    ];
    let found = runs.seeds.iter().filter(|run| run.detection.is_some());
    let seeds = runs.seeds.len() as u64;
    if let Some(words) = words_for_none(seeds, seeds - found.count() as u64) {
        if limits.iter().any(|(_, budget)| budget.is_some()) {
            line(&words);
        }
        return;
    }
    for (key, budget) in limits {
        let Some(budget) = budget else {
            continue;
        };
        if let Some(figure) = of(key) {
            by_seeds(scenario, runs, figure, budget);
        }
    }
}

fn by_seeds(scenario: &Scenario, runs: &Runs, figure: &Figure, budget: u64) {
    let n = runs.seeds.len() as u64;
    let samples = &figure.samples;
    let within = samples.sorted().iter().filter(|s| **s <= budget).count() as u64;
    let red = n - within;
    let most = clopper_pearson(red, n, CONFIDENCE).map_or(1.0, |limits| limits.high);
    let show = |value: Option<u64>| value.map_or("none".to_owned(), |v| figure.text(v));
    let slack = budgets::slack(scenario.engine);
    let rounding = match figure.is_time {
        true => Rounding::of_time(slack),
        false => Rounding::of_count(slack),
    };
    let Some(allowed) = Allowance::of_samples(samples, rounding) else {
        return;
    };
    let reach = match allowed.extreme {
        Some(extreme) => format!("99.99 % quantile at most {}", figure.text(extreme)),
        None => format!(
            "largest {}, which bounds the {} % quantile only",
            show(samples.max()),
            percent(libm::pow(1.0 - CONFIDENCE, 1.0 / n.max(1) as f64)),
        ),
    };
    let least = match allowed.extreme {
        None => "at least ",
        Some(_) => "",
    };
    line(&format!(
        "budget {}; {} over {} seeds: median {}, {reach}; red in {} of {} (at most {} of 10,000, 95 %); suggested: \
         {least}{}",
        if figure.is_time {
            nanoseconds(budget)
        } else {
            count(budget)
        },
        figure.name,
        grouped(n),
        show(samples.seen_at(Quantile::P50)),
        grouped(red),
        grouped(n),
        of_ten_thousand(most).trim_start_matches("about "),
        figure.text(allowed.suggested),
    ));
}

const STOPPED: &str = "stopped before a seed was run to its end: nothing is known of any budget";

/// Why nothing is suggested, if nothing is: where some seeds were never rolled back, the rest says nothing of a budget that holds.
fn words_for_none(seeds: u64, missed: u64) -> Option<String> {
    match (seeds, missed) {
        (0, _) => Some(STOPPED.to_owned()),
        (_, 0) => None,
        _ => Some(format!(
            "{} of {} seeds were never rolled back in their trouble: no budget holds, and none is suggested",
            grouped(missed),
            grouped(seeds),
        )),
    }
}

fn time(value: Duration) -> String {
    Human(value).to_string()
}

fn nanoseconds(value: u64) -> String {
    time(Duration::from_nanos(value))
}

fn count(value: u64) -> String {
    format!("{} canary requests", grouped(value))
}

/// `about 3.5`, `fewer than 0.01`
fn of_ten_thousand(share: f64) -> String {
    match share * 1e4 {
        few if few < 0.01 => "fewer than 0.01".to_owned(),
        some if some < 10.0 => format!("about {some:.2}"),
        many => format!("about {}", grouped(many.round() as u64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What nobody ran shows nothing, and least of all that it was not rolled back.
    #[test]
    fn of_no_seed_nothing_is_said() {
        assert_eq!(words_for_none(0, 0), Some(STOPPED.to_owned()));
        assert!(words_for_none(60, 3).is_some_and(|text| text.starts_with("3 of 60 seeds")));
        assert_eq!(words_for_none(60, 0), None);
    }
}
