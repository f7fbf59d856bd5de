//! Routers that do to streams what nobody may do to them.

use std::collections::VecDeque;

use graygate::id::{AttemptId, IdMap, RequestId, VersionId};
use graygate::protocol::outcome::Outcome;
use graygate::router::config::FallbackPolicy;
use graygate::router::io::{Action, Input, Served};

use crate::broken::{Defect, broken, router};
use crate::catalogue::{Mutant, Source};

const NAME: &str = "streams-break-and-stall";
const TWO: &str = "made of two answers";
const TWICE: &str = "nothing comes twice";
const CUT: &str = "what was cut off is no success";

pub(super) fn all() -> Vec<Mutant> {
    vec![
        Mutant::of_defect(
            "stream-fallback-splices",
            "has stable go on with a stream of which the caller has a part",
            Source::Entries(&[24, 25], 6),
            |_| Splices::default(),
        )
        .caught("s08-stream-cut", "stream", TWO)
        .caught("s08-stream-cut", "stream", TWICE)
        .caught(NAME, "stream", TWO)
        .caught(NAME, "stream", TWICE)
        .caught("s14-prefilled-answer", "stream", TWO)
        .caught("s14-prefilled-answer", "requests#4", "count <= 700"),
        // The same version answers again: its answers look alike, but for their length.
        Mutant::of_core(
            "stream-begun-again",
            "begins a stream again of which the caller has a part",
            Source::Entries(&[24, 29], 6),
            |e| {
                let mut config = (*e.router).clone();
                config.fallback = FallbackPolicy::Off;
                Box::new(broken(router(config, e.seed), Splices::default()))
            },
        )
        .caught(NAME, "stream", TWO)
        .caught(NAME, "stream", TWICE),
        Mutant::of_defect(
            "truncated-stream-as-success",
            "takes a stream that was cut off for whole",
            Source::Entries(&[22, 26], 6),
            |_| Completes::default(),
        )
        .caught("s08-stream-cut", "stream", CUT)
        .caught("s08-stream-cut", "rollback", "rolled back once")
        .caught("s08-stream-cut", "attribution", "real outcome")
        .caught("s11-missing-done", "stream", CUT)
        .caught("s11-missing-done", "rollback", "rolled back once")
        .caught("s11-missing-done", "attribution", "real outcome")
        .caught(NAME, "stream", CUT)
        .caught(NAME, "attribution", "real outcome"),
        // Nobody reads a word before the last one is written.
        Mutant::of_core(
            "streams-held-back",
            "holds streams back until they are whole",
            Source::Entries(&[29], 6),
            |e| {
                let mut config = (*e.router).clone();
                config.timeouts.first_token = None;
                Box::new(broken(router(config, e.seed), Buffers))
            },
        )
        .caught(NAME, "requests#4", "first_token_p99 < 1 s"),
    ]
}

/// Passes on what comes, and forgets that it did: what breaks is asked for again.
#[derive(Default)]
struct Splices {
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
struct Completes(IdMap<RequestId, ()>);

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
