//! Routers that are broken in ways of their own, and routers that lie about what they did.

use std::sync::Arc;
use std::time::Duration;

use graygate::id::{IdMap, RequestId, VersionId};
use graygate::protocol::outcome::Outcome;
use graygate::router::config::{
    FallbackPolicy, JudgeConfig, Limit, RouterConfig, Threshold, ThresholdAction,
};
use graygate::router::io::{Action, AnswerTraits, AttemptKind, Event, Input, RequestFacts};
use graygate::verdict::result::Status;

use super::{Defect, assert_red, broken, router, with_config, with_core, with_defect};

/// The cheapest lie: a split that is a little off.
#[test]
fn a_split_of_nine_instead_of_ten_percent_is_caught() {
    let output = with_config("split-proven-at-scale", |config| {
        config.split.weights[config.stable] = 91.0;
        config.split.weights[config.canary] = 9.0;
    });
    assert_red(&output, "split", "share 10 %");
}

#[test]
fn a_rule_that_is_not_followed_is_caught() {
    let output = with_config("premium-users-first", |config| config.routes.clear());
    assert_red(&output, "requests", "misrouted == 0");
}

/// Callers are split by the request instead of by their name: the share is right, nobody stays.
#[test]
fn callers_who_are_thrown_anew_every_time_are_caught() {
    #[derive(Default)]
    struct Forgetful(u64);
    impl Defect for Forgetful {
        fn input(&mut self, mut input: Input) -> Vec<Input> {
            if let Input::Arrival { facts, .. } = &mut input {
                self.0 += 1;
                *facts = Arc::new(RequestFacts {
                    user: Some(format!("nobody-{}", self.0)),
                    ..(**facts).clone()
                });
            }
            vec![input]
        }
    }
    let output = with_defect("sticky-users-stay", |_| Forgetful::default());
    assert_red(&output, "split", "sticky callers stay");
    assert_red(&output, "stickiness", "moved == 0");
}

#[test]
fn a_fallback_that_never_comes_is_caught() {
    let output = with_config("canary-401-falls-back-and-rolls-back", |config| {
        config.fallback = FallbackPolicy::Off;
    });
    assert_red(&output, "fallback", "succeeds == 100%");
    assert_red(&output, "rollback", "user_errors == 0");
}

#[test]
fn a_judge_that_acts_on_too_little_is_caught() {
    let output = with_config("healed-canary-is-kept", |config| {
        if let JudgeConfig::Literal(judge) = &mut config.judge {
            judge.min_requests = 2;
        }
    });
    assert_red(&output, "no_rollback", "not rolled back");
}

/// The requests that are under way at the canary when it is closed are forgotten: no answer, no
/// error, nothing. Their callers wait until they lose patience.
#[test]
fn requests_that_are_forgotten_by_the_rollback_are_caught() {
    struct Forgets {
        canary: VersionId,
        at_canary: IdMap<RequestId, ()>,
        closed: bool,
    }
    impl Forgets {
        fn is_forgotten(&self, request: RequestId) -> bool {
            self.closed && self.at_canary.get(request).is_some()
        }
    }
    impl Defect for Forgets {
        fn action(&mut self, action: Action) -> Option<Action> {
            let request = match &action {
                Action::Send { attempt, version } => {
                    if !self.closed && *version == self.canary {
                        self.at_canary.insert(attempt.request, ());
                    } else if !self.is_forgotten(attempt.request) {
                        self.at_canary.remove(attempt.request);
                    }
                    attempt.request
                }
                Action::Cancel { attempt } | Action::Forward { attempt, .. } => attempt.request,
                Action::Fail { request, .. } => *request,
                Action::Adopt { .. } | Action::Persist { .. } | Action::Answer { .. } => {
                    return Some(action);
                }
            };
            (!self.is_forgotten(request)).then_some(action)
        }
        fn event(&mut self, event: Event) -> Vec<Event> {
            self.closed |= matches!(event, Event::RolledBack(_));
            vec![event]
        }
    }
    let output = with_defect("canary-timeouts", |e| Forgets {
        canary: e.router.canary,
        at_canary: IdMap::default(),
        closed: false,
    });
    assert_red(&output, "rollback", "user_errors == 0");
    assert_red(&output, "fallback", "succeeds == 100%");
    assert_red(&output, "requests#1", "success == 100%");
}

/// Closed without a word: nobody is told, and the release is dead.
#[test]
fn a_canary_that_is_closed_in_silence_is_caught() {
    struct Silent;
    impl Defect for Silent {
        fn event(&mut self, event: Event) -> Vec<Event> {
            match event {
                Event::RolledBack(_) => Vec::new(),
                other => vec![other],
            }
        }
    }
    let name = "failing-stable-keeps-its-canary";
    let output = with_core(name, |e| {
        let mut config = (*e.router).clone();
        if let JudgeConfig::Literal(judge) = &mut config.judge {
            // Closes at the first look.
            judge.min_requests = 1;
            judge.thresholds = vec![Threshold {
                limit: Limit::P99(Duration::from_millis(1)),
                action: ThresholdAction::Rollback,
            }];
        }
        Box::new(broken(router(config, e.seed), Silent))
    });
    assert_red(&output, "no_rollback", "in use to the end");
}

/// The other direction of fallback: what stable fails is tried at the canary.
#[test]
fn failures_of_stable_that_go_to_the_canary_are_caught() {
    let output = with_config("failing-stable-keeps-its-canary", |config| {
        (config.stable, config.canary) = (config.canary, config.stable);
    });
    assert_eq!(output.report.verdict.status, Status::Fail);
    let output = with_config("rate-limit-storm", |config| {
        (config.stable, config.canary) = (config.canary, config.stable);
    });
    assert_red(&output, "fallback", "never from stable to the canary");
}

#[test]
fn another_threshold_than_was_given_is_caught() {
    let limit = |bound: f64| {
        move |config: &mut RouterConfig| {
            if let JudgeConfig::Literal(judge) = &mut config.judge {
                judge.thresholds[0].limit = Limit::ErrorRate(bound);
            }
        }
    };
    let output = with_config("errors-just-above-threshold", limit(0.08));
    assert_red(&output, "rollback", "rolled back once");
    let output = with_config("errors-just-below-threshold", limit(0.03));
    assert_red(&output, "no_rollback", "not rolled back");
}

/// A slow canary fails nobody: only regular looks find it.
#[test]
fn a_judge_that_looks_at_failures_alone_is_caught() {
    let output = with_config("slow-canary-rolled-back-by-p99", |config| {
        if let JudgeConfig::Literal(judge) = &mut config.judge {
            judge.every = Duration::from_secs(3_600);
        }
    });
    assert_red(&output, "rollback", "rolled back once");
}

#[test]
fn retries_that_storm_are_caught() {
    let name = "failing-stable-keeps-its-canary";
    let output = with_config(name, |config| config.retry.base = Duration::ZERO);
    assert_red(&output, "policy", "retries wait");
    // With failures enough to use them all.
    let output = with_config(name, |config| config.retry.max_retries = 50);
    assert_red(&output, "policy", "tries a version");
}

#[test]
fn a_retry_after_that_is_ignored_is_caught() {
    struct Hasty;
    impl Defect for Hasty {
        fn input(&mut self, mut input: Input) -> Vec<Input> {
            if let Input::AttemptEnded { retry_after, .. } = &mut input {
                *retry_after = None;
            }
            vec![input]
        }
    }
    let output = with_defect("rate-limit-storm", |_| Hasty);
    assert_red(&output, "policy", "retries wait");
}

#[test]
fn limits_of_time_that_are_not_kept_are_caught() {
    let name = "canary-timeouts";
    let output = with_config(name, |config| config.timeouts.attempt /= 5);
    assert_red(&output, "policy", "given up early");
    let output = with_config(name, |config| {
        config.timeouts.attempt += Duration::from_millis(1);
    });
    assert_red(&output, "policy", "no attempt takes more");
    let output = with_config(name, |config| {
        config.timeouts.attempt = Duration::from_secs(30);
        config.timeouts.request = Duration::from_secs(3_600);
    });
    assert_red(&output, "policy", "no request takes more");
}

/// A caller who is told of a server error tries again, what a refused key can never heal.
#[test]
fn a_refused_key_that_is_told_as_a_server_error_is_caught() {
    struct Blurs;
    impl Defect for Blurs {
        fn action(&mut self, mut action: Action) -> Option<Action> {
            if let Action::Fail { failure, .. } = &mut action {
                failure.outcome = Outcome::ServerError;
            }
            Some(action)
        }
    }
    let output = with_defect("canary-401-with-a-shared-key", |_| Blurs);
    assert_red(&output, "attribution", "real outcome");
}

/// Failures of the canary are taken for answers, and handed to the caller as they are; the books say
/// what really happened, and that the request was a success.
#[test]
fn failures_that_are_forwarded_as_answers_are_caught() {
    struct ForwardsFailures;
    impl Defect for ForwardsFailures {
        fn input(&mut self, input: Input) -> Vec<Input> {
            match input {
                Input::AttemptEnded {
                    attempt,
                    outcome: Outcome::Unauthorized,
                    retry_after,
                    ..
                } => vec![
                    Input::FirstContent { attempt },
                    Input::AttemptEnded {
                        attempt,
                        outcome: Outcome::Success,
                        retry_after,
                        answer: AnswerTraits::default(),
                    },
                ],
                other => vec![other],
            }
        }
    }
    let name = "canary-401-falls-back-and-rolls-back";
    let output = with_defect(name, |_| ForwardsFailures);
    assert_red(&output, "fallback", "succeeds == 100%");
    assert_red(&output, "rollback", "rolled back once");
    assert_red(&output, "requests", "success >= 99.9%");
    assert_red(&output, "attribution", "real outcome");
}

/// A defect of the books alone: what the router says of each of its events.
struct Books<F>(F);

impl<F: FnMut(Event) -> Vec<Event> + Send> Defect for Books<F> {
    fn event(&mut self, event: Event) -> Vec<Event> {
        (self.0)(event)
    }
}

fn assert_books_are_red<F>(name: &str, about: &str, lie: F)
where
    F: FnMut(Event) -> Vec<Event> + Send + Sync + Clone + 'static,
{
    let output = with_defect(name, move |_| Books(lie.clone()));
    assert_red(&output, "attribution", about);
}

fn dead() -> &'static str {
    "fallback-masks-dead-canary"
}

#[test]
fn failures_that_are_booked_as_timeouts_are_caught() {
    assert_books_are_red(dead(), "real outcome", |mut event| {
        if let Event::AttemptEnded { outcome, .. } = &mut event
            && *outcome == Outcome::Overloaded
        {
            *outcome = Outcome::Timeout;
        }
        vec![event]
    });
}

/// Who hangs up on a canary that hangs and says that the caller did, excuses the canary.
#[test]
fn timeouts_that_are_booked_as_departed_callers_are_caught() {
    assert_books_are_red("canary-timeouts", "real outcome", |mut event| {
        if let Event::AttemptEnded { outcome, .. } = &mut event
            && *outcome == Outcome::Timeout
        {
            *outcome = Outcome::ClientGone;
        }
        vec![event]
    });
}

#[test]
fn failures_that_are_never_booked_are_caught() {
    assert_books_are_red(dead(), "booked on the version tried", |event| {
        let is_failure = matches!(
            &event,
            Event::AttemptEnded { outcome, .. } if !outcome.is_success()
        );
        if is_failure { Vec::new() } else { vec![event] }
    });
}

/// Nothing at all is said of requests that had a failure.
#[test]
fn requests_that_are_hushed_up_are_caught() {
    #[derive(Default)]
    struct Hushes(IdMap<RequestId, ()>);
    impl Defect for Hushes {
        fn event(&mut self, event: Event) -> Vec<Event> {
            let request = match &event {
                Event::AttemptEnded {
                    attempt, outcome, ..
                } => {
                    if !outcome.is_success() {
                        self.0.insert(attempt.request, ());
                    }
                    attempt.request
                }
                Event::RequestEnded { request, .. } => *request,
                _ => return vec![event],
            };
            let is_hushed = self.0.get(request).is_some();
            if is_hushed { Vec::new() } else { vec![event] }
        }
    }
    let output = with_defect(dead(), |_| Hushes::default());
    assert_red(&output, "attribution", "booked on the version tried");
    assert_red(&output, "attribution", "counts its attempts right");
}

#[test]
fn requests_that_are_ended_twice_are_caught() {
    // What is said twice is booked wrong.
    assert_books_are_red(dead(), "booked on the version tried", |event| {
        let is_end = matches!(event, Event::RequestEnded { .. });
        let copy = is_end.then(|| event.clone());
        copy.into_iter().chain([event]).collect()
    });
}

#[test]
fn another_server_than_the_real_one_is_caught() {
    assert_books_are_red(dead(), "booked on the version tried", |mut event| {
        if let Event::RequestEnded {
            served_by: Some(version),
            ..
        } = &mut event
        {
            *version = VersionId(1);
        }
        vec![event]
    });
}

#[test]
fn a_rollback_with_a_made_up_record_is_caught() {
    let lie = |mut event: Event| {
        if let Event::RolledBack(record) = &mut event {
            record.affected_requests = 0;
        }
        vec![event]
    };
    let output = with_defect(dead(), move |_| Books(lie));
    assert_red(&output, "rollback", "its record fits the run");
}

#[test]
fn successes_that_are_booked_twice_are_caught() {
    assert_books_are_red(dead(), "booked on the version tried", |event| {
        let is_end = matches!(event, Event::AttemptEnded { .. });
        let copy = is_end.then(|| event.clone());
        copy.into_iter().chain([event]).collect()
    });
}

#[test]
fn an_assignment_that_was_never_tried_is_caught() {
    assert_books_are_red(dead(), "booked on the version tried", |mut event| {
        if let Event::Assigned { version, .. } = &mut event {
            *version = VersionId(0);
        }
        vec![event]
    });
}

#[test]
fn fallbacks_that_are_booked_as_first_attempts_are_caught() {
    assert_books_are_red(dead(), "counts its attempts right", |mut event| {
        if let Event::AttemptEnded { kind, .. } = &mut event {
            *kind = AttemptKind::First;
        }
        vec![event]
    });
}

#[test]
fn requests_that_failed_and_are_booked_as_successes_are_caught() {
    let lie = |mut event: Event| {
        if let Event::RequestEnded { outcome, .. } = &mut event {
            *outcome = Outcome::Success;
        }
        vec![event]
    };
    let output = with_defect("canary-401-with-a-shared-key", move |_| Books(lie));
    assert_red(&output, "attribution", "real outcome");
}

/// The canary's failures, and with them the tokens that nobody got, are put on stable's account.
#[test]
fn wasted_attempts_on_another_s_account_are_caught() {
    struct Blames(VersionId);
    impl Defect for Blames {
        fn event(&mut self, mut event: Event) -> Vec<Event> {
            if let Event::AttemptEnded {
                version, outcome, ..
            } = &mut event
                && !outcome.is_success()
            {
                *version = self.0;
            }
            vec![event]
        }
    }
    let output = with_defect("cost-of-a-failing-canary", |e| Blames(e.router.stable));
    assert_red(&output, "attribution", "booked on the version tried");
    // What it cost is counted by the upstreams' ledgers, whatever the router says.
    let canary = output.report.meta.canary;
    assert!(output.report.summary.costs.versions[canary].wasted.attempts > 0);
}

#[test]
fn tokens_made_up_by_the_router_are_caught() {
    struct Discount;
    impl Defect for Discount {
        fn event(&mut self, mut event: Event) -> Vec<Event> {
            if let Event::AttemptEnded { answer, .. } = &mut event
                && let Some(usage) = &mut answer.usage
            {
                usage.completion_tokens /= 2;
            }
            vec![event]
        }
    }
    let output = with_defect("cost-of-a-failing-canary", |_| Discount);
    assert_red(&output, "attribution", "tokens that their upstream spent");
}

/// A router that is never content with the first answer of the canary pays for both.
#[test]
fn a_router_that_gives_up_on_answers_it_pays_for_is_caught() {
    let output = with_config("cost-of-a-failing-canary", |config| {
        config.timeouts.attempt = std::time::Duration::from_millis(400);
    });
    assert_red(&output, "cost#1", "wasted <= $0.10");
}
