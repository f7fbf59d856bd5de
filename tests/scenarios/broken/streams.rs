//! Routers that do to streams what nobody may do to them.

use std::collections::VecDeque;

use graygate::id::{AttemptId, IdMap, RequestId, VersionId};
use graygate::protocol::outcome::Outcome;
use graygate::router::config::FallbackPolicy;
use graygate::router::io::{Action, Input, Served};
use graygate::verdict::result::Status;

use super::{Defect, assert_red, broken, router, with_core, with_defect};
use crate::support::{gate, virtual_run, written};

const NAME: &str = "streams-break-and-stall";

/// Passes on what comes, and forgets that it did: what breaks is asked for again.
#[derive(Default)]
pub(super) struct Splices {
    out: IdMap<RequestId, (u32, VersionId)>,
    orders: VecDeque<Action>,
}

impl Splices {
    fn pass_on(&mut self, attempt: AttemptId) {
        let out = self.out.get(attempt.request);
        if let Some((n, version)) = out.filter(|(n, _)| *n == attempt.n) {
            let served = Served {
                version: *version,
                fallback: *n > 0,
                attempts: n + 1,
                choice: None,
            };
            self.orders.push_back(Action::Forward { attempt, served });
        }
    }
}

impl Defect for Splices {
    fn input(&mut self, input: Input) -> Vec<Input> {
        match input {
            Input::FirstContent { attempt } => {
                self.pass_on(attempt);
                Vec::new()
            }
            Input::Progress { .. } => Vec::new(),
            Input::AttemptEnded {
                attempt,
                outcome: Outcome::Success,
                ..
            } => vec![Input::FirstContent { attempt }, input],
            other => vec![other],
        }
    }
    fn action(&mut self, action: Action) -> Option<Action> {
        match action {
            Action::Send { attempt, version } => {
                self.out.insert(attempt.request, (attempt.n, version));
                Some(action)
            }
            // It was passed on when it came.
            Action::Forward { .. } => None,
            other => Some(other),
        }
    }
    fn order(&mut self) -> Option<Action> {
        self.orders.pop_front()
    }
}

/// Takes what was cut off for whole, once its caller has some of it.
#[derive(Default)]
pub(super) struct Completes(IdMap<RequestId, ()>);

impl Defect for Completes {
    fn input(&mut self, mut input: Input) -> Vec<Input> {
        match &mut input {
            Input::FirstContent { attempt } => {
                self.0.insert(attempt.request, ());
            }
            Input::AttemptEnded {
                attempt, outcome, ..
            } if *outcome == Outcome::Truncated && self.0.get(attempt.request).is_some() => {
                *outcome = Outcome::Success;
            }
            _ => {}
        }
        vec![input]
    }
}

#[test]
fn a_stream_that_goes_on_with_another_version_s_answer_is_caught() {
    let output = with_defect(NAME, |_| Splices::default());
    assert_red(&output, "stream", "made of two answers");
    assert_red(&output, "stream", "nothing comes twice");
}

/// The same version answers again: its answers look alike, but for their length.
#[test]
fn a_stream_that_is_begun_again_is_caught() {
    let output = with_core(NAME, |e| {
        let mut config = (*e.router).clone();
        config.fallback = FallbackPolicy::Off;
        Box::new(broken(router(config, e.seed), Splices::default()))
    });
    assert_red(&output, "stream", "made of two answers");
    assert_red(&output, "stream", "nothing comes twice");
}

#[test]
fn a_stream_that_is_cut_off_and_called_whole_is_caught() {
    let output = with_defect(NAME, |_| Completes::default());
    assert_red(&output, "stream", "what was cut off is no success");
    assert_red(&output, "attribution", "real outcome");
}

/// Nobody reads a word before the last one is written.
#[test]
fn streams_that_are_held_back_until_they_are_whole_are_caught() {
    struct Buffers;
    impl Defect for Buffers {
        fn input(&mut self, input: Input) -> Vec<Input> {
            match input {
                Input::FirstContent { .. } | Input::Progress { .. } => Vec::new(),
                Input::AttemptEnded {
                    attempt,
                    outcome: Outcome::Success,
                    ..
                } => vec![Input::FirstContent { attempt }, input],
                other => vec![other],
            }
        }
    }
    let output = with_core(NAME, |e| {
        let mut config = (*e.router).clone();
        config.timeouts.first_token = None;
        Box::new(broken(router(config, e.seed), Buffers))
    });
    assert_red(&output, "requests#4", "first_token_p99 < 1 s");
}

/// An upstream that says a thing twice is found out as well, though no gateway can know.
#[test]
fn a_chunk_that_comes_twice_is_caught_whoever_sent_it() {
    let text = "
name: twice
seed: 5
duration: 20s
router: ../fixtures/routers/gray-30-fast.yaml
upstreams:
  v1: {mock: {first_token: 50ms, tokens_per_second: 100, output_tokens: 20}}
  v2: {mock: {like: v1}}
traffic: {synthetic: {arrivals: {constant: 20/s}, stream: 100%}}
faults: [{on: v2, kind: stream_duplicate, share: 10%}]
expect: [stream, attribution]
";
    let output = virtual_run(&written("twice", text));
    assert_red(&output, "stream", "nothing comes twice");
    assert_eq!(gate(&output, "attribution").status, Status::Pass);
}
