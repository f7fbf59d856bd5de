//! Routers that are broken in ways of their own, and routers that lie about what they did.

use std::sync::Arc;

use graygate::id::{IdMap, RequestId, VersionId};
use graygate::protocol::outcome::Outcome;
use graygate::router::config::{FallbackPolicy, JudgeConfig};
use graygate::router::io::{Action, AttemptKind, Event, Input, RequestFacts};

use super::{Defect, assert_red, with_config, with_defect};

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
                } => vec![
                    Input::FirstContent { attempt },
                    Input::AttemptEnded {
                        attempt,
                        outcome: Outcome::Success,
                        retry_after,
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
