//! Routers whose books of requests, or whose headers, say something else than happened.

use graygate::id::{IdMap, RequestId, VersionId};
use graygate::protocol::outcome::Outcome;
use graygate::router::io::{Action, AnswerTraits, Event, Input};

use super::books::lying;
use crate::broken::Defect;
use crate::catalogue::{Mutant, Source};

const DEAD: &str = "fallback-masks-dead-canary";
const SHARED_KEY: &str = "canary-401-with-a-shared-key";

pub(super) fn all() -> Vec<Mutant> {
    let mut all = ends();
    all.extend(what_callers_are_told());
    all
}

fn ends() -> Vec<Mutant> {
    vec![
        Mutant::of_defect(
            "requests-hushed-up",
            "says nothing of requests that had a failure",
            Source::Own,
            |_| Hushes::default(),
        )
        .caught(DEAD, "attribution", "booked on the version tried")
        .caught(DEAD, "attribution", "counts its attempts right"),
        lying(
            "requests-ended-twice",
            "ends every request twice",
            Source::Own,
            |event| {
                let is_end = matches!(event, Event::RequestEnded { .. });
                let copy = is_end.then(|| event.clone());
                copy.into_iter().chain([event]).collect()
            },
        )
        .caught(DEAD, "attribution", "booked on the version tried"),
        lying(
            "another-server",
            "says that the canary answered what stable answered",
            Source::Entries(&[52], 16),
            |mut event| {
                if let Event::RequestEnded {
                    served_by: Some(version),
                    ..
                } = &mut event
                {
                    *version = VersionId(1);
                }
                vec![event]
            },
        )
        .caught(DEAD, "attribution", "booked on the version tried"),
        lying(
            "failed-requests-booked-as-successes",
            "books failed requests as successes",
            Source::Own,
            |mut event| {
                if let Event::RequestEnded { outcome, .. } = &mut event {
                    *outcome = Outcome::Success;
                }
                vec![event]
            },
        )
        .caught(SHARED_KEY, "attribution", "real outcome"),
    ]
}

/// Nothing at all is said of requests that had a failure.
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

fn what_callers_are_told() -> Vec<Mutant> {
    vec![
        // A caller who is told of a server error tries again, what a refused key can never heal.
        Mutant::of_defect(
            "refused-key-told-as-server-error",
            "tells callers of a server error where a key was refused",
            Source::Entries(&[34], 4),
            |_| Blurs,
        )
        .caught(SHARED_KEY, "attribution", "real outcome"),
        Mutant::of_defect(
            "headers-name-who-was-asked-first",
            "names the version that was asked for in its headers, not the one that served",
            Source::Entries(&[52], 16),
            |e| NamesTheAsked(e.router.canary),
        )
        .caught(DEAD, "attribution", "tell the truth"),
        Mutant::of_defect(
            "failures-forwarded-as-answers",
            "hands the canary's failures to callers as answers",
            Source::Entries(&[22, 27], 6),
            |_| ForwardsFailures,
        )
        .caught(
            "canary-401-falls-back-and-rolls-back",
            "fallback",
            "succeeds == 100%",
        )
        .caught(
            "canary-401-falls-back-and-rolls-back",
            "rollback",
            "rolled back once",
        )
        .caught(
            "canary-401-falls-back-and-rolls-back",
            "requests",
            "success >= 99.9%",
        )
        .caught(
            "canary-401-falls-back-and-rolls-back",
            "attribution",
            "real outcome",
        ),
    ]
}

struct Blurs;

impl Defect for Blurs {
    fn action(&mut self, mut action: Action) -> Option<Action> {
        if let Action::Fail { failure, .. } = &mut action {
            failure.outcome = Outcome::ServerError;
        }
        Some(action)
    }
}

struct NamesTheAsked(VersionId);

impl Defect for NamesTheAsked {
    fn action(&mut self, mut action: Action) -> Option<Action> {
        if let Action::Forward { served, .. } = &mut action
            && served.fallback
        {
            served.version = self.0;
        }
        Some(action)
    }
}

/// Failures of the canary are taken for answers, and handed to the caller as they are; the books say
/// what really happened, and that the request was a success.
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
