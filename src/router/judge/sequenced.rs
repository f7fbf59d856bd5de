//! The sequential judge as the router uses it: weights and attempts in, evidence in the router's
//! terms out.

use std::time::Duration;

use crate::id::{RequestId, VersionId};
use crate::protocol::outcome::Outcome;
use crate::router::config::{RouterConfig, ThresholdAction};
use crate::router::io::{Evidence, Measure};
use crate::router::judge::lack::Lack;
use crate::router::judge::sequential::{
    Arm, Decision, HoldReason, Promotion, SequentialConfig, SequentialEvidence, SequentialJudge,
    Step,
};
use crate::router::judge::{self, Found, Occasion};
use crate::time::Timestamp;

/// The sequential judge of one release.
#[derive(Debug)]
pub struct Sequenced {
    judge: SequentialJudge,
    canary: VersionId,
    /// Fewest events for a rollback.
    min_events: u64,
    every: Duration,
    held: Option<HoldReason>,
}

impl Sequenced {
    /// A judge of a configuration's canary, at work from `now` on.
    pub fn new(settings: &SequentialConfig, config: &RouterConfig, now: Timestamp) -> Self {
        let mut settings = settings.clone();
        // What is older than any first attempt can get has ended.
        let queues = config
            .versions
            .values()
            .filter_map(|v| v.rate_limit.as_ref());
        let wait = queues.map(|limit| limit.max_wait).max().unwrap_or_default();
        settings.attempt_limit = config.timeouts.attempt.saturating_add(wait);
        let with_control = |ramp: &crate::router::ramp::RampConfig| {
            ramp.steps.iter().filter(|step| step.share < 1.0).count()
        };
        let steps = config.ramp.as_ref().map_or(1, with_control);
        Self {
            canary: config.canary,
            min_events: settings.material.min_events,
            every: settings.every.max(Duration::from_millis(1)),
            judge: SequentialJudge::new(settings, steps, now),
            held: None,
        }
    }

    /// See [`judge::Judge::begin_step`].
    pub fn begin_step(&mut self, now: Timestamp, step: Step) {
        self.judge.begin_step(now, step);
    }

    /// See [`judge::Judge::assigned`].
    pub fn assigned(
        &mut self,
        now: Timestamp,
        request: RequestId,
        caller: Option<u64>,
        version: VersionId,
    ) {
        let arm = match version == self.canary {
            true => Arm::Canary,
            false => Arm::Stable,
        };
        self.judge.assigned(now, request, caller, arm);
    }

    /// See [`judge::Judge::queued`].
    pub fn queued(&mut self, now: Timestamp, request: RequestId) {
        self.judge.queued(now, request);
    }

    /// See [`judge::Judge::sent`].
    pub fn sent(&mut self, now: Timestamp, request: RequestId) {
        self.judge.sent(now, request);
    }

    /// See [`judge::Judge::ended`].
    pub fn ended(
        &mut self,
        now: Timestamp,
        request: RequestId,
        outcome: Outcome,
        missing_usage: bool,
    ) {
        self.judge.ended(now, request, outcome, missing_usage);
    }

    /// The pause between its regular looks.
    pub fn every(&self) -> Duration {
        self.every
    }

    /// When it wants to be called by itself.
    pub fn next_timeout(&self) -> Option<Timestamp> {
        self.judge.next_timeout()
    }

    /// See [`judge::Judge::notice`].
    pub fn notice(&mut self, now: Timestamp) {
        let is_overdue = |due| now.since(due) > self.every;
        if self.judge.next_timeout().is_some_and(is_overdue) {
            self.judge.handle_timeout(now);
        }
    }

    /// Time passed. Says whether it wants to look.
    pub fn handle_timeout(&mut self, now: Timestamp) -> Option<Occasion> {
        self.judge.handle_timeout(now);
        self.judge.wants_look(now)
    }

    /// Does it want to look after what it was told?
    pub fn wants_look(&self, now: Timestamp) -> Option<Occasion> {
        self.judge.wants_look(now)
    }

    /// Looks at the evidence; see [`judge::Judge::look`].
    pub fn look(
        &mut self,
        now: Timestamp,
        occasion: Occasion,
        mut report: impl FnMut(Found),
    ) -> Option<Evidence> {
        let (canary, min_events) = (self.canary, self.min_events);
        let translate = |evidence: &SequentialEvidence| translated(evidence, canary, min_events);
        let decision = self.judge.look(now, occasion, &mut |evidence| {
            report(Found::Evidence(translate(&evidence)));
        });
        let held = match &decision {
            Decision::Hold(reason) => Some(*reason),
            Decision::Continue | Decision::RollBack(_) => None,
        };
        if held != self.held {
            self.held = held;
            report(Found::Held(held));
        }
        match &decision {
            Decision::RollBack(evidence) => Some(translate(evidence)),
            Decision::Continue | Decision::Hold(_) => None,
        }
    }

    /// Has it seen enough of a good canary for the next step?
    pub fn promotion(&self, now: Timestamp) -> judge::Promotion {
        match self.judge.promotion(now) {
            Promotion::Yes => judge::Promotion::Yes,
            Promotion::No(missing) => {
                judge::Promotion::No(missing.into_iter().map(Lack::from).collect())
            }
        }
    }

    /// Bytes kept on the heap.
    pub fn bytes(&self) -> usize {
        self.judge.bytes()
    }
}

fn translated(evidence: &SequentialEvidence, canary: VersionId, min_events: u64) -> Evidence {
    Evidence {
        version: canary,
        measure: Measure::Sequential(evidence.metric),
        value: Some(evidence.ln_e),
        bound: evidence.threshold,
        samples: evidence.canary.events,
        min_samples: min_events,
        // What is significant but immaterial makes people look, and nothing else.
        action: match evidence.violated && !evidence.material {
            true => ThresholdAction::Alert,
            false => ThresholdAction::Rollback,
        },
        violated: evidence.violated,
    }
}
