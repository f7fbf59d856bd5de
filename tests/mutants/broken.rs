//! A router with a defect: the real core behind a decorator that rewrites its inputs, actions and events.

use std::collections::VecDeque;
use std::sync::Arc;

use graygate::id::Seed;
use graygate::router::config::RouterConfig;
use graygate::router::core::{Core, Footprint};
use graygate::router::gray::GrayRouter;
use graygate::router::io::{Action, Event, Input};
use graygate::time::Timestamp;

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

/// Nothing is wrong: the decorator alone changes nothing.
pub(crate) struct Sound;

impl Defect for Sound {}

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
