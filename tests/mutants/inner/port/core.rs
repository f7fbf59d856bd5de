//! The port as a core: what comes in, what is due, what goes out.

use std::collections::VecDeque;
use std::sync::Arc;

use graygate::id::{IdMap, PerVersion, RequestId, Seed};
use graygate::protocol::outcome::Outcome;
use graygate::router::config::{JudgeConfig, LiteralConfig, RouterConfig};
use graygate::router::core::{Core, Footprint};
use graygate::router::deployment::{Change, Deployment};
use graygate::router::io::{Action, Event, Evidence, Input, Reason, Rollback};
use graygate::time::Timestamp;

use super::flaws::Flaw;
use super::limiter::RateLimiter;
use super::metrics::Metrics;
use super::ramp::{DeploymentManager, NewPhase};
use super::request::Request;
use super::rollback::RollbackManager;
use super::timers::{Due, Timers};
use super::versions::VersionManager;

/// The articles' router.
pub(crate) struct Port {
    pub(super) config: Arc<RouterConfig>,
    pub(super) flaw: Option<Flaw>,
    pub(super) versions: VersionManager,
    pub(super) metrics: Metrics,
    pub(super) limiters: PerVersion<Option<RateLimiter>>,
    pub(super) requests: IdMap<RequestId, Request>,
    pub(super) timers: Timers,
    pub(super) actions: VecDeque<Action>,
    pub(super) events: VecDeque<Event>,
    /// Requests that were given to the canary.
    pub(super) given: u64,
    pub(super) closed: bool,
    ramp: DeploymentManager,
    rollbacks: RollbackManager,
    judge: Option<LiteralConfig>,
    next_check: Timestamp,
    ops: u64,
}

impl Port {
    /// A port with one of its switches on, or with none.
    pub(crate) fn new(config: Arc<RouterConfig>, seed: Seed, flaw: Option<Flaw>) -> Self {
        let judge = match &config.judge {
            JudgeConfig::Literal(judge) => Some(judge.clone()),
            JudgeConfig::Off | JudgeConfig::Sequential(_) => None,
        };
        let limiter = |limit: &_| RateLimiter::new(Clone::clone(limit), flaw);
        let limits = config.versions.values().map(|v| v.rate_limit.as_ref());
        let mut port = Self {
            flaw,
            versions: VersionManager::new(&config, seed),
            metrics: Metrics::new(&config, judge.as_ref(), flaw),
            limiters: limits.map(|limit| limit.map(limiter)).collect(),
            requests: IdMap::default(),
            timers: Timers::default(),
            actions: VecDeque::new(),
            events: VecDeque::new(),
            given: 0,
            closed: false,
            ramp: DeploymentManager::new(&config, flaw),
            rollbacks: RollbackManager::new(&config, flaw),
            next_check: judge
                .as_ref()
                .map_or(Timestamp::MAX, |j| Timestamp::ZERO + j.every),
            judge,
            ops: 0,
            config,
        };
        let first = port.ramp.start();
        port.enter(first);
        port
    }

    pub(super) fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    /// The regular check, and what the deployment manager makes of it.
    fn check(&mut self, now: Timestamp) {
        let Some(judge) = self.judge.clone() else {
            self.next_check = Timestamp::MAX;
            return;
        };
        self.next_check = now + judge.every;
        self.look(now);
        if self.may_promote(now, &judge) {
            let next = self.ramp.promote(now);
            self.enter(next);
        }
    }

    /// A phase is followed by the next one when it was good by what was seen in it.
    fn may_promote(&mut self, now: Timestamp, judge: &LiteralConfig) -> bool {
        if self.closed {
            return self.has(Flaw::PromotesAfterFailedPhase);
        }
        let canary = self.config.canary;
        let is_bad = self.metrics.should_roll_back(now, canary, judge).is_some();
        let samples = self.metrics.samples(canary);
        let is_known = samples >= judge.min_requests || self.has(Flaw::NanPromotes);
        is_known && !is_bad
    }

    fn enter(&mut self, phase: Option<NewPhase>) {
        if let Some(NewPhase { share, standing }) = phase {
            self.versions.share = share;
            self.closed = false;
            self.metrics.clear();
            self.events.push_back(Event::Standing(standing));
        }
    }

    /// `shouldRollback`, on a check and on every failure.
    pub(super) fn look(&mut self, now: Timestamp) {
        let Some(judge) = self.judge.as_ref().filter(|_| !self.closed) else {
            return;
        };
        let canary = self.config.canary;
        if let Some(evidence) = self.metrics.should_roll_back(now, canary, judge) {
            self.roll_back(now, evidence);
        }
    }

    fn roll_back(&mut self, now: Timestamp, evidence: Evidence) {
        let revision = self.ramp.revision();
        let step = self.ramp.step_name();
        let Some(config) = self.rollbacks.roll_back() else {
            // `throw new Error('Rollback verification failed')`, and nobody catches it.
            return;
        };
        self.closed = !self.has(Flaw::SelectionIgnoresRollback);
        let (canary, stable) = (self.config.canary, self.config.stable);
        let record = Rollback {
            id: format!("cp_{}", now.0),
            from: canary,
            to: stable,
            reason: Reason::Judged(evidence),
            at: now,
            unix_ms: None,
            affected_requests: self.given,
            revision,
            step,
            restored: None,
            sha256: graygate::canonical::sha256(&*config),
        };
        self.judge = self.judge.take().filter(|_| self.closed);
        self.metrics.clear();
        let standing = self.ramp.rolled_back();
        self.events.push_back(Event::RolledBack(record.clone()));
        if self.has(Flaw::RollsBackTwice) {
            self.events.push_back(Event::RolledBack(record.clone()));
        }
        self.events.push_back(Event::Standing(standing));
        self.notify(&config, record);
    }

    /// `notifyRollback`: a letter goes out with whatever is kept.
    fn notify(&mut self, config: &Arc<RouterConfig>, mut record: Rollback) {
        if self.has(Flaw::NotifiesWithoutData) {
            record.id.clear();
            record.affected_requests = 0;
        }
        let times = match self.flaw {
            Some(Flaw::NeverNotifies) => 0,
            Some(Flaw::NotifiesTwice) => 2,
            _ => 1,
        };
        for _ in 0..times {
            self.ops += 1;
            let change = Change {
                deployment: Deployment::first(config.clone()),
                checkpoints: None,
                entry: None,
                rollback: Some(record.clone()),
            };
            self.actions.push_back(Action::Persist {
                op: self.ops,
                change: Box::new(change),
            });
        }
    }

    fn due(&mut self, now: Timestamp, due: Due) {
        match due {
            Due::Limit(attempt) => self.limit_reached(now, attempt),
            Due::Retry(request) => self.try_again(now, request),
            Due::Deadline(request) => self.give_up(now, request, Outcome::Deadline),
            Due::Slot(version) => self.slot(now, version),
            Due::Slotless(request) => self.slotless(now, request),
        }
    }
}

impl Core for Port {
    fn handle(&mut self, now: Timestamp, input: Input) {
        match input {
            Input::Arrival {
                request,
                key,
                facts,
            } => self.arrive(now, request, key, facts),
            Input::FirstContent { attempt } => self.first_content(now, attempt),
            Input::Progress { attempt } => self.progress(now, attempt),
            Input::AttemptEnded {
                attempt,
                outcome,
                retry_after,
                answer,
            } => self.ended(now, attempt, (outcome, retry_after, answer)),
            Input::ClientGone { request } => self.give_up(now, request, Outcome::ClientGone),
            // Nobody can order anything of it, and it keeps nothing.
            Input::Control { .. } | Input::Persisted { .. } | Input::Found { .. } => {}
        }
    }

    fn handle_timeout(&mut self, now: Timestamp) {
        while let Some(due) = self.timers.take(now) {
            self.due(now, due);
        }
        if self.next_check <= now {
            self.check(now);
        }
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn poll_timeout(&self) -> Option<Timestamp> {
        let check = Some(self.next_check).filter(|at| *at < Timestamp::MAX);
        self.timers.next_at().into_iter().chain(check).min()
    }

    fn footprint(&self) -> Footprint {
        let requests = self.requests.capacity() * size_of::<(RequestId, Request)>();
        Footprint {
            in_flight: self.requests.len(),
            bytes: requests + self.metrics.bytes() + self.timers.bytes(),
        }
    }
}
