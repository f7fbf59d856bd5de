//! Broken routers are red: each of them makes a shipped scenario fail, by the gate that is there for
//! it.
//!
//! The variants are decorators of the real core that rewrite its inputs, actions and events.

mod departures;
mod failing_streams;
mod failovers;
mod forced;
mod lies;
mod limiters;
mod movers;
mod seeds;
mod storms;
mod streams;

use std::collections::VecDeque;
use std::sync::Arc;

use graygate::experiment::Experiment;
use graygate::id::Seed;
use graygate::observe::meta::Engine;
use graygate::router::config::RouterConfig;
use graygate::router::core::{Core, Footprint};
use graygate::router::gray::GrayRouter;
use graygate::router::io::{Action, Event, Input};
use graygate::runner::{RunOptions, RunOutput};
use graygate::time::Timestamp;
use graygate::verdict::result::Status;

use crate::support::{SHIPPED, assert_passes, gate, run, shipped};

pub(crate) fn router(config: RouterConfig, seed: Seed) -> GrayRouter {
    GrayRouter::new(Arc::new(config), seed, Timestamp::ZERO)
}

/// What is wrong with a router: every hook passes on what it is given, unless it is overwritten.
pub(crate) trait Defect: Send {
    /// What the core sees of an input.
    fn input(&mut self, input: Input) -> Vec<Input> {
        vec![input]
    }
    /// What the driver sees of an action.
    fn action(&mut self, action: Action) -> Option<Action> {
        Some(action)
    }
    /// What the driver sees of its own accord.
    fn order(&mut self) -> Option<Action> {
        None
    }
    /// What everybody sees of an event.
    fn event(&mut self, event: Event) -> Vec<Event> {
        vec![event]
    }
    /// Memory of its own.
    fn bytes(&self) -> usize {
        0
    }
}

/// A router with a defect.
pub(crate) struct Broken<D> {
    inner: GrayRouter,
    defect: D,
    events: VecDeque<Event>,
}

impl<D: Defect> Core for Broken<D> {
    fn handle(&mut self, now: Timestamp, input: Input) {
        for input in self.defect.input(input) {
            self.inner.handle(now, input);
        }
    }
    fn handle_timeout(&mut self, now: Timestamp) {
        self.inner.handle_timeout(now);
    }
    fn poll_action(&mut self) -> Option<Action> {
        loop {
            if let Some(action) = self.defect.order() {
                return Some(action);
            }
            let action = self.inner.poll_action()?;
            if let Some(action) = self.defect.action(action) {
                return Some(action);
            }
        }
    }
    fn poll_event(&mut self) -> Option<Event> {
        while self.events.is_empty() {
            let event = self.inner.poll_event()?;
            self.events.extend(self.defect.event(event));
        }
        self.events.pop_front()
    }
    fn poll_timeout(&self) -> Option<Timestamp> {
        self.inner.poll_timeout()
    }
    fn footprint(&self) -> Footprint {
        let inner = self.inner.footprint();
        Footprint {
            bytes: inner.bytes + self.defect.bytes(),
            ..inner
        }
    }
}

pub(crate) fn broken<D: Defect>(inner: GrayRouter, defect: D) -> Broken<D> {
    Broken {
        inner,
        defect,
        events: VecDeque::new(),
    }
}

/// Runs a shipped scenario with a variant of the core.
pub(crate) fn with_core(
    name: &str,
    make: impl Fn(&Experiment) -> Box<dyn Core> + Send + Sync + 'static,
) -> RunOutput {
    let options = RunOptions {
        core: Some(Arc::new(make)),
        ..RunOptions::new(Engine::Virtual)
    };
    run(&shipped(name), &options)
}

/// Runs a shipped scenario with a defect.
pub(crate) fn with_defect<D: Defect + 'static>(
    name: &str,
    make: impl Fn(&Experiment) -> D + Send + Sync + 'static,
) -> RunOutput {
    with_core(name, move |e| {
        Box::new(broken(router((*e.router).clone(), e.seed), make(e)))
    })
}

/// Runs a shipped scenario with another configuration than it says.
pub(crate) fn with_config(
    name: &str,
    change: impl Fn(&mut RouterConfig) + Send + Sync + 'static,
) -> RunOutput {
    with_core(name, move |e| {
        let mut config = (*e.router).clone();
        change(&mut config);
        Box::new(router(config, e.seed))
    })
}

/// The gate failed, and one of its failed checks is about this.
pub(crate) fn assert_red(output: &RunOutput, name: &str, about: &str) {
    let gate = gate(output, name);
    assert_eq!(gate.status, Status::Fail, "{gate:#?}");
    let failed = gate.checks.iter().filter(|c| c.status == Status::Fail);
    let conditions: Vec<&str> = failed.map(|c| c.condition.as_str()).collect();
    assert!(
        conditions.iter().any(|c| c.contains(about)),
        "{conditions:?}"
    );
    assert_eq!(output.report.verdict.status, Status::Fail);
}

/// All of them, with a core that is decorated but not broken.
#[test]
fn the_healthy_core_is_green_through_the_same_door() {
    struct Nothing;
    impl Defect for Nothing {}
    for name in SHIPPED {
        assert_passes(&with_defect(name, |_| Nothing));
    }
}
