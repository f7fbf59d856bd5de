//! The ramp: by which steps the canary gets its weight, and how long each must hold.
//!
//! A step holds for its time *while the ramp progresses*: pauses do not count, and neither does the
//! time a restarted process was away. Then the judge is asked; only its yes promotes. A step for
//! which the judge finds no answer within its limit is inconclusive, and never promotes.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// The steps of a ramp. It begins at the first one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RampConfig {
    /// At least one; the weights rise. Reaching the last one is the promotion.
    pub steps: Vec<StepConfig>,
    /// What becomes of a step whose limit passes without an answer.
    pub inconclusive: Inconclusive,
}

impl RampConfig {
    /// The step with this position; the last one for positions beyond.
    pub fn step(&self, position: usize) -> Option<&StepConfig> {
        self.steps.get(position).or(self.steps.last())
    }

    /// The same ramp with at least this share left to stable at every step.
    #[must_use]
    pub fn with_control(mut self, control: f64) -> Self {
        for step in &mut self.steps {
            step.share = step.share.min(1.0 - control);
        }
        self
    }

    /// Is this the position of the last step?
    pub fn is_last(&self, position: usize) -> bool {
        position + 1 >= self.steps.len()
    }
}

/// One step of a ramp.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepConfig {
    /// Its name: `initial`, `minority` …
    pub name: String,
    /// The canary's share, 0 to 1.
    pub share: f64,
    /// How long it holds before the judge is asked. Zero for the last step.
    pub hold: Duration,
    /// After this long without an answer of the judge the step is inconclusive.
    pub limit: Duration,
}

/// What becomes of a step without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Inconclusive {
    /// It goes on holding; people are told.
    Hold,
    /// The canary is rolled back.
    Rollback,
}

/// Where a release stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Not begun: the canary gets nothing.
    Pending,
    /// The canary has its weight; a ramp goes through its steps.
    Progressing,
    /// The ramp stands still; the canary keeps its weight and is judged.
    Paused,
    /// The last step was reached. The canary is still judged.
    Promoted,
    /// The canary is closed. Final for the configuration.
    RolledBack,
}

impl Phase {
    /// The name in files and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Progressing => "progressing",
            Self::Paused => "paused",
            Self::Promoted => "promoted",
            Self::RolledBack => "rolled_back",
        }
    }
}

/// How long a step has been held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Until `since`, or altogether while it stands still.
    before: Duration,
    /// From when on time counts; none while it stands still.
    since: Option<Timestamp>,
}

impl Held {
    /// A time that goes on from `before` at `now`.
    pub fn going(before: Duration, now: Timestamp) -> Self {
        let since = Some(now);
        Self { before, since }
    }

    /// A time that stands still.
    pub fn standing(before: Duration) -> Self {
        let since = None;
        Self { before, since }
    }

    /// The time held until `now`.
    pub fn until(self, now: Timestamp) -> Duration {
        let going = self.since.map(|since| now.since(since));
        self.before.saturating_add(going.unwrap_or_default())
    }

    /// When the time held will be `goal`, if it goes on; none when it stands still.
    pub fn reaches(self, goal: Duration) -> Option<Timestamp> {
        Some(self.since? + goal.saturating_sub(self.before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;
    const AT: fn(u64) -> Timestamp = |s| Timestamp(s * 1_000_000_000);

    #[test]
    fn only_time_that_goes_on_counts() {
        let held = Held::going(S(10), AT(100));
        assert_eq!(held.until(AT(105)), S(15));
        assert_eq!(held.reaches(S(40)), Some(AT(130)));
        assert_eq!(held.reaches(S(4)), Some(AT(100)), "long reached");
        let held = Held::standing(held.until(AT(105)));
        assert_eq!(held.until(AT(500)), S(15));
        assert_eq!(held.reaches(S(40)), None);
    }
}
