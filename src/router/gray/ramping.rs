//! The steps of the ramp, and where the release stands.

use crate::router::gray::keeping::Planned;
use crate::router::gray::{GrayRouter, KEEP_EVERY};
use crate::router::io::{Cause, Event, Reason, Standing};
use crate::router::judge::Promotion;
use crate::router::judge::lack::Lack;
use crate::router::ramp::{Held, Inconclusive, Phase};
use crate::time::Timestamp;

impl GrayRouter {
    /// Sets the times at which the ramp looks, for the step there is.
    pub(super) fn begin_step(&mut self, now: Timestamp) {
        self.is_inconclusive = false;
        self.count_time(now);
        self.tell_weight(now);
    }

    /// Lets the step's time go on, or stand still: it counts only while the canary may have its weight.
    fn count_time(&mut self, now: Timestamp) {
        let held = self.held.until(now);
        let goes_on = self.deployment.phase == Phase::Progressing && self.door.is_open();
        self.held = match goes_on {
            true => Held::going(held, now),
            false => Held::standing(held),
        };
        let step = self.deployment.step_config();
        let hold = step.filter(|_| self.deployment.phase == Phase::Progressing);
        self.ramp_due = hold.and_then(|step| self.held.reaches(step.hold));
        self.ramp_due = self.ramp_due.map(|due| due.max(now));
        self.keep_due = self.ramp_due.map(|_| now + KEEP_EVERY);
    }

    /// The door opened or closed, without another release, step or phase.
    pub(super) fn door_moved(&mut self, now: Timestamp, cause: Cause) {
        self.count_time(now);
        self.tell_standing(now, cause);
    }

    /// The release's own times.
    pub(super) fn release_due(&mut self, now: Timestamp) {
        for (mut change, askers) in self.keeper.due(now) {
            // What was decided meanwhile must not be undone by an older state.
            let present = self.present_change(now);
            change.deployment = present.deployment;
            change.checkpoints = Some(self.deployment.checkpoints.clone());
            self.keep_fact(*change, askers);
        }
        if self.keep_due.is_some_and(|due| due <= now) {
            self.keep_due = Some(now + KEEP_EVERY);
            if self.keeper.is_idle() {
                let change = self.present_change(now);
                self.keep_fact(change, Vec::new());
            }
        }
        if self.ramp_due.is_some_and(|due| due <= now) {
            self.ramp_looks(now);
        }
    }

    /// The step has been held long enough: is it good enough for the next one?
    pub(super) fn ramp_looks(&mut self, now: Timestamp) {
        let pause = self.judge.every().unwrap_or(KEEP_EVERY);
        self.ramp_due = Some(now + pause);
        let goes_on = self.deployment.phase == Phase::Progressing && self.door.is_open();
        if self.keeper.is_busy() || !goes_on {
            return;
        }
        self.age_window(now);
        let missing = self.missing(now);
        if missing.is_empty() {
            return self.next_step(now);
        }
        self.events.push_back(Event::NotPromoted(missing));
        let limit = self.deployment.step_config().map(|step| step.limit);
        if limit.is_some_and(|limit| self.held.until(now) >= limit) {
            self.inconclusive(now);
        }
    }

    pub(super) fn next_step(&mut self, now: Timestamp) {
        let next = self.deployment.clone().at_step(self.deployment.step + 1);
        let name = next.step_config().map(|step| step.name.clone());
        let planned = Planned {
            cause: Cause::Judged,
            ..Planned::new(next, "step", name.unwrap_or_default())
        };
        self.write(now, planned, None);
    }

    pub(super) fn inconclusive(&mut self, now: Timestamp) {
        let ramp = self.config().ramp.as_ref();
        match ramp.map(|ramp| ramp.inconclusive) {
            Some(Inconclusive::Rollback) => {
                self.roll_back(now, Reason::Inconclusive, Vec::new());
            }
            Some(Inconclusive::Hold) | None => {
                if !self.is_inconclusive {
                    self.is_inconclusive = true;
                    self.tell_standing(now, Cause::Inconclusive);
                }
            }
        }
    }

    pub(super) fn tell_standing(&mut self, now: Timestamp, cause: Cause) {
        let standing = self.standing(now, cause);
        self.events.push_back(Event::Standing(standing));
        // The door may have opened or closed.
        self.tell_weight(now);
    }

    /// What the next step still waits for; nothing where there is no next step.
    fn missing(&self, now: Timestamp) -> Vec<Lack> {
        let goes_on = match self.deployment.phase {
            Phase::Pending | Phase::Progressing | Phase::Paused => true,
            Phase::Promoted | Phase::RolledBack => false,
        };
        let Some(step) = self.deployment.step_config().filter(|_| goes_on) else {
            return Vec::new();
        };
        let mut missing = Vec::new();
        if self.deployment.phase != Phase::Progressing {
            let by_weights = (self.deployment.share() - step.share).abs() > 1e-9;
            missing.push(Lack::Paused { by_weights });
        }
        if !self.door.is_open() {
            missing.push(Lack::Closed);
        }
        let mut own = match self.promotion(now) {
            Promotion::Yes => Vec::new(),
            Promotion::No(missing) => missing,
        };
        let left = step.hold.saturating_sub(self.held.until(now));
        let left = own.iter().fold(left, |left, lack| match lack {
            Lack::Hold { left: more } => left.max(*more),
            _ => left,
        });
        own.retain(|lack| !matches!(lack, Lack::Hold { .. }));
        if !left.is_zero() {
            missing.push(Lack::Hold { left });
        }
        missing.extend(own);
        missing
    }

    /// Where the release stands.
    pub(super) fn standing(&self, now: Timestamp, cause: Cause) -> Standing {
        let deployment = &self.deployment;
        let step = deployment.step_config();
        Standing {
            revision: deployment.revision,
            phase: deployment.phase,
            step: step.map(|step| (deployment.step, step.name.clone())),
            share: match self.door.is_open() {
                true => deployment.share(),
                false => 0.0,
            },
            held: self.held.until(now),
            cause,
            closed: self.door.closed(),
            missing: self.missing(now),
        }
    }
}
