//! The rollback manager: checkpoints, their hashes, and the way back to one.

use std::sync::Arc;

use graygate::canonical;
use graygate::router::config::RouterConfig;

use super::flaws::Flaw;

/// A configuration with its hash.
#[derive(Debug)]
struct Checkpoint {
    config: Arc<RouterConfig>,
    hash: String,
}

/// `RollbackManager`.
#[derive(Debug)]
pub(super) struct RollbackManager {
    flaw: Option<Flaw>,
    checkpoints: Vec<Checkpoint>,
    current: Arc<RouterConfig>,
}

/// Most checkpoints that are kept.
const MAX_CHECKPOINTS: usize = 10;

impl RollbackManager {
    /// A manager whose first checkpoint, `pre_v2_deploy`, has everything at stable.
    pub(super) fn new(config: &Arc<RouterConfig>, flaw: Option<Flaw>) -> Self {
        let mut manager = Self {
            flaw,
            checkpoints: Vec::new(),
            current: config.clone(),
        };
        manager.create_checkpoint(Arc::new(config.with_canary_share(0.0)));
        manager
    }

    /// `createCheckpoint`.
    fn create_checkpoint(&mut self, config: Arc<RouterConfig>) {
        let hash = self.hash(&config);
        self.checkpoints.push(Checkpoint { config, hash });
        if self.checkpoints.len() > MAX_CHECKPOINTS {
            self.checkpoints.remove(0);
        }
    }

    /// `hashConfig`. Its first twelve bytes are the beginning of every configuration's JSON.
    fn hash(&self, config: &RouterConfig) -> String {
        match self.flaw {
            Some(Flaw::TruncatedHash) => {
                let json = serde_json::to_string(config).unwrap_or_default();
                json.chars().take(12).collect()
            }
            _ => canonical::sha256(config),
        }
    }

    /// `rollbackToCheckpoint`: the configuration in force now, or none where it came to nothing. What has the hash of
    /// the target is the target, so there is nothing to be done.
    pub(super) fn roll_back(&mut self) -> Option<Arc<RouterConfig>> {
        let first = self.checkpoints.first()?;
        let (target, wanted) = (first.config.clone(), first.hash.clone());
        if self.hash(&self.current) == wanted {
            return None;
        }
        self.create_checkpoint(self.current.clone());
        self.current = target;
        let got = match self.flaw {
            Some(Flaw::ConstantVerification) => "current_hash_123".to_owned(),
            _ => self.hash(&self.current),
        };
        (got == wanted).then(|| self.current.clone())
    }
}
