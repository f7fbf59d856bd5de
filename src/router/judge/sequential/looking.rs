//! Looking: what the counts say now, and what follows from it.

use super::SequentialJudge;
use super::evidence::{Decision, HoldReason, SequentialEvidence, Test};
use super::metric::{Arm, Events, Metric};
use super::rules;
use super::tally::Tally;
use crate::router::judge::Occasion;
use crate::time::Timestamp;

impl SequentialJudge {
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
    pub(super) fn hold_reason(&self, now: Timestamp) -> Option<HoldReason> {
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
}

/// The first evidence that demands a rollback.
fn better(
    first: Option<SequentialEvidence>,
    next: Option<SequentialEvidence>,
) -> Option<SequentialEvidence> {
    first.or(next.filter(SequentialEvidence::demands_rollback))
}
