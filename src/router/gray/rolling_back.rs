//! Closing the canary, exactly once, whoever asks and however often.

use std::sync::Arc;

use crate::canonical;
use crate::protocol::outcome::Outcome;
use crate::router::config::InFlight;
use crate::router::control::ControlId;
use crate::router::deployment::{Change, Deployment};
use crate::router::gray::GrayRouter;
use crate::router::health::HealthWindow;
use crate::router::io::{Cause, Event, Reason, Rollback};
use crate::router::ramp::Held;
use crate::router::request::RequestMachine;
use crate::router::split;
use crate::time::Timestamp;

impl GrayRouter {
    /// Closes the canary within this very call: nothing that comes later can reach it. Whoever asks
    /// again gets the answer of the first.
    pub(super) fn roll_back(&mut self, now: Timestamp, reason: Reason, askers: Vec<ControlId>) {
        if self.door.is_rolled_back() {
            return self.rolled_back_already(now, askers);
        }
        self.door.close();
        let (next, record) = self.rolled_back(now, reason);
        self.clear();
        self.held = Held::standing(self.held.until(now));
        self.ramp_due = None;
        self.keep_due = None;
        let before = self.config().clone();
        self.deployment = next;
        self.sticky_salt = split::salt(self.config(), self.deployment.salt);
        self.adopt();
        self.events.push_back(Event::RolledBack(record.clone()));
        self.tell_standing(now, Cause::RolledBack);
        self.recall(now);
        // Only now: nobody may be let through to the closed canary for want of a limit.
        self.take_means_over(now, &before);
        let entry = self.entry(now, "rolled_back", record.reason.name());
        let change = Change {
            checkpoints: Some(self.deployment.checkpoints.clone()),
            entry: Some(entry),
            rollback: Some(record),
            ..self.present_change(now)
        };
        self.keep_fact(change, askers);
    }

    pub(super) fn rolled_back_already(&mut self, now: Timestamp, askers: Vec<ControlId>) {
        for id in askers {
            if !self.keeper.wait_for_fact(id) {
                let standing = self.standing(now, Cause::RolledBack);
                self.answer(id, Ok(standing));
            }
        }
    }

    /// The release after a rollback, and its record.
    pub(super) fn rolled_back(&self, now: Timestamp, reason: Reason) -> (Deployment, Rollback) {
        let config = self.config();
        let before = &self.deployment;
        let unix_ms = self.unix_ms(now);
        let (mut next, restored, sha256) = before.clone().rolled_back(unix_ms);
        if canonical::sha256(&*next.config) != sha256 {
            // What should be in force is not: the configuration stays, with everything at stable.
            next.config = Arc::new(config.with_canary_share(0.0));
        }
        let stamp = unix_ms.unwrap_or(now.0);
        let record = Rollback {
            id: format!(
                "rb-{}-{}-{stamp}",
                config.name(config.canary),
                before.revision
            ),
            from: config.canary,
            to: config.stable,
            reason,
            at: now,
            unix_ms,
            affected_requests: self.given_to_canary,
            revision: before.revision,
            step: before.step_config().map(|step| step.name.clone()),
            restored,
            sha256: canonical::sha256(&*next.config),
        };
        next.rollback = Some(record.clone());
        (next, record)
    }

    pub(super) fn clear(&mut self) {
        if let Some(health) = &mut self.health {
            health
                .iter_mut()
                .for_each(|(_, window)| HealthWindow::clear(window));
        }
    }

    /// Takes back what is out at the closed canary and no caller has seen anything of, if so
    /// configured, and whoever waits for a slot there.
    pub(super) fn recall(&mut self, now: Timestamp) {
        let is_out = |m: &RequestMachine| {
            m.config.rollback.in_flight == InFlight::Cancel && m.is_uncommitted()
        };
        for request in self.requests.sorted_keys() {
            let machine = self.requests.get(request);
            if machine.is_some_and(|m| is_out(m) && self.is_shut_out(m))
                && let Some(mut machine) = self.requests.remove(request)
            {
                self.cancel(now, request, &machine, Outcome::Shutdown);
                machine.note_failure(Outcome::Shutdown, None);
                // Not the canary's failure but the router's own doing, so this is no matter of the
                // fallback policy.
                machine.fall_back();
                self.send(now, request, machine);
            }
        }
        self.clear_queue(now);
    }
}
