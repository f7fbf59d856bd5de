//! Routers whose callers do not stay on the version they met.

use std::sync::Arc;

use graygate::router::io::{Event, Input, RequestFacts};

use crate::broken::Defect;
use crate::catalogue::{Mutant, Source};

const GROWS: &str = "growing-canary-moves-nobody-back";
const USERS: &str = "sticky-users-stay";
const SESSIONS: &str = "sessions-stay-through-the-rush";
const MOVED: &str = "moved == 0";

pub(super) fn all() -> Vec<Mutant> {
    vec![
        Mutant::of_defect(
            "callers-thrown-anew-every-time",
            "splits callers by the request instead of by their name: the share is right, nobody stays",
            Source::Family(2),
            |_| Forgetful::default(),
        )
        .caught(USERS, "stickiness", MOVED)
        .caught(USERS, "split", "sticky callers stay"),
        // The gate asks what callers see, and not what the router file says of them.
        Mutant::of_config(
            "promises-nothing",
            "knows of no sticky callers at all",
            Source::Family(2),
            |config| config.split.sticky = None,
        )
        .caught(SESSIONS, "stickiness", MOVED)
        .caught(SESSIONS, "split", "sticky callers stay")
        .caught(GROWS, "stickiness", MOVED),
        // Every step throws all users anew: within a step everybody stays.
        Mutant::of_defect(
            "callers-shuffled-at-every-step",
            "throws sticky callers anew at every step of its ramp",
            Source::Family(2),
            |_| Shuffles::default(),
        )
        .caught(GROWS, "stickiness", MOVED),
    ]
}

#[derive(Default)]
struct Forgetful(u64);

impl Defect for Forgetful {
    fn input(&mut self, mut input: Input) -> Vec<Input> {
        if let Input::Arrival { facts, .. } = &mut input {
            self.0 += 1;
            *facts = called(facts, format!("nobody-{}", self.0));
        }
        vec![input]
    }
}

#[derive(Default)]
struct Shuffles(u32);

impl Defect for Shuffles {
    fn input(&mut self, mut input: Input) -> Vec<Input> {
        if let Input::Arrival { facts, .. } = &mut input {
            let user = facts.user.as_deref().unwrap_or_default();
            *facts = called(facts, format!("{user}-{}", self.0));
        }
        vec![input]
    }
    fn event(&mut self, event: Event) -> Vec<Event> {
        self.0 += u32::from(matches!(event, Event::Standing(_)));
        vec![event]
    }
}

/// The same request of another user.
fn called(facts: &RequestFacts, user: String) -> Arc<RequestFacts> {
    let user = Some(user);
    Arc::new(RequestFacts {
        user,
        ..facts.clone()
    })
}
