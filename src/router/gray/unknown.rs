//! A start without knowing what an earlier process kept, because the store cannot be read.
//!
//! The canary may have been rolled back, so nothing goes to it until the store has been read. What
//! was planned on a release that nobody knows would be wrong: orders are refused, but for rollbacks,
//! which are done as soon as it is known what is rolled back. The canary is closed anyway.

use std::sync::Arc;

use crate::id::Seed;
use crate::router::config::RouterConfig;
use crate::router::control::{Control, ControlId, Order, Refusal};
use crate::router::deployment::{Change, Checkpoint, Deployment};
use crate::router::door::CanaryDoor;
use crate::router::gray::{GrayRouter, held, windows};
use crate::router::io::{Cause, Reason};
use crate::router::judge::guard::GuardedJudge;
use crate::router::ramp::Phase;
use crate::router::split;
use crate::time::Timestamp;

/// What waits until it is known what was kept.
pub(super) struct Awaited {
    /// The configuration of the router file.
    file: Arc<RouterConfig>,
    /// Rollbacks that were asked for.
    rollbacks: Vec<(ControlId, String)>,
}

impl GrayRouter {
    /// A router that does not know what an earlier process kept: stable serves, and the canary gets
    /// nothing before [`Input::Found`](crate::router::io::Input::Found). It has the driver try the
    /// store again from time to time, whose answer is "no" until then.
    pub fn unknown(
        file: Arc<RouterConfig>,
        seed: Seed,
        now: Timestamp,
        unix_zero: Option<u64>,
    ) -> Self {
        let mut router = Self::resume(Deployment::first(file.clone()), seed, now, unix_zero);
        router.door.store_failed = true;
        router.begin_step(now);
        router.awaited = Some(Awaited {
            file,
            rollbacks: Vec::new(),
        });
        let mut router = router.kept_from_the_start();
        router.tell_standing(now, Cause::StoreFailed);
        router
    }

    /// What is left to do of an order now: everything, once it is known what was kept.
    pub(super) fn put_off(&mut self, id: ControlId, control: Control) -> Option<Control> {
        let Some(awaited) = &mut self.awaited else {
            return Some(control);
        };
        match control.order {
            Order::Look | Order::Withhold => {
                let based_on = None;
                return Some(Control {
                    based_on,
                    ..control
                });
            }
            Order::RollBack { why } | Order::InstantRollback { why } => {
                awaited.rollbacks.push((id, why));
            }
            Order::SetWeights(_)
            | Order::Apply { .. }
            | Order::Promote
            | Order::Pause
            | Order::Resume
            | Order::Checkpoint { .. }
            | Order::Restore { .. } => self.answer(id, Err(Refusal::StoreFailed)),
        }
        None
    }

    /// It is known what was kept: the router goes on from there.
    pub(super) fn found(
        &mut self,
        now: Timestamp,
        kept: Option<Box<Deployment>>,
        checkpoints: Vec<Checkpoint>,
    ) {
        let Some(awaited) = self.awaited.take() else {
            return;
        };
        let kept = kept.map(|kept| Deployment {
            checkpoints,
            ..*kept
        });
        self.keeper.forget();
        self.begin_anew(
            now,
            Deployment::resumed(kept, awaited.file, self.unix_ms(now)),
        );
        for (id, why) in awaited.rollbacks {
            self.roll_back(now, Reason::ByHand(why), vec![id]);
        }
    }

    fn begin_anew(&mut self, now: Timestamp, next: Deployment) {
        let model_missing = self.door.model_missing;
        self.door = CanaryDoor::of(next.release);
        self.door.model_missing = model_missing;
        if next.phase == Phase::RolledBack {
            self.door.close();
        }
        self.held = held(&next, now);
        self.judge = GuardedJudge::new(&next.config, now);
        self.health = windows(&next.config);
        let before = self.config().clone();
        self.deployment = next;
        self.sticky_salt = split::salt(self.config(), self.deployment.salt);
        self.adopt();
        self.take_means_over(now, &before);
        self.begin_step(now);
        self.keep_beginning(now);
        self.tell_standing(now, Cause::StoreBack);
        self.tell_standing(now, Cause::Started);
    }

    /// Has the release written as it begins.
    pub(super) fn keep_beginning(&mut self, now: Timestamp) {
        let entry = self.entry(now, "started", self.deployment.phase.name());
        let change = Change {
            checkpoints: Some(self.deployment.checkpoints.clone()),
            entry: Some(entry),
            ..self.present_change(now)
        };
        self.keep_fact(change, Vec::new());
    }
}
