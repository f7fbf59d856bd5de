//! What a canary costs until it is closed: when that was decided, how many requests met it by then, and
//! how many callers were failed.

use std::time::Duration;

use crate::id::VersionId;
use crate::observe::event::{RunEvent, What};
use crate::observe::story::Story;
use crate::protocol::outcome::Outcome;
use crate::time::Timestamp;

/// Counts it.
#[derive(Clone, Debug)]
pub struct Harm {
    canary: VersionId,
    since: Timestamp,
    closed_at: Option<Timestamp>,
    exposed: u64,
    user_errors: u64,
}

impl Harm {
    /// Nothing so far, of trouble that begins at `since`.
    pub fn new(canary: VersionId, since: Timestamp) -> Self {
        Self {
            canary,
            since,
            closed_at: None,
            exposed: 0,
            user_errors: 0,
        }
    }

    /// Takes an event in. The story that it closes comes after it.
    pub fn event(&mut self, event: &RunEvent) {
        if let What::RolledBack(record) = &event.what
            && record.from == self.canary
        {
            self.closed_at = self.closed_at.or(Some(record.decided_at));
        }
    }

    /// Takes a request in that is over, or was not when the run ended.
    pub fn story(&mut self, story: &Story) {
        let until = self.closed_at.unwrap_or(Timestamp::MAX);
        self.exposed += u64::from(story.met(self.canary, self.since..=until));
        let is_sent = story.sent.is_some();
        let outcome = story.outcome();
        self.user_errors += u64::from(is_sent && outcome.is_none_or(is_user_error));
    }

    /// When the canary was closed.
    pub fn closed_at(&self) -> Option<Timestamp> {
        self.closed_at
    }

    /// Was it closed before there was any trouble?
    pub fn is_early(&self) -> bool {
        self.closed_at.is_some_and(|at| at < self.since)
    }

    /// From the beginning of the trouble to the decision; none without one after it.
    pub fn detection(&self) -> Option<Duration> {
        let at = self.closed_at.filter(|_| !self.is_early())?;
        Some(at.since(self.since))
    }

    /// Requests that met the canary from the beginning of the trouble to the decision, or to the end of
    /// the run where there was none; none where the canary was closed before.
    pub fn exposed(&self) -> Option<u64> {
        (!self.is_early()).then_some(self.exposed)
    }

    /// Requests of the whole run that failed for their callers, or had no answer when it ended.
    pub fn user_errors(&self) -> u64 {
        self.user_errors
    }
}

/// Everything but a success is an error for the user, unless they left by themselves.
pub fn is_user_error(outcome: Outcome) -> bool {
    !outcome.is_success() && outcome != Outcome::ClientGone
}
