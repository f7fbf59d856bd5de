//! Judging the canary by its own attempts.
//!
//! A judge is told of every attempt through the version's [`HealthWindow`] and says what it found;
//! the router acts on it, through [`guard::GuardedJudge`]. One file a method.

pub mod guard;
pub mod lack;
pub mod literal;
pub mod sequenced;
pub mod sequential;

use std::time::Duration;

use crate::id::{RequestId, VersionId};
use crate::protocol::outcome::{Judgement, Outcome};
use crate::router::config::{JudgeConfig, RouterConfig, ThresholdAction};
use crate::router::health::HealthWindow;
use crate::router::io::Evidence;
use crate::time::Timestamp;

use lack::Lack;
use literal::LiteralJudge;
use sequenced::Sequenced;
use sequential::{HoldReason, Step};

/// The judge of one canary.
#[derive(Debug)]
pub enum Judge {
    /// Nobody judges.
    Off,
    /// Thresholds on a sliding window.
    Literal(LiteralJudge),
    /// Evidence that holds at every look.
    Sequential(Box<Sequenced>),
}

/// Why the judge looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// Its regular time has come.
    Tick,
    /// An attempt of the canary failed.
    Failure,
}

/// Something that a judge found worth telling.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Found {
    /// Evidence.
    Evidence(Evidence),
    /// It holds, for this reason, or no longer does.
    Held(Option<HoldReason>),
}

/// Has the judge seen enough of a good canary for the next step?
#[derive(Clone, Debug, PartialEq)]
pub enum Promotion {
    /// Yes.
    Yes,
    /// Not yet: all that is missing.
    No(Vec<Lack>),
}

impl Judge {
    /// A judge of a configuration's canary, at work from `now` on.
    pub fn new(config: &RouterConfig, now: Timestamp) -> Self {
        match &config.judge {
            JudgeConfig::Off => Self::Off,
            JudgeConfig::Literal(literal) => {
                Self::Literal(LiteralJudge::new(literal.clone(), config.canary, now))
            }
            JudgeConfig::Sequential(settings) => {
                Self::Sequential(Box::new(Sequenced::new(settings, config, now)))
            }
        }
    }

    /// A weight came into force.
    pub fn begin_step(&mut self, now: Timestamp, step: Step) {
        if let Self::Sequential(judge) = self {
            judge.begin_step(now, step);
        }
    }

    /// Chance, or a caller's key (its hash), gave a request to a version.
    pub fn assigned(
        &mut self,
        now: Timestamp,
        request: RequestId,
        caller: Option<u64>,
        version: VersionId,
    ) {
        if let Self::Sequential(judge) = self {
            judge.assigned(now, request, caller, version);
        }
    }

    /// The first attempt of such a request must wait in the router's own queue.
    pub fn queued(&mut self, now: Timestamp, request: RequestId) {
        if let Self::Sequential(judge) = self {
            judge.queued(now, request);
        }
    }

    /// The first attempt of such a request is sent, which may have waited.
    pub fn sent(&mut self, now: Timestamp, request: RequestId) {
        if let Self::Sequential(judge) = self {
            judge.sent(now, request);
        }
    }

    /// The first attempt of such a request ended, or the request without one.
    pub fn ended(
        &mut self,
        now: Timestamp,
        request: RequestId,
        outcome: Outcome,
        missing_usage: bool,
    ) {
        if let Self::Sequential(judge) = self {
            judge.ended(now, request, outcome, missing_usage);
        }
    }

    /// Does it want to look after an attempt ended, at the canary (`is_canary`) or not?
    pub fn wants_look(
        &self,
        now: Timestamp,
        outcome: Outcome,
        is_canary: bool,
    ) -> Option<Occasion> {
        match self {
            Self::Off => None,
            Self::Literal(_) => {
                let is_failure = is_canary && outcome.judgement() == Judgement::Bad;
                is_failure.then_some(Occasion::Failure)
            }
            Self::Sequential(judge) => judge.wants_look(now),
        }
    }

    /// It is this late. A judge that was not called for longer than it should have been takes that for
    /// a leap of the clock, of which it can judge nothing.
    pub fn notice(&mut self, now: Timestamp) {
        if let Self::Sequential(judge) = self {
            judge.notice(now);
        }
    }

    /// When it wants to be called by itself.
    pub fn next_timeout(&self) -> Option<Timestamp> {
        match self {
            Self::Off => None,
            Self::Literal(judge) => Some(judge.next_tick()),
            Self::Sequential(judge) => judge.next_timeout(),
        }
    }

    /// Its time has come. Says whether it wants to look.
    pub fn handle_timeout(&mut self, now: Timestamp) -> Option<Occasion> {
        match self {
            Self::Off => None,
            Self::Literal(judge) => (judge.next_tick() <= now).then_some(Occasion::Tick),
            Self::Sequential(judge) => judge.handle_timeout(now),
        }
    }

    /// The pause between its regular looks; none when nobody judges.
    pub fn every(&self) -> Option<Duration> {
        match self {
            Self::Off => None,
            Self::Literal(judge) => Some(judge.every()),
            Self::Sequential(judge) => Some(judge.every()),
        }
    }

    /// Looks at the canary: at its window, or at the evidence. `report` gets what is worth telling;
    /// the result is the evidence that demands a rollback, if any.
    pub fn look(
        &mut self,
        now: Timestamp,
        occasion: Occasion,
        window: Option<&HealthWindow>,
        mut report: impl FnMut(Found),
    ) -> Option<Evidence> {
        match self {
            Self::Off => None,
            Self::Literal(judge) => {
                let report = |evidence| report(Found::Evidence(evidence));
                judge.look(now, occasion, window?, report)
            }
            Self::Sequential(judge) => judge.look(now, occasion, report),
        }
    }

    /// Has it seen enough of a good canary for the next step?
    pub fn promotion(&self, now: Timestamp, window: Option<&HealthWindow>) -> Promotion {
        match self {
            Self::Off => Promotion::No(vec![Lack::NobodyJudges]),
            Self::Literal(judge) => judge.promotion(window),
            Self::Sequential(judge) => judge.promotion(now),
        }
    }

    /// Bytes kept on the heap.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Off | Self::Literal(_) => 0,
            Self::Sequential(judge) => judge.bytes(),
        }
    }
}

/// Does this finding demand a rollback?
pub(crate) fn demands_rollback(evidence: &Evidence) -> bool {
    evidence.violated && evidence.action == ThresholdAction::Rollback
}
