//! What people may ask of a release, and why it may be refused.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::PerVersion;
use crate::router::config::RouterConfig;

/// One request of a person or a program, by a number of the driver's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ControlId(pub u64);

/// What is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Control {
    /// The revision that the asker saw: refused when there is another one meanwhile. None asks
    /// whatever the revision.
    pub based_on: Option<u64>,
    /// What to do.
    pub order: Order,
}

/// What to do with a release.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Nothing: tell where the release stands.
    Look,
    /// Other weights for the versions. A ramp under way pauses.
    SetWeights(PerVersion<f64>),
    /// Another configuration: a new release, from its first step on.
    Apply {
        /// The configuration.
        config: Arc<RouterConfig>,
        /// Even if it is the one that was rolled back last.
        again: bool,
    },
    /// The next step, whatever the judge says.
    Promote,
    /// The ramp stands still at its step.
    Pause,
    /// The ramp goes on at its step, or begins.
    Resume,
    /// The canary is closed for good.
    RollBack {
        /// Why, in the asker's words.
        why: String,
    },
    /// The same, provided there is a checkpoint to go back to.
    InstantRollback {
        /// Why, in the asker's words.
        why: String,
    },
    /// Keep the present configuration as a checkpoint.
    Checkpoint {
        /// Its name, for people.
        name: String,
    },
    /// Another release from a checkpoint's configuration.
    Restore {
        /// The checkpoint's id.
        checkpoint: String,
    },
    /// The canary's upstream does not know its model: no traffic until somebody resumes.
    Withhold,
}

/// Why nothing was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// Another change came first.
    Stale {
        /// The revision there is.
        revision: u64,
    },
    /// Another change is being written this very moment.
    Busy,
    /// This is the configuration in force.
    Unchanged,
    /// The release was rolled back, which is final for its configuration.
    RolledBack,
    /// The configuration is the one that was rolled back last.
    SameAsRolledBack,
    /// There is nothing to pause, resume or promote.
    NotInThisPhase {
        /// What would be needed.
        needed: String,
    },
    /// There is no such checkpoint, or none to go back to.
    NoCheckpoint,
    /// The checkpoint is not what it was when it was made.
    CorruptCheckpoint,
    /// The weights are no weights.
    BadWeights {
        /// Why.
        why: String,
    },
    /// It cannot be kept: the store failed.
    StoreFailed,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stale { revision } => write!(
                f,
                "another change came first: the revision is {revision} now; look again and decide anew"
            ),
            Self::Busy => f.write_str("another change is being written: try again"),
            Self::Unchanged => f.write_str("this is the configuration in force"),
            Self::RolledBack => f.write_str(
                "the release was rolled back, which is final for its configuration: apply another \
                 configuration",
            ),
            Self::SameAsRolledBack => f.write_str(
                "this is the configuration that was rolled back: change it, or say that it is to be \
                 tried again (`?again=true`, `graygate admin config put --again`)",
            ),
            Self::NotInThisPhase { needed } => write!(f, "not now: {needed}"),
            Self::NoCheckpoint => f.write_str(
                "there is no checkpoint to go back to: `rollback` closes the canary without one",
            ),
            Self::CorruptCheckpoint => f.write_str(
                "the checkpoint is corrupt (its configuration does not have its SHA-256): it is not \
                 restored",
            ),
            Self::BadWeights { why } => write!(f, "wrong weights: {why}"),
            Self::StoreFailed => f.write_str(
                "it cannot be kept (the state file cannot be written), so it was not done",
            ),
        }
    }
}

impl std::error::Error for Refusal {}
