//! Callers of a canary that grows: who may come to it, and routers that move more than those.

use std::sync::Arc;

use graygate::experiment::Experiment;
use graygate::observe::meta::Engine;
use graygate::router::config::StickyBy;
use graygate::router::core::Core;
use graygate::router::io::{Event, Input, RequestFacts};
use graygate::runner::{RunOptions, RunOutput};
use graygate::verdict::result::Status;

use super::{Defect, assert_red, broken, router};
use crate::support::{gate, run, written};

/// A ramp over three steps, with users who come again and again. `STICKY` is what the router file says of
/// them.
const GROWS: &str = "name: a canary that grows
duration: 40m
router:
  versions:
    v1: {role: stable, model: a}
    v2: {role: canary, model: b}
  split: {STICKY}
  ramp: {steps: [{name: few, weight: 10%, hold: 10m}, {name: half, weight: 50%, hold: 10m}, {name: full, weight: 99%}]}
  judge: {sequential: {slow: off, every: 1m}}
traffic: {synthetic: {arrivals: {poisson: 20/s}, users: {count: 2000}}}
expect:
  - ramp: {reaches: full}
  - stickiness: {by: user}
";

fn grows(
    sticky: &str,
    make: impl Fn(&Experiment) -> Box<dyn Core> + Send + Sync + 'static,
) -> RunOutput {
    let options = RunOptions {
        core: Some(Arc::new(make)),
        ..RunOptions::new(Engine::Virtual)
    };
    run(
        &written("grows", &GROWS.replace("STICKY", sticky)),
        &options,
    )
}

fn sound(experiment: &Experiment) -> Box<dyn Core> {
    Box::new(router((*experiment.router).clone(), experiment.seed))
}

/// Users come to the canary step by step, and the gate knows that they may.
#[test]
fn a_canary_that_grows_moves_nobody_back() {
    let output = grows("sticky: user", sound);
    assert_eq!(gate(&output, "ramp").status, Status::Pass);
    let stays = gate(&output, "stickiness");
    assert_eq!(stays.status, Status::Pass, "{stays:#?}");
    assert!(stays.checks[0].evidence.n > 1_900, "{stays:#?}");
}

/// The gate asks what callers see, and not what the router file says of them.
#[test]
fn a_router_that_promises_nothing_is_judged_all_the_same() {
    let output = grows("", sound);
    assert_red(&output, "stickiness", "moved == 0");
}

/// Every step throws all users anew: within a step everybody stays.
#[test]
fn a_router_that_shuffles_its_callers_at_every_step_is_caught() {
    #[derive(Default)]
    struct Shuffles(u32);
    impl Defect for Shuffles {
        fn input(&mut self, mut input: Input) -> Vec<Input> {
            if let Input::Arrival { facts, .. } = &mut input {
                let user = facts.user.as_deref().unwrap_or_default();
                *facts = Arc::new(RequestFacts {
                    user: Some(format!("{user}-{}", self.0)),
                    ..(**facts).clone()
                });
            }
            vec![input]
        }
        fn event(&mut self, event: Event) -> Vec<Event> {
            self.0 += u32::from(matches!(event, Event::Standing(_)));
            vec![event]
        }
    }
    let output = grows("sticky: user", |e| {
        let config = (*e.router).clone();
        assert_eq!(config.split.sticky, Some(StickyBy::User));
        Box::new(broken(router(config, e.seed), Shuffles::default()))
    });
    assert_red(&output, "stickiness", "moved == 0");
}
