//! What is asked of the table of live catches: by CI that it is whole, by a script that it is true.

use std::collections::BTreeSet;

use graygate::stats::proportion::clopper_pearson;

use super::playing::{played, several_at_once};
use super::table::{CAUGHT, Live, UNSEEN};
use crate::catalogue::{Catch, all};
use crate::playing::{is_caught, open_checks};
use crate::soak::told;
use crate::support::shipped;

/// Runs at once: they mostly wait.
const AT_ONCE: usize = 4;
/// Of the one-sided limits.
const CONFIDENCE: f64 = 0.95;

/// Every mutant is either caught through the door, or it is said why nobody can see it there.
#[test]
fn every_mutant_has_its_place() {
    let known: BTreeSet<&str> = all().iter().map(|mutant| mutant.id).collect();
    let caught: BTreeSet<&str> = CAUGHT.iter().map(|live| live.mutant).collect();
    let unseen: BTreeSet<&str> = UNSEEN.iter().map(|(mutant, _)| *mutant).collect();
    assert_eq!(caught.len() + unseen.len(), CAUGHT.len() + UNSEEN.len());
    assert!(caught.is_disjoint(&unseen), "{caught:?} {unseen:?}");
    let placed: BTreeSet<&str> = caught.union(&unseen).copied().collect();
    assert_eq!(placed, known);
}

/// What a mutant is caught by is there to catch it.
#[test]
fn every_gate_that_catches_is_in_its_scenario() {
    for live in CAUGHT {
        let scenario = shipped(live.scenario);
        let names: Vec<_> = scenario.gates.iter().map(|gate| gate.name()).collect();
        let name = live.gate.split('#').next().unwrap_or_default();
        assert!(names.contains(&name), "{}: {names:?}", live.scenario);
    }
}

fn catch(live: &Live) -> Catch {
    Catch {
        scenario: live.scenario,
        gate: live.gate,
        about: live.about,
    }
}

#[test]
#[ignore = "takes minutes: tests/mutants/live/run"]
fn every_mutant_is_caught_through_the_door() {
    let rounds = told("MUTANTS_ROUNDS").and_then(|text| text.parse().ok());
    let rounds: u64 = rounds.unwrap_or(1);
    let at_once = told("MUTANTS_AT_ONCE").and_then(|text| text.parse().ok());
    let wanted = told("MUTANTS_NAMED").unwrap_or_default();
    let wanted = CAUGHT.iter().filter(|live| live.mutant.contains(&wanted));
    let runs: Vec<&Live> = wanted
        .flat_map(|live| (0..rounds).map(move |_| live))
        .collect();
    let done = several_at_once(&runs, at_once.unwrap_or(AT_ONCE), |live| {
        let (verdict, invalid) = played(live.mutant, live.scenario);
        let is_caught = is_caught(&verdict, &catch(live));
        if !is_caught {
            let (mutant, scenario) = (live.mutant, live.scenario);
            eprintln!("{mutant} in {scenario}: {}", open_checks(&verdict));
        }
        (live.mutant, is_caught, invalid)
    });
    println!("| mutant | scenario | gate | caught | missed at most (95 %) | invalid, repeated |");
    println!("|---|---|---|---|---|---|");
    let mut survived = Vec::new();
    let seen: BTreeSet<&str> = runs.iter().map(|live| live.mutant).collect();
    for live in CAUGHT.iter().filter(|live| seen.contains(live.mutant)) {
        let of = |(mutant, _, _): &&(&str, bool, usize)| *mutant == live.mutant;
        let own: Vec<_> = done.iter().filter(of).collect();
        let missed = own.iter().filter(|(_, is_caught, _)| !is_caught).count() as u64;
        let invalid: usize = own.iter().map(|(_, _, invalid)| invalid).sum();
        let limits = clopper_pearson(missed, rounds, CONFIDENCE);
        let most = limits.map_or(1.0, |limits| limits.high);
        println!(
            "| {} | {} | {} | {} of {rounds} | {:.2} % | {invalid} |",
            live.mutant,
            live.scenario,
            live.gate,
            rounds - missed,
            most * 100.0
        );
        survived.extend((missed > 0).then_some(live.mutant));
    }
    assert!(survived.is_empty(), "not always caught: {survived:?}");
}
