//! The release as it must survive a restart: configuration, phase, step, checkpoints.
//!
//! Everything here is a value. A change makes another value, which is written before it is in force
//! (a rollback is in force before it is written; see [`crate::router::gray`]).

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::canonical;
use crate::router::config::RouterConfig;
use crate::router::io::Rollback;
use crate::router::ramp::{Phase, StepConfig};

/// Most configurations that are remembered as rolled back.
const REMEMBERED: usize = 100;
/// Most checkpoints that are kept; the oldest goes first.
pub const MAX_CHECKPOINTS: usize = 10;

/// A release.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Deployment {
    /// Counts changes of configuration and weights, from 1, for ever.
    pub revision: u64,
    /// Counts configurations that were applied, from 1. A rollback is final for one of these.
    pub release: u64,
    /// The configuration in force, weights included.
    pub config: Arc<RouterConfig>,
    /// SHA-256 of the configuration as it was applied, before its weights changed.
    pub source_sha256: String,
    /// SHA-256 of the router file that the process was started with last. While it stays the same,
    /// what was applied since counts.
    #[serde(default)]
    pub file_sha256: String,
    /// The phase.
    pub phase: Phase,
    /// Position of the ramp's step.
    pub step: usize,
    /// How long the step has been held.
    pub held: Duration,
    /// Counts the reshuffles of sticky callers.
    pub salt: u64,
    /// The rollback that closed this release.
    pub rollback: Option<Rollback>,
    /// SHA-256 of the configurations that were rolled back, as they were applied; the newest last.
    #[serde(default)]
    pub rolled_back_configs: Vec<String>,
    /// The number of the next checkpoint.
    pub next_checkpoint: u64,
    /// Oldest first. Kept by the store on their own.
    #[serde(skip)]
    pub checkpoints: Vec<Checkpoint>,
}

/// A configuration to go back to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// `cp-1`, `cp-2` …
    pub id: String,
    /// For people.
    pub name: String,
    /// Why it was made.
    pub kind: CheckpointKind,
    /// The release it is of.
    pub release: u64,
    /// Was that release rolled back?
    pub rolled_back: bool,
    /// When, in milliseconds since 1970; none in virtual time.
    pub unix_ms: Option<u64>,
    /// The configuration, weights included.
    pub config: Arc<RouterConfig>,
    /// SHA-256 of the configuration's canonical form.
    pub sha256: String,
}

impl Checkpoint {
    /// Is the configuration what it was when the checkpoint was made?
    pub fn is_intact(&self) -> bool {
        canonical::sha256(&*self.config) == self.sha256
    }

    /// May a rollback go back to it?
    pub fn is_refuge(&self) -> bool {
        self.kind != CheckpointKind::Backup && !self.rolled_back
    }
}

/// Why a checkpoint was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckpointKind {
    /// By hand.
    Manual,
    /// Before another configuration was applied.
    PreDeploy,
    /// Before a rollback: what was rolled back, for the record. Never gone back to.
    Backup,
}

/// A change to keep: all of it or nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// The release as it is after the change, but for its checkpoints.
    pub deployment: Deployment,
    /// All checkpoints, when they changed.
    pub checkpoints: Option<Vec<Checkpoint>>,
    /// What is added to the history.
    pub entry: Option<HistoryEntry>,
    /// The record of the rollback, which everybody concerned must be told of.
    pub rollback: Option<Rollback>,
}

/// A line of the deployment's history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// The revision after it.
    pub revision: u64,
    /// `applied`, `weights`, `step`, `promoted`, `paused`, `resumed`, `rolled_back`, `checkpoint` or
    /// `restored`.
    pub kind: String,
    /// For people.
    pub detail: String,
    /// When, in milliseconds since 1970; none in virtual time.
    pub unix_ms: Option<u64>,
}

impl Deployment {
    /// The first release of a router, from the configuration it is given.
    pub fn first(config: Arc<RouterConfig>) -> Self {
        let begun = Self {
            revision: 1,
            release: 1,
            source_sha256: String::new(),
            file_sha256: canonical::sha256(&*config),
            phase: Phase::Progressing,
            step: 0,
            held: Duration::ZERO,
            salt: 0,
            rollback: None,
            rolled_back_configs: Vec::new(),
            next_checkpoint: 1,
            checkpoints: Vec::new(),
            config: config.clone(),
        };
        begun.begin(config)
    }

    /// Takes a configuration over, at the first step of its ramp.
    fn begin(mut self, config: Arc<RouterConfig>) -> Self {
        self.source_sha256 = canonical::sha256(&*config);
        // Whoever applies it again means it.
        let applied = &self.source_sha256;
        self.rolled_back_configs.retain(|known| known != applied);
        self.step = 0;
        self.held = Duration::ZERO;
        self.rollback = None;
        let first = config
            .ramp
            .as_ref()
            .map(|ramp| (ramp.step(0), ramp.is_last(0)));
        (self.config, self.phase) = match first {
            Some((Some(step), is_last)) => {
                let weighed = Arc::new(config.with_canary_share(step.share));
                (weighed, progress(is_last))
            }
            Some((None, _)) | None => (config, Phase::Progressing),
        };
        self
    }

    /// Where the router begins: at what was kept, unless `file` is another configuration than the one
    /// that the process was started with last, which makes it another release. A release that was
    /// applied since then stays; so does a rollback. `kept` is none when nothing was kept.
    pub fn resumed(kept: Option<Self>, file: Arc<RouterConfig>, unix_ms: Option<u64>) -> Self {
        let sha256 = canonical::sha256(&*file);
        let mut next = match kept {
            None => Self::first(file),
            Some(kept) if kept.file_sha256 == sha256 || kept.source_sha256 == sha256 => kept,
            // Nobody says of a file that it is to be tried again.
            Some(kept) if kept.was_rolled_back(&file) => kept,
            Some(kept) => kept.with_applied(file, unix_ms),
        };
        next.file_sha256 = sha256;
        next
    }

    /// The step of the ramp; none without a ramp.
    pub fn step_config(&self) -> Option<&StepConfig> {
        self.config.ramp.as_ref()?.step(self.step)
    }

    /// The share of the canary by the weights, whatever the phase.
    pub fn share(&self) -> f64 {
        self.config.canary_share()
    }

    /// Another release from this configuration, at its first step.
    #[must_use]
    pub fn with_applied(mut self, config: Arc<RouterConfig>, unix_ms: Option<u64>) -> Self {
        let name = format!("before revision {}", self.revision + 1);
        self = self.with_checkpoint(name, CheckpointKind::PreDeploy, unix_ms);
        self.revision += 1;
        self.release += 1;
        self.begin(config)
    }

    /// The same release with the canary at another share.
    #[must_use]
    pub fn with_share(mut self, share: f64) -> Self {
        self.revision += 1;
        self.config = Arc::new(self.config.with_canary_share(share));
        self
    }

    /// The same release at another step of its ramp, held anew.
    #[must_use]
    pub fn at_step(self, position: usize) -> Self {
        let Some(ramp) = self.config.ramp.clone() else {
            return self;
        };
        let Some(step) = ramp.step(position) else {
            return self;
        };
        let mut next = self.with_share(step.share);
        next.step = position;
        next.held = Duration::ZERO;
        next.phase = progress(ramp.is_last(position));
        next
    }

    /// The same release with another checkpoint, the oldest dropped when there are too many.
    #[must_use]
    pub fn with_checkpoint(
        mut self,
        name: String,
        kind: CheckpointKind,
        unix_ms: Option<u64>,
    ) -> Self {
        self.checkpoints.push(Checkpoint {
            id: format!("cp-{}", self.next_checkpoint),
            name,
            kind,
            release: self.release,
            rolled_back: self.rollback.is_some(),
            unix_ms,
            sha256: canonical::sha256(&*self.config),
            config: self.config.clone(),
        });
        self.next_checkpoint += 1;
        let surplus = self.checkpoints.len().saturating_sub(MAX_CHECKPOINTS);
        self.checkpoints.drain(..surplus);
        self
    }

    /// Was this configuration applied once and rolled back?
    pub fn was_rolled_back(&self, config: &RouterConfig) -> bool {
        self.rolled_back_configs
            .contains(&canonical::sha256(config))
    }

    /// The newest checkpoint that a rollback may go back to. Its stable version must be the present
    /// one: an older one may not be served any more, and a newer one may be the very canary that is
    /// rolled back.
    pub fn refuge(&self) -> Option<&Checkpoint> {
        let stable = &self.config.versions[self.config.stable];
        let has_same_stable = |c: &Checkpoint| {
            let its = &c.config.versions[c.config.stable];
            (&its.name, &its.model) == (&stable.name, &stable.model)
        };
        let mut newest_first = self.checkpoints.iter().rev();
        newest_first.find(|c| c.is_refuge() && c.is_intact() && has_same_stable(c))
    }

    /// The checkpoint with this id.
    pub fn checkpoint(&self, id: &str) -> Option<&Checkpoint> {
        self.checkpoints.iter().find(|c| c.id == id)
    }

    /// The release after it was rolled back: a backup of what was, the refuge's configuration (or its
    /// own) with everything at stable, and another salt. Returns it with the refuge's id and the
    /// SHA-256 that the configuration must have.
    ///
    /// The canary it closes is the one of the configuration that is left; the refuge's own canary
    /// gets nothing either.
    #[must_use]
    pub fn rolled_back(mut self, unix_ms: Option<u64>) -> (Self, Option<String>, String) {
        let refuge = self.refuge().map(|c| (c.id.clone(), c.config.clone()));
        let name = "pre_rollback_backup".to_owned();
        self = self.with_checkpoint(name, CheckpointKind::Backup, unix_ms);
        let (release, bad) = (self.release, weightless(&self.config));
        for checkpoint in &mut self.checkpoints {
            let is_same = weightless(&checkpoint.config) == bad;
            checkpoint.rolled_back |= checkpoint.release == release || is_same;
        }
        self.rolled_back_configs.push(self.source_sha256.clone());
        let surplus = self.rolled_back_configs.len().saturating_sub(REMEMBERED);
        self.rolled_back_configs.drain(..surplus);
        let (id, config) = refuge.unzip();
        let config = config.unwrap_or_else(|| self.config.clone());
        // The weights come before the hash: what is verified is what is in force.
        let config = Arc::new(config.with_canary_share(0.0));
        let sha256 = canonical::sha256(&*config);
        self.revision += 1;
        self.config = config;
        self.phase = Phase::RolledBack;
        self.salt += 1;
        (self, id, sha256)
    }
}

/// A configuration but for its weights.
fn weightless(config: &RouterConfig) -> RouterConfig {
    config.with_canary_share(0.0)
}

/// The phase of a release that has arrived at a step.
fn progress(is_last: bool) -> Phase {
    match is_last {
        true => Phase::Promoted,
        false => Phase::Progressing,
    }
}
