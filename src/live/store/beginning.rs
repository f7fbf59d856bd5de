//! Where a router begins: plain data, from which the same core can be made again.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::Seed;
use crate::router::config::RouterConfig;
use crate::router::deployment::{Checkpoint, Deployment};
use crate::router::gray::GrayRouter;
use crate::time::Timestamp;

/// Where a router begins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Beginning {
    /// Is it known what an earlier process kept?
    pub is_known: bool,
    /// The release; of the router file alone when it is not known.
    pub deployment: Box<Deployment>,
    /// Its checkpoints, oldest first.
    pub checkpoints: Vec<Checkpoint>,
    /// The configuration of the router file.
    pub file: Arc<RouterConfig>,
    /// Time 0 in milliseconds since 1970.
    pub unix_zero: u64,
}

impl Beginning {
    /// With what was kept, or nothing, and the configuration of the router file.
    pub fn known(kept: Option<Deployment>, file: Arc<RouterConfig>, unix_zero: u64) -> Self {
        let mut deployment = Deployment::resumed(kept, file.clone(), Some(unix_zero));
        Self {
            is_known: true,
            checkpoints: std::mem::take(&mut deployment.checkpoints),
            deployment: Box::new(deployment),
            file,
            unix_zero,
        }
    }

    /// Without knowing what was kept.
    pub fn unknown(file: Arc<RouterConfig>, unix_zero: u64) -> Self {
        Self {
            is_known: false,
            deployment: Box::new(Deployment::first(file.clone())),
            file,
            checkpoints: Vec::new(),
            unix_zero,
        }
    }

    /// The configuration that callers meet first.
    pub fn config(&self) -> &Arc<RouterConfig> {
        &self.deployment.config
    }

    /// The core that begins here.
    pub fn core(&self, seed: Seed) -> GrayRouter {
        let (now, unix_zero) = (Timestamp::ZERO, Some(self.unix_zero));
        if !self.is_known {
            return GrayRouter::unknown(self.file.clone(), seed, now, unix_zero);
        }
        let mut deployment = (*self.deployment).clone();
        deployment.checkpoints = self.checkpoints.clone();
        GrayRouter::resume(deployment, seed, now, unix_zero).kept_from_the_start()
    }
}
