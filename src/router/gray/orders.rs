//! What people ask of a release: from an order to the release that it leads to.

use std::sync::Arc;

use crate::canonical;
use crate::id::PerVersion;
use crate::router::control::{Control, ControlId, Order, Refusal};
use crate::router::deployment::{CheckpointKind, Deployment};
use crate::router::gray::GrayRouter;
use crate::router::gray::keeping::Planned;
use crate::router::io::{Action, Cause, Reason, Standing};
use crate::router::ramp::Phase;
use crate::time::Timestamp;

impl GrayRouter {
    /// Somebody asks for a change.
    pub(super) fn control(&mut self, now: Timestamp, id: ControlId, control: Control) {
        let Some(control) = self.put_off(id, control) else {
            return;
        };
        let revision = self.deployment.revision;
        if control.based_on.is_some_and(|seen| seen != revision) {
            return self.answer(id, Err(Refusal::Stale { revision }));
        }
        if self.keeper.is_busy() && must_wait(&control) {
            if !self.keeper.wait_for_order(id, control) {
                self.answer(id, Err(Refusal::Busy));
            }
            return;
        }
        match control.order {
            Order::Look => {
                self.age_window(now);
                let standing = self.standing(now, Cause::ByHand);
                self.answer(id, Ok(standing));
            }
            Order::Withhold => self.withhold(now, id),
            Order::RollBack { why } => self.roll_back(now, Reason::ByHand(why), vec![id]),
            Order::InstantRollback { why } => match self.deployment.refuge() {
                None if !self.door.is_rolled_back() => self.answer(id, Err(Refusal::NoCheckpoint)),
                _ => self.roll_back(now, Reason::ByHand(why), vec![id]),
            },
            order => match self.plan(now, order) {
                Ok(planned) => self.write(now, planned, Some(id)),
                Err(refusal) => self.answer(id, Err(refusal)),
            },
        }
    }

    pub(super) fn answer(&mut self, id: ControlId, answer: Result<Standing, Refusal>) {
        self.actions.push_back(Action::Answer { id, answer });
    }

    /// The release that an order leads to.
    pub(super) fn plan(&self, now: Timestamp, order: Order) -> Result<Planned, Refusal> {
        if self.keeper.is_busy() {
            return Err(Refusal::Busy);
        }
        let unix_ms = self.unix_ms(now);
        let mut present = self.deployment.clone();
        present.held = self.held.until(now);
        match order {
            Order::SetWeights(weights) => self.other_weights(present, &weights),
            Order::Apply { config, again } => {
                if !again && present.was_rolled_back(&config) {
                    return Err(Refusal::SameAsRolledBack);
                }
                // Whoever sends back what is in force changes nothing, even where its weights have
                // been changed since it was applied.
                let is_same = canonical::sha256(&*config) == present.source_sha256
                    || config == present.config;
                if is_same && !again {
                    return Err(Refusal::Unchanged);
                }
                let next = present.with_applied(config, unix_ms);
                Ok(Planned {
                    cause: Cause::Applied,
                    ..Planned::new(next, "applied", "another configuration")
                })
            }
            Order::Restore { checkpoint } => self.restored(present, &checkpoint, unix_ms),
            Order::Checkpoint { name } => {
                let detail = name.clone();
                let next = present.with_checkpoint(name, CheckpointKind::Manual, unix_ms);
                Ok(Planned::new(next, "checkpoint", detail))
            }
            Order::Promote => self.promoted(present),
            Order::Pause => self.paused(present),
            Order::Resume => self.resumed(present),
            // Answered before.
            Order::Look
            | Order::Withhold
            | Order::RollBack { .. }
            | Order::InstantRollback { .. } => Err(Refusal::Busy),
        }
    }

    pub(super) fn other_weights(
        &self,
        mut next: Deployment,
        weights: &PerVersion<f64>,
    ) -> Result<Planned, Refusal> {
        let why = |why: &str| Refusal::BadWeights {
            why: why.to_owned(),
        };
        if weights.len() != next.config.versions.len() {
            return Err(why("one for every version is needed"));
        }
        if !weights.values().all(|w| w.is_finite() && *w >= 0.0) {
            return Err(why("they are numbers that are not negative"));
        }
        if weights.values().sum::<f64>() <= 0.0 {
            return Err(why("all are zero: nothing could be served"));
        }
        if self.door.is_rolled_back() && weights[next.config.canary] > 0.0 {
            return Err(Refusal::RolledBack);
        }
        let mut config = (*next.config).clone();
        config.split.weights = weights.clone();
        let share = config.canary_share() * 100.0;
        next.config = Arc::new(config);
        next.revision += 1;
        let pauses = next.config.ramp.is_some() && next.phase == Phase::Progressing;
        if pauses {
            next.phase = Phase::Paused;
        }
        let note = if pauses { ", the ramp pauses" } else { "" };
        Ok(Planned {
            cause: Cause::Weights,
            ..Planned::new(next, "weights", format!("canary {share} %{note}"))
        })
    }

    pub(super) fn restored(
        &self,
        present: Deployment,
        checkpoint: &str,
        unix_ms: Option<u64>,
    ) -> Result<Planned, Refusal> {
        let found = present
            .checkpoint(checkpoint)
            .ok_or(Refusal::NoCheckpoint)?;
        if !found.is_intact() {
            return Err(Refusal::CorruptCheckpoint);
        }
        // Whatever its weights: rules and the ramp's first step lead to its canary as well.
        if found.rolled_back {
            return Err(Refusal::RolledBack);
        }
        let config = found.config.clone();
        let next = present.with_applied(config, unix_ms);
        Ok(Planned {
            cause: Cause::Applied,
            ..Planned::new(next, "restored", checkpoint)
        })
    }

    pub(super) fn promoted(&self, present: Deployment) -> Result<Planned, Refusal> {
        match present.phase {
            Phase::RolledBack => return Err(Refusal::RolledBack),
            Phase::Promoted => return Err(not_now("it is promoted already")),
            Phase::Pending => return Err(not_now("resume it first")),
            Phase::Progressing | Phase::Paused => {}
        }
        let next = match present.config.ramp {
            Some(_) => {
                let position = present.step + 1;
                present.at_step(position)
            }
            None => {
                let mut next = present.with_share(1.0);
                next.phase = Phase::Promoted;
                next
            }
        };
        let share = next.share() * 100.0;
        Ok(Planned::new(next, "promoted", format!("canary {share} %")))
    }

    pub(super) fn paused(&self, mut present: Deployment) -> Result<Planned, Refusal> {
        if present.config.ramp.is_none() || present.phase != Phase::Progressing {
            return Err(not_now("only a ramp that progresses can be paused"));
        }
        present.phase = Phase::Paused;
        Ok(Planned::new(present, "paused", ""))
    }

    /// Back to the step's own weight, with the time it was held.
    pub(super) fn resumed(&self, mut present: Deployment) -> Result<Planned, Refusal> {
        let stands = matches!(present.phase, Phase::Paused | Phase::Pending);
        if present.phase == Phase::RolledBack {
            return Err(Refusal::RolledBack);
        }
        if !stands && !self.door.model_missing {
            return Err(not_now("only what is paused or withheld can be resumed"));
        }
        if stands {
            let held = present.held;
            present = present.clone().at_step(present.step);
            present.held = held;
        }
        if matches!(present.phase, Phase::Paused | Phase::Pending) {
            present.phase = Phase::Progressing;
        }
        Ok(Planned {
            lifts: true,
            ..Planned::new(present, "resumed", "")
        })
    }

    /// The canary's upstream does not know its model: nothing until somebody resumes.
    pub(super) fn withhold(&mut self, now: Timestamp, id: ControlId) {
        self.door.model_missing = true;
        self.door_moved(now, Cause::ModelMissing);
        self.recall(now);
        let standing = self.standing(now, Cause::ModelMissing);
        self.answer(id, Ok(standing));
    }
}

/// Does it depend on what becomes of the order that is being written? Whoever names no revision asks
/// whatever comes first, and is told at once that something does. Nothing delays a rollback.
fn must_wait(control: &Control) -> bool {
    let is_change = !matches!(
        control.order,
        Order::Look | Order::Withhold | Order::RollBack { .. } | Order::InstantRollback { .. }
    );
    is_change && control.based_on.is_some()
}

fn not_now(needed: &str) -> Refusal {
    Refusal::NotInThisPhase {
        needed: needed.to_owned(),
    }
}
