//! One scenario over many seeds, in virtual time, on all cores. Nothing is kept of a run but its verdict
//! and a few figures.
//!
//! What comes out depends on the seeds alone: every run is folded by itself, and the runs are put in the
//! order of their seeds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rayon::iter::{ParallelBridge, ParallelIterator};
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::experiment::Traffic;
use crate::fault::schedule;
use crate::id::{PerVersion, Seed};
use crate::observe::event::{RunEvent, Sink};
use crate::observe::harm::Harm;
use crate::observe::join::Join;
use crate::observe::meta::{Ending, Engine, RunMeta};
use crate::observe::summary::Summary;
use crate::report::runs::{Budget, Runs, SeedRun};
use crate::runner::{RunError, RunOptions, all_gates, meta, run_virtual};
use crate::scenario::{Scenario, budgets};
use crate::time::Timestamp;
use crate::verdict::evaluate::Evaluator;
use crate::verdict::spec::GateSpec;

pub use super::repeat_dir::write;

/// How a scenario is repeated.
#[derive(Clone)]
pub struct Repetition {
    /// How many seeds, from the scenario's own on.
    pub runs: u64,
    /// How many threads; one a core when absent.
    pub jobs: Option<usize>,
    /// How many runs may fail, and how many may be inconclusive, for the scenario to hold.
    pub max_red: u64,
    /// How each is run. Where its files would go, and which, does not matter.
    pub options: RunOptions,
}

/// Runs a scenario over so many seeds, or until `cancel` is set: then what was run to its end is what
/// there is. `done` hears the number of runs that are over, from any thread.
///
/// # Errors
/// When its upstreams are real, or another gateway is tested.
pub fn repeat(
    scenario: &Scenario,
    repetition: &Repetition,
    done: &(dyn Fn(u64) + Sync),
    cancel: &Arc<AtomicBool>,
) -> Result<Runs, RunError> {
    if scenario.experiment.gateway.is_some() {
        return Err(RunError::NoRealTime);
    }
    if scenario.experiment.has_real_upstreams() {
        return Err(RunError::NotReal);
    }
    let over = AtomicU64::new(0);
    let one = |seed| {
        let run = one(scenario, seed, &repetition.options, cancel)?;
        done(over.fetch_add(1, Ordering::Relaxed) + 1);
        Some(run)
    };
    let seeds = seeds(scenario.experiment.seed, repetition.runs);
    let mut runs = on_cores(repetition.jobs, cancel, seeds, one);
    let gates = runs.iter_mut().find_map(|(_, names)| names.take());
    Ok(Runs {
        meta: virtual_meta(scenario),
        since: trouble(scenario),
        budget: budget(&scenario.gates),
        planned: repetition.runs,
        max_red: repetition.max_red,
        gates: gates.unwrap_or_default(),
        seeds: runs.into_iter().map(|(run, _)| run).collect(),
        interrupted: cancel.load(Ordering::Relaxed),
        command_here: scenario.command_here.clone(),
    })
}

/// So many seeds from the first one on.
pub(super) fn seeds(first: Seed, runs: u64) -> impl Iterator<Item = Seed> + Send {
    (0..runs).map(move |i| Seed(first.0.wrapping_add(i)))
}

/// Does something for each item, on several threads, in no order; gives the results in the order of the
/// items. Once `cancel` is set no more are begun.
pub(super) fn on_cores<I: Send, O: Send>(
    jobs: Option<usize>,
    cancel: &AtomicBool,
    items: impl Iterator<Item = I> + Send,
    work: impl Fn(I) -> Option<O> + Sync + Send,
) -> Vec<O> {
    // One after the other, so that an end in between leaves the first ones and no gaps but the last few.
    let items = items
        .enumerate()
        .take_while(|_| !cancel.load(Ordering::Relaxed));
    let work = |(index, item)| Some((index, work(item)?));
    let mut all: Vec<(usize, O)> = match pool(jobs) {
        Some(pool) => pool.install(|| items.par_bridge().filter_map(work).collect()),
        None => items.filter_map(work).collect(),
    };
    all.sort_by_key(|(index, _)| *index);
    all.into_iter().map(|(_, result)| result).collect()
}

/// None where no thread can be had: then the one there is does everything.
fn pool(jobs: Option<usize>) -> Option<ThreadPool> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = jobs.unwrap_or(cores);
    ThreadPoolBuilder::new().num_threads(threads).build().ok()
}

/// A run with its gates' names; none when it was stopped.
fn one(
    scenario: &Scenario,
    seed: Seed,
    options: &RunOptions,
    cancel: &AtomicBool,
) -> Option<(SeedRun, Option<Vec<String>>)> {
    let scenario = scenario.clone().with_seed(seed);
    let experiment = &scenario.experiment;
    let gates = all_gates(&scenario, Engine::Virtual);
    let mut watch = Watch::new(&virtual_meta(&scenario), &gates, trouble(&scenario));
    let ending = run_virtual(experiment, options, &mut watch, cancel);
    if ending == Ending::Interrupted {
        return None;
    }
    if let Traffic::Replay { log, .. } = &experiment.traffic
        && log.has_changed()
    {
        watch.evaluator.log_changed();
    }
    Some(watch.finish(seed, ending))
}

pub(super) fn virtual_meta(scenario: &Scenario) -> RunMeta {
    let versions = scenario.experiment.router.versions.len();
    let simulated = PerVersion::from_fn(versions, |_| "simulated");
    meta(scenario, Engine::Virtual, &simulated)
}

/// When the trouble begins that a rollback is for: as the `rollback` gate has it, else with the canary's first
/// fault; none where there is neither.
pub(super) fn trouble(scenario: &Scenario) -> Option<Timestamp> {
    let asked = scenario.gates.iter().find_map(|gate| match gate {
        GateSpec::Rollback(spec) => Some(spec.since),
        _ => None,
    });
    let experiment = &scenario.experiment;
    let faults = &experiment.upstreams.faults;
    asked.or_else(|| schedule::trouble(faults, experiment.router.canary))
}

/// What the first `rollback` gate allows at most.
fn budget(gates: &[GateSpec]) -> Budget {
    let spec = gates.iter().find_map(|gate| match gate {
        GateSpec::Rollback(spec) => Some(spec),
        _ => None,
    });
    let (within, canary_requests) = spec.map(budgets::limits).unwrap_or_default();
    Budget {
        within,
        canary_requests,
    }
}

/// Listens to a run, for its verdict and what the canary cost.
struct Watch {
    join: Join,
    summary: Summary,
    evaluator: Evaluator,
    harm: Harm,
}

impl Watch {
    fn new(meta: &RunMeta, gates: &[GateSpec], since: Option<Timestamp>) -> Self {
        let prices = meta.versions.values().map(|v| v.price).collect();
        let planned = meta.log.as_ref().map(|log| log.replayed);
        Self {
            join: Join::default(),
            summary: Summary::new(meta.versions.len(), meta.faults.len())
                .with_prices(&prices)
                .with_faults(&meta.faults),
            evaluator: Evaluator::new(gates, (meta.canary, meta.canary_share), &meta.faults)
                .planned(planned),
            harm: Harm::new(meta.canary, since.unwrap_or(Timestamp::ZERO)),
        }
    }

    fn finish(mut self, seed: Seed, ending: Ending) -> (SeedRun, Option<Vec<String>>) {
        for story in self.join.finish() {
            self.summary.unfinished(&story);
            self.evaluator.story(&story);
            self.harm.story(&story);
        }
        let verdict = self.evaluator.finish(&self.summary, ending);
        let run = SeedRun {
            seed,
            status: verdict.status,
            gates: verdict.gates.iter().map(|gate| gate.status).collect(),
            requests: self.summary.sent,
            rolled_back_at: self.harm.closed_at(),
            detection: self.harm.detection(),
            exposed: self.harm.exposed(),
            user_errors: self.harm.user_errors(),
        };
        let names = verdict.gates.into_iter().map(|gate| gate.name).collect();
        (run, Some(names))
    }
}

impl Sink for Watch {
    fn event(&mut self, event: &RunEvent) {
        let joined = self.join.event(event);
        self.summary.event(event, &joined);
        self.evaluator.event(event, &joined);
        self.harm.event(event);
        if let Some(story) = &joined.story {
            self.harm.story(story);
        }
    }
}
