//! The watch over the canary.

use crate::id::{RequestId, VersionId};
use crate::protocol::outcome::Outcome;
use crate::router::gray::GrayRouter;
use crate::router::health::HealthWindow;
use crate::router::io::{Event, Reason};
use crate::router::judge::sequential::{HoldReason, Step};
use crate::router::judge::{Found, Occasion, Promotion};
use crate::router::ramp::Phase;
use crate::time::Timestamp;

impl GrayRouter {
    /// Tells the judge which weight is in force.
    pub(super) fn tell_weight(&mut self, now: Timestamp) {
        let share = match self.door.is_open() {
            true => self.deployment.share(),
            false => 0.0,
        };
        let held = self.held.until(now);
        let hold = self.deployment.step_config().map(|step| step.hold);
        let hold = hold.map(|hold| hold.saturating_sub(held));
        let horizon = self.config().judge.horizon();
        let planned_hold = match self.deployment.phase {
            Phase::Progressing | Phase::Paused => hold.unwrap_or(horizon),
            Phase::Pending | Phase::Promoted | Phase::RolledBack => horizon,
        };
        let step = Step {
            index: self.deployment.step,
            canary_share: share,
            planned_hold,
            has_control: share < 1.0,
        };
        self.judge.begin_step(now, step);
    }

    /// Tells the judge that chance gave a request to a version.
    pub(super) fn tell_assigned(
        &mut self,
        now: Timestamp,
        request: RequestId,
        caller: Option<u64>,
        version: VersionId,
    ) {
        self.judge.assigned(now, request, caller, version);
    }

    /// Lets the judge look, if what ended makes it want to.
    pub(super) fn look_after(&mut self, now: Timestamp, outcome: Outcome, is_canary: bool) {
        if let Some(occasion) = self.judge.wants_look(now, outcome, is_canary) {
            self.look(now, occasion);
        }
    }

    /// The judge's own time has come, if it has.
    pub(super) fn judge_due(&mut self, now: Timestamp) {
        if self.next_tick().is_some_and(|due| due <= now)
            && let Some(occasion) = self.judge.handle_timeout(now)
        {
            self.look(now, occasion);
        }
    }

    /// Lets the judge look at the canary, and does what it finds.
    fn look(&mut self, now: Timestamp, occasion: Occasion) {
        if self.door.is_rolled_back() {
            return;
        }
        let canary = self.config().canary;
        let window = self.health.as_mut().map(|health| &mut health[canary]);
        let window = window.map(|window| {
            window.advance(now);
            &*window
        });
        let events = &mut self.events;
        let decisive = self.judge.look(now, occasion, window, |found| {
            events.push_back(match found {
                Found::Evidence(evidence) => Event::Judged(evidence),
                Found::Held(reason) => Event::Held(reason),
            });
        });
        if let Some(evidence) = decisive {
            self.roll_back(now, Reason::Judged(evidence), Vec::new());
        }
    }

    /// A judge that broke down holds, which is told once.
    pub(super) fn tell_judge_failure(&mut self) {
        if self.judge.failure_to_tell() {
            let held = Some(HoldReason::JudgeFailed);
            self.events.push_back(Event::Held(held));
        }
    }

    /// What the windows hold by now is not of the step that begins.
    pub(super) fn begin_windows(&mut self) {
        let windows = self.health.iter_mut().flat_map(|health| health.iter_mut());
        windows.for_each(|(_, window)| HealthWindow::begin_step(window));
    }

    /// Has the judge seen enough of a good canary for the next step?
    pub(super) fn promotion(&self, now: Timestamp) -> Promotion {
        let canary = self.config().canary;
        let window = self.health.as_ref().map(|health| &health[canary]);
        self.judge.promotion(now, window)
    }

    /// Lets go of what is too old at `now` to speak for the canary.
    pub(super) fn age_window(&mut self, now: Timestamp) {
        let canary = self.config().canary;
        if let Some(health) = &mut self.health {
            health[canary].advance(now);
        }
    }

    /// When the judge wants to be called by itself.
    pub(super) fn next_tick(&self) -> Option<Timestamp> {
        let next = self.judge.next_timeout();
        next.filter(|_| !self.door.is_rolled_back())
    }
}
