//! Routers that make the wrong thing of a failure: the shipped scenarios `s01` to `s16` see it. Those of
//! streams are in [`super::failing_streams`].

use std::time::Duration;

use graygate::id::VersionId;
use graygate::protocol::drift::Drift;
use graygate::protocol::outcome::Outcome;
use graygate::router::config::FallbackPolicy;
use graygate::router::io::{Event, Input};

use super::{Defect, assert_red, with_config, with_defect};

/// Takes one outcome for another.
pub(super) struct Mistakes(pub(super) Outcome, pub(super) Outcome);

impl Defect for Mistakes {
    fn input(&mut self, mut input: Input) -> Vec<Input> {
        if let Input::AttemptEnded { outcome, .. } = &mut input
            && *outcome == self.0
        {
            *outcome = self.1;
        }
        vec![input]
    }
}

#[test]
fn a_rate_limit_that_is_not_waited_for_is_caught() {
    struct Hasty;
    impl Defect for Hasty {
        fn input(&mut self, mut input: Input) -> Vec<Input> {
            if let Input::AttemptEnded { retry_after, .. } = &mut input {
                *retry_after = None;
            }
            vec![input]
        }
    }
    let output = with_defect("s01-429-with-retry-after", |_| Hasty);
    assert_red(&output, "policy", "retries wait");
}

#[test]
fn a_rate_limit_that_is_stormed_is_caught() {
    let output = with_config("s02-persistent-429", |config| config.retry.budget = None);
    assert_red(&output, "policy", "retries stay within their budget");
}

#[test]
fn a_single_error_that_is_not_tried_again_is_caught() {
    let output = with_config("s03-500-once", |config| config.retry.max_retries = 0);
    assert_red(&output, "requests#1", "success");
}

#[test]
fn an_overload_that_never_leads_to_stable_is_caught() {
    let output = with_config("s04-503", |config| config.fallback = FallbackPolicy::Off);
    assert_red(&output, "fallback", "succeeds");
    assert_red(&output, "requests#1", "success");
}

#[test]
fn broken_connections_that_are_taken_for_the_callers_fault_are_caught() {
    let output = with_defect("s05-tcp-reset", |_| {
        Mistakes(Outcome::Reset, Outcome::BadRequest)
    });
    assert_red(&output, "fallback", "succeeds");
    assert_red(&output, "attribution", "");
}

#[test]
fn silence_that_is_waited_for_is_caught() {
    let output = with_config("s06-silence", |config| {
        config.timeouts.attempt = Duration::from_secs(20);
    });
    assert_red(&output, "requests#1", "p99");
    assert_red(&output, "policy", "");
}

#[test]
fn refused_requests_that_are_tried_again_are_caught() {
    for name in ["s12-context-length", "s13-content-filter"] {
        let output = with_defect(name, |_| {
            Mistakes(Outcome::BadRequest, Outcome::ServerError)
        });
        assert_red(&output, "requests#1", "hopeless_retries");
    }
}

#[test]
fn a_canary_that_flaps_without_a_fallback_is_caught() {
    let output = with_config("s15-flapping-canary", |config| {
        config.fallback = FallbackPolicy::Off;
    });
    assert_red(&output, "requests#1", "success");
}

#[test]
fn a_failover_on_the_wrong_account_is_caught() {
    struct Shifts;
    impl Defect for Shifts {
        fn event(&mut self, mut event: Event) -> Vec<Event> {
            if let Event::AttemptEnded {
                version, outcome, ..
            } = &mut event
                && *outcome == Outcome::Malformed
            {
                *version = VersionId(0);
            }
            vec![event]
        }
    }
    let output = with_defect("s16-accounting-of-a-failover", |_| Shifts);
    assert_red(&output, "attribution", "");
}

#[test]
fn drift_that_is_not_counted_is_caught() {
    struct Blind;
    impl Defect for Blind {
        fn input(&mut self, mut input: Input) -> Vec<Input> {
            if let Input::AttemptEnded { answer, .. } = &mut input {
                answer.drift = Drift::NONE;
            }
            vec![input]
        }
    }
    let output = with_defect("drifting-canary-keeps-the-contract", |_| Blind);
    assert_red(&output, "contract#1", "the router counts the drift");
}
