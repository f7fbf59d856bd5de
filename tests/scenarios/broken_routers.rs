//! Broken routers are red: each defect of the articles' sketches, flipped on in a variant of the
//! core, makes a shipped scenario fail, by the gate that is there for it.
//!
//! The variants are decorators of the real core that rewrite its inputs, actions and events. The
//! numbers are those of the list in docs/defects.md.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use graygate::experiment::Experiment;
use graygate::id::{AttemptId, IdMap, RequestId, RequestKey, Seed, VersionId};
use graygate::observe::meta::Engine;
use graygate::protocol::chat::{ChatHead, Forward};
use graygate::protocol::outcome::Outcome;
use graygate::router::config::{JudgeConfig, RouterConfig};
use graygate::router::core::{Core, Footprint};
use graygate::router::gray::GrayRouter;
use graygate::router::io::{Action, Event, Input};
use graygate::runner::{RunOptions, RunOutput};
use graygate::time::Timestamp;
use graygate::verdict::result::Status;

use crate::support::{assert_passes, gate, run, shipped};

fn router(config: RouterConfig, seed: Seed) -> GrayRouter {
    GrayRouter::new(Arc::new(config), seed, Timestamp::ZERO)
}

/// Runs a shipped scenario with a variant of the core.
fn with_core(
    name: &str,
    make: impl Fn(&Experiment) -> Box<dyn Core> + Send + Sync + 'static,
) -> RunOutput {
    let options = RunOptions {
        core: Some(Arc::new(make)),
        ..RunOptions::new(Engine::Virtual)
    };
    run(&shipped(name), &options)
}

/// The gate failed, and one of its failed checks is about this.
fn assert_red(output: &RunOutput, name: &str, about: &str) {
    let gate = gate(output, name);
    assert_eq!(gate.status, Status::Fail, "{gate:#?}");
    let failed = gate.checks.iter().filter(|c| c.status == Status::Fail);
    let conditions: Vec<&str> = failed.map(|c| c.condition.as_str()).collect();
    assert!(
        conditions.iter().any(|c| c.contains(about)),
        "{conditions:?}"
    );
    assert_eq!(output.report.verdict.status, Status::Fail);
}

/// The same scenarios with the untouched core, through the same door.
#[test]
fn the_healthy_core_is_green_through_the_same_door() {
    for name in [
        "canary-401-falls-back-and-rolls-back",
        "canary-401-with-a-shared-key",
        "healthy-canary",
        "missing-model-mid-run",
        "rollback-is-final",
        "split-proven-at-scale",
    ] {
        let output = with_core(name, |e| Box::new(router((*e.router).clone(), e.seed)));
        assert_passes(&output);
    }
}

/// A core whose attempt ends are changed before it sees them.
struct Rewriting<F> {
    inner: GrayRouter,
    rewrite: F,
}

impl<F: Fn(&mut Input) + Send> Core for Rewriting<F> {
    fn handle(&mut self, now: Timestamp, mut input: Input) {
        (self.rewrite)(&mut input);
        self.inner.handle(now, input);
    }
    fn handle_timeout(&mut self, now: Timestamp) {
        self.inner.handle_timeout(now);
    }
    fn poll_action(&mut self) -> Option<Action> {
        self.inner.poll_action()
    }
    fn poll_event(&mut self) -> Option<Event> {
        self.inner.poll_event()
    }
    fn poll_timeout(&self) -> Option<Timestamp> {
        self.inner.poll_timeout()
    }
    fn footprint(&self) -> Footprint {
        self.inner.footprint()
    }
}

/// Defect 1: one error rate over all versions together. Stable's many successes are added to the
/// canary's window as samples of its own.
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
        let key = RequestKey(request.0);
        let facts = Arc::default();
        self.shadow.handle(
            now,
            Input::Arrival {
                request,
                key,
                facts,
            },
        );
        let attempt = AttemptId { request, n: 0 };
        let end = Input::AttemptEnded {
            attempt,
            outcome,
            retry_after: None,
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

#[test]
fn defect_01_an_error_rate_over_all_versions_is_caught() {
    let output = with_core("canary-401-falls-back-and-rolls-back", |e| {
        Box::new(Diluted::new(e))
    });
    assert_red(&output, "rollback", "rolled back once");
}

/// Defect 2: failures are booked on stable, the "current version", whoever was tried.
struct BookedOnCurrent {
    inner: GrayRouter,
    stable: VersionId,
    canary: VersionId,
}

impl Core for BookedOnCurrent {
    fn handle(&mut self, now: Timestamp, input: Input) {
        self.inner.handle(now, input);
    }
    fn handle_timeout(&mut self, now: Timestamp) {
        self.inner.handle_timeout(now);
    }
    fn poll_action(&mut self) -> Option<Action> {
        self.inner.poll_action()
    }
    fn poll_event(&mut self) -> Option<Event> {
        let mut event = self.inner.poll_event()?;
        if let Event::AttemptEnded {
            version, outcome, ..
        } = &mut event
            && *version == self.canary
            && !outcome.is_success()
        {
            *version = self.stable;
        }
        Some(event)
    }
    fn poll_timeout(&self) -> Option<Timestamp> {
        self.inner.poll_timeout()
    }
    fn footprint(&self) -> Footprint {
        self.inner.footprint()
    }
}

#[test]
fn defect_02_failures_on_the_wrong_version_are_caught() {
    let make = |e: &Experiment| -> Box<dyn Core> {
        // Its judge sees no failure of the canary either.
        let mut config = (*e.router).clone();
        config.judge = JudgeConfig::Off;
        Box::new(BookedOnCurrent {
            inner: router(config, e.seed),
            stable: e.router.stable,
            canary: e.router.canary,
        })
    };
    let output = with_core("fallback-masks-dead-canary", make);
    assert_red(&output, "attribution", "booked on the version tried");
    assert_red(&output, "rollback", "rolled back once");
}

/// Defect 3: the choice of a version never looks at the rollback. After it, every so many requests
/// still go to the canary.
struct NeverClosed {
    inner: GrayRouter,
    canary: VersionId,
    closed: bool,
    count: u32,
}

impl Core for NeverClosed {
    fn handle(&mut self, now: Timestamp, input: Input) {
        self.inner.handle(now, input);
    }
    fn handle_timeout(&mut self, now: Timestamp) {
        self.inner.handle_timeout(now);
    }
    fn poll_action(&mut self) -> Option<Action> {
        let mut action = self.inner.poll_action()?;
        if let Action::Send { attempt, version } = &mut action
            && self.closed
            && attempt.n == 0
        {
            self.count += 1;
            if self.count.is_multiple_of(10) {
                *version = self.canary;
            }
        }
        Some(action)
    }
    fn poll_event(&mut self) -> Option<Event> {
        let event = self.inner.poll_event()?;
        self.closed |= matches!(event, Event::RolledBack(_));
        Some(event)
    }
    fn poll_timeout(&self) -> Option<Timestamp> {
        self.inner.poll_timeout()
    }
    fn footprint(&self) -> Footprint {
        self.inner.footprint()
    }
}

#[test]
fn defect_03_traffic_to_a_closed_canary_is_caught() {
    for name in ["canary-401-falls-back-and-rolls-back", "rollback-is-final"] {
        let output = with_core(name, |e| {
            Box::new(NeverClosed {
                inner: router((*e.router).clone(), e.seed),
                canary: e.router.canary,
                closed: false,
                count: 0,
            })
        });
        assert_red(&output, "after_rollback", "canary_requests == 0");
    }
}

/// Defect 3, the other half: only chance respects the rollback, the rule for premium users does not.
#[test]
fn defect_03_a_rule_that_outlives_the_rollback_is_caught() {
    struct RuleLeaks(NeverClosed, IdMap<RequestId, ()>);
    impl Core for RuleLeaks {
        fn handle(&mut self, now: Timestamp, input: Input) {
            if let Input::Arrival { request, facts, .. } = &input
                && facts.tier.is_some()
            {
                self.1.insert(*request, ());
            }
            self.0.handle(now, input);
        }
        fn handle_timeout(&mut self, now: Timestamp) {
            self.0.handle_timeout(now);
        }
        fn poll_action(&mut self) -> Option<Action> {
            let mut action = self.0.inner.poll_action()?;
            if let Action::Send { attempt, version } = &mut action
                && self.0.closed
                && self.1.get(attempt.request).is_some()
                && attempt.n == 0
            {
                *version = self.0.canary;
            }
            Some(action)
        }
        fn poll_event(&mut self) -> Option<Event> {
            self.0.poll_event()
        }
        fn poll_timeout(&self) -> Option<Timestamp> {
            self.0.poll_timeout()
        }
        fn footprint(&self) -> Footprint {
            self.0.footprint()
        }
    }
    let output = with_core("rollback-is-final", |e| {
        let leaky = NeverClosed {
            inner: router((*e.router).clone(), e.seed),
            canary: e.router.canary,
            closed: false,
            count: 0,
        };
        Box::new(RuleLeaks(leaky, IdMap::default()))
    });
    assert_red(&output, "after_rollback", "canary_requests == 0");
}

/// Defect 9: rates over everything that ever happened.
#[test]
fn defect_09_all_time_counts_are_caught() {
    let output = with_core("missing-model-mid-run", |e| {
        let mut config = (*e.router).clone();
        if let JudgeConfig::Literal(judge) = &mut config.judge {
            judge.window = Duration::from_secs(86_400);
            judge.max_samples = u64::MAX / 2;
        }
        Box::new(router(config, e.seed))
    });
    assert_red(&output, "rollback", "within");
}

/// Defect 11: a refused key or a missing model is taken for a passing trouble, and tried again.
#[test]
fn defect_11_hopeless_retries_are_caught() {
    let output = with_core("canary-401-with-a-shared-key", |e| {
        Box::new(Rewriting {
            inner: router((*e.router).clone(), e.seed),
            rewrite: |input: &mut Input| {
                if let Input::AttemptEnded { outcome, .. } = input
                    && matches!(outcome, Outcome::Unauthorized | Outcome::ModelNotFound)
                {
                    *outcome = Outcome::ServerError;
                }
            },
        })
    });
    assert_red(&output, "requests", "hopeless_retries == 0");
}

/// Defect 11, the other half: stable is asked with the very key that was refused.
#[test]
fn defect_11_a_fallback_with_the_refused_key_is_caught() {
    let output = with_core("canary-401-with-a-shared-key", |e| {
        let mut config = (*e.router).clone();
        config.versions[config.stable].api_key_env = Some("ANOTHER_KEY".to_owned());
        Box::new(router(config, e.seed))
    });
    assert_red(&output, "requests", "hopeless_retries == 0");
}

/// Defect 13: `temperature || 0.7`.
#[test]
fn defect_13_a_temperature_that_is_made_up_is_caught() {
    let or_default: Forward = |body: &[u8], head: &ChatHead, model: &str| {
        let sent = head.with_model(body, model);
        let mut fields: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(&sent).expect("a chat request");
        let is_zero = fields
            .get("temperature")
            .and_then(|t| t.as_f64())
            .unwrap_or(0.0)
            == 0.0;
        if is_zero {
            fields.insert("temperature".to_owned(), 0.7.into());
        }
        serde_json::to_vec(&fields).expect("JSON")
    };
    let options = RunOptions {
        forward: or_default,
        ..RunOptions::new(Engine::Virtual)
    };
    let output = run(&shipped("healthy-canary"), &options);
    assert_red(&output, "requests", "altered == 0");
}

/// Defect 15: every latency is kept for ever.
#[test]
fn defect_15_memory_that_grows_is_caught() {
    struct Hoarder(GrayRouter, Vec<(Timestamp, Duration, VersionId)>);
    impl Core for Hoarder {
        fn handle(&mut self, now: Timestamp, input: Input) {
            self.0.handle(now, input);
        }
        fn handle_timeout(&mut self, now: Timestamp) {
            self.0.handle_timeout(now);
        }
        fn poll_action(&mut self) -> Option<Action> {
            self.0.poll_action()
        }
        fn poll_event(&mut self) -> Option<Event> {
            let event = self.0.poll_event()?;
            if let Event::AttemptEnded {
                version, latency, ..
            } = event
            {
                self.1.push((Timestamp::ZERO, latency, version));
            }
            Some(event)
        }
        fn poll_timeout(&self) -> Option<Timestamp> {
            self.0.poll_timeout()
        }
        fn footprint(&self) -> Footprint {
            let inner = self.0.footprint();
            let kept = self.1.capacity() * size_of::<(Timestamp, Duration, VersionId)>();
            Footprint {
                bytes: inner.bytes + kept,
                ..inner
            }
        }
    }
    let output = with_core("split-proven-at-scale", |e| {
        Box::new(Hoarder(router((*e.router).clone(), e.seed), Vec::new()))
    });
    assert_red(&output, "memory", "router <=");
}

/// Not one of the articles' defects, but the cheapest lie: a split that is a little off.
#[test]
fn a_split_of_nine_instead_of_ten_percent_is_caught() {
    let output = with_core("split-proven-at-scale", |e| {
        let mut config = (*e.router).clone();
        config.split.weights[config.stable] = 91.0;
        config.split.weights[config.canary] = 9.0;
        Box::new(router(config, e.seed))
    });
    assert_red(&output, "split", "share 10 %");
}

/// A router that claims to follow its rule and does not.
#[test]
fn a_rule_that_is_not_followed_is_caught() {
    let output = with_core("premium-users-first", |e| {
        let mut config = (*e.router).clone();
        config.routes.clear();
        Box::new(router(config, e.seed))
    });
    assert_red(&output, "requests", "misrouted == 0");
}
