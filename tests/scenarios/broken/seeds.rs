//! The defects of the articles' sketches. The numbers are those of the list in docs/defects.md.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use graygate::experiment::Experiment;
use graygate::id::{AttemptId, IdMap, RequestId, RequestKey, VersionId};
use graygate::observe::meta::Engine;
use graygate::protocol::chat::{ChatHead, Forward};
use graygate::protocol::outcome::Outcome;
use graygate::router::config::JudgeConfig;
use graygate::router::core::{Core, Footprint};
use graygate::router::gray::GrayRouter;
use graygate::router::io::{Action, AnswerTraits, Cause, Event, Input, Measure, Reason, Standing};
use graygate::router::ramp::Phase;
use graygate::runner::RunOptions;
use graygate::time::Timestamp;

use super::{Defect, assert_red, broken, router, with_config, with_core, with_defect};
use crate::support::{assert_passes, run, shipped, written};

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

#[test]
fn defect_01_an_error_rate_over_all_versions_is_caught() {
    let output = with_core("canary-401-falls-back-and-rolls-back", |e| {
        Box::new(Diluted::new(e))
    });
    assert_red(&output, "rollback", "rolled back once");
}

/// The same variant closes a canary that is quite dead at a share that shows in the pool: it is the
/// dilution that is caught, not the decorator.
#[test]
fn defect_01_the_pool_does_close_what_is_bad_enough_to_show_in_it() {
    let output = with_core("fallback-masks-dead-canary", |e| Box::new(Diluted::new(e)));
    assert_eq!(output.report.summary.rollbacks.len(), 1);
}

/// Defect 2: failures are booked on stable, the "current version", whoever was tried.
#[test]
fn defect_02_failures_on_the_wrong_version_are_caught() {
    struct BookedOnCurrent(VersionId, VersionId);
    impl Defect for BookedOnCurrent {
        fn event(&mut self, mut event: Event) -> Vec<Event> {
            if let Event::AttemptEnded {
                version, outcome, ..
            } = &mut event
                && *version == self.1
                && !outcome.is_success()
            {
                *version = self.0;
            }
            vec![event]
        }
    }
    let output = with_defect("fallback-masks-dead-canary", |e| {
        BookedOnCurrent(e.router.stable, e.router.canary)
    });
    assert_red(&output, "attribution", "booked on the version tried");
    // What such bookings do to a judge that believes them: it never sees the canary fail.
    let output = with_config("fallback-masks-dead-canary", |config| {
        config.judge = JudgeConfig::Off;
    });
    assert_red(&output, "rollback", "rolled back once");
}

/// Defect 3: the choice of a version never looks at the rollback. After it, requests still go to the
/// canary: every tenth, or those that a rule sends there.
struct NeverClosed {
    canary: VersionId,
    by_rule: bool,
    ruled: IdMap<RequestId, ()>,
    closed: bool,
    count: u32,
}

impl NeverClosed {
    fn new(experiment: &Experiment, by_rule: bool) -> Self {
        Self {
            canary: experiment.router.canary,
            by_rule,
            ruled: IdMap::default(),
            closed: false,
            count: 0,
        }
    }

    fn leaks(&mut self, request: RequestId) -> bool {
        self.count += 1;
        match self.by_rule {
            true => self.ruled.get(request).is_some(),
            false => self.count.is_multiple_of(10),
        }
    }
}

impl Defect for NeverClosed {
    fn input(&mut self, input: Input) -> Vec<Input> {
        if let Input::Arrival { request, facts, .. } = &input
            && facts.tier.is_some()
        {
            self.ruled.insert(*request, ());
        }
        vec![input]
    }
    fn action(&mut self, mut action: Action) -> Option<Action> {
        if let Action::Send { attempt, version } = &mut action
            && self.closed
            && attempt.n == 0
            && self.leaks(attempt.request)
        {
            *version = self.canary;
        }
        Some(action)
    }
    fn event(&mut self, event: Event) -> Vec<Event> {
        self.closed |= matches!(event, Event::RolledBack(_));
        vec![event]
    }
}

#[test]
fn defect_03_traffic_to_a_closed_canary_is_caught() {
    for name in ["canary-401-falls-back-and-rolls-back", "rollback-is-final"] {
        let output = with_defect(name, |e| NeverClosed::new(e, false));
        assert_red(&output, "after_rollback", "canary_requests == 0");
    }
}

/// The other half: only chance respects the rollback, the rule for premium users does not.
#[test]
fn defect_03_a_rule_that_outlives_the_rollback_is_caught() {
    let output = with_defect("rollback-is-final", |e| NeverClosed::new(e, true));
    assert_red(&output, "after_rollback", "canary_requests == 0");
}

/// Defect 4: the ramp goes to its second step at once.
#[test]
fn defect_04_a_ramp_that_skips_its_first_step_is_caught() {
    let output = with_config("ramp-healthy-canary-is-promoted", |config| {
        config.ramp.as_mut().expect("a ramp").steps.remove(0);
    });
    assert_red(&output, "promotion", "no step is left out");
    assert_red(&output, "promotion", "initial has 5 %");
}

/// Defect 5: the loop goes on to the next step although the one before failed.
struct GoesOn {
    canary: VersionId,
    /// The next step, from when the canary was rolled back on.
    next: Option<Standing>,
    closed: bool,
    count: u32,
}

impl Defect for GoesOn {
    fn action(&mut self, mut action: Action) -> Option<Action> {
        if let Action::Send { attempt, version } = &mut action
            && self.closed
            && attempt.n == 0
        {
            self.count += 1;
            if self.count.is_multiple_of(2) {
                *version = self.canary;
            }
        }
        Some(action)
    }
    fn event(&mut self, event: Event) -> Vec<Event> {
        if let Event::Standing(standing) = &event
            && standing.cause == Cause::RolledBack
        {
            self.closed = true;
            self.next = Some(Standing {
                phase: Phase::Progressing,
                step: Some((2, "majority".to_owned())),
                share: 0.5,
                cause: Cause::Judged,
                ..standing.clone()
            });
            return vec![event];
        }
        let next = match &event {
            Event::Assigned { .. } => self.next.take(),
            _ => None,
        };
        [event]
            .into_iter()
            .chain(next.map(Event::Standing))
            .collect()
    }
}

#[test]
fn defect_05_a_ramp_that_goes_on_after_a_failed_step_is_caught() {
    let output = with_defect("ramp-breaks-at-minority", |e| GoesOn {
        canary: e.router.canary,
        next: None,
        closed: false,
        count: 0,
    });
    assert_red(&output, "ramp", "a rollback is final");
    assert_red(&output, "after_rollback", "canary_requests == 0");
}

/// Defect 6: whatever happens, the error rate is 2 % and the latency 45 ms.
#[test]
fn defect_06_monitoring_that_returns_constants_is_caught() {
    struct Constants;
    impl Defect for Constants {
        fn input(&mut self, mut input: Input) -> Vec<Input> {
            // 2 % of them, whatever they were.
            if let Input::AttemptEnded {
                attempt, outcome, ..
            } = &mut input
                && !outcome.is_success()
            {
                *outcome = match attempt.request.0.is_multiple_of(50) {
                    true => Outcome::ServerError,
                    false => Outcome::BadRequest,
                };
            }
            vec![input]
        }
        fn event(&mut self, mut event: Event) -> Vec<Event> {
            if let Event::Judged(evidence) = &mut event {
                evidence.value = Some(match evidence.measure {
                    Measure::ErrorRate => 0.02,
                    Measure::P99 => 0.045,
                    _ => 0.98,
                });
            }
            vec![event]
        }
    }
    let output = with_defect("canary-401-falls-back-and-rolls-back", |_| Constants);
    assert_red(&output, "rollback", "rolled back once");
}

/// Defect 8: what was restored is compared with a constant, never is what it should be, and so the
/// rollback is given up.
#[test]
fn defect_08_a_rollback_that_never_passes_its_own_check_is_caught() {
    struct Unverified(NeverClosed);
    impl Defect for Unverified {
        fn action(&mut self, action: Action) -> Option<Action> {
            self.0.action(action)
        }
        fn event(&mut self, event: Event) -> Vec<Event> {
            let is_rollback = matches!(event, Event::RolledBack(_));
            let told = self.0.event(event);
            told.into_iter().filter(|_| !is_rollback).collect()
        }
    }
    let output = with_defect("canary-401-falls-back-and-rolls-back", |e| {
        Unverified(NeverClosed::new(e, false))
    });
    assert_red(&output, "rollback", "rolled back once");
}

/// Defect 14: people are told of a rollback, and nothing about it.
#[test]
fn defect_14_a_record_without_its_data_is_caught() {
    struct Empty;
    impl Defect for Empty {
        fn event(&mut self, mut event: Event) -> Vec<Event> {
            if let Event::RolledBack(record) = &mut event {
                record.id.clear();
                record.affected_requests = 0;
                record.reason = Reason::ByHand(String::new());
            }
            vec![event]
        }
    }
    let output = with_defect("canary-401-falls-back-and-rolls-back", |_| Empty);
    assert_red(&output, "rollback", "its record fits the run");
    assert_red(&output, "rollback", "reason error_rate");
}

fn all_time(judge: &mut JudgeConfig) {
    if let JudgeConfig::Literal(judge) = judge {
        judge.window = Duration::from_secs(86_400);
        judge.max_samples = u64::MAX / 2;
    }
}

/// Defect 9: rates over everything that ever happened. Good old traffic hides new failures …
#[test]
fn defect_09_all_time_counts_that_hide_failures_are_caught() {
    let output = with_config("missing-model-mid-run", |config| {
        all_time(&mut config.judge);
    });
    assert_red(&output, "rollback", "within");
}

/// … and old failures roll back a canary that has healed.
#[test]
fn defect_09_all_time_counts_that_never_forgive_are_caught() {
    let output = with_config("healed-canary-is-kept", |config| {
        all_time(&mut config.judge);
    });
    assert_red(&output, "no_rollback", "not rolled back");
}

/// Defect 11: a refused key or a missing model is taken for a passing trouble, and tried again.
struct HopefulRetries(Outcome);

impl Defect for HopefulRetries {
    fn input(&mut self, mut input: Input) -> Vec<Input> {
        if let Input::AttemptEnded { outcome, .. } = &mut input
            && *outcome == self.0
        {
            *outcome = Outcome::ServerError;
        }
        vec![input]
    }
}

#[test]
fn defect_11_hopeless_retries_are_caught() {
    for (name, outcome) in [
        ("canary-401-with-a-shared-key", Outcome::Unauthorized),
        ("missing-model-mid-run", Outcome::ModelNotFound),
    ] {
        let output = with_defect(name, move |_| HopefulRetries(outcome));
        assert_red(&output, "requests", "hopeless_retries == 0");
    }
}

/// Defect 10: when stable fails, the "fallback" is stable's own model once more.
#[test]
fn defect_10_a_fallback_to_the_model_that_just_failed_is_caught() {
    let scenario = written(
        "stable-lost-its-model",
        "
name: stable lost its model
duration: 30s
router: ../fixtures/routers/gray-10.yaml
traffic: {synthetic: {arrivals: {poisson: 50/s}}}
faults: [{on: v1, kind: model_not_found, share: 10%}]
expect: [requests: {hopeless_retries: \"0\"}, attribution]
",
    );
    assert_passes(&run(&scenario, &RunOptions::new(Engine::Virtual)));
    let make = |e: &Experiment| -> Box<dyn Core> {
        let inner = router((*e.router).clone(), e.seed);
        Box::new(broken(inner, HopefulRetries(Outcome::ModelNotFound)))
    };
    let options = RunOptions {
        core: Some(Arc::new(make)),
        ..RunOptions::new(Engine::Virtual)
    };
    assert_red(
        &run(&scenario, &options),
        "requests",
        "hopeless_retries == 0",
    );
}

/// The other half: stable is asked with the very key that was refused.
#[test]
fn defect_11_a_fallback_with_the_refused_key_is_caught() {
    let output = with_config("canary-401-with-a-shared-key", |config| {
        config.versions[config.stable].api_key_env = Some("ANOTHER_KEY".to_owned());
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
    #[derive(Default)]
    struct Hoarder(Vec<(Timestamp, Duration, VersionId)>);
    impl Defect for Hoarder {
        fn event(&mut self, event: Event) -> Vec<Event> {
            if let Event::AttemptEnded {
                version, latency, ..
            } = event
            {
                self.0.push((Timestamp::ZERO, latency, version));
            }
            vec![event]
        }
        fn bytes(&self) -> usize {
            self.0.capacity() * size_of::<(Timestamp, Duration, VersionId)>()
        }
    }
    let output = with_defect("split-proven-at-scale", |_| Hoarder::default());
    assert_red(&output, "memory", "router <=");
}
