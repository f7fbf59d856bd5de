//! One error rate over all versions together.

use std::collections::VecDeque;
use std::sync::Arc;

use graygate::experiment::Experiment;
use graygate::id::{AttemptId, IdMap, RequestId, RequestKey, VersionId};
use graygate::protocol::outcome::Outcome;
use graygate::router::config::JudgeConfig;
use graygate::router::core::{Core, Footprint};
use graygate::router::gray::GrayRouter;
use graygate::router::io::{Action, AnswerTraits, Event, Input};
use graygate::time::Timestamp;

use crate::broken::router;
use crate::catalogue::{Mutant, Source};

pub(super) fn all() -> Vec<Mutant> {
    vec![
        Mutant::of_core(
            "one-error-rate-for-all",
            "judges by one error rate over all versions together, in which a dead canary of 10 % dilutes away",
            Source::Defect(1),
            |e| Box::new(Diluted::new(e)),
        )
        .caught(
            "canary-401-falls-back-and-rolls-back",
            "rollback",
            "rolled back once",
        ),
    ]
}

/// Stable's many successes are added to the canary's window as samples of its own.
struct Diluted {
    inner: GrayRouter,
    shadow: GrayRouter,
    canary: VersionId,
    /// Attempts that are out, by where the inner core sent them.
    sent: IdMap<AttemptId, VersionId>,
    actions: VecDeque<Action>,
    closed: bool,
    events: VecDeque<Event>,
    next: u64,
}

impl Diluted {
    fn new(experiment: &Experiment) -> Self {
        // The inner core never judges; the shadow judges one pool of everybody's attempts: its rules
        // send all of them to the canary.
        let mut inner = (*experiment.router).clone();
        inner.judge = JudgeConfig::Off;
        let mut pool = (*experiment.router).clone();
        pool.split.weights[pool.stable] = 0.0;
        Self {
            inner: router(inner, experiment.seed),
            shadow: router(pool, experiment.seed),
            canary: experiment.router.canary,
            sent: IdMap::default(),
            actions: VecDeque::new(),
            closed: false,
            events: VecDeque::new(),
            next: 0,
        }
    }

    /// One more sample for the pool.
    fn pool(&mut self, now: Timestamp, outcome: Outcome) {
        let request = RequestId(self.next);
        self.next += 1;
        let arrival = Input::Arrival {
            request,
            key: RequestKey(request.0),
            facts: Arc::default(),
        };
        self.shadow.handle(now, arrival);
        let end = Input::AttemptEnded {
            attempt: AttemptId { request, n: 0 },
            outcome,
            retry_after: None,
            answer: AnswerTraits::default(),
        };
        self.shadow.handle(now, end);
        self.shadow.handle(now, Input::ClientGone { request });
        while self.shadow.poll_action().is_some() {}
        while let Some(event) = self.shadow.poll_event() {
            if matches!(event, Event::RolledBack(_)) {
                self.closed = true;
                self.events.push_back(event);
            }
        }
    }
}

impl Core for Diluted {
    fn handle(&mut self, now: Timestamp, input: Input) {
        if let Input::AttemptEnded {
            attempt, outcome, ..
        } = &input
            && self.sent.remove(*attempt).is_some()
        {
            self.pool(now, *outcome);
        }
        self.inner.handle(now, input);
        while let Some(action) = self.inner.poll_action() {
            if let Action::Send { attempt, version } = &action {
                self.sent.insert(*attempt, *version);
            }
            self.actions.push_back(action);
        }
    }
    fn handle_timeout(&mut self, now: Timestamp) {
        self.inner.handle_timeout(now);
    }
    fn poll_action(&mut self) -> Option<Action> {
        // Once the pool says so, the canary is closed properly: the defect is in the judging alone.
        let action = self
            .actions
            .pop_front()
            .or_else(|| self.inner.poll_action())?;
        Some(match action {
            Action::Send { attempt, version } if self.closed && version == self.canary => {
                Action::Send {
                    attempt,
                    version: VersionId(0),
                }
            }
            other => other,
        })
    }
    fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front().or_else(|| self.inner.poll_event())
    }
    fn poll_timeout(&self) -> Option<Timestamp> {
        self.inner.poll_timeout()
    }
    fn footprint(&self) -> Footprint {
        self.inner.footprint()
    }
}

/// The same variant closes a canary that is quite dead at a share that shows in the pool: it is the
/// dilution that is caught, not the decorator.
#[test]
fn the_pool_does_close_what_is_bad_enough_to_show_in_it() {
    let mutants = all();
    let scenario = crate::support::shipped("fallback-masks-dead-canary");
    let output = crate::support::run(&scenario, &mutants[0].options());
    assert_eq!(output.report.summary.rollbacks.len(), 1);
}
