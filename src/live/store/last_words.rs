//! What a process that comes to its end still has to write.

use crate::router::deployment::{Change, Checkpoint, Deployment};

/// What could not be written, and the release as it is.
#[derive(Debug, Default)]
pub struct Unkept {
    /// Facts that could not be written, oldest first.
    failed: Vec<Change>,
    /// The newest release that is in force.
    deployment: Option<Deployment>,
    /// Its checkpoints.
    checkpoints: Option<Vec<Checkpoint>>,
}

impl Unkept {
    /// A change was written, or was not.
    pub fn note(&mut self, change: &Change, is_written: bool) {
        self.failed.retain(|failed| !is_same(failed, change));
        // An order that could not be written was refused, and must not be in force after all.
        if !is_written && !is_fact(change) {
            return;
        }
        self.deployment = Some(change.deployment.clone());
        if let Some(checkpoints) = &change.checkpoints {
            self.checkpoints = Some(checkpoints.clone());
        }
        if !is_written {
            self.failed.push(change.clone());
        }
    }

    /// What is to be written at the end: what failed, with the release as it is now, or the release
    /// alone when the file `is_failing`.
    pub fn rest(&self, is_failing: bool) -> Vec<Change> {
        let Some(deployment) = &self.deployment else {
            return Vec::new();
        };
        let present = Change {
            deployment: deployment.clone(),
            checkpoints: self.checkpoints.clone(),
            entry: None,
            rollback: None,
        };
        if self.failed.is_empty() && is_failing {
            return vec![present];
        }
        let failed = self.failed.iter().map(|failed| Change {
            entry: failed.entry.clone(),
            rollback: failed.rollback.clone(),
            ..present.clone()
        });
        failed.collect()
    }

    /// A change in words.
    pub fn describe(change: &Change) -> String {
        let Deployment {
            revision, phase, ..
        } = &change.deployment;
        match &change.rollback {
            Some(record) => format!("the rollback {}", record.id),
            None => format!(
                "the release as it is (revision {revision}, {})",
                phase.name()
            ),
        }
    }
}

/// Is it tried again, or the same again?
fn is_same(one: &Change, other: &Change) -> bool {
    one.entry == other.entry && one.rollback == other.rollback
}

/// Was it in force before it was to be written? All else is planned by an order or by the ramp.
fn is_fact(change: &Change) -> bool {
    let kind = change.entry.as_ref().map(|entry| entry.kind.as_str());
    change.rollback.is_some() || matches!(kind, None | Some("started"))
}
