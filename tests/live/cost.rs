//! What a run costs does not depend on the engine: the same requests use the same tokens, those of
//! answers that nobody waited for included.

use crate::support::{assert_passes, live_run, virtual_run, written};

const SCENARIO: &str = "name: costs on both engines
seed: 6
duration: 4s
router:
  prices: ../fixtures/prices.yaml
  versions:
    v1: {role: stable, model: a, price: holysheep/gpt-4.1}
    v2: {role: canary, model: b, price: openai/gpt-4.1}
  split: {weights: {v1: 6, v2: 4}}
  timeouts: {attempt: 1s, request: 5s}
  judge: off
upstreams:
  v1: {mock: {latency: 20ms, output_tokens: {lognormal: {median: 50, p99: 400}}}}
  v2: {mock: {like: v1}}
traffic:
  synthetic: {arrivals: {constant: 25/s}}
faults:
  - {on: v2, kind: slow, delay: 5s, share: 20%}
expect:
  - cost: {total: \"<= $1.00\", unknown: \"0\"}
  - attribution
";

#[test]
fn both_engines_spend_the_same() {
    let scenario = written("costs", SCENARIO);
    let imagined = virtual_run(&scenario);
    let (real, _) = live_run(&scenario);
    assert_passes(&imagined);
    assert_passes(&real);
    let (imagined, real) = (&imagined.report.summary.costs, &real.report.summary.costs);
    for (version, costs) in imagined.versions.iter() {
        assert_eq!(*costs, real.versions[version], "{version:?}");
    }
    assert!(imagined.wasted() > Some(graygate::pricing::Cost::ZERO));
}
