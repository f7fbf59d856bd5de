//! Routers that roll back in a wrong way: in silence, twice, with a wrong record, or over the heads of those who are
//! under way.

use graygate::id::{IdMap, RequestId, VersionId};
use graygate::protocol::outcome::Outcome;
use graygate::router::config::{InFlight, JudgeConfig, Limit, Threshold, ThresholdAction};
use graygate::router::io::{Action, Causes, Event, Failure, Reason};

use super::books::lying;
use super::closing::{EveryNth, Leaks};
use crate::broken::{Defect, broken, router};
use crate::catalogue::{Mutant, Source};

const REFUSED: &str = "canary-401-falls-back-and-rolls-back";
const DEAD: &str = "fallback-masks-dead-canary";
const ONCE: &str = "rolled back once";

pub(super) fn all() -> Vec<Mutant> {
    let mut all = records();
    all.extend(deeds());
    all
}

fn records() -> Vec<Mutant> {
    vec![
        // What was restored is compared with a constant, never is what it should be, and so the rollback is given up.
        Mutant::of_defect(
            "verification-against-a-constant",
            "compares what it restored with a constant, so that a rollback never passes its own check",
            Source::Defect(8),
            |e| Unverified(Leaks::new(e, EveryNth(10, 0))),
        )
        .caught(REFUSED, "rollback", ONCE)
        .caught(DEAD, "rollback", ONCE),
        lying(
            "record-without-its-data",
            "tells of a rollback, and nothing about it",
            Source::Defect(14),
            |mut event| {
                if let Event::RolledBack(record) = &mut event {
                    record.id.clear();
                    record.affected_requests = 0;
                    record.reason = Reason::ByHand(String::new());
                }
                vec![event]
            },
        )
        .caught(REFUSED, "rollback", "its record fits the run")
        .caught(REFUSED, "rollback", "reason error_rate"),
        lying(
            "record-made-up",
            "makes the number of the affected requests up",
            Source::Own,
            |mut event| {
                if let Event::RolledBack(record) = &mut event {
                    record.affected_requests = 0;
                }
                vec![event]
            },
        )
        .caught(DEAD, "rollback", "its record fits the run"),
        lying(
            "rollback-fires-twice",
            "rolls back twice, a minute's work for two people",
            Source::Family(19),
            |event| {
                let again = match &event {
                    Event::RolledBack(record) => {
                        let mut again = record.clone();
                        again.id.push_str("-again");
                        Some(Event::RolledBack(again))
                    }
                    _ => None,
                };
                [event].into_iter().chain(again).collect()
            },
        )
        .caught(DEAD, "rollback", ONCE),
    ]
}

/// It never comes to a rollback, by its own account, and one in ten goes on to the canary.
struct Unverified(Leaks<EveryNth>);

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

fn deeds() -> Vec<Mutant> {
    vec![
        // Closed without a word: nobody is told, and the release is dead.
        Mutant::of_core(
            "closed-in-silence",
            "closes the canary without a word",
            Source::Entries(&[42], 11),
            |e| {
                let mut config = (*e.router).clone();
                close_at_the_first_look(&mut config.judge);
                Box::new(broken(router(config, e.seed), Silent))
            },
        )
        .caught(
            "failing-stable-keeps-its-canary",
            "no_rollback",
            "in use to the end",
        ),
        Mutant::of_defect(
            "forgets-those-under-way",
            "forgets the requests that are at the canary when it is closed",
            Source::Family(11),
            |e| Forgets {
                canary: e.router.canary,
                at_canary: IdMap::default(),
                closed: false,
            },
        )
        .caught("canary-timeouts", "rollback", "user_errors == 0")
        .caught("canary-timeouts", "fallback", "succeeds == 100%")
        .caught("canary-timeouts", "requests#1", "success == 100%"),
        Mutant::of_config(
            "in-flight-not-recalled",
            "lets what is out at the canary run into its limits instead of taking it back",
            Source::Family(11),
            |config| config.rollback.in_flight = InFlight::Drain,
        )
        .caught(
            "in-flight-attempts-are-recalled",
            "requests#2",
            "timeout == 0%",
        ),
        Mutant::of_defect(
            "stable-scaled-to-nothing",
            "takes stable out of service with the canary",
            Source::Entries(&[40], 11),
            |_| Abandons(false),
        )
        .caught(DEAD, "rollback", "user_errors == 0")
        .caught(DEAD, "requests", "success == 100%"),
    ]
}

fn close_at_the_first_look(judge: &mut JudgeConfig) {
    if let JudgeConfig::Literal(judge) = judge {
        judge.min_requests = 1;
        judge.thresholds = vec![Threshold {
            limit: Limit::P99(std::time::Duration::from_millis(1)),
            action: ThresholdAction::Rollback,
        }];
    }
}

struct Silent;

impl Defect for Silent {
    fn event(&mut self, event: Event) -> Vec<Event> {
        match event {
            Event::RolledBack(_) => Vec::new(),
            other => vec![other],
        }
    }
}

/// The requests that are under way at the canary when it is closed are forgotten: no answer, no
/// error, nothing. Their callers wait until they lose patience.
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

/// After the rollback, nobody is served.
struct Abandons(bool);

impl Defect for Abandons {
    fn action(&mut self, action: Action) -> Option<Action> {
        match action {
            Action::Send { attempt, .. } if self.0 => Some(Action::Fail {
                request: attempt.request,
                failure: nobody_left(),
            }),
            other => Some(other),
        }
    }
    fn event(&mut self, event: Event) -> Vec<Event> {
        self.0 |= matches!(event, Event::RolledBack(_));
        vec![event]
    }
}

fn nobody_left() -> Failure {
    Failure {
        outcome: Outcome::Connect,
        causes: Causes::new(),
        retry_after: None,
        version: None,
        fallback: false,
        attempts: 0,
        relay: false,
        choice: None,
    }
}
