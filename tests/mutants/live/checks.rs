//! What is asked of the table of live catches: by CI that it is whole, by a script that it is true.

use std::collections::BTreeSet;

use graygate::stats::proportion::clopper_pearson;

use super::playing::{played, several_at_once};
use super::table::{CAUGHT, Live, UNSEEN, Unseen};
use crate::catalogue::{Catch, all};
use crate::playing::{is_caught, open_checks};
use crate::soak::told;
use crate::support::{project, shipped};

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

/// The page has a line for everybody: who catches him, or why nobody can.
#[test]
fn the_page_tells_of_every_mutant() {
    let page = std::fs::read_to_string(project("docs/mutants-live.md")).expect("the page");
    let caught = CAUGHT.iter().map(place);
    let unseen = UNSEEN.iter().map(unseen);
    for line in caught.chain(unseen) {
        assert!(page.contains(&line), "docs/mutants-live.md lacks: {line}");
    }
}

/// The beginning of a line of the page.
fn place(live: &Live) -> String {
    let scenario = live.scenario.trim_start_matches("live/");
    let (mutant, gate, about) = (live.mutant, live.gate, live.about);
    format!("| {mutant} | {scenario} | `{gate}` ({about}) |")
}

fn unseen((mutant, why): &(&str, Unseen)) -> String {
    format!("| {mutant} | {} |", why.says())
}

fn catch(live: &Live) -> Catch {
    Catch {
        scenario: live.scenario,
        gate: live.gate,
        about: live.about,
    }
}

/// One run: the mutant, whether it was caught, and how many runs before it were invalid.
type Done = (&'static str, bool, usize);

fn number(name: &str, otherwise: usize) -> usize {
    let told = told(name).and_then(|text| text.parse().ok());
    told.unwrap_or(otherwise)
}

fn play(live: &Live) -> Done {
    let (verdict, invalid) = played(live.mutant, live.scenario);
    let is_caught = is_caught(&verdict, &catch(live));
    if !is_caught {
        let (mutant, scenario) = (live.mutant, live.scenario);
        eprintln!("{mutant} in {scenario}: {}", open_checks(&verdict));
    }
    (live.mutant, is_caught, invalid)
}

/// The line of the page, and whether the mutant was always caught.
fn line(live: &Live, done: &[Done]) -> (String, bool) {
    let own = done.iter().filter(|(mutant, _, _)| *mutant == live.mutant);
    let (caught, invalid): (Vec<bool>, Vec<usize>) = own.map(|(_, c, i)| (*c, *i)).unzip();
    let runs = caught.len() as u64;
    let missed = caught.iter().filter(|is_caught| !**is_caught).count() as u64;
    let most = clopper_pearson(missed, runs, CONFIDENCE).map_or(1.0, |limits| limits.high);
    let text = format!(
        "{} {} of {runs} | {:.2} % | {} |",
        place(live),
        runs - missed,
        most * 100.0,
        invalid.iter().sum::<usize>()
    );
    (text, missed == 0)
}

#[test]
#[ignore = "takes minutes: tests/mutants/live/run"]
fn every_mutant_is_caught_through_the_door() {
    let wanted = told("MUTANTS_NAMED").unwrap_or_default();
    let wanted = CAUGHT.iter().filter(|live| live.mutant.contains(&wanted));
    let wanted: Vec<&Live> = wanted.collect();
    let rounds = (0..number("MUTANTS_ROUNDS", 1)).flat_map(|_| wanted.iter().copied());
    let runs: Vec<&Live> = rounds.collect();
    let done = several_at_once(&runs, number("MUTANTS_AT_ONCE", AT_ONCE), |live| play(live));
    println!("| mutant | scenario | gate | caught | missed at most (95 %) | invalid, repeated |");
    println!("|---|---|---|---|---|---|");
    let mut survived = Vec::new();
    for live in wanted {
        let (text, is_clean) = line(live, &done);
        println!("{text}");
        survived.extend((!is_clean).then_some(live.mutant));
    }
    println!("\n| mutant | why nobody sees it from outside |\n|---|---|");
    UNSEEN.iter().for_each(|one| println!("{}", unseen(one)));
    assert!(survived.is_empty(), "not always caught: {survived:?}");
}
