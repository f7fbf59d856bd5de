//! What has to survive a restart: written first and in force afterwards, but for rollbacks.

use crate::router::control::{ControlId, Refusal};
use crate::router::deployment::{Change, Deployment, HistoryEntry};
use crate::router::gray::{GrayRouter, budget, held, windows};
use crate::router::io::{Action, Cause};
use crate::router::judge::guard::GuardedJudge;
use crate::router::keeper::What;
use crate::router::split;
use crate::time::Timestamp;

/// What is to become of a release, and what the history says of it.
pub(super) struct Planned {
    pub(super) next: Deployment,
    pub(super) kind: &'static str,
    pub(super) detail: String,
    pub(super) cause: Cause,
    /// Does it give a canary that was withheld another chance?
    pub(super) lifts: bool,
}

impl Planned {
    pub(super) fn new(next: Deployment, kind: &'static str, detail: impl Into<String>) -> Self {
        Self {
            next,
            kind,
            detail: detail.into(),
            cause: Cause::ByHand,
            lifts: false,
        }
    }
}

impl GrayRouter {
    /// Has an order written; it is in force afterwards.
    pub(super) fn write(&mut self, now: Timestamp, planned: Planned, asker: Option<ControlId>) {
        let entry = HistoryEntry {
            revision: planned.next.revision,
            ..self.entry(now, planned.kind, &planned.detail)
        };
        let change = Change {
            checkpoints: Some(planned.next.checkpoints.clone()),
            deployment: planned.next.clone(),
            entry: Some(entry),
            rollback: None,
        };
        let what = What::Order {
            next: Box::new(planned.next),
            asker,
            cause: planned.cause,
            planned_on: self.deployment.revision,
            lifts: planned.lifts,
        };
        let op = self.keeper.begin(what);
        let change = Box::new(change);
        self.actions.push_back(Action::Persist { op, change });
    }

    /// Has something written that is in force already.
    pub(super) fn keep_fact(&mut self, change: Change, askers: Vec<ControlId>) {
        let change = Box::new(change);
        let what = What::Fact {
            change: change.clone(),
            askers,
        };
        let op = self.keeper.begin(what);
        self.actions.push_back(Action::Persist { op, change });
    }

    pub(super) fn entry(&self, now: Timestamp, kind: &str, detail: &str) -> HistoryEntry {
        HistoryEntry {
            revision: self.deployment.revision,
            kind: kind.to_owned(),
            detail: detail.to_owned(),
            unix_ms: self.unix_ms(now),
        }
    }

    /// The store answered.
    pub(super) fn persisted(&mut self, now: Timestamp, op: u64, ok: bool) {
        let Some(what) = self.keeper.end(op) else {
            return;
        };
        let was_order = matches!(what, What::Order { .. });
        self.ended(now, ok, what);
        if was_order {
            self.order_ended(now, ok);
        }
    }

    fn ended(&mut self, now: Timestamp, ok: bool, what: What) {
        match (ok, what) {
            (true, what) => {
                self.keeper.succeeded();
                self.store_is_back(now);
                self.written(now, what);
            }
            (false, What::Order { asker, .. }) => {
                self.store_failed(now);
                if let Some(id) = asker {
                    self.answer(id, Err(Refusal::StoreFailed));
                }
                self.keep_present(now);
            }
            (false, What::Fact { change, askers }) => {
                self.store_failed(now);
                self.keeper.try_again(now, change, askers);
            }
        }
    }

    /// It is known what became of an order: whoever waited for that is heard now, the first one first.
    /// A store that has just failed would fail them all.
    fn order_ended(&mut self, now: Timestamp, ok: bool) {
        for (id, control) in self.keeper.no_longer_waiting() {
            match ok {
                true => self.control(now, id, control),
                false => self.answer(id, Err(Refusal::StoreFailed)),
            }
        }
    }

    pub(super) fn written(&mut self, now: Timestamp, what: What) {
        match what {
            What::Order {
                next,
                asker,
                cause,
                planned_on,
                lifts,
            } => {
                // A rollback meanwhile has the last word, in the store as well: it is written after.
                if planned_on != self.deployment.revision {
                    if let Some(id) = asker {
                        let refusal = self.overtaken(&next);
                        self.answer(id, Err(refusal));
                    }
                    return;
                }
                self.door.model_missing &= !lifts;
                self.install(now, *next, cause);
                if let Some(id) = asker {
                    let standing = self.standing(now, cause);
                    self.answer(id, Ok(standing));
                }
            }
            What::Fact { askers, .. } => {
                for id in askers {
                    let standing = self.standing(now, Cause::ByHand);
                    self.answer(id, Ok(standing));
                }
            }
        }
    }

    /// Why an order is refused that a rollback came before.
    fn overtaken(&self, next: &Deployment) -> Refusal {
        match next.release == self.deployment.release {
            true => Refusal::RolledBack,
            false => Refusal::Stale {
                revision: self.deployment.revision,
            },
        }
    }

    /// What happens can no longer be kept. A rollback would be forgotten by a restart, so nothing
    /// may go to the canary.
    pub(super) fn store_failed(&mut self, now: Timestamp) {
        if !self.door.store_failed {
            self.door.store_failed = true;
            self.door_moved(now, Cause::StoreFailed);
            self.clear_queue(now);
        }
    }

    pub(super) fn store_is_back(&mut self, now: Timestamp) {
        if self.door.store_failed && self.keeper.is_idle() && self.awaited.is_none() {
            self.door.store_failed = false;
            self.door_moved(now, Cause::StoreBack);
        }
    }

    /// Tries the store again, with the release as it is. Whatever waits to be written again takes the
    /// release along as it is then.
    pub(super) fn keep_present(&mut self, now: Timestamp) {
        if self.keeper.has_failed() {
            return;
        }
        let change = Box::new(self.present_change(now));
        self.keeper.try_again(now, change, Vec::new());
    }

    pub(super) fn present_change(&self, now: Timestamp) -> Change {
        let mut deployment = self.deployment.clone();
        deployment.held = self.held.until(now);
        Change {
            checkpoints: None,
            entry: None,
            rollback: None,
            deployment,
        }
    }

    /// A release, or the same one changed, comes into force.
    pub(super) fn install(&mut self, now: Timestamp, next: Deployment, cause: Cause) {
        let is_another = next.release != self.deployment.release;
        let is_other_step = next.step != self.deployment.step;
        let is_adopted = next.config != self.deployment.config;
        self.held = held(&next, now);
        self.door.renew(next.release);
        let before = self.config().clone();
        self.deployment = next;
        if is_another {
            let config = self.config().clone();
            self.judge = GuardedJudge::new(&config, now);
            self.health = windows(&config);
            self.given_to_canary = 0;
            self.take_means_over(now, &before);
            self.budget = budget(&config);
        }
        if is_other_step {
            self.begin_windows();
        }
        self.sticky_salt = split::salt(self.config(), self.deployment.salt);
        if is_adopted {
            self.adopt();
        }
        self.begin_step(now);
        self.tell_standing(now, cause);
    }

    pub(super) fn adopt(&mut self) {
        self.actions.push_back(Action::Adopt {
            revision: self.deployment.revision,
            config: self.deployment.config.clone(),
        });
    }
}
