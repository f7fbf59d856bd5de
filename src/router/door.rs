//! The door to the canary: whether a new attempt may go there. Asked before every one of them.

use crate::router::io::Closed;

/// Whether anything may go to the canary.
#[derive(Clone, Debug, Default)]
pub struct CanaryDoor {
    /// The release there is.
    release: u64,
    /// Releases that were rolled back, which is for good. Only those that a request under way could
    /// still belong to matter, so the newest few are kept.
    rolled_back: Vec<u64>,
    /// What happens cannot be kept: after a restart nobody would know.
    pub store_failed: bool,
    /// The canary's upstream does not know its model.
    pub model_missing: bool,
}

/// Releases that were rolled back and are remembered.
const REMEMBERED: usize = 16;

impl CanaryDoor {
    /// The door of a release.
    pub fn of(release: u64) -> Self {
        Self {
            release,
            ..Self::default()
        }
    }

    /// May a new request go to the canary?
    pub fn is_open(&self) -> bool {
        self.admits(self.release)
    }

    /// May a new attempt of a request that arrived under `release` go to that release's canary?
    pub fn admits(&self, release: u64) -> bool {
        !self.store_failed && !self.model_missing && !self.rolled_back.contains(&release)
    }

    /// Every reason why it is closed.
    pub fn closed(&self) -> Vec<Closed> {
        let reasons = [
            (self.is_rolled_back(), Closed::RolledBack),
            (self.store_failed, Closed::StoreFailed),
            (self.model_missing, Closed::ModelMissing),
        ];
        let reasons = reasons.into_iter().filter(|(holds, _)| *holds);
        reasons.map(|(_, reason)| reason).collect()
    }

    /// Was the release there is rolled back?
    pub fn is_rolled_back(&self) -> bool {
        self.rolled_back.contains(&self.release)
    }

    /// Closes the door for the release there is, for good.
    pub fn close(&mut self) {
        if !self.is_rolled_back() {
            self.rolled_back.push(self.release);
            let surplus = self.rolled_back.len().saturating_sub(REMEMBERED);
            self.rolled_back.drain(..surplus);
        }
    }

    /// This is the release from now on. Another one may know its model.
    pub fn renew(&mut self, release: u64) {
        self.model_missing &= release == self.release;
        self.release = release;
    }
}
