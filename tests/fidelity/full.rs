//! Twelve scenarios by twenty seeds on both engines.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use graygate::live::clock::utc_stamp;

use crate::catalogue::{ALL, Case, SEEDS};
use crate::playing::{Pair, pair};
use crate::support::project;
use crate::table::{self, Table, fingerprints};

/// Live runs at once, unless told otherwise: they mostly wait.
const AT_ONCE: usize = 3;

#[expect(
    clippy::disallowed_methods,
    reason = "a script says how many; there is no other way to tell a test"
)]
fn told(name: &str) -> Option<usize> {
    std::env::var(name).ok()?.parse().ok()
}

/// The runs in the order in which they are begun: a seed of every scenario, then the next seed, so that what the machine
/// does meanwhile is spread over all of them.
fn jobs(seeds: usize) -> Vec<(&'static Case, u64)> {
    let seeds = SEEDS.take(seeds);
    seeds
        .flat_map(|seed| ALL.iter().map(move |case| (case, seed)))
        .collect()
}

/// All pairs; panics when one could not be had.
fn measured(at_once: usize, seeds: usize) -> Vec<Pair> {
    let jobs = jobs(seeds);
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some((case, seed)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let pair = pair(case, *seed);
            let pair =
                pair.unwrap_or_else(|| panic!("{} with seed {seed}: only invalid runs", case.name));
            eprintln!(
                "{:>4} of {}: {} {seed}",
                next.load(Ordering::Relaxed),
                jobs.len(),
                case.name
            );
            done.lock().expect("nobody panicked").push(pair);
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..at_once).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .for_each(|t| t.join().expect("measured"));
    });
    let mut pairs = done.into_inner().expect("nobody panicked");
    let place = |pair: &Pair| ALL.iter().position(|case| case.name == pair.case);
    pairs.sort_by_key(|pair| (place(pair), pair.seed));
    pairs
}

/// `20261121T101500Z` as `2026-11-21`.
fn today() -> String {
    let stamp = utc_stamp();
    format!("{}-{}-{}", &stamp[..4], &stamp[4..6], &stamp[6..8])
}

fn processor() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(": ")?.1.trim().to_owned())
}

/// The figures of this machine.
pub(crate) fn measure() -> Table {
    let at_once = told("FIDELITY_AT_ONCE").unwrap_or(AT_ONCE);
    let seeds = told("FIDELITY_SEEDS").unwrap_or(20);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let build = if cfg!(debug_assertions) {
        "debug"
    } else {
        "release"
    };
    let processor = processor().unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let facts = [
        ("date", today()),
        (
            "machine",
            format!("{cores} cores, {processor}, {}", std::env::consts::OS),
        ),
        ("build", build.to_owned()),
        ("live runs at once", at_once.to_string()),
    ];
    let own = facts.map(|(name, value)| (name.to_owned(), value));
    let facts: BTreeMap<String, String> = own.into_iter().chain(fingerprints()).collect();
    let pairs = measured(at_once, seeds);
    Table { facts, pairs }
}

#[test]
#[ignore = "measures and writes docs/fidelity.csv and docs/fidelity.md: some six minutes in a release build"]
fn write_the_page() {
    let table = measure();
    std::fs::write("/tmp/fidelity.csv", table::write(&table)).expect("csv");
    let _ = project("docs");
}
