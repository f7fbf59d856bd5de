//! Policies compared on one scenario, over many seeds, in virtual time, on all cores: how soon each finds what is
//! wrong with the canary, and how often each rolls back when nothing is.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::canonical;
use crate::experiment::Experiment;
use crate::id::Seed;
use crate::observe::event::{RunEvent, Sink};
use crate::observe::harm::Harm;
use crate::observe::join::Join;
use crate::observe::meta::{Ending, Engine};
use crate::report::plot;
use crate::report::tune::{Basis, BudgetAdvice, PolicyRuns, Tuned, csv, json};
use crate::runner::repeat::{on_cores, seeds, trouble, virtual_meta};
use crate::runner::run_dir::{OutputError, RunDir};
use crate::runner::{RunError, RunOptions, run_virtual};
use crate::scenario::sweep::Policy;
use crate::scenario::{Scenario, budgets};
use crate::stats::allowance::{Allowance, Rounding};
use crate::time::{Timestamp, nanos};

/// How policies are compared.
#[derive(Clone, Debug)]
pub struct Tuning {
    /// How many seeds, from the scenario's own on, each with and without the canary's faults.
    pub runs: u64,
    /// How many threads; one a core when absent.
    pub jobs: Option<usize>,
    /// The policies, the scenario's own among them.
    pub policies: Vec<Policy>,
}

impl Tuning {
    /// How many runs that is.
    pub fn total(&self) -> u64 {
        2 * self.runs * self.policies.len() as u64
    }
}

/// Runs every policy over so many seeds, or until `cancel` is set: then what was run to its end is what there is.
/// `done` hears the number of runs that are over, from any thread.
///
/// # Errors
/// When the scenario's upstreams are real, or another gateway is tested.
pub fn tune(
    scenario: &Scenario,
    tuning: &Tuning,
    done: &(dyn Fn(u64) + Sync),
    cancel: &Arc<AtomicBool>,
) -> Result<Tuned, RunError> {
    if scenario.experiment.gateway.is_some() {
        return Err(RunError::NoRealTime);
    }
    if scenario.experiment.has_real_upstreams() {
        return Err(RunError::NotReal);
    }
    let since = trouble(scenario).unwrap_or(Timestamp::ZERO);
    let troubled: Vec<Experiment> = experiments(scenario, tuning);
    let healthy: Vec<Experiment> = troubled.iter().map(without_trouble).collect();
    let over = AtomicU64::new(0);
    let one = |(policy, is_troubled, seed): (usize, bool, Seed)| {
        let all = if is_troubled { &troubled } else { &healthy };
        let harm = one(&all[policy], seed, since, cancel)?;
        done(over.fetch_add(1, Ordering::Relaxed) + 1);
        Some((policy, is_troubled, harm))
    };
    // All policies with one seed before the next: what an interrupt leaves is balanced.
    let policies = 0..tuning.policies.len();
    let items = seeds(scenario.experiment.seed, tuning.runs).flat_map(move |seed| {
        let both = move |policy| [(policy, true, seed), (policy, false, seed)];
        policies.clone().flat_map(both)
    });
    let harms = on_cores(tuning.jobs, cancel, items, one);
    let policies = tuning.policies.iter().enumerate();
    let policies = policies.map(|(i, policy)| {
        let of = |wanted: bool| {
            harms
                .iter()
                .filter(move |(p, t, _)| *p == i && *t == wanted)
        };
        let sums = summed(policy, of(true).map(|h| &h.2), of(false).map(|h| &h.2));
        PolicyRuns {
            budget: budget(scenario, &troubled[i], since, &sums),
            ..sums
        }
    });
    Ok(Tuned {
        meta: virtual_meta(scenario),
        since,
        planned: tuning.runs,
        policies: policies.collect(),
        interrupted: cancel.load(Ordering::Relaxed),
    })
}

fn experiments(scenario: &Scenario, tuning: &Tuning) -> Vec<Experiment> {
    let with = |policy: &Policy| Experiment {
        router: Arc::new(policy.router.clone()),
        ..scenario.experiment.clone()
    };
    tuning.policies.iter().map(with).collect()
}

fn without_trouble(experiment: &Experiment) -> Experiment {
    let mut healthy = experiment.clone();
    let canary = experiment.router.canary;
    // They stay in their places, and hit nobody: the draws of the others hang on their positions.
    let faults = healthy.upstreams.faults.iter_mut();
    let own = faults.filter(|fault| fault.is_of_alone(canary));
    own.for_each(|fault| fault.on.clear());
    healthy
}

/// What a run did to callers; none when it was stopped.
fn one(experiment: &Experiment, seed: Seed, since: Timestamp, cancel: &AtomicBool) -> Option<Harm> {
    let experiment = experiment.clone().with_seed(seed);
    let mut watch = Watch {
        join: Join::default(),
        harm: Harm::new(experiment.router.canary, since),
    };
    let options = RunOptions::new(Engine::Virtual);
    let ending = run_virtual(&experiment, &options, &mut watch, cancel);
    for story in watch.join.finish() {
        watch.harm.story(&story);
    }
    (ending != Ending::Interrupted).then_some(watch.harm)
}

struct Watch {
    join: Join,
    harm: Harm,
}

impl Sink for Watch {
    fn event(&mut self, event: &RunEvent) {
        let joined = self.join.event(event);
        self.harm.event(event);
        if let Some(story) = &joined.story {
            self.harm.story(story);
        }
    }
}

fn summed<'h>(
    policy: &Policy,
    troubled: impl Iterator<Item = &'h Harm> + Clone,
    healthy: impl Iterator<Item = &'h Harm> + Clone,
) -> PolicyRuns {
    let is_closed = |harm: &&Harm| harm.closed_at().is_some();
    PolicyRuns {
        settings: policy.settings.clone(),
        is_own: policy.is_own,
        runs: troubled.clone().count() as u64,
        early: troubled.clone().filter(|harm| harm.is_early()).count() as u64,
        detection: troubled
            .clone()
            .filter_map(Harm::detection)
            .map(|time: Duration| nanos(time))
            .collect(),
        exposed: troubled.clone().filter_map(Harm::exposed).collect(),
        user_errors: troubled.map(Harm::user_errors).collect(),
        budget: None,
        healthy_runs: healthy.clone().count() as u64,
        false_rollbacks: healthy.filter(is_closed).count() as u64,
    }
}

/// What a rollback needs with this policy: by formula where there is one, or else as its runs show. Where some were not
/// rolled back for their trouble, no budget holds.
fn budget(
    scenario: &Scenario,
    experiment: &Experiment,
    since: Timestamp,
    sums: &PolicyRuns,
) -> Option<BudgetAdvice> {
    if sums.runs == 0 || sums.detection.count() < sums.runs {
        return None;
    }
    let slack = budgets::slack(scenario.engine);
    if let Some(wait) = budgets::wait(experiment, since) {
        // It is asked for in time and in requests.
        let flake = budgets::flake_per_limit(&scenario.gates, 2);
        return Some(BudgetAdvice {
            basis: Basis::Formula,
            within: wait.allowed_time(flake, slack)?,
            canary_requests: wait.allowed_requests(flake, slack)?,
        });
    }
    let within = Allowance::of_samples(&sums.detection, Rounding::of_time(slack))?;
    Some(BudgetAdvice {
        basis: match within.extreme {
            Some(_) => Basis::Seeds,
            None => Basis::FewSeeds,
        },
        within,
        canary_requests: Allowance::of_samples(&sums.exposed, Rounding::of_count(slack))?,
    })
}

/// Writes the comparison, and gives the folder it is in.
///
/// # Errors
/// When it cannot be written.
pub fn write(tuned: &Tuned, out: &Path) -> Result<PathBuf, OutputError> {
    // Other sweeps of the same scenario have folders of their own.
    let settings: Vec<_> = tuned.policies.iter().map(|p| &p.settings).collect();
    let sweep: String = canonical::sha256(&settings).chars().take(8).collect();
    let (runs, seed) = (tuned.planned, tuned.meta.seed);
    let name = format!("tune-runs{runs}-seed{seed}-{sweep}");
    let dir = RunDir::create(out, &tuned.meta.scenario, &name)?;
    let failed =
        |name: &str, error: String| OutputError::new(&dir.path(name), std::io::Error::other(error));
    let rows = csv::render(tuned).map_err(|e| failed("tune.csv", e.to_string()))?;
    dir.write("tune.csv", &rows)?;
    dir.write("summary.json", &json::summary(tuned))?;
    let svg = plot::tradeoff(tuned).map_err(|e| failed("tune.svg", e))?;
    dir.write("tune.svg", svg.as_bytes())?;
    match tuned.interrupted {
        true => dir.finish_interrupted(),
        false => dir.finish(),
    }
}
