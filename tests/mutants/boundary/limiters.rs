//! Rate limiters that let too much through.

use std::collections::{BTreeMap, VecDeque};

use graygate::experiment::Experiment;
use graygate::id::VersionId;
use graygate::router::core::{Core, Footprint};
use graygate::router::gray::GrayRouter;
use graygate::router::io::{Action, Event, Input};
use graygate::router::limit::RateLimit;
use graygate::time::Timestamp;

use crate::broken::router;
use crate::catalogue::{Mutant, Source};

const NAME: &str = "rate-limited-canary";
const RULE: &str = "no window sees more than its rate limit";
const GATE: &str = "at most 10 attempts at v2 in any 1 s";

pub(super) fn all() -> Vec<Mutant> {
    vec![
        Mutant::of_core(
            "limiter-does-not-look-again",
            "has a limiter that waits for a slot and then sends without looking again",
            Source::Defect(12),
            |e| Box::new(Flawed::new(e, Flaw::LooksOnce)),
        )
        .caught(NAME, "rate_limit", GATE)
        .caught(NAME, "policy", RULE),
        Mutant::of_core(
            "limiter-bursts-at-window-edges",
            "lets a burst through at both edges of its rate limit's windows",
            Source::Family(8),
            |e| Box::new(Flawed::new(e, Flaw::ByTheClock)),
        )
        .caught(NAME, "rate_limit", GATE)
        .caught(NAME, "policy", RULE),
        // A router whose own file promises nothing breaks no promise: only the gate knows of the upstream's limit.
        Mutant::of_config(
            "limit-unknown",
            "was never told of its upstream's rate limit",
            Source::Family(8),
            |config| {
                let canary = config.canary;
                config.versions[canary].rate_limit = None;
            },
        )
        .caught(NAME, "rate_limit", GATE),
    ]
}

/// How a limiter goes wrong.
#[derive(Clone, Copy, PartialEq)]
enum Flaw {
    /// It looks, waits until the oldest slot is free, and then sends without looking again: whoever
    /// waited for the same slot is sent with it.
    LooksOnce,
    /// It counts by the clock's own windows: as many at the end of one as at the beginning of the next.
    ByTheClock,
}

/// A router without a limit of its own behind a limiter with a flaw.
struct Flawed {
    inner: GrayRouter,
    flaw: Flaw,
    /// None where nothing is limited: then nothing is wrong.
    limit: Option<RateLimit>,
    canary: VersionId,
    /// When it let the last ones through.
    taken: Vec<Timestamp>,
    /// What waits, by when it is sent.
    held: BTreeMap<(Timestamp, u64), Action>,
    next: u64,
    actions: VecDeque<Action>,
}

impl Flawed {
    fn new(experiment: &Experiment, flaw: Flaw) -> Self {
        let mut config = (*experiment.router).clone();
        let canary = config.canary;
        let limit = config.versions[canary].rate_limit.take();
        Self {
            inner: router(config, experiment.seed),
            flaw,
            limit,
            canary,
            taken: Vec::new(),
            held: BTreeMap::new(),
            next: 0,
            actions: VecDeque::new(),
        }
    }

    /// When the next one may go.
    fn free_at(&self, now: Timestamp) -> Timestamp {
        let Some(limit) = &self.limit else {
            return now;
        };
        let window = limit.window;
        let start = match self.flaw {
            Flaw::LooksOnce => Timestamp(now.0.saturating_sub(window.as_nanos() as u64 - 1)),
            Flaw::ByTheClock => Timestamp(now.0 - now.0 % window.as_nanos() as u64),
        };
        let inside: Vec<_> = self.taken.iter().filter(|at| **at >= start).collect();
        if inside.len() < limit.requests as usize {
            return now;
        }
        match self.flaw {
            Flaw::LooksOnce => *inside[0] + window,
            Flaw::ByTheClock => start + window,
        }
    }

    fn limit(&mut self, now: Timestamp, action: Action) {
        let free_at = self.free_at(now);
        if free_at > now {
            self.held.insert((free_at, self.next), action);
            self.next += 1;
        } else {
            self.taken.push(now);
            self.actions.push_back(action);
        }
    }

    fn release(&mut self, now: Timestamp) {
        while let Some(first) = self.held.first_entry().filter(|e| e.key().0 <= now) {
            let action = first.remove();
            match self.flaw {
                Flaw::LooksOnce => {
                    self.taken.push(now);
                    self.actions.push_back(action);
                }
                Flaw::ByTheClock => self.limit(now, action),
            }
        }
    }

    fn drain(&mut self, now: Timestamp) {
        while let Some(action) = self.inner.poll_action() {
            match action {
                Action::Send { version, .. } if version == self.canary => self.limit(now, action),
                action => self.actions.push_back(action),
            }
        }
    }
}

impl Core for Flawed {
    fn handle(&mut self, now: Timestamp, input: Input) {
        self.release(now);
        self.inner.handle(now, input);
        self.drain(now);
    }
    fn handle_timeout(&mut self, now: Timestamp) {
        self.release(now);
        self.inner.handle_timeout(now);
        self.drain(now);
    }
    fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }
    fn poll_event(&mut self) -> Option<Event> {
        self.inner.poll_event()
    }
    fn poll_timeout(&self) -> Option<Timestamp> {
        let held = self.held.first_key_value().map(|((at, _), _)| *at);
        held.into_iter().chain(self.inner.poll_timeout()).min()
    }
    fn footprint(&self) -> Footprint {
        self.inner.footprint()
    }
}
