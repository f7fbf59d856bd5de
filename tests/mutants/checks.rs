//! What CI asks of the catalogue: every mutant is caught where it must be, and nothing sound is.

use std::collections::BTreeSet;

use graygate::observe::meta::Engine;
use graygate::runner::RunOptions;
use rayon::prelude::*;

use crate::broken::{Sound, broken, router};
use crate::catalogue::{Kind, Mutant, Source, all};
use crate::playing::{is_caught, judged, named, open_checks};
use crate::support::{SHIPPED, shipped};
use crate::{inner, support};

use graygate::id::Seed;
use graygate::verdict::result::{Status, Verdict};

/// Seeds besides the scenario's own.
const FURTHER: [u64; 3] = [1_001, 1_002, 1_003];

/// A run that must catch a mutant: its own scenario with several seeds, the others with theirs.
fn runs(mutant: &Mutant) -> Vec<(&'static str, Option<u64>)> {
    let scenarios = mutant.scenarios();
    let own = scenarios.iter().map(|name| (*name, None));
    let first = scenarios.first().into_iter();
    let further = first.flat_map(|name| FURTHER.map(|seed| (*name, Some(seed))));
    own.chain(further).collect()
}

/// Why a run did not catch its mutant as it should have.
pub(crate) fn missed(mutant: &Mutant, name: &str, verdict: &Verdict) -> Option<String> {
    let mut due = mutant.caught.iter().filter(|catch| catch.scenario == name);
    let missed = due.find(|catch| !is_caught(verdict, catch))?;
    let (id, gate, about) = (mutant.id, missed.gate, missed.about);
    let open = open_checks(verdict);
    Some(format!(
        "{id} in {name}: `{gate}` should fail by \"{about}\"\n    {open}"
    ))
}

/// The same of a run with a seed of its own.
fn missed_with(mutant: &Mutant, name: &str, seed: u64) -> Option<String> {
    let verdict = judged(&shipped(name), Seed(seed), &mutant.options());
    let why = missed(mutant, name, &verdict)?;
    Some(format!("with seed {seed}, {why}"))
}

#[test]
fn every_mutant_is_caught_by_its_gate_for_its_reason() {
    let mutants = all();
    let own = mutants.iter().flat_map(|mutant| {
        let names = mutant.scenarios().into_iter();
        names.filter_map(|name| missed(mutant, name, &named()[&(mutant.id, name)]))
    });
    let mut survivors: Vec<String> = own.collect();
    let pairs = mutants.iter().flat_map(|m| FURTHER.map(|seed| (m, seed)));
    let further: Vec<_> = pairs.collect();
    survivors.par_extend(
        further
            .into_par_iter()
            .filter_map(|(mutant, seed)| missed_with(mutant, mutant.caught[0].scenario, seed)),
    );
    assert!(
        survivors.is_empty(),
        "{} runs missed their mutant:\n{}",
        survivors.len(),
        survivors.join("\n")
    );
}

/// The built-in core behind a decorator that does nothing: it is the defects that are caught.
#[test]
fn the_sound_core_is_green_through_the_same_door() {
    let sound = |e: &graygate::experiment::Experiment| -> Box<dyn graygate::router::core::Core> {
        Box::new(broken(router((*e.router).clone(), e.seed), Sound))
    };
    let options = RunOptions {
        core: Some(std::sync::Arc::new(sound)),
        ..RunOptions::new(Engine::Virtual)
    };
    SHIPPED.into_par_iter().for_each(|name| {
        support::assert_passes(&support::run(&shipped(name), &options));
    });
}

/// The port with all of its switches off does what it must, wherever one of its mutants must be caught.
#[test]
fn the_sound_port_is_green_wherever_its_mutants_are_red() {
    let options = RunOptions {
        core: Some(std::sync::Arc::new(inner::sound)),
        ..RunOptions::new(Engine::Virtual)
    };
    let inner = all().into_iter().filter(|m| m.kind == Kind::Inner);
    let runs: BTreeSet<_> = inner.flat_map(|mutant| runs(&mutant)).collect();
    let red: Vec<String> = runs
        .into_par_iter()
        .filter_map(|(name, seed)| {
            let scenario = shipped(name);
            let seed = seed.map_or(scenario.experiment.seed, Seed);
            let verdict = judged(&scenario, seed, &options);
            let is_red = verdict.status != Status::Pass;
            is_red.then(|| format!("{name} with seed {seed}\n    {}", open_checks(&verdict)))
        })
        .collect();
    assert!(red.is_empty(), "{}", red.join("\n"));
}

/// The fifteen defects of the articles, but for the one that shows in the port alone, and more than twenty others.
#[test]
fn the_catalogue_is_whole() {
    let mutants = all();
    let names: BTreeSet<&str> = mutants.iter().map(|m| m.id).collect();
    assert_eq!(names.len(), mutants.len(), "two mutants of one name");
    for kind in [Kind::Boundary, Kind::Inner] {
        let own = mutants.iter().filter(|m| m.kind == kind);
        let defects: BTreeSet<u8> = own
            .filter_map(|m| match m.source {
                Source::Defect(n) => Some(n),
                _ => None,
            })
            .collect();
        // 7 is about what a hash is compared with, which only a port can get wrong.
        let expected = (1..=15).filter(|n| kind == Kind::Inner || *n != 7);
        assert_eq!(defects, expected.collect(), "{kind:?}");
    }
    let of_families = mutants
        .iter()
        .filter(|m| matches!(m.source, Source::Entries(..) | Source::Family(_)));
    assert!(of_families.count() >= 20);
}

/// Nobody is caught by nothing, or in a scenario that is not shipped.
#[test]
fn every_mutant_names_who_must_catch_it() {
    for mutant in all() {
        assert!(!mutant.caught.is_empty(), "{}", mutant.id);
        for catch in &mutant.caught {
            assert!(
                SHIPPED.contains(&catch.scenario),
                "{}: {catch:?}",
                mutant.id
            );
            assert!(!catch.about.is_empty(), "{}: {catch:?}", mutant.id);
        }
    }
}
