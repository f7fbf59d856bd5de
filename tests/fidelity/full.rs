//! Twelve scenarios by twenty seeds on both engines.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use graygate::live::clock::utc_stamp;

use crate::agreement::median;
use crate::catalogue::{ALL, Case, SEEDS};
use crate::checks::assert_within_tolerance;
use crate::page;
use crate::playing::{Pair, pair};
use crate::support::project;
use crate::table::{self, Table, fingerprints};

/// How often a live run is begun, at most, that the machine disturbs. A run that fails is never begun again.
const TRIES: u64 = 30;

/// Live runs at once, unless told otherwise: they mostly wait.
const AT_ONCE: usize = 3;

#[expect(
    clippy::disallowed_methods,
    reason = "a script says how many; there is no other way to tell a test"
)]
fn told(name: &str) -> Option<usize> {
    std::env::var(name).ok()?.parse().ok()
}

/// A pair to be measured, and how many live runs of it were invalid.
struct Job {
    case: &'static Case,
    seed: u64,
    repeats: u64,
}

/// The runs in the order in which they are begun: a seed of every scenario, then the next seed, so that what the machine
/// does meanwhile is spread over all of them.
fn jobs(seeds: usize) -> VecDeque<Job> {
    let seeds = SEEDS.take(seeds);
    let cells = seeds.flat_map(|seed| ALL.iter().map(move |case| (case, seed)));
    let job = |(case, seed)| Job {
        case,
        seed,
        repeats: 0,
    };
    cells.map(job).collect()
}

/// What is measured, and what is still to be.
struct Desk {
    jobs: Mutex<VecDeque<Job>>,
    done: Mutex<Vec<Pair>>,
    loads: Mutex<Vec<f64>>,
}

impl Desk {
    /// Takes job after job. One whose live run was invalid is put back behind the others, for the machine may be idle then.
    fn work(&self) {
        while let Some(job) = self.next() {
            let (is_valid, mut pair) = pair(job.case, job.seed, 1);
            let (name, seed) = (job.case.name, job.seed);
            lock(&self.loads).extend(load());
            if is_valid {
                pair.repeats = job.repeats;
                lock(&self.done).push(pair);
                eprintln!("{:>4} {name} {seed}", lock(&self.done).len());
                continue;
            }
            let repeats = job.repeats + 1;
            assert!(repeats < TRIES, "{name}, seed {seed}: only invalid runs");
            lock(&self.jobs).push_back(Job { repeats, ..job });
        }
    }

    fn next(&self) -> Option<Job> {
        lock(&self.jobs).pop_front()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many processes want a core, on average over a minute, where the system tells.
fn load() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/loadavg").ok()?;
    text.split(' ').next()?.parse().ok()
}

/// All pairs, and the loads meanwhile; panics when a pair could not be had.
fn measured(at_once: usize, seeds: usize) -> (Vec<Pair>, Vec<f64>) {
    let desk = Desk {
        jobs: Mutex::new(jobs(seeds)),
        done: Mutex::default(),
        loads: Mutex::default(),
    };
    std::thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| desk.work());
        }
    });
    let mut pairs = std::mem::take(&mut *lock(&desk.done));
    let place = |pair: &Pair| ALL.iter().position(|case| case.name == pair.case);
    pairs.sort_by_key(|pair| (place(pair), pair.seed));
    let loads = std::mem::take(&mut *lock(&desk.loads));
    (pairs, loads)
}

/// The middle and the highest of the loads.
fn loads_in_words(loads: &[f64]) -> String {
    let most = loads.iter().copied().fold(0.0, f64::max);
    let middle = median(loads).unwrap_or(0.0);
    format!("{middle:.1} (median), {most:.1} (most)")
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
    let (pairs, loads) = measured(at_once, seeds);
    let own = facts.map(|(name, value)| (name.to_owned(), value));
    let load = ("load".to_owned(), loads_in_words(&loads));
    let facts: BTreeMap<_, _> = own
        .into_iter()
        .chain([load])
        .chain(fingerprints())
        .collect();
    Table { facts, pairs }
}

fn write_down(table: &Table) {
    std::fs::write(project(table::PATH), table::write(table)).expect("docs/fidelity.csv");
    std::fs::write(project(page::PATH), page::write(table)).expect("docs/fidelity.md");
}

#[test]
#[ignore = "measures and writes docs/fidelity.csv and docs/fidelity.md: some six minutes in a release build"]
fn write_the_page() {
    let table = measure();
    write_down(&table);
    assert_within_tolerance(&table);
}

#[test]
#[ignore = "writes docs/fidelity.md from docs/fidelity.csv"]
fn render_the_page() {
    let text = std::fs::read_to_string(project(table::PATH)).expect("docs/fidelity.csv");
    std::fs::write(project(page::PATH), page::write(&table::read(&text))).expect("the page");
}

/// What `tests/fidelity/run` asks: measured anew, and nothing is written.
#[test]
#[ignore = "twelve scenarios by twenty seeds on both engines: some six minutes in a release build"]
fn measured_anew_it_is_within_tolerance() {
    let table = measure();
    println!("{}", page::in_short(&table));
    assert_within_tolerance(&table);
}
