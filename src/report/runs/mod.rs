//! Repeated runs: what each seed gave ([`Runs`]), what that says of the gates ([`Tally`]) and of the
//! rollback ([`Figure`]), and writers from it to bytes.

pub mod csv;
pub mod json;
pub mod markdown;
pub mod pretty;
mod tally;
mod words;

pub use tally::{Figure, Tally};

use std::time::Duration;

use crate::id::Seed;
use crate::observe::meta::RunMeta;
use crate::stats::samples::Samples;
use crate::time::{Timestamp, nanos};
use crate::verdict::result::Status;

/// How many seeds of each kind are named.
pub const NAMED: usize = 5;

/// One run of many.
#[derive(Clone, Debug, PartialEq)]
pub struct SeedRun {
    /// Its seed.
    pub seed: Seed,
    /// The worst of its gates.
    pub status: Status,
    /// What its gates say, in the order of [`Runs::gates`].
    pub gates: Vec<Status>,
    /// Requests that were sent.
    pub requests: u64,
    /// When the canary was rolled back.
    pub rolled_back_at: Option<Timestamp>,
    /// From the beginning of the trouble to the rollback; none without one after it.
    pub detection: Option<Duration>,
    /// Requests that met the canary since the trouble began, until the rollback, or the end of the run where there
    /// was none; none where the canary was rolled back before.
    pub exposed: Option<u64>,
    /// Requests that failed for their callers, in the whole run.
    pub user_errors: u64,
}

/// What a rollback may take at most, where a gate says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// From the beginning of the trouble to the decision.
    pub within: Option<Duration>,
    /// Requests at the canary in that time.
    pub canary_requests: Option<u64>,
}

/// All runs that came to their end.
#[derive(Clone, Debug)]
pub struct Runs {
    /// The circumstances of the first one.
    pub meta: RunMeta,
    /// When the trouble begins that a rollback is for; none where nothing is known of any.
    pub since: Option<Timestamp>,
    /// The time and the requests that the `rollback` gate allows.
    pub budget: Budget,
    /// How many were asked for.
    pub planned: u64,
    /// How many may fail, and how many may be inconclusive.
    pub max_red: u64,
    /// The gates' names.
    pub gates: Vec<String>,
    /// The runs, in the order of their seeds.
    pub seeds: Vec<SeedRun>,
    /// Were they stopped before all were run?
    pub interrupted: bool,
    /// The command that runs the scenario from here, without engine and seed.
    pub command_here: String,
}

impl Runs {
    /// What the runs came to, every gate counted together.
    pub fn whole(&self) -> Tally {
        Tally::of("all gates", self.seeds.iter().map(|run| run.status))
    }

    /// What each gate came to.
    pub fn tallies(&self) -> Vec<Tally> {
        let gates = self.gates.iter().enumerate();
        let of = |i: usize| self.seeds.iter().filter_map(move |run| run.gates.get(i));
        gates
            .map(|(i, name)| Tally::of(name, of(i).copied()))
            .collect()
    }

    /// The verdict over all of them: it fails when more runs failed than may.
    pub fn status(&self) -> Status {
        self.judged(&self.whole())
    }

    /// The verdict of a gate, or of all: nothing that was not seen to its end has passed.
    pub fn judged(&self, tally: &Tally) -> Status {
        let status = tally.status(self.max_red);
        match self.interrupted {
            true => status.max(Status::Inconclusive),
            false => status,
        }
    }

    /// Requests of all runs together.
    pub fn requests(&self) -> u64 {
        self.seeds.iter().map(|run| run.requests).sum()
    }

    /// The first seeds whose runs ended so.
    pub fn first(&self, status: Status) -> Vec<Seed> {
        let those = self.seeds.iter().filter(|run| run.status == status);
        those.map(|run| run.seed).take(NAMED).collect()
    }

    /// The command that repeats one of them, from a command without engine and seed.
    pub fn reproduce(&self, command: &str, seed: Seed) -> String {
        let engine = self.meta.driver();
        format!("{command} --engine {engine} --seed {seed}")
    }

    /// The command that repeats all of them, from a command without engine and seed.
    pub fn repeat(&self, command: &str) -> String {
        let mut line = self.reproduce(command, self.meta.seed);
        line += &format!(" --runs {}", self.planned);
        if self.max_red > 0 {
            line += &format!(" --max-red {}", self.max_red);
        }
        line
    }

    /// How many runs were rolled back, and how many of them before there was any trouble.
    pub fn rollbacks(&self) -> (u64, u64) {
        let rolled_back = self.seeds.iter().filter(|run| run.rolled_back_at.is_some());
        let early = rolled_back.clone().filter(|run| run.detection.is_none());
        (rolled_back.count() as u64, early.count() as u64)
    }

    /// The figures whose distribution is told: detection, exposed requests, user-visible errors. Those of
    /// which there is no sample are left out.
    pub fn figures(&self) -> Vec<Figure> {
        let runs = || self.seeds.iter();
        let detection = match self.since {
            Some(_) => "detection",
            None => "rolled back at",
        };
        let times: Samples = runs().filter_map(|run| run.detection).map(nanos).collect();
        let exposed: Samples = runs().filter_map(|run| run.exposed).collect();
        let errors: Samples = runs().map(|run| run.user_errors).collect();
        let all = [
            Figure::time(detection, "detection", times),
            Figure::count("exposed requests", "exposed_requests", exposed),
            Figure::count("user errors", "user_errors", errors),
        ];
        let is_there = |figure: &Figure| figure.samples.count() > 0;
        all.into_iter().filter(is_there).collect()
    }
}
