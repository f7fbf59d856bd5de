//! The scoreboard, docs/mutants.md: every mutant in every shipped scenario. A command writes it, and CI checks that
//! it is what the command would write, as far as that can be known without running everything.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use graygate::observe::meta::Engine;
use graygate::runner::RunOptions;
use graygate::verdict::result::{Status, Verdict};
use rayon::prelude::*;

use crate::catalogue::{Kind, Mutant, all};
use crate::checks::missed;
use crate::playing::{judged_as_shipped, named, red};
use crate::support::{SHIPPED, project, shipped};
use crate::{inner, page};

/// The gates that failed, by mutant and scenario. None where a mutant is not run: in long scenarios that are not named
/// for it, and, of the port, wherever the port without any defect does not pass either.
pub(crate) type Cells = BTreeMap<(String, String), Option<Vec<String>>>;

/// The scenario that takes least.
const SHORTEST: &str = "stress-test-20-requests";

fn path() -> PathBuf {
    project("docs/mutants.md")
}

/// What a mutant does to a scenario with its own seed.
fn cell(mutant: &Mutant, name: &str) -> Vec<String> {
    reds(&judged_as_shipped(name, &mutant.options()))
}

fn reds(verdict: &Verdict) -> Vec<String> {
    red(verdict).into_iter().map(str::to_owned).collect()
}

/// The scenarios that the port passes when nothing is wrong with it.
fn of_the_port() -> BTreeSet<&'static str> {
    let options = RunOptions {
        core: Some(std::sync::Arc::new(inner::sound)),
        ..RunOptions::new(Engine::Virtual)
    };
    let passes = |name: &&str| judged_as_shipped(name, &options).status == Status::Pass;
    SHIPPED.into_par_iter().filter(passes).collect()
}

/// Of hours, and not to be run a hundred times for what somebody else catches in minutes.
fn is_long(name: &str) -> bool {
    let requests = shipped(name).experiment.traffic.expected_requests();
    requests.is_some_and(|requests| requests > 50_000.0)
}

/// All cells, of which some are known.
fn everything(mutants: &[Mutant], mut known: Cells) -> Cells {
    let of_the_port = of_the_port();
    let pairs = mutants.iter().flat_map(|m| SHIPPED.map(|name| (m, name)));
    let is_new = |(mutant, name): &(&Mutant, &str)| {
        !known.contains_key(&(mutant.id.to_owned(), (*name).to_owned()))
    };
    let pairs: Vec<_> = pairs.filter(is_new).collect();
    let new: Cells = pairs
        .into_par_iter()
        .map(|(mutant, name)| {
            let is_sound = mutant.kind == Kind::Boundary || of_the_port.contains(name);
            let is_run = is_sound && (!is_long(name) || mutant.scenarios().contains(&name));
            let cell = is_run.then(|| cell(mutant, name));
            ((mutant.id.to_owned(), name.to_owned()), cell)
        })
        .collect();
    known.extend(new);
    known
}

fn write_down(known: Cells) {
    let mutants = all();
    let text = page::write(&mutants, &everything(&mutants, known));
    std::fs::write(path(), text).expect("docs/mutants.md");
}

#[test]
#[ignore = "writes docs/mutants.md: some ten minutes in a release build"]
fn write_the_scoreboard() {
    write_down(Cells::new());
}

/// Only what is missing: of scenarios that changed or came, and of mutants that came. (Not of mutants that changed.)
#[test]
#[ignore = "writes what is new of docs/mutants.md"]
fn refresh_the_scoreboard() {
    let committed = std::fs::read_to_string(path()).expect("docs/mutants.md");
    write_down(page::read_unchanged(&committed));
}

/// What was named is run again; of the rest, the column of the shortest scenario. Sentences, sources, names of
/// scenarios and what is in their files are compared to the letter.
#[test]
fn the_scoreboard_is_up_to_date() {
    let mutants = all();
    let committed = std::fs::read_to_string(path()).expect("docs/mutants.md");
    let mut cells = page::read(&committed);
    let named = named().iter().map(|((id, name), verdict)| {
        let key = ((*id).to_owned(), (*name).to_owned());
        (key, Some(reds(verdict)))
    });
    cells.extend(named);
    let boundary = mutants.iter().filter(|m| m.kind == Kind::Boundary);
    for mutant in boundary {
        let cell = cell(mutant, SHORTEST);
        cells.insert((mutant.id.to_owned(), SHORTEST.to_owned()), Some(cell));
    }
    let expected = page::write(&mutants, &cells);
    let differing = committed
        .lines()
        .zip(expected.lines())
        .find(|(a, b)| a != b);
    assert!(
        committed == expected,
        "docs/mutants.md is out of date; write it with\n  \
         cargo test --release --test mutants -- --ignored refresh_the_scoreboard\nfirst difference: {differing:#?}"
    );
}

/// A mutant that nobody catches would be seen.
#[test]
fn a_sound_router_is_no_mutant() {
    let sound = Mutant::of_config(
        "sound",
        "does what it must",
        crate::catalogue::Source::Own,
        |_| {},
    )
    .caught("healthy-canary", "split", "share 10 %");
    let verdict = judged_as_shipped("healthy-canary", &sound.options());
    let why = missed(&sound, "healthy-canary", &verdict);
    assert!(why.is_some_and(|why| why.contains("should fail")));
}
