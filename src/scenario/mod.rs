//! Scenario files: from YAML to a complete experiment with its gates, or to *all* mistakes.
//!
//! [`load`] reads files within limits, [`compile`] puts a scenario together from its parts
//! ([`upstreams`] with their [`distributions`], [`real`] ones, [`external`] gateways and the [`orders`] they are given, what it [`requires`], [`traffic`] with [`arrivals`] and [`callers`], [`faults`], [`gates`]), [`replay`] does the same for a recorded log
//! on the command line, [`conversion`] writes one in another format, [`generation`] makes one up, [`advice`] warns of what cannot work out.

mod admin;
pub mod advice;
pub mod arrivals;
pub mod audit;
pub mod budgets;
pub mod callers;
pub mod compile;
mod contract;
pub mod conversion;
pub mod costs;
pub mod distributions;
pub mod external;
mod fault_kinds;
mod fault_patterns;
pub mod faults;
pub mod forced;
pub mod gates;
pub mod generation;
mod here;
pub mod load;
pub mod log_file;
pub mod log_request;
mod machine;
pub mod mock;
pub mod orders;
pub mod pressure;
mod rate_limits;
pub mod real;
pub mod recorded;
pub mod rejudging;
pub mod replay;
pub mod requires;
mod retries;
mod rollbacks;
pub mod run_folder;
mod stickiness;
pub mod sweep;
pub mod traffic;
mod unsupported;
pub mod upstreams;

use std::path::PathBuf;

use crate::experiment::Experiment;
use crate::id::Seed;
use crate::observe::meta::{Engine, LogMeta};
use crate::verdict::spec::GateSpec;

/// A scenario, ready to run.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Where it came from, as the user wrote it.
    pub path: PathBuf,
    /// Short name: the file's name without its ending. Names the folder of its reports.
    pub name: String,
    /// Its title.
    pub title: String,
    /// What it is about.
    pub description: Option<String>,
    /// The engine it asks for.
    pub engine: Option<Engine>,
    /// What it needs of the machine.
    pub requires: requires::Requires,
    /// What is run.
    pub experiment: Experiment,
    /// What is expected.
    pub gates: Vec<GateSpec>,
    /// SHA-256 over the file and every file it refers to; for a replay also over its options.
    pub sha256: String,
    /// Told apart from other runs of this name by its fingerprint? A replay is: the name of its log
    /// says nothing of its router and options.
    pub is_named_by_sha256: bool,
    /// Where recorded traffic came from.
    pub log: Option<LogMeta>,
    /// The command that runs it, without engine and seed. Files are named without their folders:
    /// what a run writes must not depend on where it ran.
    pub command: String,
    /// The same command as it works from the folder the program was started in.
    pub command_here: String,
}

impl Scenario {
    /// The same scenario with another seed.
    pub fn with_seed(mut self, seed: Seed) -> Self {
        self.experiment = self.experiment.with_seed(seed);
        if let Some(log) = &mut self.log {
            recorded::recount(log, &self.experiment.traffic);
        }
        self
    }
}
