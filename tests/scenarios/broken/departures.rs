//! Routers that do not know what to make of callers who hang up, of conversations, and of tenants.

use graygate::id::{AttemptId, IdMap, RequestId};
use graygate::protocol::outcome::Outcome;
use graygate::router::io::{Action, AnswerTraits, Event, Input};

use super::{Defect, assert_red, with_config, with_defect};

const HANG_UPS: &str = "impatient-callers-are-no-failures";
const SESSIONS: &str = "sessions-stay-through-the-rush";

/// It goes on for nobody: answers that are paid for, and that nobody reads.
#[test]
fn a_router_that_does_not_hear_callers_leave_is_caught() {
    struct Deaf;
    impl Defect for Deaf {
        fn input(&mut self, input: Input) -> Vec<Input> {
            match input {
                Input::ClientGone { .. } => Vec::new(),
                other => vec![other],
            }
        }
    }
    let output = with_defect(HANG_UPS, |_| Deaf);
    assert_red(&output, "policy", "nothing goes on for callers who left");
}

/// Who presses "stop" is taken for a timeout of the version: every fifth request "fails" at a canary that does
/// nothing wrong.
#[test]
fn a_router_that_holds_hang_ups_against_its_canary_is_caught() {
    #[derive(Default)]
    struct Blames(IdMap<RequestId, AttemptId>);
    impl Defect for Blames {
        fn input(&mut self, input: Input) -> Vec<Input> {
            let Input::ClientGone { request } = &input else {
                return vec![input];
            };
            let timeout = self.0.remove(*request).map(|attempt| Input::AttemptEnded {
                attempt,
                outcome: Outcome::Timeout,
                retry_after: None,
                answer: AnswerTraits::default(),
            });
            timeout.into_iter().chain([input]).collect()
        }
        fn action(&mut self, action: Action) -> Option<Action> {
            match &action {
                Action::Send { attempt, .. } => {
                    self.0.insert(attempt.request, *attempt);
                }
                Action::Forward { attempt, .. } => {
                    self.0.remove(attempt.request);
                }
                _ => {}
            }
            Some(action)
        }
    }
    let output = with_defect(HANG_UPS, |_| Blames::default());
    assert_red(&output, "no_rollback", "not rolled back");
}

/// The same in its books alone.
#[test]
fn hang_ups_that_are_booked_as_timeouts_are_caught() {
    struct Books;
    impl Defect for Books {
        fn event(&mut self, mut event: Event) -> Vec<Event> {
            if let Event::AttemptEnded { outcome, .. } = &mut event
                && *outcome == Outcome::ClientGone
            {
                *outcome = Outcome::Timeout;
            }
            vec![event]
        }
    }
    let output = with_defect(HANG_UPS, |_| Books);
    assert_red(&output, "policy", "no attempt is given up early");
}

#[test]
fn conversations_that_change_their_version_are_caught() {
    let output = with_config(SESSIONS, |config| config.split.sticky = None);
    assert_red(&output, "split", "sticky callers stay");
    assert_red(&output, "stickiness", "moved == 0");
}

#[test]
fn a_rule_on_tenants_that_is_not_followed_is_caught() {
    let output = with_config(SESSIONS, |config| config.routes.clear());
    assert_red(&output, "requests#1", "misrouted == 0");
}
