//! Routers that go up a ramp as they should not.

use graygate::id::VersionId;
use graygate::router::config::JudgeConfig;
use graygate::router::io::{Action, Cause, Event, Standing};
use graygate::router::ramp::Phase;

use crate::broken::Defect;
use crate::catalogue::{Mutant, Source};

const UP: &str = "judged-steps-lead-to-promotion";
const DOWN: &str = "failed-step-is-the-last";

pub(super) fn all() -> Vec<Mutant> {
    vec![
        Mutant::of_config(
            "first-step-skipped",
            "leaves the first step of its ramp out",
            Source::Defect(4),
            |config| {
                if let Some(ramp) = &mut config.ramp {
                    ramp.steps.remove(0);
                }
            },
        )
        .caught(UP, "promotion", "no step is left out")
        .caught(UP, "promotion", "few has 10 %")
        .caught(
            "ramp-healthy-canary-is-promoted",
            "promotion",
            "no step is left out",
        )
        .caught(
            "ramp-healthy-canary-is-promoted",
            "promotion",
            "initial has 5 %",
        ),
        Mutant::of_config(
            "hold-cut-short",
            "holds each step for half of its time",
            Source::Entries(&[44], 14),
            |config| {
                for step in config.ramp.iter_mut().flat_map(|ramp| &mut ramp.steps) {
                    step.hold /= 2;
                }
            },
        )
        .caught(UP, "promotion", "held as long as it must"),
        Mutant::of_defect(
            "goes-on-after-a-failed-step",
            "goes on to the next step although the one before failed",
            Source::Defect(5),
            |e| GoesOn {
                canary: e.router.canary,
                next: None,
                closed: false,
                count: 0,
            },
        )
        .caught(DOWN, "ramp", "a rollback is final")
        .caught(DOWN, "after_rollback", "canary_requests == 0")
        .caught("ramp-breaks-at-minority", "ramp", "a rollback is final")
        .caught(
            "ramp-breaks-at-minority",
            "after_rollback",
            "canary_requests == 0",
        ),
        // Nothing wrong was seen, since nothing was seen.
        Mutant::of_config(
            "no-data-is-healthy",
            "goes on to the next step when nothing is known of the canary",
            Source::Entries(&[45, 46], 13),
            |config| {
                if let JudgeConfig::Literal(judge) = &mut config.judge {
                    judge.min_requests = 0;
                }
            },
        )
        .caught("no-data-holds-the-ramp", "ramp", "stays at few"),
    ]
}

/// The loop goes on to the next step although the one before failed.
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
                step: Some((2, "full".to_owned())),
                share: 0.9,
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
