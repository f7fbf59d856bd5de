//! The sequential judge: decides by evidence that holds at every look, not by a threshold on a window.
//!
//! **How to drive it.** Tell it every weight that comes into force ([`begin_step`]), every *first
//! attempt* of a request that was split at random or by its caller's key ([`assigned`]), and the end
//! of that attempt ([`ended`]). Retries, fallbacks, and requests pinned by a rule or an override are
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
//! [`handle_timeout`]: SequentialJudge::handle_timeout
//! [`next_timeout`]: SequentialJudge::next_timeout
//! [`wants_look`]: SequentialJudge::wants_look
//! [`look`]: SequentialJudge::look
//! [`promotion`]: SequentialJudge::promotion

pub mod budget;
mod callers;
mod cohorts;
pub mod config;
pub mod evidence;
mod flight;
mod ledger;
pub mod metric;
mod promotion;
mod rules;
mod starts;
mod tally;
mod watch;
mod weights;

use std::time::Duration;

use crate::id::RequestId;
use crate::protocol::outcome::{Judgement, Outcome};
use crate::router::judge::Occasion;
use crate::time::Timestamp;

pub use config::{Material, PromotionLevel, SequentialConfig};
pub use evidence::{
    Counted, Decision, HoldReason, Promotion, Refusal, SequentialEvidence, StartOfCount, Test,
};
pub use metric::{Arm, Metric};

use budget::Budget;
use callers::Callers;
use cohorts::Cohorts;
use flight::{Flight, Unit};
use ledger::Ledger;
use metric::{Events, Finding};
use promotion::Terms;
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

/// Units of one version that were counted elsewhere, or all at once; see [`SequentialJudge::tally`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// First attempts.
    pub units: u64,
    /// Of these, failed.
    pub failed: u64,
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

    /// The first attempt of a request that was split was sent. `caller` is a hash of the key that
    /// decided, under sticky assignment.
    pub fn assigned(&mut self, now: Timestamp, id: RequestId, caller: Option<u64>, arm: Arm) {
        let now = self.advance(now);
        self.watch.saw(now, arm);
        if self.flight.contains(id) {
            return;
        }
        let Some(segment) = self.segment() else {
            return;
        };
        let is_new = self.callers.is_new(caller);
        if let Some(weight) = self.ledger.weight_mut().filter(|_| is_new) {
            weight.count_split(arm, 1);
        }
        let unit = Unit {
            arm,
            caller,
            segment,
            cohort: self.cohorts.current(now),
            slow_at: self.config.slow.map(|limit| now + limit),
            is_slow: false,
        };
        self.book(&unit, |tally| tally.units += 1);
        self.flight.take_off(id, unit);
    }

    fn segment(&mut self) -> Option<usize> {
        let segment = self.ledger.segment();
        let is_lost = segment.is_none() && self.ledger.weight_mut().is_some();
        self.too_many_weights |= is_lost;
        segment
    }

    /// That attempt ended. Units that are not under way are ignored.
    pub fn ended(&mut self, now: Timestamp, id: RequestId, outcome: Outcome, missing_usage: bool) {
        let now = self.advance(now);
        // What became slow before is counted as slow, however late the driver is.
        self.count_slow(now - Duration::from_nanos(1));
        let Some(unit) = self.flight.land(id) else {
            return;
        };
        let finding = Finding::of(outcome, missing_usage, self.config.rate_limits_are_errors);
        self.book(&unit, |tally| tally.end(finding, unit.is_slow));
        self.count(&unit, finding.events);
    }

    /// Counts units of one version that were assigned and have ended at this moment, as if each had
    /// been told: for counts that other instances bring, and for fast simulations. They are split at
    /// random, none is slow, and what failed is an error and nothing else.
    pub fn tally(&mut self, now: Timestamp, arm: Arm, batch: Batch) {
        let now = self.advance(now);
        let Some(segment) = self.segment().filter(|_| batch.units > 0) else {
            return;
        };
        self.watch.saw(now, arm);
        if let Some(weight) = self.ledger.weight_mut() {
            weight.count_split(arm, batch.units);
        }
        let cohort = self.cohorts.current(now);
        let errors = Events::of(Metric::Error).with(Events::of(Metric::ErrorSlo));
        let failed = batch.failed.min(batch.units);
        let counts = Tally::of_batch(batch.units, failed, errors);
        self.book_at(segment, cohort, arm, |tally| tally.add(&counts));
        if arm == Arm::Canary && failed > 0 {
            self.news = self.news.with(errors);
        }
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

    fn count_slow(&mut self, now: Timestamp) {
        while self.flight.next_slow().is_some_and(|at| at <= now) {
            if let Some(unit) = self.flight.pop_slow(now) {
                self.book(&unit, |tally| tally.slow += 1);
                self.count(&unit, Events::of(Metric::Slow));
            }
        }
    }

    /// Is there anything to look at?
    pub fn wants_look(&self, now: Timestamp) -> Option<Occasion> {
        if self.watch.next_tick() <= now {
            return Some(Occasion::Tick);
        }
        let is_open = |metric: &Metric| self.must_ask(*metric, Occasion::Failure);
        let mut open = Metric::ALL.iter().filter(|m| is_open(m));
        open.next().map(|_| Occasion::Failure)
    }

    /// Looks at the evidence. `report` gets what is worth telling: everything on regular looks, else
    /// what has changed.
    pub fn look(
        &mut self,
        now: Timestamp,
        occasion: Occasion,
        report: &mut dyn FnMut(SequentialEvidence),
    ) -> Decision {
        let now = self.advance(now);
        if let Some(weight) = self.ledger.weight_mut() {
            weight.check_split(self.config.alpha_split);
        }
        let mut decisive = None;
        for metric in Metric::ALL {
            if self.must_ask(metric, occasion) {
                self.ask(metric, occasion, report);
            }
            let finding = self.findings[metric.index()];
            decisive = better(decisive, finding);
        }
        if occasion == Occasion::Tick {
            self.watch.tick(now);
        }
        match decisive {
            Some(evidence) => Decision::RollBack(evidence),
            None => self
                .hold_reason(now)
                .map_or(Decision::Continue, Decision::Hold),
        }
    }

    /// Evidence of the canary can only grow by its events, or by a share that is still being
    /// estimated; and what is violated may become material, or cease to be violated, by stable's.
    fn must_ask(&self, metric: Metric, occasion: Occasion) -> bool {
        let is_violated = self.findings[metric.index()].is_some_and(|e| e.violated);
        occasion == Occasion::Tick
            || self.news.contains(metric)
            || is_violated
            || self.ledger.is_split_broken()
    }

    fn ask(
        &mut self,
        metric: Metric,
        occasion: Occasion,
        report: &mut dyn FnMut(SequentialEvidence),
    ) {
        self.news = self.news.without(Events::of(metric));
        let found = self.evidence(metric);
        let before = std::mem::replace(&mut self.findings[metric.index()], found);
        let verdict = |e: SequentialEvidence| (e.violated, e.material && e.violated);
        let has_changed = found.map(verdict) != before.map(verdict);
        if let Some(evidence) = found.filter(|_| has_changed || occasion == Occasion::Tick) {
            report(evidence);
        }
    }

    fn evidence(&mut self, metric: Metric) -> Option<SequentialEvidence> {
        match metric {
            Metric::ErrorSlo => {
                let frozen = self.frozen_stable();
                let found = rules::slo(&self.budget, &self.slo, &self.ledger, frozen.as_ref());
                self.is_outage_shared = found.is_shared;
                found.evidence
            }
            Metric::Slow if self.config.slow.is_none() => None,
            _ => rules::compare(&self.config, &self.budget, &self.ledger, metric),
        }
    }

    /// Stable as it was in the whole rollout, when it has no share now.
    fn frozen_stable(&self) -> Option<Tally> {
        let has_control = self.step.is_none_or(|s| s.step.has_control);
        (!has_control).then(|| *self.ledger.total().of(Arm::Stable))
    }

    /// Why nothing should change for now, if anything; as of the last look.
    fn hold_reason(&self, now: Timestamp) -> Option<HoldReason> {
        let found = self.findings.iter().flatten();
        let is_immaterial = |e: &SequentialEvidence| e.violated && e.test == Test::Comparison;
        let share = self.step.map(|s| s.step.canary_share);
        let is_no_share = share.is_some_and(|s| !(0.0..=1.0).contains(&s));
        let reasons = [
            (self.is_outage_shared, HoldReason::SharedOutage),
            (found.clone().any(is_immaterial), HoldReason::Immaterial),
            (self.ledger.is_split_broken(), HoldReason::BrokenSplit),
            (self.has_overflowed(), HoldReason::Overflow),
            (is_no_share, HoldReason::NotANumber),
            (self.watch.is_stale(now), HoldReason::Stale),
            (self.lacks_data(now), HoldReason::NoData),
        ];
        let first = reasons.into_iter().find(|(holds, _)| *holds);
        first.map(|(_, reason)| reason)
    }

    fn has_overflowed(&self) -> bool {
        self.too_many_weights || self.callers.overflowed()
    }

    fn lacks_data(&self, now: Timestamp) -> bool {
        let has_control = self.step.is_none_or(|s| s.step.has_control);
        self.watch.lacks_data(now, Arm::Canary)
            || (has_control && self.watch.lacks_data(now, Arm::Stable))
    }

    /// May the step in force be promoted?
    pub fn promotion(&self, now: Timestamp) -> Promotion {
        let now = self.watch.clamp(now);
        let Some(InForce { step, began }) = self.step else {
            return Promotion::No(vec![Refusal::NoStep]);
        };
        let Some(terms) = Terms::new(&self.config, step.canary_share) else {
            return Promotion::No(vec![Refusal::NoStep]);
        };
        let mut missing = Vec::new();
        if now.since(began) < step.planned_hold.max(self.config.bake) {
            missing.push(Refusal::HoldNotOver);
        }
        let is_convicted = |e: &SequentialEvidence| e.demands_rollback();
        let held = self.hold_reason(now);
        missing.extend(held.map(Refusal::Held));
        if self.findings.iter().flatten().any(is_convicted) {
            missing.push(Refusal::RolledBack);
        }
        missing.extend(self.not_shown(now, &step, &terms));
        match missing.is_empty() {
            true => Promotion::Yes,
            false => Promotion::No(missing),
        }
    }

    fn not_shown(&self, now: Timestamp, step: &Step, terms: &Terms<'_>) -> Vec<Refusal> {
        let counts = self.cohorts.ripe(now);
        let none = Tally::default();
        let baseline = self.baseline.as_ref().unwrap_or(&none);
        terms.missing(&counts, (!step.has_control).then_some(baseline))
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

    /// How long these units took, nobody knows any more: they say nothing.
    fn forget_flight(&mut self) {
        let unknown = Finding {
            judgement: Judgement::Excluded,
            events: Events::NONE,
        };
        for unit in self.flight.drain() {
            self.book(&unit, |tally| tally.end(unknown, unit.is_slow));
        }
    }

    /// Counts events as evidence: a caller's first ones.
    fn count(&mut self, unit: &Unit, events: Events) {
        let first = self.callers.first(unit.caller, events);
        self.book(unit, |tally| tally.count(first));
        if unit.arm == Arm::Canary {
            self.news = self.news.with(first);
        }
    }

    fn book(&mut self, unit: &Unit, change: impl Fn(&mut Tally)) {
        self.book_at(unit.segment, unit.cohort, unit.arm, change);
    }

    fn book_at(&mut self, segment: usize, cohort: u64, arm: Arm, change: impl Fn(&mut Tally)) {
        if let Some(both) = self.ledger.both_mut(segment) {
            change(both.of_mut(arm));
        }
        if let Some(tally) = self.cohorts.tally_mut(cohort, arm) {
            change(tally);
        }
    }
}

/// The first evidence that demands a rollback.
fn better(
    first: Option<SequentialEvidence>,
    next: Option<SequentialEvidence>,
) -> Option<SequentialEvidence> {
    first.or(next.filter(SequentialEvidence::demands_rollback))
}
