//! Requests that the router itself refuses in the very moment they come.

use graygate::verdict::result::Status;

use crate::support::{assert_passes, virtual_run, written};

fn limited(arrivals: &str) -> String {
    format!(
        "name: refused at once
seed: 3
duration: 10s
router:
  versions:
    v1: {{role: stable, model: m1, endpoint: 'http://127.0.0.1:9001/v1', rate_limit: {{requests: 3, max_wait: 1s}}}}
    v2: {{role: canary, model: m2, endpoint: 'http://127.0.0.1:9002/v1', rate_limit: {{requests: 3, max_wait: 1s}}}}
  split: {{weights: {{v1: 80, v2: 20}}}}
  judge: off
traffic: {{synthetic: {{arrivals: {arrivals}}}}}
expect: [attribution]
"
    )
}

/// The caller has its answer when the router has hardly heard of it: all its words belong together.
#[test]
fn who_is_refused_at_once_is_booked_like_everybody() {
    let output = virtual_run(&written("refused", &limited("{poisson: 10/s}")));
    assert_passes(&output);
}

/// Callers who ask again as soon as they are refused take the time that it takes to ask.
#[test]
fn a_closed_loop_of_refusals_comes_to_its_end() {
    let scenario = written("refused", &limited("{closed: 2}").replace("10s", "100ms"));
    let output = virtual_run(&scenario);
    assert_eq!(output.report.verdict.status, Status::Pass);
}
