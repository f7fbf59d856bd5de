//! Every mutant over thousands of seeds: how many runs does its gate miss? Not part of CI; `tests/mutants/soak` runs it.

use graygate::id::Seed;
use graygate::stats::proportion::clopper_pearson;
use rayon::prelude::*;

use crate::catalogue::{Catch, Mutant, all};
use crate::playing::{is_caught, judged};
use crate::support::shipped;

/// The first seed: none that a scenario is shipped with.
const FIRST: u64 = 10_000;
/// Of the one-sided limits.
const CONFIDENCE: f64 = 0.95;

/// The runs in which the gate that is named first missed its mutant. Inconclusive is missed.
fn missed(mutant: &Mutant, catch: &Catch, seeds: u64) -> Vec<u64> {
    let scenario = shipped(catch.scenario);
    (FIRST..FIRST + seeds)
        .into_par_iter()
        .filter(|seed| {
            let verdict = judged(&scenario, Seed(*seed), &mutant.options());
            !is_caught(&verdict, catch)
        })
        .collect()
}

fn line(mutant: &Mutant, catch: &Catch, seeds: u64) -> (bool, String) {
    let missed = missed(mutant, catch, seeds);
    let count = missed.len() as u64;
    let limits = clopper_pearson(count, seeds, CONFIDENCE);
    let most = limits.map_or(1.0, |limits| limits.high);
    let text = format!(
        "| {} | {} | {} | {count} of {seeds} | {:.3} % | {missed:?} |",
        mutant.id,
        catch.scenario,
        catch.gate,
        most * 100.0
    );
    (missed.is_empty(), text)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a script says how many seeds and which mutants; there is no other way to tell a test"
)]
pub(crate) fn told(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// How many requests its scenario has.
fn length(mutant: &Mutant) -> f64 {
    let traffic = shipped(mutant.caught[0].scenario).experiment.traffic;
    traffic.expected_requests().unwrap_or(0.0)
}

#[test]
#[ignore = "takes hours in a release build: tests/mutants/soak"]
fn soak() {
    let seeds = told("MUTANTS_SEEDS").and_then(|text| text.parse().ok());
    let seeds = seeds.unwrap_or(3_000);
    let wanted = told("MUTANTS_NAMED").unwrap_or_default();
    println!("| mutant | scenario | gate | missed | at most (95 %) | seeds missed |");
    println!("|---|---|---|---|---|---|");
    let mut survived = Vec::new();
    let mut mutants = all();
    // A whole name means that mutant alone.
    let is_whole = mutants.iter().any(|mutant| mutant.id == wanted);
    mutants.retain(|mutant| mutant.id == wanted || (!is_whole && mutant.id.contains(&wanted)));
    // The shortest first, so that a run that is stopped has shown as much as it could.
    mutants.sort_by(|a, b| length(a).total_cmp(&length(b)));
    for mutant in &mutants {
        let (is_clean, line) = line(mutant, &mutant.caught[0], seeds);
        println!("{line}");
        survived.extend((!is_clean).then_some(mutant.id));
    }
    assert!(survived.is_empty(), "not always caught: {survived:?}");
}
