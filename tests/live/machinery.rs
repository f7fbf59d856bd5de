//! The live driver itself: its beginning, its end, and what happens when a part of it breaks.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use graygate::experiment::{Experiment, MockServer};
use graygate::id::Seed;
use graygate::live::Plan;
use graygate::observe::meta::Engine;
use graygate::router::core::{Core, Footprint};
use graygate::router::gray::GrayRouter;
use graygate::router::io::{Action, Event, Input};
use graygate::runner::{self, RunOptions};
use graygate::time::Timestamp;

use crate::support::{Stories, in_company, written};

/// A core that nobody can measure.
struct Unmeasurable(GrayRouter);

impl Core for Unmeasurable {
    fn handle(&mut self, now: Timestamp, input: Input) {
        self.0.handle(now, input);
    }
    fn handle_timeout(&mut self, now: Timestamp) {
        self.0.handle_timeout(now);
    }
    fn poll_action(&mut self) -> Option<Action> {
        self.0.poll_action()
    }
    fn poll_event(&mut self) -> Option<Event> {
        self.0.poll_event()
    }
    fn poll_timeout(&self) -> Option<Timestamp> {
        self.0.poll_timeout()
    }
    fn footprint(&self) -> Footprint {
        panic!("on purpose: this core cannot be measured");
    }
}

#[test]
fn a_run_whose_machinery_panics_ends_as_an_interrupted_one() {
    let _company = in_company();
    let scenario = written(
        "panic",
        "
name: panic
duration: 1h
router: ../fixtures/routers/gray-30-fast.yaml
traffic: {synthetic: {arrivals: {constant: 10/s}}}
expect: [attribution]
",
    );
    let core = |experiment: &Experiment| {
        let router = GrayRouter::new(experiment.router.clone(), Seed(1), Timestamp::ZERO);
        Box::new(Unmeasurable(router)) as Box<dyn Core>
    };
    let options = RunOptions {
        core: Some(Arc::new(core)),
        ..RunOptions::new(Engine::Live)
    };
    let cancel = Arc::new(AtomicBool::new(false));
    let output = runner::run(&scenario, &options, &mut Stories::default(), &cancel).unwrap();
    assert!(output.report.verdict.interrupted);
}

#[test]
fn many_callers_at_once_are_served_by_the_native_server() {
    let servers = |callers: u32| {
        let text = format!(
            "
name: closed
duration: 1s
router: ../fixtures/routers/gray-30-fast.yaml
traffic: {{synthetic: {{arrivals: {{closed: {callers}}}, requests: 1000}}}}
expect: [attribution]
"
        );
        let plan = Plan::new(&written("closed", &text).experiment);
        plan.servers().values().copied().collect::<Vec<_>>()
    };
    assert_eq!(servers(200), [MockServer::Wiremock; 2]);
    assert_eq!(servers(201), [MockServer::Native; 2]);
}
