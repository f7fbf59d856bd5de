//! The live driver itself: its beginning, its end, and what happens when a part of it breaks.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use graygate::experiment::{Experiment, MockServer};
use graygate::id::{PerVersion, Seed};
use graygate::live::clock::Clock;
use graygate::live::gateway::driver::Driver;
use graygate::live::gateway::server::Gateway;
use graygate::live::gateway::{Endpoint, FindChoosers, FindEndpoints, GatewayConfig};
use graygate::live::http::client::Trust;
use graygate::live::http::server::Limits;
use graygate::live::outbox::outbox;
use graygate::live::{self, Plan, Player};
use graygate::observe::meta::Engine;
use graygate::protocol::chat;
use graygate::router::core::{Core, Footprint};
use graygate::router::gray::GrayRouter;
use graygate::router::io::{Action, Event, Input};
use graygate::runner::{self, RunOptions};
use graygate::time::Timestamp;

use crate::support::{Stories, in_company, shipped, written};

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

/// A core that breaks at its first timeout, which is due at once.
struct BreaksInTime(GrayRouter);

impl Core for BreaksInTime {
    fn handle(&mut self, now: Timestamp, input: Input) {
        self.0.handle(now, input);
    }
    fn handle_timeout(&mut self, _: Timestamp) {
        panic!("on purpose: this core breaks in time");
    }
    fn poll_action(&mut self) -> Option<Action> {
        self.0.poll_action()
    }
    fn poll_event(&mut self) -> Option<Event> {
        self.0.poll_event()
    }
    fn poll_timeout(&self) -> Option<Timestamp> {
        Some(Timestamp::ZERO)
    }
    fn footprint(&self) -> Footprint {
        self.0.footprint()
    }
}

/// Its requests would wait for ever.
#[tokio::test]
async fn a_gateway_whose_timer_broke_serves_nobody() {
    let router = shipped("healthy-canary").experiment.router;
    let core = GrayRouter::new(router.clone(), Seed(1), Timestamp::ZERO);
    let (outbox, _inbox) = outbox();
    let clock = Clock::starting_now();
    let core = Box::new(BreaksInTime(core));
    let driver = Driver::new(core, router.clone(), clock, outbox, false);
    let endpoint = Endpoint {
        base: "http://127.0.0.1:9/v1".to_owned(),
        api_key: None,
    };
    let config = GatewayConfig {
        endpoints: FindEndpoints::fixed(PerVersion::from_fn(2, |_| endpoint.clone())),
        choosers: FindChoosers::nobody(),
        router,
        is_harness: false,
        forward: chat::forward,
        limits: Limits::default(),
        trust: Trust::nobody(),
    };
    let listener = live::bind("127.0.0.1:0").await.unwrap();
    // Returns, which no gateway in good health ever does.
    Gateway::new(config, driver).serve(listener).await;
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
        plan.players().values().copied().collect::<Vec<_>>()
    };
    assert_eq!(servers(200), [Player::Mock(MockServer::Wiremock); 2]);
    assert_eq!(servers(201), [Player::Mock(MockServer::Native); 2]);
}
