//! Routers that do not know what to make of callers who hang up, and a router that grows with its callers.

use graygate::id::{AttemptId, IdMap, RequestId, VersionId};
use graygate::protocol::outcome::Outcome;
use graygate::router::io::{Action, AnswerTraits, Event, Input};
use graygate::time::Timestamp;

use crate::broken::Defect;
use crate::catalogue::{Mutant, Source};

const HANG_UPS: &str = "impatient-callers-are-no-failures";

pub(super) fn all() -> Vec<Mutant> {
    vec![
        // It goes on for nobody: answers that are paid for, and that nobody reads.
        Mutant::of_defect(
            "does-not-hear-callers-leave",
            "goes on for callers who have left",
            Source::Family(7),
            |_| Deaf,
        )
        .caught(HANG_UPS, "policy", "nothing goes on for callers who left"),
        // Who presses "stop" is taken for a timeout of the version: every fifth request "fails" at a canary that
        // does nothing wrong.
        Mutant::of_defect(
            "hang-ups-held-against-the-canary",
            "takes callers who hang up for timeouts of the canary",
            Source::Family(12),
            |_| Blames::default(),
        )
        .caught(HANG_UPS, "no_rollback", "not rolled back"),
        Mutant::of_defect(
            "keeps-all-latencies",
            "keeps every latency for ever",
            Source::Defect(15),
            |_| Hoarder::default(),
        )
        .caught("weights-below-one-count", "memory", "router <=")
        .caught("split-proven-at-scale", "memory", "router <="),
    ]
}

struct Deaf;

impl Defect for Deaf {
    fn input(&mut self, input: Input) -> Vec<Input> {
        match input {
            Input::ClientGone { .. } => Vec::new(),
            other => vec![other],
        }
    }
}

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

#[derive(Default)]
struct Hoarder(Vec<(Timestamp, std::time::Duration, VersionId)>);

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
        self.0.capacity() * size_of::<(Timestamp, std::time::Duration, VersionId)>()
    }
}
