//! The door to the canary: open until it is rolled back, then closed for good.

use crate::id::VersionId;
use crate::router::config::RouterConfig;
use crate::router::io::{Evidence, Rollback};
use crate::time::Timestamp;

/// Whether anything may go to the canary.
#[derive(Clone, Debug, Default)]
pub struct CanaryDoor {
    record: Option<Rollback>,
}

impl CanaryDoor {
    /// May a new attempt go to the canary? Asked before every one of them.
    pub fn is_open(&self) -> bool {
        self.record.is_none()
    }

    /// The rollback that closed the door.
    pub fn record(&self) -> Option<&Rollback> {
        self.record.as_ref()
    }

    /// May a new attempt go to `version`?
    pub fn admits(&self, config: &RouterConfig, version: VersionId) -> bool {
        version != config.canary || self.is_open()
    }

    /// Closes the door, once: a second call changes nothing and returns none.
    pub fn close(
        &mut self,
        config: &RouterConfig,
        reason: Evidence,
        at: Timestamp,
        affected_requests: u64,
    ) -> Option<&Rollback> {
        if !self.is_open() {
            return None;
        }
        self.record = Some(Rollback {
            id: format!("rb-{}-{}", config.name(config.canary), at.0),
            from: config.canary,
            to: config.stable,
            reason,
            at,
            affected_requests,
        });
        self.record.as_ref()
    }
}
