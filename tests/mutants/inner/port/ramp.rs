//! The deployment manager: phases with a weight and a duration, one after the other.

use graygate::router::config::RouterConfig;
use graygate::router::io::{Cause, Closed, Standing};
use graygate::router::ramp::{Phase, RampConfig};
use graygate::time::Timestamp;

use super::flaws::Flaw;

/// `CanaryDeploymentManager`.
#[derive(Debug)]
pub(super) struct DeploymentManager {
    flaw: Option<Flaw>,
    ramp: Option<RampConfig>,
    index: usize,
    since: Timestamp,
    revision: u64,
}

/// What the manager wants done.
pub(super) struct NewPhase {
    pub(super) share: f64,
    pub(super) standing: Standing,
}

impl DeploymentManager {
    pub(super) fn new(config: &RouterConfig, flaw: Option<Flaw>) -> Self {
        Self {
            flaw,
            ramp: config.ramp.clone(),
            index: 0,
            since: Timestamp::ZERO,
            revision: 1,
        }
    }

    /// Before the first request: `promotePhase` begins with `currentPhaseIndex++`.
    pub(super) fn start(&mut self) -> Option<NewPhase> {
        let skips = self.flaw == Some(Flaw::SkipsFirstPhase);
        self.ramp.is_some().then_some(())?;
        skips.then(|| self.go_to(Timestamp::ZERO, 1, Cause::Started))
    }

    /// When the phase's duration is over; none after the last one.
    pub(super) fn due(&self) -> Option<Timestamp> {
        let ramp = self.ramp.as_ref()?;
        let is_over = ramp.is_last(self.index);
        (!is_over).then(|| self.since + ramp.steps[self.index].hold)
    }

    /// `promotePhase`: the next one, if there is one and the one before was good.
    pub(super) fn promote(&mut self, now: Timestamp) -> Option<NewPhase> {
        let due = self.due()?;
        (due <= now).then(|| self.go_to(now, self.index + 1, Cause::Judged))
    }

    fn go_to(&mut self, now: Timestamp, index: usize, cause: Cause) -> NewPhase {
        self.index = index;
        self.since = now;
        self.revision += 1;
        let ramp = self.ramp.as_ref();
        let share = ramp.and_then(|r| r.step(index)).map_or(0.0, |s| s.share);
        let is_last = ramp.is_some_and(|ramp| ramp.is_last(index));
        let phase = if is_last {
            Phase::Promoted
        } else {
            Phase::Progressing
        };
        NewPhase {
            share,
            standing: self.standing(phase, share, cause),
        }
    }

    /// `emergencyRollback`: weight 0, for good.
    pub(super) fn rolled_back(&mut self) -> Standing {
        self.revision += 1;
        Standing {
            closed: vec![Closed::RolledBack],
            ..self.standing(Phase::RolledBack, 0.0, Cause::RolledBack)
        }
    }

    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    pub(super) fn step_name(&self) -> Option<String> {
        let ramp = self.ramp.as_ref()?;
        ramp.step(self.index).map(|step| step.name.clone())
    }

    fn standing(&self, phase: Phase, share: f64, cause: Cause) -> Standing {
        Standing {
            revision: self.revision,
            phase,
            step: self.step_name().map(|name| (self.index, name)),
            share,
            held: std::time::Duration::ZERO,
            cause,
            closed: Vec::new(),
            missing: Vec::new(),
        }
    }
}
