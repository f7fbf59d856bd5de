//! The sequential judge: decides by evidence that holds at every look, not by a threshold on a window.
//!
//! **How to drive it.** Tell it every weight that comes into force ([`begin_step`]), every *first
//! attempt* of a request that was split at random or by its caller's key ([`assigned`]), and the end
//! of that attempt ([`ended`]); an attempt that waits for a rate limiter first is [`queued`], and
//! [`sent`] later. Retries, fallbacks, and requests pinned by a rule or an override are
//! no evidence; leave them out. Call [`handle_timeout`] no later than [`next_timeout`]. After each of
//! these, ask [`wants_look`], and when it names an occasion, [`look`]. [`promotion`] may be asked at
//! any time. `now` never goes back; when it does, it is taken for the last one.
//!
//! Everything is booked on the weight at assignment, never at completion. Both versions must be
//! judged by the same limits: an attempt is slow, or given up, at the same age on both.
//!
//! The evidence is the supermartingale of [`crate::stats::evidence`], the limits of a promotion those
//! of [`crate::stats::confidence`]; docs/statistics.md has the whole rule with its error rates.
//! A look costs a few operations for each start of counting (ten a step), a unit's event O(1), and
//! memory follows the units in flight.
//!
//! [`begin_step`]: SequentialJudge::begin_step
//! [`assigned`]: SequentialJudge::assigned
//! [`ended`]: SequentialJudge::ended
//! [`queued`]: SequentialJudge::queued
//! [`sent`]: SequentialJudge::sent
//! [`handle_timeout`]: SequentialJudge::handle_timeout
//! [`next_timeout`]: SequentialJudge::next_timeout
//! [`wants_look`]: SequentialJudge::wants_look
//! [`look`]: SequentialJudge::look
//! [`promotion`]: SequentialJudge::promotion

pub mod booking;
pub mod budget;
mod callers;
mod cohorts;
pub mod config;
pub mod evidence;
mod flight;
mod ledger;
mod looking;
pub mod metric;
mod promotion;
mod rules;
mod starts;
mod tally;
mod watch;
mod weights;

use std::time::Duration;

use crate::time::Timestamp;

pub use booking::Batch;
pub use config::{Material, PromotionLevel, SequentialConfig};
pub use evidence::{
    Counted, Decision, HoldReason, Promotion, Refusal, SequentialEvidence, StartOfCount, Test,
};
pub use metric::{Arm, Metric};

use budget::Budget;
use callers::Callers;
use cohorts::Cohorts;
use flight::Flight;
use ledger::Ledger;
use metric::Events;
use rules::SloCosts;
use tally::Tally;
use watch::Watch;

/// A weight as it comes into force.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// The position of the step in the ramp. A change of the weight by hand stays in its step.
    pub index: usize,
    /// The canary's share of the requests that are split, 0 to 1.
    pub canary_share: f64,
    /// How long the step is planned to last; [`SequentialConfig::horizon`] when nothing is planned.
    pub planned_hold: Duration,
    /// Does stable get a share to compare with?
    pub has_control: bool,
}

/// The judge of one rollout.
#[derive(Clone, Debug)]
pub struct SequentialJudge {
    config: SequentialConfig,
    budget: Budget,
    slo: SloCosts,
    watch: Watch,
    step: Option<InForce>,
    ledger: Ledger,
    flight: Flight,
    callers: Callers,
    cohorts: Cohorts,
    /// Stable's counts of the last step that had a control.
    baseline: Option<Tally>,
    too_many_weights: bool,
    /// Metrics of which the canary had an event since they were last looked at.
    news: Events,
    findings: [Option<SequentialEvidence>; Metric::ALL.len()],
    is_outage_shared: bool,
}

#[derive(Clone, Copy, Debug)]
struct InForce {
    step: Step,
    /// When its first weight came into force, later by what nobody watched.
    began: Timestamp,
}

impl SequentialJudge {
    /// A judge at work from `now` on, of a rollout with so many steps that have a control. No weight
    /// is in force yet.
    pub fn new(config: SequentialConfig, steps: usize, now: Timestamp) -> Self {
        Self {
            budget: Budget::new(config.alpha, steps.max(1)),
            slo: SloCosts::new(config.slo_error_rate),
            watch: Watch::new(now, config.pause(), config.stale_after()),
            step: None,
            ledger: Ledger::new(steps),
            flight: Flight::default(),
            callers: Callers::new(config.max_callers),
            cohorts: Cohorts::new(config.attempt_limit),
            baseline: None,
            too_many_weights: false,
            news: Events::NONE,
            findings: [None; Metric::ALL.len()],
            is_outage_shared: false,
            config,
        }
    }

    /// A weight came into force: a step of the ramp, or a change by hand within one.
    pub fn begin_step(&mut self, now: Timestamp, step: Step) {
        let now = self.advance(now);
        let before = self.step;
        if before.is_none_or(|b| b.step.index != step.index) {
            self.change_step(now, &step, before);
        } else if let Some(in_force) = &mut self.step {
            in_force.step = step;
        }
        let share = step.canary_share;
        if share > 0.0 && share <= 1.0 {
            self.too_many_weights |= !self.ledger.set_weight(step.index, share);
        } else {
            self.ledger.unset_weight();
        }
    }

    fn change_step(&mut self, now: Timestamp, step: &Step, before: Option<InForce>) {
        let counts = self.cohorts.begin_step();
        if before.is_some_and(|b| b.step.has_control) {
            self.baseline = Some(*counts.of(Arm::Stable));
        }
        if step.has_control {
            let starts = &mut self.ledger.starts;
            starts.begin_step(now, step.index, step.planned_hold);
        } else {
            self.ledger.starts.stop();
        }
        self.step = Some(InForce {
            step: *step,
            began: now,
        });
        self.watch.restart_data(now);
    }

    /// When the judge must be called again: a unit becomes slow, or a regular look is due.
    pub fn next_timeout(&self) -> Option<Timestamp> {
        let slow = self.flight.next_slow();
        slow.into_iter().chain([self.watch.next_tick()]).min()
    }

    /// Counts what has become slow by `now`.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        let now = self.advance(now);
        self.count_slow(now);
    }

    /// Bytes kept on the heap.
    pub fn bytes(&self) -> usize {
        self.ledger.bytes() + self.flight.bytes() + self.callers.bytes() + self.cohorts.bytes()
    }

    /// Time goes on: begins what is due, and notices when it has leapt.
    fn advance(&mut self, now: Timestamp) -> Timestamp {
        let (now, leap) = self.watch.advance(now);
        if let Some(leap) = leap {
            self.forget_flight();
            self.ledger.starts.shift(leap);
            if let Some(in_force) = &mut self.step {
                in_force.began = in_force.began + leap;
            }
        }
        self.ledger.starts.advance(now);
        now
    }
}
