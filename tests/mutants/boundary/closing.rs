//! Routers whose canary is not closed for everybody once it was rolled back.

use std::collections::BTreeSet;

use graygate::experiment::Experiment;
use graygate::id::{IdMap, RequestId, VersionId};
use graygate::router::io::{Action, Event, Input, RequestFacts};

use crate::broken::Defect;
use crate::catalogue::{Mutant, Source};

const FINAL: &str = "rollback-is-final";
const STICKY: &str = "sticky-users-leave-a-closed-canary";
const NONE: &str = "canary_requests == 0";

pub(super) fn all() -> Vec<Mutant> {
    let mut all = by_chance();
    all.extend(by_other_ways());
    all
}

/// Every nth request still goes to the canary.
fn by_chance() -> Vec<Mutant> {
    vec![
        Mutant::of_defect(
            "rollback-ignored-by-chance",
            "goes on sending one request in ten to the canary after the rollback",
            Source::Defect(3),
            |e| Leaks::new(e, EveryNth(10, 0)),
        )
        .caught(FINAL, "after_rollback", NONE)
        .caught(
            "canary-401-falls-back-and-rolls-back",
            "after_rollback",
            NONE,
        ),
        Mutant::of_defect(
            "rollback-leaves-one-percent",
            "leaves the canary one request in a hundred after the rollback",
            Source::Entries(&[39], 11),
            |e| Leaks::new(e, EveryNth(100, 0)),
        )
        .caught(FINAL, "after_rollback", NONE),
        Mutant::of_defect(
            "canary-flaps-after-the-rollback",
            "opens the canary again for every second thousand of requests",
            Source::Entries(&[40], 11),
            |e| Leaks::new(e, EverySecond(1_000, 0)),
        )
        .caught(FINAL, "after_rollback", NONE),
    ]
}

/// Whoever came to the canary by another way than chance still does.
fn by_other_ways() -> Vec<Mutant> {
    vec![
        Mutant::of_defect(
            "rollback-ignored-by-a-rule",
            "closes the canary to chance, and not to the rule for premium users",
            Source::Defect(3),
            |e| {
                Leaks::new(
                    e,
                    Those::new(e.router.canary, |_, facts| facts.tier.is_some()),
                )
            },
        )
        .caught(FINAL, "after_rollback", NONE),
        Mutant::of_defect(
            "rollback-ignored-by-force",
            "closes the canary to everybody but those who are forced there",
            Source::Defect(3),
            |e| {
                let forced = |canary, facts: &RequestFacts| facts.forced == Some(canary);
                Leaks::new(e, Those::new(e.router.canary, forced))
            },
        )
        .caught(FINAL, "after_rollback", NONE),
        Mutant::of_defect(
            "rollback-forgets-the-override-header",
            "goes on sending whoever chooses the canary by a header there",
            Source::Entries(&[4, 43], 11),
            |e| {
                let choose =
                    |_, facts: &RequestFacts| facts.header("x-tenant-id") == Some("testers");
                Leaks::new(e, Those::new(e.router.canary, choose))
            },
        )
        .caught(STICKY, "after_rollback", NONE),
        Mutant::of_defect(
            "rollback-forgets-sticky-users",
            "goes on sending users who met the canary there",
            Source::Family(11),
            |e| Leaks::new(e, Regulars::default()),
        )
        .caught(STICKY, "after_rollback", NONE),
    ]
}

/// For whom the canary stays open.
pub(super) trait Whom: Send {
    /// A request came.
    fn arrives(&mut self, _request: RequestId, _facts: &RequestFacts) {}
    /// It went to the canary, which was open.
    fn meets_canary(&mut self, _request: RequestId) {}
    /// The canary is closed: does this request go there all the same?
    fn is_let_in(&mut self, request: RequestId) -> bool;
}

/// After the rollback, the first attempts of some still go to the canary.
pub(super) struct Leaks<W> {
    canary: VersionId,
    whom: W,
    closed: bool,
}

impl<W: Whom> Leaks<W> {
    pub(super) fn new(experiment: &Experiment, whom: W) -> Self {
        Self {
            canary: experiment.router.canary,
            whom,
            closed: false,
        }
    }
}

impl<W: Whom> Defect for Leaks<W> {
    fn input(&mut self, input: Input) -> Vec<Input> {
        if let Input::Arrival { request, facts, .. } = &input {
            self.whom.arrives(*request, facts);
        }
        vec![input]
    }
    fn action(&mut self, mut action: Action) -> Option<Action> {
        if let Action::Send { attempt, version } = &mut action
            && attempt.n == 0
        {
            if !self.closed && *version == self.canary {
                self.whom.meets_canary(attempt.request);
            }
            if self.closed && self.whom.is_let_in(attempt.request) {
                *version = self.canary;
            }
        }
        Some(action)
    }
    fn event(&mut self, event: Event) -> Vec<Event> {
        self.closed |= matches!(event, Event::RolledBack(_));
        vec![event]
    }
}

/// One in so many, by count.
pub(super) struct EveryNth(pub(super) u32, pub(super) u32);

impl Whom for EveryNth {
    fn is_let_in(&mut self, _request: RequestId) -> bool {
        self.1 += 1;
        self.1.is_multiple_of(self.0)
    }
}

/// One in ten of every second stretch of so many.
struct EverySecond(u32, u32);

impl Whom for EverySecond {
    fn is_let_in(&mut self, _request: RequestId) -> bool {
        self.1 += 1;
        (self.1 / self.0) % 2 == 1 && self.1.is_multiple_of(10)
    }
}

/// Those of whom something is true when they come.
struct Those {
    canary: VersionId,
    is_one: fn(VersionId, &RequestFacts) -> bool,
    requests: IdMap<RequestId, ()>,
}

impl Those {
    fn new(canary: VersionId, is_one: fn(VersionId, &RequestFacts) -> bool) -> Self {
        Self {
            canary,
            is_one,
            requests: IdMap::default(),
        }
    }
}

impl Whom for Those {
    fn arrives(&mut self, request: RequestId, facts: &RequestFacts) {
        if (self.is_one)(self.canary, facts) {
            self.requests.insert(request, ());
        }
    }
    fn is_let_in(&mut self, request: RequestId) -> bool {
        self.requests.get(request).is_some()
    }
}

/// Users who met the canary before.
#[derive(Default)]
struct Regulars {
    users: BTreeSet<String>,
    requests: IdMap<RequestId, String>,
}

impl Whom for Regulars {
    fn arrives(&mut self, request: RequestId, facts: &RequestFacts) {
        if let Some(user) = &facts.user {
            self.requests.insert(request, user.clone());
        }
    }
    fn meets_canary(&mut self, request: RequestId) {
        self.users.extend(self.requests.remove(request));
    }
    fn is_let_in(&mut self, request: RequestId) -> bool {
        let user = self.requests.get(request);
        user.is_some_and(|user| self.users.contains(user))
    }
}
